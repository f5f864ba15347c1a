//! What to write when Stripe tells us something: pure, total, and leaving no choice to the shell.

use std::collections::BTreeMap;

use super::access::{Entitlements, Grant, is_payment};
use super::facts::{Dispute, DisputeStatus, Facts, Origin, Purchase};
use super::id::{CustomerId, DisputeId, EventId, LearnerId, PaymentIntentId, ProductId, SourceId};
use super::shop::{Owner, Shop};
use super::time::Timestamp;

/// Which of Stripe's two worlds. They never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Test keys, test cards, no money.
    Test,
    /// Money.
    Live,
}

/// An event of Stripe's, as far as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; each is applied once.
    pub id: EventId,
    /// Its type, such as `checkout.session.completed`.
    pub kind: String,
    /// The id of the object that it is about, where one could be read.
    pub object: Option<String>,
    /// The API version that its object was rendered with.
    pub api_version: Option<String>,
    /// When Stripe made it.
    pub created: Timestamp,
}

/// Something learnt from Stripe: from an event, or by reading the object ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The event that brought it; none when we asked.
    pub event: Option<Event>,
    /// The world it comes from.
    pub mode: Mode,
    /// Whether it is about somebody else's account, connected to ours.
    pub connected_account: bool,
    /// Which deployment created its object.
    pub owner: Owner,
    /// What it says.
    pub content: Content,
}

/// What an observation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Facts about a source.
    Facts(SourceId, Box<Facts>),
    /// A learner's customer is deleted at Stripe. What they have paid for is theirs.
    CustomerDeleted(LearnerId, CustomerId),
    /// Nothing that concerns access, by an explicit rule.
    Ignored(IgnoreReason),
    /// It concerns us, and a field that is needed could not be read.
    Unreadable {
        /// Which field, and what was expected; never its value.
        reason: String,
    },
}

/// The rules by which an observation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IgnoreReason {
    /// A type of event that nothing here depends on.
    UnknownType,
    /// An object that this deployment did not create: its metadata doesn't carry our mark.
    NotOurs,
    /// A session that ended without a payment being tried.
    NothingPaid,
    /// Observation of the other mode.
    OtherMode,
    /// Observation of a connected account.
    ConnectedAccount,
}

impl IgnoreReason {
    /// The rule's name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::NotOurs => "not_ours",
            Self::NothingPaid => "nothing_paid",
            Self::OtherMode => "other_mode",
            Self::ConnectedAccount => "connected_account",
        }
    }
}

/// What is on record of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Its facts are in, in the same transaction as this record.
    Applied,
    /// Its facts were in already; another event, or our own reading, had brought them.
    Unchanged,
    /// It could not be read, and waits for code that can.
    Quarantined,
}

/// A source as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The facts.
    pub facts: Facts,
    /// How often they have been written; the next write names it.
    pub version: u64,
}

/// What must be seen before a decision, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What is on record of the event.
    pub event: Option<Recorded>,
    /// The source that the observation is about.
    pub source: Option<StoredSource>,
    /// The learner's Stripe customer, unless it is known to be deleted.
    pub customer: Option<CustomerId>,
    /// Whether a commit of the source's grant was refused: another payment opened the product
    /// first, or the learner was erased.
    pub is_grant_refused: bool,
    /// What the questions were answered with.
    pub answers: Answers,
}

/// What a decision may hang on besides, and is asked for only then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which deployment created this payment.
    Owner(PaymentIntentId),
    /// How this dispute stands at Stripe.
    Dispute(DisputeId),
    /// What this learner has.
    Entitlements(LearnerId),
}

/// The answers, each by the id that was asked about. Stripe's may be unreadable: then there is the
/// reason in their place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// To [`Question::Owner`].
    pub owners: BTreeMap<PaymentIntentId, Result<Owner, String>>,
    /// To [`Question::Dispute`].
    pub disputes: BTreeMap<DisputeId, Result<DisputeStatus, String>>,
    /// To [`Question::Entitlements`].
    pub entitlements: BTreeMap<LearnerId, Entitlements>,
}

