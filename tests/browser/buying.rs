//! From the paywall to Stripe and back.

use std::time::Duration;

use serde_json::json;

use crate::chapters::pieces;
use crate::reading::shows_nothing_of;
use crate::visitor::{Visitor, visit};

pub(crate) const CHAPTER: &str = "/course/tutorclaw/6";

/// Opens a chapter's paywall, signed in.
pub(crate) async fn opens_the_paywall(learner: &Visitor) {
    learner.goes_to(&format!("/sign-in?to={CHAPTER}")).await;
    learner.follows_the_link("ada@example.com").await;
    learner.is_at(CHAPTER).await;
    learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
}

/// Buys the course, and returns from Stripe.
pub(crate) async fn buys(learner: &Visitor, card: &str) {
    opens_the_paywall(learner).await;
    learner.presses("Buy for $").await;
    learner.pays_with(card).await;
}

pub(crate) async fn reads(learner: &Visitor) {
    learner.is_at(CHAPTER).await;
    learner.sees(&[&pieces("tutorclaw", 6)[0]]).await;
}

#[tokio::test]
async fn a_purchase_opens_by_itself() {
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.is_below("/success?session_id=cs_test_").await;
        learner
            .sees(&["Thank you. It’s yours.", "TutorClaw, all chapters", "ada@example.com"])
            .await;
        // The page continues without a press.
        reads(learner).await;
        learner.presses("Courses").await;
        learner.finds("Continue with chapter 6: TutorClaw").await;
        learner.sees(&["1 course owned"]).await;
        learner.presses("Purchases").await;
        learner.sees(&["TutorClaw, all chapters", "Yours to keep."]).await;
        learner.presses("Payment history").await;
        learner.sees(&["Paid $9.99. Access opened."]).await;
    })
    .await;
}

#[tokio::test]
async fn a_declined_card_charges_nothing_and_the_place_is_kept() {
    visit(async |learner| {
        learner.expects_in_the_console("402 (Payment Required)");
        buys(learner, "4000 0000 0000 0002").await;
        learner.sees(&["Your card was declined."]).await;
        learner.presses("← Back to the shop").await;
        learner.is_at("/cancel?price=tutorclaw_paid").await;
        learner.sees(&["You left the checkout.", "TutorClaw, all chapters, $9.99"]).await;
        learner.presses("Go back").await;
        learner.is_at(CHAPTER).await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        shows_nothing_of(learner, "tutorclaw", 6).await;

        learner.presses("Buy for $").await;
        learner.pays_with("4000 0000 0000 9995").await;
        learner.sees(&["Your card has insufficient funds."]).await;
        learner.pays_with("5555 5555 5555 4444").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Continue to TutorClaw").await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn the_return_from_stripe_never_leads_to_another_site() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        for from in ["/.//evil.example/login", "/x/..//evil.example", "/..//evil.example"] {
            learner.goes_to(&format!("/buy?price=tutorclaw_paid&from={from}")).await;
            learner.presses("← Back to the shop").await;
            learner.is_at("/cancel?price=tutorclaw_paid").await;
            learner.presses("Go back").await;
            learner.is_at("/").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_3d_secure_challenge_is_answered_and_paid() {
    visit(async |learner| {
        learner.expects_in_the_console("402 (Payment Required)");
        buys(learner, "4000 0027 6000 3184").await;
        learner.sees(&["did you make this payment?"]).await;
        learner.presses("Fail").await;
        learner.sees(&["We are unable to authenticate your payment method."]).await;
        learner.pays_with("4000 0027 6000 3184").await;
        learner.presses("Complete").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Continue to TutorClaw").await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_purchase_is_made_with_the_keyboard_alone() {
    const ENTER: &str = "\u{e007}";
    visit(async |learner| {
        learner.goes_to("/").await;
        learner.tabs_to("Sign in").await;
        learner.types(ENTER).await;
        learner.tabs_to("I have an account").await;
        learner.types(ENTER).await;
        learner.tabs_to("Email address").await;
        learner.types(&format!("ada@example.com{ENTER}")).await;
        learner.sees(&["Your sign-in link"]).await;
        learner.tabs_to("Sign in").await;
        learner.types(ENTER).await;
        learner.sees(&["Your courses", "ada@example.com"]).await;
        learner.tabs_to("Buy for $9.99: TutorClaw, all chapters").await;
        learner.types(ENTER).await;
        for (field, text) in [
            ("Email", "ada@example.com"),
            ("Card number", "4242424242424242"),
            ("Expiry", "12 / 34"),
            ("CVC", "123"),
        ] {
            learner.tabs_to(field).await;
            learner.types(text).await;
        }
        learner.types(ENTER).await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.tabs_to("Continue to TutorClaw").await;
        learner.types(ENTER).await;
        learner.is_at("/course/tutorclaw").await;
        learner.sees(&["You have access to every chapter."]).await;
    })
    .await;
}

#[tokio::test]
async fn a_double_press_opens_one_checkout() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        let pressed = "(() => {
            const unlock = control('Buy for');
            unlock.click();
            unlock.click();
            return nameOf(unlock);
        })()";
        let name = learner.asks(pressed, json!([])).await.unwrap();
        assert_eq!(name, "Opening checkout…");
        learner.finds("Pay $9.99").await;
        let session = learner.shop.session_id().await;
        let customers = learner.shop.stripe("/v1/customers").await;
        assert_eq!(customers["data"].as_array().unwrap().len(), 1, "{customers}");

        // Returning without having paid leads to the same checkout.
        learner.browser.session.go_back().await.unwrap();
        learner.is_at(CHAPTER).await;
        learner.presses("Buy for $9.99: TutorClaw, all chapters").await;
        learner.finds("Pay $9.99").await;
        learner.goes_to(&format!("/success?session_id={session}")).await;
        learner.sees(&["You haven’t paid yet.", "The checkout is still open."]).await;
        learner.presses("Return to checkout").await;
        learner.finds("Pay $9.99").await;
        learner.shop.session().await;
    })
    .await;
}

