//! Stripe's objects as JSON, as the API renders them.

use serde_json::{Value, json};

/// A checkout session, as far as it can matter to a shop.
#[derive(Debug, Clone)]
pub struct Session {
    /// `cs_…`
    pub id: String,
    /// `open`, `complete` or `expired`.
    pub status: &'static str,
    /// `paid`, `unpaid` or `no_payment_required`.
    pub payment_status: &'static str,
    /// `pi_…`, or the whole object where it was asked for; null if there is none.
    pub payment_intent: Value,
    /// Whose.
    pub learner: String,
    /// Of what.
    pub product: String,
    /// At which price, by our own name for it.
    pub price: String,
    /// What it comes to, in cents.
    pub amount_total: i64,
    /// When it was opened, in Unix seconds.
    pub created: i64,
}

impl Session {
    /// The object. <https://docs.stripe.com/api/checkout/sessions/object>
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "checkout.session",
            "mode": "payment",
            "status": self.status,
            "payment_status": self.payment_status,
            "payment_intent": self.payment_intent,
            "metadata": {
                "learner_id": self.learner,
                "product": self.product,
                "price": self.price,
            },
            "amount_total": self.amount_total,
            "currency": "usd",
            "created": self.created,
            "expires_at": self.created.saturating_add(86_400),
            "livemode": false,
            "url": (self.status == "open").then_some("https://checkout.stripe.com/c/pay/cs"),
        })
    }
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