/// Why facts can't be joined yet.
enum Undecided {
    /// It depends on the answer to this.
    Ask(Question),
    /// Stripe's answer can't be read.
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

/// That a payment is the first to open its product for its learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstPurchase {
    /// The payment that was so before. It must be so still, and open the product no more. Without
    /// one, nobody else may be.
    pub replaces: Option<SourceId>,
}

/// One change to the table. A list of them is committed as a whole or not at all.
#[expect(clippy::large_enum_variant, reason = "a decision has a handful of writes")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Record the event. What is on record of it must be what the decision was made on.
    RecordEvent {
        /// The event.
        event: Event,
        /// What is recorded of it.
        recorded: Recorded,
        /// The record that was read; none if there was none.
        replaces: Option<Recorded>,
        /// When.
        at: Timestamp,
    },
    /// Put the event on the operator's list of what could not be read. The event's record fences it.
    ListQuarantined {
        /// The event.
        event: Event,
        /// What could not be read.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Mark the event on that list as read after all.
    ResolveQuarantined {
        /// The event.
        event: EventId,
        /// When.
        at: Timestamp,
    },
    /// Store a source's facts. Its version must be the one that the decision was made on.
    StoreSource {
        /// The source.
        source: SourceId,
        /// All facts, joined.
        facts: Facts,
        /// The source as it was read; none if it didn't exist. Only what differs is written.
        replaces: Option<StoredSource>,
    },
    /// Set what this source gives its learner. The source's version fences it.
    SetGrant {
        /// Whose.
        learner: LearnerId,
        /// From where.
        source: SourceId,
        /// What.
        grant: Grant,
        /// When the purchase or grant began. The learner must not have been erased since, nor at
        /// all if this isn't known.
        began_at: Option<Timestamp>,
        /// That it is the first payment to open its product, which must then be so.
        first_purchase: Option<FirstPurchase>,
    },
    /// Erase a learner: from now on nothing that began by then can be given to them. There must be
    /// no later erasure.
    Erase {
        /// Whom.
        learner: LearnerId,
        /// When.
        at: Timestamp,
        /// The sources whose grants are removed.
        grants: Vec<SourceId>,
        /// The first purchases that are removed. Each must still be this source's.
        first_purchases: Vec<(ProductId, SourceId)>,
    },
    /// Put this learner and product on the operator's list of what was paid for more than once.
    ListDoublePayment {
        /// Whose.
        learner: LearnerId,
        /// What.
        product: ProductId,
        /// When it was noticed.
        at: Timestamp,
    },
    /// Note that the learner's customer is deleted at Stripe. It must still be this one.
    UnlinkCustomer {
        /// Whose.
        learner: LearnerId,
        /// Which.
        customer: CustomerId,
        /// When.
        at: Timestamp,
    },
}

/// The item of the table that a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    /// The record of an event.
    Event(&'a EventId),
    /// An event on the list of what could not be read.
    Quarantined(&'a EventId),
    /// A source.
    Source(&'a SourceId),
    /// What a learner's sources give them.
    Access(&'a LearnerId),
    /// A learner and a product on the list of double payments.
    DoublePayment(&'a LearnerId, &'a ProductId),
    /// A learner's customer.
    Customer(&'a LearnerId),
}

impl Write {
    /// The item that it is about. No two writes of a decision are about the same.
    #[must_use]
    pub const fn target(&self) -> Target<'_> {
        match self {
            Self::RecordEvent { event, .. } => Target::Event(&event.id),
            Self::ListQuarantined { event, .. } => Target::Quarantined(&event.id),
            Self::ResolveQuarantined { event, .. } => Target::Quarantined(event),
            Self::StoreSource { source, .. } => Target::Source(source),
            Self::SetGrant { learner, .. } | Self::Erase { learner, .. } => Target::Access(learner),
            Self::ListDoublePayment { learner, product, .. } => {
                Target::DoublePayment(learner, product)
            }
            Self::UnlinkCustomer { learner, .. } => Target::Customer(learner),
        }
    }
}

/// What became of an observation.
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

/// What somebody has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// A learner has paid for the same product more than once.
    DoublePayment,
    /// Stripe warns that a card may be stolen.
    FraudWarning,
    /// A payment has arrived whose buyer was erased: it opens nothing, and has to go back.
    PaidAfterErasure,
}

/// What to write, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What became of the observation once the writes are committed.
    pub outcome: Outcome,
    /// The writes, all or none; when empty there is nothing to commit.
    pub writes: Vec<Write>,
    /// Whom it concerns, where that is known.
    pub learner: Option<LearnerId>,
    /// What somebody has to be told once it is committed.
    pub alerts: Vec<Alert>,
}

/// A decision, or what it hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is decided.
    Plan(Plan),
    /// It hangs on the answer to this.
    Ask(Question),
}

