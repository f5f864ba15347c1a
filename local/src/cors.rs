//! CORS: preflights and response headers, as API Gateway, `CloudFront` and S3 handle them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::template::Cors;

/// Whether this is a CORS preflight request.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The first of these rules that allows the request's origin, method and headers.
pub(crate) fn rule<'a>(
    rules: impl IntoIterator<Item = &'a Cors>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<&'a Cors> {
    let origin = headers.get(header::ORIGIN)?;
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let asked = asked.filter(|_| method == Method::OPTIONS);
    let method = asked.map_or(method.as_str().as_bytes(), HeaderValue::as_bytes);
    rules.into_iter().find(|cors| {
        cors.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
            && cors.methods.iter().any(|known| known.as_bytes() == method)
    })
}

impl Cors {
    /// Adds the headers that let the requesting page read this response.
    pub(crate) fn let_see(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if let Some(origin) = request.get(header::ORIGIN) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if !answer.get_all(header::VARY).iter().any(|value| value == "origin") {
            answer.append(header::VARY, HeaderValue::from_static("origin"));
        }
        insert(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed_headers.join(","));
    }

    /// Adds the headers that let the page of a preflight send its request.
    pub(crate) fn let_ask(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        self.let_see(request, answer);
        insert(answer, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(","));
        insert(answer, header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(","));
        insert(answer, header::ACCESS_CONTROL_MAX_AGE, &self.max_age_seconds.to_string());
    }
}

/// An empty list sends no header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}
