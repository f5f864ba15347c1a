//! Buying: checkout sessions and upgrade links.
//!
//! [`start_checkout`](Sales::start_checkout) leads to the one open session that a learner has for a
//! product. [`confirm`](Sales::confirm) applies what Stripe says about a session without waiting for
//! the webhook. Upgrade links are [created](Sales::create_link) for a learner,
//! [shown](Sales::show_link) and [followed](Sales::follow_link) by whoever has them.

mod checkout;
mod confirm;
mod links;

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::catalog::CatalogCache;
use crate::apply::{ApplyError, apply};
use crate::domain::access::{Entitlements, RefundThreshold};
use crate::domain::availability::{Availability, View};
use crate::domain::catalog::{Offer, Product, PublishedCatalog};
use crate::domain::decide::{Needs, Observation, Outcome, StoredSource};
use crate::domain::id::{IdError, LearnerId, SourceId};
use crate::domain::rate::{Action, Counter, TooOften};
use crate::domain::shop::Shop;
use crate::domain::time::Timestamp;
use crate::ports::{
    AccessReader, CatalogReader, CheckoutStore, Clock, Ledger, LedgerError, StripeCheckout,
    StripeError, StripeReader,
};

pub use checkout::Started;
pub use confirm::{Confirmation, SessionStatus};
pub use links::{CreatedLink, Followed, LinkOffer};

/// How often counting is tried while others count at the same moment.
const COUNTING_ROUNDS_MAX: u32 = 4;

/// Where facts, access, attempts, links and the catalog are stored.
pub trait Store: Ledger + AccessReader + CheckoutStore + CatalogReader {}
impl<T: Ledger + AccessReader + CheckoutStore + CatalogReader> Store for T {}

/// Stripe, which is asked about sessions, payments and disputes.
pub trait Stripe: StripeCheckout + StripeReader {}
impl<S: StripeCheckout + StripeReader> Stripe for S {}

/// What these use cases work with.
pub struct Sales<C, T, S> {
    /// Where everything is stored.
    pub table: T,
    /// What is on sale.
    pub catalog: CatalogCache<T>,
    /// Stripe's API.
    pub stripe: S,
    /// The site that learners are sent back to: an origin without a path.
    pub site_origin: String,
    /// The deployment as Stripe's objects name it.
    pub shop: Shop,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub refund_threshold: RefundThreshold,
    /// The time.
    pub clock: C,
}

