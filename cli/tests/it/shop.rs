//! A shop that runs, what people do there, and what its operator types.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::running::{Running, command, up};

/// What a command has said, and how it ended.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) problem: String,
    pub(crate) code: Option<i32>,
}

/// A local stack of its own.
pub(crate) struct Shop {
    pub(crate) running: Running,
}

/// Somebody who has signed in.
pub(crate) struct Learner {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// A session that was paid, and its payment.
pub(crate) struct Paid {
    pub(crate) session: String,
    pub(crate) payment: String,
}

impl Shop {
    pub(crate) fn open() -> Self {
        Self { running: up(&["--ephemeral"]) }
    }

    /// One whose webhook is behind the API's throttling.
    pub(crate) fn open_throttled() -> Self {
        let parameter = ["--parameter", "WebhookEntrance=api"];
        Self { running: up(&[&["--ephemeral", "--concurrency", "30"], &parameter[..]].concat()) }
    }

    /// What marks the shop's objects at Stripe as its own.
    pub(crate) fn mark(&self) -> &str {
        self.running.addresses["deployment_mark"].as_str().unwrap()
    }

    /// What the command says to Grace, who operates the shop.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let gateway = self.running.addresses["gateway"].as_str().unwrap();
        let port = gateway.rsplit(':').next().unwrap();
        let mut command = command(&[arguments, &["--gateway-port", port]].concat());
        finish(command.env("USER", "grace"), input)
    }

