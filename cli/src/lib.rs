//! What the `coursegate` command does beyond its command line.
//!
//! - [`deployment`]: which deployment is meant, and how it is reached.
//! - `aws`: what only a deployment has of AWS; with the feature `aws`.
//! - [`account`]: the Stripe account, with the operator's key.
//! - [`catalog`]: `catalog.toml` becomes the shop, in Stripe and in the table.
//! - [`webhook`]: the endpoint at Stripe and its signing secret.
//! - [`lambda`]: the webhook's instances, replaced when a secret has leaked.
//! - [`key`]: the functions' Stripe API keys, tested before they are stored.
//! - [`doctor`]: what is wrong with a deployment, and what to do about it.
//! - [`why`]: why a product is open or closed for a learner.
//! - [`mcp`]: the tutor's tools over standard input and output.
//! - [`manual`]: access that is given and taken back by hand.
//! - [`events`]: replay, and the quarantine.
//! - [`double_payments`]: learners who paid twice.
//! - [`unknown_sources`]: access that Stripe doesn't say was paid for.
//! - [`learner`]: exports and erases a learner's data.
//! - [`site`]: the course site and the chapters, sent into the stack's buckets.
//! - [`s3`]: what is in those buckets.
//! - [`calendar`]: times as they are read and written.

pub mod account;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(not(feature = "aws"))]
#[path = "no_aws.rs"]
mod aws;
pub mod calendar;
pub mod catalog;
pub mod deployment;
pub mod doctor;
pub mod double_payments;
pub mod events;
pub mod issuer;
pub mod key;
pub mod lambda;
pub mod learner;
pub mod manual;
pub mod mcp;
mod probe;
pub mod s3;
pub mod signed;
pub mod site;
pub mod unknown_sources;
pub mod webhook;
pub mod why;
