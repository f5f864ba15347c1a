//! Refunds: amounts, outcomes, and their events.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Shop, types};
use crate::webhooks::Endpoint;

const CARD: &str = "4242424242424242";
const REFUND_SUCCEEDS_LATER: &str = "4000000000007726";
const REFUND_FAILS_LATER: &str = "4000000000005126";

async fn refund(shop: &Shop, intent: &str, more: &[(&str, &str)]) -> Value {
    let mut form = vec![("payment_intent", intent)];
    form.extend(more);
    shop.post("/v1/refunds", &form).await.ok()
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

async fn settle(shop: &Shop, refund: &Value, outcome: &str) -> crate::shop::Answer {
    let path = format!("/refunds/{}/settle", id(refund));
    shop.control(Method::POST, &path, json!({ "outcome": outcome })).await
}

/// The refunded amount of a payment's charge, and whether that is all of it.
async fn refunded(shop: &Shop, intent: &str) -> (i64, bool) {
    let charge = shop.charge_of(intent).await;
    (charge["amount_refunded"].as_i64().unwrap(), charge["refunded"].as_bool().unwrap())
}

#[tokio::test]
async fn a_refund_without_an_amount_is_full() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let before = shop.newest_event().await;
    let made = refund(&shop, &intent, &[("reason", "requested_by_customer")]).await;
    assert!(id(&made).starts_with("re_3"), "{made}");
    assert_eq!((&made["amount"], &made["currency"]), (&json!(2900), &json!("usd")));
    assert_eq!(
        (&made["status"], &made["reason"]),
        (&json!("succeeded"), &json!("requested_by_customer"))
    );
    assert!(made["balance_transaction"].is_string());
    let charge = shop.charge_of(&intent).await;
    assert_eq!((&made["charge"], &made["payment_intent"]), (&charge["id"], &json!(intent)));
    assert_eq!(made["payment_method"], charge["payment_method"]);
    assert_eq!(refunded(&shop, &intent).await, (2900, true));

    let events = shop.events_since(&before).await;
    assert_eq!(types(&events), ["refund.created", "charge.refunded"]);
    assert_eq!(events[0]["data"]["object"], made);
    assert_eq!(events[1]["data"]["object"], charge);
    assert!(events[0]["request"]["id"].is_string(), "who asked is named");
}

#[tokio::test]
async fn empty_form_fields_count_as_absent() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let empty = [("amount", ""), ("charge", ""), ("metadata", ""), ("reason", "")];
    let made = refund(&shop, &intent, &empty).await;
    assert_eq!((&made["amount"], &made["metadata"]), (&json!(2900), &json!({})));
    assert_eq!(made["charge"], shop.charge_of(&intent).await["id"]);
}

#[tokio::test]
async fn partial_refunds_add_up_to_at_most_the_whole() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let charge = shop.charge_of(&intent).await["id"].as_str().unwrap().to_owned();
    refund(&shop, &intent, &[("amount", "900")]).await;
    assert_eq!(refunded(&shop, &intent).await, (900, false));
    let form = [("charge", charge.as_str()), ("amount", "2001")];
    let (status, error) = shop.post("/v1/refunds", &form).await.error();
    assert_eq!((status, &error["param"], error.get("code")), (400, &json!("amount"), None));
    // The rest, by naming the charge.
    let rest = shop.post("/v1/refunds", &[("charge", &charge)]).await.ok();
    assert_eq!(rest["amount"], 2000);
    assert_eq!(refunded(&shop, &intent).await, (2900, true));
    let (status, error) = shop.post("/v1/refunds", &[("charge", &charge)]).await.error();
    assert_eq!((status, &error["code"]), (400, &json!("charge_already_refunded")));

    let listed = shop.get(&format!("/v1/charges/{charge}?expand[]=refunds")).await.ok();
    let amounts: Vec<&Value> =
        listed["refunds"]["data"].as_array().unwrap().iter().map(|it| &it["amount"]).collect();
    assert_eq!(amounts, [2000, 900]);
    assert!(shop.charge_of(&intent).await.get("refunds").is_none(), "only on request");
}

