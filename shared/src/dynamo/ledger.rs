//! The ledger and the access reader, implemented on the table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::Table;
use super::attributes::{Item, Reader};
use super::commit::name;
use super::failure::ledger_error;
use super::key::{Key, PK, SK};
use super::source;
use crate::domain::access::{End, EndReason, Entitlements, Grant, Status};
use crate::domain::decide::{Needs, Recorded, Stored, StoredSource, Write};
use crate::domain::id::{CustomerId, EventId, LearnerId, SourceId};
use crate::ports::{AccessReader, Commit, Ledger, LedgerError};

/// The IAM actions that reading access needs.
pub const ACCESS_ACTIONS: &[&str] = &["dynamodb:GetItem", "dynamodb:BatchGetItem"];

/// The IAM actions that loading and committing need.
pub fn ledger_actions() -> impl Iterator<Item = &'static str> {
    ACCESS_ACTIONS.iter().chain(super::commit::ACTIONS).copied()
}

/// How many requests are made for a set of keys: under load, DynamoDB may return only some of the
/// items.
const UNPROCESSED_ROUNDS_MAX: u32 = 3;
/// The most keys that DynamoDB accepts in a request:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const BATCH_KEYS_MAX: usize = 100;

impl Ledger for Table {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        let keys = [
            needs.event.map(|event| Key::Event(event.clone())),
            needs.source.map(|source| Key::Source(source.clone())),
            needs.customer.map(|learner| Key::Customer(learner.clone())),
        ];
        let mut stored = Stored::default();
        for item in self.batch_get(keys.into_iter().flatten().collect()).await? {
            let reader = Reader(&item);
            match Key::parse(reader.text(PK)?, reader.text(SK)?) {
                Some(Key::Event(_)) => stored.event = Some(recorded(&reader)?),
                Some(Key::Source(_)) => stored.source = Some(source::stored(&item)?),
                Some(Key::Customer(_)) => stored.customer = customer(&reader)?.linked,
                _ => return Err(LedgerError::Unreadable("an item that wasn't requested".into())),
            }
        }
        Ok(stored)
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.transact(writes).await
    }
}

impl AccessReader for Table {
    async fn entitlements(&self, learner: &LearnerId) -> Result<Entitlements, LedgerError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(Key::Access(learner.clone()).attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(ledger_error)?;
        answer.item().map_or_else(|| Ok(Entitlements::default()), entitlements)
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        let mut found = BTreeMap::new();
        for sources in sources.chunks(BATCH_KEYS_MAX) {
            let keys = sources.iter().cloned().map(Key::Source).collect();
            for item in self.batch_get(keys).await? {
                let reader = Reader(&item);
                if let Some(Key::Source(id)) = Key::parse(reader.text(PK)?, reader.text(SK)?) {
                    found.insert(id, source::stored(&item)?);
                }
            }
        }
        Ok(found)
    }
}

impl Table {
    /// Which of these events are on record, strongly consistent.
    pub async fn on_record(&self, events: &[EventId]) -> Result<BTreeSet<EventId>, LedgerError> {
        let mut recorded = BTreeSet::new();
        for events in events.chunks(BATCH_KEYS_MAX) {
            for item in self.batch_get(events.iter().cloned().map(Key::Event).collect()).await? {
                let reader = Reader(&item);
                if let Some(Key::Event(id)) = Key::parse(reader.text(PK)?, reader.text(SK)?) {
                    recorded.insert(id);
                }
            }
        }
        Ok(recorded)
    }

