//! Payment intents. Checkout creates them; the API reads them and changes their metadata.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{lists, overlay};
use crate::state::Call;
use crate::store::Kind;

/// Creates the payment intent of a session that is about to be paid.
pub(crate) fn add(call: &mut Call<'_>, session: &Value, data: &Value) -> Value {
    let id = id::payment_intent();
    let mut intent = json!({
        "id": id,
        "object": "payment_intent",
        "amount": session.integer("amount_total"),
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": 0,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic_async",
        "client_secret": format!("{id}_secret_{}", id::random("", 25)),
        "confirmation_method": "automatic",
        "created": call.now,
        "currency": session.text("currency"),
        "customer": session.field("customer"),
        "customer_account": null,
        "description": null,
        "excluded_payment_method_types": null,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "managed_payments": session.field("managed_payments"),
        "metadata": {},
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": {
            "card": {
                "installments": null,
                "mandate_options": null,
                "network": null,
                "request_three_d_secure": "automatic",
            },
        },
        "payment_method_types": session.field("payment_method_types"),
        "processing": null,
        "receipt_email": null,
        "review": null,
        "setup_future_usage": null,
        "shipping": null,
        "source": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "requires_payment_method",
        "transfer_data": null,
        "transfer_group": null,
    });
    overlay(&mut intent, data);
    call.store.put(Kind::PaymentIntent, &id, intent.clone());
    call.emit("payment_intent.created", &intent);
    intent
}

/// Cancels a payment intent because its session expired.
pub(crate) fn cancel(call: &mut Call<'_>, id: &str) {
    let Some(mut intent) = call.store.get(Kind::PaymentIntent, id).cloned() else { return };
    if !["requires_payment_method", "requires_action"].contains(&intent.text("status")) {
        return;
    }
    intent.set("next_action", Value::Null);
    intent.set("status", "canceled");
    intent.set("canceled_at", call.now);
    intent.set("cancellation_reason", "expired");
    call.store.put(Kind::PaymentIntent, id, intent.clone());
    call.emit("payment_intent.canceled", &intent);
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] =
        &[optional("description", Shape::Bounded(1000)), optional("metadata", Shape::Metadata)];
    let fields = parameters::check(FIELDS, sent)?;
    let mut intent = call.find(Kind::PaymentIntent, "payment_intent", id)?;
    overlay(&mut intent, &fields);
    call.store.put(Kind::PaymentIntent, id, intent.clone());
    Ok(intent)
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("created", Shape::TimeRange),
        optional("customer", Shape::Text),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    lists::list(call.store, Kind::PaymentIntent, "/v1/payment_intents", &filters, |intent| {
        lists::equals(&filters, "customer", intent.text("customer"))
            && lists::in_range(filters.field("created"), intent.integer("created"))
    })
}
