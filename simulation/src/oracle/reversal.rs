//! Refunds, disputes and early fraud warnings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DisputeVersion, Effect, Fact, LEARNERS, Payment, Stripe, garbled};
use crate::rendering::{self, MARK, OTHER_MARK};

/// The kinds of events about another shop in the same account, which we get too.
const FOREIGN: [&str; 5] = ["refund", "dispute", "fraud warning", "customer", "refund of a charge"];

/// A full or partial refund of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The amount, in cents.
    pub amount: i64,
    /// Its status.
    pub state: RefundState,
    /// Every status it has had, and when Stripe first reported it.
    pub statuses: BTreeMap<RefundState, i64>,
}

/// A refund's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundState {
    /// The bank is processing it.
    Pending,
    /// The buyer has to act.
    RequiresAction,
    /// The money was returned.
    Succeeded,
    /// It was canceled.
    Canceled,
    /// It failed, and the money came back.
    Failed,
}

impl RefundState {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }

    const fn waits(self) -> bool {
        matches!(self, Self::Pending | Self::RequiresAction)
    }
}

/// A dispute of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// Its status.
    pub state: DisputeState,
    /// Every status it has had, and when Stripe first reported it.
    pub statuses: BTreeMap<DisputeState, i64>,
}

/// A dispute's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DisputeState {
    /// An inquiry; no money moves.
    Inquiry,
    /// A closed inquiry.
    InquiryClosed,
    /// Open; the money is withdrawn.
    Open,
    /// Won; the money is reinstated.
    Won,
    /// Prevented, with the money kept.
    Blocked,
    /// Lost; the money stays withdrawn.
    Lost,
    /// Prevented by a refund.
    Resolved,
    /// A lost dispute that the shop appeals: the money stays withdrawn until that is decided.
    Appealed,
}

/// The verdicts; frequent ones are listed more often.
const VERDICTS: [DisputeState; 6] = [
    DisputeState::Won,
    DisputeState::Lost,
    DisputeState::Won,
    DisputeState::Lost,
    DisputeState::Blocked,
    DisputeState::Resolved,
];
/// What may follow a lost dispute besides another verdict.
const APPEALS: [DisputeState; 2] = [DisputeState::Appealed, DisputeState::Appealed];

impl DisputeState {
    /// The status's name at Stripe, before and after evidence was submitted.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Inquiry => ("warning_needs_response", "warning_under_review"),
            Self::InquiryClosed => ("warning_closed", "warning_closed"),
            Self::Open => ("needs_response", "under_review"),
            Self::Won => ("won", "won"),
            Self::Lost => ("lost", "lost"),
            Self::Blocked | Self::Resolved => ("prevented", "prevented"),
            Self::Appealed => ("appeal_needs_response", "appeal_under_review"),
        }
    }

    const fn case(self) -> Option<&'static str> {
        match self {
            Self::Blocked => Some("block"),
            Self::Resolved => Some("resolution"),
            Self::Inquiry
            | Self::InquiryClosed
            | Self::Open
            | Self::Won
            | Self::Lost
            | Self::Appealed => None,
        }
    }

    const fn is_verdict(self) -> bool {
        matches!(self, Self::Won | Self::Blocked | Self::Lost | Self::Resolved)
    }

    /// Whether the shop is without the money.
    const fn takes_money(self) -> bool {
        matches!(self, Self::Open | Self::Lost | Self::Resolved | Self::Appealed)
    }
}

/// A refund, as Stripe knows it.
#[derive(Debug, Clone)]
pub(super) struct RefundRecord {
    id: String,
    purchase: usize,
    refund: Refund,
}

/// A dispute, as Stripe knows it.
#[derive(Debug, Clone)]
pub(super) struct DisputeRecord {
    id: String,
    purchase: usize,
    dispute: Dispute,
    has_evidence: bool,
    /// The object after each change.
    objects: Vec<Value>,
}

/// An early fraud warning, as Stripe knows it.
#[derive(Debug, Clone)]
pub(super) struct WarningRecord {
    id: String,
    purchase: usize,
    at: i64,
}

/// What happened to a purchase's money.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reversals {
    /// Its refunds.
    pub refunds: BTreeMap<String, Refund>,
    /// Its disputes.
    pub disputes: BTreeMap<String, Dispute>,
    /// Stripe's early fraud warnings, and when each was reported.
    pub warnings: BTreeMap<String, i64>,
}

