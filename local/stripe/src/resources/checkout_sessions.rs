//! Checkout sessions in payment mode: how they are created, and how they end without a payment.
//! [`crate::payments`] has how they are paid.

use serde_json::{Value, json};

use crate::amounts;
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, TIMESTAMP, optional, required};
use crate::resources::{account, customers, lists, overlay, payment_intents};
use crate::state::Call;
use crate::store::{Kind, Store};

const SHORTEST_LIFE_SECONDS: i64 = 30 * 60;
const LONGEST_LIFE_SECONDS: i64 = 24 * 60 * 60;

const ENABLED: &[Parameter] = &[required("enabled", Shape::Boolean)];
const AUTO_OR_NEVER: Shape = Shape::Choice(&["auto", "never"]);

const FIELDS: &[Parameter] = &[
    required("mode", Shape::Choice(&["payment", "setup", "subscription"])),
    required(
        "line_items",
        Shape::List(&Shape::Object(&[
            required("price", Shape::Text),
            required("quantity", Shape::Integer { min: 1, max: 999_999 }),
            optional("metadata", Shape::Metadata),
        ])),
    ),
    required("success_url", Shape::Url),
    optional("adaptive_pricing", Shape::Object(ENABLED)),
    optional("allow_promotion_codes", Shape::Boolean),
    optional("automatic_tax", Shape::Object(ENABLED)),
    optional("billing_address_collection", Shape::Choice(&["auto", "required"])),
    optional("cancel_url", Shape::Url),
    optional("client_reference_id", Shape::Bounded(200)),
    optional("currency", Shape::Text),
    optional("customer", Shape::Text),
    optional("customer_creation", Shape::Choice(&["always", "if_required"])),
    optional("customer_email", Shape::Bounded(800)),
    optional(
        "customer_update",
        Shape::Object(&[
            optional("address", AUTO_OR_NEVER),
            optional("name", AUTO_OR_NEVER),
            optional("shipping", AUTO_OR_NEVER),
        ]),
    ),
    optional("expires_at", TIMESTAMP),
    optional("invoice_creation", Shape::Object(ENABLED)),
    optional("locale", Shape::Text),
    optional("managed_payments", Shape::Object(&[optional("enabled", Shape::Boolean)])),
    optional("metadata", Shape::Metadata),
    optional(
        "payment_intent_data",
        Shape::Object(&[
            optional("description", Shape::Bounded(1000)),
            optional("metadata", Shape::Metadata),
            optional("receipt_email", Shape::Text),
            optional("setup_future_usage", Shape::Choice(&["off_session", "on_session"])),
            optional("statement_descriptor", Shape::Bounded(22)),
            optional("statement_descriptor_suffix", Shape::Bounded(22)),
        ]),
    ),
    optional("payment_method_types", Shape::List(&Shape::Choice(&["card", "sepa_debit"]))),
    optional("phone_number_collection", Shape::Object(ENABLED)),
    optional("submit_type", Shape::Choice(&["auto", "book", "donate", "pay", "subscribe"])),
    optional("tax_id_collection", Shape::Object(ENABLED)),
    optional("ui_mode", Shape::Choice(&["hosted_page"])),
];

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(FIELDS, sent)?;
    let expires_at = check_request(call, &fields)?;
    let (line_items, currency, total) = line_items_of(call, &fields)?;
    let id = id::checkout_session();
    let customer =
        fields.field("customer").as_str().and_then(|customer| customers::live(call, customer));
    let email = customer
        .as_ref()
        .map_or_else(|| fields.text("customer_email"), |customer| customer.text("email"));
    let details = (!email.is_empty()).then(|| customer_details(email, customer.as_ref()));

    let mut session = blank(call, &id);
    for name in [
        "allow_promotion_codes",
        "billing_address_collection",
        "cancel_url",
        "client_reference_id",
        "customer",
        "customer_email",
        "locale",
        "metadata",
        "submit_type",
        "success_url",
    ] {
        if let Some(value) = fields.get(name) {
            overlay(&mut session, &json!({ name: value }));
        }
    }
    session.set("amount_subtotal", total);
    session.set("amount_total", total);
    session.set("currency", currency);
    session.set("customer_details", details);
    session.set("expires_at", expires_at);
    if customer.is_none() {
        session.set(
            "customer_creation",
            fields.field("customer_creation").as_str().unwrap_or("if_required"),
        );
    }
    for (name, extra) in
        [("automatic_tax", "status"), ("invoice_creation", ""), ("phone_number_collection", "")]
    {
        if fields.field(name).is_true("enabled") {
            let mut part = session.field(name).clone();
            part.set("enabled", true);
            if !extra.is_empty() {
                part.set(extra, "complete");
            }
            session.set(name, part);
        }
    }
    let managed = fields.field("managed_payments").field("enabled").as_bool();
    let managed = managed.unwrap_or_else(|| account::has_managed_payments(call));
    session.set("managed_payments", json!({ "enabled": managed }));
    if fields.field("tax_id_collection").is_true("enabled") {
        session.set("tax_id_collection", json!({ "enabled": true, "required": "never" }));
    }
    if !fields.elements("payment_method_types").is_empty() {
        session.set("payment_method_types", fields.field("payment_method_types").clone());
    }

    let details = json!({
        "line_items": line_items,
        "payment_intent_data": fields.field("payment_intent_data"),
        "customer_update": fields.field("customer_update"),
    });
    call.store.put(Kind::SessionDetails, &id, details);
    call.store.put(Kind::CheckoutSession, &id, session.clone());
    *call.next_due = (*call.next_due).min(expires_at);
    Ok(session)
}

