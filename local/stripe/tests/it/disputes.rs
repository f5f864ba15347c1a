//! Disputes: from an inquiry or a claim to the bank's verdict, and where the money is meanwhile.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Answer, Shop, types};
use crate::webhooks::Endpoint;

const CARD: &str = "4242424242424242";
const FRAUD: &str = "4000000000000259";
const NOT_RECEIVED: &str = "4000000000002685";
const INQUIRY: &str = "4000000000001976";
const TWICE: &str = "4000000404000079";

async fn open(shop: &Shop, intent: &str, more: Value) -> Value {
    let mut body = json!({ "payment_intent": intent });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    shop.control(Method::POST, "/disputes", body).await.ok()
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

async fn bring(shop: &Shop, dispute: &Value, status: &str) -> Answer {
    let path = format!("/disputes/{}", id(dispute));
    shop.control(Method::POST, &path, json!({ "status": status })).await
}

async fn disputes_of(shop: &Shop, intent: &str) -> Vec<Value> {
    let listed = shop.get(&format!("/v1/disputes?payment_intent={intent}")).await.ok();
    listed["data"].as_array().unwrap().clone()
}

/// The change in the account's balance because of a dispute, without fees.
fn withdrawn(dispute: &Value) -> i64 {
    let transactions = dispute["balance_transactions"].as_array().unwrap();
    -transactions.iter().map(|it| it["amount"].as_i64().unwrap()).sum::<i64>()
}

/// Takes a dispute through these statuses, and asserts for each its events, how much of the payment
/// is withdrawn, and that it can be refunded only when nothing is.
async fn lead(shop: &Shop, dispute: &Value, steps: &[(&str, &[&str], i64)]) {
    for (status, told, taken) in steps {
        let before = shop.newest_event().await;
        let dispute = bring(shop, dispute, status).await.ok();
        assert_eq!((&dispute["status"], withdrawn(&dispute)), (&json!(status), *taken));
        assert_eq!(dispute["is_charge_refundable"], json!(*taken == 0), "{status}");
        let events = shop.events_since(&before).await;
        let told: Vec<String> = told.iter().map(|it| format!("charge.dispute.{it}")).collect();
        assert_eq!(types(&events), told, "{status}");
        for event in &events {
            assert_eq!(event["data"]["object"], dispute);
            assert_eq!(event["request"]["id"], json!(null), "it was the bank");
        }
    }
}

#[tokio::test]
async fn a_dispute_withdraws_funds_and_reinstates_them_if_won() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let before = shop.newest_event().await;
    let dispute = open(&shop, &intent, json!({})).await;
    assert!(id(&dispute).starts_with("du_1"), "{dispute}");
    assert_eq!(
        (&dispute["status"], &dispute["reason"]),
        (&json!("needs_response"), &json!("fraudulent"))
    );
    assert_eq!((&dispute["amount"], withdrawn(&dispute)), (&json!(2900), 2900));
    assert_eq!(dispute["is_charge_refundable"], false);
    assert_eq!(
        dispute["payment_method_details"]["card"],
        json!({"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4"})
    );
    let charge = shop.charge_of(&intent).await;
    assert_eq!((&charge["disputed"], &charge["id"]), (&json!(true), &dispute["charge"]));
    let events = shop.events_since(&before).await;
    assert_eq!(types(&events), ["charge.dispute.created", "charge.dispute.funds_withdrawn"]);
    assert_eq!(events[0]["data"]["object"], dispute);

    lead(
        &shop,
        &dispute,
        &[
            ("under_review", &["updated"], 2900),
            ("won", &["funds_reinstated", "closed"], 0),
            // A verdict may be reversed, more than once.
            ("lost", &["funds_withdrawn", "closed"], 2900),
            ("won", &["funds_reinstated", "closed"], 0),
        ],
    )
    .await;
    assert_eq!(shop.charge_of(&intent).await["disputed"], true, "it was disputed, whoever won");
}

