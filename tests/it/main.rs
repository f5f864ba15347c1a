//! Tests across crates, one module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

mod appeals;
mod catalog;
mod catalog_file;
mod charges;
mod checkout;
mod content;
mod contract;
mod convergence;
mod costs;
mod documents;
mod endpoint;
mod erasure;
mod faults;
mod first_purchases;
mod key;
mod limits;
mod links;
mod log_hygiene;
mod ministack;
mod money;
mod moto;
mod openapi;
mod payment_owners;
mod reading;
mod replay;
mod reversals;
mod sale;
mod secrets;
mod seller;
mod site;
mod site_deploy;
mod stack;
mod storm;
mod strangers;
mod template;
mod tidy;
mod trouble;
mod tutor;
mod two_shops;
mod unknown;
mod unknown_sources;
mod webhook;
