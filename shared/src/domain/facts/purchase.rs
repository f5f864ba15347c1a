//! Facts of a purchase.

use super::super::id::{LearnerId, PriceKey, ProductId, SessionId};
use super::super::money::Money;
use super::super::time::Timestamp;
use super::StatusHistory;

/// What was sold, as our own server wrote it into the session's metadata, and so for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sale {
    /// What they own once it is paid.
    pub product: ProductId,
    /// At which of its prices.
    pub price: PriceKey,
    /// Through which session.
    pub session: SessionId,
    /// What the session came to, discounts and taxes included, where it could be read.
    pub total: Option<Money>,
    /// When Stripe opened the session; none in what was stored before this was.
    pub opened_at: Option<Timestamp>,
    /// Who bought it.
    pub learner: LearnerId,
}

impl Sale {
    /// Set once: metadata is written once, so two observations differ only in what one of them
    /// lacks. Should they contradict each other all the same, the greater value wins, whichever
    /// came first.
    fn join(self, other: Self) -> Self {
        Self {
            product: self.product.max(other.product),
            price: self.price.max(other.price),
            session: self.session.max(other.session),
            total: self.total.max(other.total),
            opened_at: self.opened_at.max(other.opened_at),
            learner: self.learner.max(other.learner),
        }
    }
}

/// How far a payment has come. The order is the join's: a payment that failed can still be paid,
/// and one that is paid stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentStatus {
    /// The buyer has done their part; the bank hasn't confirmed the payment.
    Processing,
    /// The bank refused it.
    Failed,
    /// Paid, or there was nothing to pay.
    Paid,
}

/// What Stripe has reported about a payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Payment {
    status: PaymentStatus,
    statuses: StatusHistory<PaymentStatus>,
}

impl Payment {
    /// Stripe reported this status at this time.
    #[must_use]
    pub fn reported(status: PaymentStatus, at: Timestamp) -> Self {
        Self { status, statuses: StatusHistory::once(status, at) }
    }

    /// Paid at this time.
    #[must_use]
    pub fn paid(at: Timestamp) -> Self {
        Self::reported(PaymentStatus::Paid, at)
    }

    /// A payment as it was stored. Earlier versions kept no times for processing and failed
    /// payments.
    #[must_use]
    pub fn stored(status: PaymentStatus, statuses: StatusHistory<PaymentStatus>) -> Self {
        Self {
            status: statuses.furthest().map_or(status, |furthest| furthest.max(status)),
            statuses,
        }
    }

    /// How far it has come.
    #[must_use]
    pub const fn status(&self) -> PaymentStatus {
        self.status
    }

    /// Whether it is paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.status == PaymentStatus::Paid
    }

    /// The earliest time at which Stripe reported it as paid.
    #[must_use]
    pub fn paid_at(&self) -> Option<Timestamp> {
        self.statuses.at(PaymentStatus::Paid)
    }

    /// Each status that Stripe reported and the earliest time at which it did, in the order of the
    /// statuses. Only the current status can lack its time.
    pub fn history(&self) -> impl Iterator<Item = (PaymentStatus, Option<Timestamp>)> {
        let is_undated = self.statuses.at(self.status).is_none();
        let undated = is_undated.then_some((self.status, None));
        self.statuses.iter().map(|(status, at)| (status, Some(at))).chain(undated)
    }

    fn join(self, other: Self) -> Self {
        Self { status: self.status.max(other.status), statuses: self.statuses.join(other.statuses) }
    }
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purchase {
    /// What was sold.
    pub sale: Sale,
    /// What became of the payment.
    pub payment: Payment,
}

impl Purchase {
    /// Whether the money has arrived, or there was nothing to pay.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.payment.is_paid()
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self { sale: self.sale.join(other.sale), payment: self.payment.join(other.payment) }
    }
}
