//! AWS, as far as only a deployment needs it: its stack, who the operator is, the alarms' topic and
//! the buckets. The local stack has none of these, so the program that a newcomer builds is built
//! without this module.

mod s3;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cloudformation::types::Stack;
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use secrecy::SecretString;
use shared::domain::decide::Mode;
use shared::domain::shop::Shop;
use shared::telemetry::Chain;

pub use s3::{Bucket, S3};

use crate::deployment::{
    Cloud, CourseSite, Deployment, DeploymentError, Hosted, NoCredentials, SignIn, UserPool,
    dynamodb_client, reason,
};
use crate::lambda::Function;
use crate::signed::Service;

/// Clients of what only an AWS deployment has.
pub struct Aws {
    /// Where alarms go.
    pub sns: aws_sdk_sns::Client,
    /// Who the operator is.
    pub sts: aws_sdk_sts::Client,
    /// The site's and the chapters' buckets.
    pub s3: S3,
}

impl Aws {
    fn new(config: &SdkConfig) -> Self {
        Self {
            sns: aws_sdk_sns::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            s3: S3::new(config),
        }
    }

    /// The ARN of whoever asks; or why it is not known.
    pub(crate) async fn caller(&self) -> Result<String, String> {
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| Chain(&error).to_string())?;
        Ok(answer.arn().unwrap_or_default().to_owned())
    }

    /// The ARNs of a topic's subscriptions, one of which is no ARN until it is confirmed; or why
    /// they are not known.
    pub(crate) async fn subscriptions(&self, topic: &str) -> Result<Vec<String>, String> {
        let answer = self.sns.list_subscriptions_by_topic().topic_arn(topic).send().await;
        let answer = answer.map_err(|error| reason(&error))?;
        let subscriptions = answer.subscriptions().iter();
        Ok(subscriptions.map(|it| it.subscription_arn().unwrap_or_default().to_owned()).collect())
    }
}

/// The stack of this name, with the credentials of the environment.
pub(crate) async fn find(
    name: &str,
    operator_key: Option<SecretString>,
) -> Result<Deployment, DeploymentError> {
    let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    stack(&config, name, operator_key).await
}

/// The stack of this name, whose account at Stripe is reached with this key.
pub async fn stack(
    config: &SdkConfig,
    name: &str,
    operator_key: Option<SecretString>,
) -> Result<Deployment, DeploymentError> {
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
    let mark =
        mark.parse().map_err(|source| DeploymentError::NoMark { name: name.to_owned(), source })?;
    let parameter = |parameter: &str| {
        let found = stack.parameters().iter().find(|it| it.parameter_key() == Some(parameter));
        let value = found.and_then(|found| found.parameter_value());
        value.filter(|value| !value.is_empty()).map(ToOwned::to_owned)
    };
    Ok(Deployment {
        name: name.to_owned(),
        shop: Shop { mode, mark },
        stripe_url: parameter("StripeApiUrl"),
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
            site: course_site(output, parameter)?,
            aws: Aws::new(config),
            cognito: Service::cognito(config),
            ses: Service::ses(config),
        }),
    })
}

/// The course site, from the stack's outputs and parameters.
fn course_site<E>(
    output: impl Fn(&'static str) -> Result<String, E>,
    parameter: impl Fn(&'static str) -> Option<String>,
) -> Result<CourseSite, E> {
    let issuer = output("JwtIssuer")?;
    // Only a stack with a user pool of its own has this output.
    let sign_in = match output("SignInUrl") {
        Ok(url) => SignIn::UserPool(UserPool {
            issuer,
            url,
            client_id: output("SiteClientId")?,
            service_client_id: output("ServiceClientId")?,
            ses_identity: parameter("SesIdentityArn"),
        }),
        Err(_) => SignIn::Issuer { issuer, token_origin: parameter("JwtTokenOrigin") },
    };
    let hosted = if parameter("SiteHosting").as_deref() == Some("none") {
        None
    } else {
        Some(Hosted { url: output("SiteUrl")?, bucket: output("SiteBucketName")? })
    };
    // Where no other site is named, the output may be empty or missing.
    let origins = output("CorsOrigins").unwrap_or_default();
    let origins = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    Ok(CourseSite {
        hosted,
        content_bucket: output("ContentBucketName")?,
        embed_origins: origins.map(ToOwned::to_owned).collect(),
        sign_in,
    })
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
                None if !has_credentials(config).await => NoCredentials.into(),
                None => failed(format!("{}: check your network", Chain(&error))),
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
