//! Secrets from Secrets Manager, cached, refreshed, and never printed.

use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::domain::time::{HOUR, MINUTE, Timestamp};

/// The API calls made here, as IAM names them.
pub const ACTIONS: &[&str] = &["secretsmanager:GetSecretValue"];

/// A cached secret is read again after this long.
const FRESH_SECONDS: i64 = 5 * MINUTE;
/// While Secrets Manager can't be reached, a cached secret serves for this long.
const STALE_SECONDS: i64 = HOUR;
/// Reading out of turn, after a failed signature or for a placeholder, happens at most this often.
const REFRESH_SECONDS: i64 = 10;
/// After a roll, Stripe signs with the old secret too for up to a day; an hour is for our clocks.
/// <https://docs.stripe.com/webhooks#roll-endpoint-secrets>
const PREVIOUS_ACCEPTED_SECONDS: i64 = 25 * HOUR;

/// Which versions of a secret count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The current one.
    Current,
    /// The current one, and for a day after it came, the one before.
    CurrentAndPrevious,
}

/// Why there is no secret to work with.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It still holds a placeholder: nothing in it starts as such a secret does.
    #[error("the secret holds no usable value yet: store one that starts with {expected}")]
    Placeholder {
        /// How a usable value starts.
        expected: &'static str,
    },
    /// Secrets Manager did not hand it out.
    #[error("Secrets Manager does not hand out the secret")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A secret of Secrets Manager: one or more values, separated by white space, each of which starts
/// with one of the accepted prefixes. Anything else in it is a placeholder and counts for nothing.
pub struct SecretCache {
    client: Client,
    secret_id: String,
    versions: Versions,
    prefixes: &'static [&'static str],
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    values: Option<(Arc<[SecretString]>, Timestamp)>,
    last_try: Option<Timestamp>,
}

impl SecretCache {
    /// The signing secrets of a Stripe webhook endpoint.
    #[must_use]
    pub fn signing_secrets(client: Client, secret_id: String) -> Self {
        Self::new(client, secret_id, Versions::CurrentAndPrevious, &["whsec_"])
    }

    /// A Stripe API key.
    #[must_use]
    pub fn api_key(client: Client, secret_id: String) -> Self {
        Self::new(client, secret_id, Versions::Current, &["sk_", "rk_"])
    }

    fn new(
        client: Client,
        secret_id: String,
        versions: Versions,
        prefixes: &'static [&'static str],
    ) -> Self {
        Self { client, secret_id, versions, prefixes, cached: Mutex::default() }
    }

    /// The accepted values, the newest first.
    pub async fn get(&self, now: Timestamp) -> Result<Arc<[SecretString]>, SecretError> {
        let mut cached = self.cached.lock().await;
        if let Some((values, read_at)) = &cached.values {
            let age = now.seconds_since(*read_at);
            let fresh = age < FRESH_SECONDS && !values.is_empty();
            if fresh || (age < STALE_SECONDS && !cached.may_try(now)) {
                return self.usable(Arc::clone(values));
            }
        }
        cached.last_try = Some(now);
        match (self.read(now).await, &cached.values) {
            (Ok(values), _) => {
                cached.values = Some((Arc::clone(&values), now));
                self.usable(values)
            }
            (Err(_), Some((values, read_at))) if now.seconds_since(*read_at) < STALE_SECONDS => {
                self.usable(Arc::clone(values))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads again out of turn, because a cached value did not do. Says whether there is news; at
    /// most every ten seconds, so that forged requests can't make us ask more often.
    pub async fn refresh(&self, now: Timestamp) -> Result<bool, SecretError> {
        let mut cached = self.cached.lock().await;
        if !cached.may_try(now) {
            return Ok(false);
        }
        cached.last_try = Some(now);
        let values = self.read(now).await?;
        let before = cached.values.as_ref().map(|(before, _)| exposed(before));
        let is_news = before.as_deref() != Some(exposed(&values).as_slice());
        cached.values = Some((values, now));
        Ok(is_news)
    }

    fn usable(&self, values: Arc<[SecretString]>) -> Result<Arc<[SecretString]>, SecretError> {
        if values.is_empty() {
            let expected = self.prefixes.first().copied().unwrap_or_default();
            return Err(SecretError::Placeholder { expected });
        }
        Ok(values)
    }

    async fn read(&self, now: Timestamp) -> Result<Arc<[SecretString]>, SecretError> {
        let (mut values, created) = self.read_version("AWSCURRENT").await?.unwrap_or_default();
        let recent = now.seconds_since(created.unwrap_or(now)) < PREVIOUS_ACCEPTED_SECONDS;
        if self.versions == Versions::CurrentAndPrevious && recent {
            let previous = self.read_version("AWSPREVIOUS").await?;
            values.extend(previous.into_iter().flat_map(|(values, _)| values));
        }
        Ok(values.into())
    }

    /// The values of a version, and when it came; none if there is no such version.
    async fn read_version(
        &self,
        stage: &str,
    ) -> Result<Option<(Vec<SecretString>, Option<Timestamp>)>, SecretError> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.secret_id)
            .version_stage(stage)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let text = answer.secret_string().unwrap_or_default();
                let values = text
                    .split_whitespace()
                    .filter(|value| self.prefixes.iter().any(|prefix| is_value(value, prefix)))
                    .map(SecretString::from)
                    .collect();
                let created =
                    answer.created_date().map(|at| Timestamp::from_unix_seconds(at.secs()));
                Ok(Some((values, created)))
            }
            Err(error) => match error.as_service_error() {
                Some(service)
                    if service.is_resource_not_found_exception() && stage == "AWSPREVIOUS" =>
                {
                    Ok(None)
                }
                _ => Err(SecretError::Unavailable(Box::new(error))),
            },
        }
    }
}

impl Cached {
    fn may_try(&self, now: Timestamp) -> bool {
        self.last_try.is_none_or(|last| {
            // A clock that was set back must not stop us from asking.
            !(0..REFRESH_SECONDS).contains(&now.seconds_since(last))
        })
    }
}

fn is_value(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
}

fn exposed(values: &[SecretString]) -> Vec<&str> {
    values.iter().map(secrecy::ExposeSecret::expose_secret).collect()
}
