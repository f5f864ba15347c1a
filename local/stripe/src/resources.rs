//! Stripe's resources: one table with every operation of `/v1`, and the few of `/v2`.

pub(crate) mod account;
pub(crate) mod charges;
pub(crate) mod checkout_sessions;
pub(crate) mod customers;
pub(crate) mod disputes;
pub(crate) mod early_fraud_warnings;
pub(crate) mod event_destinations;
pub(crate) mod expand;
pub(crate) mod invoice_payments;
pub(crate) mod lists;
pub(crate) mod payment_intents;
pub(crate) mod payment_methods;
pub(crate) mod portal_configurations;
pub(crate) mod prices;
pub(crate) mod products;
pub(crate) mod refunds;
pub(crate) mod tax_settings;
pub(crate) mod webhook_endpoints;

use serde_json::Value;

use crate::document::{Document, merge_metadata};
use crate::error::ApiError;
use crate::parameters;
use crate::permissions::Permissions;
use crate::state::Call;
use crate::store::Kind;

/// A decoded API request.
pub(crate) struct ApiRequest {
    pub(crate) key: String,
    pub(crate) method: String,
    /// With the leading `/v1` or `/v2`.
    pub(crate) path: String,
    pub(crate) parameters: Value,
}

/// Executes a request, and expands the response as requested.
pub(crate) fn answer(
    call: &mut Call<'_>,
    request: &ApiRequest,
    permissions: &Permissions,
) -> Result<Value, ApiError> {
    let (parameters, paths) = expand::paths(&request.parameters)?;
    let mut body = match (request.method.as_str(), request.path.as_str()) {
        ("GET", event_destinations::PATH) => event_destinations::list(call, &parameters)?,
        _ => dispatch(call, request, &parameters)?,
    };
    expand::apply(call.store, permissions, &mut body, &paths)?;
    Ok(body)
}

fn dispatch(call: &mut Call<'_>, request: &ApiRequest, sent: &Value) -> Result<Value, ApiError> {
    let path = request.path.strip_prefix("/v1/").unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["account"]) => none(sent, |()| Ok(account::retrieve(call))),

        ("GET", ["tax", "settings"]) => none(sent, |()| Ok(tax_settings::retrieve(call))),
        ("POST", ["tax", "settings"]) => tax_settings::update(call, sent),

        ("POST", ["billing_portal", "configurations"]) => portal_configurations::create(call, sent),
        ("GET", ["billing_portal", "configurations"]) => portal_configurations::list(call, sent),
        ("GET", ["billing_portal", "configurations", id]) => {
            none(sent, |()| call.find(Kind::PortalConfiguration, "configuration", id))
        }

        ("POST", ["customers"]) => customers::create(call, sent),
        ("GET", ["customers"]) => customers::list(call, sent),
        ("GET", ["customers", id]) => none(sent, |()| call.find(Kind::Customer, "customer", id)),
        ("POST", ["customers", id]) => customers::update(call, id, sent),
        ("DELETE", ["customers", id]) => none(sent, |()| customers::delete(call, id)),

        ("POST", ["products"]) => products::create(call, sent),
        ("GET", ["products"]) => products::list(call, sent),
        ("GET", ["products", id]) => none(sent, |()| call.find(Kind::Product, "product", id)),
        ("POST", ["products", id]) => products::update(call, id, sent),

        ("POST", ["prices"]) => prices::create(call, sent),
        ("GET", ["prices"]) => prices::list(call, sent),
        ("GET", ["prices", id]) => none(sent, |()| call.find(Kind::Price, "price", id)),
        ("POST", ["prices", id]) => prices::update(call, id, sent),

        ("POST", ["checkout", "sessions"]) => checkout_sessions::create(call, sent),
        ("GET", ["checkout", "sessions"]) => checkout_sessions::list(call, sent),
        ("GET", ["checkout", "sessions", id]) => none(sent, |()| checkout_sessions::find(call, id)),
        ("POST", ["checkout", "sessions", id]) => checkout_sessions::update(call, id, sent),
        ("POST", ["checkout", "sessions", id, "expire"]) => none(sent, |()| checkout_sessions::expire(call, id)),
        ("GET", ["checkout", "sessions", id, "line_items"]) => checkout_sessions::line_items(call, id, sent),

        ("GET", ["payment_intents"]) => payment_intents::list(call, sent),
        ("GET", ["payment_intents", id]) => none(sent, |()| call.find(Kind::PaymentIntent, "payment_intent", id)),
        ("POST", ["payment_intents", id]) => payment_intents::update(call, id, sent),

        ("GET", ["charges"]) => charges::list(call, sent),
        ("GET", ["charges", id]) => none(sent, |()| call.find(Kind::Charge, "charge", id)),

        ("POST", ["refunds"]) => refunds::create(call, sent),
        ("GET", ["refunds"]) => refunds::list(call, sent),
        ("GET", ["refunds", id]) => none(sent, |()| refunds::find(call, id)),
        ("POST", ["refunds", id]) => refunds::update(call, id, sent),
        ("POST", ["refunds", id, "cancel"]) => none(sent, |()| refunds::cancel(call, id)),

        ("GET", ["disputes"]) => disputes::list(call, sent),
        ("GET", ["disputes", id]) => none(sent, |()| disputes::find(call, id)),
        ("POST", ["disputes", id]) => disputes::update(call, id, sent),
        ("POST", ["disputes", id, "close"]) => none(sent, |()| disputes::close(call, id)),

        ("GET", ["radar", "early_fraud_warnings"]) => early_fraud_warnings::list(call, sent),
        ("GET", ["radar", "early_fraud_warnings", id]) => {
            none(sent, |()| call.find(Kind::EarlyFraudWarning, "early_fraud_warning", id))
        }

        ("GET", ["invoice_payments"]) => invoice_payments::list(sent),

        ("GET", ["payment_methods", id]) => none(sent, |()| call.find(Kind::PaymentMethod, "PaymentMethod", id)),

        ("GET", ["events"]) => call.list_events(sent),
        ("GET", ["events", id]) => none(sent, |()| call.retrieve_event(id)),

        ("POST", ["webhook_endpoints"]) => webhook_endpoints::create(call, sent),
        ("GET", ["webhook_endpoints"]) => webhook_endpoints::list(call, sent),
        ("GET", ["webhook_endpoints", id]) => {
            none(sent, |()| call.find(Kind::WebhookEndpoint, "webhook endpoint", id))
        }
        ("POST", ["webhook_endpoints", id]) => webhook_endpoints::update(call, id, sent),
        ("DELETE", ["webhook_endpoints", id]) => none(sent, |()| webhook_endpoints::delete(call, id)),

        (method, _) => Err(ApiError::new(
            404,
            "invalid_request_error",
            format!(
                "Unrecognized request URL ({method}: {}). The simulator does not have it, or Stripe does not.",
                request.path
            ),
        )
        .unexecuted()),
    }
}

