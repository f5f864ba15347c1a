//! OAuth 2 for the site, as Cognito's pages do it: a code for a learner who has opened their link,
//! tokens for the code, only for the page that requested it (PKCE, RFC 7636), new tokens for a
//! refresh token, and revocation (RFC 7009).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::{self, Address};
use super::refresh::Refreshed;
use super::{LoginError, SITE_CLIENT, SignIn};
use crate::pages;
use crate::{clock, percent, random};

/// How long a code works. The page exchanges it at once.
const CODE_SECONDS: u64 = 60;

/// The scopes that the site may request, as the template's client.
const SCOPES: [&str; 3] = ["openid", "email", "coursegate/learn"];

/// A valid request of the site's.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    redirect_uri: String,
    state: Option<String>,
    scope: String,
    challenge: String,
}

/// What a code grants.
pub(super) struct Code {
    email: String,
    authorization: Authorization,
    expires_at: u64,
}

/// Why the site gets no code.
#[derive(Debug)]
enum Refusal {
    /// The request is not provably the site's, so there is no redirect back to it.
    NotTheSite(&'static str),
    /// The site is told, with RFC 6749's error names.
    Told { authorization: Authorization, error: &'static str },
}

impl Authorization {
    /// The redirect with these query parameters.
    fn back(&self, parameters: &[(&str, &str)]) -> Response {
        let state = self.state.iter().map(|state| ("state", state.as_str()));
        let query: Vec<String> = parameters
            .iter()
            .copied()
            .chain(state)
            .map(|(name, value)| format!("{name}={}", percent::encode(value)))
            .collect();
        let location = format!("{}?{}", self.redirect_uri, query.join("&"));
        let no_store = (header::CACHE_CONTROL, "no-store".to_owned());
        (StatusCode::SEE_OTHER, [(header::LOCATION, location), no_store]).into_response()
    }
}

impl Refusal {
    fn response(&self) -> Response {
        match self {
            Refusal::NotTheSite(why) => not_the_site(why),
            Refusal::Told { authorization, error } => authorization.back(&[("error", error)]),
        }
    }
}

impl SignIn {
    /// The only redirect URI: the site's own.
    fn callback(&self) -> String {
        format!("{}/", self.inner.site)
    }

    fn authorization(&self, query: AuthorizeQuery) -> Result<Authorization, Refusal> {
        let query = query.map(|Query(query)| query).unwrap_or_default();
        let parameter = |name: &str| query.get(name).map_or("", String::as_str);
        if parameter("client_id") != SITE_CLIENT {
            return Err(Refusal::NotTheSite("The client_id is not the site's."));
        }
        if parameter("redirect_uri") != self.callback() {
            return Err(Refusal::NotTheSite("The redirect_uri is not the site's."));
        }
        let scope = match parameter("scope") {
            "" => SCOPES.join(" "),
            scope => scope.to_owned(),
        };
        let authorization = Authorization {
            redirect_uri: self.callback(),
            state: query.get("state").cloned(),
            challenge: parameter("code_challenge").to_owned(),
            scope,
        };
        let error = if parameter("response_type") != "code" {
            "unsupported_response_type"
        } else if !authorization.scope.split(' ').all(|scope| SCOPES.contains(&scope)) {
            "invalid_scope"
        } else if parameter("code_challenge_method") != "S256"
            || authorization.challenge.len() != 43
        {
            "invalid_request"
        } else {
            return Ok(authorization);
        };
        Err(Refusal::Told { authorization, error })
    }

    /// Redirects a learner who has opened their link back to the site.
    pub(super) fn redirect_back(&self, email: String, authorization: Authorization) -> Response {
        let code = random::token::<16>();
        let response = authorization.back(&[("code", &code)]);
        let now = clock::now().as_secs();
        let expires_at = now.saturating_add(CODE_SECONDS);
        let mut codes = self.inner.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.expires_at > now);
        codes.insert(code, Code { email, authorization, expires_at });
        response
    }

    /// The learner and scope of a code. It works once, even if it is then refused.
    fn take_code(&self, request: &TokenRequest) -> Option<(String, String)> {
        let mut codes = self.inner.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let Code { email, authorization, expires_at } = codes.remove(&request.code)?;
        let proof = digest(&SHA256, request.code_verifier.as_bytes());
        let is_theirs = request.redirect_uri == authorization.redirect_uri
            && BASE64_URL_SAFE_NO_PAD.encode(proof) == authorization.challenge
            && expires_at > clock::now().as_secs();
        is_theirs.then_some((email, authorization.scope))
    }
}

type AuthorizeQuery = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// Asks for an email address.
pub(super) async fn authorize(
    State(sign_in): State<SignIn>,
    RawQuery(raw): RawQuery,
    query: AuthorizeQuery,
) -> Response {
    // The address to begin with, which the learner may change.
    let hint = query.as_ref().ok().and_then(|Query(query)| query.get("login_hint").cloned());
    match sign_in.authorization(query) {
        Ok(_authorization) => {
            page::with_form(StatusCode::OK, &action(raw), &hint.unwrap_or_default(), "")
        }
        Err(refusal) => refusal.response(),
    }
}

/// Shows the email's content, whose link leads back to the site.
pub(super) async fn authorize_by_mail(
    State(sign_in): State<SignIn>,
    RawQuery(raw): RawQuery,
    query: AuthorizeQuery,
    address: Result<Form<Address>, FormRejection>,
) -> Response {
    match sign_in.authorization(query) {
        Ok(authorization) => page::mail(&sign_in, &action(raw), address, Some(authorization)),
        Err(refusal) => refusal.response(),
    }
}

fn action(raw_query: Option<String>) -> String {
    format!("/local/authorize?{}", raw_query.unwrap_or_default())
}

fn not_the_site(why: &str) -> Response {
    pages::page(StatusCode::BAD_REQUEST, "Invalid request", &format!("<p>{why}</p>"))
}

/// The form of RFC 6749, sections 4.1.3 and 6. Missing fields are empty, and refused as such.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TokenRequest {
    grant_type: String,
    client_id: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
    refresh_token: String,
}

