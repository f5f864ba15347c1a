//! Who sells: the shop, or Link, which Managed Payments makes the seller.
//!
//! Some accounts have Managed Payments on for every session that doesn't decline, and no setting
//! says so: <https://docs.stripe.com/payments/managed-payments>. Every session that is opened here
//! declines, so what can be looked at is whether Stripe went along. The events about sessions say
//! it, which the operator's key may read anyway.

use serde_json::Value;

use super::stripe::{EventsQuery, NO_ACCOUNT, StatusHistory, failed};
use super::{Finding, Patient};

/// The events that report the end of a session. Each session ends after a day at most.
const ENDED: [&str; 2] = ["checkout.session.completed", "checkout.session.expired"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seller {
    Shop,
    Link,
    /// Stripe's API has said it since 2026; events of an older version don't.
    Unsaid,
}

fn seller_in(session: &Value) -> Seller {
    match session.pointer("/managed_payments/enabled").and_then(Value::as_bool) {
        Some(true) => Seller::Link,
        Some(false) => Seller::Shop,
        None => Seller::Unsaid,
    }
}

pub(super) async fn seller(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let (deployment, now) = (patient.deployment, patient.now);
    let told: Vec<StatusHistory> =
        match account.list("/events", &EventsQuery::of(ENDED.to_vec(), now, now)).await {
            Ok(told) => told,
            Err(error) => return failed(&error, "Events: Read"),
        };
    // Stripe lists the newest first.
    let ours = told.iter().filter_map(|told| told.object_of(&deployment.shop));
    let sellers: Vec<(&Value, Seller)> =
        ours.map(|session| (session, seller_in(session))).collect();
    let by = |seller| sellers.iter().filter(|(_, it)| *it == seller).count();
    let (by_link, by_shop, of) = (by(Seller::Link), by(Seller::Shop), sellers.len());
    match sellers.first() {
        None => Finding::good("you: every session declines Managed Payments; none has ended yet"),
        Some((session, Seller::Link)) => Finding::bad(
            format!(
                "Link, not you: {} was opened with Managed Payments, as were {by_link} of {of} \
                 sessions that ended in the last 15 days; Link sets its own taxes, receipts and \
                 refunds",
                session.get("id").and_then(Value::as_str).unwrap_or("the newest session")
            ),
            "deploy this version, which declines Managed Payments in every session; if it is \
             deployed, ask Stripe's support why a session that declines has it",
        ),
        Some((_, Seller::Shop)) if by_link > 0 => Finding::note(
            format!(
                "you, again: Link sold in {by_link} of {of} sessions that ended in the last \
                 15 days"
            ),
            "for those payments, Link handles receipts, refunds and taxes; check them in Stripe's \
             Dashboard",
        ),
        Some((_, Seller::Shop)) => Finding::good(format!(
            "you, in {by_shop} of {of} sessions that ended in the last 15 days"
        )),
        Some((_, Seller::Unsaid)) => Finding::note(
            "the sessions of the last 15 days don't say: your account's API version is older than \
             Managed Payments",
            "look at a payment in Stripe's Dashboard: it says \"Sold through Link\" if Link sells",
        ),
    }
}
