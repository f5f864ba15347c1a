//! Why a source gives what it gives: what is known of it, in the order of time, and what each did.

use super::access::{Grant, RefundThreshold, Standing};
use super::facts::{
    Deed, Dispute, DisputeStatus, Facts, Origin, Payment, Refund, RefundStatus, Told,
};
use super::id::SourceId;
use super::money::Money;
use super::time::Timestamp;

/// One thing that is known of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it was told first; none for a payment that has not arrived.
    pub at: Option<Timestamp>,
    /// The Stripe id of what it is about; the source's own for what was done by hand.
    pub id: String,
    /// What is known.
    pub fact: Fact,
    /// What it did to what the source opens.
    pub effect: Effect,
}

/// What can be known of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// How far the payment has come, and what it came to.
    Payment(Payment, Option<Money>),
    /// The operator gave it.
    Given(Deed),
    /// How far a refund has come, and how much it is.
    Refund(RefundStatus, Option<Money>, i64),
    /// How far a dispute has come.
    Dispute(DisputeStatus),
    /// The card may be stolen.
    FraudWarning,
    /// The operator took it back.
    Revoked(Deed),
    /// The learner was forgotten.
    Forgotten,
}

/// What a fact did to what the source opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It opened the product.
    Opens,
    /// It closed it until more is known.
    Suspends,
    /// It closed it.
    Closes,
    /// It opened it again.
    Restores,
    /// Nothing.
    Nothing,
}

impl Effect {
    /// Its name in answers.
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

    fn of(before: Option<Standing>, after: Option<Standing>, was_open: bool) -> Self {
        let is_open = |standing| matches!(standing, Some(Standing::Active));
        match (is_open(before), is_open(after), after) {
            (false, true, _) if was_open => Self::Restores,
            (false, true, _) => Self::Opens,
            (true, false, Some(Standing::Suspended)) => Self::Suspends,
            (true, false, _) => Self::Closes,
            _ => Self::Nothing,
        }
    }
}

impl Fact {
    /// Its name in answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Payment(Payment::Processing, _) => "payment_processing",
            Self::Payment(Payment::Failed, _) => "payment_failed",
            Self::Payment(Payment::Paid { .. }, _) => "paid",
            Self::Given(_) => "given",
            Self::Refund(RefundStatus::Pending, ..) => "refund_pending",
            Self::Refund(RefundStatus::RequiresAction, ..) => "refund_requires_action",
            Self::Refund(RefundStatus::Succeeded, ..) => "refunded",
            Self::Refund(RefundStatus::Canceled, ..) => "refund_canceled",
            Self::Refund(RefundStatus::Failed, ..) => "refund_failed",
            Self::Dispute(DisputeStatus::Inquiry) => "dispute_inquiry",
            Self::Dispute(DisputeStatus::InquiryClosed) => "dispute_inquiry_closed",
            Self::Dispute(DisputeStatus::Open) => "dispute_open",
            Self::Dispute(DisputeStatus::Won) => "dispute_won",
            Self::Dispute(DisputeStatus::Lost) => "dispute_lost",
            Self::Dispute(DisputeStatus::Appealed) => "dispute_appealed",
            Self::Dispute(DisputeStatus::Blocked | DisputeStatus::Resolved) => "dispute_prevented",
            Self::FraudWarning => "fraud_warning",
            Self::Revoked(_) => "revoked",
            Self::Forgotten => "forgotten",
        }
    }

    /// How much it moved, or was to move, where that is known.
    #[must_use]
    pub fn money(&self) -> Option<Money> {
        match self {
            Self::Payment(_, money) => *money,
            Self::Refund(_, total, amount_minor) => {
                total.map(|total| Money { amount_minor: *amount_minor, ..total })
            }
            Self::Given(_)
            | Self::Dispute(_)
            | Self::FraudWarning
            | Self::Revoked(_)
            | Self::Forgotten => None,
        }
    }

    /// In words, for somebody who reads them out to the learner.
    #[must_use]
    pub fn words(&self) -> String {
        let money = self.money();
        let of = money.map_or_else(String::new, |it| format!(" of {it}"));
        match self {
            Self::Payment(Payment::Processing, _) => {
                format!("The payment{of} is on its way; the bank has not confirmed it.")
            }
            Self::Payment(Payment::Failed, _) => format!("The payment{of} failed."),
            Self::Payment(Payment::Paid { .. }, Some(Money { amount_minor: 0, .. })) => {
                "It was bought for nothing.".to_owned()
            }
            Self::Payment(Payment::Paid { .. }, _) => format!("The payment{of} arrived."),
            Self::Given(_) => "It was given, without a payment.".to_owned(),
            Self::Refund(status, total, _) => {
                let refund = match total {
                    Some(total) if money != Some(*total) => {
                        format!("The refund{of} out of {total}")
                    }
                    _ => "The refund".to_owned(),
                };
                let became = match status {
                    RefundStatus::Pending => "is on its way.",
                    RefundStatus::RequiresAction => "waits for the buyer to do something.",
                    RefundStatus::Succeeded => "was made.",
                    RefundStatus::Canceled => "was called off, and the money stays.",
                    RefundStatus::Failed => "failed, and the money came back.",
                };
                format!("{refund} {became}")
            }
            Self::Dispute(status) => match status {
                DisputeStatus::Inquiry => "The bank has asked about the payment.",
                DisputeStatus::InquiryClosed => "The bank asks about the payment no more.",
                DisputeStatus::Open => "The payment is disputed at the bank.",
                DisputeStatus::Won => "The bank has decided the dispute: the payment stands.",
                DisputeStatus::Lost => "The bank has decided the dispute: the money went back.",
                DisputeStatus::Appealed => "The bank's decision on the dispute was appealed.",
                DisputeStatus::Blocked => "A dispute was prevented: the payment stands.",
                DisputeStatus::Resolved => "A dispute was prevented: the money went back.",
            }
            .to_owned(),
            Self::FraudWarning => "The card may be stolen, the bank warns.".to_owned(),
            Self::Revoked(_) => "It was taken back by hand.".to_owned(),
            Self::Forgotten => "The learner was forgotten.".to_owned(),
        }
    }
}

