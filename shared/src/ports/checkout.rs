//! Where checkout stores its state, and reads what is for sale.

use crate::domain::catalog::PublishedCatalog;
use crate::domain::checkout::{Attempt, Buyer, Link, NewCustomer, OpenSession};
use crate::domain::id::{AttemptId, LearnerId, LinkId, ProductId};
use crate::domain::rate::{Count, Counter, Rate};
use crate::ports::LedgerError;

/// Where the published catalog is read.
pub trait CatalogReader {
    /// The catalog on sale; none before the first is published.
    fn catalog(&self)
    -> impl Future<Output = Result<Option<PublishedCatalog>, LedgerError>> + Send;
}

/// Where checkout stores customers, attempts, request counts and upgrade links. Each write is made
/// under a condition and returns whether it was made. If not, another request was quicker.
pub trait CheckoutStore {
    /// All that a request to buy this product depends on, in one strongly consistent read.
    fn buyer(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        counter: &Counter,
    ) -> impl Future<Output = Result<Buyer, LedgerError>> + Send;

    /// Records an attempt in place of the one that was read, and with it the learner's new Stripe
    /// customer, if there is one: both or neither. The attempt must not have changed since it was
    /// read, since somebody may have been sent to a session recorded meanwhile.
    fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
        customer: Option<&NewCustomer>,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Gives an attempt without a session another id, and with it another idempotency key.
    fn renew_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Records the session of an attempt that has none yet.
    fn record_session(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// How often this was done in the current window.
    fn rate(
        &self,
        counter: &Counter,
    ) -> impl Future<Output = Result<Option<Rate>, LedgerError>> + Send;

    /// Counts one more request, unless the window that was read is over or full by now.
    fn count(&self, count: &Count) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// Stores a new link.
    fn put_link(
        &self,
        id: &LinkId,
        link: &Link,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// The link of this id. It may have expired: DynamoDB deletes late.
    fn link(&self, id: &LinkId) -> impl Future<Output = Result<Option<Link>, LedgerError>> + Send;
}
