//! The entitlements function: what [`courses`](shared::usecases::courses) does, over HTTP.
//!
//! It only reads: the access item of one learner, strongly consistent, and a catalog up to a
//! minute old. It holds no secret and never talks to Stripe. A learner who may open a chapter gets a
//! link to it, which the function signs itself.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response, service_fn};
use shared::domain::access::{Access, Reason};
use shared::domain::id::CourseId;
use shared::dynamo::Table;
use shared::http::{Caller, Incoming, Problem, ProblemKind, answers, json};
use shared::ports::{AccessReader, CatalogReader, Clock, SystemClock};
use shared::telemetry::{self, Metric};
use shared::usecases::catalog::CatalogCache;
use shared::usecases::courses::{Chapter, Courses, CoursesError};
use shared::{aws, config};
use tracing::Instrument;

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
pub type App<R, C, K = Table> = Courses<R, K, C>;

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
pub async fn handle<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
    request: &Request,
) -> Response<Body> {
    let incoming = Incoming::new(request);
    let answer = answer(app, &incoming).instrument(incoming.span()).await;
    answer.unwrap_or_else(|problem| problem.response(incoming.request_id()))
}

async fn answer<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
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

async fn courses<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
) -> Result<Response<Body>, Problem> {
    let published = app.list_courses().await.map_err(|error| problem(&error))?;
    Ok(json(StatusCode::OK, &answers::courses(&published.catalog)))
}

async fn entitlements<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let state = app.list_entitlements(&learner).await.map_err(|error| problem(&error))?;
    Ok(json(StatusCode::OK, &answers::entitlements(&learner, &state.view())))
}

async fn why<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let product = incoming.path("product").parse().ok();
    let product = product.ok_or_else(|| problem(&CoursesError::UnknownProduct))?;
    let explanation = app.explain(&learner, &product).await.map_err(|error| problem(&error))?;
    Ok(json(StatusCode::OK, &answers::why(&learner, &explanation)))
}

async fn course_access<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
    incoming: &Incoming<'_>,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(caller)?;
    let chapter = incoming.query::<usize>("chapter", "a chapter's number, 1 for the first")?;
    let course = course(incoming)?;
    let checked = app.check_access(&learner, &course, chapter).await;
    let checked = checked.map_err(|error| problem(&error))?;
    Ok(json(StatusCode::OK, &answers::access(&checked, &checked.access())))
}

async fn chapter<R: AccessReader, C: Clock, K: CatalogReader>(
    app: &App<R, C, K>,
    incoming: &Incoming<'_>,
) -> Result<Response<Body>, Problem> {
    let learner = incoming.learner(Caller::Learner)?;
    let course = course(incoming)?;
    // What is not a number is not a chapter, and neither is 0.
    let chapter = incoming.path("chapter").parse().unwrap_or(0);
    let chapter = app.open_chapter(&learner, &course, chapter).await;
    match chapter.map_err(|error| problem(&error))? {
        Chapter::Open { course, chapter, link } => {
            Ok(json(StatusCode::OK, &answers::chapter(&course, chapter, &link)))
        }
        Chapter::Denied(checked) => Err(denied(&checked.access())),
    }
}

fn course(incoming: &Incoming<'_>) -> Result<CourseId, Problem> {
    // What can't be a course's id is not one of the courses.
    incoming.path("course").parse().ok().ok_or_else(|| problem(&CoursesError::UnknownCourse))
}

fn denied(access: &Access<'_>) -> Problem {
    let detail = match access.reason {
        Reason::PaymentProcessing => {
            "The payment is being processed. Ask again once the bank has confirmed it."
        }
        Reason::PaymentDisputed => {
            "The payment is disputed. The chapter opens again if the shop wins the dispute."
        }
        Reason::PaymentRequired if access.offers.is_empty() => "It is not for sale at the moment.",
        Reason::PaymentRequired | Reason::FreeCourse | Reason::FreeChapter | Reason::Purchased => {
            "Buy one of the offers to open it: send its price to POST /checkout."
        }
    };
    Problem::new(ProblemKind::AccessDenied, detail).with(&answers::denial(access))
}

/// How the client is told. Our own faults are logged here, once, with their causes.
fn problem(error: &CoursesError) -> Problem {
    let problem = Problem::from(error);
    if problem.kind().status() >= 500 {
        telemetry::count(Metric::Failed);
        let error = telemetry::Chain(error);
        tracing::error!(%error, "request failed");
    }
    problem
}
