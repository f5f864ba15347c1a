//! The history of a source of access: what happened, when, and what effect it had. The source's
//! current status comes from the same history, so the two can't contradict each other.

use std::collections::BTreeSet;

use super::access::{EffectiveStatus, Grant, RefundThreshold};
use super::facts::{
    Dispute, DisputeStatus, Facts, OperatorAction, Origin, Payment, PaymentStatus, Purchase,
    Refund, RefundStatus, StatusHistory,
};
use super::id::SourceId;
use super::money::Money;
use super::time::Timestamp;

mod describe;

pub use describe::describe_status;

/// One thing that happened to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it was first reported; `None` if it was stored by a version that kept no time for it.
    pub at: Option<Timestamp>,
    /// The Stripe id of the object that it is about; for an operator's action, the source's id.
    pub id: String,
    /// What happened.
    pub fact: Fact,
    /// Its effect on access.
    pub effect: Effect,
    /// The source's status after it; `None` while it isn't known what was sold, and after the
    /// learner's data was erased.
    pub effective_status: Option<EffectiveStatus>,
}

/// What can happen to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The payment reached this status. Its total, if known.
    Payment(PaymentStatus, Option<Money>),
    /// An operator granted the access.
    Given(OperatorAction),
    /// A refund reached this status. The payment's total, if known, and the refund's amount in the
    /// same minor unit.
    Refund(RefundStatus, Option<Money>, i64),
    /// A dispute reached this status.
    Dispute(DisputeStatus),
    /// Stripe warned that the card may be stolen.
    FraudWarning,
    /// The author revoked the access.
    Revoked(OperatorAction),
    /// A time-limited grant ended.
    Ended,
    /// The learner's data was erased.
    Forgotten,
}

/// The effect of a fact on access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It opened the product.
    Opens,
    /// It closed the product until the bank decides.
    Suspends,
    /// It closed the product.
    Closes,
    /// It opened the product again.
    Restores,
    /// It had no effect.
    Nothing,
}

/// Whether a source opens its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceState {
    NotYet,
    Open,
    OnHold,
    Closed,
}

impl SourceState {
    fn of(facts: &Facts, effective_status: Option<EffectiveStatus>) -> Self {
        match effective_status {
            None if facts.forgotten.is_some() || facts.revoked.is_some() => Self::Closed,
            None | Some(EffectiveStatus::Processing | EffectiveStatus::Failed) => Self::NotYet,
            Some(EffectiveStatus::Active) => Self::Open,
            Some(EffectiveStatus::Suspended) => Self::OnHold,
            Some(
                EffectiveStatus::Ended
                | EffectiveStatus::Refunded
                | EffectiveStatus::DisputeLost
                | EffectiveStatus::Revoked,
            ) => Self::Closed,
        }
    }
}

impl Effect {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Suspends => "suspends",
            Self::Closes => "closes",
            Self::Restores => "restores",
            Self::Nothing => "nothing",
        }
    }

    /// The effect of a fact. A payment or grant never closes anything: a source that was refunded
    /// or disputed before its event arrives just stays closed.
    fn of(fact: &Fact, before: SourceState, after: SourceState, was_open: bool) -> Self {
        let only_opens = matches!(fact, Fact::Payment(..) | Fact::Given(_));
        match after {
            _ if before == after => Self::Nothing,
            SourceState::OnHold | SourceState::Closed if only_opens => Self::Nothing,
            SourceState::NotYet => Self::Nothing,
            SourceState::Open if was_open => Self::Restores,
            SourceState::Open => Self::Opens,
            SourceState::OnHold => Self::Suspends,
            SourceState::Closed => Self::Closes,
        }
    }
}

/// What happened to a source, in chronological order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History(Vec<Step>);

impl History {
    /// Each step, the earliest first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The source's current status; `None` if it isn't known what was sold, or if the learner's
    /// data was erased.
    #[must_use]
    pub fn effective_status(&self) -> Option<EffectiveStatus> {
        self.0.last()?.effective_status
    }

    /// When it got its current status, if known.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let effective_status = self.effective_status();
        let same = self.0.iter().rev().take_while(|step| step.effective_status == effective_status);
        same.last()?.at
    }
}

/// The history of a source up to `now`.
#[must_use]
pub fn history(
    source: &SourceId,
    facts: &Facts,
    threshold: RefundThreshold,
    now: Timestamp,
) -> History {
    let mut parts = parts(source, facts, now);
    parts.sort_by_key(|part| part.at);
    let mut so_far = Facts::default();
    let (mut before, mut was_open) = (SourceState::NotYet, false);
    let steps = parts.into_iter().map(|part| {
        so_far = std::mem::take(&mut so_far).join(part.facts);
        // Stripe's clock may be a little ahead of ours.
        let at = part.at.map_or(now, |at| at.min(now));
        let effective_status =
            Grant::of(&so_far).map(|(_, grant)| grant.effective_status(threshold, at));
        let after = SourceState::of(&so_far, effective_status);
        let effect = Effect::of(&part.fact, before, after, was_open);
        before = after;
        was_open |= after == SourceState::Open;
        Step { at: part.at, id: part.id, fact: part.fact, effect, effective_status }
    });
    // The end of a grant that was closed earlier has no effect, so leave it out.
    let is_shown = |step: &Step| step.fact != Fact::Ended || step.effect != Effect::Nothing;
    History(steps.filter(is_shown).collect())
}