    /// Reads these items, at most [`BATCH_KEYS_MAX`], strongly consistent. Items that don't exist
    /// are left out.
    pub(super) async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Item>, LedgerError> {
        let mut found = Vec::new();
        let mut asked: Vec<Item> = keys.iter().map(Key::attributes).collect();
        for _ in 0..UNPROCESSED_ROUNDS_MAX {
            if asked.is_empty() {
                return Ok(found);
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut asked)))
                .consistent_read(true)
                .build()
                .map_err(|error| LedgerError::Refused(Box::new(error)))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, request)
                .send()
                .await
                .map_err(ledger_error)?;
            let mut responses = answer.responses.unwrap_or_default();
            found.extend(responses.remove(&self.name).unwrap_or_default());
            let mut unprocessed: HashMap<_, _> = answer.unprocessed_keys.unwrap_or_default();
            asked.extend(unprocessed.remove(&self.name).map(|keys| keys.keys).unwrap_or_default());
        }
        if asked.is_empty() {
            Ok(found)
        } else {
            Err(LedgerError::Unavailable("DynamoDB left keys unprocessed".into()))
        }
    }
}

pub(super) fn recorded(event: &Reader<'_>) -> Result<Recorded, LedgerError> {
    match event.text(name::OUTCOME)? {
        name::APPLIED => Ok(Recorded::Applied),
        name::UNCHANGED => Ok(Recorded::Unchanged),
        name::QUARANTINED => Ok(Recorded::Quarantined),
        other => Err(LedgerError::Unreadable(format!("an event has the unknown outcome {other}"))),
    }
}

/// A learner's Stripe customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Customer {
    /// The customer, unless it is known to be deleted.
    pub(super) linked: Option<CustomerId>,
    /// The customer that Stripe reported as deleted.
    pub(super) deleted: Option<CustomerId>,
}

pub(super) fn customer(item: &Reader<'_>) -> Result<Customer, LedgerError> {
    let id = Some(item.parsed("customer")?);
    Ok(match item.maybe_time(name::DELETED_AT)? {
        None => Customer { linked: id, deleted: None },
        Some(_) => Customer { linked: None, deleted: id },
    })
}

/// Reads the access item. Every attribute except the key is a source's grant, the first purchase of
/// a product, or the time when the learner was erased. Attributes that only newer versions know
/// open nothing and are kept.
pub(super) fn entitlements(item: &Item) -> Result<Entitlements, LedgerError> {
    let (mut grants, mut first_purchases) = (Vec::new(), BTreeMap::new());
    let erased_at = Reader(item).maybe_time(name::ERASED_AT)?;
    for (name, value) in item {
        if let (Some(product), Ok(source)) = (name.strip_prefix(name::FIRST), value.as_s()) {
            if let (Ok(product), Ok(source)) = (product.parse(), source.parse()) {
                first_purchases.insert(product, source);
            }
            continue;
        }
        let (Ok(source), Ok(grant)) = (name.parse::<SourceId>(), value.as_m()) else { continue };
        if let Some(grant) = grant_of(&Reader(grant))? {
            grants.push((source, grant));
        }
    }
    let entitlements: Entitlements = grants.into_iter().collect();
    Ok(entitlements.with_first_purchases(first_purchases).with_erasure(erased_at))
}

fn grant_of(grant: &Reader<'_>) -> Result<Option<Grant>, LedgerError> {
    let status = match grant.text(name::STATUS)? {
        name::ACTIVE => Status::Active,
        name::PROCESSING => Status::Processing,
        name::FAILED => Status::Failed,
        name::SUSPENDED => Status::Suspended,
        name::DISPUTE_LOST => Status::DisputeLost,
        name::REVOKED => Status::Revoked,
        _ => return Ok(None),
    };
    let reason = match grant.maybe_text(name::END_REASON) {
        Some(name::GIVEN_UNTIL) | None => EndReason::GivenUntil,
        Some(_) => return Ok(None),
    };
    Ok(Some(Grant {
        product: grant.parsed("product")?,
        status,
        since: grant.maybe_time("since")?,
        end: grant.maybe_time("until")?.map(|at| End { at, reason }),
        refunded_percent: grant.maybe_number(name::REFUNDED_PERCENT)?.unwrap_or(0),
    }))
}
