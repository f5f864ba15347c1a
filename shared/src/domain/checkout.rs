//! When a learner asks to buy: which session to give them, so that there is only ever one to pay.
//!
//! An attempt is written down before Stripe is asked, and its id is Stripe's idempotency key. So
//! two requests at once, and a retry after a crash, open the same session.

use super::access::Entitlements;
use super::decide::Observation;
use super::id::{AttemptId, CustomerId, LearnerId, PriceKey, ProductId, SessionId, StripePriceId};
use super::shop::Shop;
use super::time::{HOUR, MINUTE, Timestamp};

/// What is on record of a learner who wants to buy a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyer {
    /// What they have.
    pub entitlements: Entitlements,
    /// Their Stripe customer.
    pub customer: Option<CustomerId>,
    /// The customer they had, if Stripe has told us that it was deleted.
    pub deleted_customer: Option<CustomerId>,
    /// Their latest attempt to buy the product, at whatever price.
    pub attempt: Option<Attempt>,
}

/// What an upgrade link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who buys.
    pub learner: LearnerId,
    /// What.
    pub price: PriceKey,
    /// Until when the link works.
    pub expires_at: Timestamp,
}

/// What a session is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// For whom.
    pub learner: LearnerId,
    /// Their Stripe customer. The page shows what Stripe knows of them, such as their e-mail.
    pub customer: Option<CustomerId>,
    /// What they buy.
    pub product: ProductId,
    /// At which of its prices.
    pub price: PriceKey,
    /// Stripe's id of that price.
    pub stripe_price: StripePriceId,
    /// Where Stripe sends them once they have paid.
    pub success_url: String,
    /// Where Stripe sends them when they turn back.
    pub cancel_url: String,
}

/// A Checkout session as Stripe returned it to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The learner that its metadata names.
    pub learner: Option<LearnerId>,
    /// Whether it can still be paid.
    pub state: SessionState,
    /// What it says of its purchase, to be decided on like an event.
    pub observation: Observation,
}

impl Session {
    /// Whether this deployment opened it, for this learner.
    #[must_use]
    pub fn is_of(&self, learner: &LearnerId, ours: &Shop) -> bool {
        ours.owns(&self.observation.owner) && self.learner.as_ref() == Some(learner)
    }
}

/// How a learner comes to buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Signed in on the site.
    Site,
    /// Through an upgrade link, which anybody may hold: the page must not show whose it is.
    Link,
}

/// An attempt to open a session for one learner and one product. There is one at a time, whatever
/// the price and the channel, so that there is one session to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id: the idempotency key.
    pub id: AttemptId,
    /// What the session is opened with; another fingerprint means another session.
    pub fingerprint: String,
    /// The version of the catalog that it was begun with.
    pub catalog_version: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// How the learner came to buy.
    pub channel: Channel,
    /// The session, once Stripe has answered.
    pub session: Option<OpenSession>,
}

/// A session that was open when Stripe answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// The page to send the learner to.
    pub url: String,
    /// When Stripe closes it.
    pub expires_at: Timestamp,
}

/// What Stripe says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// It can be paid.
    Open(OpenSession),
    /// The buyer has done their part; whether it is paid is for the facts to say.
    Complete,
    /// It can't be paid any more, or Stripe doesn't know it.
    Gone,
    /// This version can't read it, and why: it may be paid, or be open.
    Unreadable(String),
}

/// Stripe forgets an idempotency key after a day at the earliest; an attempt is retried under its
/// own key for less, so that the key still means the same session.
/// <https://docs.stripe.com/api/idempotent_requests>
const ATTEMPT_LIFE_SECONDS: i64 = 23 * HOUR;
const STRIPE_KEEPS_KEYS_SECONDS: i64 = 24 * HOUR;
const _: () = assert!(ATTEMPT_LIFE_SECONDS < STRIPE_KEEPS_KEYS_SECONDS);

