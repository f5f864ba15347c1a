//! API Gateway and the Function URL: HTTP in, payload 2.0 events out, and back.
//!
//! A request to the API goes through `route` (which function, which parameters), [`authorizer`]
//! (whose token) and [`event`] (what the function gets); [`answer`] turns the function's result
//! into HTTP. Each of these is a pure function; this module connects them with HTTP and Lambda.

pub mod answer;
pub mod authorizer;
pub mod event;
mod route;
mod throttle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::lambda::{InvokeError, Lambda, PAYLOAD_BYTES_MAX};
use crate::observer::{Observer, Served};
use crate::state::Disk;
use crate::template::{Access, Cors, Template};
use crate::{clock, cors, random};
use authorizer::{Authorizer, Refusal};
use event::{Edge, Incoming};
use route::Router;
use throttle::Throttle;

/// API Gateway's limit for a request body.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The header of Stripe's deliveries.
const SIGNATURE: &str = "stripe-signature";

/// The gateway. Clones share everything.
#[derive(Clone)]
pub(crate) struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    stage: String,
    router: Router,
    authorizer: Authorizer,
    cors: Option<Cors>,
    /// None if nothing is throttled.
    throttle: Option<Throttle>,
    webhook: Option<String>,
    lambda: Lambda,
    disk: Disk,
    observer: Observer,
}

impl Gateway {
    pub(crate) fn new(
        template: &Template,
        is_throttled: bool,
        authorizer: Authorizer,
        lambda: Lambda,
        disk: Disk,
        observer: Observer,
    ) -> Gateway {
        let with_url = template.functions.iter().find(|function| function.function_url);
        let inner = Inner {
            stage: template.stage.clone(),
            router: Router::new(&template.functions),
            authorizer,
            cors: template.cors.clone(),
            throttle: is_throttled.then(|| Throttle::new(template.throttling.clone())),
            webhook: with_url.map(|function| function.binary.clone()),
            lambda,
            disk,
            observer,
        };
        Gateway { inner: Arc::new(inner) }
    }

    /// Handles a request to the API or a CORS preflight. Only responses of functions get CORS headers:
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>
    async fn api_to_pages(&self, parts: &Parts, peer: SocketAddr, body: Body) -> Answered {
        let Some(declared) = &self.inner.cors else { return self.api(parts, peer, body).await };
        let rule = cors::rule([declared], &parts.method, &parts.headers);
        if cors::is_preflight(&parts.method, &parts.headers) {
            let mut response = StatusCode::NO_CONTENT.into_response();
            if let Some(rule) = rule {
                rule.let_ask(&parts.headers, response.headers_mut());
            }
            return Answered { response, by: By::Gateway, function: None, note: None };
        }
        let mut answered = self.api(parts, peer, body).await;
        if let Some(rule) = rule.filter(|_| answered.by == By::Function) {
            rule.let_see(&parts.headers, answered.response.headers_mut());
        }
        answered
    }

    /// Handles a request to the API, whose first path segment is the stage.
    async fn api(&self, parts: &Parts, peer: SocketAddr, body: Body) -> Answered {
        let path = parts.uri.path();
        let below_stage = path.strip_prefix('/').and_then(|path| {
            let rest = path.strip_prefix(self.inner.stage.as_str())?;
            rest.starts_with('/').then_some(rest)
        });
        let Some(path) = below_stage else { return Answered::refused(StatusCode::NOT_FOUND) };
        let Some(found) = self.inner.router.find(parts.method.as_str(), path) else {
            return Answered::refused(StatusCode::NOT_FOUND);
        };
        let route_key = found.route.key();
        let throttle = self.inner.throttle.as_ref();
        if throttle.is_some_and(|throttle| !throttle.admits(&route_key, clock::now())) {
            return Answered::refused(StatusCode::TOO_MANY_REQUESTS);
        }
        let jwt = match &found.route.access {
            Access::Open => None,
            Access::Token { scopes } => {
                let header = parts.headers.get(header::AUTHORIZATION);
                let header = header.and_then(|value| value.to_str().ok());
                match self.inner.authorizer.check(header, scopes, clock::now().as_secs()) {
                    Ok(jwt) => Some(jwt),
                    Err(refusal) => return refused(&refusal, scopes),
                }
            }
        };
        let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
            return Answered::refused(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let edge = Edge::Api {
            stage: &self.inner.stage,
            route_key: &route_key,
            path_parameters: &found.parameters,
            jwt: jwt.as_ref(),
        };
        let event = event(parts, peer, &body, &edge);
        // What AWS's HTTP APIs answer is not documented; REST APIs answer with a 5xx too.
        let mut answered =
            self.invoke(found.function, &event, StatusCode::SERVICE_UNAVAILABLE).await;
        if parts.headers.contains_key(SIGNATURE) {
            answered.name_event(&body);
        }
        answered
    }

    /// Handles a request to the Function URL.
    async fn function_url(&self, parts: &Parts, peer: SocketAddr, body: Body) -> Answered {
        let Some(function) = self.inner.webhook.as_deref() else {
            return Answered::refused(StatusCode::NOT_FOUND);
        };
        let Ok(body) = to_bytes(body, PAYLOAD_BYTES_MAX).await else {
            return Answered::refused(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let event = event(parts, peer, &body, &Edge::FunctionUrl);
        // https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
        let mut answered = self.invoke(function, &event, StatusCode::TOO_MANY_REQUESTS).await;
        answered.name_event(&body);
        answered
    }

    /// Invokes a function. An event that Lambda throttles is answered with this status.
    async fn invoke(&self, function: &str, event: &Value, throttled: StatusCode) -> Answered {
        let event = Bytes::from(event.to_string());
        let (by, (response, note)) = match self.inner.lambda.invoke(function, event).await {
            Ok(answer) => match answer::response(&answer) {
                Ok(response) => (By::Function, (response, said(&answer))),
                Err(error) => {
                    (By::Gateway, (message(StatusCode::BAD_GATEWAY), Some(error.to_string())))
                }
            },
            Err(error) => {
                let status = match error {
                    InvokeError::EventTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    InvokeError::Throttled(_) => throttled,
                    InvokeError::NoSuchFunction(_) | InvokeError::Failed(_) => {
                        StatusCode::BAD_GATEWAY
                    }
                };
                (By::Gateway, (message(status), Some(error.to_string())))
            }
        };
        let complaint =
            response.status().is_server_error().then(|| self.inner.disk.complaint()).flatten();
        Answered { response, by, function: Some(function.to_owned()), note: complaint.or(note) }
    }

    async fn serve(&self, request: Request, peer: SocketAddr, entry: Entry) -> Response {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut answered = match entry {
            Entry::Api => self.api_to_pages(&parts, peer, body).await,
            Entry::FunctionUrl => self.function_url(&parts, peer, body).await,
        };
        if let Ok(id) = HeaderValue::from_str(&random::token::<8>()) {
            answered.response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), id);
        }
        self.inner.observer.served(&Served {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            status: answered.response.status().as_u16(),
            duration: started.elapsed(),
            function: answered.function,
            note: answered.note,
        });
        answered.response
    }
}

/// The edge that a request came through.
enum Entry {
    Api,
    FunctionUrl,
}

/// Who made a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Function,
    Gateway,
}

