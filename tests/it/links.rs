//! Upgrade links: created in a chat, opened days later, by people and by link previews.

use lambda_http::{Body, Response};
use serde_json::{Value, json};
use tests::requests::{Who, answer, api, learner, text};
use tests::sessions::event;
use tests::world::{SITE_ORIGIN, World, edited_catalog};

use crate::checkout::{checkout, count, problem};
use crate::trouble::{fault, no_more_faults};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const JSON: &str = "application/json";

async fn make(world: &World, who: &str) -> Response<Body> {
    make_at(world, who, "tutorclaw_paid").await
}

async fn make_at(world: &World, who: &str, price: &str) -> Response<Body> {
    let target = format!("/learners/{who}/upgrade-link");
    let body = json!({ "price": price }).to_string();
    world.ask("POST /learners/{learner}/upgrade-link", &target, &Who::Service, Some(&body)).await
}

/// Creates a link and returns its last path segment.
async fn made(world: &World, who: &str) -> String {
    made_at(world, who, "tutorclaw_paid").await
}

async fn made_at(world: &World, who: &str, price: &str) -> String {
    let (status, link) = answer(&make_at(world, who, price).await);
    assert_eq!(status, 201, "{link}");
    let url = link["url"].as_str().unwrap();
    url.strip_prefix(&format!("{SITE_ORIGIN}/api/go/")).unwrap().to_owned()
}

/// Requests a link, as a client that accepts this.
async fn ask(world: &World, method: &str, link: &str, accept: &str) -> Response<Body> {
    let route = format!("{method} /go/{{proxy+}}");
    let mut request = api(&route, &format!("/go/{link}"), &Who::Anyone, None);
    request.headers_mut().insert("accept", accept.parse().unwrap());
    checkout::handle(&*world.checkout(), &request).await
}

async fn show(world: &World, link: &str) -> Response<Body> {
    ask(world, "GET", link, BROWSER).await
}

/// Presses the button of the link's page.
async fn press(world: &World, link: &str) -> Response<Body> {
    ask(world, "POST", link, BROWSER).await
}

fn location(response: &Response<Body>) -> String {
    assert_eq!(response.status(), 303, "{:?}", response.body());
    response.headers()["location"].to_str().unwrap().to_owned()
}

/// Presses the button and returns the id of the session that it leads to.
async fn opened(world: &World, link: &str) -> String {
    location(&press(world, link).await).rsplit('/').next().unwrap().to_owned()
}

async fn session(world: &World, id: &str) -> Value {
    world.stripe_get(&format!("/v1/checkout/sessions/{id}")).await
}

async fn advance(world: &World, seconds: i64) {
    world.clock.advance(seconds);
    world.stripe_post("/_sim/advance", &json!({ "seconds": seconds })).await;
}

#[tokio::test]
async fn a_hundred_previews_of_a_link_change_nothing() {
    let world = World::new().await;
    let ada = learner("ada");
    let own = world.buy(&ada).await;
    let link = made(&world, "ada").await;
    let before = world.items().await;
    for accept in [BROWSER, "*/*", "text/html", JSON, "image/*, */*;q=0.1"] {
        for method in ["GET", "HEAD"] {
            for _ in 0..10 {
                assert_eq!(ask(&world, method, &link, accept).await.status(), 200);
            }
        }
    }
    assert_eq!(world.items().await, before);
    assert_eq!(count(&world, "/v1/checkout/sessions").await, 1);
    assert_eq!(session(&world, &own).await["status"], "open");
    let (status, again) = checkout(&world, &ada).await;
    assert_eq!((status, &again["session_id"]), (200, &json!(own)));
}

