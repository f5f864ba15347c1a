//! Charges: the attempts of a payment intent.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{lists, refunds};
use crate::state::Call;
use crate::store::Kind;

/// A charge's state.
pub(crate) enum ChargeState<'a> {
    Succeeded,
    /// Processing at the bank.
    Pending,
    Failed(&'a ApiError),
}

/// Makes the charge of an attempt to pay.
pub(crate) fn add(
    call: &mut Call<'_>,
    intent: &Value,
    method: &Value,
    state: &ChargeState<'_>,
) -> Value {
    let id = id::charge();
    let mut charge = json!({
        "id": id,
        "object": "charge",
        "amount": intent.integer("amount"),
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": null,
        "application_fee": null,
        "application_fee_amount": null,
        "balance_transaction": null,
        "billing_details": method.field("billing_details"),
        "calculated_statement_descriptor": "STRIPE SIMULATOR",
        "captured": false,
        "created": call.now,
        "currency": intent.text("currency"),
        "customer": intent.field("customer"),
        "description": intent.field("description"),
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": null,
        "failure_message": null,
        "fraud_details": {},
        "livemode": false,
        "metadata": intent.field("metadata"),
        "on_behalf_of": null,
        "outcome": null,
        "paid": false,
        "payment_intent": intent.text("id"),
        "payment_method": method.text("id"),
        "payment_method_details": method_details(method),
        "radar_options": {},
        "receipt_email": intent.field("receipt_email"),
        "receipt_number": null,
        "receipt_url": null,
        "refunded": false,
        "review": null,
        "shipping": null,
        "source": null,
        "source_transfer": null,
        "statement_descriptor": intent.field("statement_descriptor"),
        "statement_descriptor_suffix": intent.field("statement_descriptor_suffix"),
        "status": "pending",
        "transfer_data": null,
        "transfer_group": null,
    });
    settle(&mut charge, state);
    call.store.put(Kind::Charge, &id, charge.clone());
    let event_type = match state {
        ChargeState::Succeeded => "charge.succeeded",
        ChargeState::Pending => "charge.pending",
        ChargeState::Failed(_) => "charge.failed",
    };
    call.emit(event_type, &charge);
    charge
}

/// Records an attempt's result in its charge.
pub(crate) fn settle(charge: &mut Value, state: &ChargeState<'_>) {
    match state {
        ChargeState::Succeeded => {
            charge.set("amount_captured", charge.integer("amount"));
            charge.set("balance_transaction", id::balance_transaction());
            charge.set("captured", true);
            charge.set("paid", true);
            charge.set("status", "succeeded");
            charge.set(
                "outcome",
                outcome("approved_by_network", None, "Payment complete.", "authorized"),
            );
        }
        ChargeState::Pending => {
            charge.set("status", "pending");
            charge.set(
                "outcome",
                outcome("approved_by_network", None, "Payment in progress.", "authorized"),
            );
        }
        ChargeState::Failed(error) => {
            let fields = error.fields();
            let reason = fields.field("decline_code").as_str();
            charge.set("amount_captured", 0);
            charge.set("failure_code", fields.text("code"));
            charge.set("failure_message", error.message());
            charge.set("paid", false);
            charge.set("status", "failed");
            charge.set(
                "outcome",
                outcome(
                    "declined_by_network",
                    reason,
                    "The bank did not accept the payment.",
                    "issuer_declined",
                ),
            );
        }
    }
}

fn outcome(network_status: &str, reason: Option<&str>, seller_message: &str, kind: &str) -> Value {
    json!({
        "advice_code": null,
        "network_advice_code": null,
        "network_decline_code": null,
        "network_status": network_status,
        "reason": reason,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": seller_message,
        "type": kind,
    })
}

/// The charge that paid a payment intent.
pub(crate) fn paying(call: &Call<'_>, intent: &str) -> Result<Value, ApiError> {
    let found = call.find(Kind::PaymentIntent, "payment_intent", intent)?;
    let charge = call.store.get(Kind::Charge, found.text("latest_charge"));
    charge.filter(|charge| charge.is_true("paid")).cloned().ok_or_else(|| {
        ApiError::invalid_request(format!(
            "The payment intent '{intent}' has no charge that succeeded; pay it first."
        ))
    })
}

/// Updates a charge's refunded amount. Failed and canceled refunds don't count; pending ones do,
/// since they are promised.
pub(crate) fn count_refunds(call: &mut Call<'_>, id: &str) -> Value {
    let refunded: i64 = refunds::of(call.store, id)
        .filter(|refund| !matches!(refund.text("status"), "failed" | "canceled"))
        .map(|refund| refund.integer("amount"))
        .sum();
    edit(call, id, |charge| {
        charge.set("amount_refunded", refunded);
        charge.set("refunded", refunded == charge.integer("amount"));
    })
}

/// A charge that was ever disputed stays marked, whoever wins.
pub(crate) fn mark_disputed(call: &mut Call<'_>, id: &str) {
    edit(call, id, |charge| charge.set("disputed", true));
}

fn edit(call: &mut Call<'_>, id: &str, how: impl FnOnce(&mut Value)) -> Value {
    let mut charge = call.store.get(Kind::Charge, id).cloned().unwrap_or_default();
    how(&mut charge);
    call.store.put(Kind::Charge, id, charge.clone());
    charge
}

/// A charge has more card details than the payment method.
fn method_details(method: &Value) -> Value {
    let kind = method.text("type");
    let mut details = method.field(kind).clone();
    if kind == "card" {
        let brand = details.text("brand").to_owned();
        details.set("network", brand);
        for (field, value) in [
            ("amount_authorized", Value::Null),
            ("authorization_code", json!("123456")),
            ("extended_authorization", json!({ "status": "disabled" })),
            ("incremental_authorization", json!({ "status": "unavailable" })),
            ("installments", Value::Null),
            ("mandate", Value::Null),
            ("multicapture", json!({ "status": "unavailable" })),
            ("network_token", json!({ "used": false })),
            ("network_transaction_id", json!(id::random("", 15))),
            ("overcapture", json!({ "maximum_amount_capturable": 0, "status": "unavailable" })),
            ("three_d_secure", Value::Null),
            ("transaction_link_id", Value::Null),
        ] {
            details.set(field, value);
        }
    }
    json!({ kind: details, "type": kind })
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("created", Shape::TimeRange),
        optional("customer", Shape::Text),
        optional("payment_intent", Shape::Text),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    lists::list(call.store, Kind::Charge, "/v1/charges", &filters, |charge| {
        ["customer", "payment_intent"]
            .into_iter()
            .all(|filter| lists::equals(&filters, filter, charge.text(filter)))
            && lists::in_range(filters.field("created"), charge.integer("created"))
    })
}
