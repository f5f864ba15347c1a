//! The elements on a page of another origin.

use serde_json::json;

use crate::chapters::pieces;
use crate::visitor::{Visitor, visit};

/// The window that the page has opened beside its own.
async fn goes_to_the_new_window(visitor: &Visitor, own: &str) {
    let new = async || {
        let windows = visitor.browser.session.windows().await.ok()?;
        windows.into_iter().find(|window| window != own)
    };
    let window = visitor.until("to have another window", new).await;
    visitor.browser.session.switch_to(&window).await.unwrap();
}

#[tokio::test]
async fn a_chapter_is_bought_and_read_on_somebody_else_s_page() {
    visit(async |reader| {
        reader.opens(&reader.shop.other_site("/demo/embed.html")).await;
        reader.sees(&["“Wrong” is not feedback.", "TutorClaw, all chapters", "$9.99"]).await;
        reader.sees(&["coursegate-locked: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        let own = reader.browser.session.window().await.unwrap();

        reader.presses("Unlock").await;
        goes_to_the_new_window(reader, &own).await;
        reader.follows_the_link("ada@example.com").await;
        reader.pays_with("4242 4242 4242 4242").await;
        reader.sees(&["Paid. It is yours."]).await;
        reader.finds("Back to localhost").await;

        reader.browser.session.switch_to(&own).await.unwrap();
        reader.sees(&[&pieces("tutorclaw", 6)[0]]).await;
        reader.sees(&["coursegate-open: {\"course\":\"tutorclaw\",\"chapter\":6}"]).await;
        reader.sees_no_more("“Wrong” is not feedback.").await;
        reader.finds("Open: TutorClaw").await;
    })
    .await;
}

#[tokio::test]
async fn a_window_that_is_closed_before_signing_in_changes_nothing() {
    visit(async |reader| {
        reader.opens(&reader.shop.other_site("/demo/embed.html")).await;
        let own = reader.browser.session.window().await.unwrap();
        reader.presses("Unlock").await;
        goes_to_the_new_window(reader, &own).await;
        reader.finds("E-mail address").await;
        reader.browser.session.close_window().await.unwrap();
        reader.browser.session.switch_to(&own).await.unwrap();
        reader.sees(&["The window was closed before you were signed in."]).await;
        reader.finds("Unlock: TutorClaw, all chapters").await;
    })
    .await;
}

#[tokio::test]
async fn a_site_that_the_author_has_not_named_gets_no_token() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/connect?origin=https://stranger.example").await;
        learner.follows_the_link("ada@example.com").await;
        learner
            .sees(&["This site is not connected.", "https://stranger.example is not among"])
            .await;
        // The one that is named, with a port of its own more.
        let other = format!("{}1", learner.shop.other_site(""));
        learner.goes_to(&format!("/connect?origin={other}")).await;
        learner.sees(&["This site is not connected."]).await;
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_site_signs_its_reader_out_again() {
    const FREE: &str = "document.querySelector('course-paywall').setAttribute('chapter', '1')";
    visit(async |reader| {
        reader.opens(&reader.shop.other_site("/demo/embed.html")).await;
        reader.finds("Unlock: TutorClaw, all chapters").await;
        reader.asks(FREE, json!([])).await;
        let own = reader.browser.session.window().await.unwrap();
        reader.presses("Sign in and read").await;
        goes_to_the_new_window(reader, &own).await;
        reader.follows_the_link("ada@example.com").await;
        reader.browser.session.switch_to(&own).await.unwrap();
        let text = &pieces("tutorclaw", 1)[0];
        reader.sees(&[text]).await;
        reader.sees_no_more("“Wrong” is not feedback.").await;

        let elements = reader.shop.site("/elements.js");
        let sign_out = "import(arguments[0]).then(({ signOut }) => signOut())";
        reader.asks(sign_out, json!([elements])).await;
        reader.sees(&["“Wrong” is not feedback.", "This chapter is free."]).await;
        reader.sees_no_more(text).await;
        reader.finds_true("sessionStorage.length === 0").await;
    })
    .await;
}
