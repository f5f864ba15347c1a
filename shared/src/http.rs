//! The HTTP adapter: requests, responses and problems.

pub mod answers;
pub mod problem;
mod request;
mod response;

pub use problem::{Problem, ProblemKind};
pub use request::{Caller, Identity, Incoming, named_learner};
pub use response::{html, json, redirect};

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::time::Timestamp;

/// How long a function that talks to Stripe works on an answer. One call to Stripe may take three
/// attempts, and a request several calls. This is less than the function's timeout, so that a slow
/// Stripe ends in an answer of ours. The next request goes on from wherever this one was cut short,
/// as after a crash.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(24);

/// A time in the API's format: RFC 3339, in UTC.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.unix_seconds());
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The date of a time in UTC, for people: `30 December 2026`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.unix_seconds());
    at.map(|at| format!("{} {} {}", at.day(), at.month(), at.year())).unwrap_or_default()
}
