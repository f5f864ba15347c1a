//! Test support: real services on free ports, and a ledger in memory with injectable faults.
//!
//! - [`altered`]: the Stripe simulator with altered responses.
//! - [`claims`]: claims that no text may make to somebody who may have paid.
//! - [`executables`]: the functions' development builds.
//! - [`flaky`]: any ledger, with injected faults.
//! - [`instances`]: the webhook function as Lambda keeps it warm.
//! - [`meter`]: a proxy in front of DynamoDB that counts requests and units.
//! - [`world`]: DynamoDB, Secrets Manager and Stripe in this process, and the three functions.
//! - [`moto`]: another DynamoDB and Secrets Manager, to compare with.
//! - [`ministack`]: another emulator, which deploys the whole template and runs the functions.
//! - [`requests`]: API Gateway's and the Function URL's events.
//! - [`sessions`]: Stripe's events about checkout sessions, one per line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

pub mod altered;
pub mod claims;
pub mod executables;
pub mod flaky;
pub mod instances;
pub mod meter;
pub mod ministack;
pub mod moto;
pub mod relay;
pub mod requests;
pub mod sessions;
pub mod storm;
pub mod world;
