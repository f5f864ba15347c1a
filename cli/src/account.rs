//! The Stripe account as its operator reaches it: any request, small shapes of one's own for the
//! answers, and errors that say what Stripe said.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::domain::decide::Mode;
use shared::stripe::api::mode_of_key;
use shared::stripe::client::{Answer, Client, NoAnswer, UnsendableKey, pauses};
use stripe_client_core::{ApiVersion, IdempotencyKey, RequestBuilder, StripeMethod, VERSION};
use uuid::Uuid;

/// The version of Stripe's API that this program speaks, and for which it registers its endpoint.
pub const API_VERSION: ApiVersion = VERSION;

const TIMEOUT: Duration = Duration::from_secs(20);
/// The pauses of a request that changes something: the operator runs the command again instead.
const ONCE: std::iter::Empty<Duration> = std::iter::empty();
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
    client: Arc<Client>,
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
        let client = Client::new(url, key, TIMEOUT);
        let client = client.map_err(|UnsendableKey| AccountError::UnknownKey)?;
        Ok(Self { client: Arc::new(client) })
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, AccountError> {
        self.send(|| RequestBuilder::new(StripeMethod::Get, path).query(query), None, pauses())
            .await
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
            let request = || RequestBuilder {
                query: Some(this.clone()),
                ..RequestBuilder::new(StripeMethod::Get, format!("/v2{path}"))
            };
            let page: PageV2<T> = self.send(request, None, pauses()).await?;
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
        let key = IdempotencyKey::new(format!("coursegate-{}", Uuid::new_v4()))
            .map_err(|error| AccountError::Unreadable(error.to_string()))?;
        let request = || RequestBuilder::new(StripeMethod::Post, path).form(form);
        self.send(request, Some(&key), ONCE).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<(), AccountError> {
        let request = || RequestBuilder::new(StripeMethod::Delete, path);
        self.send::<serde_json::Value>(request, None, ONCE).await.map(drop)
    }

    /// Sends a request, and again after each pause where that may help.
    async fn send<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
        key: Option<&IdempotencyKey>,
        mut pauses: impl Iterator<Item = Duration>,
    ) -> Result<T, AccountError> {
        loop {
            let answer = self.client.exchange(request(), key).await;
            match pauses.next().filter(|_| may_help(&answer)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return read(answer),
            }
        }
    }
}

/// Whether another attempt may help: what Stripe says of that, or else what the status means.
/// <https://docs.stripe.com/error-low-level>
fn may_help(answer: &Result<Answer, NoAnswer>) -> bool {
    match answer {
        Ok(Answer { status, should_retry, .. }) => {
            should_retry.unwrap_or(matches!(status.as_u16(), 409 | 429 | 500..))
        }
        Err(NoAnswer::InTime | NoAnswer::AtAll) => true,
        Err(NoAnswer::Unsendable(_)) => false,
    }
}

fn read<T: DeserializeOwned>(answer: Result<Answer, NoAnswer>) -> Result<T, AccountError> {
    let Answer { status, text, .. } = answer.map_err(|error| match error {
        NoAnswer::InTime | NoAnswer::AtAll => AccountError::Unreachable(error.to_string()),
        NoAnswer::Unsendable(why) => AccountError::Unreadable(why),
    })?;
    let text = text.unwrap_or_default();
    if !status.is_success() {
        return Err(refused(status.as_u16(), &text));
    }
    serde_json::from_str(&text).map_err(|error| AccountError::Unreadable(error.to_string()))
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
