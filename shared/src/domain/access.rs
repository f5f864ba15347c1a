//! What a learner may open, computed from facts and the time.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::availability::{Openness, View};
use super::catalog::{Course, Offer};
use super::facts::{DisputeStatus, Facts, Origin, PaymentStatus};
use super::id::{CourseId, LearnerId, ProductId, SourceId};
use super::time::Timestamp;

/// What one source gives its learner: a pure function of the source's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The product.
    pub product: ProductId,
    /// Its status, before refunds and the time are considered.
    pub status: Status,
    /// When it started; `None` until the payment has arrived.
    pub since: Option<Timestamp>,
    /// When and why it ends; `None` if it doesn't.
    pub end: Option<End>,
    /// The refunded share of the payment, in percent. The deployment's threshold decides whether
    /// that ends the grant.
    pub refunded_percent: u8,
}

/// The end of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it ends.
    pub at: Timestamp,
    /// Why it ends.
    pub reason: EndReason,
}

/// Why a grant ends by itself. What ends one at once, such as a refund, is in its
/// [`EffectiveStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// An operator granted it until then.
    GivenUntil,
}

/// A grant's status, before refunds and the time are considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It opens its product's courses.
    Active,
    /// It will open them when the payment arrives.
    Processing,
    /// The payment failed.
    Failed,
    /// The payment is disputed, and the bank has not decided.
    Suspended,
    /// The buyer got the money back: a dispute was lost, or prevented by returning the money.
    DisputeLost,
    /// The author revoked it.
    Revoked,
}

/// The share of a payment that must be refunded before access ends, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundThreshold(u8);

impl RefundThreshold {
    /// The whole payment.
    pub const ALL: Self = Self(100);

    /// The share in percent, from 1 to 100.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }
}

/// The text is not a refund threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a refund threshold is a whole number of percent, 1 to 100")]
pub struct RefundThresholdError;

impl FromStr for RefundThreshold {
    type Err = RefundThresholdError;

    fn from_str(text: &str) -> Result<Self, RefundThresholdError> {
        let percent = text.parse().ok().filter(|percent| (1..=100).contains(percent));
        percent.map(Self).ok_or(RefundThresholdError)
    }
}

/// A grant's status at a given time and refund threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectiveStatus {
    /// It opens its product's courses.
    Active,
    /// Its end has passed.
    Ended,
    /// It will open them when the payment arrives.
    Processing,
    /// The payment failed.
    Failed,
    /// The refunds reached the threshold.
    Refunded,
    /// The payment is disputed, and the bank has not decided.
    Suspended,
    /// The buyer got the money back: a dispute was lost, or prevented by returning the money.
    DisputeLost,
    /// The author revoked it.
    Revoked,
}

impl EffectiveStatus {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Processing => "processing",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
            Self::Suspended => "suspended",
            Self::DisputeLost => "dispute_lost",
            Self::Revoked => "revoked",
        }
    }
}

impl Grant {
    /// The grant that follows from these facts, and its learner. `None` until it is known what was
    /// sold, and after the learner was erased.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<(LearnerId, Self)> {
        let origin = facts.origin.as_ref().filter(|_| facts.forgotten.is_none())?;
        let (arrived, since, end) = match origin {
            Origin::Purchase(purchase) => match purchase.payment.status() {
                PaymentStatus::Paid => (Status::Active, purchase.payment.paid_at(), None),
                PaymentStatus::Processing => (Status::Processing, None, None),
                PaymentStatus::Failed => (Status::Failed, None, None),
            },
            Origin::Manual(grant) => {
                let end = grant.until.map(|at| End { at, reason: EndReason::GivenUntil });
                (Status::Active, Some(grant.action.at), end)
            }
        };
        let grant = Self {
            product: origin.product().clone(),
            status: if facts.revoked.is_some() {
                Status::Revoked
            } else if arrived == Status::Active {
                disputed(facts)
            } else {
                arrived
            },
            since,
            end,
            refunded_percent: facts.refunded_percent(),
        };
        Some((origin.learner().clone(), grant))
    }

    /// Its status at this time.
    #[must_use]
    pub fn effective_status(&self, threshold: RefundThreshold, now: Timestamp) -> EffectiveStatus {
        match self.status {
            Status::Processing => EffectiveStatus::Processing,
            Status::Failed => EffectiveStatus::Failed,
            Status::DisputeLost => EffectiveStatus::DisputeLost,
            Status::Revoked => EffectiveStatus::Revoked,
            _ if self.refunded_percent >= threshold.percent() => EffectiveStatus::Refunded,
            Status::Suspended => EffectiveStatus::Suspended,
            Status::Active if self.has_ended(now) => EffectiveStatus::Ended,
            Status::Active => EffectiveStatus::Active,
        }
    }

    /// Whether it holds its product, so that another payment for the product is a duplicate. A
    /// partial refund doesn't change that, whatever the deployment's threshold.
    #[must_use]
    pub fn holds_its_product(&self, now: Timestamp) -> bool {
        self.effective_status(RefundThreshold::ALL, now) == EffectiveStatus::Active
    }

    /// When it ends; `None` if it doesn't.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.end.map(|end| end.at)
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| until <= now)
    }
}