#[tokio::test]
async fn a_link_shows_its_product_and_price() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let page = show(&world, &link).await;
    let shown = text(&page);
    for part in [
        "<html lang=\"en\">",
        "<title>TutorClaw, all chapters</title>",
        "<h1 dir=\"auto\">TutorClaw, all chapters</h1>",
        "<p class=\"price\">9.99 USD</p>",
        "<meta property=\"og:title\" content=\"TutorClaw, all chapters\">",
        "<meta property=\"og:description\" content=\"9.99 USD. Opens TutorClaw.\">",
        "<form method=\"post\"><button>",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    // One button, no script, and nothing from elsewhere.
    assert_eq!(shown.matches("<button").count(), 1);
    for part in ["<script", "javascript:", "http-equiv", "http://", "https://", "src="] {
        assert!(!shown.contains(part), "{part} is in {shown}");
    }
    let header = |name: &str| page.headers()[name].to_str().unwrap();
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    ] {
        assert_eq!(header(name), value);
    }
    let head = ask(&world, "HEAD", &link, BROWSER).await;
    assert_eq!((head.headers(), text(&head)), (page.headers(), ""));

    let (status, mut offer) = answer(&ask(&world, "GET", &link, JSON).await);
    let expires_at = offer.as_object_mut().unwrap().remove("expires_at").unwrap();
    let expected = json!({
        "price": "tutorclaw_paid",
        "product": "tutorclaw",
        "name": "TutorClaw, all chapters",
        "amount": 999,
        "currency": "usd",
        "courses": ["tutorclaw"],
    });
    assert_eq!((status, offer), (200, expected));
    assert!(expires_at.as_str().unwrap().ends_with('Z'), "{expires_at}");
}

#[tokio::test]
async fn names_in_the_catalog_stay_text_on_a_link_s_page() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let hostile = r#"</title><script>alert('x')</script>" onload="x"#;
    let in_toml = hostile.replace('"', "\\\"");
    let catalog = edited_catalog(|text| {
        let text = text.replace("\"TutorClaw, all chapters\"", &format!("\"{in_toml}\""));
        text.replace("title = \"TutorClaw\"", &format!("title = \"{in_toml} course\""))
    });
    world.publish(&catalog).await.unwrap();
    let page = show(&world, &link).await;
    let shown = text(&page);
    let escaped = "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; \
                   onload=&quot;x";
    // In the title, the heading, a meta tag, two descriptions and the list of courses.
    assert_eq!(shown.matches(escaped).count(), 6, "{shown}");
    for part in [hostile, "<script", "' onload", "\" onload"] {
        assert!(!shown.contains(part), "{part} is in {shown}");
    }
}

#[tokio::test]
async fn a_link_reveals_nothing_about_its_learner() {
    let world = World::new().await;
    let (one, two) = (made(&world, "x-tutor-7").await, made(&world, "x-tutor-7").await);
    assert_ne!(one, two);
    // 24 random bytes.
    assert_eq!(one.len(), 32);
    let short = show(&world, &one[..31]).await;
    let unknown = show(&world, &"A".repeat(32)).await;
    assert_eq!((short.status(), text(&short)), (unknown.status(), text(&unknown)));
    assert_eq!(short.status(), 404);

    let everything = async |method: &str, accept: &str| {
        let response = ask(&world, method, &one, accept).await;
        format!("{one} {:?} {:?}", response.headers(), response.body())
    };
    // The same before anything is bought, with a session open, and once it is paid.
    let mut shown = Vec::new();
    for step in 0..3 {
        if step == 2 {
            world.pay(&opened(&world, &one).await).await;
            world.deliver(&world.events("checkout.session.completed").await[0]).await;
        }
        shown.push([everything("GET", BROWSER).await, everything("GET", JSON).await]);
        let pressed = everything("POST", BROWSER).await;
        assert!(!format!("{shown:?} {pressed}").contains("tutor-7"), "{pressed}");
    }
    assert!(shown.iter().all(|step| *step == shown[0]), "{shown:#?}");
}

#[tokio::test]
async fn a_link_used_days_later_leads_to_a_payable_session() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let first = opened(&world, &link).await;
    assert_eq!(opened(&world, &link).await, first);
    advance(&world, 3 * DAY).await;
    let later = opened(&world, &link).await;
    assert_ne!(later, first);
    world.pay(&later).await;
    let nothing_left = format!("{SITE_ORIGIN}/success?from=chat&status=paid");
    assert_eq!(location(&press(&world, &link).await), nothing_left);
    assert_eq!(problem(&answer(&make(&world, "ada").await)), (409, "already-entitled"));
}

