//! A ledger in memory. It checks every condition that the table checks: a fake that accepts any
//! write would prove nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use shared::domain::access::{Entitlements, Grant};
use shared::domain::checkout::{Attempt, Buyer, Link, NewCustomer, OpenSession};
use shared::domain::decide::{FirstPurchase, Needs, Recorded, Stored, StoredSource, Target, Write};
use shared::domain::id::{AttemptId, CustomerId, EventId, LearnerId, LinkId, ProductId, SourceId};
use shared::domain::rate::{Count, Counter, Rate};
use shared::domain::time::Timestamp;
use shared::ports::{AccessReader, CheckoutStore, Commit, Ledger, LedgerError, SourceFinder};

mod checkout;

/// The contents of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Each event's record.
    pub events: BTreeMap<EventId, Recorded>,
    /// The operator's list: the reason, and whether it was resolved.
    pub quarantine: BTreeMap<EventId, (String, bool)>,
    /// Each source's facts and version.
    pub sources: BTreeMap<SourceId, StoredSource>,
    /// Each learner's entitlements.
    pub access: BTreeMap<LearnerId, Access>,
    /// Duplicate payments, by learner and product.
    pub double_payments: BTreeSet<(LearnerId, ProductId)>,
    /// Each learner's customer at Stripe.
    pub customers: BTreeMap<LearnerId, Customer>,
    /// Each learner's latest attempt to buy each product.
    pub attempts: BTreeMap<(LearnerId, ProductId), Attempt>,
    /// Rate limits.
    pub rates: BTreeMap<Counter, Rate>,
    /// Upgrade links.
    pub links: BTreeMap<LinkId, Link>,
}

/// A learner's entitlements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Each source's grant.
    pub grants: BTreeMap<SourceId, Grant>,
    /// The first payment that opened each product.
    pub first_purchases: BTreeMap<ProductId, SourceId>,
    /// When the learner was erased.
    pub erased_at: Option<Timestamp>,
}

/// A learner's customer at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// Whether it is known to be deleted there.
    pub is_deleted: bool,
}

/// A ledger in memory. Clones share their contents.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Contents>>);

impl From<Contents> for MemoryLedger {
    fn from(contents: Contents) -> Self {
        Self(Arc::new(Mutex::new(contents)))
    }
}

impl MemoryLedger {
    /// Its contents.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }
}

impl Ledger for MemoryLedger {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        Ok(self.lock().stored(needs))
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        Ok(self.lock().commit(writes))
    }
}

impl AccessReader for MemoryLedger {
    async fn entitlements(&self, learner: &LearnerId) -> Result<Entitlements, LedgerError> {
        Ok(self.lock().entitlements(learner))
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        Ok(self.lock().stored_sources(sources))
    }
}

impl SourceFinder for MemoryLedger {
    async fn sources_of(&self, learner: &LearnerId) -> Result<Vec<SourceId>, LedgerError> {
        Ok(self.lock().sources_of(learner))
    }
}

impl Contents {
    /// The sources that name this learner.
    #[must_use]
    pub fn sources_of(&self, learner: &LearnerId) -> Vec<SourceId> {
        let names = |stored: &StoredSource| {
            stored.facts.origin.as_ref().is_some_and(|origin| origin.learner() == learner)
        };
        let theirs = self.sources.iter().filter(|(_, stored)| names(stored));
        theirs.map(|(source, _)| source.clone()).collect()
    }

    /// The stored part of what a decision needs.
    #[must_use]
    pub fn stored(&self, needs: Needs<'_>) -> Stored {
        Stored {
            event: needs.event.and_then(|event| self.events.get(event).copied()),
            source: needs.source.and_then(|source| self.sources.get(source).cloned()),
            customer: needs.customer.and_then(|learner| self.linked_customer(learner)),
            access: None,
        }
    }

    fn linked_customer(&self, learner: &LearnerId) -> Option<CustomerId> {
        let customer = self.customers.get(learner).filter(|it| !it.is_deleted);
        customer.map(|it| it.id.clone())
    }

    /// This learner's entitlements.
    #[must_use]
    pub fn entitlements(&self, learner: &LearnerId) -> Entitlements {
        let Access { grants, first_purchases, erased_at } =
            self.access.get(learner).cloned().unwrap_or_default();
        grants
            .into_iter()
            .collect::<Entitlements>()
            .with_first_purchases(first_purchases)
            .with_erasure(erased_at)
    }

