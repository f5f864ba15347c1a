//! A ledger with injected faults that emulators never produce.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use shared::domain::access::Entitlements;
use shared::domain::decide::{Needs, Stored, StoredSource, Write};
use shared::domain::id::{LearnerId, SourceId};
use shared::ports::{AccessReader, Commit, Ledger, LedgerError};

/// A fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next read fails.
    Load,
    /// The next commit fails, and nothing is written.
    Commit,
    /// The next commit is made, and its response is lost.
    CommitAnswerLost,
    /// The next commit conflicts with another transaction; nothing is written.
    Conflict,
}

/// A ledger with a queue of faults, each for one call.
#[derive(Clone)]
pub struct Flaky<L> {
    inner: L,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl<L> Flaky<L> {
    /// This ledger, without faults so far.
    pub fn new(inner: L) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// Adds a fault to the queue.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn meets(&self, expected: &[Fault]) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let next = *faults.front()?;
        expected.contains(&next).then(|| faults.pop_front()).flatten()
    }
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("by order of the test".into())
}

impl<L: Ledger + Sync> Ledger for Flaky<L> {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        match self.meets(&[Fault::Load]) {
            Some(_) => Err(unavailable()),
            None => self.inner.load(needs).await,
        }
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        match self.meets(&[Fault::Commit, Fault::CommitAnswerLost, Fault::Conflict]) {
            Some(Fault::CommitAnswerLost) => {
                self.inner.commit(writes).await?;
                Err(unavailable())
            }
            Some(Fault::Conflict) => Ok(Commit::Conflict(Box::default())),
            Some(Fault::Commit | Fault::Load) => Err(unavailable()),
            None => self.inner.commit(writes).await,
        }
    }
}

impl<L: AccessReader + Sync> AccessReader for Flaky<L> {
    async fn entitlements(&self, learner: &LearnerId) -> Result<Entitlements, LedgerError> {
        self.inner.entitlements(learner).await
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        self.inner.sources(sources).await
    }
}
