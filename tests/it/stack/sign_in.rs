//! Sign-in of a deployment: an issuer of the author's own, and the e-mails with codes. moto doesn't
//! have SES's account, so this process answers for it.

use aws_config::SdkConfig;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use coursegate::deployment::{Deployment, SignIn, UserPool};
use coursegate::doctor::Finding;
use coursegate::signed::Service;
use serde_json::{Value, json};
use shared::domain::decide::Mode;

use super::{Shop, finding, listen};

/// The site's client at the identity providers.
const CLIENT: &str = "the-site";

/// An identity provider.
pub(super) struct Issuer {
    /// What its configuration says besides the addresses, or instead of them.
    says: Value,
    /// The types of its keys.
    keys: &'static [&'static str],
    /// The origin whose pages may fetch tokens as the site's client.
    allows: Option<&'static str>,
    /// The origin whose pages may read that a client is unknown. Keycloak lets all of them.
    allows_strangers: Option<&'static str>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self { says: json!({}), keys: &["RSA"], allows: Some("*"), allows_strangers: None }
    }
}

impl Issuer {
    fn configuration(&self, url: &str) -> Value {
        let mut configuration = json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/keys"),
            "code_challenge_methods_supported": ["plain", "S256"],
            "scopes_supported": ["openid", "coursegate/learn", "offline_access"],
        });
        for (name, value) in self.says.as_object().unwrap() {
            configuration[name] = value.clone();
        }
        configuration
    }

    /// The server at this address.
    fn server(&self, url: &str) -> axum::Router {
        let configuration = self.configuration(url);
        let keys = self.keys.iter().map(|kind| json!({ "kty": kind, "kid": "1" }));
        let keys = json!({ "keys": keys.collect::<Vec<_>>() });
        let (allows, allows_strangers) = (self.allows, self.allows_strangers);
        let token = async move |body: String| {
            let fields: Vec<&str> = body.split('&').collect();
            let known = ["client_id=the-site", "redirect_uri=https%3A%2F%2Flearn.example.com%2F"];
            let is_known = known.iter().all(|field| fields.contains(field));
            let (allowed, error) = if is_known {
                (allows, "invalid_grant")
            } else {
                (allows_strangers, "invalid_client")
            };
            let mut headers = HeaderMap::new();
            if let Some(allowed) = allowed {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed.parse().unwrap());
            }
            (StatusCode::BAD_REQUEST, headers, Json(json!({ "error": error })))
        };
        axum::Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(configuration)))
            .route("/keys", get(async || Json(keys)))
            .route("/token", post(token))
    }

    /// The same, and at the same address a site that was uploaded for it.
    pub(super) fn server_with_site(&self, url: &str) -> axum::Router {
        let token = &self.configuration(url)["token_endpoint"];
        self.server(url).merge(site(token.as_str().unwrap_or_default(), CLIENT))
    }
}

/// A site whose learners get their tokens there, as this client.
fn site(token: &str, client: &str) -> axum::Router {
    let redirect = "https://learn.example.com/";
    let sign_in = json!({ "token": token, "client_id": client, "redirect": redirect });
    let config = json!({ "sign_in": sign_in });
    axum::Router::new().route("/config.json", get(async || Json(config)))
}

/// The shop, with this server as its issuer and as its site.
async fn signing_in_at(
    shop: &Shop,
    server: impl FnOnce(&str) -> axum::Router,
) -> (Deployment, String) {
    let (listener, url) = listen().await;
    let router = server(&url);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut deployment = shop.deployment().await;
    let site = &mut deployment.cloud.as_mut().unwrap().site;
    site.sign_in = SignIn::Issuer { issuer: url.clone(), token_origin: None };
    site.hosted.as_mut().unwrap().url.clone_from(&url);
    (deployment, url)
}

fn complaint(finding: Finding) -> String {
    match finding {
        Finding::Good(says) => format!("good: {says}"),
        Finding::Skipped(why) => format!("skipped: {why}"),
        Finding::Note { says, remedy } => format!("note: {says}\n  {remedy}"),
        Finding::Bad { says, remedy } => format!("bad: {says}\n  {remedy}"),
    }
}

