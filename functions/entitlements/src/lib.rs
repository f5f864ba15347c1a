//! The entitlements function: what is for sale, and what a learner may open.
//!
//! It only reads: the access item of one learner, strongly consistent, and a catalog up to a
//! minute old. It holds no secret and never speaks to Stripe. Whoever may open a chapter gets a link
//! to it, which is computed and not asked for.

mod answers;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response, service_fn};
use shared::content::{ContentLinks, LinkError};
use shared::domain::access::{self, Access, Reason, RefundThreshold};
use shared::domain::availability::View;
use shared::domain::catalog::{Course, PublishedCatalog};
use shared::domain::id::{LearnerId, ProductId, SourceId};
use shared::dynamo::catalog::CatalogCache;
use shared::http::{Caller, Incoming, Problem, ProblemKind, json};
use shared::ports::{AccessReader, Clock, LedgerError, SystemClock};
use shared::telemetry::{self, Metric};
use shared::{aws, config};
use tracing::Instrument;

use answers::Terms;

/// The routes of this function, as `template.yaml` declares them.
pub const ROUTES: &[&str] = &[
    "GET /courses",
    "GET /courses/{course}/access",
    "GET /courses/{course}/chapters/{chapter}",
    "GET /entitlements",
    "GET /entitlements/{product}/why",
    "GET /learners/{learner}/courses/{course}/access",
    "GET /learners/{learner}/entitlements",
    "GET /learners/{learner}/entitlements/{product}/why",
];

/// All that the function works with.
pub struct App<R, C> {
    /// Where access is read.
    pub access: R,
    /// What is sold.
    pub catalog: CatalogCache,
    /// The chapters.
    pub content: ContentLinks,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub refund_threshold: RefundThreshold,
    /// The time.
    pub clock: C,
}

/// Runs the function until the Lambda runtime ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::init(config::function_name());
    let config = config::EntitlementsConfig::parse(config::process_environment)?;
    let table = aws::table(&config.table);
    let app = &App {
        catalog: CatalogCache::new(table.clone()),
        access: table,
        content: aws::content_links(&config.table.aws, &config.content),
        refund_threshold: config.refund_threshold,
        clock: SystemClock,
    };
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, std::convert::Infallible>(handle(app, &request).await)
    }))
    .await
}

/// Answers one request.
pub async fn handle<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    request: &Request,
) -> Response<Body> {
    let incoming = Incoming::new(request);
    let answer = answer(app, &incoming).instrument(incoming.span()).await;
    answer.unwrap_or_else(|problem| problem.response(incoming.request_id()))
}

async fn answer<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Problem> {
    match incoming.route_key() {
        "GET /courses" => courses(app).await,
        "GET /entitlements" => entitlements(app, incoming, Caller::Learner).await,
        "GET /learners/{learner}/entitlements" => {
            entitlements(app, incoming, Caller::Service).await
        }
        "GET /courses/{course}/access" => course_access(app, incoming, Caller::Learner).await,
        "GET /learners/{learner}/courses/{course}/access" => {
            course_access(app, incoming, Caller::Service).await
        }
        "GET /courses/{course}/chapters/{chapter}" => chapter(app, incoming).await,
        "GET /entitlements/{product}/why" => why(app, incoming, Caller::Learner).await,
        "GET /learners/{learner}/entitlements/{product}/why" => {
            why(app, incoming, Caller::Service).await
        }
        _ => Err(Problem::new(ProblemKind::UnknownRoute, "See the API's documentation.")),
    }
}

async fn courses<R, C: Clock>(app: &App<R, C>) -> Result<Response<Body>, Problem> {
    let published = app.catalog.get(app.clock.now()).await.map_err(|error| failed(&error))?;
    Ok(json(StatusCode::OK, &answers::courses(&published.catalog)))
}

async fn entitlements<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let now = app.clock.now();
    let published = app.catalog.get(now).await.map_err(|error| failed(&error))?;
    let entitlements = app.access.entitlements(&learner).await.map_err(|error| failed(&error))?;
    let threshold = app.refund_threshold;
    let view = View { catalog: &published.catalog, entitlements: &entitlements, threshold, now };
    let answer = answers::entitlements(&learner, &view);
    Ok(json(StatusCode::OK, &answer))
}

