//! A deployment as its operator reaches it: a stack in AWS, or the local stack that is running.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudformation::types::Stack;
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use local::addresses::Addresses;
use secrecy::SecretString;
use serde::Deserialize;
use shared::config::process_environment;
use shared::domain::access::RefundThreshold;
use shared::domain::decide::{Mode, PaymentFor};
use shared::domain::facts::{DisputeStatus, Note};
use shared::domain::id::{DeploymentMark, DisputeId, IdError, PaymentIntentId};
use shared::domain::shop::{Owner, Shop};
use shared::domain::time::Timestamp;
use shared::dynamo::{self, Table};
use shared::ports::{StripeReadError, StripeReader};
use shared::stripe::api::invoice_payments_of;
use shared::stripe::wire::{
    dispute_status_from_api, payment_owner_from_api, subscription_of_payment_from_api,
};
use shared::telemetry::Chain;

use crate::account::{Account, AccountError, NoParameters};
use crate::lambda::Function;
use crate::s3::S3;

/// The operator's own key, which may do more than the functions' key.
pub const STRIPE_API_KEY: &str = "STRIPE_API_KEY";

/// Which deployment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The CloudFormation stack of this name, in the Region and account of the environment.
    Stack(String),
    /// The local stack, with its gateway on this port.
    Local(u16),
}

/// Why a deployment can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Nothing listens where the local stack would be.
    #[error(
        "no local stack answers on port {0}: start one with `cargo run`, or name a deployment with \
         --stack"
    )]
    NoLocalStack(u16),
    /// The local stack is not ready.
    #[error("what answers on port {0} is no local stack that is ready: look at its terminal")]
    NotReady(u16),
    /// The environment names no Region.
    #[error("no AWS Region is set: set AWS_REGION, or a profile that has one with AWS_PROFILE")]
    NoRegion,
    /// The environment has no credentials that AWS could be asked with.
    #[error(
        "no AWS credentials are found, or they have expired: sign in (`aws sso login`, if that is \
         your way), or name a profile that has some with AWS_PROFILE"
    )]
    NoCredentials,
    /// `CloudFormation` did not answer.
    #[error("stack {name} can't be read in {region}: {reason}")]
    Stack {
        /// The stack.
        name: String,
        /// Where it was looked for.
        region: String,
        /// Why.
        reason: String,
    },
    /// The stack is of another template, or was never completely deployed.
    #[error(
        "stack {name} is in {status} and has no output {output}: deploy it with this version's \
         template.yaml"
    )]
    NoOutput {
        /// The stack.
        name: String,
        /// What `CloudFormation` says of it.
        status: String,
        /// What is missing.
        output: &'static str,
    },
    /// The stack's refund threshold is none.
    #[error("stack {0} says no whole number of percent for RefundThresholdPercent: deploy it anew")]
    NoThreshold(String),
    /// AWS does not say who the operator is.
    #[error(
        "AWS does not say who you are, which is written down with what you do: {0}; look at your \
         credentials with `aws sts get-caller-identity`"
    )]
    Nobody(String),
    /// The stack's mode is neither.
    #[error("stack {0} says neither test nor live for StripeMode: deploy it anew")]
    NoMode(String),
    /// The stack's mark is none.
    #[error("stack {name} has an unusable output DeploymentMark ({source}): deploy it again")]
    NoMark {
        /// The stack.
        name: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// The operator's key is not set.
    #[error(
        "{STRIPE_API_KEY} is not set: create a restricted key for yourself in Stripe's Dashboard \
         (docs/DEPLOY.md lists its permissions) and set it in the environment"
    )]
    NoKey,
    /// The key doesn't do.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A secret can't be read or written.
    #[error("secret {id}: {reason}")]
    Secret {
        /// The secret.
        id: String,
        /// Why.
        reason: String,
    },
}

/// A deployment.
pub struct Deployment {
    /// The stack's name; `local` for the local stack.
    pub name: String,
    /// What tells its objects at Stripe from all others.
    pub shop: Shop,
    /// Stripe's address, if it is not Stripe.
    pub stripe_url: Option<String>,
    /// Where Stripe delivers.
    pub webhook_url: String,
    /// The function that takes what Stripe delivers.
    pub webhook_function: Function,
    /// The API with its stage.
    pub api_url: String,
    /// Where learners are sent back to.
    pub site_origin: String,
    /// The table's name.
    pub table_name: String,
    /// The secret that holds the functions' API key.
    pub api_key_id: String,
    /// The secret that holds the webhook's API key, which only reads.
    pub read_key_id: String,
    /// The secret that holds the webhook endpoint's signing secrets.
    pub signing_secret_id: String,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub refund_threshold: RefundThreshold,
    /// `DynamoDB`.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Secrets Manager.
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    /// The operator's own key.
    pub operator_key: Option<SecretString>,
    /// What only AWS has; none on a laptop.
    pub cloud: Option<Cloud>,
}