/// A session this close to its end is not handed out again: there must be time to type a card.
const TIME_TO_PAY_SECONDS: i64 = 10 * MINUTE;

/// What to do about a request to buy, by what is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan<'a> {
    /// Begin an attempt, in the place of this one if there is one.
    Begin,
    /// Ask Stripe to open this attempt's session: nobody knows yet whether it has.
    Open(&'a Attempt),
    /// Ask Stripe what became of this session.
    Look(&'a OpenSession),
}

/// What to do about an earlier session, now that Stripe has been asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Give the learner this one.
    Reuse(OpenSession),
    /// Close it and begin anew: it was opened with other parameters, or is about to end.
    ExpireAndBegin(SessionId),
    /// Its buyer is done with it: take in what it says before anything else.
    Settle,
    /// Begin anew.
    Begin,
    /// Neither begin anew nor hand it out, and why: a version that can read it has to decide.
    Refuse(String),
}

/// What to do first.
#[must_use]
pub fn plan<'a>(attempt: Option<&'a Attempt>, fingerprint: &str, now: Timestamp) -> Plan<'a> {
    match attempt {
        Some(Attempt { session: Some(session), .. }) => Plan::Look(session),
        Some(attempt)
            if attempt.fingerprint == fingerprint
                && now.seconds_since(attempt.started_at) < ATTEMPT_LIFE_SECONDS =>
        {
            Plan::Open(attempt)
        }
        _ => Plan::Begin,
    }
}

/// What to do with the session of an attempt, by what Stripe says of it.
#[must_use]
pub fn next(attempt: &Attempt, state: SessionState, fingerprint: &str, now: Timestamp) -> Next {
    match state {
        SessionState::Open(open)
            if attempt.fingerprint == fingerprint
                && open.expires_at.seconds_since(now) > TIME_TO_PAY_SECONDS =>
        {
            Next::Reuse(open)
        }
        SessionState::Open(open) => Next::ExpireAndBegin(open.id),
        SessionState::Complete => Next::Settle,
        SessionState::Gone => Next::Begin,
        SessionState::Unreadable(reason) => Next::Refuse(reason),
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
            channel: Channel::Site,
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
        assert_eq!(plan(Some(&fresh), "same", NOW), Plan::Open(&fresh));
        assert_eq!(plan(Some(&fresh), "other", NOW), Plan::Begin);
        assert_eq!(
            plan(Some(&attempt(NOW.plus_seconds(-23 * HOUR), None)), "same", NOW),
            Plan::Begin
        );
        assert_eq!(plan(None, "same", NOW), Plan::Begin);
    }

    #[test]
    fn a_session_on_record_is_looked_at_before_it_is_handed_out() {
        let known = attempt(NOW, Some(open(HOUR)));
        assert_eq!(plan(Some(&known), "other", NOW), Plan::Look(&open(HOUR)));
    }

    #[test]
    fn only_an_open_unexpired_identical_session_is_reused() {
        let known = attempt(NOW, Some(open(HOUR)));
        let id: SessionId = "cs_1".parse().unwrap();
        let ask = |state, fingerprint| next(&known, state, fingerprint, NOW);
        assert_eq!(ask(SessionState::Open(open(HOUR)), "same"), Next::Reuse(open(HOUR)));
        let expire = Next::ExpireAndBegin(id);
        assert_eq!(ask(SessionState::Open(open(HOUR)), "other"), expire);
        assert_eq!(ask(SessionState::Open(open(10 * MINUTE)), "same"), expire);
        assert_eq!(ask(SessionState::Complete, "same"), Next::Settle);
        assert_eq!(ask(SessionState::Gone, "same"), Next::Begin);
        for fingerprint in ["same", "other"] {
            let unreadable = SessionState::Unreadable("status has an unknown value".to_owned());
            let refuse = Next::Refuse("status has an unknown value".to_owned());
            assert_eq!(ask(unreadable, fingerprint), refuse);
        }
    }
}
