//! A Checkout session: in events about it, and in Stripe's responses.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{describe, metadata, mode_of, owner, text};
use crate::domain::checkout::{OpenSession, Session, SessionState};
use crate::domain::decide::{Content, Nothing, Observation};
use crate::domain::facts::{Payment, PaymentStatus, Purchase, Sale};
use crate::domain::id::{IdError, PaymentIntentId, SessionId, SourceId};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::stripe::values::{self, SessionPaymentStatus, SessionStatus};

/// <https://docs.stripe.com/api/checkout/sessions/object>
#[derive(Deserialize)]
pub(super) struct SessionShape {
    id: String,
    mode: Option<String>,
    status: Option<String>,
    payment_status: String,
    payment_intent: Option<PaymentIntentShape>,
    metadata: Option<BTreeMap<String, String>>,
    amount_total: Option<i64>,
    currency: Option<String>,
    created: Option<i64>,
    expires_at: Option<i64>,
    url: Option<String>,
    livemode: Option<bool>,
}

/// An id, or the object if it was expanded.
#[derive(Deserialize)]
#[serde(untagged)]
enum PaymentIntentShape {
    Id(String),
    Object { id: String, status: Option<String>, latest_charge: Option<ChargeShape> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChargeShape {
    Id(#[expect(dead_code, reason = "only an expanded charge has a time")] String),
    Object { created: i64, payment_method_details: Option<Value> },
}

/// The content of an event about a session, as `read` understands it.
pub(super) fn session_event(
    object: &Value,
    read: impl FnOnce(&SessionShape) -> Result<Content, String>,
) -> Content {
    let session = SessionShape::deserialize(object);
    let content = session
        .map_err(|error| describe("checkout session", &error))
        .and_then(|it| read(&it).map_err(|reason| format!("checkout session: {reason}")));
    content.unwrap_or_else(|reason| Content::Unreadable { reason })
}

impl SessionShape {
    /// The session in an event which says that the buyer completed it. Its `status` may be null
    /// then, because the event's type implies it.
    pub(super) fn bought(
        &self,
        at: Timestamp,
        unpaid_means: PaymentStatus,
    ) -> Result<Content, String> {
        let status = self.status()?.unwrap_or(SessionStatus::Complete);
        self.facts(status, at, || Ok(unpaid_means))
    }

    /// The session in an event which says that it expired. It contains no facts, unless it was
    /// completed or paid, which is an error. A session with nothing to pay is `no_payment_required`
    /// from the start.
    pub(super) fn expired(&self) -> Result<Content, String> {
        match (self.status()?.unwrap_or(SessionStatus::Expired), self.payment_status()?) {
            (SessionStatus::Complete, _) => Err("it has expired but is complete".to_owned()),
            (SessionStatus::Open | SessionStatus::Expired, SessionPaymentStatus::Paid) => {
                Err("it has expired but is paid".to_owned())
            }
            (
                SessionStatus::Open | SessionStatus::Expired,
                SessionPaymentStatus::NoPaymentRequired | SessionPaymentStatus::Unpaid,
            ) => Ok(Content::Nothing(Nothing::NothingPaid)),
        }
    }

    /// The facts about the session's purchase. `payment_status` decides, not the event's type:
    /// <https://docs.stripe.com/checkout/fulfillment>.
    fn facts(
        &self,
        status: SessionStatus,
        at: Timestamp,
        unpaid_means: impl FnOnce() -> Result<PaymentStatus, String>,
    ) -> Result<Content, String> {
        if self.mode.as_deref() != Some("payment") {
            return Err("mode is not payment".to_owned());
        }
        let payment_status = self.payment_status()?;
        match (status, payment_status) {
            (SessionStatus::Complete, _) => {}
            (SessionStatus::Open | SessionStatus::Expired, SessionPaymentStatus::Paid) => {
                return Err("it is paid but not complete".to_owned());
            }
            (
                SessionStatus::Open | SessionStatus::Expired,
                SessionPaymentStatus::NoPaymentRequired | SessionPaymentStatus::Unpaid,
            ) => return Ok(Content::Nothing(Nothing::NothingPaid)),
        }
        let payment = match payment_status {
            SessionPaymentStatus::Paid | SessionPaymentStatus::NoPaymentRequired => {
                Payment::paid(at)
            }
            SessionPaymentStatus::Unpaid => Payment::reported(unpaid_means()?, at),
        };
        let session: SessionId = self.id.parse().map_err(message)?;
        let source = match (self.payment_intent()?, payment_status) {
            (Some(payment_intent), _) => SourceId::Payment(payment_intent),
            (None, SessionPaymentStatus::NoPaymentRequired) => SourceId::Session(session.clone()),
            // A refund refers to its purchase only by the payment intent.
            (None, SessionPaymentStatus::Paid | SessionPaymentStatus::Unpaid) => {
                return Err("payment_intent is missing".to_owned());
            }
        };
        let sale = Sale {
            product: self.metadata(metadata::PRODUCT)?,
            price: self.metadata(metadata::PRICE)?,
            session,
            total: self.total(),
            opened_at: Some(self.opened_at()?),
            learner: self.metadata(metadata::LEARNER)?,
        };
        Ok(Content::Facts(source, Box::new(Purchase { sale, payment }.into())))
    }

    /// `None` if it is null.
    fn status(&self) -> Result<Option<SessionStatus>, String> {
        self.status.as_deref().map(values::session_status).transpose()
    }

    fn payment_status(&self) -> Result<SessionPaymentStatus, String> {
        values::payment_status(&self.payment_status)
    }

    fn payment_intent(&self) -> Result<Option<PaymentIntentId>, String> {
        match &self.payment_intent {
            Some(PaymentIntentShape::Id(id) | PaymentIntentShape::Object { id, .. }) => {
                id.parse().map(Some).map_err(message)
            }
            None => Ok(None),
        }
    }

    fn metadata<T: std::str::FromStr<Err = IdError>>(&self, key: &str) -> Result<T, String> {
        let value = self.metadata.as_ref().and_then(|metadata| metadata.get(key));
        let value = value.ok_or_else(|| format!("metadata.{key} is missing"))?;
        value.parse().map_err(|error| format!("metadata.{key}: {error}"))
    }

    fn opened_at(&self) -> Result<Timestamp, String> {
        let seconds = self.created.ok_or("created is missing")?;
        Ok(Timestamp::from_unix_seconds(seconds))
    }

    fn total(&self) -> Option<Money> {
        let currency = self.currency.as_deref()?.parse().ok()?;
        Some(Money { amount_minor: self.amount_total?, currency })
    }

    /// The payment status of a complete, unpaid session: the payment intent's if it was expanded,
    /// otherwise processing.
    fn unpaid_means(&self) -> Result<PaymentStatus, String> {
        match &self.payment_intent {
            Some(PaymentIntentShape::Object { status: Some(status), .. }) => {
                values::unpaid_intent(status)
            }
            Some(PaymentIntentShape::Object { status: None, .. }) => {
                Err("payment_intent.status is missing".to_owned())
            }
            Some(PaymentIntentShape::Id(_)) | None => Ok(PaymentStatus::Processing),
        }
    }

    /// The time to store with its payment status when it was read at `now`. A card's charge is
    /// created when it is paid. A bank debit's is created days earlier, so there is no better time
    /// than `now`.
    fn reported_at(&self, now: Timestamp) -> Timestamp {
        let is_paid = self.payment_status() == Ok(SessionPaymentStatus::Paid);
        match &self.payment_intent {
            Some(PaymentIntentShape::Object {
                latest_charge:
                    Some(ChargeShape::Object { created, payment_method_details: Some(method) }),
                ..
            }) if is_paid && values::is_paid_when_charged(method) => {
                Timestamp::from_unix_seconds(*created)
            }
            Some(PaymentIntentShape::Id(_) | PaymentIntentShape::Object { .. }) | None => now,
        }
    }

    /// The status of a session that we read ourselves. There is no event whose type implies it, so
    /// it must not be null.
    fn own_status(&self) -> Result<SessionStatus, String> {
        self.status()?.ok_or_else(|| "status is missing".to_owned())
    }

    fn state(&self, id: &SessionId) -> Result<SessionState, String> {
        Ok(match self.own_status()? {
            SessionStatus::Open => SessionState::Open(OpenSession {
                id: id.clone(),
                url: self.url.clone().ok_or("url is missing")?,
                expires_at: Timestamp::from_unix_seconds(
                    self.expires_at.ok_or("expires_at is missing")?,
                ),
            }),
            SessionStatus::Complete => SessionState::Complete,
            SessionStatus::Expired => SessionState::Gone,
        })
    }
}

fn message(error: IdError) -> String {
    error.to_string()
}

/// Reads a Checkout session from Stripe's response at `now`. Expand `payment_intent.latest_charge`,
/// which has the time at which a card paid. A value that this version doesn't know makes the
/// session's state unreadable. A response that isn't a session is an error.
pub fn session_from_api(json: &str, now: Timestamp) -> Result<Session, String> {
    let object: Value = serde_json::from_str(json).map_err(|error| describe("session", &error))?;
    let shape =
        SessionShape::deserialize(&object).map_err(|error| describe("checkout session", &error))?;
    let named = |reason: String| format!("checkout session: {reason}");
    let missing = |field| named(format!("{field} is missing"));
    let id: SessionId = shape.id.parse().map_err(message).map_err(named)?;
    let content = session_event(&object, |session| {
        session.facts(session.own_status()?, session.reported_at(now), || session.unpaid_means())
    });
    let state = match (&content, shape.state(&id)) {
        (Content::Unreadable { reason }, _) => SessionState::Unreadable(reason.clone()),
        (_, Err(reason)) => SessionState::Unreadable(named(reason)),
        (_, Ok(state)) => state,
    };
    Ok(Session {
        learner: shape.metadata(metadata::LEARNER).ok(),
        state,
        observation: Observation {
            event: None,
            mode: mode_of(shape.livemode.ok_or_else(|| missing("livemode"))?),
            connected_account: false,
            owner: owner(&object).map_err(|reason| format!("checkout session: {reason}"))?,
            content,
        },
        id,
    })
}

/// Checks that a session can't be paid any more, in Stripe's response to a request to expire it.
pub fn expired_from_api(json: &str) -> Result<(), String> {
    let object: Value = serde_json::from_str(json).map_err(|error| describe("session", &error))?;
    let status = text(&object, "status").and_then(values::session_status);
    match status.map_err(|reason| format!("checkout session: {reason}"))? {
        SessionStatus::Expired => Ok(()),
        SessionStatus::Open | SessionStatus::Complete => {
            Err("checkout session: it didn't expire".to_owned())
        }
    }
}
