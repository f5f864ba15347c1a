//! Turns a function's result into an HTTP response: payload format 2.0.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Why a function's result is no HTTP response.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON, or its fields have the wrong types.
    #[error("the function's answer is not in payload format 2.0: {0}")]
    Format(#[from] serde_json::Error),
    /// It claims that the body is base64, but it isn't.
    #[error("the function's body is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// A status, header or cookie that is invalid in HTTP.
    #[error("the function's answer is not HTTP: {0}")]
    Http(#[from] axum::http::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Connection-level headers, which belong to the gateway.
const CONNECTION_HEADERS: &[&str] =
    &["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];

/// Parses the result. One without a `statusCode` is itself the body of a 200, as in AWS.
pub fn response(answer: &[u8]) -> Result<Response<Body>, AnswerError> {
    let value: Value = serde_json::from_slice(answer)?;
    if value.get("statusCode").is_none() {
        return Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(answer.to_vec()))?);
    }
    let answer: Answer = serde_json::from_value(value)?;
    let status = StatusCode::from_u16(answer.status_code).map_err(axum::http::Error::from)?;
    let body = answer.body.unwrap_or_default();
    let body =
        if answer.is_base64_encoded { BASE64_STANDARD.decode(body)? } else { body.into_bytes() };
    let mut builder = Response::builder().status(status);
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(axum::http::Error::from)?;
        if CONNECTION_HEADERS.contains(&name.as_str()) {
            continue;
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        builder = builder.header(name, text);
    }
    for cookie in answer.cookies {
        let cookie = HeaderValue::try_from(cookie).map_err(axum::http::Error::from)?;
        builder = builder.header(header::SET_COOKIE, cookie);
    }
    let has_type = builder.headers_ref().is_some_and(|all| all.contains_key(header::CONTENT_TYPE));
    if !has_type && !body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    }
    Ok(builder.body(Body::from(body))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_becomes_http() {
        let answer = br#"{"statusCode":303,"headers":{"location":"/x","content-length":"9"},
            "cookies":["a=1","b=2"],"body":"aGk=","isBase64Encoded":true}"#;
        let response = response(answer).unwrap();
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"], "/x");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(!response.headers().contains_key("content-length"));
    }

    #[test]
    fn a_response_without_a_status_is_the_body() {
        let response = response(br#"{"hello":"there"}"#).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
    }

    #[test]
    fn a_response_that_is_not_http_is_an_error() {
        for answer in [
            "",
            "<html>",
            r#"{"statusCode":"200"}"#,
            r#"{"statusCode":9}"#,
            r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
        ] {
            assert!(response(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
