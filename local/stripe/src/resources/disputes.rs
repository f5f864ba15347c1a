//! Disputes and inquiries.

use serde_json::{Value, json};

use crate::cards::Complaint;
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::later;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{charges, check_move, early_fraud_warnings, lists, overlay, refunds};
use crate::state::Call;
use crate::store::{Kind, Store};

/// A bank's possible transitions. An inquiry may be escalated, a verdict may be reversed, and a
/// lost dispute may be appealed.
const MOVES: &[(&str, &[&str])] = &[
    (
        "warning_needs_response",
        &["warning_under_review", "warning_closed", "needs_response", "prevented"],
    ),
    ("warning_under_review", &["warning_closed", "needs_response", "prevented"]),
    ("warning_closed", &["needs_response"]),
    ("needs_response", &["under_review", "won", "lost", "prevented"]),
    ("under_review", &["won", "lost", "prevented"]),
    ("won", &["lost"]),
    ("lost", &["won", "appeal_needs_response"]),
    ("appeal_needs_response", &["appeal_under_review", "won", "lost"]),
    ("appeal_under_review", &["won", "lost"]),
    ("prevented", &[]),
];

/// <https://docs.stripe.com/disputes/categories>, with Visa's code if it has its own.
const REASONS: &[(&str, Option<&str>)] = &[
    ("bank_cannot_process", None),
    ("check_returned", None),
    ("credit_not_processed", Some("13.6")),
    ("customer_initiated", None),
    ("debit_not_authorized", None),
    ("duplicate", Some("12.6")),
    ("fraudulent", Some("10.4")),
    ("general", None),
    ("incorrect_account_details", None),
    ("insufficient_funds", None),
    ("noncompliant", None),
    ("product_not_received", Some("13.1")),
    ("product_unacceptable", Some("13.3")),
    ("subscription_canceled", Some("13.2")),
    ("unrecognized", None),
];

/// The evidence fields; files are named by their ids.
const EVIDENCE: &[Parameter] = &[
    evidence("access_activity_log"),
    evidence("billing_address"),
    evidence("cancellation_policy"),
    evidence("cancellation_policy_disclosure"),
    evidence("cancellation_rebuttal"),
    evidence("customer_communication"),
    evidence("customer_email_address"),
    evidence("customer_name"),
    evidence("customer_purchase_ip"),
    evidence("customer_signature"),
    evidence("duplicate_charge_documentation"),
    evidence("duplicate_charge_explanation"),
    evidence("duplicate_charge_id"),
    evidence("product_description"),
    evidence("receipt"),
    evidence("refund_policy"),
    evidence("refund_policy_disclosure"),
    evidence("refund_refusal_explanation"),
    evidence("service_date"),
    evidence("service_documentation"),
    evidence("shipping_address"),
    evidence("shipping_carrier"),
    evidence("shipping_date"),
    evidence("shipping_documentation"),
    evidence("shipping_tracking_number"),
    evidence("uncategorized_file"),
    evidence("uncategorized_text"),
];

const fn evidence(name: &'static str) -> Parameter {
    optional(name, Shape::Bounded(20_000))
}

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Evidence is due at the end of the day this many days after the dispute's.
const DAYS_TO_ANSWER: i64 = 8;
/// Stripe's dispute fee, in the currency's minor unit.
const FEE: i64 = 1500;

/// Opens a test card's disputes; each is for a part of the charge.
pub(crate) fn complain(call: &mut Call<'_>, charge: &Value, complaints: &[Complaint]) {
    let mut left = charge.integer("amount");
    for (complaint, to_come) in complaints.iter().zip((1..=complaints.len()).rev()) {
        let part = left / i64::try_from(to_come).unwrap_or(1);
        left -= part;
        begin(call, charge, part, complaint.status, complaint.reason);
    }
}

/// Opens a dispute of a charge for the bank: for the full amount, unless given.
pub(crate) fn open(
    call: &mut Call<'_>,
    charge: &Value,
    amount: Option<i64>,
    status: &str,
    reason: &str,
) -> Result<Value, ApiError> {
    const FIRST: &[&str] = &["needs_response", "warning_needs_response", "prevented"];
    if !FIRST.contains(&status) {
        let message =
            format!("A dispute can't start as '{status}', only as {}.", FIRST.join(" or "));
        return Err(ApiError::invalid_request(message).with("param", "status"));
    }
    if !REASONS.iter().any(|(known, _)| *known == reason) {
        let known: Vec<&str> = REASONS.iter().map(|(known, _)| *known).collect();
        let message = format!("Unknown dispute reason '{reason}'; use {}.", known.join(" or "));
        return Err(ApiError::invalid_request(message).with("param", "reason"));
    }
    let whole = charge.integer("amount");
    let amount = amount.unwrap_or(whole);
    if !(1..=whole).contains(&amount) {
        let message = format!("At least 1 and at most {whole} of this charge can be disputed.");
        return Err(ApiError::invalid_request(message).with("param", "amount"));
    }
    Ok(begin(call, charge, amount, status, reason))
}

