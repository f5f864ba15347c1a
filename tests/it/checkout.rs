//! Checkout through its handler, with Stripe's simulator behind the real client.

use coursegate::catalog::Step;
use futures_util::future::join_all;
use serde_json::{Value, json};
use simulation::rendering::MARK;
use tests::requests::{Who, answer, api, learner};
use tests::world::{SITE_ORIGIN, World, edited_catalog};

pub(crate) const BODY: Option<&str> = Some(r#"{"price": "tutorclaw_paid"}"#);

pub(crate) async fn checkout(world: &World, who: &Who) -> (u16, Value) {
    answer(&world.ask("POST /checkout", "/checkout", who, BODY).await)
}

async fn confirm(world: &World, who: &Who, session: &str) -> (u16, Value) {
    let target = format!("/checkout/{session}/confirm");
    answer(&world.ask("POST /checkout/{session}/confirm", &target, who, None).await)
}

async fn access(world: &World, who: &Who, chapter: u32) -> Value {
    let target = format!("/courses/tutorclaw/access?chapter={chapter}");
    let (status, answer) = world.read("GET /courses/{course}/access", &target, who).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

pub(crate) fn problem(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["type"].as_str().unwrap().rsplit(':').next().unwrap())
}

pub(crate) async fn count(world: &World, path: &str) -> usize {
    world.stripe_get(path).await["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_free_learner_pays_and_reads_on() {
    let world = World::new().await;
    let ada = learner("ada");
    assert_eq!(access(&world, &ada, 5).await["access"], "granted");
    let denied = access(&world, &ada, 6).await;
    assert_eq!(denied["access"], "denied");
    assert_eq!(denied["reason"], "payment_required");
    assert_eq!(denied["tier"], "free");
    assert_eq!(denied["offers"][0]["price"], "tutorclaw_paid");

    let (status, session) = checkout(&world, &ada).await;
    assert_eq!(status, 201, "{session}");
    let id = session["session_id"].as_str().unwrap();
    assert!(session["url"].as_str().unwrap().contains(id));
    world.pay(id).await;
    let paid = world.events("checkout.session.completed").await;
    assert_eq!(world.deliver(&paid[0]).await, (200, json!({ "outcome": "applied" })));

    let granted = access(&world, &ada, 6).await;
    assert_eq!(granted["access"], "granted");
    assert_eq!(granted["tier"], "paid");
    assert_eq!(granted["reason"], "purchased");
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "already-entitled"));
    assert_eq!(access(&world, &learner("bob"), 6).await["access"], "denied");
}

#[tokio::test]
async fn a_declined_card_opens_nothing_and_the_session_stays_payable() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    let pay = format!("/_sim/checkout/sessions/{session}/pay");
    let declined = world.stripe_post(&pay, &json!({ "card": "4000000000000002" })).await;
    assert_eq!((declined.0, &declined.1["error"]["code"]), (402, &json!("card_declined")));
    let expected = (200, json!({ "status": "open", "access": "denied" }));
    assert_eq!(confirm(&world, &ada, &session).await, expected);
    assert!(world.items_of("SOURCE#", "").await.is_empty());
    world.pay(&session).await;
    let expected = (200, json!({ "status": "paid", "access": "granted" }));
    assert_eq!(confirm(&world, &ada, &session).await, expected);
}

#[tokio::test]
async fn a_session_has_what_the_webhook_needs_and_our_return_url() {
    let world = World::new().await;
    let session = world.buy(&learner("ada")).await;
    let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
    let ours = json!({
        "coursegate": MARK,
        "learner_id": "ada",
        "product": "tutorclaw",
        "price": "tutorclaw_paid",
    });
    assert_eq!(session["metadata"], ours);
    assert_eq!(session["client_reference_id"], "ada");
    assert_eq!(session["mode"], "payment");
    assert_eq!(session["amount_total"], 999);
    let success = format!("{SITE_ORIGIN}/success?session_id={{CHECKOUT_SESSION_ID}}");
    assert_eq!(session["success_url"], success);
    assert_eq!(session["cancel_url"], format!("{SITE_ORIGIN}/cancel?price=tutorclaw_paid"));
    world.pay(session["id"].as_str().unwrap()).await;
    let intents = world.stripe_get("/v1/payment_intents").await;
    assert_eq!(intents["data"][0]["metadata"], ours);
}

