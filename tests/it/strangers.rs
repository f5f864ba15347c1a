//! Nobody reads or changes another learner's state: each route with each wrong kind of token.

use serde_json::{Value, json};
use shared::domain::id::LearnerId;
use tests::requests::{Who, answer, learner};
use tests::world::{World, template};

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

/// Both routes about Ada's courses, with a token of these claims: her own and a service's.
async fn ask_with(world: &World, claims: Value) -> [u16; 2] {
    let who = Who::Claims(claims);
    let own = ask(world, "GET /entitlements", "/entitlements", &who).await.0;
    let route = "GET /learners/{learner}/entitlements";
    [own, ask(world, route, "/learners/ada/entitlements", &who).await.0]
}

#[tokio::test]
async fn either_claim_grants_scopes_as_text_or_as_a_list() {
    let world = World::new().await;
    let (learner, service, neither) = ([200, 403], [403, 200], [403, 403]);
    for (scopes, expected) in [
        ("coursegate/learn", learner),
        ("openid coursegate/learn email", learner),
        ("[coursegate/learn]", learner),
        ("[openid coursegate/learn email]", learner),
        ("coursegate/learners", service),
        ("[coursegate/learners]", service),
        ("[a coursegate/learners]", service),
        ("", neither),
        ("[]", neither),
        ("openid", neither),
        ("[openid email]", neither),
        ("[coursegate/learn", neither),
        ("coursegate/learn]", neither),
        ("[coursegate/learnersx coursegate/lear]", neither),
    ] {
        // The second claim in each: an issuer may send both.
        for (claim, other) in [("scope", "scp"), ("scp", "scope")] {
            let mut claims = json!({ "sub": "ada" });
            claims[claim] = scopes.into();
            assert_eq!(ask_with(&world, claims.clone()).await, expected, "{claims}");
            claims[other] = "openid".into();
            assert_eq!(ask_with(&world, claims.clone()).await, expected, "{claims}");
        }
    }
    for claims in [json!({ "sub": "ada" }), json!({ "sub": "ada", "scopes": "coursegate/learn" })] {
        assert_eq!(ask_with(&world, claims.clone()).await, [401, 401], "{claims}");
    }
}

#[tokio::test]
async fn every_route_for_services_refuses_unusable_learners() {
    let world = World::new().await;
    let template = template();
    let routes = template.functions.iter().flat_map(|function| &function.routes);
    let routes: Vec<String> = routes
        .map(local::template::Route::key)
        .filter(|route| route.contains("{learner}"))
        .collect();
    assert!(routes.len() >= 6, "{routes:?}");
    let too_long = "a".repeat(65);
    for route in &routes {
        let path = route.split_once(' ').unwrap().1;
        let path = path.replace("{course}", "tutorclaw").replace("{product}", "tutorclaw");
        let path = path.replace("{session}", "cs_test_1");
        for (learner, why) in [
            ("forgotten", "forgotten is the id of erased learners"),
            ("a%20b", "a learner id is 1 to 64 of"),
            ("a b", "a learner id is 1 to 64 of"),
            (&too_long, "a learner id is 1 to 64 of"),
        ] {
            let target = path.replace("{learner}", learner);
            assert!(!target.contains('{'), "{target}: fill in the new variable");
            let (status, answer) = ask(&world, route, &target, &Who::Service).await;
            assert_eq!(status, 422, "{route} {learner} {answer}");
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.starts_with(why), "{route} {learner} {detail}");
        }
    }
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