fn begin(call: &mut Call<'_>, charge: &Value, amount: i64, status: &str, reason: &str) -> Value {
    let dispute = blank(call, charge, amount, reason);
    charges::mark_disputed(call, charge.text("id"));
    bring(call, &Value::Null, dispute, status, None)
}

/// A dispute with all of Stripe's fields, before it has a status.
fn blank(call: &Call<'_>, charge: &Value, amount: i64, reason: &str) -> Value {
    let mut evidence: Value =
        EVIDENCE.iter().map(|field| (field.name().to_owned(), Value::Null)).collect();
    evidence.set("enhanced_evidence", json!({}));
    let mut dispute = json!({
        "id": id::dispute(),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge.text("id"),
        "created": call.now,
        "currency": charge.text("currency"),
        "enhanced_eligibility_types": [],
        "evidence": evidence,
        "evidence_details": {
            "due_by": (call.now / DAY_SECONDS + DAYS_TO_ANSWER + 1) * DAY_SECONDS - 1,
            "enhanced_eligibility": {},
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": true,
        "livemode": false,
        "metadata": {},
        "payment_intent": charge.field("payment_intent"),
        "reason": reason,
        "status": null,
    });
    // Only some payment methods have details; a bank debit has none.
    let card = charge.field("payment_method_details").field("card");
    if !card.is_null() {
        let code = REASONS.iter().find(|(known, _)| *known == reason).and_then(|(_, code)| *code);
        let details = json!({
            "brand": card.text("brand"),
            "case_type": "chargeback",
            "network": card.text("network"),
            "network_reason_code": code.filter(|_| card.text("network") == "visa"),
        });
        dispute.set("payment_method_details", json!({ "card": details, "type": "card" }));
    }
    dispute
}

/// Changes a dispute's status, moves the money, and emits the events. `before` is the previous
/// dispute, or null for a new one. A prevented dispute was either resolved, which paid the buyer,
/// or blocked.
fn bring(
    call: &mut Call<'_>,
    before: &Value,
    mut dispute: Value,
    status: &str,
    prevented_by: Option<&str>,
) -> Value {
    let case_type = match status {
        "warning_needs_response" | "warning_under_review" | "warning_closed" => "inquiry",
        "prevented" => prevented_by.unwrap_or("resolution"),
        _ => "chargeback",
    };
    dispute.set("status", status);
    if let Some(card) = dispute.pointer_mut("/payment_method_details/card") {
        card.set("case_type", case_type);
    }
    let bank_has_money = case_type == "resolution"
        || matches!(
            status,
            "needs_response"
                | "under_review"
                | "lost"
                | "appeal_needs_response"
                | "appeal_under_review"
        );
    let moved = move_money(call, &mut dispute, bank_has_money);
    dispute.set("is_charge_refundable", !bank_has_money);
    call.store.put(Kind::Dispute, dispute.text("id"), dispute.clone());

    let closed = matches!(status, "won" | "lost" | "warning_closed" | "prevented");
    if before.is_null() {
        call.emit("charge.dispute.created", &dispute);
    } else if !closed {
        call.emit_updated("charge.dispute.updated", before, &dispute);
    }
    if let Some(event_type) = moved {
        call.emit(event_type, &dispute);
    }
    if closed {
        call.emit("charge.dispute.closed", &dispute);
    }
    let charge = dispute.text("charge");
    if bank_has_money && moved.is_some() {
        refunds::fail_pending(call, charge);
    }
    if let Some(charge) = call.store.get(Kind::Charge, charge).cloned() {
        early_fraud_warnings::reconsider(call, &charge);
    }
    dispute
}

/// Withdraws or reinstates the funds if necessary, and returns the event's type.
fn move_money(call: &Call<'_>, dispute: &mut Value, bank_has_money: bool) -> Option<&'static str> {
    let mut transactions = dispute.elements("balance_transactions").to_vec();
    // Each reverses the one before.
    let had_money = transactions.len() % 2 == 1;
    if had_money == bank_has_money {
        return None;
    }
    let amount = dispute.integer("amount");
    let (amount, fee, category, event_type) = if bank_has_money {
        (-amount, FEE, "dispute", "charge.dispute.funds_withdrawn")
    } else {
        (amount, 0, "dispute_reversal", "charge.dispute.funds_reinstated")
    };
    let currency = dispute.text("currency").to_owned();
    let fee_details = json!({
        "amount": fee,
        "application": null,
        "currency": currency,
        "description": "Dispute fee",
        "type": "stripe_fee",
    });
    transactions.push(json!({
        "id": id::balance_transaction(),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": call.now,
        "balance_type": "payments",
        "created": call.now,
        "currency": currency,
        "description": format!("{category} of {}", dispute.text("charge")),
        "exchange_rate": null,
        "fee": fee,
        "fee_details": if bank_has_money { vec![fee_details] } else { Vec::new() },
        "net": amount - fee,
        "reporting_category": category,
        "source": dispute.text("id"),
        "status": "available",
        "type": "adjustment",
    }));
    dispute.set("balance_transactions", transactions);
    Some(event_type)
}

/// The bank's decision on a dispute.
pub(crate) fn move_to(
    call: &mut Call<'_>,
    id: &str,
    status: &str,
    prevented_by: Option<&str>,
) -> Result<Value, ApiError> {
    let dispute = find(call, id)?;
    check_move(MOVES, "dispute", dispute.text("status"), status)?;
    if let Some(prevented_by) = prevented_by
        && (status != "prevented" || !matches!(prevented_by, "block" | "resolution"))
    {
        return Err(ApiError::invalid_request(
            "case_type is only for prevented: block or resolution.",
        )
        .with("param", "case_type"));
    }
    Ok(bring(call, &dispute, dispute.clone(), status, prevented_by))
}

pub(crate) fn find(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    call.find(Kind::Dispute, "dispute", id)
}

/// The dispute, unless it is closed.
fn find_open(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    let dispute = find(call, id)?;
    match dispute.text("status") {
        status @ ("won" | "lost" | "warning_closed" | "prevented") => Err(
            ApiError::invalid_request(format!("This dispute is closed: it is {status} already.")),
        ),
        _ => Ok(dispute),
    }
}

/// Adds evidence and, unless told not to, submits it. In Stripe's test mode certain words in it
/// decide the dispute.
pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional("evidence", Shape::Object(EVIDENCE)),
        optional("metadata", Shape::Metadata),
        optional("submit", Shape::Boolean),
    ];
    let mut fields = parameters::check(FIELDS, sent)?;
    let before = find_open(call, id)?;
    let (given, submit) = (fields.field("evidence").clone(), fields.field("submit").as_bool());
    fields.unset("evidence");
    fields.unset("submit");
    let mut dispute = before.clone();
    overlay(&mut dispute, &fields);
    let mut evidence = dispute.field("evidence").clone();
    overlay(&mut evidence, &given);
    let has_evidence = EVIDENCE.iter().any(|field| !evidence.field(field.name()).is_null());
    let word = evidence.text("uncategorized_text").to_owned();
    dispute.set("evidence", evidence);
    let mut details = dispute.field("evidence_details").clone();
    details.set("has_evidence", has_evidence);

    let submits = has_evidence && submit.unwrap_or(!given.is_null());
    let reviewed = match dispute.text("status") {
        "needs_response" => "under_review",
        "warning_needs_response" => "warning_under_review",
        _ if submits || !given.is_null() => {
            return Err(ApiError::invalid_request(
                "Evidence for this dispute was already submitted; wait for the bank's decision.",
            ));
        }
        under_review => under_review,
    }
    .to_owned();
    if !submits {
        dispute.set("evidence_details", details);
        call.store.put(Kind::Dispute, id, dispute.clone());
        call.emit_updated("charge.dispute.updated", &before, &dispute);
        return Ok(dispute);
    }
    details.set("submission_count", details.integer("submission_count") + 1);
    dispute.set("evidence_details", details);
    let dispute = bring(call, &before, dispute, &reviewed, None);
    if let Some(verdict) = verdict(&reviewed, &word) {
        later::let_bank_answer(call, Kind::Dispute, id, verdict);
    }
    Ok(dispute)
}

