//! Upgrade links: made in a chat, opened days later.

use lambda_http::{Body, Response};
use tests::requests::{Who, answer, learner};
use tests::world::{SITE_ORIGIN, World};

const DAY: i64 = 24 * 60 * 60;

async fn make(world: &World, who: &str) -> Response<Body> {
    let target = format!("/learners/{who}/upgrade-link");
    let body = Some(r#"{"price": "tutorclaw_paid"}"#);
    world.ask("POST /learners/{learner}/upgrade-link", &target, &Who::Service, body).await
}

/// Makes a link and answers with its last part.
async fn made(world: &World, who: &str) -> String {
    let (status, link) = answer(&make(world, who).await);
    assert_eq!(status, 201, "{link}");
    let url = link["url"].as_str().unwrap();
    url.strip_prefix(&format!("{SITE_ORIGIN}/api/go/")).unwrap().to_owned()
}

async fn go(world: &World, link: &str) -> Response<Body> {
    world.ask("GET /go/{link}", &format!("/go/{link}"), &Who::Anyone, None).await
}

fn location(response: &Response<Body>) -> String {
    assert_eq!(response.status(), 303, "{:?}", response.body());
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_opened_days_later_leads_to_a_payable_session() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let first = location(&go(&world, &link).await);
    assert_eq!(location(&go(&world, &link).await), first);
    world.clock.advance(3 * DAY);
    world.stripe_post("/_sim/advance", &serde_json::json!({ "seconds": 3 * DAY })).await;
    let later = location(&go(&world, &link).await);
    assert_ne!(later, first);
    let session = later.rsplit('/').next().unwrap();
    world.pay(session).await;
    let nothing_left = format!("{SITE_ORIGIN}/success?from=chat&status=paid");
    assert_eq!(location(&go(&world, &link).await), nothing_left);
    let (status, problem) = answer(&make(&world, "ada").await);
    assert_eq!(
        (status, &problem["type"]),
        (409, &"urn:coursegate:problem:already-entitled".into())
    );
}

#[tokio::test]
async fn a_link_s_page_shows_nothing_of_the_learner_and_only_one_session_can_be_paid() {
    let world = World::new().await;
    let own = world.buy(&learner("ada")).await;
    let link = made(&world, "ada").await;
    let session = location(&go(&world, &link).await).rsplit('/').next().unwrap().to_owned();
    let read = async |id: &str| world.stripe_get(&format!("/v1/checkout/sessions/{id}")).await;
    let session = read(&session).await;
    // Stripe's page shows the e-mail of the customer that a session is opened for.
    assert_eq!(session["customer"], serde_json::Value::Null);
    assert_eq!(session["customer_email"], serde_json::Value::Null);
    // Both ways out of it say where they come from, since nobody is signed in there.
    let success = format!("{SITE_ORIGIN}/success?session_id={{CHECKOUT_SESSION_ID}}&from=chat");
    assert_eq!(session["success_url"], success);
    let cancel = format!("{SITE_ORIGIN}/cancel?price=tutorclaw_paid&from=chat");
    assert_eq!(session["cancel_url"], cancel);
    assert_eq!(read(&own).await["status"], "expired");
    // The learner's own checkout has a customer again, and closes the link's session in turn.
    let again = world.buy(&learner("ada")).await;
    assert!(read(&again).await["customer"].is_string());
    assert_eq!(read(session["id"].as_str().unwrap()).await["status"], "expired");
}

#[tokio::test]
async fn a_link_whose_payment_is_on_its_way_says_so() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    let session = location(&go(&world, &link).await).rsplit('/').next().unwrap().to_owned();
    world.pay_by_debit(&session).await;
    let waits = format!("{SITE_ORIGIN}/success?from=chat&status=processing");
    assert_eq!(location(&go(&world, &link).await), waits);
}

#[tokio::test]
async fn a_link_is_over_after_thirty_days() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    world.clock.advance(30 * DAY - 1);
    assert_eq!(go(&world, &link).await.status(), 303);
    world.clock.advance(1);
    let (status, problem) = answer(&go(&world, &link).await);
    assert_eq!((status, &problem["type"]), (404, &"urn:coursegate:problem:unknown-link".into()));
}

#[tokio::test]
async fn a_link_can_t_be_guessed_and_tells_nothing_of_the_learner() {
    let world = World::new().await;
    let (one, two) = (made(&world, "x-tutor-7").await, made(&world, "x-tutor-7").await);
    assert_ne!(one, two);
    // 24 random bytes.
    assert_eq!(one.len(), 32);
    let over = go(&world, &one[..31]).await;
    let unknown = go(&world, &"A".repeat(32)).await;
    assert_eq!(answer(&over), answer(&unknown));
    assert_eq!(over.status(), 404);
    let response = go(&world, &one).await;
    let everything = format!("{one} {:?} {:?}", response.headers(), response.body());
    assert!(!everything.contains("x-tutor-7"), "{everything}");
}

#[tokio::test]
async fn links_are_made_and_opened_at_a_limited_rate() {
    let world = World::new().await;
    let link = made(&world, "ada").await;
    for _ in 0..29 {
        made(&world, "ada").await;
    }
    let refused = make(&world, "ada").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    for _ in 0..20 {
        assert_eq!(go(&world, &link).await.status(), 303);
    }
    let refused = go(&world, &link).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_link_for_a_price_that_is_not_sold_is_not_made() {
    let world = World::new().await;
    let target = "/learners/ada/upgrade-link";
    let route = "POST /learners/{learner}/upgrade-link";
    let body = Some(r#"{"price": "no_such_price"}"#);
    let (status, problem) = answer(&world.ask(route, target, &Who::Service, body).await);
    assert_eq!((status, &problem["type"]), (404, &"urn:coursegate:problem:unknown-price".into()));
}
