//! The traits through which functions reach the outside world. Each is as narrow as its callers
//! need.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::access::Entitlements;
use crate::domain::decide::{Needs, Stored, StoredSource, Write};
use crate::domain::id::{LearnerId, SourceId};
use crate::domain::time::Timestamp;

mod checkout;
mod stripe;

pub use checkout::{CatalogReader, CheckoutStore};
pub use stripe::{StripeCheckout, StripeError, StripeReadError, StripeReader};

/// Where facts are stored.
pub trait Ledger {
    /// Reads these items, strongly consistent.
    fn load(&self, needs: Needs<'_>) -> impl Future<Output = Result<Stored, LedgerError>> + Send;

    /// Makes all of these writes, or none.
    fn commit(&self, writes: &[Write]) -> impl Future<Output = Result<Commit, LedgerError>> + Send;
}

/// Where access is read.
pub trait AccessReader {
    /// This learner's entitlements, strongly consistent.
    fn entitlements(
        &self,
        learner: &LearnerId,
    ) -> impl Future<Output = Result<Entitlements, LedgerError>> + Send;

    /// These sources with their facts, strongly consistent; those that don't exist are left out.
    fn sources(
        &self,
        sources: &[SourceId],
    ) -> impl Future<Output = Result<BTreeMap<SourceId, StoredSource>, LedgerError>> + Send;
}

/// Where the sources that name a learner are found. That takes a scan, which no function may do.
pub trait SourceFinder {
    /// All of them, strongly consistent.
    fn sources_of(
        &self,
        learner: &LearnerId,
    ) -> impl Future<Output = Result<Vec<SourceId>, LedgerError>> + Send;
}

/// The result of a commit. A failed condition is an answer, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All of it is written.
    Applied,
    /// Nothing is written: something isn't as the decision saw it. These are the items whose
    /// conditions failed, as they are now. There are none if another transaction was writing an
    /// item, or if an item doesn't exist; then read again.
    Conflict(Box<Stored>),
}

/// The ledger could not answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It may answer later: throttled, unreachable, timed out. A write may have been made.
    #[error("the table can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refuses the request, and retrying won't help: a bug on our side.
    #[error("the table refuses the request")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored can't be read by this code.
    #[error("an item of the table can't be read: {0}")]
    Unreadable(String),
}

/// Where a secret is stored.
pub trait SecretReader {
    /// The version of the secret at this stage, such as `AWSCURRENT`; `None` if there is none.
    fn version(
        &self,
        stage: &str,
    ) -> impl Future<Output = Result<Option<SecretVersion>, SecretUnavailable>> + Send;
}

/// One version of a secret.
pub struct SecretVersion {
    /// Its `VersionId`. A version's value never changes; a stage moves from version to version.
    pub id: String,
    /// The secret value.
    pub text: SecretString,
    /// When this version was created, if known.
    pub created: Option<Timestamp>,
}

/// The secret couldn't be read.
#[derive(Debug, thiserror::Error)]
#[error("Secrets Manager did not return the secret")]
pub struct SecretUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The time, and waiting.
pub trait Clock {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Waits this long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = since_epoch.map_or(0, |elapsed| elapsed.as_secs());
        Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
