//! Where checkout keeps what it does for a learner, and reads what is for sale.

use crate::domain::catalog::PublishedCatalog;
use crate::domain::checkout::{Attempt, Buyer, Link, OpenSession};
use crate::domain::id::{AttemptId, CustomerId, LearnerId, LinkId, ProductId};
use crate::domain::rate::{Counter, Rate};
use crate::domain::time::Timestamp;
use crate::ports::LedgerError;

/// Where the published catalog is read.
pub trait CatalogReader {
    /// The catalog on sale; none before the first is published.
    fn catalog(&self)
    -> impl Future<Output = Result<Option<PublishedCatalog>, LedgerError>> + Send;
}

/// Where checkout keeps customers, attempts, request counts and upgrade links. Every write is
/// conditional and says whether it was made; if not, another request was quicker.
pub trait CheckoutStore {
    /// All that a request to buy this product depends on, in one strongly consistent read.
    fn buyer(
        &self,
        learner: &LearnerId,
        product: &ProductId,
    ) -> impl Future<Output = Result<Buyer, LedgerError>> + Send;

    /// Makes this the learner's Stripe customer, unless it has changed since `replaces` was read.
    fn set_customer(
        &self,
        learner: &LearnerId,
        customer: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Records an attempt in place of the one that was read. It must not have changed since: a
    /// session recorded for it meanwhile may be in its buyer's hands.
    fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Gives an attempt that has no session yet another id, and so another idempotency key.
    fn renew_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Records the session that Stripe opened for an attempt that has none yet.
    fn record_session(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// How often this was asked for in the current window.
    fn rate(
        &self,
        counter: &Counter,
    ) -> impl Future<Output = Result<Option<Rate>, LedgerError>> + Send;

    /// Begins a window in place of the one that was read.
    fn begin_window(
        &self,
        counter: &Counter,
        rate: Rate,
        replaces: Option<Rate>,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Counts one more in the window that began then, unless it is full.
    fn count_in_window(
        &self,
        counter: &Counter,
        since: Timestamp,
        times_max: u32,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Stores a new link.
    fn put_link(
        &self,
        id: &LinkId,
        link: &Link,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// The link of this id. It may have expired: DynamoDB deletes late.
    fn link(&self, id: &LinkId) -> impl Future<Output = Result<Option<Link>, LedgerError>> + Send;
}
