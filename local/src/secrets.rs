//! Secrets Manager over HTTP: the part that functions, operators and a rotation use.
//!
//! `versions` has the rules: which version is current, previous or pending. This module adds HTTP
//! (JSON 1.1, as the AWS SDKs speak it) and storage. Faults can be injected, so that a test can see
//! what a function does while Secrets Manager is down.

mod versions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::state::{Entries, StateError};
use crate::{clock, random};
use versions::{Content, Secret, SecretError};

const KIND: &str = "secret";
const ARN_PREFIX: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:";

/// The emulator. Clones share everything.
#[derive(Debug, Clone)]
pub struct Secrets {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    secrets: BTreeMap<String, Secret>,
    entries: Entries,
    down: bool,
    failures_left: u32,
}

/// The ARN of the secret with this name. AWS appends six random characters; these are fixed, so
/// that a template's references survive a restart.
#[must_use]
pub fn arn(name: &str) -> String {
    format!("{ARN_PREFIX}{name}-local0")
}

impl Secrets {
    /// An in-memory emulator.
    pub fn in_memory() -> Result<Secrets, StateError> {
        Secrets::open(Entries::open(None)?)
    }

    pub(crate) fn open(entries: Entries) -> Result<Secrets, StateError> {
        let secrets = entries.all::<Secret>(KIND)?;
        let secrets = secrets.into_iter().map(|secret| (secret.name.clone(), secret)).collect();
        let inner = Inner { secrets, entries, down: false, failures_left: 0 };
        Ok(Secrets { inner: Arc::new(Mutex::new(inner)) })
    }

    /// Creates the secret with this value unless it exists.
    pub fn create_if_missing(&self, name: &str, value: &str) -> Result<(), StateError> {
        let mut inner = self.inner();
        if inner.secrets.contains_key(name) {
            return Ok(());
        }
        let mut secret = Secret::new(name, &arn(name), clock::now_ms());
        let first =
            secret.put(&random::uuid(), Content::Text(value.to_owned()), &[], clock::now_ms());
        debug_assert!(first.is_ok(), "a new secret accepts any first version");
        inner.keep(secret)
    }

    /// The current value; none if there is no such secret.
    #[must_use]
    pub fn current(&self, name: &str) -> Option<String> {
        let inner = self.inner();
        let (_, version) = inner.secrets.get(name)?.version(None, None).ok()?;
        match &version.content {
            Content::Text(text) => Some(text.clone()),
            Content::Binary(_) => None,
        }
    }

    /// Makes this the current value, and the current one the previous one.
    pub fn set_current(&self, name: &str, value: &str) -> Result<(), StateError> {
        if self.current(name).as_deref() == Some(value) {
            return Ok(());
        }
        self.create_if_missing(name, value)?;
        let mut inner = self.inner();
        let Some(mut secret) = inner.secrets.get(name).cloned() else { return Ok(()) };
        let content = Content::Text(value.to_owned());
        if let Err(error) = secret.put(&random::uuid(), content, &[], clock::now_ms()) {
            tracing::error!(secret.name = name, %error, "the secret was not changed");
        }
        inner.keep(secret)
    }

    /// While down, every request gets `InternalServiceError`.
    pub fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// The next requests get `InternalServiceError`.
    pub fn fail_next(&self, requests: u32) {
        self.inner().failures_left = requests;
    }

    /// The emulator's HTTP API.
    pub fn router(self) -> axum::Router {
        axum::Router::new()
            .route("/", post(operation))
            .route("/_fault", post(fault))
            .fallback(|| async { answer(StatusCode::NOT_FOUND, &json!({"message": "Not Found"})) })
            .method_not_allowed_fallback(|| async {
                answer(StatusCode::METHOD_NOT_ALLOWED, &json!({"message": "Method Not Allowed"}))
            })
            .with_state(self)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, secret: Secret) -> Result<(), StateError> {
        self.entries.put(KIND, &secret.name, &secret)?;
        self.secrets.insert(secret.name.clone(), secret);
        Ok(())
    }

    fn is_failing(&mut self) -> bool {
        if self.failures_left > 0 {
            self.failures_left = self.failures_left.saturating_sub(1);
            return true;
        }
        self.down
    }

    /// By name, by ARN, or by ARN without the random suffix.
    fn find(&self, id: &str) -> Result<&Secret, SecretError> {
        let name = id.strip_prefix(ARN_PREFIX).unwrap_or(id);
        let found = self.secrets.values().find(|secret| secret.arn == id || secret.name == name);
        found.ok_or_else(|| {
            SecretError::not_found("Secrets Manager can't find the specified secret.")
        })
    }

    fn perform(&mut self, operation: &str, body: &[u8]) -> Result<Value, SecretError> {
        match operation {
            "CreateSecret" => self.create(parse(body)?),
            "GetSecretValue" => self.get_value(&parse(body)?),
            "PutSecretValue" => self.put_value(parse(body)?),
            "UpdateSecretVersionStage" => self.update_stage(&parse(body)?),
            "DescribeSecret" => self.describe(&parse(body)?),
            other => Err(SecretError::UnknownOperation(format!(
                "{other} is not supported by the local stack"
            ))),
        }
    }

