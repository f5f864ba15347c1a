//! What Stripe has told us of a purchase, and how two tellings are joined.
//!
//! Events come twice, late, out of order and as two ids for one change. So nothing here is "the
//! last status seen": [`Purchase::join`] is idempotent, commutative and associative, and whatever
//! the order, the same tellings make the same purchase.

use super::id::{LearnerId, PriceKey, ProductId, SessionId};
use super::money::Money;
use super::time::Timestamp;

/// What was sold, as our own server wrote it into the session's metadata, and so for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sale {
    /// To whom.
    pub learner: LearnerId,
    /// What they own once it is paid.
    pub product: ProductId,
    /// At which of its prices.
    pub price: PriceKey,
    /// Through which session.
    pub session: SessionId,
    /// What the session came to, discounts and taxes included, where it could be read.
    pub total: Option<Money>,
}

/// How far the payment has come. The order is the join's: a later one is never undone by an
/// earlier one, and money that has arrived beats everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payment {
    /// The buyer has done their part; the bank has not.
    Processing,
    /// The bank has refused it.
    Failed,
    /// Paid, or nothing was to pay. Stripe gives more than one time for it, the charge's and the
    /// event's; the earlier is kept.
    Paid {
        /// The earliest time that Stripe has given for it.
        at: std::cmp::Reverse<Timestamp>,
    },
}

impl Payment {
    /// Paid at this time.
    #[must_use]
    pub const fn paid(at: Timestamp) -> Self {
        Self::Paid { at: std::cmp::Reverse(at) }
    }
}

/// All that is known of one purchase.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purchase {
    /// What was sold.
    pub sale: Sale,
    /// How far the payment has come.
    pub payment: Payment,
}

impl Purchase {
    /// Joins two tellings of one purchase: the fuller sale, the furthest payment.
    ///
    /// Two tellings never differ in their sale, since metadata is written once; that one of them
    /// is chosen by its order makes the join total, so that a surprise cannot make it depend on
    /// which came first.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { sale: self.sale.max(other.sale), payment: self.payment.max(other.payment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purchase(session: &str, payment: Payment) -> Purchase {
        Purchase {
            sale: Sale {
                learner: "ada".parse().unwrap(),
                product: "tutorclaw".parse().unwrap(),
                price: "tutorclaw_paid".parse().unwrap(),
                session: session.parse().unwrap(),
                total: Some(Money { amount_minor: 2900, currency: "usd".parse().unwrap() }),
            },
            payment,
        }
    }

    #[test]
    fn the_join_is_idempotent_commutative_and_associative() {
        let at = |seconds| Payment::paid(Timestamp::from_unix_seconds(seconds));
        let tellings: Vec<Purchase> = ["cs_a", "cs_b"]
            .iter()
            .flat_map(|session| {
                [Payment::Processing, Payment::Failed, at(1), at(2)]
                    .map(|payment| purchase(session, payment))
            })
            .collect();
        for a in &tellings {
            assert_eq!(a.clone().join(a.clone()), *a);
            for b in &tellings {
                let ab = a.clone().join(b.clone());
                assert_eq!(ab, b.clone().join(a.clone()));
                for c in &tellings {
                    let left = ab.clone().join(c.clone());
                    assert_eq!(left, a.clone().join(b.clone().join(c.clone())));
                }
            }
        }
    }

    #[test]
    fn paid_beats_failed_and_failed_beats_processing_whatever_came_first() {
        let paid = Payment::paid(Timestamp::from_unix_seconds(9));
        assert!(paid > Payment::Failed && Payment::Failed > Payment::Processing);
    }

    #[test]
    fn of_two_times_of_payment_the_earlier_is_kept() {
        let early = Payment::paid(Timestamp::from_unix_seconds(5));
        let late = Payment::paid(Timestamp::from_unix_seconds(7));
        assert_eq!(early.max(late), early);
    }
}
