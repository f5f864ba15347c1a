//! Upgrade links: made for a learner in a chat, opened days later, by whoever has them.

use shared::domain::checkout::{Channel, Link};
use shared::domain::id::{LearnerId, LinkId, PriceKey};
use shared::domain::rate::Action;
use shared::domain::time::DAY;
use shared::ports::Clock;

use crate::failure::Failure;
use crate::open::{Wish, random_id};
use crate::{App, Store, Stripe};

/// How long a link leads to a payable session.
const LINK_DAYS: i64 = 30;

/// 192 random bits: nobody guesses one.
const LINK_BYTES: usize = 24;

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// Makes a link under which this learner can buy at this price, and says where it is.
    pub(crate) async fn make_link(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
    ) -> Result<(String, Link), Failure> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let offer = published.catalog.offer(price).ok_or(Failure::UnknownPrice)?;
        self.admit(learner, Action::Link, now).await?;
        let wish = Wish { learner, channel: Channel::Link, offer, published: &published, now };
        let holdings = self.table.holdings(learner).await?;
        self.refuse_unless_for_sale(&wish, holdings).await?;
        let id: LinkId = random_id::<_, LINK_BYTES>()?;
        let expires_at = now.plus_seconds(LINK_DAYS * DAY);
        let link = Link { learner: learner.clone(), price: price.clone(), expires_at };
        if !self.table.put_link(&id, &link).await? {
            return Err(Failure::Contended);
        }
        tracing::info!(learner.id = %learner, price = %price, outcome = "made", "upgrade link");
        Ok((format!("{}/api/go/{id}", self.site_origin), link))
    }

    /// Where the link leads now: to the learner's open session, or, when there is nothing left to
    /// pay, to the page that says so and sends them back to where they got it.
    pub(crate) async fn follow_link(&self, id: &LinkId) -> Result<String, Failure> {
        let now = self.clock.now();
        let link = self.table.link(id).await?.filter(|link| now < link.expires_at);
        let link = link.ok_or(Failure::UnknownLink)?;
        let status = match self.open(&link.learner, &link.price, Channel::Link).await {
            Ok(opened) => return Ok(opened.session.url),
            Err(Failure::AlreadyEntitled) => "paid",
            Err(Failure::PaymentProcessing) => "processing",
            Err(failure) => return Err(failure),
        };
        Ok(format!("{}/success?from=chat&status={status}", self.site_origin))
    }
}
