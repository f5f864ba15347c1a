//! From "I want this" to the one session that this learner may pay.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use shared::domain::access::Entitlements;
use shared::domain::availability::{Availability, View};
use shared::domain::catalog::{Offer, PublishedCatalog};
use shared::domain::checkout::{
    Attempt, Buyer, Channel, Next, OpenSession, Plan, SessionRequest, SessionState, next, plan,
};
use shared::domain::decide::{Content, Needs};
use shared::domain::id::{
    AttemptId, CustomerId, DeploymentMark, IdError, LearnerId, PriceKey, SessionId, SourceId,
};
use shared::domain::rate::{Action, Counter};
use shared::domain::time::Timestamp;
use shared::ports::{Clock, StripeError};
use shared::telemetry::{self, Metric};

use crate::failure::Failure;
use crate::{App, Store, Stripe};

/// How often the state is read anew when another request of the learner was quicker. One purchase
/// needs two rounds at most: a customer, then a session.
const ROUNDS_MAX: u32 = 6;

/// 144 random bits: no two attempts share a key.
const ATTEMPT_BYTES: usize = 18;

/// A session to send the learner to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The session.
    pub(crate) session: OpenSession,
    /// Whether this request opened it.
    pub(crate) is_new: bool,
}

/// A learner's wish to buy at one price, with all that does not change while it is looked at.
pub(crate) struct Wish<'a> {
    pub(crate) learner: &'a LearnerId,
    pub(crate) channel: Channel,
    pub(crate) offer: Offer<'a>,
    pub(crate) published: &'a PublishedCatalog,
    pub(crate) now: Timestamp,
}

