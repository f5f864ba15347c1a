//! Requests through API Gateway. The first line is the matched route; fields are `path.NAME`,
//! `query.NAME`, `claim.NAME` and `header.NAME`. Without a claim there is no token.

use std::sync::LazyLock;

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value};
use shared::domain::access::RefundThreshold;
use shared::domain::id::LearnerId;
use shared::dynamo::Table;
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::usecases::catalog::CatalogCache;
use simulation::clock::ManualClock;
use simulation::shop;

use crate::database::{Aws, LINK, OWNED, OWNER, catalog};
use crate::message::Message;
use crate::{NOW, answered, assert_problem, block_on};

const SITE_ORIGIN: &str = "https://learn.example.com";

fn clock() -> ManualClock {
    ManualClock::at(NOW.unix_seconds())
}

/// A table with the demo catalog and one learner who owns something.
fn aws() -> Aws {
    let aws = Aws::default();
    aws.reset();
    aws
}

/// Any request to the checkout function gets a response. Stripe is called only for known learners
/// and prices, and only items of the token's learner are written.
pub fn checkout(bytes: &[u8]) {
    thread_local! {
        static APP: (Aws, checkout::App<ManualClock>) = checkout_app();
    }
    let message = Message::parse(bytes);
    let Some(request) = request(&message) else { return };
    APP.with(|(aws, app)| {
        aws.reset();
        let response = block_on(checkout::handle(app, &request));
        if message.first.ends_with(" /go/{proxy+}") {
            assert_link(&message, &response, &aws.keys_written());
            return;
        }
        if message.first.starts_with("HEAD ") {
            // There is no body to check, and nothing is called or changed.
            assert!(response.status().as_u16() < 500, "{}", response.status());
            assert_eq!(aws.keys_written().len(), 0);
            return;
        }
        let (status, answer) = answered(&response);
        let learner = learner(&message);
        // Stripe's key is a placeholder here, so a request gets exactly as far as its first call to
        // Stripe.
        let asked = status == 503 && answer["type"] == "urn:coursegate:problem:unavailable";
        assert!(status < 500 || asked, "{status} {answer}");
        if asked {
            assert!(is_for_stripe(&message), "Stripe was asked: {answer}");
        }
        if status >= 400 {
            assert_problem(&response);
        } else {
            assert_eq!(status, 201, "{answer}");
            let url = answer["url"].as_str().unwrap();
            assert!(url.starts_with(SITE_ORIGIN), "{answer}");
        }
        for key in aws.keys_written() {
            let learner = learner.as_ref().expect("only a token's learner changes anything");
            let is_theirs = key == format!("LEARNER#{learner}") || key.starts_with("LINK#");
            assert!(is_theirs, "{key} is not of {learner}");
        }
        assert!(learner.is_some() || matches!(status, 401 | 403 | 404 | 422), "{status} {answer}");
    });
}

/// Any request for a link gets a response that reveals nothing about the learner. It writes only
/// items of that learner, and only to open a session, which fails at the first call to Stripe.
fn assert_link(message: &Message<'_>, response: &Response<Body>, keys_written: &[String]) {
    let (status, _) = answered(response);
    let (id, learner) = LINK;
    let said = format!("{:?} {:?}", response.headers(), response.body());
    assert!(!said.contains(learner) && !said.contains("<script"), "{said}");
    let is_known = message.field("path.proxy").is_some_and(|path| path.starts_with(id));
    let expected = match message.first.as_str() {
        "GET /go/{proxy+}" | "HEAD /go/{proxy+}" if is_known => 200,
        "POST /go/{proxy+}" if is_known => 503,
        _ => 404,
    };
    assert_eq!(status, expected, "{said}");
    if status == 503 {
        let expected = [format!("LINK#{id}"), format!("LEARNER#{learner}")];
        assert_eq!(keys_written, expected);
    } else {
        assert!(keys_written.is_empty(), "{keys_written:?}");
    }
}

pub(crate) fn checkout_app() -> (Aws, checkout::App<ManualClock>) {
    let aws = aws();
    let key = SecretCache::api_key(aws.secrets_manager(), "stripe-api-key".to_owned());
    let app = checkout::App {
        table: aws.table(),
        catalog: CatalogCache::new(aws.table()),
        stripe: StripeApi::new(None, shop(), key),
        site_origin: SITE_ORIGIN.to_owned(),
        shop: shop(),
        refund_threshold: RefundThreshold::ALL,
        clock: clock(),
    };
    (aws, app)
}

/// Whether this needs Stripe: a price on sale, or a session.
fn is_for_stripe(message: &Message<'_>) -> bool {
    match message.first.as_str() {
        "POST /checkout" | "POST /learners/{learner}/checkout" => {
            let body: Value = serde_json::from_slice(message.body).unwrap_or_default();
            let sold = catalog().catalog.prices().iter().map(|price| price.key.as_str());
            sold.into_iter().any(|price| body["price"] == price)
        }
        "POST /checkout/{session}/confirm"
        | "POST /learners/{learner}/checkout/{session}/confirm" => {
            message.field("path.session").is_some_and(|session| session.starts_with("cs_"))
        }
        _ => false,
    }
}