/// The status of a source whose payment has arrived, after its disputes.
fn disputed(facts: &Facts) -> Status {
    let statuses = || facts.disputes.values().filter_map(super::facts::Dispute::status);
    if statuses().any(DisputeStatus::is_against_us) {
        Status::DisputeLost
    } else if statuses().any(DisputeStatus::is_undecided) {
        Status::Suspended
    } else {
        Status::Active
    }
}

/// All grants of one learner, each with its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entitlements {
    grants: Vec<(SourceId, Grant)>,
    first_purchases: BTreeMap<ProductId, SourceId>,
    erased_at: Option<Timestamp>,
}

impl FromIterator<(SourceId, Grant)> for Entitlements {
    fn from_iter<I: IntoIterator<Item = (SourceId, Grant)>>(grants: I) -> Self {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { grants, ..Self::default() }
    }
}

/// A learner's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// No source opens a locked course now.
    Free,
    /// A source opens a locked course now.
    Paid,
}

impl Entitlements {
    /// Sets the payment that was the first to open each product.
    #[must_use]
    pub fn with_first_purchases(mut self, first_purchases: BTreeMap<ProductId, SourceId>) -> Self {
        self.first_purchases = first_purchases;
        self
    }

    /// Sets when the learner was erased.
    #[must_use]
    pub const fn with_erasure(mut self, erased_at: Option<Timestamp>) -> Self {
        self.erased_at = erased_at;
        self
    }

    /// When the learner was last erased; `None` if they never were. A source that began earlier or
    /// in that second opens nothing.
    #[must_use]
    pub const fn erased_at(&self) -> Option<Timestamp> {
        self.erased_at
    }

    /// The first purchases: each product and the payment that was the first to open it.
    pub fn first_purchases(&self) -> impl Iterator<Item = (&ProductId, &SourceId)> {
        self.first_purchases.iter()
    }

    /// The grants with their sources, in the order of the sources.
    pub fn iter(&self) -> impl Iterator<Item = (&SourceId, &Grant)> + Clone {
        self.grants.iter().map(|(source, grant)| (source, grant))
    }

    /// The grant of this source.
    #[must_use]
    pub fn of(&self, source: &SourceId) -> Option<&Grant> {
        self.iter().find_map(|(known, grant)| (known == source).then_some(grant))
    }

    /// Whether a source of this product, and not just of one with the same courses, is active.
    #[must_use]
    pub fn owns(&self, product: &ProductId, threshold: RefundThreshold, now: Timestamp) -> bool {
        self.iter().any(|(_, grant)| {
            grant.product == *product
                && grant.effective_status(threshold, now) == EffectiveStatus::Active
        })
    }

    /// The payment that was the first to open this product.
    #[must_use]
    pub fn first_purchase(&self, product: &ProductId) -> Option<&SourceId> {
        self.first_purchases.get(product)
    }

