//! The control API under `/_sim`: what a person or a test does behind the scenes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method as HttpMethod, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::json_response;
use crate::cards::TestCard;
use crate::deliveries::{self, Release};
use crate::document::Document;
use crate::error::ApiError;
use crate::faults::Fault;
use crate::id;
use crate::payments::{self, Buyer, Payment, Settlement};
use crate::permissions::{self, Level};
use crate::resources::payment_methods::Method;
use crate::resources::{
    account, charges, disputes, early_fraud_warnings, event_destinations, portal_configurations,
    refunds, webhook_endpoints,
};
use crate::state::{Core, Origin};
use crate::store::Kind;

type Shared = State<Arc<Core>>;
type Answer = Result<Response, ApiError>;

pub(crate) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/", get(overview))
        .route("/_sim", get(overview))
        .route("/_sim/health", get(health))
        .route("/_sim/checkout/sessions/{id}/pay", post(pay))
        .route("/_sim/checkout/sessions/{id}/settle", post(settle))
        .route("/_sim/refunds/{id}/settle", post(settle_refund))
        .route("/_sim/disputes", post(open_dispute))
        .route("/_sim/disputes/{id}", post(move_dispute))
        .route("/_sim/early_fraud_warnings", post(warn_of_fraud))
        .route("/_sim/event_destinations", post(add_thin_destination))
        .route("/_sim/account", post(set_up_account))
        .route("/_sim/deliveries", get(list_deliveries))
        .route("/_sim/deliveries/hold", post(hold))
        .route("/_sim/deliveries/release", post(release))
        .route("/_sim/events", post(emit))
        .route("/_sim/events/{id}/resend", post(resend))
        .route("/_sim/webhook_endpoints/{id}/roll_secret", post(roll_secret))
        .route("/_sim/billing_portal/default", post(save_portal))
        .route("/_sim/faults", post(add_fault).delete(clear_faults).get(list_faults))
        .route("/_sim/keys", post(restrict_key))
        .route("/_sim/advance", post(advance))
        .route("/_sim/state", get(count_state))
        .route("/_sim/state", delete(forget_state))
        .method_not_allowed_fallback(wrong_method)
}

/// For people who open the simulator's address in a browser.
async fn overview() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, include_str!("../README.md")).into_response()
}

async fn wrong_method(method: HttpMethod) -> Response {
    // A path that can't be read accepts only POST, and vice versa.
    let takes = match method {
        HttpMethod::GET => "POST",
        HttpMethod::POST => "GET",
        _ => "GET or POST",
    };
    let message = format!("Use {takes} here, not {method}; GET /_sim lists the control API.");
    ApiError::new(405, "invalid_request_error", message).into_response()
}

fn ok(body: &Value) -> Response {
    json_response(200, body)
}

/// A JSON body; none at all is an empty object.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes.as_ref() };
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid_request(format!("Invalid body: {error}.")))
}

fn origin() -> Origin {
    Origin { request: Some(id::request()), idempotency_key: None }
}

async fn health() -> Response {
    ok(&json!({ "status": "ok" }))
}

/// A buyer's action on the hosted page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayBody {
    /// A test card's number.
    card: Option<String>,
    /// `card`, or `sepa_debit` for a payment that settles later.
    payment_method: Option<String>,
    email: Option<String>,
    name: Option<String>,
}

