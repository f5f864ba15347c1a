//! Whatever the order, and however often: the same events end in the same state.

use serde_json::Value;
use shared::apply::apply;
use shared::domain::access::{Holdings, Status};
use shared::domain::decide::Mode;
use shared::domain::id::LearnerId;
use shared::ports::{AccessReader, Ledger, SystemClock};
use tests::memory::MemoryLedger;
use tests::sessions::{event, news, permutations};
use tests::world::{dynamodb, table_at};

/// All that Stripe may say of one purchase by bank debit: it fails and succeeds, which happens when
/// a bank changes its mind, one change comes as two events, and two happen in the same second.
const PURCHASE: [&str; 5] = [
    "evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000",
    "evt_2 async_payment_failed unpaid cs_a pi_a ada tutorclaw @2000",
    "evt_3 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2000",
    "evt_4 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2001",
    "evt_5 expired unpaid cs_a - ada tutorclaw @1000",
];

/// The same for other ids, so that many histories fit into one table.
fn history(number: usize) -> Vec<Value> {
    PURCHASE
        .iter()
        .map(|line| {
            let line = line
                .replace("evt_", &format!("evt_{number}x"))
                .replace("cs_a", &format!("cs_{number}"))
                .replace("pi_a", &format!("pi_{number}"))
                .replace("ada", &format!("ada-{number}"));
            event(&line)
        })
        .collect()
}

async fn deliver<L: Ledger + AccessReader>(
    ledger: &L,
    events: &[Value],
    number: usize,
) -> Holdings {
    for event in events {
        apply(ledger, &SystemClock, Mode::Test, &news(event)).await.unwrap();
    }
    let learner: LearnerId = format!("ada-{number}").parse().unwrap();
    ledger.holdings(&learner).await.unwrap()
}

fn assert_one_access_since_2000(holdings: &Holdings, order: &[Value]) {
    let ids: Vec<&Value> = order.iter().map(|event| &event["id"]).collect();
    let grants: Vec<_> = holdings.iter().collect();
    assert_eq!(grants.len(), 1, "delivered as {ids:?}");
    let (_, grant) = grants[0];
    assert_eq!(grant.status, Status::Active, "delivered as {ids:?}");
    assert_eq!(grant.since.unwrap().unix_seconds(), 2000, "delivered as {ids:?}");
}

#[tokio::test]
async fn every_permutation_each_event_twice_ends_in_one_access_in_memory() {
    // Interleavings of each event with its own duplicate: all orders of the five, and the second
    // copies in all orders too, would be 14,400; the second copies come in the order reversed, in
    // the same order, and one by one.
    for order in permutations(&history(0)) {
        let reversed: Vec<Value> = order.iter().rev().cloned().collect();
        let twice_each: Vec<Value> =
            order.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
        let again = [order.clone(), order.clone()].concat();
        for deliveries in [twice_each, again, [order, reversed].concat()] {
            let ledger = MemoryLedger::default();
            let holdings = deliver(&ledger, &deliveries, 0).await;
            assert_one_access_since_2000(&holdings, &deliveries);
            assert_eq!(ledger.contents().sources.len(), 1);
            // The expired one writes nothing, and the others one record each.
            assert_eq!(ledger.contents().events.len(), 4);
        }
    }
}

#[tokio::test]
async fn every_permutation_each_event_twice_ends_in_one_access_on_the_table() {
    let (url, server) = dynamodb().await;
    let server = tokio::spawn(server);
    let table = table_at(&url);
    let orders = permutations(&[0, 1, 2, 3, 4]);
    for (number, order) in orders.iter().enumerate() {
        let events = history(number);
        let deliveries: Vec<Value> =
            order.iter().chain(order).map(|index| events[*index].clone()).collect();
        let holdings = deliver(&table, &deliveries, number).await;
        assert_one_access_since_2000(&holdings, &deliveries);
    }
    server.abort();
}

#[tokio::test]
async fn a_failed_payment_alone_gives_nothing_in_any_order() {
    for order in permutations(&history(0)[..2]) {
        let ledger = MemoryLedger::default();
        let holdings = deliver(&ledger, &[order.clone(), order].concat(), 0).await;
        let statuses: Vec<Status> = holdings.iter().map(|(_, grant)| grant.status).collect();
        assert_eq!(statuses, [Status::Failed]);
    }
}

#[tokio::test]
async fn what_had_nothing_to_pay_is_open_as_soon_as_it_is_complete() {
    let free = event("evt_1 completed no_payment_required cs_a - ada-0 tutorclaw @1000");
    let ledger = MemoryLedger::default();
    let holdings = deliver(&ledger, &[free.clone(), free], 0).await;
    let grants: Vec<_> = holdings.iter().collect();
    assert_eq!(grants.len(), 1);
    assert_eq!((grants[0].0.as_str(), grants[0].1.status), ("cs_a", Status::Active));
}

#[tokio::test]
async fn a_session_with_nothing_to_pay_that_was_never_completed_gives_nothing() {
    let expired = event("evt_1 expired no_payment_required cs_a - ada-0 tutorclaw @1000");
    let ledger = MemoryLedger::default();
    let holdings = deliver(&ledger, &[expired], 0).await;
    assert_eq!(holdings.iter().count(), 0);
}
