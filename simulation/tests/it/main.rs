//! Invariants, checked with generated histories and exhaustively.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test that can't continue should stop"
)]

mod buying;
mod histories;
mod interleavings;
