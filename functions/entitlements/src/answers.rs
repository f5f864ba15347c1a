//! The shapes of the answers.

use serde::Serialize;
use shared::domain::access::{Access, Grant, Holdings, Reason, Status, Tier};
use shared::domain::catalog::{Catalog, Category, Course, Offer};
use shared::domain::id::{CourseId, LearnerId, SourceId};
use shared::domain::time::Timestamp;
use shared::http::rfc3339;

#[derive(Serialize)]
pub(crate) struct CoursesAnswer<'a> {
    courses: Vec<CourseAnswer<'a>>,
}

#[derive(Serialize)]
struct CourseAnswer<'a> {
    id: &'a str,
    title: &'a str,
    summary: &'a str,
    category: &'static str,
    chapters: Vec<ChapterAnswer<'a>>,
    free_chapters: usize,
    offers: Vec<OfferAnswer<'a>>,
}

#[derive(Serialize)]
struct ChapterAnswer<'a> {
    number: usize,
    title: &'a str,
    free: bool,
}

#[derive(Serialize)]
struct OfferAnswer<'a> {
    price: &'a str,
    product: &'a str,
    name: &'a str,
    /// In the currency's minor unit.
    amount: i64,
    currency: String,
    courses: Vec<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct EntitlementsAnswer<'a> {
    learner: &'a str,
    tier: &'static str,
    entitlements: Vec<EntitlementAnswer<'a>>,
}

#[derive(Serialize)]
struct EntitlementAnswer<'a> {
    product: &'a str,
    courses: Vec<&'a str>,
    source: &'a str,
    status: &'static str,
    since: Option<String>,
    until: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct AccessAnswer<'a> {
    course: &'a str,
    chapter: Option<usize>,
    access: &'static str,
    tier: &'static str,
    reason: &'static str,
    until: Option<String>,
    offers: Vec<OfferAnswer<'a>>,
}

pub(crate) fn courses(catalog: &Catalog) -> CoursesAnswer<'_> {
    let answer = |course| course_answer(catalog, course);
    CoursesAnswer { courses: catalog.courses().iter().map(answer).collect() }
}

fn course_answer<'a>(catalog: &'a Catalog, course: &'a Course) -> CourseAnswer<'a> {
    let chapters = course.chapters.iter().zip(1..).map(|(title, number)| ChapterAnswer {
        number,
        title,
        free: course.is_free(Some(number)),
    });
    CourseAnswer {
        id: course.id.as_str(),
        title: &course.title,
        summary: &course.summary,
        category: match course.category {
            Category::Free => "free",
            Category::Curriculum => "curriculum",
            Category::Alacarte => "alacarte",
        },
        chapters: chapters.collect(),
        free_chapters: course.free_chapters,
        offers: catalog.offers_for(&course.id).map(offer_answer).collect(),
    }
}

fn offer_answer(offer: Offer<'_>) -> OfferAnswer<'_> {
    OfferAnswer {
        price: offer.price.key.as_str(),
        product: offer.product.id.as_str(),
        name: &offer.product.name,
        amount: offer.price.money.amount_minor,
        currency: offer.price.money.currency.to_string(),
        courses: offer.product.courses.iter().map(CourseId::as_str).collect(),
    }
}

pub(crate) fn entitlements<'a>(
    learner: &'a LearnerId,
    catalog: &'a Catalog,
    holdings: &'a Holdings,
    now: Timestamp,
) -> EntitlementsAnswer<'a> {
    EntitlementsAnswer {
        learner: learner.as_str(),
        tier: tier_name(holdings.tier(now)),
        entitlements: holdings
            .iter()
            .map(|(source, grant)| entitlement(catalog, source, grant, now))
            .collect(),
    }
}

fn entitlement<'a>(
    catalog: &'a Catalog,
    source: &'a SourceId,
    grant: &'a Grant,
    now: Timestamp,
) -> EntitlementAnswer<'a> {
    let product = catalog.product(&grant.product);
    EntitlementAnswer {
        product: grant.product.as_str(),
        courses: product
            .iter()
            .flat_map(|product| &product.courses)
            .map(CourseId::as_str)
            .collect(),
        source: source.as_str(),
        status: match grant.status {
            Status::Active if grant.is_live(now) => "active",
            Status::Active => "ended",
            Status::Processing => "processing",
            Status::Failed => "failed",
        },
        since: grant.since.map(rfc3339),
        until: grant.until.map(rfc3339),
    }
}

pub(crate) fn access<'a>(
    course: &'a Course,
    chapter: Option<usize>,
    tier: Tier,
    access: &Access<'a>,
) -> AccessAnswer<'a> {
    AccessAnswer {
        course: course.id.as_str(),
        chapter,
        access: if access.granted { "granted" } else { "denied" },
        tier: tier_name(tier),
        reason: match access.reason {
            Reason::FreeCourse => "free_course",
            Reason::FreeChapter => "free_chapter",
            Reason::Purchased => "purchased",
            Reason::PaymentRequired => "payment_required",
            Reason::PaymentProcessing => "payment_processing",
        },
        until: access.until.map(rfc3339),
        offers: access.offers.iter().copied().map(offer_answer).collect(),
    }
}

const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Free => "free",
        Tier::Paid => "paid",
    }
}