/// The learner that a request may be about: the token's own, or a service's path.
fn learner(message: &Message<'_>) -> Option<LearnerId> {
    let claims = ["claim.scope", "claim.scp"].map(|name| message.field(name).unwrap_or_default());
    // API Gateway passes a list on as `[a b]`.
    let has = |scope: &str| {
        claims.iter().any(|claim| {
            let list = claim.strip_prefix('[').and_then(|claim| claim.strip_suffix(']'));
            list.unwrap_or(claim).split(' ').any(|one| one == scope)
        })
    };
    if message.first.contains("/learners/{learner}/") {
        let learner = message.field("path.learner").filter(|_| has("coursegate/learners"))?;
        learner.parse().ok().filter(|learner| *learner != LearnerId::forgotten())
    } else {
        let subject = message.field("claim.sub").filter(|_| has("coursegate/learn"))?;
        let issuer = message.field("claim.iss").unwrap_or_default();
        LearnerId::of_subject(issuer, subject).ok()
    }
}

/// Any request to the entitlements function gets a response, from the catalog and the purchases of
/// one learner, whom the token may read. Nothing is written.
pub fn entitlements(bytes: &[u8]) {
    thread_local! {
        static APP: (Aws, entitlements::App<Table, ManualClock>) = entitlements_app();
    }
    let message = Message::parse(bytes);
    let Some(request) = request(&message) else { return };
    APP.with(|(aws, app)| {
        let response = block_on(entitlements::handle(app, &request));
        let (status, answer) = answered(&response);
        assert!(status < 500, "{status} {answer}");
        assert!(aws.keys_written().is_empty());
        if status != 200 {
            assert_problem(&response);
            return;
        }
        if message.first == "GET /courses" {
            return;
        }
        let learner = learner(&message).expect("only a token's learner gets a response about them");
        let owns = learner.as_str() == OWNER;
        if message.first.ends_with("/chapters/{chapter}") {
            assert_eq!(opened(&answer, owns), "granted", "{answer}");
            return;
        }
        assert_eq!(answer["tier"], if owns { "paid" } else { "free" }, "{learner}: {answer}");
        if message.first.ends_with("/entitlements") {
            assert_eq!(answer["learner"], learner.as_str());
        } else {
            assert_opened_as_bought(&answer, owns);
        }
    });
}

fn entitlements_app() -> (Aws, entitlements::App<Table, ManualClock>) {
    let aws = aws();
    let app = entitlements::App {
        access: aws.table(),
        catalog: CatalogCache::new(aws.table()),
        content: crate::database::content_links(),
        refund_threshold: RefundThreshold::ALL,
        clock: clock(),
    };
    (aws, app)
}

/// An open course is free or bought.
fn assert_opened_as_bought(answer: &Value, owns: bool) {
    assert_eq!(answer["access"], opened(answer, owns), "{answer}");
}

/// The required properties of this response about a course or chapter.
pub(crate) fn opened(answer: &Value, owns: bool) -> &'static str {
    let course = answer["course"].as_str().unwrap().parse().unwrap();
    let course = catalog().catalog.course(&course).expect("an existing course");
    let chapter = answer["chapter"].as_u64().map(|chapter| usize::try_from(chapter).unwrap());
    let bought = owns && course.id.as_str() == OWNED;
    if bought || course.is_free(chapter) { "granted" } else { "denied" }
}

/// The event from API Gateway; none if it would not pass the request on.
pub(crate) fn request(message: &Message<'_>) -> Option<Request> {
    static ENVELOPE: LazyLock<Value> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../events/checkout/checkout.json")).unwrap()
    });
    let mut event = ENVELOPE.clone();
    event["routeKey"] = message.first.as_str().into();
    let map = |kind: &str| -> Map<String, Value> {
        message.fields_of(kind).map(|(name, value)| (name.to_owned(), value.into())).collect()
    };
    event["pathParameters"] = map("path").into();
    event["queryStringParameters"] = map("query").into();
    let headers = event["headers"].as_object_mut().unwrap();
    headers.extend(map("header"));
    let context = event["requestContext"].as_object_mut().unwrap();
    context.insert("routeKey".to_owned(), message.first.as_str().into());
    let method = message.first.split(' ').next().unwrap_or_default();
    context["http"]["method"] = method.into();
    let claims = map("claim");
    if claims.is_empty() {
        context.remove("authorizer");
    } else {
        context["authorizer"]["jwt"]["claims"] = claims.into();
    }
    if let Ok(text) = std::str::from_utf8(message.body) {
        event["body"] = text.into();
    } else {
        event["body"] = aws_smithy_types::base64::encode(message.body).into();
        event["isBase64Encoded"] = true.into();
    }
    lambda_http::request::from_str(&event.to_string()).ok()
}