    /// Whether this source is a duplicate payment: an earlier payment is for the same product, and
    /// both open it now. Of two in the same second, the one with the smaller id counts as the
    /// earlier.
    #[must_use]
    pub fn is_double(&self, source: &SourceId, threshold: RefundThreshold, now: Timestamp) -> bool {
        let Some(grant) = self.of(source) else { return false };
        let rank = (grant.since, source);
        let mut payments = self.payments_that_open(&grant.product, threshold, now);
        payments.clone().any(|(it, _)| it == source)
            && payments.any(|(other, grant)| (grant.since, other) < rank)
    }

    /// The payments that open this product now.
    pub fn payments_that_open(
        &self,
        product: &ProductId,
        threshold: RefundThreshold,
        now: Timestamp,
    ) -> impl Iterator<Item = (&SourceId, &Grant)> + Clone {
        self.iter().filter(move |(source, grant)| {
            is_payment(source)
                && grant.product == *product
                && grant.effective_status(threshold, now) == EffectiveStatus::Active
        })
    }
}

/// Whether the source is a payment of money.
pub(super) const fn is_payment(source: &SourceId) -> bool {
    matches!(source, SourceId::Payment(_))
}

/// Why a chapter is open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The course is free for everybody.
    FreeCourse,
    /// The chapter is free for everybody.
    FreeChapter,
    /// A purchase or manual grant opens it.
    Purchased,
    /// Nothing opens it before the learner pays for it.
    PaymentRequired,
    /// A payment that would open it is processing.
    PaymentProcessing,
    /// The payment that would open it is disputed.
    PaymentDisputed,
}

/// Whether a learner may open something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// Whether they may.
    pub granted: bool,
    /// The reason.
    pub reason: Reason,
    /// When the access ends; `None` if it doesn't, or if it isn't granted.
    pub until: Option<Timestamp>,
    /// What the learner could buy to open it, each offer with the courses of its product that are
    /// already open to them. Empty if access is granted.
    pub offers: Vec<(Offer<'a>, Vec<&'a CourseId>)>,
}

