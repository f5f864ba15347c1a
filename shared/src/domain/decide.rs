//! What to write when Stripe reports something: pure, total, and leaving no choice to the shell.

use std::collections::BTreeMap;

use super::access::{Entitlements, Grant, RefundThreshold, is_payment};
use super::facts::{Dispute, DisputeStatus, Facts, Purchase};
use super::id::{CustomerId, DisputeId, LearnerId, PaymentIntentId, ProductId, SourceId};
use super::shop::Shop;
use super::time::Timestamp;

mod observation;
mod scope;
mod write;

pub use observation::{Content, Event, Mode, Needs, Nothing, Observation};
pub use scope::{IgnoreReason, PaymentFor};
pub use write::{FirstPurchase, Recorded, StoredSource, Target, Write};

use scope::{PaymentOwner, owner};

/// What is known when a decision is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What is stored.
    pub stored: Stored,
    /// What Stripe has answered.
    pub answers: Answers,
}

/// The items that a decision has seen: those that were loaded, or that a failed commit returned.
/// What it hasn't seen it takes not to exist. Every write is made on the condition that things are
/// as the decision saw them, so a wrong assumption fails the commit, which returns what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The record of the event.
    pub event: Option<Recorded>,
    /// The source that the observation is about.
    pub source: Option<StoredSource>,
    /// The learner's Stripe customer, unless it is known to be deleted.
    pub customer: Option<CustomerId>,
    /// What the learner has.
    pub access: Option<Entitlements>,
}

impl Stored {
    /// Replaces what was seen before by what is there now.
    pub fn learn(&mut self, found: Self) {
        let Self { event, source, customer, access } = found;
        self.event = event.or(self.event);
        self.source = source.or_else(|| self.source.take());
        self.customer = customer.or_else(|| self.customer.take());
        self.access = access.or_else(|| self.access.take());
    }
}

/// What a decision asks Stripe, only when it depends on the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What does this payment pay for?
    Owner(PaymentIntentId),
    /// What is the status of this dispute?
    Dispute(DisputeId),
}

/// Stripe's answers by the id that was asked about, or why an answer can't be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// To [`Question::Owner`].
    pub owners: BTreeMap<PaymentIntentId, Result<PaymentFor, String>>,
    /// To [`Question::Dispute`].
    pub disputes: BTreeMap<DisputeId, Result<DisputeStatus, String>>,
}

/// Why facts can't be joined yet.
enum Undecided {
    /// It depends on the answer to this.
    Ask(Question),
    /// Something can't be read, or not by this version.
    Unreadable(String),
}

/// Stripe's answer to a question, if it was asked and can be read.
fn answer<T>(
    answered: Option<&Result<T, String>>,
    question: impl FnOnce() -> Question,
) -> Result<&T, Undecided> {
    match answered {
        None => Err(Undecided::Ask(question())),
        Some(Ok(answer)) => Ok(answer),
        Some(Err(reason)) => Err(Undecided::Unreadable(reason.clone())),
    }
}

/// The outcome of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Facts were added.
    Applied,
    /// They were known already.
    Duplicate,
    /// A rule says that it changes nothing; nothing is written.
    Ignored(IgnoreReason),
    /// It is kept for code that can read it.
    Quarantined {
        /// What could not be read.
        reason: String,
    },
}

impl Outcome {
    /// Its name in answers, logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored(_) => "ignored",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// What the operator has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// A learner has paid for the same product more than once.
    DoublePayment,
    /// Stripe warns that a card may be stolen.
    FraudWarning,
    /// A payment by a learner who was erased has arrived. It opens nothing and has to be refunded.
    PaidAfterErasure,
}

/// What to write, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The outcome of the observation once the writes are committed.
    pub outcome: Outcome,
    /// The writes, all or none; when empty there is nothing to commit.
    pub writes: Vec<Write>,
    /// The learner, if known.
    pub learner: Option<LearnerId>,
    /// The alerts to raise once it is committed.
    pub alerts: Vec<Alert>,
}

impl Plan {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, writes: Vec::new(), learner: None, alerts: Vec::new() }
    }
}

/// A decision, or what it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is decided.
    Plan(Plan),
    /// It depends on Stripe's answer.
    Ask(Question),
}