async fn pay(State(core): Shared, Path(session): Path<String>, bytes: Bytes) -> Answer {
    let asked: PayBody = body(&bytes)?;
    let method = match (asked.payment_method.as_deref(), &asked.card) {
        (None | Some("card"), Some(number)) => Some(Method::Card(TestCard::find(number)?)),
        (Some("sepa_debit"), None) => Some(Method::SepaDebit),
        (None, None) => None,
        _ => {
            return Err(ApiError::invalid_request(
                "Pay by {\"card\": \"4242424242424242\"} or by {\"payment_method\": \"sepa_debit\"}.",
            ));
        }
    };
    let buyer = Buyer {
        email: asked.email.as_deref().unwrap_or_default(),
        name: asked.name.as_deref().unwrap_or_default(),
    };
    match core.transact(origin(), |call| payments::pay(call, &session, method, &buyer))? {
        Payment::Completed(session) => Ok(ok(&session)),
        Payment::Declined(error) => Err(error),
        Payment::Asked => Err(ApiError::new(
            402,
            "card_error",
            "This card requires 3D Secure, which only the session's page can complete: open its url.",
        )
        .with("code", "authentication_required")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleBody {
    outcome: Settlement,
}

async fn settle(State(core): Shared, Path(session): Path<String>, bytes: Bytes) -> Answer {
    let SettleBody { outcome } = body(&bytes)?;
    core.transact(Origin::default(), |call| payments::settle(call, &session, outcome))
        .map(|session| ok(&session))
}

/// The bank's result for a refund.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleRefundBody {
    /// The new status.
    outcome: String,
}

async fn settle_refund(State(core): Shared, Path(refund): Path<String>, bytes: Bytes) -> Answer {
    let SettleRefundBody { outcome } = body(&bytes)?;
    core.transact(Origin::default(), |call| refunds::settle(call, &refund, &outcome))
        .map(|refund| ok(&refund))
}

/// A buyer's dispute at their bank.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisputeBody {
    payment_intent: String,
    status: Option<String>,
    reason: Option<String>,
    amount: Option<i64>,
}

async fn open_dispute(State(core): Shared, bytes: Bytes) -> Answer {
    let asked: DisputeBody = body(&bytes)?;
    let status = asked.status.as_deref().unwrap_or("needs_response");
    let reason = asked.reason.as_deref().unwrap_or("fraudulent");
    core.transact(Origin::default(), |call| {
        let charge = charges::paying(call, &asked.payment_intent)?;
        disputes::open(call, &charge, asked.amount, status, reason)
    })
    .map(|dispute| ok(&dispute))
}

/// The bank's decision on a dispute.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveDisputeBody {
    status: String,
    /// How it was prevented: `resolution`, or `block`.
    case_type: Option<String>,
}

async fn move_dispute(State(core): Shared, Path(dispute): Path<String>, bytes: Bytes) -> Answer {
    let MoveDisputeBody { status, case_type } = body(&bytes)?;
    core.transact(Origin::default(), |call| {
        disputes::move_to(call, &dispute, &status, case_type.as_deref())
    })
    .map(|dispute| ok(&dispute))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WarningBody {
    payment_intent: String,
}

async fn warn_of_fraud(State(core): Shared, bytes: Bytes) -> Answer {
    let WarningBody { payment_intent } = body(&bytes)?;
    core.transact(Origin::default(), |call| {
        let charge = charges::paying(call, &payment_intent)?;
        Ok(early_fraud_warnings::add(call, &charge))
    })
    .map(|warning| ok(&warning))
}

/// An event destination for thin events, as created in the Dashboard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThinDestinationBody {
    url: String,
    /// Such as `v1.checkout.session.completed`, or `*`.
    enabled_events: Vec<String>,
}

async fn add_thin_destination(State(core): Shared, bytes: Bytes) -> Answer {
    let ThinDestinationBody { url, enabled_events } = body(&bytes)?;
    core.transact(origin(), |call| {
        Ok(ok(&event_destinations::create_thin(call, &url, &enabled_events)))
    })
}

/// Account settings that Stripe controls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountBody {
    /// Whether Link is the seller in every session that doesn't decline it.
    managed_payments: bool,
}

async fn set_up_account(State(core): Shared, bytes: Bytes) -> Answer {
    let AccountBody { managed_payments } = body(&bytes)?;
    core.transact(Origin::default(), |call| {
        account::set_managed_payments(call, managed_payments);
        Ok(ok(&json!({ "managed_payments": managed_payments })))
    })
}

/// The latest deliveries, newest first.
async fn list_deliveries(State(core): Shared) -> Response {
    let state = core.lock();
    let recent: Vec<&Value> = state
        .store
        .iterate(Kind::Delivery)
        .rev()
        .take(1000)
        .map(|(_, _, delivery)| delivery)
        .collect();
    ok(&json!({ "deliveries": recent }))
}

async fn hold(State(core): Shared) -> Answer {
    deliveries::hold(&core).map(|counts| ok(&counts))
}

async fn release(State(core): Shared, bytes: Bytes) -> Answer {
    let release: Release = body(&bytes)?;
    deliveries::release(&core, &release).map(|counts| ok(&counts))
}

/// A custom event: an unknown type, another integration's object, the other mode, a second event
/// for one change, or an object that can't be read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmitBody {
    #[serde(rename = "type")]
    event_type: String,
    object: Value,
    /// Fields of the event that differ from Stripe's test mode.
    account: Option<String>,
    api_version: Option<String>,
    created: Option<i64>,
    livemode: Option<bool>,
}

