//! Statuses that Stripe has reported.

use std::collections::BTreeMap;

use super::super::time::Timestamp;

/// The statuses that Stripe reported for an object, each with the earliest time. It only grows, so
/// the order of the observations doesn't matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusHistory<S: Ord>(BTreeMap<S, Timestamp>);

impl<S: Ord + Copy> StatusHistory<S> {
    /// One status, reported at this time.
    #[must_use]
    pub fn once(status: S, at: Timestamp) -> Self {
        Self(BTreeMap::from([(status, at)]))
    }

    /// Each status and when it was first reported, in the order of the statuses.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (S, Timestamp)> {
        self.0.iter().map(|(status, at)| (*status, *at))
    }

    /// When this status was first reported; `None` if it wasn't.
    #[must_use]
    pub fn at(&self, status: S) -> Option<Timestamp> {
        self.0.get(&status).copied()
    }

    pub(super) fn furthest(&self) -> Option<S> {
        self.0.keys().next_back().copied()
    }

    pub(super) fn join(mut self, other: Self) -> Self {
        for (status, at) in other.0 {
            let known = self.0.entry(status).or_insert(at);
            *known = at.min(*known);
        }
        self
    }
}

impl<S: Ord> FromIterator<(S, Timestamp)> for StatusHistory<S> {
    fn from_iter<I: IntoIterator<Item = (S, Timestamp)>>(statuses: I) -> Self {
        Self(statuses.into_iter().collect())
    }
}
