//! Refunds, from their creation until they succeed or fail.

use serde_json::{Value, json};

use crate::amounts;
use crate::cards::{Behaviour, TestCard};
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::later;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{charges, check_move, disputes, early_fraud_warnings, lists, overlay};
use crate::state::Call;
use crate::store::{Kind, Store};

/// A bank's possible transitions. Even a succeeded refund may fail later, if the account that it
/// was for is closed.
const MOVES: &[(&str, &[&str])] = &[
    ("pending", &["succeeded", "failed", "requires_action"]),
    ("requires_action", &["succeeded", "failed"]),
    ("succeeded", &["failed"]),
    ("failed", &[]),
    ("canceled", &[]),
];

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional("amount", Shape::Integer { min: 1, max: i64::MAX }),
        optional("charge", Shape::Text),
        optional("metadata", Shape::Metadata),
        optional("payment_intent", Shape::Text),
        optional("reason", Shape::Choice(&["duplicate", "fraudulent", "requested_by_customer"])),
    ];
    let fields = parameters::check(FIELDS, sent)?;
    let charge = charge_of(call, &fields)?;
    let amount = amount_of(&charge, &fields)?;
    let kind = charge.field("payment_method_details").text("type");
    let (status, later) = match TestCard::of(&charge).map(|card| &card.behaviour) {
        Some(Behaviour::RefundsLate(first, later)) => (*first, Some(*later)),
        _ if kind == "card" => ("succeeded", None),
        // A real bank takes days; here it responds when told to.
        _ => ("pending", None),
    };
    let mut refund = blank(call, &charge, amount);
    let chosen = json!({ "metadata": fields.field("metadata"), "reason": fields.field("reason") });
    overlay(&mut refund, &chosen);
    enter(call, &mut refund, status);
    let id = refund.text("id").to_owned();
    call.store.put(Kind::Refund, &id, refund.clone());
    let charge = charges::count_refunds(call, charge.text("id"));
    call.emit("refund.created", &refund);
    call.emit("charge.refunded", &charge);
    early_fraud_warnings::reconsider(call, &charge);
    if let Some(later) = later {
        later::let_bank_answer(call, Kind::Refund, &id, later);
    }
    Ok(refund)
}

/// The charge to refund, if it can be refunded.
fn charge_of(call: &Call<'_>, fields: &Value) -> Result<Value, ApiError> {
    let charge = match (fields.text("charge"), fields.text("payment_intent")) {
        ("", "") => {
            return Err(ApiError::invalid_request("Send payment_intent or charge."));
        }
        ("", intent) => charges::paying(call, intent)?,
        (charge, "") => call.find(Kind::Charge, "charge", charge)?,
        (_, _) => {
            return Err(ApiError::invalid_request("Send payment_intent or charge, not both.")
                .with("param", "charge"));
        }
    };
    let id = charge.text("id");
    if !charge.is_true("paid") {
        let message = format!("The charge '{id}' did not succeed; there is nothing to refund.");
        return Err(ApiError::invalid_request(message));
    }
    if disputes::of(call.store, id).any(|dispute| !dispute.is_true("is_charge_refundable")) {
        let message = format!(
            "A dispute has withdrawn the funds of the charge '{id}'; it cannot be refunded too."
        );
        return Err(ApiError::invalid_request(message).with("code", "charge_disputed"));
    }
    if charge.is_true("refunded") {
        let message = format!("The charge '{id}' was already refunded in full.");
        return Err(ApiError::invalid_request(message).with("code", "charge_already_refunded"));
    }
    Ok(charge)
}

/// The requested amount, or by default whatever has not been refunded yet.
fn amount_of(charge: &Value, fields: &Value) -> Result<i64, ApiError> {
    let left = charge.integer("amount") - charge.integer("amount_refunded");
    match fields.field("amount").as_i64() {
        Some(amount) if amount > left => {
            let message = format!(
                "The refund of {amount} is greater than the {left} of the charge that are not refunded yet."
            );
            Err(ApiError::invalid_request(message).with("param", "amount"))
        }
        Some(amount) => {
            amounts::check_granularity(charge.text("currency"), amount)?;
            Ok(amount)
        }
        None => Ok(left),
    }
}

/// A refund with all of Stripe's fields, before it has a status.
fn blank(call: &Call<'_>, charge: &Value, amount: i64) -> Value {
    let by_card = charge.field("payment_method_details").text("type") == "card";
    let destination = by_card.then(|| {
        json!({
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        })
    });
    json!({
        "id": id::refund(),
        "object": "refund",
        "amount": amount,
        "balance_transaction": null,
        "charge": charge.text("id"),
        "created": call.now,
        "currency": charge.text("currency"),
        "customer": charge.field("customer"),
        "customer_account": null,
        "destination_details": destination,
        "metadata": {},
        "payment_intent": charge.field("payment_intent"),
        "payment_method": charge.field("payment_method"),
        "reason": null,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": null,
        "transfer_reversal": null,
    })
}

