//! Stripe as checkout sees it: sessions that are opened, paid and closed, and idempotency keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::domain::checkout::SessionRequest;
use shared::ports::StripeError;

use crate::rendering;

/// Stripe expires a session after this long.
const SESSION_SECONDS: i64 = 86_400;
/// Stripe keeps an idempotency key for at least this long; here for no longer, the worst case.
const KEY_SECONDS: i64 = 86_400;

/// A payment's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payment {
    /// A bank debit that is processing.
    Processing,
    /// The bank declined it.
    Failed,
    /// It succeeded.
    Paid,
    /// It was refunded.
    Refunded,
    /// It is disputed, and the bank has not decided.
    Disputed,
    /// The dispute was won, and there is no other.
    Won,
    /// The dispute was lost.
    Lost,
}

impl Payment {
    /// Whether the seller has the money, or may get it.
    pub(super) const fn is_money(self) -> bool {
        matches!(self, Self::Processing | Self::Paid | Self::Disputed | Self::Won)
    }
}

/// A session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) learner: String,
    pub(super) product: String,
    pub(super) price: String,
    pub(super) customer: Option<String>,
    pub(super) created: i64,
    /// `open`, `complete` or `expired`.
    pub(super) status: &'static str,
    pub(super) payment: Option<Payment>,
    /// Whether a learner was redirected to its page.
    pub(super) is_returned: bool,
}

impl Session {
    pub(super) fn intent(&self) -> String {
        self.id.replacen("cs_", "pi_", 1)
    }

    /// Whether its buyer can pay it now.
    pub(super) fn is_payable(&self) -> bool {
        self.status == "open" && self.is_returned
    }

    fn rendered(&self, payment_intent: Value) -> Value {
        let is_paid = self
            .payment
            .is_some_and(|payment| !matches!(payment, Payment::Processing | Payment::Failed));
        rendering::Session {
            id: self.id.clone(),
            status: self.status,
            payment_status: if is_paid { "paid" } else { "unpaid" },
            payment_intent,
            mark: Some(rendering::MARK),
            learner: self.learner.clone(),
            product: self.product.clone(),
            price: self.price.clone(),
            amount_total: 2900,
            created: self.created,
        }
        .json()
    }

    /// As an event contains it.
    fn told(&self) -> Value {
        self.rendered(self.payment.map_or(Value::Null, |_| self.intent().into()))
    }

    /// As the API returns it, with the payment intent expanded.
    fn read(&self) -> Value {
        let intent = self.payment.map_or(Value::Null, |payment| {
            let status = match payment {
                Payment::Processing => "processing",
                Payment::Failed => "requires_payment_method",
                Payment::Paid
                | Payment::Refunded
                | Payment::Disputed
                | Payment::Won
                | Payment::Lost => "succeeded",
            };
            let charge = json!({ "created": self.created });
            json!({ "id": self.intent(), "status": status, "latest_charge": charge })
        });
        self.rendered(intent)
    }
}

/// The response stored under an idempotency key, and its time.
#[derive(Debug, Clone)]
struct Answered {
    at: i64,
    /// An id, or a server error that Stripe repeats.
    answer: Option<String>,
}

/// The model of Stripe.
#[derive(Debug, Clone, Default)]
pub(super) struct Stripe {
    pub(super) sessions: Vec<Session>,
    /// Events that are not delivered yet, as the API renders them.
    pub(super) events: Vec<Value>,
    keys: BTreeMap<String, Answered>,
    made: u64,
}

fn failed() -> StripeError {
    StripeError::Failed { status: 500 }
}

impl Stripe {
    fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{}", self.made)
    }

    /// Does something once per key. With `breaks` it is done, but Stripe returns a server error,
    /// now and whenever the key is used again.
    fn once(
        &mut self,
        key: &str,
        now: i64,
        breaks: bool,
        act: impl FnOnce(&mut Self) -> String,
    ) -> Result<String, StripeError> {
        let known = self.keys.get(key).filter(|answered| now - answered.at < KEY_SECONDS);
        if let Some(answered) = known {
            return answered.answer.clone().ok_or_else(failed);
        }
        let id = act(self);
        let answer = (!breaks).then_some(id);
        self.keys.insert(key.to_owned(), Answered { at: now, answer: answer.clone() });
        answer.ok_or_else(failed)
    }

    pub(super) fn create_customer(
        &mut self,
        key: &str,
        now: i64,
        breaks: bool,
    ) -> Result<String, StripeError> {
        self.once(key, now, breaks, |stripe| stripe.id("cus"))
    }

    pub(super) fn open(
        &mut self,
        request: &SessionRequest,
        key: &str,
        now: i64,
        breaks: bool,
    ) -> Result<Value, StripeError> {
        let id = self.once(key, now, breaks, |stripe| {
            let id = stripe.id("cs");
            stripe.sessions.push(Session {
                id: id.clone(),
                learner: request.learner.to_string(),
                product: request.product.to_string(),
                price: request.price.to_string(),
                customer: request.customer.as_ref().map(ToString::to_string),
                created: now,
                status: "open",
                payment: None,
                is_returned: false,
            });
            id
        })?;
        // Stripe repeats its first response, whatever has happened to the session since.
        let first =
            self.session(&id).map(|it| Session { status: "open", payment: None, ..it.clone() });
        first.map(|session| session.read()).ok_or_else(failed)
    }

    pub(super) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    pub(super) fn read(&self, id: &str) -> Option<Value> {
        self.session(id).map(Session::read)
    }

    /// Expires an open session; refuses any other.
    pub(super) fn expire(&mut self, id: &str) -> Result<(), StripeError> {
        let session = self.sessions.iter_mut().find(|session| session.id == id);
        match session {
            None => Err(StripeError::Missing { param: String::new() }),
            Some(session) if session.status == "open" => {
                session.status = "expired";
                Ok(())
            }
            Some(_) => Err(StripeError::Refused { status: 400, code: String::new() }),
        }
    }

    /// Expires sessions that have been open for a day.
    pub(super) fn pass(&mut self, now: i64) {
        for session in &mut self.sessions {
            if session.status == "open" && now - session.created >= SESSION_SECONDS {
                session.status = "expired";
            }
        }
    }

    /// Changes a payment's status, and queues Stripe's event about it.
    pub(super) fn change_payment(&mut self, index: usize, payment: Payment, now: i64) {
        let session = &mut self.sessions[index];
        let was = session.payment.replace(payment);
        session.status = "complete";
        let (kind, object) = match payment {
            Payment::Paid if was == Some(Payment::Processing) => {
                ("checkout.session.async_payment_succeeded", session.told())
            }
            Payment::Failed => ("checkout.session.async_payment_failed", session.told()),
            Payment::Processing | Payment::Paid => ("checkout.session.completed", session.told()),
            Payment::Refunded => {
                let id = session.id.replacen("cs_", "re_", 1);
                ("refund.created", rendering::refund(&id, &session.intent(), 2900, "succeeded"))
            }
            Payment::Disputed => ("charge.dispute.created", dispute(session, "needs_response")),
            Payment::Won => ("charge.dispute.closed", dispute(session, "won")),
            Payment::Lost => ("charge.dispute.closed", dispute(session, "lost")),
        };
        let id = self.id("evt");
        self.events.push(json!({
            "id": id,
            "type": kind,
            "created": now,
            "livemode": false,
            "data": { "object": object },
        }));
    }
}

fn dispute(session: &Session, status: &str) -> Value {
    let id = session.id.replacen("cs_", "du_", 1);
    rendering::dispute(&id, &session.intent(), status, None)
}
