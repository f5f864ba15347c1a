//! Carries out a plan.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::domain::catalog::{Catalog, Price, Product, PublishedCatalog};
use shared::domain::id::StripePriceId;
use shared::ports::{CatalogReader as _, LedgerError};

use super::plan::{Plan, PlanError, Step, plan};
use super::shop::{self, OtherAccount};
use crate::account::{Account, AccountError};
use crate::deployment::Deployment;

/// Whether a catalog may close what learners own, here or by moving the shop to another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It may not: whoever has paid is never locked out by an edit.
    Refused,
    /// It may: nobody owns anything that counts, or the operator insists.
    Allowed,
}

/// Why a catalog could not be put on sale. Completed steps stay; pushing again continues.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Stripe's products and prices can't be read.
    #[error("the products and prices can't be read: {0}")]
    Look(#[source] AccountError),
    /// A request to Stripe failed.
    #[error(
        "this step failed: {step}\n{source}\nthe steps before it are done; push again to continue"
    )]
    Step {
        /// What was to be done.
        step: String,
        /// Why it was not.
        source: AccountError,
    },
    /// The catalog can't be sold in this account.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The table sells in another account.
    #[error(transparent)]
    OtherAccount(#[from] OtherAccount),
    /// The table failed.
    #[error("the table request for the catalog failed: {}", with_cause(.0))]
    Table(#[from] LedgerError),
    /// Learners would lose what they own.
    #[error(
        "this would end access that learners may have: {}; put it back, and remove its price to \
         stop selling it, or push with --force",
        .0.join("; ")
    )]
    Closes(Vec<String>),
    /// Somebody else has published at the same moment.
    #[error("somebody else published a catalog at the same time: review it, then push again")]
    Overtaken,
}

/// The table's failure with what lies at its bottom: DynamoDB's own words, or, of the local stack,
/// that the disk is full.
fn with_cause(error: &LedgerError) -> String {
    let first = std::error::Error::source(error);
    match std::iter::successors(first, |error| error.source()).last() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

/// Looks at Stripe and the table, and says what has to be done there.
pub async fn look(
    wanted: &Catalog,
    account: &Account,
    deployment: &Deployment,
) -> Result<Plan, PushError> {
    compare(wanted, Closing::Refused, account, deployment).await
}

async fn compare(
    wanted: &Catalog,
    closing: Closing,
    account: &Account,
    deployment: &Deployment,
) -> Result<Plan, PushError> {
    let published = deployment.table().catalog().await?;
    let shop = shop::read(account, deployment.shop.mark.as_str()).await.map_err(PushError::Look)?;
    if closing == Closing::Refused {
        let elsewhere = shop::is_of_another_account(published.as_ref(), &shop, account).await;
        if elsewhere.map_err(PushError::Look)? {
            return Err(OtherAccount.into());
        }
    }
    Ok(plan(wanted, &shop, published.as_ref())?)
}

/// Puts a catalog on sale, and reports each step once it is done. Repeating it changes nothing.
pub async fn push(
    wanted: &Catalog,
    closing: Closing,
    account: &Account,
    deployment: &Deployment,
    mut done: impl FnMut(&Step),
) -> Result<Plan, PushError> {
    let plan = compare(wanted, closing, account, deployment).await?;
    if closing == Closing::Refused && !plan.closes.is_empty() {
        return Err(PushError::Closes(plan.closes));
    }
    let mark = deployment.shop.mark.as_str();
    let mut stripe_prices = plan.kept_prices.clone();
    for step in &plan.steps {
        let failed = |source| PushError::Step { step: step.to_string(), source };
        match step {
            Step::CreateProduct(product) => {
                create_product(account, product, mark).await.map_err(failed)?;
            }
            Step::UpdateProduct { product, stale_keys, .. } => {
                update_product(account, product, stale_keys, mark).await.map_err(failed)?;
            }
            Step::CreatePrice { price, .. } => {
                let created = create_price(account, price).await;
                stripe_prices.insert(price.key.clone(), created.map_err(failed)?);
            }
            Step::Publish { version, .. } => {
                let published = PublishedCatalog {
                    catalog: wanted.clone(),
                    stripe_prices: stripe_prices.clone(),
                    version: *version,
                };
                if !deployment.table().publish_catalog(&published).await? {
                    return Err(PushError::Overtaken);
                }
            }
        }
        done(step);
    }
    Ok(plan)
}

#[derive(Serialize)]
struct ProductForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: &'a str,
    active: bool,
    metadata: BTreeMap<String, String>,
}

async fn create_product(
    account: &Account,
    product: &Product,
    mark: &str,
) -> Result<(), AccountError> {
    let form = ProductForm {
        id: Some(shop::stripe_product(&product.id)),
        name: &product.name,
        active: true,
        metadata: shop::metadata(product, mark),
    };
    post(account, "/products", &form).await
}

async fn update_product(
    account: &Account,
    product: &Product,
    stale_keys: &[String],
    mark: &str,
) -> Result<(), AccountError> {
    let mut metadata = shop::metadata(product, mark);
    // An empty value takes a key away: <https://docs.stripe.com/metadata>
    metadata.extend(stale_keys.iter().map(|key| (key.clone(), String::new())));
    let form = ProductForm { id: None, name: &product.name, active: true, metadata };
    post(account, &format!("/products/{}", shop::stripe_product(&product.id)), &form).await
}

#[derive(Serialize)]
struct PriceForm<'a> {
    currency: &'a str,
    product: String,
    unit_amount: i64,
    lookup_key: &'a str,
    transfer_lookup_key: bool,
}

async fn create_price(account: &Account, price: &Price) -> Result<StripePriceId, AccountError> {
    let form = PriceForm {
        currency: price.money.currency.as_str(),
        product: shop::stripe_product(&price.product),
        unit_amount: price.money.amount_minor,
        lookup_key: price.key.as_str(),
        transfer_lookup_key: true,
    };
    let created: serde_json::Value = account.post("/prices", &form).await?;
    let id = created.get("id").and_then(serde_json::Value::as_str).unwrap_or_default();
    id.parse().map_err(|error| AccountError::Unreadable(format!("the new price: {error}")))
}

async fn post(account: &Account, path: &str, form: &impl Serialize) -> Result<(), AccountError> {
    account.post::<serde_json::Value>(path, form).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_s_own_error_is_passed_on() {
        for (error, expected) in [
            (
                LedgerError::Unavailable("backend: database or disk is full".into()),
                "the table can't be reached (backend: database or disk is full)",
            ),
            (LedgerError::Unreadable("catalog".to_owned()), "can't be read: catalog"),
        ] {
            let said = PushError::from(error).to_string();
            assert!(said.ends_with(expected), "{said}");
        }
    }
}
