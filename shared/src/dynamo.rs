//! The DynamoDB edge: one table, keyed in one place, written on conditions only.

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

/// How long one attempt may take; the SDK has no limit of its own.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a call may take with all its attempts.
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
