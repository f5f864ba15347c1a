//! Proven, not promised: a model of Stripe, and the webhook's own code run against it.
//!
//! - [`oracle`]: what happens at Stripe, what Stripe tells, and who must have access in the end.
//! - [`rendering`]: Stripe's objects as JSON.
//! - [`memory`]: a ledger and access reader in memory, with every condition of the table's.
//! - [`clock`]: a clock that is moved by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a simulation that can't go on should stop where it is"
)]

pub mod clock;
pub mod memory;
pub mod oracle;
pub mod rendering;
