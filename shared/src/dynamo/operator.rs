//! What only the operator's commands do with the table: read lists, find everything that is stored
//! about a learner, and erase it. No function does any of this, and no function's role allows it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::Table;
use super::attributes::{Item, Reader, text};
use super::failure::ledger_error;
use super::key::{Key, PK, SK};
use super::source;
use crate::domain::decide::{Event, StoredSource};
use crate::domain::id::{LearnerId, PaymentIntentId, ProductId, SourceId};
use crate::domain::time::Timestamp;
use crate::ports::{LedgerError, SourceFinder};

/// An event that is kept until a version can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The event.
    pub event: Event,
    /// What could not be read.
    pub reason: String,
    /// When it was quarantined.
    pub since: Timestamp,
}

/// An entry in the list of double payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDoublePayment {
    /// The learner.
    pub learner: LearnerId,
    /// The product that they paid for more than once.
    pub product: ProductId,
    /// When it was last noticed.
    pub noticed_at: Timestamp,
}

/// An item with data about a learner.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldItem {
    /// Its key; `None` if this version doesn't know this kind of item.
    pub key: Option<Key>,
    /// The whole item, including its key.
    pub json: Value,
}

impl HeldItem {
    fn new(item: &Item) -> Self {
        let reader = Reader(item);
        let (pk, sk) = (reader.maybe_text(PK), reader.maybe_text(SK));
        let key = pk.zip(sk).and_then(|(pk, sk)| Key::parse(pk, sk));
        Self { key, json: object(item) }
    }
}

/// The quarantined events that aren't resolved, in the order of their ids.
pub async fn quarantined(table: &Table) -> Result<Vec<Quarantined>, LedgerError> {
    let mut waiting = Vec::new();
    for item in list(table, Key::QUARANTINE_LIST).await? {
        let reader = Reader(&item);
        if reader.maybe_time("resolved_at")?.is_some() {
            continue;
        }
        waiting.push(Quarantined {
            event: Event {
                id: reader.parsed(SK)?,
                kind: reader.text("type")?.to_owned(),
                object: reader.maybe_text("object").map(ToOwned::to_owned),
                api_version: reader.maybe_text("api_version").map(ToOwned::to_owned),
                created: reader.time("created")?,
            },
            reason: reader.text("reason")?.to_owned(),
            since: reader.time("at")?,
        });
    }
    Ok(waiting)
}

/// The list of double payments. They may have been refunded since.
pub async fn double_payments(table: &Table) -> Result<Vec<ListedDoublePayment>, LedgerError> {
    let mut listed = Vec::new();
    for item in list(table, Key::DOUBLE_PAYMENT_LIST).await? {
        let reader = Reader(&item);
        let key = Key::parse(reader.text(PK)?, reader.text(SK)?);
        let Some(Key::DoublePayment(learner, product)) = key else { continue };
        let noticed_at = reader.time("noticed_at")?;
        listed.push(ListedDoublePayment { learner, product, noticed_at });
    }
    Ok(listed)
}

/// Every item with data about this learner, by a scan of the whole table: items under their key,
/// their sources and links, and their entries in the list of double payments.
pub async fn held_of(table: &Table, learner: &LearnerId) -> Result<Vec<HeldItem>, LedgerError> {
    let scan = table
        .client
        .scan()
        .table_name(&table.name)
        .consistent_read(true)
        .filter_expression("#pk = :own OR #learner = :learner OR #pk = :double")
        .expression_attribute_names("#pk", PK)
        .expression_attribute_names("#learner", "learner")
        .expression_attribute_values(":own", text(Key::Access(learner.clone()).pk()))
        .expression_attribute_values(":learner", text(learner.as_str()))
        .expression_attribute_values(":double", text(Key::DOUBLE_PAYMENT_LIST));
    let items: Result<Vec<Item>, _> = scan.into_paginator().items().send().collect().await;
    let items = items.map_err(ledger_error)?;
    let mut held: Vec<HeldItem> = items.iter().map(HeldItem::new).collect();
    // The filter returns the whole list of double payments. Keep this learner's entries.
    held.retain(|item| {
        item.text(PK) != Key::DOUBLE_PAYMENT_LIST
            || matches!(&item.key, Some(Key::DoublePayment(of, _)) if of == learner)
    });
    held.sort_by_cached_key(|item| format!("{} {}", item.text(PK), item.text(SK)));
    Ok(held)
}

