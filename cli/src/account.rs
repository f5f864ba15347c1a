//! The Stripe account as its operator reaches it: any request, small shapes of one's own for the
//! answers, and errors that say what Stripe said.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::domain::decide::Mode;
use shared::stripe::api::mode_of_key;
use shared::stripe::client::{CallError, Client, Refusal};
use stripe_client_core::{ApiVersion, RequestBuilder, StripeMethod, StripeRequest, VERSION};
use uuid::Uuid;

/// The version of Stripe's API that this program speaks, and for which it registers its endpoint.
pub const API_VERSION: ApiVersion = VERSION;

const TIMEOUT: Duration = Duration::from_secs(20);
/// The most that Stripe lists at once: <https://docs.stripe.com/api/pagination>
const PAGE_SIZE: u32 = 100;

/// Why a request to Stripe failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The key is of the other mode, or no key at all.
    #[error("the Stripe key is {}", wrong_key(*.wanted, *.found))]
    WrongMode {
        /// What the deployment is.
        wanted: Mode,
        /// What the key is.
        found: Option<Mode>,
    },
    /// The live key would be sent to another host.
    #[error(
        "this deployment is live, and its StripeApiUrl is not Stripe's: the live key would be sent \
         there; deploy with StripeApiUrl empty"
    )]
    NotStripe,
    /// Stripe doesn't know the key.
    #[error(
        "Stripe does not know this key: it is mistyped, deleted, rolled or expired; get one from \
         Stripe's Dashboard (Developers, API keys)"
    )]
    UnknownKey,
    /// Stripe refused a request, and said why.
    #[error("Stripe answers {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What Stripe says; never what was sent.
        message: String,
        /// Stripe's code, such as `resource_missing`.
        code: Option<String>,
    },
    /// Stripe can't be reached.
    #[error("Stripe can't be reached ({0}): try again")]
    Unreachable(String),
    /// The answer can't be read.
    #[error("Stripe's answer can't be read: {0}")]
    Unreadable(String),
}

impl AccountError {
    /// Whether Stripe does not have what was asked for.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the key may not do this.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }
}

fn wrong_key(wanted: Mode, found: Option<Mode>) -> String {
    let wanted = name_of(wanted);
    match found.map(name_of) {
        Some(found) => format!(
            "a {found} key, but this deployment is {wanted}: use a {wanted} key from Stripe's \
             Dashboard (Developers, API keys)"
        ),
        None => format!(
            "neither a secret key nor a restricted key: create a {wanted} one in Stripe's Dashboard \
             (Developers, API keys)"
        ),
    }
}

/// `test` or `live`.
#[must_use]
pub const fn name_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Test => "test",
        Mode::Live => "live",
    }
}

/// A Stripe account in one of its modes.
#[derive(Clone)]
pub struct Account(Client);

/// A page of a list under `/v2`.
#[derive(Deserialize)]
struct PageV2<T> {
    data: Vec<T>,
    next_page_url: Option<String>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    has_more: bool,
}

/// A request without parameters.
#[derive(Serialize)]
pub struct NoParameters {}

/// A request for the first of a list, to see whether it may be read.
#[derive(Serialize)]
pub struct FirstOnly {
    limit: u32,
}

impl FirstOnly {
    /// The query.
    pub const QUERY: Self = Self { limit: 1 };
}

/// An object that can be listed.
pub trait Listed {
    /// Its id, from which the next page starts.
    fn id(&self) -> &str;
}

#[derive(Serialize)]
struct PageQuery<'a, Q> {
    #[serde(flatten)]
    filters: &'a Q,
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_after: Option<&'a str>,
}

impl Account {
    /// The account that this key belongs to, at this address or Stripe's own. A key of the other
    /// mode is refused, and so is a live key for another address.
    pub fn new(url: Option<&str>, key: &SecretString, mode: Mode) -> Result<Self, AccountError> {
        let found = mode_of_key(key.expose_secret());
        if found != Some(mode) {
            return Err(AccountError::WrongMode { wanted: mode, found });
        }
        if mode == Mode::Live && url.is_some() {
            return Err(AccountError::NotStripe);
        }
        Ok(Self(Client::new(url, key, TIMEOUT)?))
    }

