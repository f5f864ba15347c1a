//! A learner asks to buy: which session to give them, so that only one can be paid at a time.
//!
//! An attempt is recorded before Stripe is asked to open a session, and its id is Stripe's
//! idempotency key. So concurrent requests, and a retry after a crash, get the same session.

use super::access::Entitlements;
use super::decide::Observation;
use super::id::{
    AttemptId, CustomerId, LearnerId, LinkId, PriceKey, ProductId, SessionId, StripePriceId,
};
use super::rate::{Action, Counter, Rate};
use super::shop::Shop;
use super::time::{HOUR, MINUTE, Timestamp};

/// A learner's request to buy at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutRequest {
    /// Who buys.
    pub learner: LearnerId,
    /// At which price.
    pub price: PriceKey,
    /// Where the request comes from.
    pub channel: Channel,
}

impl CheckoutRequest {
    /// The rate limit that the request counts against.
    #[must_use]
    pub fn counter(&self) -> Counter {
        match &self.channel {
            Channel::Site | Channel::Service => {
                Counter::Learner(self.learner.clone(), Action::Checkout)
            }
            Channel::Link(link) => Counter::Link(link.clone()),
        }
    }
}

/// Where a request to buy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// The learner, signed in on the site.
    Site,
    /// A service for the learner. It shows the address in a chat, where it may be passed on, so
    /// Stripe's page must not show whose it is.
    Service,
    /// An upgrade link, which may be in anybody's hands: Stripe's page must not show whose it is.
    Link(LinkId),
}

/// What is stored about a learner who wants to buy a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyer {
    /// What they have.
    pub entitlements: Entitlements,
    /// Their Stripe customer.
    pub customer: Option<CustomerId>,
    /// The customer they had before Stripe reported it deleted.
    pub deleted_customer: Option<CustomerId>,
    /// Their latest attempt to buy the product, at any price.
    pub attempt: Option<Attempt>,
    /// How often the rate limit's counter has been used.
    pub rate: Option<Rate>,
}

/// A Stripe customer that was just created for a learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCustomer {
    /// Its id.
    pub id: CustomerId,
    /// The customer that was on record, which Stripe no longer has.
    pub replaces: Option<CustomerId>,
}

/// An upgrade link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who buys.
    pub learner: LearnerId,
    /// At which price.
    pub price: PriceKey,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// The parameters of a Checkout session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// Who buys.
    pub learner: LearnerId,
    /// Their Stripe customer. Stripe's page shows that customer's e-mail address and cards.
    pub customer: Option<CustomerId>,
    /// What they buy.
    pub product: ProductId,
    /// At which of its prices.
    pub price: PriceKey,
    /// Stripe's id of that price.
    pub stripe_price: StripePriceId,
    /// Where Stripe sends them after payment.
    pub success_url: String,
    /// Where Stripe sends them if they cancel.
    pub cancel_url: String,
}

/// A Checkout session as Stripe returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The learner that its metadata names.
    pub learner: Option<LearnerId>,
    /// Whether it can still be paid.
    pub state: SessionState,
    /// What it says about its purchase, to be applied like an event.
    pub observation: Observation,
}

impl Session {
    /// Whether this deployment opened it for this learner.
    #[must_use]
    pub fn is_of(&self, learner: &LearnerId, ours: &Shop) -> bool {
        ours.owns(&self.observation.owner) && self.learner.as_ref() == Some(learner)
    }
}

/// An attempt to sell one product to one learner. There is one at a time, whatever the price and the
/// channel, so that only one session can be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id: the idempotency key.
    pub id: AttemptId,
    /// A digest of the session's parameters: other parameters need another session.
    pub fingerprint: String,
    /// The version of the catalog it was begun with.
    pub catalog_version: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// The session, once Stripe's answer is recorded.
    pub session: Option<OpenSession>,
}

/// A session that was open when Stripe answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// Stripe's payment page.
    pub url: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// What Stripe says about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// It can be paid.
    Open(OpenSession),
    /// The buyer has completed it. The facts say whether the payment has succeeded.
    Complete,
    /// It has expired, or Stripe doesn't know it.
    Gone,
    /// This version can't read it, and why. It may be open or paid.
    Unreadable(String),
}

/// Stripe keeps an idempotency key for at least a day. An attempt is resumed under its own key for
/// less than that, so that the key still stands for the same session.
/// <https://docs.stripe.com/api/idempotent_requests>
const ATTEMPT_LIFE_SECONDS: i64 = 23 * HOUR;
const STRIPE_KEEPS_KEYS_SECONDS: i64 = 24 * HOUR;
const _: () = assert!(ATTEMPT_LIFE_SECONDS < STRIPE_KEEPS_KEYS_SECONDS);

/// A session this close to its end is not reused: there must be time to type a card number.
const TIME_TO_PAY_SECONDS: i64 = 10 * MINUTE;

/// What to do about the attempt on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptAction<'a> {
    /// Begin an attempt. If there is one, it has no session, and nobody is still working on it.
    Begin,
    /// Begin another in its place. Another request may be opening its session at this moment.
    Replace,
    /// Ask Stripe to open its session. Stripe may have done so already.
    Resume(&'a Attempt),
    /// Ask Stripe about its session.
    CheckSession(&'a Attempt, &'a OpenSession),
}

