//! The shapes of answers, as `docs/openapi.yaml` describes them. The tutor's tools return the same
//! shapes as the routes.

use serde::Serialize;

use super::rfc3339;
use crate::content::Link;
use crate::domain::access::{Access, Grant, Reason, Tier};
use crate::domain::availability::View;
use crate::domain::catalog::{Catalog, Category, Course, Offer};
use crate::domain::checkout::OpenSession;
use crate::domain::decide::StoredSource;
use crate::domain::id::{CourseId, LearnerId, SourceId};
use crate::domain::why::{Fact, History, Step, history, overall};
use crate::usecases::courses::{CourseAccess, Explanation};
use crate::usecases::sales::CreatedLink;

/// All courses.
#[derive(Serialize)]
pub struct CoursesAnswer<'a> {
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

/// A learner's tier, and all that they have.
#[derive(Serialize)]
pub struct EntitlementsAnswer<'a> {
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

/// The facts behind a learner's access to a product.
#[derive(Serialize)]
pub struct WhyAnswer<'a> {
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

/// Whether a course or a chapter is open to a learner, why, and what would open it.
#[derive(Serialize)]
pub struct AccessAnswer<'a> {
    course: &'a str,
    chapter: Option<usize>,
    access: &'static str,
    tier: &'static str,
    reason: &'static str,
    until: Option<String>,
    offers: Vec<OfferAnswer<'a>>,
}

/// A link to a chapter.
#[derive(Serialize)]
pub struct ChapterLinkAnswer<'a> {
    course: &'a str,
    chapter: usize,
    url: &'a str,
    expires_at: String,
}

/// A page of Stripe's on which a learner can pay.
#[derive(Serialize)]
pub struct CheckoutAnswer<'a> {
    session_id: &'a str,
    url: &'a str,
    expires_at: String,
}

/// An upgrade link.
#[derive(Serialize)]
pub struct LinkAnswer<'a> {
    url: &'a str,
    expires_at: String,
}

/// What a denial says beyond a problem's own members.
#[derive(Serialize)]
pub struct DenialMembers<'a> {
    reason: &'static str,
    offers: Vec<OfferAnswer<'a>>,
}

impl WhyAnswer<'_> {
    /// Whether the product is open to the learner.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.access == GRANTED
    }

    /// Each fact as a sentence, in chronological order over all sources.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        let mut facts: Vec<&FactAnswer> =
            self.sources.iter().flat_map(|source| &source.facts).collect();
        // Times are in UTC, all in the same format.
        facts.sort_by(|one, other| one.at.cmp(&other.at));
        facts.into_iter().map(|fact| fact.text.as_str()).collect()
    }
}

/// All courses of the catalog.
#[must_use]
pub fn courses(catalog: &Catalog) -> CoursesAnswer<'_> {
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

/// All that a learner has.
#[must_use]
pub fn entitlements<'a>(learner: &'a LearnerId, view: &View<'a>) -> EntitlementsAnswer<'a> {
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

/// The facts behind a learner's access to a product.
#[must_use]
pub fn why<'a>(learner: &'a LearnerId, explanation: &'a Explanation) -> WhyAnswer<'a> {
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
        access: access_name(overall(&all).is_open),
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

/// A learner's access to a course or a chapter.
#[must_use]
pub fn access<'a>(checked: &'a CourseAccess, access: &Access<'a>) -> AccessAnswer<'a> {
    AccessAnswer {
        course: checked.course.id.as_str(),
        chapter: checked.chapter,
        access: access_name(access.granted),
        tier: tier_name(checked.tier()),
        reason: reason_name(access.reason),
        until: access.until.map(rfc3339),
        offers: learner_offers(access),
    }
}

/// A link to a chapter, for a learner who may open it.
#[must_use]
pub fn chapter<'a>(course: &'a CourseId, chapter: usize, link: &'a Link) -> ChapterLinkAnswer<'a> {
    ChapterLinkAnswer {
        course: course.as_str(),
        chapter,
        url: &link.url,
        expires_at: rfc3339(link.expires_at),
    }
}

/// What a denial says beyond a problem's own members.
#[must_use]
pub fn denial<'a>(access: &Access<'a>) -> DenialMembers<'a> {
    DenialMembers { reason: reason_name(access.reason), offers: learner_offers(access) }
}

/// A page of Stripe's on which a learner can pay.
#[must_use]
pub fn checkout(session: &OpenSession) -> CheckoutAnswer<'_> {
    CheckoutAnswer {
        session_id: session.id.as_str(),
        url: &session.url,
        expires_at: rfc3339(session.expires_at),
    }
}

/// An upgrade link.
#[must_use]
pub fn link(link: &CreatedLink) -> LinkAnswer<'_> {
    LinkAnswer { url: &link.url, expires_at: rfc3339(link.expires_at) }
}

const GRANTED: &str = "granted";

const fn access_name(is_granted: bool) -> &'static str {
    if is_granted { GRANTED } else { "denied" }
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
