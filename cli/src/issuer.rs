//! An identity provider of the author's own, as its OpenID Connect configuration describes it:
//! <https://openid.net/specs/openid-connect-discovery-1_0.html>.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::telemetry::Chain;

use crate::signed::segment;

const TIMEOUT: Duration = Duration::from_secs(15);

/// Why an issuer's configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It can't be read.
    #[error(
        "{url} does not say where learners sign in: {reason}; check that JwtIssuer is right, \
         then run it again"
    )]
    Undiscovered {
        /// The configuration's address.
        url: String,
        /// Why it can't be read.
        reason: String,
    },
    /// It names another issuer, whose tokens the API would refuse.
    #[error(
        "{url} names the issuer {found}, but the stack accepts only tokens of {expected}: deploy \
         with JwtIssuer={found}"
    )]
    OtherIssuer {
        /// The configuration's address.
        url: String,
        /// The issuer that it names.
        found: String,
        /// The stack's issuer.
        expected: String,
    },
}

/// An issuer's configuration, as far as it is needed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Discovery {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) revocation_endpoint: Option<String>,
    pub(crate) end_session_endpoint: Option<String>,
    jwks_uri: String,
    code_challenge_methods_supported: Option<Vec<String>>,
    grant_types_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
}

/// The scope that asks for a refresh token:
/// <https://openid.net/specs/openid-connect-core-1_0.html#OfflineAccess>.
pub(crate) const OFFLINE: &str = "offline_access";

/// The site's client at the issuer, as its page names itself.
pub(crate) struct PublicClient<'a> {
    pub(crate) id: &'a str,
    pub(crate) redirect: &'a str,
}

/// What the site's page asks for: <https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3>, with a
/// code and a verifier that nobody was given.
const TOKEN_REQUEST: &str = "grant_type=authorization_code&code=coursegate-doctor&code_verifier=\
                             coursegate-doctor-coursegate-doctor-coursegate-doctor";

/// <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>
#[derive(Deserialize, Default)]
struct TokenRefusal {
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<PublicKey>,
}

#[derive(Deserialize)]
struct PublicKey {
    kty: String,
}

/// The configuration of this issuer.
pub(crate) async fn discover(issuer: &str) -> Result<Discovery, IssuerError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let found: Discovery = match read(&url).await {
        Ok(found) => found,
        Err(reason) => return Err(IssuerError::Undiscovered { url, reason }),
    };
    if found.issuer == issuer {
        Ok(found)
    } else {
        let (found, expected) = (found.issuer, issuer.to_owned());
        Err(IssuerError::OtherIssuer { url, found, expected })
    }
}

/// The JSON at this URL; or why there is none.
pub(crate) async fn read<T: DeserializeOwned>(url: &str) -> Result<T, String> {
    let failed = |error: reqwest::Error| Chain(&error).to_string();
    let answer = http().map_err(failed)?.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let text = answer.text().await.map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn http() -> reqwest::Result<Client> {
    Client::builder().timeout(TIMEOUT).build()
}

/// The scheme, host and port of a URL as browsers write them, without a scheme's usual port.
pub(crate) fn origin(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.origin().ascii_serialization())
}

/// Whether the header `access-control-allow-origin` lets pages of this origin read an answer. A
/// browser compares them byte by byte: <https://fetch.spec.whatwg.org/#cors-check>.
fn lets_read(origin: &str, header: Option<&HeaderValue>) -> bool {
    header.is_some_and(|allowed| allowed == "*" || allowed == origin)
}

impl Discovery {
    /// The token endpoint's origin, if the stack's Content Security Policy doesn't let the site's
    /// pages fetch tokens there. The policy allows `allowed`, or the issuer's own origin.
    pub(crate) fn blocked_token_origin(&self, allowed: Option<&str>) -> Option<String> {
        let token = origin(&self.token_endpoint).unwrap_or_default();
        let allowed = origin(allowed.unwrap_or(&self.issuer));
        (allowed.as_deref() != Some(token.as_str())).then_some(token)
    }

