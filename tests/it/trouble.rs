//! Stripe refuses, fails, or responds with nonsense: what checkout returns, and that retrying is
//! safe.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::requests::{answer, api, learner};
use tests::world::{API_KEY_ID, World};

use crate::checkout::{BODY, checkout, count, problem};

/// Injects this fault into the next requests to Stripe.
pub(crate) async fn fault(world: &World, fault: Value) {
    let (status, answer) = world.stripe_post("/_sim/faults", &fault).await;
    assert_eq!(status, 200, "{answer}");
}

/// Clears Stripe's faults.
pub(crate) async fn no_more_faults(world: &World) {
    let faults = format!("{}/_sim/faults", world.stripe_url);
    assert!(reqwest::Client::new().delete(faults).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn stripe_failures_are_reported_and_safe_to_retry() {
    let cases = [
        ("400", json!({ "status": 400 }), (500, "stripe-refused")),
        ("401", json!({ "status": 401, "times": 9 }), (500, "internal")),
        ("402", json!({ "status": 402 }), (500, "stripe-refused")),
        ("409", json!({ "status": 409, "times": 3 }), (503, "stripe-unavailable")),
        ("429", json!({ "status": 429, "times": 3 }), (503, "stripe-unavailable")),
        ("500", json!({ "status": 500, "times": 3 }), (503, "stripe-unavailable")),
        (
            "500, not to be tried again",
            json!({ "status": 500, "should_retry": false }),
            (503, "stripe-unavailable"),
        ),
        ("500, kept", json!({ "status": 500, "save": true }), (503, "stripe-unavailable")),
        (
            "503, done",
            json!({ "status": 503, "times": 3, "after": true }),
            (503, "stripe-unavailable"),
        ),
        ("no answer", json!({ "drop": true, "times": 3 }), (503, "stripe-unavailable")),
        (
            "no answer, done",
            json!({ "drop": true, "times": 3, "after": true }),
            (503, "stripe-unavailable"),
        ),
    ];
    let at = "/v1/checkout/sessions";
    join_all(cases.map(|(what, fault, expected)| stripe_fails(what, at, fault, expected))).await;
}

#[tokio::test]
async fn a_failed_customer_creation_blocks_no_purchase() {
    let cases = [
        ("400 twice", json!({ "status": 400, "times": 2 }), (500, "stripe-refused")),
        ("429", json!({ "status": 429, "times": 3 }), (503, "stripe-unavailable")),
        ("500", json!({ "status": 500, "times": 6 }), (503, "stripe-unavailable")),
        ("no answer", json!({ "drop": true, "times": 3 }), (503, "stripe-unavailable")),
    ];
    let at = "/v1/customers";
    join_all(cases.map(|(what, fault, expected)| stripe_fails(what, at, fault, expected))).await;
}

#[tokio::test]
async fn an_error_stored_under_a_customer_s_key_is_bypassed() {
    let world = World::new().await;
    fault(&world, json!({ "path": "/v1/customers", "status": 500, "save": true })).await;
    assert_eq!(checkout(&world, &learner("ada")).await.0, 201);
    assert_eq!(checkout(&world, &learner("bob")).await.0, 201);
}

#[tokio::test]
async fn an_error_kept_for_an_earlier_request_is_not_repeated() {
    let world = World::new().await;
    let (ada, path) = (learner("ada"), "/v1/checkout/sessions");
    fault(&world, json!({ "method": "POST", "path": path, "drop": true, "times": 3 })).await;
    assert_eq!(problem(&checkout(&world, &ada).await), (503, "stripe-unavailable"));
    // By now Stripe has failed to open that request's session.
    fault(&world, json!({ "method": "POST", "path": path, "status": 500, "save": true })).await;
    assert_eq!(checkout(&world, &ada).await.0, 201);
    assert_eq!(count(&world, path).await, 1);
}

async fn stripe_fails(what: &str, at: &str, mut trouble: Value, expected: (u16, &str)) {
    let world = World::new().await;
    let ada = learner("ada");
    trouble["method"] = "POST".into();
    trouble["path"] = at.into();
    fault(&world, trouble).await;
    let response = world.ask("POST /checkout", "/checkout", &ada, BODY).await;
    assert_eq!(problem(&answer(&response)), expected, "{what}");
    let retry_after = response.headers().get("retry-after");
    assert_eq!(retry_after.is_some(), expected.0 == 503, "{what}");
    no_more_faults(&world).await;

    let (status, session) = checkout(&world, &ada).await;
    assert_eq!(status, 201, "{what}: {session}");
    assert_eq!(checkout(&world, &ada).await, (200, session.clone()), "{what}");
    world.pay(session["session_id"].as_str().unwrap()).await;
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "already-entitled"), "{what}");
    assert_eq!(count(&world, "/v1/customers").await, 1, "{what}");
}

#[tokio::test]
async fn a_brief_stripe_outage_still_yields_one_session() {
    let troubles = [
        json!({ "status": 429, "times": 2 }),
        json!({ "status": 500 }),
        json!({ "status": 409, "times": 2 }),
        json!({ "status": 400, "should_retry": true, "times": 2 }),
        json!({ "drop": true, "after": true }),
        json!({ "delay_ms": 6500, "after": true }),
    ];
    join_all(troubles.map(stripe_stumbles)).await;
}

async fn stripe_stumbles(mut trouble: Value) {
    let world = World::new().await;
    trouble["path"] = "/v1/checkout/sessions".into();
    fault(&world, trouble.clone()).await;
    let (status, session) = checkout(&world, &learner("ada")).await;
    assert_eq!(status, 201, "{trouble}: {session}");
    assert_eq!(count(&world, "/v1/checkout/sessions").await, 1, "{trouble}");
}

#[tokio::test]
async fn a_missing_or_wrong_mode_key_charges_nobody() {
    let world = World::new().await;
    for (key, expected) in
        [("placeholder", (503, "unavailable")), ("sk_live_of_another_world", (500, "internal"))]
    {
        world.secrets.set_current(API_KEY_ID, key).unwrap();
        assert_eq!(problem(&checkout(&world, &learner("ada")).await), expected, "{key}");
    }
    assert_eq!(count(&world, "/v1/customers").await, 0);
}

#[tokio::test]
async fn a_complete_but_unreadable_session_is_not_sold_again() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay(&session).await;
    let path = format!("/v1/checkout/sessions/{session}?expand[]=payment_intent.latest_charge");
    let mut of_the_future = world.stripe_get(&path).await;
    of_the_future["payment_status"] = "a_status_of_the_future".into();

    // A Stripe with only this response, whatever the request.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async || axum::Json(of_the_future));
    let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let app = world.checkout_at(&url);
    for (route, target) in [
        ("POST /checkout", "/checkout".to_owned()),
        ("POST /checkout/{session}/confirm", format!("/checkout/{session}/confirm")),
    ] {
        let request = api(route, &target, &ada, BODY);
        let answered = answer(&checkout::handle(&*app, &request).await);
        assert_eq!(problem(&answered), (500, "internal"), "{route}");
    }
    server.abort();
}
