//! Building responses. All get the same headers, and building one can't fail.

use lambda_http::Body;
use lambda_http::http::header::{HeaderName, HeaderValue};
use lambda_http::http::{Response, StatusCode};
use serde::Serialize;

/// A response in JSON.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let headers = [("content-type", "application/json".to_owned())];
    match serde_json::to_string(body) {
        Ok(body) => respond(status, &headers, body),
        // Our types are plain data, so a failure to serialize one is a bug.
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, &headers, "{}".to_owned()),
    }
}

/// A page. The caller escapes its contents and sets its content security policy.
#[must_use]
pub fn html(
    status: StatusCode,
    headers: &[(&'static str, String)],
    page: String,
) -> Response<Body> {
    let content_type = ("content-type", "text/html; charset=utf-8".to_owned());
    respond(status, &[&[content_type], headers].concat(), page)
}

/// A redirect that is followed with GET.
#[must_use]
pub fn redirect(location: &str) -> Response<Body> {
    let headers =
        [("location", location.to_owned()), ("referrer-policy", "no-referrer".to_owned())];
    respond(StatusCode::SEE_OTHER, &headers, String::new())
}

pub(super) fn respond(
    status: StatusCode,
    headers: &[(&'static str, String)],
    body: String,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let always = [
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    for (name, value) in headers.iter().chain(&always) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
