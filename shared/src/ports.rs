//! What the functions ask of the outside world, each trait as narrow as its callers.

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

/// Where facts are kept.
pub trait Ledger {
    /// Reads these items, strongly consistent.
    fn load(&self, needs: Needs<'_>) -> impl Future<Output = Result<Stored, LedgerError>> + Send;

    /// Makes all of these writes, or none.
    fn commit(&self, writes: &[Write]) -> impl Future<Output = Result<Commit, LedgerError>> + Send;
}

/// Where access is read.
pub trait AccessReader {
    /// All that this learner has, strongly consistent.
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
    /// conditions failed, as they are now. There are none if another transaction was at work on an
    /// item, or if an item doesn't exist; then read again.
    Conflict(Box<Stored>),
}

/// The ledger could not answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It may answer later: throttled, unreachable, timed out. A write may have been made.
    #[error("the table can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refuses what it was asked; asking again won't help. A fault of ours.
    #[error("the table refuses the request")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored can't be read by this code.
    #[error("an item of the table can't be read: {0}")]
    Unreadable(String),
}

/// Where a secret is kept.
pub trait SecretReader {
    /// The version of the secret at this stage, such as `AWSCURRENT`; none if there is none.
    fn version(
        &self,
        stage: &str,
    ) -> impl Future<Output = Result<Option<SecretVersion>, SecretUnavailable>> + Send;
}

/// One version of a secret.
pub struct SecretVersion {
    /// Its `VersionId`. A version's value never changes; a stage moves from version to version.
    pub id: String,
    /// What it holds.
    pub text: SecretString,
    /// Since when there has been this version, where that is known.
    pub created: Option<Timestamp>,
}

/// The secret was not handed out.
#[derive(Debug, thiserror::Error)]
#[error("Secrets Manager does not hand out the secret")]
pub struct SecretUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What time it is, and waiting.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Lets so much time pass.
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
