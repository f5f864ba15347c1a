//! What a learner may open: a fold of what is known and the time.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::availability::{Openness, View};
use super::catalog::{Course, Offer};
use super::facts::{DisputeStatus, Facts, Origin, PaymentStatus};
use super::id::{CourseId, LearnerId, ProductId, SourceId};
use super::time::Timestamp;

/// What one source gives its learner, as a pure function of that source's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The product it is about.
    pub product: ProductId,
    /// What it gives.
    pub status: Status,
    /// Since when; none before the payment has arrived.
    pub since: Option<Timestamp>,
    /// When and why it ends; none if it doesn't.
    pub end: Option<End>,
    /// How much of it is refunded, in percent. Whether that ends it is the deployment's to say.
    pub refunded_percent: u8,
}

/// The end of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it ends.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

/// Why a grant ends by itself. What ends one at once, such as a refund, is its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The operator gave it until then.
    GivenUntil,
}

/// What a source gives, before the time and the refunds are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It opens its product's courses.
    Active,
    /// It will when the payment arrives.
    Processing,
    /// The payment failed.
    Failed,
    /// The payment is disputed, and the bank has not decided.
    Suspended,
    /// The bank returned the money: a dispute was lost, or prevented by paying it back.
    DisputeLost,
    /// The author ended it by hand.
    Revoked,
}

/// How much of a purchase has to be refunded before it opens nothing any more, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundThreshold(u8);

impl RefundThreshold {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// In percent.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }
}

/// Not a threshold.
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

/// What a source gives now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectiveStatus {
    /// It opens its product's courses.
    Active,
    /// Its time is over.
    Ended,
    /// It will open them when the payment arrives.
    Processing,
    /// The payment failed.
    Failed,
    /// The money went back.
    Refunded,
    /// The payment is disputed, and the bank has not decided.
    Suspended,
    /// The bank returned the money: a dispute was lost, or prevented by paying it back.
    DisputeLost,
    /// The author ended it by hand.
    Revoked,
}

impl EffectiveStatus {
    /// Its name in answers.
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
    /// What follows from these facts, and for whom. Nothing before it is known what was sold, and
    /// nothing for a learner who is forgotten.
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

    /// How it stands at this time.
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

    /// Whether it holds its product, so that another payment for it is a duplicate. A partial
    /// refund changes nothing in that, whatever the deployment's threshold.
    #[must_use]
    pub fn holds_its_product(&self, now: Timestamp) -> bool {
        self.effective_status(RefundThreshold::ALL, now) == EffectiveStatus::Active
    }

    /// When it ends; none if it doesn't.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.end.map(|end| end.at)
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| until <= now)
    }
}

/// What disputes leave of a payment that has arrived.
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

/// All that one learner has, each with where it comes from.
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

/// What a learner's purchases make of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Nothing that they paid for opens anything now.
    Free,
    /// Something does.
    Paid,
}

impl Entitlements {
    /// The same, with the payment that was the first to open each product.
    #[must_use]
    pub fn with_first_purchases(mut self, first_purchases: BTreeMap<ProductId, SourceId>) -> Self {
        self.first_purchases = first_purchases;
        self
    }

    /// The same, of a learner who was erased then.
    #[must_use]
    pub const fn with_erasure(mut self, erased_at: Option<Timestamp>) -> Self {
        self.erased_at = erased_at;
        self
    }

    /// When the learner was erased last; none if they never were. What began before that, or in
    /// that second, opens nothing any more.
    #[must_use]
    pub const fn erased_at(&self) -> Option<Timestamp> {
        self.erased_at
    }

    /// Each product that a payment was the first to open, and that payment.
    pub fn first_purchases(&self) -> impl Iterator<Item = (&ProductId, &SourceId)> {
        self.first_purchases.iter()
    }

    /// Each grant and its source, in the order of the sources.
    pub fn iter(&self) -> impl Iterator<Item = (&SourceId, &Grant)> + Clone {
        self.grants.iter().map(|(source, grant)| (source, grant))
    }

    /// What this source gives.
    #[must_use]
    pub fn of(&self, source: &SourceId) -> Option<&Grant> {
        self.iter().find_map(|(known, grant)| (known == source).then_some(grant))
    }

    /// Whether a live source of this very product is there.
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

    /// Whether this source is a payment for what an earlier one has paid for already, and both open
    /// it now. Of two at the same second, the one with the smaller id counts as the earlier.
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

/// Whether money has moved for it.
pub(super) const fn is_payment(source: &SourceId) -> bool {
    matches!(source, SourceId::Payment(_))
}

/// Why a chapter opens, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The course is free for everybody.
    FreeCourse,
    /// The chapter is free for everybody.
    FreeChapter,
    /// A source opens it: it was paid for, or given.
    Purchased,
    /// Nothing opens it, and something is for sale that would.
    PaymentRequired,
    /// A payment that would open it is on its way.
    PaymentProcessing,
    /// The payment that would open it is disputed.
    PaymentDisputed,
}

/// The answer to "may they open this?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// Yes or no.
    pub granted: bool,
    /// Why.
    pub reason: Reason,
    /// Until when it stays so; none for ever, and none when it is not granted.
    pub until: Option<Timestamp>,
    /// What the learner could buy to open it, each with the courses of its product that are open to
    /// them already; empty when it is open.
    pub offers: Vec<(Offer<'a>, Vec<&'a CourseId>)>,
}

/// Whether a learner may open a chapter of a course (1 is the first), or with none the whole course.
#[must_use]
pub fn check<'a>(view: &View<'a>, course: &Course, chapter: Option<usize>) -> Access<'a> {
    let granted = |reason, until| Access { granted: true, reason, until, offers: Vec::new() };
    let denied = |reason, offers| Access { granted: false, reason, until: None, offers };
    match view.openness(course) {
        Openness::Free => granted(Reason::FreeCourse, None),
        _ if course.is_free(chapter) => granted(Reason::FreeChapter, None),
        Openness::Open(until) => granted(Reason::Purchased, until),
        Openness::Processing => denied(Reason::PaymentProcessing, view.offers(&course.id)),
        // Nothing is for sale before the bank has decided, not even what opens more.
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

    /// Entitlements in words: `all active`, `tutor processing`, `tutor active until 900`, `tutor 50%`.
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
        // Where a part is enough to close the first, the second is not one too many.
        let parted = [("pi_a", grant(1, "tutor 60%")), ("pi_b", late.clone())];
        assert_eq!(doubles(&parted), ["pi_b"]);
        assert_eq!(doubles_at("50".parse().unwrap(), &parted), [""; 0]);
        // What was given, or cost nothing, was not paid twice.
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
