//! Stripe's objects as JSON, and what they mean to us.
//!
//! The types here have only the fields that we need, so that any other field may change, disappear
//! or gain values without stopping the shop. An event with a needed field that can't be read is
//! quarantined.

mod session;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::signature::VerifiedDelivery;
use super::values;
use crate::domain::decide::{Content, Event, Mode, Nothing, Observation, PaymentFor};
use crate::domain::facts::{
    Dispute, DisputeStatus, Facts, PaymentStatus, Refund, RefundStatus, StatusHistory,
};
use crate::domain::id::{EventId, IdError, LearnerId, SourceId};
use crate::domain::shop::{Owner, Shop};
use crate::domain::time::Timestamp;

use session::{SessionShape, session_event};
pub use session::{expired_from_api, session_from_api};

/// The metadata of everything that a deployment creates at Stripe.
pub mod metadata {
    /// The mark of the deployment that created it.
    pub const DEPLOYMENT: &str = "coursegate";
    /// The learner who buys.
    pub const LEARNER: &str = "learner_id";
    /// The product that they buy.
    pub const PRODUCT: &str = "product";
    /// The price that they pay.
    pub const PRICE: &str = "price";
}

/// What a type of event means to us.
#[derive(Clone, Copy)]
enum EventKind {
    /// The buyer completed the session, or its delayed payment succeeded or failed.
    Bought {
        /// What `unpaid` means in an event of this type.
        unpaid_means: PaymentStatus,
    },
    /// A session expired.
    Expired,
    /// A refund's status.
    Refund,
    /// A dispute's status. The event's type adds nothing to it: an inquiry is `created` too, and
    /// funds are withdrawn while a dispute is open.
    Dispute,
    /// A warning that the card may be stolen.
    FraudWarning,
    /// A customer was deleted.
    CustomerDeleted,
}

/// Every type of event that we handle; an endpoint doesn't need to send any other. The effects of a
/// refund or dispute on its charge follow from the refund's or dispute's own events.
const EVENT_KINDS: [(&str, EventKind); 14] = [
    ("checkout.session.completed", EventKind::Bought { unpaid_means: PaymentStatus::Processing }),
    (
        "checkout.session.async_payment_succeeded",
        EventKind::Bought { unpaid_means: PaymentStatus::Processing },
    ),
    (
        "checkout.session.async_payment_failed",
        EventKind::Bought { unpaid_means: PaymentStatus::Failed },
    ),
    ("checkout.session.expired", EventKind::Expired),
    ("refund.created", EventKind::Refund),
    ("refund.updated", EventKind::Refund),
    ("refund.failed", EventKind::Refund),
    ("charge.dispute.created", EventKind::Dispute),
    ("charge.dispute.updated", EventKind::Dispute),
    ("charge.dispute.closed", EventKind::Dispute),
    ("charge.dispute.funds_withdrawn", EventKind::Dispute),
    ("charge.dispute.funds_reinstated", EventKind::Dispute),
    ("radar.early_fraud_warning.created", EventKind::FraudWarning),
    ("customer.deleted", EventKind::CustomerDeleted),
];

/// The types of event that an endpoint has to send.
pub fn handled_event_types() -> impl Iterator<Item = &'static str> {
    EVENT_KINDS.into_iter().map(|(kind, _)| kind)
}

/// Those of them that are about a payment, its refunds, its disputes or its fraud warnings.
pub fn payment_event_types() -> impl Iterator<Item = &'static str> {
    let is_about_payment = |(_, event_kind): &(_, EventKind)| match event_kind {
        EventKind::Bought { .. }
        | EventKind::Refund
        | EventKind::Dispute
        | EventKind::FraudWarning => true,
        EventKind::Expired | EventKind::CustomerDeleted => false,
    };
    EVENT_KINDS.into_iter().filter(is_about_payment).map(|(kind, _)| kind)
}

/// The id under which deployment `ours` records an event once it has been delivered; `None` if the
/// deployment ignores it. `event` is the JSON from Stripe's list of events.
#[must_use]
pub fn recorded_id(event: &Value, ours: &Shop) -> Option<EventId> {
    let observation = EventShape::deserialize(event).ok()?.into_observation();
    observation.needs(ours)?;
    observation.event.map(|event| event.id)
}

/// The source of an event that doesn't say what was sold, such as a refund's. Whether the event
/// concerns us depends on whether we know the source.
#[must_use]
pub fn source_told_of(event: &Value) -> Option<SourceId> {
    match EventShape::deserialize(event).ok()?.into_observation().content {
        Content::Facts(source, facts) => facts.origin.is_none().then_some(source),
        Content::CustomerDeleted(..) | Content::Nothing(_) | Content::Unreadable { .. } => None,
    }
}

