//! The changes that a decision makes to the table.

use super::super::access::Grant;
use super::super::facts::Facts;
use super::super::id::{CustomerId, EventId, LearnerId, ProductId, SourceId};
use super::super::time::Timestamp;
use super::observation::Event;

/// The outcome on record of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Its facts were added, in the same transaction as this record.
    Applied,
    /// Its facts were known already, from another event or from our own reading.
    Unchanged,
    /// It could not be read, and waits for code that can.
    Quarantined,
}

/// A source as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The facts.
    pub facts: Facts,
    /// How often they have been written; the next write names it.
    pub version: u64,
}

/// Marks the learner's first payment for a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstPurchase {
    /// The payment that was the first before, and what it gives, both as the decision saw them and
    /// as they must still be. None if there must not be one.
    pub replaces: Option<(SourceId, Option<Grant>)>,
}

/// One change to the table. A list of them is committed as a whole or not at all. Each is made on
/// the condition that what it changes is still as the decision saw it; no rule is checked here.
#[expect(clippy::large_enum_variant, reason = "a decision has a handful of writes")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Record the event.
    RecordEvent {
        /// The event.
        event: Event,
        /// What is recorded of it.
        recorded: Recorded,
        /// The record that must be there; none if there must be none.
        replaces: Option<Recorded>,
        /// When it is recorded.
        at: Timestamp,
    },
    /// Put the event on the operator's list of unreadable events. The event's record fences it.
    ListQuarantined {
        /// The event.
        event: Event,
        /// What could not be read.
        reason: String,
        /// When it is listed.
        at: Timestamp,
    },
    /// Mark the event on that list as resolved.
    ResolveQuarantined {
        /// The event.
        event: EventId,
        /// When it is resolved.
        at: Timestamp,
    },
    /// Store a source's facts.
    StoreSource {
        /// The source.
        source: SourceId,
        /// All facts, joined.
        facts: Facts,
        /// The source whose version must be there; none if the source must not exist. Only what
        /// differs is written.
        replaces: Option<StoredSource>,
    },
    /// Set what a source gives its learner. The source's version fences the grant.
    SetGrant {
        /// The learner.
        learner: LearnerId,
        /// The source.
        source: SourceId,
        /// What it gives.
        grant: Grant,
        /// When the learner must last have been erased; none if they must never have been.
        erased_at: Option<Timestamp>,
        /// Also mark it as the first purchase of its product.
        first_purchase: Option<FirstPurchase>,
    },
    /// Erase a learner: from now on nothing that began by then can be given to them. There must be
    /// no later erasure.
    Erase {
        /// The learner.
        learner: LearnerId,
        /// When they are erased.
        at: Timestamp,
        /// The sources whose grants are removed.
        grants: Vec<SourceId>,
        /// The first purchases that are removed. Each must still be this source's.
        first_purchases: Vec<(ProductId, SourceId)>,
    },
    /// Put this learner and product on the operator's list of duplicate payments.
    ListDoublePayment {
        /// The learner.
        learner: LearnerId,
        /// The product.
        product: ProductId,
        /// When it was noticed.
        at: Timestamp,
    },
    /// Record that the learner's customer, which must still be this one, was deleted at Stripe.
    UnlinkCustomer {
        /// The learner.
        learner: LearnerId,
        /// The customer.
        customer: CustomerId,
        /// When it is recorded.
        at: Timestamp,
    },
}

/// The item of the table that a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    /// The record of an event.
    Event(&'a EventId),
    /// An event on the list of unreadable events.
    Quarantined(&'a EventId),
    /// A source.
    Source(&'a SourceId),
    /// What a learner's sources give them.
    Access(&'a LearnerId),
    /// A learner and a product on the list of duplicate payments.
    DoublePayment(&'a LearnerId, &'a ProductId),
    /// A learner's customer.
    Customer(&'a LearnerId),
}

impl Write {
    /// The item that it changes. No two writes of a decision change the same one.
    #[must_use]
    pub const fn target(&self) -> Target<'_> {
        match self {
            Self::RecordEvent { event, .. } => Target::Event(&event.id),
            Self::ListQuarantined { event, .. } => Target::Quarantined(&event.id),
            Self::ResolveQuarantined { event, .. } => Target::Quarantined(event),
            Self::StoreSource { source, .. } => Target::Source(source),
            Self::SetGrant { learner, .. } | Self::Erase { learner, .. } => Target::Access(learner),
            Self::ListDoublePayment { learner, product, .. } => {
                Target::DoublePayment(learner, product)
            }
            Self::UnlinkCustomer { learner, .. } => Target::Customer(learner),
        }
    }
}
