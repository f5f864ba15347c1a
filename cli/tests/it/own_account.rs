//! `coursegate up --stripe`: the stack with a Stripe that is not its own. In Stripe's place is a
//! simulator that the test starts, on a thread of its own: the test waits for the stack.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::running::{Ended, Folder, Running, command, end, start};

const KEY: &str = "sk_test_of_somebody";
const SIGNING_SECRET: &str = "whsec_of_somebody";

/// The stack's command in an environment with these two variables.
fn with_account(arguments: &[&str], key: &str, signing_secret: &str) -> Command {
    let mut command = command(arguments);
    command.env("STRIPE_API_KEY", key).env("STRIPE_WEBHOOK_SECRET", signing_secret);
    command
}

/// A Stripe elsewhere, which delivers to the stack's webhook, and that stack.
struct Elsewhere {
    stripe: stripe_simulator::Simulator,
    running: Running,
    client: reqwest::Client,
}

impl Elsewhere {
    async fn start(arguments: &[&str]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = stripe_simulator::Options { listener, state: None };
        let stripe = stripe_simulator::start(options).await.unwrap();
        // The secret is known before the stack starts, as `stripe listen --print-secret` has it.
        let gateway = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let webhook = format!("http://{gateway}/webhook");
        let signing_secret = stripe.register_webhook(&webhook).await.unwrap();
        let url = stripe.url();
        let port = gateway.port().to_string();
        let own = ["--stripe", "--stripe-url", &url, "--gateway-port", &port];
        let running = start(with_account(&[&own, arguments].concat(), KEY, &signing_secret));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { stripe, running, client }
    }

