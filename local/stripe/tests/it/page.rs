//! The hosted page in a browser without scripts.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::shop::{Answer, Shop};

const CARD: [(&str, &str); 5] = [
    ("email", "ada@example.com"),
    ("method", "card"),
    ("card_number", "4242 4242 4242 4242"),
    ("card_expiry", "12 / 34"),
    ("card_cvc", "123"),
];

async fn show(shop: &Shop, session: &str) -> Answer {
    Shop::send(shop.request(Method::GET, &format!("/c/pay/{session}"))).await
}

/// Submits the form with some fields changed.
async fn submit(shop: &Shop, session: &str, changed: &[(&str, &str)]) -> Answer {
    let kept = CARD.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    let form: Vec<(&str, &str)> = kept.chain(changed).copied().collect();
    Shop::send(shop.posting(&format!("/c/pay/{session}"), &form)).await
}

fn html(answer: &Answer) -> &str {
    answer.body.as_str().unwrap()
}

#[tokio::test]
async fn the_page_shows_the_product_and_the_price() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    let page = show(&shop, &session).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for part in [
        "TutorClaw, all chapters",
        "Pay $29.00",
        "no money moves",
        "https://shop.example/courses",
        "4242 4242",
    ] {
        assert!(html(&page).contains(part), "{part}");
    }
    assert_eq!(html(&page).matches("<dt>").count(), 16, "test cards");
    for (group, first) in [
        ("Pay</h3>", "4242 4242 4242 4242"),
        ("Are declined</h3>", "4000 0000 0000 0002"),
        ("Require 3D Secure</h3>", "4000 0027 6000 3184"),
        ("Pay, then dispute or warning</h3>", "4000 0000 0000 0259"),
        ("Pay, then refund slowly</h3>", "4000 0000 0000 7726"),
    ] {
        let (_, cards) = html(&page).split_once(group).unwrap();
        assert!(cards.starts_with(&format!("<dl><div><dt>{first}</dt>")), "{group}");
    }
    let style = Shop::send(shop.request(Method::GET, "/c/style.css")).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}

#[tokio::test]
async fn paying_returns_to_the_shop() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    let paid = submit(&shop, &session, &[("name", "Ada")]).await;
    assert_eq!(paid.status, StatusCode::SEE_OTHER);
    assert_eq!(
        paid.header("location"),
        Some(format!("https://shop.example/thanks?session={session}").as_str())
    );
    let session_now = shop.get(&format!("/v1/checkout/sessions/{session}")).await.ok();
    assert_eq!(session_now["payment_status"], "paid");
    assert_eq!(session_now["customer_details"]["email"], "ada@example.com");
    assert_eq!(session_now["customer_details"]["name"], "Ada");
    // A second look says that it is over.
    let page = show(&shop, &session).await;
    assert!(html(&page).contains("complete") && !html(&page).contains("<form"));
    assert!(html(&submit(&shop, &session, &[]).await).contains("complete"));
}

