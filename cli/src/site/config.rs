//! `config.json`: the site's configuration for its deployment.

use serde::Deserialize;
use serde_json::json;

use super::CONFIG;
use crate::deployment::{Cloud, Deployment, SignIn, UserPool};
use crate::issuer::{Discovery, IssuerError, OFFLINE, PublicClient, discover, origin, read};

/// What a learner's token has to have, and the e-mail that the site greets with.
const SCOPE: &str = "openid email coursegate/learn";

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
    /// The issuer's configuration can't be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

/// Where learners sign in and out, and as whose client.
struct Endpoints {
    authorize: String,
    token: String,
    revoke: Option<String>,
    logout: String,
    client_id: String,
    scope: String,
    /// Cognito's API, which creates accounts without a password.
    sign_up: Option<String>,
    /// The page on which a learner adds a passkey.
    passkeys: Option<String>,
}

/// The sign-in of a file that was uploaded, as far as the issuer sees it.
#[derive(Deserialize)]
pub(crate) struct SignsIn {
    pub(crate) token: String,
    client_id: String,
    redirect: String,
}

#[derive(Deserialize)]
struct Uploaded {
    sign_in: SignsIn,
}

impl SignsIn {
    /// Reads the file of the site at this URL, as its page does; or says why it can't be read.
    pub(crate) async fn read(site: &str) -> Result<Self, String> {
        let url = format!("{site}/{CONFIG}");
        let uploaded = read::<Uploaded>(&url).await;
        Ok(uploaded.map_err(|reason| format!("{url} can't be read: {reason}"))?.sign_in)
    }

    /// The site's client.
    pub(crate) fn client(&self) -> PublicClient<'_> {
        PublicClient { id: &self.client_id, redirect: &self.redirect }
    }
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
        (SignIn::UserPool(_), Some(_)) => return Err(ConfigError::KnownClient),
        (SignIn::UserPool(UserPool { issuer, url, client_id, .. }), None) => Endpoints {
            authorize: format!("{url}/oauth2/authorize"),
            token: format!("{url}/oauth2/token"),
            revoke: Some(format!("{url}/oauth2/revoke")),
            logout: format!("{url}/logout"),
            client_id: client_id.clone(),
            // Cognito sends refresh tokens without being asked.
            scope: SCOPE.to_owned(),
            sign_up: origin(issuer).map(|api| format!("{api}/")),
            passkeys: Some(format!("{url}/passkeys/add")),
        },
        (SignIn::Issuer { issuer, .. }, None) => {
            return Err(ConfigError::NoClient { issuer: issuer.clone(), redirect });
        }
        (SignIn::Issuer { issuer, token_origin }, Some(client_id)) => {
            let found = discover(issuer).await?;
            note(&found, token_origin.as_deref(), tell);
            let is_offline = found.lists_scope(OFFLINE);
            Endpoints {
                authorize: found.authorization_endpoint,
                token: found.token_endpoint,
                revoke: found.revocation_endpoint,
                logout: found.end_session_endpoint.unwrap_or_else(|| redirect.clone()),
                client_id: client_id.to_owned(),
                scope: if is_offline { format!("{SCOPE} {OFFLINE}") } else { SCOPE.to_owned() },
                sign_up: None,
                passkeys: None,
            }
        }
    };
    let config = json!({
        "api": "/api",
        "sign_in": {
            "authorize": endpoints.authorize,
            "token": endpoints.token,
            "revoke": endpoints.revoke,
            "logout": endpoints.logout,
            "client_id": endpoints.client_id,
            "scope": endpoints.scope,
            "redirect": redirect,
            "sign_up": endpoints.sign_up,
            "passkeys": endpoints.passkeys,
        },
        "embed_origins": cloud.site.embed_origins,
    });
    Ok(format!("{config:#}\n").into_bytes())
}

/// Reports what works differently than with the stack's own user pool.
fn note(found: &Discovery, token_origin: Option<&str>, tell: &mut impl FnMut(String)) {
    if let Some(token) = found.blocked_token_origin(token_origin) {
        tell(format!(
            "! tokens come from {token}, where the site's pages may not fetch any: deploy the \
             stack with JwtTokenOrigin={token}"
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