    /// What keeps the site of this origin from signing learners in as this client, with what to do
    /// about it. Without a client, what depends on it is left out.
    pub(crate) async fn faults(
        &self,
        site: &str,
        token_origin: Option<&str>,
        client: Option<&PublicClient<'_>>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(token) = self.blocked_token_origin(token_origin) {
            faults.push(format!(
                "its tokens come from {token}, where the site's pages may not fetch any: deploy \
                 with JwtTokenOrigin={token}"
            ));
        }
        // An issuer need not list the methods; many don't.
        let methods = self.code_challenge_methods_supported.as_deref();
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            faults.push("it doesn't support PKCE with S256, which the site uses".to_owned());
        }
        faults.extend(self.key_fault().await);
        faults.extend(self.token_fault(site, client).await);
        faults
    }

    /// Whether the issuer lists this scope.
    pub(crate) fn lists_scope(&self, scope: &str) -> bool {
        self.scopes_supported.iter().flatten().any(|listed| listed == scope)
    }

    /// Whether the issuer lists its scopes without this one. It need not list all of them.
    pub(crate) fn hides_scope(&self, scope: &str) -> bool {
        self.scopes_supported.is_some() && !self.lists_scope(scope)
    }

    /// Whether the issuer doesn't say that it gives refresh tokens. It need not list its grants or
    /// scopes, and some give refresh tokens to clients that don't ask for them.
    pub(crate) fn hides_refresh_tokens(&self) -> bool {
        match &self.grant_types_supported {
            Some(grants) => !grants.iter().any(|grant| grant == "refresh_token"),
            None => self.hides_scope(OFFLINE),
        }
    }

    /// API Gateway verifies only RSA signatures:
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>.
    async fn key_fault(&self) -> Option<String> {
        let url = &self.jwks_uri;
        match read::<Keys>(url).await {
            Ok(Keys { keys }) if keys.iter().any(|key| key.kty == "RSA") => None,
            Ok(_) => Some(format!(
                "{url} has no RSA key, and API Gateway verifies no other signatures: let it sign \
                 access tokens with RS256"
            )),
            Err(reason) => Some(format!("its keys at {url} can't be read: {reason}")),
        }
    }

    /// The site's page exchanges the code itself, so the token endpoint has to know its client and
    /// allow its origin. Providers allow origins by client, some by its redirect, and some let
    /// every origin read that a client is unknown.
    async fn token_fault(&self, site: &str, client: Option<&PublicClient<'_>>) -> Option<String> {
        let (url, site) = (&self.token_endpoint, origin(site).unwrap_or_else(|| site.to_owned()));
        let client_fields = client.map(|PublicClient { id, redirect }| {
            format!("&client_id={}&redirect_uri={}", segment(id), segment(redirect))
        });
        let body = format!("{TOKEN_REQUEST}{}", client_fields.unwrap_or_default());
        let request = http().ok()?.post(url).header("origin", &site).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Some(format!("{url} can't be reached: {}", Chain(&error))),
        };
        let client = client?;
        let allowed = answer.headers().get("access-control-allow-origin").cloned();
        let TokenRefusal { error } = answer.json().await.unwrap_or_default();
        if matches!(error.as_str(), "invalid_client" | "unauthorized_client") {
            return Some(format!(
                "{url} answers {error} to the site's client {}: it has to be a public client with \
                 the authorization code grant; if another one is, upload the site with \
                 `coursegate site deploy --client-id ID`",
                client.id
            ));
        }
        (!lets_read(&site, allowed.as_ref())).then(|| {
            format!(
                "{url} doesn't let pages of {site} read its answers to the client {} (CORS): \
                 allow that origin at your identity provider",
                client.id
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        for (issuer, token, allowed, blocked) in [
            ("https://a.example.com/", "https://a.example.com/token", None, None),
            ("https://a.example.com", "https://a.example.com:443/token", None, None),
            ("https://a.example.com:443/x", "https://a.example.com/token", None, None),
            ("https://A.example.com", "https://a.example.com/token", None, None),
            (
                "https://a.example.com",
                "https://b.example.com/t",
                Some("https://b.example.com"),
                None,
            ),
            (
                "https://a.example.com",
                "https://b.example.com/t",
                Some("https://b.example.com:443"),
                None,
            ),
            (
                "https://a.example.com",
                "https://b.example.com:443/t",
                Some("https://b.example.com"),
                None,
            ),
            (
                "https://a.example.com",
                "https://b.example.com:8443/t",
                Some("https://b.example.com"),
                Some("https://b.example.com:8443"),
            ),
            (
                "https://a.example.com",
                "https://b.example.com:443/t",
                None,
                Some("https://b.example.com"),
            ),
            (
                "https://a.example.com",
                "https://a.example.com/token",
                Some("https://b.example.com"),
                Some("https://a.example.com"),
            ),
            ("http://127.0.0.1:80", "http://127.0.0.1/token", None, None),
            ("http://127.0.0.1:443", "http://127.0.0.1/token", None, Some("http://127.0.0.1")),
        ] {
            let discovery: Discovery = serde_json::from_value(json!({
                "issuer": issuer,
                "authorization_endpoint": "https://a.example.com/authorize",
                "token_endpoint": token,
                "jwks_uri": "https://a.example.com/keys",
            }))
            .unwrap();
            let found = discovery.blocked_token_origin(allowed);
            assert_eq!(found.as_deref(), blocked, "{issuer} {token} {allowed:?}");
        }
    }

    #[test]
    fn a_page_s_origin_has_no_usual_port() {
        for (site, header, expected) in [
            ("https://learn.example.com", Some("*"), true),
            ("https://learn.example.com", Some("https://learn.example.com"), true),
            ("https://learn.example.com:443", Some("https://learn.example.com"), true),
            ("https://learn.example.com:8443", Some("https://learn.example.com:8443"), true),
            ("http://localhost:80", Some("http://localhost"), true),
            // No browser takes this for its own.
            ("https://learn.example.com:443", Some("https://learn.example.com:443"), false),
            ("https://learn.example.com", Some("https://learn.example.com/"), false),
            ("https://learn.example.com:8443", Some("https://learn.example.com"), false),
            ("https://learn.example.com", Some("null"), false),
            ("https://learn.example.com", None, false),
        ] {
            let header = header.map(HeaderValue::from_static);
            let found = lets_read(&origin(site).unwrap(), header.as_ref());
            assert_eq!(found, expected, "{site} {header:?}");
        }
    }
}
