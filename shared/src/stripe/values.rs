//! The values of Stripe's enums that this version knows.
//!
//! Each enum is a table from Stripe's value to what it means here. A value that isn't in the table
//! is an error and is never read as one of the others, so that a person looks at it.

use serde_json::Value;

use crate::domain::facts::{DisputeStatus, PaymentStatus, RefundStatus};

/// A Checkout session's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStatus {
    /// It can be paid.
    Open,
    /// The buyer completed it.
    Complete,
    /// It can't be paid any more.
    Expired,
}

/// <https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-status>
const SESSION_STATUSES: [(&str, SessionStatus); 3] = [
    ("open", SessionStatus::Open),
    ("complete", SessionStatus::Complete),
    ("expired", SessionStatus::Expired),
];

/// A Checkout session's `payment_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionPaymentStatus {
    /// The money has arrived.
    Paid,
    /// There is nothing to pay. A free session has this status from the start.
    NoPaymentRequired,
    /// The money hasn't arrived.
    Unpaid,
}

/// <https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status>
const PAYMENT_STATUSES: [(&str, SessionPaymentStatus); 3] = [
    ("paid", SessionPaymentStatus::Paid),
    ("no_payment_required", SessionPaymentStatus::NoPaymentRequired),
    ("unpaid", SessionPaymentStatus::Unpaid),
];

/// What a payment intent's `status` means if its session is complete and unpaid.
/// <https://docs.stripe.com/payments/paymentintents/lifecycle>
const UNPAID_INTENTS: [(&str, PaymentStatus); 7] = [
    ("requires_payment_method", PaymentStatus::Failed),
    ("canceled", PaymentStatus::Failed),
    ("requires_confirmation", PaymentStatus::Processing),
    ("requires_action", PaymentStatus::Processing),
    ("requires_capture", PaymentStatus::Processing),
    ("processing", PaymentStatus::Processing),
    ("succeeded", PaymentStatus::Processing),
];

/// The payment methods whose charge is created when it is paid. Any other may be a delayed one,
/// whose charge is days older: <https://docs.stripe.com/checkout/fulfillment>.
/// <https://docs.stripe.com/api/charges/object#charge_object-payment_method_details-type>
const PAID_WHEN_CHARGED: [&str; 1] = ["card"];

/// <https://docs.stripe.com/api/refunds/object#refund_object-status>
const REFUND_STATUSES: [(&str, RefundStatus); 5] = [
    ("pending", RefundStatus::Pending),
    ("requires_action", RefundStatus::RequiresAction),
    ("succeeded", RefundStatus::Succeeded),
    ("canceled", RefundStatus::Canceled),
    ("failed", RefundStatus::Failed),
];

/// <https://docs.stripe.com/api/disputes/object#dispute_object-status>. `None` if the type of case
/// decides.
const DISPUTE_STATUSES: [(&str, Option<DisputeStatus>); 10] = [
    ("warning_needs_response", Some(DisputeStatus::Inquiry)),
    ("warning_under_review", Some(DisputeStatus::Inquiry)),
    ("warning_closed", Some(DisputeStatus::InquiryClosed)),
    ("needs_response", Some(DisputeStatus::Open)),
    ("under_review", Some(DisputeStatus::Open)),
    ("won", Some(DisputeStatus::Won)),
    ("lost", Some(DisputeStatus::Lost)),
    ("prevented", None),
    // Since 2026-10-28, for accounts that have enabled appeals:
    // <https://docs.stripe.com/disputes/arbitration>
    ("appeal_needs_response", Some(DisputeStatus::Appealed)),
    ("appeal_under_review", Some(DisputeStatus::Appealed)),
];

/// How a dispute was prevented: it was blocked, or the money was returned.
/// <https://docs.stripe.com/changelog/basil/2025-08-27/add-preventions-to-dispute>
const PREVENTED_CASES: [(&str, DisputeStatus); 2] =
    [("block", DisputeStatus::Blocked), ("resolution", DisputeStatus::Resolved)];

/// What `value` means. The error names the field and never contains its value.
fn meaning<T: Copy>(field: &str, value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find_map(|(name, meaning)| (*name == value).then_some(*meaning));
    found.ok_or_else(|| format!("{field} has an unknown value"))
}

pub(super) fn session_status(value: &str) -> Result<SessionStatus, String> {
    meaning("status", value, &SESSION_STATUSES)
}

pub(super) fn payment_status(value: &str) -> Result<SessionPaymentStatus, String> {
    meaning("payment_status", value, &PAYMENT_STATUSES)
}

/// The payment status of a complete, unpaid session, from its payment intent's status.
pub(super) fn unpaid_intent(status: &str) -> Result<PaymentStatus, String> {
    meaning("payment_intent.status", status, &UNPAID_INTENTS)
}

/// Whether a charge with these `payment_method_details` was created when it was paid.
pub(super) fn is_paid_when_charged(details: &Value) -> bool {
    let kind = details.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| PAID_WHEN_CHARGED.contains(&kind))
}

pub(super) fn refund_status(value: &str) -> Result<RefundStatus, String> {
    meaning("status", value, &REFUND_STATUSES)
}

/// A dispute's status. `case_type` is read only if Stripe's status doesn't say who has the money.
pub(super) fn dispute_status(
    status: &str,
    case_type: Option<&str>,
) -> Result<DisputeStatus, String> {
    const CASE_TYPE: &str = "case_type of a prevented dispute";
    if let Some(status) = meaning("status", status, &DISPUTE_STATUSES)? {
        return Ok(status);
    }
    let case_type = case_type.ok_or_else(|| format!("{CASE_TYPE} is missing"))?;
    meaning(CASE_TYPE, case_type, &PREVENTED_CASES)
}
