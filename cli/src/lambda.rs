//! Lambda, as far as a leaked secret needs it: a function's instances are replaced.
//!
//! Lambda has no call for that. But it runs an update of a function, whatever it changes, on new
//! instances, and says when they get the events. So a sentence of the description is changed:
//! updating the environment would mean writing all of its variables back.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningError, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_types::SdkConfig;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use shared::domain::time::Timestamp;
use shared::http::rfc3339;
use shared::ports::{Clock as _, SystemClock};
use shared::telemetry::Chain;

use crate::deployment::NoCredentials;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An update takes seconds; a minute where a function is in a VPC, which ours is not.
const UPDATE_TAKES_AT_MOST: Duration = Duration::from_mins(3);
/// How long to wait before asking whether the update is complete, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>
const DESCRIPTION_CHARACTERS_MAX: usize = 256;
/// What a path's part is encoded without: all but letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How the sentence starts that is changed.
const REPLACED: &str = "Instances replaced at ";

/// Why a function's instances may not have been replaced.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// There are no credentials.
    #[error(transparent)]
    NoCredentials(#[from] NoCredentials),
    /// The operator may not do this.
    #[error(
        "your AWS identity may not do {action} on function {function}: give it that permission \
         (see docs/GO-LIVE.md); or, if it had it a moment ago, sign in again"
    )]
    Denied {
        /// What it needs to be allowed.
        action: &'static str,
        /// On what.
        function: String,
    },
    /// Lambda refused it for another reason.
    #[error("Lambda answers {action} for function {function} with {status}: {says}")]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// On what.
        function: String,
        /// The status.
        status: u16,
        /// What Lambda says.
        says: String,
    },
    /// Lambda can't be reached.
    #[error("Lambda can't be reached ({0}): check your network")]
    Unreachable(String),
    /// The request can't be signed, or the answer can't be read.
    #[error("{0}: if this keeps happening, use the newest version of this program")]
    Unreadable(String),
    /// The new configuration does not work.
    #[error("Lambda could not update function {function}: {reason}")]
    Failed {
        /// Which.
        function: String,
        /// Why, as Lambda puts it.
        reason: String,
    },
    /// It takes too long.
    #[error(
        "Lambda has not completed the update of function {function} in {} minutes; its status is \
         {status}",
        UPDATE_TAKES_AT_MOST.as_secs() / 60
    )]
    Unfinished {
        /// Which.
        function: String,
        /// `LastUpdateStatus`, as Lambda puts it.
        status: String,
    },
}

/// A request about a function, by the permission that it needs.
#[derive(Debug, Clone, Copy)]
enum Action {
    Read,
    Update,
}

impl Action {
    const fn permission(self) -> &'static str {
        match self {
            Self::Read => "lambda:GetFunctionConfiguration",
            Self::Update => "lambda:UpdateFunctionConfiguration",
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::Read => Method::GET,
            Self::Update => Method::PUT,
        }
    }
}

/// The permissions that replacing a function's instances needs.
pub fn permissions() -> impl Iterator<Item = &'static str> {
    [Action::Read, Action::Update].into_iter().map(Action::permission)
}

/// One of the functions.
#[derive(Debug, Clone)]
pub struct Function {
    config: SdkConfig,
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

/// What Lambda says when it refuses.
#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(alias = "Message", default)]
    message: String,
}

