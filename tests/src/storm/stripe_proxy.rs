//! Stripe, as the functions call it: a proxy in front of the simulator that also knows the script's
//! objects, and fails now and then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;

use super::observations::Observations;
use super::random::Random;
use super::script::Script;

/// The percentage of requests about the script that fail.
const FAILS_PERCENT: u64 = 25;

/// The proxy. Clones share everything.
#[derive(Clone)]
pub struct StripeProxy {
    inner: Arc<Inner>,
}

struct Inner {
    script: Arc<Script>,
    observations: Observations,
    random: Mutex<Random>,
    client: reqwest::Client,
    simulator: OnceLock<String>,
    is_storming: AtomicBool,
}

impl StripeProxy {
    /// A proxy that knows this script: itself, its address, and the task that serves it.
    pub async fn new(
        script: Arc<Script>,
        seed: u64,
        observations: Observations,
    ) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let inner = Inner {
            script,
            observations,
            random: Mutex::new(Random::new(seed, "asked")),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            simulator: OnceLock::new(),
            is_storming: AtomicBool::new(false),
        };
        let asked = Self { inner: Arc::new(inner) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(asked.clone());
        (asked, url, async move { axum::serve(listener, router).await.unwrap() })
    }

    /// Sets the simulator's address.
    pub fn leads_to(&self, simulator: String) {
        self.inner.simulator.set(simulator).unwrap();
    }

    /// Sets whether requests fail from now on.
    pub fn storms(&self, is_storming: bool) {
        self.inner.is_storming.store(is_storming, Ordering::SeqCst);
    }
}

async fn answer(
    State(StripeProxy { inner }): State<StripeProxy>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(known) = inner.script.read_at_stripe(uri.path()) {
        let fails = inner.is_storming.load(Ordering::SeqCst)
            && inner.random.lock().unwrap().percent(FAILS_PERCENT);
        let what = uri.path().split('/').nth(2).unwrap_or_default().to_owned();
        inner
            .observations
            .count(format!("Stripe read: {what}{}", if fails { ", failed" } else { "" }));
        return if fails {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        } else {
            axum::Json(known).into_response()
        };
    }
    let simulator = inner.simulator.get().expect("a proxy with a target");
    let mut request = inner.client.request(method, format!("{simulator}{uri}")).body(body);
    for name in ["authorization", "content-type", "idempotency-key", "stripe-version", "user-agent"]
    {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    // A killed function closes its side; the simulator itself always responds.
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let passed_on = ["stripe-should-retry", "request-id"]
        .map(|name| (name, answer.headers().get(name).cloned()));
    let body = answer.bytes().await.unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    for (name, value) in passed_on {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