/// Sets a refund's status, with the fields that only this status has.
fn enter(call: &Call<'_>, refund: &mut Value, status: &str) {
    refund.set("status", status);
    refund.unset("next_action");
    refund.unset("pending_reason");
    match status {
        "pending" => refund.set("pending_reason", "processing"),
        "requires_action" => {
            let method = call.store.get(Kind::PaymentMethod, refund.text("payment_method"));
            let email = method
                .map_or("", |method| method.field("billing_details").text("email"))
                .to_owned();
            let details = json!({
                "email_sent": { "email_sent_at": call.now, "email_sent_to": email },
                "expires_at": call.now + 45 * 24 * 60 * 60,
            });
            refund.set(
                "next_action",
                json!({ "display_details": details, "type": "display_details" }),
            );
        }
        "succeeded" => refund.set("balance_transaction", id::balance_transaction()),
        _ => {}
    }
}

/// The refunds of a charge, oldest first.
pub(crate) fn of<'a>(store: &'a Store, charge: &'a str) -> impl Iterator<Item = &'a Value> {
    store
        .iterate(Kind::Refund)
        .map(|(_, _, refund)| refund)
        .filter(move |refund| refund.text("charge") == charge)
}

/// A charge's refunds, as `expand[]=refunds` returns them.
pub(crate) fn first_of(store: &Store, charge: &str) -> Value {
    let mut refunds: Vec<Value> = of(store, charge).cloned().collect();
    refunds.reverse();
    let has_more = refunds.len() > 10;
    refunds.truncate(10);
    lists::page_of(&format!("/v1/charges/{charge}/refunds"), refunds, has_more)
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(&[optional("metadata", Shape::Metadata)], sent)?;
    let before = find(call, id)?;
    let mut after = before.clone();
    overlay(&mut after, &fields);
    save(call, &before, &after);
    Ok(after)
}

pub(crate) fn find(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    call.find(Kind::Refund, "refund", id)
}

/// `POST /v1/refunds/{id}/cancel`.
pub(crate) fn cancel(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    let refund = find(call, id)?;
    if refund.text("status") != "requires_action" {
        return Err(ApiError::invalid_request(format!(
            "This refund is {}; only one that requires_action can be canceled.",
            refund.text("status")
        )));
    }
    Ok(bring(call, &refund, "canceled", None))
}

/// The bank's result for a refund.
pub(crate) fn settle(call: &mut Call<'_>, id: &str, status: &str) -> Result<Value, ApiError> {
    let refund = find(call, id)?;
    check_move(MOVES, "refund", refund.text("status"), status)?;
    let by_card = refund.field("destination_details").text("type") == "card";
    let reason = if by_card { "expired_or_canceled_card" } else { "declined" };
    Ok(bring(call, &refund, status, Some(reason)))
}

/// Fails a charge's pending refunds because a dispute has withdrawn the money.
pub(crate) fn fail_pending(call: &mut Call<'_>, charge: &str) {
    let pending: Vec<Value> = of(call.store, charge)
        .filter(|refund| matches!(refund.text("status"), "pending" | "requires_action"))
        .cloned()
        .collect();
    for refund in pending {
        bring(call, &refund, "failed", Some("charge_for_pending_refund_disputed"));
    }
}

/// Changes a refund's status, with what follows. `reason` is the failure reason, should it fail.
fn bring(call: &mut Call<'_>, before: &Value, status: &str, reason: Option<&str>) -> Value {
    let mut refund = before.clone();
    enter(call, &mut refund, status);
    if status == "failed" {
        refund.set("failure_reason", reason);
        if !refund.field("balance_transaction").is_null() {
            refund.set("failure_balance_transaction", id::balance_transaction());
        }
    }
    save(call, before, &refund);
    if status == "failed" {
        call.emit("refund.failed", &refund);
    }
    let charge = charges::count_refunds(call, refund.text("charge"));
    early_fraud_warnings::reconsider(call, &charge);
    refund
}

/// Stores a changed refund. Two events report the change, because Stripe still sends the older one.
fn save(call: &mut Call<'_>, before: &Value, after: &Value) {
    call.store.put(Kind::Refund, after.text("id"), after.clone());
    call.emit_updated("refund.updated", before, after);
    call.emit_updated("charge.refund.updated", before, after);
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    lists::of_charge(call, Kind::Refund, "/v1/refunds", sent)
}
