//! The DynamoDB adapter: one table, whose keys are built in one place, and conditional writes.

mod attributes;
pub mod catalog;
pub mod checkouts;
mod commit;
mod failure;
pub mod key;
pub mod ledger;
pub mod operator;
mod source;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;

/// The timeout of one attempt. The SDK has no default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of a call with all its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// The timeouts of every call to DynamoDB.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
}

impl Table {
    /// The table of this name.
    #[must_use]
    pub const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}
