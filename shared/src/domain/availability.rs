//! Whether a product is for sale to a learner. Checkout, upgrade links and the offers in responses
//! all use this, so that every offer can be bought.

use super::access::{EffectiveStatus, Entitlements, RefundThreshold, Tier};
use super::catalog::{Catalog, Course, Offer, Product};
use super::id::{CourseId, SourceId};
use super::time::Timestamp;

/// Whether a course is open to a learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Openness {
    /// Every chapter is free.
    Free,
    /// A source opens it until then; `None` if it has no end.
    Open(Option<Timestamp>),
    /// A payment that would open it is processing.
    Processing,
    /// The payment that would open it is disputed, and the bank has not decided.
    Disputed,
    /// Nothing opens it.
    Closed,
}

impl Openness {
    /// Whether it is open with no end date, so that there is nothing left to buy.
    const fn is_for_good(self) -> bool {
        matches!(self, Self::Free | Self::Open(None))
    }
}

/// Whether a product is for sale to a learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability<'a> {
    /// It is for sale. Some of its courses may already be open to the learner.
    ForSale {
        /// The courses that are already open with no end date, in the product's order.
        owned: Vec<&'a CourseId>,
    },
    /// Each of its courses is open to the learner with no end date.
    AlreadyEntitled,
    /// Nothing is left to buy once the processing payments arrive.
    PaymentProcessing,
    /// A payment for one of its courses is disputed. Once the bank has decided, the product is for
    /// sale again unless that opened it.
    PaymentDisputed,
}

/// What a learner's access depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The catalog on sale.
    pub catalog: &'a Catalog,
    /// The learner's entitlements.
    pub entitlements: &'a Entitlements,
    /// The share of a payment that must be refunded before access ends.
    pub threshold: RefundThreshold,
    /// The current time.
    pub now: Timestamp,
}

impl<'a> View<'a> {
    /// Whether this course is open.
    #[must_use]
    pub fn openness(&self, course: &Course) -> Openness {
        if course.is_free(None) {
            return Openness::Free;
        }
        let mut ends = Vec::new();
        let (mut is_processing, mut is_disputed) = (false, false);
        for (_, grant) in self.entitlements.iter() {
            let product = self.catalog.product(&grant.product);
            if !product.is_some_and(|product| product.courses.contains(&course.id)) {
                continue;
            }
            match grant.effective_status(self.threshold, self.now) {
                EffectiveStatus::Active => ends.push(grant.until()),
                EffectiveStatus::Processing => is_processing = true,
                EffectiveStatus::Suspended => is_disputed = true,
                EffectiveStatus::Ended
                | EffectiveStatus::Failed
                | EffectiveStatus::Refunded
                | EffectiveStatus::DisputeLost
                | EffectiveStatus::Revoked => {}
            }
        }
        if !ends.is_empty() {
            // No end if any of them has none; otherwise the latest end.
            let ends: Option<Vec<Timestamp>> = ends.into_iter().collect();
            return Openness::Open(ends.and_then(|ends| ends.into_iter().max()));
        }
        match (is_processing, is_disputed) {
            (true, _) => Openness::Processing,
            (false, true) => Openness::Disputed,
            (false, false) => Openness::Closed,
        }
    }

    /// The learner's tier. A product counts only if it opens a locked course of the catalog.
    #[must_use]
    pub fn tier(&self) -> Tier {
        let is_locked =
            |id| self.catalog.course(id).is_some_and(|course: &Course| !course.is_free(None));
        let opens_something =
            |id| self.catalog.product(id).is_some_and(|it| it.courses.iter().any(is_locked));
        let is_paid = self.entitlements.iter().any(|(_, grant)| {
            grant.effective_status(self.threshold, self.now) == EffectiveStatus::Active
                && opens_something(&grant.product)
        });
        if is_paid { Tier::Paid } else { Tier::Free }
    }

    /// Whether this product is for sale.
    #[must_use]
    pub fn availability(&self, product: &'a Product) -> Availability<'a> {
        let courses = || {
            let course = |id| Some((id, self.openness(self.catalog.course(id)?)));
            product.courses.iter().filter_map(course)
        };
        if courses().all(|(_, openness)| openness.is_for_good()) {
            Availability::AlreadyEntitled
        } else if courses().any(|(_, openness)| openness == Openness::Disputed) {
            Availability::PaymentDisputed
        } else if courses().all(|(_, it)| it.is_for_good() || it == Openness::Processing) {
            Availability::PaymentProcessing
        } else {
            let owned = courses().filter(|(_, openness)| openness.is_for_good());
            Availability::ForSale { owned: owned.map(|(id, _)| id).collect() }
        }
    }

    /// The offers that would open this course, in the author's order, each with the courses of its
    /// product that are already open to the learner.
    #[must_use]
    pub fn offers(&self, course: &CourseId) -> Vec<(Offer<'a>, Vec<&'a CourseId>)> {
        let for_sale = |offer: Offer<'a>| match self.availability(offer.product) {
            Availability::ForSale { owned } => Some((offer, owned)),
            Availability::AlreadyEntitled
            | Availability::PaymentProcessing
            | Availability::PaymentDisputed => None,
        };
        self.catalog.offers_for(course).filter_map(for_sale).collect()
    }

    /// The sources whose payment is processing and that would open a course of this product.
    pub fn awaited(&self, product: &Product) -> impl Iterator<Item = &'a SourceId> {
        let opens_one = |id| {
            let other = self.catalog.product(id);
            other.is_some_and(|it| it.courses.iter().any(|course| product.courses.contains(course)))
        };
        let awaited = self.entitlements.iter().filter(move |(_, grant)| {
            grant.effective_status(self.threshold, self.now) == EffectiveStatus::Processing
                && opens_one(&grant.product)
        });
        awaited.map(|(source, _)| source)
    }
}
