//! Sessions from open to paid, declined, settled or expired, and their events.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::Shop;

async fn session_of(shop: &Shop, id: &str) -> Value {
    shop.get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent.latest_charge"))
        .await
        .ok()
}

#[tokio::test]
async fn an_open_session_can_be_paid_at_its_url() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    let more = [
        ("client_reference_id", "ada"),
        ("metadata[learner_id]", "ada"),
        ("payment_intent_data[metadata][learner_id]", "ada"),
        ("line_items[0][quantity]", "2"),
    ];
    let session = shop.session_with(&price, &more).await.ok();
    let id = session["id"].as_str().unwrap();
    assert!(id.starts_with("cs_test_a1"), "{id}");
    assert_eq!(session["url"], json!(format!("{}/c/pay/{id}", shop.simulator.url())));
    assert_eq!(session["status"], "open");
    assert_eq!(session["payment_status"], "unpaid");
    assert_eq!(session["payment_intent"], json!(null));
    assert_eq!((&session["amount_total"], &session["currency"]), (&json!(5800), &json!("usd")));
    assert_eq!(session["client_reference_id"], "ada");
    assert_eq!(shop.event_types().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_good_card_pays() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    let more = [
        ("payment_intent_data[metadata][learner_id]", "ada"),
        ("customer_email", "ada@example.com"),
    ];
    let id = shop.session_with(&price, &more).await.ok()["id"].as_str().unwrap().to_owned();
    let paid = shop.pay(&id, "4242424242424242").await.ok();
    assert_eq!((&paid["status"], &paid["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(paid["url"], json!(null));
    assert_eq!(paid["customer_details"]["email"], "ada@example.com");

    let session = session_of(&shop, &id).await;
    let intent = &session["payment_intent"];
    assert_eq!(
        (&intent["status"], &intent["amount_received"]),
        (&json!("succeeded"), &json!(2900))
    );
    assert_eq!(intent["metadata"], json!({"learner_id": "ada"}));
    assert_eq!(intent["latest_charge"]["status"], "succeeded");
    assert_eq!(intent["latest_charge"]["metadata"], json!({"learner_id": "ada"}));
    assert_eq!(
        shop.event_types().await,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed"
        ]
    );
    // Once.
    let (status, error) = shop.pay(&id, "4242424242424242").await.error();
    assert_eq!(status, 400);
    assert!(error["message"].as_str().unwrap().contains("complete"));
}

#[tokio::test]
async fn a_declined_card_leaves_the_session_open() {
    let shop = Shop::open().await;
    let id = shop.session().await;
    for (card, code, decline_code) in [
        ("4000000000000002", "card_declined", json!("generic_decline")),
        ("4000000000009995", "card_declined", json!("insufficient_funds")),
        ("4000000000000069", "expired_card", json!(null)),
        ("4000000000000127", "incorrect_cvc", json!(null)),
        ("4000000000000119", "processing_error", json!(null)),
    ] {
        let (status, error) = shop.pay(&id, card).await.error();
        assert_eq!(
            (status, &error["type"], &error["code"]),
            (402, &json!("card_error"), &json!(code))
        );
        assert_eq!(error["decline_code"], decline_code);
    }
    let session = session_of(&shop, &id).await;
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&json!("open"), &json!("unpaid"))
    );
    let intent = &session["payment_intent"];
    assert_eq!(intent["status"], "requires_payment_method");
    assert_eq!(intent["last_payment_error"]["code"], "processing_error");
    assert_eq!(intent["latest_charge"]["status"], "failed");
    let types = shop.event_types().await;
    assert_eq!(types.iter().filter(|it| *it == "payment_intent.created").count(), 1);
    assert_eq!(types.iter().filter(|it| *it == "charge.failed").count(), 5);
    assert_eq!(types.last().unwrap(), "payment_intent.payment_failed");

    // The same payment intent succeeds in the end.
    shop.pay(&id, "4242 4242 4242 4242").await.ok();
    let paid = session_of(&shop, &id).await;
    assert_eq!(paid["payment_intent"]["id"], intent["id"]);
    assert_eq!(paid["payment_intent"]["last_payment_error"], json!(null));
}

