//! Stripe's current state of an object whose status can go back.
//!
//! Facts are joined so that their order doesn't matter. That doesn't work if Stripe's state goes
//! back and forth, as a dispute's does between verdicts and appeals. Then an event is only a hint:
//! we read our version of the source, then the object from Stripe, and store the answer only if our
//! version is still the same. Each answer gets the next number, so the higher of two is the newer.

/// Stripe's answer and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshot<T> {
    /// Counts the answers, from 1. It is the first field, so that the newer of two snapshots is the
    /// greater.
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
