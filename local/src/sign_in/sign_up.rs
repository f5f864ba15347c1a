//! Accounts without a password: the three calls of Cognito's API that need no credentials, in its
//! JSON protocol and with its errors.
//!
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_SignUp.html>

use std::sync::PoisonError;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Learner, SITE_CLIENT, SignIn, normalized};
use crate::observer::Served;
use crate::state::StateError;
use crate::{clock, random};

/// In place of `https://cognito-idp.REGION.amazonaws.com/`.
pub(crate) const PATH: &str = "/local/cognito-idp";
const TARGET: &str = "AWSCognitoIdentityProviderService.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

const KIND: &str = "unconfirmed";
/// How long a code works; Cognito's too.
const CODE_SECONDS: u64 = 24 * 60 * 60;
/// Cognito doesn't publish its limits, only that there are some.
const ATTEMPTS_MAX: usize = 5;
const WINDOW_SECONDS: u64 = 15 * 60;
/// The e-mails that are remembered.
const MAILS_MAX: usize = 20;

/// An account whose address isn't confirmed.
#[derive(Serialize, Deserialize)]
struct Unconfirmed {
    id: String,
    code: String,
    code_expires_at: u64,
    /// When codes were sent.
    sent: Vec<u64>,
    /// When wrong codes were entered.
    missed: Vec<u64>,
}

/// An e-mail with a code, which nobody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) to: String,
    pub(super) code: String,
}

/// Cognito's errors that the calls can end in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the local stack has no such call")]
    UnknownOperation,
    #[error("{0}")]
    Serialization(String),
    #[error("User pool client {0} does not exist.")]
    ResourceNotFound(String),
    #[error("{0}")]
    InvalidParameter(&'static str),
    #[error("User already exists")]
    UsernameExists,
    #[error("Invalid verification code provided, please try again.")]
    CodeMismatch,
    #[error("Invalid code provided, please request a code again.")]
    ExpiredCode,
    #[error("User cannot be confirmed. Current status is CONFIRMED")]
    NotAuthorized,
    #[error("Attempt limit exceeded, please try after some time.")]
    LimitExceeded,
    #[error(transparent)]
    InternalError(#[from] StateError),
}

impl Refusal {
    fn name(&self) -> &'static str {
        match self {
            Refusal::UnknownOperation => "UnknownOperationException",
            Refusal::Serialization(_) => "SerializationException",
            Refusal::ResourceNotFound(_) => "ResourceNotFoundException",
            Refusal::InvalidParameter(_) => "InvalidParameterException",
            Refusal::UsernameExists => "UsernameExistsException",
            Refusal::CodeMismatch => "CodeMismatchException",
            Refusal::ExpiredCode => "ExpiredCodeException",
            Refusal::NotAuthorized => "NotAuthorizedException",
            Refusal::LimitExceeded => "LimitExceededException",
            Refusal::InternalError(_) => "InternalErrorException",
        }
    }

    fn response(&self) -> Response {
        let status = match self {
            Refusal::InternalError(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::UnknownOperation
            | Refusal::Serialization(_)
            | Refusal::ResourceNotFound(_)
            | Refusal::InvalidParameter(_)
            | Refusal::UsernameExists
            | Refusal::CodeMismatch
            | Refusal::ExpiredCode
            | Refusal::NotAuthorized
            | Refusal::LimitExceeded => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "__type": self.name(), "message": self.to_string() });
        (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response()
    }
}

/// The parameters of all three calls.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    client_id: String,
    username: String,
    password: Option<String>,
    confirmation_code: Option<String>,
    #[serde(default)]
    user_attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    name: String,
    value: String,
}

impl Request {
    /// The account's address.
    fn email(&self) -> Result<String, Refusal> {
        let email = normalized(&self.username);
        email.ok_or(Refusal::InvalidParameter("Username should be an email."))
    }
}