impl Reversals {
    /// How much was refunded, or is pending.
    #[must_use]
    pub fn refunded(&self) -> i64 {
        let fails = |state| matches!(state, RefundState::Canceled | RefundState::Failed);
        let live = self.refunds.values().filter(|refund| !fails(refund.state));
        live.map(|refund| refund.amount).sum()
    }

    /// Whether a bank has the money, or has returned it to the buyer.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        self.disputes.values().any(|dispute| dispute.state.takes_money())
    }
}

impl Stripe {
    /// What happened to this purchase's money.
    pub(super) fn reversals(&self, purchase: usize) -> Reversals {
        let refunds = self.refunds.iter().filter(|record| record.purchase == purchase);
        let disputes = self.disputes.iter().filter(|record| record.purchase == purchase);
        let warnings = self.warnings.iter().filter(|record| record.purchase == purchase);
        Reversals {
            refunds: refunds.map(|it| (it.id.clone(), it.refund.clone())).collect(),
            disputes: disputes.map(|it| (it.id.clone(), it.dispute.clone())).collect(),
            warnings: warnings.map(|it| (it.id.clone(), it.at)).collect(),
        }
    }

    /// A payment, as the API returns it; none if there is no such payment.
    #[must_use]
    pub fn payment(&self, id: &str) -> Option<Value> {
        let purchase = self.purchases.iter().find(|it| it.session.payment_intent == id);
        let metadata = match purchase {
            Some(purchase) => rendering::metadata(Some(MARK), &purchase.session.learner),
            None if id.starts_with("pi_foreign") => self.foreign_metadata(id),
            None => return None,
        };
        Some(rendering::payment_intent(id, &metadata))
    }

    /// The metadata of a foreign object: another deployment's, whose learner has the id of one of
    /// ours; of software that has keys like ours; or of something else altogether.
    fn foreign_metadata(&self, id: &str) -> Value {
        let learner = format!("{}{}", LEARNERS[0], self.prefix);
        match id.bytes().last().unwrap_or_default() % 3 {
            0 => rendering::metadata(Some(OTHER_MARK), &learner),
            1 => rendering::metadata(None, &learner),
            _ => json!({ "order": "7" }),
        }
    }

    /// A dispute, as the API returns it after this many changes.
    #[must_use]
    pub fn dispute(&self, id: &str, changes: usize) -> Option<&Value> {
        let record = self.disputes.iter().find(|record| record.id == id)?;
        record.objects.get(changes)
    }

    /// How often a dispute has changed.
    #[must_use]
    pub fn changes(&self, dispute: &str) -> usize {
        let record = self.disputes.iter().find(|record| record.id == dispute);
        record.map_or(0, |record| record.objects.len() - 1)
    }

    fn pick_paid(&self, number: u8) -> Option<usize> {
        self.pick(number, |purchase| {
            purchase.charged.is_some() && matches!(purchase.payment, Some(Payment::Paid { .. }))
        })
    }

    /// Refunds a payment, or one of this many parts of it, but no more than is left.
    pub(super) fn refund(&mut self, number: u8, parts: u8, start: u8) -> Option<String> {
        let purchase = self.pick_paid(number)?;
        let total = self.purchases[purchase].session.amount_total;
        let left = total - self.reversals(purchase).refunded();
        let amount = left.min(total / i64::from(parts).max(1));
        if amount == 0 {
            return None;
        }
        let state = match start % 4 {
            0 => RefundState::Pending,
            1 => RefundState::RequiresAction,
            _ => RefundState::Succeeded,
        };
        let record = RefundRecord {
            id: self.id("re", self.refunds.len()),
            purchase,
            refund: Refund { amount, state, statuses: BTreeMap::new() },
        };
        self.refunds.push(record);
        let index = self.refunds.len() - 1;
        let said = self.report_refund(index, &["refund.created"]);
        let payment = self.purchases[purchase].source();
        self.send("charge.refunded", &rendering::charge(&payment), Effect::Nothing);
        Some(said)
    }

    fn change_refund(
        &mut self,
        number: u8,
        state: RefundState,
        can: impl Fn(RefundState) -> bool,
    ) -> Option<String> {
        let fitting = |index: &usize| can(self.refunds[*index].refund.state);
        let index = one_of(number, (0..self.refunds.len()).filter(fitting))?;
        self.refunds[index].refund.state = state;
        let kinds: &[&str] = if state == RefundState::Failed {
            &["refund.failed", "refund.updated"]
        } else {
            &["refund.updated"]
        };
        let said = self.report_refund(index, kinds);
        let record = &self.refunds[index];
        let payment = self.purchases[record.purchase].source();
        let object = rendering::refund(&record.id, &payment, record.refund.amount, state.name());
        self.send("charge.refund.updated", &object, Effect::Nothing);
        Some(said)
    }

