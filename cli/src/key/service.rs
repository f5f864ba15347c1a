//! The secret with which services get their tokens. Cognito accepts two secrets of an app client at
//! a time, so services switch to the new one before the old one is deleted.
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-client-apps.html>

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::domain::time::Timestamp;
use shared::http::rfc3339;

use crate::deployment::{Cloud, SignIn, UserPool};
use crate::signed::{Service, SignedError};

const LIST: &str = "cognito-idp:ListUserPoolClientSecrets";
const ADD: &str = "cognito-idp:AddUserPoolClientSecret";
const DELETE: &str = "cognito-idp:DeleteUserPoolClientSecret";

/// The permissions that a rotation needs.
pub const PERMISSIONS: [&str; 3] = [LIST, ADD, DELETE];

/// Why a rotation failed. It changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Services get their tokens elsewhere.
    #[error(
        "the stack has no user pool of its own: rotate the services' credentials at your identity \
         provider"
    )]
    NoPool,
    /// There are two secrets already.
    #[error(
        "the services' client {client} already has two secrets, created at {older} and {newer}: \
         once every service uses the newer one, delete the other with --delete older; if you have \
         lost the newer one, with --delete newer"
    )]
    TwoAlready {
        /// The app client's id.
        client: String,
        /// When the older secret was created.
        older: String,
        /// When the newer secret was created.
        newer: String,
    },
    /// There is only one secret, which services need.
    #[error(
        "the services' client {0} has only one secret: add another without --delete, and switch \
         the services to it first"
    )]
    OnlyOne(String),
    /// Cognito's answer is not as documented.
    #[error("Cognito's answer about the secrets of client {client} can't be used: {reason}")]
    Unusable {
        /// The app client's id.
        client: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A request failed.
    #[error(transparent)]
    Request(#[from] SignedError),
}

/// One of two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one that was created first.
    Older,
    /// The one that was created last.
    Newer,
}

/// A new secret.
#[derive(Debug)]
pub struct Added {
    /// The app client's id.
    pub client: String,
    /// The secret, which Cognito returns only now.
    pub secret: SecretString,
}

/// A deleted secret.
#[derive(Debug)]
pub struct Deleted {
    /// The app client's id.
    pub client: String,
    /// When it was created.
    pub created: String,
    /// When the remaining one was created.
    pub remaining: String,
}

#[derive(Serialize)]
struct Input<'a> {
    #[serde(rename = "UserPoolId")]
    pool: &'a str,
    #[serde(rename = "ClientId")]
    client: &'a str,
    #[serde(rename = "ClientSecretId", skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// A secret, without its value.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    client_secret_id: String,
    /// In seconds since 1970, with a fraction.
    client_secret_create_date: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    client_secrets: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewSecret {
    client_secret_descriptor: Descriptor,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Descriptor {
    client_secret_value: Option<SecretString>,
}

/// Adds a second secret. Services can use either one from now on.
pub async fn add(cloud: &Cloud) -> Result<Added, RotationError> {
    let client = Client::of(cloud)?;
    match client.both().await {
        Ok((older, newer)) => {
            let (older, newer) = (created(&older), created(&newer));
            return Err(RotationError::TwoAlready { client: client.id(), older, newer });
        }
        Err(RotationError::OnlyOne(_)) => {}
        Err(error) => return Err(error),
    }
    let NewSecret { client_secret_descriptor: added } = client.ask(ADD, None).await?;
    let secret = added.client_secret_value;
    let secret = secret.ok_or_else(|| client.unusable("the new secret has no value"))?;
    Ok(Added { client: client.id(), secret })
}

/// Deletes one of two secrets. Services that use it get no more tokens.
pub async fn delete(cloud: &Cloud, which: Which) -> Result<Deleted, RotationError> {
    let client = Client::of(cloud)?;
    let (older, newer) = client.both().await?;
    let (gone, remaining) = match which {
        Which::Older => (older, newer),
        Which::Newer => (newer, older),
    };
    let _: Value = client.ask(DELETE, Some(&gone.client_secret_id)).await?;
    let (created, remaining) = (created(&gone), created(&remaining));
    Ok(Deleted { client: client.id(), created, remaining })
}

/// The services' app client.
struct Client<'a> {
    cognito: &'a Service,
    pool: &'a UserPool,
}

impl<'a> Client<'a> {
    fn of(cloud: &'a Cloud) -> Result<Self, RotationError> {
        match &cloud.site.sign_in {
            SignIn::UserPool(pool) => Ok(Self { cognito: &cloud.cognito, pool }),
            SignIn::Issuer { .. } => Err(RotationError::NoPool),
        }
    }

    fn id(&self) -> String {
        self.pool.service_client_id.clone()
    }

    fn unusable(&self, reason: &'static str) -> RotationError {
        RotationError::Unusable { client: self.id(), reason }
    }

    /// The older and the newer secret.
    async fn both(&self) -> Result<(Listed, Listed), RotationError> {
        let List { client_secrets } = self.ask(LIST, None).await?;
        let Ok([one, other]) = <[Listed; 2]>::try_from(client_secrets) else {
            return Err(RotationError::OnlyOne(self.id()));
        };
        let order = one.client_secret_create_date.partial_cmp(&other.client_secret_create_date);
        match order {
            Some(std::cmp::Ordering::Less) => Ok((one, other)),
            Some(std::cmp::Ordering::Greater) => Ok((other, one)),
            Some(std::cmp::Ordering::Equal) | None => {
                Err(self.unusable("both secrets have the same age"))
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        action: &'static str,
        secret: Option<&str>,
    ) -> Result<T, SignedError> {
        let client = self.pool.service_client_id.as_str();
        let input = Input { pool: self.pool.id(), client, secret };
        let input = serde_json::json!(input);
        let operation = action.trim_start_matches("cognito-idp:");
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        self.cognito.operation(action, &format!("app client {client}"), &target, &input).await
    }
}

fn created(secret: &Listed) -> String {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "a number of seconds"
    )]
    let seconds = secret.client_secret_create_date as i64;
    rfc3339(Timestamp::from_unix_seconds(seconds))
}
