//! Stripe, as the functions ask it: a proxy before the simulator that also knows what happened in
//! the script, and that fails now and then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;

use super::random::Random;
use super::script::Script;
use super::witness::Witness;

/// Of a hundred questions about the script so many are not answered.
const FAILS_PERCENT: u64 = 25;

/// The proxy. Clones are the same.
#[derive(Clone)]
pub struct Asked {
    inner: Arc<Inner>,
}

struct Inner {
    script: Arc<Script>,
    witness: Witness,
    random: Mutex<Random>,
    client: reqwest::Client,
    simulator: OnceLock<String>,
    is_storming: AtomicBool,
}

impl Asked {
    /// A proxy that knows this script: itself, its address, and the task that serves it.
    pub async fn new(
        script: Arc<Script>,
        seed: u64,
        witness: Witness,
    ) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let inner = Inner {
            script,
            witness,
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

    /// Where the simulator is.
    pub fn leads_to(&self, simulator: String) {
        self.inner.simulator.set(simulator).unwrap();
    }

    /// Whether questions fail from now on.
    pub fn storms(&self, is_storming: bool) {
        self.inner.is_storming.store(is_storming, Ordering::SeqCst);
    }
}

async fn answer(
    State(Asked { inner }): State<Asked>,
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
            .witness
            .count(format!("asked Stripe: {what}{}", if fails { ", in vain" } else { "" }));
        return if fails {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        } else {
            axum::Json(known).into_response()
        };
    }
    let simulator = inner.simulator.get().expect("a proxy that leads somewhere");
    let mut request = inner.client.request(method, format!("{simulator}{uri}")).body(body);
    for name in ["authorization", "content-type", "idempotency-key", "stripe-version", "user-agent"]
    {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    // A function that was killed closes its side; the simulator itself always answers.
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
