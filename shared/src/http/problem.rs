//! Errors as RFC 9457 problems: a stable type, a status, and a sentence that says what to do. What
//! only the operator may know is logged and never part of a problem.

mod usecases;

use std::borrow::Cow;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::response::respond;
use crate::apply::ApplyError;
use crate::ports::LedgerError;

/// When to retry if a service that we need is unavailable.
const RETRY_SECONDS: i64 = 2;

macro_rules! problems {
    ($($(#[$doc:meta])* $kind:ident $status:literal $name:literal $title:literal;)*) => {
        /// The kinds of problem. Clients may rely on their types.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProblemKind {
            $($(#[$doc])* $kind,)*
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$kind => $status,)* }
            }

            /// The HTTP status as a type.
            #[must_use]
            pub fn status_code(self) -> StatusCode {
                StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The last part of `type`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The `title`, which never changes.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

problems! {
    /// The body is not JSON.
    MalformedJson 400 "malformed-json" "The request body isn't valid JSON";
    /// The webhook got a request that Stripe didn't sign.
    BadSignature 400 "bad-signature" "The Stripe signature is missing or invalid";
    /// The request has no valid token.
    Unauthorized 401 "unauthorized" "A valid access token is required";
    /// The token doesn't allow this.
    Forbidden 403 "forbidden" "The access token doesn't allow this request";
    /// The learner may not open this.
    AccessDenied 403 "access-denied" "The learner doesn't have access";
    /// No such route.
    UnknownRoute 404 "unknown-route" "Route not found";
    /// No such course.
    UnknownCourse 404 "unknown-course" "Course not found";
    /// No such chapter.
    UnknownChapter 404 "unknown-chapter" "Chapter not found";
    /// No such product.
    UnknownProduct 404 "unknown-product" "Product not found";
    /// No such price, or it isn't for sale now.
    UnknownPrice 404 "unknown-price" "This price isn't for sale";
    /// No such session, or another learner's.
    UnknownSession 404 "unknown-session" "Checkout session not found";
    /// No such upgrade link, or one that has expired.
    UnknownLink 404 "unknown-link" "This link doesn't work";
    /// The webhook accepts only POST.
    MethodNotAllowed 405 "method-not-allowed" "Only POST is allowed";
    /// The learner has it already.
    AlreadyEntitled 409 "already-entitled" "The learner already has access to this product";
    /// A payment for it is processing.
    PaymentProcessing 409 "payment-processing" "A payment for this product is still processing";
    /// A payment for it is disputed, and the bank has not decided.
    PaymentDisputed 409 "payment-disputed" "A payment for this product is disputed";
    /// The learner has a checkout open that an upgrade link must not close yet.
    CheckoutOpenElsewhere 409 "checkout-open-elsewhere" "Another checkout is already open";
    /// The body is larger than we accept.
    BodyTooLarge 413 "body-too-large" "The request body is too large";
    /// A field is unknown, missing or invalid.
    InvalidField 422 "invalid-field" "A field is invalid";
    /// Too many requests.
    RateLimited 429 "rate-limited" "Too many requests";
    /// An error on our side that retrying doesn't fix.
    Internal 500 "internal" "Something went wrong on our side";
    /// Stripe refuses our request, because the shop isn't set up correctly.
    StripeRefused 500 "stripe-refused" "The shop can't sell this right now";
    /// A service that we need can't be reached.
    Unavailable 503 "unavailable" "The service is temporarily unavailable";
    /// Stripe can't be reached, or limits our requests.
    StripeUnavailable 503 "stripe-unavailable" "The payment service is temporarily unavailable";
}

/// A problem to respond with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    retry_after_seconds: Option<i64>,
    members: Map<String, Value>,
}

/// <https://www.rfc-editor.org/rfc/rfc9457>
#[derive(Serialize)]
struct ProblemDocument<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of this kind; the detail is for the client to read.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), retry_after_seconds: None, members: Map::new() }
    }

    /// The request took too long, or others were quicker each time. The next one may succeed.
    #[must_use]
    pub fn try_again() -> Self {
        Self::new(ProblemKind::Unavailable, "Please try again in a moment.").retry_after(1)
    }

    /// Adds the fields of a struct, which RFC 9457 calls extension members.
    #[must_use]
    pub fn with(self, members: &impl Serialize) -> Self {
        match serde_json::to_value(members) {
            Ok(Value::Object(members)) => Self { members, ..self },
            // Callers pass structs. Anything else is left out.
            Ok(_) | Err(_) => self,
        }
    }

    /// Tells the client to retry after this many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: i64) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What to do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The number of seconds after which to retry; `None` if retrying doesn't help.
    #[must_use]
    pub const fn retry_after_seconds(&self) -> Option<i64> {
        self.retry_after_seconds
    }

    /// The response. Its `instance` is `request_id`, by which it can be found in the logs.
    #[must_use]
    pub fn response(&self, request_id: Option<&str>) -> Response<Body> {
        let document = ProblemDocument {
            kind: format!("urn:coursegate:problem:{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status(),
            detail: &self.detail,
            instance: request_id,
            members: &self.members,
        };
        let mut headers = vec![("content-type", "application/problem+json".to_owned())];
        if let Some(seconds) = self.retry_after_seconds {
            headers.push(("retry-after", seconds.to_string()));
        }
        respond(
            self.kind.status_code(),
            &headers,
            serde_json::to_string(&document).unwrap_or_default(),
        )
    }
}

impl From<&LedgerError> for Problem {
    fn from(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) => Self::new(
                ProblemKind::Unavailable,
                "Nothing is lost. Please try again in a moment.",
            )
            .retry_after(RETRY_SECONDS),
            LedgerError::Refused(_) | LedgerError::Unreadable(_) => {
                Self::new(ProblemKind::Internal, "Retrying won't help. We have been notified.")
            }
        }
    }
}

impl From<&ApplyError> for Problem {
    fn from(error: &ApplyError) -> Self {
        match error {
            ApplyError::Ledger(error) => Self::from(error),
            ApplyError::Stripe(_) | ApplyError::Contended => Self::new(
                ProblemKind::Unavailable,
                "Nothing is lost. Please try again in a moment.",
            )
            .retry_after(RETRY_SECONDS),
        }
    }
}
