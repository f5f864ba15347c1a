//! A function's configuration, parsed once from its environment. All errors are reported together.

use std::fmt;

use secrecy::SecretString;

use crate::domain::access::RefundThreshold;
use crate::domain::decide::Mode;
use crate::domain::id::DeploymentMark;
use crate::domain::shop::Shop;

/// Names of the environment variables, and what they hold.
pub mod variable {
    /// The DynamoDB table.
    pub const TABLE_NAME: &str = "TABLE_NAME";
    /// `test` or `live`.
    pub const STRIPE_MODE: &str = "STRIPE_MODE";
    /// The mark in the metadata of everything that this deployment creates at Stripe.
    pub const DEPLOYMENT_MARK: &str = "DEPLOYMENT_MARK";
    /// The origin to which learners return, without a path: `https://learn.example.com`.
    pub const SITE_ORIGIN: &str = "SITE_ORIGIN";
    /// Address of Stripe's API; empty for Stripe itself.
    pub const STRIPE_API_URL: &str = "STRIPE_API_URL";
    /// Name or ARN of the secret that holds the Stripe API key.
    pub const STRIPE_API_KEY_SECRET_ID: &str = "STRIPE_API_KEY_SECRET_ID";
    /// Name or ARN of the secret that holds the read-only Stripe API key.
    pub const STRIPE_READ_KEY_SECRET_ID: &str = "STRIPE_READ_KEY_SECRET_ID";
    /// The share of a payment that must be refunded before access ends, in percent.
    pub const REFUND_THRESHOLD_PERCENT: &str = "REFUND_THRESHOLD_PERCENT";
    /// Name or ARN of the secret that holds the webhook endpoint's signing secrets.
    pub const STRIPE_SIGNING_SECRET_ID: &str = "STRIPE_SIGNING_SECRET_ID";
    /// The bucket with the chapters.
    pub const CONTENT_BUCKET: &str = "CONTENT_BUCKET";
    /// Address of an S3 server that has buckets in the path; empty for AWS.
    pub const CONTENT_ENDPOINT: &str = "CONTENT_ENDPOINT";
    /// Address of DynamoDB; empty for AWS.
    pub const DYNAMODB_ENDPOINT: &str = "DYNAMODB_ENDPOINT";
    /// Address of Secrets Manager; empty for AWS.
    pub const SECRETS_MANAGER_ENDPOINT: &str = "SECRETS_MANAGER_ENDPOINT";
}

/// Set by Lambda in every function.
mod lambda {
    pub(super) const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";
    pub(super) const REGION: &str = "AWS_REGION";
    pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
    pub(super) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
    pub(super) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
}

/// Everything that is wrong with a function's environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment is invalid: {}", self.0.join("; "))
    }
}

/// The Region and credentials for AWS. Lambda puts them into the environment, so no other source is
/// tried.
#[derive(Clone)]
pub struct AwsConfig {
    /// The Region.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session token, if the credentials are temporary.
    pub session_token: Option<SecretString>,
}

/// The configuration of every function.
#[derive(Clone)]
pub struct TableConfig {
    /// The Region and credentials.
    pub aws: AwsConfig,
    /// The table's name.
    pub table_name: String,
    /// DynamoDB's address, if it isn't AWS.
    pub dynamodb_endpoint: Option<String>,
}

/// Where a secret is stored.
#[derive(Clone)]
pub struct SecretConfig {
    /// Its name or ARN.
    pub secret_id: String,
    /// Secrets Manager's address, if it isn't AWS.
    pub endpoint: Option<String>,
}

/// Where the chapters are stored.
#[derive(Clone)]
pub struct ContentConfig {
    /// Their bucket.
    pub bucket: String,
    /// S3's address, if it isn't AWS.
    pub endpoint: Option<String>,
}

/// The configuration of the entitlements function.
#[derive(Clone)]
pub struct EntitlementsConfig {
    /// The table.
    pub table: TableConfig,
    /// The chapters.
    pub content: ContentConfig,
    /// The share of a payment that must be refunded before access ends.
    pub refund_threshold: RefundThreshold,
}

/// The configuration of the webhook function.
#[derive(Clone)]
pub struct WebhookConfig {
    /// The table.
    pub table: TableConfig,
    /// What identifies this deployment's objects at Stripe.
    pub shop: Shop,
    /// The signing secrets.
    pub signing_secret: SecretConfig,
    /// The read-only Stripe API key.
    pub read_key: SecretConfig,
    /// The address of Stripe's API, if it isn't Stripe itself.
    pub stripe_api_url: Option<String>,
}