    async fn get(&self, path: &str, token: &str) -> Value {
        let request = self.client.get(self.running.url(path)).bearer_auth(token);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, url: &str, token: &str, body: &Value) -> Value {
        let request = self.client.post(url).bearer_auth(token).json(body);
        request.send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_at_the_other_stripe_opens_the_course() {
    let elsewhere = Elsewhere::start(&["--ephemeral"]).await;
    let login = json!({ "email": "ada@example.com" });
    let login = elsewhere.post(&elsewhere.running.url("/local/login"), "", &login).await;
    let token = login["access_token"].as_str().unwrap();
    let access = "/api/courses/tutorclaw/access?chapter=6";
    assert_eq!(elsewhere.get(access, token).await["access"], "denied");

    let checkout = elsewhere.running.url("/api/checkout");
    let price = json!({ "price": "tutorclaw_paid" });
    let session = elsewhere.post(&checkout, token, &price).await;
    let stripe = elsewhere.stripe.url();
    assert!(session["url"].as_str().unwrap().starts_with(&stripe), "{session}");
    let id = session["session_id"].as_str().unwrap();
    let pay = format!("{stripe}/_sim/checkout/sessions/{id}/pay");
    let card = json!({ "card": "4242424242424242" });
    assert_eq!(elsewhere.post(&pay, "", &card).await["payment_status"], "paid");
    for _ in 0..500 {
        if elsewhere.get(access, token).await["access"] == "granted" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("chapter six stays closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_names_its_stripe_and_hides_simulator_only_features() {
    let elsewhere = Elsewhere::start(&["--ephemeral"]).await;
    let (running, url) = (&elsewhere.running, elsewhere.stripe.url());
    assert_eq!(running.addresses["stripe"].as_str(), Some(url.as_str()));
    assert_eq!(elsewhere.get("/local/health", "").await["stripe"].as_str(), Some(url.as_str()));

    let host = running.url("").replace("http://", "");
    let handled: Vec<&str> = shared::stripe::wire::handled_event_types().collect();
    let events = handled.join(",");
    let listen = format!("stripe listen --forward-to {host}/webhook --events {events}");
    assert!(running.said.contains(&listen), "{listen} is not in: {}", running.said);
    let home =
        elsewhere.client.get(running.url("/local")).send().await.unwrap().text().await.unwrap();
    assert!(home.contains(&listen), "{home}");
    let success = running.url("/success?session_id=cs_test_1");
    let success = elsewhere.client.get(success).send().await.unwrap().text().await.unwrap();
    for page in [&running.said, &home, &success] {
        for only_there in ["_sim", "/c/pay/", "Nothing leaves this machine"] {
            assert!(!page.contains(only_there), "{only_there} is in: {page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_laptop_is_refused_until_it_takes_over_the_mark() {
    let first = Elsewhere::start(&["--ephemeral"]).await;
    let mark = first.running.addresses["deployment_mark"].as_str().unwrap();
    let url = first.stripe.url();
    let own = ["--ephemeral", "--stripe", "--stripe-url", &url];
    let Ended { code, stderr } = end(with_account(&own, KEY, SIGNING_SECRET));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("belongs to another deployment, {mark}: ")), "{stderr}");
    assert!(stderr.contains("--deployment-mark"), "{stderr}");

    let taken = [&own[..], &["--deployment-mark", mark]].concat();
    let second = start(with_account(&taken, KEY, SIGNING_SECRET));
    assert_eq!(second.addresses["deployment_mark"], mark);
    second.stop("-INT");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn its_state_is_separate_and_holds_no_key_or_secret() {
    let folder = Folder::new();
    let state = folder.path("state");
    let mut arguments = vec!["--json", "--state", &state];
    for port in ["--lambda-port", "--dynamodb-port", "--secrets-port", "--content-port"] {
        arguments.extend([port, "0"]);
    }
    let elsewhere = Elsewhere::start(&arguments).await;
    let secrets = elsewhere.running.addresses["secrets_manager"].as_str().unwrap();
    let mut held = Vec::new();
    for name in ["StripeApiKey", "StripeSigningSecret"] {
        let body = json!({ "SecretId": format!("coursegate/{name}") }).to_string();
        let request = elsewhere.client.post(secrets).body(body);
        let request = request.header("x-amz-target", "secretsmanager.GetSecretValue");
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        held.push(answer["SecretString"].as_str().unwrap().to_owned());
    }
    assert_eq!(held[0], KEY);
    assert!(held[1].starts_with("whsec_"), "{held:?}");

    let (code, said) = elsewhere.running.stop("-TERM");
    assert_eq!(code, Some(0));
    let kept = files(&folder.0.join("state"));
    assert!(kept.iter().any(|file| file.ends_with("state/stripe/dynamo.db")), "{kept:?}");
    assert!(kept.iter().all(|file| file.starts_with(folder.0.join("state/stripe"))), "{kept:?}");
    for secret in &held {
        assert!(!said.contains(secret.as_str()), "{said}");
        for file in &kept {
            let bytes = std::fs::read(file).unwrap();
            let is_in = bytes.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            assert!(!is_in, "a secret is in {}", file.display());
        }
    }
}

/// What is missing or wrong is said in a sentence that says what to do, and that repeats nothing.
#[track_caller]
fn check_refusal(key: &str, signing_secret: &str, expected: &[&str]) {
    let refused = with_account(&["up", "--ephemeral", "--stripe"], key, signing_secret);
    let Ended { code, stderr } = end(refused);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("somebody"), "{stderr}");
}

#[test]
fn only_a_test_key_and_a_signing_secret_are_accepted() {
    let keys = "https://dashboard.stripe.com/test/apikeys";
    check_refusal("", SIGNING_SECRET, &["STRIPE_API_KEY is not set", keys]);
    for live in ["sk_live_of_somebody", "rk_live_of_somebody"] {
        check_refusal(live, SIGNING_SECRET, &["live key", keys]);
    }
    for other in ["pk_test_of_somebody", "of_somebody"] {
        check_refusal(other, SIGNING_SECRET, &["not a secret or restricted key", keys]);
    }
    for signing_secret in ["", "of_somebody"] {
        check_refusal(KEY, signing_secret, &["STRIPE_WEBHOOK_SECRET", "stripe listen"]);
    }
}

#[test]
fn a_simulator_port_without_a_simulator_is_refused() {
    for arguments in [&["--stripe", "--stripe-port", "1"][..], &["--stripe-url", "http://a"]] {
        assert_eq!(end(command(arguments)).code, Some(2), "{arguments:?}");
    }
}
