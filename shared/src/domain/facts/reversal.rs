//! Facts of refunds and disputes, which every kind of source shares.

use super::super::snapshot::Snapshot;
use super::StatusHistory;

/// How far a refund has come. The order is the join's: a refund that failed has succeeded before,
/// as far as anybody knew. <https://docs.stripe.com/refunds#failed-refunds>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundStatus {
    /// The bank has it.
    Pending,
    /// The buyer has to do something.
    RequiresAction,
    /// The money is on its way back.
    Succeeded,
    /// It was called off.
    Canceled,
    /// The bank could not pay it back.
    Failed,
}

/// A refund of a payment, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refund {
    /// How much, in the payment's currency.
    pub amount_minor: i64,
    /// What Stripe has told of it.
    pub statuses: StatusHistory<RefundStatus>,
}

impl Refund {
    /// Whether the money is going back, or has gone.
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

/// How far a dispute has come. The order is the join's, up to the verdict: verdicts and appeals may
/// follow one another, and then Stripe is asked which holds. Until it has answered, the last of
/// these counts, so nothing is open whose money may have gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisputeStatus {
    /// The bank asks; no money has moved.
    Inquiry,
    /// The bank asks no more.
    InquiryClosed,
    /// The money is held back until it is decided.
    Open,
    /// Decided for us.
    Won,
    /// It was prevented, and the money stays.
    Blocked,
    /// Decided against us.
    Lost,
    /// It was prevented by paying the money back.
    Resolved,
    /// It was decided against us and we appeal: the money is away until that is decided.
    Appealed,
}

impl DisputeStatus {
    /// Whether the bank has decided at least once: a verdict, or an appeal against one. Each of
    /// these may be followed by any other.
    #[must_use]
    pub const fn is_after_verdict(self) -> bool {
        matches!(self, Self::Won | Self::Blocked | Self::Lost | Self::Resolved | Self::Appealed)
    }

    /// Whether the money is away and may come back.
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Open | Self::Appealed)
    }

    /// Whether the money has gone back.
    #[must_use]
    pub const fn is_against_us(self) -> bool {
        matches!(self, Self::Lost | Self::Resolved)
    }
}

/// A dispute of a payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dispute {
    /// What Stripe has told of it.
    pub statuses: StatusHistory<DisputeStatus>,
    /// Stripe's last answer, where it had to be asked.
    pub snapshot: Option<Snapshot<DisputeStatus>>,
}

impl Dispute {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Option<DisputeStatus> {
        let snapshot = self.snapshot.filter(|_| self.needs_snapshot());
        snapshot.map(|snapshot| snapshot.value).or_else(|| self.statuses.furthest())
    }

    /// Whether only Stripe can say how it stands: more than one verdict was told, or an appeal,
    /// after which any verdict may come, the same one too.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        let after_verdict = || self.statuses.iter().filter(|(status, _)| status.is_after_verdict());
        after_verdict().count() > 1
            || after_verdict().any(|(status, _)| status == DisputeStatus::Appealed)
    }

    /// Whether a verdict or an appeal was told.
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
