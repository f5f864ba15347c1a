//! Facts about a purchase.

use super::super::id::{LearnerId, PriceKey, ProductId, SessionId};
use super::super::money::Money;
use super::super::time::Timestamp;
use super::StatusHistory;

/// What was sold. Our server wrote it into the checkout session's metadata, and it never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sale {
    /// The product that the learner owns once it is paid.
    pub product: ProductId,
    /// The price that they chose.
    pub price: PriceKey,
    /// The checkout session.
    pub session: SessionId,
    /// The session's total, including discounts and taxes; `None` if it couldn't be read.
    pub total: Option<Money>,
    /// When Stripe created the session; `None` in sources stored by versions that didn't keep it.
    pub opened_at: Option<Timestamp>,
    /// The buyer.
    pub learner: LearnerId,
}

impl Sale {
    /// Metadata is written once, so two observations differ only where one of them has no value. If
    /// they contradict each other anyway, the greater value wins, whichever came first.
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

/// The status of a payment. The join keeps the greater one: a failed payment can still be paid, and
/// a paid one stays paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentStatus {
    /// The buyer completed the checkout, and the bank hasn't confirmed the payment.
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

    /// The current status.
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

    /// Each status that Stripe reported with its earliest time, in the order of the statuses. Only
    /// the current status can be without a time.
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
    /// The payment.
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
