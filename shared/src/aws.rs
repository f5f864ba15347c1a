//! AWS clients, configured with what Lambda puts into the environment. No profile, file or metadata
//! service is tried, which also keeps their code out of the binary.

mod https;

use std::time::Duration;

use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use secrecy::ExposeSecret;

use crate::config::{AwsConfig, ContentConfig, SecretConfig, TableConfig};
use crate::content::ContentLinks;
use crate::content::s3::bucket_url;
use crate::dynamo::{self, Table};

macro_rules! client {
    ($sdk:ident, $aws:expr, $endpoint:expr, $timeouts:expr) => {{
        use $sdk::config::{BehaviorVersion, Config, Region};
        let aws: &AwsConfig = $aws;
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(aws.region.clone()))
            .credentials_provider(credentials(aws))
            .http_client(http_client($endpoint.as_deref()))
            .timeout_config($timeouts);
        config.set_endpoint_url($endpoint.clone());
        $sdk::Client::from_conf(config.build())
    }};
}

fn credentials(aws: &AwsConfig) -> Credentials {
    Credentials::new(
        aws.access_key_id.as_str(),
        aws.secret_access_key.expose_secret(),
        aws.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
        None,
        "environment",
    )
}

/// The HTTP client for the SDK's requests to this endpoint, or else to AWS.
#[must_use]
pub fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    https::client(endpoint)
}

/// The table.
#[must_use]
pub fn table(config: &TableConfig) -> Table {
    Table::new(dynamodb(config), config.table_name.clone())
}

/// A client for DynamoDB.
#[must_use]
pub fn dynamodb(config: &TableConfig) -> aws_sdk_dynamodb::Client {
    client!(aws_sdk_dynamodb, &config.aws, config.dynamodb_endpoint, dynamo::timeouts())
}

/// A client for Secrets Manager, which is slower than DynamoDB and called once every few minutes.
#[must_use]
pub fn secrets_manager(aws: &AwsConfig, secret: &SecretConfig) -> aws_sdk_secretsmanager::Client {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(5))
        .build();
    client!(aws_sdk_secretsmanager, aws, secret.endpoint, timeouts)
}

/// Links to the chapters.
#[must_use]
pub fn content_links(aws: &AwsConfig, content: &ContentConfig) -> ContentLinks {
    let ContentConfig { bucket, endpoint } = content;
    let base_url = bucket_url(endpoint.as_deref(), &aws.region, bucket);
    ContentLinks::new(base_url, aws.region.clone(), credentials(aws).into())
}
