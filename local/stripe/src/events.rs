//! Events: what changed, with the object at that time, and a delivery for each subscribed endpoint.

use serde_json::{Map, Value, json};

use crate::document::{Document, previous_attributes};
use crate::error::ApiError;
use crate::id;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::resources::{event_destinations, lists};
use crate::state::{API_VERSION, Call, machine_time_ms};
use crate::store::Kind;

/// Whether deliveries are held; the setting survives a restart.
pub(crate) const HOLD: &str = "hold";

impl Call<'_> {
    /// Emits an event about an object.
    pub(crate) fn emit(&mut self, event_type: &str, object: &Value) -> Value {
        self.emit_with(event_type, &json!({ "object": object }))
    }

    /// Emits `….updated`, unless nothing changed.
    pub(crate) fn emit_updated(&mut self, event_type: &str, before: &Value, after: &Value) {
        let previous: Map<_, _> = previous_attributes(before, after);
        if !previous.is_empty() {
            self.emit_with(
                event_type,
                &json!({ "object": after, "previous_attributes": previous }),
            );
        }
    }

    /// Emits an event with the caller's `data`.
    pub(crate) fn emit_with(&mut self, event_type: &str, data: &Value) -> Value {
        let endpoints = self.listeners(event_type);
        let id = id::event();
        let event = json!({
            "id": id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": false,
            "pending_webhooks": endpoints.len(),
            "request": {
                "id": self.origin.request,
                "idempotency_key": self.origin.idempotency_key,
            },
            "type": event_type,
        });
        self.store.put(Kind::Event, &id, event.clone());
        for endpoint in endpoints {
            self.add_delivery(&event, &endpoint);
        }
        event
    }

    /// The enabled endpoints that subscribe to this type; those of thin events use another name for
    /// it.
    pub(crate) fn listeners(&self, event_type: &str) -> Vec<String> {
        let listens = |endpoint: &Value| {
            let prefix = event_destinations::THIN_PREFIX;
            let prefix = if event_destinations::is_thin(endpoint) { prefix } else { "" };
            let is_this = |listed: &str| listed.strip_prefix(prefix) == Some(event_type);
            endpoint.text("status") == "enabled"
                && endpoint
                    .elements("enabled_events")
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|listed| listed == "*" || is_this(listed))
        };
        self.store
            .iterate(Kind::WebhookEndpoint)
            .filter(|(_, _, endpoint)| listens(endpoint))
            .map(|(_, id, _)| id.to_owned())
            .collect()
    }

    /// Creates an event's delivery to an endpoint, to be sent when the operation is committed, or
    /// when held deliveries are released.
    pub(crate) fn add_delivery(&mut self, event: &Value, endpoint: &str) -> Value {
        let held = self.store.get(Kind::Setting, HOLD).is_some();
        let id = id::delivery();
        let delivery = json!({
            "id": id,
            "event": event.text("id"),
            "type": event.text("type"),
            "endpoint": endpoint,
            "url": self.store.get(Kind::WebhookEndpoint, endpoint).map(|endpoint| endpoint.text("url")),
            "created": self.now,
            "copy": false,
            "attempts": 0,
            "last_status": null,
            "last_error": null,
            "next_attempt_ms": machine_time_ms(),
            "state": if held { "held" } else { "pending" },
        });
        self.store.put(Kind::Delivery, &id, delivery.clone());
        if !held {
            self.to_deliver.push(id);
        }
        delivery
    }

    /// `GET /v1/events/{id}`.
    pub(crate) fn retrieve_event(&self, id: &str) -> Result<Value, ApiError> {
        self.find(Kind::Event, "event", id)
    }

    /// `GET /v1/events`.
    pub(crate) fn list_events(&self, sent: &Value) -> Result<Value, ApiError> {
        const FILTERS: &[Parameter] = &[
            optional("type", Shape::Text),
            optional("types", Shape::List(&Shape::Text)),
            optional("created", Shape::TimeRange),
            optional("delivery_success", Shape::Boolean),
            lists::LIMIT,
            lists::STARTING_AFTER,
            lists::ENDING_BEFORE,
        ];
        let filters = parameters::check(FILTERS, sent)?;
        if !filters.text("type").is_empty() && !filters.elements("types").is_empty() {
            return Err(ApiError::parameter(
                "parameter_invalid",
                "types",
                "Send either type or types, not both.",
            ));
        }
        lists::list(self.store, Kind::Event, "/v1/events", &filters, |event| {
            (filters.field("type").is_null()
                || type_matches(filters.field("type"), event.text("type")))
                && (filters.elements("types").is_empty()
                    || filters
                        .elements("types")
                        .iter()
                        .any(|listed| type_matches(listed, event.text("type"))))
                && lists::in_range(filters.field("created"), event.integer("created"))
                && filters
                    .field("delivery_success")
                    .as_bool()
                    .is_none_or(|success| success == (event.integer("pending_webhooks") == 0))
        })
    }
}

/// `charge.*` matches all types of charges.
fn type_matches(listed: &Value, event_type: &str) -> bool {
    let listed = listed.as_str().unwrap_or_default();
    listed.strip_suffix('*').map_or(listed == event_type, |prefix| event_type.starts_with(prefix))
}
