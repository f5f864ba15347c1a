//! Upgrade links: made for a learner in a chat, opened days later, by whoever has them.
//!
//! Chat clients, mail scanners and browsers open links on their own, so showing one changes nothing;
//! only its page's button opens a session.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use serde::Serialize;
use shared::domain::checkout::{Channel, Link};
use shared::domain::id::{CourseId, LearnerId, LinkId, PriceKey};
use shared::domain::rate::{Action, Counter};
use shared::domain::time::{DAY, Timestamp};
use shared::http::{Incoming, json, redirect, rfc3339};
use shared::ports::Clock;

use crate::failure::Failure;
use crate::open::{Wish, random_id};
use crate::page::{self, Method};
use crate::{App, Store, Stripe};

/// The path of a link, and all paths below it: a chat client may append anything.
const PATH: &str = "/go/{proxy+}";
const ID_PARAMETER: &str = "proxy";

/// How long a link leads to a payable session.
const LINK_DAYS: i64 = 30;

/// 192 random bits: nobody guesses one.
const LINK_BYTES: usize = 24;
const _: () = assert!(LINK_BYTES * 4 == LinkId::LENGTH * 3); // base64

/// What a link sells: an offer, and until when. Never whose it is.
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

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// Makes a link under which this learner can buy at this price, and says where it is.
    pub(crate) async fn make_link(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
    ) -> Result<(String, Link), Failure> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let offer = published.catalog.offer(price).ok_or(Failure::UnknownPrice)?;
        self.admit(Counter::Learner(learner.clone(), Action::Link), now).await?;
        let wish = Wish { learner, channel: Channel::Link, offer, published: &published, now };
        let entitlements = self.table.entitlements(learner).await?;
        self.refuse_unless_for_sale(&wish, entitlements).await?;
        let id: LinkId = random_id::<_, LINK_BYTES>()?;
        let expires_at = now.plus_seconds(LINK_DAYS * DAY);
        let link = Link { learner: learner.clone(), price: price.clone(), expires_at };
        if !self.table.put_link(&id, &link).await? {
            return Err(Failure::Contended);
        }
        tracing::info!(learner.id = %learner, price = %price, outcome = "made", "upgrade link");
        Ok((format!("{}/api/go/{id}", self.site_origin), link))
    }

    /// Shows what a link sells. It only reads.
    pub(crate) async fn show_link(
        &self,
        incoming: &Incoming<'_>,
    ) -> Result<Response<Body>, Failure> {
        let now = self.clock.now();
        let (_, link) = self.requested_link(incoming, now).await?;
        let published = self.catalog.get(now).await?;
        let catalog = &published.catalog;
        let offer = catalog.offer(&link.price).ok_or(Failure::OfferEnded)?;
        if page_method(incoming).is_some() {
            let courses = offer.product.courses.iter().filter_map(|id| catalog.course(id));
            let titles: Vec<&str> = courses.map(|course| course.title.as_str()).collect();
            return Ok(page::offer(offer, &titles, link.expires_at));
        }
        let money = offer.price.money;
        let answer = LinkOfferAnswer {
            price: offer.price.key.as_str(),
            product: offer.product.id.as_str(),
            name: &offer.product.name,
            amount: money.amount_minor,
            currency: money.currency.as_str(),
            courses: offer.product.courses.iter().map(CourseId::as_str).collect(),
            expires_at: rfc3339(link.expires_at),
        };
        Ok(json(StatusCode::OK, &answer))
    }

    /// Leads to the session in which the link's learner can buy, or, if nothing is left to pay, to
    /// the site's page that says so.
    pub(crate) async fn use_link(
        &self,
        incoming: &Incoming<'_>,
    ) -> Result<Response<Body>, Failure> {
        let now = self.clock.now();
        let (id, link) = self.requested_link(incoming, now).await?;
        self.admit(Counter::Link(id), now).await?;
        let status = match self.open(&link.learner, &link.price, Channel::Link).await {
            Ok(opened) => return Ok(redirect(&opened.session.url)),
            Err(Failure::AlreadyEntitled) => "paid",
            Err(Failure::PaymentProcessing) => "processing",
            Err(Failure::UnknownPrice) => return Err(Failure::OfferEnded),
            Err(failure) => return Err(failure),
        };
        Ok(redirect(&format!("{}/success?from=chat&status={status}", self.site_origin)))
    }

    async fn requested_link(
        &self,
        incoming: &Incoming<'_>,
        now: Timestamp,
    ) -> Result<(LinkId, Link), Failure> {
        let id = LinkId::at_start_of(incoming.path(ID_PARAMETER));
        let id = id.ok().ok_or(Failure::UnknownLink)?;
        let link = self.table.link(&id).await?.filter(|link| now < link.expires_at);
        Ok((id, link.ok_or(Failure::UnknownLink)?))
    }
}
