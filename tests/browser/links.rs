//! From a link in a chat to Stripe and back.

use serde_json::json;
use tests::claims::denial_of_a_charge;

use crate::browser::PHONE;
use crate::looks::assert_accessible;
use crate::visitor::{visit, visit_on};

#[tokio::test]
async fn a_chat_link_is_paid_without_signing_in() {
    visit_on(PHONE, async |reader| {
        let link = reader.shop.upgrade_link("x-chat-7", "tutorclaw_paid").await;
        // As a chat client links it, including the full stop after it.
        reader.opens(&format!("{link}.")).await;
        reader.sees(&["TutorClaw, all chapters", "9.99 USD", "What you get"]).await;
        assert_accessible(reader).await;
        let sessions = reader.shop.stripe("/v1/checkout/sessions").await;
        assert_eq!(sessions["data"], json!([]), "looking at a link opens nothing");

        reader.presses("Continue to payment").await;
        // Nobody is asked to pay for their own account instead.
        reader.presses("← Back to the shop").await;
        reader.is_at("/cancel?price=tutorclaw_paid&from=chat").await;
        reader.sees(&["You left the checkout.", "open the link in your chat again"]).await;
        reader.opens(&format!("{link}/")).await;
        reader.presses("Continue to payment").await;
        reader.pays_with("4242 4242 4242 4242").await;
        reader.is_below("/success?session_id=").await;
        reader.sees(&["Thank you. Back to your chat."]).await;
        // Using the link later doesn't sell it again.
        reader.opens(&link).await;
        reader.presses("Continue to payment").await;
        reader.is_at("/success?from=chat&status=paid").await;
        reader.sees(&["Paid. Back to your chat.", "You have access there now."]).await;
    })
    .await;
}

#[tokio::test]
async fn a_link_is_used_with_the_keyboard_alone() {
    visit(async |reader| {
        let link = reader.shop.upgrade_link("x-chat-7", "tutorclaw_paid").await;
        reader.opens(&link).await;
        reader.tabs_to("Continue to payment").await;
        reader.types("\u{e007}").await;
        reader.finds("Pay $9.99").await;
    })
    .await;
}

#[tokio::test]
async fn an_unusable_link_says_so_and_can_be_retried() {
    visit(async |reader| {
        let link = reader.shop.upgrade_link("x-chat-7", "tutorclaw_paid").await;
        reader.expects_in_the_console("404 (Not Found)");
        for unknown in [&link[..link.len() - 1], &reader.shop.site("/api/go/none/x")] {
            reader.opens(unknown).await;
            reader.sees(&["This link doesn't work", "Ask for a new one where you got it."]).await;
            assert_accessible(reader).await;
        }

        let fault = json!({ "path": "/v1/checkout/sessions", "status": 503, "times": 50 });
        reader.shop.simulator("faults", fault).await;
        reader.opens(&link).await;
        reader.expects_in_the_console("503 (Service Unavailable)");
        reader.presses("Continue to payment").await;
        reader.sees(&["The payment service is temporarily unavailable"]).await;
        let shown = reader.text().await.unwrap();
        assert_eq!(denial_of_a_charge(&shown), None, "{shown}");
        assert_accessible(reader).await;
        reader.shop.clear_stripe_faults().await;
        reader.presses("Try again").await;
        reader.finds("Pay $9.99").await;
    })
    .await;
}
