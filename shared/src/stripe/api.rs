//! Calls to Stripe's API, each bounded in time and safe to repeat.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use stripe_checkout::CheckoutSessionMode;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionManagedPayments,
    CreateCheckoutSessionPaymentIntentData, ExpireCheckoutSession, RetrieveCheckoutSession,
};
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::CreateCustomer;
use tokio::sync::Mutex;

use super::client::{Client, UnsendableKey, pauses};
use super::wire::{
    dispute_status_from_api, expired_from_api, metadata, payment_owner_from_api, session_from_api,
    subscription_of_payment_from_api,
};
use crate::domain::checkout::{Session, SessionRequest};
use crate::domain::decide::{Mode, PaymentFor};
use crate::domain::facts::DisputeStatus;
use crate::domain::id::{AttemptId, CustomerId, DisputeId, LearnerId, PaymentIntentId, SessionId};
use crate::domain::shop::{Owner, Shop};
use crate::domain::time::Timestamp;
use crate::ports::{StripeCheckout, StripeError, StripeReadError, StripeReader};
use crate::secrets::SecretCache;

/// The invoices that a payment pays, each with its subscription. One payment may pay several.
/// <https://docs.stripe.com/api/invoice-payment/list>
#[must_use]
pub fn invoice_payments_of(payment: &PaymentIntentId) -> String {
    format!(
        "/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={payment}\
         &expand[]=data.invoice&limit=100"
    )
}

/// How long one request may take. Three of them and their pauses stay within the function's time.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The mode of a secret or restricted key; none if it is neither.
/// <https://docs.stripe.com/keys>
#[must_use]
pub fn mode_of_key(key: &str) -> Option<Mode> {
    let starts = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if starts(["sk_test_", "rk_test_"]) {
        Some(Mode::Test)
    } else if starts(["sk_live_", "rk_live_"]) {
        Some(Mode::Live)
    } else {
        None
    }
}

/// Stripe's API, with a key from Secrets Manager. What is created there carries the shop's mark.
pub struct StripeApi {
    url: Option<String>,
    shop: Shop,
    keys: SecretCache,
    client: Mutex<Option<(SecretString, Arc<Client>)>>,
}

impl StripeApi {
    /// The API at this address, or at Stripe's own, with one of these keys.
    #[must_use]
    pub fn new(url: Option<String>, shop: Shop, keys: SecretCache) -> Self {
        Self { url, shop, keys, client: Mutex::new(None) }
    }

