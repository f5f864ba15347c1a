//! Fuzz targets: properties that hold for any input from outside.
//!
//! A target is a function that takes any bytes and panics if a property fails. libFuzzer searches
//! for such bytes, guided by coverage (`cargo xtask fuzz`); a test replays those of `fuzz/corpus`
//! and mutates them ([`mutation`]).
//!
//! - [`webhook`]: requests to the Function URL.
//! - [`api`]: requests through API Gateway.
//! - [`files`]: Stripe's API responses, and operators' files.
//! - [`message`]: requests as readable text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a target stops when a property fails"
)]

pub mod api;
mod database;
pub mod files;
mod ledger;
pub mod message;
pub mod mutation;
mod signing;
pub mod tutor;
pub mod webhook;

use std::path::{Path, PathBuf};

use lambda_http::{Body, Response};
use serde_json::Value;
use shared::domain::time::Timestamp;

/// A fuzz target.
pub struct Target {
    /// The name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes any bytes, and panics if a property fails.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target { name: "signature", run: webhook::signature },
    Target { name: "delivery", run: webhook::delivery },
    Target { name: "signed", run: webhook::signed },
    Target { name: "checkout", run: api::checkout },
    Target { name: "entitlements", run: api::entitlements },
    Target { name: "tutor", run: tutor::tutor },
    Target { name: "session", run: files::session },
    Target { name: "catalog", run: files::catalog },
];

/// The time of all targets: when the samples of `events/` were sent.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_240_000);

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// The project's root.
#[must_use]
pub fn root() -> &'static Path {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    fuzz.parent().unwrap_or(fuzz)
}

/// A target's corpus, sorted by name.
#[must_use]
pub fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs a future that is ready at once: nothing here waits for another process.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A response's status and JSON body; null if there is none.
fn answered(response: &Response<Body>) -> (u16, Value) {
    let body: &[u8] = match response.body() {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        Body::Empty | _ => &[],
    };
    (response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default())
}

/// A refusal is a problem document that says what to do.
#[track_caller]
fn assert_problem(response: &Response<Body>) {
    let (status, body) = answered(response);
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    assert_eq!(kind, Some("application/problem+json"), "{status} {body}");
    assert_eq!(body["status"], status, "{body}");
    let name = body["type"].as_str().unwrap_or_default();
    assert!(name.starts_with("urn:coursegate:problem:"), "{status} {body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{status} {body}");
}
