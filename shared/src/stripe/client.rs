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

/// How long one request may take. Three of them and their pauses stay within the function's time.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Stripe's API, with one key.
pub(super) struct Client {
    connections: legacy::Client<Connector, String>,
    url: String,
    authorization: HeaderValue,
}

/// What Stripe says of trying again, whatever the status: `true` or `false`.
const SHOULD_RETRY: &str = "stripe-should-retry";

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
    /// The API at this address, or at Stripe's own.
    pub(super) fn new(url: Option<&str>, key: &SecretString) -> Result<Self, StripeError> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()));
        // What can't be sent is no key of Stripe's.
        let Ok(mut authorization) = authorization else { return Err(StripeError::Unauthorized) };
        authorization.set_sensitive(true);
        // A connection that lay idle while Lambda slept may be gone, so none is kept.
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector(url));
        let url = url.unwrap_or(STRIPE).trim_end_matches('/').to_owned();
        Ok(Self { connections, url, authorization })
    }

    /// Sends it once, and returns the answer's JSON.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<String, Unanswered> {
        let request = self.http(request, key)?;
        let answered = tokio::time::timeout(TIMEOUT, self.answer(request)).await;
        // Which of the many ways to get no answer it was changes nothing.
        let answer = answered.ok().flatten().ok_or(StripeError::Unreachable)?;
        let (parts, body) = answer.into_parts();
        let json = std::str::from_utf8(&body).ok();
        if !parts.status.is_success() {
            let error = json.map_or(StripeError::Unreachable, |json| refusal(parts.status, json));
            return Err(Unanswered { error, should_retry: should_retry(&parts.headers) });
        }
        let json = json.filter(|json| serde_json::from_str::<IgnoredAny>(json).is_ok());
        Ok(json.map(str::to_owned).ok_or(StripeError::Unreachable)?)
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
    ) -> Result<Request<String>, StripeError> {
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let query = request.query.map_or_else(String::new, |query| format!("?{query}"));
        let mut http = Request::builder()
            .method(method)
            .uri(format!("{}/v1{}{query}", self.url, request.path))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, WHO_ASKS)
            .header("stripe-version", VERSION.as_str());
        if let Some(key) = key {
            http = http.header("idempotency-key", key.as_str());
        }
        if request.body.is_some() {
            http = http.header(CONTENT_TYPE, FORM);
        }
        http.body(request.body.unwrap_or_default())
            .map_err(|error| StripeError::Unreadable(error.to_string()))
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
