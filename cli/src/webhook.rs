//! The webhook endpoint at Stripe: created with exactly the events that are handled and the API
//! version that is spoken, its signing secret kept in Secrets Manager, and rotated without a gap.
//!
//! Stripe tells an endpoint's secret once, when it is created, and has no API that rolls it. So a
//! rotation is a second endpoint at the same address: both deliver, both secrets are accepted, and
//! an event that comes twice is applied once. Each endpoint's metadata holds a digest of its secret,
//! by which anybody can tell whether Secrets Manager has it.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::domain::time::{DAY, Timestamp};
use shared::stripe::wire::handled_event_types;

use crate::account::{API_VERSION, Account, AccountError, Listed, fresh_idempotency_key};
use crate::deployment::{Deployment, DeploymentError};

const PATH: &str = "/webhook_endpoints";
/// Metadata: the deployment that the endpoint belongs to.
const DEPLOYMENT: &str = "coursegate";
/// Metadata: the digest of the endpoint's signing secret.
const SECRET_DIGEST: &str = "signing_secret_digest";
/// Stripe retries a delivery for up to three days: <https://docs.stripe.com/webhooks#retries>.
/// Until then the old endpoint must stay, or what it still has to deliver is lost.
const RETRIES_SECONDS: i64 = 3 * DAY;

/// Why the endpoint is not as it should be. Doing it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Stripe did not do as it was asked.
    #[error("{0}")]
    Account(#[from] AccountError),
    /// The secret could not be read or stored.
    #[error("{0}")]
    Deployment(#[from] DeploymentError),
    /// A rotation needs something to rotate.
    #[error(
        "there is no endpoint whose signing secret is known: create one with \
         `coursegate webhook register`"
    )]
    NotRegistered,
    /// A new endpoint's secret could not be stored, so the endpoint was deleted again.
    #[error("the new endpoint's signing secret could not be stored, so it is deleted again: {0}")]
    NotStored(#[source] DeploymentError),
}

/// An endpoint at Stripe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Where it delivers.
    pub url: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// What it delivers.
    pub enabled_events: BTreeSet<String>,
    /// The version in which it delivers; none for the account's default.
    pub api_version: Option<String>,
    created: i64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Listed for Endpoint {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Endpoint {
    /// What is not as it should be, in words; nothing if all is.
    #[must_use]
    pub fn differences(&self, url: &str) -> Vec<String> {
        let mut differences = Vec::new();
        if self.url != url {
            differences.push(format!("it delivers to {}", self.url));
        }
        if self.status != "enabled" {
            differences.push(format!("it is {}", self.status));
        }
        let wanted = event_types();
        let list = |events: Vec<&String>| {
            events.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let missing: Vec<&String> = wanted.difference(&self.enabled_events).collect();
        if !missing.is_empty() {
            differences.push(format!("it does not deliver {}", list(missing)));
        }
        let surplus: Vec<&String> = self.enabled_events.difference(&wanted).collect();
        if !surplus.is_empty() {
            differences.push(format!("it delivers {}, which nothing handles", list(surplus)));
        }
        differences
    }

    /// Whether it delivers in the version that is spoken here. That can't be changed afterwards.
    #[must_use]
    pub fn speaks_our_version(&self) -> bool {
        self.api_version.as_deref() == Some(API_VERSION.as_str())
    }
}

/// The endpoints that deliver to a deployment, and the secrets that it accepts.
pub struct Endpoints {
    /// The newest one that is in order: of our API version, with a secret that is stored.
    pub good: Option<(Endpoint, SecretString)>,
    /// All others of this deployment, or at its address.
    pub others: Vec<Endpoint>,
    /// The signing secrets in Secrets Manager; empty while it holds a placeholder.
    pub stored: Vec<SecretString>,
}

/// Looks at Stripe and at Secrets Manager.
pub async fn look(account: &Account, deployment: &Deployment) -> Result<Endpoints, WebhookError> {
    let stored = deployment.secret(&deployment.signing_secret_id).await?;
    let stored: Vec<SecretString> = stored
        .split_whitespace()
        .filter(|value| value.starts_with("whsec_"))
        .map(SecretString::from)
        .collect();
    let mut found: Vec<Endpoint> = account.list(PATH, &AllEndpoints {}).await?;
    found.retain(|endpoint| {
        endpoint.metadata.get(DEPLOYMENT) == Some(&deployment.name)
            || endpoint.url == deployment.webhook_url
    });
    // Stripe lists the newest first; seconds alone can't tell two of one second apart.
    found.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.created));
    let secret_of = |endpoint: &Endpoint| {
        let digest = endpoint.metadata.get(SECRET_DIGEST)?;
        stored.iter().find(|secret| digest_of(secret) == *digest).cloned()
    };
    let position = found
        .iter()
        .position(|endpoint| endpoint.speaks_our_version() && secret_of(endpoint).is_some());
    let good = position.map(|position| found.remove(position));
    let good = good.and_then(|endpoint| secret_of(&endpoint).map(|secret| (endpoint, secret)));
    Ok(Endpoints { good, others: found, stored })
}

/// Creates the endpoint, or brings it up to date. Says what was done; nothing if all was in order.
pub async fn register(
    account: &Account,
    deployment: &Deployment,
) -> Result<Vec<String>, WebhookError> {
    let Endpoints { good, others, stored } = look(account, deployment).await?;
    let mut done = Vec::new();
    if let Some((endpoint, _)) = good {
        let differences = endpoint.differences(&deployment.webhook_url);
        if !differences.is_empty() {
            update(account, deployment, &endpoint).await?;
            done.push(format!("updated endpoint {}: {}", endpoint.id, differences.join("; ")));
        }
        return Ok(done);
    }
    create(account, deployment, &stored, &mut done).await?;
    for other in others {
        // Nobody has the secret of what was there before, or it is accepted until a rotation ends.
        if stored.is_empty() {
            delete(account, &other, &mut done).await?;
        } else {
            done.push(format!(
                "kept endpoint {} for what it still has to deliver: run `coursegate webhook \
                 rotate` in three days to end it",
                other.id
            ));
        }
    }
    Ok(done)
}