#[tokio::test]
async fn a_service_opens_a_session_that_shows_nobody_s_address() {
    let world = World::new().await;
    let on_the_site = world.buy(&learner("ada")).await;
    let (route, target) = ("POST /learners/{learner}/checkout", "/learners/ada/checkout");
    let body = Some(r#"{"price": "tutorclaw_paid"}"#);
    let (status, opened) = answer(&world.ask(route, target, &Who::Service, body).await);
    assert_eq!(status, 201, "{opened}");
    let id = opened["session_id"].as_str().unwrap();
    let in_the_chat = session(&world, id).await;
    assert_eq!(in_the_chat["url"], opened["url"]);
    assert_eq!(
        (&in_the_chat["customer"], &in_the_chat["customer_email"]),
        (&Value::Null, &Value::Null)
    );
    assert!(in_the_chat["success_url"].as_str().unwrap().ends_with("&from=chat"));
    // Only one session can be paid.
    assert_eq!(session(&world, &on_the_site).await["status"], "expired");

    // A link of the same learner leads to the same session, and so does asking again.
    let link = made(&world, "ada").await;
    assert_eq!(location(&press(&world, &link).await), opened["url"].as_str().unwrap());
    let (status, again) = answer(&world.ask(route, target, &Who::Service, body).await);
    assert_eq!((status, &again["session_id"]), (200, &opened["session_id"]));

    world.pay(id).await;
    let confirm = format!("/learners/ada/checkout/{id}/confirm");
    let of_learner = "POST /learners/{learner}/checkout/{session}/confirm";
    let (_, paid) = answer(&world.ask(of_learner, &confirm, &Who::Service, None).await);
    assert_eq!((&paid["status"], &paid["access"]), (&json!("paid"), &json!("granted")));
    assert_eq!(answer(&world.ask(route, target, &Who::Service, body).await).0, 409);
}

#[tokio::test]
async fn a_link_s_session_has_no_customer_and_is_the_one_to_pay() {
    let world = World::new().await;
    let own = world.buy(&learner("ada")).await;
    let link = made(&world, "ada").await;
    let by_link = session(&world, &opened(&world, &link).await).await;
    // Stripe's page shows the session's customer's email address.
    assert_eq!(by_link["customer"], Value::Null);
    assert_eq!(by_link["customer_email"], Value::Null);
    // Both return URLs say where the learner came from, since nobody is signed in there.
    let success = format!("{SITE_ORIGIN}/success?session_id={{CHECKOUT_SESSION_ID}}&from=chat");
    assert_eq!(by_link["success_url"], success);
    let cancel = format!("{SITE_ORIGIN}/cancel?price=tutorclaw_paid&from=chat");
    assert_eq!(by_link["cancel_url"], cancel);
    assert_eq!(session(&world, &own).await["status"], "expired");
    // The learner's own checkout has a customer again, and closes the link's session in turn.
    let again = world.buy(&learner("ada")).await;
    assert!(session(&world, &again).await["customer"].is_string());
    assert_eq!(session(&world, by_link["id"].as_str().unwrap()).await["status"], "expired");
}

#[tokio::test]
async fn a_link_with_a_pending_payment_says_so() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    world.pay_by_debit(&opened(&world, &link).await).await;
    let waits = format!("{SITE_ORIGIN}/success?from=chat&status=processing");
    assert_eq!(location(&press(&world, &link).await), waits);
}

#[tokio::test]
async fn a_link_works_for_thirty_days() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    world.clock.advance(30 * DAY - 1);
    assert_eq!(show(&world, &link).await.status(), 200);
    assert_eq!(press(&world, &link).await.status(), 303);
    world.clock.advance(1);
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(ask(&world, method, &link, BROWSER).await.status(), 404, "{method}");
    }
}