/// What a deployment in AWS has, and a laptop has not.
pub struct Cloud {
    /// Where the stack is: `123456789012/eu-central-1/coursegate-live`.
    pub location: String,
    /// The version of the template that is deployed.
    pub version: String,
    /// What `CloudFormation` says of the stack: `UPDATE_COMPLETE`.
    pub status: String,
    /// Where alarms go.
    pub alarm_topic: String,
    /// SNS.
    pub sns: aws_sdk_sns::Client,
    /// STS, which knows who the operator is.
    pub sts: aws_sdk_sts::Client,
    /// S3.
    pub s3: S3,
    /// The course site.
    pub site: CourseSite,
}

/// The course site of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourseSite {
    /// Where `CloudFront` serves it.
    pub url: String,
    /// The bucket with its files.
    pub bucket: String,
    /// The bucket with the chapters.
    pub content_bucket: String,
    /// The other sites that may show the course elements.
    pub embed_origins: Vec<String>,
    /// Where its learners sign in.
    pub sign_in: SignIn,
}

/// Where learners sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// At the stack's own user pool.
    UserPool {
        /// Its sign-in pages.
        url: String,
        /// The site's client.
        client_id: String,
    },
    /// At an issuer of the author's own.
    Issuer(String),
}

/// What `GET /local/health` says, as far as it is needed.
#[derive(Deserialize)]
struct Health {
    status: String,
    deployment_mark: String,
    #[serde(flatten)]
    addresses: Addresses,
}

impl Deployment {
    /// Finds it: in AWS with the credentials of the environment, on a laptop by its health.
    pub async fn find(place: &Place) -> Result<Self, DeploymentError> {
        match place {
            Place::Stack(name) => {
                let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
                let key = process_environment(STRIPE_API_KEY).filter(|key| !key.is_empty());
                Self::stack(&config, name, key.map(SecretString::from)).await
            }
            Place::Local(port) => {
                let url = format!("http://127.0.0.1:{port}/local/health");
                let answer = reqwest::get(url).await;
                let answer = answer.ok().ok_or(DeploymentError::NoLocalStack(*port))?;
                let health: Option<Health> = answer.json().await.ok();
                let health = health.filter(|health| health.status == "ok");
                let mark = health.as_ref().and_then(|it| it.deployment_mark.parse().ok());
                let (health, mark) = health.zip(mark).ok_or(DeploymentError::NotReady(*port))?;
                Ok(Self::local(&health.addresses, mark))
            }
        }
    }

