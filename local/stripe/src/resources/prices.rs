//! One-time prices.

use serde_json::{Value, json};

use crate::amounts;
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, AMOUNT, Parameter, Shape, optional, required};
use crate::resources::{lists, overlay, save_updated};
use crate::state::Call;
use crate::store::Kind;

const TAX_BEHAVIOR: Shape = Shape::Choice(&["exclusive", "inclusive", "unspecified"]);

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        required("currency", Shape::Text),
        required("product", Shape::Text),
        required("unit_amount", AMOUNT),
        optional("active", Shape::Boolean),
        optional("billing_scheme", Shape::Choice(&["per_unit"])),
        optional("lookup_key", Shape::Bounded(200)),
        optional("metadata", Shape::Metadata),
        optional("nickname", Shape::Bounded(5000)),
        optional("tax_behavior", TAX_BEHAVIOR),
        optional("transfer_lookup_key", Shape::Boolean),
    ];
    let mut fields = parameters::check(FIELDS, sent)?;
    let currency = amounts::currency(fields.text("currency"))?;
    amounts::check_price(currency, fields.integer("unit_amount"))?;
    fields.set("currency", currency.code);
    let product = fields.text("product");
    if call.store.get(Kind::Product, product).is_none() {
        return Err(ApiError::no_such("product", product, "product"));
    }
    take_lookup_key(call, None, &mut fields)?;

    let id = id::price();
    let mut price = json!({
        "id": id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": call.now,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": null,
        "metadata": {},
        "nickname": null,
        "recurring": null,
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "type": "one_time",
        "unit_amount_decimal": fields.integer("unit_amount").to_string(),
    });
    overlay(&mut price, &fields);
    keep_types(&mut price);
    call.store.put(Kind::Price, &id, price.clone());
    call.emit("price.created", &price);
    Ok(price)
}

/// An unset flag or choice gets its default.
fn keep_types(price: &mut Value) {
    for (field, unset) in [
        ("active", json!(true)),
        ("billing_scheme", json!("per_unit")),
        ("tax_behavior", json!("unspecified")),
    ] {
        if price.field(field).is_null() {
            price.set(field, unset);
        }
    }
}

/// A lookup key belongs to one price: it is refused while another one has it, or transferred if
/// `transfer_lookup_key` says so.
fn take_lookup_key(
    call: &mut Call<'_>,
    own_id: Option<&str>,
    fields: &mut Value,
) -> Result<(), ApiError> {
    let transfer = fields.is_true("transfer_lookup_key");
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("transfer_lookup_key");
    }
    let key = fields.text("lookup_key");
    if key.is_empty() {
        return Ok(());
    }
    let holder = call
        .store
        .iterate(Kind::Price)
        .find(|(_, id, price)| price.text("lookup_key") == key && own_id != Some(id))
        .map(|(_, _, price)| price.clone());
    let Some(before) = holder else { return Ok(()) };
    if !transfer {
        let message = format!(
            "Price '{}' already uses the lookup key '{key}'; send transfer_lookup_key=true to move it.",
            before.text("id")
        );
        return Err(ApiError::invalid_request(message)
            .with("code", "resource_already_exists")
            .with("param", "lookup_key"));
    }
    let mut after = before.clone();
    after.set("lookup_key", Value::Null);
    save_updated(call, Kind::Price, "price.updated", &before, after);
    Ok(())
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional("active", Shape::Boolean),
        optional("lookup_key", Shape::Bounded(200)),
        optional("metadata", Shape::Metadata),
        optional("nickname", Shape::Bounded(5000)),
        optional("tax_behavior", TAX_BEHAVIOR),
        optional("transfer_lookup_key", Shape::Boolean),
    ];
    let mut fields = parameters::check(FIELDS, sent)?;
    let before = call.find(Kind::Price, "price", id)?;
    if fields.field("active") == false && is_default_price(call, &before) {
        return Err(ApiError::invalid_request(
            "This price cannot be archived while it is the default price of its product; give the product another default_price first.",
        )
        .with("param", "active"));
    }
    take_lookup_key(call, Some(id), &mut fields)?;
    let mut after = before.clone();
    overlay(&mut after, &fields);
    keep_types(&mut after);
    Ok(save_updated(call, Kind::Price, "price.updated", &before, after))
}

fn is_default_price(call: &Call<'_>, price: &Value) -> bool {
    let product = call.store.get(Kind::Product, price.text("product"));
    product.is_some_and(|product| product.field("default_price") == price.field("id"))
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("active", Shape::Boolean),
        optional("created", Shape::TimeRange),
        optional("currency", Shape::Text),
        optional("lookup_keys", Shape::List(&Shape::Text)),
        optional("product", Shape::Text),
        optional("type", Shape::Choice(&["one_time", "recurring"])),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    let lookup_keys = filters.elements("lookup_keys");
    if lookup_keys.len() > 10 {
        return Err(ApiError::parameter(
            "parameter_invalid_array",
            "lookup_keys",
            "At most 10 lookup keys at a time.",
        ));
    }
    lists::list(call.store, Kind::Price, "/v1/prices", &filters, |price| {
        filters.field("active").as_bool().is_none_or(|active| active == price.is_true("active"))
            && lists::equals(&filters, "currency", price.text("currency"))
            && lists::equals(&filters, "product", price.text("product"))
            && lists::equals(&filters, "type", price.text("type"))
            && lists::in_range(filters.field("created"), price.integer("created"))
            && (lookup_keys.is_empty() || lookup_keys.contains(price.field("lookup_key")))
    })
}
