//! Keys, account, prices, endpoint, deliveries.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::domain::catalog::PublishedCatalog;
use shared::domain::decide::Mode;
use shared::domain::id::{EventId, SourceId};
use shared::domain::shop::Shop;
use shared::domain::time::{DAY, MINUTE};
use shared::ports::{AccessReader as _, CatalogReader as _, LedgerError};
use shared::stripe::wire::{metadata, payment_event_types, recorded_id, source_told_of};

use super::{Finding, Patient, SECRET_UNREAD};
use crate::account::{
    API_VERSION, Account, AccountError, FirstOnly, Listed, NoParameters, name_of,
};
use crate::catalog::{self, PushError};
use crate::deployment::{Deployment, DeploymentError};
use crate::key::{self, KeyFault, reading};
use crate::webhook;

pub(super) const NO_ACCOUNT: &str = "the account can't be checked without your Stripe key";
const THEN_ASK: &str = "then run the doctor again";
const ASK_AGAIN: &str = "check whether Stripe is up (status.stripe.com), then try again";

/// The account with the operator's key, once it has answered: what the key may not do there is
/// found by each check.
pub(super) async fn reach(deployment: &Deployment) -> Result<Account, DeploymentError> {
    let account = deployment.account().await?;
    match account.get::<Value>("/products", &FirstOnly::QUERY).await {
        Err(error) if !error.is_forbidden() => Err(error.into()),
        Ok(_) | Err(_) => Ok(account),
    }
}

/// What a failed request to Stripe means.
pub(super) fn failed(error: &AccountError, permission: &str) -> Finding {
    if error.is_forbidden() {
        Finding::bad(unseen(error), give(permission))
    } else {
        Finding::bad(error.to_string(), ASK_AGAIN)
    }
}

/// The same where the shop runs without what can't be looked at.
fn failed_to_note(error: &AccountError, permission: &str) -> Finding {
    if error.is_forbidden() {
        Finding::note(unseen(error), give(permission))
    } else {
        failed(error, permission)
    }
}

pub(super) fn unseen(error: &AccountError) -> String {
    format!("your key isn't allowed to read this: {error}")
}

pub(super) fn give(permission: &str) -> String {
    format!("give your key {permission}")
}

pub(super) async fn functions_key(patient: &Patient<'_>) -> Finding {
    let deployment = patient.deployment;
    let key = match deployment.secret(&deployment.api_key_id).await {
        Ok(key) => SecretString::from(key.trim()),
        Err(error) => return Finding::bad(error.to_string(), SECRET_UNREAD),
    };
    let mode = name_of(deployment.shop.mode);
    match key::try_out(deployment, &key).await {
        Ok(()) if key::is_unrestricted(&key) && deployment.cloud.is_some() => Finding::note(
            format!("a {mode} secret key, which has full access to the account"),
            format!(
                "a restricted key is enough, with {}",
                key::permissions().collect::<Vec<_>>().join(", ")
            ),
        ),
        Ok(()) => Finding::good(format!("a {mode} key with all the permissions it needs")),
        Err(fault) => key_fault(&fault, "store one with `coursegate key store`"),
    }
}

pub(super) async fn webhooks_key(patient: &Patient<'_>) -> Finding {
    let deployment = patient.deployment;
    let key = match deployment.secret(&deployment.read_key_id).await {
        Ok(key) => SecretString::from(key.trim()),
        Err(error) => return Finding::bad(error.to_string(), SECRET_UNREAD),
    };
    let mode = name_of(deployment.shop.mode);
    match reading::try_out(deployment, &key).await {
        Ok(surplus) if !surplus.is_empty() && deployment.cloud.is_some() => Finding::note(
            format!("a {mode} key that can do more than it needs: {}", surplus.join(", ")),
            format!("remove that: it needs only {}", reading::names()),
        ),
        Ok(_) => Finding::good(format!("a {mode} key with all the permissions it needs")),
        Err(fault) => key_fault(&fault, "store one with `coursegate key store --webhook`"),
    }
}