/// A response, with details for the request log.
struct Answered {
    response: Response,
    by: By,
    function: Option<String>,
    note: Option<String>,
}

impl Answered {
    /// A response from the gateway itself: no function got the request.
    fn refused(status: StatusCode) -> Answered {
        Answered { response: message(status), by: By::Gateway, function: None, note: None }
    }

    /// Names the event in a delivery's body in the request log.
    fn name_event(&mut self, body: &[u8]) {
        let notes = [stripe_event(body), self.note.take()];
        self.note = notes.into_iter().flatten().reduce(|event, answer| event + " " + &answer);
    }
}

/// The API, as a handler for everything under the stage.
pub(crate) async fn api(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    gateway.serve(request, peer, Entry::Api).await
}

/// The Function URL, as a handler.
pub(crate) async fn function_url(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    gateway.serve(request, peer, Entry::FunctionUrl).await
}

fn event(parts: &Parts, peer: SocketAddr, body: &[u8], edge: &Edge<'_>) -> Value {
    let headers = parts.headers.iter();
    let incoming = Incoming {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        body,
        source_ip: peer.ip(),
        request_id: random::uuid(),
        now: clock::now(),
    };
    event::build(&incoming, edge)
}

/// API Gateway's own messages.
fn message(status: StatusCode) -> Response {
    let message = match status {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "Not Found",
        StatusCode::PAYLOAD_TOO_LARGE => "Request Too Long",
        StatusCode::TOO_MANY_REQUESTS => "Too Many Requests",
        StatusCode::SERVICE_UNAVAILABLE => "Service Unavailable",
        _ => "Internal Server Error",
    };
    (status, axum::Json(json!({"message": message}))).into_response()
}

/// The response while the stack is still starting.
pub(crate) fn unavailable() -> Response {
    message(StatusCode::SERVICE_UNAVAILABLE)
}

fn refused(refusal: &Refusal, scopes: &[String]) -> Answered {
    let (status, challenge) = match refusal {
        Refusal::NoToken => (StatusCode::UNAUTHORIZED, "Bearer".to_owned()),
        Refusal::InvalidToken(why) => (
            StatusCode::UNAUTHORIZED,
            format!("Bearer scope=\"\" error=\"invalid_token\" error_description=\"{why}\""),
        ),
        Refusal::InsufficientScope => (
            StatusCode::FORBIDDEN,
            format!("Bearer scope=\"{}\" error=\"insufficient_scope\"", scopes.join(" ")),
        ),
    };
    let mut answered = Answered::refused(status);
    answered.note = Some(refusal.to_string());
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        answered.response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answered
}

/// A function's outcome, for the request log: the last part of a problem's type, or an event's
/// outcome.
pub(crate) fn said(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let body: Value = serde_json::from_str(answer.get("body")?.as_str()?).ok()?;
    let problem = body.get("type").and_then(Value::as_str).filter(|kind| kind.starts_with("urn:"));
    let word = match problem {
        Some(kind) => kind.rsplit(':').next(),
        None => body.get("outcome").and_then(Value::as_str),
    };
    word.map(ToOwned::to_owned)
}

/// A delivery's event, for the request log: `checkout.session.completed evt_1`.
fn stripe_event(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let word = |name: &str| {
        let text = event.get(name)?.as_str()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (text.len() <= 100 && text.chars().all(is_plain)).then(|| text.to_owned())
    };
    Some(format!("{} {}", word("type")?, word("id")?))
}
