//! Opening a session, step by step.
//!
//! A request may end after any step: its function is killed, or what it asks for fails. Nothing is
//! rolled back then. The next request of the learner reads what is stored and goes on from there.
//!
//! | step | what it does | if the request ends after it |
//! |---|---|---|
//! | read | reads access, customer, attempt and counter | nothing has changed |
//! | count | counts the request against its limit | it stays counted |
//! | create customer | creates the learner's Stripe customer, if there is none, under an idempotency key made of the learner's id | for a day the next request gets the same customer; after that it creates another, and the first is never used |
//! | begin attempt | records a new attempt, and with it the new customer, in one transaction | the next request resumes the attempt |
//! | open session | has Stripe open a session under the attempt's id | nobody has its address; the next request gets the same session for 23 hours, and Stripe closes an abandoned one after a day |
//! | record session | records the session for the attempt | the next request finds it |
//!
//! If there is a session on record, these come before a new attempt:
//!
//! | step | what it does | if the request ends after it |
//! |---|---|---|
//! | check session | asks Stripe about it; if it fits, that is the session to pay | nothing has changed |
//! | close session | has Stripe expire it | the next request finds it closed, and begins an attempt |
//! | ingest | applies what a complete session says, like an event | the next request finds the purchase |
//!
//! Each write is made only if what it replaces is still what was read. If not, another request of
//! the learner was quicker, and this one reads again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Sales, SalesError, Store, Stripe, Wanted, random_id, undescribed};
use crate::domain::checkout::{
    Attempt, AttemptAction, Buyer, Channel, CheckoutRequest, NewCustomer, OpenSession, Session,
    SessionAction, SessionRequest, SessionState, attempt_action, session_action,
};
use crate::domain::id::{AttemptId, CustomerId, DeploymentMark, SessionId};
use crate::domain::rate::{Action, Counter};
use crate::ports::{Clock, LedgerError, StripeError};
use crate::telemetry::{self, Metric};

/// How often the state is read again because another request of the learner was quicker.
const ROUNDS_MAX: u32 = 8;

/// How often recording a session is tried while a transaction is writing the same item.
const RECORDINGS_MAX: u32 = 3;

/// 144 random bits: no two attempts share an idempotency key.
const ATTEMPT_BYTES: usize = 18;

/// The session to send a learner to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The session.
    pub session: OpenSession,
    /// Whether this request opened it.
    pub is_new: bool,
}

/// What was read, and what it is read for.
struct Round<'a> {
    request: &'a CheckoutRequest,
    wanted: Wanted<'a>,
    buyer: &'a Buyer,
    /// A customer that Stripe doesn't know, as an earlier round found out.
    missing_customer: Option<&'a CustomerId>,
}

/// The session that suits the request.
struct Suitable {
    request: SessionRequest,
    fingerprint: String,
    /// The customer in it, if this request created it.
    new_customer: Option<NewCustomer>,
}

/// Which request began an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    ByThisRequest,
    ByAnEarlierOne,
}

/// Why a round ended without a session.
enum Stop {
    /// Another request of the learner was quicker.
    Conflict,
    /// Stripe doesn't know the customer on record.
    CustomerMissing(CustomerId),
    Failed(SalesError),
}

