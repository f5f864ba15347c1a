//! The webhook endpoint: registered, repaired, rotated, while events keep coming.

use std::time::Duration;

use coursegate::account::{API_VERSION, Account};
use coursegate::deployment::{Deployment, LocalStack};
use coursegate::lambda::Function;
use coursegate::webhook::{self, Ending, WebhookError, look};
use serde_json::{Value, json};
use shared::domain::shop::Shop;
use shared::domain::time::{DAY, HOUR, Timestamp};
use shared::ports::Clock as _;
use shared::stripe::wire::handled_event_types;
use simulation::shop;
use tests::instances::{INSTANCES, Instances};
use tests::requests::{Who, learner};
use tests::world::{API_KEY_ID, SIGNING_SECRET_ID, World};

/// A world with a reachable webhook, and no signing secret stored yet.
async fn fresh() -> (World, Deployment) {
    let (world, deployment, _) = served().await;
    (world, deployment)
}

/// The same, with the instances that serve the webhook.
async fn served() -> (World, Deployment, Instances) {
    let mut world = World::new().await;
    world.secrets.set_current(SIGNING_SECRET_ID, "placeholder").unwrap();
    world.secrets.set_current(SIGNING_SECRET_ID, "placeholder again").unwrap();
    let instances = world.serve_webhook().await;
    let deployment = world.deployment(&world.webhook_url());
    (world, deployment, instances)
}

/// The same with an endpoint, and the secret that every instance has read and that then leaks.
async fn leaked() -> (World, Deployment, Instances, String) {
    let (world, deployment, instances) = served().await;
    register(&world.account(), &deployment).await.unwrap();
    let leaked = stored(&world).remove(0);
    assert!(is_accepted(&world, &leaked).await);
    (world, deployment, instances, leaked)
}

async fn endpoints(world: &World) -> Vec<Value> {
    let list = world.stripe_get("/v1/webhook_endpoints?limit=100").await;
    list["data"].as_array().unwrap().clone()
}

async fn post(world: &World, path: &str, form: &str) -> Value {
    let request = reqwest::Client::new().post(format!("{}{path}", world.stripe_url));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.bearer_auth("sk_test_world").body(form.to_owned());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{path} {form}");
    response.json().await.unwrap()
}

fn stored(world: &World) -> Vec<String> {
    let stored = world.secrets.current(SIGNING_SECRET_ID).unwrap();
    stored.split_whitespace().map(ToOwned::to_owned).collect()
}

async fn register(account: &Account, deployment: &Deployment) -> Result<Vec<String>, WebhookError> {
    let mut told = Vec::new();
    webhook::register(account, deployment, &mut |line| told.push(line)).await?;
    Ok(told)
}

async fn rotate(
    account: &Account,
    deployment: &Deployment,
    ending: Ending,
    now: Timestamp,
) -> Result<Vec<String>, WebhookError> {
    let mut told = Vec::new();
    webhook::rotate(account, deployment, ending, now, &mut |line| told.push(line)).await?;
    Ok(told)
}