#[tokio::test]
async fn a_dispute_without_evidence_can_be_lost() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let dispute = open(&shop, &intent, json!({"reason": "product_unacceptable"})).await;
    lead(
        &shop,
        &dispute,
        &[("lost", &["closed"], 2900), ("won", &["funds_reinstated", "closed"], 0)],
    )
    .await;
}

#[tokio::test]
async fn an_appeal_keeps_the_money_withdrawn_until_decided() {
    let shop = Shop::open().await;
    for (verdict, told, taken) in
        [("won", &["funds_reinstated", "closed"][..], 0), ("lost", &["closed"], 2900)]
    {
        let intent = shop.purchase(CARD).await;
        let dispute = open(&shop, &intent, json!({})).await;
        assert_eq!(bring(&shop, &dispute, "appeal_needs_response").await.error().0, 400);
        lead(
            &shop,
            &dispute,
            &[
                ("lost", &["closed"], 2900),
                ("appeal_needs_response", &["updated"], 2900),
                ("appeal_under_review", &["updated"], 2900),
                (verdict, told, taken),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn an_inquiry_takes_nothing_until_it_is_escalated() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let before = shop.newest_event().await;
    let inquiry = open(&shop, &intent, json!({"status": "warning_needs_response"})).await;
    assert_eq!((withdrawn(&inquiry), &inquiry["is_charge_refundable"]), (0, &json!(true)));
    assert_eq!(inquiry["payment_method_details"]["card"]["case_type"], "inquiry");
    assert_eq!(types(&shop.events_since(&before).await), ["charge.dispute.created"]);
    assert_eq!(shop.charge_of(&intent).await["disputed"], true);
    lead(
        &shop,
        &inquiry,
        &[
            ("warning_under_review", &["updated"], 0),
            ("warning_closed", &["closed"], 0),
            ("needs_response", &["updated", "funds_withdrawn"], 2900),
            ("lost", &["closed"], 2900),
        ],
    )
    .await;
    let dispute = &disputes_of(&shop, &intent).await[0];
    assert_eq!(dispute["payment_method_details"]["card"]["case_type"], "chargeback");
}

#[tokio::test]
async fn a_prevented_dispute_refunds_the_buyer_or_nobody() {
    let shop = Shop::open().await;
    for (case_type, taken) in [("resolution", 2900), ("block", 0)] {
        let intent = shop.purchase(CARD).await;
        let inquiry = open(&shop, &intent, json!({"status": "warning_needs_response"})).await;
        let path = format!("/disputes/{}", id(&inquiry));
        let before = shop.newest_event().await;
        let body = json!({"status": "prevented", "case_type": case_type});
        let prevented = shop.control(Method::POST, &path, body).await.ok();
        assert_eq!(prevented["payment_method_details"]["card"]["case_type"], case_type);
        assert_eq!(withdrawn(&prevented), taken);
        let events = shop.events_since(&before).await;
        assert_eq!(types(&events).last(), Some(&"charge.dispute.closed"));
        assert_eq!(types(&events).contains(&"charge.dispute.funds_withdrawn"), taken > 0);
        assert_eq!(bring(&shop, &prevented, "won").await.error().0, 400);
    }
    let intent = shop.purchase(CARD).await;
    let before = shop.newest_event().await;
    open(&shop, &intent, json!({"status": "prevented"})).await;
    let told = ["created", "funds_withdrawn", "closed"].map(|it| format!("charge.dispute.{it}"));
    assert_eq!(types(&shop.events_since(&before).await), told);
}

#[tokio::test]
async fn impossible_bank_actions_are_refused() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    for wrong in [
        json!({"payment_intent": "pi_none"}),
        json!({"payment_intent": intent, "status": "won"}),
        json!({"payment_intent": intent, "reason": "boredom"}),
        json!({"payment_intent": intent, "amount": 2901}),
        json!({"payment_intent": intent, "amount": 0}),
        json!({"payment_intent": intent, "stauts": "needs_response"}),
        json!({"status": "needs_response"}),
    ] {
        let (status, error) = shop.control(Method::POST, "/disputes", wrong.clone()).await.error();
        assert!([400, 404].contains(&status), "{wrong}: {error}");
    }
    assert_eq!(disputes_of(&shop, &intent).await, Vec::<Value>::new());
    assert_eq!(shop.charge_of(&intent).await["disputed"], false);

    let dispute = open(&shop, &intent, json!({})).await;
    for wrong in ["needs_response", "warning_closed", "open"] {
        let (status, error) = bring(&shop, &dispute, wrong).await.error();
        let message = error["message"].as_str().unwrap();
        assert!(status == 400 && message.contains("under_review or won or lost"), "{message}");
    }
    let block = json!({"status": "won", "case_type": "block"});
    let path = format!("/disputes/{}", id(&dispute));
    assert_eq!(shop.control(Method::POST, &path, block).await.error().0, 400);
    let unpaid = shop.session().await;
    shop.pay(&unpaid, "4000000000000002").await.error();
    let unpaid = shop.get("/v1/payment_intents?limit=1").await.ok()["data"][0]["id"].clone();
    let body = json!({"payment_intent": unpaid});
    assert_eq!(shop.control(Method::POST, "/disputes", body).await.error().0, 400);
}

#[tokio::test]
async fn one_payment_can_be_disputed_several_times() {
    let shop = Shop::open().await;
    let intent = shop.purchase(CARD).await;
    let first = open(&shop, &intent, json!({"amount": 900})).await;
    let second = open(&shop, &intent, json!({"amount": 2000, "reason": "duplicate"})).await;
    assert_eq!(disputes_of(&shop, &intent).await, [second.clone(), first.clone()]);
    bring(&shop, &first, "won").await.ok();
    // One open dispute suffices to block a refund.
    let form = [("payment_intent", intent.as_str())];
    let (status, error) = shop.post("/v1/refunds", &form).await.error();
    assert_eq!((status, &error["code"]), (400, &json!("charge_disputed")));
    bring(&shop, &second, "won").await.ok();
    assert_eq!(shop.post("/v1/refunds", &form).await.ok()["amount"], 2900);
}

#[tokio::test]
async fn a_pending_refund_fails_when_a_dispute_takes_the_money() {
    let shop = Shop::open().await;
    let intent = shop.purchase_by(json!({"payment_method": "sepa_debit"})).await;
    let form = [("payment_intent", intent.as_str()), ("amount", "100")];
    let refund = shop.post("/v1/refunds", &form).await.ok();
    let inquiry = open(&shop, &intent, json!({"status": "warning_needs_response"})).await;
    assert!(inquiry.get("payment_method_details").is_none(), "a bank debit has none");
    let path = format!("/v1/refunds/{}", id(&refund));
    assert_eq!(shop.get(&path).await.ok()["status"], "pending");
    bring(&shop, &inquiry, "needs_response").await.ok();
    let failed = shop.get(&path).await.ok();
    assert_eq!(
        (&failed["status"], &failed["failure_reason"]),
        (&json!("failed"), &json!("charge_for_pending_refund_disputed"))
    );
    assert_eq!(shop.charge_of(&intent).await["amount_refunded"], 0);
    assert_eq!(shop.event_types().await.last().unwrap(), "refund.failed");
}

#[tokio::test]
async fn test_cards_are_disputed_before_the_purchase_event() {
    let shop = Shop::open().await;
    let taken = &["created", "funds_withdrawn"];
    let cases: [(&str, Value, &[&str]); 4] = [
        (FRAUD, json!([["needs_response", "fraudulent", 2900]]), taken),
        (NOT_RECEIVED, json!([["needs_response", "product_not_received", 2900]]), taken),
        (INQUIRY, json!([["warning_needs_response", "fraudulent", 2900]]), &["created"]),
        (
            TWICE,
            json!([
                ["needs_response", "product_not_received", 1450],
                ["needs_response", "fraudulent", 1450],
            ]),
            &[taken[0], taken[1], taken[0], taken[1]],
        ),
    ];
    for (card, expected, told) in cases {
        let session = shop.session().await;
        let before = shop.newest_event().await;
        let paid = shop.pay(&session, card).await.ok();
        assert_eq!(paid["payment_status"], "paid", "{card}");
        let events = shop.events_since(&before).await;
        let told = told.iter().map(|it| format!("charge.dispute.{it}"));
        let mut all = vec!["payment_intent.created".to_owned(), "charge.succeeded".to_owned()];
        all.extend(told);
        all.extend(["payment_intent.succeeded", "checkout.session.completed"].map(str::to_owned));
        assert_eq!(types(&events), all, "{card}");
        assert_eq!(events[2]["request"]["id"], json!(null), "it was the bank");
        assert!(events.last().unwrap()["request"]["id"].is_string(), "it was the buyer");

        let intent = paid["payment_intent"].as_str().unwrap();
        let disputes = disputes_of(&shop, intent).await;
        let found: Value =
            disputes.iter().map(|it| json!([it["status"], it["reason"], it["amount"]])).collect();
        assert_eq!(found, expected, "{card}");
    }
}

async fn submit(shop: &Shop, dispute: &Value, word: &str) -> Value {
    let form = [("evidence[uncategorized_text]", word)];
    shop.post(&format!("/v1/disputes/{}", id(dispute)), &form).await.ok()
}

#[tokio::test]
async fn test_evidence_text_decides_the_dispute_later() {
    let shop = Shop::open().await;
    for (card, word, reviewed, verdict, told) in [
        (FRAUD, "winning_evidence", "under_review", "won", &["funds_reinstated", "closed"][..]),
        (FRAUD, "losing_evidence", "under_review", "lost", &["closed"]),
        (FRAUD, "escalate_inquiry_evidence", "under_review", "under_review", &[]),
        (FRAUD, "It was delivered.", "under_review", "under_review", &[]),
        (INQUIRY, "winning_evidence", "warning_under_review", "warning_closed", &["closed"]),
        (INQUIRY, "losing_evidence", "warning_under_review", "warning_closed", &["closed"]),
        (
            INQUIRY,
            "escalate_inquiry_evidence",
            "warning_under_review",
            "needs_response",
            &["updated", "funds_withdrawn"],
        ),
    ] {
        let intent = shop.purchase(card).await;
        let dispute = disputes_of(&shop, &intent).await[0].clone();
        let before = shop.newest_event().await;
        let submitted = submit(&shop, &dispute, word).await;
        assert_eq!(submitted["status"], reviewed, "{word}");
        assert_eq!(submitted["evidence_details"]["submission_count"], 1);
        let events = shop.events_since(&before).await;
        assert_eq!(types(&events), ["charge.dispute.updated"]);
        assert_eq!(events[0]["data"]["previous_attributes"]["status"], dispute["status"]);
        let before = shop.newest_event().await;
        shop.wait_seconds(10).await;
        assert_eq!(disputes_of(&shop, &intent).await[0]["status"], verdict, "{card} {word}");
        let told: Vec<String> = told.iter().map(|it| format!("charge.dispute.{it}")).collect();
        assert_eq!(types(&shop.events_since(&before).await), told, "{card} {word}");
    }
}

#[tokio::test]
async fn evidence_is_staged_and_submitted_once() {
    let shop = Shop::open().await;
    let intent = shop.purchase(FRAUD).await;
    let dispute = disputes_of(&shop, &intent).await[0].clone();
    let path = format!("/v1/disputes/{}", id(&dispute));
    let details = &dispute["evidence_details"];
    assert_eq!(
        (&details["has_evidence"], &details["submission_count"]),
        (&json!(false), &json!(0))
    );
    assert!(details["due_by"].as_i64() > dispute["created"].as_i64());

    // Metadata alone submits nothing.
    let noted = shop.post(&path, &[("metadata[ticket]", "7")]).await.ok();
    assert_eq!(
        (&noted["status"], &noted["metadata"]["ticket"]),
        (&json!("needs_response"), &json!("7"))
    );
    let form = [("evidence[customer_name]", "Ada"), ("submit", "false")];
    let staged = shop.post(&path, &form).await.ok();
    assert_eq!(
        (&staged["status"], &staged["evidence"]["customer_name"]),
        (&json!("needs_response"), &json!("Ada"))
    );
    assert_eq!(staged["evidence_details"]["has_evidence"], true);
    let form = [("evidence[product_description]", "A course"), ("submit", "true")];
    let submitted = shop.post(&path, &form).await.ok();
    assert_eq!(submitted["status"], "under_review");
    assert_eq!(submitted["evidence"]["customer_name"], "Ada");
    assert_eq!(submit_again(&shop, &path).await, 400);
    shop.post(&path, &[("metadata[ticket]", "8")]).await.ok();
    let unknown = [("evidence[alibi]", "x")];
    assert_eq!(shop.post(&path, &unknown).await.error().1["param"], "evidence[alibi]");

    bring(&shop, &dispute, "won").await.ok();
    assert_eq!(submit_again(&shop, &path).await, 400);
    assert_eq!(shop.post(&path, &[("metadata[ticket]", "9")]).await.error().0, 400);
    assert_eq!(shop.post("/v1/disputes/du_none", &[]).await.error().0, 404);
}

async fn submit_again(shop: &Shop, path: &str) -> u16 {
    shop.post(path, &[("evidence[uncategorized_text]", "winning_evidence")]).await.error().0
}

#[tokio::test]
async fn a_dispute_can_be_closed_once() {
    let shop = Shop::open().await;
    let intent = shop.purchase(FRAUD).await;
    let dispute = disputes_of(&shop, &intent).await[0].clone();
    let before = shop.newest_event().await;
    let path = format!("/v1/disputes/{}/close", id(&dispute));
    assert_eq!(shop.post(&path, &[]).await.ok()["status"], "lost");
    assert_eq!(types(&shop.events_since(&before).await), ["charge.dispute.closed"]);
    assert_eq!(shop.post(&path, &[]).await.error().0, 400);
    let intent = shop.purchase(INQUIRY).await;
    let inquiry = disputes_of(&shop, &intent).await[0].clone();
    let path = format!("/v1/disputes/{}/close", id(&inquiry));
    assert_eq!(shop.post(&path, &[]).await.error().0, 400);
}

#[tokio::test]
async fn disputes_are_listed_by_payment_and_sent_to_endpoints() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let form = [
        ("url", endpoint.url.as_str()),
        ("enabled_events[0]", "charge.dispute.created"),
        ("enabled_events[1]", "charge.dispute.closed"),
    ];
    shop.post("/v1/webhook_endpoints", &form).await.ok();
    let (one, other) = (shop.purchase(CARD).await, shop.purchase(CARD).await);
    let first = open(&shop, &one, json!({})).await;
    endpoint.wait_for(1).await;
    let second = open(&shop, &other, json!({})).await;
    let list =
        async |query: &str| shop.get(&format!("/v1/disputes{query}")).await.ok()["data"].clone();
    assert_eq!(list("").await, json!([second, first]));
    let charge = first["charge"].as_str().unwrap();
    assert_eq!(list(&format!("?charge={charge}")).await, json!([first]));
    let expanded = list("?limit=1&expand[]=data.charge&expand[]=data.payment_intent").await;
    assert_eq!(expanded[0]["charge"]["disputed"], true);
    assert_eq!(expanded[0]["payment_intent"]["id"], json!(other));
    let path = format!("/v1/disputes/{}", id(&first));
    assert_eq!(shop.get(&path).await.ok(), first);

    bring(&shop, &first, "won").await.ok();
    let arrivals = endpoint.wait_for(3).await;
    assert_eq!(arrivals[0].event()["data"]["object"], first);
    let mut arrived = endpoint.types();
    arrived.sort();
    assert_eq!(
        arrived,
        ["charge.dispute.closed", "charge.dispute.created", "charge.dispute.created"]
    );
}