    /// The local stack at these addresses, with this mark.
    #[must_use]
    pub fn local(addresses: &Addresses, mark: DeploymentMark) -> Self {
        let Addresses { gateway, lambda, dynamodb, stripe, secrets_manager, .. } = addresses;
        let at = |endpoint: &str| {
            let credentials = Credentials::new("local", "local", None, None, "local");
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::from_static("us-east-1"))
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .endpoint_url(endpoint)
                .build()
        };
        Self {
            name: "local".to_owned(),
            shop: Shop { mode: Mode::Test, mark },
            stripe_url: Some(stripe.clone()),
            webhook_url: format!("{gateway}/webhook"),
            webhook_function: Function::new(&at(lambda), "webhook"),
            api_url: format!("{gateway}/api"),
            site_origin: gateway.clone(),
            table_name: local::stack::TABLE.to_owned(),
            api_key_id: local::stack::secret_name("StripeApiKey"),
            read_key_id: local::stack::secret_name("StripeReadKey"),
            signing_secret_id: local::stack::secret_name("StripeSigningSecret"),
            refund_threshold: RefundThreshold::ALL,
            dynamodb: dynamodb_client(&at(dynamodb)),
            secrets_manager: aws_sdk_secretsmanager::Client::new(&at(secrets_manager)),
            operator_key: None,
            cloud: None,
        }
    }

    /// The stack of this name, whose account at Stripe is reached with this key.
    pub async fn stack(
        config: &SdkConfig,
        name: &str,
        operator_key: Option<SecretString>,
    ) -> Result<Self, DeploymentError> {
        let region = config.region().ok_or(DeploymentError::NoRegion)?.to_string();
        let stack = describe(config, name, &region).await?;
        let status = stack.stack_status().map_or("no status", |status| status.as_str());
        let output = |output: &'static str| {
            let found = stack.outputs().iter().find(|it| it.output_key() == Some(output));
            let value = found.and_then(|found| found.output_value()).map(ToOwned::to_owned);
            value.ok_or_else(|| {
                let (name, status) = (name.to_owned(), status.to_owned());
                DeploymentError::NoOutput { name, status, output }
            })
        };
        let mode = match output("StripeMode")?.as_str() {
            "test" => Mode::Test,
            "live" => Mode::Live,
            _ => return Err(DeploymentError::NoMode(name.to_owned())),
        };
        let mark = output("DeploymentMark")?;
        let mark = mark
            .parse()
            .map_err(|source| DeploymentError::NoMark { name: name.to_owned(), source })?;
        let stripe_url =
            stack.parameters().iter().find(|it| it.parameter_key() == Some("StripeApiUrl"));
        let stripe_url = stripe_url.and_then(|found| found.parameter_value());
        Ok(Self {
            name: name.to_owned(),
            shop: Shop { mode, mark },
            stripe_url: stripe_url.filter(|url| !url.is_empty()).map(ToOwned::to_owned),
            webhook_url: output("WebhookUrl")?,
            webhook_function: Function::new(config, output("WebhookFunctionName")?),
            api_url: output("ApiUrl")?,
            site_origin: output("SiteOrigin")?,
            table_name: output("TableName")?,
            api_key_id: output("StripeApiKeyArn")?,
            read_key_id: output("StripeReadKeyArn")?,
            signing_secret_id: output("StripeSigningSecretArn")?,
            refund_threshold: output("RefundThresholdPercent")?
                .parse()
                .map_err(|_none| DeploymentError::NoThreshold(name.to_owned()))?,
            dynamodb: dynamodb_client(config),
            secrets_manager: aws_sdk_secretsmanager::Client::new(config),
            operator_key,
            cloud: Some(Cloud {
                location: location(stack.stack_id().unwrap_or_default(), name),
                version: output("Version")?,
                status: status.to_owned(),
                alarm_topic: output("AlarmTopicArn")?,
                sns: aws_sdk_sns::Client::new(config),
                sts: aws_sdk_sts::Client::new(config),
                s3: S3::new(config),
                site: course_site(output)?,
            }),
        })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        Table::new(self.dynamodb.clone(), self.table_name.clone())
    }

    /// The Stripe account with the operator's key; on a laptop that of the functions does.
    pub async fn account(&self) -> Result<Account, DeploymentError> {
        let key = match &self.operator_key {
            Some(key) => key.clone(),
            None if self.cloud.is_some() => return Err(DeploymentError::NoKey),
            None => self.secret(&self.api_key_id).await?.trim().into(),
        };
        Ok(Account::new(self.stripe_url.as_deref(), &key, self.shop.mode)?)
    }

    /// Who the operator is: an AWS identity, or on a laptop the user's name.
    pub async fn operator(&self) -> Result<Note, DeploymentError> {
        let Some(cloud) = &self.cloud else {
            let names = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(process_environment);
            let mut names = names.chain(["somebody".to_owned()]);
            let name = names.find_map(|name| name.parse().ok());
            return name.ok_or_else(|| nobody("this machine has no name for you"));
        };
        let answer = cloud.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| nobody(&Chain(&error).to_string()))?;
        let arn = answer.arn().unwrap_or_default();
        arn.parse().map_err(|_none| nobody("the answer names nobody"))
    }

    /// The current value of a secret.
    pub async fn secret(&self, id: &str) -> Result<String, DeploymentError> {
        let answer = self.secrets_manager.get_secret_value().secret_id(id).send().await;
        let answer = answer.map_err(|error| secret_error(id, &error))?;
        Ok(answer.secret_string().unwrap_or_default().to_owned())
    }

    /// The value that a secret had before the current one, if it had any.
    pub async fn previous_secret(&self, id: &str) -> Result<Option<String>, DeploymentError> {
        let request = self.secrets_manager.get_secret_value().secret_id(id);
        match request.version_stage("AWSPREVIOUS").send().await {
            Ok(answer) => Ok(answer.secret_string().map(ToOwned::to_owned)),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_resource_not_found_exception() => Ok(None),
                _ => Err(secret_error(id, &error)),
            },
        }
    }

    /// Makes this the current value of a secret; what was current is the previous one from now on.
    pub async fn put_secret(&self, id: &str, value: &str) -> Result<(), DeploymentError> {
        let put = self.secrets_manager.put_secret_value().secret_id(id).secret_string(value);
        put.send().await.map(drop).map_err(|error| secret_error(id, &error))
    }
}

