//! The webhook's Stripe API key. The webhook only reads, and it is open to the internet, so its key
//! should be able to do nothing else.

use secrecy::{ExposeSecret as _, SecretString};
use shared::domain::id::PaymentIntentId;
use shared::dynamo::operator;

use super::{KeyError, KeyFault, Try, is_unrestricted, refused};
use crate::account::{Account, AccountError, NoParameters};
use crate::deployment::Deployment;

/// What the webhook asks Stripe: what a payment pays for, and the status of a dispute.
const PERMISSIONS: [(&str, Try); 3] = [
    ("PaymentIntents: Read", Try::Get("/payment_intents")),
    ("Disputes: Read", Try::Get("/disputes")),
    ("Invoices: Read", Try::Get("/invoice_payments")),
];

/// What it must not be able to do: what moves money, sells, or would lead events elsewhere. There
/// are no such objects as are named here.
const SURPLUS: [(&str, Try); 7] = [
    ("Charges: Write", Try::Post("/refunds")),
    ("PaymentIntents: Write", Try::Post("/payment_intents/pi_none")),
    ("Disputes: Write", Try::Post("/disputes/du_none")),
    ("Checkout Sessions: Write", Try::Post("/checkout/sessions")),
    ("Customers: Write", Try::Post("/customers")),
    ("Products: Write", Try::Post("/products")),
    ("Webhook Endpoints: Write", Try::Post("/webhook_endpoints")),
];

/// How many payments of the table a key is tried with.
const PAYMENTS_MAX: usize = 3;

/// Tries a key and stores it for the webhook. Returns the permissions that it doesn't need.
pub async fn store(
    deployment: &Deployment,
    key: &SecretString,
) -> Result<Vec<&'static str>, KeyError> {
    let surplus = try_out(deployment, key).await?;
    deployment.put_secret(&deployment.read_key_id, key.expose_secret()).await?;
    Ok(surplus)
}

/// Tests whether the webhook can use this key. Returns the permissions that it doesn't need.
pub async fn try_out(
    deployment: &Deployment,
    key: &SecretString,
) -> Result<Vec<&'static str>, KeyFault> {
    let account = Account::new(deployment.stripe_url.as_deref(), key, deployment.shop.mode)?;
    let lacks = refused(&account, PERMISSIONS).await?;
    if !lacks.is_empty() {
        return Err(KeyFault::Lacks(lacks));
    }
    let payments = operator::some_payments(&deployment.table(), PAYMENTS_MAX).await?;
    if knows_none_of(&payments, &account).await? {
        return Err(KeyFault::KnowsNoPayment);
    }
    if is_unrestricted(key) {
        return Ok(vec!["everything"]);
    }
    let lacks = refused(&account, SURPLUS).await?;
    let surplus = SURPLUS.into_iter().map(|(permission, _)| permission);
    Ok(surplus.filter(|permission| !lacks.contains(permission)).collect())
}

/// The permissions that the webhook needs.
pub fn permissions() -> impl Iterator<Item = &'static str> {
    PERMISSIONS.into_iter().map(|(permission, _)| permission)
}

/// The same in one line.
#[must_use]
pub fn names() -> String {
    permissions().collect::<Vec<_>>().join(", ")
}

/// To a key of another account each payment would look like another shop's, and its refund would be
/// ignored.
async fn knows_none_of(
    payments: &[PaymentIntentId],
    account: &Account,
) -> Result<bool, AccountError> {
    for payment in payments {
        let path = format!("/payment_intents/{payment}");
        match account.get::<serde_json::Value>(&path, &NoParameters {}).await {
            Ok(_) => return Ok(false),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(!payments.is_empty())
}
