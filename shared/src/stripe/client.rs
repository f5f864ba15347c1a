//! One request to Stripe, and its answer.
//!
//! The library describes requests; its own client would bring HTTP/2, and for an error's sake the
//! types of all that an error may mention.

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
const WHO_ASKS: &str = concat!("coursegate/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded";

/// How many times a request is sent at most.
const ATTEMPTS_MAX: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Stripe's API, with one key.
pub struct Client {
    connections: legacy::Client<Connector, String>,
    url: String,
    authorization: HeaderValue,
    timeout: Duration,
}

/// What Stripe says of trying again, whatever the status: `true` or `false`.
const SHOULD_RETRY: &str = "stripe-should-retry";

/// What Stripe has answered.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, if it is text.
    pub text: Option<String>,
    /// Whether to try again, where Stripe says so itself.
    pub should_retry: Option<bool>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The time is over.
    #[error("no answer in time")]
    InTime,
    /// The connection failed. Which of the many ways it was changes nothing.
    #[error("no answer")]
    AtAll,
    /// It can't be asked so.
    #[error("{0}")]
    Unsendable(String),
}

/// The key is no text that could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no key of Stripe's")]
pub struct UnsendableKey;

/// How long to wait before each further attempt.
pub fn pauses() -> impl Iterator<Item = Duration> {
    let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| pause.checked_mul(3));
    (1..ATTEMPTS_MAX).zip(pauses).map(|(_, pause)| pause)
}

/// A request that was not answered as it should be.
pub(super) struct Unanswered {
    /// Why.
    pub(super) error: StripeError,
    /// Whether to try again, where Stripe says so itself.
    pub(super) should_retry: Option<bool>,
}

impl From<StripeError> for Unanswered {
    fn from(error: StripeError) -> Self {
        Self { error, should_retry: None }
    }
}

/// <https://docs.stripe.com/api/errors>
#[derive(Deserialize)]
struct ErrorShape {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    param: Option<String>,
}

impl Client {
    /// The API at this address, or at Stripe's own. Each request may take so long.
    pub fn new(
        url: Option<&str>,
        key: &SecretString,
        timeout: Duration,
    ) -> Result<Self, UnsendableKey> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()));
        let mut authorization = authorization.map_err(|_text| UnsendableKey)?;
        authorization.set_sensitive(true);
        // A connection that lay idle while Lambda slept may be gone, so none is kept.
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector(url));
        let url = url.unwrap_or(STRIPE).trim_end_matches('/').to_owned();
        Ok(Self { connections, url, authorization, timeout })
    }

    /// Sends a request once, and returns whatever is answered.
    pub async fn exchange(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answer, NoAnswer> {
        let request = self.http(request, key).map_err(NoAnswer::Unsendable)?;
        let answered = tokio::time::timeout(self.timeout, self.answer(request)).await;
        let answer = answered.map_err(|_elapsed| NoAnswer::InTime)?.ok_or(NoAnswer::AtAll)?;
        let (parts, body) = answer.into_parts();
        Ok(Answer {
            status: parts.status,
            text: std::str::from_utf8(&body).ok().map(str::to_owned),
            should_retry: should_retry(&parts.headers),
        })
    }

    /// Sends a request once, and returns the answer's JSON.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<String, Unanswered> {
        let Answer { status, text, should_retry } =
            self.exchange(request, key).await.map_err(|error| match error {
                NoAnswer::InTime | NoAnswer::AtAll => StripeError::Unreachable,
                NoAnswer::Unsendable(why) => StripeError::Unreadable(why),
            })?;
        if !status.is_success() {
            let error = text.map_or(StripeError::Unreachable, |text| refusal(status, &text));
            return Err(Unanswered { error, should_retry });
        }
        let json = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        Ok(json.ok_or(StripeError::Unreachable)?)
    }

    async fn answer(&self, request: Request<String>) -> Option<Response<Bytes>> {
        let answer = self.connections.request(request).await.ok()?;
        let (parts, body) = answer.into_parts();
        Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
    }

    /// A path without a version of the API is of `/v1`.
    fn http(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Request<String>, String> {
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let version = if request.path.starts_with("/v2/") { "" } else { "/v1" };
        let query = request.query.filter(|query| !query.is_empty());
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let mut http = Request::builder()
            .method(method)
            .uri(format!("{}{version}{}{query}", self.url, request.path))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, WHO_ASKS)
            .header("stripe-version", VERSION.as_str());
        if let Some(key) = key {
            http = http.header("idempotency-key", key.as_str());
        }
        if request.body.is_some() {
            http = http.header(CONTENT_TYPE, FORM);
        }
        http.body(request.body.unwrap_or_default()).map_err(|error| error.to_string())
    }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get(SHOULD_RETRY)?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Sorts Stripe's errors. Messages stay behind: they may quote what was sent.
fn refusal(status: StatusCode, json: &str) -> StripeError {
    let Ok(ErrorShape { error }) = serde_json::from_str(json) else {
        // An error page of something between Stripe and us: Stripe itself may not have answered.
        return StripeError::Unreachable;
    };
    let code = error.code.unwrap_or(error.kind);
    match status.as_u16() {
        401 | 403 => StripeError::Unauthorized,
        409 | 429 => StripeError::Busy,
        status @ 500.. => StripeError::Failed { status },
        status if status == 404 || code == "resource_missing" => {
            StripeError::Missing { param: error.param.unwrap_or_default() }
        }
        status => StripeError::Refused { status, code },
    }
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
            assert_eq!(format!("{:?}", refusal(status, json)), expected, "{json}");
        }
    }
}
