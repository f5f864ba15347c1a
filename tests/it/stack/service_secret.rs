//! The secret with which services get their tokens. moto has no second one, so this process answers
//! for Cognito.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::post;
use coursegate::deployment::Deployment;
use coursegate::key::service::{self, RotationError, Which};
use coursegate::signed::Service;
use futures_util::stream;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::domain::decide::Mode;

use super::Shop;
use super::sign_in::{aws, pool};

/// An app client's secrets, oldest first: their ids and when they were created.
type Secrets = Arc<Mutex<Vec<(String, i64)>>>;

/// A Cognito with the operations on an app client's secrets:
/// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AddUserPoolClientSecret.html>.
fn cognito(secrets: Secrets) -> axum::Router {
    let operation = async move |headers: HeaderMap, body: String| {
        let input: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&input["UserPoolId"], &input["ClientId"]),
            (&json!("eu-central-1_a1B2"), &json!("services"))
        );
        let mut secrets = secrets.lock().unwrap();
        let refused = |kind: &str| {
            let error = json!({ "__type": kind, "message": "No." });
            (StatusCode::BAD_REQUEST, Json(error))
        };
        match headers["x-amz-target"].to_str().unwrap() {
            "AWSCognitoIdentityProviderService.ListUserPoolClientSecrets" => {
                // The order isn't documented.
                let listed = secrets.iter().rev().map(|(id, created)| {
                    json!({ "ClientSecretId": id, "ClientSecretCreateDate": created })
                });
                (StatusCode::OK, Json(json!({ "ClientSecrets": listed.collect::<Vec<_>>() })))
            }
            "AWSCognitoIdentityProviderService.AddUserPoolClientSecret" => {
                if secrets.len() == 2 {
                    return refused("LimitExceededException");
                }
                let created = secrets.last().map_or(1_800_000_000, |(_, created)| created + 86_400);
                let (id, value) = (format!("services--{created}"), format!("value-{created}"));
                secrets.push((id.clone(), created));
                let added = json!({ "ClientSecretId": id, "ClientSecretValue": value, "ClientSecretCreateDate": created });
                (StatusCode::OK, Json(json!({ "ClientSecretDescriptor": added })))
            }
            "AWSCognitoIdentityProviderService.DeleteUserPoolClientSecret" => {
                if secrets.len() == 1 {
                    return refused("InvalidParameterException");
                }
                secrets.retain(|(id, _)| input["ClientSecretId"] != id.as_str());
                (StatusCode::OK, Json(json!({})))
            }
            other => panic!("{other}"),
        }
    };
    axum::Router::new().route("/", post(operation))
}

async fn with_cognito(shop: &Shop, cognito: axum::Router) -> Deployment {
    let mut deployment = shop.deployment().await;
    let cloud = deployment.cloud.as_mut().unwrap();
    cloud.site.sign_in = pool(None);
    cloud.cognito = Service::cognito(&aws(shop, cognito).await);
    deployment
}

/// Secrets that were created at these times.
fn secrets(created: &[i64]) -> Secrets {
    let ids = created.iter().map(|&created| (format!("services--{created}"), created));
    Secrets::new(Mutex::new(ids.collect()))
}

