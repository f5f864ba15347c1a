//! The checkout function: what [`sales`](shared::usecases::sales) does, over HTTP.
//!
//! - `POST /checkout`, `POST /learners/{learner}/checkout` and `POST /go/{proxy+}` lead to the one
//!   open session that a learner has for a product.
//! - `POST /checkout/{session}/confirm` applies what Stripe says about a session without waiting for
//!   the webhook.
//! - `POST /learners/{learner}/upgrade-link` creates a link that outlives sessions; `GET` and
//!   `HEAD /go/{proxy+}` show what it sells (`links`, `page`).

mod failure;
mod links;
mod page;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response, service_fn};
use serde::{Deserialize, Serialize};
use shared::domain::access::EffectiveStatus;
use shared::domain::checkout::{Channel, CheckoutRequest};
use shared::domain::id::PriceKey;
use shared::dynamo::Table;
use shared::http::{ANSWER_WITHIN, Caller, Incoming, Problem, ProblemKind, answers, json};
use shared::ports::{Clock, SystemClock};
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::usecases::catalog::CatalogCache;
use shared::usecases::sales::{Sales, SalesError, SessionStatus, Store, Stripe};
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
    "POST /learners/{learner}/checkout",
    "POST /learners/{learner}/checkout/{session}/confirm",
    "POST /learners/{learner}/upgrade-link",
];

/// All that the function works with.
pub type App<C, T = Table, S = StripeApi> = Sales<C, T, S>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceBody {
    price: String,
}

#[derive(Serialize)]
struct ConfirmationAnswer {
    /// `open` or `expired`; and once the buyer has completed it `processing`, `paid`, `failed`,
    /// `ended`, `refunded`, `suspended`, `dispute_lost` or `revoked`.
    status: &'static str,
    /// Whether what was bought is open to the learner now: `granted` or `denied`.
    access: &'static str,
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
            answer = answer(app, &incoming) => answer,
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

async fn answer<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Failure> {
    match incoming.route_key() {
        "POST /checkout" => post_checkout(app, incoming, Caller::Learner).await,
        "POST /learners/{learner}/checkout" => post_checkout(app, incoming, Caller::Service).await,
        "POST /checkout/{session}/confirm" => post_confirm(app, incoming, Caller::Learner).await,
        "POST /learners/{learner}/checkout/{session}/confirm" => {
            post_confirm(app, incoming, Caller::Service).await
        }
        "POST /learners/{learner}/upgrade-link" => post_upgrade_link(app, incoming).await,
        "GET /go/{proxy+}" | "HEAD /go/{proxy+}" => links::show(app, incoming).await,
        "POST /go/{proxy+}" => links::follow(app, incoming).await,
        _ => {
            let detail = "See the API's documentation.";
            Err(Problem::new(ProblemKind::UnknownRoute, detail).into())
        }
    }
}

async fn post_checkout<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Failure> {
    let learner = incoming.learner(caller)?;
    let price = price(incoming)?;
    let channel = match caller {
        Caller::Learner => Channel::Site,
        Caller::Service => Channel::Service,
    };
    let request = CheckoutRequest { learner, price, channel };
    let started = app.start_checkout(&request).await?;
    let status = if started.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &answers::checkout(&started.session)))
}

async fn post_confirm<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Failure> {
    let learner = incoming.learner(caller)?;
    let session = incoming.path("session").parse().ok().ok_or(SalesError::UnknownSession)?;
    let confirmation = app.confirm(&learner, &session).await?;
    let answer = ConfirmationAnswer {
        status: match confirmation.status {
            SessionStatus::Open => "open",
            SessionStatus::Expired => "expired",
            SessionStatus::Complete(EffectiveStatus::Active) => "paid",
            SessionStatus::Complete(
                effective_status @ (EffectiveStatus::Ended
                | EffectiveStatus::Processing
                | EffectiveStatus::Failed
                | EffectiveStatus::Refunded
                | EffectiveStatus::Suspended
                | EffectiveStatus::DisputeLost
                | EffectiveStatus::Revoked),
            ) => effective_status.name(),
        },
        access: if confirmation.is_open { "granted" } else { "denied" },
    };
    Ok(json(StatusCode::OK, &answer))
}

async fn post_upgrade_link<C: Clock, T: Store, S: Stripe>(
    app: &App<C, T, S>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Failure> {
    let learner = incoming.learner(Caller::Service)?;
    let price = price(incoming)?;
    let link = app.create_link(&learner, &price).await?;
    Ok(json(StatusCode::CREATED, &answers::link(&link)))
}

fn price(incoming: &Incoming<'_>) -> Result<PriceKey, Failure> {
    let body: PriceBody = incoming.body()?;
    // What can't be a price's name is not one of the prices.
    Ok(body.price.parse().ok().ok_or(SalesError::UnknownPrice)?)
}