/// Decides what this observation changes for deployment `ours`, given what is known.
#[must_use]
pub fn decide(state: &State, observation: &Observation, ours: &Shop, now: Timestamp) -> Decision {
    if let Some(reason) = observation.ignore_reason(ours) {
        return Decision::Plan(Plan::of(Outcome::Ignored(reason)));
    }
    if matches!(state.stored.event, Some(Recorded::Applied | Recorded::Unchanged)) {
        return Decision::Plan(Plan::of(Outcome::Duplicate));
    }
    let plan = match &observation.content {
        Content::Facts(source, facts) => {
            owner(state, &observation.owner, source, ours).and_then(|owner| match owner {
                PaymentOwner::Purchase(source) => join(state, &source, facts, now),
                PaymentOwner::Subscription(subscription, invoice) => {
                    Err(Undecided::Unreadable(format!(
                        "the payment is for invoice {invoice} of subscription {subscription}, and \
                         this version doesn't sell subscriptions"
                    )))
                }
                PaymentOwner::Foreign => Ok(Plan::of(Outcome::Ignored(IgnoreReason::NotOurs))),
            })
        }
        Content::CustomerDeleted(learner, customer) => Ok(unlink(state, learner, customer, now)),
        Content::Nothing(nothing) => Ok(Plan::of(Outcome::Ignored(nothing.ignore_reason()))),
        Content::Unreadable { reason } => Err(Undecided::Unreadable(reason.clone())),
    };
    match plan {
        Ok(plan) => Decision::Plan(recorded(plan, state, observation, now)),
        Err(Undecided::Ask(question)) => Decision::Ask(question),
        Err(Undecided::Unreadable(reason)) => {
            Decision::Plan(quarantine(state, observation, reason, now))
        }
    }
}

/// Joins facts to the source's, and sets what follows from them.
fn join(
    state: &State,
    source: &SourceId,
    facts: &Facts,
    now: Timestamp,
) -> Result<Plan, Undecided> {
    let before = state.stored.source.as_ref().map(|stored| &stored.facts);
    let joined = joined(state, facts)?;
    let granted = Grant::of(&joined);
    let mut plan = Plan {
        learner: granted.as_ref().map(|(learner, _)| learner.clone()),
        ..Plan::of(if before == Some(&joined) { Outcome::Duplicate } else { Outcome::Applied })
    };
    // A verdict or appeal is written even if it is known: whoever has asked Stripe about the
    // dispute meanwhile may know less than it says, must find another version, and asks again.
    let is_after_verdict = facts.disputes.values().any(Dispute::is_after_verdict);
    if plan.outcome == Outcome::Duplicate && !is_after_verdict {
        return Ok(plan);
    }
    let known = before.and_then(Grant::of);
    if let Some((learner, grant)) = granted.filter(|granted| known.as_ref() != Some(granted)) {
        let held = known.is_some_and(|(_, grant)| grant.holds_its_product(now));
        let begins = is_payment(source) && grant.holds_its_product(now) && !held;
        let access = state.stored.access.as_ref();
        let first_purchase =
            if begins { first_purchase(access, source, &grant.product, now) } else { None };
        if begins && first_purchase.is_none() {
            let (learner, product) = (learner.clone(), grant.product.clone());
            plan.alerts.push(Alert::DoublePayment);
            plan.writes.push(Write::ListDoublePayment { learner, product, at: now });
        }
        let erased_at = access.and_then(Entitlements::erased_at);
        let source = source.clone();
        plan.writes.push(Write::SetGrant { learner, source, grant, erased_at, first_purchase });
    }
    plan.alerts.extend(alerts(source, before, &joined));
    let replaces = state.stored.source.clone();
    plan.writes.push(Write::StoreSource { source: source.clone(), facts: joined, replaces });
    Ok(plan)
}

/// The source's facts with these, with Stripe's answers about its disputes, and without its
/// learner if they were erased after it began.
fn joined(state: &State, facts: &Facts) -> Result<Facts, Undecided> {
    let mut joined = match &state.stored.source {
        Some(stored) => stored.facts.clone().join(facts.clone()),
        None => facts.clone(),
    };
    read_disputes(state, facts, &mut joined)?;
    let erased_at = state.stored.access.as_ref().and_then(Entitlements::erased_at);
    if let Some(erased_at) = erased_at.filter(|erased_at| joined.is_erased_by(*erased_at)) {
        joined = joined.join(Facts { forgotten: Some(erased_at), ..Facts::default() });
    }
    Ok(joined)
}