    pub(super) fn refund_arrives(&mut self, number: u8) -> Option<String> {
        self.change_refund(number, RefundState::Succeeded, RefundState::waits)
    }

    pub(super) fn refund_is_canceled(&mut self, number: u8) -> Option<String> {
        self.change_refund(number, RefundState::Canceled, RefundState::waits)
    }

    pub(super) fn refund_fails(&mut self, number: u8) -> Option<String> {
        self.change_refund(number, RefundState::Failed, |state| {
            state.waits() || state == RefundState::Succeeded
        })
    }

    fn report_refund(&mut self, index: usize, kinds: &[&str]) -> String {
        let record = &mut self.refunds[index];
        let Refund { amount, state, statuses } = &mut record.refund;
        statuses.entry(*state).or_insert(self.now);
        let payment = self.purchases[record.purchase].source();
        let object = rendering::refund(&record.id, &payment, *amount, state.name());
        let fact = Some(Fact::Refund(record.id.clone(), *state));
        let effect = || Effect::Source(payment.clone());
        let send = |kind: &&str| self.report_fact(kind, &object, effect(), fact.clone());
        let said: Vec<String> = kinds.iter().map(send).collect();
        said.join(", and ")
    }

    pub(super) fn open_dispute(&mut self, number: u8, is_inquiry: bool) -> Option<String> {
        let purchase = self.pick_paid(number)?;
        let state = if is_inquiry { DisputeState::Inquiry } else { DisputeState::Open };
        self.disputes.push(DisputeRecord {
            id: self.id("du", self.disputes.len()),
            purchase,
            dispute: Dispute { state, statuses: BTreeMap::new() },
            has_evidence: false,
            objects: Vec::new(),
        });
        Some(self.report_dispute(self.disputes.len() - 1, "created"))
    }

    fn pick_dispute(&self, number: u8, can: impl Fn(DisputeState) -> bool) -> Option<usize> {
        let fitting = |index: &usize| can(self.disputes[*index].dispute.state);
        one_of(number, (0..self.disputes.len()).filter(fitting))
    }

    pub(super) fn escalate(&mut self, number: u8) -> Option<String> {
        let index = self.pick_dispute(number, |state| state == DisputeState::Inquiry)?;
        let record = &mut self.disputes[index];
        (record.dispute.state, record.has_evidence) = (DisputeState::Open, false);
        Some(self.report_dispute(index, "updated"))
    }

    pub(super) fn close_inquiry(&mut self, number: u8) -> Option<String> {
        let index = self.pick_dispute(number, |state| state == DisputeState::Inquiry)?;
        self.disputes[index].dispute.state = DisputeState::InquiryClosed;
        Some(self.report_dispute(index, "closed"))
    }

    pub(super) fn send_evidence(&mut self, number: u8) -> Option<String> {
        let waits = |state| {
            use DisputeState::{Appealed, Inquiry, Open};
            matches!(state, Inquiry | Open | Appealed)
        };
        let index = self.pick_dispute(number, waits)?;
        self.disputes[index].has_evidence = true;
        Some(self.report_dispute(index, "updated"))
    }

    /// Decides an open dispute or an appeal, reverses a verdict, or appeals a lost dispute.
    pub(super) fn decide(&mut self, number: u8, verdict: u8) -> Option<String> {
        let is_open = |state| matches!(state, DisputeState::Open | DisputeState::Appealed);
        let index = self.pick_dispute(number, |state| is_open(state) || state.is_verdict())?;
        let before = self.disputes[index].dispute.state;
        let appeals = APPEALS.iter().filter(|_| before == DisputeState::Lost);
        let others = VERDICTS.iter().filter(|verdict| **verdict != before).chain(appeals);
        let verdict = usize::from(verdict) % others.clone().count();
        let record = &mut self.disputes[index];
        record.dispute.state = others.copied().nth(verdict)?;
        if record.dispute.state == DisputeState::Appealed {
            record.has_evidence = false;
        }
        let how = if is_open(before) { "closed" } else { "updated" };
        Some(self.report_dispute(index, how))
    }

