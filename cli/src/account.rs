//! The Stripe account as its operator reaches it: any request, small shapes of one's own for the
//! answers, and errors that say what Stripe said.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::domain::decide::Mode;
use shared::stripe::api::mode_of_key;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError};
use stripe_client_core::{RequestBuilder, StripeMethod};

/// The version of Stripe's API that this program speaks, and for which it registers its endpoint.
pub const API_VERSION: stripe_shared::ApiVersion = stripe_shared::version::VERSION;

const TIMEOUT: Duration = Duration::from_secs(20);
const STRIPE: &str = "https://api.stripe.com";
/// The most that Stripe lists at once: <https://docs.stripe.com/api/pagination>
const PAGE_SIZE: u32 = 100;

/// Why Stripe did not do as it was asked.
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
    /// It would be sent to somebody else.
    #[error(
        "this deployment is live, and its StripeApiUrl is not Stripe's: the live key would be sent \
         there; deploy with StripeApiUrl empty"
    )]
    NotStripe,
    /// It is of no account.
    #[error(
        "Stripe does not know this key: it is mistyped, deleted, rolled or expired; take \
         one from Stripe's Dashboard (Developers, API keys)"
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
            "{found}, and this deployment is {wanted}: take the key from the other side of the \
             Dashboard's sandbox switch"
        ),
        None => format!(
            "no secret or restricted key: create a {wanted} one in Stripe's Dashboard \
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
pub struct Account {
    client: Client,
    /// For `/v2`, which the client doesn't speak.
    http: reqwest::Client,
    url: String,
    key: SecretString,
}

/// A page of a list under `/v2`.
#[derive(Deserialize)]
struct PageV2<T> {
    data: Vec<T>,
    next_page_url: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: Option<String>,
    message: Option<String>,
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
    /// It.
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
    starting_after: Option<String>,
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
        let mut builder = ClientBuilder::new(key.expose_secret()).timeout(TIMEOUT);
        if let Some(url) = url {
            builder = builder.url(url);
        }
        let client = builder.build().map_err(said)?;
        let http =
            reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|e| unreached(&e))?;
        let url = url.unwrap_or(STRIPE).trim_end_matches('/').to_owned();
        Ok(Self { client, http, url, key: key.clone() })
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, AccountError> {
        let request = RequestBuilder::new(StripeMethod::Get, path).query(query);
        self.send(request, RequestStrategy::ExponentialBackoff(3)).await
    }

    /// Reads all pages of a list.
    pub async fn list<T: DeserializeOwned + Listed>(
        &self,
        path: &str,
        filters: &impl Serialize,
    ) -> Result<Vec<T>, AccountError> {
        let mut all = Vec::new();
        let mut starting_after = None;
        loop {
            let query = PageQuery { filters, limit: PAGE_SIZE, starting_after };
            let page: Page<T> = self.get(path, &query).await?;
            starting_after = page.data.last().map(|last| last.id().to_owned());
            all.extend(page.data);
            if !page.has_more || starting_after.is_none() {
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
            let request = self.http.get(format!("{}/v2{path}?{this}", self.url));
            let request = request.bearer_auth(self.key.expose_secret());
            let request = request.header("stripe-version", API_VERSION.as_str());
            let answer = request.send().await.map_err(|error| unreached(&error))?;
            let status = answer.status().as_u16();
            let body = answer.text().await.map_err(|error| unreached(&error))?;
            if status != 200 {
                return Err(refused(status, &body));
            }
            let page: PageV2<T> = serde_json::from_str(&body)
                .map_err(|error| AccountError::Unreadable(error.to_string()))?;
            all.extend(page.data);
            // Only what is asked is taken from the answer, not whom: the key goes to Stripe alone.
            query = page.next_page_url.and_then(|url| Some(url.split_once('?')?.1.to_owned()));
        }
        Ok(all)
    }

    /// Creates or changes. Whoever repeats it looks first what is there.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &impl Serialize,
    ) -> Result<T, AccountError> {
        let key = IdempotencyKey::new(fresh_idempotency_key()?)
            .map_err(|error| AccountError::Unreadable(error.to_string()))?;
        let request = RequestBuilder::new(StripeMethod::Post, path).form(form);
        self.send(request, RequestStrategy::Idempotent(key)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<(), AccountError> {
        let request = RequestBuilder::new(StripeMethod::Delete, path);
        self.send::<serde_json::Value>(request, RequestStrategy::Once).await.map(drop)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        strategy: RequestStrategy,
    ) -> Result<T, AccountError> {
        let answer = request
            .customize::<miniserde::json::Value>()
            .request_strategy(strategy)
            .send(&self.client)
            .await
            .map_err(said)?;
        serde_json::from_str(&miniserde::json::to_string(&answer))
            .map_err(|error| AccountError::Unreadable(error.to_string()))
    }
}

/// A key under which a request counts as new.
fn fresh_idempotency_key() -> Result<String, AccountError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Unreadable(error.to_string()))?;
    Ok(format!("coursegate-{:032x}", u128::from_ne_bytes(bytes)))
}

fn unreached(error: &reqwest::Error) -> AccountError {
    // Without the address, which may name what was asked.
    AccountError::Unreachable(
        if error.is_timeout() { "no answer in time" } else { "no answer" }.to_owned(),
    )
}

fn refused(status: u16, body: &str) -> AccountError {
    let error = serde_json::from_str(body).map(|body: ErrorBody| body.error).ok();
    let (code, message) = error.map_or((None, None), |error| (error.code, error.message));
    match status {
        401 => AccountError::UnknownKey,
        _ => AccountError::Refused {
            status,
            code,
            message: message.unwrap_or_else(|| "no reason given".to_owned()),
        },
    }
}

fn said(error: StripeError) -> AccountError {
    match error {
        StripeError::Stripe(_, 401) => AccountError::UnknownKey,
        StripeError::Stripe(error, status) => AccountError::Refused {
            status,
            code: error.code.as_ref().map(|code| code.as_str().to_owned()),
            message: error.message.unwrap_or_else(|| "no reason given".to_owned()),
        },
        StripeError::JSONDeserialize(error) | StripeError::ConfigError(error) => {
            AccountError::Unreadable(error)
        }
        StripeError::ClientError(error) => AccountError::Unreachable(error),
        StripeError::Timeout => AccountError::Unreachable("no answer in time".to_owned()),
    }
}
