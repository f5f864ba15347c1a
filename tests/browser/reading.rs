//! What is open, what is shut, and who is signed in.

use reqwest::StatusCode;
use serde_json::json;

use crate::chapters::pieces;
use crate::visitor::{Visitor, visit};

/// Asks the API as the page does, and answers with status and body.
const ASK: &str = "(async (path) => {
    const { token } = JSON.parse(sessionStorage.getItem('coursegate.session'));
    const answer = await fetch('/api' + path, { headers: { authorization: `Bearer ${token}` } });
    return [answer.status, await answer.json()];
})(arguments[0])";

#[tokio::test]
async fn what_is_free_is_read_and_gone_on_with() {
    visit(async |learner| {
        learner.goes_to("/").await;
        learner.sees(&["Free", "Curriculum", "À la carte", "AI in 4 Weekends"]).await;
        learner.presses("Sign in").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/").await;
        learner.sees(&["Welcome, grace@example.com"]).await;

        learner.presses("Open: First steps with agents").await;
        learner.is_at("/course/first-steps").await;
        learner.presses("Start reading").await;
        learner.is_at("/course/first-steps/1").await;
        learner.sees(&[&pieces("first-steps", 1)[0]]).await;
        learner.presses("Next").await;
        learner.is_at("/course/first-steps/2").await;
        learner.sees(&[&pieces("first-steps", 2)[0]]).await;

        learner.presses("Courses").await;
        learner.presses("Continue with chapter 2: First steps with agents").await;
        learner.is_at("/course/first-steps/2").await;
    })
    .await;
}

#[tokio::test]
async fn a_locked_course_says_what_it_contains_and_what_opens_it() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&["10 chapters, the first 5 free", "$9.99"]).await;
        learner.finds("Unlock: TutorClaw, all chapters").await;
        learner.finds("Unlock: AI in 4 Weekends").await;
        learner.presses("TutorClaw").await;
        learner.is_at("/course/tutorclaw").await;
        learner.finds("1 Why a tutor").await;
        learner.finds("6 Feedback that helps Locked").await;
        learner.sees(&["$9.99", "All 10 chapters"]).await;
        learner.presses("Read what is free").await;
        learner.is_at("/course/tutorclaw/1").await;
        learner.sees(&[&pieces("tutorclaw", 1)[0]]).await;
    })
    .await;
}

/// Nothing of a chapter is in the document, to be seen or not.
pub(crate) async fn has_nothing_of(learner: &Visitor, course: &str, chapter: u32) {
    let all = learner.asks("everything(document).join(' ')", json!([])).await.unwrap();
    let all = all.as_str().unwrap();
    assert!(all.contains("Coursegate"), "the whole document: {all}");
    for piece in pieces(course, chapter) {
        assert!(!all.contains(&piece), "{piece:?} is in the document");
    }
}

#[tokio::test]
async fn the_address_of_a_locked_chapter_shows_the_paywall_and_nothing_of_the_chapter() {
    visit(async |learner| {
        for path in ["/course/tutorclaw/6", "/course/evaluation/2"] {
            let (course, chapter) = path.strip_prefix("/course/").unwrap().split_once('/').unwrap();
            learner.goes_to(path).await;
            learner.finds("Unlock").await;
            has_nothing_of(learner, course, chapter.parse().unwrap()).await;
        }
        learner.goes_to("/sign-in?to=/course/tutorclaw/6").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/course/tutorclaw/6").await;
        learner.finds("Unlock: TutorClaw, all chapters").await;
        learner.sees(&["$9.99", "All 10 chapters"]).await;
        has_nothing_of(learner, "tutorclaw", 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_guessed_address_of_a_chapter_is_refused() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/course/tutorclaw/5").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&[&pieces("tutorclaw", 5)[0]]).await;

        let open = learner.asks(ASK, json!(["/courses/tutorclaw/chapters/5"])).await.unwrap();
        assert_eq!(open[0], 200, "{open}");
        let url = open[1]["url"].as_str().unwrap();
        let (status, html) = learner.shop.get(url).await;
        assert!(status == StatusCode::OK && html.contains(&pieces("tutorclaw", 5)[0]), "{status}");

        learner.expects_in_the_console("403");
        let shut = learner.asks(ASK, json!(["/courses/tutorclaw/chapters/6"])).await.unwrap();
        assert_eq!((&shut[0], &shut[1]["reason"]), (&json!(403), &json!("payment_required")));
        assert!(shut[1].get("url").is_none(), "{shut}");

        let (bare, signature) = url.split_once('?').unwrap();
        let other = bare.replace("/5.html", "/6.html");
        assert_ne!(other, bare);
        for guessed in [other.clone(), format!("{other}?{signature}"), bare.to_owned()] {
            let (status, html) = learner.shop.get(&guessed).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{guessed}");
            for chapter in [5, 6] {
                assert!(!html.contains(&pieces("tutorclaw", chapter)[0]), "{html}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whose_sign_in_has_ended_signs_in_and_is_where_they_were() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/course/tutorclaw/2").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
        // The token is one that the API no longer takes.
        learner
            .asks(
                "(() => {
                    const kept = JSON.parse(sessionStorage.getItem('coursegate.session'));
                    kept.token = kept.token.slice(0, -8) + 'AAAAAAAA';
                    sessionStorage.setItem('coursegate.session', JSON.stringify(kept));
                })()",
                json!([]),
            )
            .await;
        learner.expects_in_the_console("401 (Unauthorized)");
        learner.goes_to("/course/tutorclaw/3").await;
        learner.sees(&["Your sign-in has ended."]).await;
        has_nothing_of(learner, "tutorclaw", 3).await;
        learner.presses("Sign in again").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/course/tutorclaw/3").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 3)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn who_signs_out_leaves_nothing_behind_in_the_browser() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/course/tutorclaw/2").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
        learner.finds_true("sessionStorage.length + localStorage.length > 0").await;
        learner.presses("Sign out").await;
        learner.is_at("/").await;
        learner.finds("Sign in").await;
        learner.sees_no_more("grace@example.com").await;
        learner.finds_true("sessionStorage.length + localStorage.length === 0").await;

        learner.browser.session.go_back().await.unwrap();
        learner.is_at("/course/tutorclaw/2").await;
        learner.sees(&["This chapter is free."]).await;
        learner.finds("Sign in and read").await;
        has_nothing_of(learner, "tutorclaw", 2).await;
    })
    .await;
}
