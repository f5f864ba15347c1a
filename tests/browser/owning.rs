//! After the purchase: pending, refunded, disputed and ended.

use serde_json::json;
use tests::claims::denial_of_a_charge;

use crate::buying::{CHAPTER, buys, opens_the_paywall, reads};
use crate::reading::shows_nothing_of;
use crate::visitor::{Visitor, visit};

/// Pays by a bank debit, which takes days.
async fn pays_by_bank_debit(learner: &Visitor) {
    opens_the_paywall(learner).await;
    learner.presses("Buy for $").await;
    learner.fills_in("Email", "buyer@example.com").await;
    learner.presses("Bank debit").await;
    learner.presses("Pay $").await;
    learner.sees(&["Your payment is processing."]).await;
}

/// Settles the bank debit.
async fn bank_settles(learner: &Visitor, outcome: &str) {
    let settle = format!("checkout/sessions/{}/settle", learner.shop.session_id().await);
    learner.shop.simulator(&settle, json!({ "outcome": outcome })).await;
}

#[tokio::test]
async fn a_pending_bank_debit_opens_the_course_when_paid() {
    visit(async |learner| {
        pays_by_bank_debit(learner).await;
        learner.presses("See your purchases").await;
        learner.sees(&["Processing", "A bank debit can take a few days."]).await;
        learner.goes_to(CHAPTER).await;
        learner.sees(&["Your bank hasn’t confirmed it yet."]).await;
        shows_nothing_of(learner, "tutorclaw", 6).await;

        bank_settles(learner, "succeeded").await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_bank_debit_is_reported_on_the_waiting_page() {
    visit(async |learner| {
        pays_by_bank_debit(learner).await;
        bank_settles(learner, "failed").await;
        learner.sees(&["Your payment failed."]).await;
        learner.finds("Try again: TutorClaw, all chapters").await;
        learner.presses("Go back").await;
        learner.is_at(CHAPTER).await;
        learner.sees(&["Your last payment failed."]).await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
        learner.goes_to("/purchases").await;
        learner.presses("Payment history").await;
        let history = ["Payment of $9.99 processing.", "Payment of $9.99 failed."];
        learner.sees(&history).await;
        // Both have a date.
        let dated = "document.querySelectorAll('.facts-list time[datetime]').length === 2";
        learner.finds_true(dated).await;
    })
    .await;
}

#[tokio::test]
async fn a_payment_that_cannot_be_confirmed_yet_is_called_safe() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        learner.presses("Buy for $").await;
        learner.finds("Pay $9.99").await;
        // Stripe takes the payment, and then neither responds nor sends events.
        learner.shop.simulator("deliveries/hold", json!({})).await;
        let session = learner.shop.session_id().await;
        let pay = format!("checkout/sessions/{session}/pay");
        learner.shop.simulator(&pay, json!({ "card": "4242424242424242" })).await;
        let fault = json!({ "method": "GET", "path": "/v1/checkout/sessions/", "status": 503, "times": 50 });
        learner.shop.simulator("faults", fault).await;
        learner.expects_in_the_console("503 (Service Unavailable)");
        learner.goes_to(&format!("/success?session_id={session}")).await;
        learner.sees(&["If you’ve paid, your payment is safe", "The payment service is unavailable"]).await;
        for path in [
            format!("/success?session_id={session}"),
            "/success?from=chat".to_owned(),
            "/cancel?price=tutorclaw_paid".to_owned(),
            "/cancel?price=tutorclaw_paid&from=chat".to_owned(),
            "/buy?price=tutorclaw_paid".to_owned(),
            CHAPTER.to_owned(),
            "/purchases".to_owned(),
        ] {
            learner.goes_to(&path).await;
            learner.finds_true("document.querySelector('.waiting, .busy') === null").await;
            if path == CHAPTER {
                learner.presses("Buy for $").await;
                learner.sees(&["The payment service is unavailable"]).await;
            }
            let shown = learner.text().await.unwrap();
            assert_eq!(denial_of_a_charge(&shown), None, "{path}: {shown}");
        }
        learner.goes_to(&format!("/success?session_id={session}")).await;
        learner.sees(&["If you’ve paid, your payment is safe"]).await;
        learner.shop.clear_stripe_faults().await;
        learner.finds_true("control('Try again')?.disabled === false").await;
        learner.presses("Try again").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_refund_ends_access_and_says_so() {
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Continue to TutorClaw").await;
        reads(learner).await;
        let session = learner.shop.session().await;
        learner.shop.refund(session["payment_intent"].as_str().unwrap(), None).await;
        learner.reloads_until_they_see("/purchases", "Refunded").await;
        learner.sees(&["Your payment was refunded, so your access has ended."]).await;
        learner.presses("Payment history").await;
        learner.sees(&["$9.99 refunded. Access ended."]).await;
        learner.goes_to(CHAPTER).await;
        learner.sees(&["Your purchase was refunded.", "$9.99"]).await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_disputed_payment_puts_the_course_on_hold_and_says_so() {
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        let payment = learner.shop.session().await["payment_intent"].clone();
        let dispute = json!({ "payment_intent": payment });
        learner.shop.simulator("disputes", dispute).await;
        learner.reloads_until_they_see("/purchases", "On hold").await;
        learner.sees(&["Your payment is disputed"]).await;
        learner.goes_to(CHAPTER).await;
        learner.sees(&["On hold: your payment is disputed."]).await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_dispute_says_that_the_bank_returned_the_money() {
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        let payment = learner.shop.session().await["payment_intent"].clone();
        let opened = json!({ "payment_intent": payment });
        let dispute = learner.shop.simulator("disputes", opened).await;
        let decide = format!("disputes/{}", dispute["id"].as_str().unwrap());
        learner.shop.simulator(&decide, json!({ "status": "lost" })).await;
        learner.reloads_until_they_see("/purchases", "Payment returned by your bank").await;
        let ended = "Your bank returned the money, so access has ended.";
        learner.sees(&[ended, "You can buy it again."]).await;
        learner.presses("Payment history").await;
        learner.sees(&["The bank decided the dispute and returned the money. Access ended."]).await;
        for page in ["/course/tutorclaw", CHAPTER] {
            learner.goes_to(page).await;
            learner.sees(&[ended, "$9.99"]).await;
        }
        shows_nothing_of(learner, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_is_explained_and_a_partial_refund_harmless() {
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        let payment = learner.shop.session().await["payment_intent"].clone();
        let payment = payment.as_str().unwrap();
        learner.shop.refund(payment, Some(300)).await;
        learner.reloads_until_they_see("/purchases", "Open, partly refunded").await;
        learner.sees(&["30% of the price refunded. You keep access."]).await;
        learner.presses("Payment history").await;
        learner.sees(&["Paid $9.99. Access opened.", "$3.00 of $9.99 refunded."]).await;
        learner.shop.operator(&["revoke", payment, "--reason", "fraud"]);
        learner.reloads_until_they_see("/purchases", "Ended by the author").await;
        learner.sees(&["The author ended your access."]).await;
        learner.presses("Payment history").await;
        learner.sees(&["The author ended the access."]).await;
        learner.sees_no_more("fraud").await;
        learner.goes_to(CHAPTER).await;
        learner.sees(&["The author ended your access."]).await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_duplicate_payment_is_reported_with_what_to_do() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        learner.presses("Buy for $").await;
        learner.finds("Pay $9.99").await;
        // Another session for the same product was opened by hand, and is paid first.
        let mut other = learner.shop.session().await;
        for (field, value) in [
            ("id", "cs_test_other"),
            ("payment_intent", "pi_other"),
            ("status", "complete"),
            ("payment_status", "paid"),
        ] {
            other[field] = value.into();
        }
        let paid = json!({ "type": "checkout.session.completed", "object": other });
        learner.shop.simulator("events", paid).await;
        learner.pays_with("5555 5555 5555 4444").await;
        learner.sees(&["Thank you. It’s yours.", "You paid for this twice."]).await;
        // That page waits for the learner.
        learner.presses("See your purchases").await;
        learner.sees(&["You paid for this twice.", "You keep access"]).await;
        learner.goes_to(CHAPTER).await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_limited_grant_is_readable_until_it_ends() {
    const SOON: &str = "new Date(Date.now() + 20_000).toISOString().replace(/[.].*/, 'Z')";
    visit(async |learner| {
        opens_the_paywall(learner).await;
        let id = learner.id().await;
        let soon = learner.asks(SOON, json!([])).await.unwrap();
        let until = ["--until", soon.as_str().unwrap()];
        learner
            .shop
            .operator(&[&["grant", &id, "tutorclaw", "--reason", "a trial"], &until[..]].concat());
        learner.goes_to(CHAPTER).await;
        reads(learner).await;
        // Returning to the window refreshes the page.
        let comes_back = async || {
            learner.asks("dispatchEvent(new Event('focus'))", json!([])).await;
            learner.text().await.filter(|seen| seen.contains("Your access has ended."))
        };
        learner.until("for the access to end", comes_back).await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
        learner.presses("Purchases").await;
        learner.sees(&["Ended", "Your access ended on"]).await;
    })
    .await;
}