#[tokio::test]
async fn a_refund_that_is_impossible_has_its_error_code() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let session = shop.session().await;
    shop.pay(&session, "4000000000000002").await.error();
    let unpaid = shop.get("/v1/payment_intents?limit=1").await.ok()["data"][0].clone();
    let (unpaid, declined) =
        (unpaid["id"].as_str().unwrap(), unpaid["latest_charge"].as_str().unwrap());
    for (form, status, code, param) in [
        (vec![], 400, json!(null), json!(null)),
        (
            vec![("payment_intent", intent.as_str()), ("charge", "ch_x")],
            400,
            json!(null),
            json!("charge"),
        ),
        (vec![("charge", "ch_none")], 404, json!("resource_missing"), json!("id")),
        (vec![("payment_intent", "pi_none")], 404, json!("resource_missing"), json!("id")),
        (vec![("payment_intent", unpaid)], 400, json!(null), json!(null)),
        (vec![("charge", declined)], 400, json!(null), json!(null)),
        (
            vec![("payment_intent", intent.as_str()), ("amount", "0")],
            400,
            json!("parameter_invalid_integer"),
            json!("amount"),
        ),
        (
            vec![("payment_intent", intent.as_str()), ("reason", "boredom")],
            400,
            json!("parameter_invalid_choice"),
            json!("reason"),
        ),
        (
            vec![("payment_intent", intent.as_str()), ("amuont", "1")],
            400,
            json!("parameter_unknown"),
            json!("amuont"),
        ),
    ] {
        let (refused, error) = shop.post("/v1/refunds", &form).await.error();
        assert_eq!(
            (refused, &error["code"], &error["param"]),
            (status, &code, &param),
            "{form:?}: {error}"
        );
    }
    assert_eq!(shop.get("/v1/refunds").await.ok()["data"], json!([]));
    assert_eq!(shop.get("/v1/refunds/re_none").await.error().0, 404);
}

#[tokio::test]
async fn one_idempotency_key_makes_one_refund() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let form = [("payment_intent", intent.as_str()), ("amount", "100")];
    let once = || Shop::send(shop.posting("/v1/refunds", &form).header("idempotency-key", "k"));
    let (first, again) = (once().await.ok(), once().await);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok(), first);
    assert_eq!(refunded(&shop, &intent).await, (100, false));
}

#[tokio::test]
async fn a_bank_debit_refund_is_pending_until_settled() {
    let shop = Shop::open().await;
    for (outcome, back) in [("succeeded", (2900, true)), ("failed", (0, false))] {
        let intent = shop.purchase_by(json!({"payment_method": "sepa_debit"})).await;
        let made = refund(&shop, &intent, &[]).await;
        assert_eq!(
            (&made["status"], &made["pending_reason"]),
            (&json!("pending"), &json!("processing"))
        );
        assert_eq!(made["balance_transaction"], json!(null));
        // A pending amount can't be refunded again.
        assert_eq!(refunded(&shop, &intent).await, (2900, true));
        let before = shop.newest_event().await;
        let settled = settle(&shop, &made, outcome).await.ok();
        assert_eq!(settled["status"], outcome);
        assert!(settled.get("pending_reason").is_none());
        assert_eq!(refunded(&shop, &intent).await, back);
        let events = shop.events_since(&before).await;
        let told = ["refund.updated", "charge.refund.updated", "refund.failed"];
        let told = if outcome == "failed" { &told[..] } else { &told[..2] };
        assert_eq!(types(&events), told);
        for event in &events {
            assert_eq!(event["data"]["object"], settled);
            assert_eq!(event["request"]["id"], json!(null), "it was the bank");
        }
        assert_eq!(events[0]["data"]["previous_attributes"]["status"], "pending");
    }
}

#[tokio::test]
async fn a_failed_refund_restores_the_charge_and_can_be_retried() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let made = refund(&shop, &intent, &[]).await;
    let failed = settle(&shop, &made, "failed").await.ok();
    assert_eq!(failed["failure_reason"], "expired_or_canceled_card");
    assert!(failed["failure_balance_transaction"].is_string());
    assert_eq!(refunded(&shop, &intent).await, (0, false));
    // The status stays.
    for outcome in ["succeeded", "pending", "failed", "requires_action", "lost"] {
        assert_eq!(settle(&shop, &failed, outcome).await.error().0, 400, "{outcome}");
    }
    assert_eq!(refund(&shop, &intent, &[]).await["status"], "succeeded");
    assert_eq!(refunded(&shop, &intent).await, (2900, true));
}

#[tokio::test]
async fn only_a_refund_that_requires_action_can_be_cancelled() {
    let shop = Shop::open().await;
    let intent =
        shop.purchase_by(json!({"payment_method": "sepa_debit", "email": "ada@example.com"})).await;
    let made = refund(&shop, &intent, &[]).await;
    let path = format!("/v1/refunds/{}/cancel", id(&made));
    assert_eq!(shop.post(&path, &[]).await.error().0, 400);
    let waiting = settle(&shop, &made, "requires_action").await.ok();
    let email = &waiting["next_action"]["display_details"]["email_sent"]["email_sent_to"];
    assert_eq!(email, "ada@example.com");
    let before = shop.newest_event().await;
    let cancelled = shop.post(&path, &[]).await.ok();
    assert_eq!((&cancelled["status"], cancelled.get("next_action")), (&json!("canceled"), None));
    assert_eq!(refunded(&shop, &intent).await, (0, false));
    assert_eq!(
        types(&shop.events_since(&before).await),
        ["refund.updated", "charge.refund.updated"]
    );
    assert_eq!(shop.post(&path, &[]).await.error().0, 400);
}

