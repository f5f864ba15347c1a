//! The functions' Stripe API keys: tested before they are stored, so that the operator sees what is
//! missing, not a learner. This is the checkout function's, which sells; that of the webhook only
//! reads, see [`reading`].

pub mod reading;
pub mod service;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use shared::ports::{CatalogReader as _, LedgerError};

use crate::account::{Account, AccountError, FirstOnly};
use crate::catalog::knows_none_of;
use crate::deployment::{Deployment, DeploymentError};

/// What the checkout function asks of Stripe: the permission as Stripe's Dashboard calls it, and a
/// request that needs it and changes nothing. Whoever may see sessions may see their payments. By
/// the prices a key is told from one of another account.
const PERMISSIONS: [(&str, Try); 4] = [
    ("Checkout Sessions: Write", Try::Post("/checkout/sessions")),
    ("Customers: Write", Try::Post("/customers")),
    ("Charges: Read", Try::Get("/charges")),
    ("Prices: Read", Try::Get("/prices")),
];

#[derive(Clone, Copy)]
enum Try {
    /// With a parameter that Stripe does not know, so that it refuses what it would permit.
    Post(&'static str),
    Get(&'static str),
}

/// Why a key can't sell what the table has on sale.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// It belongs to the other mode, is unknown to Stripe, or can't be tested.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It lacks permissions.
    #[error("it lacks {}: edit it in Stripe's Dashboard", .0.join(", "))]
    Lacks(Vec<&'static str>),
    /// What is on sale is in another account.
    #[error(
        "it belongs to another Stripe account or sandbox than the shop, and sees none of the \
         prices on sale: use a key of the shop's account, or move the shop first, with \
         `coursegate catalog push --force` and your own key of the new account"
    )]
    OtherAccount,
    /// What was paid is in another account.
    #[error(
        "it belongs to another Stripe account or sandbox than the shop, and sees none of the \
         payments in the table: use a key of the shop's account"
    )]
    KnowsNoPayment,
    /// What is on sale, or was paid, can't be read.
    #[error("the key can't be tested, because the table can't be read: {0}")]
    Table(#[from] LedgerError),
}

/// Why a key is not stored.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It would not sell.
    #[error("the key was not stored: {0}")]
    Fault(#[from] KeyFault),
    /// Secrets Manager rejected it.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

/// Tests a key and stores it for the functions.
pub async fn store(deployment: &Deployment, key: &SecretString) -> Result<(), KeyError> {
    try_out(deployment, key).await?;
    deployment.put_secret(&deployment.api_key_id, key.expose_secret()).await?;
    Ok(())
}

/// Tries whether the functions of a deployment can sell with this key.
pub async fn try_out(deployment: &Deployment, key: &SecretString) -> Result<(), KeyFault> {
    let account = Account::new(deployment.stripe_url.as_deref(), key, deployment.shop.mode)?;
    let lacks = refused(&account, PERMISSIONS).await?;
    if !lacks.is_empty() {
        return Err(KeyFault::Lacks(lacks));
    }
    // Two accounts that sell the same catalog have the same products; only prices are their own.
    let Some(on_sale) = deployment.table().catalog().await? else { return Ok(()) };
    if knows_none_of(&on_sale, &account).await? { Err(KeyFault::OtherAccount) } else { Ok(()) }
}

/// The permissions that the functions need.
pub fn permissions() -> impl Iterator<Item = &'static str> {
    PERMISSIONS.into_iter().map(|(permission, _)| permission)
}

/// Whether this key may do everything in its account.
#[must_use]
pub fn is_unrestricted(key: &SecretString) -> bool {
    key.expose_secret().starts_with("sk_")
}

/// Those of these permissions that a key lacks.
async fn refused(
    account: &Account,
    permissions: impl IntoIterator<Item = (&'static str, Try)>,
) -> Result<Vec<&'static str>, AccountError> {
    let mut refused = Vec::new();
    for (permission, attempt) in permissions {
        match attempt.make(account).await {
            Ok(()) => {}
            Err(error) if error.is_forbidden() => refused.push(permission),
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

#[derive(Serialize)]
struct Unknown {
    coursegate_permission_check: bool,
}

impl Try {
    async fn make(self, account: &Account) -> Result<(), AccountError> {
        match self {
            Self::Get(path) => {
                account.get::<serde_json::Value>(path, &FirstOnly::QUERY).await.map(drop)
            }
            Self::Post(path) => {
                let form = Unknown { coursegate_permission_check: true };
                match account.post::<serde_json::Value>(path, &form).await {
                    // Permission is looked at first, then the object and the parameters.
                    Err(AccountError::Refused { status: 400 | 404, .. }) | Ok(_) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}
