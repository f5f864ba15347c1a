//! A ledger with faults on demand: those that emulators never raise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use shared::domain::access::Entitlements;
use shared::domain::decide::{Needs, Stored, StoredSource, Write};
use shared::domain::id::{LearnerId, SourceId};
use shared::ports::{AccessReader, Commit, Ledger, LedgerError};

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next read fails.
    Load,
    /// The next commit fails, and nothing is written.
    Commit,
    /// The next commit is made, and its answer is lost.
    CommitAnswerLost,
    /// The next commit meets another transaction; nothing is written.
    Conflict,
}

/// A ledger that fails as it is told, once for each fault, in their order.
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

    /// Has this go wrong, after all that is to go wrong before.
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
    LedgerError::Unavailable("as the test has it".into())
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