fn key_fault(fault: &KeyFault, store: &str) -> Finding {
    let remedy = match fault {
        KeyFault::Account(
            AccountError::Unreachable(_)
            | AccountError::Unreadable(_)
            | AccountError::Refused { .. },
        ) => ASK_AGAIN,
        KeyFault::Account(AccountError::NotStripe) => THEN_ASK,
        KeyFault::Table(_) => "check the table",
        KeyFault::Account(_)
        | KeyFault::Lacks(_)
        | KeyFault::OtherAccount
        | KeyFault::KnowsNoPayment => store,
    };
    Finding::bad(fault.to_string(), remedy)
}

pub(super) fn operators_key(patient: &Patient<'_>) -> Finding {
    match &patient.account {
        Ok(_) if patient.deployment.cloud.is_none() => Finding::good("the local stack's own"),
        Ok(_) => Finding::good(format!("a {} key", name_of(patient.deployment.shop.mode))),
        Err(error) => Finding::bad(error.to_string(), THEN_ASK),
    }
}

#[derive(Deserialize)]
struct AccountShape {
    id: String,
    charges_enabled: Option<bool>,
    payouts_enabled: Option<bool>,
    country: Option<String>,
    default_currency: Option<String>,
}

pub(super) async fn account(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let shape: AccountShape = match account.get("/account", &NoParameters {}).await {
        Ok(shape) => shape,
        Err(error) => return failed_to_note(&error, "the permission to read the account"),
    };
    let is_live = patient.deployment.shop.mode == Mode::Live;
    let complete = "complete the account's activation in Stripe's Dashboard";
    match (shape.charges_enabled, shape.payouts_enabled) {
        (Some(false), _) if is_live => {
            Finding::bad(format!("{} can't take payments yet", shape.id), complete)
        }
        (None, _) if is_live => Finding::note(
            format!("Stripe doesn't say whether {} can take payments", shape.id),
            "look at the account in Stripe's Dashboard",
        ),
        (Some(_), Some(false)) if is_live => {
            Finding::note(format!("{} is not paid out yet", shape.id), complete)
        }
        (Some(_) | None, Some(_) | None) => {
            let place = shape.country.unwrap_or_default();
            let currency = shape.default_currency.unwrap_or_default();
            Finding::good(format!("{} {place} {currency}", shape.id))
        }
    }
}

pub(super) async fn prices(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let table = patient.deployment.table();
    let push = "publish the catalog with `coursegate catalog push`";
    let published: PublishedCatalog = match table.catalog().await {
        Ok(Some(published)) => published,
        Ok(None) => return Finding::bad("nothing is on sale: the table has no catalog", push),
        Err(error) => return Finding::bad(error.to_string(), "check the table"),
    };
    match catalog::look(&published.catalog, account, patient.deployment).await {
        Ok(plan) if plan.steps.is_empty() => {
            let count = published.stripe_prices.len();
            let version = published.version;
            Finding::good(format!(
                "{count} active in Stripe, as in version {version} of the table's catalog"
            ))
        }
        Ok(plan) => {
            let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
            Finding::bad(
                format!("Stripe differs from what the table sells: {}", steps.join("; ")),
                push,
            )
        }
        Err(PushError::Look(error)) => failed(&error, "Products: Read and Prices: Read"),
        Err(error @ (PushError::OtherAccount(_) | PushError::Plan(_))) => {
            Finding::bad(error.to_string(), THEN_ASK)
        }
        Err(error) => Finding::bad(error.to_string(), push),
    }
}

pub(super) async fn catalog_file(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let Some(path) = &patient.catalog else {
        return Finding::Skipped("there is no catalog.toml here");
    };
    let wanted = match catalog::read(path) {
        Ok(wanted) => wanted,
        Err(error) => return Finding::bad(error.to_string(), "fix the file"),
    };
    match catalog::look(&wanted, account, patient.deployment).await {
        Ok(plan) if plan.steps.is_empty() => {
            Finding::good(format!("{} is what is on sale", path.display()))
        }
        Ok(_) => Finding::note(
            format!("{} differs from what is on sale", path.display()),
            format!("see how with `coursegate catalog plan {}`", path.display()),
        ),
        Err(PushError::Look(error)) => failed(&error, "Products: Read and Prices: Read"),
        Err(error) => Finding::bad(error.to_string(), "see `coursegate catalog plan`"),
    }
}

