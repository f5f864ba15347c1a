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

/// Why a rotation failed. It changed nothing, unless the error says that it may have.
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
    /// Nobody could get a token.
    #[error(
        "the services' client {0} has no secret, so no service can get a token: compare it in \
         Cognito's console (App clients) with ServiceClient in template.yaml, which has one"
    )]
    NoSecret(String),
    /// Cognito allows two.
    #[error(
        "Cognito lists {count} secrets of the services' client {client}, but allows only two: \
         delete those that no service uses in Cognito's console (App clients)"
    )]
    TooMany {
        /// The app client's id.
        client: String,
        /// How many it lists.
        count: usize,
    },
    /// A secret may have been added, and nobody saw it.
    #[error(
        "the services' client {client} may have a new secret, which can't be shown any more \
         ({reason}): `coursegate key rotate-service --list` shows whether there are two; if so, \
         delete the new one with `coursegate key rotate-service --delete newer`, then start again"
    )]
    MayBeAdded {
        /// The app client's id.
        client: String,
        /// What happened to the answer.
        reason: String,
    },
    /// A secret may have been deleted.
    #[error(
        "it is unknown whether the secret of {created} was deleted ({reason}): \
         `coursegate key rotate-service --list` shows which secrets there are"
    )]
    MayBeDeleted {
        /// When it was created.
        created: String,
        /// What happened to the answer.
        reason: String,
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

/// A secret, without its value. All of them are in one answer:
/// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUserPoolClientSecrets.html>.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    /// `<client-id>--<epoch>`, where the epoch is when it was created.
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

/// The secrets of an app client, without their values.
#[derive(Debug)]
pub struct Status {
    /// The app client's id.
    pub client: String,
    /// When each was created, the oldest first.
    pub created: Vec<String>,
}

/// Lists the secrets.
pub async fn list(cloud: &Cloud) -> Result<Status, RotationError> {
    let client = Client::of(cloud)?;
    let created = client.secrets().await?.iter().map(created).collect();
    Ok(Status { client: client.id(), created })
}

/// Adds a second secret. Services can use either one from now on.
pub async fn add(cloud: &Cloud) -> Result<Added, RotationError> {
    let client = Client::of(cloud)?;
    match &client.secrets().await?[..] {
        [] => return Err(RotationError::NoSecret(client.id())),
        [_] => {}
        [older, newer] => {
            let (older, newer) = (created(older), created(newer));
            return Err(RotationError::TwoAlready { client: client.id(), older, newer });
        }
        more => return Err(client.too_many(more)),
    }
    let may_be_added = |reason| RotationError::MayBeAdded { client: client.id(), reason };
    let answer = client.ask::<NewSecret>(ADD, None).await;
    let NewSecret { client_secret_descriptor: added } = match answer {
        Ok(answer) => answer,
        Err(error) if error.may_be_done() => return Err(may_be_added(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let secret = added.client_secret_value;
    let secret = secret.ok_or_else(|| may_be_added("Cognito's answer is without it".to_owned()))?;
    Ok(Added { client: client.id(), secret })
}

/// Deletes one of two secrets. Services that use it get no more tokens.
pub async fn delete(cloud: &Cloud, which: Which) -> Result<Deleted, RotationError> {
    let client = Client::of(cloud)?;
    let secrets = client.secrets().await?;
    let (gone, remaining) = match (&secrets[..], which) {
        ([], _) => return Err(RotationError::NoSecret(client.id())),
        ([_], _) => return Err(RotationError::OnlyOne(client.id())),
        ([older, newer], Which::Older) => (older, newer),
        ([older, newer], Which::Newer) => (newer, older),
        (more, _) => return Err(client.too_many(more)),
    };
    let (created, remaining) = (created(gone), created(remaining));
    match client.ask::<Value>(DELETE, Some(&gone.client_secret_id)).await {
        Ok(_) => Ok(Deleted { client: client.id(), created, remaining }),
        Err(error) if error.may_be_done() => {
            Err(RotationError::MayBeDeleted { created, reason: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
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

    fn too_many(&self, secrets: &[Listed]) -> RotationError {
        RotationError::TooMany { client: self.id(), count: secrets.len() }
    }

    /// All secrets, the oldest first. Ids end with the second of their creation, so they order
    /// secrets of equal age.
    async fn secrets(&self) -> Result<Vec<Listed>, RotationError> {
        let List { client_secrets: mut secrets } = self.ask(LIST, None).await?;
        secrets.sort_by(|one, other| {
            let by_age = one.client_secret_create_date.total_cmp(&other.client_secret_create_date);
            by_age.then_with(|| one.client_secret_id.cmp(&other.client_secret_id))
        });
        Ok(secrets)
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
