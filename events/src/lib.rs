//! Signs sample events freshly, so that the function needs no exception for them.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stripe_webhook::Webhook;

/// The placeholder for the deployment mark in the samples' metadata, which signing replaces.
pub const SAMPLE_MARK: &str = "sample";

/// Why an event can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The file can't be read.
    #[error("{path} can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{path} is not JSON: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The file is not an event of a Function URL.
    #[error(
        "{0} is not a Function URL's event with a Stripe event as its body: sign those in events/webhook"
    )]
    NoEvent(PathBuf),
}

/// The `Stripe-Signature` header for a body, as Stripe makes it at this time.
#[must_use]
pub fn signature(body: &str, secret: &str, unix_seconds: i64) -> String {
    Webhook::generate_test_header(body, secret, Some(unix_seconds))
}

/// Reads a sample event, marks its object as this deployment's and signs its body. The file holds
/// the body as readable JSON; it is sent as Stripe does, in text indented by two spaces, or
/// base64-encoded if the event says so.
pub fn sign_file(
    path: &Path,
    mark: &str,
    secret: &str,
    unix_seconds: i64,
) -> Result<Value, SignError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SignError::Io { path: path.to_owned(), source })?;
    let mut event: Value = serde_json::from_str(&text)
        .map_err(|source| SignError::Json { path: path.to_owned(), source })?;
    let body = match event.get_mut("body") {
        Some(Value::String(text)) => text.clone(),
        Some(body @ Value::Object(_)) => {
            if let Some(sample) = body.pointer_mut("/data/object/metadata/coursegate")
                && sample.as_str() == Some(SAMPLE_MARK)
            {
                *sample = mark.into();
            }
            format!("{body:#}")
        }
        _ => return Err(SignError::NoEvent(path.to_owned())),
    };
    let stripe_event: Value = serde_json::from_str(&body).unwrap_or_default();
    // A thin event has its own object type: <https://docs.stripe.com/api/v2/core/events/object>
    if !matches!(
        stripe_event.get("object").and_then(Value::as_str),
        Some("event" | "v2.core.event")
    ) {
        return Err(SignError::NoEvent(path.to_owned()));
    }
    let is_base64 = event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let headers = event.get_mut("headers").and_then(Value::as_object_mut);
    let Some(headers) = headers else { return Err(SignError::NoEvent(path.to_owned())) };
    headers.insert("stripe-signature".to_owned(), signature(&body, secret, unix_seconds).into());
    let body = if is_base64 { STANDARD.encode(body) } else { body };
    if let Some(event) = event.as_object_mut() {
        event.insert("body".to_owned(), body.into());
    }
    Ok(event)
}
