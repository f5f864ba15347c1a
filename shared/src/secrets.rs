//! Secrets from Secrets Manager, cached, refreshed, and never printed.

use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::domain::time::{HOUR, MINUTE, Timestamp};
use crate::ports::{SecretReader, SecretUnavailable, SecretVersion};

/// The IAM actions needed here.
pub const ACTIONS: &[&str] = &["secretsmanager:GetSecretValue"];

/// How long a cached secret is used before it is read again.
const FRESH_SECONDS: i64 = 5 * MINUTE;
/// How long a cached secret is used while Secrets Manager can't be reached.
const STALE_SECONDS: i64 = HOUR;
/// The shortest time between two early reads, after a failed signature or while the secret is a
/// placeholder.
const REFRESH_SECONDS: i64 = 10;
/// After a secret is rolled, Stripe also signs with the old one for up to a day. One more hour
/// allows for clock differences. <https://docs.stripe.com/webhooks#roll-endpoint-secrets>
const PREVIOUS_ACCEPTED_SECONDS: i64 = 25 * HOUR;
/// How many times both versions are read, if the stages move in between.
const READS_MAX: u32 = 3;

/// Which versions of a secret are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The current one.
    Current,
    /// The current one and, for a day after it was created, the previous one.
    CurrentAndPrevious,
}

/// Why no secret is available.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It still holds a placeholder: no value in it starts with an accepted prefix.
    #[error("the secret holds no usable value yet: store one that starts with {expected}")]
    Placeholder {
        /// The prefix of a usable value.
        expected: &'static str,
    },
    /// Secrets Manager did not return it.
    #[error(transparent)]
    Unavailable(#[from] SecretUnavailable),
}

/// A secret in Secrets Manager.
pub struct SecretsManager {
    client: Client,
    secret_id: String,
}

impl SecretsManager {
    /// The secret with this name or ARN.
    #[must_use]
    pub const fn new(client: Client, secret_id: String) -> Self {
        Self { client, secret_id }
    }
}

impl SecretReader for SecretsManager {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        let request = self.client.get_secret_value();
        let answer = request.secret_id(&self.secret_id).version_stage(stage).send().await;
        match answer {
            Ok(answer) => Ok(Some(SecretVersion {
                id: answer.version_id().unwrap_or_default().to_owned(),
                text: answer.secret_string().unwrap_or_default().into(),
                created: answer.created_date().map(|at| Timestamp::from_unix_seconds(at.secs())),
            })),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_resource_not_found_exception() => Ok(None),
                _ => Err(SecretUnavailable(Box::new(error))),
            },
        }
    }
}

/// A secret, cached: one or more values, separated by white space, each of which starts with one of
/// the accepted prefixes. Anything else in it is a placeholder and is ignored.
pub struct SecretCache<S = SecretsManager> {
    secret: S,
    versions: Versions,
    prefixes: &'static [&'static str],
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    values: Option<(Arc<[SecretString]>, Timestamp)>,
    last_try: Option<Timestamp>,
    has_last_try_failed: bool,
}

impl SecretCache {
    /// The signing secrets of a Stripe webhook endpoint.
    #[must_use]
    pub fn signing_secrets(client: Client, secret_id: String) -> Self {
        Self::signing_secrets_of(SecretsManager::new(client, secret_id))
    }

    /// A Stripe API key.
    #[must_use]
    pub fn api_key(client: Client, secret_id: String) -> Self {
        let secret = SecretsManager::new(client, secret_id);
        Self::new(secret, Versions::Current, &["sk_", "rk_"])
    }
}

impl<S: SecretReader> SecretCache<S> {
    /// The signing secrets of a Stripe webhook endpoint, from wherever they are read.
    #[must_use]
    pub fn signing_secrets_of(secret: S) -> Self {
        Self::new(secret, Versions::CurrentAndPrevious, &["whsec_"])
    }

