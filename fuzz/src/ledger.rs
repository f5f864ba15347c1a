//! A ledger that checks its writes, and a Stripe that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::domain::access::Entitlements;
use shared::domain::decide::{Event, Needs, PaymentFor, Stored, StoredSource, Write};
use shared::domain::facts::DisputeStatus;
use shared::domain::id::{DisputeId, LearnerId, PaymentIntentId, SourceId};
use shared::domain::shop::Owner;
use shared::domain::time::Timestamp;
use shared::ports::{AccessReader, Commit, Ledger, LedgerError, StripeReadError, StripeReader};
use simulation::memory::{Contents, MemoryLedger};
use simulation::shop;

/// DynamoDB allows a hundred items in a transaction; we need a few.
const WRITES_MAX: usize = 4;
/// Far below DynamoDB's 400 KB per item: whatever Stripe sends can be written.
const TEXT_BYTES_MAX: usize = 1024;

/// An in-memory ledger that refuses garbage.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) inner: MemoryLedger,
    commits: AtomicUsize,
}

impl Watched {
    /// A ledger with these contents.
    pub(crate) fn with(contents: Contents) -> Self {
        Self { inner: contents.into(), ..Self::default() }
    }

    /// The number of commits.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }
}

impl Ledger for Watched {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        self.inner.load(needs).await
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        assert!((1..=WRITES_MAX).contains(&writes.len()), "{writes:?}");
        let items: BTreeSet<_> = writes.iter().map(Write::target).collect();
        assert_eq!(items.len(), writes.len(), "an item twice: {writes:?}");
        for text in writes.iter().flat_map(texts) {
            assert!(text.len() <= TEXT_BYTES_MAX, "{} bytes: {writes:?}", text.len());
        }
        self.inner.commit(writes).await
    }
}

impl AccessReader for Watched {
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

/// All external text in a write except ids, whose types limit their length.
fn texts(write: &Write) -> Vec<&str> {
    match write {
        Write::RecordEvent { event, .. } => event_texts(event),
        Write::ListQuarantined { event, reason, .. } => {
            let mut texts = event_texts(event);
            texts.push(reason);
            texts
        }
        Write::ResolveQuarantined { .. }
        | Write::StoreSource { .. }
        | Write::SetGrant { .. }
        | Write::Erase { .. }
        | Write::ListDoublePayment { .. }
        | Write::UnlinkCustomer { .. } => Vec::new(),
    }
}

fn event_texts(event: &Event) -> Vec<&str> {
    let optional = [&event.object, &event.api_version];
    let optional = optional.into_iter().flatten().map(String::as_str);
    [event.kind.as_str()].into_iter().chain(optional).collect()
}

/// A Stripe for reading: every payment is ours unless it is called foreign, and every dispute is
/// lost.
pub(crate) struct Asked;

impl StripeReader for Asked {
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        let is_foreign = payment.as_str().contains("foreign");
        let owner = if is_foreign { Owner::Unmarked } else { Owner::Marked(shop().mark) };
        Ok(PaymentFor::Purchase(owner))
    }

    async fn dispute(&self, _: &DisputeId, _: Timestamp) -> Result<DisputeStatus, StripeReadError> {
        Ok(DisputeStatus::Lost)
    }
}
