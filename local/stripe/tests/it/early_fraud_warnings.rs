//! Early fraud warnings, and when they are no longer actionable.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Shop, types};
use crate::webhooks::Endpoint;

const CARD: &str = "4242424242424242";
const WARNED: &str = "4000000000005423";
const URL: &str = "/v1/radar/early_fraud_warnings";

async fn warn(shop: &Shop, intent: &str) -> Value {
    let body = json!({ "payment_intent": intent });
    shop.control(Method::POST, "/early_fraud_warnings", body).await.ok()
}

async fn warning_of(shop: &Shop, intent: &str) -> Value {
    shop.get(&format!("{URL}?payment_intent={intent}")).await.ok()["data"][0].clone()
}

#[tokio::test]
async fn a_warning_names_its_charge_and_every_field_of_stripe_s() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let form =
        [("url", endpoint.url.as_str()), ("enabled_events[]", "radar.early_fraud_warning.created")];
    shop.post("/v1/webhook_endpoints", &form).await.ok();
    let intent = shop.purchase(CARD).await;
    let warning = warn(&shop, &intent).await;
    let charge = shop.charge_of(&intent).await;
    assert_eq!(
        warning,
        json!({
            "id": warning["id"],
            "object": "radar.early_fraud_warning",
            "actionable": true,
            "charge": charge["id"],
            "created": warning["created"],
            "fraud_type": "unauthorized_use_of_card",
            "livemode": false,
            "payment_intent": intent,
        })
    );
    let id = warning["id"].as_str().unwrap();
    assert!(id.starts_with("issfr_1"), "{id}");
    assert_eq!(shop.get(&format!("{URL}/{id}")).await.ok(), warning);
    assert_eq!(endpoint.wait_for(1).await[0].event()["data"]["object"], warning);
    let expanded = format!("{URL}/{id}?expand[]=charge&expand[]=payment_intent");
    let expanded = shop.get(&expanded).await.ok();
    assert_eq!((&expanded["charge"], &expanded["payment_intent"]["id"]), (&charge, &json!(intent)));
    assert_eq!(shop.get(&format!("{URL}/issfr_none")).await.error().0, 404);
    let none = json!({"payment_intent": "pi_none"});
    assert_eq!(shop.control(Method::POST, "/early_fraud_warnings", none).await.error().0, 404);
}

#[tokio::test]
async fn stripe_s_test_card_triggers_a_warning_at_once() {
    let shop = Shop::open().await;
    let intent = shop.purchase(WARNED).await;
    assert_eq!(warning_of(&shop, &intent).await["actionable"], true);
    let types = shop.event_types().await;
    let told = types.iter().position(|it| it == "radar.early_fraud_warning.created").unwrap();
    assert_eq!(types[told - 1], "charge.succeeded");
    // The charge is otherwise unaffected.
    let charge = shop.charge_of(&intent).await;
    assert_eq!((&charge["disputed"], &charge["refunded"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn nothing_is_actionable_once_refunded_or_disputed() {
    let shop = Shop::open().await;
    let intent = shop.purchase(WARNED).await;
    let refund = async |amount: &str| {
        let form = [("payment_intent", intent.as_str()), ("amount", amount)];
        shop.post("/v1/refunds", &form).await.ok()
    };
    refund("900").await;
    assert_eq!(warning_of(&shop, &intent).await["actionable"], true);
    let before = shop.newest_event().await;
    let rest = refund("2000").await;
    assert_eq!(warning_of(&shop, &intent).await["actionable"], false);
    let events = shop.events_since(&before).await;
    assert_eq!(
        types(&events),
        ["refund.created", "charge.refunded", "radar.early_fraud_warning.updated"]
    );
    assert_eq!(events[2]["data"]["previous_attributes"], json!({"actionable": true}));
    // A failed refund makes it actionable again.
    let path = format!("/refunds/{}/settle", rest["id"].as_str().unwrap());
    shop.control(Method::POST, &path, json!({"outcome": "failed"})).await.ok();
    assert_eq!(warning_of(&shop, &intent).await["actionable"], true);

    let before = shop.newest_event().await;
    shop.control(Method::POST, "/disputes", json!({"payment_intent": intent})).await.ok();
    assert_eq!(warning_of(&shop, &intent).await["actionable"], false);
    assert_eq!(
        types(&shop.events_since(&before).await).last(),
        Some(&"radar.early_fraud_warning.updated")
    );
    assert_eq!(warn(&shop, &intent).await["actionable"], false, "one that comes too late");
}
