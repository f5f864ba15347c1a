//! The state file: a restart loses nothing.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::shop::Shop;
use crate::webhooks::{Endpoint, until};

/// A temporary file, removed at the end.
struct StateFile(PathBuf);

impl StateFile {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("stripe-simulator-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory.join("state.sqlite"))
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if let Some(directory) = self.0.parent() {
            drop(std::fs::remove_dir_all(directory));
        }
    }
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let file = StateFile::new("restart");
    let endpoint = Endpoint::answering([StatusCode::SERVICE_UNAVAILABLE]).await;
    let shop = Shop::open_with(Some(&file.0)).await;
    let secret = shop.simulator.register_webhook(&endpoint.url).await.unwrap();
    let first = shop.posting("/v1/customers", &[("name", "Ada")]).header("idempotency-key", "k");
    let first = Shop::send(first).await.ok();
    // Its first attempt fails, and the next one is left to the successor.
    endpoint.wait_for(1).await;
    shop.control(Method::POST, "/advance", json!({"seconds": 7200})).await.ok();
    let now = shop.control(Method::POST, "/advance", json!({"seconds": 0})).await.ok();
    let session = shop.session().await;
    shop.simulator.shutdown().await;

    let shop = Shop::open_with(Some(&file.0)).await;
    assert_eq!(shop.simulator.register_webhook(&endpoint.url).await.unwrap(), secret);
    let replay = shop.posting("/v1/customers", &[("name", "Ada")]).header("idempotency-key", "k");
    let replay = Shop::send(replay).await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    assert_eq!(replay.ok()["id"], first["id"]);
    let later = shop.control(Method::POST, "/advance", json!({"seconds": 0})).await.ok();
    assert!(later["now"].as_i64() >= now["now"].as_i64());
    // The undelivered event arrives from the successor.
    let customers = || endpoint.types().iter().filter(|it| *it == "customer.created").count();
    until(|| customers() == 2, || format!("{:?} arrived", endpoint.types())).await;
    shop.pay(&session, "4242424242424242").await.ok();
    let completed = || endpoint.types().contains(&"checkout.session.completed".to_owned());
    until(completed, || format!("{:?} arrived", endpoint.types())).await;
    let newest = shop.get("/v1/events?limit=1").await.ok();
    assert_eq!(newest["data"][0]["type"], "checkout.session.completed");
}

#[tokio::test]
async fn account_tax_settings_and_keys_survive_a_restart() {
    let file = StateFile::new("account");
    let shop = Shop::open_with(Some(&file.0)).await;
    let account = shop.get("/v1/account").await.ok();
    let tax = [("head_office[address][country]", "DE")];
    let tax = shop.post("/v1/tax/settings", &tax).await.ok();
    let key = json!({"key": "rk_test_none", "permissions": {}});
    shop.control(Method::POST, "/keys", key).await.ok();
    shop.simulator.shutdown().await;

    let shop = Shop::open_with(Some(&file.0)).await;
    assert_eq!(shop.get("/v1/account").await.ok(), account);
    assert_eq!(shop.get("/v1/tax/settings").await.ok(), tax);
    let request = shop.request(Method::GET, "/v1/customers").bearer_auth("rk_test_none");
    assert_eq!(Shop::send(request).await.error().0, 403);
}

