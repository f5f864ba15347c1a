//! The HTTP side of `/v1`: authentication, injected faults, and idempotency.

use std::sync::Arc;

use axum::Form;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRequest, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::connection::Connection;
use crate::error::ApiError;
use crate::faults;
use crate::form;
use crate::id;
use crate::idempotency::{self, Answer, InFlight};
use crate::permissions;
use crate::resources::{self, ApiRequest};
use crate::state::{API_VERSION, Core, Origin};

const LARGEST_BODY: usize = 1024 * 1024;

/// Handles an API request. It runs in its own task because Stripe, too, finishes a request whose
/// client has disconnected.
pub(crate) async fn handle(
    State(core): State<Arc<Core>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let request_id = id::request();
    let idempotency_key = request.headers().get("idempotency-key").cloned();
    let task = tokio::spawn(process(core, request, request_id.clone()));
    let mut response = match task.await {
        Ok(Ok(Outcome::Answered(response))) => response,
        Ok(Ok(Outcome::Cut)) => {
            connection.cut();
            return StatusCode::BAD_GATEWAY.into_response();
        }
        Ok(Err(error)) => error.into_response(),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            ApiError::internal("The simulator failed; its log says why.").into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert("request-id", request_id);
    }
    if let Some(idempotency_key) = idempotency_key {
        headers.insert("idempotency-key", idempotency_key);
    }
    response
}

/// The outcome of a request.
enum Outcome {
    Answered(Response),
    /// The connection is closed without a response.
    Cut,
}

async fn process(
    core: Arc<Core>,
    request: Request,
    request_id: String,
) -> Result<Outcome, ApiError> {
    let (parts, body) = request.into_parts();
    let key = authenticate(&parts.headers)?;
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|_too_long_or_broken_off| {
        ApiError::invalid_request("The body is too long, or it broke off.")
    })?;
    let idempotency_key = idempotency::key(&parts.method, &parts.headers)?;
    let request = decode(key, parts, body).await?;
    let _in_flight = match &idempotency_key {
        Some(key) => Some(InFlight::claim(&core, key)?),
        None => None,
    };
    let perform = || execute(&core, &request, request_id, idempotency_key.as_deref());
    let fault = faults::take(&mut core.lock().faults, &request.method, &request.path);
    let Some(fault) = fault else {
        return perform().map(|answer| Outcome::Answered(answer.into_response()));
    };

    let answer = if fault.after {
        let answer = perform();
        core.sleep_ms(fault.delay_ms).await;
        Some(answer)
    } else {
        core.sleep_ms(fault.delay_ms).await;
        fault.only_delays().then(perform)
    };
    match (fault.answer(), answer) {
        _ if fault.drop => Ok(Outcome::Cut),
        (Some(instead), _) => {
            if let (true, Some(key)) = (fault.save, &idempotency_key) {
                idempotency::save(&core, key, &request, &instead)?;
            }
            let mut response = instead.into_response();
            set_should_retry(&mut response, fault.should_retry);
            Ok(Outcome::Answered(response))
        }
        (None, Some(answer)) => answer.map(|answer| Outcome::Answered(answer.into_response())),
        (None, None) => Ok(Outcome::Cut),
    }
}

/// Executes a request, or replays the response stored under its idempotency key.
fn execute(
    core: &Core,
    request: &ApiRequest,
    request_id: String,
    idempotency_key: Option<&str>,
) -> Result<Answer, ApiError> {
    if *core.stopping.borrow() {
        return Err(ApiError::new(503, "api_error", "The simulator is stopping."));
    }
    let origin =
        Origin { request: Some(request_id), idempotency_key: idempotency_key.map(str::to_owned) };
    core.transact(origin, |call| {
        let permissions = permissions::of(call, &request.key);
        permissions.check(request)?;
        if let Some(key) = idempotency_key
            && let Some(replayed) = idempotency::replay(call, key, request)?
        {
            return Ok(replayed);
        }
        let answer = match resources::answer(call, request, &permissions) {
            Ok(body) => Answer::new(200, body),
            Err(error) if error.before_execution => return Err(error),
            Err(error) => {
                // The response is kept, but partial changes are not.
                call.undo();
                Answer::new(error.status, error.body())
            }
        };
        if let Some(key) = idempotency_key {
            idempotency::record(call, key, request, &answer);
        }
        Ok(answer)
    })
}

/// The simulator is Stripe's test mode: it accepts any test key. Returns the key.
fn authenticate(headers: &HeaderMap) -> Result<String, ApiError> {
    let refused =
        |message: &str| Err(ApiError::new(401, "invalid_request_error", message).unexecuted());
    let Some(authorization) =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
    else {
        return refused("You did not provide an API key: send Authorization: Bearer sk_test_….");
    };
    let key = match authorization.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Some(key.trim().to_owned()),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => BASE64_STANDARD
            .decode(pair.trim())
            .ok()
            .and_then(|pair| String::from_utf8(pair).ok())
            .map(|pair| pair.split_once(':').map_or(pair.as_str(), |(key, _)| key).to_owned()),
        _ => None,
    };
    match key.as_deref().unwrap_or_default() {
        key if ["sk_test_", "rk_test_"]
            .iter()
            .any(|prefix| key.strip_prefix(prefix).is_some_and(|it| !it.is_empty())) =>
        {
            Ok(key.to_owned())
        }
        key if key.starts_with("sk_live_") || key.starts_with("rk_live_") => {
            refused("This is a live mode key, and the simulator is test mode only: send sk_test_….")
        }
        _ => refused("Invalid API key provided: send Authorization: Bearer sk_test_…."),
    }
}

/// Reads the parameters: from the body if there is one, otherwise from the query.
async fn decode(key: String, parts: Parts, body: Bytes) -> Result<ApiRequest, ApiError> {
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let malformed = || {
        ApiError::invalid_request("The request is not a form; encode it as name=value&….")
            .unexecuted()
    };
    let pairs = if parts.method == Method::POST && !body.is_empty() {
        let request = Request::from_parts(parts, Body::from(body));
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, &())
            .await
            .map_err(|_not_a_form| malformed())?;
        pairs
    } else {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_not_a_form| malformed())?;
        pairs
    };
    Ok(ApiRequest { key, method, path, parameters: form::tree(pairs)? })
}

fn set_should_retry(response: &mut Response, should_retry: Option<bool>) {
    if let Some(should_retry) = should_retry {
        let value = HeaderValue::from_static(if should_retry { "true" } else { "false" });
        response.headers_mut().insert("stripe-should-retry", value);
    }
}

/// Indented JSON, as Stripe writes it.
pub(crate) fn json_response(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body:#}\n")).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body());
        set_should_retry(&mut response, self.should_retry);
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body);
        if let Some(original) = self.replay_of {
            let headers = response.headers_mut();
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
            if let Ok(original) = HeaderValue::from_str(&original) {
                headers.insert("original-request", original);
            }
        }
        response
    }
}
