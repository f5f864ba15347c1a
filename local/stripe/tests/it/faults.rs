//! Injected faults.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Answer, Shop};

const PATH: &str = "/v1/customers";

async fn fault(shop: &Shop, fault: Value) {
    shop.control(Method::POST, "/faults", fault).await.ok();
}

async fn post(shop: &Shop, key: &str) -> Answer {
    Shop::send(shop.posting(PATH, &[]).header("idempotency-key", key)).await
}

async fn customers(shop: &Shop) -> usize {
    shop.get(PATH).await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_fault_happens_as_often_as_asked_to_what_matches() {
    let shop = Shop::open().await;
    fault(&shop, json!({"method": "POST", "path": PATH, "status": 503, "times": 2})).await;
    shop.get(PATH).await.ok();
    shop.post("/v1/products", &[("name", "x")]).await.ok();
    for _ in 0..2 {
        let (status, error) = post(&shop, "k").await.error();
        assert_eq!((status, &error["type"]), (503, &json!("api_error")));
    }
    post(&shop, "k").await.ok();
    assert_eq!(customers(&shop).await, 1);
}

#[tokio::test]
async fn a_fault_can_happen_after_the_effect() {
    let shop = Shop::open().await;
    fault(&shop, json!({"method": "POST", "path": PATH, "status": 500, "after": true})).await;
    assert_eq!(post(&shop, "k").await.error().0, 500);
    assert_eq!(customers(&shop).await, 1);
    // The retry gets the first result, and nothing happens twice.
    let retry = post(&shop, "k").await;
    assert_eq!(retry.header("idempotent-replayed"), Some("true"));
    retry.ok();
    assert_eq!(customers(&shop).await, 1);
}

#[tokio::test]
async fn a_saved_fault_is_replayed() {
    let shop = Shop::open().await;
    fault(&shop, json!({"path": PATH, "status": 500, "save": true, "should_retry": false})).await;
    let first = post(&shop, "k").await;
    assert_eq!(first.header("stripe-should-retry"), Some("false"));
    assert_eq!(first.error().0, 500);
    let replay = post(&shop, "k").await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    assert_eq!(replay.error().0, 500);
    post(&shop, "other").await.ok();
    assert_eq!(customers(&shop).await, 1);
}

#[tokio::test]
async fn rate_limit_errors_are_not_stored() {
    let shop = Shop::open().await;
    fault(&shop, json!({"path": PATH, "status": 429})).await;
    let (status, error) = post(&shop, "k").await.error();
    assert_eq!((status, &error["code"]), (429, &json!("rate_limit")));
    post(&shop, "k").await.ok();
}

#[tokio::test]
async fn a_connection_can_break_before_or_after_the_effect() {
    let shop = Shop::open().await;
    for (after, expected) in [(false, 0), (true, 1)] {
        fault(&shop, json!({"path": PATH, "drop": true, "after": after})).await;
        let error = shop.posting(PATH, &[]).send().await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(customers(&shop).await, expected);
    }
}

#[tokio::test]
async fn a_request_whose_client_gave_up_still_takes_effect() {
    let shop = Shop::open().await;
    fault(&shop, json!({"method": "POST", "path": PATH, "delay_ms": 400})).await;
    let request = shop.posting(PATH, &[]).timeout(std::time::Duration::from_millis(100));
    assert!(request.send().await.unwrap_err().is_timeout());
    while customers(&shop).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_fault_can_have_a_custom_body() {
    let shop = Shop::open().await;
    fault(
        &shop,
        json!({"path": PATH, "status": 400, "body": {"error": {"type": "x", "code": "y"}}}),
    )
    .await;
    assert_eq!(shop.get(PATH).await.error(), (400, json!({"type": "x", "code": "y"})));
}

#[tokio::test]
async fn faults_can_be_cleared_and_invalid_ones_are_refused() {
    let shop = Shop::open().await;
    fault(&shop, json!({"path": PATH, "status": 500, "times": 100})).await;
    shop.control(Method::DELETE, "/faults", json!(null)).await.ok();
    shop.get(PATH).await.ok();
    for senseless in [
        json!({"path": PATH}),
        json!({"path": PATH, "status": 200}),
        json!({"path": "/_sim", "status": 500}),
        json!({"status": 500}),
        json!({"path": PATH, "status": 500, "tmies": 3}),
    ] {
        assert_eq!(shop.control(Method::POST, "/faults", senseless).await.error().0, 400);
    }
}
