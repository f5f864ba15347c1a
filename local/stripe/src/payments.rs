//! What happens when a buyer pays, on the hosted page or through the control API.

use serde_json::{Value, json};

use crate::cards::{Behaviour, TestCard};
use crate::document::Document;
use crate::error::ApiError;
use crate::resources::charges::{self, ChargeState};
use crate::resources::checkout_sessions::{self, customer_details, session_details};
use crate::resources::payment_methods::{self, Method};
use crate::resources::{customers, disputes, early_fraud_warnings, payment_intents};
use crate::state::Call;
use crate::store::Kind;

/// What a buyer entered.
#[derive(Debug, Default)]
pub(crate) struct Buyer<'a> {
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
}

/// How an attempt to pay ended. A declined card is not a failed operation: it leaves traces.
pub(crate) enum Payment {
    /// Paid, or processing at the bank: the session is complete.
    Completed(Value),
    Declined(ApiError),
    /// The bank requires authentication. [`authenticate`] continues from here.
    Asked,
}

/// The session, if it can still be paid.
fn open_session(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    let session = checkout_sessions::find(call, id)?;
    match session.text("status") {
        "open" => Ok(session),
        status => Err(ApiError::invalid_request(format!(
            "This session is {status}; only an open one can be paid."
        ))
        .with("code", "checkout_session_not_open")),
    }
}

/// Tries to pay a session. `method` is needed unless there is nothing to pay.
pub(crate) fn pay(
    call: &mut Call<'_>,
    id: &str,
    method: Option<Method>,
    buyer: &Buyer<'_>,
) -> Result<Payment, ApiError> {
    let session = open_session(call, id)?;
    if session.integer("amount_total") == 0 {
        return Ok(Payment::Completed(complete(call, session, "no_payment_required", buyer)));
    }
    let method = method.ok_or_else(|| ApiError::parameter_missing("card"))?;
    let kind = match method {
        Method::Card(_) => "card",
        Method::SepaDebit => "sepa_debit",
    };
    if !session.elements("payment_method_types").iter().any(|accepted| accepted == kind) {
        return Err(ApiError::invalid_request(format!("This session does not take {kind}.")));
    }
    let (session, mut intent) = intent_of(call, session, buyer);
    let known_email = session.field("customer_details").text("email").to_owned();
    let email = if buyer.email.is_empty() { known_email.as_str() } else { buyer.email };
    let payment_method = payment_methods::add(call, method, email, buyer.name);
    intent.set("payment_method", payment_method.text("id"));
    // A pending authentication of another card is dropped.
    intent.set("next_action", Value::Null);
    match method {
        Method::Card(TestCard { behaviour: Behaviour::Authenticates, .. }) => {
            ask_who_pays(call, intent);
            Ok(Payment::Asked)
        }
        Method::Card(card) => match card.decline() {
            None => Ok(charge_card(call, session, intent, &payment_method, buyer)),
            Some(error) => Ok(decline(call, intent, &payment_method, error)),
        },
        Method::SepaDebit => {
            let charge = charges::add(call, &intent, &payment_method, &ChargeState::Pending);
            intent.set("latest_charge", charge.text("id"));
            intent.set("status", "processing");
            call.store.put(Kind::PaymentIntent, intent.text("id"), intent.clone());
            call.emit("payment_intent.processing", &intent);
            Ok(Payment::Completed(complete(call, session, "unpaid", buyer)))
        }
    }
}

/// Charges a card that the bank accepts.
fn charge_card(
    call: &mut Call<'_>,
    session: Value,
    intent: Value,
    payment_method: &Value,
    buyer: &Buyer<'_>,
) -> Payment {
    let charge = charges::add(call, &intent, payment_method, &ChargeState::Succeeded);
    if let Some(card) = TestCard::with(payment_method) {
        bank_objects(call, card, &charge);
    }
    succeed(call, intent, charge.text("id"));
    Payment::Completed(complete(call, session, "paid", buyer))
}

