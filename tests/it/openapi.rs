//! The OpenAPI document against the template and the handlers: it has every route with its scopes,
//! and every response of the handlers.

use std::collections::BTreeSet;

use jsonschema::Validator;
use lambda_http::{Body, Response};
use local::template::Access;
use serde_json::{Value, json};
use shared::domain::access::EffectiveStatus;
use shared::domain::facts::{DisputeStatus, OperatorAction, PaymentStatus, RefundStatus};
use shared::domain::time::Timestamp;
use shared::domain::why::{Effect, Fact};
use tests::requests::{Who, answer, api, learner, text};
use tests::world::{World, root, template};

use crate::template::WEBHOOK;

pub(crate) fn document() -> Value {
    let text = std::fs::read_to_string(root().join("docs/openapi.yaml")).unwrap();
    serde_norway::from_str(&text).unwrap()
}

/// Follows a reference within the document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

/// A route as the document writes it: its variable has another name there.
fn documented(route: &str) -> String {
    route.replace("/go/{proxy+}", "/go/{link}")
}

fn operation<'a>(document: &'a Value, route: &str) -> &'a Value {
    let route = documented(route);
    let (method, path) = route.split_once(' ').unwrap();
    &document["paths"][path][method.to_lowercase()]
}

/// Every route of the document, with its scopes.
fn routes(document: &Value) -> BTreeSet<(String, Vec<String>)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| {
            let scopes = operation["security"][0]["token"].as_array();
            let scopes = scopes.into_iter().flatten().map(|scope| scope.as_str().unwrap().into());
            (format!("{} {path}", method.to_uppercase()), scopes.collect())
        })
    });
    operations.collect()
}

#[test]
fn document_template_and_functions_agree_on_routes() {
    let declared: BTreeSet<(String, Vec<String>)> = template()
        .functions
        .iter()
        .flat_map(|function| &function.routes)
        // Stripe's deliveries are Stripe's to describe.
        .filter(|route| route.key() != WEBHOOK)
        .map(|route| {
            let scopes = match &route.access {
                Access::Open => Vec::new(),
                Access::Token { scopes } => scopes.clone(),
            };
            (documented(&route.key()), scopes)
        })
        .collect();
    assert_eq!(routes(&document()), declared);
    let keys: BTreeSet<String> = declared.into_iter().map(|(key, _)| key).collect();
    let dispatched: BTreeSet<String> = [entitlements::ROUTES, checkout::ROUTES, tutor::ROUTES]
        .concat()
        .into_iter()
        .map(documented)
        .collect();
    assert_eq!(keys, dispatched);
}

#[test]
fn every_parameter_of_a_path_is_described() {
    let document = document();
    for (route, _) in routes(&document) {
        let parameters = operation(&document, &route)["parameters"].as_array();
        let described: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .map(|parameter| resolve(&document, parameter))
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let named: BTreeSet<&str> =
            route.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(described, named, "{route}");
    }
}

#[test]
fn every_route_for_services_documents_unusable_learners() {
    let document = document();
    let routes = routes(&document).into_iter().filter(|(route, _)| route.contains("{learner}"));
    for (route, _) in routes {
        let responses = &operation(&document, &route)["responses"];
        assert!(responses["422"].is_object(), "{route} answers 422 if the learner is unusable");
    }
}

/// Checks a response against the document.
pub(crate) fn check(document: &Value, route: &str, response: &Response<Body>) {
    let (status, body) = answer(response);
    let described = &operation(document, route)["responses"][status.to_string()];
    assert!(!described.is_null(), "{route} answers {status}, which is not in the document: {body}");
    let described = resolve(document, described);
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let required = header["required"] == json!(true);
        assert!(!required || response.headers().contains_key(name), "{route} {status} {name}");
    }
    let Some(contents) = described["content"].as_object() else {
        assert_eq!(body, Value::Null, "{route} {status}");
        return;
    };
    let content_type = response.headers()["content-type"].to_str().unwrap();
    let content_type = content_type.split(';').next().unwrap();
    let schema = contents.get(content_type).expect(content_type)["schema"].clone();
    let body = if content_type.starts_with("text/") { text(response).into() } else { body };
    let mut whole = schema;
    whole["components"] = document["components"].clone();
    let validator: Validator = jsonschema::draft202012::new(&whole).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{route} {status}: {errors:?} in {body}");
}

