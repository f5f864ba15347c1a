//! A deployment as its operator reaches it: a stack in AWS, or the local stack that is running.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_types::SdkConfig;
use secrecy::SecretString;
use serde::Deserialize;
use shared::config::process_environment;
use shared::domain::access::RefundThreshold;
use shared::domain::decide::Mode;
use shared::domain::facts::Note;
use shared::domain::id::{DeploymentMark, IdError};
use shared::domain::shop::Shop;
use shared::domain::time::Timestamp;
use shared::dynamo::{self, Table};
use shared::ports::StripeReadError;
use shared::stripe::objects::ObjectReader;

use crate::account::{Account, AccountError};
use crate::aws::{self, Aws};
use crate::lambda::Function;
use crate::signed::Service;

/// The operator's own key, which may do more than the functions' key.
pub const STRIPE_API_KEY: &str = "STRIPE_API_KEY";

/// The local stack's table, and what its secrets' names start with.
const LOCAL_NAME: &str = "coursegate";

/// Which deployment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The CloudFormation stack of this name, in the Region and account of the environment.
    Stack(String),
    /// The local stack, with its gateway on this port.
    Local(u16),
}

/// The environment has no credentials that AWS could be asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no AWS credentials found, or they have expired: sign in (for example with `aws login` or \
     `aws sso login`), or set AWS_PROFILE to a profile that has some"
)]
pub struct NoCredentials;

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
    #[error("what answers on port {0} is not a local stack that is ready: check its terminal")]
    NotReady(u16),
    /// The environment names no Region.
    #[error("no AWS Region is set: set AWS_REGION, or set AWS_PROFILE to a profile that has one")]
    NoRegion,
    /// This program was built for a laptop.
    #[error(
        "this build of coursegate reaches the local stack only: for --stack, install the command \
         with `cargo install --debug --locked --path cli --features aws`"
    )]
    NotBuilt,
    /// The environment has no credentials that AWS could be asked with.
    #[error(transparent)]
    NoCredentials(#[from] NoCredentials),
    /// `CloudFormation` did not answer.
    #[error("stack {name} can't be read in {region}: {reason}")]
    Stack {
        /// The stack.
        name: String,
        /// Where it was looked for.
        region: String,
        /// CloudFormation's reason.
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
    /// The stack's refund threshold is not a percentage.
    #[error("stack {0} has no whole percentage for RefundThresholdPercent: deploy it again")]
    NoThreshold(String),
    /// AWS does not say who the operator is.
    #[error(
        "AWS does not say who you are, which is recorded with what you do: {0}; check your \
         credentials with `aws sts get-caller-identity`"
    )]
    Nobody(String),
    /// The stack's mode is neither.
    #[error("stack {0} has neither test nor live for StripeMode: deploy it again")]
    NoMode(String),
    /// The stack's mark can't be used.
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
    /// The key can't be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A secret can't be read or written.
    #[error("secret {id}: {reason}")]
    Secret {
        /// The secret.
        id: String,
        /// Secrets Manager's reason.
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
    /// `DynamoDB`'s client.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Secrets Manager's client.
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    /// The operator's own key.
    pub operator_key: Option<SecretString>,
    /// What only AWS has; none on a laptop.
    pub cloud: Option<Cloud>,
}

/// What only a deployment in AWS has.
pub struct Cloud {
    /// Where the stack is: `123456789012/eu-central-1/coursegate-live`.
    pub location: String,
    /// The version of the template that is deployed.
    pub version: String,
    /// What `CloudFormation` says of the stack: `UPDATE_COMPLETE`.
    pub status: String,
    /// Where alarms go.
    pub alarm_topic: String,
    /// The course site.
    pub site: CourseSite,
    /// What only deployments need of AWS.
    pub aws: Aws,
    /// Cognito, which has the user pool.
    pub cognito: Service,
    /// SES, which sends the sign-in codes.
    pub ses: Service,
}

/// The course site of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourseSite {
    /// The site that the stack serves itself, unless it was deployed without one.
    pub hosted: Option<Hosted>,
    /// The bucket with the chapters.
    pub content_bucket: String,
    /// The other sites that may show the course elements.
    pub embed_origins: Vec<String>,
    /// Where its learners sign in.
    pub sign_in: SignIn,
}

/// The site that a stack serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosted {
    /// `CloudFront`'s address, or the site's own domain.
    pub url: String,
    /// The bucket with its files.
    pub bucket: String,
}

/// Where learners sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// At the stack's own user pool.
    UserPool(UserPool),
    /// At an issuer of the author's own.
    Issuer {
        /// The issuer, as in its tokens.
        issuer: String,
        /// The origin that the site may ask for tokens, if it isn't the issuer's.
        token_origin: Option<String>,
    },
}