/// A learner buys the demo course, and gets access from Stripe's events alone.
async fn events_let_in(world: &World, who: &Who) {
    let session = world.buy(who).await;
    world.pay(&session).await;
    for _ in 0..200 {
        let (_, answer) = world.read("GET /entitlements", "/entitlements", who).await;
        if answer["tier"] == "paid" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no event has let {who:?} in: {:?}", endpoints(world).await);
}

/// Whether all running functions accept an event signed with this secret, or none.
async fn is_accepted(world: &World, secret: &str) -> bool {
    let body = json!({"id": "evt_1", "type": "unknown", "object": "event", "created": 1,
        "livemode": false, "data": {"object": {}}})
    .to_string();
    let signature = samples::signature(&body, secret, world.clock.now().unix_seconds());
    let mut accepted = 0;
    for _ in 0..2 * INSTANCES {
        let request = reqwest::Client::new().post(world.webhook_url());
        let request = request.header("stripe-signature", &signature).body(body.clone());
        accepted += usize::from(request.send().await.unwrap().status() == 200);
    }
    assert!(accepted == 0 || accepted == 2 * INSTANCES, "{accepted} are accepted");
    accepted > 0
}

/// A function that has just read a secret doesn't read it again for ten seconds.
const READ_AGAIN_SECONDS: i64 = 11;

#[tokio::test]
async fn an_endpoint_gets_the_handled_events_and_a_stored_secret() {
    let (world, deployment) = fresh().await;
    let account = world.account();
    let done = register(&account, &deployment).await.unwrap();
    assert_eq!(done.len(), 2, "{done:?}");

    let [endpoint] = &endpoints(&world).await[..] else { panic!("one endpoint is enough") };
    let handled: Vec<&str> = handled_event_types().collect();
    let mut enabled: Vec<&str> = endpoint["enabled_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    enabled.sort_unstable();
    let mut expected = handled.clone();
    expected.sort_unstable();
    assert_eq!(enabled, expected);
    assert_eq!(endpoint["api_version"], API_VERSION.as_str());
    assert_eq!(endpoint["url"], deployment.webhook_url.as_str());
    assert!(stored(&world)[0].starts_with("whsec_"));
    assert!(!done.concat().contains("whsec_"), "{done:?}");
    events_let_in(&world, &learner("ada")).await;

    assert_eq!(register(&account, &deployment).await.unwrap(), Vec::<String>::new());
    assert_eq!(endpoints(&world).await.len(), 1);
}

#[tokio::test]
async fn a_manually_changed_endpoint_is_corrected() {
    for (change, seen) in [
        ("disabled=true", "it is disabled"),
        ("url=https://elsewhere.example.com/hook", "it delivers to https://elsewhere"),
        ("enabled_events[0]=*", "it does not deliver charge.dispute.closed"),
        (
            "enabled_events[0]=checkout.session.completed&enabled_events[1]=customer.created",
            "it delivers customer.created, which nothing handles",
        ),
    ] {
        let (world, deployment) = fresh().await;
        let account = world.account();
        register(&account, &deployment).await.unwrap();
        let before = endpoints(&world).await;
        let id = before[0]["id"].as_str().unwrap();
        post(&world, &format!("/v1/webhook_endpoints/{id}"), change).await;

        let done = register(&account, &deployment).await.unwrap();
        assert!(done.len() == 2 && done[0].contains(seen), "{done:?}");
        assert_eq!(endpoints(&world).await, before);
        events_let_in(&world, &learner("ada")).await;
    }
}

#[tokio::test]
async fn a_moved_webhook_s_endpoints_move_with_it() {
    let (world, deployment) = fresh().await;
    let (account, now) = (world.account(), world.clock.now());
    // Registered at an address that is gone by now, in the middle of a rotation.
    let url = "https://before.example.com/".to_owned();
    let before = Deployment { webhook_url: url, ..world.deployment(&world.webhook_url()) };
    register(&account, &before).await.unwrap();
    rotate(&account, &before, Ending::WhenDelivered, now).await.unwrap();

    let done = register(&account, &deployment).await.unwrap().join("\n");
    assert_eq!(done.matches("it delivers to https://before.example.com/, not to").count(), 2);
    let endpoints = endpoints(&world).await;
    let urls: Vec<_> = endpoints.iter().map(|it| it["url"].as_str().unwrap()).collect();
    assert_eq!(urls, [deployment.webhook_url.as_str(); 2], "both have deliveries left");
    events_let_in(&world, &learner("ada")).await;
    assert_eq!(register(&account, &deployment).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_endpoint_whose_secret_nobody_has_is_replaced() {
    let (world, deployment) = fresh().await;
    let form = format!("url={}&enabled_events[0]=*", deployment.webhook_url);
    post(&world, "/v1/webhook_endpoints", &form).await;
    register(&world.account(), &deployment).await.unwrap();
    assert_eq!(endpoints(&world).await.len(), 1);
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn an_old_api_version_s_endpoint_stays_until_it_delivered() {
    let (world, deployment) = fresh().await;
    let account = world.account();
    let url = &deployment.webhook_url;
    let form = format!("url={url}&enabled_events[0]=*&api_version=2024-06-20");
    let old = post(&world, "/v1/webhook_endpoints", &form).await;
    let old_secret = old["secret"].as_str().unwrap();
    world.secrets.set_current(SIGNING_SECRET_ID, old_secret).unwrap();
    assert!(is_accepted(&world, old_secret).await);

    let done = register(&account, &deployment).await.unwrap();
    assert!(done.concat().contains("the earlier endpoints stay"), "{done:?}");
    assert_eq!(endpoints(&world).await.len(), 2);
    world.clock.advance(READ_AGAIN_SECONDS);
    for secret in stored(&world) {
        assert!(is_accepted(&world, &secret).await);
    }
    assert_eq!(stored(&world)[1], old_secret);
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn both_secrets_are_accepted_during_a_rotation() {
    let (mut world, deployment, instances, old) = leaked().await;
    let (account, now) = (world.account(), world.clock.now());

    let done = rotate(&account, &deployment, Ending::WhenDelivered, now).await.unwrap();
    assert!(done.contains(&"both signing secrets are accepted".to_owned()), "{done:?}");
    let both = stored(&world);
    assert!(both.len() == 2 && both[1] == old, "the new one comes first");
    world.clock.advance(READ_AGAIN_SECONDS);
    for secret in &both {
        assert!(is_accepted(&world, secret).await);
    }
    events_let_in(&world, &learner("ada")).await;
    let sources = world.items_of("SOURCE#", "").await;
    assert_eq!(sources.len(), 1, "{sources:?}");

    let again = rotate(&account, &deployment, Ending::WhenDelivered, now.plus_seconds(DAY)).await;
    assert_eq!(again.unwrap().len(), 2, "nothing but what comes next");
    assert_eq!((stored(&world), endpoints(&world).await.len()), (both.clone(), 2));

    let later = now.plus_seconds(4 * DAY);
    rotate(&account, &deployment, Ending::WhenDelivered, later).await.unwrap();
    assert_eq!((stored(&world), endpoints(&world).await.len()), (both[..1].to_vec(), 1));
    events_let_in(&world, &learner("bob")).await;
    assert_eq!(register(&account, &deployment).await.unwrap(), Vec::<String>::new());
    assert_eq!(instances.updates(), 0, "nobody is in a hurry");
    world.stop_servers().await;
}

#[tokio::test]
async fn a_leaked_secret_is_refused_at_once() {
    let (world, deployment, instances, leaked) = leaked().await;
    let done = rotate(&world.account(), &deployment, Ending::Now, world.clock.now()).await.unwrap();
    assert!(!is_accepted(&world, &leaked).await);
    assert!(!done.concat().contains("whsec_"), "{done:?}");
    assert!(done.concat().contains("the webhook refused 10 events"), "{done:?}");
    assert!(is_accepted(&world, &stored(&world)[0]).await);
    assert_eq!((stored(&world).len(), endpoints(&world).await.len()), (1, 1));
    assert_eq!(instances.updates(), 1);
    let description = instances.description();
    assert!(description.starts_with("Verifies events. Instances replaced at "), "{description}");
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn a_started_rotation_can_be_finished_at_once() {
    let (world, deployment, _, leaked) = leaked().await;
    let (account, now) = (world.account(), world.clock.now());
    rotate(&account, &deployment, Ending::WhenDelivered, now).await.unwrap();
    rotate(&account, &deployment, Ending::Now, now).await.unwrap();
    assert!(!is_accepted(&world, &leaked).await);
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn a_leaked_secret_still_accepted_triggers_another_update() {
    let (world, deployment, instances, leaked) = leaked().await;
    instances.ignore_updates(1);
    let done = rotate(&world.account(), &deployment, Ending::Now, world.clock.now()).await.unwrap();
    assert!(done.concat().contains("still accepts events signed with the old secret"), "{done:?}");
    assert_eq!(instances.updates(), 2);
    assert!(!is_accepted(&world, &leaked).await);
    assert_eq!(endpoints(&world).await.len(), 1);
}

#[tokio::test]
async fn a_rotation_that_leaves_a_leak_fails_and_can_be_resumed() {
    let (world, deployment, instances, leaked) = leaked().await;
    let (account, now) = (world.account(), world.clock.now());
    instances.ignore_updates(u32::MAX);
    let error = rotate(&account, &deployment, Ending::Now, now).await.unwrap_err().to_string();
    assert!(error.contains("still accepts") && error.contains("WebhookConcurrency=0"), "{error}");
    assert!(is_accepted(&world, &leaked).await);
    let new = stored(&world);

    instances.ignore_updates(0);
    let done = rotate(&account, &deployment, Ending::Now, now).await.unwrap();
    assert!(done.concat().contains("no longer stored"), "{done:?}");
    assert!(!is_accepted(&world, &leaked).await);
    assert_eq!((stored(&world), endpoints(&world).await.len()), (new, 1));
    events_let_in(&world, &learner("ada")).await;
}

/// A Lambda that gives this response to everything.
async fn lambda_that_answers(status: u16, kind: &'static str) -> Function {
    use axum::http::StatusCode;
    let answer = async move || {
        let said = json!({"Type": "User", "Message": "as the test has it"});
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("x-amzn-errortype", kind)], said.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lambda = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let stack = LocalStack { lambda, ..LocalStack::default() };
    Deployment::local(&stack, shop().mark).webhook_function
}

#[tokio::test]
async fn instances_that_cannot_be_replaced_pause_the_rotation() {
    for (status, kind, says) in [
        (403, "AccessDeniedException:http://internal", "lambda:GetFunctionConfiguration"),
        (403, "ExpiredTokenException", "no AWS credentials"),
        (404, "ResourceNotFoundException", "404: as the test has it"),
        (500, "ServiceException", "500: as the test has it"),
    ] {
        let (world, deployment, _, leaked) = leaked().await;
        let (account, now) = (world.account(), world.clock.now());
        let webhook_function = lambda_that_answers(status, kind).await;
        let denied = Deployment { webhook_function, ..world.deployment(&world.webhook_url()) };
        let error = rotate(&account, &denied, Ending::Now, now).await.unwrap_err().to_string();
        assert!(error.contains(says), "{status} {kind}: {error}");
        assert!(error.contains("five minutes") && error.contains("again"), "{error}");
        rotate(&account, &deployment, Ending::Now, now).await.unwrap();
        assert!(!is_accepted(&world, &leaked).await);
        assert_eq!(endpoints(&world).await.len(), 1);
    }
}

#[tokio::test]
async fn an_unreachable_webhook_is_not_said_to_refuse_a_secret() {
    let (world, deployment, _, leaked) = leaked().await;
    let (account, now) = (world.account(), world.clock.now());
    // By its clock, everything signed now is too old, and would be refused anyway.
    world.clock.advance(HOUR);
    let error = rotate(&account, &deployment, Ending::Now, now).await.unwrap_err().to_string();
    let says = "the webhook answers 400 to an event signed with the new secret";
    assert!(error.starts_with(says) && error.contains("it is unknown"), "{error}");
    world.clock.advance(-HOUR);
    rotate(&account, &deployment, Ending::Now, now).await.unwrap();
    assert!(!is_accepted(&world, &leaked).await);
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing_to_rotate() {
    let (world, deployment) = fresh().await;
    let rotated = rotate(&world.account(), &deployment, Ending::Now, world.clock.now()).await;
    assert!(rotated.unwrap_err().to_string().contains("coursegate webhook register"));
}

/// A Secrets Manager that its operator may read but not write.
async fn read_only_secrets_manager() -> String {
    use axum::http::{HeaderMap, StatusCode};
    let answer = async |headers: HeaderMap| {
        if headers["x-amz-target"] == "secretsmanager.GetSecretValue" {
            let value = json!({"Name": "it", "SecretString": "placeholder"});
            return (StatusCode::OK, value.to_string());
        }
        let denied = json!({"__type": "AccessDeniedException", "Message": "you may not"});
        (StatusCode::BAD_REQUEST, denied.to_string())
    };
    let router = axum::Router::new().route("/", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn an_endpoint_whose_secret_could_not_be_stored_does_not_stay() {
    let (world, deployment) = fresh().await;
    let stack = LocalStack {
        stripe: world.stripe_url.clone(),
        secrets_manager: read_only_secrets_manager().await,
        ..LocalStack::default()
    };
    let secrets_manager = Deployment::local(&stack, shop().mark).secrets_manager;
    let denied = Deployment { secrets_manager, ..deployment };
    let error = register(&world.account(), &denied).await.unwrap_err().to_string();
    assert!(error.contains("could not be stored") && error.contains("you may not"), "{error}");
    assert_eq!(endpoints(&world).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_interrupted_registration_is_completed_by_the_next() {
    for after in [false, true] {
        for requests in 0..2_u32 {
            let (world, deployment) = fresh().await;
            let account = world.account();
            if requests > 0 {
                let pass =
                    json!({"method": "POST", "path": "/v1", "delay_ms": 1, "times": requests});
                world.stripe_post("/_sim/faults", &pass).await;
            }
            let cut =
                json!({"method": "POST", "path": "/v1", "drop": true, "after": after, "times": 3});
            world.stripe_post("/_sim/faults", &cut).await;
            register(&account, &deployment).await.unwrap_err();

            register(&account, &deployment).await.unwrap();
            let found = look(&account, &deployment).await.unwrap();
            let (good, _) = found.good.unwrap();
            assert_eq!(good.differences(&deployment.webhook_url), Vec::<String>::new());
            events_let_in(&world, &learner("ada")).await;
        }
    }
}

/// Closes the connection each time that one of a rotation's modifying requests is sent: creating,
/// marking, deleting.
async fn cut(world: &World, request: usize, after: bool) {
    let path = "/v1/webhook_endpoints";
    if request == 1 {
        let pass = json!({"method": "POST", "path": path, "delay_ms": 1});
        world.stripe_post("/_sim/faults", &pass).await;
    }
    let method = if request == 2 { "DELETE" } else { "POST" };
    let cut = json!({"method": method, "path": path, "drop": true, "after": after, "times": 3});
    assert_eq!(world.stripe_post("/_sim/faults", &cut).await.0, 200);
}

#[tokio::test]
async fn a_leaked_secret_is_removed_despite_interruptions() {
    for after in [false, true] {
        for request in 0..3 {
            for first in [Ending::Now, Ending::WhenDelivered] {
                if first == Ending::WhenDelivered && request == 2 {
                    continue; // it deletes nothing yet
                }
                let (world, deployment, _, leaked) = leaked().await;
                let (account, now) = (world.account(), world.clock.now());
                cut(&world, request, after).await;
                rotate(&account, &deployment, first, now).await.unwrap_err();

                rotate(&account, &deployment, Ending::Now, now).await.unwrap();
                assert!(
                    !is_accepted(&world, &leaked).await,
                    "cut at {request}, {after}, {first:?}"
                );
                assert_eq!(stored(&world).len(), 1, "cut at {request}, {after}, {first:?}");
                assert_eq!(
                    endpoints(&world).await.len(),
                    1,
                    "cut at {request}, {after}, {first:?}"
                );
                events_let_in(&world, &learner("ada")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_leaked_secret_is_removed_despite_another_endpoint() {
    let (world, deployment, _, leaked) = leaked().await;
    let account = world.account();
    let form = format!("url={}&enabled_events[0]=*", deployment.webhook_url);
    post(&world, "/v1/webhook_endpoints", &form).await;
    rotate(&account, &deployment, Ending::Now, world.clock.now()).await.unwrap();
    assert!(!is_accepted(&world, &leaked).await);
    assert_eq!(endpoints(&world).await.len(), 1);
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn a_rotation_ends_with_an_endpoint_that_delivers() {
    let (world, deployment) = fresh().await;
    let (account, now) = (world.account(), world.clock.now());
    register(&account, &deployment).await.unwrap();
    rotate(&account, &deployment, Ending::WhenDelivered, now).await.unwrap();
    let new = endpoints(&world).await[0]["id"].as_str().unwrap().to_owned();
    post(&world, &format!("/v1/webhook_endpoints/{new}"), "disabled=true").await;
    let later = now.plus_seconds(4 * DAY);
    rotate(&account, &deployment, Ending::WhenDelivered, later).await.unwrap();
    let [endpoint] = &endpoints(&world).await[..] else { panic!("one endpoint is left") };
    assert_eq!((&endpoint["id"], &endpoint["status"]), (&json!(new), &json!("enabled")));
    events_let_in(&world, &learner("ada")).await;
}

#[tokio::test]
async fn a_same_named_stack_s_endpoint_is_left_alone() {
    let (world, deployment) = fresh().await;
    let account = world.account();
    let theirs = Deployment {
        shop: Shop { mark: "123456789012/eu-central-1/local".parse().unwrap(), ..shop() },
        webhook_url: "https://theirs.example.com/".to_owned(),
        signing_secret_id: API_KEY_ID.to_owned(), // a secret of their own, whichever it is
        ..world.deployment("")
    };
    register(&account, &theirs).await.unwrap();
    let before = endpoints(&world).await;
    register(&account, &deployment).await.unwrap();
    rotate(&account, &deployment, Ending::Now, world.clock.now()).await.unwrap();
    let after = endpoints(&world).await;
    assert!(after.len() == 2 && after.contains(&before[0]), "{after:?}");
}
