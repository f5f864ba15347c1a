//! An HTTP request as a function gets it: payload format 2.0 of an HTTP API or a Function URL.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::authorizer::Jwt;
use crate::percent;

/// The API's made-up id, with which its host name starts.
const API_ID: &str = "localapi00";
const FUNCTION_URL_ID: &str = "localwebhook0000000000000000000";
const ACCOUNT_ID: &str = "000000000000";

/// An incoming request.
pub struct Incoming<'a> {
    /// `GET`
    pub method: &'a str,
    /// The path as sent, including the stage.
    pub path: &'a str,
    /// The query string as sent, without its question mark.
    pub query: &'a str,
    /// The headers, in lower case; a name may occur several times.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
    /// The body.
    pub body: &'a [u8],
    /// The client's address.
    pub source_ip: IpAddr,
    /// The request's id.
    pub request_id: String,
    /// Time since the Unix epoch.
    pub now: Duration,
}

/// Which of Lambda's two HTTP edges the request came through.
pub enum Edge<'a> {
    /// The HTTP API.
    Api {
        /// `api`
        stage: &'a str,
        /// `GET /courses/{course}/access`
        route_key: &'a str,
        /// The values of the route's variables.
        path_parameters: &'a BTreeMap<String, String>,
        /// The accepted token; none on an open route.
        jwt: Option<&'a Jwt>,
    },
    /// A Function URL.
    FunctionUrl,
}

/// The event. The identity is only in `requestContext.authorizer`, where a client can't write.
#[must_use]
pub fn build(incoming: &Incoming<'_>, edge: &Edge<'_>) -> Value {
    let (body, is_base64_encoded) = encode_body(incoming);
    let headers = headers(incoming, edge);
    let (raw_path, path_parameters) = match edge {
        Edge::Api { path_parameters, .. } => {
            (incoming.path, Some(*path_parameters).filter(|parameters| !parameters.is_empty()))
        }
        // In AWS the Function URL has its own host; here it has a path.
        Edge::FunctionUrl => ("/", None),
    };
    json!(Event {
        version: "2.0",
        route_key: edge.route_key(),
        raw_path,
        raw_query_string: incoming.query,
        cookies: cookies(incoming),
        request_context: request_context(incoming, edge, raw_path, &headers),
        headers,
        query_string_parameters: query_parameters(incoming.query),
        path_parameters,
        body,
        is_base64_encoded,
    })
}

/// Payload format 2.0. Empty fields are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_parameters: Option<&'a BTreeMap<String, String>>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    domain_name: String,
    domain_prefix: &'static str,
    http: Value,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: u128,
}

impl Edge<'_> {
    fn route_key(&self) -> &str {
        match self {
            Edge::Api { route_key, .. } => route_key,
            Edge::FunctionUrl => "$default",
        }
    }

    fn host(&self) -> String {
        match self {
            Edge::Api { .. } => format!("{API_ID}.execute-api.us-east-1.amazonaws.com"),
            Edge::FunctionUrl => format!("{FUNCTION_URL_ID}.lambda-url.us-east-1.on.aws"),
        }
    }
}

fn request_context<'a>(
    incoming: &'a Incoming<'_>,
    edge: &'a Edge<'_>,
    path: &str,
    headers: &BTreeMap<String, String>,
) -> RequestContext<'a> {
    let (api_id, stage, jwt) = match edge {
        Edge::Api { stage, jwt, .. } => (API_ID, *stage, *jwt),
        Edge::FunctionUrl => (FUNCTION_URL_ID, "$default", None),
    };
    RequestContext {
        account_id: ACCOUNT_ID,
        api_id,
        authorizer: jwt.map(|jwt| json!({"jwt": {"claims": jwt.claims, "scopes": jwt.scopes}})),
        domain_name: edge.host(),
        domain_prefix: api_id,
        http: json!({
            "method": incoming.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": incoming.source_ip.to_string(),
            "userAgent": headers.get("user-agent").map_or("", String::as_str),
        }),
        request_id: &incoming.request_id,
        route_key: edge.route_key(),
        stage,
        time: access_log_time(incoming.now),
        time_epoch: incoming.now.as_millis(),
    }
}

/// `14/Nov/2023:22:13:20 +0000`
fn access_log_time(now: Duration) -> String {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return String::new() };
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = month.to_string();
    format!("{day:02}/{month:.3}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// Lower-case names, with several values joined by a comma. The host and the headers about the
/// client come from AWS, not from the client.
fn headers(incoming: &Incoming<'_>, edge: &Edge<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in &incoming.headers {
        if matches!(*name, "cookie" | "host" | "connection" | "transfer-encoding" | "upgrade")
            || name.starts_with("x-forwarded-")
            || name.starts_with("x-amzn-")
        {
            continue;
        }
        headers
            .entry((*name).to_owned())
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    headers.insert("host".to_owned(), edge.host());
    headers.insert("content-length".to_owned(), incoming.body.len().to_string());
    headers.insert("x-forwarded-for".to_owned(), incoming.source_ip.to_string());
    headers.insert("x-forwarded-port".to_owned(), "443".to_owned());
    headers.insert("x-forwarded-proto".to_owned(), "https".to_owned());
    headers
}

fn cookies(incoming: &Incoming<'_>) -> Vec<String> {
    let sent = incoming.headers.iter().filter(|(name, _)| *name == "cookie");
    sent.flat_map(|(_, value)| value.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// Decoded names and values; several values of a name are joined by a comma.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent::decode(&text.replace('+', " "));
        let value = decode(value);
        parameters
            .entry(decode(name))
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(&value);
            })
            .or_insert_with(|| value.clone());
    }
    parameters
}

