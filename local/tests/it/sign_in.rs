//! Signing in, by curl and by hand.

use serde_json::{Value, json};

use crate::support::TestStack;

#[tokio::test]
async fn the_same_address_is_the_same_learner() {
    let stack = TestStack::start().await;
    let (_, ada) = stack.login("Ada@Example.com").await;
    assert_eq!(stack.login("ada@example.com").await.1, ada);
    assert_eq!(stack.login("  ada@example.com ").await.1, ada);
    assert_ne!(stack.login("eve@example.com").await.1, ada);
    assert!(!ada.contains("ada"), "the id says nothing: {ada}");
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn what_is_no_address_is_refused_in_json() {
    let stack = TestStack::start().await;
    for (body, expected) in [
        ("", 400),
        ("{", 400),
        ("[]", 422),
        ("{}", 422),
        (r#"{"email":5}"#, 422),
        (r#"{"email":"ada"}"#, 422),
        (r#"{"email":"a b@c"}"#, 422),
        (r#"{"email":"@"}"#, 422),
        (r#"{"email":"ada@example.com","learner":"x"}"#, 422),
    ] {
        let (status, answer) = stack.post("/local/login", body).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(answer["message"].is_string(), "{body}: {answer}");
    }
    let (status, answer) = stack.post("/local/service-token", r#"{"client_id":"a b"}"#).await;
    assert_eq!((status, answer["message"].is_string()), (422, true));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn tokens_are_signed_by_the_published_key() {
    let stack = TestStack::start().await;
    let (_, configuration) = stack.get("/local/.well-known/openid-configuration", None).await;
    assert_eq!(configuration["issuer"], stack.url("/local"));
    let jwks = configuration["jwks_uri"].as_str().unwrap();
    let jwks: jsonwebtoken::jwk::JwkSet =
        stack.client.get(jwks).send().await.unwrap().json().await.unwrap();
    let (token, learner) = stack.login("ada@example.com").await;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = jwks.find(&header.kid.unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&[stack.url("/local")]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], learner);
    assert_eq!(claims["client_id"], "coursegate-site");
    assert_eq!(claims["scope"], "openid coursegate/learn");
    assert!(claims.get("email").is_none(), "an access token says no address");
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_shell_can_ask_for_the_bare_token() {
    let stack = TestStack::start().await;
    let login = stack.client.post(stack.url("/local/login")).header("accept", "text/plain");
    let token = login.body(r#"{"email":"ada@example.com"}"#).send().await.unwrap();
    let token = token.text().await.unwrap();
    let (status, _) = stack.get("/api/entitlements", Some(&token)).await;
    assert_eq!(status, 200);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_service_has_the_services_scope() {
    let stack = TestStack::start().await;
    let (_, token) = stack.post("/local/service-token", r#"{"client_id":"tutor"}"#).await;
    let token = token["access_token"].as_str().unwrap();
    let (_, said) = stack.get("/api/learners/x-1/entitlements", Some(token)).await;
    let jwt = &said["event"]["requestContext"]["authorizer"]["jwt"];
    assert_eq!(jwt["claims"]["sub"], "tutor");
    assert_eq!(jwt["scopes"], json!(["coursegate/learners"]));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let stack = TestStack::start().await;
    let form = stack.client.get(stack.url("/local/sign-in")).send().await.unwrap();
    assert_eq!(form.status(), 200);
    assert!(form.headers().contains_key("content-security-policy"));
    let mail = stack.client.post(stack.url("/local/sign-in"));
    let mail = mail.header("content-type", "application/x-www-form-urlencoded");
    let mail = mail.body("email=ada%40example.com").send().await.unwrap().text().await.unwrap();
    let start = mail.find(&stack.url("/local/sign-in/")).unwrap();
    let link = mail[start..].split('"').next().unwrap();
    let opened = stack.client.get(link).send().await.unwrap();
    assert_eq!(opened.status(), 200);
    let (_, learner) = stack.login("ada@example.com").await;
    assert!(opened.text().await.unwrap().contains(&learner));
    assert_eq!(stack.client.get(link).send().await.unwrap().status(), 410);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn what_somebody_typed_is_never_markup() {
    let stack = TestStack::start().await;
    let typed = "%3Cscript%3E%40example.com";
    let mail = stack.client.post(stack.url("/local/sign-in"));
    let mail = mail.header("content-type", "application/x-www-form-urlencoded");
    let mail = mail.body(format!("email={typed}")).send().await.unwrap().text().await.unwrap();
    let success = stack.get("/success?session_id=%3Cscript%3E", None).await.1;
    let cancel = stack.get("/cancel?price=%3Cscript%3E", None).await.1;
    let course = stack.get("/course/%3Cscript%3E", None).await.1;
    let (success, course) = (success.as_str().unwrap(), course.as_str().unwrap());
    for page in [mail.as_str(), cancel.as_str().unwrap()] {
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
    // What is no id is not shown at all.
    assert!(!success.contains("script") && !course.contains("script"), "{success} {course}");
    stack.stack.shutdown().await;
}
