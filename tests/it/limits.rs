//! Room within DynamoDB's limits.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use std::ops::Range;

use serde_json::Value;
use shared::domain::decide::{Needs, Write};
use shared::domain::facts::{Facts, Refund, RefundStatus, StatusHistory};
use shared::domain::id::SourceId;
use shared::domain::time::Timestamp;
use shared::dynamo::Table;
use shared::ports::{Commit, Ledger as _};
use simulation::rendering;
use tests::requests::{answer, delivery, learner};
use tests::sessions::event;
use tests::world::World;

/// The most bytes in an item.
const ITEM_BYTES_MAX: usize = 400 * 1024;

/// The size of an attribute's value.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Number(number) => number.to_string().len().div_ceil(2) + 1,
        Value::Object(map) => 3 + map.len() + attributes(value),
        other @ (Value::Null | Value::Bool(_) | Value::Array(_)) => {
            panic!("nothing here writes {other}")
        }
    }
}

/// The size of an item, or of a map's content.
fn attributes(item: &Value) -> usize {
    item.as_object().unwrap().iter().map(|(name, value)| name.len() + size(value)).sum()
}

/// A refund's id, as long as Stripe's are.
fn refund_id(number: usize) -> String {
    format!("re_3MmlLrLkdIwHu7ix{number:08}")
}

/// Writes refunds of 2 cents to the payment, as many at once as fit into one expression.
async fn refund_by_two_cents(table: &Table, payment: &SourceId, numbers: Range<usize>) {
    let needs = Needs { source: Some(payment), ..Needs::default() };
    let stored = table.load(needs).await.unwrap().source.unwrap();
    let statuses = StatusHistory::once(RefundStatus::Succeeded, Timestamp::from_unix_seconds(2000));
    let refund = Refund { amount_minor: 2, statuses };
    let refunds = numbers.map(|number| (refund_id(number).parse().unwrap(), refund.clone()));
    let refunds = Facts { refunds: refunds.collect(), ..Facts::default() };
    let facts = stored.facts.clone().join(refunds);
    let (source, replaces) = (payment.clone(), Some(stored));
    let write = Write::StoreSource { source, facts, replaces };
    assert_eq!(table.commit(&[write]).await.unwrap(), Commit::Applied);
}

#[tokio::test]
async fn a_thousand_partial_refunds_apply_and_the_last_closes() {
    let world = World::new().await;
    let webhook = world.webhook();
    let deliver = async |event: &Value| {
        let body = event.to_string();
        let request = delivery(&body, Some(&world.sign(&body)));
        let (status, answer) = answer(&webhook::handle(&webhook, &request).await);
        assert_eq!((status, &answer["outcome"]), (200, &"applied".into()), "{answer} {body}");
    };
    let access = async || {
        let target = "/courses/tutorclaw/access?chapter=6";
        let read = world.read("GET /courses/{course}/access", target, &learner("ada")).await;
        read.1["access"].clone()
    };
    deliver(&event("evt_sold completed paid cs_a pi_a ada tutorclaw @1000")).await;
    // Of 29.00. An event takes a tenth of a second here, so the first 900 refunds are written
    // directly.
    let payment = "pi_a".parse().unwrap();
    for first in (0..900).step_by(150) {
        refund_by_two_cents(&world.table(), &payment, first..first + 150).await;
    }
    for number in 900..1000 {
        let amount = if number < 999 { 2 } else { 902 };
        let refund = rendering::refund(&refund_id(number), "pi_a", amount, "succeeded");
        assert_eq!(access().await, "granted", "{number} refunds");
        let id = format!("evt_{number}");
        deliver(&rendering::event(&id, "refund.created", 2000, &refund)).await;
    }
    assert_eq!(access().await, "denied");
    let source = world.items_of("SOURCE#pi_a", "").await.remove(0);
    let refunds = source.as_object().unwrap().keys().filter(|name| name.starts_with("refund#"));
    assert_eq!(refunds.count(), 1000);
    let bytes = attributes(&source);
    assert!(bytes < ITEM_BYTES_MAX / 6, "{bytes} bytes");
}
