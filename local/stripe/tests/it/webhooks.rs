//! A webhook endpoint that records its deliveries and responds as the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A delivery that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) signature: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Arrival {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn event_type(&self) -> String {
        self.event()["type"].as_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct Inbox {
    arrivals: Vec<Arrival>,
    /// The responses to give before 200.
    answers: VecDeque<StatusCode>,
}

pub(crate) struct Endpoint {
    pub(crate) url: String,
    inbox: Arc<Mutex<Inbox>>,
    server: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn listen() -> Self {
        Self::answering([]).await
    }

    /// Responds with these statuses first, then with 200.
    pub(crate) async fn answering(answers: impl IntoIterator<Item = StatusCode>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let inbox = Arc::new(Mutex::new(Inbox {
            answers: answers.into_iter().collect(),
            ..Inbox::default()
        }));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inbox));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inbox, server }
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.inbox.lock().unwrap().arrivals.clone()
    }

    /// Waits for this many deliveries, and returns all of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> impl Future<Output = Vec<Arrival>> {
        let caller = std::panic::Location::caller();
        async move {
            until(
                || self.arrivals().len() >= count,
                || format!("{caller}: {:?} arrived", self.types()),
            )
            .await;
            self.arrivals()
        }
    }

    pub(crate) fn types(&self) -> Vec<String> {
        self.arrivals().iter().map(Arrival::event_type).collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(inbox): State<Arc<Mutex<Inbox>>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let mut inbox = inbox.lock().unwrap();
    let signature = headers.get("stripe-signature").unwrap().to_str().unwrap().to_owned();
    inbox.arrivals.push(Arrival { signature, headers, body });
    inbox.answers.pop_front().unwrap_or(StatusCode::OK)
}

/// Waits until a condition holds; fails after longer than even a slow machine needs.
pub(crate) async fn until(mut so: impl FnMut() -> bool, otherwise: impl FnOnce() -> String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {}", otherwise());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