/// Opens a checkout through the API, as another tab would.
async fn opens_another_checkout(learner: &Visitor) -> String {
    let open = "(async () => {
        const answer = await fetch('/api/checkout', {
            method: 'POST',
            headers: { authorization: `Bearer ${await accessToken()}`, 'content-type': 'application/json' },
            body: JSON.stringify({ price: 'tutorclaw_paid' }),
        });
        return (await answer.json()).session_id;
    })()";
    let opened = learner.asks(open, json!([])).await.unwrap();
    opened.as_str().expect("a session").to_owned()
}

#[tokio::test]
async fn a_purchase_in_another_tab_is_not_sold_again() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        let pay = format!("checkout/sessions/{}/pay", opens_another_checkout(learner).await);
        learner.shop.simulator(&pay, json!({ "card": "4242424242424242" })).await;
        learner.expects_in_the_console("409 (Conflict)");
        learner.presses("Buy for $").await;
        // The page recognizes it.
        reads(learner).await;
        learner.shop.session().await;
        learner.goes_to("/buy?price=tutorclaw_paid").await;
        learner
            .sees(&["You already own this", "You have access already, so there is nothing to pay."])
            .await;
        learner.presses("Go to the course").await;
        learner.is_at("/course/tutorclaw").await;
    })
    .await;
}

#[tokio::test]
async fn after_paying_in_another_tab_nobody_is_told_to_pay() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        learner.presses("Buy for $").await;
        learner.finds("Pay $9.99").await;
        let pay = format!("checkout/sessions/{}/pay", learner.shop.session_id().await);
        learner.shop.simulator(&pay, json!({ "card": "4242424242424242" })).await;
        // Stripe's page, still open, knows nothing of it.
        learner.presses("← Back to the shop").await;
        learner
            .sees(&["You already own this.", "You have access to TutorClaw, all chapters."])
            .await;
        learner.presses("Go back").await;
        reads(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_retired_price_leads_to_current_prices() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/buy?price=gone").await;
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["Checkout can’t be opened", "no longer on sale"]).await;
        learner.presses("See all courses").await;
        learner.is_at("/").await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
    })
    .await;
}

#[tokio::test]
async fn an_unavailable_payment_service_is_reported_and_retried() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        let fault = json!({ "method": "POST", "path": "/v1/checkout/sessions", "status": 503, "times": 50 });
        learner.shop.simulator("faults", fault).await;
        learner.expects_in_the_console("503 (Service Unavailable)");
        learner.presses("Buy for $").await;
        learner.sees(&["The payment service is unavailable right now."]).await;
        // Not before the time that the API has named.
        learner.sees(&["Try again in "]).await;
        learner.shop.clear_stripe_faults().await;
        learner.finds_true("control('Try again')?.disabled === false").await;
        learner.presses("Try again").await;
        learner.finds("Pay $9.99").await;
    })
    .await;
}

#[tokio::test]
async fn a_rate_limited_learner_is_told_when_to_retry() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        // The limit for ten minutes.
        for _ in 0..20 {
            opens_another_checkout(learner).await;
        }
        learner.expects_in_the_console("429 (Too Many Requests)");
        learner.presses("Buy for $").await;
        learner.sees(&["Too many attempts in a short time.", "Try again in "]).await;
        learner.finds_true("control('Try again in').disabled").await;
    })
    .await;
}

#[tokio::test]
async fn a_checkout_that_failed_offline_opens_on_the_next_press() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        learner.expects_in_the_console("ERR_INTERNET_DISCONNECTED");
        learner.is_offline(true).await;
        learner.presses("Buy for $").await;
        learner.sees(&["You are offline."]).await;
        learner.is_offline(false).await;
        learner.presses("Try again").await;
        learner.finds("Pay $9.99").await;
        learner.shop.session().await;
    })
    .await;
}

#[tokio::test]
async fn leaving_the_page_cancels_the_redirect_to_stripe() {
    visit(async |learner| {
        opens_the_paywall(learner).await;
        let slow = json!({ "method": "POST", "path": "/v1/checkout/sessions", "delay_ms": 1500 });
        learner.shop.simulator("faults", slow).await;
        learner.presses("Buy for $").await;
        learner.presses("Purchases").await;
        learner.sees(&["You haven’t bought anything yet."]).await;
        let is_opened = async || {
            let sessions = learner.shop.stripe("/v1/checkout/sessions").await;
            sessions["data"].as_array().filter(|all| all.len() == 1).map(drop)
        };
        learner.until("for the checkout to be open", is_opened).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        learner.is_at("/purchases").await;
    })
    .await;
}

#[tokio::test]
async fn going_back_from_stripe_keeps_the_sign_in() {
    visit(async |learner| {
        learner.goes_to(CHAPTER).await;
        learner.presses("Buy for $").await;
        learner.follows_the_link("ada@example.com").await;
        learner.finds("Pay $9.99").await;
        // The email page lies in between, and the form before it.
        learner.browser.session.go_back().await.unwrap();
        learner.browser.session.go_back().await.unwrap();
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["Your courses", "ada@example.com"]).await;
    })
    .await;
}
