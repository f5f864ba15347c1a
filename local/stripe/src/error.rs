//! Errors in Stripe's shape: `{"error": {"type", "code", "message", "param"}}` with a status.

use serde_json::{Map, Value, json};

/// An error response.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    fields: Map<String, Value>,
    /// The parameters failed validation, so Stripe never executed the request: such a response is
    /// not stored under an idempotency key.
    pub(crate) before_execution: bool,
    /// The value of `Stripe-Should-Retry`, if Stripe sends it.
    pub(crate) should_retry: Option<bool>,
}

impl ApiError {
    pub(crate) fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), kind.into());
        fields.insert("message".to_owned(), message.into().into());
        Self { status, fields, before_execution: false, should_retry: None }
    }

    /// A 400 about the request as a whole.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// A 400 about a parameter.
    pub(crate) fn parameter(code: &str, param: &str, message: impl Into<String>) -> Self {
        let mut error = Self::invalid_request(message).with("code", code).with("param", param);
        error.before_execution = true;
        error
    }

    pub(crate) fn parameter_unknown(param: &str, known: &[&str]) -> Self {
        let message = if known.is_empty() {
            format!("Received unknown parameter: {param}. This operation takes none.")
        } else {
            format!("Received unknown parameter: {param}. Known parameters: {}.", known.join(", "))
        };
        Self::parameter("parameter_unknown", param, message)
    }

    pub(crate) fn parameter_missing(param: &str) -> Self {
        Self::parameter("parameter_missing", param, format!("Missing required param: {param}."))
    }

    /// The object in the path does not exist.
    pub(crate) fn not_found(noun: &str, id: &str) -> Self {
        Self::missing(404, noun, id, "id")
    }

    /// An object in a parameter does not exist.
    pub(crate) fn no_such(noun: &str, id: &str, param: &str) -> Self {
        Self::missing(400, noun, id, param)
    }

    fn missing(status: u16, noun: &str, id: &str, param: &str) -> Self {
        Self::new(status, "invalid_request_error", format!("No such {noun}: '{id}'"))
            .with("code", "resource_missing")
            .with("param", param)
    }

    /// An internal error of the simulator.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "api_error", message)
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    pub(crate) fn retry(mut self, should_retry: bool) -> Self {
        self.should_retry = Some(should_retry);
        self
    }

    /// Marks the error as found before the request was executed.
    pub(crate) fn unexecuted(mut self) -> Self {
        self.before_execution = true;
        self
    }

    /// The error's message.
    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// The error's fields, as in `last_payment_error` too.
    pub(crate) fn fields(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// The response body.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": self.fields })
    }
}
