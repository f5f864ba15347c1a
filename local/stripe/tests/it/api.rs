//! Keys, parameters and errors of the API.

use base64::Engine;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::shop::{KEY, Shop};

#[tokio::test]
async fn only_test_keys_are_accepted() {
    let shop = Shop::open().await;
    let path = "/v1/customers";
    for key in ["sk_live_x", "rk_live_x", "pk_test_x", "sk_test_", "nonsense"] {
        let (status, error) =
            Shop::send(shop.request(Method::GET, path).bearer_auth(key)).await.error();
        assert_eq!((status, error["type"].as_str()), (401, Some("invalid_request_error")), "{key}");
        assert!(!error["message"].as_str().unwrap().contains("sk_live_x"));
    }
    let (status, _) = Shop::send(shop.request(Method::GET, path)).await.error();
    assert_eq!(status, 401);
    for key in [KEY, "rk_test_restricted"] {
        Shop::send(shop.request(Method::GET, path).bearer_auth(key)).await.ok();
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{key}:"));
        let basic =
            shop.request(Method::GET, path).header("authorization", format!("Basic {pair}"));
        Shop::send(basic).await.ok();
    }
}

#[tokio::test]
async fn the_root_lists_what_the_simulator_offers() {
    let shop = Shop::open().await;
    for path in ["/", "/_sim"] {
        let overview = Shop::send(shop.request(Method::GET, path)).await;
        assert_eq!(overview.status, StatusCode::OK, "{path}");
        assert!(overview.body.as_str().unwrap().contains("deliveries/hold"), "{path}");
    }
    for (method, path, takes) in
        [(Method::GET, "/_sim/deliveries/hold", "POST"), (Method::POST, "/_sim/health", "GET")]
    {
        let (status, error) = Shop::send(shop.request(method, path)).await.error();
        let message = error["message"].as_str().unwrap();
        assert!(status == 405 && message.contains(&format!("Use {takes} here")), "{message}");
    }
}

#[tokio::test]
async fn every_response_has_a_request_id_and_the_api_version() {
    let shop = Shop::open().await;
    for answer in [shop.get("/v1/customers").await, shop.get("/v1/customers/cus_none").await] {
        assert!(answer.header("request-id").unwrap().starts_with("req_"));
        assert_eq!(answer.header("stripe-version"), Some("2026-09-30.endive"));
    }
}

#[tokio::test]
async fn unknown_parameters_are_refused_by_name() {
    let shop = Shop::open().await;
    for (path, form, param) in [
        ("/v1/customers", vec![("emial", "a@b.example")], "emial"),
        ("/v1/customers", vec![("address[town]", "Ulm")], "address[town]"),
        ("/v1/customers", vec![("expand[0]", "x"), ("foo[bar]", "1")], "foo"),
    ] {
        let (status, error) = shop.post(path, &form).await.error();
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (400, &json!("parameter_unknown"), &json!(param))
        );
    }
    let (_, error) = shop.get("/v1/customers?nmae=x").await.error();
    assert_eq!(error["code"], "parameter_unknown");
    let price = shop.price(100).await;
    let (_, error) = shop.session_with(&price, &[("line_items[0][pric]", "x")]).await.error();
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("parameter_unknown"), &json!("line_items[0][pric]"))
    );
}

#[tokio::test]
async fn missing_and_malformed_parameters_are_named() {
    let shop = Shop::open().await;
    let (status, error) = shop.post("/v1/prices", &[("currency", "usd")]).await.error();
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!("parameter_missing"), &json!("product"))
    );
    let price = shop.price(100).await;
    for (more, param) in [
        (("line_items[1][price]", price.as_str()), "line_items[1][quantity]"),
        (("line_items[0][quantity]", "many"), "line_items[0][quantity]"),
        (("allow_promotion_codes", "yes"), "allow_promotion_codes"),
        (("mode", "gift"), "mode"),
        (("mode", "subscription"), "mode"),
        (("success_url", "javascript:alert(1)"), "success_url"),
        (("line_items", "x"), "line_items"),
    ] {
        let (status, error) = shop.session_with(&price, &[more]).await.error();
        assert_eq!(status, 400, "{more:?}");
        if more.0 != "line_items" {
            assert_eq!(error["param"], param);
        }
    }
    let (status, _) = shop.post("/v1/customers", &[("a[b", "1")]).await.error();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_missing_object_is_404_in_the_path_400_in_a_parameter() {
    let shop = Shop::open().await;
    for path in [
        "/v1/customers/cus_none",
        "/v1/products/prod_none",
        "/v1/prices/price_none",
        "/v1/checkout/sessions/cs_test_none",
        "/v1/checkout/sessions/cs_test_none/line_items",
        "/v1/payment_intents/pi_none",
        "/v1/charges/ch_none",
        "/v1/events/evt_none",
        "/v1/webhook_endpoints/we_none",
    ] {
        let (status, error) = shop.get(path).await.error();
        assert_eq!((status, &error["code"]), (404, &json!("resource_missing")), "{path}");
    }
    let (status, error) = shop.session_with("price_none", &[]).await.error();
    assert_eq!(status, 400);
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("resource_missing"), &json!("line_items[0][price]"))
    );
    let price = shop.price(100).await;
    let (status, error) = shop.session_with(&price, &[("customer", "cus_none")]).await.error();
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!("resource_missing"), &json!("customer"))
    );
    assert_eq!(error["message"], "No such customer: 'cus_none'");
}