/// The items that [`decide`] needs to see for this observation; none when a rule settles it unseen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The record of this event.
    pub event: Option<&'a EventId>,
    /// This source.
    pub source: Option<&'a SourceId>,
    /// This learner's customer.
    pub customer: Option<&'a LearnerId>,
}

impl Observation {
    /// The rule by which this observation changes nothing for this deployment, if one applies.
    fn ignore_reason(&self, ours: &Shop) -> Option<IgnoreReason> {
        match &self.content {
            _ if self.mode != ours.mode => Some(IgnoreReason::OtherMode),
            _ if self.connected_account => Some(IgnoreReason::ConnectedAccount),
            _ if ours.disowns(&self.owner) => Some(IgnoreReason::NotOurs),
            Content::Ignored(ignore_reason) => Some(*ignore_reason),
            Content::Facts(..) | Content::CustomerDeleted(..) | Content::Unreadable { .. } => None,
        }
    }

    /// What must be read before deciding on it.
    #[must_use]
    pub fn needs(&self, ours: &Shop) -> Option<Needs<'_>> {
        if self.ignore_reason(ours).is_some() {
            return None;
        }
        let needs = Needs { event: self.event.as_ref().map(|event| &event.id), ..Needs::default() };
        Some(match &self.content {
            Content::Facts(source, _) => Needs { source: Some(source), ..needs },
            Content::CustomerDeleted(learner, _) => Needs { customer: Some(learner), ..needs },
            Content::Ignored(_) | Content::Unreadable { .. } => needs,
        })
    }
}

/// Decides what this observation changes for deployment `ours`, given what is stored.
#[must_use]
pub fn decide(state: &State, observation: &Observation, ours: &Shop, now: Timestamp) -> Decision {
    if let Some(ignore_reason) = observation.ignore_reason(ours) {
        return nothing(Outcome::Ignored(ignore_reason));
    }
    if matches!(state.event, Some(Recorded::Applied | Recorded::Unchanged)) {
        return nothing(Outcome::Duplicate);
    }
    let plan = match &observation.content {
        Content::Facts(source, facts) => {
            let plan = match is_ours(state, &observation.owner, source, ours) {
                Ok(true) => join(state, source, facts, now),
                Ok(false) => Ok(Plan::of(Outcome::Ignored(IgnoreReason::NotOurs))),
                Err(undecided) => Err(undecided),
            };
            match plan {
                Ok(plan) => plan,
                Err(Undecided::Ask(question)) => return Decision::Ask(question),
                Err(Undecided::Unreadable(reason)) => {
                    return Decision::Plan(unreadable(state, observation, &reason, now));
                }
            }
        }
        Content::CustomerDeleted(learner, customer) => unlink(state, learner, customer, now),
        Content::Unreadable { reason } => {
            return Decision::Plan(unreadable(state, observation, reason, now));
        }
        // Plan above; here so that the match is total without a catch-all.
        Content::Ignored(ignore_reason) => Plan::of(Outcome::Ignored(*ignore_reason)),
    };
    Decision::Plan(recorded(plan, state, observation, now))
}

