//! The client for Stripe's API: the functions' and the operator's.
//!
//! The library describes requests; its own client would bring HTTP/2 and the types of all that an
//! error may mention. Answers are JSON: what they mean is read elsewhere, by shapes that tolerate
//! what we don't know.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod, VERSION};

use crate::https::{Connector, connector};
use crate::ports::StripeError;

const STRIPE: &str = "https://api.stripe.com";
const USER_AGENT_VALUE: &str = concat!("coursegate/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded";

/// Whether to try again, if Stripe says so itself: `true` or `false`, whatever the status.
const SHOULD_RETRY: &str = "stripe-should-retry";

/// The path of Stripe's API v2, whose requests say so themselves.
const V2: &str = "/v2/";

const ATTEMPTS_MAX: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Stripe's API, with one key.
#[derive(Clone)]
pub struct Client {
    connections: legacy::Client<Connector, String>,
    url: String,
    authorization: HeaderValue,
    timeout: Duration,
}

/// Why a call to Stripe has no result.
#[derive(Debug)]
pub enum CallError {
    /// The key can't be sent, so it is not one of Stripe's.
    InvalidKey,
    /// Stripe answered with an error.
    Refused(Refusal),
    /// There was no answer in time. Stripe may have done what it was asked.
    TimedOut,
    /// There was no answer, or none of Stripe's. Stripe may have done what it was asked.
    Unreachable,
    /// The request can't be sent as it is.
    Invalid(String),
}

/// An error that Stripe answered with. <https://docs.stripe.com/api/errors>
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Stripe's code, such as `resource_missing`.
    pub code: Option<String>,
    /// Stripe's message. It may quote what was sent: it is for the operator and never logged.
    pub message: Option<SecretString>,
    /// The kind of error, such as `invalid_request_error`.
    kind: String,
    /// The parameter it is about.
    param: Option<String>,
    /// Whether to try again, if Stripe says so itself.
    should_retry: Option<bool>,
}

#[derive(Deserialize)]
struct ErrorShape {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    #[serde(rename = "type", default)]
    kind: String,
    code: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

impl CallError {
    /// Whether the same request may succeed if it is sent again. What Stripe says counts; otherwise
    /// the status. <https://docs.stripe.com/error-low-level>
    const fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Refused(Refusal { should_retry: Some(should_retry), .. }) => *should_retry,
            Self::Refused(Refusal { status, .. }) => matches!(*status, 409 | 429 | 500..),
            Self::TimedOut | Self::Unreachable => true,
            Self::InvalidKey | Self::Invalid(_) => false,
        }
    }
}

/// Messages stay behind: they may quote what was sent.
impl From<CallError> for StripeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::InvalidKey => Self::Unauthorized,
            CallError::TimedOut | CallError::Unreachable => Self::Unreachable,
            CallError::Invalid(reason) => Self::Unreadable(reason),
            CallError::Refused(Refusal { status, code, kind, param, .. }) => {
                let code = code.unwrap_or(kind);
                match status {
                    401 | 403 => Self::Unauthorized,
                    409 | 429 => Self::Busy,
                    500.. => Self::Failed { status },
                    _ if status == 404 || code == "resource_missing" => {
                        Self::Missing { param: param.unwrap_or_default() }
                    }
                    _ => Self::Refused { status, code },
                }
            }
        }
    }
}

