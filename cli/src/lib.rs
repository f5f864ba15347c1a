//! What the `coursegate` command does beyond its command line.
//!
//! - [`deployment`]: which deployment is meant, and how it is reached.
//! - [`account`]: the Stripe account, with the operator's key.
//! - [`catalog`]: `catalog.toml` becomes the shop, in Stripe and in the table.
//! - [`webhook`]: the endpoint at Stripe and its signing secret.
//! - [`key`]: the functions' Stripe API key, tried before it is stored.
//! - [`doctor`]: what is wrong with a deployment, and what to do about it.

pub mod account;
pub mod catalog;
pub mod deployment;
pub mod doctor;
pub mod key;
pub mod webhook;
