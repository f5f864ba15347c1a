//! Event destinations as `/v2` lists them: the webhook endpoints of `/v1`, and those that send thin
//! events, which `/v1` doesn't show. A thin one is created through the control API, as in Stripe's
//! Dashboard.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::document::Document;
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::state::Call;
use crate::store::Kind;

/// The list's path.
pub(crate) const PATH: &str = "/v2/core/event_destinations";
/// The prefix of thin event types; the rest is the snapshot event's type.
pub(crate) const THIN_PREFIX: &str = "v1.";
/// A field of the endpoint's document that only thin destinations have.
const PAYLOAD: &str = "event_payload";
const DEFAULT_LIMIT: usize = 20;

/// Whether this document is a destination of thin events.
pub(crate) fn is_thin(endpoint: &Value) -> bool {
    endpoint.text(PAYLOAD) == "thin"
}

/// Creates a destination of thin events at this address. Only this response has its signing secret.
pub(crate) fn create_thin(call: &mut Call<'_>, url: &str, enabled_events: &[String]) -> Value {
    let (id, secret) = (id::event_destination(), id::signing_secret());
    let endpoint = json!({
        "id": id,
        "created": call.now,
        "enabled_events": enabled_events,
        PAYLOAD: "thin",
        "metadata": {},
        "status": "enabled",
        "url": url,
    });
    call.store.put(Kind::WebhookEndpoint, &id, endpoint.clone());
    let secrets = json!({ "secrets": [{ "secret": secret, "expires_at": null }] });
    call.store.put(Kind::SigningSecrets, &id, secrets);
    let mut destination = destination(&endpoint, true);
    if let Some(endpoint) = destination.pointer_mut("/webhook_endpoint") {
        endpoint.set("signing_secret", secret);
    }
    destination
}

/// <https://docs.stripe.com/api/v2/core/event-destinations/object>
fn destination(endpoint: &Value, with_url: bool) -> Value {
    let created = rfc3339(endpoint.integer("created"));
    json!({
        "id": endpoint.text("id"),
        "object": "v2.core.event_destination",
        "amazon_eventbridge": null,
        "created": created,
        "description": endpoint.text("description"),
        "enabled_events": endpoint.field("enabled_events"),
        "event_payload": if is_thin(endpoint) { "thin" } else { "snapshot" },
        "events_from": ["self"],
        "livemode": false,
        "metadata": endpoint.field("metadata"),
        "name": "",
        "snapshot_api_version": endpoint.field("api_version"),
        "status": endpoint.text("status"),
        "status_details": null,
        "type": "webhook_endpoint",
        "updated": created,
        "webhook_endpoint": {
            "signing_secret": null,
            "url": with_url.then(|| endpoint.text("url")),
        },
    })
}

/// `GET /v2/core/event_destinations`.
pub(crate) fn list(call: &Call<'_>, sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("include", Shape::List(&Shape::Choice(&["webhook_endpoint.url"]))),
        optional("limit", Shape::Integer { min: 1, max: 100 }),
        optional("page", Shape::Integer { min: 0, max: i64::MAX }),
    ];
    let filters = parameters::check(FILTERS, sent)?;
    let number = |name: &str| filters.field(name).as_u64().and_then(|it| usize::try_from(it).ok());
    let (limit, start) = (number("limit").unwrap_or(DEFAULT_LIMIT), number("page").unwrap_or(0));
    let with_url = !filters.elements("include").is_empty();
    let all = call.store.iterate(Kind::WebhookEndpoint).rev();
    let mut found: Vec<Value> = all
        .skip(start)
        .take(limit.saturating_add(1))
        .map(|(_, _, endpoint)| destination(endpoint, with_url))
        .collect();
    let has_more = found.len() > limit;
    found.truncate(limit);
    let include = if with_url { "&include[0]=webhook_endpoint.url" } else { "" };
    let page_at = |page: usize| format!("{PATH}?limit={limit}&page={page}{include}");
    Ok(json!({
        "data": found,
        "next_page_url": has_more.then(|| page_at(start.saturating_add(limit))),
        "previous_page_url": (start > 0).then(|| page_at(start.saturating_sub(limit))),
    }))
}

/// The thin event for a snapshot event: it names the object without containing it.
/// <https://docs.stripe.com/api/v2/core/events/object>
pub(crate) fn thin_event(event: &Value) -> Value {
    let object = event.field("data").field("object");
    let kind = object.text("object");
    let id = event.text("id");
    json!({
        "id": format!("evt_test_{}", id.trim_start_matches("evt_")),
        "object": "v2.core.event",
        "context": null,
        "created": rfc3339(event.integer("created")),
        "livemode": event.field("livemode"),
        "related_object": {
            "id": object.text("id"),
            "type": kind,
            "url": format!("/v1/{}s/{}", kind.replace('.', "/"), object.text("id")),
        },
        "snapshot_event": id,
        "type": format!("{THIN_PREFIX}{}", event.text("type")),
    })
}

fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}