impl Function {
    /// The function of this name, as this configuration reaches it.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self { config: config.clone(), name: name.into() }
    }

    /// Has new instances take the place of those that run, and waits until only they get events.
    pub async fn replace_instances(&self, now: Timestamp) -> Result<(), LambdaError> {
        let before = self.read().await?;
        let description = with_time(&before.description, now);
        let update = Update { description: &description };
        let update = serde_json::to_vec(&update).map_err(|error| unreadable(&error))?;
        self.ask(Action::Update, &update).await?;
        let (mut wait, longest) = WAITS;
        let mut waited = Duration::ZERO;
        loop {
            let configuration = self.read().await?;
            let status = configuration.last_update_status.unwrap_or_default();
            // What is read may still be from before.
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

    async fn read(&self) -> Result<Configuration, LambdaError> {
        let answer = self.ask(Action::Read, &[]).await?;
        serde_json::from_str(&answer).map_err(|error| unreadable(&error))
    }

    async fn ask(&self, action: Action, body: &[u8]) -> Result<String, LambdaError> {
        let provider = self.config.credentials_provider().ok_or(NoCredentials)?;
        let credentials = provider.provide_credentials().await;
        let identity = credentials.map_err(|_why| NoCredentials)?.into();
        let region = self.config.region().map(ToString::to_string).unwrap_or_default();
        let endpoint = self.config.endpoint_url().map(|url| url.trim_end_matches('/').to_owned());
        let endpoint = endpoint.unwrap_or_else(|| format!("https://lambda.{region}.amazonaws.com"));
        let name = utf8_percent_encode(&self.name, RESERVED);
        let url = format!("{endpoint}/2015-03-31/functions/{name}/configuration");
        let headers = [("content-type", "application/json")];
        let parameters = parameters(&identity, &region).map_err(|error| unreadable(&error))?;
        let method = action.method();
        let signature = signature(&parameters, method.as_str(), &url, &headers, body);
        // A signature is for one host: nothing is to follow anywhere.
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| unreadable(&error))?;
        let mut request = http.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in signature.map_err(|error| unreadable(&error))? {
            request = request.header(name, value);
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| LambdaError::Unreachable(Chain(&error).to_string()))?;
        let (status, kind) = (answer.status(), error_type(answer.headers()));
        let text = answer.text().await;
        let text = text.map_err(|error| LambdaError::Unreachable(Chain(&error).to_string()))?;
        if status.is_success() { Ok(text) } else { Err(self.refused(action, status, &kind, &text)) }
    }

    fn refused(&self, action: Action, status: StatusCode, kind: &str, text: &str) -> LambdaError {
        let (action, function) = (action.permission(), self.name.clone());
        match (status, kind) {
            // A token's end and a clock that is off are 403 too.
            (StatusCode::FORBIDDEN, "AccessDeniedException") => {
                LambdaError::Denied { action, function }
            }
            (_, "ExpiredTokenException" | "ExpiredToken") => NoCredentials.into(),
            _ => {
                let Refusal { message } = serde_json::from_str(text).unwrap_or_default();
                let says = if message.is_empty() { "no reason given".to_owned() } else { message };
                LambdaError::Refused { action, function, status: status.as_u16(), says }
            }
        }
    }
}

/// The name of an error: what comes before a colon is no part of it.
fn error_type(headers: &reqwest::header::HeaderMap) -> String {
    let kind = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    kind.and_then(|kind| kind.split(':').next()).unwrap_or_default().to_owned()
}

fn parameters<'a>(
    identity: &'a Identity,
    region: &'a str,
) -> Result<SigningParams<'a>, v4::signing_params::BuildError> {
    let now = u64::try_from(SystemClock.now().unix_seconds()).unwrap_or_default();
    let now = UNIX_EPOCH.checked_add(Duration::from_secs(now)).unwrap_or(UNIX_EPOCH);
    let parameters = v4::SigningParams::builder().identity(identity).region(region);
    let parameters = parameters.name("lambda").time(now).settings(SigningSettings::default());
    Ok(parameters.build()?.into())
}

/// The headers that sign a request with these.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn signature(
    parameters: &SigningParams<'_>,
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Result<Vec<(String, String)>, SigningError> {
    let headers = headers.iter().copied();
    let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))?;
    let (instructions, _) = sign(request, parameters)?.into_parts();
    let headers = instructions.headers();
    Ok(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> LambdaError {
    LambdaError::Unreadable(format!("a request to Lambda or its answer: {}", Chain(error)))
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