#[tokio::test]
async fn test_cards_decide_a_refund_s_outcome_later() {
    let shop = Shop::open().await;
    for (card, first, later, back) in [
        (REFUND_SUCCEEDS_LATER, "pending", "succeeded", (2900, true)),
        (REFUND_FAILS_LATER, "succeeded", "failed", (0, false)),
    ] {
        let intent = shop.purchase(card).await;
        let made = refund(&shop, &intent, &[]).await;
        assert_eq!(made["status"], first, "{card}");
        shop.wait_seconds(10).await;
        let path = format!("/v1/refunds/{}", id(&made));
        let settled = shop.get(&path).await.ok();
        assert_eq!(settled["status"], later, "{card}");
        assert_eq!(refunded(&shop, &intent).await, back, "{card}");
        // Once.
        let newest = shop.newest_event().await;
        shop.wait_seconds(1000).await;
        assert_eq!(shop.events_since(&newest).await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_metadata_change_sends_both_events() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let made = refund(&shop, &intent, &[("metadata[ticket]", "7")]).await;
    let before = shop.newest_event().await;
    let path = format!("/v1/refunds/{}", id(&made));
    let changed = shop.post(&path, &[("metadata[ticket]", "8")]).await.ok();
    assert_eq!(changed["metadata"], json!({"ticket": "8"}));
    let events = shop.events_since(&before).await;
    assert_eq!(types(&events), ["refund.updated", "charge.refund.updated"]);
    assert_eq!(events[1]["data"]["previous_attributes"], json!({"metadata": {"ticket": "7"}}));
    assert_eq!(shop.post(&path, &[("amount", "1")]).await.error().1["code"], "parameter_unknown");
}

#[tokio::test]
async fn refunds_are_listed_by_payment_and_charge() {
    let shop = Shop::open().await;
    let (one, other) = (shop.purchase(CARD).await, shop.purchase(CARD).await);
    let first = refund(&shop, &one, &[("amount", "1")]).await;
    let second = refund(&shop, &one, &[("amount", "2")]).await;
    let third = refund(&shop, &other, &[]).await;
    let list =
        async |query: &str| shop.get(&format!("/v1/refunds{query}")).await.ok()["data"].clone();
    assert_eq!(list("").await, json!([third, second, first]));
    assert_eq!(list(&format!("?payment_intent={one}")).await, json!([second, first]));
    let charge = third["charge"].as_str().unwrap();
    assert_eq!(list(&format!("?charge={charge}")).await, json!([third]));
    assert_eq!(list(&format!("?limit=1&starting_after={}", id(&third))).await, json!([second]));
    assert_eq!(list("?created[gt]=9999999999").await, json!([]));
    let expanded = list("?limit=1&expand[]=data.charge&expand[]=data.payment_intent").await;
    assert_eq!(expanded[0]["charge"]["object"], "charge");
    assert_eq!(expanded[0]["payment_intent"]["id"], json!(other));
}

#[tokio::test]
async fn refund_events_go_to_the_endpoints_that_enable_them() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let form = [("url", endpoint.url.as_str()), ("enabled_events[]", "refund.created")];
    shop.post("/v1/webhook_endpoints", &form).await.ok();
    let intent = shop.purchase(CARD).await;
    let made = refund(&shop, &intent, &[]).await;
    let arrivals = endpoint.wait_for(1).await;
    assert_eq!(arrivals[0].event()["data"]["object"], made);
    assert_eq!(endpoint.types(), ["refund.created"]);
}

#[tokio::test]
async fn a_refund_keeps_its_currency_s_charge_multiple() {
    let shop = Shop::open().await;
    for (currency, amount, fine, coarse) in
        [("kwd", "2900", "905", "900"), ("isk", "5000", "50", "100")]
    {
        let product = shop.post("/v1/products", &[("name", "TutorClaw")]).await.ok();
        let form = [
            ("product", product["id"].as_str().unwrap()),
            ("currency", currency),
            ("unit_amount", amount),
        ];
        let price = shop.post("/v1/prices", &form).await.ok();
        let session = shop.session_with(price["id"].as_str().unwrap(), &[]).await.ok();
        let paid = shop.pay(session["id"].as_str().unwrap(), "4242424242424242").await.ok();
        let of = |amount| {
            [("payment_intent", paid["payment_intent"].as_str().unwrap()), ("amount", amount)]
        };
        let (status, error) = shop.post("/v1/refunds", &of(fine)).await.error();
        assert_eq!((status, error.get("code")), (400, None), "{currency}: {error}");
        shop.post("/v1/refunds", &of(coarse)).await.ok();
    }
}