impl SourceFinder for Table {
    async fn sources_of(&self, learner: &LearnerId) -> Result<Vec<SourceId>, LedgerError> {
        let held = held_of(self, learner).await?;
        let source = |item: HeldItem| match item.key {
            Some(Key::Source(source)) => Some(source),
            _ => None,
        };
        Ok(held.into_iter().filter_map(source).collect())
    }
}

/// Deletes an item, even if it has changed since it was read.
pub async fn erase(table: &Table, item: &HeldItem) -> Result<(), LedgerError> {
    let key = [PK, SK].map(|name| (name.to_owned(), text(item.text(name))));
    let delete = table.client.delete_item().table_name(&table.name);
    let delete = delete.set_key(Some(HashMap::from(key)));
    delete.send().await.map(drop).map_err(ledger_error)
}

/// Up to `count_max` of the payments in the table, to check whether a Stripe key belongs to the
/// same account.
pub async fn some_payments(
    table: &Table,
    count_max: usize,
) -> Result<Vec<PaymentIntentId>, LedgerError> {
    let scan = table.client.scan().table_name(&table.name).projection_expression("#pk, #sk");
    let scan = scan.expression_attribute_names("#pk", PK).expression_attribute_names("#sk", SK);
    let mut items = scan.into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(item) = items.try_next().await.map_err(ledger_error)? {
        let reader = Reader(&item);
        let key = Key::parse(reader.text(PK)?, reader.text(SK)?);
        if let Some(Key::Source(SourceId::Payment(payment))) = key {
            found.push(payment);
        }
        if found.len() >= count_max {
            break;
        }
    }
    Ok(found)
}

/// Up to `count_max` sources with their facts, starting after `after`. The order is arbitrary, and
/// the same each time.
pub async fn sources(
    table: &Table,
    after: Option<&SourceId>,
    count_max: usize,
) -> Result<Vec<(SourceId, StoredSource)>, LedgerError> {
    let scan = table.client.scan().table_name(&table.name).filter_expression("#sk = :source");
    let scan = scan.expression_attribute_names("#sk", SK);
    let scan = scan.expression_attribute_values(":source", text(Key::SOURCE));
    let start = after.map(|after| Key::Source(after.clone()).attributes());
    let scan = scan.set_exclusive_start_key(start);
    let mut items = scan.into_paginator().items().send();
    let mut found = Vec::new();
    while found.len() < count_max
        && let Some(item) = items.try_next().await.map_err(ledger_error)?
    {
        let reader = Reader(&item);
        let key = Key::parse(reader.text(PK)?, reader.text(SK)?);
        if let Some(Key::Source(source)) = key {
            let stored = source::stored(&item).map_err(|error| unreadable(&source, error))?;
            found.push((source, stored));
        }
    }
    Ok(found)
}

/// Adds the source to an error about an unreadable item.
fn unreadable(source: &SourceId, error: LedgerError) -> LedgerError {
    match error {
        LedgerError::Unreadable(what) => LedgerError::Unreadable(format!("{source}: {what}")),
        error @ (LedgerError::Unavailable(_) | LedgerError::Refused(_)) => error,
    }
}

/// All items of a list.
async fn list(table: &Table, pk: &str) -> Result<Vec<Item>, LedgerError> {
    let query = table
        .client
        .query()
        .table_name(&table.name)
        .consistent_read(true)
        .key_condition_expression("#pk = :pk")
        .expression_attribute_names("#pk", PK)
        .expression_attribute_values(":pk", text(pk));
    let items: Result<Vec<Item>, _> = query.into_paginator().items().send().collect().await;
    items.map_err(ledger_error)
}

impl HeldItem {
    /// A text attribute; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.json.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

fn object(item: &Item) -> Value {
    let fields = item.iter().map(|(name, value)| (name.clone(), json(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// A value as JSON. A number that doesn't fit into an `i64`, and types that we never write, become
/// text.
fn json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => text.as_str().into(),
        AttributeValue::N(number) => {
            number.parse::<i64>().map_or_else(|_| number.as_str().into(), Value::from)
        }
        AttributeValue::Bool(is_so) => (*is_so).into(),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::M(item) => object(item),
        AttributeValue::L(values) => values.iter().map(json).collect(),
        AttributeValue::Ss(texts) => texts.iter().map(String::as_str).collect(),
        other @ (AttributeValue::B(_) | AttributeValue::Bs(_) | AttributeValue::Ns(_) | _) => {
            format!("{other:?}").into()
        }
    }
}