impl Plan {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, writes: Vec::new(), learner: None, alerts: Vec::new() }
    }
}

fn nothing(outcome: Outcome) -> Decision {
    Decision::Plan(Plan::of(outcome))
}

/// Joins facts to what is stored, or says what that hangs on.
fn join(
    state: &State,
    source: &SourceId,
    facts: &Facts,
    now: Timestamp,
) -> Result<Plan, Undecided> {
    let stored = state.source.as_ref();
    let before = stored.map(|stored| &stored.facts);
    let mut joined = match before {
        Some(before) => before.clone().join(facts.clone()),
        None => facts.clone(),
    };
    settle_disputes(state, facts, &mut joined)?;
    if let Some(erased_at) = erasure_of(state, &joined)? {
        joined = joined.join(Facts { forgotten: Some(erased_at), ..Facts::default() });
    }
    let granted = Grant::of(&joined);
    let mut plan = Plan {
        learner: granted.as_ref().map(|(learner, _)| learner.clone()),
        ..Plan::of(if before == Some(&joined) { Outcome::Duplicate } else { Outcome::Applied })
    };
    // Whoever has asked Stripe about a dispute meanwhile may know less than this verdict or appeal:
    // it is written even if it is known, so that they find another version, and ask again.
    let is_after_verdict = facts.disputes.values().any(Dispute::is_after_verdict);
    if plan.outcome == Outcome::Duplicate && !is_after_verdict {
        return Ok(plan);
    }
    let known = before.and_then(Grant::of);
    if let Some((learner, grant)) = granted.filter(|granted| known.as_ref() != Some(granted)) {
        let was_open = known.is_some_and(|(_, grant)| grant.is_paid_for());
        let opens = is_payment(source) && grant.is_paid_for() && !was_open;
        let first_purchase =
            if opens { first_purchase(state, &learner, source, &grant)? } else { Claiming::None };
        if matches!(first_purchase, Claiming::Double) {
            let product = grant.product.clone();
            plan.alerts.push(Alert::DoublePayment);
            plan.writes.push(Write::ListDoublePayment {
                learner: learner.clone(),
                product,
                at: now,
            });
        }
        let (first_purchase, source) = (first_purchase.into_first_purchase(), source.clone());
        let began_at = joined.origin.as_ref().and_then(Origin::began_at);
        plan.writes.push(Write::SetGrant { learner, source, grant, began_at, first_purchase });
    }
    let warnings = |facts: &Facts| facts.fraud_warnings.len();
    if warnings(&joined) > before.map_or(0, warnings) {
        plan.alerts.push(Alert::FraudWarning);
    }
    let is_paid = |facts: &Facts| facts.purchase().is_some_and(Purchase::is_paid);
    let arrives = is_payment(source) && is_paid(&joined) && !before.is_some_and(is_paid);
    if arrives && joined.forgotten.is_some() && joined.refunded_percent() < 100 {
        plan.alerts.push(Alert::PaidAfterErasure);
    }
    let replaces = stored.cloned();
    plan.writes.push(Write::StoreSource { source: source.clone(), facts: joined, replaces });
    Ok(plan)
}

/// Whether a source is this deployment's: it is stored already, or carries our mark. Where the observation
/// doesn't say, only Stripe knows.
fn is_ours(state: &State, said: &Owner, source: &SourceId, ours: &Shop) -> Result<bool, Undecided> {
    match source {
        _ if state.source.is_some() || ours.owns(said) => Ok(true),
        SourceId::Payment(payment) => {
            let answered = state.answers.owners.get(payment);
            let owner = answer(answered, || Question::Owner(payment.clone()))?;
            Ok(ours.owns(owner))
        }
        SourceId::Session(_) | SourceId::Grant(_) => Ok(false),
    }
}