/// All that is known of a source, in the order of time, each with what it did.
#[must_use]
pub fn why(
    source: &SourceId,
    facts: &Facts,
    threshold: RefundThreshold,
    now: Timestamp,
) -> Vec<Step> {
    let mut parts = parts(source, facts);
    parts.sort_by_key(|part| part.at);
    let mut so_far = Facts::default();
    let (mut standing, mut was_open) = (None, false);
    let steps = parts.into_iter().map(|part| {
        so_far = so_far.clone().join(part.facts);
        let at = part.at.unwrap_or(now);
        let grant = Grant::of(&so_far).map(|(_, grant)| grant);
        let after = grant.map(|grant| grant.standing(threshold, at));
        let effect = Effect::of(standing, after, was_open);
        standing = after;
        was_open |= after == Some(Standing::Active);
        Step { at: part.at, id: part.id, fact: part.fact, effect }
    });
    steps.collect()
}

/// A fact by itself.
struct Part {
    at: Option<Timestamp>,
    id: String,
    fact: Fact,
    facts: Facts,
}

fn parts(source: &SourceId, facts: &Facts) -> Vec<Part> {
    let own = |at, fact, facts| Part { at, id: source.to_string(), fact, facts };
    let total = facts.purchase().and_then(|purchase| purchase.sale.total);
    let mut parts = Vec::new();
    match &facts.origin {
        Some(origin @ Origin::Purchase(purchase)) => {
            let at = match purchase.payment {
                Payment::Paid { at } => Some(at.0),
                Payment::Processing | Payment::Failed => None,
            };
            parts.push(own(at, Fact::Payment(purchase.payment, total), origin.clone().into()));
        }
        Some(origin @ Origin::Manual(grant)) => {
            let given = Fact::Given(grant.deed.clone());
            parts.push(own(Some(grant.deed.at), given, origin.clone().into()));
        }
        None => {}
    }
    for (id, refund) in &facts.refunds {
        for (status, at) in refund.told.iter() {
            let one = Refund { told: Told::once(status, at), ..refund.clone() };
            parts.push(Part {
                at: Some(at),
                id: id.to_string(),
                fact: Fact::Refund(status, total, refund.amount_minor),
                facts: Facts { refunds: [(id.clone(), one)].into(), ..Facts::default() },
            });
        }
    }
    for (id, dispute) in &facts.disputes {
        let verdicts = dispute.told.iter().filter(|(status, _)| status.is_after_verdict());
        let last = verdicts.map(|(_, at)| at).max();
        for (status, at) in dispute.told.iter() {
            // What Stripe has answered holds from the last verdict on.
            let settled = dispute.settled.filter(|_| Some(at) == last);
            let one = Dispute { told: Told::once(status, at), settled };
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
    if let Some(deed) = &facts.revoked {
        let revoked = Facts { revoked: Some(deed.clone()), ..Facts::default() };
        parts.push(own(Some(deed.at), Fact::Revoked(deed.clone()), revoked));
    }
    if let Some(at) = facts.forgotten {
        let forgotten = Facts { forgotten: Some(at), ..Facts::default() };
        parts.push(own(Some(at), Fact::Forgotten, forgotten));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Purchase, Sale};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn sold() -> Facts {
        let sale = Sale {
            product: "tutorclaw".parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            session: "cs_1".parse().unwrap(),
            opened_at: Some(at(1)),
            total: Some(Money { amount_minor: 2900, currency: "usd".parse().unwrap() }),
            learner: "ada".parse().unwrap(),
        };
        Purchase { sale, payment: Payment::paid(at(1)) }.into()
    }

    fn refund(id: &str, amount_minor: i64, told: &[(RefundStatus, i64)]) -> Facts {
        let told = told.iter().map(|(status, seconds)| (*status, at(*seconds))).collect();
        let refund = Refund { amount_minor, told };
        Facts { refunds: [(id.parse().unwrap(), refund)].into(), ..Facts::default() }
    }

    fn dispute(told: &[(DisputeStatus, i64)], read: Option<DisputeStatus>) -> Facts {
        let told = told.iter().map(|(status, seconds)| (*status, at(*seconds))).collect();
        let mut dispute = Dispute { told, settled: None };
        if let Some(status) = read {
            dispute.settle(status);
        }
        Facts { disputes: [("du_1".parse().unwrap(), dispute)].into(), ..Facts::default() }
    }

    #[track_caller]
    fn check(tellings: &[Facts], expected: &[&str]) {
        let facts = tellings.iter().cloned().fold(Facts::default(), Facts::join);
        let steps = why(&"pi_1".parse().unwrap(), &facts, RefundThreshold::ALL, at(99));
        let line = |step: &Step| {
            let at = step.at.map_or(0, Timestamp::unix_seconds);
            format!("{at} {} {} {}", step.id, step.fact.name(), step.effect.name())
        };
        assert_eq!(steps.iter().map(line).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn access_is_told_step_by_step_in_the_order_of_time() {
        use DisputeStatus::{Inquiry, Lost, Open, Won};
        use RefundStatus::{Failed, Pending, Succeeded};
        check(&[sold()], &["1 pi_1 paid opens"]);
        check(
            &[sold(), dispute(&[(Inquiry, 2), (Open, 3), (Won, 4)], None)],
            &[
                "1 pi_1 paid opens",
                "2 du_1 dispute_inquiry nothing",
                "3 du_1 dispute_open suspends",
                "4 du_1 dispute_won restores",
            ],
        );
        check(
            &[sold(), dispute(&[(Open, 3), (Lost, 4), (Won, 5)], Some(Won))],
            &[
                "1 pi_1 paid opens",
                "3 du_1 dispute_open suspends",
                "4 du_1 dispute_lost nothing",
                "5 du_1 dispute_won restores",
            ],
        );
        check(
            &[
                sold(),
                refund("re_1", 1000, &[(Succeeded, 2)]),
                refund("re_2", 1900, &[(Pending, 3), (Succeeded, 4), (Failed, 5)]),
            ],
            &[
                "1 pi_1 paid opens",
                "2 re_1 refunded nothing",
                "3 re_2 refund_pending closes",
                "4 re_2 refunded nothing",
                "5 re_2 refund_failed restores",
            ],
        );
    }

    #[test]
    fn what_is_refunded_before_it_is_known_to_be_sold_never_opened_anything() {
        check(
            &[refund("re_1", 2900, &[(RefundStatus::Succeeded, 2)])],
            &["2 re_1 refunded nothing"],
        );
    }

    #[test]
    fn the_words_can_be_read_out() {
        let usd = |amount_minor| Some(Money { amount_minor, currency: "usd".parse().unwrap() });
        let paid = Payment::paid(at(1));
        for (fact, words) in [
            (Fact::Payment(paid, usd(2900)), "The payment of 29.00 USD arrived."),
            (Fact::Payment(paid, usd(0)), "It was bought for nothing."),
            (Fact::Payment(paid, None), "The payment arrived."),
            (Fact::Refund(RefundStatus::Succeeded, usd(2900), 2900), "The refund was made."),
            (
                Fact::Refund(RefundStatus::Failed, usd(2900), 1000),
                "The refund of 10.00 USD out of 29.00 USD failed, and the money came back.",
            ),
            (Fact::Dispute(DisputeStatus::Open), "The payment is disputed at the bank."),
        ] {
            assert_eq!(fact.words(), words);
        }
    }
}
