//! The token with which the tutor is asked.

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::telemetry::Chain;

use crate::deployment::{Cloud, Deployment, SignIn, UserPool};
use crate::signed::SignedError;

/// A token of your own: a service's, or a learner's.
pub const TOKEN: &str = "COURSEGATE_TOKEN";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Tokens come from an issuer that this program knows nothing about.
    #[error(
        "{0}'s tokens come from your own issuer: get an access token there, of a service or a \
         learner, and set it in {TOKEN}"
    )]
    OwnIssuer(String),
    /// The services' secret can't be read.
    #[error("{0}; or set {TOKEN} to an access token, of a service or a learner")]
    Secret(#[from] SignedError),
    /// The issuer gives no token.
    #[error("{url} gives no token ({reason}); or set {TOKEN} to an access token")]
    Refused {
        /// The token endpoint.
        url: String,
        /// The status, or why it can't be reached.
        reason: String,
    },
}

/// Where tokens come from.
enum Source {
    /// The caller's own, which can't be renewed.
    Given,
    /// The local stack gives one to anybody.
    Local { url: String },
    /// The stack's user pool, with its services' client.
    Pool { url: String, client: String, secret: SecretString },
}

/// The current token, and where the next one comes from.
pub struct Tokens {
    source: Source,
    current: Option<SecretString>,
}

/// The permission that a stack's own user pool needs.
pub const PERMISSION: &str = "cognito-idp:DescribeUserPoolClient";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    user_pool_client: DescribedClient,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribedClient {
    client_secret: SecretString,
}

/// A secret of the services' client.
async fn client_secret(cloud: &Cloud, pool: &UserPool) -> Result<SecretString, SignedError> {
    let client = &pool.service_client_id;
    let input = json!({ "UserPoolId": pool.id(), "ClientId": client });
    let target = "AWSCognitoIdentityProviderService.DescribeUserPoolClient";
    let resource = format!("app client {client}");
    let described = cloud.cognito.operation(PERMISSION, &resource, target, &input).await;
    let Described { user_pool_client } = described?;
    Ok(user_pool_client.client_secret)
}

#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
}

impl Tokens {
    /// The tokens for a deployment: the given one, or else the services'.
    pub async fn of(
        deployment: &Deployment,
        given: Option<SecretString>,
    ) -> Result<Self, TokenError> {
        if given.is_some() {
            return Ok(Self { source: Source::Given, current: given });
        }
        let source = match &deployment.cloud {
            None => {
                Source::Local { url: format!("{}/local/service-token", deployment.site_origin) }
            }
            Some(cloud) => match &cloud.site.sign_in {
                SignIn::Issuer { .. } => {
                    return Err(TokenError::OwnIssuer(deployment.name.clone()));
                }
                SignIn::UserPool(pool) => Source::Pool {
                    url: format!("{}/oauth2/token", pool.url),
                    client: pool.service_client_id.clone(),
                    secret: client_secret(cloud, pool).await?,
                },
            },
        };
        Ok(Self { source, current: None })
    }

    /// The current token, or the first one.
    pub(super) async fn get(&mut self, http: &Client) -> Result<SecretString, TokenError> {
        if let Some(token) = &self.current {
            return Ok(token.clone());
        }
        let (url, request) = match &self.source {
            // It is there from the beginning.
            Source::Given => return Ok(SecretString::default()),
            Source::Local { url } => (url, http.post(url)),
            Source::Pool { url, client, secret } => {
                let form = "grant_type=client_credentials&scope=coursegate/learners";
                let request = http.post(url).basic_auth(client, Some(secret.expose_secret()));
                let form_type = "application/x-www-form-urlencoded";
                (url, request.header("content-type", form_type).body(form))
            }
        };
        let refused = |reason: String| TokenError::Refused { url: url.clone(), reason };
        let unreachable = |error: reqwest::Error| refused(Chain(&error).to_string());
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer.status().to_string()));
        }
        let Answer { access_token } = answer.json().await.map_err(unreachable)?;
        self.current = Some(access_token.clone());
        Ok(access_token)
    }

    /// Forgets a token that is no longer accepted. Whether there can be another.
    pub(super) fn renew(&mut self) -> bool {
        match self.source {
            Source::Given => false,
            Source::Local { .. } | Source::Pool { .. } => {
                self.current = None;
                true
            }
        }
    }
}
