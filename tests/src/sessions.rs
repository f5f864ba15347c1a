//! Stripe's events about checkout sessions, one per line.

use serde_json::{Value, json};
use shared::domain::decide::{Mode, Observation, PaymentFor};
use shared::domain::facts::DisputeStatus;
use shared::domain::id::{DisputeId, PaymentIntentId};
use shared::domain::time::Timestamp;
use shared::ports::{Clock, StripeReadError, StripeReader, SystemClock};
use shared::stripe::signature::UnverifiedDelivery;
use simulation::rendering::{self, MARK, Session};

/// The event that a line describes, about a session of [`simulation::shop`]: `evt_1 completed paid
/// cs_a pi_a ada tutorclaw @1000`. The words are the event's id, the last part of its type, the
/// payment status, the session, the payment intent (`-` for none), the learner, the product, and
/// the time.
#[must_use]
pub fn event(line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, kind, payment_status, session, payment_intent, learner, product, at] = words[..]
    else {
        panic!("eight words, not {line:?}");
    };
    let created: i64 = at.trim_start_matches('@').parse().unwrap();
    let session = Session {
        id: session.to_owned(),
        status: if kind == "expired" { "expired" } else { "complete" },
        payment_status: ["paid", "unpaid", "no_payment_required"]
            .into_iter()
            .find(|known| *known == payment_status)
            .unwrap(),
        payment_intent: json!((payment_intent != "-").then_some(payment_intent)),
        mark: Some(MARK),
        learner: learner.to_owned(),
        product: product.to_owned(),
        price: format!("{product}_paid"),
        amount_total: 2900,
        created: created - 60,
    };
    rendering::event(id, &format!("checkout.session.{kind}"), created, &session.json())
}

/// Every permutation of these.
pub fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.to_vec();
        let item = rest.remove(first);
        for mut order in permutations(&rest) {
            order.insert(0, item.clone());
            all.push(order);
        }
    }
    all
}

/// What the webhook reads from an event, by the only route: signed, verified, parsed.
#[must_use]
pub fn observation(event: &Value) -> Observation {
    const SECRET: &str = "whsec_of_a_line";
    let body = event.to_string();
    let now = SystemClock.now();
    let signature = samples::signature(&body, SECRET, now.unix_seconds());
    let delivery = UnverifiedDelivery { unverified_signature: &signature, unverified_body: &body };
    delivery.verify(&[SECRET.into()], now).unwrap().read(Mode::Test)
}

/// A Stripe that is never called.
pub struct UnusedStripe;

impl StripeReader for UnusedStripe {
    async fn owner(
        &self,
        id: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        Err(StripeReadError::Unavailable(format!("nobody should ask about {id}").into()))
    }

    async fn dispute(
        &self,
        id: &DisputeId,
        _: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        Err(StripeReadError::Unavailable(format!("unexpected read of {id}").into()))
    }
}