impl Client {
    /// The API at this address, or at Stripe's own. One request takes no longer than `timeout`.
    pub fn new(
        url: Option<&str>,
        key: &SecretString,
        timeout: Duration,
    ) -> Result<Self, CallError> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()));
        let Ok(mut authorization) = authorization else { return Err(CallError::InvalidKey) };
        authorization.set_sensitive(true);
        // A connection that was idle while Lambda slept may be gone, so none is kept.
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector(url));
        let url = url.unwrap_or(STRIPE).trim_end_matches('/').to_owned();
        Ok(Self { connections, url, authorization, timeout })
    }

    /// Sends a request up to three times, under one idempotency key, and returns the answer's JSON.
    /// Without a key it must be safe to repeat.
    pub async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
        key: Option<&str>,
    ) -> Result<String, CallError> {
        let key = key.map(IdempotencyKey::new).transpose();
        let key = key.map_err(|error| CallError::Invalid(error.to_string()))?;
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.send_once(request(), key.as_ref()).await {
                Err(error) if error.is_worth_another_try() => {}
                answered => return answered,
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(3);
        }
        self.send_once(request(), key.as_ref()).await
    }

    async fn send_once(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<String, CallError> {
        let request = self.http(request, key)?;
        let answered = tokio::time::timeout(self.timeout, self.answer(request)).await;
        let Ok(answer) = answered else { return Err(CallError::TimedOut) };
        // Which of the many ways to get no answer it was changes nothing.
        let (parts, body) = answer.ok_or(CallError::Unreachable)?.into_parts();
        let json = std::str::from_utf8(&body).ok();
        if !parts.status.is_success() {
            let should_retry = should_retry(&parts.headers);
            let refusal = json.and_then(|json| refusal(parts.status, json, should_retry));
            return Err(refusal.map_or(CallError::Unreachable, CallError::Refused));
        }
        let json = json.filter(|json| serde_json::from_str::<IgnoredAny>(json).is_ok());
        json.map(str::to_owned).ok_or(CallError::Unreachable)
    }

    async fn answer(&self, request: Request<String>) -> Option<Response<Bytes>> {
        let answer = self.connections.request(request).await.ok()?;
        let (parts, body) = answer.into_parts();
        Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
    }

    fn http(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Request<String>, CallError> {
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let version = if request.path.starts_with(V2) { "" } else { "/v1" };
        let query = request.query.filter(|query| !query.is_empty());
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let mut http = Request::builder()
            .method(method)
            .uri(format!("{}{version}{}{query}", self.url, request.path))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, USER_AGENT_VALUE)
            .header("stripe-version", VERSION.as_str());
        if let Some(key) = key {
            http = http.header("idempotency-key", key.as_str());
        }
        if request.body.is_some() {
            http = http.header(CONTENT_TYPE, FORM);
        }
        http.body(request.body.unwrap_or_default())
            .map_err(|error| CallError::Invalid(error.to_string()))
    }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get(SHOULD_RETRY)?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// None if it is the error page of something between Stripe and us.
fn refusal(status: StatusCode, json: &str, should_retry: Option<bool>) -> Option<Refusal> {
    let ErrorShape { error } = serde_json::from_str(json).ok()?;
    let ErrorFields { kind, code, param, message } = error;
    let message = message.map(SecretString::from);
    Some(Refusal { status: status.as_u16(), code, message, kind, param, should_retry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_and_their_message_is_withheld() {
        let cases = [
            (401, r#"{"error": {"type": "invalid_request_error"}}"#, "Unauthorized"),
            (403, r#"{"error": {"type": "invalid_request_error"}}"#, "Unauthorized"),
            (409, r#"{"error": {"type": "idempotency_error"}}"#, "Busy"),
            (429, r#"{"error": {"type": "invalid_request_error", "code": "rate_limit"}}"#, "Busy"),
            (500, r#"{"error": {"type": "api_error"}}"#, "Failed { status: 500 }"),
            (
                404,
                r#"{"error": {"type": "invalid_request_error", "param": "id"}}"#,
                r#"Missing { param: "id" }"#,
            ),
            (
                400,
                r#"{"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such price: 'p'"}}"#,
                r#"Missing { param: "" }"#,
            ),
            (
                400,
                r#"{"error": {"type": "new_error", "code": "new_code", "message": "pm_card_ada", "payment_intent": {"id": 7}}}"#,
                r#"Refused { status: 400, code: "new_code" }"#,
            ),
            (
                402,
                r#"{"error": {"type": "card_error"}}"#,
                r#"Refused { status: 402, code: "card_error" }"#,
            ),
            (502, "<html>Bad Gateway</html>", "Unreachable"),
            (400, r#"{"message": "somebody else's"}"#, "Unreachable"),
        ];
        for (status, json, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = refusal(status, json, None);
            assert!(!format!("{refusal:?}").contains("pm_card_ada"), "{refusal:?}");
            let error = refusal.map_or(CallError::Unreachable, CallError::Refused);
            assert_eq!(format!("{:?}", StripeError::from(error)), expected, "{json}");
        }
    }
}