    fn new(secret: S, versions: Versions, prefixes: &'static [&'static str]) -> Self {
        Self { secret, versions, prefixes, cached: Mutex::default() }
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
        match (self.try_reading(&mut cached, now).await, &cached.values) {
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

    /// Reads the secret early, because no cached value matched. Returns whether it has changed. It
    /// reads at most every ten seconds, so that forged requests can't cause more reads. Until then
    /// it goes by the last attempt: no change if that succeeded, otherwise an error.
    pub async fn refresh(&self, now: Timestamp) -> Result<bool, SecretError> {
        let mut cached = self.cached.lock().await;
        if !cached.may_try(now) {
            return if cached.has_last_try_failed { Err(failed_just_now()) } else { Ok(false) };
        }
        let values = self.try_reading(&mut cached, now).await?;
        let before = cached.values.as_ref().map(|(before, _)| exposed(before));
        let has_changed = before.as_deref() != Some(exposed(&values).as_slice());
        cached.values = Some((values, now));
        Ok(has_changed)
    }

    fn usable(&self, values: Arc<[SecretString]>) -> Result<Arc<[SecretString]>, SecretError> {
        if values.is_empty() {
            let expected = self.prefixes.first().copied().unwrap_or_default();
            return Err(SecretError::Placeholder { expected });
        }
        Ok(values)
    }

    async fn try_reading(
        &self,
        cached: &mut Cached,
        now: Timestamp,
    ) -> Result<Arc<[SecretString]>, SecretError> {
        // If the caller stops waiting for the answer, the attempt counts as failed.
        (cached.last_try, cached.has_last_try_failed) = (Some(now), true);
        let read = self.read(now).await;
        cached.has_last_try_failed = read.is_err();
        read
    }

    /// Reads the accepted versions as they were at one point in time.
    ///
    /// Secrets Manager has no call that returns both. If a stage moves between the two calls, the
    /// same version can be read twice and the other one missed, though it was accepted all along.
    /// So the current version is read again after the previous one: if it is still the same, both
    /// were in place when the previous one was read.
    async fn read(&self, now: Timestamp) -> Result<Arc<[SecretString]>, SecretError> {
        let mut current = self.current().await?;
        for _ in 0..READS_MAX {
            let created = current.created.unwrap_or(now);
            if self.versions == Versions::Current
                || now.seconds_since(created) >= PREVIOUS_ACCEPTED_SECONDS
            {
                return Ok(self.values(&current.text).collect());
            }
            let previous = self.secret.version("AWSPREVIOUS").await?;
            let still_current = self.current().await?;
            if still_current.id == current.id {
                let previous = previous.iter().flat_map(|version| self.values(&version.text));
                return Ok(self.values(&current.text).chain(previous).collect());
            }
            current = still_current;
        }
        Err(keeps_changing())
    }

    async fn current(&self) -> Result<SecretVersion, SecretError> {
        self.secret.version("AWSCURRENT").await?.ok_or_else(no_version)
    }

    fn values(&self, text: &SecretString) -> impl Iterator<Item = SecretString> {
        text.expose_secret()
            .split_whitespace()
            .filter(|value| self.prefixes.iter().any(|prefix| is_value(value, prefix)))
            .map(SecretString::from)
    }
}

fn failed_just_now() -> SecretError {
    SecretUnavailable("a request failed a moment ago".into()).into()
}

fn no_version() -> SecretError {
    SecretUnavailable("there is no such secret, or it has no current version".into()).into()
}

fn keeps_changing() -> SecretError {
    SecretUnavailable("it changed during each attempt to read it".into()).into()
}

impl Cached {
    fn may_try(&self, now: Timestamp) -> bool {
        self.last_try.is_none_or(|last| {
            // A clock that was set back must not stop us from reading.
            !(0..REFRESH_SECONDS).contains(&now.seconds_since(last))
        })
    }
}

fn is_value(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
}

fn exposed(values: &[SecretString]) -> Vec<&str> {
    values.iter().map(ExposeSecret::expose_secret).collect()
}