#[tokio::test]
async fn an_unknown_card_number_is_no_attempt() {
    let shop = Shop::open().await;
    let id = shop.session().await;
    let (status, error) = shop.pay(&id, "4242424242424241").await.error();
    assert_eq!((status, &error["code"]), (402, &json!("incorrect_number")));
    assert_eq!(shop.event_types().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bank_debit_settles_later_one_way_or_the_other() {
    let shop = Shop::open().await;
    for (outcome, payment_status, intent_status, event) in [
        ("succeeded", "paid", "succeeded", "checkout.session.async_payment_succeeded"),
        ("failed", "unpaid", "requires_payment_method", "checkout.session.async_payment_failed"),
    ] {
        let id = shop.session().await;
        let path = format!("/checkout/sessions/{id}");
        let body = json!({"payment_method": "sepa_debit", "email": "ada@example.com"});
        let session = shop.control(Method::POST, &format!("{path}/pay"), body).await.ok();
        assert_eq!(
            (&session["status"], &session["payment_status"]),
            (&json!("complete"), &json!("unpaid"))
        );
        assert_eq!(session_of(&shop, &id).await["payment_intent"]["status"], "processing");

        let settled = shop
            .control(Method::POST, &format!("{path}/settle"), json!({ "outcome": outcome }))
            .await
            .ok();
        assert_eq!(settled["payment_status"], payment_status);
        assert_eq!(session_of(&shop, &id).await["payment_intent"]["status"], intent_status);
        assert_eq!(shop.event_types().await.last().unwrap(), event);
        let again = shop
            .control(Method::POST, &format!("{path}/settle"), json!({ "outcome": outcome }))
            .await;
        assert_eq!(again.error().0, 400);
    }
    let types = shop.event_types().await;
    for expected in [
        "charge.pending",
        "payment_intent.processing",
        "checkout.session.completed",
        "charge.failed",
    ] {
        assert!(types.iter().any(|it| it == expected), "{expected} in {types:?}");
    }
}

#[tokio::test]
async fn a_session_takes_only_its_payment_methods() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    let session = shop.session_with(&price, &[("payment_method_types[0]", "card")]).await.ok();
    let path = format!("/checkout/sessions/{}/pay", session["id"].as_str().unwrap());
    let (status, _) =
        shop.control(Method::POST, &path, json!({"payment_method": "sepa_debit"})).await.error();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn nothing_to_pay_needs_no_payment() {
    let shop = Shop::open().await;
    let price = shop.price(0).await;
    let session = shop.session_with(&price, &[]).await.ok();
    let path = format!("/checkout/sessions/{}/pay", session["id"].as_str().unwrap());
    let done = shop.control(Method::POST, &path, json!({"email": "ada@example.com"})).await.ok();
    assert_eq!(
        (&done["status"], &done["payment_status"]),
        (&json!("complete"), &json!("no_payment_required"))
    );
    assert_eq!(done["payment_intent"], json!(null));
    assert_eq!(shop.event_types().await, ["checkout.session.completed"]);
}

#[tokio::test]
async fn an_open_session_can_be_expired_by_the_api_once() {
    let shop = Shop::open().await;
    let id = shop.session().await;
    assert_eq!(shop.pay(&id, "4000000000000002").await.error().0, 402);
    let path = format!("/v1/checkout/sessions/{id}/expire");
    let expired = shop.post(&path, &[]).await.ok();
    assert_eq!((&expired["status"], &expired["url"]), (&json!("expired"), &json!(null)));
    assert_eq!(shop.post(&path, &[]).await.error().0, 400);
    assert_eq!(shop.pay(&id, "4242424242424242").await.error().0, 400);
    assert_eq!(session_of(&shop, &id).await["payment_intent"]["status"], "canceled");
    let types = shop.event_types().await;
    assert_eq!(types[types.len() - 2..], ["payment_intent.canceled", "checkout.session.expired"]);
}

#[tokio::test]
async fn a_session_expires_on_time() {
    let shop = Shop::open().await;
    let id = shop.session().await;
    let now = shop.control(Method::POST, "/advance", json!({"seconds": 86_300})).await.ok();
    assert_eq!(session_of(&shop, &id).await["status"], "open");
    // It can't be made to expire within half an hour of the simulator's time.
    let price = shop.price(100).await;
    let soon = (now["now"].as_i64().unwrap() + 600).to_string();
    assert_eq!(
        shop.session_with(&price, &[("expires_at", &soon)]).await.error().1["param"],
        "expires_at"
    );
    let later = (now["now"].as_i64().unwrap() + 3600).to_string();
    let other = shop.session_with(&price, &[("expires_at", &later)]).await.ok();

    shop.control(Method::POST, "/advance", json!({"seconds": 200})).await.ok();
    assert_eq!(shop.event_types().await, ["checkout.session.expired"]);
    assert_eq!(session_of(&shop, &id).await["status"], "expired");
    assert_eq!(session_of(&shop, other["id"].as_str().unwrap()).await["status"], "open");
    let event = shop.get("/v1/events?type=checkout.session.expired").await.ok()["data"][0].clone();
    assert_eq!(event["request"], json!({"id": null, "idempotency_key": null}));
}

#[tokio::test]
async fn a_customer_pays_as_themselves() {
    let shop = Shop::open().await;
    let customer = shop.post("/v1/customers", &[("email", "ada@example.com")]).await.ok();
    let customer = customer["id"].as_str().unwrap();
    let price = shop.price(2900).await;
    let more = [("customer", customer), ("customer_update[name]", "auto")];
    let session = shop.session_with(&price, &more).await.ok();
    assert_eq!(session["customer_details"]["email"], "ada@example.com");
    let id = session["id"].as_str().unwrap();
    let body = json!({"card": "4242424242424242", "name": "Ada L."});
    shop.control(Method::POST, &format!("/checkout/sessions/{id}/pay"), body).await.ok();
    let session = session_of(&shop, id).await;
    assert_eq!(session["payment_intent"]["customer"], json!(customer));
    assert_eq!(session["payment_intent"]["latest_charge"]["customer"], json!(customer));
    assert_eq!(shop.get(&format!("/v1/customers/{customer}")).await.ok()["name"], "Ada L.");
}

#[tokio::test]
async fn a_customer_is_created_when_the_session_asks_for_one() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    let session = shop.session_with(&price, &[("customer_creation", "always")]).await.ok();
    let path = format!("/checkout/sessions/{}/pay", session["id"].as_str().unwrap());
    let body = json!({"card": "4242424242424242", "email": "ada@example.com"});
    let paid = shop.control(Method::POST, &path, body).await.ok();
    let customer =
        shop.get(&format!("/v1/customers/{}", paid["customer"].as_str().unwrap())).await.ok();
    assert_eq!(customer["email"], "ada@example.com");
    let types = shop.event_types().await;
    assert!(types.contains(&"customer.created".to_owned()));
    assert_eq!(types.last().unwrap(), "checkout.session.completed");
}

#[tokio::test]
async fn the_page_names_link_where_managed_payments_are_on() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    for by_default in [false, true] {
        let account = json!({ "managed_payments": by_default });
        shop.control(Method::POST, "/account", account).await.ok();
        for (said, by_link) in [(None, by_default), (Some("true"), true), (Some("false"), false)] {
            let more = said.map(|said| ("managed_payments[enabled]", said));
            let session = shop.session_with(&price, more.as_slice()).await.ok();
            assert_eq!(session["managed_payments"]["enabled"], by_link, "{by_default} {said:?}");
            let path = format!("/c/pay/{}", session["id"].as_str().unwrap());
            let page = Shop::send(shop.request(Method::GET, &path)).await.ok();
            let page = page.as_str().unwrap();
            assert_eq!(page.contains("Sold through Link"), by_link, "{by_default} {said:?}");
            let paid = shop.pay(session["id"].as_str().unwrap(), "4242424242424242").await.ok();
            let intent = paid["payment_intent"].as_str().unwrap();
            let intent = shop.get(&format!("/v1/payment_intents/{intent}")).await.ok();
            assert_eq!(intent["managed_payments"], session["managed_payments"]);
        }
    }
}

#[tokio::test]
async fn prices_that_cannot_be_sold_together_are_refused() {
    let shop = Shop::open().await;
    let dollars = shop.price(100).await;
    let product = shop.post("/v1/products", &[("name", "Euro")]).await.ok();
    let form =
        [("product", product["id"].as_str().unwrap()), ("currency", "EUR"), ("unit_amount", "100")];
    let euros = shop.post("/v1/prices", &form).await.ok();
    assert_eq!(euros["currency"], "eur");
    let euros = euros["id"].as_str().unwrap();
    let more = [("line_items[1][price]", euros), ("line_items[1][quantity]", "1")];
    assert_eq!(shop.session_with(&dollars, &more).await.error().0, 400);
    shop.post(&format!("/v1/prices/{dollars}"), &[("active", "false")]).await.ok();
    assert_eq!(shop.session_with(&dollars, &[]).await.error().0, 400);
}
