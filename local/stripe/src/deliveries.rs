//! Delivers events to webhook endpoints as Stripe does: at least once, in no particular order,
//! signed anew each time, retried after failures, and without delaying the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stripe_webhook::Webhook;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::document::Document;
use crate::error::ApiError;
use crate::events::HOLD;
use crate::resources::event_destinations;
use crate::state::{API_VERSION, Call, Core, Origin, machine_time_ms};
use crate::store::{Kind, Store};

/// An endpoint's time limit.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
const MOST_ATTEMPTS: i64 = 20;
const FIRST_BACKOFF_MS: i64 = 500;
const LONGEST_BACKOFF_MS: i64 = 60_000;
/// Concurrent deliveries to one endpoint. The limit is per endpoint, so a hanging one doesn't delay
/// the others.
const CONCURRENT: usize = 32;
/// How many finished deliveries `GET /_sim/deliveries` still shows.
const FINISHED_KEPT: usize = 1000;

/// Starts a task for each batch of deliveries. The tasks end with the dispatcher.
pub(crate) async fn dispatch(core: Arc<Core>, mut batches: mpsc::UnboundedReceiver<Vec<String>>) {
    let mut tasks = JoinSet::new();
    let mut permits: BTreeMap<String, Arc<Semaphore>> = BTreeMap::new();
    loop {
        tokio::select! {
            batch = batches.recv() => {
                let Some(batch) = batch else { return };
                let endpoint = core.lock().store.get(Kind::Delivery, batch.first().map_or("", String::as_str))
                    .map(|delivery| delivery.text("endpoint").to_owned()).unwrap_or_default();
                let permits = permits.entry(endpoint).or_insert_with(|| Arc::new(Semaphore::new(CONCURRENT)));
                tasks.spawn(run(Arc::clone(&core), batch, Arc::clone(permits)));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Deliveries that were pending when the simulator stopped.
pub(crate) fn resume(core: &Core) {
    let pending: Vec<String> = core
        .lock()
        .store
        .iterate(Kind::Delivery)
        .filter(|(_, _, delivery)| delivery.text("state") == "pending")
        .map(|(_, id, _)| id.to_owned())
        .collect();
    for id in pending {
        core.deliver_in_order(vec![id]);
    }
}

/// Tries each delivery of a batch once, in sequence; failed ones are retried separately.
async fn run(core: Arc<Core>, batch: Vec<String>, permits: Arc<Semaphore>) {
    for id in batch {
        let Some(wait_ms) = due_in_ms(&core, &id) else { continue };
        core.sleep_ms(wait_ms).await;
        let Ok(_permit) = permits.acquire().await else { return };
        let Some(attempt) = Attempt::prepare(&core, &id) else { continue };
        let result = attempt.send(&core).await;
        if record(&core, &id, &result) {
            core.deliver_in_order(vec![id]);
        }
    }
}

fn due_in_ms(core: &Core, id: &str) -> Option<u64> {
    let state = core.lock();
    let delivery = state.store.get(Kind::Delivery, id)?;
    let wait_ms = delivery.integer("next_attempt_ms") - machine_time_ms();
    Some(wait_ms.try_into().unwrap_or(0))
}

/// A signed request, ready to be sent.
struct Attempt {
    url: String,
    signature: String,
    body: String,
}

/// The endpoint's response, or why there is none.
type Answer = Result<u16, String>;

impl Attempt {
    /// None if there is nothing to send: no longer pending, held meanwhile, or the endpoint is
    /// gone.
    fn prepare(core: &Core, id: &str) -> Option<Self> {
        let changed = core.transact(Origin::default(), |call| {
            let Some(mut delivery) = call.store.get(Kind::Delivery, id).cloned() else {
                return Ok(None);
            };
            if delivery.text("state") != "pending" {
                return Ok(None);
            }
            if call.store.get(Kind::Setting, HOLD).is_some() {
                delivery.set("state", "held");
                call.store.put(Kind::Delivery, id, delivery);
                return Ok(None);
            }
            let endpoint = call.store.get(Kind::WebhookEndpoint, delivery.text("endpoint"));
            let event = call.store.get(Kind::Event, delivery.text("event"));
            let (Some(endpoint), Some(event)) =
                (endpoint.filter(|it| it.text("status") == "enabled"), event)
            else {
                give_up(call.store, id);
                return Ok(None);
            };
            let url = endpoint.text("url").to_owned();
            let body = format!("{:#}", rendered_for(endpoint, event));
            let signature = signature(&call.active_secrets(delivery.text("endpoint")), &body);
            Ok(Some(Self { url, signature, body }))
        });
        changed.ok().flatten()
    }

    async fn send(self, core: &Core) -> Answer {
        let request = core
            .http
            .post(&self.url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("accept", "*/*; q=0.5, application/xml")
            .header("cache-control", "no-cache")
            .header("stripe-signature", self.signature)
            .body(self.body)
            .send();
        match request.await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) if error.is_timeout() => {
                Err("The endpoint did not answer in time.".to_owned())
            }
            Err(error) if error.is_connect() => {
                Err("The endpoint could not be reached.".to_owned())
            }
            Err(error) => Err(format!("The endpoint could not be called: {error}.")),
        }
    }
}

/// The event in the endpoint's API version, unless it was emitted with its own version. Only the
/// version's name differs: the simulator has the objects of one version. A thin event has no
/// version.
fn rendered_for(endpoint: &Value, event: &Value) -> Value {
    if event_destinations::is_thin(endpoint) {
        return event_destinations::thin_event(event);
    }
    let mut event = event.clone();
    let version = endpoint.field("api_version");
    if event.text("api_version") == API_VERSION && !version.is_null() {
        event.set("api_version", version.clone());
    }
    event
}

/// `t=…,v1=…` with one `v1` per secret; the library signs with one at a time.
fn signature(secrets: &[String], body: &str) -> String {
    let time = machine_time_ms() / 1000;
    let mut header = format!("t={time}");
    for secret in secrets {
        let signed = Webhook::generate_test_header(body, secret, Some(time));
        if let Some((_, v1)) = signed.split_once(',') {
            header.push(',');
            header.push_str(v1);
        }
    }
    header
}

/// Records an attempt's result. Returns whether there will be another attempt.
fn record(core: &Core, id: &str, answer: &Answer) -> bool {
    let retried = core.transact(Origin::default(), |call| {
        let Some(mut delivery) = call.store.get(Kind::Delivery, id).cloned() else {
            return Ok(false);
        };
        let attempts = delivery.integer("attempts") + 1;
        let delivered = matches!(answer, Ok(200..=299));
        delivery.set("attempts", attempts);
        delivery.set("last_status", answer.as_ref().ok().copied());
        delivery.set("last_error", answer.as_ref().err().cloned());
        let retry = !delivered && attempts < MOST_ATTEMPTS;
        let state = match (delivered, retry) {
            (true, _) => "delivered",
            (false, true) => "pending",
            (false, false) => "failed",
        };
        delivery.set("state", state);
        delivery.set("next_attempt_ms", machine_time_ms() + backoff_ms(attempts));
        if delivered && is_first(call.store, &delivery) {
            count_down(call.store, delivery.text("event"));
        }
        call.store.put(Kind::Delivery, id, delivery);
        Ok(retry)
    });
    if matches!(answer, Ok(200..=299)) {
        tracing::debug!(delivery = id, "event delivered");
    } else {
        tracing::info!(delivery = id, ?answer, "event not delivered");
    }
    retried.unwrap_or(false)
}

/// Doubles with each attempt, up to a minute. Stripe waits for hours, which is too long on a
/// laptop.
fn backoff_ms(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    (FIRST_BACKOFF_MS << doublings).min(LONGEST_BACKOFF_MS)
}

/// Whether an endpoint that was enabled when the event happened now gets it for the first time, by
/// this delivery or a copy of it.
fn is_first(store: &Store, delivery: &Value) -> bool {
    let mut listened = false;
    for (_, _, other) in store.iterate(Kind::Delivery) {
        if other.text("event") == delivery.text("event")
            && other.text("endpoint") == delivery.text("endpoint")
        {
            if other.text("state") == "delivered" {
                return false;
            }
            listened |= !other.is_true("copy");
        }
    }
    listened
}

/// Counts down the endpoints that have not had the event yet.
fn count_down(store: &mut Store, event: &str) {
    if let Some(mut event_now) = store.get(Kind::Event, event).cloned() {
        event_now.set("pending_webhooks", (event_now.integer("pending_webhooks") - 1).max(0));
        store.put(Kind::Event, event, event_now);
    }
}

/// Cancels the deliveries to a deleted endpoint.
pub(crate) fn give_up_on(call: &mut Call<'_>, endpoint: &str) {
    let open: Vec<String> = call
        .store
        .iterate(Kind::Delivery)
        .filter(|(_, _, delivery)| {
            delivery.text("endpoint") == endpoint
                && matches!(delivery.text("state"), "pending" | "held")
        })
        .map(|(_, id, _)| id.to_owned())
        .collect();
    for id in open {
        give_up(call.store, &id);
    }
}

fn give_up(store: &mut Store, id: &str) {
    if let Some(mut delivery) = store.get(Kind::Delivery, id).cloned() {
        delivery.set("state", "failed");
        delivery.set("last_error", "The endpoint is disabled or deleted.");
        store.put(Kind::Delivery, id, delivery);
    }
}

/// Drops the oldest finished deliveries beyond those that are shown.
pub(crate) fn prune(call: &mut Call<'_>) {
    if call.store.count(Kind::Delivery) <= FINISHED_KEPT {
        return;
    }
    let finished: Vec<String> = call
        .store
        .iterate(Kind::Delivery)
        .rev()
        .filter(|(_, _, delivery)| matches!(delivery.text("state"), "delivered" | "failed"))
        .skip(FINISHED_KEPT)
        .map(|(_, id, _)| id.to_owned())
        .collect();
    for id in &finished {
        call.store.remove(Kind::Delivery, id);
    }
}

/// How held deliveries are released.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Release {
    /// How often each event is sent; once when absent.
    copies: Option<usize>,
    /// In order of arrival, or shuffled.
    order: Order,
    /// The seed of the shuffle, to repeat it.
    seed: u64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    AsTheyCame,
    Shuffled,
}

/// The number of held deliveries; none when deliveries are not being held.
pub(crate) fn held_back(core: &Core) -> Option<usize> {
    let state = core.lock();
    state.store.get(Kind::Setting, HOLD).map(|_| held(&state.store).len())
}

/// Holds all deliveries from now on, including retries.
pub(crate) fn hold(core: &Core) -> Result<Value, ApiError> {
    core.transact(Origin::default(), |call| {
        call.store.put(Kind::Setting, HOLD, json!({}));
        Ok(json!({ "held": held(call.store).len() }))
    })
}

/// Sends the held deliveries: the first attempts strictly in sequence, in the requested order.
pub(crate) fn release(core: &Core, release: &Release) -> Result<Value, ApiError> {
    let (events, sequence) = core.transact(Origin::default(), |call| {
        call.store.remove(Kind::Setting, HOLD);
        let held = held(call.store);
        let mut sequence = Vec::new();
        for copy in 0..release.copies.unwrap_or(1).clamp(1, 100) {
            for id in &held {
                let Some(mut delivery) = call.store.get(Kind::Delivery, id).cloned() else {
                    continue;
                };
                if copy > 0 {
                    delivery.set("id", crate::id::delivery());
                    delivery.set("copy", true);
                }
                delivery.set("state", "pending");
                delivery.set("next_attempt_ms", machine_time_ms());
                let id = delivery.text("id").to_owned();
                call.store.put(Kind::Delivery, &id, delivery);
                sequence.push(id);
            }
        }
        if matches!(release.order, Order::Shuffled) {
            shuffle(&mut sequence, release.seed);
        }
        Ok((held.len(), sequence))
    })?;
    let deliveries = sequence.len();
    core.deliver_in_order(sequence);
    Ok(json!({ "released": events, "deliveries": deliveries }))
}

fn held(store: &Store) -> Vec<String> {
    store
        .iterate(Kind::Delivery)
        .filter(|(_, _, delivery)| delivery.text("state") == "held")
        .map(|(_, id, _)| id.to_owned())
        .collect()
}

/// A Fisher-Yates shuffle, driven by Marsaglia's xorshift.
fn shuffle(ids: &mut [String], seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for last in (1..ids.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let below = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        ids.swap(last, usize::try_from(random % below).unwrap_or(last));
    }
}
