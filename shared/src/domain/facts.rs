//! What is known about one source of access, and how two observations of it are joined.
//!
//! Stripe delivers events more than once, late, out of order, and sometimes two with different ids
//! for one change. So a fact is never just the last status seen. Each event adds facts, and
//! [`Facts::join`] is idempotent, commutative and associative: the same observations make the same
//! facts in any order.
//!
//! Each kind of source has its own facts with their own join. Refunds, disputes, fraud warnings,
//! revocation and erasure are common to all of them.

use std::collections::BTreeMap;

use super::id::{DisputeId, FraudWarningId, LearnerId, ProductId, RefundId};
use super::time::Timestamp;

mod history;
mod manual;
mod purchase;
mod reversal;

pub use history::StatusHistory;
pub use manual::{ManualGrant, Note, NoteError, OperatorAction};
pub use purchase::{Payment, PaymentStatus, Purchase, Sale};
pub use reversal::{Dispute, DisputeStatus, Refund, RefundStatus};

/// Where access comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The learner bought it.
    Purchase(Purchase),
    /// An operator granted it.
    Manual(ManualGrant),
}

impl Origin {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Purchase(a), Self::Purchase(b)) => Self::Purchase(a.join(b)),
            (Self::Manual(a), Self::Manual(b)) => Self::Manual(a.join(b)),
            // A source's id determines its kind, so two kinds are never joined.
            (a @ Self::Purchase(_), b @ Self::Manual(_))
            | (a @ Self::Manual(_), b @ Self::Purchase(_)) => a.max(b),
        }
    }

    /// The learner.
    #[must_use]
    pub const fn learner(&self) -> &LearnerId {
        match self {
            Self::Purchase(purchase) => &purchase.sale.learner,
            Self::Manual(grant) => &grant.learner,
        }
    }

    /// When the checkout session was opened, or the operator granted it; `None` if unknown.
    #[must_use]
    pub const fn began_at(&self) -> Option<Timestamp> {
        match self {
            Self::Purchase(purchase) => purchase.sale.opened_at,
            Self::Manual(grant) => Some(grant.action.at),
        }
    }

    /// The product that it opens.
    #[must_use]
    pub const fn product(&self) -> &ProductId {
        match self {
            Self::Purchase(purchase) => &purchase.sale.product,
            Self::Manual(grant) => &grant.product,
        }
    }
}

/// All that is known about one source, or all that one observation says about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Where the access comes from; `None` until that is known, as when a refund's event arrives
    /// first.
    pub origin: Option<Origin>,
    /// Its refunds.
    pub refunds: BTreeMap<RefundId, Refund>,
    /// Its disputes. A payment can have several.
    pub disputes: BTreeMap<DisputeId, Dispute>,
    /// Stripe's warnings that the card may be stolen, each with its earliest time. They don't
    /// change access.
    pub fraud_warnings: BTreeMap<FraudWarningId, Timestamp>,
    /// The first time that an operator revoked the access, which is permanent.
    pub revoked: Option<OperatorAction>,
    /// When the learner was erased, which is permanent.
    pub forgotten: Option<Timestamp>,
}

impl From<Origin> for Facts {
    fn from(origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::default() }
    }
}

impl From<Purchase> for Facts {
    fn from(purchase: Purchase) -> Self {
        Origin::Purchase(purchase).into()
    }
}

impl Facts {
    /// Joins two observations of one source.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let mut joined = Self {
            origin: both(self.origin, other.origin, Origin::join),
            refunds: all(self.refunds, other.refunds, Refund::join),
            disputes: all(self.disputes, other.disputes, Dispute::join),
            fraud_warnings: all(self.fraud_warnings, other.fraud_warnings, Timestamp::min),
            revoked: both(self.revoked, other.revoked, OperatorAction::min),
            forgotten: both(self.forgotten, other.forgotten, Timestamp::min),
        };
        if joined.forgotten.is_some() {
            joined.drop_names();
        }
        joined
    }

    /// The purchase, if it is one.
    #[must_use]
    pub const fn purchase(&self) -> Option<&Purchase> {
        match &self.origin {
            Some(Origin::Purchase(purchase)) => Some(purchase),
            Some(Origin::Manual(_)) | None => None,
        }
    }

    /// Whether erasing its learner at this time covers this source, which it does if the source
    /// began by then. A source that began in the same second or at an unknown time is covered too,
    /// so that nobody who asked to be erased reappears. A source whose learner isn't known yet is
    /// not covered: it may have begun later.
    #[must_use]
    pub fn is_erased_by(&self, erased_at: Timestamp) -> bool {
        let began_by_then = |origin: &Origin| origin.began_at().is_none_or(|at| at <= erased_at);
        self.forgotten.is_some() || self.origin.as_ref().is_some_and(began_by_then)
    }

    /// The amount refunded or being refunded, in the minor unit of the payment's currency.
    #[must_use]
    pub fn refunded_minor(&self) -> i64 {
        let live = self.refunds.values().filter(|refund| refund.is_live());
        live.fold(0, |sum, refund| sum.saturating_add(refund.amount_minor.max(0)))
    }

    /// The share of the payment that is refunded or being refunded, in percent, rounded down; 100
    /// if there is a refund and the payment's total is unknown.
    #[must_use]
    pub fn refunded_percent(&self) -> u8 {
        let refunded = self.refunded_minor();
        let total = self.purchase().and_then(|purchase| purchase.sale.total);
        let percent = match total.map(|total| total.amount_minor) {
            _ if refunded == 0 => 0,
            Some(total) if refunded < total => {
                refunded.saturating_mul(100).checked_div(total).unwrap_or(100)
            }
            _ => 100,
        };
        u8::try_from(percent).unwrap_or(100).min(100)
    }

    fn drop_names(&mut self) {
        match &mut self.origin {
            Some(Origin::Purchase(purchase)) => purchase.sale.learner = LearnerId::forgotten(),
            Some(Origin::Manual(grant)) => {
                grant.learner = LearnerId::forgotten();
                grant.action.reason = Note::forgotten();
            }
            None => {}
        }
        if let Some(revoked) = &mut self.revoked {
            revoked.reason = Note::forgotten();
        }
    }
}

fn both<T>(a: Option<T>, b: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

fn all<K: Ord, V>(
    mut a: BTreeMap<K, V>,
    b: BTreeMap<K, V>,
    join: impl Fn(V, V) -> V,
) -> BTreeMap<K, V> {
    for (key, value) in b {
        let joined = match a.remove(&key) {
            Some(known) => join(known, value),
            None => value,
        };
        a.insert(key, joined);
    }
    a
}

#[cfg(test)]
mod tests;
