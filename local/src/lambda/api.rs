//! Lambda's two HTTP APIs: the Runtime API, where an instance requests its events, on a port per
//! instance; and the API for callers and operators, which `aws lambda --endpoint-url` uses.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pool::Pool;
use super::{FunctionError, InvokeError, Lambda, PAYLOAD_BYTES_MAX, configuration};
use crate::gateway::said;
use crate::observer::Served;
use crate::random;

/// The API of all functions: to invoke one, and to read and update its configuration.
pub(super) fn functions_router(lambda: Lambda) -> Router {
    let function = "/2015-03-31/functions/{function}";
    let configuration = get(configuration::read).put(configuration::update);
    let router = Router::new()
        .route(&format!("{function}/invocations"), post(invoke))
        .route(&format!("{function}/configuration"), configuration);
    with_fallbacks(router).with_state(lambda)
}

/// The Runtime API of one instance.
pub(super) fn runtime_router(pool: Arc<Pool>, instance: String) -> Router {
    let runtime = "/2018-06-01/runtime";
    let router = Router::new()
        .route(&format!("{runtime}/invocation/next"), get(next))
        .route(&format!("{runtime}/invocation/{{request_id}}/response"), post(response))
        .route(&format!("{runtime}/invocation/{{request_id}}/error"), post(error))
        .route(&format!("{runtime}/init/error"), post(init_error));
    with_fallbacks(router).with_state(Caller { pool, instance })
}

fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { fault(StatusCode::NOT_FOUND, "UnknownOperation", "Not Found") })
        .method_not_allowed_fallback(|| async {
            fault(StatusCode::METHOD_NOT_ALLOWED, "UnknownOperation", "Method Not Allowed")
        })
}

/// The instance that is calling.
#[derive(Clone)]
struct Caller {
    pool: Arc<Pool>,
    instance: String,
}

async fn next(State(caller): State<Caller>) -> Response {
    let Caller { pool, instance } = caller;
    let Some(invocation) = pool.next(&instance).await else { return unknown_event() };
    let function = &pool.function().binary;
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.request_id),
        ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", function_arn(function)),
        ("lambda-runtime-trace-id", trace_id()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, invocation.event).into_response()
}

async fn response(
    State(caller): State<Caller>,
    Path(request_id): Path<String>,
    body: Body,
) -> Response {
    let answer = match to_bytes(body, PAYLOAD_BYTES_MAX).await {
        Ok(body) => Ok(body),
        Err(_) => Err(FunctionError {
            error_type: "Function.ResponseSizeTooLarge".to_owned(),
            error_message: format!("Response payload size exceeded {PAYLOAD_BYTES_MAX} bytes"),
        }),
    };
    caller.answers(&request_id, answer)
}

/// A function's own error report.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Report {
    error_type: String,
    error_message: String,
}

async fn error(
    State(caller): State<Caller>,
    Path(request_id): Path<String>,
    body: Bytes,
) -> Response {
    let report: Report = serde_json::from_slice(&body).unwrap_or_default();
    let error =
        FunctionError { error_type: report.error_type, error_message: report.error_message };
    caller.answers(&request_id, Err(error))
}

async fn init_error(State(caller): State<Caller>, body: Bytes) -> Response {
    let report: Report = serde_json::from_slice(&body).unwrap_or_default();
    caller.pool.init_failed(&caller.instance, &report.error_message);
    accepted()
}

impl Caller {
    fn answers(&self, request_id: &str, answer: Result<Bytes, FunctionError>) -> Response {
        if self.pool.answer(&self.instance, request_id, answer) {
            accepted()
        } else {
            unknown_event()
        }
    }
}

async fn invoke(
    State(lambda): State<Lambda>,
    Path(function): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let name = lambda.pool(&function).map(|pool| pool.function().binary.clone());
    let (response, note) = run(lambda.clone(), function, &headers, body).await;
    if name.is_some() {
        lambda.observer.served(&Served {
            method: "POST".to_owned(),
            path: uri.path().to_owned(),
            status: response.status().as_u16(),
            duration: started.elapsed(),
            function: name,
            note,
        });
    }
    response
}

/// Handles a request to the Invoke API, with details for the request log.
async fn run(
    lambda: Lambda,
    function: String,
    headers: &HeaderMap,
    body: Body,
) -> (Response, Option<String>) {
    let Ok(event) = to_bytes(body, PAYLOAD_BYTES_MAX).await else {
        return (invoke_error(&InvokeError::EventTooLarge), None);
    };
    // The real API accepts a missing body as an empty object.
    let event = if event.is_empty() { Bytes::from_static(b"{}") } else { event };
    if let Err(error) = serde_json::from_slice::<Value>(&event) {
        let message = format!("Could not parse request body into json: {error}");
        let kind = "InvalidRequestContentException";
        return (fault(StatusCode::BAD_REQUEST, kind, &message), None);
    }
    let kind = headers.get("x-amz-invocation-type").and_then(|value| value.to_str().ok());
    let known = lambda.pool(&function).is_some();
    let response = match kind.unwrap_or("RequestResponse") {
        _ if !known => invoke_error(&InvokeError::NoSuchFunction(function)),
        "RequestResponse" => {
            let result = lambda.invoke(&function, event).await;
            let note = match &result {
                Ok(answer) => said(answer),
                Err(error) => Some(error.to_string()),
            };
            return (answer(result), note);
        }
        "DryRun" => StatusCode::NO_CONTENT.into_response(),
        "Event" => {
            tokio::spawn(async move { lambda.invoke(&function, event).await });
            StatusCode::ACCEPTED.into_response()
        }
        other => {
            let message = format!("{other} is not an invocation type");
            fault(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message)
        }
    };
    (response, None)
}

fn answer(result: Result<Bytes, InvokeError>) -> Response {
    let version = (HeaderName::from_static("x-amz-executed-version"), "$LATEST");
    let json = (header::CONTENT_TYPE, "application/json");
    match result {
        Ok(answer) => ([version, json], answer).into_response(),
        Err(InvokeError::Failed(error)) => {
            let failed = (HeaderName::from_static("x-amz-function-error"), "Unhandled");
            ([version, json, failed], axum::Json(error)).into_response()
        }
        Err(error) => invoke_error(&error),
    }
}

pub(super) fn invoke_error(error: &InvokeError) -> Response {
    let (status, kind) = match error {
        InvokeError::NoSuchFunction(_) => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
        InvokeError::EventTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException"),
        InvokeError::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
        InvokeError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException"),
    };
    fault(status, kind, &error.to_string())
}

pub(super) fn fault(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let headers = [(HeaderName::from_static("x-amzn-errortype"), kind)];
    let body = json!({"Type": "User", "Message": message});
    (status, headers, axum::Json(body)).into_response()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
}

fn unknown_event() -> Response {
    let body = json!({
        "errorType": "InvalidRequestID",
        "errorMessage": "this instance has no such event",
    });
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

pub(super) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{name}")
}

/// An X-Ray header, for code that passes it on.
fn trace_id() -> String {
    let (seconds, random) = (crate::clock::now().as_secs(), random::token::<12>());
    format!("Root=1-{seconds:08x}-{random};Parent={};Sampled=0", random::token::<8>())
}