/// The facts that access to a product follows from. They are read after what the learner has, each
/// strongly consistent: what changes in between is seen in its source.
async fn why<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let now = app.clock.now();
    let published = app.catalog.get(now).await.map_err(|error| failed(&error))?;
    let entitlements = app.access.entitlements(&learner).await.map_err(|error| failed(&error))?;
    let product = incoming.path("product").parse().ok().filter(|product| {
        published.catalog.product(product).is_some()
            || entitlements.iter().any(|(_, grant)| grant.product == *product)
    });
    let product: ProductId = product.ok_or_else(|| {
        Problem::new(
            ProblemKind::UnknownProduct,
            "GET /courses names the products that there are, and GET /entitlements those that the learner has.",
        )
    })?;
    let of_product = entitlements.iter().filter(|(_, grant)| grant.product == product);
    let sources: Vec<SourceId> = of_product.map(|(source, _)| source.clone()).collect();
    let stored = app.access.sources(&sources).await.map_err(|error| failed(&error))?;
    let terms = Terms { threshold: app.refund_threshold, now };
    let answer = answers::why(&learner, &product, &entitlements, &stored, terms);
    Ok(json(StatusCode::OK, &answer))
}

async fn course_access<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let chapter = incoming.query::<usize>("chapter", "a chapter's number, 1 for the first")?;
    let now = app.clock.now();
    let published = app.catalog.get(now).await.map_err(|error| failed(&error))?;
    let course = course(&published, incoming.path("course"))?;
    if chapter.is_some_and(|chapter| !course.has_chapter(chapter)) {
        return Err(unknown_chapter(course));
    }
    let entitlements = app.access.entitlements(&learner).await.map_err(|error| failed(&error))?;
    let threshold = app.refund_threshold;
    let view = View { catalog: &published.catalog, entitlements: &entitlements, threshold, now };
    let access = access::check(&view, course, chapter);
    log_access(&learner, course, &access);
    let answer = answers::access(course, chapter, view.tier(), &access);
    Ok(json(StatusCode::OK, &answer))
}

/// A link to a chapter, for who may open it.
async fn chapter<R: AccessReader, C: Clock>(
    app: &App<R, C>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(Caller::Learner)?;
    let now = app.clock.now();
    let published = app.catalog.get(now).await.map_err(|error| failed(&error))?;
    let course = course(&published, incoming.path("course"))?;
    let chapter = incoming.path("chapter").parse().ok();
    let chapter = chapter.filter(|chapter| course.has_chapter(*chapter));
    let chapter = chapter.ok_or_else(|| unknown_chapter(course))?;
    let entitlements = app.access.entitlements(&learner).await.map_err(|error| failed(&error))?;
    let threshold = app.refund_threshold;
    let view = View { catalog: &published.catalog, entitlements: &entitlements, threshold, now };
    let access = access::check(&view, course, Some(chapter));
    log_access(&learner, course, &access);
    if !access.granted {
        return Err(denied(&access));
    }
    let link = app.content.chapter(&course.id, chapter, now).map_err(|error| no_link(&error))?;
    Ok(json(StatusCode::OK, &answers::chapter(course, chapter, &link)))
}

fn course<'a>(published: &'a PublishedCatalog, id: &str) -> Result<&'a Course, Problem> {
    let course = id.parse().ok().and_then(|id| published.catalog.course(&id));
    course.ok_or_else(|| {
        Problem::new(ProblemKind::UnknownCourse, "GET /courses lists the courses that there are.")
    })
}

fn unknown_chapter(course: &Course) -> Problem {
    let detail = format!("Course {} has chapters 1 to {}.", course.id, course.chapters.len());
    Problem::new(ProblemKind::UnknownChapter, detail)
}

fn denied(access: &Access<'_>) -> Problem {
    let detail = match access.reason {
        Reason::PaymentProcessing => "The bank is still at work. Ask again once it has paid.",
        Reason::PaymentDisputed => "The payment is disputed. It opens again if that is settled.",
        Reason::PaymentRequired if access.offers.is_empty() => "It is not for sale at the moment.",
        Reason::PaymentRequired | Reason::FreeCourse | Reason::FreeChapter | Reason::Purchased => {
            "One of the offers opens it: ask POST /checkout for its price."
        }
    };
    Problem::new(ProblemKind::AccessDenied, detail).with(&answers::denial(access))
}

fn log_access(learner: &LearnerId, course: &Course, access: &Access<'_>) {
    let outcome = if access.granted { "granted" } else { "denied" };
    tracing::info!(learner.id = %learner, course.id = %course.id, outcome, "access checked");
}

/// Unknown means no: without an answer from the table there is none to the learner either.
fn failed(cause: &LedgerError) -> Problem {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(cause);
    tracing::error!(%error, "the table did not answer");
    Problem::from(cause)
}

fn no_link(cause: &LinkError) -> Problem {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(cause);
    tracing::error!(%error, "no link to the chapter");
    Problem::new(ProblemKind::Internal, "Trying again does not help; we have been told.")
}
