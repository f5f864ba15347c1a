//! What DynamoDB's limits leave room for.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use serde_json::Value;
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
        other => panic!("nothing here writes {other}"),
    }
}

/// The size of an item, or of what is in a map.
fn attributes(item: &Value) -> usize {
    item.as_object().unwrap().iter().map(|(name, value)| name.len() + size(value)).sum()
}

#[tokio::test]
async fn a_thousand_partial_refunds_of_one_payment_apply_and_the_last_one_closes_it() {
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
    // 29.00 in all, 2 cents at a time, as long as Stripe's ids are.
    for number in 1..=1000 {
        let id = format!("re_3MmlLrLkdIwHu7ix{number:08}");
        let amount = if number == 1000 { 902 } else { 2 };
        if number == 1000 {
            assert_eq!(access().await, "granted");
        }
        let refund = rendering::refund(&id, "pi_a", amount, "succeeded");
        deliver(&rendering::event(&format!("evt_{number}"), "refund.created", 2000, &refund)).await;
    }
    assert_eq!(access().await, "denied");
    let source = world.items_of("SOURCE#pi_a", "").await.remove(0);
    let refunds = source.as_object().unwrap().keys().filter(|name| name.starts_with("refund#"));
    assert_eq!(refunds.count(), 1000);
    let bytes = attributes(&source);
    assert!(bytes < ITEM_BYTES_MAX / 6, "{bytes} bytes");
}