/// Whether a learner may open this chapter of a course, counted from 1; with `None`, the whole
/// course.
#[must_use]
pub fn check<'a>(view: &View<'a>, course: &Course, chapter: Option<usize>) -> Access<'a> {
    let granted = |reason, until| Access { granted: true, reason, until, offers: Vec::new() };
    let denied = |reason, offers| Access { granted: false, reason, until: None, offers };
    match view.openness(course) {
        Openness::Free => granted(Reason::FreeCourse, None),
        _ if course.is_free(chapter) => granted(Reason::FreeChapter, None),
        Openness::Open(until) => granted(Reason::Purchased, until),
        Openness::Processing => denied(Reason::PaymentProcessing, view.offers(&course.id)),
        // No product with this course is for sale before the bank has decided, not even a bundle.
        Openness::Disputed => denied(Reason::PaymentDisputed, view.offers(&course.id)),
        Openness::Closed => denied(Reason::PaymentRequired, view.offers(&course.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::{Catalog, Category, Price, Product};
    use crate::domain::money::Money;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);

    fn course(id: &str, free_chapters: usize) -> Course {
        Course {
            id: id.parse().unwrap(),
            title: id.to_owned(),
            summary: String::new(),
            category: if free_chapters == 10 { Category::Free } else { Category::Alacarte },
            chapters: (1..=10).map(|number| format!("Chapter {number}")).collect(),
            free_chapters,
        }
    }

    fn shop() -> Catalog {
        let product = |id: &str, courses: &[&str]| Product {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            courses: courses.iter().map(|id| id.parse().unwrap()).collect(),
        };
        let price = |product: &str| Price {
            key: format!("{product}_paid").parse().unwrap(),
            product: product.parse().unwrap(),
            money: Money { amount_minor: 2900, currency: "usd".parse().unwrap() },
        };
        Catalog::new(
            vec![course("intro", 10), course("tutor", 5), course("memory", 0)],
            vec![
                product("tutor", &["tutor"]),
                product("all", &["tutor", "memory"]),
                product("welcome", &["intro"]),
            ],
            vec![price("tutor"), price("all")],
        )
        .unwrap()
    }

    /// Parses entitlements: `all active`, `tutor processing`, `tutor active until 900` or
    /// `tutor 50%`.
    fn entitlements(words: &[&str]) -> Entitlements {
        words
            .iter()
            .enumerate()
            .map(|(number, line)| {
                let mut words = line.split(' ');
                let product = words.next().unwrap().parse().unwrap();
                let word = words.next().unwrap();
                let status = match word {
                    "active" => Status::Active,
                    "processing" => Status::Processing,
                    "failed" => Status::Failed,
                    "suspended" => Status::Suspended,
                    "dispute_lost" => Status::DisputeLost,
                    "revoked" => Status::Revoked,
                    refunded => {
                        assert!(refunded.ends_with('%'), "{refunded}");
                        Status::Active
                    }
                };
                let refunded_percent = word.trim_end_matches('%').parse().unwrap_or(0);
                let until = words.nth(1).map(|until| until.parse().unwrap());
                let end = until.map(|seconds| End {
                    at: Timestamp::from_unix_seconds(seconds),
                    reason: EndReason::GivenUntil,
                });
                let grant = Grant { product, status, since: None, end, refunded_percent };
                (format!("pi_{number}").parse().unwrap(), grant)
            })
            .collect()
    }

    #[track_caller]
    fn check_that(held: &[&str], question: &str, answer: &str) {
        let catalog = shop();
        let (id, chapter) = question.split_once(' ').unwrap();
        let course = catalog.course(&id.parse().unwrap()).unwrap();
        let entitlements = entitlements(held);
        let threshold = RefundThreshold::ALL;
        let view = View { catalog: &catalog, entitlements: &entitlements, threshold, now: NOW };
        let access = check(&view, course, chapter.parse().ok());
        let until =
            access.until.map_or("ever".to_owned(), |until| until.unix_seconds().to_string());
        let offers: Vec<_> =
            access.offers.iter().map(|(offer, _)| offer.price.key.as_str()).collect();
        let verdict = if access.granted { "granted" } else { "denied" };
        let got = format!("{verdict} {:?} {until} {}", access.reason, offers.join("+"));
        assert_eq!(got.trim(), answer);
    }

    #[test]
    fn only_free_chapters_and_live_sources_give_access() {
        check_that(&[], "intro whole", "granted FreeCourse ever");
        check_that(&[], "tutor 5", "granted FreeChapter ever");
        check_that(&[], "tutor 6", "denied PaymentRequired ever tutor_paid+all_paid");
        check_that(&[], "tutor whole", "denied PaymentRequired ever tutor_paid+all_paid");
        check_that(&["tutor active"], "tutor 6", "granted Purchased ever");
        check_that(&["all active"], "tutor 6", "granted Purchased ever");
        check_that(&["tutor active"], "memory 1", "denied PaymentRequired ever all_paid");
        check_that(&["tutor processing"], "tutor 6", "denied PaymentProcessing ever all_paid");
        check_that(&["tutor failed"], "tutor 6", "denied PaymentRequired ever tutor_paid+all_paid");
        check_that(
            &["unknown active"],
            "tutor 6",
            "denied PaymentRequired ever tutor_paid+all_paid",
        );
    }

    #[test]
    fn an_expired_source_opens_nothing_and_the_longest_counts() {
        let ended = "denied PaymentRequired ever tutor_paid+all_paid";
        check_that(&["tutor active until 1000"], "tutor 6", ended);
        check_that(&["tutor active until 1001"], "tutor 6", "granted Purchased 1001");
        let two = ["tutor active until 1001", "all active until 2000"];
        check_that(&two, "tutor 6", "granted Purchased 2000");
        check_that(&["tutor active until 1001", "all active"], "tutor 6", "granted Purchased ever");
    }

    #[test]
    fn a_refund_or_dispute_closes_only_its_own_source() {
        let closed = "denied PaymentRequired ever tutor_paid+all_paid";
        check_that(&["tutor 100%"], "tutor 6", closed);
        check_that(&["tutor 99%"], "tutor 6", "granted Purchased ever");
        check_that(&["tutor dispute_lost"], "tutor 6", closed);
        check_that(&["tutor revoked"], "tutor 6", closed);
        let disputed = "denied PaymentDisputed ever";
        check_that(&["tutor suspended"], "tutor 6", disputed);
        check_that(&["tutor 100%", "all active"], "tutor 6", "granted Purchased ever");
        check_that(&["tutor suspended", "all active"], "tutor 6", "granted Purchased ever");
    }

    #[test]
    fn the_refund_threshold_is_configurable() {
        let half: RefundThreshold = "50".parse().unwrap();
        let effective_status = |held: &str, threshold| {
            entitlements(&[held]).iter().next().unwrap().1.effective_status(threshold, NOW)
        };
        assert_eq!(effective_status("tutor 49%", half), EffectiveStatus::Active);
        assert_eq!(effective_status("tutor 50%", half), EffectiveStatus::Refunded);
        assert_eq!(effective_status("tutor 50%", RefundThreshold::ALL), EffectiveStatus::Active);
        for text in ["0", "101", "-1", "", "half", "50%"] {
            assert_eq!(text.parse::<RefundThreshold>(), Err(RefundThresholdError), "{text}");
        }
    }

    #[test]
    fn only_the_first_payment_for_a_product_is_no_duplicate() {
        let grant = |since: i64, word: &str| {
            let (_, grant) = entitlements(&[word])
                .iter()
                .next()
                .map(|(id, it)| (id.clone(), it.clone()))
                .unwrap();
            Grant { since: Some(Timestamp::from_unix_seconds(since)), ..grant }
        };
        let doubles_at = |threshold, held: &[(&str, Grant)]| {
            let entitlements: Entitlements =
                held.iter().map(|(id, grant)| (id.parse().unwrap(), grant.clone())).collect();
            let is_double = |source| entitlements.is_double(source, threshold, NOW);
            let doubles = entitlements.iter().filter(|(source, _)| is_double(source));
            doubles.map(|(source, _)| source.to_string()).collect::<Vec<_>>()
        };
        let doubles = |held: &[(&str, Grant)]| doubles_at(RefundThreshold::ALL, held);
        let (early, late) = (grant(1, "tutor active"), grant(2, "tutor active"));
        assert_eq!(doubles(&[("pi_a", late.clone()), ("pi_b", early.clone())]), ["pi_a"]);
        assert_eq!(doubles(&[("pi_a", early.clone()), ("pi_b", early.clone())]), ["pi_b"]);
        assert_eq!(doubles(&[("pi_a", early.clone()), ("pi_b", grant(2, "all active"))]), [""; 0]);
        assert_eq!(doubles(&[("pi_a", grant(1, "tutor 100%")), ("pi_b", late.clone())]), [""; 0]);
        // If a partial refund closes the first, the second is not a duplicate.
        let parted = [("pi_a", grant(1, "tutor 60%")), ("pi_b", late.clone())];
        assert_eq!(doubles(&parted), ["pi_b"]);
        assert_eq!(doubles_at("50".parse().unwrap(), &parted), [""; 0]);
        // Manual grants and free purchases are not duplicate payments.
        assert_eq!(doubles(&[("grant_a", early.clone()), ("pi_b", late.clone())]), [""; 0]);
        assert_eq!(doubles(&[("cs_a", early), ("pi_b", late)]), [""; 0]);
    }

    #[test]
    fn the_tier_is_paid_while_a_source_opens_a_locked_course() {
        let catalog = shop();
        let tier = |held: &[&str]| {
            let (entitlements, threshold) = (entitlements(held), RefundThreshold::ALL);
            View { catalog: &catalog, entitlements: &entitlements, threshold, now: NOW }.tier()
        };
        assert_eq!(tier(&[]), Tier::Free);
        assert_eq!(tier(&["tutor processing", "tutor failed", "tutor revoked"]), Tier::Free);
        assert_eq!(tier(&["tutor active until 1000"]), Tier::Free);
        assert_eq!(tier(&["tutor active"]), Tier::Paid);
        assert_eq!(tier(&["unknown active"]), Tier::Free);
        assert_eq!(tier(&["welcome active"]), Tier::Free);
        assert_eq!(tier(&["unknown active", "welcome active", "all active"]), Tier::Paid);
    }
}
