//! A ledger in memory. It checks every condition that the table checks: a fake that takes any
//! write would prove nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use shared::domain::access::{Grant, Holdings};
use shared::domain::decide::{Needs, Recorded, State, StoredSource, Write};
use shared::domain::id::{EventId, LearnerId, SourceId};
use shared::ports::{AccessReader, Commit, Ledger, LedgerError};

/// All that the table would hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// What is on record of each event.
    pub events: BTreeMap<EventId, Recorded>,
    /// The operator's list: the reason, and whether it has been read after all.
    pub quarantine: BTreeMap<EventId, (String, bool)>,
    /// Each source's facts and version.
    pub sources: BTreeMap<SourceId, StoredSource>,
    /// What each learner's sources give them.
    pub access: BTreeMap<LearnerId, BTreeMap<SourceId, Grant>>,
}

/// A ledger in memory. Clones share their contents.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Contents>>);

impl MemoryLedger {
    /// All that it holds.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }
}

impl Ledger for MemoryLedger {
    async fn load(&self, needs: Needs<'_>) -> Result<State, LedgerError> {
        Ok(self.lock().state(needs))
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        Ok(self.lock().commit(writes))
    }
}

impl AccessReader for MemoryLedger {
    async fn holdings(&self, learner: &LearnerId) -> Result<Holdings, LedgerError> {
        let contents = self.lock();
        Ok(contents
            .access
            .get(learner)
            .into_iter()
            .flatten()
            .map(|(source, grant)| (source.clone(), grant.clone()))
            .collect())
    }
}

impl Contents {
    /// What is there of what a decision needs.
    #[must_use]
    pub fn state(&self, needs: Needs<'_>) -> State {
        State {
            event: needs.event.and_then(|event| self.events.get(event).copied()),
            source: needs.source.and_then(|source| self.sources.get(source).cloned()),
        }
    }

    /// Makes all of these writes, or none.
    pub fn commit(&mut self, writes: &[Write]) -> Commit {
        let mut answer = Commit::Applied;
        for write in writes {
            if self.allows(write) {
                continue;
            }
            if matches!(write, Write::RecordEvent { .. }) {
                answer = Commit::AlreadyProcessed;
            } else if answer == Commit::Applied {
                answer = Commit::Conflict;
            }
        }
        if answer == Commit::Applied {
            for write in writes {
                self.make(write);
            }
        }
        answer
    }

    fn allows(&self, write: &Write) -> bool {
        match write {
            Write::RecordEvent { event, replaces, .. } => {
                self.events.get(&event.id) == replaces.as_ref()
            }
            Write::StoreSource { source, replaces, .. } => {
                self.sources.get(source).map(|stored| stored.version) == *replaces
            }
            // Fenced by the event's record, and by the source's version.
            Write::ListQuarantined { .. }
            | Write::ResolveQuarantined { .. }
            | Write::SetGrant { .. } => true,
        }
    }

    fn make(&mut self, write: &Write) {
        match write {
            Write::RecordEvent { event, recorded, .. } => {
                self.events.insert(event.id.clone(), *recorded);
            }
            Write::ListQuarantined { event, reason, .. } => {
                self.quarantine.insert(event.id.clone(), (reason.clone(), false));
            }
            Write::ResolveQuarantined { event, .. } => {
                self.quarantine.entry(event.clone()).or_default().1 = true;
            }
            Write::StoreSource { source, purchase, replaces } => {
                let version = replaces.unwrap_or_default() + 1;
                let stored = StoredSource { purchase: purchase.clone(), version };
                self.sources.insert(source.clone(), stored);
            }
            Write::SetGrant { learner, source, grant } => {
                let grants = self.access.entry(learner.clone()).or_default();
                grants.insert(source.clone(), grant.clone());
            }
        }
    }
}
