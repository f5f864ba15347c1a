//! `expand[]`: replaces ids by the objects that they name.

use serde_json::{Map, Value};

use crate::document::Document;
use crate::error::ApiError;
use crate::parameters::{self, Shape, optional};
use crate::permissions::Permissions;
use crate::resources::{checkout_sessions, refunds};
use crate::store::{Kind, Store};

/// Stripe expands at most four levels.
const DEEPEST: usize = 4;

/// The fields with expandable ids, and the kinds of their objects.
const EXPANDABLE: &[(&str, &str, Kind)] = &[
    ("checkout.session", "customer", Kind::Customer),
    ("checkout.session", "payment_intent", Kind::PaymentIntent),
    ("payment_intent", "customer", Kind::Customer),
    ("payment_intent", "latest_charge", Kind::Charge),
    ("payment_intent", "payment_method", Kind::PaymentMethod),
    ("charge", "customer", Kind::Customer),
    ("charge", "payment_intent", Kind::PaymentIntent),
    ("refund", "charge", Kind::Charge),
    ("refund", "customer", Kind::Customer),
    ("refund", "payment_intent", Kind::PaymentIntent),
    ("refund", "payment_method", Kind::PaymentMethod),
    ("dispute", "charge", Kind::Charge),
    ("dispute", "payment_intent", Kind::PaymentIntent),
    ("radar.early_fraud_warning", "charge", Kind::Charge),
    ("radar.early_fraud_warning", "payment_intent", Kind::PaymentIntent),
    ("payment_method", "customer", Kind::Customer),
    ("price", "product", Kind::Product),
    ("product", "default_price", Kind::Price),
];

/// Fields that Stripe can expand but that are always null here; expanding null changes nothing.
const EMPTY: &[(&str, &str)] = &[
    ("checkout.session", "invoice"),
    ("checkout.session", "payment_link"),
    ("checkout.session", "setup_intent"),
    ("checkout.session", "subscription"),
    ("payment_intent", "review"),
    ("charge", "review"),
];

/// Finds a part by the id of its parent.
type FindPart = fn(&Store, &str) -> Value;

/// Parts that a response contains only if requested.
const INCLUDABLE: &[(&str, &str, FindPart)] = &[
    ("checkout.session", "line_items", checkout_sessions::first_line_items),
    ("charge", "refunds", refunds::first_of),
];

/// Takes the expand paths out of a request's parameters.
pub(crate) fn paths(sent: &Value) -> Result<(Value, Vec<String>), ApiError> {
    let mut rest = sent.as_object().cloned().unwrap_or_default();
    let Some(expand) = rest.remove("expand") else { return Ok((rest.into(), Vec::new())) };
    let sent: Map<_, _> = [("expand".to_owned(), expand)].into_iter().collect();
    let checked =
        parameters::check(&[optional("expand", Shape::List(&Shape::Text))], &sent.into())?;
    let mut paths = Vec::new();
    for path in checked.elements("expand").iter().filter_map(Value::as_str) {
        if path.split('.').filter(|step| *step != "data").count() > DEEPEST {
            return Err(refused(path, &format!("at most {DEEPEST} levels can be expanded")));
        }
        paths.push(path.to_owned());
    }
    // Outer levels first, so that the objects they add can be expanded further.
    paths.sort_by_key(|path| path.matches('.').count());
    Ok((rest.into(), paths))
}

/// Expands a response. A path also expands what it passes through.
pub(crate) fn apply(
    store: &Store,
    permissions: &Permissions,
    body: &mut Value,
    paths: &[String],
) -> Result<(), ApiError> {
    let source = Source { store, permissions };
    for path in paths {
        let steps: Vec<&str> = path.split('.').collect();
        follow(source, body, &steps, path)?;
    }
    Ok(())
}

/// Looks up the objects, if the key may read them.
#[derive(Clone, Copy)]
struct Source<'a> {
    store: &'a Store,
    permissions: &'a Permissions,
}

fn follow(
    source: Source<'_>,
    node: &mut Value,
    steps: &[&str],
    path: &str,
) -> Result<(), ApiError> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    let object = node.text("object").to_owned();
    if object == "list" && *step == "data" {
        let elements = node.get_mut("data").and_then(Value::as_array_mut);
        return elements
            .into_iter()
            .flatten()
            .try_for_each(|element| follow(source, element, rest, path));
    }
    if node.is_true("deleted") {
        return Ok(());
    }
    let expandable = EXPANDABLE.iter().find(|(of, field, _)| *of == object && field == step);
    if let Some((_, _, kind)) = expandable {
        source.permissions.check_expanded(*kind)?;
        if let Some(named) = node.field(step).as_str().and_then(|id| source.store.get(*kind, id)) {
            node.set(step, named.clone());
        }
    } else if let Some((_, _, find_part)) =
        INCLUDABLE.iter().find(|(of, field, _)| *of == object && field == step)
    {
        node.set(step, find_part(source.store, node.text("id")));
    } else if !EMPTY.contains(&(object.as_str(), *step))
        && (rest.is_empty() || !node.field(step).is_object())
    {
        return Err(refused(path, &format!("{step} of {object} is not a reference")));
    }
    match node.get_mut(*step) {
        Some(child) if child.is_object() => follow(source, child, rest, path),
        _ => Ok(()),
    }
}

fn refused(path: &str, reason: &str) -> ApiError {
    ApiError::invalid_request(format!("This property cannot be expanded ({path}): {reason}."))
        .unexecuted()
}
