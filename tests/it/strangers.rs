//! Nobody reads or changes another learner's state: each route with each wrong kind of token.

use serde_json::{Value, json};
use shared::domain::id::LearnerId;
use tests::requests::{Who, answer, learner};
use tests::world::World;

/// Every protected route: its key, an existing target, and whose it is.
const ROUTES: [(&str, &str, bool); 11] = [
    ("GET /entitlements", "/entitlements", false),
    ("GET /courses/{course}/access", "/courses/tutorclaw/access", false),
    ("GET /learners/{learner}/entitlements", "/learners/ada/entitlements", true),
    (
        "GET /learners/{learner}/courses/{course}/access",
        "/learners/ada/courses/tutorclaw/access",
        true,
    ),
    ("GET /entitlements/{product}/why", "/entitlements/tutorclaw/why", false),
    (
        "GET /learners/{learner}/entitlements/{product}/why",
        "/learners/ada/entitlements/tutorclaw/why",
        true,
    ),
    ("GET /courses/{course}/chapters/{chapter}", "/courses/tutorclaw/chapters/1", false),
    ("POST /checkout", "/checkout", false),
    ("POST /learners/{learner}/checkout", "/learners/ada/checkout", true),
    ("POST /checkout/{session}/confirm", "/checkout/SESSION/confirm", false),
    (
        "POST /learners/{learner}/checkout/{session}/confirm",
        "/learners/ada/checkout/SESSION/confirm",
        true,
    ),
];

const UPGRADE_LINK: (&str, &str, bool) =
    ("POST /learners/{learner}/upgrade-link", "/learners/ada/upgrade-link", true);

async fn ask(world: &World, route: &str, target: &str, who: &Who) -> (u16, Value) {
    if entitlements::ROUTES.contains(&route) {
        world.read(route, target, who).await
    } else {
        let body = Some(r#"{"price": "tutorclaw_paid"}"#);
        answer(&world.ask(route, target, who, body).await)
    }
}

#[tokio::test]
async fn every_protected_route_refuses_the_wrong_kind_of_token() {
    let world = World::new().await;
    let ada = world.buy(&learner("ada")).await;
    let all: Vec<_> = ROUTES.into_iter().chain([UPGRADE_LINK]).collect();
    let declared: Vec<&str> =
        entitlements::ROUTES.iter().chain(checkout::ROUTES).copied().collect();
    // A new route must be listed here with its caller.
    assert_eq!(all.len() + 4, declared.len(), "GET /courses and /go are for anyone");

    for (route, target, for_services) in all {
        let target = target.replace("SESSION", &ada);
        let (right, wrong) = if for_services {
            (Who::Service, learner("ada"))
        } else {
            (learner("ada"), Who::Service)
        };
        let status = ask(&world, route, &target, &right).await.0;
        assert!(status < 300, "{route} {status}");
        assert_eq!(ask(&world, route, &target, &Who::Anyone).await.0, 401, "{route}");
        assert_eq!(ask(&world, route, &target, &wrong).await.0, 403, "{route}");
        // An ID token has no scope; it identifies somebody without permitting anything.
        let id_token = Who::Claims(json!({ "sub": "ada", "token_use": "id" }));
        assert_eq!(ask(&world, route, &target, &id_token).await.0, 401, "{route}");
        let scope = "coursegate/learnersx coursegate/learne";
        let near_miss = Who::Claims(json!({ "sub": "ada", "scope": scope }));
        assert_eq!(ask(&world, route, &target, &near_miss).await.0, 403, "{route}");
    }
}

#[tokio::test]
async fn the_learner_comes_only_from_the_token() {
    let world = World::new().await;
    let who = Who::Claims(json!({ "sub": "", "scope": "coursegate/learn" }));
    assert_eq!(ask(&world, "GET /entitlements", "/entitlements", &who).await.0, 403);
    for subject in ["x-tutor-7", "forgotten", "a b", "auth0|1", &"a".repeat(65)] {
        let claims = json!({ "iss": "https://idp", "sub": subject, "scope": "coursegate/learn" });
        let who = Who::Claims(claims);
        let (status, answer) = ask(&world, "GET /entitlements", "/entitlements", &who).await;
        assert_eq!(status, 200, "{subject:?}");
        let learner = LearnerId::of_subject("https://idp", subject).unwrap();
        assert_eq!(answer["learner"], learner.as_str());
        assert_ne!(learner.as_str(), subject);
    }
    let target = "/entitlements?learner=bob&sub=bob";
    let (_, answer) = ask(&world, "GET /entitlements", target, &learner("ada")).await;
    assert_eq!(answer["learner"], "ada");
}

#[tokio::test]
async fn a_service_can_t_act_for_erased_learners() {
    let world = World::new().await;
    let (route, target) =
        ("GET /learners/{learner}/entitlements", "/learners/forgotten/entitlements");
    let (status, answer) = ask(&world, route, target, &Who::Service).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("erased learners"), "{answer}");
}

#[tokio::test]
async fn another_learner_s_session_is_unknown_and_unconfirmed() {
    let world = World::new().await;
    let session = world.buy(&learner("ada")).await;
    world.pay(&session).await;
    let route = "POST /checkout/{session}/confirm";
    let bob = learner("bob");
    let theirs = ask(&world, route, &format!("/checkout/{session}/confirm"), &bob).await;
    for none in ["cs_test_none", "pi_1", "x"] {
        let unknown = ask(&world, route, &format!("/checkout/{none}/confirm"), &bob).await;
        assert_eq!(theirs, unknown, "{none}");
    }
    assert_eq!(theirs.0, 404);
    let twin = "POST /learners/{learner}/checkout/{session}/confirm";
    let target = format!("/learners/bob/checkout/{session}/confirm");
    assert_eq!(ask(&world, twin, &target, &Who::Service).await.0, 404);
    assert!(world.items_of("SOURCE#", "").await.is_empty());
}

#[tokio::test]
async fn a_purchase_opens_its_own_learner_s_courses_only() {
    let world = World::new().await;
    let session = world.buy(&learner("ada")).await;
    world.pay(&session).await;
    let paid = world.events("checkout.session.completed").await;
    world.deliver(&paid[0]).await;
    for (who, tier) in [("ada", "paid"), ("bob", "free"), ("ad", "free"), ("ada2", "free")] {
        let (_, answer) = ask(&world, "GET /entitlements", "/entitlements", &learner(who)).await;
        assert_eq!(answer["tier"], tier, "{who}");
    }
}

#[tokio::test]
async fn a_service_must_name_the_right_learner_of_a_session() {
    let world = World::new().await;
    for id in ["a%20b", "a b", &"a".repeat(65)] {
        let target = format!("/learners/{id}/entitlements");
        let route = "GET /learners/{learner}/entitlements";
        assert_eq!(ask(&world, route, &target, &Who::Service).await.0, 422, "{id}");
    }
}
