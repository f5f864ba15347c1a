//! Convergence: the same events end in the same state, in any order and however often they are
//! delivered.

use serde_json::json;
use shared::apply::apply;
use shared::domain::access::{Entitlements, Status};
use shared::domain::decide::{Needs, Observation};
use shared::domain::facts::{PaymentStatus, Purchase};
use shared::domain::id::{LearnerId, SourceId};
use shared::domain::time::Timestamp;
use shared::dynamo::Table;
use shared::ports::{AccessReader, Ledger, SystemClock};
use shared::stripe::wire::session_from_api;
use simulation::memory::MemoryLedger;
use simulation::shop;
use tests::sessions::{UnusedStripe, event, observation, permutations};
use tests::world::{dynamodb, table_at};

/// Stripe's possible events about one purchase by bank debit. It fails and succeeds, which happens
/// when a bank changes its mind, and two events have the same second.
const PURCHASE: [&str; 4] = [
    "evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000",
    "evt_2 async_payment_failed unpaid cs_a pi_a ada tutorclaw @2000",
    "evt_3 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2000",
    "evt_4 expired unpaid cs_a - ada tutorclaw @1000",
];

/// The same change again, in another event a second later.
const AGAIN: &str = "evt_5 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2001";

/// Everything about one purchase: Stripe's events, and what we read ourselves. Another number gives
/// other ids, so that several fit into one table.
fn observations(number: usize, again: bool) -> Vec<Observation> {
    let lines = PURCHASE.iter().copied().chain(again.then_some(AGAIN));
    let mut all: Vec<Observation> = lines
        .map(|line| {
            let line = line
                .replace("evt_", &format!("evt_{number}x"))
                .replace("cs_a", &format!("cs_{number}"))
                .replace("pi_a", &format!("pi_{number}"))
                .replace("ada", &format!("ada-{number}"));
            observation(&event(&line))
        })
        .collect();
    all.push(reading(number));
    all
}

/// The paid session, as a confirmation reads it: with its charge.
fn reading(number: usize) -> Observation {
    let line = format!("evt_1 completed paid cs_{number} pi_{number} ada-{number} tutorclaw @1000");
    let mut session = event(&line)["data"]["object"].clone();
    session["payment_intent"] = json!({
        "id": format!("pi_{number}"),
        "object": "payment_intent",
        "status": "succeeded",
        "latest_charge": {
            "id": "ch_1",
            "object": "charge",
            "created": 1990,
            "payment_method_details": { "type": "card" },
        },
    });
    let now = Timestamp::from_unix_seconds(3000);
    session_from_api(&session.to_string(), now).unwrap().observation
}

/// What follows from the facts: the facts themselves, and the learner's entitlements.
#[derive(Debug, PartialEq)]
struct End {
    purchase: Option<Purchase>,
    entitlements: Entitlements,
}

async fn deliver<L: Ledger + AccessReader>(ledger: &L, all: &[Observation], number: usize) -> End {
    for observation in all {
        apply(ledger, &UnusedStripe, &SystemClock, &shop(), observation).await.unwrap();
    }
    let learner: LearnerId = format!("ada-{number}").parse().unwrap();
    let source: SourceId = format!("pi_{number}").parse().unwrap();
    let state = ledger.load(Needs { source: Some(&source), ..Needs::default() }).await.unwrap();
    End {
        purchase: state.source.and_then(|stored| stored.facts.purchase().cloned()),
        entitlements: ledger.entitlements(&learner).await.unwrap(),
    }
}

