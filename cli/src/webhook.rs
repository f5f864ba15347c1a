//! The webhook endpoint at Stripe: created with exactly the events that are handled and the API
//! version that is spoken, its signing secret kept in Secrets Manager, and rotated without a gap.
//!
//! Stripe returns an endpoint's secret once, when it is created, and has no API that rolls it. So a
//! rotation is a second endpoint at the same address: both deliver, both secrets are accepted, and
//! an event that comes twice is applied once. Each endpoint's metadata says whose it is, which
//! endpoints it replaces, and a digest of its secret, which shows whether Secrets Manager has it.
//! Each command decides from the current state, so an interrupted command can be repeated.

mod leaked;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::domain::time::{DAY, Timestamp};
use shared::stripe::wire::{handled_event_types, metadata};

use crate::account::{API_VERSION, Account, AccountError, Listed, NoParameters};
use crate::calendar::utc;
use crate::deployment::{Deployment, DeploymentError};
use crate::lambda::LambdaError;

const PATH: &str = "/webhook_endpoints";
/// Metadata: the digest of the endpoint's signing secret.
const SECRET_DIGEST: &str = "signing_secret_digest";
/// Metadata: the ids of the endpoints that this one was made to replace, separated by spaces.
const REPLACES: &str = "replaces";
/// Stripe retries a delivery for up to three days: <https://docs.stripe.com/webhooks#retries>.
/// Until then the old endpoint must stay, or what it still has to deliver is lost.
const RETRIES_SECONDS: i64 = 3 * DAY;