pub(super) async fn endpoint(patient: &Patient<'_>) -> Finding {
    if is_listened_to(patient.deployment) {
        return Finding::Skipped("`stripe listen` is the endpoint here");
    }
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let register = "run `coursegate webhook register`";
    let url = &patient.deployment.webhook_url;
    let found = match webhook::look(account, patient.deployment).await {
        Ok(found) => found,
        Err(webhook::WebhookError::Account(error)) => {
            return failed(&error, "Webhook Endpoints: Read");
        }
        Err(webhook::WebhookError::Deployment(error)) => {
            return Finding::bad(error.to_string(), SECRET_UNREAD);
        }
        Err(error) => return Finding::bad(error.to_string(), register),
    };
    match (found.good, found.others.as_slice()) {
        (Some((endpoint, _)), others) => {
            let differences = endpoint.differences(url);
            if !differences.is_empty() {
                Finding::bad(format!("{}: {}", endpoint.id, differences.join("; ")), register)
            } else if let Some(lost) = others.iter().find(|other| other.url != *url) {
                Finding::bad(
                    format!("{} delivers to {}, not to {url}", lost.id, lost.url),
                    register,
                )
            } else if let Some(other) = others.first() {
                Finding::note(
                    format!("{} works, but {} delivers here too", endpoint.id, other.id),
                    "end the rotation with `coursegate webhook rotate`, three days after it began",
                )
            } else {
                let count = endpoint.enabled_events.len();
                Finding::good(format!(
                    "{} delivers {count} types of event in {API_VERSION}, its secret is stored",
                    endpoint.id
                ))
            }
        }
        (None, []) => Finding::bad(format!("none delivers to {url}"), register),
        (None, [other, ..]) if !other.speaks_our_version() => {
            let version = other.api_version.as_deref().unwrap_or("the account's API version");
            Finding::bad(
                format!("{} delivers in {version}, not in {API_VERSION}", other.id),
                register,
            )
        }
        (None, [other, ..]) => Finding::bad(
            format!("can't check whether Secrets Manager has the secret of {}", other.id),
            register,
        ),
    }
}

/// A query for Stripe's events.
#[derive(Serialize)]
pub(super) struct EventsQuery {
    types: Vec<&'static str>,
    created: Created,
}

#[derive(Serialize)]
struct Created {
    gte: i64,
    lte: i64,
}

impl EventsQuery {
    /// Events of these types, from as far back as Stripe resends by hand until then.
    pub(super) fn of(types: Vec<&'static str>, now: i64, until: i64) -> Self {
        Self { types, created: Created { gte: now.saturating_sub(15 * DAY), lte: until } }
    }
}

/// An event, as it is.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct StatusHistory(Value);

impl Listed for StatusHistory {
    fn id(&self) -> &str {
        self.0.get("id").and_then(Value::as_str).unwrap_or_default()
    }
}

impl StatusHistory {
    /// Its object, if it is marked as this shop's.
    pub(super) fn object_of(&self, shop: &Shop) -> Option<&Value> {
        let object = self.0.pointer("/data/object")?;
        let mark = object.get("metadata")?.get(metadata::DEPLOYMENT)?.as_str()?;
        (mark == shop.mark.as_str()).then_some(object)
    }
}

/// Checks that every event about our payments is in the table, however it got there. Stripe's own
/// count of failed deliveries doesn't include events for which there was no endpoint.
pub(super) async fn deliveries(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let (deployment, now) = (patient.deployment, patient.now);
    // Leave out events that are still being delivered.
    let until = now.saturating_sub(5 * MINUTE);
    let query = EventsQuery::of(payment_event_types().collect(), now, until);
    let told: Vec<StatusHistory> = match account.list("/events", &query).await {
        Ok(told) => told,
        Err(error) => return failed(&error, "Events: Read"),
    };
    let (told, recorded) = match compare(deployment, &told).await {
        Ok(compared) => compared,
        Err(error) => return Finding::bad(error.to_string(), "check the table"),
    };
    // Stripe lists the newest first.
    let missing = told.iter().rev().filter(|id| !recorded.contains(*id));
    let missing: Vec<&str> = missing.map(EventId::as_str).collect();
    if told.is_empty() {
        return Finding::good(
            "no payment of the last 15 days is old enough to compare (five minutes)",
        );
    }
    if missing.is_empty() {
        let count = told.len();
        return Finding::good(format!(
            "{count} of {count} events about payments in the last 15 days have arrived"
        ));
    }
    let oldest: Vec<&str> = missing.iter().copied().take(3).collect();
    Finding::bad(
        format!(
            "{} of {} events about payments in the last 15 days have not arrived, oldest first: \
             {}{}",
            missing.len(),
            told.len(),
            oldest.join(", "),
            if missing.len() > oldest.len() { ", …" } else { "" }
        ),
        format!(
            "once the endpoint works, resend each: {}; an event that was already applied changes \
             nothing",
            resend(deployment)
        ),
    )
}

