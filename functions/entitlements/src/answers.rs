//! The shapes of the answers.

use serde::Serialize;
use shared::content::Link;
use shared::domain::access::{Access, Grant, Reason, Tier};
use shared::domain::availability::View;
use shared::domain::catalog::{Catalog, Category, Course, Offer};
use shared::domain::decide::StoredSource;
use shared::domain::id::{CourseId, LearnerId, SourceId};
use shared::domain::why::{Fact, History, Step, history, overall};
use shared::http::rfc3339;
use shared::usecases::courses::{CourseAccess, Explanation};

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
    /// Those of them that are open to the learner already; left out where nobody is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    owned_courses: Option<Vec<&'a str>>,
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
    refunded_percent: u8,
    /// Whether an earlier payment has bought the same.
    paid_twice: bool,
}

#[derive(Serialize)]
pub(crate) struct WhyAnswer<'a> {
    learner: &'a str,
    product: &'a str,
    access: &'static str,
    sources: Vec<SourceAnswer<'a>>,
}

#[derive(Serialize)]
struct SourceAnswer<'a> {
    source: &'a str,
    status: &'static str,
    paid_twice: bool,
    facts: Vec<FactAnswer>,
}

#[derive(Serialize)]
struct FactAnswer {
    at: Option<String>,
    id: String,
    fact: &'static str,
    effect: &'static str,
    text: String,
    /// In the currency's minor unit.
    amount: Option<i64>,
    currency: Option<String>,
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

#[derive(Serialize)]
pub(crate) struct ChapterLinkAnswer<'a> {
    course: &'a str,
    chapter: usize,
    url: &'a str,
    expires_at: String,
}

/// What a denial says beyond a problem's own members.
#[derive(Serialize)]
pub(crate) struct DenialMembers<'a> {
    reason: &'static str,
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
        offers: catalog.offers_for(&course.id).map(|offer| offer_answer(offer, None)).collect(),
    }
}

fn offer_answer<'a>(offer: Offer<'a>, owned: Option<&[&'a CourseId]>) -> OfferAnswer<'a> {
    let ids = |courses: &[&'a CourseId]| courses.iter().map(|course| course.as_str()).collect();
    OfferAnswer {
        price: offer.price.key.as_str(),
        product: offer.product.id.as_str(),
        name: &offer.product.name,
        amount: offer.price.money.amount_minor,
        currency: offer.price.money.currency.to_string(),
        courses: offer.product.courses.iter().map(CourseId::as_str).collect(),
        owned_courses: owned.map(ids),
    }
}

/// The offers that open a course to a learner.
fn learner_offers<'a>(access: &Access<'a>) -> Vec<OfferAnswer<'a>> {
    access.offers.iter().map(|(offer, owned)| offer_answer(*offer, Some(owned))).collect()
}

pub(crate) fn entitlements<'a>(learner: &'a LearnerId, view: &View<'a>) -> EntitlementsAnswer<'a> {
    let View { catalog, entitlements, threshold, now } = *view;
    let entitlement = |(source, grant): (&'a SourceId, &'a Grant)| EntitlementAnswer {
        product: grant.product.as_str(),
        courses: catalog
            .product(&grant.product)
            .iter()
            .flat_map(|product| &product.courses)
            .map(CourseId::as_str)
            .collect(),
        source: source.as_str(),
        status: grant.effective_status(threshold, now).name(),
        since: grant.since.map(rfc3339),
        until: grant.until().map(rfc3339),
        refunded_percent: grant.refunded_percent,
        paid_twice: entitlements.is_double(source, threshold, now),
    };
    EntitlementsAnswer {
        learner: learner.as_str(),
        tier: tier_name(view.tier()),
        entitlements: entitlements.iter().map(entitlement).collect(),
    }
}

pub(crate) fn why<'a>(learner: &'a LearnerId, explanation: &'a Explanation) -> WhyAnswer<'a> {
    let View { entitlements, threshold, now, .. } = explanation.state.view();
    let theirs = |(source, stored): (&'a SourceId, &'a StoredSource)| {
        Grant::of(&stored.facts).filter(|(of, _)| of == learner)?;
        Some((source, history(source, &stored.facts, threshold, now)))
    };
    let histories: Vec<(&SourceId, History)> =
        explanation.sources.iter().filter_map(theirs).collect();
    let answer = |(source, history): &(&'a SourceId, History)| {
        // A learner is not told that somebody suspects fraud.
        let steps = history.steps().iter().filter(|step| step.fact != Fact::FraudWarning);
        Some(SourceAnswer {
            source: source.as_str(),
            status: history.effective_status()?.name(),
            paid_twice: entitlements.is_double(source, threshold, now),
            facts: steps.map(fact).collect(),
        })
    };
    let all: Vec<&History> = histories.iter().map(|(_, history)| history).collect();
    WhyAnswer {
        learner: learner.as_str(),
        product: explanation.product.as_str(),
        access: if overall(&all).is_open { "granted" } else { "denied" },
        sources: histories.iter().filter_map(answer).collect(),
    }
}

fn fact(step: &Step) -> FactAnswer {
    let money = step.fact.money();
    FactAnswer {
        at: step.at.map(rfc3339),
        fact: step.fact.name(),
        effect: step.effect.name(),
        text: step.fact.describe(),
        amount: money.map(|money| money.amount_minor),
        currency: money.map(|money| money.currency.to_string()),
        id: step.id.clone(),
    }
}

pub(crate) fn access<'a>(checked: &'a CourseAccess, access: &Access<'a>) -> AccessAnswer<'a> {
    AccessAnswer {
        course: checked.course.id.as_str(),
        chapter: checked.chapter,
        access: if access.granted { "granted" } else { "denied" },
        tier: tier_name(checked.tier()),
        reason: reason_name(access.reason),
        until: access.until.map(rfc3339),
        offers: learner_offers(access),
    }
}

pub(crate) fn chapter<'a>(
    course: &'a CourseId,
    chapter: usize,
    link: &'a Link,
) -> ChapterLinkAnswer<'a> {
    ChapterLinkAnswer {
        course: course.as_str(),
        chapter,
        url: &link.url,
        expires_at: rfc3339(link.expires_at),
    }
}

pub(crate) fn denial<'a>(access: &Access<'a>) -> DenialMembers<'a> {
    DenialMembers { reason: reason_name(access.reason), offers: learner_offers(access) }
}

const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::FreeCourse => "free_course",
        Reason::FreeChapter => "free_chapter",
        Reason::Purchased => "purchased",
        Reason::PaymentRequired => "payment_required",
        Reason::PaymentProcessing => "payment_processing",
        Reason::PaymentDisputed => "payment_disputed",
    }
}

const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Free => "free",
        Tier::Paid => "paid",
    }
}
