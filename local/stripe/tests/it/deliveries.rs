//! Webhooks as Stripe sends them: signed, at least once, in any order, and retried after a failure.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stripe_webhook::{Webhook, WebhookError};

use crate::shop::Shop;
use crate::webhooks::{Arrival, Endpoint, until};

/// The event types of a paid session, sorted.
const PAID: [&str; 4] = [
    "charge.succeeded",
    "checkout.session.completed",
    "payment_intent.created",
    "payment_intent.succeeded",
];

async fn listen(shop: &Shop, endpoint: &Endpoint) -> String {
    shop.simulator.register_webhook(&endpoint.url).await.unwrap()
}

fn sorted(mut types: Vec<String>) -> Vec<String> {
    types.sort();
    types
}

async fn deliveries(shop: &Shop) -> Vec<Value> {
    let listed = shop.control(Method::GET, "/deliveries", json!(null)).await.ok();
    listed["deliveries"].as_array().unwrap().clone()
}

async fn until_all_are(shop: &Shop, state: &str) {
    while deliveries(shop).await.iter().any(|delivery| delivery["state"] != state) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_delivery_is_signed_and_whole() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let session = shop.session().await;
    let secret = listen(&shop, &endpoint).await;
    shop.pay(&session, "4242424242424242").await.ok();
    let arrivals = endpoint.wait_for(4).await;
    assert_eq!(sorted(endpoint.types()), PAID);
    for arrival in &arrivals {
        let event = Webhook::construct_event(&arrival.body, &arrival.signature, &secret).unwrap();
        assert_eq!(event.id.as_str(), arrival.event()["id"]);
        let wrong = Webhook::construct_event(&arrival.body, &arrival.signature, "whsec_other");
        assert!(matches!(wrong, Err(WebhookError::BadSignature)));
        assert_eq!(arrival.headers["content-type"], "application/json; charset=utf-8");
        assert!(arrival.headers["user-agent"].to_str().unwrap().starts_with("Stripe/1.0"));
        assert!(
            arrival.body.starts_with("{\n  \"api_version\": \"2026-09-30.endive\""),
            "{}",
            arrival.body
        );
        assert_eq!(arrival.event()["pending_webhooks"], 1);
    }
    until_all_are(&shop, "delivered").await;
    for event in shop.get("/v1/events?delivery_success=true").await.ok()["data"].as_array().unwrap()
    {
        assert_eq!(event["pending_webhooks"], 0);
    }
    assert_eq!(shop.get("/v1/events?delivery_success=false").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn an_endpoint_gets_only_its_enabled_events() {
    let shop = Shop::open().await;
    let (some, all) = (Endpoint::listen().await, Endpoint::listen().await);
    let form = [("url", some.url.as_str()), ("enabled_events[]", "checkout.session.completed")];
    shop.post("/v1/webhook_endpoints", &form).await.ok();
    let off = Endpoint::listen().await;
    let form = [("url", off.url.as_str()), ("enabled_events[]", "*")];
    let disabled = shop.post("/v1/webhook_endpoints", &form).await.ok();
    let path = format!("/v1/webhook_endpoints/{}", disabled["id"].as_str().unwrap());
    shop.post(&path, &[("disabled", "true")]).await.ok();
    let session = shop.session().await;
    listen(&shop, &all).await;
    shop.pay(&session, "4242424242424242").await.ok();
    all.wait_for(4).await;
    until_all_are(&shop, "delivered").await;
    assert_eq!(some.types(), ["checkout.session.completed"]);
    assert_eq!(off.types(), Vec::<String>::new());
}

/// Registers an endpoint for all events with these extra fields; returns the response.
async fn register(shop: &Shop, endpoint: &Endpoint, more: &[(&str, &str)]) -> Value {
    let mut form = vec![("url", endpoint.url.as_str()), ("enabled_events[]", "*")];
    form.extend(more);
    shop.post("/v1/webhook_endpoints", &form).await.ok()
}

#[tokio::test]
async fn an_endpoint_names_the_api_version_of_its_events_and_keeps_it() {
    let shop = Shop::open().await;
    let (old, current) = (Endpoint::listen().await, Endpoint::listen().await);
    let version = "2024-06-20";
    let made = register(&shop, &old, &[("api_version", version)]).await;
    assert_eq!(made["api_version"], version);
    register(&shop, &current, &[]).await;
    shop.post("/v1/customers", &[]).await.ok();
    assert_eq!(old.wait_for(1).await[0].event()["api_version"], version);
    let newest = json!("2026-09-30.endive");
    assert_eq!(current.wait_for(1).await[0].event()["api_version"], newest);
    // The event itself is of the account's version.
    assert_eq!(shop.get("/v1/events").await.ok()["data"][0]["api_version"], newest);
    // One that is emitted with its own version keeps it.
    let own = json!({"type": "a.b", "object": {"id": "x"}, "api_version": "2031-01-01.zinnia"});
    shop.control(Method::POST, "/events", own).await.ok();
    assert_eq!(old.wait_for(2).await[1].event()["api_version"], "2031-01-01.zinnia");

    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    let (status, error) = shop.post(&path, &[("api_version", "2026-09-30.endive")]).await.error();
    assert_eq!((status, &error["code"]), (400, &json!("parameter_unknown")));
    assert_eq!(shop.get(&path).await.ok()["api_version"], version);
    for wrong in ["latest", "2024-6-20", "2024-06-20.", "2024-06-20.Acacia", "20240620"] {
        let form = [("url", old.url.as_str()), ("enabled_events[]", "*"), ("api_version", wrong)];
        let (status, error) = shop.post("/v1/webhook_endpoints", &form).await.error();
        assert_eq!((status, &error["param"]), (400, &json!("api_version")), "{wrong}");
    }
}

#[tokio::test]
async fn two_endpoints_at_one_url_each_sign_with_their_secret() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let mut secrets = Vec::new();
    for _ in 0..2 {
        secrets.push(register(&shop, &endpoint, &[]).await["secret"].as_str().unwrap().to_owned());
    }
    assert_ne!(secrets[0], secrets[1]);
    shop.post("/v1/customers", &[]).await.ok();
    let arrivals = endpoint.wait_for(2).await;
    until_all_are(&shop, "delivered").await;
    assert_eq!(endpoint.types(), ["customer.created", "customer.created"]);
    for secret in &secrets {
        let signed = |arrival: &&Arrival| {
            Webhook::construct_event(&arrival.body, &arrival.signature, secret).is_ok()
        };
        assert_eq!(arrivals.iter().filter(signed).count(), 1);
    }
    // Only the response to creating the endpoint has the secret.
    let listed = shop.get("/v1/webhook_endpoints").await.ok();
    assert!(!listed.to_string().contains("whsec_"), "{listed}");
    let path = format!("/v1/webhook_endpoints/{}", listed["data"][0]["id"].as_str().unwrap());
    let updated = shop.post(&path, &[("description", "second")]).await.ok();
    assert!(!updated.to_string().contains("whsec_"), "{updated}");
}

#[tokio::test]
async fn an_account_has_at_most_sixteen_endpoints() {
    let shop = Shop::open().await;
    let form = [("url", "https://shop.example/"), ("enabled_events[]", "charge.failed")];
    for _ in 0..16 {
        shop.post("/v1/webhook_endpoints", &form).await.ok();
    }
    let (status, error) = shop.post("/v1/webhook_endpoints", &form).await.error();
    assert_eq!((status, error.get("code")), (400, None));
    assert!(error["message"].as_str().unwrap().contains("16"), "{error}");
    let listed = shop.get("/v1/webhook_endpoints?limit=100").await.ok();
    let path = format!("/v1/webhook_endpoints/{}", listed["data"][0]["id"].as_str().unwrap());
    shop.delete(&path).await.ok();
    shop.post("/v1/webhook_endpoints", &form).await.ok();
}

#[tokio::test]
async fn an_endpoint_that_is_deleted_gets_nothing_more() {
    let shop = Shop::open().await;
    let answers = std::iter::repeat_n(StatusCode::SERVICE_UNAVAILABLE, 100);
    let endpoint = Endpoint::answering(answers).await;
    let made = register(&shop, &endpoint, &[]).await;
    shop.post("/v1/customers", &[]).await.ok();
    endpoint.wait_for(1).await;
    shop.delete(&format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap())).await.ok();
    until_all_are(&shop, "failed").await;
    let arrived = endpoint.arrivals().len();
    // Longer than the first pause between attempts.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(endpoint.arrivals().len(), arrived);
    // It has had no event, so it stays in the list of undelivered ones.
    let undelivered = shop.get("/v1/events?delivery_success=false").await.ok();
    assert_eq!(undelivered["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_is_delivered_once_all_endpoints_have_it() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let made = register(&shop, &endpoint, &[]).await;
    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    // Nothing is delivered while it is disabled, and by then the event has been created.
    shop.control(Method::POST, "/deliveries/hold", json!(null)).await.ok();
    shop.post("/v1/customers", &[]).await.ok();
    shop.post(&path, &[("disabled", "true")]).await.ok();
    shop.control(Method::POST, "/deliveries/release", json!(null)).await.ok();
    until_all_are(&shop, "failed").await;
    let count = async |delivered: bool| {
        let events = shop.get(&format!("/v1/events?delivery_success={delivered}")).await.ok();
        events["data"].as_array().unwrap().len()
    };
    assert_eq!((count(true).await, count(false).await), (0, 1));
    shop.post(&path, &[("disabled", "false")]).await.ok();
    let event = shop.get("/v1/events").await.ok()["data"][0]["id"].as_str().unwrap().to_owned();
    for arrivals in [1, 2] {
        shop.control(Method::POST, &format!("/events/{event}/resend"), json!(null)).await.ok();
        endpoint.wait_for(arrivals).await;
    }
    while count(true).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(count(false).await, 0);
}

#[tokio::test]
async fn registering_again_changes_nothing() {
    let shop = Shop::open().await;
    let url = "http://127.0.0.1:9/webhook";
    let first = shop.simulator.register_webhook(url).await.unwrap();
    assert_eq!(shop.simulator.register_webhook(url).await.unwrap(), first);
    assert_eq!(shop.get("/v1/webhook_endpoints").await.ok()["data"].as_array().unwrap().len(), 1);
    assert!(shop.simulator.register_webhook("not a url").await.is_err());
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_a_fresh_signature() {
    let shop = Shop::open().await;
    let answers = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND];
    let endpoint = Endpoint::answering(answers).await;
    let secret = listen(&shop, &endpoint).await;
    shop.post("/v1/customers", &[]).await.ok();
    let arrivals = endpoint.wait_for(3).await;
    for arrival in &arrivals {
        assert_eq!(arrival.event()["id"], arrivals[0].event()["id"]);
        Webhook::construct_event(&arrival.body, &arrival.signature, &secret).unwrap();
    }
    until_all_are(&shop, "delivered").await;
    let delivery = &deliveries(&shop).await[0];
    assert_eq!((&delivery["attempts"], &delivery["last_status"]), (&json!(3), &json!(200)));
}

#[tokio::test]
async fn a_hanging_endpoint_delays_nobody_else() {
    let shop = Shop::open().await;
    // It accepts connections and never responds.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let form = [("url", url.as_str()), ("enabled_events[]", "*")];
    shop.post("/v1/webhook_endpoints", &form).await.ok();
    let endpoint = Endpoint::listen().await;
    listen(&shop, &endpoint).await;
    for _ in 0..50 {
        shop.post("/v1/customers", &[]).await.ok();
    }
    endpoint.wait_for(50).await;
}

#[tokio::test]
async fn held_deliveries_wait_until_released() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let session = shop.session().await;
    listen(&shop, &endpoint).await;
    shop.control(Method::POST, "/deliveries/hold", json!(null)).await.ok();
    shop.pay(&session, "4242424242424242").await.ok();
    assert!(deliveries(&shop).await.iter().all(|delivery| delivery["state"] == "held"));
    assert_eq!(endpoint.types(), Vec::<String>::new());
    let released = shop.control(Method::POST, "/deliveries/release", json!(null)).await.ok();
    assert_eq!(released, json!({"released": 4, "deliveries": 4}));
    endpoint.wait_for(4).await;
    assert_eq!(
        endpoint.types(),
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed"
        ]
    );
    // After the release, further deliveries come at once.
    shop.post("/v1/customers", &[]).await.ok();
    endpoint.wait_for(5).await;
}

