//! What is seen in a storm: counts, what must not be, and who may and who must be let in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::script::Pair;

/// So many faults are told in words; the rest is only counted.
const WRONG_MAX: usize = 40;

/// Whoever takes part tells it. Clones are the same witness.
#[derive(Debug, Clone, Default)]
pub struct Witness {
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

/// What is known of a learner before they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Must {
    be_let_in: bool,
}

impl Witness {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// One more of these.
    pub fn count(&self, what: impl Into<String>) {
        *self.seen().counts.entry(what.into()).or_default() += 1;
    }

    /// How often these have been counted.
    #[must_use]
    pub fn times(&self, what: &str) -> u64 {
        self.seen().counts.get(what).copied().unwrap_or_default()
    }

    /// All that starts so, without the start.
    #[must_use]
    pub fn counts(&self, start: &str) -> Vec<(String, u64)> {
        let seen = self.seen();
        let counts = seen.counts.iter();
        let counts = counts.filter_map(|(name, times)| {
            Some((name.strip_prefix(start)?.trim().to_owned(), *times))
        });
        counts.collect()
    }

    /// This must not be.
    pub fn wrong(&self, what: String) {
        let mut seen = self.seen();
        match seen.wrong.len() {
            told if told < WRONG_MAX => seen.wrong.push(what),
            WRONG_MAX => seen.wrong.push("and more of that kind".to_owned()),
            _ => {}
        }
    }

    /// All that must not be.
    #[must_use]
    pub fn all_wrong(&self) -> Vec<String> {
        self.seen().wrong.clone()
    }

    /// An event is said to have been applied, which happens once.
    pub fn applied(&self, event: &str) {
        if !self.seen().applied.insert(event.to_owned()) {
            self.wrong(format!("{event} was answered with applied twice"));
        }
    }

    /// From now on they may be let in: Stripe is about to say that they have paid.
    pub fn may_be_let_in(&self, pair: &Pair) {
        self.seen().may.insert(pair.clone());
    }

    /// From now on they must be let in: it has been acknowledged that they have paid.
    pub fn must_be_let_in(&self, pair: &Pair) {
        self.seen().must.insert(pair.clone());
    }

    /// They are about to ask.
    #[must_use]
    pub fn before_asking(&self, pair: &Pair) -> Must {
        Must { be_let_in: self.seen().must.contains(pair) }
    }

    /// They have asked, and this is what they were told. `stays` says that whoever is let in once
    /// must be for ever.
    pub fn after_asking(&self, pair: &Pair, before: Must, is_let_in: bool, stays: bool) {
        let (learner, product) = pair;
        if is_let_in && !self.seen().may.contains(pair) {
            self.wrong(format!("{learner} is let into {product}, and nobody has said they paid"));
        }
        if !is_let_in && before.be_let_in {
            self.wrong(format!("{learner} is locked out of {product}, which is theirs by now"));
        }
        if is_let_in && stays {
            self.must_be_let_in(pair);
        }
    }
}