impl From<SalesError> for Stop {
    fn from(error: SalesError) -> Self {
        Self::Failed(error)
    }
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StripeError> for Stop {
    fn from(error: StripeError) -> Self {
        Self::Failed(error.into())
    }
}

impl<C: Clock, T: Store, S: Stripe> Sales<C, T, S> {
    /// The open session in which a learner can buy at a price: the one they have, if its parameters
    /// fit, or a new one in place of any other.
    pub async fn start_checkout(&self, request: &CheckoutRequest) -> Result<Started, SalesError> {
        let CheckoutRequest { learner, price, .. } = request;
        let now = self.clock.now();
        let mut published = self.catalog.get(now).await?;
        let (mut is_counted, mut missing_customer) = (false, None);
        for _ in 0..ROUNDS_MAX {
            let offer = published.catalog.offer(price).ok_or(SalesError::UnknownPrice)?;
            let buyer = self.table.buyer(learner, &offer.product.id, &request.counter()).await?;
            if !is_counted {
                let count = request.counter().count(buyer.rate, now);
                let count = count.map_err(SalesError::RateLimited)?;
                if !self.table.count(&count).await? {
                    continue;
                }
                is_counted = true;
            }
            // Another instance has begun the attempt with a later version of the catalog.
            let begun_with = buyer.attempt.as_ref().map_or(0, |attempt| attempt.catalog_version);
            if begun_with > published.version {
                published = self.catalog.at_least(begun_with, now).await?;
                continue;
            }
            let wanted = Wanted { learner, offer, published: &published, now };
            let missing = missing_customer.as_ref();
            let round = Round { request, wanted, buyer: &buyer, missing_customer: missing };
            match self.round(&round).await {
                Ok(started) => {
                    log(request, &started);
                    return Ok(started);
                }
                Err(Stop::Conflict) => {}
                Err(Stop::CustomerMissing(customer)) => missing_customer = Some(customer),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Err(SalesError::Contended)
    }

    /// All that follows from what was read.
    async fn round(&self, round: &Round<'_>) -> Result<Started, Stop> {
        self.refuse_unless_for_sale(round.wanted, &round.buyer.entitlements).await?;
        let new_customer = self.create_customer(round).await?;
        let suitable = self.suitable(round, new_customer)?;
        let on_record = round.buyer.attempt.as_ref();
        match attempt_action(on_record, &suitable.fingerprint, round.wanted.now) {
            AttemptAction::Begin => self.begin_attempt(round, &suitable).await,
            AttemptAction::Replace => {
                self.may_replace(round).await?;
                self.begin_attempt(round, &suitable).await
            }
            AttemptAction::Resume(attempt) => {
                let attempt = attempt.clone();
                self.open_session(round, &suitable, attempt, Begun::ByAnEarlierOne).await
            }
            AttemptAction::CheckSession(attempt, session) => {
                self.check_session(round, &suitable, attempt, session).await
            }
        }
    }

    /// Creates the learner's Stripe customer, unless there is one that Stripe knows. Concurrent
    /// requests get the same one, by the idempotency key; if they don't, the first to record theirs
    /// wins.
    async fn create_customer(&self, round: &Round<'_>) -> Result<Option<NewCustomer>, SalesError> {
        let (learner, now) = (round.wanted.learner, round.wanted.now);
        let on_record = round.buyer.customer.as_ref();
        let is_known = on_record.is_some_and(|it| Some(it) != round.missing_customer);
        match round.request.channel {
            Channel::Service | Channel::Link(_) => return Ok(None),
            Channel::Site if is_known => return Ok(None),
            Channel::Site => {}
        }
        let replaces = on_record.or(round.buyer.deleted_customer.as_ref());
        let id = match self.stripe.create_customer(learner, replaces, None, now).await {
            // Stripe keeps its answer under this key for a day, even an error.
            Err(error) if error.is_final() => {
                let other = random_id::<AttemptId, ATTEMPT_BYTES>()?;
                self.stripe.create_customer(learner, replaces, Some(&other), now).await?
            }
            created => created?,
        };
        Ok(Some(NewCustomer { id, replaces: replaces.cloned() }))
    }

    /// The session that suits the request. All redirects come from the configuration, all prices
    /// from the catalog.
    fn suitable(
        &self,
        round: &Round<'_>,
        new_customer: Option<NewCustomer>,
    ) -> Result<Suitable, SalesError> {
        let Wanted { learner, offer, published, .. } = round.wanted;
        let price = &offer.price.key;
        let stripe_price = published.stripe_prices.get(price).ok_or(SalesError::UnknownPrice)?;
        // Whoever comes from a chat is not signed in on the site, and goes back to the chat.
        let (customer, from) = match round.request.channel {
            Channel::Site => {
                let created = new_customer.as_ref().map(|created| &created.id);
                (created.or(round.buyer.customer.as_ref()).cloned(), "")
            }
            Channel::Service | Channel::Link(_) => (None, "&from=chat"),
        };
        let site = &self.site_origin;
        let request = SessionRequest {
            learner: learner.clone(),
            customer,
            product: offer.product.id.clone(),
            price: price.clone(),
            stripe_price: stripe_price.clone(),
            success_url: format!("{site}/success?session_id={{CHECKOUT_SESSION_ID}}{from}"),
            cancel_url: format!("{site}/cancel?price={price}{from}"),
        };
        let fingerprint = fingerprint(&request, &self.shop.mark);
        Ok(Suitable { request, fingerprint, new_customer })
    }

    /// Records a new attempt in place of the one that was read, and opens its session.
    async fn begin_attempt(&self, round: &Round<'_>, suitable: &Suitable) -> Result<Started, Stop> {
        let Wanted { learner, offer, published, now } = round.wanted;
        let attempt = Attempt {
            id: random_id::<_, ATTEMPT_BYTES>()?,
            fingerprint: suitable.fingerprint.clone(),
            catalog_version: published.version,
            started_at: now,
            session: None,
        };
        let (product, replaces) = (&offer.product.id, round.buyer.attempt.as_ref());
        let customer = suitable.new_customer.as_ref();
        if !self.table.begin_attempt(learner, product, &attempt, replaces, customer).await? {
            return Err(Stop::Conflict);
        }
        self.open_session(round, suitable, attempt, Begun::ByThisRequest).await
    }

    /// Has Stripe open the attempt's session, and records it.
    async fn open_session(
        &self,
        round: &Round<'_>,
        suitable: &Suitable,
        mut attempt: Attempt,
        mut begun: Begun,
    ) -> Result<Started, Stop> {
        let Wanted { learner, offer, now, .. } = round.wanted;
        loop {
            let opened = self.stripe.open_session(&suitable.request, &attempt.id, now).await;
            let error = match opened {
                Ok(session) => return self.record_session(round, &attempt, session).await,
                Err(error) => error,
            };
            if let (StripeError::Missing { param }, Some(customer)) =
                (&error, &suitable.request.customer)
                && param == "customer"
            {
                return Err(Stop::CustomerMissing(customer.clone()));
            }
            if !error.is_final() {
                return Err(error.into());
            }
            // Stripe gives the same answer under this idempotency key for a day, so the attempt
            // gets another. Nobody has the address of what Stripe may have opened under the old
            // one, unless another request has recorded it.
            let id = random_id::<AttemptId, ATTEMPT_BYTES>()?;
            if !self.table.renew_attempt(learner, &offer.product.id, &attempt.id, &id).await? {
                return Err(Stop::Conflict);
            }
            // An error that Stripe kept for an earlier request says nothing about this one.
            if begun == Begun::ByThisRequest {
                return Err(error.into());
            }
            attempt.id = id;
            begun = Begun::ByThisRequest;
        }
    }

    /// Records the session that Stripe opened for an attempt. If the attempt has been replaced, only
    /// the other attempt's session may be paid, so this one is closed: nobody has its address.
    async fn record_session(
        &self,
        round: &Round<'_>,
        attempt: &Attempt,
        session: Session,
    ) -> Result<Started, Stop> {
        let Wanted { learner, offer, .. } = round.wanted;
        let session = match session.state {
            SessionState::Open(session) => session,
            SessionState::Unreadable(reason) => return Err(SalesError::Unreadable(reason).into()),
            SessionState::Complete | SessionState::Gone => {
                return Err(SalesError::Unreadable("a new session is not open".to_owned()).into());
            }
        };
        let product = &offer.product.id;
        for _ in 0..RECORDINGS_MAX {
            if self.table.record_session(learner, product, &attempt.id, &session).await? {
                return Ok(Started { session, is_new: true });
            }
            let counter = round.request.counter();
            let on_record = self.table.buyer(learner, product, &counter).await?.attempt;
            let same_attempt = on_record.filter(|on_record| on_record.id == attempt.id);
            match same_attempt.map(|on_record| on_record.session) {
                // Another request has resumed the attempt and recorded the session.
                Some(Some(recorded)) if recorded.id == session.id => {
                    return Ok(Started { session, is_new: false });
                }
                // A transaction was writing the item.
                Some(None) => {}
                Some(Some(_)) | None => {
                    self.close_session(&session.id, round).await?;
                    return Err(Stop::Conflict);
                }
            }
        }
        Err(SalesError::Contended.into())
    }

    /// Asks Stripe about the session on record, and does what follows.
    async fn check_session(
        &self,
        round: &Round<'_>,
        suitable: &Suitable,
        attempt: &Attempt,
        session: &OpenSession,
    ) -> Result<Started, Stop> {
        let now = round.wanted.now;
        let found = self.stripe.session(&session.id, now).await?;
        let state = found.as_ref().map_or(SessionState::Gone, |found| found.state.clone());
        let old = match session_action(attempt, state, &suitable.fingerprint, now) {
            SessionAction::Reuse(session) => return Ok(Started { session, is_new: false }),
            SessionAction::Refuse(reason) => return Err(SalesError::Unreadable(reason).into()),
            SessionAction::Begin => return self.begin_attempt(round, suitable).await,
            SessionAction::Ingest => {
                let Some(found) = found else { return Err(Stop::Conflict) };
                self.ingest_session(round, &found).await?;
                return self.begin_attempt(round, suitable).await;
            }
            SessionAction::Renew(old) => old,
            SessionAction::Replace(old) => {
                self.may_replace(round).await?;
                old
            }
        };
        if !self.close_session(&old, round).await? {
            return Err(Stop::Conflict);
        }
        self.begin_attempt(round, suitable).await
    }

    /// Applies what a complete session says. Fails if the product is open to the learner then, or
    /// may be later. What has failed, was taken back, or began before the learner was erased leaves
    /// something to buy.
    async fn ingest_session(&self, round: &Round<'_>, found: &Session) -> Result<(), SalesError> {
        self.ingest(&found.observation).await?;
        let entitlements = self.table.entitlements(round.wanted.learner).await?;
        self.refuse_by(round.wanted, &entitlements)?;
        let is_on_record = match found.observation.content.source() {
            Some(source) => {
                entitlements.of(source).is_some() || self.stored(source).await?.is_some()
            }
            None => false,
        };
        if is_on_record { Ok(()) } else { Err(undescribed()) }
    }

    /// Whether a session with other parameters may be closed. The learner may always do so on the
    /// site, and a service for them. A link may be in anybody's hands: links close a learner's session at most once an hour,
    /// so that having one keeps nobody from buying.
    async fn may_replace(&self, round: &Round<'_>) -> Result<(), SalesError> {
        match round.request.channel {
            Channel::Site | Channel::Service => Ok(()),
            Channel::Link(_) => {
                let counter =
                    Counter::Learner(round.wanted.learner.clone(), Action::ReplacedByLink);
                match self.count(counter, round.wanted.now).await {
                    Err(SalesError::RateLimited(when)) => {
                        Err(SalesError::CheckoutOpenElsewhere(when))
                    }
                    answer => answer,
                }
            }
        }
    }

    /// Closes a session, and returns whether it is closed. If not, its buyer was quicker.
    async fn close_session(
        &self,
        session: &SessionId,
        round: &Round<'_>,
    ) -> Result<bool, StripeError> {
        match self.stripe.expire_session(session, round.wanted.now).await {
            Ok(()) | Err(StripeError::Missing { .. }) => Ok(true),
            Err(StripeError::Refused { status: 400, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn log(request: &CheckoutRequest, Started { session, is_new }: &Started) {
    if *is_new {
        telemetry::count(Metric::SessionOpened);
    }
    tracing::info!(
        learner.id = %request.learner,
        stripe.object_id = %session.id,
        price = %request.price,
        outcome = if *is_new { "opened" } else { "reused" },
        "checkout started"
    );
}

/// A digest of all parameters of a session, and of how this code opens it.
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