/// The bank's reaction to test mode's evidence texts. <https://docs.stripe.com/testing#evidence>
fn verdict(reviewed: &str, word: &str) -> Option<&'static str> {
    match (reviewed, word) {
        ("under_review", "winning_evidence") => Some("won"),
        ("under_review", "losing_evidence") => Some("lost"),
        ("warning_under_review", "winning_evidence" | "losing_evidence") => Some("warning_closed"),
        ("warning_under_review", "escalate_inquiry_evidence") => Some("needs_response"),
        _ => None,
    }
}

/// `POST /v1/disputes/{id}/close`: accepts the dispute as lost.
pub(crate) fn close(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    let dispute = find_open(call, id)?;
    if dispute.text("status") != "needs_response" {
        return Err(ApiError::invalid_request(format!(
            "This dispute is {}; only one that needs_response can be closed. Refund an inquiry instead.",
            dispute.text("status")
        )));
    }
    Ok(bring(call, &dispute, dispute.clone(), "lost", None))
}

/// The disputes of a charge, oldest first.
pub(crate) fn of<'a>(store: &'a Store, charge: &'a str) -> impl Iterator<Item = &'a Value> {
    store
        .iterate(Kind::Dispute)
        .map(|(_, _, dispute)| dispute)
        .filter(move |dispute| dispute.text("charge") == charge)
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    lists::of_charge(call, Kind::Dispute, "/v1/disputes", sent)
}