/// The configuration of the checkout function.
#[derive(Clone)]
pub struct CheckoutConfig {
    /// The table.
    pub table: TableConfig,
    /// What identifies this deployment's objects at Stripe.
    pub shop: Shop,
    /// The Stripe API key.
    pub api_key: SecretConfig,
    /// The address of Stripe's API, if it isn't Stripe itself.
    pub stripe_api_url: Option<String>,
    /// The origin to which learners return.
    pub site_origin: String,
    /// The share of a payment that must be refunded before access ends.
    pub refund_threshold: RefundThreshold,
}

/// The configuration of the tutor function: the checkout function's, and where the chapters are.
#[derive(Clone)]
pub struct TutorConfig {
    /// What it takes to sell.
    pub checkout: CheckoutConfig,
    /// The chapters.
    pub content: ContentConfig,
}

impl EntitlementsConfig {
    /// Parses it from an environment.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(lookup);
        let table = environment.table();
        let content = environment.content();
        let refund_threshold = environment.refund_threshold();
        environment.done(Some(Self { table, content, refund_threshold }))
    }
}

impl WebhookConfig {
    /// Parses it from an environment.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(lookup);
        let table = environment.table();
        let shop = environment.shop();
        let signing_secret = environment.secret(variable::STRIPE_SIGNING_SECRET_ID);
        let read_key = environment.secret(variable::STRIPE_READ_KEY_SECRET_ID);
        let stripe_api_url = environment.stripe_api_url();
        environment.done(shop.map(|shop| Self {
            table,
            shop,
            signing_secret,
            read_key,
            stripe_api_url,
        }))
    }
}

impl CheckoutConfig {
    /// Parses it from an environment.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(lookup);
        let checkout = environment.checkout();
        environment.done(checkout)
    }
}

impl TutorConfig {
    /// Parses it from an environment.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(lookup);
        let (checkout, content) = (environment.checkout(), environment.content());
        environment.done(checkout.map(|checkout| Self { checkout, content }))
    }
}

/// The environment of this process, for the `parse` functions.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the environment enters")]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The name under which this function is deployed, for its metrics.
#[must_use]
pub fn function_name() -> String {
    process_environment(lambda::FUNCTION_NAME).unwrap_or_default()
}

