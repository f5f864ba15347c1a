//! The functions' Stripe API key: tried before it is stored, so that what is missing is said here
//! and not to a learner.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::account::{Account, AccountError};
use crate::deployment::{Deployment, DeploymentError};

/// What the checkout function asks of Stripe: the permission as Stripe's Dashboard calls it, and a
/// request that needs it and changes nothing. Whoever may see sessions may see their payments.
const PERMISSIONS: [(&str, Try); 3] = [
    ("Checkout Sessions: Write", Try::Post("/checkout/sessions")),
    ("Customers: Write", Try::Post("/customers")),
    ("Charges: Read", Try::Get("/charges")),
];

#[derive(Clone, Copy)]
enum Try {
    /// With a parameter that Stripe does not know, so that it refuses what it would permit.
    Post(&'static str),
    Get(&'static str),
}

/// Why a key is not stored.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is of the other mode or can't be tried.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It may not do all that it has to.
    #[error(
        "the key is not stored, because it lacks {}: edit it in Stripe's Dashboard, then store it \
         again",
        .0.join(", ")
    )]
    Lacks(Vec<&'static str>),
    /// Secrets Manager did not take it.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

/// Tries a key and stores it for the functions.
pub async fn store(deployment: &Deployment, key: &SecretString) -> Result<(), KeyError> {
    let account = Account::new(deployment.stripe_url.as_deref(), key, deployment.mode)?;
    let lacks = lacks(&account).await?;
    if !lacks.is_empty() {
        return Err(KeyError::Lacks(lacks));
    }
    deployment.put_secret(&deployment.api_key_id, key.expose_secret()).await?;
    Ok(())
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

/// The permissions that the functions need and this key lacks.
pub async fn lacks(account: &Account) -> Result<Vec<&'static str>, AccountError> {
    let mut lacks = Vec::new();
    for (permission, attempt) in PERMISSIONS {
        match attempt.make(account).await {
            Ok(()) => {}
            Err(error) if error.is_forbidden() => lacks.push(permission),
            Err(error) => return Err(error),
        }
    }
    Ok(lacks)
}

#[derive(Serialize)]
struct Unknown {
    coursegate_permission_check: bool,
}

#[derive(Serialize)]
struct One {
    limit: u32,
}

impl Try {
    async fn make(self, account: &Account) -> Result<(), AccountError> {
        match self {
            Self::Get(path) => {
                account.get::<serde_json::Value>(path, &One { limit: 1 }).await.map(drop)
            }
            Self::Post(path) => {
                let form = Unknown { coursegate_permission_check: true };
                let key = crate::account::fresh_idempotency_key()?;
                match account.post::<serde_json::Value>(path, &form, &key).await {
                    // Permission is looked at first, then the parameters.
                    Err(AccountError::Refused { status: 400, .. }) | Ok(_) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}
