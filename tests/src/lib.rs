//! What tests are made with: real pieces on free ports, and a ledger in memory that can be told to
//! fail.
//!
//! - [`altered`]: the Stripe simulator, with something changed in what it answers.
//! - [`claims`]: what nothing may say to somebody who may have paid.
//! - [`flaky`]: any ledger, with faults on demand.
//! - [`instances`]: the webhook function as Lambda keeps it warm.
//! - [`meter`]: in front of any DynamoDB, counts what is called and what it would cost.
//! - [`world`]: DynamoDB, Secrets Manager and Stripe in this process, and the three functions.
//! - [`moto`]: another DynamoDB and Secrets Manager, as a second opinion.
//! - [`requests`]: API Gateway's and the Function URL's events.
//! - [`sessions`]: Stripe's events about checkout sessions, in a line each.

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
pub mod flaky;
pub mod instances;
pub mod meter;
pub mod moto;
pub mod relay;
pub mod requests;
pub mod sessions;
pub mod storm;
pub mod world;
