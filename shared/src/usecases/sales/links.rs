//! Upgrade links: created for a learner in a chat, opened days later by whoever has them.
//!
//! Chat clients, mail scanners and browsers open links on their own, so showing one changes nothing.
//! Only following it opens a session.

use super::{Sales, SalesError, Store, Stripe, Wanted, random_id};
use crate::domain::catalog::{Offer, Price, Product};
use crate::domain::checkout::{Channel, CheckoutRequest, Link, OpenSession};
use crate::domain::id::{LearnerId, LinkId, PriceKey};
use crate::domain::rate::{Action, Counter};
use crate::domain::time::{DAY, Timestamp};
use crate::ports::Clock;

/// How long a link works.
const LINK_DAYS: i64 = 30;

/// 192 random bits: nobody guesses one.
const LINK_BYTES: usize = 24;
const _: () = assert!(LINK_BYTES * 4 == LinkId::LENGTH * 3); // base64

/// A link that was just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedLink {
    /// Its address.
    pub url: String,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// What a link sells, and until when. It never says to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOffer {
    /// What it sells.
    pub product: Product,
    /// At which price.
    pub price: Price,
    /// The titles of the product's courses.
    pub course_titles: Vec<String>,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

impl LinkOffer {
    /// The product at its price.
    #[must_use]
    pub const fn offer(&self) -> Offer<'_> {
        Offer { product: &self.product, price: &self.price }
    }
}

/// What following a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The session in which the link's learner can buy.
    Pay(OpenSession),
    /// The learner has it already.
    AlreadyEntitled,
    /// A payment for it is being processed.
    PaymentProcessing,
}

impl<C: Clock, T: Store, S: Stripe> Sales<C, T, S> {
    /// Creates a link through which this learner can buy at this price.
    pub async fn create_link(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
    ) -> Result<CreatedLink, SalesError> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let offer = published.catalog.offer(price).ok_or(SalesError::UnknownPrice)?;
        self.count(Counter::Learner(learner.clone(), Action::Link), now).await?;
        let wanted = Wanted { learner, offer, published: &published, now };
        let entitlements = self.table.entitlements(learner).await?;
        self.refuse_unless_for_sale(wanted, &entitlements).await?;
        let id: LinkId = random_id::<_, LINK_BYTES>()?;
        let expires_at = now.plus_seconds(LINK_DAYS * DAY);
        let link = Link { learner: learner.clone(), price: price.clone(), expires_at };
        if !self.table.put_link(&id, &link).await? {
            return Err(SalesError::Contended);
        }
        tracing::info!(learner.id = %learner, price = %price, "upgrade link created");
        Ok(CreatedLink { url: format!("{}/api/go/{id}", self.site_origin), expires_at })
    }

    /// What a link sells. It only reads.
    pub async fn show_link(&self, id: &LinkId) -> Result<LinkOffer, SalesError> {
        let now = self.clock.now();
        let Link { price, expires_at, .. } = self.working_link(id, now).await?;
        let published = self.catalog.get(now).await?;
        let catalog = &published.catalog;
        let Offer { product, price } = catalog.offer(&price).ok_or(SalesError::OfferEnded)?;
        let courses = product.courses.iter().filter_map(|id| catalog.course(id));
        Ok(LinkOffer {
            product: product.clone(),
            price: price.clone(),
            course_titles: courses.map(|course| course.title.clone()).collect(),
            expires_at,
        })
    }

    /// Opens the session in which the link's learner can buy, unless nothing is left to pay.
    pub async fn follow_link(&self, id: &LinkId) -> Result<Followed, SalesError> {
        let Link { learner, price, .. } = self.working_link(id, self.clock.now()).await?;
        let request = CheckoutRequest { learner, price, channel: Channel::Link(id.clone()) };
        match self.start_checkout(&request).await {
            Ok(started) => Ok(Followed::Pay(started.session)),
            Err(SalesError::AlreadyEntitled) => Ok(Followed::AlreadyEntitled),
            Err(SalesError::PaymentProcessing) => Ok(Followed::PaymentProcessing),
            Err(SalesError::UnknownPrice) => Err(SalesError::OfferEnded),
            Err(error) => Err(error),
        }
    }

    /// The link of this id, unless it has expired.
    async fn working_link(&self, id: &LinkId, now: Timestamp) -> Result<Link, SalesError> {
        let link = self.table.link(id).await?.filter(|link| now < link.expires_at);
        link.ok_or(SalesError::UnknownLink)
    }
}
