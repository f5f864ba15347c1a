//! A simulator, and helpers for the tests.

use std::path::Path;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use stripe_simulator::{Options, Simulator};

pub(crate) const KEY: &str = "sk_test_shop";

/// A response of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a success; anything else fails the test.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:#}", self.body);
        self.body
    }

    /// The status and the error of a failure.
    #[track_caller]
    pub(crate) fn error(self) -> (u16, Value) {
        assert!(self.status.is_client_error() || self.status.is_server_error(), "{:#}", self.body);
        (self.status.as_u16(), self.body["error"].clone())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

pub(crate) struct Shop {
    pub(crate) simulator: Simulator,
    pub(crate) http: reqwest::Client,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_with(None).await
    }

    pub(crate) async fn open_with(state: Option<&Path>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options { listener, state: state.map(Path::to_path_buf) };
        let simulator = stripe_simulator::start(options).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { simulator, http }
    }

    /// A request without a key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.simulator.url()))
    }

    pub(crate) async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path).bearer_auth(KEY)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Self::send(self.request(Method::DELETE, path).bearer_auth(KEY)).await
    }

    pub(crate) fn posting(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.request(Method::POST, path)
            .bearer_auth(KEY)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(form))
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Self::send(self.posting(path, form)).await
    }

    /// A request to the control API.
    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, &format!("/_sim{path}"));
        Self::send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Creates a product with a price in cents; returns the price's id.
    pub(crate) async fn price(&self, cents: u32) -> String {
        let product = self.post("/v1/products", &[("name", "TutorClaw, all chapters")]).await.ok();
        let form = [
            ("product", product["id"].as_str().unwrap()),
            ("currency", "usd"),
            ("unit_amount", &cents.to_string()),
        ];
        self.post("/v1/prices", &form).await.ok()["id"].as_str().unwrap().to_owned()
    }

    /// Opens a session for a price, with more parameters.
    pub(crate) async fn session_with(&self, price: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("mode", "payment"),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "https://shop.example/courses"),
        ];
        form.extend(more);
        self.post("/v1/checkout/sessions", &form).await
    }

    /// The id of an open session over 29 dollars.
    pub(crate) async fn session(&self) -> String {
        let price = self.price(2900).await;
        self.session_with(&price, &[]).await.ok()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn pay(&self, session: &str, card: &str) -> Answer {
        self.control(
            Method::POST,
            &format!("/checkout/sessions/{session}/pay"),
            json!({ "card": card }),
        )
        .await
    }

    /// Buys something for 29 dollars with this card; returns the payment intent's id.
    pub(crate) async fn purchase(&self, card: &str) -> String {
        self.purchase_by(json!({ "card": card })).await
    }

    /// Buys something for 29 dollars this way; returns the payment intent's id.
    pub(crate) async fn purchase_by(&self, means: Value) -> String {
        let path = format!("/checkout/sessions/{}", self.session().await);
        let session = self.control(Method::POST, &format!("{path}/pay"), means).await.ok();
        if session["payment_status"] == "unpaid" {
            let outcome = json!({ "outcome": "succeeded" });
            self.control(Method::POST, &format!("{path}/settle"), outcome).await.ok();
        }
        session["payment_intent"].as_str().unwrap().to_owned()
    }

    /// The charge that paid a payment intent, in its current state.
    pub(crate) async fn charge_of(&self, intent: &str) -> Value {
        let path = format!("/v1/payment_intents/{intent}?expand[]=latest_charge");
        self.get(&path).await.ok()["latest_charge"].clone()
    }

    /// Advances the clock.
    pub(crate) async fn wait_seconds(&self, seconds: u32) {
        self.control(Method::POST, "/advance", json!({ "seconds": seconds })).await.ok();
    }

    /// The types of all events so far, oldest first, without those of the setup.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let events = self.get("/v1/events?limit=100").await.ok();
        let mut types: Vec<String> = events["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .filter(|it| !it.starts_with("product.") && !it.starts_with("price."))
            .collect();
        types.reverse();
        types
    }

    /// The id of the newest event.
    pub(crate) async fn newest_event(&self) -> String {
        let events = self.get("/v1/events?limit=1").await.ok();
        events["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// The events after this one, oldest first.
    pub(crate) async fn events_since(&self, event: &str) -> Vec<Value> {
        let path = format!("/v1/events?limit=100&ending_before={event}");
        let mut events = self.get(&path).await.ok()["data"].as_array().unwrap().clone();
        events.reverse();
        events
    }
}

/// The types of events.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn encode(form: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> =
        form.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}
