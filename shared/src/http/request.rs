//! Reading requests: the route that API Gateway matched, the caller that its authorizer verified,
//! and a body of limited size without unknown fields.

use std::str::FromStr;

use lambda_http::http::header::ACCEPT;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{Problem, ProblemKind};
use crate::domain::id::{IdError, LearnerId};

/// The scope of a learner's token.
const LEARN: &str = "coursegate/learn";
/// The scope of a service's token.
const LEARNERS: &str = "coursegate/learners";

/// The claims with a token's scopes. Okta and Microsoft Entra write `scp`.
const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];

/// The types that a client names in `Accept` when it wants data, and when it wants a page.
const DATA: [&str; 2] = ["application/json", "application/problem+json"];
const PAGE: [&str; 2] = ["text/html", "application/xhtml+xml"];

/// The largest JSON body. Those of our own routes have one or two fields.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Who a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A learner, who acts for themselves.
    Learner,
    /// A service, which names the learner in the path.
    Service,
}

/// Who calls a route that both may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A service, which names the learner in what it sends.
    Service,
    /// A learner, who acts for themselves.
    Learner(LearnerId),
}

/// The learner whom a service names.
pub fn named_learner(text: &str) -> Result<LearnerId, Problem> {
    let learner: LearnerId = text
        .parse()
        .map_err(|error: IdError| Problem::new(ProblemKind::InvalidField, format!("{error}.")))?;
    if learner == LearnerId::forgotten() {
        let detail = format!("{learner} is the id of erased learners. Use another one.");
        return Err(Problem::new(ProblemKind::InvalidField, detail));
    }
    Ok(learner)
}

/// A request that came through API Gateway.
pub struct Incoming<'a> {
    request: &'a Request,
    context: Option<RequestContext>,
}

impl<'a> Incoming<'a> {
    /// Wraps a request.
    #[must_use]
    pub fn new(request: &'a Request) -> Self {
        Self { request, context: request.request_context_ref().cloned() }
    }

    /// The route that API Gateway matched, such as `GET /courses/{course}/access`. The path isn't
    /// used, because it contains the stage or a custom domain's mapping.
    #[must_use]
    pub fn route_key(&self) -> &str {
        match &self.context {
            Some(RequestContext::ApiGatewayV2(context)) => {
                context.route_key.as_deref().unwrap_or_default()
            }
            _ => "",
        }
    }