#[tokio::test]
async fn only_the_price_is_read_from_the_body() {
    let world = World::new().await;
    let ada = learner("ada");
    for (body, expected) in [
        (r#"{"price": "nothing_like_it"}"#, (404, "unknown-price")),
        (r#"{"price": "../../etc"}"#, (404, "unknown-price")),
        (r#"{"price": "tutorclaw_paid", "amount": 1}"#, (422, "invalid-field")),
        (r#"{"price": "tutorclaw_paid", "success_url": "https://evil"}"#, (422, "invalid-field")),
        (r#"{"price": "tutorclaw_paid", "learner": "bob"}"#, (422, "invalid-field")),
        (r#"{"price": 2900}"#, (422, "invalid-field")),
        (r#"["tutorclaw_paid"]"#, (422, "invalid-field")),
        ("{}", (422, "invalid-field")),
        ("", (400, "malformed-json")),
        ("{", (400, "malformed-json")),
        (&"x".repeat(20_000), (413, "body-too-large")),
    ] {
        let answered = answer(&world.ask("POST /checkout", "/checkout", &ada, Some(body)).await);
        assert_eq!(problem(&answered), expected, "{body:.60}");
    }
    assert_eq!(count(&world, "/v1/checkout/sessions").await, 0);
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let world = World::new().await;
    for (body, named) in [
        (r#"{"price": 2900}"#, "price: invalid type"),
        (r#"{"price": "tutorclaw_paid", "amount": 1}"#, "`amount`"),
        ("{}", "`price`"),
    ] {
        let ada = learner("ada");
        let (_, problem) =
            answer(&world.ask("POST /checkout", "/checkout", &ada, Some(body)).await);
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
}

#[tokio::test]
async fn asking_twice_gives_the_same_open_session() {
    let world = World::new().await;
    let ada = learner("ada");
    let first = checkout(&world, &ada).await;
    let second = checkout(&world, &ada).await;
    assert_eq!((first.0, second.0), (201, 200));
    assert_eq!(first.1, second.1);
}

#[tokio::test]
async fn asking_ten_times_at_once_opens_one_session_for_one_customer() {
    let world = World::new().await;
    let ada = learner("ada");
    let answers = join_all((0..10).map(|_| checkout(&world, &ada))).await;
    let first = &answers[0].1["session_id"];
    for (status, session) in &answers {
        assert!(matches!(status, 200 | 201), "{status} {session}");
        assert_eq!(&session["session_id"], first);
    }
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(count(&world, "/v1/customers").await, 1);
    assert_eq!(count(&world, "/v1/checkout/sessions").await, 1);
}

#[tokio::test]
async fn a_price_change_replaces_the_open_session() {
    let world = World::new().await;
    let ada = learner("ada");
    let old = world.buy(&ada).await;
    let dearer = edited_catalog(|text| text.replace("amount = 999", "amount = 3900"));
    let plan = world.publish(&dearer).await.unwrap();
    assert!(matches!(plan.steps[0], Step::CreatePrice { replaces: Some(_), .. }), "{plan:?}");

    let new = world.buy(&ada).await;
    assert_ne!(old, new);
    let status = |session: String| {
        let path = format!("/v1/checkout/sessions/{session}");
        let world = &world;
        async move { world.stripe_get(&path).await["status"].clone() }
    };
    assert_eq!(status(old).await, "expired");
    assert_eq!(status(new).await, "open");
}

#[tokio::test]
async fn an_expired_session_is_replaced() {
    let world = World::new().await;
    let ada = learner("ada");
    let old = world.buy(&ada).await;
    world.expire(&old).await;
    assert_ne!(world.buy(&ada).await, old);
    let expected = (200, json!({ "status": "expired", "access": "denied" }));
    assert_eq!(confirm(&world, &ada, &old).await, expected);
}

#[tokio::test]
async fn a_session_paid_without_an_event_is_recorded_before_a_sale() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay(&session).await;
    // No webhook has come.
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "already-entitled"));
    assert_eq!(access(&world, &ada, 6).await["access"], "granted");
}

#[tokio::test]
async fn a_pending_debit_blocks_a_second_sale_until_refused() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay_by_debit(&session).await;
    let expected = (200, json!({ "status": "processing", "access": "denied" }));
    assert_eq!(confirm(&world, &ada, &session).await, expected);
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "payment-processing"));
    assert_eq!(access(&world, &ada, 6).await["reason"], "payment_processing");

    world.refuse_debit(&session).await;
    let expected = (200, json!({ "status": "failed", "access": "denied" }));
    assert_eq!(confirm(&world, &ada, &session).await, expected);
    assert_ne!(world.buy(&ada).await, session);
}

#[tokio::test]
async fn confirm_grants_at_once_and_the_webhook_changes_nothing() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay(&session).await;
    let expected = (200, json!({ "status": "paid", "access": "granted" }));
    assert_eq!(confirm(&world, &ada, &session).await, expected);
    let before = (world.items_of("SOURCE#", "").await, world.items_of("LEARNER#", "ACCESS").await);
    let paid = world.events("checkout.session.completed").await;
    assert_eq!(world.deliver(&paid[0]).await, (200, json!({ "outcome": "duplicate" })));
    let after = (world.items_of("SOURCE#", "").await, world.items_of("LEARNER#", "ACCESS").await);
    assert_eq!(before, after);
    assert_eq!(confirm(&world, &ada, &session).await, expected);
}

#[tokio::test]
async fn a_customer_deleted_at_stripe_is_replaced() {
    let world = World::new().await;
    let ada = learner("ada");
    let old = world.buy(&ada).await;
    let customer = world.items_of("LEARNER#ada", "CUSTOMER").await[0]["customer"].clone();
    let customer_path = format!("/v1/customers/{}", customer.as_str().unwrap());
    let deleted = reqwest::Client::new()
        .delete(format!("{}{customer_path}", world.stripe_url))
        .bearer_auth("sk_test_world");
    assert_eq!(deleted.send().await.unwrap().status(), 200);
    world.expire(&old).await;
    let new = world.buy(&ada).await;
    let session = world.stripe_get(&format!("/v1/checkout/sessions/{new}")).await;
    assert_ne!(session["customer"], customer);
    let kept = &world.items_of("LEARNER#ada", "CUSTOMER").await[0]["customer"];
    assert_eq!(&session["customer"], kept);
}

#[tokio::test]
async fn a_learner_over_the_limit_is_told_when_to_retry() {
    let world = World::new().await;
    let ada = learner("ada");
    for _ in 0..20 {
        assert!(checkout(&world, &ada).await.0 < 300);
    }
    let response = world.ask("POST /checkout", "/checkout", &ada, BODY).await;
    assert_eq!(problem(&answer(&response)), (429, "rate-limited"));
    assert_eq!(response.headers()["retry-after"], "600");
    assert_eq!(checkout(&world, &learner("bob")).await.0, 201);
    world.clock.advance(600);
    assert!(checkout(&world, &ada).await.0 < 300);
}

#[tokio::test]
async fn an_unreported_bank_refusal_does_not_block_the_learner() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay_by_debit(&session).await;
    let completed = world.events("checkout.session.completed").await;
    assert_eq!(world.deliver(&completed[0]).await.0, 200);
    assert_eq!(problem(&checkout(&world, &ada).await), (409, "payment-processing"));
    world.refuse_debit(&session).await;
    let (status, answer) = checkout(&world, &ada).await;
    assert_eq!(status, 201, "{answer}");
    assert_ne!(answer["session_id"], session);
}

#[tokio::test]
async fn an_instance_with_an_old_catalog_keeps_newer_sessions() {
    let world = World::new().await;
    let ada = learner("ada");
    let stale = world.checkout();
    let ask = async || {
        let request = api("POST /checkout", "/checkout", &ada, BODY);
        answer(&checkout::handle(&*stale, &request).await)
    };
    assert_eq!(ask().await.0, 201);
    let dearer = edited_catalog(|text| text.replace("amount = 999", "amount = 3900"));
    world.publish(&dearer).await.unwrap();
    let today = world.buy(&ada).await;
    let (status, reused) = ask().await;
    assert_eq!((status, reused["session_id"].as_str()), (200, Some(today.as_str())));
}

#[tokio::test]
async fn a_retired_product_stays_open_for_its_owners() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    world.pay(&session).await;
    assert_eq!(confirm(&world, &ada, &session).await.0, 200);
    let without_price = edited_catalog(|text| {
        let (before, price) =
            text.split_once("[[price]]\nlookup_key = \"tutorclaw_paid\"").unwrap();
        format!("{before}{}", &price[price.find("[[price]]").unwrap()..])
    });
    world.publish(&without_price).await.unwrap();
    assert_eq!(access(&world, &ada, 6).await["access"], "granted");
    let denied = access(&world, &learner("bob"), 6).await;
    assert_eq!((&denied["access"], &denied["offers"]), (&json!("denied"), &json!([])));
    assert_eq!(problem(&checkout(&world, &learner("bob")).await), (404, "unknown-price"));
}

#[tokio::test]
async fn a_catalog_that_would_end_access_is_not_published() {
    let world = World::new().await;
    let small = |curriculum: &str| {
        let text = format!(
            r#"
            [[course]]
            id = "memory"
            title = "Memory"
            summary = "One."
            category = "curriculum"
            chapters = ["One"]
            [[product]]
            id = "{curriculum}"
            name = "All"
            courses = ["memory"]
            "#
        );
        edited_catalog(|_| text)
    };
    let error = world.publish(&small("curriculum")).await.unwrap_err().to_string();
    for lost in [
        "course first-steps is gone",
        "course tutorclaw is gone",
        "product tutorclaw is gone",
        "product curriculum no longer opens evaluation",
    ] {
        assert!(error.contains(lost), "{lost} is not in: {error}");
    }
    let error = world.publish(&small("other")).await.unwrap_err().to_string();
    assert!(error.contains("product curriculum is gone"), "{error}");
    assert_eq!(checkout(&world, &learner("ada")).await.0, 201);
}