fn event_kind(kind: &str) -> Option<EventKind> {
    EVENT_KINDS.into_iter().find_map(|(known, event_kind)| (known == kind).then_some(event_kind))
}

impl EventKind {
    /// Which deployment created the object of an event of this kind.
    fn owner(self, object: &Value) -> Result<Owner, String> {
        match self {
            Self::Bought { .. } | Self::Expired | Self::CustomerDeleted => owner(object),
            Self::Refund | Self::Dispute | Self::FraudWarning => Ok(Owner::Unsaid),
        }
    }
}

/// Which deployment created this object, according to its metadata. Metadata of an unknown shape is
/// an error, because the object may still be ours: <https://docs.stripe.com/metadata>.
fn owner(object: &Value) -> Result<Owner, String> {
    let metadata = object.get("metadata").ok_or_else(|| "metadata is missing".to_owned())?;
    if metadata.is_null() {
        return Ok(Owner::Unmarked);
    }
    let metadata = metadata.as_object().ok_or_else(|| "metadata is not an object".to_owned())?;
    match metadata.get(metadata::DEPLOYMENT) {
        None => Ok(Owner::Unmarked),
        Some(Value::String(mark)) => Ok(mark.parse().map_or(Owner::Unmarked, Owner::Marked)),
        Some(_) => Err(format!("metadata.{} is not text", metadata::DEPLOYMENT)),
    }
}

/// Whether this is the thin version of a type of event that we handle. Thin events name their
/// object without including it, and their types start with `v1.`.
/// <https://docs.stripe.com/webhooks/migrate-snapshot-to-thin-events>
#[must_use]
pub fn is_thin(kind: &str) -> bool {
    kind.strip_prefix("v1.").is_some_and(|kind| event_kind(kind).is_some())
}

/// The content of an event whose type isn't handled.
fn unhandled(kind: &str) -> Content {
    if is_thin(kind) {
        let reason = "this endpoint sends thin events, which leave the object out: delete it in \
                      Stripe's Dashboard and run `coursegate webhook register`";
        Content::Unreadable { reason: reason.to_owned() }
    } else {
        Content::Nothing(Nothing::UnhandledType)
    }
}

/// <https://docs.stripe.com/api/events/object>
#[derive(Deserialize)]
struct EventShape {
    id: EventIdShape,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    livemode: bool,
    account: Option<String>,
    api_version: Option<String>,
    data: DataShape,
}

#[derive(Deserialize)]
struct DataShape {
    object: Value,
}

struct EventIdShape(EventId);

impl<'de> Deserialize<'de> for EventIdShape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl VerifiedDelivery<'_> {
    /// Reads the event for a deployment with mode `ours`. It never fails: an event that can't be
    /// read is an observation too, and is quarantined.
    #[must_use]
    pub fn read(self, ours: Mode) -> Observation {
        read(self.body(), ours)
    }
}

/// Reads an event from Stripe's API for a deployment with mode `ours`.
#[must_use]
pub fn event_from_api(json: &str, ours: Mode) -> Observation {
    read(json, ours)
}

fn read(json: &str, ours: Mode) -> Observation {
    match serde_json::from_str::<EventShape>(json) {
        Ok(shape) => shape.into_observation(),
        Err(error) => unreadable_event(json, &error, ours),
    }
}

impl EventShape {
    fn into_observation(self) -> Observation {
        let created = Timestamp::from_unix_seconds(self.created);
        let object = &self.data.object;
        let event_kind = event_kind(&self.kind);
        let content = match event_kind {
            Some(EventKind::Bought { unpaid_means }) => {
                session_event(object, |session| session.bought(created, unpaid_means))
            }
            Some(EventKind::Expired) => session_event(object, SessionShape::expired),
            Some(EventKind::Refund) => payment_event(object, "refund", refund(object, created)),
            Some(EventKind::Dispute) => payment_event(object, "dispute", dispute(object, created)),
            // Stripe leaves the field out where the charge has no payment intent.
            Some(EventKind::FraudWarning) if object.get("payment_intent").is_none() => {
                Content::Nothing(Nothing::NoPaymentIntent)
            }
            Some(EventKind::FraudWarning) => {
                payment_event(object, "early fraud warning", fraud_warning(object, created))
            }
            Some(EventKind::CustomerDeleted) => customer_deleted(object),
            None => unhandled(&self.kind),
        };
        let owner = event_kind.map_or(Ok(Owner::Unsaid), |event_kind| event_kind.owner(object));
        let (owner, content) = match owner {
            Ok(owner) => (owner, content),
            Err(reason) => (Owner::Unsaid, Content::Unreadable { reason }),
        };
        Observation {
            event: Some(Event {
                id: self.id.0,
                kind: plain_kind(self.kind),
                object: object_id(&self.data.object),
                api_version: self.api_version.filter(|version| is_plain(version)),
                created,
            }),
            mode: mode_of(self.livemode),
            connected_account: self.account.is_some(),
            owner,
            content,
        }
    }
}