/// Validates what the parameters' shapes can't express. Returns the expiry time.
fn check_request(call: &Call<'_>, fields: &Value) -> Result<i64, ApiError> {
    if fields.text("mode") != "payment" {
        let message = format!(
            "The simulator opens sessions in payment mode only, not in {} mode yet.",
            fields.text("mode")
        );
        return Err(ApiError::parameter("parameter_invalid", "mode", message));
    }
    let customer = fields.text("customer");
    if customer.is_empty() && !fields.field("customer_update").is_null() {
        return Err(ApiError::parameter(
            "parameter_invalid",
            "customer_update",
            "customer_update needs a customer.",
        ));
    }
    for other in ["customer_email", "customer_creation"] {
        if !customer.is_empty() && !fields.field(other).is_null() {
            let message = format!("Send customer or {other}, not both.");
            return Err(ApiError::parameter("parameter_invalid", other, message));
        }
    }
    if !customer.is_empty() && customers::live(call, customer).is_none() {
        return Err(ApiError::no_such("customer", customer, "customer"));
    }
    let life = SHORTEST_LIFE_SECONDS..=LONGEST_LIFE_SECONDS;
    let expires_at = fields.field("expires_at").as_i64().unwrap_or(call.now + LONGEST_LIFE_SECONDS);
    if !life.contains(&(expires_at - call.now)) {
        return Err(ApiError::parameter(
            "parameter_invalid",
            "expires_at",
            "A session expires between 30 minutes and 24 hours after it is made; choose expires_at so.",
        ));
    }
    Ok(expires_at)
}

