//! Lambda, for a leaked secret: replaces a function's instances.
//!
//! Lambda has no call for that. But after any update of a function it starts new instances, and says
//! when only those get events. So the update changes a sentence of the description; updating the
//! environment would mean writing all of its variables back.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>

use std::time::Duration;

use aws_types::SdkConfig;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use shared::domain::time::Timestamp;
use shared::http::rfc3339;

use crate::signed::{Call, Service, SignedError, segment};

/// An update takes seconds; a minute for a function in a VPC, which ours isn't.
const UPDATE_TAKES_AT_MOST: Duration = Duration::from_mins(3);
/// How long to wait before asking whether the update is complete, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>
const DESCRIPTION_CHARACTERS_MAX: usize = 256;
/// How the sentence starts that is changed.
const REPLACED: &str = "Instances replaced at ";

/// Why a function's instances may not have been replaced.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] SignedError),
    /// The new configuration doesn't work.
    #[error("Lambda could not update function {function}: {reason}")]
    Failed {
        /// The function's name.
        function: String,
        /// Lambda's reason.
        reason: String,
    },
    /// It takes too long.
    #[error(
        "Lambda has not completed the update of function {function} in {} minutes; its status is \
         {status}",
        UPDATE_TAKES_AT_MOST.as_secs() / 60
    )]
    Unfinished {
        /// The function's name.
        function: String,
        /// Lambda's `LastUpdateStatus`.
        status: String,
    },
}

const READ: &str = "lambda:GetFunctionConfiguration";
const UPDATE: &str = "lambda:UpdateFunctionConfiguration";

/// The permissions that replacing a function's instances needs.
pub const PERMISSIONS: [&str; 2] = [READ, UPDATE];

/// One of the functions.
#[derive(Debug, Clone)]
pub struct Function {
    lambda: Service,
    name: String,
}

/// A function's configuration, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    #[serde(default)]
    description: String,
    last_update_status: Option<String>,
    last_update_status_reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update<'a> {
    description: &'a str,
}

impl Function {
    /// The function of this name, reached with this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self { lambda: Service::lambda(config), name: name.into() }
    }

    /// Replaces the running instances by new ones, and waits until only those get events.
    pub async fn replace_instances(&self, now: Timestamp) -> Result<(), LambdaError> {
        let before = self.read().await?;
        let description = with_time(&before.description, now);
        let update = serde_json::json!(Update { description: &description }).to_string();
        let _: Configuration = self.send(UPDATE, Method::PUT, update.as_bytes()).await?;
        let (mut wait, longest) = WAITS;
        let mut waited = Duration::ZERO;
        loop {
            let configuration = self.read().await?;
            let status = configuration.last_update_status.unwrap_or_default();
            // The configuration may still be from before.
            let is_ours = configuration.description == description;
            match status.as_str() {
                "Successful" if is_ours => return Ok(()),
                "Failed" if is_ours => {
                    let reason = configuration.last_update_status_reason;
                    let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                    return Err(LambdaError::Failed { function: self.name.clone(), reason });
                }
                _ if waited >= UPDATE_TAKES_AT_MOST => {
                    return Err(LambdaError::Unfinished { function: self.name.clone(), status });
                }
                _ => {}
            }
            tokio::time::sleep(wait).await;
            waited = waited.saturating_add(wait);
            wait = wait.saturating_mul(2).min(longest);
        }
    }

    async fn read(&self) -> Result<Configuration, SignedError> {
        self.send(READ, Method::GET, &[]).await
    }

    async fn send(
        &self,
        action: &'static str,
        method: Method,
        body: &[u8],
    ) -> Result<Configuration, SignedError> {
        let resource = format!("function {}", self.name);
        let path = format!("/2015-03-31/functions/{}/configuration", segment(&self.name));
        let (resource, path) = (resource.as_str(), path.as_str());
        let headers = &[("content-type", "application/json")];
        self.lambda.send(&Call { action, resource, method, path, headers, body }).await
    }
}

/// A description that says when the instances were replaced, and otherwise the same as before.
fn with_time(description: &str, now: Timestamp) -> String {
    let before = description.split(REPLACED).next().unwrap_or_default().trim_end();
    let sentence = format!("{REPLACED}{}.", rfc3339(now));
    let room =
        DESCRIPTION_CHARACTERS_MAX.saturating_sub(sentence.chars().count().saturating_add(1));
    let before: String = before.chars().take(room).collect();
    if before.is_empty() { sentence } else { format!("{before} {sentence}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_says_when_instances_were_last_replaced() {
        let then = Timestamp::from_unix_seconds(1_800_000_000);
        let later = then.plus_seconds(1);
        let sentence = "Instances replaced at 2027-01-15T08:00:00Z.";
        for (before, expected) in [
            (String::new(), sentence.to_owned()),
            ("Verifies events.".to_owned(), format!("Verifies events. {sentence}")),
            ("x".repeat(256), format!("{} {sentence}", "x".repeat(255 - sentence.len()))),
        ] {
            let described = with_time(&before, then);
            assert_eq!(described, expected);
            assert!(described.chars().count() <= DESCRIPTION_CHARACTERS_MAX);
            let again = with_time(&described, later);
            assert_eq!(again, expected.replace("08:00:00", "08:00:01"));
        }
    }
}
