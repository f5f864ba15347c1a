//! A secret's versions and the staging labels that say which is current, previous or pending.
//!
//! A label is on at most one version. When `AWSCURRENT` moves, the version that it leaves becomes
//! `AWSPREVIOUS`, and the previous one loses that label.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::state::StateError;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) created_ms: u64,
    pub(super) versions: BTreeMap<String, Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) content: Content,
    pub(super) stages: Vec<String>,
    pub(super) created_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    Text(String),
    /// Base64, as sent.
    Binary(String),
}

/// A failed request, with Secrets Manager's own error name.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Exists(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    UnknownOperation(String),
    #[error("{0}")]
    Internal(String),
    #[error(transparent)]
    State(#[from] StateError),
}

impl SecretError {
    pub(super) fn not_found(message: impl Into<String>) -> SecretError {
        SecretError::NotFound(message.into())
    }

    pub(super) fn status_and_type(&self) -> (StatusCode, &'static str) {
        let bad = StatusCode::BAD_REQUEST;
        match self {
            SecretError::NotFound(_) => (bad, "ResourceNotFoundException"),
            SecretError::Exists(_) => (bad, "ResourceExistsException"),
            SecretError::InvalidParameter(_) => (bad, "InvalidParameterException"),
            SecretError::InvalidRequest(_) => (bad, "InvalidRequestException"),
            SecretError::Unreadable(_) => (bad, "SerializationException"),
            SecretError::UnknownOperation(_) => (bad, "UnknownOperationException"),
            SecretError::Internal(_) | SecretError::State(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError")
            }
        }
    }
}

impl Secret {
    pub(super) fn new(name: &str, arn: &str, now_ms: u64) -> Secret {
        let versions = BTreeMap::new();
        Secret { name: name.to_owned(), arn: arn.to_owned(), created_ms: now_ms, versions }
    }

    /// The version with this id, with this label, or with both; the current one by default.
    pub(super) fn version(
        &self,
        id: Option<&str>,
        stage: Option<&str>,
    ) -> Result<(&str, &Version), SecretError> {
        let stage = stage.or(if id.is_none() { Some(CURRENT) } else { None });
        let found = self.versions.iter().find(|(version_id, version)| {
            id.is_none_or(|id| id == version_id.as_str())
                && stage.is_none_or(|stage| version.stages.iter().any(|label| label == stage))
        });
        let what = match (id, stage) {
            (Some(id), _) => format!("VersionId: {id}"),
            (None, stage) => format!("staging label: {}", stage.unwrap_or(CURRENT)),
        };
        found.map(|(id, version)| (id.as_str(), version)).ok_or_else(|| {
            let what = format!("Secrets Manager can't find the specified secret value for {what}");
            SecretError::NotFound(what)
        })
    }

    /// Adds a version. The token is its id, so a repeated request adds it once.
    pub(super) fn put(
        &mut self,
        token: &str,
        content: Content,
        stages: &[String],
        now_ms: u64,
    ) -> Result<(), SecretError> {
        if let Some(existing) = self.versions.get(token) {
            return if existing.content == content {
                Ok(())
            } else {
                Err(SecretError::Exists(format!(
                    "A version with the token {token} already exists and holds something else."
                )))
            };
        }
        let is_first = self.holder(CURRENT).is_none();
        let version = Version { content, stages: Vec::new(), created_ms: now_ms };
        self.versions.insert(token.to_owned(), version);
        if stages.is_empty() || is_first {
            self.attach(CURRENT, token);
        }
        for stage in stages {
            self.attach(stage, token);
        }
        Ok(())
    }

    /// Moves a label, removes it, or puts it on a version when no other one has it.
    pub(super) fn move_stage(
        &mut self,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), SecretError> {
        for id in from.iter().chain(&to) {
            self.version(Some(id), None)?;
        }
        let holder = self.holder(stage);
        if let (Some(holder), true) =
            (&holder, holder.as_deref() != from && holder.as_deref() != to)
        {
            return Err(SecretError::InvalidParameter(format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is \
                 currently attached to version {holder}, so you must explicitly reference that \
                 version in RemoveFromVersionId."
            )));
        }
        if let Some(from) = from
            && holder.as_deref() != Some(from)
        {
            return Err(SecretError::InvalidParameter(format!(
                "The staging label {stage} is not attached to version {from}."
            )));
        }
        match to {
            Some(to) => self.attach(stage, to),
            None if stage == CURRENT => {
                return Err(SecretError::InvalidParameter(
                    "You can only move staging label AWSCURRENT to a different version. It can't \
                     be completely removed."
                        .to_owned(),
                ));
            }
            None => self.detach(stage),
        }
        Ok(())
    }

    fn holder(&self, stage: &str) -> Option<String> {
        let found = self
            .versions
            .iter()
            .find(|(_, version)| version.stages.iter().any(|label| label == stage));
        found.map(|(id, _)| id.clone())
    }

    fn attach(&mut self, stage: &str, id: &str) {
        let before = self.holder(stage);
        if before.as_deref() == Some(id) {
            return;
        }
        self.detach(stage);
        if let Some(version) = self.versions.get_mut(id) {
            version.stages.push(stage.to_owned());
        }
        if let (CURRENT, Some(before)) = (stage, before) {
            self.attach(PREVIOUS, &before);
        }
    }

    fn detach(&mut self, stage: &str) {
        for version in self.versions.values_mut() {
            version.stages.retain(|label| label != stage);
        }
    }
}
