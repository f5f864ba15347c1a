//! Observations of a storm: counts, violations, and who may and who must have access.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::script::Pair;

/// How many violations are described; the rest is only counted.
const WRONG_MAX: usize = 40;

/// Every participant reports to it. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<String, u64>,
    wrong: Vec<String>,
    may: BTreeSet<Pair>,
    must: BTreeSet<Pair>,
    applied: BTreeSet<String>,
}

/// What is known of a learner before a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Must {
    be_let_in: bool,
}

impl Observations {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Counts one more of these.
    pub fn count(&self, what: impl Into<String>) {
        *self.seen().counts.entry(what.into()).or_default() += 1;
    }

    /// The count of these.
    #[must_use]
    pub fn times(&self, what: &str) -> u64 {
        self.seen().counts.get(what).copied().unwrap_or_default()
    }

    /// All counts with this prefix, without it.
    #[must_use]
    pub fn counts(&self, start: &str) -> Vec<(String, u64)> {
        let seen = self.seen();
        let counts = seen.counts.iter();
        let counts = counts.filter_map(|(name, times)| {
            Some((name.strip_prefix(start)?.trim().to_owned(), *times))
        });
        counts.collect()
    }

    /// Records a violation.
    pub fn wrong(&self, what: String) {
        let mut seen = self.seen();
        match seen.wrong.len() {
            told if told < WRONG_MAX => seen.wrong.push(what),
            WRONG_MAX => seen.wrong.push("and more of that kind".to_owned()),
            _ => {}
        }
    }

    /// All violations.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.seen().wrong.clone()
    }

    /// Records that an event was reported as applied, which may happen once.
    pub fn applied(&self, event: &str) {
        if !self.seen().applied.insert(event.to_owned()) {
            self.wrong(format!("{event} was reported as applied twice"));
        }
    }

    /// From now on they may have access: Stripe is about to report their payment.
    pub fn may_have_access(&self, pair: &Pair) {
        self.seen().may.insert(pair.clone());
    }

    /// From now on they must have access: their payment was acknowledged.
    pub fn must_have_access(&self, pair: &Pair) {
        self.seen().must.insert(pair.clone());
    }

    /// An access check starts.
    #[must_use]
    pub fn access_check_starts(&self, pair: &Pair) -> Must {
        Must { be_let_in: self.seen().must.contains(pair) }
    }

    /// An access check ended with this result. `stays` says that access, once given, never ends.
    pub fn access_check_ends(&self, pair: &Pair, before: Must, has_access: bool, stays: bool) {
        let (learner, product) = pair;
        if has_access && !self.seen().may.contains(pair) {
            self.wrong(format!("{learner} has access to {product} without a reported payment"));
        }
        if !has_access && before.be_let_in {
            self.wrong(format!("{learner} has no access to {product} after paying"));
        }
        if has_access && stays {
            self.must_have_access(pair);
        }
    }
}