/// One call, which `X-Amz-Target` names.
pub(super) async fn call(
    State(sign_in): State<SignIn>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let action = target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default();
    match sign_in.answer(action, &body, clock::now().as_secs()) {
        Ok(answer) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], answer.to_string()).into_response(),
        Err(refusal) => refusal.response(),
    }
}

impl SignIn {
    fn answer(&self, action: &str, body: &[u8], now: u64) -> Result<Value, Refusal> {
        let request = || {
            let request: Request = serde_json::from_slice(body)
                .map_err(|error| Refusal::Serialization(error.to_string()))?;
            if request.client_id == SITE_CLIENT {
                Ok(request)
            } else {
                Err(Refusal::ResourceNotFound(request.client_id))
            }
        };
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            "SignUp" => self.sign_up(&request()?, now),
            "ConfirmSignUp" => self.confirm(&request()?, now),
            "ResendConfirmationCode" => self.resend(&request()?, now),
            _ => Err(Refusal::UnknownOperation),
        }
    }

    fn sign_up(&self, request: &Request, now: u64) -> Result<Value, Refusal> {
        let email = request.email()?;
        if request.password.is_some() {
            let message = "The local stack has no passwords: leave out Password.";
            return Err(Refusal::InvalidParameter(message));
        }
        let mut attributes = request.user_attributes.iter();
        if !attributes.any(|it| it.name == "email" && normalized(&it.value) == Some(email.clone()))
        {
            let message = "The attribute email has to be the username.";
            return Err(Refusal::InvalidParameter(message));
        }
        if self.is_confirmed(&email)? || self.unconfirmed(&email)?.is_some() {
            return Err(Refusal::UsernameExists);
        }
        let account = Unconfirmed {
            id: random::uuid(),
            code: String::new(),
            code_expires_at: 0,
            sent: Vec::new(),
            missed: Vec::new(),
        };
        let id = account.id.clone();
        let delivery = self.send_code(&email, account, now)?;
        Ok(json!({ "UserConfirmed": false, "UserSub": id, "CodeDeliveryDetails": delivery }))
    }

    fn confirm(&self, request: &Request, now: u64) -> Result<Value, Refusal> {
        let email = request.email()?;
        if self.is_confirmed(&email)? {
            return Err(Refusal::NotAuthorized);
        }
        // As with PreventUserExistenceErrors, which the template's client has.
        let Some(mut account) = self.unconfirmed(&email)? else {
            return Err(Refusal::ExpiredCode);
        };
        if recent(&mut account.missed, now) >= ATTEMPTS_MAX {
            return Err(Refusal::LimitExceeded);
        }
        if now >= account.code_expires_at {
            return Err(Refusal::ExpiredCode);
        }
        if request.confirmation_code.as_ref() != Some(&account.code) {
            account.missed.push(now);
            self.inner.entries.put(KIND, &email, &account)?;
            return Err(Refusal::CodeMismatch);
        }
        let learner = Learner { id: account.id, email: email.clone() };
        self.inner.entries.put("learner", &email, &learner)?;
        self.inner.entries.remove(KIND, &email)?;
        Ok(json!({}))
    }

    fn resend(&self, request: &Request, now: u64) -> Result<Value, Refusal> {
        let email = request.email()?;
        if self.is_confirmed(&email)? {
            return Err(Refusal::InvalidParameter("User is already confirmed."));
        }
        let delivery = match self.unconfirmed(&email)? {
            Some(account) => self.send_code(&email, account, now)?,
            // As if there were one.
            None => delivery(&email),
        };
        Ok(json!({ "CodeDeliveryDetails": delivery }))
    }

    fn is_confirmed(&self, email: &str) -> Result<bool, StateError> {
        Ok(self.inner.entries.get::<Learner>("learner", email)?.is_some())
    }

    fn unconfirmed(&self, email: &str) -> Result<Option<Unconfirmed>, StateError> {
        self.inner.entries.get(KIND, email)
    }

    /// Stores the account with a new code, and shows the e-mail that Cognito would send.
    fn send_code(&self, email: &str, mut account: Unconfirmed, now: u64) -> Result<Value, Refusal> {
        if recent(&mut account.sent, now) >= ATTEMPTS_MAX {
            return Err(Refusal::LimitExceeded);
        }
        account.sent.push(now);
        account.code = random::digits();
        account.code_expires_at = now.saturating_add(CODE_SECONDS);
        self.inner.entries.put(KIND, email, &account)?;
        let mail = Mail { to: email.to_owned(), code: account.code };
        self.inner.observer.served(&Served {
            method: "POST".to_owned(),
            path: PATH.to_owned(),
            status: 200,
            duration: std::time::Duration::ZERO,
            function: None,
            note: Some(format!("e-mail to {}: the code is {}", mail.to, mail.code)),
        });
        let mut mails = self.inner.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails.push(mail);
        if mails.len() > MAILS_MAX {
            mails.remove(0);
        }
        Ok(delivery(email))
    }

    /// The latest e-mails, newest first.
    pub(super) fn mails(&self) -> Vec<Mail> {
        let mails = self.inner.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().rev().cloned().collect()
    }
}

