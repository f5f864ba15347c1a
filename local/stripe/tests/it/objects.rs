//! Every object parses with async-stripe's strict types, which refuse a missing field.

use miniserde::Deserialize;
use reqwest::Method;
use serde_json::{Value, json};
use stripe_checkout::CheckoutSession;
use stripe_core::{Charge, Customer, Event, PaymentIntent};
use stripe_product::{Price, Product};
use stripe_shared::{Account, Dispute, Refund};
use stripe_types::List;

use crate::shop::Shop;

#[track_caller]
fn parses<T: Deserialize>(object: &Value) -> T {
    miniserde::json::from_str(&object.to_string())
        .unwrap_or_else(|_| panic!("not strict enough: {object:#}"))
}

#[tokio::test]
async fn objects_parse_strictly_in_every_state() {
    let shop = Shop::open().await;
    let customer = shop
        .post("/v1/customers", &[("email", "ada@example.com"), ("address[city]", "Ulm")])
        .await
        .ok();
    parses::<Customer>(&customer);
    parses::<Account>(&shop.get("/v1/account").await.ok());
    let price = shop.price(2900).await;
    parses::<Price>(&shop.get(&format!("/v1/prices/{price}?expand[]=product")).await.ok());
    parses::<List<Product>>(&shop.get("/v1/products").await.ok());

    let mut sessions = Vec::new();
    for more in [
        vec![("customer", customer["id"].as_str().unwrap())],
        vec![
            ("automatic_tax[enabled]", "true"),
            ("invoice_creation[enabled]", "true"),
            ("customer_creation", "always"),
        ],
        vec![
            ("tax_id_collection[enabled]", "true"),
            ("phone_number_collection[enabled]", "true"),
            ("locale", "de"),
        ],
        vec![
            ("submit_type", "pay"),
            ("billing_address_collection", "required"),
            ("customer_email", "a@b.example"),
        ],
    ] {
        let session = shop.session_with(&price, &more).await.ok();
        parses::<CheckoutSession>(&session);
        sessions.push(session["id"].as_str().unwrap().to_owned());
    }
    let pay = async |index: usize, body: Value| {
        let path = format!("/checkout/sessions/{}/pay", sessions[index]);
        shop.control(Method::POST, &path, body).await
    };
    pay(0, json!({"card": "4242424242424242", "name": "Ada"})).await.ok();
    pay(1, json!({"card": "4000000000000002", "email": "b@b.example"})).await.error();
    pay(2, json!({"payment_method": "sepa_debit", "email": "c@b.example"})).await.ok();
    let settle = format!("/checkout/sessions/{}/settle", sessions[2]);
    shop.control(Method::POST, &settle, json!({"outcome": "failed"})).await.ok();
    shop.post(&format!("/v1/checkout/sessions/{}/expire", sessions[3]), &[]).await.ok();

    let everything = "expand[]=data.line_items&expand[]=data.customer&expand[]=data.payment_intent.latest_charge\
                      &expand[]=data.payment_intent.payment_method";
    let listed = shop.get(&format!("/v1/checkout/sessions?{everything}")).await.ok();
    assert_eq!(parses::<List<CheckoutSession>>(&listed).data.len(), 4);
    assert_eq!(
        parses::<List<PaymentIntent>>(&shop.get("/v1/payment_intents").await.ok()).data.len(),
        3
    );
    assert_eq!(
        parses::<List<Charge>>(&shop.get("/v1/charges?expand[]=data.payment_intent").await.ok())
            .data
            .len(),
        3
    );
    parses::<List<Customer>>(&shop.get("/v1/customers").await.ok());
    parses::<List<Price>>(&shop.get("/v1/prices?expand[]=data.product").await.ok());
}