/// What one look at the state has led to.
enum Step {
    Done(Opened),
    /// Something has changed: look again.
    Again,
    /// Another instance has begun the attempt with this later version of the catalog.
    Outdated(u64),
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// The open session in which this learner can buy the price's product: theirs from before, if
    /// it was opened the same way at the same price, or a new one in place of any other.
    pub(crate) async fn open(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
        channel: Channel,
    ) -> Result<Opened, Failure> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        published.catalog.offer(price).ok_or(Failure::UnknownPrice)?;
        if channel == Channel::Site {
            self.admit(Counter::Learner(learner.clone(), Action::Checkout), now).await?;
        }
        let mut version = published.version;
        for _ in 0..ROUNDS_MAX {
            let published = self.catalog.at_least(version, now).await?;
            let offer = published.catalog.offer(price).ok_or(Failure::UnknownPrice)?;
            let wish = Wish { learner, channel, offer, published: &published, now };
            match self.step(&wish).await? {
                Step::Done(opened) => {
                    handed_out(&wish, &opened);
                    return Ok(opened);
                }
                Step::Again => {}
                Step::Outdated(later) => version = later,
            }
        }
        Err(Failure::Contended)
    }

    async fn step(&self, wish: &Wish<'_>) -> Result<Step, Failure> {
        let buyer = self.table.buyer(wish.learner, &wish.offer.product.id).await?;
        self.refuse_unless_for_sale(wish, buyer.entitlements.clone()).await?;
        let version = buyer.attempt.as_ref().map_or(0, |attempt| attempt.catalog_version);
        if version > wish.published.version {
            return Ok(Step::Outdated(version));
        }
        let customer = match (wish.channel, &buyer.customer) {
            (Channel::Link, _) => None,
            (Channel::Site, Some(customer)) => Some(customer.clone()),
            (Channel::Site, None) => {
                self.make_customer(wish, buyer.deleted_customer.as_ref()).await?;
                return Ok(Step::Again);
            }
        };
        let request = self.session_request(wish, customer)?;
        let fingerprint = fingerprint(&request, &self.shop.mark);
        match plan(buyer.attempt.as_ref(), &fingerprint, wish.now) {
            Plan::Begin => {
                // Its session may be open already: its opener has not said so yet.
                if let Some(unopened) = &buyer.attempt {
                    self.may_replace(wish, unopened).await?;
                }
                self.begin(wish, &buyer, &request, fingerprint).await
            }
            Plan::Open(attempt) => self.open_attempt(wish, attempt, &request).await,
            Plan::Look(session) => self.look(wish, &buyer, &request, session, fingerprint).await,
        }
    }

    /// Refuses what is not for sale to this learner. Payments that are on their way are first
    /// looked up at Stripe.
    pub(crate) async fn refuse_unless_for_sale(
        &self,
        wish: &Wish<'_>,
        entitlements: Entitlements,
    ) -> Result<(), Failure> {
        match self.refuse_by(wish, &entitlements) {
            Err(Failure::PaymentProcessing) => {
                let view = self.view(wish, &entitlements);
                let awaited = view.awaited(wish.offer.product).cloned().collect();
                self.look_at_awaited(wish, awaited).await?;
                self.refuse_by(wish, &self.table.entitlements(wish.learner).await?)
            }
            answer => answer,
        }
    }

    fn refuse_by(&self, wish: &Wish<'_>, entitlements: &Entitlements) -> Result<(), Failure> {
        match self.view(wish, entitlements).availability(wish.offer.product) {
            Availability::ForSale { .. } => Ok(()),
            Availability::AlreadyEntitled => Err(Failure::AlreadyEntitled),
            Availability::PaymentProcessing => Err(Failure::PaymentProcessing),
            Availability::PaymentDisputed => Err(Failure::PaymentDisputed),
        }
    }

    const fn view<'a>(&self, wish: &Wish<'a>, entitlements: &'a Entitlements) -> View<'a> {
        let threshold = self.refund_threshold;
        View { catalog: &wish.published.catalog, entitlements, threshold, now: wish.now }
    }

    /// Asks Stripe about payments that are on their way, so that an event that never came does not
    /// keep the learner waiting for ever. Without an answer they stay on their way.
    async fn look_at_awaited(
        &self,
        wish: &Wish<'_>,
        awaited: Vec<SourceId>,
    ) -> Result<(), Failure> {
        for source in &awaited {
            let needs = Needs { source: Some(source), ..Needs::default() };
            let Some(stored) = self.table.load(needs).await?.source else { continue };
            let Some(purchase) = stored.facts.purchase() else { continue };
            let session = &purchase.sale.session;
            if let Ok(Some(found)) = self.stripe.session(session, wish.now).await {
                self.ingest(&found.observation).await?;
            }
        }
        Ok(())
    }

    /// Whether an attempt whose session may be open can be replaced. The learner themselves may
    /// always do so. Whoever holds a link may be anybody: they close a session that the learner
    /// opened on the site once an hour at most, so that a link keeps nobody from buying.
    async fn may_replace(&self, wish: &Wish<'_>, attempt: &Attempt) -> Result<(), Failure> {
        match (wish.channel, attempt.channel) {
            (Channel::Site, _) | (Channel::Link, Channel::Link) => Ok(()),
            (Channel::Link, Channel::Site) => {
                let counter = Counter::Learner(wish.learner.clone(), Action::ReplacedByLink);
                match self.admit(counter, wish.now).await {
                    Err(Failure::RateLimited(when)) => Err(Failure::CheckoutOpenElsewhere(when)),
                    admitted => admitted,
                }
            }
        }
    }

    /// Makes the learner a Stripe customer, in the place of one that Stripe no longer knows. Of two
    /// requests at once both get the same, by the idempotency key; should they not, the first to
    /// write it down wins and the other reads it.
    async fn make_customer(
        &self,
        wish: &Wish<'_>,
        replaces: Option<&CustomerId>,
    ) -> Result<(), Failure> {
        let (learner, now) = (wish.learner, wish.now);
        let customer = match self.stripe.create_customer(learner, replaces, None, now).await {
            // Stripe keeps its answer under this key for a day, an error too.
            Err(error) if error.is_final() => {
                let other = random_id::<AttemptId, ATTEMPT_BYTES>()?;
                self.stripe.create_customer(learner, replaces, Some(&other), now).await?
            }
            created => created?,
        };
        self.table.set_customer(learner, &customer, replaces).await?;
        Ok(())
    }

    /// All redirects come from the configuration, all prices from the catalog.
    fn session_request(
        &self,
        wish: &Wish<'_>,
        customer: Option<CustomerId>,
    ) -> Result<SessionRequest, Failure> {
        let price = &wish.offer.price.key;
        let stripe_price =
            wish.published.stripe_prices.get(price).ok_or(Failure::UnknownPrice)?.clone();
        // Whoever comes by a link is signed in nowhere here, and goes back to where they got it.
        let from = match wish.channel {
            Channel::Site => "",
            Channel::Link => "&from=chat",
        };
        let site = &self.site_origin;
        Ok(SessionRequest {
            learner: wish.learner.clone(),
            customer,
            product: wish.offer.product.id.clone(),
            price: price.clone(),
            stripe_price,
            success_url: format!("{site}/success?session_id={{CHECKOUT_SESSION_ID}}{from}"),
            cancel_url: format!("{site}/cancel?price={price}{from}"),
        })
    }

    async fn begin(
        &self,
        wish: &Wish<'_>,
        buyer: &Buyer,
        request: &SessionRequest,
        fingerprint: String,
    ) -> Result<Step, Failure> {
        let attempt = Attempt {
            id: random_id::<_, ATTEMPT_BYTES>()?,
            fingerprint,
            catalog_version: wish.published.version,
            started_at: wish.now,
            channel: wish.channel,
            session: None,
        };
        let (product, replaces) = (&wish.offer.product.id, buyer.attempt.as_ref());
        if self.table.begin_attempt(wish.learner, product, &attempt, replaces).await? {
            self.open_attempt(wish, &attempt, request).await
        } else {
            Ok(Step::Again)
        }
    }

    async fn open_attempt(
        &self,
        wish: &Wish<'_>,
        attempt: &Attempt,
        request: &SessionRequest,
    ) -> Result<Step, Failure> {
        let session = match self.stripe.open_session(request, &attempt.id, wish.now).await {
            Ok(session) => session,
            Err(error) => return self.not_opened(wish, attempt, request, error).await,
        };
        let session = match session.state {
            SessionState::Open(session) => session,
            SessionState::Unreadable(reason) => return Err(Failure::Unreadable(reason)),
            SessionState::Complete | SessionState::Gone => {
                return Err(Failure::Unreadable("a new session is not open".to_owned()));
            }
        };
        let product = &wish.offer.product.id;
        if self.table.record_session(wish.learner, product, &attempt.id, &session).await? {
            return Ok(Step::Done(Opened { session, is_new: true }));
        }
        // Another request has joined this attempt and recorded the same session, or has begun
        // another attempt in its place. Then only that one's session may be paid, and this one is
        // closed: nobody else knows of it.
        let now_on_record = self.table.buyer(wish.learner, product).await?.attempt;
        if now_on_record.is_some_and(|on_record| on_record.id == attempt.id) {
            Ok(Step::Done(Opened { session, is_new: false }))
        } else {
            self.expire(&session.id, wish.now).await?;
            Ok(Step::Again)
        }
    }

    async fn not_opened(
        &self,
        wish: &Wish<'_>,
        attempt: &Attempt,
        request: &SessionRequest,
        error: StripeError,
    ) -> Result<Step, Failure> {
        if error.is_final() {
            // This idempotency key would bring the same answer for a day: the next try gets
            // another. What Stripe may have opened under this one is in nobody's hands, unless
            // another request has got it and written it down.
            let renewed = random_id::<AttemptId, ATTEMPT_BYTES>()?;
            let product = &wish.offer.product.id;
            if !self.table.renew_attempt(wish.learner, product, &attempt.id, &renewed).await? {
                return Ok(Step::Again);
            }
        }
        if let (StripeError::Missing { param }, Some(customer)) = (&error, &request.customer)
            && param == "customer"
        {
            self.make_customer(wish, Some(customer)).await?;
            return Ok(Step::Again);
        }
        Err(error.into())
    }

    async fn look(
        &self,
        wish: &Wish<'_>,
        buyer: &Buyer,
        request: &SessionRequest,
        session: &OpenSession,
        fingerprint: String,
    ) -> Result<Step, Failure> {
        let Some(attempt) = &buyer.attempt else { return Ok(Step::Again) };
        let found = self.stripe.session(&session.id, wish.now).await?;
        let state = found.as_ref().map_or(SessionState::Gone, |found| found.state.clone());
        match next(attempt, state, &fingerprint, wish.now) {
            Next::Reuse(session) => Ok(Step::Done(Opened { session, is_new: false })),
            Next::ExpireAndBegin(old) => {
                self.may_replace(wish, attempt).await?;
                if self.expire(&old, wish.now).await? {
                    self.begin(wish, buyer, request, fingerprint).await
                } else {
                    Ok(Step::Again)
                }
            }
            Next::Settle => {
                let Some(found) = found else { return Ok(Step::Again) };
                self.ingest(&found.observation).await?;
                let entitlements = self.table.entitlements(wish.learner).await?;
                self.refuse_by(wish, &entitlements)?;
                // What has failed, was taken back, or is of before its buyer was erased leaves
                // something to buy. What opens the product, or may yet, was refused just now.
                let is_told = match &found.observation.content {
                    Content::Facts(source, _) => {
                        entitlements.of(source).is_some() || self.is_recorded(source).await?
                    }
                    Content::CustomerDeleted(..)
                    | Content::Nothing(_)
                    | Content::Unreadable { .. } => false,
                };
                if !is_told {
                    let reason = "a session is complete, and it can't be told how";
                    return Err(Failure::Unreadable(reason.to_owned()));
                }
                self.begin(wish, buyer, request, fingerprint).await
            }
            Next::Begin => self.begin(wish, buyer, request, fingerprint).await,
            Next::Refuse(reason) => Err(Failure::Unreadable(reason)),
        }
    }

    async fn is_recorded(&self, source: &SourceId) -> Result<bool, Failure> {
        Ok(self.table.sources(std::slice::from_ref(source)).await?.contains_key(source))
    }

    /// Closes a session. Says whether it is closed; if not, its buyer was quicker.
    async fn expire(&self, session: &SessionId, now: Timestamp) -> Result<bool, Failure> {
        match self.stripe.expire_session(session, now).await {
            Ok(()) | Err(StripeError::Missing { .. }) => Ok(true),
            Err(StripeError::Refused { status: 400, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn handed_out(wish: &Wish<'_>, opened: &Opened) {
    if opened.is_new {
        telemetry::count(Metric::SessionOpened);
    }
    tracing::info!(
        learner.id = %wish.learner,
        stripe.object_id = %opened.session.id,
        price = %wish.offer.price.key,
        outcome = if opened.is_new { "opened" } else { "reused" },
        "session handed out"
    );
}

/// An id of so many random bytes.
pub(crate) fn random_id<T: FromStr<Err = IdError>, const BYTES: usize>() -> Result<T, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).parse()?)
}

/// A digest of all that a session is opened with, and of how this code opens it.
fn fingerprint(request: &SessionRequest, mark: &DeploymentMark) -> String {
    let parts = [
        "3",
        mark.as_str(),
        request.customer.as_ref().map_or("", CustomerId::as_str),
        request.product.as_str(),
        request.price.as_str(),
        request.stripe_price.as_str(),
        &request.success_url,
        &request.cancel_url,
    ];
    URL_SAFE_NO_PAD.encode(Sha256::digest(parts.join("\n")))
}