    /// Those of these sources that are stored.
    #[must_use]
    pub fn stored_sources(&self, sources: &[SourceId]) -> BTreeMap<SourceId, StoredSource> {
        let stored = |source: &SourceId| Some((source.clone(), self.sources.get(source)?.clone()));
        sources.iter().filter_map(stored).collect()
    }

    /// Commits all of these writes, or none and returns the items whose conditions failed.
    pub fn commit(&mut self, writes: &[Write]) -> Commit {
        let refused: Vec<&Write> = writes.iter().filter(|write| !self.allows(write)).collect();
        if refused.is_empty() {
            for write in writes {
                self.make(write);
            }
            return Commit::Applied;
        }
        let mut found = Stored::default();
        for write in refused {
            match write.target() {
                Target::Event(event) => found.event = self.events.get(event).copied(),
                Target::Source(source) => found.source = self.sources.get(source).cloned(),
                Target::Access(learner) => {
                    let is_there = self.access.contains_key(learner);
                    found.access = is_there.then(|| self.entitlements(learner));
                }
                Target::Customer(learner) => found.customer = self.linked_customer(learner),
                Target::Quarantined(_) | Target::DoublePayment(..) => {}
            }
        }
        Commit::Conflict(Box::new(found))
    }

    fn allows(&self, write: &Write) -> bool {
        match write {
            Write::RecordEvent { event, replaces, .. } => {
                self.events.get(&event.id) == replaces.as_ref()
            }
            Write::StoreSource { source, replaces, .. } => {
                let version = |stored: &StoredSource| stored.version;
                self.sources.get(source).map(version) == replaces.as_ref().map(version)
            }
            Write::SetGrant { learner, source, grant, erased_at, first_purchase } => {
                let access = self.access.get(learner).cloned().unwrap_or_default();
                let is_as_seen = |FirstPurchase { replaces }: &FirstPurchase| {
                    let first = access.first_purchases.get(&grant.product);
                    match replaces {
                        None => first.is_none_or(|first| first == source),
                        Some((before, seen)) => {
                            first == Some(before) && access.grants.get(before) == seen.as_ref()
                        }
                    }
                };
                access.erased_at == *erased_at && first_purchase.as_ref().is_none_or(is_as_seen)
            }
            Write::Erase { learner, at, first_purchases, .. } => {
                let access = self.access.get(learner).cloned().unwrap_or_default();
                let is_still =
                    |(product, source)| access.first_purchases.get(product) == Some(source);
                access.erased_at <= Some(*at)
                    && first_purchases.iter().all(|(p, s)| is_still((p, s)))
            }
            Write::UnlinkCustomer { learner, customer, .. } => {
                self.customers.get(learner).is_some_and(|it| it.id == *customer)
            }
            // Conditional on the event's record, or on the source's version.
            Write::ListQuarantined { .. }
            | Write::ResolveQuarantined { .. }
            | Write::ListDoublePayment { .. } => true,
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
            Write::StoreSource { source, facts, replaces } => {
                // The table gets only the differences.
                assert_eq!(
                    self.sources.get(source),
                    replaces.as_ref(),
                    "{source} must be as it was read"
                );
                let version = replaces.as_ref().map_or(0, |replaces| replaces.version) + 1;
                let stored = StoredSource { facts: facts.clone(), version };
                self.sources.insert(source.clone(), stored);
            }
            Write::SetGrant { learner, source, grant, first_purchase, .. } => {
                let access = self.access.entry(learner.clone()).or_default();
                access.grants.insert(source.clone(), grant.clone());
                if first_purchase.is_some() {
                    access.first_purchases.insert(grant.product.clone(), source.clone());
                }
            }
            Write::Erase { learner, at, grants, first_purchases } => {
                let access = self.access.entry(learner.clone()).or_default();
                access.erased_at = Some(*at);
                access.grants.retain(|source, _| !grants.contains(source));
                access
                    .first_purchases
                    .retain(|product, _| first_purchases.iter().all(|(gone, _)| gone != product));
            }
            Write::ListDoublePayment { learner, product, .. } => {
                self.double_payments.insert((learner.clone(), product.clone()));
            }
            Write::UnlinkCustomer { learner, .. } => {
                self.customers.entry(learner.clone()).and_modify(|it| it.is_deleted = true);
            }
        }
    }
}
