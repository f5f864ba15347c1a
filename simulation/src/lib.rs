//! Simulation testing: a model of Stripe, and the webhook's and checkout's own code run against it.
//!
//! - [`oracle`]: what happens at Stripe, which events it sends, and who must have access in the
//!   end.
//! - [`run`]: functions that handle the events, in an order that is chosen step by step.
//! - [`world`]: the services that they call, and how those fail.
//! - [`invariant`]: what must hold after each commit, at each response, and at the end.
//! - [`mutant`]: deliberate defects, to check that the invariants catch them.
//! - [`history`]: all of this generated from a seed.
//! - [`buying`]: learners who buy, with checkout's own code and a Stripe that opens and closes
//!   sessions.
//! - [`search`]: plays generated histories, and shrinks one that breaks an invariant.
//! - [`interleaving`]: every interleaving of a few events.
//! - [`memory`], [`clock`], [`rendering`], [`random`]: a ledger in memory with all of the table's
//!   conditions, a clock that is moved by hand, Stripe's objects as JSON, seeded random numbers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a simulation that can't continue should stop"
)]

pub mod buying;
pub mod clock;
pub mod history;
pub mod interleaving;
pub mod invariant;
pub mod memory;
pub mod mutant;
pub mod oracle;
pub mod random;
pub mod rendering;
pub mod run;
pub mod search;
mod secret;
pub mod world;

use shared::domain::decide::Mode;
use shared::domain::shop::Shop;

/// The shop under test.
#[must_use]
pub fn shop() -> Shop {
    Shop { mode: Mode::Test, mark: rendering::MARK.parse().unwrap() }
}