/// When the learner was erased, if that covers this source. It is looked at only where a grant was
/// refused.
fn erasure_of(state: &State, joined: &Facts) -> Result<Option<Timestamp>, Undecided> {
    let Some((learner, _)) = Grant::of(joined).filter(|_| state.is_grant_refused) else {
        return Ok(None);
    };
    let Some(entitlements) = state.answers.entitlements.get(&learner) else {
        return Err(Undecided::Ask(Question::Entitlements(learner)));
    };
    Ok(entitlements.erased_at().filter(|erased_at| joined.is_erased_by(*erased_at)))
}

/// Where a verdict on a dispute was followed by another or by an appeal, Stripe says how it stands.
fn settle_disputes(
    state: &State,
    observation: &Facts,
    joined: &mut Facts,
) -> Result<(), Undecided> {
    for (id, dispute) in &mut joined.disputes {
        let is_told = observation.disputes.get(id).is_some_and(Dispute::is_after_verdict);
        if is_told && dispute.needs_snapshot() {
            let answered = state.answers.disputes.get(id);
            let status = *answer(answered, || Question::Dispute(id.clone()))?;
            if dispute.status() != Some(status) || dispute.settled.is_none() {
                dispute.settle(status);
            }
        }
    }
    Ok(())
}

enum Claiming {
    None,
    FirstPurchase(FirstPurchase),
    Double,
}

impl Claiming {
    fn into_first_purchase(self) -> Option<FirstPurchase> {
        match self {
            Self::FirstPurchase(first_purchase) => Some(first_purchase),
            Self::None | Self::Double => None,
        }
    }
}

/// Whether a payment that comes to open its product is the only one that does. That is taken for
/// granted, and the commit fails where it is not so; then what the learner has is looked at.
fn first_purchase(
    state: &State,
    learner: &LearnerId,
    source: &SourceId,
    grant: &Grant,
) -> Result<Claiming, Undecided> {
    if !state.is_grant_refused {
        return Ok(Claiming::FirstPurchase(FirstPurchase { replaces: None }));
    }
    let Some(entitlements) = state.answers.entitlements.get(learner) else {
        return Err(Undecided::Ask(Question::Entitlements(learner.clone())));
    };
    if entitlements.paid_for(&grant.product).any(|(other, _)| other != source) {
        return Ok(Claiming::Double);
    }
    let replaces =
        entitlements.first_purchase(&grant.product).filter(|other| *other != source).cloned();
    Ok(Claiming::FirstPurchase(FirstPurchase { replaces }))
}

fn unlink(state: &State, learner: &LearnerId, customer: &CustomerId, at: Timestamp) -> Plan {
    let is_linked = state.customer.as_ref() == Some(customer);
    let plan = Plan::of(if is_linked { Outcome::Applied } else { Outcome::Duplicate });
    let write = Write::UnlinkCustomer { learner: learner.clone(), customer: customer.clone(), at };
    let writes = if is_linked { vec![write] } else { Vec::new() };
    Plan { learner: Some(learner.clone()), writes, ..plan }
}

/// The same, with the record of the event that brought it, which comes first: an event on record
/// settles a commit, whatever else has moved.
fn recorded(plan: Plan, state: &State, observation: &Observation, at: Timestamp) -> Plan {
    let Some(event) = &observation.event else { return plan };
    let replaces = state.event;
    let recorded = match plan.outcome {
        Outcome::Applied => Recorded::Applied,
        Outcome::Duplicate => Recorded::Unchanged,
        // It need not wait any longer for somebody who can read it.
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
fn unreadable(state: &State, observation: &Observation, reason: &str, at: Timestamp) -> Plan {
    let event = observation.event.as_ref().filter(|_| state.event.is_none());
    Plan {
        writes: event.map_or_else(Vec::new, |event| quarantine(event, reason, at)),
        ..Plan::of(Outcome::Quarantined { reason: reason.to_owned() })
    }
}

fn quarantine(event: &Event, reason: &str, at: Timestamp) -> Vec<Write> {
    let recorded = Recorded::Quarantined;
    vec![
        Write::RecordEvent { event: event.clone(), recorded, replaces: None, at },
        Write::ListQuarantined { event: event.clone(), reason: reason.to_owned(), at },
    ]
}