#[tokio::test]
async fn what_keeps_an_issuer_from_signing_in_is_reported() {
    let Some(shop) = Shop::deploy("own-issuer", Mode::Test).await else { return };
    let mut found = String::new();
    for provider in [
        Issuer::default(),
        Issuer { allows: Some("https://elsewhere.example.com"), ..Issuer::default() },
        Issuer { keys: &["EC", "OKP"], allows: None, ..Issuer::default() },
        Issuer { keys: &["EC", "RSA"], ..Issuer::default() },
        Issuer {
            says: json!({ "token_endpoint": "http://127.0.0.1:9/token" }),
            ..Issuer::default()
        },
        Issuer {
            says: json!({ "code_challenge_methods_supported": ["plain"] }),
            ..Issuer::default()
        },
        Issuer { says: json!({ "code_challenge_methods_supported": null }), ..Issuer::default() },
        Issuer { says: json!({ "scopes_supported": ["openid"] }), ..Issuer::default() },
        Issuer { says: json!({ "scopes_supported": null }), ..Issuer::default() },
        Issuer {
            says: json!({ "grant_types_supported": ["authorization_code"] }),
            ..Issuer::default()
        },
        Issuer {
            says: json!({
                "scopes_supported": ["coursegate/learn"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
            }),
            ..Issuer::default()
        },
        Issuer { says: json!({ "jwks_uri": "http://127.0.0.1:9/keys" }), ..Issuer::default() },
        Issuer { says: json!({ "issuer": "https://other.example.com" }), ..Issuer::default() },
        Issuer { says: json!({ "token_endpoint": null }), ..Issuer::default() },
    ] {
        let (deployment, url) = signing_in_at(&shop, |url| provider.server_with_site(url)).await;
        let complaint = complaint(finding(&deployment, "sign-in").await);
        found += &complaint.replace(&url, "ISSUER").replace(&deployment.site_origin, "SITE");
        found += "\n";
    }
    insta::assert_snapshot!(found, @r"
    good: ISSUER can sign learners in
    bad: ISSUER: ISSUER/token doesn't let pages of SITE read its answers to the client the-site (CORS): allow that origin at your identity provider
      fix that at your identity provider or in the stack's parameters
    bad: ISSUER: ISSUER/keys has no RSA key, and API Gateway verifies no other signatures: let it sign access tokens with RS256; ISSUER/token doesn't let pages of SITE read its answers to the client the-site (CORS): allow that origin at your identity provider
      fix that at your identity provider or in the stack's parameters
    good: ISSUER can sign learners in
    bad: ISSUER: its tokens come from http://127.0.0.1:9, where the site's pages may not fetch any: deploy with JwtTokenOrigin=http://127.0.0.1:9; http://127.0.0.1:9/token can't be reached: error sending request for url (http://127.0.0.1:9/token): client error (Connect): tcp connect error: Connection refused (os error 111)
      fix that at your identity provider or in the stack's parameters
    bad: ISSUER: it doesn't support PKCE with S256, which the site uses
      fix that at your identity provider or in the stack's parameters
    good: ISSUER can sign learners in
    note: ISSUER: it doesn't list the scope coursegate/learn; it doesn't say that it gives refresh tokens, without which learners have to sign in again whenever an access token expires
      make sure that learners' access tokens have it; without it the API answers 403; let it give refresh tokens to the site's client; the site asks for the scope offline_access if it lists that
    good: ISSUER can sign learners in
    note: ISSUER: it doesn't say that it gives refresh tokens, without which learners have to sign in again whenever an access token expires
      let it give refresh tokens to the site's client; the site asks for the scope offline_access if it lists that
    good: ISSUER can sign learners in
    bad: ISSUER: its keys at http://127.0.0.1:9/keys can't be read: error sending request for url (http://127.0.0.1:9/keys): client error (Connect): tcp connect error: Connection refused (os error 111)
      fix that at your identity provider or in the stack's parameters
    bad: ISSUER/.well-known/openid-configuration names the issuer https://other.example.com, but the stack accepts only tokens of ISSUER: deploy with JwtIssuer=https://other.example.com
      check JwtIssuer
    bad: ISSUER/.well-known/openid-configuration does not say where learners sign in: invalid type: null, expected a string at line 1 column 275; check that JwtIssuer is right, then run it again
      check JwtIssuer
    ");
}

#[tokio::test]
async fn a_token_origin_that_is_allowed_is_no_fault() {
    let Some(shop) = Shop::deploy("own-tokens", Mode::Test).await else { return };
    let (tokens, token_url) = listen().await;
    let says = json!({ "token_endpoint": format!("{token_url}/token") });
    let provider = Issuer { says, ..Issuer::default() };
    let router = provider.server(&token_url);
    tokio::spawn(async move { axum::serve(tokens, router).await.unwrap() });
    let (mut deployment, url) = signing_in_at(&shop, |url| provider.server_with_site(url)).await;
    for (token_origin, is_good) in [(None, false), (Some(token_url), true)] {
        let sign_in = SignIn::Issuer { issuer: url.clone(), token_origin };
        deployment.cloud.as_mut().unwrap().site.sign_in = sign_in;
        let found = finding(&deployment, "sign-in").await;
        assert_eq!(matches!(found, Finding::Good(_)), is_good, "{found:?}");
    }
}

#[tokio::test]
async fn an_issuer_is_asked_as_the_site_s_own_client() {
    let Some(shop) = Shop::deploy("own-client", Mode::Test).await else { return };
    let lenient = Issuer { allows: None, allows_strangers: Some("*"), ..Issuer::default() };
    let strict = Issuer::default();
    let mut found = String::new();
    for (provider, uploaded, is_hosted) in [
        (&strict, Some(("/token", CLIENT)), true),
        (&lenient, Some(("/token", CLIENT)), true),
        (&lenient, Some(("/token", "somebody else & Co.")), true),
        (&strict, Some(("/other", CLIENT)), true),
        (&lenient, None, true),
        (&lenient, None, false),
    ] {
        let server = |url: &str| {
            let server = provider.server(url);
            let Some((token, client)) = uploaded else { return server };
            server.merge(site(&format!("{url}{token}"), client))
        };
        let (mut deployment, url) = signing_in_at(&shop, server).await;
        if !is_hosted {
            deployment.cloud.as_mut().unwrap().site.hosted = None;
        }
        let complaint = complaint(finding(&deployment, "sign-in").await);
        found += &complaint.replace(&url, "ISSUER").replace(&deployment.site_origin, "SITE");
        found += "\n";
    }
    insta::assert_snapshot!(found, @r"
    good: ISSUER can sign learners in
    bad: ISSUER: ISSUER/token doesn't let pages of SITE read its answers to the client the-site (CORS): allow that origin at your identity provider
      fix that at your identity provider or in the stack's parameters
    bad: ISSUER: ISSUER/token answers invalid_client to the site's client somebody else & Co.: it has to be a public client with the authorization code grant; if another one is, upload the site with `coursegate site deploy --client-id ID`
      fix that at your identity provider or in the stack's parameters
    bad: ISSUER: the uploaded site gets its tokens from ISSUER/other, not from ISSUER/token: upload it again with `coursegate site deploy --client-id ID`
      fix that at your identity provider or in the stack's parameters
    note: ISSUER: whether pages of SITE may read its tokens (CORS) is not checked, because that depends on the site's client: ISSUER/config.json can't be read: it answers 404 Not Found
      upload the site with `coursegate site deploy --client-id ID`, then run the doctor again; if you host your own site, sign in there once
    note: ISSUER: whether pages of SITE may read its tokens (CORS) is not checked, because that depends on the site's client: the stack hosts no site that would name it
      sign in on your site once; if that fails at the token endpoint, allow the site's origin for its client at your identity provider
    ");
}

/// A stack's own user pool.
pub(super) fn pool(ses_identity: Option<&str>) -> SignIn {
    SignIn::UserPool(UserPool {
        issuer: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a1B2".to_owned(),
        url: "https://learn.auth.eu-central-1.amazoncognito.com".to_owned(),
        client_id: "site".to_owned(),
        service_client_id: "services".to_owned(),
        ses_identity: ses_identity.map(ToOwned::to_owned),
    })
}

/// AWS at a server's address.
pub(super) async fn aws(shop: &Shop, router: axum::Router) -> SdkConfig {
    let (listener, url) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    shop.aws.to_builder().endpoint_url(url).build()
}

/// An SES of eu-west-1 whose account may or may not leave the sandbox and send, and whose identity is
/// verified, not verified, or not there.
fn ses(production: bool, sending: bool, verified: Option<bool>) -> axum::Router {
    let in_its_region = async |headers: HeaderMap, request: Request, next: Next| {
        let signature = headers[header::AUTHORIZATION].to_str().unwrap();
        if signature.contains("/eu-west-1/ses/aws4_request") {
            return next.run(request).await;
        }
        let error = json!({ "message": "Credential should be scoped to a valid region." });
        let kind = [("x-amzn-errortype", "InvalidSignatureException")];
        (StatusCode::FORBIDDEN, kind, Json(error)).into_response()
    };
    let account = json!({ "ProductionAccessEnabled": production, "SendingEnabled": sending });
    let identity = async move || {
        if let Some(verified) = verified {
            Json(json!({ "VerifiedForSendingStatus": verified })).into_response()
        } else {
            let kind = [("x-amzn-errortype", "NotFoundException:http://internal.amazon.com/")];
            (StatusCode::NOT_FOUND, kind, Json(json!({ "message": "No." }))).into_response()
        }
    };
    axum::Router::new()
        .route("/v2/email/account", get(async || Json(account)))
        .route("/v2/email/identities/learn%40example.com", get(identity))
        .layer(middleware::from_fn(in_its_region))
}

#[tokio::test]
async fn codes_that_learners_would_not_get_are_reported() {
    let mut found = String::new();
    for (name, mode) in [("codes", Mode::Test), ("live-codes", Mode::Live)] {
        let Some(shop) = Shop::deploy(name, mode).await else { return };
        let arn = "arn:aws:ses:eu-west-1:123456789012:identity/learn@example.com";
        for (identity, ses) in [
            (None, ses(true, true, Some(true))),
            (Some(arn), ses(true, true, Some(true))),
            (Some(arn), ses(false, true, Some(true))),
            (Some(arn), ses(true, false, Some(true))),
            (Some(arn), ses(false, true, Some(false))),
            (Some(arn), ses(true, true, None)),
            (Some(arn), axum::Router::new()),
            (Some("arn:aws:ses:eu-west-1"), ses(true, true, Some(true))),
        ] {
            let mut deployment = shop.deployment().await;
            let cloud = deployment.cloud.as_mut().unwrap();
            cloud.site.sign_in = pool(identity);
            cloud.ses = Service::ses(&aws(&shop, ses).await);
            found += &complaint(finding(&deployment, "sign-in e-mails").await);
            found += "\n";
        }
        found += "\n";
    }
    insta::assert_snapshot!(found, @r"
    note: Cognito's own sender is for trials: it sends at most 50 e-mails a day, and may not send sign-in codes at all
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail
    good: SES sends sign-in codes from learn@example.com in eu-west-1
    note: SES is in its sandbox in eu-west-1: only addresses that are verified in SES get sign-in codes
      request production access in the SES console in eu-west-1; it takes about a day
    bad: SES has paused sending in eu-west-1, so learners get no sign-in codes
      open the SES console in eu-west-1, which says why and how to appeal
    bad: SES hasn't verified learn@example.com in eu-west-1, so learners get no sign-in codes
      add the DNS records that the SES console in eu-west-1 shows for it
    bad: SES doesn't know learn@example.com in eu-west-1, so learners get no sign-in codes
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail
    bad: SES answers ses:GetAccount on the account in eu-west-1 with 404: no reason given
      fix that, then run the doctor again
    bad: SesIdentityArn is arn:aws:ses:eu-west-1, no SES identity's ARN
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail

    bad: Cognito's own sender is for trials: it sends at most 50 e-mails a day, and may not send sign-in codes at all
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail
    good: SES sends sign-in codes from learn@example.com in eu-west-1
    bad: SES is in its sandbox in eu-west-1: only addresses that are verified in SES get sign-in codes
      request production access in the SES console in eu-west-1; it takes about a day
    bad: SES has paused sending in eu-west-1, so learners get no sign-in codes
      open the SES console in eu-west-1, which says why and how to appeal
    bad: SES hasn't verified learn@example.com in eu-west-1, so learners get no sign-in codes
      add the DNS records that the SES console in eu-west-1 shows for it
    bad: SES doesn't know learn@example.com in eu-west-1, so learners get no sign-in codes
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail
    bad: SES answers ses:GetAccount on the account in eu-west-1 with 404: no reason given
      fix that, then run the doctor again
    bad: SesIdentityArn is arn:aws:ses:eu-west-1, no SES identity's ARN
      verify your domain in Amazon SES, then deploy with SesIdentityArn and SenderEmail
    ");
}