/// Why a command on the endpoint failed. Repeating the command continues it.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A request to Stripe failed.
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
    /// A new endpoint's secret could not be stored.
    #[error(
        "the new endpoint's signing secret could not be stored, so the endpoint isn't used: {0}"
    )]
    NotStored(#[source] DeploymentError),
    /// The old secret is gone, and instances that still know it may be running.
    #[error(
        "{0}. The old signing secret is replaced, but running functions may accept it for another \
         five minutes: fix the cause, then run `coursegate webhook rotate --now` again"
    )]
    NotReplaced(#[source] LambdaError),
    /// The old secret is gone, and the webhook accepts it.
    #[error(
        "the webhook still accepts events signed with the old secret: stop it by deploying with \
         WebhookConcurrency=0 (Stripe retries for three days), and run `coursegate webhook rotate \
         --now` again; then `coursegate unknown-sources` lists access that forged events opened"
    )]
    StillAccepted,
    /// The old secret is gone, and whether the webhook accepts it can't be told.
    #[error(
        "{0}, so it is unknown whether it accepts events signed with the old secret. That secret \
         and the running functions have been replaced: fix the cause, then run `coursegate \
         webhook rotate --now` again"
    )]
    Untried(String),
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
    /// The endpoints among these that this one replaces.
    fn replaced<'a>(&self, others: &'a [Endpoint]) -> Vec<&'a Endpoint> {
        let ids = self.metadata.get(REPLACES).map_or("", String::as_str);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        others.iter().filter(|other| ids.contains(&other.id.as_str())).collect()
    }

    /// When Stripe stops retrying deliveries to the endpoints that this one replaces.
    fn settled_at(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.created).plus_seconds(RETRIES_SECONDS)
    }

    /// Describes each wrong setting; empty if there is none.
    #[must_use]
    pub fn differences(&self, url: &str) -> Vec<String> {
        let mut differences = Vec::new();
        if self.url != url {
            differences.push(format!("it delivers to {}, not to {url}", self.url));
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

/// The signing secrets in Secrets Manager; none while it holds a placeholder.
pub async fn signing_secrets(
    deployment: &Deployment,
) -> Result<Vec<SecretString>, DeploymentError> {
    let stored = deployment.secret(&deployment.signing_secret_id).await?;
    Ok(values(&stored).collect())
}

fn values(stored: &str) -> impl Iterator<Item = SecretString> {
    let values = stored.split_whitespace().filter(|value| value.starts_with("whsec_"));
    values.map(SecretString::from)
}

/// Looks at Stripe and at Secrets Manager.
pub async fn look(account: &Account, deployment: &Deployment) -> Result<Endpoints, WebhookError> {
    let stored = signing_secrets(deployment).await?;
    let mut found: Vec<Endpoint> = account.list(PATH, &NoParameters {}).await?;
    found.retain(|endpoint| {
        endpoint.metadata.get(metadata::DEPLOYMENT).map(String::as_str)
            == Some(deployment.shop.mark.as_str())
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

/// Creates the endpoint, or updates it. Reports each change; nothing if none was needed.
pub async fn register(
    account: &Account,
    deployment: &Deployment,
    tell: &mut dyn FnMut(String),
) -> Result<(), WebhookError> {
    let Endpoints { good, others, stored } = look(account, deployment).await?;
    if let Some((endpoint, _)) = good {
        // During a rotation, the old endpoint has deliveries left too.
        for endpoint in std::iter::once(&endpoint).chain(endpoint.replaced(&others)) {
            bring_up_to_date(account, deployment, endpoint, tell).await?;
        }
        return Ok(());
    }
    create(account, deployment, &stored, &others, tell).await?;
    if stored.is_empty() {
        // Nobody has the secrets of what was there before: it can only be refused.
        for other in &others {
            delete(account, other, tell).await?;
        }
    } else if !others.is_empty() {
        tell("the earlier endpoints stay, to deliver what is pending".to_owned());
        tell(come_again("three days from now"));
    }
    if !others.is_empty() {
        tell("`coursegate doctor` lists the payment events that have not arrived".to_owned());
    }
    Ok(())
}

/// When a rotation ends the old endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Once Stripe has stopped retrying what it had to deliver.
    WhenDelivered,
    /// At once, because its secret is known to somebody.
    Now,
}

/// Begins a rotation, or ends the one in progress. Reports each change, and what to do next.
pub async fn rotate(
    account: &Account,
    deployment: &Deployment,
    ending: Ending,
    now: Timestamp,
    tell: &mut dyn FnMut(String),
) -> Result<(), WebhookError> {
    let Endpoints { good, others, stored } = look(account, deployment).await?;
    let (endpoint, secret) = good.ok_or(WebhookError::NotRegistered)?;
    let replaced: Vec<Endpoint> = endpoint.replaced(&others).into_iter().cloned().collect();
    if !replaced.is_empty() {
        bring_up_to_date(account, deployment, &endpoint, tell).await?;
        if ending == Ending::WhenDelivered && now < endpoint.settled_at() {
            tell("both signing secrets are accepted".to_owned());
            tell(come_again(&utc(endpoint.settled_at())));
            return Ok(());
        }
        return end(account, deployment, &secret, &replaced, ending, tell).await;
    }
    let old: Vec<Endpoint> = std::iter::once(endpoint).chain(others).collect();
    let secret = create(account, deployment, &stored, &old, tell).await?;
    if ending == Ending::Now {
        return end(account, deployment, &secret, &old, ending, tell).await;
    }
    tell("both signing secrets are accepted".to_owned());
    tell(come_again(&utc(now.plus_seconds(RETRIES_SECONDS))));
    Ok(())
}

fn come_again(when: &str) -> String {
    format!(
        "run `coursegate webhook rotate` after {when}, when Stripe no longer retries the old \
         endpoint's deliveries; or add --now if its secret has leaked"
    )
}

/// Leaves this secret alone in Secrets Manager, then deletes the endpoints that others belong to. If
/// one of those has leaked, the webhook has to refuse it first: a command that fails before that is
/// repeated, as long as the old endpoint is there.
async fn end(
    account: &Account,
    deployment: &Deployment,
    secret: &SecretString,
    old: &[Endpoint],
    ending: Ending,
    tell: &mut dyn FnMut(String),
) -> Result<(), WebhookError> {
    let id = &deployment.signing_secret_id;
    let leaked = match ending {
        Ending::Now => leaked::others(deployment, secret).await?,
        Ending::WhenDelivered => Vec::new(),
    };
    deployment.put_secret(id, secret.expose_secret()).await?;
    if ending == Ending::Now {
        // The functions accept the previous value for a day; now that is the new one too.
        deployment.put_secret(id, secret.expose_secret()).await?;
    }
    tell("only the new signing secret is left in Secrets Manager".to_owned());
    if ending == Ending::Now {
        leaked::shut_out(deployment, secret, &leaked, tell).await?;
    }
    for endpoint in old {
        delete(account, endpoint, tell).await?;
    }
    if ending == Ending::Now {
        tell("`coursegate unknown-sources` lists access that forged events opened".to_owned());
        tell("`coursegate doctor` lists the payment events that have not arrived".to_owned());
    }
    Ok(())
}

async fn bring_up_to_date(
    account: &Account,
    deployment: &Deployment,
    endpoint: &Endpoint,
    tell: &mut dyn FnMut(String),
) -> Result<(), WebhookError> {
    let differences = endpoint.differences(&deployment.webhook_url);
    if differences.is_empty() {
        return Ok(());
    }
    update(account, deployment, endpoint).await?;
    tell(format!("updated endpoint {}: {}", endpoint.id, differences.join("; ")));
    tell("`coursegate doctor` lists the payment events that have not arrived".to_owned());
    Ok(())
}

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

/// Creates an endpoint in the place of others, stores its secret before those that are accepted
/// already, and writes the secret's digest down. Until then it counts for nothing.
async fn create(
    account: &Account,
    deployment: &Deployment,
    stored: &[SecretString],
    replaces: &[Endpoint],
    tell: &mut dyn FnMut(String),
) -> Result<SecretString, WebhookError> {
    let replaces: Vec<&str> = replaces.iter().map(|endpoint| endpoint.id.as_str()).collect();
    let replaces = replaces.join(" ");
    let mut metadata = BTreeMap::from([(metadata::DEPLOYMENT, deployment.shop.mark.as_str())]);
    if !replaces.is_empty() {
        metadata.insert(REPLACES, &replaces);
    }
    let form = CreateForm {
        url: &deployment.webhook_url,
        enabled_events: event_types(),
        api_version: API_VERSION.as_str(),
        description: "Coursegate: applies purchases",
        metadata,
    };
    let created: Created = account.post(PATH, &form).await?;
    tell(format!(
        "created endpoint {} at {} for {} types of event, API version {API_VERSION}",
        created.id,
        deployment.webhook_url,
        form.enabled_events.len()
    ));
    let path = format!("{PATH}/{}", created.id);
    let mut values = vec![created.secret.expose_secret()];
    values.extend(stored.iter().map(ExposeSecret::expose_secret));
    let id = &deployment.signing_secret_id;
    if let Err(error) = deployment.put_secret(id, &values.join(" ")).await {
        // If this fails too, the next command finds an endpoint without a digest, and replaces it.
        if account.delete(&path).await.is_ok() {
            tell(format!("deleted endpoint {}", created.id));
        }
        return Err(WebhookError::NotStored(error));
    }
    tell(format!("stored its signing secret in {id}"));
    let digest = digest_of(&created.secret);
    let mark = MarkForm { metadata: BTreeMap::from([(SECRET_DIGEST, digest.as_str())]) };
    account.post::<serde_json::Value>(&path, &mark).await?;
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
    account.post::<serde_json::Value>(&path, &form).await.map(drop)
}

async fn delete(
    account: &Account,
    endpoint: &Endpoint,
    tell: &mut dyn FnMut(String),
) -> Result<(), AccountError> {
    match account.delete(&format!("{PATH}/{}", endpoint.id)).await {
        // Somebody was faster.
        Err(error) if !error.is_missing() => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tell(format!("deleted endpoint {}", endpoint.id));
    Ok(())
}

fn event_types() -> BTreeSet<String> {
    handled_event_types().map(ToOwned::to_owned).collect()
}

/// A digest that shows whether two secrets are equal, and reveals nothing else.
fn digest_of(secret: &SecretString) -> String {
    let digest = Sha256::digest(secret.expose_secret().as_bytes());
    let (head, _) = digest.split_at(16);
    hex::encode(head)
}