#[tokio::test]
async fn every_events_object_parses_as_its_type() {
    let shop = Shop::open().await;
    let customer = shop.post("/v1/customers", &[]).await.ok();
    let customer = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    shop.post(&customer, &[("name", "Ada")]).await.ok();
    shop.delete(&customer).await.ok();
    let session = shop.session().await;
    shop.pay(&session, "4000000000000002").await.error();
    shop.pay(&session, "4242424242424242").await.ok();
    let session = shop.session().await;
    shop.post(&format!("/v1/checkout/sessions/{session}/expire"), &[]).await.ok();
    refund_and_dispute(&shop).await;

    let mut page = shop.get("/v1/events?limit=100").await.ok();
    let mut events = Vec::new();
    loop {
        parses::<List<Event>>(&page);
        events.extend(page["data"].as_array().unwrap().clone());
        if page["has_more"] == false {
            break;
        }
        let last = events.last().unwrap()["id"].as_str().unwrap();
        page = shop.get(&format!("/v1/events?limit=100&starting_after={last}")).await.ok();
    }
    for event in &events {
        for field in [
            "api_version",
            "created",
            "data",
            "id",
            "livemode",
            "object",
            "pending_webhooks",
            "request",
            "type",
        ] {
            assert!(event.get(field).is_some(), "{field}");
        }
        let object = &event["data"]["object"];
        match object["object"].as_str().unwrap() {
            "customer" => drop(parses::<Customer>(object)),
            "product" => drop(parses::<Product>(object)),
            "price" => drop(parses::<Price>(object)),
            "payment_intent" => drop(parses::<PaymentIntent>(object)),
            "charge" => drop(parses::<Charge>(object)),
            "checkout.session" => drop(parses::<CheckoutSession>(object)),
            "refund" => drop(parses::<Refund>(object)),
            "dispute" => drop(parses::<Dispute>(object)),
            // None of async-stripe's types compiled here describes it; it has its own test.
            "radar.early_fraud_warning" => {}
            other => panic!("an event about {other}"),
        }
    }
}

/// Refunds and disputes in each of their states, by card and by bank debit.
async fn refund_and_dispute(shop: &Shop) {
    let debit = json!({"payment_method": "sepa_debit", "email": "ada@example.com"});
    for means in [json!({"card": "4242424242424242"}), debit] {
        for outcomes in [&["requires_action", "succeeded", "failed"][..], &["failed"]] {
            let intent = shop.purchase_by(means.clone()).await;
            let form = [("payment_intent", intent.as_str()), ("metadata[a]", "b")];
            let refund = shop.post("/v1/refunds", &form).await.ok();
            let path = format!("/refunds/{}/settle", refund["id"].as_str().unwrap());
            for outcome in outcomes {
                // A card's refund has succeeded, and can only fail.
                shop.control(Method::POST, &path, json!({ "outcome": outcome })).await;
            }
            let warned = json!({ "payment_intent": intent });
            shop.control(Method::POST, "/early_fraud_warnings", warned).await.ok();
            let body = json!({"payment_intent": intent, "status": "warning_needs_response"});
            let dispute = shop.control(Method::POST, "/disputes", body).await.ok();
            let path = format!("/disputes/{}", dispute["id"].as_str().unwrap());
            let mut statuses =
                vec!["warning_under_review", "needs_response", "under_review", "won", "lost"];
            if outcomes.len() == 1 {
                statuses = vec!["prevented"];
            }
            for status in statuses {
                shop.control(Method::POST, &path, json!({ "status": status })).await.ok();
            }
        }
    }
    parses::<List<Refund>>(&shop.get("/v1/refunds?expand[]=data.payment_intent").await.ok());
    parses::<List<Dispute>>(&shop.get("/v1/disputes?expand[]=data.charge").await.ok());
}

/// Every field of an object, in order.
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

const REFUND: &[&str] = &[
    "amount",
    "balance_transaction",
    "charge",
    "created",
    "currency",
    "customer",
    "customer_account",
    "destination_details",
    "id",
    "metadata",
    "object",
    "payment_intent",
    "payment_method",
    "reason",
    "receipt_number",
    "source_transfer_reversal",
    "status",
    "transfer_reversal",
];

const DISPUTE: &[&str] = &[
    "amount",
    "balance_transactions",
    "charge",
    "created",
    "currency",
    "enhanced_eligibility_types",
    "evidence",
    "evidence_details",
    "id",
    "is_charge_refundable",
    "livemode",
    "metadata",
    "object",
    "payment_intent",
    "payment_method_details",
    "reason",
    "status",
];