const fn mode_of(livemode: bool) -> Mode {
    if livemode { Mode::Live } else { Mode::Test }
}

// Ids, types and versions are short, and neither secret nor personal. Anything else in their place
// is neither stored nor logged.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.len() <= 255 && text.bytes().all(plain)
}

fn object_id(object: &Value) -> Option<String> {
    object.get("id")?.as_str().filter(|id| is_plain(id)).map(ToOwned::to_owned)
}

fn plain_kind(kind: String) -> String {
    if is_plain(&kind) { kind } else { "unknown".to_owned() }
}

fn unreadable_event(body: &str, error: &serde_json::Error, ours: Mode) -> Observation {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    let id = text("id").and_then(|id| id.parse().ok()).or_else(|| digest_id(body));
    let kind = text("type");
    let event_kind = kind.as_deref().and_then(event_kind);
    let content = match &kind {
        // An event that we don't handle doesn't have to be kept.
        Some(kind) if event_kind.is_none() => unhandled(kind),
        Some(_) | None => Content::Unreadable { reason: describe("event", error) },
    };
    let object = value.pointer("/data/object").or_else(|| value.get("related_object"));
    let owner =
        event_kind.zip(object).and_then(|(event_kind, object)| event_kind.owner(object).ok());
    Observation {
        event: id.map(|id| Event {
            id,
            kind: plain_kind(kind.unwrap_or_else(|| "unknown".to_owned())),
            object: object.and_then(object_id),
            api_version: text("api_version").filter(|version| is_plain(version)),
            created: Timestamp::from_unix_seconds(
                value.get("created").and_then(Value::as_i64).unwrap_or_default(),
            ),
        }),
        mode: value.get("livemode").and_then(Value::as_bool).map_or(ours, mode_of),
        connected_account: text("account").is_some(),
        owner: owner.unwrap_or(Owner::Unsaid),
        content,
    }
}

/// An event without a readable id is kept under a digest of its body, so that it is kept once.
fn digest_id(body: &str) -> Option<EventId> {
    let digest = Sha256::digest(body.as_bytes());
    let (id, _) = digest.split_at(12);
    format!("evt_unreadable_{}", URL_SAFE_NO_PAD.encode(id)).parse().ok()
}

/// What serde expected and where, without the value that it found.
fn describe(what: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split('`').nth(1).filter(|_| text.starts_with("missing field")) {
        Some(field) => format!("{what}: {field} is missing"),
        None => format!("{what}: unexpected JSON at {}:{}", error.line(), error.column()),
    }
}

fn unreadable(what: &str, reason: &str) -> Content {
    Content::Unreadable { reason: format!("{what}: {reason}") }
}

/// The content of an event about an object that refers to a payment. If `payment_intent` is null,
/// the object isn't ours, because we sell only through payment intents. If the field is missing, we
/// can't know.
fn payment_event(object: &Value, what: &str, facts: Result<Facts, String>) -> Content {
    let payment = match object.get("payment_intent") {
        Some(Value::Null) => return Content::Nothing(Nothing::NoPaymentIntent),
        Some(payment) => payment,
        None => return unreadable(what, "payment_intent is missing"),
    };
    // An id, or the whole object.
    let id = payment.as_str().or_else(|| payment.get("id")?.as_str());
    let source = id
        .ok_or_else(|| "payment_intent is not an id".to_owned())
        .and_then(|id| id.parse().map_err(|error: IdError| error.to_string()))
        .map(SourceId::Payment);
    match source.and_then(|source| Ok(Content::Facts(source, Box::new(facts?)))) {
        Ok(content) => content,
        Err(reason) => unreadable(what, &reason),
    }
}

