//! Sign-in: an OpenID Connect issuer under `/local`, in place of a Cognito user pool.
//!
//! A learner is an email address and an opaque id that never changes. `POST /local/login` returns
//! tokens for curl; `page` is the same for people, with the link that an email would contain;
//! `sign_up` implements the calls of Cognito's API that create an account; `oauth` is how the site
//! gets tokens, and `refresh` how it renews them. `token` makes and signs them.

mod oauth;
mod page;
mod refresh;
mod sign_up;
mod token;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::observer::Observer;
use crate::state::{Entries, StateError};
use crate::{clock, random};
use oauth::{Authorization, Code};
use sign_up::Mail;
pub(crate) use sign_up::PATH as SIGN_UP;
pub(crate) use token::Key;
#[cfg(test)]
pub(crate) use token::generate;

/// The client whose tokens learners get.
pub(crate) const SITE_CLIENT: &str = "coursegate-site";
/// The client whose tokens services get.
pub(crate) const SERVICE_CLIENT: &str = "coursegate-service";

const LEARNER_SCOPE: &str = "openid coursegate/learn";
const SERVICE_SCOPE: &str = "coursegate/learners";
/// How long a link in an email works.
const LINK_SECONDS: u64 = 15 * 60;

/// The issuer. Clones share everything.
#[derive(Clone)]
pub(crate) struct SignIn {
    inner: Arc<Inner>,
}

struct Inner {
    /// The site's origin.
    site: String,
    issuer: String,
    key: Key,
    entries: Entries,
    observer: Observer,
    /// Held while an account or a session is read and then written.
    writing: Mutex<()>,
    /// The latest e-mails with a code, newest last.
    mails: Mutex<Vec<Mail>>,
    /// Sign-in links that were not used yet.
    links: Mutex<BTreeMap<String, Link>>,
    /// Codes that the site has not exchanged for tokens yet.
    codes: Mutex<BTreeMap<String, Code>>,
}

struct Link {
    email: String,
    /// The site's request, if the site led here.
    authorization: Option<Authorization>,
    expires_at: u64,
}

/// A learner who has signed in before.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Learner {
    id: String,
    email: String,
}

/// Why sign-in can't start.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Its state can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no usable signing key.
    #[error("sign-in has no signing key: {0}")]
    Key(String),
}

/// Why a sign-in failed.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("the body is not the expected JSON: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("{0:?} is not an email address")]
    NoAddress(String),
    #[error("a client_id is 1 to 64 letters, digits, - or _")]
    NoClient,
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the token can't be signed: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    id_token: String,
    token_type: &'static str,
    expires_in: u64,
    learner: String,
}

impl SignIn {
    /// The issuer of this name for the site at this origin, with its key from the last run.
    pub(crate) fn open(
        site: &str,
        issuer: &str,
        entries: Entries,
        observer: Observer,
    ) -> Result<SignIn, SignInError> {
        let key = match entries.get::<String>("key", "rs256")? {
            Some(text) => text,
            None => entries.get_or_put("key", "rs256", token::generate()?)?,
        };
        let inner = Inner {
            site: site.to_owned(),
            issuer: issuer.to_owned(),
            key: Key::read(&key)?,
            entries,
            observer,
            writing: Mutex::default(),
            mails: Mutex::default(),
            links: Mutex::default(),
            codes: Mutex::default(),
        };
        Ok(SignIn { inner: Arc::new(inner) })
    }

    /// The public keys.
    pub(crate) fn keys(&self) -> JwkSet {
        self.inner.key.public()
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/local/.well-known/openid-configuration", get(configuration))
            .route("/local/.well-known/jwks.json", get(jwks))
            .route("/local/login", post(login))
            .route("/local/service-token", post(service_token))
            .route("/local/sign-in", get(page::form).post(page::mail_for_a_shell))
            .route("/local/sign-in/{code}", get(page::open))
            .route("/local/mail", get(page::mails))
            .route(sign_up::PATH, post(sign_up::call))
            .route("/local/authorize", get(oauth::authorize).post(oauth::authorize_by_mail))
            .route("/local/token", post(oauth::token))
            .route("/local/revoke", post(oauth::revoke))
            .route("/local/logout", get(oauth::logout))
            .with_state(self)
    }