#[tokio::test]
async fn a_link_works_whatever_a_chat_client_appended() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let page = text(&show(&world, &link).await).to_owned();
    let session = opened(&world, &link).await;
    // As API Gateway passes them on: decoded.
    for end in [
        ".", "...", "…", ",", ";", ":", "!", "?", ")", "]", "}", ">", ")**", "'", "\"", "’", "”",
        "»", "*", "_", "__", "-", "~", "|", "\\", "/", "//", "/.", "/)", "/x/y", " ", " and", "\n",
        "。", "%", "%2", "&amp;", "👍",
    ] {
        let link = format!("{link}{end}");
        let target = link.replace('?', "%3F");
        assert_eq!(text(&show(&world, &target).await), page, "{end:?}");
        // Each has its own count for ten minutes.
        world.clock.advance(10 * MINUTE);
        assert_eq!(opened(&world, &target).await, session, "{end:?}");
    }
}

#[tokio::test]
async fn requests_are_counted_per_link_and_not_against_the_learner() {
    let world = World::new().await;
    let ada = learner("ada");
    let (link, other) = (made(&world, "ada").await, made(&world, "ada").await);
    for _ in 0..20 {
        assert_eq!(press(&world, &link).await.status(), 303);
    }
    assert_eq!(press(&world, &link).await.status(), 429);
    assert_eq!(show(&world, &link).await.status(), 200);
    assert_eq!(press(&world, &other).await.status(), 303);
    for _ in 0..20 {
        world.buy(&ada).await;
    }
    assert_eq!(checkout(&world, &ada).await.0, 429);
    world.clock.advance(10 * MINUTE);
    assert_eq!(press(&world, &link).await.status(), 303);
}

#[tokio::test]
async fn a_link_replaces_its_learner_s_session_once_an_hour() {
    let world = World::new().await;
    let ada = learner("ada");
    let (link, other) = (made(&world, "ada").await, made(&world, "ada").await);
    world.buy(&ada).await;
    assert_eq!(press(&world, &link).await.status(), 303);
    let own = world.buy(&ada).await;
    // However many links a learner has.
    for link in [&link, &other] {
        is_refused(&world, "POST", link, (409, "checkout-open-elsewhere"), true).await;
    }
    assert_eq!(session(&world, &own).await["status"], "open");
    world.clock.advance(HOUR);
    opened(&world, &other).await;
    assert_eq!(session(&world, &own).await["status"], "expired");
}

#[tokio::test]
async fn links_close_each_other_s_sessions_once_an_hour() {
    let world = World::new().await;
    let second_price = r#"
        [[price]]
        lookup_key = "tutorclaw_eur"
        product = "tutorclaw"
        amount = 899
        currency = "eur"
    "#;
    world.publish(&edited_catalog(|text| format!("{text}{second_price}"))).await.unwrap();
    let dollars = made(&world, "ada").await;
    let euros = made_at(&world, "ada", "tutorclaw_eur").await;
    let first = opened(&world, &dollars).await;
    let second = opened(&world, &euros).await;
    assert_eq!(session(&world, &first).await["status"], "expired");
    is_refused(&world, "POST", &dollars, (409, "checkout-open-elsewhere"), true).await;
    assert_eq!(opened(&world, &euros).await, second);
    assert_eq!(session(&world, &second).await["status"], "open");
    world.clock.advance(HOUR);
    assert_ne!(opened(&world, &dollars).await, first);
    assert_eq!(session(&world, &second).await["status"], "expired");
}

