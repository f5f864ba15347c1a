//! The same key gives the same response, and takes effect once.

use reqwest::Method;
use serde_json::json;

use crate::shop::{Answer, Shop};

const PATH: &str = "/v1/customers";

async fn post(shop: &Shop, key: &str, form: &[(&str, &str)]) -> Answer {
    Shop::send(shop.posting(PATH, form).header("idempotency-key", key)).await
}

async fn customers(shop: &Shop) -> usize {
    shop.get(PATH).await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repeated_key_replays_the_first_response() {
    let shop = Shop::open().await;
    let first = post(&shop, "k", &[("metadata[a]", "1"), ("metadata[b]", "2")]).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(first.header("idempotency-key"), Some("k"));
    let request = first.header("request-id").unwrap().to_owned();
    let second = post(&shop, "k", &[("metadata[b]", "2"), ("metadata[a]", "1")]).await;
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.header("original-request"), Some(request.as_str()));
    assert_eq!(first.ok(), second.ok());
    assert_eq!(customers(&shop).await, 1);
    let event = shop.get("/v1/events").await.ok()["data"][0].clone();
    assert_eq!(event["request"], json!({"id": request, "idempotency_key": "k"}));
}

#[tokio::test]
async fn a_key_with_other_parameters_is_refused() {
    let shop = Shop::open().await;
    post(&shop, "k", &[("name", "Ada")]).await.ok();
    let (status, error) = post(&shop, "k", &[("name", "Grace")]).await.error();
    assert_eq!((status, &error["type"]), (400, &json!("idempotency_error")));
    let other = shop.posting("/v1/products", &[("name", "Ada")]).header("idempotency-key", "k");
    assert_eq!(Shop::send(other).await.error().1["type"], "idempotency_error");
    let long = "k".repeat(256);
    assert_eq!(post(&shop, &long, &[]).await.error().0, 400);
}

#[tokio::test]
async fn a_failed_validation_frees_the_key_a_failure_keeps_it() {
    let shop = Shop::open().await;
    assert_eq!(post(&shop, "k", &[("nmae", "Ada")]).await.error().0, 400);
    post(&shop, "k", &[("name", "Ada")]).await.ok();

    let price = shop.price(100).await;
    let form = [
        ("mode", "payment"),
        ("line_items[0][price]", price.as_str()),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://shop.example/"),
        ("customer", "cus_none"),
    ];
    for replayed in [None, Some("true")] {
        let request = shop.posting("/v1/checkout/sessions", &form).header("idempotency-key", "s");
        let answer = Shop::send(request).await;
        assert_eq!(answer.header("idempotent-replayed"), replayed);
        assert_eq!(answer.error().1["code"], "resource_missing");
    }
}

#[tokio::test]
async fn a_key_in_use_is_409_and_retryable() {
    let shop = Shop::open().await;
    let fault = json!({"path": PATH, "delay_ms": 60_000});
    shop.control(Method::POST, "/faults", fault).await.ok();
    let slow = shop.posting(PATH, &[]).header("idempotency-key", "k");
    let slow = tokio::spawn(Shop::send(slow));
    // The fault is consumed once the slow request has arrived.
    loop {
        let faults = shop.control(Method::GET, "/faults", json!(null)).await.ok();
        if faults["faults"] == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let answer = post(&shop, "k", &[]).await;
    assert_eq!(answer.header("stripe-should-retry"), Some("true"));
    let (status, error) = answer.error();
    assert_eq!((status, &error["code"]), (409, &json!("idempotency_key_in_use")));
    slow.abort();
    assert_eq!(customers(&shop).await, 0);
}

#[tokio::test]
async fn a_key_expires_after_a_day() {
    let shop = Shop::open().await;
    let first = post(&shop, "k", &[]).await.ok();
    shop.control(Method::POST, "/advance", json!({"seconds": 86_400})).await.ok();
    assert_ne!(post(&shop, "k", &[]).await.ok()["id"], first["id"]);
    shop.control(Method::POST, "/advance", json!({"seconds": 86_400})).await.ok();
}
