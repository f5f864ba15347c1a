//! `config.json`: the site's configuration for its deployment.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use shared::telemetry::Chain;

use crate::deployment::{Cloud, Deployment, SignIn};

/// What a learner's token has to have, and the e-mail that the site greets with.
const SCOPE: &str = "openid email coursegate/learn";
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why the site's sign-in configuration can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The site's client id is missing.
    #[error(
        "learners sign in at {issuer}, which is not the stack's: name the site's client there with \
         --client-id (public, with PKCE, leading back to {redirect})"
    )]
    NoClient {
        /// Where learners sign in.
        issuer: String,
        /// Where the sign-in leads back to.
        redirect: String,
    },
    /// The client is known already.
    #[error(
        "learners sign in at the stack's own user pool, whose client is known: leave out \
         --client-id"
    )]
    KnownClient,
    /// The issuer does not say where its endpoints are.
    #[error(
        "{url} does not say where learners sign in: {reason}; check that JwtIssuer is right, \
         then run it again"
    )]
    Undiscovered {
        /// Where that should be said.
        url: String,
        /// Why it is not.
        reason: String,
    },
    /// Its tokens would be refused.
    #[error(
        "{url} is of the issuer {found}, and the stack takes tokens of {expected} only: deploy \
         with JwtIssuer={found}"
    )]
    OtherIssuer {
        /// What was read.
        url: String,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
}

/// What an issuer says of itself: <https://openid.net/specs/openid-connect-discovery-1_0.html>.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    end_session_endpoint: Option<String>,
}

/// Where learners sign in and out, and as whose client.
struct Endpoints {
    authorize: String,
    token: String,
    logout: String,
    client_id: String,
}

/// The file. Reports what the author should know about it.
pub(super) async fn write(
    deployment: &Deployment,
    cloud: &Cloud,
    client_id: Option<&str>,
    tell: &mut impl FnMut(String),
) -> Result<Vec<u8>, ConfigError> {
    let redirect = format!("{}/", deployment.site_origin);
    let endpoints = match (&cloud.site.sign_in, client_id) {
        (SignIn::UserPool { .. }, Some(_)) => return Err(ConfigError::KnownClient),
        (SignIn::UserPool { url, client_id }, None) => Endpoints {
            authorize: format!("{url}/oauth2/authorize"),
            token: format!("{url}/oauth2/token"),
            logout: format!("{url}/logout"),
            client_id: client_id.clone(),
        },
        (SignIn::Issuer(issuer), None) => {
            return Err(ConfigError::NoClient { issuer: issuer.clone(), redirect });
        }
        (SignIn::Issuer(issuer), Some(client_id)) => {
            let found = discover(issuer).await?;
            note(&found, tell);
            Endpoints {
                authorize: found.authorization_endpoint,
                token: found.token_endpoint,
                logout: found.end_session_endpoint.unwrap_or_else(|| redirect.clone()),
                client_id: client_id.to_owned(),
            }
        }
    };
    let Endpoints { authorize, token, logout, client_id } = endpoints;
    let config = json!({
        "api": "/api",
        "sign_in": {
            "authorize": authorize,
            "token": token,
            "logout": logout,
            "client_id": client_id,
            "scope": SCOPE,
            "redirect": redirect,
        },
        "embed_origins": cloud.site.embed_origins,
    });
    Ok(format!("{config:#}\n").into_bytes())
}

async fn discover(issuer: &str) -> Result<Discovery, ConfigError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let undiscovered = |reason: String| ConfigError::Undiscovered { url: url.clone(), reason };
    let failed = |error: reqwest::Error| undiscovered(Chain(&error).to_string());
    let http = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(failed)?;
    let answer = http.get(&url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(undiscovered(format!("it answers {}", answer.status())));
    }
    let text = answer.text().await.map_err(failed)?;
    let found: Discovery =
        serde_json::from_str(&text).map_err(|error| undiscovered(error.to_string()))?;
    if found.issuer == issuer {
        Ok(found)
    } else {
        let (found, expected) = (found.issuer, issuer.to_owned());
        Err(ConfigError::OtherIssuer { url, found, expected })
    }
}

/// What works otherwise than with the stack's own user pool.
fn note(found: &Discovery, tell: &mut impl FnMut(String)) {
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin().ascii_serialization());
    let token = origin(&found.token_endpoint).unwrap_or_default();
    if origin(&found.issuer).as_ref() != Some(&token) {
        tell(format!(
            "! tokens come from {token}, which is not the issuer's host, and the site's pages may \
             not ask it: add it to connect-src in SiteHeaders of template.yaml, and deploy that"
        ));
    }
    if found.end_session_endpoint.is_none() {
        tell(format!(
            "! {} has no end_session_endpoint: signing out ends the session on the site, not at \
             the issuer",
            found.issuer
        ));
    }
}
