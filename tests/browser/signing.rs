//! Signing in and out.

use serde_json::json;

use crate::buying::{buys, reads};
use crate::chapters::pieces;
use crate::reading::shows_nothing_of;
use crate::visitor::{Visitor, visit};

const CHAPTER: &str = "/course/tutorclaw/2";

/// Only the time of the last sign-out is stored.
const IS_EMPTY: &str = "storedSession().then((session) => session === null &&
    Object.keys({ ...sessionStorage, ...localStorage }).join() === 'coursegate.signed-out')";

/// Signs in and reads a free chapter.
async fn reads_a_chapter(learner: &Visitor) {
    learner.goes_to(&format!("/sign-in?to={CHAPTER}")).await;
    learner.follows_the_link("grace@example.com").await;
    learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
}

/// Nobody is signed in here, and the chapter is gone.
async fn is_signed_out(learner: &Visitor) {
    learner.is_at(CHAPTER).await;
    learner.sees(&["This chapter is free."]).await;
    learner.finds("Sign in and read").await;
    learner.sees_no_more("grace@example.com").await;
    shows_nothing_of(learner, "tutorclaw", 2).await;
}

#[tokio::test]
async fn signing_in_again_returns_to_the_same_place() {
    visit(async |learner| {
        reads_a_chapter(learner).await;
        // The API no longer accepts the token, and the issuer has ended the session.
        let spoil = "storedSession().then(({ token }) =>
            changeStoredSession({ token: token.slice(0, -8) + 'AAAAAAAA', refresh: 'made.up' }))";
        learner.asks(spoil, json!([])).await;
        learner.expects_in_the_console("401 (Unauthorized)");
        learner.expects_in_the_console("400 (Bad Request)");
        learner.goes_to("/course/tutorclaw/3").await;
        learner.sees(&["Your session has expired."]).await;
        shows_nothing_of(learner, "tutorclaw", 3).await;
        learner.presses("Sign in again").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/course/tutorclaw/3").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 3)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn signing_out_leaves_nothing_in_the_browser() {
    visit(async |learner| {
        reads_a_chapter(learner).await;
        learner.finds_true("sessionStorage.length + localStorage.length > 0").await;
        learner.presses("Sign out").await;
        learner.is_at("/").await;
        learner.finds("Sign in").await;
        learner.sees_no_more("grace@example.com").await;
        learner.finds_true(IS_EMPTY).await;

        learner.browser.session.go_back().await.unwrap();
        is_signed_out(learner).await;
    })
    .await;
}

/// Goes back to the chapter, past any pages of the sign-in.
async fn goes_back_to_the_chapter(learner: &Visitor) {
    let is_there = async || {
        learner.browser.session.go_back().await.unwrap();
        learner.asks("location.pathname", json!([])).await.filter(|at| at == CHAPTER)
    };
    learner.until("to be back at the chapter", is_there).await;
}

#[tokio::test]
async fn a_cached_page_shows_nothing_after_sign_out() {
    visit(async |learner| {
        reads_a_chapter(learner).await;
        learner.goes_to("/purchases").await;
        learner.presses("Sign out").await;
        learner.is_at("/").await;
        learner.finds("Sign in").await;
        goes_back_to_the_chapter(learner).await;
        is_signed_out(learner).await;
    })
    .await;
}

#[tokio::test]
async fn a_cached_page_knows_who_has_signed_in_since() {
    const KEEP: &str =
        "addEventListener('pageshow', ({ persisted }) => { window.kept = persisted; })";
    visit(async |learner| {
        learner.goes_to(CHAPTER).await;
        is_signed_out(learner).await;
        learner.asks(KEEP, json!([])).await;
        learner.goes_to("/sign-in?to=/").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&["Your courses", "grace@example.com"]).await;
        goes_back_to_the_chapter(learner).await;
        learner.finds_true("window.kept === true").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 2)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn signing_out_in_one_tab_signs_out_the_others() {
    visit(async |learner| {
        reads_a_chapter(learner).await;
        let own = learner.browser.session.window().await.unwrap();
        learner.browser.session.open_tab().await.unwrap();
        learner.goes_to("/").await;
        learner.sees(&["Your courses", "grace@example.com"]).await;
        learner.presses("Sign out").await;
        learner.finds("Sign in").await;
        learner.browser.session.switch_to(&own).await.unwrap();
        is_signed_out(learner).await;
    })
    .await;
}

#[tokio::test]
async fn signing_out_also_covers_a_tab_at_stripe() {
    visit(async |learner| {
        reads_a_chapter(learner).await;
        learner.goes_to("/course/tutorclaw/6").await;
        learner.presses("Buy for $").await;
        learner.finds("Pay $9.99").await;
        let own = learner.browser.session.window().await.unwrap();
        learner.browser.session.open_tab().await.unwrap();
        learner.goes_to("/").await;
        learner.presses("Sign out").await;
        learner.finds("Sign in").await;
        learner.browser.session.switch_to(&own).await.unwrap();
        learner.pays_with("4242 4242 4242 4242").await;
        learner.sees(&["Your purchase is safe. Sign in to see it."]).await;
        learner.sees_no_more("grace@example.com").await;
        learner.finds_true(IS_EMPTY).await;
    })
    .await;
}

#[tokio::test]
async fn an_expired_sign_in_is_not_offered_what_it_owns() {
    const END: &str = "import('/session.js').then(({ session }) => session.expire())";
    visit(async |learner| {
        buys(learner, "4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Continue to TutorClaw").await;
        reads(learner).await;
        learner.asks(END, json!([])).await;
        learner.sees(&["Your session has expired. To read the next chapter"]).await;
        reads(learner).await;
        learner.presses("Courses").await;
        learner.sees(&["Your session has expired.", "1 course owned"]).await;
        learner.presses("TutorClaw").await;
        learner.sees(&["You have access to every chapter."]).await;
        learner.finds("7 Adapting the pace").await;
        learner.presses("7 Adapting the pace").await;
        learner.finds("Sign in again").await;
        shows_nothing_of(learner, "tutorclaw", 7).await;
    })
    .await;
}
