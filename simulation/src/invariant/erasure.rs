//! A learner's access, as far as they were not erased.

use shared::domain::decide::{StoredSource, Write};
use shared::domain::id::{LearnerId, SourceId};

use super::{Invariants, Violation, follows, grant, held, holds};
use crate::memory::Contents;
use crate::oracle::Effect;

impl Invariants {
    /// Entitlements are derived from the facts and the time of erasure, and could be rebuilt at any
    /// time. During an erasure they are removed piece by piece.
    pub(super) fn access_is_the_fold_of_facts(
        &self,
        before: &Contents,
        after: &Contents,
    ) -> Result<(), Violation> {
        let invariant = "access is exactly what follows from the facts";
        let mut given_by_sources = 0;
        for (source, stored) in &after.sources {
            let Some(purchase) = stored.facts.purchase() else { continue };
            let learner = self.learner_of(source).unwrap_or(purchase.sale.learner.clone());
            let (was, given) = (grant(before, &learner, source), grant(after, &learner, source));
            given_by_sources += usize::from(given.is_some());
            // Earlier states were checked earlier.
            if before.sources.get(source) == Some(stored) && was == given {
                continue;
            }
            let follows = held(&stored.facts).map(|held| follows(&held));
            let is_over = stored.facts.forgotten.is_some() || self.is_erased(after, source);
            let is_lawful =
                if is_over { given.is_none() || given == was } else { given == follows.as_ref() };
            holds(is_lawful, invariant, || {
                format!("{source} gives {learner} {given:?}, expected {follows:?}: {is_over}")
            })?;
        }
        let grants: usize = after.access.values().map(|access| access.grants.len()).sum();
        holds(grants == given_by_sources, invariant, || {
            format!("{grants} grants, but {given_by_sources} of them from sources")
        })
    }

    /// Once the table records that a learner was erased, sources from before give them nothing new
    /// and never name them again.
    pub(super) fn erased_learners_stay_erased(
        &self,
        before: &Contents,
        writes: &[Write],
        after: &Contents,
    ) -> Result<(), Violation> {
        let invariant = "an erased learner gets nothing from before, and is not named again";
        for (learner, was) in &before.access {
            let is = after.access.get(learner).and_then(|access| access.erased_at);
            holds(is >= was.erased_at, invariant, || {
                format!("{learner} was erased {was:?}, then {is:?}")
            })?;
        }
        for write in writes {
            let (source, is_revived) = match write {
                Write::SetGrant { source, .. } => (source, true),
                Write::StoreSource { source, .. } => {
                    (source, is_named(after, source) && !is_named(before, source))
                }
                Write::RecordEvent { .. }
                | Write::ListQuarantined { .. }
                | Write::ResolveQuarantined { .. }
                | Write::Erase { .. }
                | Write::ListDoublePayment { .. }
                | Write::UnlinkCustomer { .. } => continue,
            };
            holds(!is_revived || !self.is_erased(after, source), invariant, || {
                format!("{write:?}, but {:?}", self.truth.get(source.as_str()))
            })?;
        }
        Ok(())
    }

    /// Checks an erasure that reports that it is done.
    pub(super) fn an_erasure_is_complete(
        &self,
        effect: &Effect,
        contents: &Contents,
    ) -> Result<(), Violation> {
        match effect {
            Effect::Erasure { learner, at } => self.learner_is_fully_erased(learner, *at, contents),
            Effect::Source(_) | Effect::Customer(_) | Effect::Nothing => {
                let invariant = "only an erasure erases";
                Err(Violation { invariant, what: format!("{effect:?} is no erasure") })
            }
        }
    }

    /// No source from before the erasure names the learner, opens anything, or is the first
    /// purchase of a product.
    pub(super) fn learner_is_fully_erased(
        &self,
        learner: &str,
        at: i64,
        contents: &Contents,
    ) -> Result<(), Violation> {
        let invariant = "nothing but the time is left of an erased learner";
        let id: LearnerId = learner.parse().unwrap();
        let access = contents.access.get(&id).cloned().unwrap_or_default();
        let erased_at = access.erased_at.map_or(-1, shared::domain::time::Timestamp::unix_seconds);
        holds(erased_at >= at, invariant, || {
            format!("{learner} was erased at {at}, not {erased_at}")
        })?;
        let began = |source: &SourceId| {
            self.truth.get(source.as_str()).is_none_or(|held| held.opened_at <= at)
        };
        let named = contents.sources_of(&id);
        let left = named.iter().chain(access.grants.keys()).chain(access.first_purchases.values());
        let left: Vec<&SourceId> = left.filter(|source| began(source)).collect();
        holds(left.is_empty(), invariant, || format!("{left:?} of {learner}, erased at {at}"))
    }

    /// Whether the table records that this source's learner was erased after it began.
    fn is_erased(&self, contents: &Contents, source: &SourceId) -> bool {
        let Some(held) = self.truth.get(source.as_str()) else { return false };
        let learner: LearnerId = held.learner.parse().unwrap();
        let erased_at = contents.access.get(&learner).and_then(|access| access.erased_at);
        erased_at.is_some_and(|at| held.opened_at <= at.unix_seconds())
    }

    /// The learner of a source, according to Stripe.
    fn learner_of(&self, source: &SourceId) -> Option<LearnerId> {
        self.truth.get(source.as_str()).map(|held| held.learner.parse().unwrap())
    }
}

fn is_named(contents: &Contents, source: &SourceId) -> bool {
    let stored: Option<&StoredSource> = contents.sources.get(source);
    let origin = stored.and_then(|stored| stored.facts.origin.as_ref());
    origin.is_some_and(|origin| *origin.learner() != LearnerId::forgotten())
}
