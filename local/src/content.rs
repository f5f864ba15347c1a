//! The chapters' bucket, as S3 serves it: an object can be read only by a link that was signed for
//! it and has not expired.
//!
//! The objects are the files of the project's folder `content`, so an edit shows at once. The
//! entitlements function signs the links. Its role may read `content/*` but not list the bucket,
//! which is why a missing object is denied like a forbidden one.

mod signature;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::observer::{Observer, Served};
use crate::pages::escape;
use crate::template::Cors;
use crate::{clock, cors, files, percent, random};

/// The bucket's name, which is what `!Ref ContentBucket` gives.
pub const BUCKET: &str = "coursegate-content";

/// The keys that a role which signs links may read.
const READABLE: &str = "content/";

/// The bucket. Clones share everything.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    /// The folder; keys are paths below it.
    folder: PathBuf,
    cors: Vec<Cors>,
    observer: Observer,
}

/// Why a request is refused, by S3's own codes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    /// Elements that only this error has.
    more: Vec<(&'static str, String)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
        Refusal { status, code, message, more: Vec::new() }
    }

    fn denied(message: &'static str) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }
}

impl Bucket {
    /// The bucket with the files of the project in this folder; these CORS rules say which pages
    /// may read from it.
    #[must_use]
    pub fn new(project: &Path, cors: Vec<Cors>, observer: Observer) -> Bucket {
        Bucket { inner: Arc::new(Inner { folder: project.to_owned(), cors, observer }) }
    }

    /// An S3 with only this bucket.
    pub fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    /// The requested file, if the request is signed.
    fn find(&self, parts: &Parts, now: Duration) -> Result<PathBuf, Refusal> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            let message = "The specified method is not allowed against this resource.";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
        signature::verify(parts, now)?;
        let path = percent::decode(parts.uri.path());
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if bucket != BUCKET {
            let message = "The specified bucket does not exist";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket", message));
        }
        let key = key.starts_with(READABLE).then_some(key);
        let file = key.and_then(|key| files::below(&self.inner.folder, key));
        file.ok_or_else(|| Refusal::denied("Access Denied"))
    }

    async fn object(&self, parts: &Parts) -> Result<Response, Refusal> {
        let file = self.find(parts, clock::now())?;
        let object = tokio::fs::read(&file).await;
        let object = object.map_err(|_missing| Refusal::denied("Access Denied"))?;
        let headers = [(header::CONTENT_TYPE, files::content_type(&file))];
        Ok((headers, object).into_response())
    }

    /// Answers a CORS preflight.
    fn preflight(&self, parts: &Parts) -> Result<Response, Refusal> {
        let rule = cors::rule(&self.inner.cors, &parts.method, &parts.headers);
        let Some(rule) = rule else {
            let message = "CORSResponse: This CORS request is not allowed.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "AccessForbidden", message));
        };
        let mut response = Response::new(Body::empty());
        rule.let_ask(&parts.headers, response.headers_mut());
        Ok(response)
    }
}

async fn answer(State(bucket): State<Bucket>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, _) = request.into_parts();
    let answer = if cors::is_preflight(&parts.method, &parts.headers) {
        bucket.preflight(&parts)
    } else {
        bucket.object(&parts).await
    };
    let note = answer.as_ref().err().map(|refusal| refusal.code.to_owned());
    let mut response = answer.unwrap_or_else(|refusal| xml(&refusal));
    add_headers(&bucket, &parts, response.headers_mut());
    bucket.inner.observer.served(&Served {
        method: parts.method.to_string(),
        // The query contains the signature.
        path: parts.uri.path().to_owned(),
        status: response.status().as_u16(),
        duration: started.elapsed(),
        function: Some("s3".to_owned()),
        note,
    });
    response
}

fn add_headers(bucket: &Bucket, parts: &Parts, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&random::token::<8>()) {
        headers.insert("x-amz-request-id", id);
    }
    if parts.method != Method::OPTIONS
        && let Some(rule) = cors::rule(&bucket.inner.cors, &parts.method, &parts.headers)
    {
        rule.let_see(&parts.headers, headers);
    }
}

fn xml(refusal: &Refusal) -> Response {
    let mut elements = String::new();
    let always = [("Code", refusal.code.to_owned()), ("Message", refusal.message.to_owned())];
    for (name, value) in always.iter().chain(&refusal.more) {
        // Writing to a String cannot fail.
        let _ = write!(elements, "<{name}>{}</{name}>", escape(value));
    }
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{elements}</Error>");
    (refusal.status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

/// `2026-11-21T19:45:00Z`
fn rfc3339(at: Duration) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