fn decline(call: &mut Call<'_>, intent: Value, method: &Value, error: ApiError) -> Payment {
    let charge = charges::add(call, &intent, method, &ChargeState::Failed(&error));
    let error = error.with("charge", charge.text("id"));
    fail(call, intent, Some(charge.text("id")), &error, method);
    Payment::Declined(error)
}

fn ask_who_pays(call: &mut Call<'_>, mut intent: Value) {
    intent.set("next_action", json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
    intent.set("status", "requires_action");
    call.store.put(Kind::PaymentIntent, intent.text("id"), intent.clone());
    call.emit("payment_intent.requires_action", &intent);
}

/// The result of the bank's authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Authentication {
    Completed,
    Failed,
}

/// Continues a payment after authentication.
pub(crate) fn authenticate(
    call: &mut Call<'_>,
    id: &str,
    authentication: Authentication,
) -> Result<Payment, ApiError> {
    let session = open_session(call, id)?;
    let intent = call.store.get(Kind::PaymentIntent, session.text("payment_intent")).cloned();
    let Some(mut intent) = intent.filter(|intent| intent.text("status") == "requires_action")
    else {
        return Err(ApiError::invalid_request("No authentication is pending; pay by card first."));
    };
    intent.set("next_action", Value::Null);
    let method = call.find(Kind::PaymentMethod, "PaymentMethod", intent.text("payment_method"))?;
    if authentication == Authentication::Completed {
        let details = method.field("billing_details");
        let buyer = Buyer { email: details.text("email"), name: details.text("name") };
        return Ok(charge_card(call, session, intent, &method, &buyer));
    }
    let error = ApiError::new(
        402,
        "card_error",
        "We are unable to authenticate your payment method. Please choose a different payment \
         method and try again.",
    )
    .with("code", "payment_intent_authentication_failure");
    // There was no charge yet.
    fail(call, intent, None, &error, &method);
    Ok(Payment::Declined(error))
}

/// Some test cards are disputed or warned of at once. Stripe sends those events before the one for
/// the payment intent's success.
fn bank_objects(call: &mut Call<'_>, card: &TestCard, charge: &Value) {
    // The bank acts here, so its events name no request.
    let origin = std::mem::take(&mut call.origin);
    match card.behaviour {
        Behaviour::Disputes(complaints) => disputes::complain(call, charge, complaints),
        Behaviour::Warns => {
            early_fraud_warnings::add(call, charge);
        }
        Behaviour::Pays
        | Behaviour::Declines(_)
        | Behaviour::Authenticates
        | Behaviour::RefundsLate(..) => {}
    }
    call.origin = origin;
}

/// The session's payment intent, created at the first attempt. If a customer is to be created, that
/// happens first, so that the payment belongs to them already.
fn intent_of(call: &mut Call<'_>, mut session: Value, buyer: &Buyer<'_>) -> (Value, Value) {
    if let Some(intent) = call.store.get(Kind::PaymentIntent, session.text("payment_intent")) {
        let intent = intent.clone();
        return (session, intent);
    }
    create_customer(call, &mut session, buyer);
    let data = session_details(call.store, session.text("id")).field("payment_intent_data").clone();
    let intent = payment_intents::add(call, &session, &data);
    session.set("payment_intent", intent.text("id"));
    call.store.put(Kind::CheckoutSession, session.text("id"), session.clone());
    (session, intent)
}

fn create_customer(call: &mut Call<'_>, session: &mut Value, buyer: &Buyer<'_>) {
    if session.text("customer_creation") == "always" && session.field("customer").is_null() {
        let email =
            if buyer.email.is_empty() { session.text("customer_email") } else { buyer.email };
        let fields = json!({ "email": email, "name": buyer.name });
        let fields: Value = fields
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| *value != "")
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        let customer = customers::add(call, &fields);
        session.set("customer", customer.text("id"));
    }
}

fn succeed(call: &mut Call<'_>, mut intent: Value, charge: &str) {
    intent.set("amount_received", intent.integer("amount"));
    intent.set("last_payment_error", Value::Null);
    intent.set("latest_charge", charge);
    intent.set("status", "succeeded");
    call.store.put(Kind::PaymentIntent, intent.text("id"), intent.clone());
    call.emit("payment_intent.succeeded", &intent);
}