/// The body, and whether it is base64. Types that AWS treats as text stay text.
fn encode_body(incoming: &Incoming<'_>) -> (Option<String>, bool) {
    if incoming.body.is_empty() {
        return (None, false);
    }
    let content_type = incoming.headers.iter().find(|(name, _)| *name == "content-type");
    let content_type = content_type.map_or("", |(_, value)| value);
    match std::str::from_utf8(incoming.body) {
        Ok(text) if is_text(content_type) => (Some(text.to_owned()), false),
        Ok(_) | Err(_) => (Some(BASE64_STANDARD.encode(incoming.body)), true),
    }
}

fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_named = matches!(
        media_type.as_str(),
        "application/json" | "application/javascript" | "application/xml"
    );
    is_named
        || media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming<'a>(headers: &[(&'a str, &'a str)], body: &'a [u8]) -> Incoming<'a> {
        Incoming {
            method: "POST",
            path: "/api/checkout",
            query: "a=1&a=2&b=x+y%26z&c",
            headers: headers.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect(),
            body,
            source_ip: IpAddr::from([127, 0, 0, 1]),
            request_id: "request-1".to_owned(),
            now: Duration::from_millis(1_700_000_000_123),
        }
    }

    fn api<'a>(parameters: &'a BTreeMap<String, String>, jwt: Option<&'a Jwt>) -> Edge<'a> {
        Edge::Api { stage: "api", route_key: "POST /checkout", path_parameters: parameters, jwt }
    }

    #[test]
    fn an_event_of_the_api_says_who_asks_for_what() {
        let jwt = Jwt {
            claims: [("sub".to_owned(), "learner".to_owned())].into(),
            scopes: Some(vec!["coursegate/learn".to_owned()]),
        };
        let parameters = [("course".to_owned(), "a/b".to_owned())].into();
        let headers = [("content-type", "application/json"), ("user-agent", "curl/8")];
        let event = build(&incoming(&headers, b"{}"), &api(&parameters, Some(&jwt)));
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "POST /checkout");
        assert_eq!(event["rawPath"], "/api/checkout");
        assert_eq!(event["rawQueryString"], "a=1&a=2&b=x+y%26z&c");
        let query = json!({"a": "1,2", "b": "x y&z", "c": ""});
        assert_eq!(event["queryStringParameters"], query);
        assert_eq!(event["pathParameters"], json!({"course": "a/b"}));
        assert_eq!(event["body"], "{}");
        assert_eq!(event["isBase64Encoded"], false);
        let context = &event["requestContext"];
        assert_eq!(context["stage"], "api");
        assert_eq!(context["timeEpoch"], 1_700_000_000_123_u64);
        assert_eq!(context["time"], "14/Nov/2023:22:13:20 +0000");
        assert_eq!(context["http"]["userAgent"], "curl/8");
        let authorizer = json!({"jwt": {
            "claims": {"sub": "learner"}, "scopes": ["coursegate/learn"],
        }});
        assert_eq!(context["authorizer"], authorizer);
    }

    #[test]
    fn an_open_route_has_no_authorizer() {
        let event = build(&incoming(&[], b""), &api(&BTreeMap::new(), None));
        assert!(event["requestContext"].get("authorizer").is_none());
        assert!(event.get("body").is_none());
        assert!(event.get("pathParameters").is_none());
    }

    #[test]
    fn headers_are_joined_and_cookies_are_kept_apart() {
        let sent = [
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "x=1; y=2"),
            ("x-forwarded-for", "1.2.3.4"),
            ("host", "127.0.0.1:3000"),
        ];
        let event = build(&incoming(&sent, b""), &api(&BTreeMap::new(), None));
        assert_eq!(event["headers"]["accept"], "a,b");
        assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!(event["headers"]["host"], "localapi00.execute-api.us-east-1.amazonaws.com");
        assert!(event["headers"].get("cookie").is_none());
        assert_eq!(event["cookies"], json!(["x=1", "y=2"]));
    }

    #[test]
    fn a_body_that_is_not_text_is_base64() {
        let check = |content_type: &str, body: &[u8], expected: (&str, bool)| {
            let headers = [("content-type", content_type)];
            let event = build(&incoming(&headers, body), &Edge::FunctionUrl);
            let actual = (event["body"].as_str().unwrap(), event["isBase64Encoded"] == true);
            assert_eq!(actual, expected, "{content_type}");
        };
        check("application/json; charset=utf-8", b"{}", ("{}", false));
        check("application/problem+json", b"{}", ("{}", false));
        check("text/plain", b"hello", ("hello", false));
        check("application/octet-stream", b"{}", ("e30=", true));
        check("application/x-www-form-urlencoded", b"a=1", ("YT0x", true));
        check("application/json", b"\xff", ("/w==", true));
    }

    #[test]
    fn a_function_url_has_no_stage_and_no_route() {
        let event = build(&incoming(&[], b"{}"), &Edge::FunctionUrl);
        assert_eq!(event["routeKey"], "$default");
        assert_eq!(event["rawPath"], "/");
        assert_eq!(event["requestContext"]["stage"], "$default");
        let domain = event["requestContext"]["domainName"].as_str().unwrap();
        assert!(domain.ends_with(".lambda-url.us-east-1.on.aws"), "{domain}");
    }
}
