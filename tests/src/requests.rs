//! The events that API Gateway and a Function URL send to Lambda.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::ACCEPT;
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Without a token.
    Anyone,
    /// This learner.
    Learner(String),
    /// A service.
    Service,
    /// A token with these claims.
    Claims(Value),
}

/// A learner.
#[must_use]
pub fn learner(id: &str) -> Who {
    Who::Learner(id.to_owned())
}

/// The event of a request: the route's key, the requested path, `None` for no body.
///
/// Path parameters are taken from the path by the route.
#[must_use]
pub fn api(route_key: &str, target: &str, who: &Who, body: Option<&str>) -> Request {
    let (method, template) = route_key.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments = template.split('/').count();
    let parameters: serde_json::Map<String, Value> = template
        .split('/')
        // A greedy variable, which is the last, takes the rest.
        .zip(path.splitn(segments, '/'))
        .filter_map(|(name, value)| {
            let name = name.strip_prefix('{')?.strip_suffix('}')?.trim_end_matches('+');
            Some((name.to_owned(), value.into()))
        })
        .collect();
    let queries: serde_json::Map<String, Value> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let claims = match who {
        Who::Anyone => None,
        Who::Learner(id) => Some(json!({ "sub": id, "scope": "openid coursegate/learn" })),
        Who::Service => Some(json!({ "sub": "tutor", "scope": "coursegate/learners" })),
        Who::Claims(claims) => Some(claims.clone()),
    };
    let authorizer = claims.map(|claims| json!({ "jwt": { "claims": claims, "scopes": null } }));
    let event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": format!("/api{path}"),
        "rawQueryString": query,
        "headers": { "host": "127.0.0.1", "content-type": "application/json" },
        "queryStringParameters": queries,
        "pathParameters": parameters,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "authorizer": authorizer,
            "domainName": "127.0.0.1",
            "domainPrefix": "127",
            "http": {
                "method": method,
                "path": format!("/api{path}"),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test",
            },
            "requestId": "test-request",
            "routeKey": route_key,
            "stage": "api",
            "time": "21/Nov/2026:06:00:00 +0000",
            "timeEpoch": 1_795_240_800_000_i64,
        },
        "body": body,
        "isBase64Encoded": false,
    });
    from_event(&event)
}

/// The event of a message to the tutor.
#[must_use]
pub fn message_to_tutor(who: &Who, message: &str) -> Request {
    let mut request = api("POST /mcp", "/mcp", who, Some(message));
    let accept = HeaderValue::from_static("application/json, text/event-stream");
    request.headers_mut().insert(ACCEPT, accept);
    request
}

/// The event of a delivery to the webhook's Function URL.
#[must_use]
pub fn delivery(body: &str, signature: Option<&str>) -> Request {
    from_event(&function_url_event("POST", body, signature))
}

/// A Function URL's event.
#[must_use]
pub fn function_url_event(method: &str, body: &str, signature: Option<&str>) -> Value {
    let mut headers = json!({
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    });
    if let Some(signature) = signature {
        headers["stripe-signature"] = signature.into();
    }
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": "local.lambda-url.us-east-1.on.aws",
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            },
            "requestId": "test-request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:06:00:00 +0000",
            "timeEpoch": 1_795_240_800_000_i64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// The request that `lambda_http` makes of an event.
#[must_use]
pub fn from_event(event: &Value) -> Request {
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

/// A response's status and JSON body; null if there is none.
#[must_use]
pub fn answer(response: &Response<Body>) -> (u16, Value) {
    (response.status().as_u16(), serde_json::from_str(text(response)).unwrap_or_default())
}

/// A response's body; empty if there is none.
#[must_use]
pub fn text(response: &Response<Body>) -> &str {
    match response.body() {
        Body::Text(text) => text,
        Body::Binary(bytes) => std::str::from_utf8(bytes).unwrap(),
        Body::Empty | _ => "",
    }
}