#[tokio::test]
async fn links_are_made_at_a_limited_rate() {
    let world = World::new().await;
    for _ in 0..30 {
        made(&world, "ada").await;
    }
    let refused = make(&world, "ada").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_link_for_a_price_that_is_not_sold_is_not_made() {
    let world = World::new().await;
    let target = "/learners/ada/upgrade-link";
    let route = "POST /learners/{learner}/upgrade-link";
    let body = Some(r#"{"price": "no_such_price"}"#);
    let refused = answer(&world.ask(route, target, &Who::Service, body).await);
    assert_eq!(problem(&refused), (404, "unknown-price"));
}

/// Sends a request that is refused: browsers get a page, with a button to try again if that may
/// help, and JSON clients the problem document.
async fn is_refused(
    world: &World,
    method: &str,
    link: &str,
    expected: (u16, &str),
    may_be_tried_again: bool,
) {
    let refused = ask(world, method, link, JSON).await;
    let page = ask(world, method, link, BROWSER).await;
    for (response, content_type) in
        [(&refused, "application/problem+json"), (&page, "text/html; charset=utf-8")]
    {
        assert_eq!(response.status(), expected.0, "{method} {expected:?}: {}", text(response));
        assert_eq!(response.headers()["content-type"], content_type);
        let retry_after = response.headers().get("retry-after");
        assert_eq!(retry_after.is_some(), may_be_tried_again, "{method} {expected:?}");
    }
    if method == "HEAD" {
        assert_eq!((text(&refused), text(&page)), ("", ""));
        return;
    }
    let (refused, shown) = (answer(&refused), text(&page));
    assert_eq!(problem(&refused), expected);
    for member in ["title", "detail"] {
        let said = refused.1[member].as_str().unwrap().replace('\'', "&#39;");
        assert!(shown.contains(&said), "{method} {said} is not in {shown}");
    }
    let button = format!("<form method=\"{}\"><button>Try again", method.to_lowercase());
    assert_eq!(shown.contains(&button), may_be_tried_again, "{method} {shown}");
    assert_eq!(shown.contains("<button"), may_be_tried_again, "{method} {shown}");
    // The text is for the learner, not for a programmer.
    for word in ["GET", "POST", "JSON", "route", "urn:"] {
        assert!(!shown.contains(word), "{word} is in {shown}");
    }
}

#[tokio::test]
async fn link_errors_are_pages_in_browsers_and_problems_as_json() {
    let mut world = World::new().await;
    let methods = ["GET", "HEAD", "POST"];
    let link = made(&world, "ada").await;
    for unknown in ["none", &link[..31], &format!("x{link}"), &"A".repeat(32), "%00", "/"] {
        for method in methods {
            is_refused(&world, method, unknown, (404, "unknown-link"), false).await;
        }
    }

    for (status, expected, may_be_tried_again) in [
        (503, (503, "stripe-unavailable"), true),
        (429, (503, "stripe-unavailable"), true),
        (400, (500, "stripe-refused"), false),
        (401, (500, "internal"), false),
    ] {
        fault(&world, json!({ "path": "/v1/checkout/sessions", "status": status, "times": 9 }))
            .await;
        is_refused(&world, "POST", &link, expected, may_be_tried_again).await;
        assert_eq!(show(&world, &link).await.status(), 200);
        no_more_faults(&world).await;
    }

    for _ in 0..12 {
        press(&world, &link).await;
    }
    is_refused(&world, "POST", &link, (429, "rate-limited"), true).await;

    let disputed = made(&world, "dora").await;
    let paid = "evt_1 completed paid cs_1 pi_1 dora tutorclaw @1000";
    assert_eq!(world.deliver(&event(paid)).await.0, 200);
    let dispute = json!({
        "id": "du_1", "object": "dispute", "status": "needs_response", "payment_intent": "pi_1",
    });
    let dispute = simulation::rendering::event("evt_2", "charge.dispute.created", 2000, &dispute);
    assert_eq!(world.deliver(&dispute).await.0, 200);
    is_refused(&world, "POST", &disputed, (409, "payment-disputed"), false).await;

    let catalog = edited_catalog(|text| {
        let (before, price) =
            text.split_once("[[price]]\nlookup_key = \"tutorclaw_paid\"").unwrap();
        let (_, after) = price.split_once("\n\n").unwrap();
        format!("{before}{after}")
    });
    world.publish(&catalog).await.unwrap();
    for method in methods {
        is_refused(&world, method, &disputed, (404, "unknown-price"), false).await;
    }
    world.spoil("CATALOG", "CURRENT", "document").await;
    for method in methods {
        is_refused(&world, method, &disputed, (500, "internal"), false).await;
    }
    world.stop_servers().await;
    for method in methods {
        is_refused(&world, method, &disputed, (503, "unavailable"), true).await;
    }
}