fn fail(
    call: &mut Call<'_>,
    mut intent: Value,
    charge: Option<&str>,
    error: &ApiError,
    method: &Value,
) {
    let mut fields = error.fields();
    if let Some(charge) = charge {
        fields.set("charge", charge);
        intent.set("latest_charge", charge);
    }
    fields.set("payment_method", method.clone());
    intent.set("last_payment_error", fields);
    // The buyer chooses a payment method again.
    intent.set("payment_method", Value::Null);
    intent.set("status", "requires_payment_method");
    call.store.put(Kind::PaymentIntent, intent.text("id"), intent.clone());
    call.emit("payment_intent.payment_failed", &intent);
}

/// Completes a session with what the buyer entered.
fn complete(
    call: &mut Call<'_>,
    mut session: Value,
    payment_status: &str,
    buyer: &Buyer<'_>,
) -> Value {
    let id = session.text("id").to_owned();
    create_customer(call, &mut session, buyer);
    let mut details = session.field("customer_details").clone();
    if details.is_null() {
        details = customer_details(buyer.email, None);
    }
    for (field, entered) in [("email", buyer.email), ("name", buyer.name)] {
        if !entered.is_empty() {
            details.set(field, entered);
        } else if details.text(field).is_empty() {
            details.set(field, Value::Null);
        }
    }
    session.set("customer_details", details);
    session.set("payment_status", payment_status);
    session.set("status", "complete");
    session.set("url", Value::Null);
    call.store.put(Kind::CheckoutSession, &id, session.clone());

    let renames = session_details(call.store, &id).field("customer_update").text("name") == "auto";
    if renames && !buyer.name.is_empty() {
        let changed =
            customers::change(call, session.text("customer"), &json!({ "name": buyer.name }));
        if changed.is_err() {
            tracing::debug!(session = id, "the customer was deleted while the session was open");
        }
    }
    call.emit("checkout.session.completed", &session);
    session
}

/// How a bank debit ends, days later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Settlement {
    Succeeded,
    Failed,
}

/// Settles the payment of a session whose bank debit is processing.
pub(crate) fn settle(
    call: &mut Call<'_>,
    id: &str,
    settlement: Settlement,
) -> Result<Value, ApiError> {
    let mut session = checkout_sessions::find(call, id)?;
    let intent = call.store.get(Kind::PaymentIntent, session.text("payment_intent")).cloned();
    let Some(intent) = intent.filter(|intent| intent.text("status") == "processing") else {
        return Err(ApiError::invalid_request(
            "No payment of this session is processing; pay it by sepa_debit first, and settle it once.",
        ));
    };
    let charge_id = intent.text("latest_charge").to_owned();
    let mut charge = call.find(Kind::Charge, "charge", &charge_id)?;
    let method = call.find(Kind::PaymentMethod, "PaymentMethod", intent.text("payment_method"))?;
    let event_type = match settlement {
        Settlement::Succeeded => {
            charges::settle(&mut charge, &ChargeState::Succeeded);
            call.store.put(Kind::Charge, &charge_id, charge.clone());
            call.emit("charge.succeeded", &charge);
            succeed(call, intent, &charge_id);
            session.set("payment_status", "paid");
            "checkout.session.async_payment_succeeded"
        }
        Settlement::Failed => {
            let error = ApiError::new(
                402,
                "invalid_request_error",
                "The customer's bank account could not be debited.",
            )
            .with("code", "payment_intent_payment_attempt_failed");
            charges::settle(&mut charge, &ChargeState::Failed(&error));
            call.store.put(Kind::Charge, &charge_id, charge.clone());
            call.emit("charge.failed", &charge);
            fail(call, intent, Some(&charge_id), &error, &method);
            "checkout.session.async_payment_failed"
        }
    };
    call.store.put(Kind::CheckoutSession, id, session.clone());
    call.emit(event_type, &session);
    Ok(session)
}