/// Drops the times outside the window, and returns how many are left.
fn recent(times: &mut Vec<u64>, now: u64) -> usize {
    times.retain(|time| now < time.saturating_add(WINDOW_SECONDS));
    times.len()
}

/// Where the code went, as far as Cognito says: `a***@e***`.
fn delivery(email: &str) -> Value {
    let mask = |part: &str| part.chars().take(1).chain("***".chars()).collect::<String>();
    let masked = email.split('@').map(mask).collect::<Vec<_>>().join("@");
    json!({ "AttributeName": "email", "DeliveryMedium": "EMAIL", "Destination": masked })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Observer;
    use crate::state::Entries;

    const BEGIN: u64 = 1_000_000;

    fn pool() -> SignIn {
        let entries = Entries::open(None).unwrap();
        SignIn::open("http://site", "http://issuer", entries, Observer::new(|_| ())).unwrap()
    }

    /// The error that a call ends in; empty if it succeeds.
    fn call(pool: &SignIn, action: &str, code: &str, at: u64) -> &'static str {
        let body = json!({
            "ClientId": SITE_CLIENT,
            "Username": "ada@example.com",
            "UserAttributes": [{ "Name": "email", "Value": "ada@example.com" }],
            "ConfirmationCode": code,
        });
        let answer = pool.answer(action, body.to_string().as_bytes(), at);
        answer.map_or_else(|refusal| refusal.name(), |_| "")
    }

    fn code(pool: &SignIn) -> String {
        pool.mails()[0].code.clone()
    }

    #[test]
    fn a_code_works_for_a_day() {
        for (seconds_later, error) in [(0, ""), (86_399, ""), (86_400, "ExpiredCodeException")] {
            let pool = pool();
            assert_eq!(call(&pool, "SignUp", "", BEGIN), "");
            let confirmed = call(&pool, "ConfirmSignUp", &code(&pool), BEGIN + seconds_later);
            assert_eq!(confirmed, error, "{seconds_later} s later");
        }
    }

    #[test]
    fn codes_are_limited_for_a_quarter_of_an_hour() {
        let pool = pool();
        assert_eq!(call(&pool, "SignUp", "", BEGIN), "");
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(call(&pool, "ConfirmSignUp", "none", BEGIN), "CodeMismatchException");
        }
        for _ in 1..ATTEMPTS_MAX {
            assert_eq!(call(&pool, "ResendConfirmationCode", "", BEGIN), "");
        }
        for action in ["ConfirmSignUp", "ResendConfirmationCode"] {
            let refused = call(&pool, action, &code(&pool), BEGIN + WINDOW_SECONDS - 1);
            assert_eq!(refused, "LimitExceededException", "{action}");
        }
        let later = BEGIN + WINDOW_SECONDS;
        assert_eq!(call(&pool, "ResendConfirmationCode", "", later), "");
        assert_eq!(call(&pool, "ConfirmSignUp", &code(&pool), later), "");
    }
}
