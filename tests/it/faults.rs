//! The faults of docs/FAULTS.md that no other test covers.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::dynamo::Table;
use shared::ports::Clock;
use tests::requests::{answer, delivery, learner};
use tests::sessions::event;
use tests::world::{TABLE, World, table_at};

use crate::checkout::{checkout, problem};

const UNPAID: &str = "evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000";
const PAID: &str = "evt_2 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2000";

/// Delivers an event as Stripe would, to a webhook function that has just started with this table.
async fn deliver_on(world: &World, table: Table, event: &Value) -> (u16, Value) {
    let body = event.to_string();
    let request = delivery(&body, Some(&world.sign(&body)));
    let app = world.webhook_on(table);
    app.signing_secrets.get(world.clock.now()).await.unwrap();
    answer(&webhook::handle(&app, &request).await)
}

fn outcome(name: &str) -> (u16, Value) {
    (200, json!({ "outcome": name }))
}

/// Writes an attribute into an item, as another version of the code might.
async fn set(world: &World, pk: &str, sk: &str, name: &str, value: AttributeValue) {
    let update = world.dynamodb_client().update_item().table_name(TABLE);
    let update = update
        .key("pk", AttributeValue::S(pk.to_owned()))
        .key("sk", AttributeValue::S(sk.to_owned()))
        .update_expression("SET #name = :value")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", value);
    update.send().await.unwrap();
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn map<const N: usize>(fields: [(&str, AttributeValue); N]) -> AttributeValue {
    AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

#[tokio::test]
async fn items_of_newer_code_are_kept_and_open_nothing() {
    let world = World::new().await;
    assert_eq!(world.deliver(&event(UNPAID)).await, outcome("applied"));
    let refunds = map([("re_1", number(500))]);
    set(&world, "SOURCE#pi_a", "SOURCE", "refunds", refunds).await;
    set(&world, "SOURCE#pi_a", "SOURCE", "version", number(7)).await;
    let subscription = [("product", text("curriculum")), ("status", text("trialing"))];
    set(&world, "LEARNER#ada", "ACCESS", "sub_9", map(subscription)).await;
    let paused =
        [("product", text("curriculum")), ("status", text("paused")), ("seats", number(3))];
    set(&world, "LEARNER#ada", "ACCESS", "pi_other", map(paused)).await;

    assert_eq!(world.deliver(&event(PAID)).await, outcome("applied"));
    let source = &world.items_of("SOURCE#pi_a", "").await[0];
    assert_eq!((&source["payment"], &source["version"]), (&json!("paid"), &json!(8)));
    assert_eq!(source["refunds"], json!({ "re_1": 500 }));
    let access = &world.items_of("LEARNER#ada", "ACCESS").await[0];
    assert_eq!(access["pi_a"]["status"], "active");
    assert_eq!(access["sub_9"], json!({ "product": "curriculum", "status": "trialing" }));
    let paused = json!({ "product": "curriculum", "status": "paused", "seats": 3 });
    assert_eq!(access["pi_other"], paused);

    let ada = learner("ada");
    for (course, expected) in [("tutorclaw", "granted"), ("memory", "denied")] {
        let target = format!("/courses/{course}/access");
        let (status, answer) = world.read("GET /courses/{course}/access", &target, &ada).await;
        assert_eq!((status, &answer["access"]), (200, &json!(expected)), "{course}");
    }
}

#[tokio::test]
async fn facts_of_newer_code_are_left_untouched() {
    let world = World::new().await;
    assert_eq!(world.deliver(&event(UNPAID)).await, outcome("applied"));
    for (pk, sk, name, newer, older) in [
        ("SOURCE#pi_a", "SOURCE", "payment", "part_refunded", "processing"),
        ("EVENT#evt_1", "EVENT", "outcome", "postponed", "applied"),
    ] {
        set(&world, pk, sk, name, text(newer)).await;
        let before = world.items().await;
        let told = if pk.starts_with("EVENT") { event(UNPAID) } else { event(PAID) };
        assert_eq!(problem(&world.deliver(&told).await), (500, "internal"), "{name}");
        assert_eq!(world.items().await, before, "{name}");
        set(&world, pk, sk, name, text(older)).await;
    }
    // Stripe delivers again, and by then newer code handles it.
    assert_eq!(world.deliver(&event(PAID)).await, outcome("applied"));
}

#[tokio::test]
async fn a_table_that_hangs_is_503_and_the_redelivery_applies() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It accepts every connection and never responds.
    let silent = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    let patience = shared::dynamo::timeouts().operation_timeout().unwrap();
    assert!(patience < Duration::from_secs(5));
    let answered = deliver_on(&world, table_at(&url), &event(PAID)).await;
    assert_eq!(problem(&answered), (503, "unavailable"));
    silent.abort();
    assert_eq!(world.deliver(&event(PAID)).await, outcome("applied"));
}

#[tokio::test]
async fn a_refused_write_is_500_and_the_redelivery_applies() {
    let world = World::new().await;
    let other = Table::new(world.dynamodb_client(), "another-table".to_owned());
    let answered = deliver_on(&world, other, &event(PAID)).await;
    assert_eq!(problem(&answered), (500, "internal"));
    assert_eq!(world.deliver(&event(PAID)).await, outcome("applied"));
}

#[tokio::test]
async fn expired_items_end_no_access_and_allow_no_double_sale() {
    let world = World::new().await;
    let ada = learner("ada");
    world.buy(&ada).await;
    for line in [UNPAID, PAID] {
        assert_eq!(world.deliver(&event(line)).await, outcome("applied"));
    }
    let mut deleted = 0;
    for item in world.items().await {
        if item.get("ttl").is_some() {
            let delete = world.dynamodb_client().delete_item().table_name(TABLE);
            let delete = delete.key("pk", text(item["pk"].as_str().unwrap()));
            delete.key("sk", text(item["sk"].as_str().unwrap())).send().await.unwrap();
            deleted += 1;
        }
    }
    assert!(deleted >= 4, "two events, a checkout and a rate: {deleted}");
    for line in [UNPAID, PAID] {
        assert_eq!(world.deliver(&event(line)).await, outcome("duplicate"));
    }
    assert_eq!(world.items_of("SOURCE#pi_a", "").await[0]["payment"], "paid");
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "already-entitled"));
}