#[tokio::test]
async fn refunds_disputes_and_warnings_survive_a_restart() {
    let file = StateFile::new("money-back");
    let shop = Shop::open_with(Some(&file.0)).await;
    let intent = shop.purchase("4000000000005423").await;
    let form = [("payment_intent", intent.as_str()), ("amount", "100")];
    shop.post("/v1/refunds", &form).await.ok();
    let late = shop.purchase("4000000000005126").await;
    let late = shop.post("/v1/refunds", &[("payment_intent", &late)]).await.ok();
    let late = format!("/v1/refunds/{}", late["id"].as_str().unwrap());
    let disputed = shop.purchase("4000000000001976").await;
    let paths = ["/v1/refunds", "/v1/disputes", "/v1/radar/early_fraud_warnings"];
    let mut before = Vec::new();
    for path in paths {
        before.push(shop.get(path).await.ok());
    }
    shop.simulator.shutdown().await;

    let shop = Shop::open_with(Some(&file.0)).await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(shop.get(path).await.ok(), before, "{path}");
    }
    shop.wait_seconds(10).await;
    assert_eq!(shop.get(&late).await.ok()["status"], "failed");
    let charge = shop.charge_of(&disputed).await;
    assert_eq!((&charge["disputed"], &charge["amount_refunded"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn after_a_restart_the_webhook_can_have_moved() {
    let file = StateFile::new("moved");
    let shop = Shop::open_with(Some(&file.0)).await;
    // Nobody listens at the first address.
    let secret = shop.simulator.register_webhook("http://127.0.0.1:9/").await.unwrap();
    shop.post("/v1/customers", &[]).await.ok();
    shop.simulator.shutdown().await;

    let shop = Shop::open_with(Some(&file.0)).await;
    let endpoint = Endpoint::listen().await;
    assert_eq!(shop.simulator.register_webhook(&endpoint.url).await.unwrap(), secret);
    let endpoints = shop.get("/v1/webhook_endpoints").await.ok();
    assert_eq!(endpoints["data"].as_array().unwrap().len(), 1, "{endpoints}");
    // The undelivered event arrives here.
    endpoint.wait_for(1).await;
    assert_eq!(endpoint.types(), ["customer.created"]);
}

#[tokio::test]
async fn held_deliveries_stay_held() {
    let file = StateFile::new("held");
    let shop = Shop::open_with(Some(&file.0)).await;
    shop.simulator.register_webhook("http://127.0.0.1:9/").await.unwrap();
    assert_eq!(shop.simulator.held_deliveries(), None);
    shop.control(Method::POST, "/deliveries/hold", json!(null)).await.ok();
    shop.post("/v1/customers", &[]).await.ok();
    shop.simulator.shutdown().await;
    let shop = Shop::open_with(Some(&file.0)).await;
    assert_eq!(shop.simulator.held_deliveries(), Some(1));
    shop.control(Method::POST, "/deliveries/release", json!(null)).await.ok();
    assert_eq!(shop.simulator.held_deliveries(), None);
}

#[tokio::test]
async fn a_reset_clears_everything_but_the_endpoints() {
    let shop = Shop::open().await;
    let secret = shop.simulator.register_webhook("http://127.0.0.1:9/").await.unwrap();
    let session = shop.session().await;
    let counts = shop.control(Method::GET, "/state", json!(null)).await.ok();
    assert_eq!((&counts["checkout_session"], &counts["product"]), (&json!(1), &json!(1)));
    shop.control(Method::DELETE, "/state", json!(null)).await.ok();
    let counts = shop.control(Method::GET, "/state", json!(null)).await.ok();
    for (kind, count) in counts.as_object().unwrap() {
        assert_eq!(*count, u64::from(kind == "webhook_endpoint"), "{kind}");
    }
    assert_eq!(shop.get(&format!("/v1/checkout/sessions/{session}")).await.error().0, 404);
    assert_eq!(shop.simulator.register_webhook("http://127.0.0.1:9/").await.unwrap(), secret);
}

#[tokio::test]
async fn a_dropped_simulator_leaves_its_file_to_the_next() {
    let file = StateFile::new("dropped");
    let shop = Shop::open_with(Some(&file.0)).await;
    let session = shop.session().await;
    drop(shop);
    let shop = Shop::open_with(Some(&file.0)).await;
    shop.pay(&session, "4242424242424242").await.ok();
}

#[tokio::test]
async fn two_simulators_do_not_share_a_file() {
    let file = StateFile::new("shared");
    let _first = Shop::open_with(Some(&file.0)).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = stripe_simulator::Options { listener, state: Some(file.0.clone()) };
    let error = stripe_simulator::start(options).await.unwrap_err();
    assert!(error.to_string().contains("stop the simulator that uses it"), "{error}");
}

#[tokio::test]
async fn a_file_without_state_is_refused_by_name() {
    let file = StateFile::new("garbage");
    std::fs::write(&file.0, "this is not a database, it is a letter to somebody far away").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = stripe_simulator::Options { listener, state: Some(file.0.clone()) };
    let error = stripe_simulator::start(options).await.unwrap_err();
    assert!(error.to_string().contains("state.sqlite"), "{error}");
}