#[tokio::test]
async fn released_deliveries_can_come_twice_and_in_another_order() {
    let mut orders = Vec::new();
    for seed in [7, 7, 8] {
        let shop = Shop::open().await;
        let endpoint = Endpoint::listen().await;
        let session = shop.session().await;
        let secret = listen(&shop, &endpoint).await;
        shop.control(Method::POST, "/deliveries/hold", json!(null)).await.ok();
        shop.pay(&session, "4242424242424242").await.ok();
        let release = json!({"copies": 2, "order": "shuffled", "seed": seed});
        let released = shop.control(Method::POST, "/deliveries/release", release).await.ok();
        assert_eq!(released, json!({"released": 4, "deliveries": 8}));
        let arrivals = endpoint.wait_for(8).await;
        for arrival in &arrivals {
            Webhook::construct_event(&arrival.body, &arrival.signature, &secret).unwrap();
        }
        let expected: Vec<String> =
            PAID.into_iter().flat_map(|it| [it.to_owned(), it.to_owned()]).collect();
        assert_eq!(sorted(endpoint.types()), expected);
        orders.push(endpoint.types());
    }
    assert_eq!(orders[0], orders[1]);
    assert_ne!(orders[0], orders[2]);
}

#[tokio::test]
async fn an_event_can_be_sent_again() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    listen(&shop, &endpoint).await;
    shop.post("/v1/customers", &[]).await.ok();
    let id = endpoint.wait_for(1).await[0].event()["id"].as_str().unwrap().to_owned();
    shop.control(Method::POST, &format!("/events/{id}/resend"), json!(null)).await.ok();
    let arrivals = endpoint.wait_for(2).await;
    assert_eq!(arrivals[1].event()["id"], json!(id));
    let missing = shop.control(Method::POST, "/events/evt_none/resend", json!(null)).await;
    assert_eq!(missing.error().0, 404);
}

