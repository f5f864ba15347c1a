//! The stack of `cargo run`, one per test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tests::world::root;

/// What a bare `cargo run` runs. It is built here once, unless the whole workspace is tested: then
/// cargo has just built it, and would rebuild half of it for this one. That takes minutes the first
/// time, so cargo shows its progress.
static COURSEGATE: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_BIN_EXE_storm")).ancestors().nth(2).unwrap();
    if !tools::tests_are_all_run() {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).args(["build", "--package", "coursegate"]);
        let built = build.arg("--target-dir").arg(target).status().unwrap();
        assert!(built.success(), "coursegate can't be built: see above");
    }
    target.join("debug/coursegate")
});

/// A running stack, killed at the end of the test.
pub(crate) struct Shop {
    child: Child,
    addresses: Value,
    client: Client,
    _stdout: BufReader<ChildStdout>,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let mut command = Command::new(&*COURSEGATE);
        command.current_dir(root()).args(["up", "--ephemeral"]).stdin(Stdio::null());
        command.env_remove("STRIPE_API_KEY").env_remove("STRIPE_WEBHOOK_SECRET");
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("target/debug/coursegate: `cargo build` makes it");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let ready = lines.find_map(|line| line.strip_prefix("ready ").map(parse));
        let addresses = ready.expect("the stack ends before it is ready: see above");
        let client = Client::builder().no_proxy().build().unwrap();
        Self { child, addresses, client, _stdout: stdout }
    }

    fn address(&self, of: &str, path: &str) -> String {
        format!("{}{path}", self.addresses[of].as_str().unwrap())
    }

    /// The URL of this path of the site.
    pub(crate) fn site(&self, path: &str) -> String {
        self.address("gateway", path)
    }

    /// The same machine by another name: another site.
    pub(crate) fn other_site(&self, path: &str) -> String {
        self.site(path).replacen("127.0.0.1", "localhost", 1)
    }

    /// The origin of the content bucket.
    pub(crate) fn content(&self) -> String {
        self.address("content", "")
    }

    pub(crate) async fn get(&self, url: &str) -> (StatusCode, String) {
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Uses the simulator's control API.
    pub(crate) async fn simulator(&self, path: &str, body: Value) -> Value {
        let url = self.address("stripe", &format!("/_sim/{path}"));
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    /// Clears the simulator's faults.
    pub(crate) async fn clear_stripe_faults(&self) {
        let url = self.address("stripe", "/_sim/faults");
        let answer = self.client.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// A learner's access token.
    pub(crate) async fn token(&self, email: &str) -> String {
        let login = self.client.post(self.site("/local/login")).header("accept", "text/plain");
        let token = login.json(&serde_json::json!({ "email": email })).send().await.unwrap();
        token.text().await.unwrap().trim().to_owned()
    }

    /// The issuer's answer to a refresh token.
    pub(crate) async fn renews(&self, refresh_token: &str) -> Value {
        let form = format!(
            "grant_type=refresh_token&client_id=coursegate-site&refresh_token={refresh_token}"
        );
        let request = self.client.post(self.site("/local/token")).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The code in the latest e-mail to this address.
    pub(crate) async fn code(&self, email: &str) -> Option<String> {
        let (_, mails) = self.get(&self.site("/local/mail")).await;
        let (_, mail) = mails.split_once(email)?;
        let (_, code) = mail.split_once("<code>")?;
        Some(code.split_once("</code>")?.0.to_owned())
    }

    /// An upgrade link that a tutoring service sends to a learner.
    pub(crate) async fn upgrade_link(&self, learner: &str, price: &str) -> String {
        let token = self.client.post(self.site("/local/service-token"));
        let token = token.header("accept", "text/plain").send().await.unwrap();
        let token = token.text().await.unwrap();
        let url = self.site(&format!("/api/learners/{learner}/upgrade-link"));
        let link = self.client.post(url).bearer_auth(token.trim());
        let link = link.json(&serde_json::json!({ "price": price })).send().await.unwrap();
        let link: Value = link.json().await.unwrap();
        link["url"].as_str().unwrap().to_owned()
    }

    /// Calls Stripe's API with the account's key.
    pub(crate) async fn stripe(&self, path: &str) -> Value {
        let url = self.address("stripe", path);
        let answer =
            self.client.get(url).basic_auth("sk_test_owner", Some("")).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Refunds a payment, in full or this much of it, as in Stripe's Dashboard.
    pub(crate) async fn refund(&self, payment: &str, amount: Option<i64>) {
        let url = self.address("stripe", "/v1/refunds");
        let request = self.client.post(url).basic_auth("sk_test_owner", Some(""));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let amount = amount.map_or_else(String::new, |amount| format!("&amount={amount}"));
        let form = format!("payment_intent={payment}{amount}");
        let answer = request.body(form).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// The only checkout session.
    pub(crate) async fn session(&self) -> Value {
        let sessions = self.stripe("/v1/checkout/sessions").await;
        let [session] = &sessions["data"].as_array().unwrap()[..] else {
            panic!("one session is expected: {sessions}");
        };
        session.clone()
    }

    pub(crate) async fn session_id(&self) -> String {
        self.session().await["id"].as_str().unwrap().to_owned()
    }

    /// Runs a `coursegate` command.
    pub(crate) fn operator(&self, words: &[&str]) {
        let port = self.addresses["gateway"].as_str().unwrap().rsplit(':').next().unwrap();
        let mut command = Command::new(&*COURSEGATE);
        command.current_dir(root()).args(words).args(["--gateway-port", port]);
        let said = command.output().unwrap();
        assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

fn parse(addresses: &str) -> Value {
    serde_json::from_str(addresses).unwrap()
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
