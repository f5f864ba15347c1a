//! Errors in Stripe's shape: `{"error": {"type", "code", "message", "param"}}` with a status.

use serde_json::{Map, Value, json};

/// An answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    fields: Map<String, Value>,
    /// The parameters did not pass validation, so Stripe never began to execute the request: such
    /// an answer is not kept under an idempotency key.
    pub(crate) before_execution: bool,
    /// What `Stripe-Should-Retry` says, where Stripe says anything.
    pub(crate) should_retry: Option<bool>,
}

impl ApiError {
    pub(crate) fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), kind.into());
        fields.insert("message".to_owned(), message.into().into());
        Self { status, fields, before_execution: false, should_retry: None }
    }

    /// A 400 that says what is wrong with the request as such.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// A parameter that Stripe would not take.
    pub(crate) fn parameter(code: &str, param: &str, message: impl Into<String>) -> Self {
        let mut error = Self::invalid_request(message).with("code", code).with("param", param);
        error.before_execution = true;
        error
    }

    pub(crate) fn parameter_unknown(param: &str, known: &[&str]) -> Self {
        let message = if known.is_empty() {
            format!("Received unknown parameter: {param}. None is known here.")
        } else {
            format!("Received unknown parameter: {param}. Known here: {}.", known.join(", "))
        };
        Self::parameter("parameter_unknown", param, message)
    }

    pub(crate) fn parameter_missing(param: &str) -> Self {
        Self::parameter("parameter_missing", param, format!("Missing required param: {param}."))
    }

    /// The object that the path names does not exist.
    pub(crate) fn not_found(noun: &str, id: &str) -> Self {
        Self::missing(404, noun, id, "id")
    }

    /// An object that a parameter names does not exist.
    pub(crate) fn no_such(noun: &str, id: &str, param: &str) -> Self {
        Self::missing(400, noun, id, param)
    }

    fn missing(status: u16, noun: &str, id: &str, param: &str) -> Self {
        Self::new(status, "invalid_request_error", format!("No such {noun}: '{id}'"))
            .with("code", "resource_missing")
            .with("param", param)
    }

    /// Trouble of the simulator itself.
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

    /// The error's sentence for a person.
    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// The fields of the error, as `last_payment_error` shows them too.
    pub(crate) fn fields(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": self.fields })
    }
}
