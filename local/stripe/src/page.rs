//! The hosted checkout page: what a buyer sees at a session's `url`. Plain forms, no script.

mod html;
mod money;

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, response::Html};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::cards::TestCard;
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::payments::{self, Authentication, Buyer, Payment, Settlement};
use crate::resources::checkout_sessions::{self, session_details};
use crate::resources::payment_methods::Method;
use crate::state::{Call, Core, Origin};
use crate::store::Kind;

type Shared = State<Arc<Core>>;

pub(crate) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/c/style.css", get(style))
        .route("/c/pay/{id}", get(show).post(pay))
        .route("/c/pay/{id}/authenticate", get(who_pays).post(authenticate))
        .route("/c/pay/{id}/settle", post(settle))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page/style.css"))
        .into_response()
}

/// The fields of the page's form. None is required here: the page says what is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entered {
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) method: String,
    card_number: String,
    card_expiry: String,
    card_cvc: String,
    iban: String,
}

/// A problem with the entered data.
pub(crate) struct Problem {
    /// The name of the form field, or "".
    pub(crate) field: &'static str,
    pub(crate) message: String,
}

async fn show(State(core): Shared, Path(session): Path<String>) -> Response {
    let (status, page) = render(&core, &session, &Entered::default(), None);
    respond(status, page)
}

async fn pay(
    State(core): Shared,
    Path(session): Path<String>,
    Form(entered): Form<Entered>,
) -> Response {
    let origin = Origin { request: Some(id::request()), idempotency_key: None };
    let paid = core.transact(origin, |call| Ok(attempt(call, &session, &entered)));
    lead_on(&core, &session, &entered, paid.unwrap_or_else(|error| Err(whole(&error))))
}

/// Redirects to where the payment continues, or shows the form again with the problem.
fn lead_on(
    core: &Core,
    session: &str,
    entered: &Entered,
    outcome: Result<String, Problem>,
) -> Response {
    let problem = match outcome {
        Ok(url) => return no_store(Redirect::to(&url).into_response()),
        Err(problem) => problem,
    };
    let (status, page) = render(core, session, entered, Some(&problem));
    // A session that can't be paid has its own page, which says so.
    let status = if status == StatusCode::OK { StatusCode::PAYMENT_REQUIRED } else { status };
    respond(status, page)
}

/// Pays with the entered data, and returns where to continue.
fn attempt(call: &mut Call<'_>, id: &str, entered: &Entered) -> Result<String, Problem> {
    let session = checkout_sessions::find(call, id).map_err(|error| whole(&error))?;
    let method = read_method(entered, session.integer("amount_total") == 0, call.now)?;
    let known_email = session.field("customer_details").text("email");
    let email = entered.email.trim();
    if known_email.is_empty() && !email.contains('@') {
        return Err(Problem { field: "email", message: "Enter your email address.".to_owned() });
    }
    // A prefilled email address can't be changed.
    let email = if known_email.is_empty() { email } else { known_email };
    let buyer = Buyer { email, name: entered.name.trim() };
    whither(id, payments::pay(call, id, method, &buyer))
}

/// A problem that isn't about one field.
fn whole(error: &ApiError) -> Problem {
    Problem { field: "", message: error.message().to_owned() }
}

/// Where to continue after an attempt to pay.
fn whither(id: &str, payment: Result<Payment, ApiError>) -> Result<String, Problem> {
    match payment.map_err(|error| whole(&error))? {
        Payment::Completed(session) => Ok(success_url(&session)),
        Payment::Declined(error) => {
            Err(Problem { field: field_of(&error), message: error.message().to_owned() })
        }
        Payment::Asked => Ok(format!("/c/pay/{id}/authenticate")),
    }
}

/// The 3D Secure challenge, which Stripe shows as a window over the page.
async fn who_pays(State(core): Shared, Path(session): Path<String>) -> Response {
    let asked = core.transact(Origin::default(), |call| {
        let session = checkout_sessions::find(call, &session)?;
        let intent = call.store.get(Kind::PaymentIntent, session.text("payment_intent"));
        let is_asked = intent.is_some_and(|intent| intent.text("status") == "requires_action");
        Ok(is_asked.then_some(session))
    });
    match asked {
        Ok(Some(session)) => respond(StatusCode::OK, html::who_pays(&session)),
        Ok(None) | Err(_) => no_store(Redirect::to(&format!("/c/pay/{session}")).into_response()),
    }
}

#[derive(Deserialize)]
struct AuthenticateForm {
    outcome: Authentication,
}

