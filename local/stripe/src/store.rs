//! Document storage: in memory, and written through to a SQLite file if there is one.
//!
//! All state is a document here, including what no client sees (deliveries, idempotency records,
//! signing secrets), so one transaction covers a whole request.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};
use serde_json::Value;

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Customer,
    Product,
    Price,
    CheckoutSession,
    /// Session data that responses don't contain: line items and `payment_intent_data`.
    SessionDetails,
    PaymentIntent,
    PaymentMethod,
    Charge,
    Refund,
    Dispute,
    EarlyFraudWarning,
    /// A scheduled response of a bank, under the refund's or dispute's id.
    BankAnswer,
    Event,
    WebhookEndpoint,
    /// A webhook endpoint's signing secrets, under the endpoint's id.
    SigningSecrets,
    Delivery,
    IdempotencyKey,
    PortalConfiguration,
    /// A restricted key's permissions, under the key.
    RestrictedKey,
    /// The simulator's own state: the account, its tax settings, the clock, whether deliveries are
    /// held.
    Setting,
}

impl Kind {
    pub(crate) const ALL: [Self; 20] = [
        Self::Customer,
        Self::Product,
        Self::Price,
        Self::CheckoutSession,
        Self::SessionDetails,
        Self::PaymentIntent,
        Self::PaymentMethod,
        Self::Charge,
        Self::Refund,
        Self::Dispute,
        Self::EarlyFraudWarning,
        Self::BankAnswer,
        Self::Event,
        Self::WebhookEndpoint,
        Self::SigningSecrets,
        Self::Delivery,
        Self::IdempotencyKey,
        Self::PortalConfiguration,
        Self::RestrictedKey,
        Self::Setting,
    ];

    /// Its name in the file and in `GET /_sim/state`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Product => "product",
            Self::Price => "price",
            Self::CheckoutSession => "checkout_session",
            Self::SessionDetails => "session_details",
            Self::PaymentIntent => "payment_intent",
            Self::PaymentMethod => "payment_method",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::EarlyFraudWarning => "early_fraud_warning",
            Self::BankAnswer => "bank_answer",
            Self::Event => "event",
            Self::WebhookEndpoint => "webhook_endpoint",
            Self::SigningSecrets => "signing_secrets",
            Self::Delivery => "delivery",
            Self::IdempotencyKey => "idempotency_key",
            Self::PortalConfiguration => "portal_configuration",
            Self::RestrictedKey => "restricted_key",
            Self::Setting => "setting",
        }
    }
}

/// The documents of one kind, by id and in order of creation.
#[derive(Default)]
struct Collection {
    sequence_by_id: BTreeMap<String, i64>,
    by_sequence: BTreeMap<i64, (String, Value)>,
}

/// Whether the disk is full.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// A document before the current transaction changed it.
type Before = Option<(i64, Value)>;

/// All documents. Changes can be rolled back until they are committed.
pub(crate) struct Store {
    collections: BTreeMap<Kind, Collection>,
    next_sequence: i64,
    changed: BTreeMap<(Kind, String), Before>,
    file: Option<Connection>,
}

