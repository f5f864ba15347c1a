//! Reads and changes Stripe objects as JSON documents.

use serde_json::{Map, Value};

/// Access to the fields of a JSON object. An absent field reads as empty, since our own documents
/// have no field of a surprising type.
pub(crate) trait Document {
    /// A text field, or "" if it is absent or null.
    fn text(&self, field: &str) -> &str;
    /// A whole number field, or 0.
    fn integer(&self, field: &str) -> i64;
    /// Whether a field is `true`.
    fn is_true(&self, field: &str) -> bool;
    /// A field's value; null if it is absent.
    fn field(&self, field: &str) -> &Value;
    /// The elements of a list field; none if it is absent.
    fn elements(&self, field: &str) -> &[Value];
    /// Sets a field.
    fn set(&mut self, field: &str, value: impl Into<Value>);
    /// Removes a field.
    fn unset(&mut self, field: &str);
}

impl Document for Value {
    fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn integer(&self, field: &str) -> i64 {
        self.get(field).and_then(Value::as_i64).unwrap_or_default()
    }

    fn is_true(&self, field: &str) -> bool {
        self.get(field).and_then(Value::as_bool).unwrap_or_default()
    }

    fn field(&self, field: &str) -> &Value {
        self.get(field).unwrap_or(&Value::Null)
    }

    fn elements(&self, field: &str) -> &[Value] {
        self.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn set(&mut self, field: &str, value: impl Into<Value>) {
        if let Some(fields) = self.as_object_mut() {
            fields.insert(field.to_owned(), value.into());
        }
    }

    fn unset(&mut self, field: &str) {
        if let Some(fields) = self.as_object_mut() {
            fields.remove(field);
        }
    }
}

/// Applies metadata as Stripe does: keys are merged, an empty value removes its key, and null
/// removes all of them.
pub(crate) fn merge_metadata(current: &Value, change: &Value) -> Value {
    let Some(change) = change.as_object() else {
        return Value::Object(Map::new());
    };
    let mut merged = current.as_object().cloned().unwrap_or_default();
    for (key, value) in change {
        if value.as_str() == Some("") {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    Value::Object(merged)
}

/// The previous values of the changed fields: an event's `previous_attributes`. For metadata, only
/// the changed keys; a new key is null.
pub(crate) fn previous_attributes(before: &Value, after: &Value) -> Map<String, Value> {
    let mut previous = Map::new();
    let Some(after) = after.as_object() else { return previous };
    for (key, value) in after {
        let old = before.field(key);
        if old == value {
            continue;
        }
        let old = if key == "metadata" { changed_keys(old, value) } else { old.clone() };
        previous.insert(key.clone(), old);
    }
    previous
}

fn changed_keys(before: &Value, after: &Value) -> Value {
    let keys = [before, after].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    let changed = keys
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| (key.clone(), before.field(key).clone()));
    Value::Object(changed.collect())
}
