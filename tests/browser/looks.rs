//! Accessibility of every page: on every screen size, in light and dark, for screen readers.

use serde_json::{Value, json};
use tests::world::root;

use crate::browser::{LAPTOP, PHONE, Screen};
use crate::visitor::{Visitor, visit};

const SCHEMES: [&str; 2] = ["light", "dark"];
const NO_AXE: &str = "axe-core is missing: `cargo xtask tools` installs it in target/tools";

/// Axe's findings for the current page.
async fn violations(visitor: &Visitor) -> Value {
    let axe = std::fs::read_to_string(tools::find("axe-core/axe.min.js").expect(NO_AXE)).unwrap();
    let script = format!(
        "{axe}
        return axe.run(document, {{ resultTypes: ['violations'], preload: false }}).then((found) =>
            found.violations.map(({{ id, help, nodes }}) =>
                [id, help, ...nodes.map((node) => [node.target.flat().join(' '), node.failureSummary])]));"
    );
    visitor.browser.session.run(&script, json!([])).await.unwrap()
}

async fn switches_to(visitor: &Visitor, scheme: &str) {
    let features = json!([
        { "name": "prefers-color-scheme", "value": scheme },
        // Waits for color transitions to finish.
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ]);
    visitor.browser.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
}

/// Every request of the page that doesn't go to the site or its content bucket.
const STRANGERS: &str = "performance.getEntriesByType('resource')
    .map((entry) => new URL(entry.name).origin)
    .filter((origin) => origin !== location.origin && ![...arguments].includes(origin))";

/// Checks the current page on both screens, in both color schemes.
pub(crate) async fn assert_accessible(visitor: &Visitor) {
    let page = visitor.browser.session.address().await.unwrap();
    for screen in [PHONE, LAPTOP] {
        visitor.browser.show_on(screen).await;
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        let fits = visitor.asks(fits, json!([])).await;
        assert_eq!(fits, Some(json!(true)), "{page} is wider than {screen:?}");
        for scheme in SCHEMES {
            switches_to(visitor, scheme).await;
            let found = violations(visitor).await;
            assert_eq!(found, json!([]), "{page} on {screen:?}, {scheme}: {found:#}");
        }
    }
    let known = json!([visitor.shop.content(), visitor.shop.site("")]);
    let strangers = visitor.asks(STRANGERS, known).await;
    assert_eq!(strangers, Some(json!([])), "{page} asks a third party");
}

/// Checks each of these pages, once it shows this.
async fn assert_all_accessible(visitor: &Visitor, pages: &[(&str, &str)]) {
    for (path, shows) in pages {
        visitor.goes_to(path).await;
        visitor.sees(&[shows]).await;
        assert_accessible(visitor).await;
    }
}

#[tokio::test]
async fn the_public_pages_are_accessible() {
    visit(async |stranger| {
        let pages = [
            ("/", "All courses"),
            ("/course/tutorclaw", "All 10 chapters"),
            ("/course/tutorclaw/1", "This chapter is free."),
            ("/course/tutorclaw/6", "$9.99"),
            ("/purchases", "Sign in to see what you own."),
            ("/success?session_id=cs_test_1", "Sign in to see it."),
            ("/success?from=chat&status=paid", "Paid. Back to your chat."),
            ("/cancel?price=tutorclaw_paid", "You left the checkout."),
            ("/cancel?price=tutorclaw_paid&from=chat", "open the link in your chat again"),
            ("/sign-in?to=/purchases", "Do you have an account?"),
            ("/sign-up", "Create your account"),
            ("/nowhere", "Page not found."),
        ];
        assert_all_accessible(stranger, &pages).await;
        stranger.goes_to("/sign-up").await;
        stranger.fills_in("Email address", "ada@example.com").await;
        stranger.presses("Send me a code").await;
        stranger.expects_in_the_console("400 (Bad Request)");
        stranger.fills_in("Code", "none").await;
        stranger.presses("Confirm").await;
        stranger.sees(&["That isn’t the code we sent you."]).await;
        assert_accessible(stranger).await;
        stranger.opens(&stranger.shop.other_site("/demo/embed.html")).await;
        stranger.sees(&["$9.99", "Also by the author"]).await;
        assert_accessible(stranger).await;
        stranger.opens(&stranger.shop.other_site("/coursegate#coursegate=made-up")).await;
        stranger.sees(&["You’re not signed in."]).await;
        assert_accessible(stranger).await;
    })
    .await;
}

