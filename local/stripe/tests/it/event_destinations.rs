//! Event destinations of thin events, which only `/v2` lists.

use reqwest::Method;
use serde_json::{Value, json};
use stripe_webhook::{Webhook, WebhookError};

use crate::shop::Shop;
use crate::webhooks::Endpoint;

async fn listed(shop: &Shop, query: &str) -> Value {
    shop.get(&format!("/v2/core/event_destinations{query}")).await.ok()
}

#[tokio::test]
async fn thin_destinations_are_listed_by_v2_and_get_thin_events() {
    let shop = Shop::open().await;
    let (whole, thin) = (Endpoint::listen().await, Endpoint::listen().await);
    let form = [("url", whole.url.as_str()), ("enabled_events[]", "checkout.session.completed")];
    let endpoint = shop.post("/v1/webhook_endpoints", &form).await.ok();
    let enabled = ["v1.checkout.session.completed"];
    let made = json!({ "url": thin.url, "enabled_events": enabled });
    let made = shop.control(Method::POST, "/event_destinations", made).await.ok();
    let secret = made["webhook_endpoint"]["signing_secret"].as_str().unwrap();
    assert!(made["id"].as_str().unwrap().starts_with("ed_test_"), "{made}");

    let v1 = shop.get("/v1/webhook_endpoints").await.ok();
    assert_eq!(v1["data"].as_array().unwrap().len(), 1);
    assert_eq!(v1["data"][0]["id"], endpoint["id"]);
    let all = listed(&shop, "?include[0]=webhook_endpoint.url").await;
    let ids: Vec<&Value> = all["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&made["id"], &endpoint["id"]]);
    let payloads = [&all["data"][0]["event_payload"], &all["data"][1]["event_payload"]];
    assert_eq!(payloads, ["thin", "snapshot"]);
    assert_eq!(all["data"][0]["webhook_endpoint"]["url"], thin.url.as_str());
    assert_eq!(all["data"][0]["webhook_endpoint"]["signing_secret"], json!(null));

    let session = shop.session().await;
    shop.pay(&session, "4242424242424242").await.ok();
    let snapshot = whole.wait_for(1).await[0].event();
    let arrival = thin.wait_for(1).await.remove(0);
    let whole = Webhook::construct_event(&arrival.body, &arrival.signature, secret);
    assert!(matches!(whole, Err(WebhookError::BadParse(_))), "signed, and no snapshot event");
    let event = arrival.event();
    assert_eq!(event["type"], "v1.checkout.session.completed");
    assert_eq!((&event["object"], &event["data"]), (&json!("v2.core.event"), &json!(null)));
    assert_eq!(event["snapshot_event"], snapshot["id"]);
    let path = format!("/v1/checkout/sessions/{session}");
    let object = json!({ "id": session, "type": "checkout.session", "url": path });
    assert_eq!(event["related_object"], object);
    assert!(event["created"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn destinations_are_paged_without_urls_unless_included() {
    let shop = Shop::open().await;
    for number in 0..3 {
        let url = format!("https://shop.example/{number}");
        let form = [("url", url.as_str()), ("enabled_events[]", "*")];
        shop.post("/v1/webhook_endpoints", &form).await.ok();
    }
    let first = listed(&shop, "?limit=2").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 2);
    assert_eq!(first["data"][0]["webhook_endpoint"]["url"], json!(null));
    assert_eq!(first["previous_page_url"], json!(null));
    let next = first["next_page_url"].as_str().unwrap();
    let second = shop.get(next).await.ok();
    assert_eq!(second["data"].as_array().unwrap().len(), 1);
    assert_eq!(second["next_page_url"], json!(null));
    let unknown = shop.get("/v2/core/event_destinations?include[0]=everything").await;
    assert_eq!(unknown.error().0, 400);
    assert_eq!(shop.get("/v2/core/nothing").await.error().0, 404);
}

#[tokio::test]
async fn a_key_needs_a_permission_of_its_own_to_list_destinations() {
    let shop = Shop::open().await;
    for (level, status) in [("none", 403), ("read", 200)] {
        let key = "rk_test_of_the_operator";
        let permissions = json!({ "webhook_endpoints": "write", "core_event_destinations": level });
        let restricted = json!({ "key": key, "permissions": permissions });
        shop.control(Method::POST, "/keys", restricted).await.ok();
        let request = shop.request(Method::GET, "/v2/core/event_destinations").bearer_auth(key);
        assert_eq!(Shop::send(request).await.status, status, "{level}");
    }
}
