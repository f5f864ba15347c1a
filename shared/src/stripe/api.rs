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
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::CreateCustomer;
use tokio::sync::Mutex;

use super::client::Client;
use super::objects::ObjectReader;
use super::wire::{expired_from_api, metadata, session_from_api};
use crate::domain::checkout::{Session, SessionRequest};
use crate::domain::decide::Mode;
use crate::domain::id::{AttemptId, CustomerId, LearnerId, SessionId};
use crate::domain::shop::Shop;
use crate::domain::time::Timestamp;
use crate::ports::{StripeCheckout, StripeError, StripeReadError};
use crate::secrets::SecretCache;

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

    /// Sends a request, and returns the answer's JSON. A key that Stripe no longer takes may have been
    /// rotated since it was cached: then it is read again.
    async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<String, StripeError> {
        let answer = self.client(now).await?.send(&request, key).await;
        match answer.map_err(StripeError::from) {
            Err(StripeError::Unauthorized) if self.keys.refresh(now).await.unwrap_or(false) => {
                Ok(self.client(now).await?.send(&request, key).await?)
            }
            answer => answer,
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
        let built = Arc::new(Client::new(self.url.as_deref(), key, TIMEOUT)?);
        *client = Some((key.clone(), Arc::clone(&built)));
        Ok(built)
    }
}

impl ObjectReader for StripeApi {
    async fn object(&self, path: &str, now: Timestamp) -> Result<String, StripeReadError> {
        Ok(self.send(|| RequestBuilder::new(StripeMethod::Get, path), None, now).await?)
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
