//! The checkout function: talks to Stripe for the learner.
//!
//! - `POST /checkout` and `POST /go/{proxy+}` lead to the one open session that a learner has for a
//!   product (`open`).
//! - `POST /checkout/{session}/confirm` takes in what Stripe says of a session without waiting for
//!   the webhook, by the same decide and commit (`confirm`).
//! - `POST /learners/{learner}/upgrade-link` makes a link that outlives sessions; `GET` and
//!   `HEAD /go/{proxy+}` show what it sells (`links`, `page`).

mod confirm;
mod failure;
mod links;
mod open;
mod page;

use std::time::Duration;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response, service_fn};
use serde::{Deserialize, Serialize};
use shared::apply::{ApplyError, apply};
use shared::domain::access::RefundThreshold;
use shared::domain::checkout::Channel;
use shared::domain::decide::{Observation, Outcome};
use shared::domain::id::PriceKey;
use shared::domain::rate::{Action, Counter, Limit, TooOften};
use shared::domain::shop::Shop;
use shared::domain::time::{HOUR, MINUTE, Timestamp};
use shared::dynamo::Table;
use shared::dynamo::catalog::CatalogCache;
use shared::http::{Caller, Incoming, Problem, ProblemKind, json, rfc3339};
use shared::ports::{
    AccessReader, CatalogReader, CheckoutStore, Clock, Ledger, StripeCheckout, StripeReader,
    SystemClock,
};
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::{aws, config, telemetry};
use tracing::Instrument;

use failure::Failure;

/// The routes of this function, as `template.yaml` declares them.
pub const ROUTES: &[&str] = &[
    "GET /go/{proxy+}",
    "HEAD /go/{proxy+}",
    "POST /go/{proxy+}",
    "POST /checkout",
    "POST /checkout/{session}/confirm",
    "POST /learners/{learner}/checkout/{session}/confirm",
    "POST /learners/{learner}/upgrade-link",
];

/// One call to Stripe may take three attempts, and a request several calls. This is less than the
/// function's timeout, so that a slow Stripe ends in an answer of ours. Whatever is cut short is
/// taken up by the next try, as after a crash.
const ANSWER_WITHIN: Duration = Duration::from_secs(24);

/// Where everything is kept: facts, access, attempts and links, and what is sold.
pub trait Store: Ledger + AccessReader + CheckoutStore + CatalogReader {}
impl<T: Ledger + AccessReader + CheckoutStore + CatalogReader> Store for T {}

/// Stripe, which is asked about sessions, payments and disputes.
pub trait Stripe: StripeCheckout + StripeReader {}
impl<S: StripeCheckout + StripeReader> Stripe for S {}

/// All that the function works with.
pub struct App<C, T = Table, S = StripeApi> {
    /// Where everything is kept.
    pub table: T,
    /// What is sold.
    pub catalog: CatalogCache<T>,
    /// Stripe.
    pub stripe: S,
    /// Where learners are sent back to: an origin without a path.
    pub site_origin: String,
    /// The deployment as Stripe's objects name it.
    pub shop: Shop,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub refund_threshold: RefundThreshold,
    /// The time.
    pub clock: C,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceBody {
    price: String,
}

#[derive(Serialize)]
struct CheckoutAnswer<'a> {
    session_id: &'a str,
    url: &'a str,
    expires_at: String,
}

#[derive(Serialize)]
struct LinkAnswer<'a> {
    url: &'a str,
    expires_at: String,
}

/// Runs the function until the Lambda runtime ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::init(config::function_name());
    let config = config::CheckoutConfig::parse(config::process_environment)?;
    let secrets_manager = aws::secrets_manager(&config.table.aws, &config.api_key);
    let api_key = SecretCache::api_key(secrets_manager, config.api_key.secret_id);
    let table = aws::table(&config.table);
    let app = &App {
        catalog: CatalogCache::new(table.clone()),
        table,
        stripe: StripeApi::new(config.stripe_api_url, config.shop.clone(), api_key),
        site_origin: config.site_origin,
        shop: config.shop,
        refund_threshold: config.refund_threshold,
        clock: SystemClock,
    };
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, std::convert::Infallible>(handle(app, &request).await)
    }))
    .await
}

