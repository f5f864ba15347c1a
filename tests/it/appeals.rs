//! Disputes that a verdict doesn't end: appeals, and several disputes of one payment.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;
use shared::apply::apply;
use shared::domain::decide::{Content, Mode, Observation, Outcome, PaymentFor};
use shared::domain::facts::{Dispute, DisputeStatus, Facts, StatusHistory};
use shared::domain::id::{DisputeId, PaymentIntentId};
use shared::domain::shop::Owner;
use shared::domain::time::Timestamp;
use shared::ports::{StripeReadError, StripeReader, SystemClock};
use simulation::memory::MemoryLedger;
use simulation::shop;
use tests::sessions::{event, observation};

use crate::checkout::{checkout, problem};
use crate::reversals::Shop;
use tests::requests::learner;

/// A shop in which ada has paid and lost a dispute; and the dispute.
async fn lost() -> (Shop, String) {
    let (mut shop, payment) = Shop::sold().await;
    let dispute = shop.dispute(&payment, "needs_response").await;
    shop.decide(&dispute, json!({ "status": "lost" })).await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["dispute_lost"]);
    (shop, dispute)
}

#[tokio::test]
async fn a_won_appeal_restores_access_and_blocks_sales_until_then() {
    let (mut shop, dispute) = lost().await;
    for status in ["appeal_needs_response", "appeal_under_review"] {
        shop.decide(&dispute, json!({ "status": status })).await;
        shop.tell().await;
        assert_eq!(shop.statuses().await, ["suspended"], "{status}");
        assert_eq!(shop.access("ada").await, ("denied".into(), "payment_disputed".into()));
        let answered = checkout(&shop.world, &learner("ada")).await;
        assert_eq!(problem(&answered), (409, "payment-disputed"), "{status}");
    }
    shop.decide(&dispute, json!({ "status": "won" })).await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["active"]);
    assert!(shop.is_open().await);
}

#[tokio::test]
async fn a_lost_appeal_leaves_the_product_closed_and_for_sale() {
    let (mut shop, dispute) = lost().await;
    shop.decide(&dispute, json!({ "status": "appeal_needs_response" })).await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["suspended"]);
    shop.decide(&dispute, json!({ "status": "lost" })).await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["dispute_lost"]);
    assert_eq!(shop.access("ada").await, ("denied".into(), "payment_required".into()));
    assert_eq!(checkout(&shop.world, &learner("ada")).await.0, 201);
}

#[tokio::test]
async fn an_appeal_s_outcome_is_independent_of_event_order() {
    for (verdict, status) in [("won", "active"), ("lost", "dispute_lost")] {
        for is_reversed in [false, true] {
            let (mut shop, payment) = Shop::sold().await;
            let dispute = shop.dispute(&payment, "needs_response").await;
            for status in ["lost", "appeal_needs_response", "appeal_under_review", verdict] {
                shop.decide(&dispute, json!({ "status": status })).await;
            }
            let mut events = shop.untold().await;
            if is_reversed {
                events.reverse();
            }
            for event in &events {
                let (status, answer) = shop.world.deliver(event).await;
                assert_eq!(status, 200, "{event}");
                assert_ne!(answer["outcome"], "quarantined", "{event}");
            }
            assert_eq!(shop.statuses().await, [status], "{verdict}, reversed: {is_reversed}");
        }
    }
}

#[tokio::test]
async fn why_names_an_appeal() {
    let (mut shop, dispute) = lost().await;
    shop.world.stripe_post("/_sim/advance", &json!({ "seconds": 86_400 })).await;
    shop.decide(&dispute, json!({ "status": "appeal_needs_response" })).await;
    shop.tell().await;
    let target = "/entitlements/tutorclaw/why";
    let (_, answer) =
        shop.world.read("GET /entitlements/{product}/why", target, &learner("ada")).await;
    let facts = answer["sources"][0]["facts"].as_array().unwrap();
    let last = facts.last().unwrap();
    assert_eq!((&last["fact"], &last["effect"]), (&json!("dispute_appealed"), &json!("suspends")));
    assert_eq!(last["text"], "The bank's decision on the dispute was appealed.");
}

/// A Stripe that knows each of these disputes' status, and records its calls.
struct Disputes {
    stand: BTreeMap<&'static str, DisputeStatus>,
    asked: Mutex<Vec<String>>,
}

impl StripeReader for Disputes {
    async fn owner(
        &self,
        _: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        Ok(PaymentFor::Purchase(Owner::Marked(shop().mark)))
    }

    async fn dispute(
        &self,
        id: &DisputeId,
        _: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        self.asked.lock().unwrap().push(id.to_string());
        Ok(self.stand[id.as_str()])
    }
}

/// An observation about two disputes of one payment, as when the payment is read.
fn disputed(statuses: [(&str, DisputeStatus); 2]) -> Observation {
    let told = |(id, status): (&str, DisputeStatus)| {
        let at = Timestamp::from_unix_seconds(2000);
        (id.parse().unwrap(), Dispute { statuses: StatusHistory::once(status, at), snapshot: None })
    };
    let facts = Facts { disputes: statuses.map(told).into(), ..Facts::default() };
    Observation {
        event: None,
        mode: Mode::Test,
        connected_account: false,
        owner: Owner::Unsaid,
        content: Content::Facts("pi_a".parse().unwrap(), Box::new(facts)),
    }
}

#[tokio::test]
async fn an_answer_about_one_dispute_is_not_used_for_another() {
    use DisputeStatus::{Blocked, Lost, Won};
    for stand in [[("du_1", Won), ("du_2", Lost)], [("du_1", Lost), ("du_2", Won)]] {
        let ledger = MemoryLedger::default();
        let stripe = Disputes { stand: stand.into(), asked: Mutex::default() };
        let sold = observation(&event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000"));
        // Each dispute gets one verdict, and then both get another, in one observation.
        let first = disputed([("du_1", Blocked), ("du_2", Blocked)]);
        for observation in [&sold, &first, &disputed(stand)] {
            let outcome =
                apply(&ledger, &stripe, &SystemClock, &shop(), observation).await.unwrap();
            assert_eq!(outcome, Outcome::Applied);
        }
        assert_eq!(*stripe.asked.lock().unwrap(), ["du_1", "du_2"]);
        let source = ledger.contents().sources.into_values().next().unwrap();
        for (id, status) in stand {
            let dispute = &source.facts.disputes[&id.parse().unwrap()];
            assert_eq!(dispute.status(), Some(status), "{id} of {stand:?}");
        }
    }
}
