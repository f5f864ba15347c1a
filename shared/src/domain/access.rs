//! What a learner may open: a fold of what is known and the time.

use super::catalog::{Catalog, Course, Offer};
use super::facts::{Payment, Purchase};
use super::id::{ProductId, SourceId};
use super::time::Timestamp;

/// What one source gives its learner, as a pure function of that source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The product it is about.
    pub product: ProductId,
    /// What it gives.
    pub status: Status,
    /// Since when; none before the payment has arrived.
    pub since: Option<Timestamp>,
    /// Until when; none for ever.
    pub until: Option<Timestamp>,
}

/// What a source gives, before the time is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It opens its product's courses.
    Active,
    /// It will when the payment arrives.
    Processing,
    /// The payment failed.
    Failed,
}

impl Grant {
    /// What this purchase gives.
    #[must_use]
    pub fn of(purchase: &Purchase) -> Self {
        let (status, since) = match purchase.payment {
            Payment::Paid { at } => (Status::Active, Some(at.0)),
            Payment::Processing => (Status::Processing, None),
            Payment::Failed => (Status::Failed, None),
        };
        Self { product: purchase.sale.product.clone(), status, since, until: None }
    }

    /// Whether it opens anything at this time.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == Status::Active && self.until.is_none_or(|until| now < until)
    }
}

/// All that one learner has, each with where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings(Vec<(SourceId, Grant)>);

impl FromIterator<(SourceId, Grant)> for Holdings {
    fn from_iter<I: IntoIterator<Item = (SourceId, Grant)>>(grants: I) -> Self {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(grants)
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

impl Holdings {
    /// Each grant and its source, in the order of the sources.
    pub fn iter(&self) -> impl Iterator<Item = (&SourceId, &Grant)> {
        self.0.iter().map(|(source, grant)| (source, grant))
    }

    /// The tier at this time.
    #[must_use]
    pub fn tier(&self, now: Timestamp) -> Tier {
        if self.iter().any(|(_, grant)| grant.is_live(now)) { Tier::Paid } else { Tier::Free }
    }

    /// Whether a live source of this very product is there.
    #[must_use]
    pub fn owns(&self, product: &ProductId, now: Timestamp) -> bool {
        self.iter().any(|(_, grant)| grant.product == *product && grant.is_live(now))
    }

    /// Whether a payment for this product is still on its way.
    #[must_use]
    pub fn awaits(&self, product: &ProductId) -> bool {
        self.awaited(product).next().is_some()
    }

    /// The sources whose payment for this product is still on its way.
    pub fn awaited(&self, product: &ProductId) -> impl Iterator<Item = &SourceId> {
        let processing =
            |grant: &Grant| grant.product == *product && grant.status == Status::Processing;
        self.iter().filter(move |(_, grant)| processing(grant)).map(|(source, _)| source)
    }
}

/// Why a chapter opens, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The course is free for everybody.
    FreeCourse,
    /// The chapter is free for everybody.
    FreeChapter,
    /// A source that was paid for opens it.
    Purchased,
    /// Nothing opens it, and something is for sale that would.
    PaymentRequired,
    /// A payment that would open it is on its way.
    PaymentProcessing,
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
    /// What the learner could buy to open it; empty when it is open.
    pub offers: Vec<Offer<'a>>,
}

/// Whether a learner with these holdings may open a chapter of a course (1 is the first), or with
/// none the whole course.
#[must_use]
pub fn check<'a>(
    catalog: &'a Catalog,
    course: &Course,
    chapter: Option<usize>,
    holdings: &Holdings,
    now: Timestamp,
) -> Access<'a> {
    let granted = |reason, until| Access { granted: true, reason, until, offers: Vec::new() };
    if course.is_free(None) {
        return granted(Reason::FreeCourse, None);
    }
    if course.is_free(chapter) {
        return granted(Reason::FreeChapter, None);
    }
    let opens = |grant: &Grant| {
        catalog.product(&grant.product).is_some_and(|product| product.courses.contains(&course.id))
    };
    let relevant = || holdings.iter().map(|(_, grant)| grant).filter(|grant| opens(grant));
    let live: Vec<&Grant> = relevant().filter(|grant| grant.is_live(now)).collect();
    if !live.is_empty() {
        // For ever if any of them is; otherwise as long as the longest.
        let ends: Option<Vec<Timestamp>> = live.iter().map(|grant| grant.until).collect();
        return granted(Reason::Purchased, ends.and_then(|ends| ends.into_iter().max()));
    }
    let processing = relevant().any(|grant| grant.status == Status::Processing);
    Access {
        granted: false,
        reason: if processing { Reason::PaymentProcessing } else { Reason::PaymentRequired },
        until: None,
        offers: catalog
            .offers_for(&course.id)
            .filter(|offer| !holdings.awaits(&offer.product.id))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::{Category, Price, Product};
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
            vec![product("tutor", &["tutor"]), product("all", &["tutor", "memory"])],
            vec![price("tutor"), price("all")],
        )
        .unwrap()
    }

    /// Holdings in words: `all active`, `tutor processing`, `tutor active until 900`.
    fn holdings(words: &[&str]) -> Holdings {
        words
            .iter()
            .enumerate()
            .map(|(number, line)| {
                let mut words = line.split(' ');
                let product = words.next().unwrap().parse().unwrap();
                let status = match words.next().unwrap() {
                    "active" => Status::Active,
                    "processing" => Status::Processing,
                    "failed" => Status::Failed,
                    other => panic!("{other}"),
                };
                let until = words.nth(1).map(|until| until.parse().unwrap());
                let until = until.map(Timestamp::from_unix_seconds);
                let grant = Grant { product, status, since: None, until };
                (format!("pi_{number}").parse().unwrap(), grant)
            })
            .collect()
    }

    #[track_caller]
    fn check_that(held: &[&str], question: &str, answer: &str) {
        let catalog = shop();
        let (id, chapter) = question.split_once(' ').unwrap();
        let course = catalog.course(&id.parse().unwrap()).unwrap();
        let access = check(&catalog, course, chapter.parse().ok(), &holdings(held), NOW);
        let until =
            access.until.map_or("ever".to_owned(), |until| until.unix_seconds().to_string());
        let offers: Vec<_> = access.offers.iter().map(|offer| offer.price.key.as_str()).collect();
        let verdict = if access.granted { "granted" } else { "denied" };
        let got = format!("{verdict} {:?} {until} {}", access.reason, offers.join("+"));
        assert_eq!(got.trim(), answer);
    }

    #[test]
    fn access_follows_from_free_chapters_and_live_sources_and_from_nothing_else() {
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
    fn a_source_whose_time_is_over_opens_nothing_and_the_longest_counts() {
        let ended = "denied PaymentRequired ever tutor_paid+all_paid";
        check_that(&["tutor active until 1000"], "tutor 6", ended);
        check_that(&["tutor active until 1001"], "tutor 6", "granted Purchased 1001");
        let two = ["tutor active until 1001", "all active until 2000"];
        check_that(&two, "tutor 6", "granted Purchased 2000");
        check_that(&["tutor active until 1001", "all active"], "tutor 6", "granted Purchased ever");
    }

    #[test]
    fn the_tier_is_paid_while_any_source_is_live() {
        assert_eq!(holdings(&[]).tier(NOW), Tier::Free);
        assert_eq!(holdings(&["tutor processing", "tutor failed"]).tier(NOW), Tier::Free);
        assert_eq!(holdings(&["tutor active until 1000"]).tier(NOW), Tier::Free);
        assert_eq!(holdings(&["tutor active"]).tier(NOW), Tier::Paid);
    }
}
