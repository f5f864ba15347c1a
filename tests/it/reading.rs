//! What is for sale, and what a learner may open.

use serde_json::{Value, json};
use tests::requests::{Who, learner};
use tests::sessions::event;
use tests::world::World;

async fn access(world: &World, course: &str, query: &str) -> (u16, Value) {
    let target = format!("/courses/{course}/access{query}");
    world.read("GET /courses/{course}/access", &target, &learner("ada")).await
}

#[tokio::test]
async fn anyone_may_see_what_is_for_sale() {
    let world = World::new().await;
    let (status, answer) = world.read("GET /courses", "/courses", &Who::Anyone).await;
    assert_eq!(status, 200);
    let course = &answer["courses"][1];
    assert_eq!(course["id"], "tutorclaw");
    assert_eq!(course["category"], "alacarte");
    assert_eq!(course["free_chapters"], 5);
    let sixth = json!({ "number": 6, "title": "Feedback that helps", "free": false });
    assert_eq!(course["chapters"][5], sixth);
    let offer = json!({
        "price": "tutorclaw_paid",
        "product": "tutorclaw",
        "name": "TutorClaw, all chapters",
        "amount": 999,
        "currency": "usd",
        "courses": ["tutorclaw"],
    });
    assert_eq!(course["offers"], json!([offer]));
}

#[tokio::test]
async fn a_bundle_opens_all_of_its_courses_and_no_other() {
    let world = World::new().await;
    world.deliver(&event("evt_1 completed paid cs_a pi_a ada curriculum @1000")).await;
    for (course, expected) in
        [("models", "granted"), ("evaluation", "granted"), ("tutorclaw", "denied")]
    {
        assert_eq!(access(&world, course, "").await.1["access"], expected, "{course}");
    }
    let (_, answer) = world.read("GET /entitlements", "/entitlements", &learner("ada")).await;
    let expected = json!({
        "learner": "ada",
        "tier": "paid",
        "entitlements": [{
            "product": "curriculum",
            "courses": ["models", "tools", "memory", "evaluation"],
            "source": "pi_a",
            "status": "active",
            "since": "1970-01-01T00:16:40Z",
            "until": null,
            "refunded_percent": 0,
            "paid_twice": false,
        }],
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_whole_course_is_asked_for_without_a_chapter() {
    let world = World::new().await;
    assert_eq!(access(&world, "first-steps", "").await.1["reason"], "free_course");
    assert_eq!(access(&world, "tutorclaw", "").await.1["reason"], "payment_required");
}

#[tokio::test]
async fn a_missing_or_invalid_chapter_is_reported() {
    let world = World::new().await;
    for (course, query, expected) in [
        ("nothing", "?chapter=1", (404, "unknown-course")),
        ("tutorclaw", "?chapter=0", (404, "unknown-chapter")),
        ("tutorclaw", "?chapter=11", (404, "unknown-chapter")),
        ("tutorclaw", "?chapter=six", (422, "invalid-field")),
        ("tutorclaw", "?chapter=-1", (422, "invalid-field")),
    ] {
        let (status, problem) = access(&world, course, query).await;
        let kind = format!("urn:coursegate:problem:{}", expected.1);
        assert_eq!((status, problem["type"].as_str()), (expected.0, Some(kind.as_str())));
        assert_eq!(problem["instance"], "test-request");
    }
}

#[tokio::test]
async fn a_service_reads_the_same_of_a_learner_as_they_do_themselves() {
    let world = World::new().await;
    world.deliver(&event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000")).await;
    let ada = learner("ada");
    for (own, twin, target) in [
        ("GET /entitlements", "GET /learners/{learner}/entitlements", "/entitlements"),
        (
            "GET /courses/{course}/access",
            "GET /learners/{learner}/courses/{course}/access",
            "/courses/tutorclaw/access?chapter=6",
        ),
    ] {
        let by_learner = world.read(own, target, &ada).await;
        let target = format!("/learners/ada{target}");
        let by_service = world.read(twin, &target, &Who::Service).await;
        assert_eq!(by_learner.0, 200);
        assert_eq!(by_learner, by_service);
    }
}

#[tokio::test]
async fn without_the_table_access_is_denied() {
    let mut world = World::new().await;
    let entitlements = world.entitlements();
    let request = tests::requests::api(
        "GET /courses/{course}/access",
        "/courses/tutorclaw/access?chapter=6",
        &learner("ada"),
        None,
    );
    entitlements.catalog.get(shared::ports::Clock::now(&world.clock)).await.unwrap();
    world.stop_servers().await;
    let (status, problem) =
        tests::requests::answer(&entitlements::handle(&entitlements, &request).await);
    assert_eq!(status, 503);
    assert_eq!(problem["type"], "urn:coursegate:problem:unavailable");
}