/// For operations without parameters.
fn none<T>(sent: &Value, operation: impl FnOnce(()) -> Result<T, ApiError>) -> Result<T, ApiError> {
    parameters::check(&[], sent)?;
    operation(())
}

/// Copies checked parameters into a document's fields of the same names; metadata is merged.
pub(crate) fn overlay(document: &mut Value, checked: &Value) {
    for (name, value) in checked.as_object().into_iter().flatten() {
        if name == "metadata" {
            document.set(name, merge_metadata(document.field("metadata"), value));
        } else {
            document.set(name, value.clone());
        }
    }
}

/// Replaces a document and emits `….updated` if it changed.
pub(crate) fn save_updated(
    call: &mut Call<'_>,
    kind: Kind,
    event_type: &str,
    before: &Value,
    after: Value,
) -> Value {
    call.store.put(kind, before.text("id"), after.clone());
    call.emit_updated(event_type, before, &after);
    after
}

/// Checks a change of status against a table of allowed transitions.
pub(crate) fn check_move(
    moves: &[(&str, &[&str])],
    noun: &str,
    from: &str,
    to: &str,
) -> Result<(), ApiError> {
    let reachable = moves
        .iter()
        .find(|(status, _)| *status == from)
        .map_or(&[][..], |(_, reachable)| reachable);
    if reachable.contains(&to) {
        return Ok(());
    }
    let message = if reachable.is_empty() {
        format!("A {noun} that is {from} can't change any more.")
    } else {
        format!("A {noun} that is {from} cannot become '{to}', but {}.", reachable.join(" or "))
    };
    Err(ApiError::invalid_request(message))
}

/// An address as Stripe shows it: all fields, with null for unknown ones.
pub(crate) fn complete_address(given: &Value) -> Value {
    let parts = ["city", "country", "line1", "line2", "postal_code", "state"];
    parts.into_iter().map(|part| (part.to_owned(), given.field(part).clone())).collect()
}
