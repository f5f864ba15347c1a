//! The lock, the clock and the transaction of every operation.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::document::Document;
use crate::error::ApiError;
use crate::faults::Fault;
use crate::id;
use crate::later;
use crate::store::{self, Kind, Store};

/// The API version of the simulator's objects.
pub(crate) const API_VERSION: &str = "2026-09-30.endive";

/// Milliseconds since 1970, by the machine's clock.
pub(crate) fn machine_time_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the simulator reads the time"
    )]
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Shared by the server, the deliveries and the control API.
pub(crate) struct Core {
    /// The simulator's address, without a trailing slash.
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    /// Becomes true when the simulator stops; sleeping tasks then end.
    pub(crate) stopping: watch::Receiver<bool>,
    state: Mutex<State>,
    deliveries: mpsc::UnboundedSender<Vec<String>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Core").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The locked state.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) faults: Vec<Fault>,
    /// Idempotency keys whose requests are still being executed.
    pub(crate) in_flight: BTreeSet<String>,
    /// The time of the next timed change; 0 until it has been determined.
    next_due: i64,
}

/// The request that causes a change, for its events. Both are null for timed changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) request: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

/// One operation in progress: it reads and writes documents, and all of its writes are kept or
/// none.
pub(crate) struct Call<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) url: &'a str,
    /// The simulator's time in Unix seconds: the machine's, moved by `POST /_sim/advance`.
    pub(crate) now: i64,
    pub(crate) origin: Origin,
    /// Deliveries to send once the operation is committed.
    pub(crate) to_deliver: Vec<String>,
    /// See [`State::next_due`].
    pub(crate) next_due: &'a mut i64,
}

impl Core {
    pub(crate) fn new(
        url: String,
        file: Option<&Path>,
        deliveries: mpsc::UnboundedSender<Vec<String>>,
        stopping: watch::Receiver<bool>,
        http: reqwest::Client,
    ) -> rusqlite::Result<Arc<Self>> {
        let state = State {
            store: Store::open(file)?,
            faults: Vec::new(),
            in_flight: BTreeSet::new(),
            next_due: 0,
        };
        Ok(Arc::new(Self { url, http, stopping, state: Mutex::new(state), deliveries }))
    }

    /// The state. A panic elsewhere doesn't poison it: every change is its own transaction.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation: its changes are committed if it succeeds, and undone if it fails.
    pub(crate) fn transact<T>(
        &self,
        origin: Origin,
        operation: impl FnOnce(&mut Call<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut state = self.lock();
        let State { store, next_due, .. } = &mut *state;
        // Discards what a panic may have left half done.
        store.rollback();
        let now = machine_time_ms() / 1000 + clock_offset(store);
        let mut call =
            Call { store, url: &self.url, now, origin, to_deliver: Vec::new(), next_due };
        if now >= *call.next_due {
            later::happen(&mut call);
        }
        let due = std::mem::take(&mut call.to_deliver);
        if let Err(error) = commit(call.store) {
            // What was due still is, and must be found again.
            *call.next_due = 0;
            return Err(error);
        }
        self.deliver(due);

        let result = operation(&mut call);
        let to_deliver = std::mem::take(&mut call.to_deliver);
        match result {
            Ok(value) => {
                commit(call.store)?;
                self.deliver(to_deliver);
                Ok(value)
            }
            Err(error) => {
                call.store.rollback();
                Err(error)
            }
        }
    }

    /// Gives deliveries to the dispatcher; a batch is tried in sequence.
    pub(crate) fn deliver_in_order(&self, ids: Vec<String>) {
        // Without a receiver the simulator is stopping; the deliveries stay pending in the file.
        let _stopping = self.deliveries.send(ids);
    }

    fn deliver(&self, ids: Vec<String>) {
        for id in ids {
            self.deliver_in_order(vec![id]);
        }
    }

    /// Sleeps, or returns early if the simulator stops.
    pub(crate) async fn sleep_ms(&self, milliseconds: u64) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(milliseconds)) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

fn commit(store: &mut Store) -> Result<(), ApiError> {
    store.commit().map_err(|error| not_written(&error))
}

/// The error when a request's changes can't be stored.
pub(crate) fn not_written(error: &rusqlite::Error) -> ApiError {
    ApiError::internal(if store::is_full(error) {
        "The disk is full: the simulator can't write its state file. Free some space and try again; this request has changed nothing.".to_owned()
    } else {
        format!("The simulator could not write its state file: {error}.")
    })
}

const CLOCK: &str = "clock";
const ACCOUNT: &str = "account";

fn clock_offset(store: &Store) -> i64 {
    store.get(Kind::Setting, CLOCK).map_or(0, |clock| clock.integer("offset_seconds"))
}

impl Call<'_> {
    /// Moves the simulator's clock forward.
    pub(crate) fn advance(&mut self, seconds: i64) {
        let offset = clock_offset(self.store) + seconds;
        self.store.put(Kind::Setting, CLOCK, json!({ "offset_seconds": offset }));
        self.now += seconds;
        later::happen(self);
    }

    /// Undoes the operation's changes so far.
    pub(crate) fn undo(&mut self) {
        self.store.rollback();
        self.to_deliver.clear();
    }

    /// The account's id, generated once.
    pub(crate) fn account(&mut self) -> String {
        if let Some(account) = self.store.get(Kind::Setting, ACCOUNT) {
            return account.text("id").to_owned();
        }
        let account = id::random("acct_1", 15);
        self.store.put(Kind::Setting, ACCOUNT, json!({ "id": account }));
        account
    }

    /// Deletes all documents but the account and the webhook endpoints with their secrets.
    pub(crate) fn forget(&mut self) {
        for kind in Kind::ALL {
            let ids: Vec<String> =
                self.store.iterate(kind).map(|(_, id, _)| id.to_owned()).collect();
            for id in ids {
                let kept = matches!(kind, Kind::WebhookEndpoint | Kind::SigningSecrets)
                    || (kind == Kind::Setting && id == ACCOUNT);
                if !kept {
                    self.store.remove(kind, &id);
                }
            }
        }
    }

    /// The document in the path.
    pub(crate) fn find(&self, kind: Kind, noun: &str, id: &str) -> Result<Value, ApiError> {
        self.store.get(kind, id).cloned().ok_or_else(|| ApiError::not_found(noun, id))
    }
}
