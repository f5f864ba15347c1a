//! What Stripe reports, before anything is decided about it.

use super::super::facts::Facts;
use super::super::id::{CustomerId, EventId, LearnerId, SessionId, SourceId};
use super::super::shop::{Owner, Shop};
use super::super::time::Timestamp;

/// Stripe's test mode or live mode. They never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Test keys, test cards, no money.
    Test,
    /// Real money.
    Live,
}

/// A Stripe event, as far as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; each is applied once.
    pub id: EventId,
    /// Its type, such as `checkout.session.completed`.
    pub kind: String,
    /// The id of the object that it is about, where one could be read.
    pub object: Option<String>,
    /// The API version that its object was rendered with.
    pub api_version: Option<String>,
    /// When Stripe created it.
    pub created: Timestamp,
}

/// Something learnt from Stripe, by an event or by reading an object ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The event; none if we read the object.
    pub event: Option<Event>,
    /// The mode of the object.
    pub mode: Mode,
    /// Whether the object belongs to an account that is connected to ours.
    pub connected_account: bool,
    /// Which deployment created the object.
    pub owner: Owner,
    /// What was learnt.
    pub content: Content,
}

/// What an observation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Facts about a source.
    Facts(SourceId, Box<Facts>),
    /// A learner's customer was deleted at Stripe. What they have paid for stays theirs.
    CustomerDeleted(LearnerId, CustomerId),
    /// Nothing that access depends on.
    Nothing(Nothing),
    /// It concerns us, and a field that we need could not be read.
    Unreadable {
        /// Which field, and what was expected; never its value.
        reason: String,
    },
}

/// Observations that contain no facts. What to do with them is decided in [`IgnoreReason`].
///
/// [`IgnoreReason`]: super::IgnoreReason
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// An event of a type that isn't handled.
    UnhandledType,
    /// A refund, dispute or fraud warning of a charge without a payment intent.
    NoPaymentIntent,
    /// A checkout session that is still open, or expired without a payment.
    NothingPaid,
}

impl Content {
    /// The source that it is about, if it is about one.
    #[must_use]
    pub const fn source(&self) -> Option<&SourceId> {
        match self {
            Self::Facts(source, _) => Some(source),
            Self::CustomerDeleted(..) | Self::Nothing(_) | Self::Unreadable { .. } => None,
        }
    }

    /// The checkout session that it is about, if it says.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Facts(_, facts) => Some(&facts.purchase()?.sale.session),
            Self::CustomerDeleted(..) | Self::Nothing(_) | Self::Unreadable { .. } => None,
        }
    }
}

/// The items to load before deciding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The record of this event.
    pub event: Option<&'a EventId>,
    /// This source.
    pub source: Option<&'a SourceId>,
    /// This learner's customer.
    pub customer: Option<&'a LearnerId>,
}

impl Observation {
    /// What a decision on it depends on; none when it is ignored whatever is stored.
    #[must_use]
    pub fn needs(&self, ours: &Shop) -> Option<Needs<'_>> {
        if self.ignore_reason(ours).is_some() {
            return None;
        }
        let needs = Needs { event: self.event.as_ref().map(|event| &event.id), ..Needs::default() };
        Some(match &self.content {
            Content::Facts(source, _) => Needs { source: Some(source), ..needs },
            Content::CustomerDeleted(learner, _) => Needs { customer: Some(learner), ..needs },
            Content::Nothing(_) | Content::Unreadable { .. } => needs,
        })
    }

    /// Whether nothing is likely to be stored about it yet, so that it pays to decide without
    /// reading: the event of a purchase. A session that we read ourselves has probably had its
    /// event, and refunds and disputes follow a purchase.
    #[must_use]
    pub fn is_probably_new(&self) -> bool {
        match &self.content {
            Content::Facts(_, facts) => self.event.is_some() && facts.purchase().is_some(),
            Content::CustomerDeleted(..) | Content::Nothing(_) | Content::Unreadable { .. } => {
                false
            }
        }
    }
}