/// Answers one request.
pub async fn handle<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    request: &Request,
) -> Response<Body> {
    let incoming = Incoming::new(request);
    let answering = async {
        let answer = tokio::select! {
            biased;
            answer = app.answer(&incoming) => answer,
            () = app.clock.sleep(ANSWER_WITHIN) => Err(Failure::TooSlow),
        };
        let mut response = answer.unwrap_or_else(|failure| failure.answer(&incoming));
        if incoming.route_key().starts_with("HEAD ") {
            *response.body_mut() = Body::Empty;
        }
        response
    };
    answering.instrument(incoming.span()).await
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    async fn answer(&self, incoming: &Incoming<'_>) -> Result<Response<Body>, Failure> {
        match incoming.route_key() {
            "POST /checkout" => self.post_checkout(incoming).await,
            "POST /checkout/{session}/confirm" => {
                self.post_confirm(incoming, Caller::Learner).await
            }
            "POST /learners/{learner}/checkout/{session}/confirm" => {
                self.post_confirm(incoming, Caller::Service).await
            }
            "POST /learners/{learner}/upgrade-link" => self.post_upgrade_link(incoming).await,
            "GET /go/{proxy+}" | "HEAD /go/{proxy+}" => self.show_link(incoming).await,
            "POST /go/{proxy+}" => self.use_link(incoming).await,
            _ => {
                let detail = "See the API's documentation.";
                Err(Problem::new(ProblemKind::UnknownRoute, detail).into())
            }
        }
    }

    async fn post_checkout(&self, incoming: &Incoming<'_>) -> Result<Response<Body>, Failure> {
        let learner = incoming.learner(Caller::Learner)?;
        let price = price(incoming)?;
        let opened = self.open(&learner, &price, Channel::Site).await?;
        let answer = CheckoutAnswer {
            session_id: opened.session.id.as_str(),
            url: &opened.session.url,
            expires_at: rfc3339(opened.session.expires_at),
        };
        Ok(json(if opened.is_new { StatusCode::CREATED } else { StatusCode::OK }, &answer))
    }

    async fn post_confirm(
        &self,
        incoming: &Incoming<'_>,
        caller: Caller,
    ) -> Result<Response<Body>, Failure> {
        let learner = incoming.learner(caller)?;
        let session = incoming.path("session").parse().ok().ok_or(Failure::UnknownSession)?;
        let answer = self.confirm(&learner, &session).await?;
        Ok(json(StatusCode::OK, &answer))
    }

    async fn post_upgrade_link(&self, incoming: &Incoming<'_>) -> Result<Response<Body>, Failure> {
        let learner = incoming.learner(Caller::Service)?;
        let price = price(incoming)?;
        let (url, link) = self.make_link(&learner, &price).await?;
        let answer = LinkAnswer { url: &url, expires_at: rfc3339(link.expires_at) };
        Ok(json(StatusCode::CREATED, &answer))
    }

    /// Takes in what Stripe says of a session, by the webhook's own decide and commit.
    async fn ingest(&self, observation: &Observation) -> Result<Outcome, ApplyError> {
        apply(&self.table, &self.stripe, &self.clock, &self.shop, observation).await
    }

    /// Counts one more request, or says when to come back.
    async fn admit(&self, counter: Counter, now: Timestamp) -> Result<(), Failure> {
        let limit = match counter {
            Counter::Learner(_, Action::Checkout) | Counter::Link(_) => {
                Limit { times: 20, window_seconds: 10 * MINUTE }
            }
            Counter::Learner(_, Action::Confirm) => {
                Limit { times: 60, window_seconds: 10 * MINUTE }
            }
            Counter::Learner(_, Action::Link) => Limit { times: 30, window_seconds: HOUR },
            Counter::Learner(_, Action::ReplacedByLink) => Limit { times: 1, window_seconds: HOUR },
        };
        for _ in 0..COUNTING_ROUNDS_MAX {
            let before = self.table.rate(&counter).await?;
            let rate = limit.admit(before, now).map_err(Failure::RateLimited)?;
            let is_counted = if before.is_some_and(|before| before.since == rate.since) {
                self.table.count_in_window(&counter, rate.since, limit.times).await?
            } else {
                self.table.begin_window(&counter, rate, before).await?
            };
            if is_counted {
                return Ok(());
            }
        }
        // A window that begins and fills up each time one looks: too many at one moment.
        Err(Failure::RateLimited(TooOften { retry_after_seconds: 1 }))
    }
}

/// How often counting is tried when others count at the same moment.
const COUNTING_ROUNDS_MAX: u32 = 4;

fn price(incoming: &Incoming<'_>) -> Result<PriceKey, Failure> {
    let body: PriceBody = incoming.body()?;
    // What can't be a price's name is not one of the prices.
    body.price.parse().ok().ok_or(Failure::UnknownPrice)
}
