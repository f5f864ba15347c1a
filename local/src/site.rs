//! The site, as `CloudFront` serves it: the files of the project's folder `web`, its single page
//! for every path without a dot, and the headers of the template's policy.
//!
//! The same files are also served at `localhost`, which is another origin to a browser: there the
//! demo page shows the elements on another site, without our headers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::sign_in::SITE_CLIENT;
use crate::template::{Cors, Template};
use crate::{cors, files, pages, percent};

/// The demo pages' name for the site, replaced by its actual origin.
const SITE_IN_THE_DEMO: &str = "https://learn.example.com";

/// Where clients look for what a protected resource requires: <https://www.rfc-editor.org/rfc/rfc9728>.
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Where the site is. Clones share everything.
#[derive(Clone)]
pub(crate) struct Site {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    origin: String,
    other_origin: String,
    headers: Vec<(&'static str, String)>,
    stage: String,
}

/// The origin of another site, for the gateway at this address: the same machine by another name.
pub(crate) fn other_origin(gateway: &str) -> String {
    gateway.replacen("127.0.0.1", "localhost", 1)
}

impl Site {
    /// The site of the project in this folder, at this origin, as the template declares it.
    pub(crate) fn new(project: &Path, origin: &str, template: &Template) -> Site {
        let inner = Inner {
            folder: project.join("web"),
            origin: origin.to_owned(),
            other_origin: other_origin(origin),
            headers: template.site_headers.clone(),
            stage: template.stage.clone(),
        };
        Site { inner: Arc::new(inner) }
    }

    /// Handles everything that no other route does.
    pub(crate) fn router(self) -> Router {
        let below = format!("{RESOURCE}/{}/mcp", self.inner.stage);
        Router::new()
            .route("/config.json", get(config))
            .route(RESOURCE, get(resource))
            .route(&below, get(resource))
            .fallback(serve)
            .with_state(self)
    }

    /// The site's configuration for this machine. In AWS it is written when the site is deployed.
    fn config(&self) -> Value {
        let Inner { origin, other_origin, stage, .. } = &*self.inner;
        json!({
            "api": format!("/{stage}"),
            "sign_in": {
                "authorize": format!("{origin}/local/authorize"),
                "token": format!("{origin}/local/token"),
                "revoke": format!("{origin}/local/revoke"),
                "logout": format!("{origin}/local/logout"),
                "client_id": SITE_CLIENT,
                "scope": "openid email coursegate/learn",
                "redirect": format!("{origin}/"),
                "sign_up": format!("{origin}{}", crate::sign_in::SIGN_UP),
                // No passkey can be added here.
                "passkeys": null,
            },
            "embed_origins": [other_origin],
        })
    }

    /// The metadata of the tutor, which is deployed as a file.
    fn resource(&self) -> Value {
        let Inner { origin, stage, .. } = &*self.inner;
        json!({
            "resource": format!("{origin}/{stage}/mcp"),
            "authorization_servers": [format!("{origin}/local")],
            "bearer_methods_supported": ["header"],
            // Clients request all of these, and a learner may not have the services' scope.
            "scopes_supported": ["coursegate/learn"],
        })
    }

    async fn file(&self, path: &str) -> Option<Response> {
        let file = files::below(&self.inner.folder, path)?;
        let bytes = tokio::fs::read(&file).await.ok()?;
        Some(([(header::CONTENT_TYPE, files::content_type(&file))], bytes).into_response())
    }

    async fn answer(&self, uri: &Uri) -> Response {
        let is_page = leads_to_the_page(uri.path());
        let path = percent::decode(uri.path());
        let path = if is_page { "index.html" } else { path.trim_start_matches('/') };
        let mut response = match self.file(path).await {
            Some(response) => response,
            None if is_page => return no_site(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
        for (name, value) in &self.inner.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    /// A page of another site. Requests for our own site are redirected to it.
    async fn answer_elsewhere(&self, uri: &Uri) -> Response {
        let Inner { folder, origin, .. } = &*self.inner;
        let path = match percent::decode(uri.path()).as_str() {
            // What an author puts there; see web/README.md.
            "/coursegate" => "/demo/coursegate.html".to_owned(),
            path => path.to_owned(),
        };
        if !path.starts_with("/demo/") {
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            let location = format!("{origin}{target}");
            return (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
        }
        let file = files::below(folder, path.trim_start_matches('/'));
        let Some(file) = file else { return StatusCode::NOT_FOUND.into_response() };
        let content_type = files::content_type(&file);
        let Ok(mut bytes) = tokio::fs::read(&file).await else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if content_type.starts_with("text/html") {
            let page = String::from_utf8_lossy(&bytes).replace(SITE_IN_THE_DEMO, origin);
            bytes = page.into_bytes();
        }
        ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
    }

    fn is_elsewhere(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| self.inner.other_origin.strip_prefix("http://") == Some(host))
    }
}

/// Whether a path, as requested, leads to the site's page: the template's `SitePaths`.
#[must_use]
pub fn leads_to_the_page(path: &str) -> bool {
    !path.contains('.')
}

/// Adds the headers of the template's policy for the API, in place of the API's own. So pages of the
/// other origin can also read what the API itself refuses.
pub(crate) async fn api_headers(
    State(policy): State<Option<Cors>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, asked) = (request.method().clone(), request.headers().clone());
    let mut response = next.run(request).await;
    if let Some(rule) = cors::rule(&policy, &method, &asked) {
        if cors::is_preflight(&method, &asked) {
            rule.let_ask(&asked, response.headers_mut());
        } else {
            rule.let_see(&asked, response.headers_mut());
        }
    }
    response
}

async fn config(State(site): State<Site>) -> Response {
    public(site.config())
}

async fn resource(State(site): State<Site>) -> Response {
    public(site.resource())
}

/// What pages of other sites may read too.
fn public(value: Value) -> Response {
    let headers = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::CACHE_CONTROL, "no-store")];
    (headers, axum::Json(value)).into_response()
}

async fn serve(State(site): State<Site>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/local" || path.starts_with("/local/") {
        return not_found();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    let mut response = if site.is_elsewhere(request.headers()) {
        site.answer_elsewhere(request.uri()).await
    } else {
        site.answer(request.uri()).await
    };
    // As deployed: cached, and revalidated on each request.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn no_site() -> Response {
    let body = "<p>There is no <code>web/index.html</code> beside the template, so there is no \
                site to show here.</p>\
                <p><a href=\"/local\">See what runs on this machine</a></p>";
    pages::page(StatusCode::NOT_FOUND, "No site yet", body)
}

/// The response when there is no site.
pub(crate) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"message": "Not Found"}))).into_response()
}

/// The response to other methods.
pub(crate) fn method_not_allowed() -> Response {
    let body = json!({"message": "Method Not Allowed"});
    (StatusCode::METHOD_NOT_ALLOWED, axum::Json(body)).into_response()
}
