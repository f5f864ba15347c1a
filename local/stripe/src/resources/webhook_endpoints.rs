//! Webhook endpoints and their signing secrets.

use serde_json::{Value, json};

use crate::deliveries;
use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional, required};
use crate::resources::{event_destinations, lists, overlay};
use crate::state::{API_VERSION, Call};
use crate::store::Kind;

/// The most endpoints of an account.
const MOST: usize = 16;

const FIELDS: &[Parameter] = &[
    required("enabled_events", Shape::List(&Shape::Text)),
    required("url", Shape::Url),
    optional("api_version", Shape::Text),
    optional("description", Shape::Bounded(5000)),
    optional("metadata", Shape::Metadata),
];

pub(crate) fn create(call: &mut Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    let fields = parameters::check(FIELDS, sent)?;
    some_events(&fields)?;
    let version = fields.text("api_version");
    if !version.is_empty() && !is_api_version(version) {
        let message =
            format!("Invalid Stripe API version: {version}. Write it like {API_VERSION}.");
        return Err(ApiError::parameter("parameter_invalid", "api_version", message));
    }
    if call.store.count(Kind::WebhookEndpoint) >= MOST {
        return Err(ApiError::invalid_request(format!(
            "This account has {MOST} test webhook endpoints, and that is the maximum; delete one first."
        )));
    }
    let (mut endpoint, secret) = add(call, &fields);
    // Only this response contains it.
    endpoint.set("secret", secret);
    Ok(endpoint)
}

/// A date, followed by a release name since 2024.
fn is_api_version(text: &str) -> bool {
    let (date, name) = text.split_once('.').map_or((text, None), |(date, name)| (date, Some(name)));
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase());
    is_date && name.is_none_or(is_name)
}

fn some_events(fields: &Value) -> Result<(), ApiError> {
    if fields.get("enabled_events").is_some() && fields.elements("enabled_events").is_empty() {
        return Err(ApiError::parameter(
            "parameter_invalid_empty",
            "enabled_events",
            "Name at least one event type in enabled_events, or * for all.",
        ));
    }
    Ok(())
}

fn add(call: &mut Call<'_>, fields: &Value) -> (Value, String) {
    let (id, secret) = (id::webhook_endpoint(), id::signing_secret());
    let mut endpoint = json!({
        "id": id,
        "object": "webhook_endpoint",
        "api_version": null,
        "application": null,
        "created": call.now,
        "description": null,
        "livemode": false,
        "metadata": {},
        "status": "enabled",
    });
    overlay(&mut endpoint, fields);
    call.store.put(Kind::WebhookEndpoint, &id, endpoint.clone());
    call.store.put(
        Kind::SigningSecrets,
        &id,
        json!({ "secrets": [{ "secret": secret, "expires_at": null }] }),
    );
    (endpoint, secret)
}

/// The metadata key of the endpoint that [`ensure`] manages.
const OWN: &str = "registered_by_simulator";

/// The newest signing secret of the simulator's own endpoint. It is created if there is none, and
/// moved if its address changed, with its undelivered events and its secret.
pub(crate) fn ensure(call: &mut Call<'_>, url: &str) -> Result<String, ApiError> {
    let wanted = json!({ "url": url, "enabled_events": ["*"], "metadata": { OWN: "true" } });
    let fields = parameters::check(FIELDS, &wanted)?;
    let find = |is_it: &dyn Fn(&Value) -> bool| {
        let mut endpoints = call.store.iterate(Kind::WebhookEndpoint);
        let found = endpoints.find(|(_, _, endpoint)| is_it(endpoint));
        found.map(|(_, id, endpoint)| (id.to_owned(), endpoint.clone()))
    };
    let own = find(&|endpoint| !endpoint.field("metadata").text(OWN).is_empty());
    // Somebody may have created one with the API; two at one address would sign differently.
    let Some((id, mut endpoint)) = own.or_else(|| find(&|endpoint| endpoint.text("url") == url))
    else {
        return Ok(add(call, &fields).1);
    };
    overlay(&mut endpoint, &fields);
    endpoint.set("status", "enabled");
    call.store.put(Kind::WebhookEndpoint, &id, endpoint);
    let secret = call.active_secrets(&id).into_iter().next();
    secret.ok_or_else(|| ApiError::internal("The webhook endpoint has no signing secret."))
}

pub(crate) fn update(call: &mut Call<'_>, id: &str, sent: &Value) -> Result<Value, ApiError> {
    const FIELDS: &[Parameter] = &[
        optional("description", Shape::Bounded(5000)),
        optional("disabled", Shape::Boolean),
        optional("enabled_events", Shape::List(&Shape::Text)),
        optional("metadata", Shape::Metadata),
        optional("url", Shape::Url),
    ];
    let mut fields = parameters::check(FIELDS, sent)?;
    some_events(&fields)?;
    let mut endpoint = call.find(Kind::WebhookEndpoint, "webhook endpoint", id)?;
    if let Some(fields) = fields.as_object_mut() {
        // Neither can be unset.
        fields.retain(|name, value| {
            !(value.is_null() && (name == "url" || name == "enabled_events"))
        });
        if let Some(disabled) = fields.remove("disabled") {
            endpoint.set("status", if disabled == true { "disabled" } else { "enabled" });
        }
    }
    overlay(&mut endpoint, &fields);
    call.store.put(Kind::WebhookEndpoint, id, endpoint.clone());
    Ok(endpoint)
}

pub(crate) fn delete(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    call.find(Kind::WebhookEndpoint, "webhook endpoint", id)?;
    call.store.remove(Kind::WebhookEndpoint, id);
    call.store.remove(Kind::SigningSecrets, id);
    deliveries::give_up_on(call, id);
    Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true }))
}

pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    let page =
        parameters::check(&[lists::LIMIT, lists::STARTING_AFTER, lists::ENDING_BEFORE], sent)?;
    lists::list(call.store, Kind::WebhookEndpoint, "/v1/webhook_endpoints", &page, |endpoint| {
        !event_destinations::is_thin(endpoint)
    })
}

/// Rolls an endpoint's secret; the old one keeps signing for this many seconds.
pub(crate) fn roll_secret(
    call: &mut Call<'_>,
    id: &str,
    expire_old_in_seconds: i64,
) -> Result<Value, ApiError> {
    call.find(Kind::WebhookEndpoint, "webhook endpoint", id)?;
    let expires_at = call.now + expire_old_in_seconds.clamp(0, 86_400 * 7);
    let secret = id::signing_secret();
    let mut secrets = vec![json!({ "secret": secret, "expires_at": null })];
    let current =
        call.store.get(Kind::SigningSecrets, id).map_or(&[][..], |it| it.elements("secrets"));
    for old in current {
        let ends = old.field("expires_at").as_i64().unwrap_or(expires_at).min(expires_at);
        if ends > call.now {
            secrets.push(json!({ "secret": old.text("secret"), "expires_at": ends }));
        }
    }
    call.store.put(Kind::SigningSecrets, id, json!({ "secrets": secrets }));
    Ok(json!({ "id": id, "secret": secret }))
}

impl Call<'_> {
    /// The secrets that currently sign for an endpoint, newest first.
    pub(crate) fn active_secrets(&self, endpoint: &str) -> Vec<String> {
        let secrets = self.store.get(Kind::SigningSecrets, endpoint);
        let secrets = secrets.map_or(&[][..], |it| it.elements("secrets"));
        secrets
            .iter()
            .filter(|secret| secret.field("expires_at").as_i64().is_none_or(|ends| ends > self.now))
            .map(|secret| secret.text("secret").to_owned())
            .collect()
    }
}
