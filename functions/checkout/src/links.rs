//! Upgrade links over HTTP: a page for people, JSON for clients that prefer it.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use serde::Serialize;
use shared::domain::id::{CourseId, LinkId};
use shared::http::{Incoming, json, redirect, rfc3339};
use shared::ports::Clock;
use shared::usecases::sales::{Followed, SalesError, Store, Stripe};

use crate::App;
use crate::failure::Failure;
use crate::page::{self, Method};

/// The path of a link, and all paths below it: a chat client may append anything.
const PATH: &str = "/go/{proxy+}";
const ID_PARAMETER: &str = "proxy";

/// What a link sells: an offer, and until when. Never to whom.
#[derive(Serialize)]
struct LinkOfferAnswer<'a> {
    price: &'a str,
    product: &'a str,
    name: &'a str,
    /// In the currency's minor unit.
    amount: i64,
    currency: &'a str,
    courses: Vec<&'a str>,
    expires_at: String,
}

/// The method of the page to show to this client; none if it gets JSON.
pub(crate) fn page_method(incoming: &Incoming<'_>) -> Option<Method> {
    let (method, path) = incoming.route_key().split_once(' ')?;
    let method = if method == "POST" { Method::Post } else { Method::Get };
    (path == PATH && !incoming.prefers_json()).then_some(method)
}

/// Shows what a link sells. It only reads.
pub(crate) async fn show<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Failure> {
    let shown = app.show_link(&id(incoming)?).await?;
    if page_method(incoming).is_some() {
        return Ok(page::offer(shown.offer(), &shown.course_titles, shown.expires_at));
    }
    let money = shown.price.money;
    let answer = LinkOfferAnswer {
        price: shown.price.key.as_str(),
        product: shown.product.id.as_str(),
        name: &shown.product.name,
        amount: money.amount_minor,
        currency: money.currency.as_str(),
        courses: shown.product.courses.iter().map(CourseId::as_str).collect(),
        expires_at: rfc3339(shown.expires_at),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// Redirects to the session in which the link's learner can buy, or, if nothing is left to pay, to
/// the site's page that says so.
pub(crate) async fn follow<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Failure> {
    let status = match app.follow_link(&id(incoming)?).await? {
        Followed::Pay(session) => return Ok(redirect(&session.url)),
        Followed::AlreadyEntitled => "paid",
        Followed::PaymentProcessing => "processing",
    };
    Ok(redirect(&format!("{}/success?from=chat&status={status}", app.site_origin)))
}

fn id(incoming: &Incoming<'_>) -> Result<LinkId, SalesError> {
    let id = LinkId::at_start_of(incoming.path(ID_PARAMETER));
    id.ok().ok_or(SalesError::UnknownLink)
}