#[tokio::test]
async fn a_form_error_is_named_and_the_input_is_kept() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    for (changed, message) in [
        (("card_number", "4000 0000 0000 0002"), "Your card was declined."),
        (("card_number", "1234"), "Your card number is incorrect."),
        (("card_number", ""), "Your card number is incorrect."),
        (("card_expiry", "12 / 20"), "in the past"),
        (("card_expiry", "13 / 34"), "month and year"),
        (("card_expiry", "é"), "month and year"),
        (("card_cvc", "12"), "three digits"),
    ] {
        let page = submit(&shop, &session, &[changed]).await;
        assert_eq!(page.status, StatusCode::PAYMENT_REQUIRED, "{changed:?}");
        let html = html(&page);
        assert!(html.contains(message) && html.contains(r#"role="alert""#), "{changed:?}: {html}");
        assert!(html.contains(r#"value="ada@example.com""#));
        assert!(!html.contains(r#"value="4000"#));
    }
    let page = submit(&shop, &session, &[("email", "")]).await;
    assert!(html(&page).contains("Enter your email address."));
}

/// Answers the 3D Secure challenge.
async fn answer(shop: &Shop, session: &str, outcome: &str) -> Answer {
    let path = format!("/c/pay/{session}/authenticate");
    Shop::send(shop.posting(&path, &[("outcome", outcome)])).await
}

#[tokio::test]
async fn a_3d_secure_challenge_has_its_own_page() {
    for card in ["4000 0027 6000 3184", "4000 0025 0000 3155"] {
        let shop = Shop::open().await;
        let session = shop.session().await;
        let path = format!("/c/pay/{session}/authenticate");
        let unasked = answer(&shop, &session, "completed").await;
        assert_eq!(unasked.status, StatusCode::PAYMENT_REQUIRED, "{card}");

        let asked = submit(&shop, &session, &[("card_number", card), ("name", "Ada")]).await;
        assert_eq!(asked.header("location"), Some(path.as_str()), "{card}");
        let page = Shop::send(shop.request(Method::GET, &path)).await;
        assert!(
            html(&page).contains("did you make this payment?") && html(&page).contains("$29.00")
        );
        let intents = shop.get("/v1/payment_intents").await.ok();
        assert_eq!(intents["data"][0]["status"], "requires_action");
        assert_eq!(intents["data"][0]["amount_received"], 0);

        let failed = answer(&shop, &session, "failed").await;
        assert_eq!(failed.status, StatusCode::PAYMENT_REQUIRED);
        assert!(html(&failed).contains("unable to authenticate"), "{}", html(&failed));
        let error = &shop.get("/v1/payment_intents").await.ok()["data"][0]["last_payment_error"];
        assert_eq!(error["code"], "payment_intent_authentication_failure");
        let back = Shop::send(shop.request(Method::GET, &path)).await;
        assert_eq!(back.header("location"), Some(format!("/c/pay/{session}").as_str()));

        submit(&shop, &session, &[("card_number", card), ("name", "Ada")]).await;
        let paid = answer(&shop, &session, "completed").await;
        let thanks = format!("https://shop.example/thanks?session={session}");
        assert_eq!(paid.header("location"), Some(thanks.as_str()), "{card}");
        let session_now = shop.get(&format!("/v1/checkout/sessions/{session}")).await.ok();
        assert_eq!(session_now["payment_status"], "paid");
        assert_eq!(session_now["customer_details"]["name"], "Ada");
        let intents = shop.get("/v1/payment_intents").await.ok();
        assert_eq!(intents["data"].as_array().unwrap().len(), 1, "one payment, tried twice");
        assert_eq!(intents["data"][0]["status"], "succeeded");
        assert_eq!(intents["data"][0]["next_action"], json!(null));
    }
}

#[tokio::test]
async fn only_the_page_can_pay_a_card_that_needs_authentication() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    submit(&shop, &session, &[("card_number", "4000 0027 6000 3184")]).await;
    assert_eq!(submit(&shop, &session, &[]).await.status, StatusCode::SEE_OTHER);
    let intents = shop.get("/v1/payment_intents").await.ok();
    assert_eq!(intents["data"][0]["status"], "succeeded");
    assert_eq!(intents["data"][0]["next_action"], json!(null));

    let session = shop.session().await;
    let refused = shop.pay(&session, "4000002760003184").await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(refused.body["error"]["code"], "authentication_required");
}

#[tokio::test]
async fn a_bank_debit_is_settled_from_the_page() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    let debit = [("method", "sepa_debit"), ("iban", "DE89 3704 0044 0532 0130 00")];
    assert!(
        html(&submit(&shop, &session, &[("method", "sepa_debit"), ("iban", "x")]).await)
            .contains("IBAN")
    );
    assert_eq!(submit(&shop, &session, &debit).await.status, StatusCode::SEE_OTHER);
    assert!(html(&show(&shop, &session).await).contains("Let it succeed"));
    let settle = shop.posting(&format!("/c/pay/{session}/settle"), &[("outcome", "succeeded")]);
    assert_eq!(Shop::send(settle).await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        shop.get(&format!("/v1/checkout/sessions/{session}")).await.ok()["payment_status"],
        "paid"
    );
    assert!(html(&show(&shop, &session).await).contains("This order is complete"));

    let session = shop.session().await;
    submit(&shop, &session, &debit).await;
    let settle = shop.posting(&format!("/c/pay/{session}/settle"), &[("outcome", "failed")]);
    assert_eq!(Shop::send(settle).await.status, StatusCode::SEE_OTHER);
    let page = show(&shop, &session).await;
    assert!(html(&page).contains("The bank debit failed"));
    assert!(html(&page).contains("https://shop.example/courses"), "back to where it was offered");
}

#[tokio::test]
async fn an_expired_or_unknown_session_has_a_page_that_says_so() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    shop.post(&format!("/v1/checkout/sessions/{session}/expire"), &[]).await.ok();
    let page = show(&shop, &session).await;
    assert_eq!(page.status, StatusCode::GONE);
    assert!(
        html(&page).contains("expired") && html(&page).contains("https://shop.example/courses")
    );
    let page = show(&shop, "cs_test_none").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_free_order_asks_for_no_card() {
    let shop = Shop::open().await;
    let price = shop.price(0).await;
    let session = shop.session_with(&price, &[]).await.ok()["id"].as_str().unwrap().to_owned();
    let page = show(&shop, &session).await;
    assert!(html(&page).contains("Complete the order") && !html(&page).contains("card_number"));
    assert_eq!(submit(&shop, &session, &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn client_text_is_escaped_on_the_page() {
    let shop = Shop::open().await;
    let product = shop.post("/v1/products", &[("name", "<script>alert(1)</script>")]).await.ok();
    let form = [
        ("product", product["id"].as_str().unwrap()),
        ("currency", "jpy"),
        ("unit_amount", "2900"),
    ];
    let price = shop.post("/v1/prices", &form).await.ok();
    let session = shop.session_with(price["id"].as_str().unwrap(), &[]).await.ok();
    let session = session["id"].as_str().unwrap();
    let page = submit(&shop, session, &[("email", r#""><script>@"#), ("card_number", "1")]).await;
    let html = html(&page);
    assert!(html.contains("Pay ¥2,900") && html.contains("&lt;script&gt;alert"));
    assert!(!html.contains("<script"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    // The session is still open.
    assert_eq!(
        shop.get(&format!("/v1/checkout/sessions/{session}")).await.ok()["status"],
        json!("open")
    );
}