#[tokio::test]
async fn every_handler_response_is_in_the_document() {
    let document = document();
    let world = World::new().await;
    let grace = learner("grace");
    let paid = world.buy(&grace).await;
    world.pay(&paid).await;
    let open = world.buy(&learner("ada")).await;
    let sepa = world.buy(&learner("dora")).await;
    world.pay_by_debit(&sepa).await;

    let asked = questions(&paid, &open, &sepa)
        .into_iter()
        .chain(questions_about_chapters())
        .chain(questions_about_service_sessions());
    for (route, target, who, body, expected) in asked {
        let request = api(route, &target, &who, body);
        let response = if entitlements::ROUTES.contains(&route) {
            entitlements::handle(&world.entitlements(), &request).await
        } else {
            checkout::handle(&*world.checkout(), &request).await
        };
        assert_eq!(response.status(), expected, "{route} {target}");
        check(&document, route, &response);
    }
    // Rate-limited, on both routes.
    for _ in 0..21 {
        let request = api("POST /checkout", "/checkout", &learner("eve"), PRICE);
        check(&document, "POST /checkout", &checkout::handle(&*world.checkout(), &request).await);
    }
}

#[tokio::test]
async fn failure_responses_are_in_the_document() {
    let document = document();
    let mut world = World::new().await;
    let (ada, service) = (learner("ada"), Who::Service);
    let ask = async |world: &World, route: &str, target: &str, who: &Who, body| {
        let request = api(route, target, who, body);
        let response = if entitlements::ROUTES.contains(&route) {
            entitlements::handle(&world.entitlements(), &request).await
        } else {
            checkout::handle(&*world.checkout(), &request).await
        };
        check(&document, route, &response);
        (response.status().as_u16(), answer(&response).1)
    };
    let upgrade = "POST /learners/{learner}/upgrade-link";
    let (_, link) = ask(&world, upgrade, "/learners/x-7/upgrade-link", &service, PRICE).await;
    let go = link["url"].as_str().unwrap().split_once("/api").unwrap().1.to_owned();
    for (method, expected) in [("GET", 200), ("HEAD", 200), ("POST", 303)] {
        let route = format!("{method} /go/{{proxy+}}");
        assert_eq!(ask(&world, &route, &go, &Who::Anyone, None).await.0, expected, "{route}");
    }
    let chapter = "GET /courses/{course}/chapters/{chapter}";
    let large = "x".repeat(20_000);
    assert_eq!(ask(&world, "POST /checkout", "/checkout", &ada, Some(&large)).await.0, 413);
    let target = "/learners/x-7/upgrade-link";
    assert_eq!(ask(&world, upgrade, target, &service, Some(&large)).await.0, 413);

    let service_checkout = "POST /learners/{learner}/checkout";
    let target = "/learners/x-7/checkout";
    assert_eq!(ask(&world, service_checkout, target, &service, Some(&large)).await.0, 413);

    let everything = [
        ("POST /checkout", "/checkout", &ada, PRICE),
        (service_checkout, "/learners/ada/checkout", &service, PRICE),
        ("POST /checkout/{session}/confirm", "/checkout/cs_test_1/confirm", &ada, None),
        (
            "POST /learners/{learner}/checkout/{session}/confirm",
            "/learners/ada/checkout/cs_test_1/confirm",
            &service,
            None,
        ),
        (upgrade, "/learners/ada/upgrade-link", &service, PRICE),
        ("POST /go/{proxy+}", &go, &Who::Anyone, None),
        ("GET /entitlements", "/entitlements", &ada, None),
        ("GET /learners/{learner}/entitlements", "/learners/ada/entitlements", &service, None),
        ("GET /courses/{course}/access", "/courses/tutorclaw/access", &ada, None),
        (
            "GET /learners/{learner}/courses/{course}/access",
            "/learners/ada/courses/tutorclaw/access",
            &service,
            None,
        ),
        (chapter, "/courses/tutorclaw/chapters/6", &ada, None),
        ("GET /courses", "/courses", &Who::Anyone, None),
        ("GET /go/{proxy+}", &go, &Who::Anyone, None),
        ("HEAD /go/{proxy+}", &go, &Who::Anyone, None),
    ];
    // Stripe refuses the key.
    world.secrets.set_current(tests::world::API_KEY_ID, "sk_live_of_another_mode").unwrap();
    for (route, target, who, body) in &everything[..3] {
        assert_eq!(ask(&world, route, target, who, *body).await.0, 500, "{route}");
    }
    // The learner's access can't be read, then the catalog.
    world.spoil("LEARNER#ada", "ACCESS", "pi_1").await;
    for (route, target, who, body) in [0, 3, 5, 6, 7, 8, 9].map(|index| &everything[index]) {
        assert_eq!(ask(&world, route, target, who, *body).await.0, 500, "{route}");
    }
    world.spoil("CATALOG", "CURRENT", "document").await;
    for (route, target, who, body) in &everything[10..] {
        assert_eq!(ask(&world, route, target, who, *body).await.0, 500, "{route}");
    }
    // Nothing responds any more.
    world.stop_servers().await;
    for (route, target, who, body) in everything {
        assert_eq!(ask(&world, route, target, who, body).await.0, 503, "{route}");
    }
}

