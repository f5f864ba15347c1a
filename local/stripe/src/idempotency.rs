//! Idempotency keys: a repeated POST gets the first response and takes effect once.

use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::resources::ApiRequest;
use crate::state::{Call, Core, Origin};
use crate::store::Kind;

/// Stripe may drop a key after 24 hours; a later retry is a new request.
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// A response, first or replayed.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// The id of the request that it belongs to, if not the current one.
    pub(crate) replay_of: Option<String>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, body, replay_of: None }
    }
}

/// A request's idempotency key. Only POST has one: the other methods are idempotent already.
pub(crate) fn key(method: &Method, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(key) = headers.get("idempotency-key").filter(|_| method == Method::POST) else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= 255 => Ok(Some(key.to_owned())),
        _ => Err(ApiError::new(
            400,
            "idempotency_error",
            "An idempotency key has between 1 and 255 plain characters.",
        )),
    }
}

/// Marks a key as in use until dropped.
pub(crate) struct InFlight<'a> {
    core: &'a Core,
    key: String,
}

impl<'a> InFlight<'a> {
    pub(crate) fn claim(core: &'a Core, key: &str) -> Result<Self, ApiError> {
        if !core.lock().in_flight.insert(key.to_owned()) {
            let message = format!(
                "A request with the idempotency key '{key}' is still being executed; try again later."
            );
            return Err(ApiError::new(409, "idempotency_error", message)
                .with("code", "idempotency_key_in_use")
                .retry(true));
        }
        Ok(Self { core, key: key.to_owned() })
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.core.lock().in_flight.remove(&self.key);
    }
}

/// The response stored under a key, if there is one. The same key with another request is an error.
/// Parsed parameters are compared, since clients may send maps in any order.
pub(crate) fn replay(
    call: &Call<'_>,
    key: &str,
    request: &ApiRequest,
) -> Result<Option<Answer>, ApiError> {
    let Some(kept) = call.store.get(Kind::IdempotencyKey, key) else { return Ok(None) };
    if call.now - kept.integer("created") >= KEPT_SECONDS {
        return Ok(None);
    }
    if kept.text("path") != request.path || *kept.field("parameters") != request.parameters {
        let message = format!(
            "The idempotency key '{key}' was first used for {} with other parameters; use another key for another request.",
            kept.text("path")
        );
        return Err(ApiError::new(400, "idempotency_error", message));
    }
    Ok(Some(Answer {
        status: kept.integer("status").try_into().unwrap_or(500),
        body: kept.field("body").clone(),
        replay_of: Some(kept.text("request").to_owned()),
    }))
}

/// Stores the response to an executed request.
pub(crate) fn record(call: &mut Call<'_>, key: &str, request: &ApiRequest, answer: &Answer) {
    let kept = json!({
        "body": answer.body,
        "created": call.now,
        "parameters": request.parameters,
        "path": request.path,
        "request": call.origin.request,
        "status": answer.status,
    });
    // A key that is reused after a day moves to the end, so that pruning finds it late.
    call.store.remove(Kind::IdempotencyKey, key);
    call.store.put(Kind::IdempotencyKey, key, kept);
}

/// Stores a fault's response.
pub(crate) fn save(
    core: &Core,
    key: &str,
    request: &ApiRequest,
    answer: &Answer,
) -> Result<(), ApiError> {
    core.transact(Origin::default(), |call| {
        record(call, key, request, answer);
        Ok(())
    })
}

/// Deletes expired keys.
pub(crate) fn prune(call: &mut Call<'_>) {
    let old: Vec<String> = call
        .store
        .iterate(Kind::IdempotencyKey)
        .take_while(|(_, _, kept)| call.now - kept.integer("created") >= KEPT_SECONDS)
        .map(|(_, key, _)| key.to_owned())
        .collect();
    for key in old {
        call.store.remove(Kind::IdempotencyKey, &key);
    }
}