/// Asks with the operator's key, which is looked for only then: most of what is done by hand hangs
/// on nothing that only Stripe knows.
impl StripeReader for Deployment {
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        _now: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        let unavailable = |error| StripeReadError::Unavailable(Box::new(error));
        // A key that doesn't know a payment that Stripe has reported is one of another account.
        let json = self.ask(&format!("/payment_intents/{payment}")).await.map_err(unavailable)?;
        let owner = payment_owner_from_api(&json).map_err(StripeReadError::Unreadable)?;
        if matches!(owner, Owner::Marked(_)) {
            return Ok(PaymentFor::Purchase(owner));
        }
        let json = self.ask(&invoice_payments_of(payment)).await.map_err(unavailable)?;
        let subscription =
            subscription_of_payment_from_api(&json).map_err(StripeReadError::Unreadable)?;
        Ok(subscription.unwrap_or(PaymentFor::Purchase(owner)))
    }

    async fn dispute(
        &self,
        id: &DisputeId,
        _now: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        let answer = self.ask(&format!("/disputes/{id}")).await;
        let json = answer.map_err(|error| StripeReadError::Unavailable(Box::new(error)))?;
        dispute_status_from_api(&json).map_err(StripeReadError::Unreadable)
    }
}

impl Deployment {
    async fn ask(&self, path: &str) -> Result<String, DeploymentError> {
        let account = self.account().await?;
        let object: serde_json::Value = account.get(path, &NoParameters {}).await?;
        Ok(object.to_string())
    }
}

/// The course site, of the stack's outputs.
fn course_site<E>(output: impl Fn(&'static str) -> Result<String, E>) -> Result<CourseSite, E> {
    // None of these two is there where learners sign in elsewhere.
    let sign_in = match output("SignInUrl") {
        Ok(url) => SignIn::UserPool { url, client_id: output("SiteClientId")? },
        Err(_) => SignIn::Issuer(output("JwtIssuer")?),
    };
    // Where no other site is named, the output may be empty or missing.
    let origins = output("CorsOrigins").unwrap_or_default();
    let origins = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    Ok(CourseSite {
        url: output("SiteUrl")?,
        bucket: output("SiteBucketName")?,
        content_bucket: output("ContentBucketName")?,
        embed_origins: origins.map(ToOwned::to_owned).collect(),
        sign_in,
    })
}

fn nobody(why: &str) -> DeploymentError {
    DeploymentError::Nobody(why.to_owned())
}

fn dynamodb_client(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config);
    aws_sdk_dynamodb::Client::from_conf(config.timeout_config(dynamo::timeouts()).build())
}

/// `123456789012/eu-central-1/coursegate-live`, of a stack's ARN; the name alone without one.
fn location(stack_id: &str, name: &str) -> String {
    // arn:aws:cloudformation:eu-central-1:123456789012:stack/coursegate-live/1f8a…
    let mut parts = stack_id.split(':').skip(3);
    match (parts.next(), parts.next(), stack_id.split('/').nth(1)) {
        (Some(region), Some(account), Some(name)) => format!("{account}/{region}/{name}"),
        _ => name.to_owned(),
    }
}

async fn describe(config: &SdkConfig, name: &str, region: &str) -> Result<Stack, DeploymentError> {
    let failed = |reason: String| {
        let (name, region) = (name.to_owned(), region.to_owned());
        DeploymentError::Stack { name, region, reason }
    };
    let client = aws_sdk_cloudformation::Client::new(config);
    let answer = match client.describe_stacks().stack_name(name).send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Err(match error.message() {
                // CloudFormation has no error of its own for this.
                Some(message) if message.contains("does not exist") => failed(
                    "there is no such stack: deploy it first (docs/DEPLOY.md), or name another"
                        .to_owned(),
                ),
                Some(message) => failed(message.to_owned()),
                None if !has_credentials(config).await => DeploymentError::NoCredentials,
                None => failed(format!("{}: look at your network", Chain(&error))),
            });
        }
    };
    let stack = answer.stacks().first().cloned();
    stack.ok_or_else(|| failed("CloudFormation answers without it".to_owned()))
}

async fn has_credentials(config: &SdkConfig) -> bool {
    match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.is_ok(),
        None => false,
    }
}

fn secret_error<E>(id: &str, error: &aws_sdk_secretsmanager::error::SdkError<E>) -> DeploymentError
where
    E: aws_sdk_secretsmanager::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    let reason = match error.message() {
        Some(message) => message.to_owned(),
        None => aws_sdk_secretsmanager::error::DisplayErrorContext(error).to_string(),
    };
    DeploymentError::Secret { id: id.to_owned(), reason }
}