    fn sign_in(&self, email: &str, scope: &str) -> Result<Tokens, LoginError> {
        let name = normalized(email)
            .ok_or_else(|| LoginError::NoAddress(email.chars().take(254).collect()))?;
        let learner = Learner { id: random::uuid(), email: name.clone() };
        let learner: Learner = self.inner.entries.get_or_put("learner", &name, learner)?;
        let now = clock::now().as_secs();
        let Inner { issuer, key, .. } = &*self.inner;
        Ok(Tokens {
            access_token: key.access_token(issuer, &learner.id, SITE_CLIENT, scope, now)?,
            id_token: key.id_token(issuer, &learner.id, SITE_CLIENT, &learner.email, now)?,
            token_type: "Bearer",
            expires_in: token::LIFETIME_SECONDS,
            learner: learner.id,
        })
    }

    /// Makes a link that signs this address in, once.
    fn make_link(
        &self,
        email: &str,
        authorization: Option<Authorization>,
    ) -> Result<String, LoginError> {
        // An invalid address is refused before the email, not after it.
        self.sign_in(email, LEARNER_SCOPE)?;
        let code = random::token::<16>();
        let now = clock::now().as_secs();
        let expires_at = now.saturating_add(LINK_SECONDS);
        let link = Link { email: email.to_owned(), authorization, expires_at };
        let mut links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.expires_at > now);
        links.insert(code.clone(), link);
        Ok(format!("{}/sign-in/{code}", self.inner.issuer))
    }

    /// The learner of this link. It works once.
    fn take_link(&self, code: &str) -> Option<Link> {
        let mut links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.remove(code)?;
        (link.expires_at > clock::now().as_secs()).then_some(link)
    }
}

/// The address by which an account is found; none if it is no address.
fn normalized(email: &str) -> Option<String> {
    let address = email.trim();
    let is_address = address.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    let is_plain = !address.chars().any(|c| c.is_whitespace() || c.is_control());
    (is_address && is_plain && address.len() <= 254).then(|| address.to_lowercase())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    email: String,
}

/// Returns tokens; only the access token for `Accept: text/plain`, which suits a shell.
async fn login(State(sign_in): State<SignIn>, headers: HeaderMap, body: Bytes) -> Response {
    let request = serde_json::from_slice::<LoginRequest>(&body).map_err(LoginError::from);
    match request.and_then(|request| sign_in.sign_in(&request.email, LEARNER_SCOPE)) {
        Ok(tokens) => answer(&headers, &tokens.access_token, &tokens),
        Err(error) => refuse(&error),
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ServiceTokenRequest {
    client_id: Option<String>,
}

#[derive(Serialize)]
struct ServiceToken {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
}

async fn service_token(State(sign_in): State<SignIn>, headers: HeaderMap, body: Bytes) -> Response {
    match sign_in.service_token(&body) {
        Ok(token) => answer(&headers, &token.access_token, &token),
        Err(error) => refuse(&error),
    }
}

impl SignIn {
    fn service_token(&self, body: &[u8]) -> Result<ServiceToken, LoginError> {
        let request = if body.is_empty() {
            ServiceTokenRequest::default()
        } else {
            serde_json::from_slice(body)?
        };
        let subject = request.client_id.unwrap_or_else(|| SERVICE_CLIENT.to_owned());
        let is_plain = subject.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        if !is_plain || !(1..=64).contains(&subject.len()) {
            return Err(LoginError::NoClient);
        }
        let Inner { issuer, key, .. } = &*self.inner;
        let now = clock::now().as_secs();
        Ok(ServiceToken {
            access_token: key.access_token(issuer, &subject, SERVICE_CLIENT, SERVICE_SCOPE, now)?,
            token_type: "Bearer",
            expires_in: token::LIFETIME_SECONDS,
        })
    }
}

fn answer(headers: &HeaderMap, token: &str, body: &impl Serialize) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if accept.is_some_and(|accept| accept.starts_with("text/plain")) {
        return (no_store, token.to_owned()).into_response();
    }
    (no_store, axum::Json(body)).into_response()
}

fn refuse(error: &LoginError) -> Response {
    let status = match error {
        LoginError::Malformed(error) if error.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
        LoginError::Malformed(_) => StatusCode::BAD_REQUEST,
        LoginError::NoAddress(_) | LoginError::NoClient => StatusCode::UNPROCESSABLE_ENTITY,
        LoginError::State(_) | LoginError::Token(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, axum::Json(json!({"message": error.to_string()}))).into_response()
}

async fn configuration(State(sign_in): State<SignIn>) -> Response {
    let issuer = &sign_in.inner.issuer;
    axum::Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "end_session_endpoint": format!("{issuer}/logout"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "coursegate/learn", "coursegate/learners"],
    }))
    .into_response()
}

async fn jwks(State(sign_in): State<SignIn>) -> Response {
    axum::Json(sign_in.keys()).into_response()
}