pub(super) async fn token(
    State(sign_in): State<SignIn>,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    let Ok(Form(request)) = form else { return refused("invalid_request") };
    if !["authorization_code", "refresh_token"].contains(&request.grant_type.as_str()) {
        return refused("unsupported_grant_type");
    }
    if request.client_id != SITE_CLIENT {
        return refused("invalid_client");
    }
    match sign_in.tokens(&request) {
        Ok(Some(tokens)) => (NO_STORE, axum::Json(tokens)).into_response(),
        Ok(None) => refused("invalid_grant"),
        Err(error) => super::refuse(&error),
    }
}

impl SignIn {
    /// The token response; none if the code or the refresh token grants nothing.
    fn tokens(&self, request: &TokenRequest) -> Result<Option<Value>, LoginError> {
        let now = clock::now().as_secs();
        let granted = if request.grant_type == "refresh_token" {
            self.refresh(&request.refresh_token, now)?
        } else if let Some((email, scope)) = self.take_code(request) {
            let token = self.begin_session(email.clone(), scope.clone(), now)?;
            Some(Refreshed { email, scope, token })
        } else {
            None
        };
        let Some(Refreshed { email, scope, token }) = granted else { return Ok(None) };
        let tokens = self.sign_in(&email, &scope)?;
        Ok(Some(json!({
            "access_token": tokens.access_token,
            "id_token": tokens.id_token,
            "refresh_token": token,
            "token_type": tokens.token_type,
            "expires_in": tokens.expires_in,
        })))
    }
}

/// The form of RFC 7009, section 2.1.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RevocationRequest {
    client_id: String,
    token: String,
}

/// Ends the session of a refresh token. A token that doesn't work any more is revoked already.
pub(super) async fn revoke(
    State(sign_in): State<SignIn>,
    form: Result<Form<RevocationRequest>, FormRejection>,
) -> Response {
    let Ok(Form(request)) = form else { return refused("invalid_request") };
    if request.client_id != SITE_CLIENT {
        return refused("invalid_client");
    }
    if request.token.is_empty() {
        return refused("invalid_request");
    }
    match sign_in.end_session(&request.token) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => super::refuse(&error.into()),
    }
}

const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

fn refused(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, NO_STORE, axum::Json(json!({ "error": error }))).into_response()
}

/// Redirects back to the site. There is no session to end: nobody stays signed in on these pages.
pub(super) async fn logout(State(sign_in): State<SignIn>, query: AuthorizeQuery) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let callback = sign_in.callback();
    let is_the_sites = query.get("client_id").is_some_and(|client| client == SITE_CLIENT)
        && query.get("logout_uri") == Some(&callback);
    if !is_the_sites {
        return not_the_site("The client_id or the logout_uri is not the site's.");
    }
    (StatusCode::FOUND, [(header::LOCATION, callback)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Observer;
    use crate::state::Entries;

    #[test]
    fn a_code_works_for_a_minute() {
        let entries = Entries::open(None).unwrap();
        let sign_in = SignIn::open("http://site", "http://issuer", entries, Observer::new(|_| ()));
        let sign_in = sign_in.unwrap();
        let verifier = "v".repeat(43);
        let authorization = Authorization {
            redirect_uri: sign_in.callback(),
            state: None,
            scope: SCOPES.join(" "),
            challenge: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())),
        };
        let takes = |seconds_later: u64| {
            sign_in.redirect_back("ada@example.com".to_owned(), authorization.clone());
            let mut codes = sign_in.inner.codes.lock().unwrap();
            let (code, mut kept) = codes.pop_first().unwrap();
            kept.expires_at -= seconds_later;
            codes.insert(code.clone(), kept);
            drop(codes);
            let request = TokenRequest {
                code,
                redirect_uri: sign_in.callback(),
                code_verifier: verifier.clone(),
                ..TokenRequest::default()
            };
            sign_in.take_code(&request).is_some()
        };
        assert!(takes(0) && takes(50));
        assert!(!takes(60) && !takes(3600));
    }
}