fn field<T: std::str::FromStr<Err = IdError>>(object: &Value, name: &str) -> Result<T, String> {
    let text = text(object, name)?;
    text.parse().map_err(|error| format!("{name}: {error}"))
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str, String> {
    let value = object.get(name).ok_or_else(|| format!("{name} is missing"))?;
    value.as_str().ok_or_else(|| format!("{name} is not text"))
}

/// <https://docs.stripe.com/api/refunds/object>
fn refund(object: &Value, at: Timestamp) -> Result<Facts, String> {
    let status = match object.get("status") {
        // Stripe's API allows null, which doesn't say yet whether money has moved.
        Some(Value::Null) => RefundStatus::Pending,
        Some(_) | None => values::refund_status(text(object, "status")?)?,
    };
    let amount = object.get("amount").and_then(Value::as_i64);
    let amount_minor = amount.ok_or_else(|| "amount is not an integer".to_owned())?;
    let refund = Refund { amount_minor, statuses: StatusHistory::once(status, at) };
    Ok(Facts { refunds: [(field(object, "id")?, refund)].into(), ..Facts::default() })
}

fn dispute(object: &Value, at: Timestamp) -> Result<Facts, String> {
    let statuses = StatusHistory::once(dispute_status(object)?, at);
    let dispute = Dispute { statuses, snapshot: None };
    Ok(Facts { disputes: [(field(object, "id")?, dispute)].into(), ..Facts::default() })
}

/// A dispute's status. <https://docs.stripe.com/api/disputes/object>
fn dispute_status(object: &Value) -> Result<DisputeStatus, String> {
    let case_type = object.pointer("/payment_method_details/card/case_type");
    values::dispute_status(text(object, "status")?, case_type.and_then(Value::as_str))
}

/// A dispute's status, from Stripe's response.
pub fn dispute_status_from_api(json: &str) -> Result<DisputeStatus, String> {
    let object: Value = serde_json::from_str(json).map_err(|error| describe("dispute", &error))?;
    dispute_status(&object).map_err(|reason| format!("dispute: {reason}"))
}

/// Which deployment created a payment, from Stripe's response.
pub fn payment_owner_from_api(json: &str) -> Result<Owner, String> {
    let object: Value =
        serde_json::from_str(json).map_err(|error| describe("payment intent", &error))?;
    owner(&object).map_err(|reason| format!("payment intent: {reason}"))
}

/// The subscription that a payment is for, if any, from Stripe's list of the payment's invoice
/// payments with their invoices expanded. Of several invoices, the first one with a deployment's
/// mark counts. <https://docs.stripe.com/api/invoice-payment/object>
pub fn subscription_of_payment_from_api(json: &str) -> Result<Option<PaymentFor>, String> {
    let list: Value =
        serde_json::from_str(json).map_err(|error| describe("invoice payments", &error))?;
    let of_list = |reason: &str| format!("invoice payments: {reason}");
    let all = list.get("data").and_then(Value::as_array);
    let all = all.ok_or_else(|| of_list("data is not a list"))?;
    if list.get("has_more") != Some(&Value::Bool(false)) {
        return Err(of_list("there is more than one page"));
    }
    let mut found = None;
    for payment in all {
        let invoice = payment.get("invoice").filter(|invoice| invoice.is_object());
        let invoice = invoice.ok_or_else(|| of_list("invoice is not an object"))?;
        let of_invoice = |reason: String| format!("invoice: {reason}");
        if let Some(subscription) = subscription_of(invoice).map_err(of_invoice)? {
            let is_marked =
                matches!(subscription, PaymentFor::Subscription(_, _, Owner::Marked(_)));
            if is_marked {
                return Ok(Some(subscription));
            }
            found = found.or(Some(subscription));
        }
    }
    Ok(found)
}

/// An invoice's subscription, with the subscription's metadata as it was when the invoice was
/// created; `None` if the invoice isn't for a subscription.
/// <https://docs.stripe.com/api/invoices/object>
fn subscription_of(invoice: &Value) -> Result<Option<PaymentFor>, String> {
    // Invoices that were created manually have no parent.
    let parent = invoice.get("parent").unwrap_or(&Value::Null);
    let Some(details) = parent.get("subscription_details").filter(|it| !it.is_null()) else {
        return Ok(None);
    };
    let subscription = match details.get("subscription") {
        Some(expanded) if expanded.is_object() => field(expanded, "id")?,
        Some(_) | None => field(details, "subscription")?,
    };
    let owner = owner(details)?;
    Ok(Some(PaymentFor::Subscription(subscription, field(invoice, "id")?, owner)))
}

/// <https://docs.stripe.com/api/radar/early_fraud_warnings/object>
fn fraud_warning(object: &Value, at: Timestamp) -> Result<Facts, String> {
    let fraud_warnings = [(field(object, "id")?, at)].into();
    Ok(Facts { fraud_warnings, ..Facts::default() })
}

/// <https://docs.stripe.com/api/customers/object>
fn customer_deleted(object: &Value) -> Content {
    let read = || -> Result<Content, String> {
        let learner: LearnerId = object
            .pointer(&format!("/metadata/{}", metadata::LEARNER))
            .and_then(Value::as_str)
            .and_then(|learner| learner.parse().ok())
            .ok_or_else(|| format!("metadata.{} is not a learner id", metadata::LEARNER))?;
        Ok(Content::CustomerDeleted(learner, field(object, "id")?))
    };
    read().unwrap_or_else(|reason| unreadable("customer", &reason))
}