/// Asserts the end of the whole purchase: one source, paid when its charge was, and one grant.
#[track_caller]
fn assert_bought_once(end: &End, order: &[Observation]) {
    let order: Vec<_> =
        order.iter().map(|observation| observation.event.as_ref().map(|event| &event.id)).collect();
    let at = Timestamp::from_unix_seconds(1990);
    let history: Vec<_> =
        end.purchase.iter().flat_map(|purchase| purchase.payment.history()).collect();
    let expected = [
        (PaymentStatus::Processing, Some(Timestamp::from_unix_seconds(1000))),
        (PaymentStatus::Failed, Some(Timestamp::from_unix_seconds(2000))),
        (PaymentStatus::Paid, Some(at)),
    ];
    assert_eq!(history, expected, "told as {order:?}");
    let grants: Vec<_> =
        end.entitlements.iter().map(|(_, grant)| (grant.status, grant.since)).collect();
    assert_eq!(grants, [(Status::Active, Some(at))], "told as {order:?}");
}

#[tokio::test]
async fn every_permutation_converges_in_memory() {
    let mut first = None;
    for order in permutations(&observations(0, true)) {
        // The second copies come one by one, in the same order, and in reverse.
        let reversed: Vec<Observation> = order.iter().rev().cloned().collect();
        let one_by_one: Vec<Observation> = order
            .iter()
            .flat_map(|observation| [observation.clone(), observation.clone()])
            .collect();
        let again = [order.clone(), order.clone()].concat();
        for told in [one_by_one, again, [order, reversed].concat()] {
            let ledger = MemoryLedger::default();
            let end = deliver(&ledger, &told, 0).await;
            assert_bought_once(&end, &told);
            assert_eq!(*first.get_or_insert_with(|| end.purchase.clone()), end.purchase);
            assert_eq!(ledger.contents().sources.len(), 1);
            // The expired one writes nothing, and the others one record each.
            assert_eq!(ledger.contents().events.len(), 4);
        }
    }
}

#[tokio::test]
async fn every_permutation_converges_on_the_table() {
    let (url, server) = dynamodb().await;
    let server = tokio::spawn(server);
    ends_where_memory_does(&table_at(&url), &permutations(&[0, 1, 2, 3, 4])).await;
    server.abort();
}

/// Delivers everything about a purchase twice, in each of these orders of its five observations.
pub(crate) async fn ends_where_memory_does(table: &Table, orders: &[Vec<usize>]) {
    for (number, order) in orders.iter().enumerate() {
        let all = observations(number, false);
        let told: Vec<Observation> =
            order.iter().chain(order).map(|index| all[*index].clone()).collect();
        let end = deliver(table, &told, number).await;
        assert_bought_once(&end, &told);
        // The table ends in the same state as memory, fact by fact.
        assert_eq!(end, deliver(&MemoryLedger::default(), &told, number).await);
    }
}

/// The learner's entitlements after these lines, each delivered twice.
async fn statuses(lines: &[&str]) -> Vec<(String, Status)> {
    let told: Vec<Observation> =
        lines.iter().chain(lines).map(|line| observation(&event(line))).collect();
    let end = deliver(&MemoryLedger::default(), &told, 0).await;
    end.entitlements.iter().map(|(source, grant)| (source.to_string(), grant.status)).collect()
}

#[tokio::test]
async fn a_failed_payment_alone_gives_nothing_in_any_order() {
    let lines = [
        "evt_1 completed unpaid cs_a pi_0 ada-0 tutorclaw @1000",
        "evt_2 async_payment_failed unpaid cs_a pi_0 ada-0 tutorclaw @2000",
    ];
    for order in permutations(&lines) {
        assert_eq!(statuses(&order).await, [("pi_0".to_owned(), Status::Failed)]);
    }
}

#[tokio::test]
async fn a_free_session_opens_once_complete() {
    let free = "evt_1 completed no_payment_required cs_a - ada-0 tutorclaw @1000";
    assert_eq!(statuses(&[free]).await, [("cs_a".to_owned(), Status::Active)]);
}

#[tokio::test]
async fn an_incomplete_free_session_grants_nothing() {
    let expired = "evt_1 expired no_payment_required cs_a - ada-0 tutorclaw @1000";
    assert!(statuses(&[expired]).await.is_empty());
}
