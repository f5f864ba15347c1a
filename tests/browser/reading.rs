//! Open and locked chapters.

use reqwest::StatusCode;
use serde_json::json;

use crate::browser::PHONE;
use crate::chapters::pieces;
use crate::visitor::{Visitor, visit, visit_on};

/// Calls the API as the page does; returns status and body.
const ASK: &str = "(async (path) => {
    const authorization = `Bearer ${await accessToken()}`;
    const answer = await fetch('/api' + path, { headers: { authorization } });
    return [answer.status, await answer.json()];
})(arguments[0])";

#[tokio::test]
async fn a_free_course_is_read_and_continued() {
    visit(async |learner| {
        learner.goes_to("/").await;
        learner.sees(&["Free", "Curriculum", "Single courses", "AI in 4 Weekends"]).await;
        learner.presses("Sign in").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/").await;
        learner.sees(&["Your courses", "grace@example.com"]).await;

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
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        learner.finds("Buy for $99.00: AI in 4 Weekends").await;
        learner.presses("TutorClaw").await;
        learner.is_at("/course/tutorclaw").await;
        learner.finds("1 Why a tutor").await;
        learner.finds("6 Feedback that helps Locked").await;
        learner.sees(&["$9.99", "All 10 chapters"]).await;
        learner.presses("Read chapter 1 free").await;
        learner.is_at("/course/tutorclaw/1").await;
        learner.sees(&[&pieces("tutorclaw", 1)[0]]).await;
        learner.presses("Courses").await;
        learner.presses("Continue with chapter 1: TutorClaw").await;
        learner.is_at("/course/tutorclaw/1").await;
    })
    .await;
}

/// Asserts that the document contains nothing of a chapter, visible or not.
pub(crate) async fn shows_nothing_of(learner: &Visitor, course: &str, chapter: u32) {
    let all = learner.asks("everything(document).join(' ')", json!([])).await.unwrap();
    let all = all.as_str().unwrap();
    assert!(all.to_lowercase().contains("coursegate"), "the whole document: {all}");
    for piece in pieces(course, chapter) {
        assert!(!all.contains(&piece), "{piece:?} is in the document");
    }
}

