//! Stripe's objects as JSON, as the API renders them.

use serde_json::{Value, json};

/// The mark of the shop under test.
pub const MARK: &str = samples::SAMPLE_MARK;
/// The mark of another deployment in the same Stripe account.
pub const OTHER_MARK: &str = "another-shop";

/// A checkout session, with every field that matters to a shop.
#[derive(Debug, Clone)]
pub struct Session {
    /// `cs_…`
    pub id: String,
    /// `open`, `complete` or `expired`.
    pub status: &'static str,
    /// `paid`, `unpaid` or `no_payment_required`.
    pub payment_status: &'static str,
    /// `pi_…`, or the whole object where it was expanded; null if there is none.
    pub payment_intent: Value,
    /// The mark of the deployment that opened it; none if it was no deployment.
    pub mark: Option<&'static str>,
    /// The learner.
    pub learner: String,
    /// The product.
    pub product: String,
    /// The price's lookup key.
    pub price: String,
    /// The total, in cents.
    pub amount_total: i64,
    /// When it was opened, in Unix seconds.
    pub created: i64,
}

impl Session {
    /// The object. <https://docs.stripe.com/api/checkout/sessions/object>
    #[must_use]
    pub fn json(&self) -> Value {
        let mut metadata = metadata(self.mark, &self.learner);
        metadata["product"] = self.product.as_str().into();
        metadata["price"] = self.price.as_str().into();
        json!({
            "id": self.id,
            "object": "checkout.session",
            "mode": "payment",
            "status": self.status,
            "payment_status": self.payment_status,
            "payment_intent": self.payment_intent,
            "metadata": metadata,
            "amount_total": self.amount_total,
            "currency": "usd",
            "created": self.created,
            "expires_at": self.created.saturating_add(86_400),
            "livemode": false,
            "url": (self.status == "open").then(|| format!("https://checkout.stripe.com/c/pay/{}", self.id)),
        })
    }
}

/// Metadata with a learner and their deployment's mark.
#[must_use]
pub fn metadata(mark: Option<&str>, learner: &str) -> Value {
    match mark {
        Some(mark) => json!({ "coursegate": mark, "learner_id": learner }),
        None => json!({ "learner_id": learner }),
    }
}

/// A payment. <https://docs.stripe.com/api/payment_intents/object>
#[must_use]
pub fn payment_intent(id: &str, metadata: &Value) -> Value {
    json!({
        "id": id,
        "object": "payment_intent",
        "metadata": metadata,
        "livemode": false,
    })
}

/// A charge that was partly refunded. <https://docs.stripe.com/api/charges/object>
#[must_use]
pub fn charge(payment_intent: &str) -> Value {
    json!({
        "id": payment_intent.replacen("pi_", "ch_", 1),
        "object": "charge",
        "payment_intent": payment_intent,
        "status": "succeeded",
    })
}

/// A refund, in cents. <https://docs.stripe.com/api/refunds/object>
#[must_use]
pub fn refund(id: &str, payment_intent: &str, amount: i64, status: &str) -> Value {
    json!({
        "id": id,
        "object": "refund",
        "amount": amount,
        "charge": payment_intent.replacen("pi_", "ch_", 1),
        "currency": "usd",
        "metadata": {},
        "payment_intent": payment_intent,
        "status": status,
    })
}

/// A dispute, with how it was prevented if it was. <https://docs.stripe.com/api/disputes/object>
#[must_use]
pub fn dispute(id: &str, payment_intent: &str, status: &str, case: Option<&str>) -> Value {
    json!({
        "id": id,
        "object": "dispute",
        "charge": payment_intent.replacen("pi_", "ch_", 1),
        "currency": "usd",
        "livemode": false,
        "metadata": {},
        "payment_intent": payment_intent,
        "payment_method_details": { "type": "card", "card": { "case_type": case } },
        "status": status,
    })
}

/// An early fraud warning. <https://docs.stripe.com/api/radar/early_fraud_warnings/object>
#[must_use]
pub fn fraud_warning(id: &str, payment_intent: &str) -> Value {
    json!({
        "id": id,
        "object": "radar.early_fraud_warning",
        "actionable": true,
        "charge": payment_intent.replacen("pi_", "ch_", 1),
        "livemode": false,
        "payment_intent": payment_intent,
    })
}

/// A customer. <https://docs.stripe.com/api/customers/object>
#[must_use]
pub fn customer(id: &str, metadata: &Value) -> Value {
    json!({
        "id": id,
        "object": "customer",
        "metadata": metadata,
        "livemode": false,
    })
}

/// An event about this object. <https://docs.stripe.com/api/events/object>
#[must_use]
pub fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id,
        "object": "event",
        "api_version": "2026-09-30.endive",
        "created": created,
        "livemode": false,
        "pending_webhooks": 1,
        "request": null,
        "type": kind,
        "data": { "object": object },
    })
}
