//! The elements on a page of another origin.

use serde_json::json;

use crate::chapters::pieces;
use crate::reading::has_nothing_of;
use crate::visitor::{Visitor, visit};

const PAGE: &str = "/demo/embed.html";
const TEASER: &str = "“Wrong” is not feedback.";

/// Whoever is on somebody else's page, and has not been there before.
async fn comes_to_the_other_site(reader: &Visitor) {
    reader.opens(&reader.shop.other_site(PAGE)).await;
    reader.sees(&[TEASER, "TutorClaw, all chapters", "$9.99"]).await;
}

/// Waits until the browser is at an address of the other site.
async fn is_at_the_other_site(reader: &Visitor, is_it: impl Fn(&str) -> bool) {
    let address = async || {
        let address = reader.browser.session.address().await.ok()?;
        let path = address.strip_prefix(&reader.shop.other_site(""))?;
        is_it(path).then_some(())
    };
    reader.until("to be at the other site", address).await;
}

/// Nothing of the sign-in is left in the address.
async fn is_back_at_the_other_site(reader: &Visitor) {
    is_at_the_other_site(reader, |path| path == PAGE).await;
}

#[tokio::test]
async fn a_chapter_is_bought_and_read_on_somebody_else_s_page() {
    visit(async |reader| {
        comes_to_the_other_site(reader).await;
        reader.sees(&["coursegate-locked: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        reader.presses("Unlock").await;
        reader.follows_the_link("ada@example.com").await;
        reader.pays_with("4242 4242 4242 4242").await;
        reader.sees(&["Paid. It is yours."]).await;
        reader.finds("Back to localhost").await;

        // Nobody presses anything here.
        is_back_at_the_other_site(reader).await;
        reader.sees(&[&pieces("tutorclaw", 6)[0]]).await;
        reader.sees(&["coursegate-open: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        reader.sees_no_more(TEASER).await;
        reader.finds("Open: TutorClaw").await;
    })
    .await;
}

#[tokio::test]
async fn who_turns_back_before_paying_is_where_they_were_on_somebody_else_s_page() {
    visit(async |reader| {
        comes_to_the_other_site(reader).await;
        reader.presses("Unlock").await;
        reader.follows_the_link("ada@example.com").await;
        reader.presses("← Back to the shop").await;
        reader.sees(&["You left before paying."]).await;
        reader.presses("Back to localhost").await;
        is_back_at_the_other_site(reader).await;
        reader.sees(&[TEASER, "$9.99"]).await;
        reader.finds("Unlock: TutorClaw, all chapters").await;
        has_nothing_of(reader, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_site_signs_its_reader_in_and_out_again() {
    const FREE: &str = "document.querySelector('course-paywall').setAttribute('chapter', '1')";
    visit(async |reader| {
        comes_to_the_other_site(reader).await;
        reader.asks(FREE, json!([])).await;
        reader.presses("Sign in and read").await;
        reader.follows_the_link("ada@example.com").await;
        is_back_at_the_other_site(reader).await;
        reader.finds("Unlock: TutorClaw, all chapters").await;
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
async fn a_site_that_the_author_has_not_named_gets_no_token() {
    visit(async |learner| {
        let stranger = "/connect?back=https://stranger.example/page";
        learner.goes_to(&format!("/sign-in?to={stranger}")).await;
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["This site is not connected."]).await;
        learner.sees(&["https://stranger.example is not among"]).await;
        // The one that is named, with a port of its own more, and with somebody's name before it.
        let port = format!("{}1/page", learner.shop.other_site(""));
        let name = learner.shop.other_site(PAGE).replacen("://", "://stranger.example@", 1);
        let nobody = "javascript:alert(1)".to_owned();
        for back in [port, learner.shop.site("/page"), nobody] {
            learner.goes_to(&format!("/connect?state=s&back={back}")).await;
            learner.sees(&["This site is not connected."]).await;
        }
        learner.goes_to(&format!("/connect?state=s&back={name}")).await;
        learner.sees_no_more("Taking you back…").await;
        is_at_the_other_site(learner, |path| path.starts_with(PAGE)).await;
    })
    .await;
}

#[tokio::test]
async fn an_address_that_may_lead_on_to_another_site_gets_no_token() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/").await;
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["Welcome, ada@example.com"]).await;
        for leads_on in [
            "/go?to=https:%252F%252Fstranger.example",
            "/go?to=https://stranger.example",
            "/go?to=%252F%252Fstranger.example",
            "/go/https://stranger.example",
            "//stranger.example",
            "/go/https:%252F%252Fstranger.example",
        ] {
            let back = learner.shop.other_site(leads_on);
            learner.goes_to(&format!("/connect?state=s&back={back}")).await;
            learner.sees(&["Your sign-in stays here."]).await;
        }
        learner.expects_in_the_console("status of 404");
        for fine in ["/demo/a.html?p=12&utm_source=a-b", "/demo/%25D8%25B1.html"] {
            let back = learner.shop.other_site(fine);
            learner.goes_to(&format!("/connect?state=s&back={}", back.replace('&', "%26"))).await;
            is_at_the_other_site(learner, |path| path.contains("#coursegate=s&token=")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_a_page_has_not_asked_for_is_not_taken() {
    visit(async |reader| {
        let sent = "#coursegate=made-up&token=a.b.c&expires=9999999999999";
        reader.opens(&reader.shop.other_site(&format!("{PAGE}{sent}"))).await;
        reader.finds("Unlock: TutorClaw, all chapters").await;
        is_back_at_the_other_site(reader).await;
        reader.finds_true("sessionStorage.length === 0").await;
    })
    .await;
}
