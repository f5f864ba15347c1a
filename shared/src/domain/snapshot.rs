//! Stripe's current state of something that doesn't only move forward.
//!
//! Facts are joined so that their order doesn't matter. That can't work where Stripe's state goes
//! back and forth, as a dispute's does between verdicts and appeals. There an event is only a hint:
//! we read our version of the source, then the object from Stripe, and store the answer only if our
//! version is still the same. Each answer gets the next number, so of two the higher is newer.

/// Stripe's answer, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshot<T> {
    /// Counts the answers, from 1. First, so that the newer of two snapshots is the greater.
    pub number: u64,
    /// What Stripe answered.
    pub value: T,
}

impl<T> Snapshot<T> {
    /// The next answer after this one.
    #[must_use]
    pub fn after(before: Option<&Self>, value: T) -> Self {
        Self { number: before.map_or(0, |before| before.number).saturating_add(1), value }
    }
}
