//! Customer portal configurations. Portal sessions are not simulated.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional, required};
use crate::resources::{lists, overlay};
use crate::state::Call;
use crate::store::Kind;

const ENABLED: &[Parameter] = &[required("enabled", Shape::Boolean)];

const FIELDS: &[Parameter] = &[
    required(
        "features",
        Shape::Object(&[
            optional(
                "customer_update",
                Shape::Object(&[
                    required("enabled", Shape::Boolean),
                    optional(
                        "allowed_updates",
                        Shape::List(&Shape::Choice(&[
                            "address", "email", "name", "phone", "shipping", "tax_id",
                        ])),
                    ),
                ]),
            ),
            optional("invoice_history", Shape::Object(ENABLED)),
            optional("payment_method_update", Shape::Object(ENABLED)),
        ]),
    ),
    optional(
        "business_profile",
        Shape::Object(&[
            optional("headline", Shape::Bounded(60)),
            optional("privacy_policy_url", Shape::Url),
            optional("terms_of_service_url", Shape::Url),
        ]),
    ),
    optional("default_return_url", Shape::Url),
    optional("login_page", Shape::Object(ENABLED)),
    optional("metadata", Shape::Metadata),
    optional("name", Shape::Text),
];

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(FIELDS, sent)?;
    Ok(add(call, &fields, false))
}

/// Saves the portal's settings as the Dashboard does: from then on there is a default
/// configuration. Only the Dashboard creates one; the API's configurations never are the default.
pub(crate) fn save_default(call: &mut Call<'_>) -> Value {
    let there = call
        .store
        .iterate(Kind::PortalConfiguration)
        .find(|(_, _, configuration)| configuration.is_true("is_default"))
        .map(|(_, _, configuration)| configuration.clone());
    there.unwrap_or_else(|| {
        let features = json!({
            "customer_update": { "allowed_updates": ["email", "tax_id"], "enabled": true },
            "invoice_history": { "enabled": true },
        });
        add(call, &json!({ "features": features }), true)
    })
}

fn add(call: &mut Call<'_>, fields: &Value, is_default: bool) -> Value {
    let id = id::portal_configuration();
    let login_page = fields.field("login_page").is_true("enabled");
    let mut configuration = json!({
        "object": "billing_portal.configuration",
        "active": true,
        "application": null,
        "created": call.now,
        "default_return_url": null,
        "is_default": is_default,
        "livemode": false,
        "metadata": {},
        "name": null,
        "updated": call.now,
    });
    overlay(&mut configuration, fields);
    configuration.set("id", id.clone());
    let mut business =
        json!({ "headline": null, "privacy_policy_url": null, "terms_of_service_url": null });
    overlay(&mut business, fields.field("business_profile"));
    configuration.set("business_profile", business);
    let mut features = every_feature();
    for (name, feature) in fields.field("features").as_object().into_iter().flatten() {
        let mut whole = features.field(name).clone();
        overlay(&mut whole, feature);
        features.set(name, whole);
    }
    configuration.set("features", features);
    let url = login_page.then(|| format!("{}/p/login/{id}", call.url));
    configuration.set("login_page", json!({ "enabled": login_page, "url": url }));
    call.store.put(Kind::PortalConfiguration, &id, configuration.clone());
    call.emit("billing_portal.configuration.created", &configuration);
    configuration
}

/// All features, disabled.
fn every_feature() -> Value {
    json!({
        "customer_update": { "allowed_updates": [], "enabled": false },
        "invoice_history": { "enabled": false },
        "payment_method_update": { "enabled": false, "payment_method_configuration": null },
        "subscription_cancel": {
            "cancellation_reason": { "enabled": false, "options": [] },
            "enabled": false,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_update": {
            "billing_cycle_anchor": null,
            "default_allowed_updates": [],
            "enabled": false,
            "proration_behavior": "none",
            "schedule_at_period_end": { "conditions": [] },
            "trial_update_behavior": "end_trial",
        },
    })
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("active", Shape::Boolean),
        optional("is_default", Shape::Boolean),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    let url = "/v1/billing_portal/configurations";
    lists::list(call.store, Kind::PortalConfiguration, url, &filters, |configuration| {
        ["active", "is_default"].into_iter().all(|filter| {
            filters
                .field(filter)
                .as_bool()
                .is_none_or(|wanted| wanted == configuration.is_true(filter))
        })
    })
}