/// The line items, their common currency and their total.
fn line_items_of(call: &Call<'_>, fields: &Value) -> Result<(Vec<Value>, String, i64), ApiError> {
    let requested = fields.elements("line_items");
    if requested.is_empty() || requested.len() > 100 {
        return Err(ApiError::parameter(
            "parameter_invalid_array",
            "line_items",
            "Send between 1 and 100 line items.",
        ));
    }
    let (mut line_items, mut currency, mut total) =
        (Vec::new(), fields.text("currency").to_owned(), 0_i64);
    for (index, item) in requested.iter().enumerate() {
        let param = format!("line_items[{index}][price]");
        let id = item.text("price");
        let (price, product) = sellable(call, id, &param)?;
        if currency.is_empty() {
            price.text("currency").clone_into(&mut currency);
        }
        if price.text("currency") != currency {
            let message = format!(
                "All prices of a session need one currency, but '{id}' is not in {currency}."
            );
            return Err(ApiError::invalid_request(message).with("param", param));
        }
        let amount = price.integer("unit_amount").saturating_mul(item.integer("quantity"));
        total = total.saturating_add(amount);
        line_items.push(json!({
            "id": id::line_item(),
            "object": "item",
            "adjustable_quantity": null,
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": currency,
            "description": product.text("name"),
            "metadata": item.get("metadata").filter(|it| !it.is_null()).cloned().unwrap_or_else(|| json!({})),
            "price": price,
            "quantity": item.integer("quantity"),
        }));
    }
    amounts::check_total(&currency, total)?;
    Ok((line_items, currency, total))
}

/// A price that can be sold, with its product.
fn sellable<'a>(
    call: &'a Call<'_>,
    id: &str,
    param: &str,
) -> Result<(&'a Value, &'a Value), ApiError> {
    let price = call.store.get(Kind::Price, id);
    let price = price.ok_or_else(|| ApiError::no_such("price", id, param))?;
    if !price.is_true("active") {
        let message = format!("The price '{id}' is not active; only active prices can be sold.");
        return Err(ApiError::invalid_request(message).with("param", param));
    }
    let product = call.store.get(Kind::Product, price.text("product"));
    product.filter(|product| product.is_true("active")).map(|product| (price, product)).ok_or_else(
        || {
            let message = format!(
                "The product of the price '{id}' is not active; only active products can be sold."
            );
            ApiError::invalid_request(message).with("param", param)
        },
    )
}

/// A session with all of Stripe's fields, before the request's own values.
fn blank(call: &Call<'_>, id: &str) -> Value {
    json!({
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": { "enabled": false },
        "after_expiration": null,
        "allow_promotion_codes": null,
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
        "billing_address_collection": null,
        "cancel_url": null,
        "client_reference_id": null,
        "client_secret": null,
        "collected_information": { "business_name": null, "individual_name": null, "shipping_details": null },
        "consent": null,
        "consent_collection": null,
        "created": call.now,
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null,
            "shipping_address": null,
            "submit": null,
            "terms_of_service_acceptance": null,
        },
        "customer": null,
        "customer_account": null,
        "customer_creation": null,
        "customer_email": null,
        "discounts": [],
        "integration_identifier": null,
        "invoice": null,
        "invoice_creation": { "enabled": false, "invoice_data": {
            "account_tax_ids": null,
            "custom_fields": null,
            "description": null,
            "footer": null,
            "issuer": null,
            "metadata": {},
            "rendering_options": null,
        }},
        "livemode": false,
        "locale": null,
        "managed_payments": { "enabled": false },
        "metadata": {},
        "mode": "payment",
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "payment_method_types": ["card", "sepa_debit"],
        "payment_status": "unpaid",
        "permissions": null,
        "phone_number_collection": { "enabled": false },
        "recovered_from": null,
        "saved_payment_method_options": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": null,
        "subscription": null,
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted_page",
        "url": format!("{}/c/pay/{id}", call.url),
        "wallet_options": null,
    })
}

/// The buyer's details: first from the customer, finally from the page.
pub(crate) fn customer_details(email: &str, customer: Option<&Value>) -> Value {
    let of_customer =
        |field: &str| customer.map(|customer| customer.field(field).clone()).unwrap_or_default();
    json!({
        "address": of_customer("address"),
        "business_name": null,
        "email": email,
        "individual_name": null,
        "name": of_customer("name"),
        "phone": of_customer("phone"),
        "tax_exempt": "none",
        "tax_ids": [],
    })
}

