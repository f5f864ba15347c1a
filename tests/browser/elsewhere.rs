//! The elements on a page of another origin.

use serde_json::json;

use crate::chapters::pieces;
use crate::reading::shows_nothing_of;
use crate::visitor::{Visitor, visit};

/// An address with every part that an address can have.
pub(crate) const PAGE: &str = "/demo/embed.html?utm_content=spring%20sale:a,b+c&p=//x#section";
const TEASER: &str = "“Wrong” is not feedback.";

/// Opens another site's page for the first time.
pub(crate) async fn opens_the_other_site(reader: &Visitor) {
    reader.opens(&reader.shop.other_site(PAGE)).await;
    reader.sees(&[TEASER, "TutorClaw, all chapters", "$9.99"]).await;
}

/// Waits for this address of the other site, without anything of the sign-in in it.
pub(crate) async fn is_at_the_other_site(reader: &Visitor, page: &str) {
    let address = async || {
        let address = reader.browser.session.address().await.ok()?;
        let path = address.strip_prefix(&reader.shop.other_site(""))?;
        (path == page).then_some(())
    };
    reader.until("to be at the other site", address).await;
}

#[tokio::test]
async fn a_chapter_is_bought_and_read_on_another_site() {
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.sees(&["coursegate-locked: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        reader.presses("Buy for $").await;
        reader.follows_the_link("ada@example.com").await;
        reader.pays_with("4242 4242 4242 4242").await;
        reader.sees(&["Thank you. It’s yours."]).await;
        reader.finds("Back to localhost").await;

        // The page continues without a press.
        is_at_the_other_site(reader, PAGE).await;
        reader.sees(&[&pieces("tutorclaw", 6)[0]]).await;
        reader.sees(&["coursegate-open: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        reader.sees_no_more(TEASER).await;
        reader.finds("Open: TutorClaw").await;
    })
    .await;
}

#[tokio::test]
async fn canceling_returns_to_the_page_on_the_other_site() {
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.presses("Buy for $").await;
        reader.follows_the_link("ada@example.com").await;
        reader.presses("← Back to the shop").await;
        reader.sees(&["You left the checkout."]).await;
        reader.presses("Back to localhost").await;
        is_at_the_other_site(reader, PAGE).await;
        reader.sees(&[TEASER, "$9.99"]).await;
        reader.finds("Buy for $9.99: TutorClaw, all chapters").await;
        shows_nothing_of(reader, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn another_site_signs_its_reader_in_and_out() {
    const FREE: &str = "document.querySelector('course-paywall').setAttribute('chapter', '1')";
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.asks(FREE, json!([])).await;
        reader.presses("Sign in and read").await;
        reader.follows_the_link("ada@example.com").await;
        is_at_the_other_site(reader, PAGE).await;
        reader.finds("Buy for $9.99: TutorClaw, all chapters").await;
        reader.asks(FREE, json!([])).await;
        let text = &pieces("tutorclaw", 1)[0];
        reader.sees(&[text]).await;
        reader.sees_no_more(TEASER).await;

        let elements = json!([reader.shop.site("/elements.js")]);
        let sign_out = "import(arguments[0]).then(({ signOut }) => signOut())";
        reader.asks(sign_out, elements).await;
        reader.sees(&[TEASER, "This chapter is free."]).await;
        reader.sees_no_more(text).await;
        reader.finds_true("sessionStorage.length === 0").await;
    })
    .await;
}

#[tokio::test]
async fn a_site_that_is_not_listed_gets_no_token() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/connect?origin=https://stranger.example").await;
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["This site isn’t connected."]).await;
        learner.sees(&["https://stranger.example isn’t on the author’s list"]).await;
        // Similar to the listed origin, but different.
        let other = learner.shop.other_site("");
        for origin in [
            format!("{other}1"),
            format!("{other}/"),
            format!("{other}@stranger.example"),
            other.replacen("://", "://stranger.example@", 1),
            learner.shop.site(""),
            String::new(),
        ] {
            learner.goes_to(&format!("/connect?state=s&origin={origin}")).await;
            learner.sees(&["This site isn’t connected."]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unrequested_token_is_refused() {
    visit(async |reader| {
        let sent = "#coursegate=made-up&response=AAAA&token=a.b.c&expires=9999999999999";
        let page = "/demo/embed.html";
        reader.opens(&reader.shop.other_site(&format!("{page}{sent}"))).await;
        reader.finds("Buy for $9.99: TutorClaw, all chapters").await;
        is_at_the_other_site(reader, page).await;
        reader.finds_true("sessionStorage.length === 0").await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_return_page_is_reported_before_leaving() {
    visit(async |reader| {
        reader.expects_in_the_console("/coursegate has to be a page with the same script tag");
        reader.expects_in_the_console("ERR_BLOCKED_BY_CLIENT");
        opens_the_other_site(reader).await;
        reader.blocks(&["*/coursegate"]).await;
        reader.presses("Buy for $9.99: TutorClaw").await;
        reader.sees(&["This page isn’t set up for signing in yet."]).await;
        is_at_the_other_site(reader, PAGE).await;
        reader.blocks(&[]).await;
        reader.presses("Buy for $9.99: TutorClaw").await;
        reader.finds("I have an account").await;
    })
    .await;
}
