//! The part of a function's configuration that can be read and changed here:
//! `GetFunctionConfiguration` and `UpdateFunctionConfiguration`.
//!
//! Everything but the description comes from the template, and changes with it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{fault, function_arn, invoke_error};
use super::pool::Pool;
use super::{InvokeError, Lambda};
use crate::random;
use crate::template::Function;

/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>
const DESCRIPTION_CHARACTERS_MAX: usize = 256;

/// The changeable part of a function's configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Configuration {
    description: String,
    revision_id: String,
    pub(super) status: UpdateStatus,
}

/// The status of the last update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum UpdateStatus {
    /// New instances get the events.
    #[default]
    Successful,
    /// Running instances get them until a new one is ready.
    InProgress,
    /// No new instance started, and why. The running ones continue.
    Failed(String),
}

/// An update must end before the next one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpdateInProgress;

impl Configuration {
    pub(super) fn new(function: &Function) -> Self {
        let description = function.description.clone();
        Self { description, revision_id: random::uuid(), status: UpdateStatus::Successful }
    }

    pub(super) fn begin_update(
        &mut self,
        description: Option<String>,
    ) -> Result<(), UpdateInProgress> {
        if self.status == UpdateStatus::InProgress {
            return Err(UpdateInProgress);
        }
        self.description = description.unwrap_or_else(|| std::mem::take(&mut self.description));
        self.revision_id = random::uuid();
        self.status = UpdateStatus::InProgress;
        Ok(())
    }

    fn json(&self, function: &Function) -> Value {
        let (status, reason) = match &self.status {
            UpdateStatus::Successful => ("Successful", None),
            UpdateStatus::InProgress => ("InProgress", None),
            UpdateStatus::Failed(reason) => ("Failed", Some(reason)),
        };
        json!({
            "FunctionName": function.binary,
            "FunctionArn": function_arn(&function.binary),
            "Version": "$LATEST",
            "Description": self.description,
            "Timeout": function.timeout.as_secs(),
            "MemorySize": function.memory_mb,
            "Environment": { "Variables": function.variables },
            "RevisionId": self.revision_id,
            "State": "Active",
            "LastUpdateStatus": status,
            "LastUpdateStatusReason": reason,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct UpdateRequest {
    description: Option<String>,
}

pub(super) async fn read(State(lambda): State<Lambda>, Path(function): Path<String>) -> Response {
    match lambda.pool(&function) {
        Some(pool) => Json(pool.configuration().json(pool.function())).into_response(),
        None => invoke_error(&InvokeError::NoSuchFunction(function)),
    }
}

pub(super) async fn update(
    State(lambda): State<Lambda>,
    Path(function): Path<String>,
    body: Bytes,
) -> Response {
    match lambda.pool(&function) {
        Some(pool) => update_pool(pool, &body),
        None => invoke_error(&InvokeError::NoSuchFunction(function)),
    }
}

fn update_pool(pool: &Arc<Pool>, body: &Bytes) -> Response {
    let invalid = |message: String| {
        fault(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message)
    };
    let description = match serde_json::from_slice::<UpdateRequest>(body) {
        Ok(request) => request.description,
        Err(error) => {
            return invalid(format!(
                "{error}; the local stack changes a Description and nothing else: edit \
                 template.yaml and start the stack again"
            ));
        }
    };
    if description.as_ref().is_some_and(|it| it.chars().count() > DESCRIPTION_CHARACTERS_MAX) {
        return invalid(format!(
            "Description has more than {DESCRIPTION_CHARACTERS_MAX} characters"
        ));
    }
    if let Ok(configuration) = pool.update(description) {
        return Json(configuration.json(pool.function())).into_response();
    }
    let arn = function_arn(&pool.function().binary);
    let message = format!(
        "The operation cannot be performed at this time. An update is in progress for resource: \
         {arn}"
    );
    fault(StatusCode::CONFLICT, "ResourceConflictException", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_has_to_end_before_the_next() {
        let mut configuration = Configuration::default();
        configuration.begin_update(Some("first".to_owned())).unwrap();
        let second = configuration.begin_update(Some("second".to_owned()));
        assert_eq!(second, Err(UpdateInProgress));
        configuration.status = UpdateStatus::Failed("no instance started".to_owned());
        assert_eq!(configuration.begin_update(None), Ok(()));
        assert_eq!(configuration.description, "first");
    }
}