#[tokio::test]
async fn an_unknown_url_says_so() {
    let shop = Shop::open().await;
    for path in [
        "/v1/subscriptions",
        "/v1",
        "/customers",
        "/v1/v1/customers",
        "/v2/core/events",
        "/v1/customers/cus_1/sources/x",
    ] {
        let (status, error) = shop.get(path).await.error();
        assert_eq!((status, &error["type"]), (404, &json!("invalid_request_error")));
        assert!(error["message"].as_str().unwrap().contains("Unrecognized request URL"));
    }
}

#[tokio::test]
async fn metadata_is_merged_and_unset_key_by_key() {
    let shop = Shop::open().await;
    let form = [("metadata[learner_id]", "ada"), ("metadata[old]", "1"), ("name", "Ada")];
    let id = shop.post("/v1/customers", &form).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/customers/{id}");
    let changed =
        shop.post(&path, &[("metadata[old]", ""), ("metadata[new]", "2"), ("name", "")]).await.ok();
    assert_eq!(changed["metadata"], json!({"learner_id": "ada", "new": "2"}));
    assert_eq!(changed["name"], json!(null));
    assert_eq!(shop.post(&path, &[("metadata", "")]).await.ok()["metadata"], json!({}));
    let events = shop.get("/v1/events?type=customer.updated").await.ok();
    let previous = &events["data"][1]["data"]["previous_attributes"];
    assert_eq!(*previous, json!({"metadata": {"old": "1", "new": null}, "name": "Ada"}));
    // Nothing changed, so there is no event.
    shop.post(&path, &[("metadata[gone]", "")]).await.ok();
    assert_eq!(
        shop.get("/v1/events?type=customer.updated").await.ok()["data"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test]
async fn a_deleted_customer_is_a_tombstone() {
    let shop = Shop::open().await;
    let form = [("email", "ada@example.com"), ("metadata[learner_id]", "ada")];
    let customer = shop.post("/v1/customers", &form).await.ok();
    let id = customer["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/customers/{id}");
    let tombstone = json!({"id": id, "object": "customer", "deleted": true});
    assert_eq!(shop.delete(&path).await.ok(), tombstone);
    assert_eq!(shop.get(&path).await.ok(), tombstone);
    assert_eq!(shop.delete(&path).await.error().0, 404);
    assert_eq!(shop.post(&path, &[("name", "x")]).await.error().0, 404);
    assert_eq!(shop.get("/v1/customers").await.ok()["data"], json!([]));
    let price = shop.price(100).await;
    assert_eq!(shop.session_with(&price, &[("customer", &id)]).await.error().0, 400);
    assert_eq!(shop.event_types().await, ["customer.created", "customer.deleted"]);
    // The event still names them.
    let event = shop.get("/v1/events?type=customer.deleted").await.ok()["data"][0].clone();
    assert_eq!(event["data"], json!({ "object": customer }));
}

#[tokio::test]
async fn a_lookup_key_belongs_to_one_price() {
    let shop = Shop::open().await;
    let (first, second) = (shop.price(100).await, shop.price(200).await);
    let (first_path, second_path) = (format!("/v1/prices/{first}"), format!("/v1/prices/{second}"));
    shop.post(&first_path, &[("lookup_key", "paid")]).await.ok();
    assert_eq!(shop.post(&second_path, &[("lookup_key", "paid")]).await.error().0, 400);
    shop.post(&second_path, &[("lookup_key", "paid"), ("transfer_lookup_key", "true")]).await.ok();
    assert_eq!(shop.get(&first_path).await.ok()["lookup_key"], json!(null));
    let found = shop
        .get("/v1/prices?lookup_keys[]=paid&lookup_keys[]=other&expand[]=data.product")
        .await
        .ok();
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(found["data"][0]["id"], json!(second));
    assert_eq!(found["data"][0]["product"]["object"], "product");
}

#[tokio::test]
async fn health_needs_no_key() {
    let shop = Shop::open().await;
    let answer = Shop::send(shop.request(Method::GET, "/_sim/health")).await;
    assert_eq!(answer.status, StatusCode::OK);
}