    /// The metadata of an object, with our mark.
    fn marked<const N: usize>(
        &self,
        entries: [(&'static str, &str); N],
    ) -> HashMap<String, String> {
        let mark = (metadata::DEPLOYMENT, self.shop.mark.as_str());
        let all = entries.into_iter().chain([mark]);
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Sends a request that only reads, for the JSON of one object.
    async fn read(&self, path: &str, now: Timestamp) -> Result<String, StripeError> {
        self.send(|| RequestBuilder::new(StripeMethod::Get, path), None, now).await
    }

    /// Sends a request up to three times, under one idempotency key, and returns the answer's JSON.
    /// What Stripe says of trying again counts; where it says nothing, what kind of error it was.
    /// <https://docs.stripe.com/error-low-level>
    async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<String, StripeError> {
        let key = key.map(IdempotencyKey::new).transpose();
        let key = key.map_err(|error| StripeError::Unreadable(error.to_string()))?;
        let mut pauses = pauses();
        loop {
            let client = self.client(now).await?;
            let unanswered = match client.send(request(), key.as_ref()).await {
                Ok(json) => return Ok(json),
                Err(unanswered) => unanswered,
            };
            let error = unanswered.error;
            let may_help = unanswered.should_retry.unwrap_or(error.is_worth_another_try());
            // A key that Stripe no longer takes may have been rotated since it was cached.
            let rotated = matches!(error, StripeError::Unauthorized)
                && self.keys.refresh(now).await.unwrap_or(false);
            match pauses.next().filter(|_| rotated || may_help) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn client(&self, now: Timestamp) -> Result<Arc<Client>, StripeError> {
        let keys = self.keys.get(now).await.map_err(|error| StripeError::NoKey(Box::new(error)))?;
        let key = keys
            .iter()
            .find(|key| mode_of_key(key.expose_secret()) == Some(self.shop.mode))
            .ok_or(StripeError::WrongMode)?;
        let mut client = self.client.lock().await;
        if let Some((known, client)) = &*client
            && known.expose_secret() == key.expose_secret()
        {
            return Ok(Arc::clone(client));
        }
        let built = Arc::new(
            Client::new(self.url.as_deref(), key, TIMEOUT)
                .map_err(|UnsendableKey| StripeError::Unauthorized)?,
        );
        *client = Some((key.clone(), Arc::clone(&built)));
        Ok(built)
    }
}

impl StripeReader for StripeApi {
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        now: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        // Stripe has told us of it, so this account has it: a key that doesn't know it is the wrong
        // one, and says nothing about its owner.
        let json = self.read(&format!("/payment_intents/{payment}"), now).await?;
        let owner = payment_owner_from_api(&json).map_err(StripeError::Unreadable)?;
        match owner {
            Owner::Marked(_) => Ok(PaymentFor::Purchase(owner)),
            // Stripe creates the payment intents of invoices, and copies no metadata to them.
            Owner::Unmarked | Owner::Unsaid => {
                let json = self.read(&invoice_payments_of(payment), now).await?;
                let subscription =
                    subscription_of_payment_from_api(&json).map_err(StripeError::Unreadable)?;
                Ok(subscription.unwrap_or(PaymentFor::Purchase(owner)))
            }
        }
    }

    async fn dispute(
        &self,
        id: &DisputeId,
        now: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        let json = self.read(&format!("/disputes/{id}"), now).await?;
        dispute_status_from_api(&json).map_err(|reason| StripeError::Unreadable(reason).into())
    }
}

impl StripeCheckout for StripeApi {
    async fn create_customer(
        &self,
        learner: &LearnerId,
        replaces: Option<&CustomerId>,
        other_key: Option<&AttemptId>,
        now: Timestamp,
    ) -> Result<CustomerId, StripeError> {
        let request =
            CreateCustomer::new().metadata(self.marked([(metadata::LEARNER, learner.as_str())]));
        // Another deployment in this account may have a learner of the same id. The parts together
        // could be longer than the 255 characters that a key may have.
        let parts = [
            self.shop.mark.as_str(),
            learner.as_str(),
            replaces.map_or("", CustomerId::as_str),
            other_key.map_or("", AttemptId::as_str),
        ];
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(parts.join("\n")));
        let key = format!("coursegate-customer-{digest}");
        let json = self.send(|| request.build(), Some(&key), now).await?;
        let id = serde_json::from_str::<serde_json::Value>(&json)
            .ok()
            .and_then(|customer| customer.get("id")?.as_str()?.parse().ok());
        id.ok_or_else(|| StripeError::Unreadable("customer: id is missing".to_owned()))
    }

    async fn open_session(
        &self,
        request: &SessionRequest,
        attempt: &AttemptId,
        now: Timestamp,
    ) -> Result<Session, StripeError> {
        let metadata = self.marked([
            (metadata::LEARNER, request.learner.as_str()),
            (metadata::PRODUCT, request.product.as_str()),
            (metadata::PRICE, request.price.as_str()),
        ]);
        let item = CreateCheckoutSessionLineItems {
            price: Some(request.stripe_price.to_string()),
            quantity: Some(1),
            ..CreateCheckoutSessionLineItems::new()
        };
        let payment = CreateCheckoutSessionPaymentIntentData {
            metadata: Some(metadata.clone()),
            ..CreateCheckoutSessionPaymentIntentData::new()
        };
        let create = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Payment)
            .client_reference_id(request.learner.as_str())
            .line_items(vec![item])
            // Some accounts sell through Link unless a session declines: then Link is the seller,
            // and prices, receipts and refunds are its own.
            // <https://docs.stripe.com/payments/managed-payments>
            .managed_payments(CreateCheckoutSessionManagedPayments { enabled: Some(false) })
            .metadata(metadata)
            .payment_intent_data(payment)
            .success_url(request.success_url.as_str())
            .cancel_url(request.cancel_url.as_str());
        let create = match &request.customer {
            Some(customer) => create.customer(customer.as_str()),
            None => create,
        };
        let key = format!("coursegate-checkout-{attempt}");
        let json = self.send(|| create.build(), Some(&key), now).await?;
        session_from_api(&json, now).map_err(StripeError::Unreadable)
    }

    async fn session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StripeError> {
        let request = RetrieveCheckoutSession::new(id.as_str())
            .expand(vec!["payment_intent.latest_charge".to_owned()]);
        match self.send(|| request.build(), None, now).await {
            Ok(json) => session_from_api(&json, now).map(Some).map_err(StripeError::Unreadable),
            Err(StripeError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn expire_session(&self, id: &SessionId, now: Timestamp) -> Result<(), StripeError> {
        let request = ExpireCheckoutSession::new(id.as_str());
        let json = self.send(|| request.build(), None, now).await?;
        expired_from_api(&json).map_err(StripeError::Unreadable)
    }
}