async fn authenticate(
    State(core): Shared,
    Path(session): Path<String>,
    Form(form): Form<AuthenticateForm>,
) -> Response {
    let origin = Origin { request: Some(id::request()), idempotency_key: None };
    let paid = core.transact(origin, |call| {
        Ok(whither(&session, payments::authenticate(call, &session, form.outcome)))
    });
    let outcome = paid.unwrap_or_else(|error| Err(whole(&error)));
    lead_on(&core, &session, &Entered::default(), outcome)
}

fn field_of(error: &ApiError) -> &'static str {
    match error.fields().text("code") {
        "expired_card" => "card_expiry",
        "incorrect_cvc" => "card_cvc",
        _ => "card_number",
    }
}

fn read_method(entered: &Entered, free: bool, now: i64) -> Result<Option<Method>, Problem> {
    if free {
        return Ok(None);
    }
    if entered.method == "sepa_debit" {
        let iban: String =
            entered.iban.chars().filter(|character| !character.is_whitespace()).collect();
        if iban.len() < 15 || !iban.chars().all(|character| character.is_ascii_alphanumeric()) {
            return Err(Problem {
                field: "iban",
                message: "Enter an IBAN such as DE89 3704 0044 0532 0130 00.".to_owned(),
            });
        }
        return Ok(Some(Method::SepaDebit));
    }
    let card = TestCard::find(&entered.card_number).map_err(|error| Problem {
        field: "card_number",
        message: format!("{} Use one of the test cards.", error.message()),
    })?;
    check_expiry(&entered.card_expiry, now)?;
    let cvc = entered.card_cvc.trim();
    if !(3..=4).contains(&cvc.len()) || !cvc.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem {
            field: "card_cvc",
            message: "Enter three digits, any will do.".to_owned(),
        });
    }
    Ok(Some(Method::Card(card)))
}

/// `12 / 34`, `12/2034` or `1234`, and not in the past.
fn check_expiry(entered: &str, now: i64) -> Result<(), Problem> {
    let problem = |message: &str| Problem { field: "card_expiry", message: message.to_owned() };
    let digits: String = entered.chars().filter(char::is_ascii_digit).collect();
    let parsed = digits.split_at_checked(2).and_then(|(month, year)| {
        let month: u8 = month.parse().ok()?;
        let year: i32 = year.parse().ok()?;
        let year = match digits.len() {
            4 => year + 2000,
            6 => year,
            _ => return None,
        };
        (1..=12).contains(&month).then_some((year, month))
    });
    let Some(expiry) = parsed else {
        return Err(problem("Enter month and year, such as 12 / 34."));
    };
    let today = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    if expiry < (today.year(), today.month().into()) {
        return Err(problem("The card's expiry date is in the past."));
    }
    Ok(())
}

#[derive(Deserialize)]
struct SettleForm {
    outcome: Settlement,
}

async fn settle(
    State(core): Shared,
    Path(session): Path<String>,
    Form(form): Form<SettleForm>,
) -> Response {
    let settled =
        core.transact(Origin::default(), |call| payments::settle(call, &session, form.outcome));
    if let Err(error) = settled {
        tracing::info!(error = error.message(), "nothing to settle");
    }
    no_store(Redirect::to(&format!("/c/pay/{session}")).into_response())
}

/// The page for the session's state.
fn render(
    core: &Core,
    id: &str,
    entered: &Entered,
    problem: Option<&Problem>,
) -> (StatusCode, String) {
    let found = core.transact(Origin::default(), |call| {
        let session = checkout_sessions::find(call, id)?;
        let items = session_details(call.store, id).elements("line_items").to_vec();
        let intent = call.store.get(Kind::PaymentIntent, session.text("payment_intent"));
        Ok((intent.cloned().unwrap_or_default(), session, items))
    });
    match found {
        Ok((intent, session, items)) => match session.text("status") {
            "open" => (StatusCode::OK, html::checkout(&session, &items, entered, problem)),
            "complete" => {
                (StatusCode::OK, html::completed(&session, &intent, &success_url(&session)))
            }
            _ => (StatusCode::GONE, html::expired(&session)),
        },
        Err(_not_found) => (StatusCode::NOT_FOUND, html::unknown()),
    }
}

fn success_url(session: &Value) -> String {
    session.text("success_url").replace("{CHECKOUT_SESSION_ID}", session.text("id"))
}

fn respond(status: StatusCode, page: String) -> Response {
    // Without an empty icon, browsers request one and report that the policy forbids it.
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                          frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    no_store((status, headers, Html(page)).into_response())
}

fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
