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
        let contents = self.lock();
        Ok(State {
            event: needs.event.and_then(|event| contents.events.get(event).copied()),
            source: needs.source.and_then(|source| contents.sources.get(source).cloned()),
        })
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let mut contents = self.lock();
        let mut answer = Commit::Applied;
        for write in writes {
            if contents.allows(write) {
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
                contents.make(write);
            }
        }
        Ok(answer)
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
    fn allows(&self, write: &Write) -> bool {
        match write {
            Write::RecordEvent { event, recorded, .. } => match self.events.get(&event.id) {
                None => true,
                Some(before) => {
                    *before == Recorded::Quarantined && *recorded != Recorded::Quarantined
                }
            },
            Write::ListQuarantined { event, .. } => !self.quarantine.contains_key(&event.id),
            Write::StoreSource { source, replaces, .. } => {
                self.sources.get(source).map(|stored| stored.version) == *replaces
            }
            Write::ResolveQuarantined { .. } | Write::SetGrant { .. } => true,
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