    /// Reports the dispute's funds in their current state.
    pub(super) fn move_funds(&mut self, number: u8) -> Option<String> {
        let is_inquiry =
            |state| matches!(state, DisputeState::Inquiry | DisputeState::InquiryClosed);
        let index = self.pick_dispute(number, |state| !is_inquiry(state))?;
        let is_taken = self.disputes[index].dispute.state.takes_money();
        let how = if is_taken { "funds_withdrawn" } else { "funds_reinstated" };
        Some(self.report_dispute(index, how))
    }

    fn report_dispute(&mut self, index: usize, how: &str) -> String {
        let record = &mut self.disputes[index];
        let Dispute { state, statuses } = &mut record.dispute;
        statuses.entry(*state).or_insert(self.now);
        let (before, after) = state.names();
        let status = if record.has_evidence { after } else { before };
        let payment = self.purchases[record.purchase].source();
        let object = rendering::dispute(&record.id, &payment, status, state.case());
        let dispute_version =
            DisputeVersion { dispute: record.id.clone(), changes: record.objects.len() };
        record.objects.push(object.clone());
        let fact = Some(Fact::Dispute(record.id.clone(), *state));
        let kind = format!("charge.dispute.{how}");
        let said = self.report_fact(&kind, &object, Effect::Source(payment), fact);
        if let Some(message) = self.messages.last_mut() {
            message.dispute_version = Some(dispute_version);
        }
        said
    }

    pub(super) fn warn(&mut self, number: u8) -> Option<String> {
        let purchase = self.pick_paid(number)?;
        let id = self.id("issfr", self.warnings.len());
        let payment = self.purchases[purchase].source();
        let object = rendering::fraud_warning(&id, &payment);
        let fact = Some(Fact::Warning(id.clone()));
        self.warnings.push(WarningRecord { id, purchase, at: self.now });
        let kind = "radar.early_fraud_warning.created";
        Some(self.report_fact(kind, &object, Effect::Source(payment), fact))
    }

    /// An event about another shop's own sale.
    pub(super) fn foreign(&mut self, kind: u8, is_garbled: bool) -> String {
        let number = self.messages.len();
        let payment = self.id("pi_foreign", number);
        let whose = FOREIGN[usize::from(kind) % FOREIGN.len()];
        let (kind, object) = match whose {
            "refund" => {
                let id = self.id("re_foreign", number);
                ("refund.created", rendering::refund(&id, &payment, 500, "succeeded"))
            }
            "dispute" => {
                let id = self.id("du_foreign", number);
                ("charge.dispute.closed", rendering::dispute(&id, &payment, "lost", None))
            }
            "fraud warning" => {
                let id = self.id("issfr_foreign", number);
                ("radar.early_fraud_warning.created", rendering::fraud_warning(&id, &payment))
            }
            "customer" => {
                let id = self.id("cus_foreign", number);
                ("customer.deleted", rendering::customer(&id, &self.foreign_metadata(&id)))
            }
            _ => {
                // As for charges that were made without a payment intent.
                let id = self.id("re_foreign", number);
                let mut refund = rendering::refund(&id, &payment, 500, "succeeded");
                refund["payment_intent"] = Value::Null;
                ("refund.created", refund)
            }
        };
        let said = self.send(kind, &object, Effect::Nothing);
        let names_payment = object["payment_intent"].is_string();
        if let Some(message) = self.messages.last_mut().filter(|_| is_garbled && names_payment) {
            message.garbled = Some(garbled(&message.body));
        }
        format!("{said}, of another shop")
    }

    /// A learner's customer is deleted.
    pub(super) fn delete_customer(&mut self, learner: u8) -> Option<String> {
        let name = LEARNERS[usize::from(learner) % LEARNERS.len()];
        let learner = format!("{name}{}", self.prefix);
        let customer = self.customers.get_mut(&learner).filter(|it| !it.is_deleted)?;
        customer.is_deleted = true;
        let metadata = rendering::metadata(Some(MARK), &learner);
        let object = rendering::customer(&customer.id, &metadata);
        Some(self.send("customer.deleted", &object, Effect::Customer(learner)))
    }
}

/// The item that this number picks.
fn one_of(number: u8, fitting: impl Iterator<Item = usize>) -> Option<usize> {
    let fitting: Vec<usize> = fitting.collect();
    (!fitting.is_empty()).then(|| fitting[usize::from(number) % fitting.len()])
}