pub(crate) fn find(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    call.find(Kind::CheckoutSession, "checkout.session", id)
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(&[optional("metadata", Shape::Metadata)], sent)?;
    let mut session = find(call, id)?;
    overlay(&mut session, &fields);
    call.store.put(Kind::CheckoutSession, id, session.clone());
    Ok(session)
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("created", Shape::TimeRange),
        optional("customer", Shape::Text),
        optional("payment_intent", Shape::Text),
        optional("status", Shape::Choice(&["complete", "expired", "open"])),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    lists::list(call.store, Kind::CheckoutSession, "/v1/checkout/sessions", &filters, |session| {
        ["customer", "payment_intent", "status"]
            .into_iter()
            .all(|filter| lists::equals(&filters, filter, session.text(filter)))
            && lists::in_range(filters.field("created"), session.integer("created"))
    })
}

/// `GET /v1/checkout/sessions/{id}/line_items`.
pub(crate) fn line_items(call: &Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    let page =
        parameters::check(&[lists::LIMIT, lists::STARTING_AFTER, lists::ENDING_BEFORE], sent)?;
    find(call, id)?;
    let items = session_details(call.store, id).elements("line_items");
    let place = |param: &str| match page.text(param) {
        "" => Ok(None),
        wanted => items
            .iter()
            .position(|item| item.text("id") == wanted)
            .map(Some)
            .ok_or_else(|| ApiError::no_such("line item", wanted, param)),
    };
    let limit = page.field("limit").as_u64().and_then(|limit| limit.try_into().ok()).unwrap_or(10);
    let end = place("ending_before")?;
    let start = match (place("starting_after")?, end) {
        (Some(place), _) => place + 1,
        (None, Some(end)) => end.saturating_sub(limit),
        (None, None) => 0,
    };
    let rest = items.get(start..end.unwrap_or(items.len())).unwrap_or_default();
    let data = rest.iter().take(limit).cloned().collect();
    Ok(lists::page_of(&format!("/v1/checkout/sessions/{id}/line_items"), data, rest.len() > limit))
}

/// The line items, as `expand[]=line_items` returns them.
pub(crate) fn first_line_items(store: &Store, id: &str) -> Value {
    let items = session_details(store, id).elements("line_items");
    let data = items.iter().take(10).cloned().collect();
    lists::page_of(&format!("/v1/checkout/sessions/{id}/line_items"), data, items.len() > 10)
}

/// Session data that responses don't contain.
pub(crate) fn session_details<'a>(store: &'a Store, id: &str) -> &'a Value {
    store.get(Kind::SessionDetails, id).unwrap_or(&Value::Null)
}

/// `POST /v1/checkout/sessions/{id}/expire`.
pub(crate) fn expire(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    let session = find(call, id)?;
    if session.text("status") != "open" {
        let message = format!(
            "Only open sessions can be expired, and this one is {}.",
            session.text("status")
        );
        return Err(ApiError::invalid_request(message));
    }
    Ok(end(call, session))
}

/// Expires the open sessions that are due.
pub(crate) fn expire_due(call: &mut Call<'_>) {
    let open: Vec<Value> = call
        .store
        .iterate(Kind::CheckoutSession)
        .filter(|(_, _, session)| session.text("status") == "open")
        .map(|(_, _, session)| session.clone())
        .collect();
    for session in open {
        let expires_at = session.integer("expires_at");
        if expires_at <= call.now {
            end(call, session);
        } else {
            *call.next_due = (*call.next_due).min(expires_at);
        }
    }
}

fn end(call: &mut Call<'_>, mut session: Value) -> Value {
    session.set("status", "expired");
    session.set("url", Value::Null);
    call.store.put(Kind::CheckoutSession, session.text("id"), session.clone());
    if let Some(intent) = session.field("payment_intent").as_str() {
        payment_intents::cancel(call, intent);
    }
    call.emit("checkout.session.expired", &session);
    session
}
