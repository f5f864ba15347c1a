//! What is read from single objects of the Stripe account, by the functions and by the operator.

use super::wire::{
    dispute_status_from_api, payment_owner_from_api, subscription_of_payment_from_api,
};
use crate::domain::decide::PaymentFor;
use crate::domain::facts::DisputeStatus;
use crate::domain::id::{DisputeId, PaymentIntentId};
use crate::domain::shop::Owner;
use crate::domain::time::Timestamp;
use crate::ports::{StripeReadError, StripeReader};

/// Whoever has a key to the account.
pub trait ObjectReader {
    /// The JSON of the object at this path, which may have a query.
    fn object(
        &self,
        path: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<String, StripeReadError>> + Send;
}

/// The invoices that a payment pays, each with its subscription. One payment may pay several.
/// <https://docs.stripe.com/api/invoice-payment/list>
fn invoice_payments_of(payment: &PaymentIntentId) -> String {
    format!(
        "/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={payment}\
         &expand[]=data.invoice&limit=100"
    )
}

impl<R: ObjectReader + Sync> StripeReader for R {
    /// Stripe has told us of the payment, so this account has it: a key that doesn't know it is one
    /// of another account, and says nothing about its owner.
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        now: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        let json = self.object(&format!("/payment_intents/{payment}"), now).await?;
        let owner = payment_owner_from_api(&json).map_err(StripeReadError::Unreadable)?;
        match owner {
            Owner::Marked(_) => Ok(PaymentFor::Purchase(owner)),
            // Stripe creates the payment intents of invoices, and copies no metadata to them.
            Owner::Unmarked | Owner::Unsaid => {
                let json = self.object(&invoice_payments_of(payment), now).await?;
                let subscription =
                    subscription_of_payment_from_api(&json).map_err(StripeReadError::Unreadable)?;
                Ok(subscription.unwrap_or(PaymentFor::Purchase(owner)))
            }
        }
    }

    async fn dispute(
        &self,
        id: &DisputeId,
        now: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        let json = self.object(&format!("/disputes/{id}"), now).await?;
        dispute_status_from_api(&json).map_err(StripeReadError::Unreadable)
    }
}
