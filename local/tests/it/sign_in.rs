//! Signing in, with curl and in a browser.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use local::Keep;
use serde_json::{Value, json};

use crate::support::{Folder, TestStack};

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
async fn an_invalid_address_is_refused_in_json() {
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
async fn typed_text_is_never_markup() {
    let stack = TestStack::start().await;
    let typed = "%3Cscript%3E%40example.com";
    let mail = stack.client.post(stack.url("/local/sign-in"));
    let mail = mail.header("content-type", "application/x-www-form-urlencoded");
    let mail = mail.body(format!("email={typed}")).send().await.unwrap().text().await.unwrap();
    assert!(!mail.contains("<script") && mail.contains("&lt;script&gt;"), "{mail}");
    let asked = format!("{}&state=%22%3E%3Cscript%3E", authorize(&stack, &challenge(VERIFIER)));
    let form = stack.client.get(asked).send().await.unwrap().text().await.unwrap();
    assert!(form.contains("<form") && !form.contains("<script"), "{form}");
    stack.stack.shutdown().await;
}

/// The site's random verifier for each sign-in.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Its challenge: RFC 7636, appendix B, has this very pair.
fn challenge(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

fn authorize(stack: &TestStack, challenge: &str) -> String {
    stack.url(&format!(
        "/local/authorize?response_type=code&client_id=coursegate-site&redirect_uri={}\
         &scope=openid+email+coursegate%2Flearn&code_challenge={challenge}\
         &code_challenge_method=S256",
        stack.url("/"),
    ))
}

/// Signs in as a browser would, and returns the redirect back to the site.
async fn come_back(stack: &TestStack, address: &str, email: &str) -> String {
    let mail = stack.client.post(address);
    let mail = mail.header("content-type", "application/x-www-form-urlencoded");
    let mail = mail.body(format!("email={email}")).send().await.unwrap().text().await.unwrap();
    let start = mail.find(&stack.url("/local/sign-in/")).unwrap();
    let link = mail[start..].split('"').next().unwrap();
    let opened = stack.client.get(link).send().await.unwrap();
    assert_eq!(opened.status(), 303);
    assert_eq!(stack.client.get(link).send().await.unwrap().status(), 410, "it works once");
    opened.headers()["location"].to_str().unwrap().to_owned()
}

async fn code(stack: &TestStack) -> String {
    let address = authorize(stack, &challenge(VERIFIER));
    let back = come_back(stack, &address, "ada%40example.com").await;
    back.split_once("code=").unwrap().1.to_owned()
}

/// Posts a form to the issuer.
async fn send(stack: &TestStack, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = stack.client.post(stack.url(path));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    crate::support::answer(request.body(body.join("&"))).await
}

/// Exchanges a code for tokens, with this change to the site's request.
async fn exchange(stack: &TestStack, code: &str, change: (&str, &str)) -> (u16, Value) {
    let mut form = std::collections::BTreeMap::from([
        ("grant_type", "authorization_code".to_owned()),
        ("client_id", "coursegate-site".to_owned()),
        ("redirect_uri", stack.url("/")),
        ("code_verifier", VERIFIER.to_owned()),
        ("code", code.to_owned()),
    ]);
    form.insert(change.0, change.1.to_owned());
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send(stack, "/local/token", &form).await
}

/// Exchanges a refresh token for new tokens.
async fn refresh(stack: &TestStack, token: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "coursegate-site"),
        ("refresh_token", token),
    ];
    send(stack, "/local/token", &form).await
}

async fn revoke(stack: &TestStack, client: &str, token: &str) -> (u16, Value) {
    send(stack, "/local/revoke", &[("client_id", client), ("token", token)]).await
}

const UNCHANGED: (&str, &str) = ("unchanged", "");

