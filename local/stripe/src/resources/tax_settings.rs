//! Stripe Tax settings, one set per account. Tax itself is not computed here.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::parameters::{self, Parameter, Shape, optional, required};
use crate::resources::complete_address;
use crate::state::Call;
use crate::store::Kind;

/// Where the settings are stored.
const TAX: &str = "tax";

/// The settings; pending until the head office is set.
pub(crate) fn retrieve(call: &Call<'_>) -> Value {
    if let Some(settings) = call.store.get(Kind::Setting, TAX) {
        return settings.clone();
    }
    json!({
        "object": "tax.settings",
        "defaults": { "provider": "stripe", "tax_behavior": null, "tax_code": null },
        "head_office": null,
        "livemode": false,
        "status": "pending",
        "status_details": { "pending": { "missing_fields": ["head_office"] } },
    })
}

/// No setting can be unset.
pub(crate) fn update(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional(
            "defaults",
            Shape::Object(&[
                optional(
                    "tax_behavior",
                    Shape::Choice(&["exclusive", "inclusive", "inferred_by_currency"]),
                ),
                optional("tax_code", Shape::Text),
            ]),
        ),
        optional(
            "head_office",
            Shape::Object(&[required(
                "address",
                Shape::Object(&[
                    required("country", Shape::Text),
                    optional("city", Shape::Text),
                    optional("line1", Shape::Text),
                    optional("line2", Shape::Text),
                    optional("postal_code", Shape::Text),
                    optional("state", Shape::Text),
                ]),
            )]),
        ),
    ];
    let fields = parameters::check(FIELDS, sent)?;
    let before = retrieve(call);
    let mut after = before.clone();
    let mut defaults = before.field("defaults").clone();
    for name in ["tax_behavior", "tax_code"] {
        let value = fields.field("defaults").field(name);
        if !value.is_null() {
            defaults.set(name, value.clone());
        }
    }
    after.set("defaults", defaults);
    let address = fields.field("head_office").field("address");
    if !address.is_null() {
        after.set("head_office", json!({ "address": complete_address(address) }));
        after.set("status", "active");
        after.set("status_details", json!({ "active": {} }));
    }
    call.store.put(Kind::Setting, TAX, after.clone());
    call.emit_updated("tax.settings.updated", &before, &after);
    Ok(after)
}
