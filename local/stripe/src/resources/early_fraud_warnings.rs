//! Early fraud warnings: an issuer suspects fraud, but nobody has disputed the charge yet.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::resources::lists;
use crate::state::Call;
use crate::store::Kind;

/// Creates a warning about a charge.
pub(crate) fn add(call: &mut Call<'_>, charge: &Value) -> Value {
    let id = id::early_fraud_warning();
    let warning = json!({
        "id": id,
        "object": "radar.early_fraud_warning",
        "actionable": is_actionable(charge),
        "charge": charge.text("id"),
        "created": call.now,
        "fraud_type": "unauthorized_use_of_card",
        "livemode": false,
        "payment_intent": charge.field("payment_intent"),
    });
    call.store.put(Kind::EarlyFraudWarning, &id, warning.clone());
    call.emit("radar.early_fraud_warning.created", &warning);
    warning
}

/// Whether a refund could still prevent a dispute.
fn is_actionable(charge: &Value) -> bool {
    !charge.is_true("disputed") && !charge.is_true("refunded")
}

/// Updates the warnings about a charge that has changed.
pub(crate) fn reconsider(call: &mut Call<'_>, charge: &Value) {
    let warnings: Vec<Value> = call
        .store
        .iterate(Kind::EarlyFraudWarning)
        .map(|(_, _, warning)| warning)
        .filter(|warning| warning.text("charge") == charge.text("id"))
        .cloned()
        .collect();
    for before in warnings {
        let mut after = before.clone();
        after.set("actionable", is_actionable(charge));
        call.store.put(Kind::EarlyFraudWarning, before.text("id"), after.clone());
        call.emit_updated("radar.early_fraud_warning.updated", &before, &after);
    }
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    lists::of_charge(call, Kind::EarlyFraudWarning, "/v1/radar/early_fraud_warnings", sent)
}
