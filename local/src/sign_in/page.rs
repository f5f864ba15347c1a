//! The sign-in page: an address, the link that an email would contain, and who is signed in.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::oauth::Authorization;
use super::{LEARNER_SCOPE, Link, LoginError, SignIn};
use crate::pages::{escape, page};

/// The form's target when no application has asked for a sign-in.
const FOR_A_SHELL: &str = "/local/sign-in";

pub(super) async fn form() -> Response {
    with_form(StatusCode::OK, FOR_A_SHELL, "", "")
}

#[derive(Deserialize)]
pub(super) struct Address {
    email: String,
}

pub(super) async fn mail_for_a_shell(
    State(sign_in): State<SignIn>,
    address: Result<Form<Address>, FormRejection>,
) -> Response {
    mail(&sign_in, FOR_A_SHELL, address, None)
}

/// Shows the email's content. A laptop sends no email.
pub(super) fn mail(
    sign_in: &SignIn,
    action: &str,
    address: Result<Form<Address>, FormRejection>,
    authorization: Option<Authorization>,
) -> Response {
    let Ok(Form(address)) = address else {
        return with_form(StatusCode::BAD_REQUEST, action, "", "Enter your email address.");
    };
    match sign_in.make_link(&address.email, authorization) {
        Ok(link) => page(
            StatusCode::OK,
            "Your sign-in link",
            &format!(
                "<p>No email is sent from this machine. The one to <strong>{}</strong> would contain \
                 this link; it works once, for 15 minutes:</p>\
                 <p><a class=\"button\" href=\"{link}\">Sign in</a></p><pre>{link}</pre>",
                escape(address.email.trim()),
                link = escape(&link),
            ),
        ),
        Err(LoginError::NoAddress(_)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            with_form(status, action, &address.email, "That is not an email address.")
        }
        Err(error) => failed(&error),
    }
}

pub(super) async fn open(State(sign_in): State<SignIn>, Path(code): Path<String>) -> Response {
    let Some(link) = sign_in.take_link(&code) else {
        return with_form(
            StatusCode::GONE,
            FOR_A_SHELL,
            "",
            "This link was already used or has expired. Request a new one.",
        );
    };
    let Link { email, authorization, .. } = link;
    if let Some(authorization) = authorization {
        return sign_in.redirect_back(email, authorization);
    }
    match sign_in.sign_in(&email, LEARNER_SCOPE) {
        Ok(tokens) => page(
            StatusCode::OK,
            "You are signed in",
            &format!(
                "<p>You are <strong>{}</strong>, learner id <code>{}</code>.</p>\
                 <p>This is your access token, for a shell. It works for an hour.</p>\
                 <pre>token='{}'</pre>\
                 <p><a href=\"/local\">What to try next</a></p>",
                escape(email.trim()),
                escape(&tokens.learner),
                escape(&tokens.access_token),
            ),
        ),
        Err(error) => failed(&error),
    }
}

fn failed(error: &LoginError) -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    page(status, "Sign-in failed", &format!("<p>{}</p>", escape(&error.to_string())))
}

/// The e-mails with a code that signing up would have sent.
pub(super) async fn mails(State(sign_in): State<SignIn>) -> Response {
    let mails = sign_in.mails();
    let rows = mails.iter().map(|mail| {
        let (to, code) = (escape(&mail.to), escape(&mail.code));
        format!("<tr><th scope=\"row\">{to}</th><td>Your code is <code>{code}</code></td></tr>")
    });
    let rows: String = rows.collect();
    let body = if rows.is_empty() {
        "<p>Nobody has been sent a code since the stack was started.</p>".to_owned()
    } else {
        format!(
            "<p>No email is sent from this machine. These are the latest ones, newest first.</p>\
             <table>{rows}</table>"
        )
    };
    page(StatusCode::OK, "E-mails", &body)
}

pub(super) fn with_form(
    status: StatusCode,
    action: &str,
    address: &str,
    problem: &str,
) -> Response {
    let problem = match problem {
        "" => String::new(),
        problem => format!("<p class=\"problem\" role=\"alert\">{problem}</p>"),
    };
    page(
        status,
        "Sign in",
        &format!(
            "{problem}<form method=\"post\" action=\"{}\">\
             <label for=\"email\">Email address</label>\
             <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"email\" \
             value=\"{}\" required>\
             <button>Send me a link</button></form>",
            escape(action),
            escape(address),
        ),
    )
}