const PRICE: Option<&str> = Some(r#"{"price": "tutorclaw_paid"}"#);

/// A request and the status of its response: route, target, caller, body, status.
type Question = (&'static str, String, Who, Option<&'static str>, u16);

/// Every kind of response that needs no fault, given three sessions: grace has paid hers, ada's is
/// open, dora's bank debit is processing.
fn questions(paid: &str, open: &str, sepa: &str) -> Vec<Question> {
    let grace = learner("grace");
    let service = Who::Service;
    let access = "GET /courses/{course}/access";
    let confirm = "POST /checkout/{session}/confirm";
    let of_learner = "POST /learners/{learner}/checkout/{session}/confirm";
    let link = "POST /learners/{learner}/upgrade-link";
    let confirm_paid = format!("/checkout/{paid}/confirm");
    let confirm_open = format!("/checkout/{open}/confirm");
    let confirm_sepa = format!("/checkout/{sepa}/confirm");
    let confirm_as_service = format!("/learners/grace{confirm_paid}");
    [
        (confirm, confirm_paid.as_str(), grace.clone(), None, 200),
        (confirm, confirm_open.as_str(), learner("ada"), None, 200),
        (confirm, confirm_sepa.as_str(), learner("dora"), None, 200),
        (confirm, confirm_open.as_str(), grace.clone(), None, 404),
        (confirm, confirm_open.as_str(), Who::Anyone, None, 401),
        (confirm, confirm_open.as_str(), service.clone(), None, 403),
        (of_learner, confirm_as_service.as_str(), service.clone(), None, 200),
        (of_learner, "/learners/a%20b/checkout/cs_1/confirm", service.clone(), None, 422),
        ("GET /courses", "/courses", Who::Anyone, None, 200),
        ("GET /entitlements", "/entitlements", grace.clone(), None, 200),
        ("GET /entitlements", "/entitlements", learner("dora"), None, 200),
        ("GET /entitlements", "/entitlements", Who::Anyone, None, 401),
        ("GET /entitlements", "/entitlements", service.clone(), None, 403),
        (
            "GET /learners/{learner}/entitlements",
            "/learners/ada/entitlements",
            service.clone(),
            None,
            200,
        ),
        (
            "GET /learners/{learner}/entitlements",
            "/learners/a.b/entitlements",
            service.clone(),
            None,
            422,
        ),
        (access, "/courses/tutorclaw/access?chapter=5", learner("ada"), None, 200),
        (access, "/courses/tutorclaw/access?chapter=6", learner("ada"), None, 200),
        (access, "/courses/tutorclaw/access", grace.clone(), None, 200),
        (access, "/courses/tutorclaw/access?chapter=x", grace.clone(), None, 422),
        (access, "/courses/tutorclaw/access?chapter=99", grace.clone(), None, 404),
        (access, "/courses/nothing/access", grace.clone(), None, 404),
        (
            "GET /learners/{learner}/courses/{course}/access",
            "/learners/ada/courses/tutorclaw/access?chapter=6",
            service.clone(),
            None,
            200,
        ),
        ("POST /checkout", "/checkout", learner("bob"), PRICE, 201),
        ("POST /checkout", "/checkout", learner("bob"), PRICE, 200),
        ("POST /checkout", "/checkout", learner("bob"), Some("{"), 400),
        ("POST /checkout", "/checkout", learner("bob"), Some("{}"), 422),
        ("POST /checkout", "/checkout", learner("bob"), Some(r#"{"price": "none"}"#), 404),
        ("POST /checkout", "/checkout", grace.clone(), PRICE, 409),
        ("POST /checkout", "/checkout", learner("dora"), PRICE, 409),
        (link, "/learners/x-7/upgrade-link", service.clone(), PRICE, 201),
        (link, "/learners/grace/upgrade-link", service.clone(), PRICE, 409),
        (link, "/learners/x-7/upgrade-link", learner("x-7"), PRICE, 403),
        ("GET /go/{proxy+}", "/go/none", Who::Anyone, None, 404),
        ("HEAD /go/{proxy+}", "/go/none", Who::Anyone, None, 404),
        ("POST /go/{proxy+}", "/go/none", Who::Anyone, None, 404),
    ]
    .map(|(route, target, who, body, expected)| (route, target.to_owned(), who, body, expected))
    .into()
}

/// The same about sessions that a service opens.
fn questions_about_service_sessions() -> impl Iterator<Item = Question> {
    let answers = [
        ("x-8", Who::Service, PRICE, 201),
        ("x-8", Who::Service, PRICE, 200),
        ("x-8", Who::Service, Some("{"), 400),
        ("x-8", Who::Service, Some("{}"), 422),
        ("x-8", Who::Service, Some(r#"{"price": "none"}"#), 404),
        ("grace", Who::Service, PRICE, 409),
        ("x-8", learner("x-8"), PRICE, 403),
        ("x-8", Who::Anyone, PRICE, 401),
    ];
    answers.into_iter().map(|(of, who, body, expected)| {
        let target = format!("/learners/{of}/checkout");
        ("POST /learners/{learner}/checkout", target, who, body, expected)
    })
}

/// The same about chapters.
fn questions_about_chapters() -> impl Iterator<Item = Question> {
    let answers = [
        ("6", learner("grace"), 200),
        ("5", learner("ada"), 200),
        ("6", learner("ada"), 403),
        ("6", learner("dora"), 403),
        ("6", Who::Service, 403),
        ("6", Who::Anyone, 401),
        ("six", learner("grace"), 404),
    ];
    answers.into_iter().map(|(chapter, who, expected)| {
        let target = format!("/courses/tutorclaw/chapters/{chapter}");
        ("GET /courses/{course}/chapters/{chapter}", target, who, None, expected)
    })
}

/// Every value, from the first to the one without a successor.
fn all<T: Copy>(first: T, next: impl Fn(T) -> Option<T>) -> Vec<T> {
    std::iter::successors(Some(first), |it| next(*it)).collect()
}

/// Every status of a source.
fn effective_statuses() -> Vec<EffectiveStatus> {
    use EffectiveStatus::{
        Active, DisputeLost, Ended, Failed, Processing, Refunded, Revoked, Suspended,
    };
    all(Active, |it| match it {
        Active => Some(Ended),
        Ended => Some(Processing),
        Processing => Some(Failed),
        Failed => Some(Refunded),
        Refunded => Some(Suspended),
        Suspended => Some(DisputeLost),
        DisputeLost => Some(Revoked),
        Revoked => None,
    })
}

/// Every fact in `why`.
fn facts() -> Vec<Fact> {
    let payments = all(PaymentStatus::Processing, |it| match it {
        PaymentStatus::Processing => Some(PaymentStatus::Failed),
        PaymentStatus::Failed => Some(PaymentStatus::Paid),
        PaymentStatus::Paid => None,
    });
    let refunds = all(RefundStatus::Pending, |it| match it {
        RefundStatus::Pending => Some(RefundStatus::RequiresAction),
        RefundStatus::RequiresAction => Some(RefundStatus::Succeeded),
        RefundStatus::Succeeded => Some(RefundStatus::Canceled),
        RefundStatus::Canceled => Some(RefundStatus::Failed),
        RefundStatus::Failed => None,
    });
    let disputes = all(DisputeStatus::Inquiry, |it| match it {
        DisputeStatus::Inquiry => Some(DisputeStatus::InquiryClosed),
        DisputeStatus::InquiryClosed => Some(DisputeStatus::Open),
        DisputeStatus::Open => Some(DisputeStatus::Won),
        DisputeStatus::Won => Some(DisputeStatus::Blocked),
        DisputeStatus::Blocked => Some(DisputeStatus::Lost),
        DisputeStatus::Lost => Some(DisputeStatus::Resolved),
        DisputeStatus::Resolved => Some(DisputeStatus::Appealed),
        DisputeStatus::Appealed => None,
    });
    let action = OperatorAction {
        at: Timestamp::from_unix_seconds(1),
        by: "grace".parse().unwrap(),
        reason: "a prize".parse().unwrap(),
    };
    let by_hand =
        [Fact::Given(action.clone()), Fact::Revoked(action), Fact::Ended, Fact::Forgotten];
    let payments = payments.into_iter().map(|status| Fact::Payment(status, None));
    let refunds = refunds.into_iter().map(|status| Fact::Refund(status, None, 0));
    let disputes = disputes.into_iter().map(Fact::Dispute);
    payments.chain(refunds).chain(disputes).chain(by_hand).collect()
}

#[test]
fn the_document_lists_each_status_fact_and_effect_and_no_other() {
    let document = document();
    let listed = |path: &str| -> BTreeSet<String> {
        let values = document.pointer(&format!("/components/schemas/{path}/enum"));
        let values = values.and_then(Value::as_array).expect(path);
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let statuses: Vec<&str> = effective_statuses().into_iter().map(EffectiveStatus::name).collect();
    assert_eq!(listed("Status"), named(&statuses));
    // To a learner who has just paid, `active` means paid.
    let became = statuses.iter().copied().filter(|name| *name != EffectiveStatus::Active.name());
    let confirmed: Vec<&str> = became.chain(["open", "paid", "expired"]).collect();
    assert_eq!(listed("Confirmation/properties/status"), named(&confirmed));
    let facts = facts();
    let facts: Vec<&str> = facts.iter().map(Fact::name).collect();
    assert_eq!(listed("Fact/properties/fact"), named(&facts));
    let effects = all(Effect::Opens, |it| match it {
        Effect::Opens => Some(Effect::Suspends),
        Effect::Suspends => Some(Effect::Closes),
        Effect::Closes => Some(Effect::Restores),
        Effect::Restores => Some(Effect::Nothing),
        Effect::Nothing => None,
    });
    let effects: Vec<&str> = effects.into_iter().map(Effect::name).collect();
    assert_eq!(listed("Fact/properties/effect"), named(&effects));
}
