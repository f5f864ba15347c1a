//! A ledger that looks at what it is given to write.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::domain::decide::{Event, Needs, State, Write};
use shared::ports::{Commit, Ledger, LedgerError};
use simulation::memory::MemoryLedger;

/// DynamoDB takes a hundred in a transaction; we need a few.
const WRITES_MAX: usize = 4;
/// Far below DynamoDB's 400 KB an item: whatever Stripe sends, it can be written.
const TEXT_BYTES_MAX: usize = 1024;

/// A ledger in memory that takes no garbage.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) inner: MemoryLedger,
    commits: AtomicUsize,
}

impl Watched {
    /// How many commits it was asked for.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }
}

impl Ledger for Watched {
    async fn load(&self, needs: Needs<'_>) -> Result<State, LedgerError> {
        self.inner.load(needs).await
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        assert!((1..=WRITES_MAX).contains(&writes.len()), "{writes:?}");
        let items: BTreeSet<String> = writes.iter().map(item).collect();
        assert_eq!(items.len(), writes.len(), "an item twice: {writes:?}");
        for text in writes.iter().flat_map(texts) {
            assert!(text.len() <= TEXT_BYTES_MAX, "{} bytes: {writes:?}", text.len());
        }
        self.inner.commit(writes).await
    }
}

/// The item that a write is about.
fn item(write: &Write) -> String {
    match write {
        Write::RecordEvent { event, .. } => format!("event {}", event.id),
        Write::ListQuarantined { event, .. } => format!("quarantine {}", event.id),
        Write::ResolveQuarantined { event, .. } => format!("quarantine {event}"),
        Write::StoreSource { source, .. } => format!("source {source}"),
        Write::SetGrant { learner, .. } => format!("access {learner}"),
    }
}

/// All text of a write that came from outside, but for ids: those are short by their types.
fn texts(write: &Write) -> Vec<&str> {
    match write {
        Write::RecordEvent { event, .. } => event_texts(event),
        Write::ListQuarantined { event, reason, .. } => {
            let mut texts = event_texts(event);
            texts.push(reason);
            texts
        }
        Write::ResolveQuarantined { .. } | Write::StoreSource { .. } | Write::SetGrant { .. } => {
            Vec::new()
        }
    }
}

fn event_texts(event: &Event) -> Vec<&str> {
    let optional = [&event.object, &event.api_version];
    let optional = optional.into_iter().flatten().map(String::as_str);
    [event.kind.as_str()].into_iter().chain(optional).collect()
}
