//! Keys, account, prices, endpoint, deliveries.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::domain::catalog::PublishedCatalog;
use shared::domain::decide::Mode;
use shared::domain::time::{DAY, MINUTE};
use shared::stripe::wire::handled_event_types;

use super::{Finding, Patient, SECRET_UNREAD};
use crate::account::{API_VERSION, Account, AccountError, Listed, name_of};
use crate::catalog::{self, PushError};
use crate::key;
use crate::webhook;

const NO_ACCOUNT: &str = "the account can't be looked at without a key of yours";
const ASK_AGAIN: &str = "see whether Stripe is up (status.stripe.com), then ask again";

/// What a failed request to Stripe means.
fn failed(error: &AccountError, permission: &str) -> Finding {
    if error.is_forbidden() {
        Finding::note(
            format!("your key may not look at this: {error}"),
            format!("give your key {permission}"),
        )
    } else {
        Finding::bad(error.to_string(), ASK_AGAIN)
    }
}

pub(super) async fn functions_key(patient: &Patient<'_>) -> Finding {
    let deployment = patient.deployment;
    let store = "store one with `coursegate key store`";
    let key = match deployment.secret(&deployment.api_key_id).await {
        Ok(key) => SecretString::from(key.trim()),
        Err(error) => return Finding::bad(error.to_string(), SECRET_UNREAD),
    };
    let account = match Account::new(deployment.stripe_url.as_deref(), &key, deployment.mode) {
        Ok(account) => account,
        Err(error) => return Finding::bad(error.to_string(), store),
    };
    match key::lacks(&account).await {
        Ok(lacks) if !lacks.is_empty() => Finding::bad(
            format!("it lacks {}", lacks.join(", ")),
            "edit the key's permissions in Stripe's Dashboard",
        ),
        Ok(_) if key::is_unrestricted(&key) && deployment.cloud.is_some() => Finding::note(
            format!(
                "a {} secret key, which may do everything in the account",
                name_of(deployment.mode)
            ),
            format!(
                "a restricted key is enough, with {}",
                key::permissions().collect::<Vec<_>>().join(", ")
            ),
        ),
        Ok(_) => {
            Finding::good(format!("a {} key with all that it needs", name_of(deployment.mode)))
        }
        Err(error) => Finding::bad(error.to_string(), ASK_AGAIN),
    }
}

pub(super) fn operators_key(patient: &Patient<'_>) -> Finding {
    match &patient.account {
        Ok(_) => Finding::good(format!("a {} key", name_of(patient.deployment.mode))),
        Err(error) => Finding::bad(error.to_string(), "then ask again"),
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

#[derive(Serialize)]
struct Nothing {}

pub(super) async fn account(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let shape: AccountShape = match account.get("/account", &Nothing {}).await {
        Ok(shape) => shape,
        Err(error) => return failed(&error, "the permission to read the account"),
    };
    let is_live = patient.deployment.mode == Mode::Live;
    let complete = "complete the account's activation in Stripe's Dashboard";
    match (shape.charges_enabled, shape.payouts_enabled) {
        (Some(false), _) if is_live => {
            Finding::bad(format!("{} can't take payments yet", shape.id), complete)
        }
        (_, Some(false)) if is_live => {
            Finding::note(format!("{} is not paid out yet", shape.id), complete)
        }
        _ => {
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
        Err(error) => return Finding::bad(error.to_string(), "look at the table"),
    };
    match catalog::look(&published.catalog, account, patient.deployment).await {
        Ok(plan) if plan.steps.is_empty() => {
            let count = published.stripe_prices.len();
            let version = published.version;
            Finding::good(format!("{count} active in Stripe as in the table's catalog {version}"))
        }
        Ok(plan) => {
            let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
            Finding::bad(
                format!("Stripe has something else than the table sells: {}", steps.join("; ")),
                push,
            )
        }
        Err(PushError::Look(error)) => failed(&error, "Products: Read and Prices: Read"),
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
        Err(error) => return Finding::bad(error.to_string(), "put the file right"),
    };
    match catalog::look(&wanted, account, patient.deployment).await {
        Ok(plan) if plan.steps.is_empty() => {
            Finding::good(format!("{} is what is on sale", path.display()))
        }
        Ok(plan) => Finding::note(
            format!(
                "{} differs from what is on sale, in {} steps",
                path.display(),
                plan.steps.len()
            ),
            "see them with `coursegate catalog plan`",
        ),
        Err(PushError::Look(error)) => failed(&error, "Products: Read and Prices: Read"),
        Err(error) => Finding::bad(error.to_string(), "see `coursegate catalog plan`"),
    }
}

pub(super) async fn endpoint(patient: &Patient<'_>) -> Finding {
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
            } else if let Some(other) = others.first() {
                Finding::note(
                    format!("{} is in order, and {} delivers here too", endpoint.id, other.id),
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
            format!("whether Secrets Manager has the secret of {} can't be told", other.id),
            register,
        ),
    }
}

#[derive(Serialize)]
struct Undelivered {
    delivery_success: bool,
    types: Vec<&'static str>,
    created: Created,
}

#[derive(Serialize)]
struct Created {
    gte: i64,
    lte: i64,
}

#[derive(Deserialize)]
struct EventShape {
    id: String,
}

impl Listed for EventShape {
    fn id(&self) -> &str {
        &self.id
    }
}

pub(super) async fn deliveries(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let now = patient.now;
    let query = Undelivered {
        delivery_success: false,
        types: handled_event_types().collect(),
        // As far back as Stripe resends by hand, and not what is on its way.
        created: Created { gte: now.saturating_sub(15 * DAY), lte: now.saturating_sub(5 * MINUTE) },
    };
    let events: Vec<EventShape> = match account.list("/events", &query).await {
        Ok(events) => events,
        Err(error) => return failed(&error, "Events: Read"),
    };
    match events.last() {
        None => Finding::good("all events of 15 days have arrived"),
        Some(oldest) => Finding::note(
            format!(
                "{} events of 15 days have not reached every endpoint, since {}",
                events.len(),
                oldest.id
            ),
            "see why in Stripe's Dashboard (Developers, Webhooks), then resend them there or with \
             `stripe events resend`; an event that was applied already changes nothing",
        ),
    }
}

#[derive(Serialize)]
struct ActivePortals {
    active: bool,
    limit: u32,
}

#[derive(Deserialize)]
struct Portals {
    data: Vec<serde_json::Value>,
}

pub(super) async fn portal(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let query = ActivePortals { active: true, limit: 1 };
    match account.get::<Portals>("/billing_portal/configurations", &query).await {
        Ok(portals) if portals.data.is_empty() => Finding::note(
            "not set up: buyers can't look up their receipts by themselves",
            "save its settings once in Stripe's Dashboard (Settings, Billing, Customer portal)",
        ),
        Ok(_) => Finding::good("set up"),
        Err(error) => failed(&error, "Customer portal: Read"),
    }
}

#[derive(Deserialize)]
struct TaxShape {
    status: String,
}

pub(super) async fn tax(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    match account.get::<TaxShape>("/tax/settings", &Nothing {}).await {
        Ok(tax) if tax.status == "active" => Finding::good("Stripe Tax is set up"),
        Ok(_) => Finding::note(
            "Stripe Tax is not set up: prices are charged as they are, whatever the law asks",
            "decide it with your accountant; set it up in Stripe's Dashboard (Settings, Tax)",
        ),
        Err(error) => failed(&error, "Tax Settings: Read"),
    }
}
