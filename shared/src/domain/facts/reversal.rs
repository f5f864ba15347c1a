//! Facts about refunds and disputes, which are common to every kind of source.

use super::super::snapshot::Snapshot;
use super::StatusHistory;

/// The status of a refund. Of several reported statuses the greatest counts: a refund can fail
/// after Stripe reported that it succeeded. <https://docs.stripe.com/refunds#failed-refunds>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundStatus {
    /// The bank is processing it.
    Pending,
    /// The buyer has to act.
    RequiresAction,
    /// The money is being returned.
    Succeeded,
    /// It was canceled.
    Canceled,
    /// The bank couldn't return the money.
    Failed,
}

/// A refund of a payment, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refund {
    /// The amount, in the minor unit of the payment's currency.
    pub amount_minor: i64,
    /// The statuses that Stripe reported.
    pub statuses: StatusHistory<RefundStatus>,
}

impl Refund {
    /// Whether the money was returned or is being returned.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(
            self.statuses.furthest(),
            Some(RefundStatus::Failed | RefundStatus::Canceled) | None
        )
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self {
            amount_minor: self.amount_minor.max(other.amount_minor),
            statuses: self.statuses.join(other.statuses),
        }
    }
}

/// The status of a dispute. Of several reported statuses the greatest counts, up to the verdict.
/// Verdicts and appeals can follow each other, and then we ask Stripe which one is current. Until
/// it has answered, the greatest counts, so that nothing is open whose money may have been
/// returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisputeStatus {
    /// The bank made an inquiry. No money has moved.
    Inquiry,
    /// The bank closed its inquiry.
    InquiryClosed,
    /// The bank holds the money until it decides.
    Open,
    /// Decided for us.
    Won,
    /// It was prevented, and we keep the money.
    Blocked,
    /// Decided against us.
    Lost,
    /// It was prevented by returning the money.
    Resolved,
    /// It was decided against us and we appealed. The bank holds the money until it decides again.
    Appealed,
}

impl DisputeStatus {
    /// Whether the bank has decided at least once: a verdict, or an appeal against one. Any of
    /// these can follow any other.
    #[must_use]
    pub const fn is_after_verdict(self) -> bool {
        matches!(self, Self::Won | Self::Blocked | Self::Lost | Self::Resolved | Self::Appealed)
    }

    /// Whether the bank holds the money and may still give it to us.
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Open | Self::Appealed)
    }

    /// Whether the buyer got the money back.
    #[must_use]
    pub const fn is_against_us(self) -> bool {
        matches!(self, Self::Lost | Self::Resolved)
    }
}

/// A dispute of a payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dispute {
    /// The statuses that Stripe reported.
    pub statuses: StatusHistory<DisputeStatus>,
    /// Stripe's latest answer, if we had to ask.
    pub snapshot: Option<Snapshot<DisputeStatus>>,
}

impl Dispute {
    /// The current status.
    #[must_use]
    pub fn status(&self) -> Option<DisputeStatus> {
        let snapshot = self.snapshot.filter(|_| self.needs_snapshot());
        snapshot.map(|snapshot| snapshot.value).or_else(|| self.statuses.furthest())
    }

    /// Whether only Stripe knows the current status: it reported more than one verdict, or an
    /// appeal, which any verdict can follow, even the same one.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        let after_verdict = || self.statuses.iter().filter(|(status, _)| status.is_after_verdict());
        after_verdict().count() > 1
            || after_verdict().any(|(status, _)| status == DisputeStatus::Appealed)
    }

    /// Whether a verdict or an appeal was reported.
    #[must_use]
    pub fn is_after_verdict(&self) -> bool {
        self.statuses.iter().any(|(status, _)| status.is_after_verdict())
    }

    /// Records Stripe's latest answer.
    pub fn record(&mut self, status: DisputeStatus) {
        self.snapshot = Some(Snapshot::after(self.snapshot.as_ref(), status));
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self {
            statuses: self.statuses.join(other.statuses),
            snapshot: self.snapshot.max(other.snapshot),
        }
    }
}