#[tokio::test]
async fn the_site_exchanges_a_code_and_verifier_for_tokens() {
    let stack = TestStack::start().await;
    assert_eq!(challenge(VERIFIER), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let asked = format!("{}&state=a%26b%20c", authorize(&stack, &challenge(VERIFIER)));
    let form = stack.client.get(&asked).send().await.unwrap();
    assert_eq!(form.status(), 200);
    assert!(form.text().await.unwrap().contains("name=\"email\""));
    let back = come_back(&stack, &asked, "ada%40example.com").await;
    let query = back.strip_prefix(&stack.url("/?code=")).unwrap();
    let code = query.strip_suffix("&state=a%26b%20c").unwrap();
    let (status, tokens) = exchange(&stack, code, UNCHANGED).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let claims = |token: &str| {
        let token = tokens[token].as_str().unwrap().split('.').nth(1).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()
    };
    let (_, learner) = stack.login("ada@example.com").await;
    let (access, id) = (claims("access_token"), claims("id_token"));
    assert_eq!(
        (&access["sub"], &access["scope"]),
        (&json!(learner), &json!("openid email coursegate/learn"))
    );
    assert_eq!((&id["email"], &id["aud"]), (&json!("ada@example.com"), &json!("coursegate-site")));
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(stack.get("/api/entitlements", Some(token)).await.0, 200);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_code_works_once_and_only_for_its_client() {
    let stack = TestStack::start().await;
    let refused = |error: &str| (400, json!({ "error": error }));
    let used = code(&stack).await;
    assert_eq!(exchange(&stack, &used, UNCHANGED).await.0, 200);
    assert_eq!(exchange(&stack, &used, UNCHANGED).await, refused("invalid_grant"));
    let foreign = stack.url("/other");
    for (change, error) in [
        (("code_verifier", "another-verifier-that-is-long-enough-to-be-one"), "invalid_grant"),
        (("code_verifier", ""), "invalid_grant"),
        (("redirect_uri", foreign.as_str()), "invalid_grant"),
        (("redirect_uri", "https://eve.example.com/"), "invalid_grant"),
    ] {
        let code = code(&stack).await;
        assert_eq!(exchange(&stack, &code, change).await, refused(error), "{change:?}");
        // A wrong verifier gets no second try.
        assert_eq!(exchange(&stack, &code, UNCHANGED).await, refused("invalid_grant"));
    }
    for (change, error) in [
        (("code", "made-up"), "invalid_grant"),
        (("client_id", "coursegate-service"), "invalid_client"),
        (("grant_type", "password"), "unsupported_grant_type"),
    ] {
        let code = code(&stack).await;
        assert_eq!(exchange(&stack, &code, change).await, refused(error), "{change:?}");
    }
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_code_goes_only_to_the_site_and_only_with_pkce() {
    let stack = TestStack::start().await;
    let good = authorize(&stack, &challenge(VERIFIER));
    let site = stack.url("/");
    let elsewhere = stack.url("/elsewhere");
    for (from, to) in [
        (format!("redirect_uri={site}"), "redirect_uri=https://eve.example.com/".to_owned()),
        (format!("redirect_uri={site}"), format!("redirect_uri={elsewhere}")),
        (format!("redirect_uri={site}"), format!("redirect_uri={site}@eve.example.com/")),
        ("client_id=coursegate-site".to_owned(), "client_id=coursegate-service".to_owned()),
    ] {
        assert!(good.contains(&from));
        let asked = good.replace(&from, &to);
        let response = stack.client.get(&asked).send().await.unwrap();
        assert_eq!(response.status(), 400, "{to}");
        let mail = stack.client.post(&asked).body("email=ada%40example.com");
        let mail = mail.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(mail.send().await.unwrap().status(), 400, "{to}");
    }
    for (from, to, error) in [
        ("response_type=code", "response_type=token", "unsupported_response_type"),
        ("coursegate%2Flearn", "coursegate%2Flearners", "invalid_scope"),
        ("code_challenge_method=S256", "code_challenge_method=plain", "invalid_request"),
        ("&code_challenge_method=S256", "", "invalid_request"),
        ("code_challenge=E9", "code_challenge=", "invalid_request"),
    ] {
        let asked = good.replacen(from, to, 1) + "&state=kept";
        let response = stack.client.get(&asked).send().await.unwrap();
        assert_eq!(response.status(), 303, "{to}");
        let location = response.headers()["location"].to_str().unwrap();
        assert_eq!(location, format!("{site}?error={error}&state=kept"));
    }
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn signing_out_returns_only_to_the_site() {
    let stack = TestStack::start().await;
    for (client, uri, expected) in [
        ("coursegate-site", stack.url("/"), 302),
        ("coursegate-site", "https://eve.example.com/".to_owned(), 400),
        ("coursegate-service", stack.url("/"), 400),
    ] {
        let address = format!("/local/logout?client_id={client}&logout_uri={uri}");
        let response = stack.client.get(stack.url(&address)).send().await.unwrap();
        assert_eq!(response.status(), expected, "{uri}");
        let location = response.headers().get("location").map(|it| it.to_str().unwrap());
        assert_eq!(location, (expected == 302).then_some(uri.as_str()));
    }
    stack.stack.shutdown().await;
}

fn refresh_token(tokens: &Value) -> String {
    tokens["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_renewed_until_it_is_revoked() {
    let stack = TestStack::start().await;
    let (_, learner) = stack.login("ada@example.com").await;
    let refused = (400, json!({ "error": "invalid_grant" }));
    let first = refresh_token(&exchange(&stack, &code(&stack).await, UNCHANGED).await.1);
    let (status, tokens) = refresh(&stack, &first).await;
    assert_eq!(status, 200, "{tokens}");
    let second = refresh_token(&tokens);
    assert_ne!(first, second);
    let token = tokens["access_token"].as_str().unwrap();
    let (_, said) = stack.get("/api/entitlements", Some(token)).await;
    let claims = &said["event"]["requestContext"]["authorizer"]["jwt"]["claims"];
    assert_eq!(claims["sub"], learner);
    assert_eq!(claims["scope"], "openid email coursegate/learn");
    for forged in ["", "made.up", second.split('.').next().unwrap(), &format!("{second}0")] {
        assert_eq!(refresh(&stack, forged).await, refused, "{forged}");
        revoke(&stack, "coursegate-site", forged).await;
    }

    let error = |error: &str| (400, json!({ "error": error }));
    assert_eq!(revoke(&stack, "coursegate-service", &second).await, error("invalid_client"));
    assert_eq!(revoke(&stack, "coursegate-site", "").await, error("invalid_request"));
    let third = refresh_token(&refresh(&stack, &second).await.1);
    // Any of its tokens ends the session.
    assert_eq!(revoke(&stack, "coursegate-site", &second).await.0, 200);
    assert_eq!(refresh(&stack, &third).await, refused);
    assert_eq!(revoke(&stack, "coursegate-site", &second).await.0, 200);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn sessions_and_unconfirmed_accounts_survive_a_restart() {
    let folder = Folder::new();
    let keep = || Keep::Folder(folder.0.join("state"));
    let stack = TestStack::start_on(keep()).await.unwrap();
    let token = refresh_token(&exchange(&stack, &code(&stack).await, UNCHANGED).await.1);
    assert_eq!(cognito(&stack, "SignUp", account("eve@example.com")).await.0, 200);
    let sent = mailed_code(&stack);
    stack.stack.shutdown().await;
    let stack = TestStack::restart_on(keep).await;
    assert_eq!(refresh(&stack, &token).await.0, 200);
    let confirmation = confirmation("eve@example.com", &sent);
    assert_eq!(cognito(&stack, "ConfirmSignUp", confirmation).await, (200, json!({})));
    stack.stack.shutdown().await;
}

/// Calls Cognito's API.
async fn cognito(stack: &TestStack, action: &str, body: Value) -> (u16, Value) {
    let target = format!("AWSCognitoIdentityProviderService.{action}");
    let request = stack.client.post(stack.url("/local/cognito-idp"));
    let request = request.header("content-type", "application/x-amz-json-1.1");
    let request = request.header("x-amz-target", target).body(body.to_string());
    crate::support::answer(request).await
}

fn account(email: &str) -> Value {
    let attributes = json!([{ "Name": "email", "Value": email }]);
    json!({ "ClientId": "coursegate-site", "Username": email, "UserAttributes": attributes })
}

fn confirmation(email: &str, code: &str) -> Value {
    json!({ "ClientId": "coursegate-site", "Username": email, "ConfirmationCode": code })
}

/// The code in the latest e-mail, as the terminal shows it.
fn mailed_code(stack: &TestStack) -> String {
    let served = stack.served.lock().unwrap();
    let mut notes = served.iter().rev().filter_map(|served| served.note.as_deref());
    let code = notes.find_map(|note| note.split_once("the code is ")).unwrap().1;
    code.to_owned()
}

#[tokio::test]
async fn an_account_is_created_by_cognito_s_calls() {
    let stack = TestStack::start().await;
    let (status, created) = cognito(&stack, "SignUp", account("Ada@Example.com")).await;
    assert_eq!((status, &created["UserConfirmed"]), (200, &json!(false)), "{created}");
    assert_eq!(created["CodeDeliveryDetails"]["Destination"], "a***@e***");
    let code = mailed_code(&stack);
    let mails = stack.client.get(stack.url("/local/mail")).send().await.unwrap();
    let mails = mails.text().await.unwrap();
    assert!(mails.contains("ada@example.com") && mails.contains(&code), "{mails}");
    let confirmation = confirmation("ada@example.com", &code);
    assert_eq!(cognito(&stack, "ConfirmSignUp", confirmation).await, (200, json!({})));
    assert_eq!(stack.login("ada@example.com").await.1, created["UserSub"]);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn refused_sign_up_calls_have_cognito_s_errors() {
    let stack = TestStack::start().await;
    stack.login("ada@example.com").await;
    let site = |more: Value| {
        let mut body = account("new@example.com");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let waiting = "waiting@example.com";
    assert_eq!(cognito(&stack, "SignUp", account(waiting)).await.0, 200);
    let wrong = if mailed_code(&stack) == "123456" { "654321" } else { "123456" };
    for (action, body, error) in [
        ("SignUp", account("ada@example.com"), "UsernameExistsException"),
        ("SignUp", account(waiting), "UsernameExistsException"),
        ("SignUp", account("nobody"), "InvalidParameterException"),
        ("SignUp", site(json!({ "Password": "x" })), "InvalidParameterException"),
        ("SignUp", site(json!({ "UserAttributes": [] })), "InvalidParameterException"),
        ("SignUp", site(json!({ "ClientId": "other" })), "ResourceNotFoundException"),
        ("SignUp", json!({}), "SerializationException"),
        ("ConfirmSignUp", confirmation("ada@example.com", "123456"), "NotAuthorizedException"),
        ("ConfirmSignUp", confirmation("new@example.com", "123456"), "ExpiredCodeException"),
        ("ConfirmSignUp", confirmation(waiting, wrong), "CodeMismatchException"),
        ("ConfirmSignUp", site(json!({ "ClientId": "other" })), "ResourceNotFoundException"),
        ("ResendConfirmationCode", account("ada@example.com"), "InvalidParameterException"),
        ("InitiateAuth", account("ada@example.com"), "UnknownOperationException"),
    ] {
        let (status, answer) = cognito(&stack, action, body.clone()).await;
        assert_eq!((status, &answer["__type"]), (400, &json!(error)), "{action} {body}: {answer}");
        assert!(answer["message"].is_string(), "{answer}");
    }
    // Nothing says that an address has no account.
    let resent = cognito(&stack, "ResendConfirmationCode", account("new@example.com")).await;
    assert_eq!(resent.0, 200);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn the_form_begins_with_the_hinted_address() {
    let stack = TestStack::start().await;
    let asked = format!(
        "{}&login_hint=%22%3E%3Cscript%3Eada%40example.com",
        authorize(&stack, &challenge(VERIFIER))
    );
    let form = stack.client.get(asked).send().await.unwrap().text().await.unwrap();
    let expected = "value=\"&quot;&gt;&lt;script&gt;ada@example.com\"";
    assert!(form.contains(expected) && !form.contains("<script"), "{form}");
    stack.stack.shutdown().await;
}