/// Where a verdict on a dispute was followed by another or by an appeal, Stripe says which holds.
fn read_disputes(state: &State, observed: &Facts, joined: &mut Facts) -> Result<(), Undecided> {
    for (id, dispute) in &mut joined.disputes {
        let is_observed = observed.disputes.get(id).is_some_and(Dispute::is_after_verdict);
        if is_observed && dispute.needs_snapshot() {
            let answered = state.answers.disputes.get(id);
            let status = *answer(answered, || Question::Dispute(id.clone()))?;
            if dispute.status() != Some(status) || dispute.snapshot.is_none() {
                dispute.record(status);
            }
        }
    }
    Ok(())
}

/// Marks a payment that begins to hold its product as the first purchase of it; none if another
/// payment holds the product, which makes this one a duplicate. A payment that was the first and no
/// longer holds the product is replaced. This is the only place where that is decided; what the
/// learner has is looked at only after a commit found the product taken.
fn first_purchase(
    access: Option<&Entitlements>,
    source: &SourceId,
    product: &ProductId,
    now: Timestamp,
) -> Option<FirstPurchase> {
    let Some(entitlements) = access else { return Some(FirstPurchase { replaces: None }) };
    let mut holding = entitlements.payments_that_open(product, RefundThreshold::ALL, now);
    if holding.any(|(other, _)| other != source) {
        return None;
    }
    let before = entitlements.first_purchase(product).filter(|before| *before != source);
    let replaces = before.map(|before| (before.clone(), entitlements.of(before).cloned()));
    Some(FirstPurchase { replaces })
}

fn alerts(
    source: &SourceId,
    before: Option<&Facts>,
    joined: &Facts,
) -> impl Iterator<Item = Alert> + use<> {
    let warnings = |facts: &Facts| facts.fraud_warnings.len();
    let is_warned = warnings(joined) > before.map_or(0, warnings);
    let is_paid = |facts: &Facts| facts.purchase().is_some_and(Purchase::is_paid);
    let arrives = is_payment(source) && is_paid(joined) && !before.is_some_and(is_paid);
    let is_erased = arrives && joined.forgotten.is_some() && joined.refunded_percent() < 100;
    is_warned
        .then_some(Alert::FraudWarning)
        .into_iter()
        .chain(is_erased.then_some(Alert::PaidAfterErasure))
}

fn unlink(state: &State, learner: &LearnerId, customer: &CustomerId, at: Timestamp) -> Plan {
    let is_linked = state.stored.customer.as_ref() == Some(customer);
    let plan = Plan::of(if is_linked { Outcome::Applied } else { Outcome::Duplicate });
    let write = Write::UnlinkCustomer { learner: learner.clone(), customer: customer.clone(), at };
    let writes = if is_linked { vec![write] } else { Vec::new() };
    Plan { learner: Some(learner.clone()), writes, ..plan }
}

/// The plan with the record of its event, which comes first: an event on record settles a commit,
/// whatever else has changed.
fn recorded(plan: Plan, state: &State, observation: &Observation, at: Timestamp) -> Plan {
    let Some(event) = &observation.event else { return plan };
    let replaces = state.stored.event;
    let recorded = match plan.outcome {
        Outcome::Applied => Recorded::Applied,
        Outcome::Duplicate => Recorded::Unchanged,
        // It no longer has to wait for code that can read it.
        Outcome::Ignored(_) if replaces == Some(Recorded::Quarantined) => Recorded::Unchanged,
        Outcome::Ignored(_) | Outcome::Quarantined { .. } => return plan,
    };
    let mut writes = vec![Write::RecordEvent { event: event.clone(), recorded, replaces, at }];
    if replaces == Some(Recorded::Quarantined) {
        writes.push(Write::ResolveQuarantined { event: event.id.clone(), at });
    }
    writes.extend(plan.writes);
    Plan { writes, ..plan }
}

/// Keeps the event for code that can read it, unless it is kept already.
fn quarantine(state: &State, observation: &Observation, reason: String, at: Timestamp) -> Plan {
    let mut writes = Vec::new();
    if let Some(event) = observation.event.as_ref().filter(|_| state.stored.event.is_none()) {
        let (event, recorded, reason) = (event.clone(), Recorded::Quarantined, reason.clone());
        writes.push(Write::RecordEvent { event: event.clone(), recorded, replaces: None, at });
        writes.push(Write::ListQuarantined { event, reason, at });
    }
    Plan { writes, ..Plan::of(Outcome::Quarantined { reason }) }
}

#[cfg(test)]
mod tests;