const BALANCE_TRANSACTION: &[&str] = &[
    "amount",
    "available_on",
    "balance_type",
    "created",
    "currency",
    "description",
    "exchange_rate",
    "fee",
    "fee_details",
    "id",
    "net",
    "object",
    "reporting_category",
    "source",
    "status",
    "type",
];

/// The types are lenient about nullable fields, so the fields are listed too.
#[tokio::test]
async fn refunds_and_disputes_have_every_field_that_stripe_sends() {
    let shop = Shop::open().await;
    let intent = shop.purchase("4242424242424242").await;
    let form = [("payment_intent", intent.as_str()), ("amount", "1")];
    let refund = shop.post("/v1/refunds", &form).await.ok();
    assert_eq!(fields(&refund), REFUND);
    let body = json!({ "payment_intent": intent });
    let dispute = shop.control(Method::POST, "/disputes", body).await.ok();
    assert_eq!(fields(&dispute), DISPUTE);
    assert_eq!(dispute["evidence"].as_object().unwrap().len(), 28);
    assert_eq!(
        fields(&dispute["evidence_details"]),
        ["due_by", "enhanced_eligibility", "has_evidence", "past_due", "submission_count"]
    );
    assert_eq!(fields(&dispute["balance_transactions"][0]), BALANCE_TRANSACTION);
}

/// None of async-stripe's types compiled here describes an endpoint, so its fields are listed.
#[tokio::test]
async fn a_webhook_endpoint_is_complete_and_shows_its_secret_once() {
    let shop = Shop::open().await;
    let form =
        [("url", "https://shop.example/webhook"), ("enabled_events[]", "*"), ("metadata[a]", "b")];
    let created = shop.post("/v1/webhook_endpoints", &form).await.ok();
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 38, "{secret}");
    let path = format!("/v1/webhook_endpoints/{}", created["id"].as_str().unwrap());
    let retrieved = shop.get(&path).await.ok();
    assert_eq!(
        retrieved,
        json!({
            "id": created["id"],
            "object": "webhook_endpoint",
            "api_version": null,
            "application": null,
            "created": created["created"],
            "description": null,
            "enabled_events": ["*"],
            "livemode": false,
            "metadata": {"a": "b"},
            "status": "enabled",
            "url": "https://shop.example/webhook",
        })
    );
    let disabled =
        shop.post(&path, &[("disabled", "true"), ("enabled_events[]", "charge.failed")]).await.ok();
    assert_eq!(
        (&disabled["status"], &disabled["enabled_events"]),
        (&json!("disabled"), &json!(["charge.failed"]))
    );
    assert_eq!(shop.delete(&path).await.ok()["deleted"], true);
    assert_eq!(shop.get(&path).await.error().0, 404);
}

#[tokio::test]
async fn references_are_expanded_on_request_only() {
    let shop = Shop::open().await;
    let id = shop.session().await;
    shop.pay(&id, "4242424242424242").await.ok();
    let path = format!("/v1/checkout/sessions/{id}");
    let plain = shop.get(&path).await.ok();
    assert!(plain["payment_intent"].is_string());
    assert!(plain.get("line_items").is_none());
    let expanded = shop
        .get(&format!("{path}?expand[]=line_items.data.price.product&expand[]=payment_intent&expand[]=customer"))
        .await
        .ok();
    assert_eq!(expanded["line_items"]["data"][0]["price"]["product"]["object"], "product");
    assert_eq!(expanded["payment_intent"]["id"], plain["payment_intent"]);
    assert!(expanded["payment_intent"]["latest_charge"].is_string());
    assert_eq!(expanded["customer"], json!(null));
    for path in [
        format!("{path}?expand[]=currency"),
        format!("{path}?expand[]=payment_intent.a"),
        "/v1/charges?expand[]=x".to_owned(),
    ] {
        let answer = shop.get(&path).await;
        // An empty list has nothing to expand; this one has a charge.
        let (status, error) = answer.error();
        assert_eq!(status, 400);
        assert!(error["message"].as_str().unwrap().contains("cannot be expanded"));
    }
}