    fn create(&mut self, request: CreateSecret) -> Result<Value, SecretError> {
        let token = request.client_request_token.unwrap_or_else(random::uuid);
        let content = content(request.secret_string, request.secret_binary)?;
        if let Some(existing) = self.secrets.get(&request.name) {
            // A repeated request gets the first response.
            let same = existing
                .versions
                .get(&token)
                .is_some_and(|version| content.as_ref() == Some(&version.content));
            return if same {
                Ok(json!({"ARN": existing.arn, "Name": existing.name, "VersionId": token}))
            } else {
                Err(SecretError::Exists(format!(
                    "The operation failed because the secret {} already exists.",
                    request.name
                )))
            };
        }
        let arn = arn(&request.name);
        let mut secret = Secret::new(&request.name, &arn, clock::now_ms());
        let version_id = content.is_some().then(|| token.clone());
        if let Some(content) = content {
            secret.put(&token, content, &[], clock::now_ms())?;
        }
        self.keep(secret)?;
        Ok(json!({"ARN": arn, "Name": request.name, "VersionId": version_id}))
    }

    fn get_value(&self, request: &GetSecretValue) -> Result<Value, SecretError> {
        let secret = self.find(&request.secret_id)?;
        let (id, version) =
            secret.version(request.version_id.as_deref(), request.version_stage.as_deref())?;
        let (text, binary) = match &version.content {
            Content::Text(text) => (Some(text), None),
            Content::Binary(base64) => (None, Some(base64)),
        };
        Ok(json!({
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": id,
            "VersionStages": version.stages,
            "CreatedDate": epoch_seconds(version.created_ms),
            "SecretString": text,
            "SecretBinary": binary,
        }))
    }

    fn put_value(&mut self, request: PutSecretValue) -> Result<Value, SecretError> {
        let mut secret = self.find(&request.secret_id)?.clone();
        let token = request.client_request_token.unwrap_or_else(random::uuid);
        let Some(content) = content(request.secret_string, request.secret_binary)? else {
            return Err(SecretError::InvalidRequest(
                "You must provide either SecretString or SecretBinary.".to_owned(),
            ));
        };
        secret.put(&token, content, &request.version_stages, clock::now_ms())?;
        let stages = secret.versions.get(&token).map(|version| version.stages.clone());
        let response = json!({
            "ARN": secret.arn, "Name": secret.name, "VersionId": token, "VersionStages": stages,
        });
        self.keep(secret)?;
        Ok(response)
    }

    fn update_stage(&mut self, request: &UpdateSecretVersionStage) -> Result<Value, SecretError> {
        let mut secret = self.find(&request.secret_id)?.clone();
        secret.move_stage(
            &request.version_stage,
            request.remove_from_version_id.as_deref(),
            request.move_to_version_id.as_deref(),
        )?;
        let response = json!({"ARN": secret.arn, "Name": secret.name});
        self.keep(secret)?;
        Ok(response)
    }

    fn describe(&self, request: &DescribeSecret) -> Result<Value, SecretError> {
        let secret = self.find(&request.secret_id)?;
        let stages: BTreeMap<_, _> = secret
            .versions
            .iter()
            .filter(|(_, version)| !version.stages.is_empty())
            .map(|(id, version)| (id, &version.stages))
            .collect();
        Ok(json!({
            "ARN": secret.arn,
            "Name": secret.name,
            "CreatedDate": epoch_seconds(secret.created_ms),
            "VersionIdsToStages": stages,
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateSecret {
    name: String,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutSecretValue {
    secret_id: String,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    #[serde(default)]
    version_stages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateSecretVersionStage {
    secret_id: String,
    version_stage: String,
    remove_from_version_id: Option<String>,
    move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeSecret {
    secret_id: String,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SecretError> {
    serde_json::from_slice(body).map_err(|error| SecretError::Unreadable(error.to_string()))
}

fn content(text: Option<String>, base64: Option<String>) -> Result<Option<Content>, SecretError> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(Content::Text(text))),
        (None, Some(base64)) => Ok(Some(Content::Binary(base64))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(SecretError::InvalidRequest(
            "You can't specify both a binary secret value and a string secret value.".to_owned(),
        )),
    }
}

/// Seconds with milliseconds, as text, so that no float is calculated with.
fn epoch_seconds(ms: u64) -> Value {
    serde_json::from_str(&format!("{}.{:03}", ms / 1000, ms % 1000)).unwrap_or_default()
}

async fn operation(Shared(secrets): Shared<Secrets>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix("secretsmanager."));
    let mut inner = secrets.inner();
    let result = if inner.is_failing() {
        Err(SecretError::Internal("Secrets Manager is down, as requested.".to_owned()))
    } else {
        match operation {
            Some(operation) => inner.perform(operation, &body),
            None => Err(SecretError::UnknownOperation("X-Amz-Target is missing".to_owned())),
        }
    };
    drop(inner);
    match result {
        Ok(value) => answer(StatusCode::OK, &value),
        Err(error) => {
            let (status, kind) = error.status_and_type();
            let body = json!({"__type": kind, "Message": error.to_string()});
            let mut response = answer(status, &body);
            response
                .headers_mut()
                .insert("x-amzn-errortype", axum::http::HeaderValue::from_static(kind));
            response
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    #[serde(default)]
    down: bool,
    #[serde(default)]
    fail_next: u32,
}

async fn fault(Shared(secrets): Shared<Secrets>, body: Bytes) -> Response {
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            secrets.set_down(fault.down);
            secrets.fail_next(fault.fail_next);
            answer(StatusCode::OK, &json!({"down": fault.down, "fail_next": fault.fail_next}))
        }
        Err(error) => answer(
            StatusCode::BAD_REQUEST,
            &json!({"message": format!("{error}; send {{\"down\": true}} or {{\"fail_next\": 1}}")}),
        ),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let content_type = (header::CONTENT_TYPE, "application/x-amz-json-1.1");
    (status, [content_type], body.to_string()).into_response()
}
