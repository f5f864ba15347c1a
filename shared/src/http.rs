//! The HTTP adapter: requests, responses and problems.

mod answer;
pub mod problem;
mod request;

pub use answer::{html, json, redirect};
pub use problem::{Problem, ProblemKind};
pub use request::{Caller, Incoming};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::time::Timestamp;

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