/// The events that must be on record, the newest first, and those that are. A refund or a dispute
/// carries no mark: it is ours if its payment is in the table.
async fn compare(
    deployment: &Deployment,
    told: &[StatusHistory],
) -> Result<(Vec<EventId>, BTreeSet<EventId>), LedgerError> {
    let table = deployment.table();
    let sources: BTreeSet<SourceId> =
        told.iter().filter_map(|told| source_told_of(&told.0)).collect();
    let stored = table.sources(&sources.into_iter().collect::<Vec<_>>()).await?;
    let may_be_ours = |told: &&StatusHistory| {
        source_told_of(&told.0).is_none_or(|source| stored.contains_key(&source))
    };
    let ours = told.iter().filter(may_be_ours);
    let ours: Vec<EventId> =
        ours.filter_map(|told| recorded_id(&told.0, &deployment.shop)).collect();
    let recorded = table.on_record(&ours).await?;
    Ok((ours, recorded))
}

/// How to resend an event.
fn resend(deployment: &Deployment) -> &'static str {
    match (deployment.shop.mode, is_listened_to(deployment)) {
        (_, true) => "`stripe events resend EVENT`",
        (Mode::Test, false) => {
            "`stripe events resend EVENT --webhook-endpoint=ENDPOINT` with the endpoint above, or \
             in Stripe's Dashboard (Developers, Webhooks)"
        }
        (Mode::Live, false) => {
            "`stripe events resend EVENT --webhook-endpoint=ENDPOINT --live` with the endpoint \
             above, or in Stripe's Dashboard (Developers, Webhooks)"
        }
    }
}

/// Whether this is a local stack with Stripe itself, which the Stripe CLI listens for.
pub(super) fn is_listened_to(deployment: &Deployment) -> bool {
    let is_stripe = |url: &String| url.starts_with("https://");
    deployment.cloud.is_none() && deployment.stripe_url.as_ref().is_some_and(is_stripe)
}

#[derive(Serialize)]
struct ActivePortals {
    active: bool,
    limit: u32,
}

#[derive(Deserialize)]
struct Portals {
    data: Vec<Value>,
}

pub(super) async fn portal(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let query = ActivePortals { active: true, limit: 1 };
    match account.get::<Portals>("/billing_portal/configurations", &query).await {
        Ok(portals) if portals.data.is_empty() => Finding::note(
            "not set up: buyers can't look up their receipts themselves",
            "save its settings once in Stripe's Dashboard (Settings, Billing, Customer portal)",
        ),
        Ok(_) => Finding::good("set up"),
        Err(error) => failed_to_note(&error, "Customer portal: Read"),
    }
}

#[derive(Deserialize)]
struct TaxShape {
    status: String,
}

pub(super) async fn tax(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    match account.get::<TaxShape>("/tax/settings", &NoParameters {}).await {
        Ok(tax) => {
            // <https://docs.stripe.com/api/tax/settings/object#tax_settings_object-status>
            let settings = match tax.status.as_str() {
                "active" => "Stripe Tax is set up, but this version does not use it",
                "pending" => "this version collects none",
                _ => {
                    return Finding::note(
                        format!("Stripe Tax is {}, which this version doesn't know", tax.status),
                        "look at its settings in Stripe's Dashboard; this version collects no tax",
                    );
                }
            };
            Finding::note(
                format!("{settings}: prices are charged as listed, whatever tax law requires"),
                "ask your accountant what you owe, and file it yourself",
            )
        }
        Err(error) => failed_to_note(&error, "Tax Settings: Read"),
    }
}