#[tokio::test]
async fn a_learner_s_pages_are_accessible() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/course/tutorclaw/6").await;
        learner.follows_the_link("ada@example.com").await;
        learner.presses("Buy for $").await;
        learner.pays_with("4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Stay here").await;
        assert_accessible(learner).await;
        let pages = [
            ("/", "1 course owned"),
            ("/course/tutorclaw", "You have access to every chapter."),
            ("/course/tutorclaw/6", "“Well done!” teaches nothing"),
            ("/course/evaluation/2", "AI in 4 Weekends"),
            ("/connect?origin=https://stranger.example", "This site isn’t connected."),
            ("/buy?price=gone", "Checkout can’t be opened"),
            ("/purchases", "Yours to keep."),
        ];
        assert_all_accessible(learner, &pages).await;
        let without_a_key = format!("/connect?origin={}", learner.shop.other_site(""));
        assert_all_accessible(learner, &[(&without_a_key, "We couldn’t sign you in")]).await;
        learner.goes_to("/purchases").await;
        learner.presses("Payment history").await;
        learner.sees(&["Paid $9.99. Access opened."]).await;
        assert_accessible(learner).await;
    })
    .await;
}

#[tokio::test]
async fn something_is_painted_before_the_api_has_answered() {
    visit(async |visitor| {
        // Requests to the API stay unanswered.
        let api = json!({ "patterns": [{ "urlPattern": "*/api/*" }] });
        visitor.browser.tell("Fetch.enable", api).await;
        visitor.goes_to("/").await;
        visitor.sees(&["All courses", "Sign in"]).await;
        let painted = "performance.getEntriesByName('first-contentful-paint').length === 1";
        visitor.finds_true(painted).await;
        visitor.finds_true("document.querySelector('.skeleton') !== null").await;
        visitor.browser.tell("Fetch.disable", json!({})).await;
        visitor.sees(&["First steps with agents", "TutorClaw", "$9.99"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_partly_loaded_site_says_so_and_reloads() {
    visit(async |visitor| {
        visitor.expects_in_the_console("ERR_BLOCKED_BY_CLIENT");
        // No script runs, so nothing uses it; Chromium says so after some seconds.
        visitor
            .expects_in_the_console("/config.json was preloaded using link preload but not used");
        visitor.blocks(&["*/locale.js"]).await;
        visitor.goes_to("/").await;
        visitor
            .sees(&["The page didn’t load completely.", "Everything you’ve bought is safe."])
            .await;
        assert_accessible(visitor).await;
        visitor.blocks(&[]).await;
        visitor.presses("Reload").await;
        visitor.sees(&["All courses", "TutorClaw"]).await;
        visitor.sees_no_more("The page didn’t load completely.").await;
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_shop_is_reported_and_retried() {
    visit(async |visitor| {
        visitor.expects_in_the_console("ERR_BLOCKED_BY_CLIENT");
        visitor.blocks(&["*/api/courses*"]).await;
        visitor.goes_to("/").await;
        visitor.sees(&["The shop can’t be reached right now."]).await;
        assert_accessible(visitor).await;
        visitor.blocks(&[]).await;
        visitor.presses("Try again").await;
        visitor.sees(&["First steps with agents", "TutorClaw"]).await;
        visitor.sees_no_more("The shop can’t be reached right now.").await;
    })
    .await;
}

/// Takes a README screenshot if requested, and checks that the existing one has the named screen's
/// size.
async fn check_readme_screenshot(visitor: &Visitor, screen: Screen, name: &str) {
    visitor.browser.show_on(screen).await;
    let file = root().join(format!("docs/site-{name}.png"));
    if std::env::var_os("COURSEGATE_PICTURES").is_some() {
        std::fs::write(&file, visitor.picture().await).unwrap();
    }
    let picture = std::fs::read(&file).expect("COURSEGATE_PICTURES=1 makes it");
    // The offset of width and height in a PNG.
    let size = [screen.width, screen.height].map(u32::to_be_bytes).concat();
    assert_eq!(picture[16..24], size, "{}: COURSEGATE_PICTURES=1 makes it anew", file.display());
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("(docs/site-{name}.png)")), "the README shows {name}");
}

#[tokio::test]
async fn the_readme_shows_the_paywall_and_the_dashboard() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/course/tutorclaw/6").await;
        learner.follows_the_link("ada@example.com").await;
        learner.finds("Buy for $9.99: TutorClaw, all chapters").await;
        check_readme_screenshot(learner, PHONE, "paywall").await;
        learner.browser.show_on(LAPTOP).await;
        learner.presses("Buy for $").await;
        learner.pays_with("4242 4242 4242 4242").await;
        learner.sees(&["Thank you. It’s yours."]).await;
        learner.presses("Continue to TutorClaw").await;
        learner.sees(&["“Well done!” teaches nothing"]).await;
        learner.goes_to("/").await;
        learner.finds("Continue with chapter 6: TutorClaw").await;
        // High enough to show the ends of the first cards.
        check_readme_screenshot(learner, Screen { height: 1000, ..LAPTOP }, "dashboard").await;
    })
    .await;
}