/// A product's status for its learner, from all of its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overall {
    /// Whether any source opens it.
    pub is_open: bool,
    /// When it was opened or closed; `None` if it was never open.
    pub since: Option<Timestamp>,
    /// The index of the source that explains the status: the one that opens it, else the one that
    /// may still open it, else the one that closed last.
    pub decisive: Option<usize>,
}

/// A product's status, given the histories of its sources.
#[must_use]
pub fn overall(histories: &[&History]) -> Overall {
    let effective_status = |(number, history): (usize, &&History)| {
        let rank = match history.effective_status()? {
            EffectiveStatus::Active => 4,
            EffectiveStatus::Processing => 3,
            EffectiveStatus::Suspended => 2,
            EffectiveStatus::Ended
            | EffectiveStatus::Refunded
            | EffectiveStatus::DisputeLost
            | EffectiveStatus::Revoked => 1,
            EffectiveStatus::Failed => 0,
        };
        Some((rank, history.since(), number))
    };
    let decisive = histories.iter().enumerate().filter_map(effective_status).max();
    let (is_open, since) = last_change(histories);
    Overall { is_open, since, decisive: decisive.map(|(.., number)| number) }
}

/// Whether any of these sources opens the product, and when the first one opened it or the last one
/// closed.
fn last_change(histories: &[&History]) -> (bool, Option<Timestamp>) {
    let of_source = |(number, history): (usize, &&History)| {
        let changes = history.0.iter().filter_map(move |step| {
            Some((step.at?, number, step.effective_status == Some(EffectiveStatus::Active)))
        });
        changes.collect::<Vec<_>>()
    };
    let mut changes: Vec<_> = histories.iter().enumerate().flat_map(of_source).collect();
    changes.sort_by_key(|(at, ..)| *at);
    let (mut open, mut since) = (BTreeSet::new(), None);
    // If one source ends in the same second as another opens, the product was open throughout.
    for moment in changes.chunk_by(|(one, ..), (other, ..)| one == other) {
        let (was_open, mut opened) = (!open.is_empty(), false);
        for (_, number, is_open) in moment {
            let _changed = if *is_open { open.insert(*number) } else { open.remove(number) };
            opened |= is_open;
        }
        // Also if it opened and closed in the same second.
        if was_open == open.is_empty() || (!was_open && opened) {
            since = moment.first().map(|(at, ..)| *at);
        }
    }
    (!open.is_empty(), since)
}

/// A single fact.
struct Part {
    at: Option<Timestamp>,
    id: String,
    fact: Fact,
    facts: Facts,
}

fn parts(source: &SourceId, facts: &Facts, now: Timestamp) -> Vec<Part> {
    let own = |at, fact, facts| Part { at, id: source.to_string(), fact, facts };
    let total = facts.purchase().and_then(|purchase| purchase.sale.total);
    let mut parts = Vec::new();
    match &facts.origin {
        Some(Origin::Purchase(purchase)) => {
            for (status, at) in purchase.payment.history() {
                let statuses = at.map(|at| (status, at)).into_iter().collect();
                let payment = Payment::stored(status, statuses);
                let one = Purchase { sale: purchase.sale.clone(), payment };
                parts.push(own(at, Fact::Payment(status, total), one.into()));
            }
        }
        Some(origin @ Origin::Manual(grant)) => {
            let given = Fact::Given(grant.action.clone());
            parts.push(own(Some(grant.action.at), given, origin.clone().into()));
            if let Some(until) = grant.until.filter(|until| *until <= now) {
                parts.push(own(Some(until), Fact::Ended, Facts::default()));
            }
        }
        None => {}
    }
    for (id, refund) in &facts.refunds {
        for (status, at) in refund.statuses.iter() {
            let one = Refund { statuses: StatusHistory::once(status, at), ..refund.clone() };
            parts.push(Part {
                at: Some(at),
                id: id.to_string(),
                fact: Fact::Refund(status, total, refund.amount_minor),
                facts: Facts { refunds: [(id.clone(), one)].into(), ..Facts::default() },
            });
        }
    }
    for (id, dispute) in &facts.disputes {
        let verdicts = dispute.statuses.iter().filter(|(status, _)| status.is_after_verdict());
        let last = verdicts.map(|(_, at)| at).max();
        for (status, at) in dispute.statuses.iter() {
            // Stripe's answer applies from the last verdict on.
            let snapshot = dispute.snapshot.filter(|_| Some(at) == last);
            let one = Dispute { statuses: StatusHistory::once(status, at), snapshot };
            parts.push(Part {
                at: Some(at),
                id: id.to_string(),
                fact: Fact::Dispute(status),
                facts: Facts { disputes: [(id.clone(), one)].into(), ..Facts::default() },
            });
        }
    }
    for (id, at) in &facts.fraud_warnings {
        let facts = Facts { fraud_warnings: [(id.clone(), *at)].into(), ..Facts::default() };
        parts.push(Part { at: Some(*at), id: id.to_string(), fact: Fact::FraudWarning, facts });
    }
    if let Some(action) = &facts.revoked {
        let revoked = Facts { revoked: Some(action.clone()), ..Facts::default() };
        parts.push(own(Some(action.at), Fact::Revoked(action.clone()), revoked));
    }
    if let Some(at) = facts.forgotten {
        let forgotten = Facts { forgotten: Some(at), ..Facts::default() };
        parts.push(own(Some(at), Fact::Forgotten, forgotten));
    }
    parts
}

#[cfg(test)]
mod tests;
