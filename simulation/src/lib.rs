//! Proven, not promised: a model of Stripe, and the webhook's own code run against it.
//!
//! - [`oracle`]: what happens at Stripe, what Stripe tells, and who must have access in the end.
//! - [`run`]: functions that are told it, in an order that is chosen step by step.
//! - [`world`]: what they ask for meanwhile, and how that fails.
//! - [`invariant`]: what must hold after each commit, at each answer, and at the end.
//! - [`mutant`]: what is wrong on purpose, to see whether the invariants notice.
//! - [`history`]: all of this generated from a seed.
//! - [`buying`]: people who buy, with checkout's own code and a Stripe that opens and closes
//!   sessions.
//! - [`search`]: plays generated histories, and makes one that breaks an invariant shorter.
//! - [`interleaving`]: all of it, exhaustively, for a few events.
//! - [`memory`], [`clock`], [`rendering`], [`random`]: a ledger in memory with every condition of
//!   the table's, a clock that is moved by hand, Stripe's objects as JSON, numbers from a seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a simulation that can't go on should stop where it is"
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

/// The shop whose story is told.
#[must_use]
pub fn shop() -> Shop {
    Shop { mode: Mode::Test, mark: rendering::MARK.parse().unwrap() }
}