/// When a rotation ends the old endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Once Stripe has stopped retrying what it had to deliver.
    WhenDelivered,
    /// At once, because its secret is known to somebody.
    Now,
}

/// Begins a rotation, or ends one that was begun. Says what was done, and what comes next.
pub async fn rotate(
    account: &Account,
    deployment: &Deployment,
    ending: Ending,
    now: Timestamp,
) -> Result<Vec<String>, WebhookError> {
    let Endpoints { good, others, stored } = look(account, deployment).await?;
    let (endpoint, secret) = good.ok_or(WebhookError::NotRegistered)?;
    let mut done = Vec::new();
    let (old, secret, is_over) = if others.is_empty() {
        let secret = create(account, deployment, &stored, &mut done).await?;
        (vec![endpoint], secret, false)
    } else {
        let age = now.seconds_since(Timestamp::from_unix_seconds(endpoint.created));
        (others, secret, age > RETRIES_SECONDS)
    };
    if ending == Ending::WhenDelivered && !is_over {
        done.push(
            "both signing secrets are accepted; run `coursegate webhook rotate` again three days \
             after the new endpoint was created, when Stripe retries nothing of the old one any \
             more, or with --now if the old secret has leaked"
                .to_owned(),
        );
        return Ok(done);
    }
    for endpoint in old {
        delete(account, &endpoint, &mut done).await?;
    }
    let id = &deployment.signing_secret_id;
    deployment.put_secret(id, secret.expose_secret()).await?;
    if ending == Ending::Now {
        // The functions accept the previous value for a day; now that is the new one too.
        deployment.put_secret(id, secret.expose_secret()).await?;
    }
    done.push("only the new signing secret is left in Secrets Manager".to_owned());
    if ending == Ending::Now {
        done.push(
            "running functions may accept the old one for five minutes more; what Stripe had not \
             delivered to the old endpoint is listed by `coursegate doctor`"
                .to_owned(),
        );
    }
    Ok(done)
}

#[derive(Serialize)]
struct AllEndpoints {}

#[derive(Serialize)]
struct CreateForm<'a> {
    url: &'a str,
    enabled_events: BTreeSet<String>,
    api_version: &'a str,
    description: &'static str,
    metadata: BTreeMap<&'static str, &'a str>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    secret: SecretString,
}

/// Creates an endpoint, stores its secret before those that are accepted already, and marks it.
async fn create(
    account: &Account,
    deployment: &Deployment,
    stored: &[SecretString],
    done: &mut Vec<String>,
) -> Result<SecretString, WebhookError> {
    let form = CreateForm {
        url: &deployment.webhook_url,
        enabled_events: event_types(),
        api_version: API_VERSION.as_str(),
        description: "Coursegate: applies purchases",
        metadata: BTreeMap::from([(DEPLOYMENT, deployment.name.as_str())]),
    };
    let created: Created = account.post(PATH, &form, &fresh_idempotency_key()?).await?;
    let path = format!("{PATH}/{}", created.id);
    let mut values = vec![created.secret.expose_secret()];
    values.extend(stored.iter().map(ExposeSecret::expose_secret));
    if let Err(error) =
        deployment.put_secret(&deployment.signing_secret_id, &values.join(" ")).await
    {
        account.delete(&path).await?;
        return Err(WebhookError::NotStored(error));
    }
    let digest = digest_of(&created.secret);
    let mark = MarkForm { metadata: BTreeMap::from([(SECRET_DIGEST, digest.as_str())]) };
    account.post::<serde_json::Value>(&path, &mark, &fresh_idempotency_key()?).await?;
    done.push(format!(
        "created endpoint {} at {} for {} types of event, API version {API_VERSION}",
        created.id,
        deployment.webhook_url,
        form.enabled_events.len()
    ));
    done.push(format!("stored its signing secret in {}", deployment.signing_secret_id));
    Ok(created.secret)
}

#[derive(Serialize)]
struct MarkForm<'a> {
    metadata: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct UpdateForm<'a> {
    url: &'a str,
    enabled_events: BTreeSet<String>,
    disabled: bool,
}

async fn update(
    account: &Account,
    deployment: &Deployment,
    endpoint: &Endpoint,
) -> Result<(), AccountError> {
    let form =
        UpdateForm { url: &deployment.webhook_url, enabled_events: event_types(), disabled: false };
    let path = format!("{PATH}/{}", endpoint.id);
    account.post::<serde_json::Value>(&path, &form, &fresh_idempotency_key()?).await.map(drop)
}

async fn delete(
    account: &Account,
    endpoint: &Endpoint,
    done: &mut Vec<String>,
) -> Result<(), AccountError> {
    match account.delete(&format!("{PATH}/{}", endpoint.id)).await {
        // Somebody was faster.
        Err(error) if !error.is_missing() => return Err(error),
        Ok(()) | Err(_) => {}
    }
    done.push(format!("deleted endpoint {}", endpoint.id));
    Ok(())
}

fn event_types() -> BTreeSet<String> {
    handled_event_types().map(ToOwned::to_owned).collect()
}

/// Tells whether a secret is the same, and nothing else about it.
fn digest_of(secret: &SecretString) -> String {
    let digest = Sha256::digest(secret.expose_secret().as_bytes());
    let (head, _) = digest.split_at(16);
    head.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
