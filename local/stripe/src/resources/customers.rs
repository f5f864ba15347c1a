//! Customers.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{complete_address, lists, overlay, save_updated};
use crate::state::Call;
use crate::store::Kind;

const ADDRESS: &[Parameter] = &[
    optional("city", Shape::Text),
    optional("country", Shape::Text),
    optional("line1", Shape::Text),
    optional("line2", Shape::Text),
    optional("postal_code", Shape::Text),
    optional("state", Shape::Text),
];

const FIELDS: &[Parameter] = &[
    optional("address", Shape::Object(ADDRESS)),
    optional("description", Shape::Bounded(5000)),
    optional("email", Shape::Bounded(512)),
    optional("metadata", Shape::Metadata),
    optional("name", Shape::Bounded(256)),
    optional("phone", Shape::Bounded(20)),
    optional("preferred_locales", Shape::List(&Shape::Text)),
    optional("tax_exempt", Shape::Choice(&["none", "exempt", "reverse"])),
];

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(FIELDS, sent)?;
    Ok(add(call, &fields))
}

/// Creates a customer from checked parameters.
pub(crate) fn add(call: &mut Call<'_>, fields: &Value) -> Value {
    let id = id::customer();
    let mut customer = json!({
        "id": id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "business_name": null,
        "created": call.now,
        "currency": null,
        "customer_account": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "individual_name": null,
        "invoice_prefix": id::random("", 8).to_uppercase(),
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": null,
            "footer": null,
            "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    });
    apply(&mut customer, fields);
    call.store.put(Kind::Customer, &id, customer.clone());
    call.emit("customer.created", &customer);
    customer
}

fn apply(customer: &mut Value, fields: &Value) {
    overlay(customer, fields);
    if fields.field("address").is_object() {
        customer.set("address", complete_address(fields.field("address")));
    }
    for (list_or_choice, unset) in [("preferred_locales", json!([])), ("tax_exempt", json!("none"))]
    {
        if customer.field(list_or_choice).is_null() {
            customer.set(list_or_choice, unset);
        }
    }
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(FIELDS, sent)?;
    change(call, id, &fields)
}

/// Changes a customer by checked parameters.
pub(crate) fn change(call: &mut Call<'_>, id: &str, fields: &Value) -> Result<Value, ApiError> {
    let before = live(call, id).ok_or_else(|| ApiError::not_found("customer", id))?;
    let mut after = before.clone();
    apply(&mut after, fields);
    Ok(save_updated(call, Kind::Customer, "customer.updated", &before, after))
}

/// The customer, unless it doesn't exist or was deleted.
pub(crate) fn live(call: &Call<'_>, id: &str) -> Option<Value> {
    call.store.get(Kind::Customer, id).filter(|customer| !customer.is_true("deleted")).cloned()
}

pub(crate) fn delete(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    let customer = live(call, id).ok_or_else(|| ApiError::not_found("customer", id))?;
    call.emit("customer.deleted", &customer);
    let tombstone = json!({ "id": id, "object": "customer", "deleted": true });
    call.store.put(Kind::Customer, id, tombstone.clone());
    Ok(tombstone)
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("email", Shape::Text),
        optional("created", Shape::TimeRange),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    lists::list(call.store, Kind::Customer, "/v1/customers", &filters, |customer| {
        lists::equals(&filters, "email", customer.text("email"))
            && lists::in_range(filters.field("created"), customer.integer("created"))
    })
}