/// What to do about an earlier session, by what Stripe says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionAction {
    /// Send the learner there.
    Reuse(OpenSession),
    /// Close it and begin again: it has the right parameters and is about to expire.
    Renew(SessionId),
    /// Close it and begin again: it has other parameters.
    Replace(SessionId),
    /// It is complete: record what it says before anything else.
    Ingest,
    /// Begin again: it can't be paid any more.
    Begin,
    /// Do nothing, and why: only a version that can read it may decide.
    Refuse(String),
}

/// What to do about the attempt on record, if there is one.
#[must_use]
pub fn attempt_action<'a>(
    attempt: Option<&'a Attempt>,
    fingerprint: &str,
    now: Timestamp,
) -> AttemptAction<'a> {
    match attempt {
        None => AttemptAction::Begin,
        Some(attempt @ Attempt { session: Some(session), .. }) => {
            AttemptAction::CheckSession(attempt, session)
        }
        Some(attempt) if now.seconds_since(attempt.started_at) >= ATTEMPT_LIFE_SECONDS => {
            AttemptAction::Begin
        }
        Some(attempt) if attempt.fingerprint == fingerprint => AttemptAction::Resume(attempt),
        Some(_) => AttemptAction::Replace,
    }
}

/// What to do about an attempt's session, by what Stripe says about it.
#[must_use]
pub fn session_action(
    attempt: &Attempt,
    state: SessionState,
    fingerprint: &str,
    now: Timestamp,
) -> SessionAction {
    match state {
        SessionState::Open(open) if attempt.fingerprint != fingerprint => {
            SessionAction::Replace(open.id)
        }
        SessionState::Open(open) if open.expires_at.seconds_since(now) > TIME_TO_PAY_SECONDS => {
            SessionAction::Reuse(open)
        }
        SessionState::Open(open) => SessionAction::Renew(open.id),
        SessionState::Complete => SessionAction::Ingest,
        SessionState::Gone => SessionAction::Begin,
        SessionState::Unreadable(reason) => SessionAction::Refuse(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn attempt(started_at: Timestamp, session: Option<OpenSession>) -> Attempt {
        Attempt {
            id: "attempt-1".parse().unwrap(),
            fingerprint: "same".to_owned(),
            catalog_version: 1,
            started_at,
            session,
        }
    }

    fn open(seconds_left: i64) -> OpenSession {
        OpenSession {
            id: "cs_1".parse().unwrap(),
            url: "https://checkout.stripe.com/c/pay/cs_1".to_owned(),
            expires_at: NOW.plus_seconds(seconds_left),
        }
    }

    #[test]
    fn an_uncertain_attempt_keeps_its_key_for_under_a_day() {
        let fresh = attempt(NOW.plus_seconds(-22 * HOUR), None);
        let old = attempt(NOW.plus_seconds(-23 * HOUR), None);
        for (on_record, fingerprint, expected) in [
            (None, "same", AttemptAction::Begin),
            (Some(&fresh), "same", AttemptAction::Resume(&fresh)),
            (Some(&fresh), "other", AttemptAction::Replace),
            (Some(&old), "same", AttemptAction::Begin),
            (Some(&old), "other", AttemptAction::Begin),
        ] {
            let action = attempt_action(on_record, fingerprint, NOW);
            assert_eq!(action, expected, "{on_record:?} {fingerprint}");
        }
    }

    #[test]
    fn stripe_is_asked_about_a_session_on_record() {
        let known = attempt(NOW.plus_seconds(-30 * HOUR), Some(open(HOUR)));
        for fingerprint in ["same", "other"] {
            let action = attempt_action(Some(&known), fingerprint, NOW);
            assert_eq!(action, AttemptAction::CheckSession(&known, &open(HOUR)));
        }
    }

    #[test]
    fn only_an_open_unexpired_identical_session_is_reused() {
        let known = attempt(NOW, Some(open(HOUR)));
        let id: SessionId = "cs_1".parse().unwrap();
        let reason = || "status has an unknown value".to_owned();
        let unreadable = || SessionState::Unreadable(reason());
        for (state, fingerprint, expected) in [
            (SessionState::Open(open(HOUR)), "same", SessionAction::Reuse(open(HOUR))),
            (SessionState::Open(open(HOUR)), "other", SessionAction::Replace(id.clone())),
            (SessionState::Open(open(10 * MINUTE)), "same", SessionAction::Renew(id.clone())),
            (SessionState::Open(open(10 * MINUTE)), "other", SessionAction::Replace(id)),
            (SessionState::Complete, "same", SessionAction::Ingest),
            (SessionState::Complete, "other", SessionAction::Ingest),
            (SessionState::Gone, "same", SessionAction::Begin),
            (unreadable(), "same", SessionAction::Refuse(reason())),
            (unreadable(), "other", SessionAction::Refuse(reason())),
        ] {
            let action = session_action(&known, state.clone(), fingerprint, NOW);
            assert_eq!(action, expected, "{state:?} {fingerprint}");
        }
    }
}
