//! What a tutor can say to the learner about a result.

use shared::content::Link;
use shared::domain::access::{Access, Reason, Tier};
use shared::domain::availability::{Openness, View};
use shared::domain::catalog::{Catalog, Offer};
use shared::domain::id::CourseId;
use shared::domain::time::Timestamp;
use shared::http::answers::WhyAnswer;
use shared::http::day;
use shared::usecases::courses::{CourseAccess, Explanation};

pub(crate) fn courses(catalog: &Catalog) -> String {
    let courses = catalog.courses().iter().map(|course| {
        let (chapters, free) = (course.chapters.len(), course.free_chapters);
        if course.is_free(None) {
            format!("“{}” (free)", course.title)
        } else {
            format!("“{}” (chapters: {chapters}, free: {free})", course.title)
        }
    });
    format!("There are these courses: {}.", courses.collect::<Vec<_>>().join(", "))
}

pub(crate) fn access(checked: &CourseAccess, access: &Access<'_>) -> String {
    let title = &checked.course.title;
    let what = match checked.chapter {
        Some(chapter) => format!("Chapter {chapter} of “{title}”"),
        None => format!("The course “{title}”"),
    };
    let why = match access.reason {
        Reason::FreeCourse | Reason::FreeChapter => "is free for everybody.".to_owned(),
        Reason::Purchased => match access.until {
            Some(until) => format!("is open until {}.", day(until)),
            None => "is open.".to_owned(),
        },
        Reason::PaymentProcessing => {
            "isn't open yet: the payment is still being processed.".to_owned()
        }
        Reason::PaymentDisputed => "is closed while a payment for it is disputed.".to_owned(),
        Reason::PaymentRequired if access.offers.is_empty() => {
            "isn't open, and isn't for sale at the moment.".to_owned()
        }
        Reason::PaymentRequired => {
            let offers = access.offers.iter().map(|(it, owned)| offer(*it, owned));
            format!("isn't open. {} opens it.", offers.collect::<Vec<_>>().join(" or "))
        }
    };
    format!("{what} {why}")
}

pub(crate) fn tier(view: &View<'_>) -> String {
    let open: Vec<&str> = view
        .catalog
        .courses()
        .iter()
        .filter(|course| {
            !course.is_free(None) && matches!(view.openness(course), Openness::Open(_))
        })
        .map(|course| course.title.as_str())
        .collect();
    match view.tier() {
        Tier::Free => "You are on the free tier: the free chapters are open.".to_owned(),
        Tier::Paid => {
            format!("You are on the paid tier. Open in full: “{}”.", open.join("”, “"))
        }
    }
}

pub(crate) fn upgrade(offer: Offer<'_>, url: &str, expires_at: Timestamp) -> String {
    format!(
        "You can buy {} at {url} on Stripe's page. It opens once your payment has arrived. The \
         link works until {}.",
        at_price(offer),
        day(expires_at),
    )
}

pub(crate) fn why(explanation: &Explanation, answer: &WhyAnswer<'_>) -> String {
    let id = &explanation.product;
    let view = explanation.state.view();
    let product = view.catalog.product(id);
    let name = product.map_or(id.as_str(), |product| product.name.as_str());
    let is_open = |course| {
        let course = view.catalog.course(course);
        course.is_some_and(|course| {
            matches!(view.openness(course), Openness::Free | Openness::Open(_))
        })
    };
    let is_all_open = product.is_some_and(|product| product.courses.iter().all(is_open));
    let verdict = match (is_all_open, answer.is_granted()) {
        (true, true) => "is open",
        (true, false) => "is open through something else that you have",
        (false, true) => "is yours, but isn't offered at the moment",
        (false, false) => "isn't open",
    };
    let facts = answer.texts();
    if !facts.is_empty() {
        format!("“{name}” {verdict}. What happened: {}", facts.join(" "))
    } else if is_all_open {
        format!("“{name}” {verdict}.")
    } else {
        // An event may be late, so nobody is told that they haven't paid.
        format!(
            "“{name}” {verdict}. No payment for it has arrived. If you have just paid, it takes a \
             moment."
        )
    }
}

pub(crate) fn chapter(link: &Link) -> String {
    format!("You can read the chapter at {} for the next five minutes.", link.url)
}

pub(crate) fn account(url: &str) -> String {
    format!("What you have bought with your account on the site is at {url} once you sign in.")
}

/// An offer to a learner who has some of its courses already.
pub(crate) fn offer(offer: Offer<'_>, owned: &[&CourseId]) -> String {
    let price = at_price(offer);
    if owned.is_empty() {
        price
    } else {
        let (owned, all) = (owned.len(), offer.product.courses.len());
        format!("{price} (you already have {owned} of its {all} courses)")
    }
}

fn at_price(offer: Offer<'_>) -> String {
    format!("“{}” for {}", offer.product.name, offer.price.money)
}