    /// API Gateway's id of the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match &self.context {
            Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
            _ => None,
        }
    }

    /// The learner that the request is about. A client can't choose who that is: it is a claim of
    /// the verified token, or in a path that needs a service's token.
    pub fn learner(&self, caller: Caller) -> Result<LearnerId, Problem> {
        match caller {
            Caller::Learner => {
                self.require_scope(&[LEARN])?;
                self.subject()
            }
            Caller::Service => {
                self.require_scope(&[LEARNERS])?;
                named_learner(self.path("learner"))
            }
        }
    }

    /// Who calls a route that both learners and services may call. A token with both scopes is a
    /// learner's: somebody signed in for it, and they may not act for others.
    pub fn identity(&self) -> Result<Identity, Problem> {
        if self.require_scope(&[LEARN, LEARNERS])? == LEARN {
            Ok(Identity::Learner(self.subject()?))
        } else {
            Ok(Identity::Service)
        }
    }

    /// The first of these scopes that the token has. API Gateway has checked this already. A route
    /// that was deployed without an authorizer's scope must not be open.
    fn require_scope(&self, scopes: &[&'static str]) -> Result<&'static str, Problem> {
        let granted = self.scopes().ok_or_else(|| {
            Problem::new(ProblemKind::Unauthorized, "Send an access token as a bearer token.")
        })?;
        scopes.iter().find(|scope| granted.contains(scope)).copied().ok_or_else(|| {
            let scopes = scopes.join(" or ");
            let detail = format!("This route needs a token with the scope {scopes}.");
            Problem::new(ProblemKind::Forbidden, detail)
        })
    }

    /// The learner whose token it is.
    fn subject(&self) -> Result<LearnerId, Problem> {
        let issuer = self.claim("iss").unwrap_or_default();
        let subject = self.claim("sub").unwrap_or_default();
        LearnerId::of_subject(issuer, subject).map_err(|_empty| {
            let detail = "The access token has no sub claim, so it names no learner.";
            Problem::new(ProblemKind::Forbidden, detail)
        })
    }

    /// The tracing span of this request. It adds the request's id and route to every log line.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!("request", request.id = self.request_id(), route = self.route_key())
    }

    /// The learner that the request is about, if known.
    #[must_use]
    pub fn learner_for_logs(&self) -> Option<LearnerId> {
        self.learner(Caller::Service).or_else(|_| self.learner(Caller::Learner)).ok()
    }

    /// The scopes of the token; none if it isn't an access token. API Gateway accepts a scope in
    /// either claim, and passes a claim that is a list on as `[a b]`.
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
    fn scopes(&self) -> Option<Vec<&str>> {
        let claims: Vec<&str> =
            SCOPE_CLAIMS.into_iter().filter_map(|name| self.claim(name)).collect();
        let items = |text| {
            let list = str::strip_prefix(text, '[').and_then(|text| text.strip_suffix(']'));
            list.unwrap_or(text).split(' ')
        };
        (!claims.is_empty()).then(|| claims.into_iter().flat_map(items).collect())
    }

    fn claim(&self, name: &str) -> Option<&str> {
        match &self.context {
            Some(RequestContext::ApiGatewayV2(context)) => {
                let claims = &context.authorizer.as_ref()?.jwt.as_ref()?.claims;
                claims.get(name).map(String::as_str)
            }
            _ => None,
        }
    }

    /// A path parameter, by its name in the route; empty if there is none.
    #[must_use]
    pub fn path(&self, name: &str) -> &str {
        let parameters = self.request.path_parameters_ref();
        parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default()
    }

    /// Whether the client prefers JSON to a page: its `Accept` names JSON, and HTML not at all or
    /// with a lower quality. Browsers, and the clients that preview links, never do.
    /// <https://www.rfc-editor.org/rfc/rfc9110#name-accept>
    #[must_use]
    pub fn prefers_json(&self) -> bool {
        let accept = self.request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let accept = accept.unwrap_or_default();
        quality(accept, DATA) > quality(accept, PAGE)
    }

    /// A query parameter, parsed; `None` if it wasn't given. The error says that it must be `rule`.
    pub fn query<T: FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, Problem> {
        let parameters = self.request.query_string_parameters_ref();
        let Some(text) = parameters.and_then(|parameters| parameters.first(name)) else {
            return Ok(None);
        };
        text.parse().ok().map(Some).ok_or_else(|| {
            Problem::new(ProblemKind::InvalidField, format!("{name} must be {rule}."))
        })
    }

    /// The JSON body.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let value: Value = self.json()?;
        if !value.is_object() {
            return Err(Problem::new(ProblemKind::InvalidField, "Send a JSON object."));
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            let (field, reason) = (error.path().to_string(), error.inner());
            // If a field is unknown or missing, the reason names it.
            let detail =
                if field == "." { format!("{reason}.") } else { format!("{field}: {reason}.") };
            Problem::new(ProblemKind::InvalidField, detail)
        })
    }

    /// Checks a body that somebody else reads: its size, and that it is JSON.
    pub fn body_is_json(&self) -> Result<(), Problem> {
        self.json::<Value>().map(|_| ())
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes: &[u8] = match self.request.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            Body::Empty | _ => &[],
        };
        if bytes.len() > BODY_BYTES_MAX {
            let detail = format!("Send at most {BODY_BYTES_MAX} bytes.");
            return Err(Problem::new(ProblemKind::BodyTooLarge, detail));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::new(ProblemKind::MalformedJson, format!("{error}.")))
    }
}

/// The highest quality that an `Accept` header gives one of these types by name; 0 if it has none.
fn quality(accept: &str, types: [&str; 2]) -> f32 {
    let qualities = accept.split(',').filter_map(|range| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        types.iter().find(|kind| kind.eq_ignore_ascii_case(name.trim()))?;
        let mut parameters = parameters.split(';').map(str::trim);
        let quality = parameters.find_map(|parameter| parameter.strip_prefix("q="));
        Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
    });
    qualities.fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_ask_get_json_and_everyone_else_a_page() {
        let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                      image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
        for (accept, prefers_json) in [
            (None, false),
            (Some(""), false),
            (Some("*/*"), false),
            (Some("application/*"), false),
            (Some(chrome), false),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/problem+json"), true),
            (Some("application/json, text/plain, */*"), true),
            (Some("application/json, text/html"), false),
            (Some("application/json;q=0.5, text/html;q=0.4"), true),
            (Some("text/html, application/json;q=0.9"), false),
            (Some("application/json;q=0"), false),
            (Some("application/json;q=much"), false),
            (Some("application/jsonp"), false),
        ] {
            let mut request = Request::new(Body::Empty);
            if let Some(accept) = accept {
                request.headers_mut().insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Incoming::new(&request).prefers_json(), prefers_json, "{accept:?}");
        }
    }
}
