//! Creating an account, without a password.

use serde_json::json;

use crate::browser::PHONE;
use crate::chapters::pieces;
use crate::staying::answer_changed;
use crate::visitor::{Visitor, visit};

const ADA: &str = "ada@example.com";
const CHAPTER: &str = "/course/tutorclaw/2";

async fn asks_for_a_code(visitor: &Visitor, email: &str) {
    visitor.fills_in("Email address", email).await;
    visitor.presses("Send me a code").await;
}

async fn code(visitor: &Visitor) -> String {
    visitor.until("for a code", async || visitor.shop.code(ADA).await).await
}

/// Waits for the issuer's page, which knows the address already.
async fn signs_in_with_that_address(visitor: &Visitor) {
    visitor.finds("Send me a link").await;
    let typed = visitor.asks("control('Email address').value", json!([])).await;
    assert_eq!(typed, Some(json!(ADA)));
    visitor.presses("Send me a link").await;
    visitor.sees(&["Your sign-in link"]).await;
    visitor.presses("Sign in").await;
}

#[tokio::test]
async fn an_account_is_created_without_a_password() {
    visit(async |visitor| {
        visitor.expects_in_the_console("400 (Bad Request)");
        visitor.goes_to(CHAPTER).await;
        visitor.presses("Sign in and read").await;
        visitor.presses("Create an account").await;
        asks_for_a_code(visitor, ADA).await;
        visitor.sees(&["Enter your code", ADA]).await;
        visitor.fills_in("Code", "none").await;
        visitor.presses("Confirm").await;
        visitor.sees(&["That isn’t the code we sent you."]).await;
        let code = code(visitor).await;
        // As copied from an e-mail.
        visitor.fills_in("Code", &format!(" {} {} ", &code[..3], &code[3..])).await;
        visitor.presses("Confirm").await;
        signs_in_with_that_address(visitor).await;
        visitor.is_at(CHAPTER).await;
        visitor.sees(&[ADA, &pieces("tutorclaw", 2)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn an_address_with_an_account_is_told_to_sign_in() {
    visit(async |visitor| {
        visitor.expects_in_the_console("400 (Bad Request)");
        visitor.shop.token(ADA).await;
        visitor.goes_to(&format!("/sign-up?to={CHAPTER}")).await;
        asks_for_a_code(visitor, "Ada@Example.com").await;
        visitor.sees(&["You have an account", "Ada@Example.com is registered already."]).await;
        visitor.presses("Use another address").await;
        asks_for_a_code(visitor, ADA).await;
        visitor.sees(&["ada@example.com is registered already."]).await;
        // The header's button has the same name.
        visitor.asks("document.querySelector('main .button').click()", json!([])).await;
        signs_in_with_that_address(visitor).await;
        visitor.is_at(CHAPTER).await;
    })
    .await;
}

#[tokio::test]
async fn an_unconfirmed_address_gets_another_code() {
    visit(async |visitor| {
        visitor.expects_in_the_console("400 (Bad Request)");
        visitor.goes_to("/sign-up").await;
        asks_for_a_code(visitor, ADA).await;
        visitor.sees(&["Enter your code"]).await;
        let first = code(visitor).await;
        visitor.goes_to("/sign-up").await;
        asks_for_a_code(visitor, ADA).await;
        visitor.sees(&["Enter your code"]).await;
        let second = code(visitor).await;
        visitor.presses("Send another code").await;
        visitor.sees(&["We’ve sent you a new code."]).await;
        let third = code(visitor).await;
        visitor.fills_in("Code", if first == third { &second } else { &first }).await;
        visitor.presses("Confirm").await;
        visitor.sees(&["That isn’t the code we sent you."]).await;
        visitor.fills_in("Code", &third).await;
        visitor.presses("Confirm").await;
        signs_in_with_that_address(visitor).await;
        visitor.sees(&["Your courses", ADA]).await;
    })
    .await;
}

#[tokio::test]
async fn a_code_can_be_entered_after_a_reload() {
    visit(async |visitor| {
        visitor.expects_in_the_console("400 (Bad Request)");
        visitor.goes_to(&format!("/sign-up?to={CHAPTER}")).await;
        asks_for_a_code(visitor, ADA).await;
        visitor.sees(&["We sent a code to", ADA]).await;
        let code = code(visitor).await;
        visitor.goes_to(&format!("/sign-up?to={CHAPTER}")).await;
        visitor.presses("I have a code already").await;
        visitor.sees(&["Enter your code", "the address that you signed up with"]).await;
        crate::looks::assert_accessible(visitor).await;
        // Of another address.
        visitor.fills_in("Email address", "eve@example.com").await;
        visitor.fills_in("Code", &code).await;
        visitor.presses("Confirm").await;
        visitor.sees(&["This code has expired, or isn’t for this address."]).await;
        // What has been entered is kept.
        visitor.presses("Send me a new code").await;
        visitor.sees(&["Create your account"]).await;
        visitor.fills_in("Email address", ADA).await;
        visitor.presses("I have a code already").await;
        let typed = visitor.asks("control('Email address').value", json!([])).await;
        assert_eq!(typed, Some(json!(ADA)));
        visitor.fills_in("Code", &code).await;
        visitor.presses("Confirm").await;
        signs_in_with_that_address(visitor).await;
        visitor.is_at(CHAPTER).await;
    })
    .await;
}

/// Cognito's errors for an address and for a code, and what the visitor is told.
const ERRORS: [(&str, &str, &str); 9] = [
    ("", "CodeDeliveryFailureException", "We couldn’t send an email to this address."),
    ("", "InvalidParameterException", "Enter a valid email address."),
    ("", "NotAuthorizedException", "New accounts can’t be created here right now."),
    ("", "TooManyRequestsException", "Too many attempts."),
    ("", "ANewException", "We couldn’t create your account."),
    ("Code", "ExpiredCodeException", "This code has expired, or isn’t for this address."),
    ("Code", "LimitExceededException", "Too many attempts."),
    ("Code", "TooManyFailedAttemptsException", "Too many attempts."),
    ("Code", "InternalErrorException", "We couldn’t create your account."),
];

#[tokio::test]
async fn cognito_s_errors_are_explained() {
    /// Cognito's answers from now on.
    const ANSWER: &str = "(() => {
        window.asks ??= window.fetch;
        window.fetch = async (target, ...how) => String(target).endsWith('/local/cognito-idp')
            ? Response.json({ __type: arguments[0] }, { status: 400 })
            : window.asks(target, ...how);
    })()";
    visit(async |visitor| {
        visitor.goes_to("/sign-up").await;
        let mut step = "";
        for (field, error, says) in ERRORS {
            if field != step {
                visitor.asks("(() => { window.fetch = window.asks; })()", json!([])).await;
                asks_for_a_code(visitor, ADA).await;
                visitor.fills_in(field, "123456").await;
                step = field;
            }
            visitor.asks(ANSWER, json!([error])).await;
            if step.is_empty() {
                asks_for_a_code(visitor, ADA).await;
            } else {
                visitor.presses("Confirm").await;
            }
            visitor.sees(&[says]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_pool_of_ours_the_issuer_is_asked_at_once() {
    visit(async |visitor| {
        visitor.runs_first(&answer_changed("/config.json", "json.sign_in.sign_up = null")).await;
        for path in ["/sign-in?to=/purchases", "/sign-up?to=/purchases"] {
            visitor.goes_to(path).await;
            visitor.finds("Send me a link").await;
        }
        visitor.follows_the_link(ADA).await;
        visitor.is_at("/purchases").await;
    })
    .await;
}

#[tokio::test]
async fn an_issuer_with_passkeys_is_linked_once_signed_in() {
    visit(async |visitor| {
        let pool = "json.sign_in.passkeys = 'https://x.auth.example.com/passkeys/add'";
        visitor.runs_first(&answer_changed("/config.json", pool)).await;
        visitor.goes_to("/").await;
        visitor.sees(&["All courses"]).await;
        visitor.sees_no_more("Add a passkey").await;
        visitor.goes_to("/sign-in?to=/").await;
        let long = "ada.king.countess.of.lovelace@analytical-engines.example.com";
        visitor.follows_the_link(long).await;
        visitor.finds("Add a passkey").await;
        let address = visitor.asks("control('Add a passkey').href", json!([])).await;
        let back = visitor.shop.site("/").replace(':', "%3A").replace('/', "%2F");
        let expected = format!(
            "https://x.auth.example.com/passkeys/add?client_id=coursegate-site&redirect_uri={back}"
        );
        assert_eq!(address, Some(json!(expected)));
        crate::looks::assert_accessible(visitor).await;
        // The address is cut off rather than covering the site's name.
        visitor.browser.show_on(PHONE).await;
        let beside = "document.querySelector('.mark').getBoundingClientRect().right
            < document.querySelector('.email').getBoundingClientRect().left";
        assert_eq!(visitor.asks(beside, json!([])).await, Some(json!(true)));
    })
    .await;
}