#[tokio::test]
async fn a_custom_event_is_signed_like_any_other() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let secret = listen(&shop, &endpoint).await;
    let body = json!({
        "type": "invented.thing.happened",
        "object": {"id": "thing_1", "object": "thing"},
        "livemode": true,
        "account": "acct_other",
    });
    shop.control(Method::POST, "/events", body).await.ok();
    let arrival = endpoint.wait_for(1).await[0].clone();
    let event = Webhook::construct_event(&arrival.body, &arrival.signature, &secret).unwrap();
    assert!(event.livemode);
    assert_eq!(event.account.as_deref(), Some("acct_other"));
    assert_eq!(arrival.event()["data"]["object"]["id"], "thing_1");
}

#[tokio::test]
async fn old_and_new_secrets_sign_together_after_a_roll() {
    let shop = Shop::open().await;
    let endpoint = Endpoint::listen().await;
    let old = listen(&shop, &endpoint).await;
    let id =
        shop.get("/v1/webhook_endpoints").await.ok()["data"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/webhook_endpoints/{id}/roll_secret");
    let rolled =
        shop.control(Method::POST, &path, json!({"expire_old_in_seconds": 3600})).await.ok();
    let new = rolled["secret"].as_str().unwrap();
    assert_eq!(shop.simulator.register_webhook(&endpoint.url).await.unwrap(), new);

    shop.post("/v1/customers", &[]).await.ok();
    let both = endpoint.wait_for(1).await[0].clone();
    for secret in [old.as_str(), new] {
        Webhook::construct_event(&both.body, &both.signature, secret).unwrap();
    }
    shop.control(Method::POST, "/advance", json!({"seconds": 3600})).await.ok();
    shop.post("/v1/customers", &[]).await.ok();
    let one = endpoint.wait_for(2).await[1].clone();
    Webhook::construct_event(&one.body, &one.signature, new).unwrap();
    assert!(matches!(
        Webhook::construct_event(&one.body, &one.signature, &old),
        Err(WebhookError::BadSignature)
    ));
}

/// Another implementation of HMAC-SHA256 than the signer's made this signature.
#[test]
fn the_signature_scheme_is_stripes() {
    let header = Webhook::generate_test_header("{}", "whsec_test", Some(1_700_000_000));
    assert_eq!(
        header,
        "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91"
    );
}

#[tokio::test]
async fn a_dropped_simulator_delivers_no_more() {
    let shop = Shop::open().await;
    let endpoint =
        Endpoint::answering(std::iter::repeat_n(StatusCode::SERVICE_UNAVAILABLE, 100)).await;
    listen(&shop, &endpoint).await;
    shop.post("/v1/customers", &[]).await.ok();
    endpoint.wait_for(1).await;
    let url = shop.simulator.url();
    drop(shop.simulator);
    let address = url.trim_start_matches("http://").to_owned();
    until(
        || std::net::TcpStream::connect(&address).is_err(),
        || "the port is still open".to_owned(),
    )
    .await;
}