/// A stack's own user pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPool {
    /// Its issuer, as in its tokens: `https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a1B2`.
    pub issuer: String,
    /// Its sign-in pages.
    pub url: String,
    /// The site's client.
    pub client_id: String,
    /// The services' client.
    pub service_client_id: String,
    /// The ARN of the SES identity that sends its e-mails; none if Cognito's own sender does.
    pub ses_identity: Option<String>,
}

impl UserPool {
    /// Its id, which ends the issuer's URL.
    #[must_use]
    pub fn id(&self) -> &str {
        self.issuer.rsplit('/').next().unwrap_or_default()
    }
}

/// Where the pieces of a local stack are, as URLs without a path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct LocalStack {
    /// The site, and the API under `/api`.
    pub gateway: String,
    /// Where Stripe delivers, with a path.
    pub webhook: String,
    /// Lambda's API.
    pub lambda: String,
    /// `DynamoDB`'s API.
    pub dynamodb: String,
    /// Stripe's API.
    pub stripe: String,
    /// Secrets Manager's API.
    pub secrets_manager: String,
}

/// What `GET /local/health` says, as far as it is needed.
#[derive(Deserialize)]
struct Health {
    status: String,
    deployment_mark: String,
    #[serde(flatten)]
    stack: LocalStack,
}

impl Deployment {
    /// Finds it: in AWS with the credentials of the environment, on a laptop by its health.
    pub async fn find(place: &Place) -> Result<Self, DeploymentError> {
        match place {
            Place::Stack(name) => {
                let key = process_environment(STRIPE_API_KEY).filter(|key| !key.is_empty());
                aws::find(name, key.map(SecretString::from)).await
            }
            Place::Local(port) => {
                let url = format!("http://127.0.0.1:{port}/local/health");
                let answer = reqwest::get(url).await;
                let answer = answer.ok().ok_or(DeploymentError::NoLocalStack(*port))?;
                let health: Option<Health> = answer.json().await.ok();
                let health = health.filter(|health| health.status == "ok");
                let mark = health.as_ref().and_then(|it| it.deployment_mark.parse().ok());
                let (health, mark) = health.zip(mark).ok_or(DeploymentError::NotReady(*port))?;
                Ok(Self::local(&health.stack, mark))
            }
        }
    }

    /// The local stack at these addresses, with this mark.
    #[must_use]
    pub fn local(stack: &LocalStack, mark: DeploymentMark) -> Self {
        let LocalStack { gateway, webhook, lambda, dynamodb, stripe, secrets_manager } = stack;
        Self {
            name: "local".to_owned(),
            shop: Shop { mode: Mode::Test, mark },
            stripe_url: Some(stripe.clone()),
            webhook_url: webhook.clone(),
            webhook_function: Function::new(&local_config(lambda), "webhook"),
            api_url: format!("{gateway}/api"),
            site_origin: gateway.clone(),
            table_name: LOCAL_NAME.to_owned(),
            api_key_id: local_secret("StripeApiKey"),
            read_key_id: local_secret("StripeReadKey"),
            signing_secret_id: local_secret("StripeSigningSecret"),
            refund_threshold: RefundThreshold::ALL,
            dynamodb: dynamodb_client(&local_config(dynamodb)),
            secrets_manager: aws_sdk_secretsmanager::Client::new(&local_config(secrets_manager)),
            operator_key: None,
            cloud: None,
        }
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
        let arn = cloud.aws.caller().await.map_err(|reason| nobody(&reason))?;
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

/// Asks with the operator's key, which is read only then: most commands need nothing that only Stripe
/// knows.
impl ObjectReader for Deployment {
    async fn object(&self, path: &str, _now: Timestamp) -> Result<String, StripeReadError> {
        let unavailable = |error: DeploymentError| StripeReadError::Unavailable(Box::new(error));
        let account = self.account().await.map_err(unavailable)?;
        account.object(path).await.map_err(|error| unavailable(error.into()))
    }
}

fn nobody(why: &str) -> DeploymentError {
    DeploymentError::Nobody(why.to_owned())
}

/// How a piece of the local stack is reached.
fn local_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(shared::aws::http_client(Some(endpoint)))
        .endpoint_url(endpoint)
        .build()
}

/// What the local stack calls the secret of this logical id.
fn local_secret(logical_id: &str) -> String {
    format!("{LOCAL_NAME}/{logical_id}")
}

pub(crate) fn dynamodb_client(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config);
    aws_sdk_dynamodb::Client::from_conf(config.timeout_config(dynamo::timeouts()).build())
}

/// The reason that AWS gives for a failed call.
pub(crate) fn reason<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    error.message().map_or_else(|| DisplayErrorContext(error).to_string(), ToOwned::to_owned)
}

fn secret_error<E>(id: &str, error: &SdkError<E>) -> DeploymentError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    DeploymentError::Secret { id: id.to_owned(), reason: reason(error) }
}