struct Environment<F> {
    lookup: F,
    faults: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    const fn new(lookup: F) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    fn done<T>(self, config: Option<T>) -> Result<T, ConfigErrors> {
        config.filter(|_| self.faults.is_empty()).ok_or(ConfigErrors(self.faults))
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.faults.push(format!("{name} is not set"));
            String::new()
        })
    }

    fn origin(&mut self, name: &str) -> String {
        let origin = self.required(name);
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !origin.is_empty() && rest.is_none_or(|host| host.is_empty() || host.contains('/')) {
            self.faults.push(format!("{name} must be an origin like https://learn.example.com"));
        }
        origin
    }

    fn table(&mut self) -> TableConfig {
        let aws = AwsConfig {
            region: self.required(lambda::REGION),
            access_key_id: self.required(lambda::ACCESS_KEY_ID),
            secret_access_key: self.required(lambda::SECRET_ACCESS_KEY).into(),
            session_token: self.optional(lambda::SESSION_TOKEN).map(Into::into),
        };
        TableConfig {
            aws,
            table_name: self.required(variable::TABLE_NAME),
            dynamodb_endpoint: self.optional(variable::DYNAMODB_ENDPOINT),
        }
    }

    fn shop(&mut self) -> Option<Shop> {
        let (mode, mark) = (self.mode(), self.mark());
        Some(Shop { mode: mode?, mark: mark? })
    }

    fn mode(&mut self) -> Option<Mode> {
        match self.required(variable::STRIPE_MODE).as_str() {
            "live" => Some(Mode::Live),
            "test" => Some(Mode::Test),
            "" => None,
            _ => {
                self.faults.push(format!("{} must be test or live", variable::STRIPE_MODE));
                None
            }
        }
    }

    fn mark(&mut self) -> Option<DeploymentMark> {
        let name = variable::DEPLOYMENT_MARK;
        let text = self.required(name);
        match text.parse() {
            Ok(mark) => Some(mark),
            Err(_) if text.is_empty() => None,
            Err(error) => {
                self.faults.push(format!("{name}: {error}"));
                None
            }
        }
    }

    fn refund_threshold(&mut self) -> RefundThreshold {
        let name = variable::REFUND_THRESHOLD_PERCENT;
        let Some(text) = self.optional(name) else { return RefundThreshold::ALL };
        text.parse().unwrap_or_else(|_| {
            self.faults.push(format!("{name} must be a whole number from 1 to 100"));
            RefundThreshold::ALL
        })
    }

    fn stripe_api_url(&mut self) -> Option<String> {
        let url = self.optional(variable::STRIPE_API_URL);
        let is_live = self.optional(variable::STRIPE_MODE).as_deref() == Some("live");
        if is_live && url.is_some() {
            self.faults.push(format!(
                "{} must be empty if {} is live: the live key would be sent there",
                variable::STRIPE_API_URL,
                variable::STRIPE_MODE
            ));
        }
        url
    }

    fn checkout(&mut self) -> Option<CheckoutConfig> {
        let table = self.table();
        let shop = self.shop();
        let api_key = self.secret(variable::STRIPE_API_KEY_SECRET_ID);
        let stripe_api_url = self.stripe_api_url();
        let site_origin = self.origin(variable::SITE_ORIGIN);
        let refund_threshold = self.refund_threshold();
        Some(CheckoutConfig {
            table,
            shop: shop?,
            api_key,
            stripe_api_url,
            site_origin,
            refund_threshold,
        })
    }

    fn content(&mut self) -> ContentConfig {
        ContentConfig {
            bucket: self.required(variable::CONTENT_BUCKET),
            endpoint: self.optional(variable::CONTENT_ENDPOINT),
        }
    }

    fn secret(&mut self, name: &str) -> SecretConfig {
        SecretConfig {
            secret_id: self.required(name),
            endpoint: self.optional(variable::SECRETS_MANAGER_ENDPOINT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        [
            (variable::STRIPE_MODE, "live"),
            (variable::DEPLOYMENT_MARK, "123456789012/eu-central-1/coursegate-live"),
            (variable::SITE_ORIGIN, "https://learn.example.com"),
            (variable::STRIPE_API_URL, ""),
            (variable::DYNAMODB_ENDPOINT, ""),
            (variable::TABLE_NAME, "coursegate"),
            (variable::STRIPE_API_KEY_SECRET_ID, "stripe-api-key"),
            (lambda::REGION, "eu-central-1"),
            (lambda::ACCESS_KEY_ID, "id"),
            (lambda::SECRET_ACCESS_KEY, "key"),
        ]
        .into_iter()
        .find_map(|(known, value)| (known == name).then(|| value.to_owned()))
    }

    #[test]
    fn an_empty_endpoint_means_aws_and_stripe() {
        let config = CheckoutConfig::parse(complete).unwrap();
        assert_eq!(config.stripe_api_url, None);
        assert_eq!(config.table.dynamodb_endpoint, None);
        assert_eq!(config.shop.mode, Mode::Live);
        assert_eq!(config.shop.mark.as_str(), "123456789012/eu-central-1/coursegate-live");
        assert_eq!(config.refund_threshold, RefundThreshold::ALL);
    }

    #[test]
    fn all_faults_are_reported_at_once_and_no_value_is_repeated() {
        let broken = |name: &str| match name {
            variable::STRIPE_MODE => Some("sk_live_secret".to_owned()),
            variable::DEPLOYMENT_MARK => Some("my shop".to_owned()),
            variable::SITE_ORIGIN => Some("https://learn.example.com/path".to_owned()),
            variable::TABLE_NAME => None,
            variable::REFUND_THRESHOLD_PERCENT => Some("0".to_owned()),
            other => complete(other),
        };
        let errors = CheckoutConfig::parse(broken).err().unwrap().to_string();
        assert_eq!(
            errors,
            "the environment is invalid: TABLE_NAME is not set; \
             STRIPE_MODE must be test or live; \
             DEPLOYMENT_MARK: a deployment mark is 1 to 200 of A-Z, a-z, 0-9, _, -, ., : and /; \
             SITE_ORIGIN must be an origin like https://learn.example.com; \
             REFUND_THRESHOLD_PERCENT must be a whole number from 1 to 100"
        );
    }

    #[test]
    fn a_live_key_is_sent_to_nobody_but_stripe() {
        let with_mode = |mode: &'static str| {
            move |name: &str| match name {
                variable::STRIPE_MODE => Some(mode.to_owned()),
                variable::STRIPE_API_URL => Some("http://127.0.0.1:12111".to_owned()),
                other => complete(other),
            }
        };
        let errors = CheckoutConfig::parse(with_mode("live")).err().unwrap().to_string();
        assert_eq!(
            errors,
            "the environment is invalid: STRIPE_API_URL must be empty if STRIPE_MODE is \
             live: the live key would be sent there"
        );
        let config = CheckoutConfig::parse(with_mode("test")).unwrap();
        assert_eq!(config.stripe_api_url.as_deref(), Some("http://127.0.0.1:12111"));
    }
}