    /// Reads an object, as JSON.
    pub async fn object(&self, path: &str) -> Result<String, AccountError> {
        self.json(|| RequestBuilder::new(StripeMethod::Get, path)).await
    }

    /// Sends a GET request with a query, and parses the answer.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, AccountError> {
        self.send(|| RequestBuilder::new(StripeMethod::Get, path).query(query)).await
    }

    /// Reads all pages of a list.
    pub async fn list<T: DeserializeOwned + Listed>(
        &self,
        path: &str,
        filters: &impl Serialize,
    ) -> Result<Vec<T>, AccountError> {
        self.pages(|limit, starting_after| {
            let query = PageQuery { filters, limit, starting_after };
            RequestBuilder::new(StripeMethod::Get, path).query(&query)
        })
        .await
    }

    /// Reads all pages of a list: each of this size, and what comes after the object of this id.
    pub async fn pages<T: DeserializeOwned + Listed>(
        &self,
        page: impl Fn(u32, Option<&str>) -> RequestBuilder,
    ) -> Result<Vec<T>, AccountError> {
        let mut all = Vec::new();
        let mut starting_after: Option<String> = None;
        loop {
            let Page::<T> { data, has_more } =
                self.send(|| page(PAGE_SIZE, starting_after.as_deref())).await?;
            starting_after = data.last().map(|last| last.id().to_owned());
            all.extend(data);
            if !has_more || starting_after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Reads all pages of a list under `/v2`, with this query.
    /// <https://docs.stripe.com/api-v2-overview>
    pub async fn list_v2<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
    ) -> Result<Vec<T>, AccountError> {
        let mut all = Vec::new();
        let mut query = Some(query.to_owned());
        while let Some(this) = query {
            let page: PageV2<T> = self
                .send(|| {
                    let request = RequestBuilder::new(StripeMethod::Get, format!("/v2{path}"));
                    RequestBuilder { query: Some(this.clone()), ..request }
                })
                .await?;
            all.extend(page.data);
            // Only the query is taken from the answer, not the host: the key goes to Stripe alone.
            query = page.next_page_url.and_then(|url| Some(url.split_once('?')?.1.to_owned()));
        }
        Ok(all)
    }

    /// Creates or changes. Whoever does it again reads first what is there.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &impl Serialize,
    ) -> Result<T, AccountError> {
        self.send(|| RequestBuilder::new(StripeMethod::Post, path).form(form)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<(), AccountError> {
        let request = || RequestBuilder::new(StripeMethod::Delete, path);
        self.send::<serde_json::Value>(request).await.map(drop)
    }

    /// Makes one of the library's typed requests.
    pub async fn call<T: DeserializeOwned>(
        &self,
        request: &impl StripeRequest,
    ) -> Result<T, AccountError> {
        self.send(|| request.build()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, AccountError> {
        let json = self.json(request).await?;
        serde_json::from_str(&json).map_err(|error| AccountError::Unreadable(error.to_string()))
    }

    /// Sends a request, and returns the answer's JSON. What changes something has an idempotency key
    /// of its own, so it is safe to repeat.
    async fn json(&self, request: impl Fn() -> RequestBuilder) -> Result<String, AccountError> {
        let key = match request().method {
            StripeMethod::Post => Some(format!("coursegate-{}", Uuid::new_v4())),
            StripeMethod::Get | StripeMethod::Delete => None,
        };
        Ok(self.0.send(request, key.as_deref()).await?)
    }
}

impl From<CallError> for AccountError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::InvalidKey | CallError::Refused(Refusal { status: 401, .. }) => {
                Self::UnknownKey
            }
            CallError::Refused(Refusal { status, code, message, .. }) => {
                let message = message.map(|message| message.expose_secret().to_owned());
                let message = message.unwrap_or_else(|| "no reason given".to_owned());
                Self::Refused { status, code, message }
            }
            CallError::TimedOut => Self::Unreachable("no answer in time".to_owned()),
            CallError::Unreachable => Self::Unreachable("no answer".to_owned()),
            CallError::Invalid(reason) => Self::Unreadable(reason),
        }
    }
}