#[tokio::test]
async fn a_locked_chapter_s_address_shows_only_the_paywall() {
    visit(async |learner| {
        for path in ["/course/tutorclaw/6", "/course/evaluation/2"] {
            let (course, chapter) = path.strip_prefix("/course/").unwrap().split_once('/').unwrap();
            learner.goes_to(path).await;
            learner.finds("Buy for $").await;
            shows_nothing_of(learner, course, chapter.parse().unwrap()).await;
        }
        learner.goes_to("/sign-in?to=/course/tutorclaw/6").await;
        learner.follows_the_link("grace@example.com").await;
        learner.is_at("/course/tutorclaw/6").await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        learner.sees(&["$9.99", "All 10 chapters"]).await;
        shows_nothing_of(learner, "tutorclaw", 6).await;
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
async fn returning_to_a_chapter_restores_the_place() {
    const IS_THERE: &str = "Math.abs(scrollY - 400) < 1";
    visit_on(PHONE, async |learner| {
        let session = &learner.browser.session;
        learner.goes_to("/sign-in?to=/course/tutorclaw/1").await;
        learner.follows_the_link("grace@example.com").await;
        learner.sees(&[&pieces("tutorclaw", 1)[0]]).await;
        learner.asks("(scrollTo(0, 400), control('Next').click())", json!([])).await;
        learner.is_at("/course/tutorclaw/2").await;
        learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
        learner.finds_true("scrollY === 0").await;
        session.go_back().await.unwrap();
        learner.is_at("/course/tutorclaw/1").await;
        learner.finds_true(IS_THERE).await;
        session.go_forward().await.unwrap();
        learner.is_at("/course/tutorclaw/2").await;
        learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
        learner.asks("scrollTo(0, 300)", json!([])).await;
        learner.finds_true("history.state?.top === 300").await;
        session.go_back().await.unwrap();
        learner.finds_true(IS_THERE).await;
        session.go_forward().await.unwrap();
        learner.is_at("/course/tutorclaw/2").await;
        learner.finds_true("Math.abs(scrollY - 300) < 1").await;
        session.go_back().await.unwrap();
        learner.is_at("/course/tutorclaw/1").await;
        learner.finds_true(IS_THERE).await;
        session.reload().await.unwrap();
        learner.sees(&[&pieces("tutorclaw", 1)[0]]).await;
        learner.finds_true(IS_THERE).await;

        // A fragment within the chapter, and back from it.
        let note = "const chapter = document.querySelector('.chapter');
            const { sanitised } = await import('/chapter.js');
            chapter.prepend(sanitised('<a href=\"#note\">To the note</a>'));
            chapter.append(sanitised('<p id=\"note\">A note</p>'));";
        learner.asks(&format!("(async () => {{ {note} }})()"), json!([])).await;
        learner.asks("scrollTo(0, 0)", json!([])).await;
        learner.presses("To the note").await;
        learner.is_at("/course/tutorclaw/1#text-note").await;
        learner.finds_true("scrollY > 400").await;
        session.go_back().await.unwrap();
        learner.is_at("/course/tutorclaw/1").await;
        learner.finds_true("scrollY < 100").await;
    })
    .await;
}

#[tokio::test]
async fn a_chapter_s_html_runs_nothing_and_loads_nothing() {
    const SANITISED: &str = "(async (html) => {
        const { sanitised } = await import('/chapter.js');
        const shown = document.createElement('div');
        shown.append(sanitised(html));
        document.body.append(shown);
        return shown.innerHTML;
    })(arguments[0])";
    visit(async |visitor| {
        // The removed elements wouldn't have run either.
        visitor.expects_in_the_console("violates the following Content Security Policy");
        visitor.goes_to("/").await;
        for (html, kept) in [
            ("<p>Text &amp; <em>more</em></p>", "<p>Text &amp; <em>more</em></p>"),
            ("<script>throw 1</script><p>a</p>", "<p>a</p>"),
            ("<p onclick=\"throw 1\" style=\"position: fixed\" class=\"button\">a</p>", "<p>a</p>"),
            ("<img src=x onerror=\"throw 1\">a", "a"),
            ("<img src=\"https://stranger.example/a.png\">a", "a"),
            (
                "<img src=\"data:image/png;base64,AAAA\">",
                "<img src=\"data:image/png;base64,AAAA\" alt=\"\">",
            ),
            ("<a href=\"javascript:throw 1\">a</a>", "a"),
            ("<a href=\" java\tscript:throw 1\">a</a>", "a"),
            ("<a href=\"//stranger.example\">a</a>", "a"),
            (
                "<a href=\"https://example.com/\">a</a>",
                "<a href=\"https://example.com/\" rel=\"noopener\">a</a>",
            ),
            ("<form action=/x><input><button>Pay</button>a</form>b", "b"),
            ("<style>* { display: none }</style><link rel=stylesheet href=/x>a", "a"),
            ("<iframe src=/></iframe><object data=/x>b</object>a", "a"),
            ("<svg><script>throw 1</script><a href=\"javascript:1\">b</a></svg>a", "a"),
            ("<math><mtext><script>throw 1</script></mtext></math>a", "a"),
            ("<template><p>b</p></template>a", "a"),
            ("<noscript><img src=x onerror=\"throw 1\"></noscript>a", "a"),
            ("<course-paywall course=tutorclaw>a</course-paywall>", "a"),
            ("<h1>a</h1>", "<h2>a</h2>"),
            // The chapter's own ids, which the page doesn't use.
            ("<a href=\"#main\">a</a>", "<a href=\"#text-main\">a</a>"),
            ("<a id=\"main\">a</a>", "<a id=\"text-main\">a</a>"),
            ("<a id=\"a b\">a</a>", "a"),
        ] {
            let shown = visitor.asks(SANITISED, json!([html])).await;
            assert_eq!(shown, Some(json!(kept)), "{html}");
        }
    })
    .await;
}
