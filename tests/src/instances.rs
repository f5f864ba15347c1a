//! The webhook function as Lambda keeps it: warm instances that take turns, each with the secrets
//! that it has read; and the Lambda API with which an operator replaces them.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use shared::dynamo::Table;
use simulation::clock::ManualClock;

use crate::requests::{answer, delivery};

type App = webhook::App<Table, ManualClock>;

/// The number of concurrent instances.
pub const INSTANCES: usize = 3;

/// The instances. Clones share everything.
#[derive(Clone)]
pub struct Instances {
    start: Arc<dyn Fn() -> App + Send + Sync>,
    running: Arc<Mutex<Running>>,
}

struct Running {
    apps: Vec<Arc<App>>,
    next: usize,
    description: String,
    /// Whether an update is in progress: then the running ones continue.
    is_updating: bool,
    /// How many updates will have no effect.
    ignored_updates: u32,
    /// How many had an effect.
    updates: u32,
}

impl Instances {
    pub(crate) fn new(start: impl Fn() -> App + Send + Sync + 'static) -> Self {
        let running = Running {
            apps: (0..INSTANCES).map(|_| Arc::new(start())).collect(),
            next: 0,
            description: "Verifies events.".to_owned(),
            is_updating: false,
            ignored_updates: 0,
            updates: 0,
        };
        Self { start: Arc::new(start), running: Arc::new(Mutex::new(running)) }
    }

    /// The number of updates with an effect.
    #[must_use]
    pub fn updates(&self) -> u32 {
        self.running.lock().unwrap().updates
    }

    /// The function's description.
    #[must_use]
    pub fn description(&self) -> String {
        self.running.lock().unwrap().description.clone()
    }

    /// Makes the next updates complete without an effect, as if the new instances had read an old
    /// value: Secrets Manager is eventually consistent.
    pub fn ignore_updates(&self, count: u32) {
        self.running.lock().unwrap().ignored_updates = count;
    }

    /// Where Stripe delivers, and the function's Lambda API.
    pub(crate) fn router(self) -> axum::Router {
        let configuration = "/2015-03-31/functions/{name}/configuration";
        axum::Router::new()
            .route("/webhook", post(deliver))
            .route(configuration, get(configuration_now).put(update))
            .with_state(self)
    }

    fn next(&self) -> Arc<App> {
        let mut running = self.running.lock().unwrap();
        running.next = (running.next + 1) % running.apps.len();
        Arc::clone(&running.apps[running.next])
    }
}

async fn deliver(
    State(instances): State<Instances>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let signature = headers.get("stripe-signature").and_then(|it| it.to_str().ok());
    let app = instances.next();
    let (status, answer) = answer(&webhook::handle(&app, &delivery(&body, signature)).await);
    (StatusCode::from_u16(status).unwrap(), Json(answer))
}

impl Running {
    fn configuration(&self) -> Json<Value> {
        let status = if self.is_updating { "InProgress" } else { "Successful" };
        Json(json!({ "Description": self.description, "LastUpdateStatus": status }))
    }
}

async fn update(State(instances): State<Instances>, body: String) -> Json<Value> {
    let change: Value = serde_json::from_str(&body).unwrap();
    let mut running = instances.running.lock().unwrap();
    change["Description"].as_str().unwrap().clone_into(&mut running.description);
    running.is_updating = true;
    running.configuration()
}

/// The second status request finds the update complete.
async fn configuration_now(State(instances): State<Instances>) -> Json<Value> {
    let mut running = instances.running.lock().unwrap();
    let configuration = running.configuration();
    if std::mem::take(&mut running.is_updating) {
        running.updates += 1;
        if running.ignored_updates > 0 {
            running.ignored_updates -= 1;
        } else {
            running.apps = (0..INSTANCES).map(|_| Arc::new((instances.start)())).collect();
        }
    }
    configuration
}
