//! The tutor function: an MCP server (<https://modelcontextprotocol.io>) for tutors that live in a
//! chat. Its tools do what [`courses`](shared::usecases::courses) and
//! [`sales`](shared::usecases::sales) do for the other functions' routes, in the same shapes.
//!
//! The server is stateless: each POST is one message with a complete answer in JSON, so that any
//! instance can answer it. There is nothing to stream, so GET and DELETE are refused, as the
//! protocol allows.
//!
//! A service's token names the learner in each call. A learner's token can ask only about its owner.
//! No tool moves money, grants or revokes.

mod arguments;
mod failure;
mod prompts;
mod resources;
mod sentences;
mod server;
mod tools;

use std::sync::Arc;

use http_body_util::BodyExt;
use lambda_http::http::{HeaderValue, Method};
use lambda_http::{Body, Request, Response, service_fn};
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use shared::content::{ChapterTexts, ContentLinks};
use shared::dynamo::Table;
use shared::http::{Incoming, Problem, ProblemKind};
use shared::ports::{Clock, SystemClock};
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::usecases::catalog::CatalogCache;
use shared::usecases::courses::Courses;
use shared::usecases::sales::{Sales, Store, Stripe};
use shared::{aws, config, telemetry};
use tracing::Instrument;

pub use arguments::LEARNER;
pub use tools::Tool;

use server::Conversation;

/// The routes of this function, as `template.yaml` declares them.
pub const ROUTES: &[&str] = &["POST /mcp", "GET /mcp", "DELETE /mcp"];

/// The protocol versions that it speaks: the current one and the two before.
pub const PROTOCOL_VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

/// All that the function works with.
pub struct App<C, T = Table, S = StripeApi> {
    /// What a learner may open.
    pub courses: Courses<T, T, C>,
    /// How a learner buys.
    pub sales: Sales<C, T, S>,
    /// The texts of the free chapters.
    pub texts: ChapterTexts,
}

impl<C: Clock + Clone, T: Store + Clone, S: Stripe> App<C, T, S> {
    /// All of it for these sales, with links to chapters that are signed by `content`.
    #[must_use]
    pub fn new(sales: Sales<C, T, S>, content: ContentLinks, texts: ChapterTexts) -> Self {
        let courses = Courses {
            access: sales.table.clone(),
            catalog: sales.catalog.clone(),
            content,
            refund_threshold: sales.refund_threshold,
            clock: sales.clock.clone(),
        };
        Self { courses, sales, texts }
    }
}

/// Runs the function until the Lambda runtime ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::init(config::function_name());
    let config = config::TutorConfig::parse(config::process_environment)?;
    let config::TutorConfig { checkout, content } = config;
    let secrets_manager = aws::secrets_manager(&checkout.table.aws, &checkout.api_key);
    let api_key = SecretCache::api_key(secrets_manager, checkout.api_key.secret_id);
    let table = aws::table(&checkout.table);
    let sales = Sales {
        catalog: CatalogCache::new(table.clone()),
        table,
        stripe: StripeApi::new(checkout.stripe_api_url, checkout.shop.clone(), api_key),
        site_origin: checkout.site_origin,
        shop: checkout.shop,
        refund_threshold: checkout.refund_threshold,
        clock: SystemClock,
    };
    let links = aws::content_links(&checkout.table.aws, &content);
    let app = &Arc::new(App::new(sales, links, ChapterTexts::new(content.endpoint.as_deref())));
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, std::convert::Infallible>(handle(app, request).await)
    }))
    .await
}

/// Answers one request.
pub async fn handle<C, T, S>(app: &Arc<App<C, T, S>>, request: Request) -> Response<Body>
where
    C: Clock + Send + Sync + 'static,
    T: Store + Send + Sync + 'static,
    S: Stripe + Send + Sync + 'static,
{
    let incoming = Incoming::new(&request);
    let (span, request_id) = (incoming.span(), incoming.request_id().map(str::to_owned));
    let answer = answer(app, request).instrument(span).await;
    answer.unwrap_or_else(|problem| problem.response(request_id.as_deref()))
}

async fn answer<C, T, S>(
    app: &Arc<App<C, T, S>>,
    request: Request,
) -> Result<Response<Body>, Problem>
where
    C: Clock + Send + Sync + 'static,
    T: Store + Send + Sync + 'static,
    S: Stripe + Send + Sync + 'static,
{
    let incoming = Incoming::new(&request);
    let identity = incoming.identity()?;
    if !ROUTES.contains(&incoming.route_key()) {
        return Err(Problem::new(ProblemKind::UnknownRoute, "See the API's documentation."));
    }
    if request.method() == Method::POST {
        incoming.body_is_json()?;
    }
    let conversation = Conversation::new(Arc::clone(app), identity);
    // A page elsewhere can't reach this under a name of its own: API Gateway answers only requests
    // for its own names, and a browser says whose page it is.
    let server = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .with_allowed_origins([with_port(&app.sales.site_origin)]);
    let service = StreamableHttpService::new(
        move || Ok(conversation.clone()),
        Arc::new(NeverSessionManager::default()),
        server,
    );
    let (parts, body) = service.handle(request).await.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes);
    // All that the server writes is text.
    let body = String::from_utf8_lossy(&body).into_owned();
    let body_is_empty = body.is_empty();
    let mut response = Response::from_parts(parts, Body::from(body));
    // What isn't JSON is a sentence.
    let headers = response.headers_mut();
    if !body_is_empty {
        headers.entry("content-type").or_insert(HeaderValue::from_static("text/plain"));
    }
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An origin with its port, without which the server would accept any.
fn with_port(origin: &str) -> String {
    let has_port = origin.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    match origin.split_once("://") {
        Some(("https", _)) if !has_port => format!("{origin}:443"),
        Some(("http", _)) if !has_port => format!("{origin}:80"),
        _ => origin.to_owned(),
    }
}