#[tokio::test]
async fn the_services_secret_rotates_without_a_gap() {
    let Some(shop) = Shop::deploy("service-secret", Mode::Test).await else { return };
    let secrets = secrets(&[1_800_000_000]);
    let ids = || secrets.lock().unwrap().iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let deployment = with_cognito(&shop, cognito(Arc::clone(&secrets))).await;
    let cloud = deployment.cloud.as_ref().unwrap();

    let only = service::delete(cloud, Which::Older).await.unwrap_err();
    assert!(matches!(only, RotationError::OnlyOne(_)), "{only}");
    let added = service::add(cloud).await.unwrap();
    assert_eq!(added.secret.expose_secret(), "value-1800086400");
    assert_eq!(ids(), ["services--1800000000", "services--1800086400"], "services can use either");
    let two = service::add(cloud).await.unwrap_err();
    insta::assert_snapshot!(two, @r"
    the services' client services already has two secrets, created at 2027-01-15T08:00:00Z and 2027-01-16T08:00:00Z: once every service uses the newer one, delete the other with --delete older; if you have lost the newer one, with --delete newer
    ");
    assert_eq!(ids().len(), 2);
    let status = service::list(cloud).await.unwrap();
    assert_eq!(status.client, "services");
    assert_eq!(status.created, ["2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z"]);

    let deleted = service::delete(cloud, Which::Older).await.unwrap();
    assert_eq!(deleted.created, "2027-01-15T08:00:00Z");
    assert_eq!(ids(), ["services--1800086400"]);

    // A new secret that nobody wrote down is replaced.
    service::add(cloud).await.unwrap();
    service::delete(cloud, Which::Newer).await.unwrap();
    assert_eq!(ids(), ["services--1800086400"]);
}

#[tokio::test]
async fn only_one_or_two_secrets_can_be_rotated() {
    let Some(shop) = Shop::deploy("odd-secrets", Mode::Test).await else { return };
    let mut said = String::new();
    for created in [&[][..], &[1], &[1, 2], &[1, 2, 3]] {
        let secrets = secrets(created);
        let deployment = with_cognito(&shop, cognito(Arc::clone(&secrets))).await;
        let cloud = deployment.cloud.as_ref().unwrap();
        assert_eq!(service::list(cloud).await.unwrap().created.len(), created.len());
        if created.len() != 1 {
            writeln!(said, "add: {}", service::add(cloud).await.unwrap_err()).unwrap();
        }
        if created.len() != 2 {
            let delete = service::delete(cloud, Which::Newer).await.unwrap_err();
            writeln!(said, "delete: {delete}").unwrap();
        }
        assert_eq!(secrets.lock().unwrap().len(), created.len(), "nothing has changed");
    }
    insta::assert_snapshot!(said, @r"
    add: the services' client services has no secret, so no service can get a token: compare it in Cognito's console (App clients) with ServiceClient in template.yaml, which has one
    delete: the services' client services has no secret, so no service can get a token: compare it in Cognito's console (App clients) with ServiceClient in template.yaml, which has one
    delete: the services' client services has only one secret: add another without --delete, and switch the services to it first
    add: the services' client services already has two secrets, created at 1970-01-01T00:00:01Z and 1970-01-01T00:00:02Z: once every service uses the newer one, delete the other with --delete older; if you have lost the newer one, with --delete newer
    add: Cognito lists 3 secrets of the services' client services, but allows only two: delete those that no service uses in Cognito's console (App clients)
    delete: Cognito lists 3 secrets of the services' client services, but allows only two: delete those that no service uses in Cognito's console (App clients)
    ");
}

#[tokio::test]
async fn secrets_of_the_same_second_are_ordered_by_id() {
    let Some(shop) = Shop::deploy("same-second", Mode::Test).await else { return };
    let ids = ["services--1800000000000", "services--1800000000001"];
    for (which, remains) in [(Which::Older, ids[1]), (Which::Newer, ids[0])] {
        for listed in [ids, [ids[1], ids[0]]] {
            let secrets = listed.map(|id| (id.to_owned(), 1_800_000_000));
            let secrets = Secrets::new(Mutex::new(secrets.into()));
            let deployment = with_cognito(&shop, cognito(Arc::clone(&secrets))).await;
            service::delete(deployment.cloud.as_ref().unwrap(), which).await.unwrap();
            assert_eq!(secrets.lock().unwrap()[0].0, remains, "{which:?} {listed:?}");
        }
    }
}

/// An error's text without the port of this process.
fn without_port(error: &RotationError) -> String {
    let error = error.to_string();
    let Some((before, after)) = error.split_once("127.0.0.1:") else { return error };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}127.0.0.1{after}")
}

/// What arrives of Cognito's answer.
#[derive(Clone, Copy)]
enum Arrives {
    With(StatusCode, &'static str),
    /// The connection ends before the answer does.
    Cut,
}

impl Arrives {
    /// Cognito, which does what this operation asks for, and whose answer gets lost.
    fn instead_of_answers_to(self, operation: &'static str, cognito: axum::Router) -> axum::Router {
        let replace = move |headers: HeaderMap, request: Request, next: Next| async move {
            let answer = next.run(request).await;
            if !headers["x-amz-target"].to_str().unwrap().ends_with(operation) {
                return answer;
            }
            match self {
                Self::With(status, body) => (status, body).into_response(),
                Self::Cut => {
                    let lost = Err::<String, _>(std::io::Error::other("lost"));
                    Body::from_stream(stream::iter([lost])).into_response()
                }
            }
        };
        cognito.layer(middleware::from_fn(replace))
    }
}

#[tokio::test]
async fn a_lost_answer_is_not_called_no_change() {
    let Some(shop) = Shop::deploy("lost-secret", Mode::Test).await else { return };
    let failed =
        Arrives::With(StatusCode::INTERNAL_SERVER_ERROR, r#"{"__type":"InternalErrorException"}"#);
    let no_value = Arrives::With(StatusCode::OK, r#"{"ClientSecretDescriptor":{}}"#);
    let cut_short = Arrives::With(StatusCode::OK, "{");
    let refused =
        Arrives::With(StatusCode::BAD_REQUEST, r#"{"__type":"TooManyRequestsException"}"#);
    let mut said = String::new();
    for arrives in [failed, no_value, cut_short, Arrives::Cut, refused] {
        let secrets = secrets(&[1]);
        let cognito = cognito(Arc::clone(&secrets));
        let cognito = arrives.instead_of_answers_to("AddUserPoolClientSecret", cognito);
        let deployment = with_cognito(&shop, cognito).await;
        let error = service::add(deployment.cloud.as_ref().unwrap()).await.unwrap_err();
        assert_eq!(secrets.lock().unwrap().len(), 2, "it was added");
        writeln!(said, "{}", without_port(&error)).unwrap();
    }
    for arrives in [failed, Arrives::Cut, refused] {
        let secrets = secrets(&[1, 2]);
        let cognito = cognito(Arc::clone(&secrets));
        let cognito = arrives.instead_of_answers_to("DeleteUserPoolClientSecret", cognito);
        let deployment = with_cognito(&shop, cognito).await;
        let cloud = deployment.cloud.as_ref().unwrap();
        let error = service::delete(cloud, Which::Older).await.unwrap_err();
        assert_eq!(secrets.lock().unwrap().len(), 1, "it was deleted");
        writeln!(said, "{}", without_port(&error)).unwrap();
    }
    insta::assert_snapshot!(said, @r"
    the services' client services may have a new secret, which can't be shown any more (Cognito answers cognito-idp:AddUserPoolClientSecret on app client services with 500: InternalErrorException): `coursegate key rotate-service --list` shows whether there are two; if so, delete the new one with `coursegate key rotate-service --delete newer`, then start again
    the services' client services may have a new secret, which can't be shown any more (Cognito's answer is without it): `coursegate key rotate-service --list` shows whether there are two; if so, delete the new one with `coursegate key rotate-service --delete newer`, then start again
    the services' client services may have a new secret, which can't be shown any more (a request to Cognito or its answer: EOF while parsing an object at line 1 column 1: if this keeps happening, use the newest version of this program): `coursegate key rotate-service --list` shows whether there are two; if so, delete the new one with `coursegate key rotate-service --delete newer`, then start again
    the services' client services may have a new secret, which can't be shown any more (Cognito can't be reached (error sending request for url (http://127.0.0.1/): client error (SendRequest): connection closed before message completed): check your network): `coursegate key rotate-service --list` shows whether there are two; if so, delete the new one with `coursegate key rotate-service --delete newer`, then start again
    Cognito answers cognito-idp:AddUserPoolClientSecret on app client services with 400: TooManyRequestsException
    it is unknown whether the secret of 1970-01-01T00:00:01Z was deleted (Cognito answers cognito-idp:DeleteUserPoolClientSecret on app client services with 500: InternalErrorException): `coursegate key rotate-service --list` shows which secrets there are
    it is unknown whether the secret of 1970-01-01T00:00:01Z was deleted (Cognito can't be reached (error sending request for url (http://127.0.0.1/): client error (SendRequest): connection closed before message completed): check your network): `coursegate key rotate-service --list` shows which secrets there are
    Cognito answers cognito-idp:DeleteUserPoolClientSecret on app client services with 400: TooManyRequestsException
    ");
}

#[tokio::test]
async fn a_rotation_that_aws_refuses_says_why() {
    let Some(shop) = Shop::deploy("refused-secret", Mode::Test).await else { return };
    let denied = async || {
        let error = json!({ "__type": "AccessDeniedException", "message": "No." });
        (StatusCode::BAD_REQUEST, Json(error))
    };
    let mut deployment = shop.deployment().await;
    let cloud = deployment.cloud.as_mut().unwrap();
    let elsewhere = service::add(cloud).await.unwrap_err();
    cloud.site.sign_in = pool(None);
    cloud.cognito =
        Service::cognito(&aws(&shop, axum::Router::new().route("/", post(denied))).await);
    let denied = service::add(cloud).await.unwrap_err();
    insta::assert_snapshot!(format!("{elsewhere}\n{denied}"), @r"
    the stack has no user pool of its own: rotate the services' credentials at your identity provider
    your AWS identity may not do cognito-idp:ListUserPoolClientSecrets on app client services: give it that permission (see docs/GO-LIVE.md#rotation); or, if it had it a moment ago, sign in again
    ");
}