/// Why nothing was sold, or a session not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum SalesError {
    /// The catalog has no such price.
    #[error("unknown price")]
    UnknownPrice,
    /// There is no such session, or it is another learner's.
    #[error("unknown session")]
    UnknownSession,
    /// There is no such link, or it has expired.
    #[error("unknown or expired link")]
    UnknownLink,
    /// The link's price is no longer for sale.
    #[error("the link's price is no longer for sale")]
    OfferEnded,
    /// All courses of the product are open to the learner.
    #[error("already entitled")]
    AlreadyEntitled,
    /// A payment for the product is being processed.
    #[error("payment processing")]
    PaymentProcessing,
    /// A payment for one of the product's courses is disputed.
    #[error("payment disputed")]
    PaymentDisputed,
    /// The learner has another checkout open, which a link may not close now.
    #[error("another checkout is open, which this link may not close yet")]
    CheckoutOpenElsewhere(TooOften),
    /// Too many requests.
    #[error("rate limited")]
    RateLimited(TooOften),
    /// The learner's other requests were quicker each time.
    #[error("too many concurrent requests")]
    Contended,
    /// The table failed.
    #[error("the table failed")]
    Table(#[from] LedgerError),
    /// What Stripe says about a session could not be applied.
    #[error("Stripe's answer could not be applied")]
    Apply(#[from] ApplyError),
    /// Stripe failed.
    #[error("Stripe failed")]
    Stripe(#[from] StripeError),
    /// Stripe's session has a value that this version doesn't know, and which.
    #[error("Stripe's session can't be read: {0}")]
    Unreadable(String),
    /// The system has no random numbers.
    #[error("no random numbers")]
    Randomness(#[from] getrandom::Error),
    /// A random id is not one.
    #[error("generated an invalid id")]
    Id(#[from] IdError),
}

/// What a learner wants to buy, with the catalog and the time by which it is judged.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    learner: &'a LearnerId,
    offer: Offer<'a>,
    published: &'a PublishedCatalog,
    now: Timestamp,
}

impl<C: Clock, T: Store, S: Stripe> Sales<C, T, S> {
    /// Applies what Stripe says about a session, by the webhook's own decide and commit.
    async fn ingest(&self, observation: &Observation) -> Result<Outcome, ApplyError> {
        apply(&self.table, &self.stripe, &self.clock, &self.shop, observation).await
    }

    /// Counts a tutor's call about this learner against the learner's limit.
    pub async fn admit_tutor(&self, learner: &LearnerId) -> Result<(), SalesError> {
        self.count(Counter::Learner(learner.clone(), Action::Tutor), self.clock.now()).await
    }

    /// Counts one more request, or says when to come back.
    async fn count(&self, counter: Counter, now: Timestamp) -> Result<(), SalesError> {
        for _ in 0..COUNTING_ROUNDS_MAX {
            let before = self.table.rate(&counter).await?;
            let count = counter.clone().count(before, now).map_err(SalesError::RateLimited)?;
            if self.table.count(&count).await? {
                return Ok(());
            }
        }
        // A window that begins and fills up each time it is read: too many at one moment.
        Err(SalesError::RateLimited(TooOften { retry_after_seconds: 1 }))
    }

    /// Refuses what is not for sale to this learner. Stripe is first asked about payments that are
    /// being processed, so that an event that never arrived doesn't keep the learner waiting.
    async fn refuse_unless_for_sale(
        &self,
        wanted: Wanted<'_>,
        entitlements: &Entitlements,
    ) -> Result<(), SalesError> {
        match self.refuse_by(wanted, entitlements) {
            Err(SalesError::PaymentProcessing) => {
                let view = self.view(wanted, entitlements);
                self.check_all_awaited(&view, wanted.offer.product).await?;
                self.refuse_by(wanted, &self.table.entitlements(wanted.learner).await?)
            }
            answer => answer,
        }
    }

    /// Asks Stripe about the payments being processed that would open a course of this product.
    pub async fn check_awaited_for(
        &self,
        learner: &LearnerId,
        product: &Product,
    ) -> Result<(), SalesError> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let entitlements = self.table.entitlements(learner).await?;
        let threshold = self.refund_threshold;
        let view =
            View { catalog: &published.catalog, entitlements: &entitlements, threshold, now };
        self.check_all_awaited(&view, product).await
    }

    async fn check_all_awaited(
        &self,
        view: &View<'_>,
        product: &Product,
    ) -> Result<(), SalesError> {
        for source in view.awaited(product) {
            self.check_awaited(source, view.now).await?;
        }
        Ok(())
    }

    fn refuse_by(&self, wanted: Wanted<'_>, entitlements: &Entitlements) -> Result<(), SalesError> {
        match self.view(wanted, entitlements).availability(wanted.offer.product) {
            Availability::ForSale { .. } => Ok(()),
            Availability::AlreadyEntitled => Err(SalesError::AlreadyEntitled),
            Availability::PaymentProcessing => Err(SalesError::PaymentProcessing),
            Availability::PaymentDisputed => Err(SalesError::PaymentDisputed),
        }
    }

    const fn view<'a>(&self, wanted: Wanted<'a>, entitlements: &'a Entitlements) -> View<'a> {
        let threshold = self.refund_threshold;
        View { catalog: &wanted.published.catalog, entitlements, threshold, now: wanted.now }
    }

    async fn stored(&self, source: &SourceId) -> Result<Option<StoredSource>, SalesError> {
        let needs = Needs { source: Some(source), ..Needs::default() };
        Ok(self.table.load(needs).await?.source)
    }

    /// Asks Stripe about a payment that is being processed. Without an answer it stays so.
    async fn check_awaited(&self, source: &SourceId, now: Timestamp) -> Result<(), SalesError> {
        let Some(stored) = self.stored(source).await? else { return Ok(()) };
        let Some(purchase) = stored.facts.purchase() else { return Ok(()) };
        if let Ok(Some(found)) = self.stripe.session(&purchase.sale.session, now).await {
            self.ingest(&found.observation).await?;
        }
        Ok(())
    }
}

/// A complete session without facts, which can be neither confirmed nor sold again.
fn undescribed() -> SalesError {
    SalesError::Unreadable("the session is complete and doesn't say what was bought".to_owned())
}

/// An id of so many random bytes.
fn random_id<T: FromStr<Err = IdError>, const BYTES: usize>() -> Result<T, SalesError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).parse()?)
}
