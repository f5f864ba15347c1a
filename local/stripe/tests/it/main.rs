//! The simulator as its users see it: over HTTP, through Stripe's kind of client, and as a receiver
//! of its webhooks.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what goes wrong in a test is to fail it"
)]

mod account;
mod api;
mod catalog;
mod checkout;
mod client;
mod deliveries;
mod disputes;
mod early_fraud_warnings;
mod event_destinations;
mod faults;
mod idempotency;
mod lists;
mod objects;
mod page;
mod refunds;
mod restart;
mod shop;
mod webhooks;
