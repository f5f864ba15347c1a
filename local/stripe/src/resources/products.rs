//! Products.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional, required};
use crate::resources::{lists, overlay, save_updated};
use crate::state::Call;
use crate::store::Kind;

const NAME: Shape = Shape::Name(5000);
const DESCRIPTION: Parameter = optional("description", Shape::Bounded(40_000));
const ACTIVE: Parameter = optional("active", Shape::Boolean);
const IMAGES: Parameter = optional("images", Shape::List(&Shape::Url));
const METADATA: Parameter = optional("metadata", Shape::Metadata);
const SHIPPABLE: Parameter = optional("shippable", Shape::Boolean);
const STATEMENT_DESCRIPTOR: Parameter = optional("statement_descriptor", Shape::Bounded(22));
const TAX_CODE: Parameter = optional("tax_code", Shape::Text);
const UNIT_LABEL: Parameter = optional("unit_label", Shape::Bounded(12));
const URL: Parameter = optional("url", Shape::Url);

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        required("name", NAME),
        optional("id", Shape::Bounded(255)),
        ACTIVE,
        DESCRIPTION,
        IMAGES,
        METADATA,
        SHIPPABLE,
        STATEMENT_DESCRIPTOR,
        TAX_CODE,
        UNIT_LABEL,
        URL,
    ];
    let fields = parameters::check(FIELDS, sent)?;
    let id = fields.field("id").as_str().map_or_else(id::product, str::to_owned);
    if call.store.get(Kind::Product, &id).is_some() {
        return Err(ApiError::invalid_request(format!(
            "Product '{id}' already exists; update it or choose another id."
        ))
        .with("code", "resource_already_exists")
        .with("param", "id"));
    }
    let mut product = json!({
        "object": "product",
        "active": true,
        "created": call.now,
        "default_price": null,
        "description": null,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "type": "service",
        "unit_label": null,
        "updated": call.now,
        "url": null,
    });
    overlay(&mut product, &fields);
    product.set("id", id.clone());
    keep_types(&mut product);
    call.store.put(Kind::Product, &id, product.clone());
    call.emit("product.created", &product);
    Ok(product)
}

/// An unset list becomes empty, and an unset flag its default.
fn keep_types(product: &mut Value) {
    for (field, unset) in [("images", json!([])), ("active", json!(true))] {
        if product.field(field).is_null() {
            product.set(field, unset);
        }
    }
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional("name", NAME),
        optional("default_price", Shape::Text),
        ACTIVE,
        DESCRIPTION,
        IMAGES,
        METADATA,
        SHIPPABLE,
        STATEMENT_DESCRIPTOR,
        TAX_CODE,
        UNIT_LABEL,
        URL,
    ];
    let fields = parameters::check(FIELDS, sent)?;
    if fields.field("name").is_null() && fields.get("name").is_some() {
        return Err(ApiError::parameter(
            "parameter_invalid_empty",
            "name",
            "A product needs a name.",
        ));
    }
    let before = call.find(Kind::Product, "product", id)?;
    let price = fields.text("default_price");
    if !price.is_empty()
        && call.store.get(Kind::Price, price).is_none_or(|price| price.text("product") != id)
    {
        return Err(ApiError::no_such("price", price, "default_price"));
    }
    let mut after = before.clone();
    overlay(&mut after, &fields);
    keep_types(&mut after);
    if after != before {
        after.set("updated", call.now);
    }
    Ok(save_updated(call, Kind::Product, "product.updated", &before, after))
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("active", Shape::Boolean),
        optional("ids", Shape::List(&Shape::Text)),
        optional("created", Shape::TimeRange),
        optional("url", Shape::Text),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    let named = filters.elements("ids");
    for cursor in ["starting_after", "ending_before"] {
        if !named.is_empty() && !filters.text(cursor).is_empty() {
            let message = format!("Send either ids or {cursor}, not both.");
            return Err(ApiError::parameter("parameter_invalid", cursor, message));
        }
    }
    lists::list(call.store, Kind::Product, "/v1/products", &filters, |product| {
        filters.field("active").as_bool().is_none_or(|active| active == product.is_true("active"))
            && lists::equals(&filters, "url", product.text("url"))
            && lists::in_range(filters.field("created"), product.integer("created"))
            && (named.is_empty() || named.contains(product.field("id")))
    })
}