async fn emit(State(core): Shared, bytes: Bytes) -> Answer {
    let asked: EmitBody = body(&bytes)?;
    core.transact(Origin::default(), |call| {
        let mut event = call.emit(&asked.event_type, &asked.object);
        for (field, value) in [
            ("account", asked.account.map(Value::from)),
            ("api_version", asked.api_version.map(Value::from)),
            ("created", asked.created.map(Value::from)),
            ("livemode", asked.livemode.map(Value::from)),
        ] {
            if let Some(value) = value {
                event.set(field, value);
            }
        }
        call.store.put(Kind::Event, event.text("id"), event.clone());
        Ok(ok(&event))
    })
}

/// Delivers an event again, to all endpoints that are enabled now.
async fn resend(State(core): Shared, Path(event): Path<String>) -> Answer {
    core.transact(Origin::default(), |call| {
        let event = call.retrieve_event(&event)?;
        let mut deliveries = Vec::new();
        for endpoint in call.listeners(event.text("type")) {
            let mut delivery = call.add_delivery(&event, &endpoint);
            delivery.set("copy", true);
            call.store.put(Kind::Delivery, delivery.text("id"), delivery.clone());
            deliveries.push(delivery);
        }
        Ok(ok(&json!({ "deliveries": deliveries })))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RollSecretBody {
    expire_old_in_seconds: i64,
}

impl Default for RollSecretBody {
    fn default() -> Self {
        Self { expire_old_in_seconds: 86_400 }
    }
}

async fn roll_secret(State(core): Shared, Path(endpoint): Path<String>, bytes: Bytes) -> Answer {
    let RollSecretBody { expire_old_in_seconds } = body(&bytes)?;
    core.transact(origin(), |call| {
        webhook_endpoints::roll_secret(call, &endpoint, expire_old_in_seconds)
    })
    .map(|rolled| ok(&rolled))
}

/// Saves the customer portal's settings, as in the Dashboard.
async fn save_portal(State(core): Shared) -> Answer {
    core.transact(origin(), |call| Ok(ok(&portal_configurations::save_default(call))))
}

async fn add_fault(State(core): Shared, bytes: Bytes) -> Answer {
    let fault: Fault = body(&bytes)?;
    fault.check()?;
    let mut state = core.lock();
    state.faults.push(fault);
    Ok(ok(&json!({ "faults": state.faults.len() })))
}

async fn list_faults(State(core): Shared) -> Response {
    ok(&json!({ "faults": core.lock().faults.len() }))
}

async fn clear_faults(State(core): Shared) -> Response {
    core.lock().faults.clear();
    ok(&json!({ "faults": 0 }))
}

/// A restricted key and its permissions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    key: String,
    permissions: BTreeMap<String, Level>,
}

async fn restrict_key(State(core): Shared, bytes: Bytes) -> Answer {
    let KeyBody { key, permissions } = body(&bytes)?;
    let levels: Vec<_> = permissions.into_iter().collect();
    core.transact(Origin::default(), |call| permissions::restrict(call, &key, &levels))
        .map(|levels| ok(&json!({ "permissions": levels })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceBody {
    seconds: u32,
}

async fn advance(State(core): Shared, bytes: Bytes) -> Answer {
    let AdvanceBody { seconds } = body(&bytes)?;
    core.transact(Origin::default(), |call| {
        call.advance(seconds.into());
        Ok(ok(&json!({ "now": call.now })))
    })
}

async fn count_state(State(core): Shared) -> Response {
    let state = core.lock();
    let counts: Map<String, Value> = Kind::ALL
        .into_iter()
        .filter(|kind| {
            !matches!(
                kind,
                Kind::BankAnswer | Kind::Setting | Kind::SigningSecrets | Kind::SessionDetails
            )
        })
        .map(|kind| (kind.name().to_owned(), state.store.count(kind).into()))
        .collect();
    ok(&Value::Object(counts))
}

/// Clears everything but the account and the webhook endpoints with their secrets.
async fn forget_state(State(core): Shared) -> Answer {
    core.lock().faults.clear();
    core.transact(Origin::default(), |call| {
        call.forget();
        Ok(ok(&json!({ "forgotten": true })))
    })
}