    /// The same for a command that succeeds.
    #[track_caller]
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.problem.as_str()), (Some(0), ""), "{arguments:?} {}", said.out);
        said.out
    }

    /// The same for one that fails.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?} {}", said.out);
        said.problem
    }

    /// Asks a piece of the stack: `GET` without a body, otherwise a form or JSON.
    pub(crate) fn ask(
        &self,
        piece: &str,
        path: &str,
        headers: &[&str],
        body: Option<&str>,
    ) -> Value {
        let url = format!("{}{path}", self.running.addresses[piece].as_str().unwrap());
        let mut curl = Command::new("curl");
        curl.args(["-s", &url]);
        for header in headers {
            curl.args(["-H", header]);
        }
        if let Some(body) = body {
            curl.args(["-d", body]);
        }
        let output = curl.output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Stripe's API, with a form.
    pub(crate) fn stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let form = form.iter().map(|(name, value)| format!("{name}={value}"));
        let form = form.collect::<Vec<_>>().join("&");
        let body = Some(form.as_str()).filter(|form| !form.is_empty());
        self.ask("stripe", path, &["authorization: Bearer sk_test_any"], body)
    }

    /// What happens behind Stripe's scenes.
    pub(crate) fn sim(&self, path: &str, body: &Value) -> Value {
        self.ask("stripe", path, &[], Some(&body.to_string()))
    }

    pub(crate) fn sign_in(&self, email: &str) -> Learner {
        let body = json!({ "email": email }).to_string();
        let answer = self.ask("gateway", "/local/login", &[], Some(&body));
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let id = self.api(&token, "/entitlements", None)["learner"].as_str().unwrap().to_owned();
        Learner { id, token }
    }

    fn api(&self, token: &str, path: &str, body: Option<&Value>) -> Value {
        let authorization = format!("authorization: Bearer {token}");
        let body = body.map(Value::to_string);
        self.ask("gateway", &format!("/api{path}"), &[&authorization], body.as_deref())
    }

    /// Opens a session, and does not pay.
    pub(crate) fn check_out(&self, learner: &Learner, price: &str) -> String {
        let answer = self.api(&learner.token, "/checkout", Some(&json!({ "price": price })));
        answer["session_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What the success page asks.
    pub(crate) fn confirm(&self, learner: &Learner, session: &str) -> Value {
        self.api(&learner.token, &format!("/checkout/{session}/confirm"), Some(&json!({})))
    }

    /// Has a service make a link with which the learner can buy.
    pub(crate) fn upgrade_link(&self, learner: &Learner, price: &str) -> String {
        let token = self.ask("gateway", "/local/service-token", &[], Some(""));
        let token = token["access_token"].as_str().unwrap_or_else(|| panic!("{token}")).to_owned();
        let path = format!("/learners/{}/upgrade-link", learner.id);
        let link = self.api(&token, &path, Some(&json!({ "price": price })));
        link["url"].as_str().unwrap_or_else(|| panic!("{link}")).to_owned()
    }

    /// Buys, and waits until Stripe has told of it.
    pub(crate) fn buy(&self, learner: &Learner, price: &str) -> Paid {
        let session = self.check_out(learner, price);
        let paid = self.pay(session);
        self.wait_until(learner, &paid.payment, "active");
        paid
    }

    /// Pays behind our back for what is bought already: with a session that our server has not
    /// opened, but which says of itself what ours do.
    pub(crate) fn buy_again(&self, learner: &Learner) -> Paid {
        let prices = self.stripe("/v1/prices?lookup_keys[]=tutorclaw_paid", &[]);
        let metadata = [
            ("coursegate", self.mark()),
            ("learner_id", learner.id.as_str()),
            ("product", "tutorclaw"),
            ("price", "tutorclaw_paid"),
        ];
        let on = |what: &str| {
            metadata.map(|(name, value)| (format!("{what}[{name}]"), value.to_owned()))
        };
        let mut form = vec![
            ("mode".to_owned(), "payment".to_owned()),
            ("success_url".to_owned(), "http://127.0.0.1/".to_owned()),
            ("line_items[0][quantity]".to_owned(), "1".to_owned()),
            (
                "line_items[0][price]".to_owned(),
                prices["data"][0]["id"].as_str().unwrap().to_owned(),
            ),
        ];
        form.extend(on("metadata"));
        form.extend(on("payment_intent_data[metadata]"));
        let form: Vec<(&str, &str)> =
            form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let session = self.stripe("/v1/checkout/sessions", &form);
        let paid = self.pay(session["id"].as_str().unwrap().to_owned());
        self.wait_until(learner, &paid.payment, "active");
        paid
    }

    pub(crate) fn pay(&self, session: String) -> Paid {
        let path = format!("/_sim/checkout/sessions/{session}/pay");
        let paid = self.sim(&path, &json!({ "card": "4242424242424242" }));
        let payment = paid["payment_intent"].as_str().unwrap_or_else(|| panic!("{paid}"));
        Paid { payment: payment.to_owned(), session }
    }

    /// What a source gives its learner, as the API says; none if it gives nothing.
    pub(crate) fn status(&self, learner: &Learner, source: &str) -> Option<String> {
        let answer = self.api(&learner.token, "/entitlements", None);
        let all = answer["entitlements"].as_array().unwrap();
        let found = all.iter().find(|it| it["source"] == source)?;
        Some(found["status"].as_str().unwrap().to_owned())
    }

    /// Whether chapter six is open.
    pub(crate) fn lets_in(&self, learner: &Learner) -> bool {
        let path = "/courses/tutorclaw/access?chapter=6";
        self.api(&learner.token, path, None)["access"] == "granted"
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, learner: &Learner, source: &str, status: &str) {
        wait(|| self.status(learner, source).as_deref() == Some(status));
    }

    /// Waits until everything that Stripe has told is taken.
    #[track_caller]
    pub(crate) fn wait_for_deliveries(&self) {
        wait(|| {
            let all = self.ask("stripe", "/_sim/deliveries", &[], None);
            all["deliveries"].as_array().unwrap().iter().all(|it| it["state"] == "delivered")
        });
    }

    /// An event of this type, the latest.
    pub(crate) fn event(&self, kind: &str) -> String {
        let list = self.stripe(&format!("/v1/events?type={kind}"), &[]);
        list["data"][0]["id"].as_str().unwrap_or_else(|| panic!("{list}")).to_owned()
    }

    /// DynamoDB or Secrets Manager.
    pub(crate) fn aws(&self, piece: &str, target: &str, body: &Value) -> Value {
        // Signatures are not looked at here, but must be there.
        let signed = "authorization: AWS4-HMAC-SHA256 \
                      Credential=local/20261121/us-east-1/dynamodb/aws4_request, \
                      SignedHeaders=host, Signature=none";
        let headers = [
            &format!("x-amz-target: {target}"),
            "content-type: application/x-amz-json-1.0",
            "x-amz-date: 20261121T000000Z",
            signed,
        ];
        let answer = self.ask(piece, "/", &headers, Some(&body.to_string()));
        assert!(answer["__type"].is_null(), "{answer}");
        answer
    }

    /// Every item of the table, as text.
    pub(crate) fn items(&self) -> Vec<String> {
        let scan = json!({ "TableName": "coursegate", "ConsistentRead": true });
        let answer = self.aws("dynamodb", "DynamoDB_20120810.Scan", &scan);
        assert!(answer["LastEvaluatedKey"].is_null(), "more than fits in one answer");
        answer["Items"].as_array().unwrap().iter().map(Value::to_string).collect()
    }
}

/// Waits for what comes by itself.
#[track_caller]
fn wait(mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    panic!("it does not come to that");
}

pub(crate) fn finish(command: &mut Command, input: &str) -> Said {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        problem: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// A text with these ids by other names, and each time as `TIME`.
pub(crate) fn plain(text: &str, names: &[(&str, &str)]) -> String {
    let text = names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name));
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        let head = rest.get(..16).filter(|head| is_time(head));
        let (taken, put) = head.map_or((next.len_utf8(), None), |_| (16, Some("TIME")));
        let (head, tail) = rest.split_at(taken);
        plain.push_str(put.unwrap_or(head));
        rest = tail;
    }
    plain
}

fn is_time(text: &str) -> bool {
    text.len() == 16
        && text.chars().zip("0000-00-00 00:00".chars()).all(|(found, wanted)| {
            if wanted == '0' { found.is_ascii_digit() } else { found == wanted }
        })
}
