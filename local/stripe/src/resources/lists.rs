//! Lists: newest first, in pages.

use serde_json::{Value, json};

use crate::document::Document;
use crate::error::ApiError;
use crate::parameters::{self, Parameter, Shape, optional};
use crate::state::Call;
use crate::store::{Kind, Store};

pub(crate) const LIMIT: Parameter = optional("limit", Shape::Integer { min: 1, max: 100 });
pub(crate) const STARTING_AFTER: Parameter = optional("starting_after", Shape::Text);
pub(crate) const ENDING_BEFORE: Parameter = optional("ending_before", Shape::Text);

const DEFAULT_LIMIT: usize = 10;

/// A page of the documents of a kind that `wanted` accepts.
pub(crate) fn list(
    store: &Store,
    kind: Kind,
    url: &str,
    page: &Value,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value, ApiError> {
    let position = |param: &str| match page.text(param) {
        "" => Ok(None),
        id => store
            .sequence(kind, id)
            .map(Some)
            .ok_or_else(|| ApiError::no_such(&kind.name().replace('_', " "), id, param)),
    };
    let limit = page
        .field("limit")
        .as_u64()
        .and_then(|limit| limit.try_into().ok())
        .unwrap_or(DEFAULT_LIMIT);
    let wanted =
        |(sequence, _, document): &(i64, &str, &Value), after: Option<i64>, before: Option<i64>| {
            after.is_none_or(|after| *sequence < after)
                && before.is_none_or(|before| *sequence > before)
                && !document.is_true("deleted")
                && wanted(document)
        };
    let (after, before) = (position("starting_after")?, position("ending_before")?);
    // Reads one more than the page holds, to know whether there is more.
    let mut found: Vec<Value> = if before.is_some() {
        let entries = store.iterate(kind).filter(|entry| wanted(entry, after, before));
        entries.take(limit + 1).map(|(_, _, document)| document.clone()).collect()
    } else {
        let entries = store.iterate(kind).rev().filter(|entry| wanted(entry, after, before));
        entries.take(limit + 1).map(|(_, _, document)| document.clone()).collect()
    };
    let has_more = found.len() > limit;
    found.truncate(limit);
    if before.is_some() {
        found.reverse();
    }
    Ok(page_of(url, found, has_more))
}

/// A page of objects that belong to charges: refunds, disputes, early fraud warnings.
pub(crate) fn of_charge(
    call: &Call<'_>,
    kind: Kind,
    url: &str,
    sent: &Value,
) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("charge", Shape::Text),
        optional("created", Shape::TimeRange),
        optional("payment_intent", Shape::Text),
        LIMIT,
        STARTING_AFTER,
        ENDING_BEFORE,
    ];
    let filters = parameters::check(FILTERS, sent)?;
    list(call.store, kind, url, &filters, |document| {
        ["charge", "payment_intent"]
            .into_iter()
            .all(|filter| equals(&filters, filter, document.text(filter)))
            && in_range(filters.field("created"), document.integer("created"))
    })
}

/// The list object itself.
pub(crate) fn page_of(url: &str, data: Vec<Value>, has_more: bool) -> Value {
    let mut page = json!({ "object": "list", "url": url, "has_more": has_more });
    page.set("data", data);
    page
}

/// Whether a text filter is absent or matches.
pub(crate) fn equals(filters: &Value, filter: &str, actual: &str) -> bool {
    filters.field(filter).as_str().is_none_or(|expected| expected == actual)
}

/// Whether a time matches a `created` filter: a time, or bounds.
pub(crate) fn in_range(range: &Value, time: i64) -> bool {
    if let Some(exact) = range.as_i64() {
        return time == exact;
    }
    let holds = |bound: &str, holds: fn(&i64, &i64) -> bool| {
        range.field(bound).as_i64().is_none_or(|bound| holds(&time, &bound))
    };
    holds("gt", i64::gt) && holds("gte", i64::ge) && holds("lt", i64::lt) && holds("lte", i64::le)
}
