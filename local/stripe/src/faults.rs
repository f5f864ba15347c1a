//! Injected faults: what a client of Stripe must cope with.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::idempotency::Answer;

/// A fault for the next matching requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// The method; any if absent.
    method: Option<String>,
    /// A prefix of the path, for example `/v1/checkout/sessions`.
    path: String,
    /// The status to return. Without it the request is only delayed or dropped.
    status: Option<u16>,
    /// The body to return, instead of an error in Stripe's format.
    body: Option<Value>,
    /// How many requests it affects.
    #[serde(default = "once")]
    times: u32,
    /// How long the response is delayed.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// The request is executed first: it takes effect, but the client doesn't learn so.
    #[serde(default)]
    pub(crate) after: bool,
    /// The connection is closed without a response.
    #[serde(default)]
    pub(crate) drop: bool,
    /// The response is stored under the idempotency key and replayed, as Stripe does with its own
    /// 500s. Otherwise a retry is executed, or finds the first request's effect.
    #[serde(default)]
    pub(crate) save: bool,
    /// The value of `Stripe-Should-Retry`.
    pub(crate) should_retry: Option<bool>,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Refuses combinations that make no sense.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let is_api = ["/v1", "/v2"].iter().any(|api| self.path.starts_with(api));
        let problem = if !is_api {
            "path must start with /v1 or /v2; only the API has faults"
        } else if self.status.is_some_and(|status| !(400..=599).contains(&status)) {
            "status must be between 400 and 599"
        } else if self.status.is_none() && !self.drop && self.delay_ms == 0 {
            "a fault needs a status, drop or delay_ms"
        } else if self.save && self.status.is_none() {
            "save needs a status"
        } else {
            return Ok(());
        };
        Err(ApiError::invalid_request(format!("Invalid fault: {problem}.")))
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.starts_with(&self.path)
    }

    /// Whether the request is still executed after the delay.
    pub(crate) fn only_delays(&self) -> bool {
        self.status.is_none() && !self.drop
    }

    /// The response to return instead of Stripe's, if any.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let status = self.status?;
        let body = self.body.clone().unwrap_or_else(|| {
            let (kind, code, message) = match status {
                429 => {
                    ("invalid_request_error", Some("rate_limit"), "Too many requests; slow down.")
                }
                409 => (
                    "invalid_request_error",
                    Some("lock_timeout"),
                    "Another request holds the object; try again.",
                ),
                400..=499 => {
                    ("invalid_request_error", None, "A fault was asked for, and this is it.")
                }
                _ => ("api_error", None, "Something went wrong at the (simulated) other end."),
            };
            let mut error = json!({ "type": kind, "message": message });
            if let (Some(code), Some(fields)) = (code, error.as_object_mut()) {
                fields.insert("code".to_owned(), code.into());
            }
            json!({ "error": error })
        });
        Some(Answer::new(status, body))
    }
}

/// Takes the first matching fault; it is removed once it has happened often enough.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Fault> {
    let index = faults.iter().position(|fault| fault.matches(method, path))?;
    let fault = faults.get_mut(index)?;
    let taken = fault.clone();
    fault.times = fault.times.saturating_sub(1);
    if fault.times == 0 {
        faults.remove(index);
    }
    Some(taken)
}
