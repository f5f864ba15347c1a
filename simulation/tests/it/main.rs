//! The invariants, generated and exhaustive.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

mod buying;
mod histories;
mod interleavings;
