//! Purchases through the running stack: real processes, the Lambda protocol, signed deliveries.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::running::{Folder, Running, project, up};

/// Somebody at the stack's door.
struct Visitor {
    client: Client,
    running: Running,
}

impl Visitor {
    fn at(running: Running) -> Self {
        Self { client: Client::builder().no_proxy().build().unwrap(), running }
    }

    async fn post(&self, url: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = self.client.post(url).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn sign_in(&self, email: &str) -> String {
        let url = self.running.url("/local/login");
        let (_, answer) = self.post(&url, None, &json!({ "email": email })).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn access(&self, token: &str) -> Value {
        let url = self.running.url("/api/courses/tutorclaw/access?chapter=6");
        let request = self.client.get(url).bearer_auth(token);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn checkout(&self, token: &str) -> (u16, Value) {
        let url = self.running.url("/api/checkout");
        self.post(&url, Some(token), &json!({ "price": "tutorclaw_paid" })).await
    }

    fn address(&self, piece: &str, path: &str) -> String {
        format!("{}{path}", self.running.addresses[piece].as_str().unwrap())
    }

    /// Waits for a delivery to open chapter six.
    async fn wait_until_granted(&self, token: &str) {
        for _ in 0..500 {
            if self.access(token).await["access"] == "granted" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("chapter six stays closed");
    }

    /// Fills in the checkout page's form, as a browser would send it.
    async fn pay_on_the_page(&self, page: &str, card: &str) -> (u16, String) {
        let no_redirects = reqwest::redirect::Policy::none();
        let client = Client::builder().no_proxy().redirect(no_redirects).build().unwrap();
        let form = format!(
            "email=ada%40example.com&method=card&card_number={card}&card_expiry=12%2F34&card_cvc=123&name=Ada"
        );
        let request = client.post(page).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form).send().await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get("location").cloned();
        match location {
            Some(location) => (status, location.to_str().unwrap().to_owned()),
            None => (status, response.text().await.unwrap()),
        }
    }
}

fn samples() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(project().join("events/webhook")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_learner_pays_on_the_page_and_reads_on() {
    let visitor = Visitor::at(up(&["--ephemeral"]));
    let ada = visitor.sign_in("ada@example.com").await;
    assert_eq!(visitor.access(&ada).await["reason"], "payment_required");
    let (status, session) = visitor.checkout(&ada).await;
    assert_eq!(status, 201, "{session}");
    let page = session["url"].as_str().unwrap();
    let html = visitor.client.get(page).send().await.unwrap().text().await.unwrap();
    assert!(html.contains("TutorClaw, all chapters") && html.contains("$9.99"), "{html}");

    let (_, declined) = visitor.pay_on_the_page(page, "4000000000000002").await;
    assert!(declined.contains("declined"), "{declined}");
    assert_eq!(visitor.access(&ada).await["access"], "denied");

    let (status, location) = visitor.pay_on_the_page(page, "4242424242424242").await;
    assert_eq!(status, 303, "{location}");
    let id = session["session_id"].as_str().unwrap();
    assert_eq!(location, visitor.running.url(&format!("/success?session_id={id}")));
    visitor.wait_until_granted(&ada).await;
    assert_eq!(visitor.access(&ada).await["tier"], "paid");
    assert_eq!(visitor.checkout(&ada).await.0, 409);
    let bob = visitor.sign_in("bob@example.com").await;
    assert_eq!(visitor.access(&bob).await["access"], "denied");

    // The terminal has said what became of it all.
    let (_, said) = visitor.running.stop("-TERM");
    for (line, ends) in [
        ("GET /api/courses/tutorclaw/access?chapter=6 200", "entitlements"),
        ("POST /api/checkout 201", "checkout"),
        ("POST /api/checkout 409", "checkout already-entitled"),
    ] {
        let found = |said: &&str| said.starts_with(line) && said.ends_with(ends);
        assert!(said.lines().any(|said| found(&said)), "{line} … {ends} is not in:\n{said}");
    }
    let event = |said: &str| {
        said.contains(" webhook checkout.session.completed evt_") && said.ends_with(" applied")
    };
    assert!(said.lines().any(event), "{said}");
}

#[tokio::test]
async fn a_purchase_survives_a_restart() {
    let folder = Folder::new();
    let state = folder.path("state");
    let mut arguments = vec!["--json", "--state", &state];
    for port in [
        "--gateway-port",
        "--lambda-port",
        "--dynamodb-port",
        "--stripe-port",
        "--secrets-port",
        "--content-port",
    ] {
        arguments.extend([port, "0"]);
    }
    let visitor = Visitor::at(up(&arguments));
    let ada = visitor.sign_in("ada@example.com").await;
    let (_, session) = visitor.checkout(&ada).await;
    let id = session["session_id"].as_str().unwrap();
    let pay = visitor.address("stripe", &format!("/_sim/checkout/sessions/{id}/pay"));
    let card = json!({ "card": "4242424242424242" });
    assert_eq!(visitor.post(&pay, None, &card).await.0, 200);
    visitor.wait_until_granted(&ada).await;
    assert_eq!(visitor.running.stop("-INT").0, Some(0));

    let visitor = Visitor::at(up(&arguments));
    let ada = visitor.sign_in("ada@example.com").await;
    assert_eq!(visitor.access(&ada).await["access"], "granted");
    assert_eq!(visitor.checkout(&ada).await.0, 409);
    let session = visitor.address("stripe", &format!("/v1/checkout/sessions/{id}"));
    let session = visitor.client.get(session).bearer_auth("sk_test_any").send().await.unwrap();
    assert_eq!(session.json::<Value>().await.unwrap()["payment_status"], "paid");
}

#[tokio::test]
async fn signed_samples_are_accepted_and_a_garbled_one_is_harmless() {
    let visitor = Visitor::at(up(&["--ephemeral"]));
    let secrets = visitor.address("secrets_manager", "/");
    let request = visitor.client.post(secrets);
    let request = request.header("x-amz-target", "secretsmanager.GetSecretValue");
    let body = json!({ "SecretId": "coursegate/StripeSigningSecret" }).to_string();
    let secret: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    let secret = secret["SecretString"].as_str().unwrap();

    let invoke = visitor.address("lambda", "/2015-03-31/functions/WebhookFunction/invocations");
    let mut garbled = json!({});
    // Refunds and disputes are of her purchase.
    let hers = samples()
        .into_iter()
        .find(|file| file.ends_with("checkout_session_completed_paid_by_grace.json"));
    for sample in hers.into_iter().chain(samples()) {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let mark = visitor.running.addresses["deployment_mark"].as_str().unwrap();
        let event = samples::sign_file(&sample, mark, secret, now).unwrap();
        let (status, answer) = visitor.post(&invoke, None, &event).await;
        assert_eq!((status, &answer["statusCode"]), (200, &json!(200)), "{sample:?} {answer}");
        if sample.ends_with("checkout_session_completed_paid.json") {
            // Or a duplicate, where another sample has told of the same payment.
            let outcome = answer["body"].as_str().unwrap();
            assert!(outcome.contains("applied") || outcome.contains("duplicate"), "{outcome}");
        }
        garbled = event;
    }
    garbled["isBase64Encoded"] = true.into();
    garbled["body"] = "%%%".into();
    let (_, answer) = visitor.post(&invoke, None, &garbled).await;
    assert!(answer["errorMessage"].is_string(), "{answer}");
    let unsigned = visitor.running.url("/webhook");
    let (status, problem) = visitor.post(&unsigned, None, &json!({ "id": "evt_1" })).await;
    assert_eq!(status, 400);
    assert_eq!(problem["type"], "urn:coursegate:problem:bad-signature");
}
