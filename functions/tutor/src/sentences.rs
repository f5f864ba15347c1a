//! What a tutor can say to the learner about a result.

use shared::content::Link;
use shared::domain::access::{Access, Reason, Tier};
use shared::domain::availability::{Openness, View};
use shared::domain::catalog::{Catalog, Offer};
use shared::domain::time::Timestamp;
use shared::http::answers::WhyAnswer;
use shared::http::{day, rfc3339};
use shared::usecases::courses::{CourseAccess, Explanation};

pub(crate) fn courses(catalog: &Catalog) -> String {
    let courses = catalog.courses().iter().map(|course| {
        let chapters = course.chapters.len();
        if course.is_free(None) {
            format!("“{}” ({chapters} chapters, all free)", course.title)
        } else {
            format!("“{}” ({chapters} chapters, {} free)", course.title, course.free_chapters)
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
            "isn’t open yet: the payment is still being processed.".to_owned()
        }
        Reason::PaymentDisputed => "is closed while a payment for it is disputed.".to_owned(),
        Reason::PaymentRequired if access.offers.is_empty() => {
            "isn’t open, and isn’t for sale at the moment.".to_owned()
        }
        Reason::PaymentRequired => {
            let offers = access.offers.iter().map(|(offer, _)| at_price(*offer));
            format!("isn’t open yet. {} opens it.", offers.collect::<Vec<_>>().join(" or "))
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
        Tier::Free => "The learner is on the free tier: the free chapters are open.".to_owned(),
        Tier::Paid => {
            format!("The learner is on the paid tier. Open in full: “{}”.", open.join("”, “"))
        }
    }
}

pub(crate) fn upgrade(offer: Offer<'_>, expires_at: Timestamp) -> String {
    format!(
        "{}. Payment is on Stripe’s page, and access opens right after it. The address works until \
         {}.",
        at_price(offer),
        rfc3339(expires_at),
    )
}

pub(crate) fn why(explanation: &Explanation, answer: &WhyAnswer<'_>) -> String {
    let product = &explanation.product;
    let view = explanation.state.view();
    let name = view.catalog.product(product).map_or(product.as_str(), |it| it.name.as_str());
    let verdict = if answer.is_granted() { "is open" } else { "isn’t open" };
    let facts: Vec<&str> = answer.texts().collect();
    if facts.is_empty() {
        format!("“{name}” {verdict}: the learner has never bought it or been given it.")
    } else {
        format!("“{name}” {verdict}. What happened: {}", facts.join(" "))
    }
}

pub(crate) fn chapter(link: &Link) -> String {
    format!("Here is the chapter. The link works until {}.", rfc3339(link.expires_at))
}

pub(crate) fn account(url: &str) -> String {
    format!("Your purchases are at {url}, once you have signed in.")
}

fn at_price(offer: Offer<'_>) -> String {
    format!("“{}” for {}", offer.product.name, offer.price.money)
}