impl Store {
    /// Opens the file, creating it if necessary; without one, everything stays in memory.
    pub(crate) fn open(path: Option<&Path>) -> rusqlite::Result<Self> {
        let mut store = Self {
            collections: Kind::ALL.into_iter().map(|kind| (kind, Collection::default())).collect(),
            next_sequence: 1,
            changed: BTreeMap::new(),
            file: None,
        };
        if let Some(path) = path {
            let connection = Connection::open(path)?;
            // A simulator that is just stopping may still have the file open.
            connection.busy_timeout(Duration::from_secs(2))?;
            // Two simulators with one file would overwrite each other's documents.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS document (
                    kind TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL,
                    body TEXT NOT NULL, PRIMARY KEY (kind, id)
                ) WITHOUT ROWID",
            )?;
            store.load(&connection)?;
            store.file = Some(connection);
        }
        Ok(store)
    }

    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("SELECT id, sequence, body FROM document WHERE kind = ?1")?;
        for kind in Kind::ALL {
            let rows = statement.query_map([kind.name()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
            })?;
            for row in rows {
                let (id, sequence, body) = row?;
                let body = serde_json::from_str(&body).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(
                        2,
                        rusqlite::types::Type::Text,
                        error.into(),
                    )
                })?;
                self.insert(kind, &id, sequence, body);
                self.next_sequence = self.next_sequence.max(sequence + 1);
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, kind: Kind, id: &str) -> Option<&Value> {
        let collection = self.collections.get(&kind)?;
        let sequence = collection.sequence_by_id.get(id)?;
        collection.by_sequence.get(sequence).map(|(_, body)| body)
    }

    /// A document's position in the order of its kind.
    pub(crate) fn sequence(&self, kind: Kind, id: &str) -> Option<i64> {
        self.collections.get(&kind)?.sequence_by_id.get(id).copied()
    }

    /// Documents with their position and id, oldest first; reverse it for newest first.
    pub(crate) fn iterate(
        &self,
        kind: Kind,
    ) -> impl DoubleEndedIterator<Item = (i64, &str, &Value)> {
        self.collections.get(&kind).into_iter().flat_map(|collection| {
            collection
                .by_sequence
                .iter()
                .map(|(sequence, (id, body))| (*sequence, id.as_str(), body))
        })
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.collections.get(&kind).map_or(0, |collection| collection.by_sequence.len())
    }

    /// Adds a document, or replaces it in its position.
    pub(crate) fn put(&mut self, kind: Kind, id: &str, body: Value) {
        let sequence = self.sequence(kind, id).unwrap_or_else(|| {
            let next = self.next_sequence;
            self.next_sequence += 1;
            next
        });
        let before = self.insert(kind, id, sequence, body);
        self.changed.entry((kind, id.to_owned())).or_insert(before);
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        if let Some(before) = self.take(kind, id) {
            self.changed.entry((kind, id.to_owned())).or_insert(Some(before));
        }
    }

    /// Writes the changes to the file, all or none. If that fails they are rolled back.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        let written = self.write();
        match written {
            Ok(()) => self.changed.clear(),
            Err(_) => self.rollback(),
        }
        written
    }

    /// Restores the changed documents.
    pub(crate) fn rollback(&mut self) {
        for ((kind, id), before) in std::mem::take(&mut self.changed) {
            self.take(kind, &id);
            if let Some((sequence, body)) = before {
                self.insert(kind, &id, sequence, body);
            }
        }
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        if self.file.is_none() || self.changed.is_empty() {
            return Ok(());
        }
        let Self { collections, changed, file: Some(connection), .. } = self else { return Ok(()) };
        let transaction = connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO document (kind, id, sequence, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (kind, id) DO UPDATE SET sequence = excluded.sequence, body = excluded.body",
            )?;
            let mut remove =
                transaction.prepare_cached("DELETE FROM document WHERE kind = ?1 AND id = ?2")?;
            for (kind, id) in changed.keys() {
                let now = collections.get(kind).and_then(|collection| {
                    let sequence = collection.sequence_by_id.get(id)?;
                    collection.by_sequence.get(sequence).map(|(_, body)| (*sequence, body))
                });
                match now {
                    Some((sequence, body)) => {
                        put.execute(params![kind.name(), id, sequence, body.to_string()])?;
                    }
                    None => {
                        remove.execute(params![kind.name(), id])?;
                    }
                }
            }
        }
        transaction.commit()
    }

    fn insert(&mut self, kind: Kind, id: &str, sequence: i64, body: Value) -> Before {
        let collection = self.collections.entry(kind).or_default();
        collection.sequence_by_id.insert(id.to_owned(), sequence);
        let before = collection.by_sequence.insert(sequence, (id.to_owned(), body));
        before.map(|(_, body)| (sequence, body))
    }

    fn take(&mut self, kind: Kind, id: &str) -> Before {
        let collection = self.collections.get_mut(&kind)?;
        let sequence = collection.sequence_by_id.remove(id)?;
        collection.by_sequence.remove(&sequence).map(|(_, body)| (sequence, body))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::not_written;

    #[test]
    fn a_full_disk_undoes_the_change_and_says_why() {
        let name = format!("stripe-full-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut store = Store::open(Some(&path)).unwrap();
        store.put(Kind::Setting, "kept", json!("before"));
        store.commit().unwrap();
        // No further pages: SQLite finds its disk full.
        let file = store.file.as_ref().unwrap();
        file.pragma_update(None, "max_page_count", 1).unwrap();
        store.put(Kind::Setting, "kept", json!("x".repeat(100_000)));
        let error = store.commit().unwrap_err();
        assert!(is_full(&error), "{error}");
        assert!(not_written(&error).message().starts_with("The disk is full"));
        assert_eq!(store.get(Kind::Setting, "kept"), Some(&json!("before")));
        drop(store);
        for end in ["", "-wal", "-shm"] {
            // Which of them exist is up to SQLite.
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
}
