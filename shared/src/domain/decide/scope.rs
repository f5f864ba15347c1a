//! Which observations concern this deployment. Every rule by which one is ignored is here.

use super::super::id::{InvoiceId, SourceId, SubscriptionId};
use super::super::shop::{Owner, Shop};
use super::observation::{Content, Nothing, Observation};
use super::{Question, State, Undecided, answer};

/// Why an observation is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IgnoreReason {
    /// An event type that no access depends on.
    UnknownType,
    /// An object that this deployment did not create: its metadata doesn't carry our mark.
    NotOurs,
    /// A checkout session without a payment.
    NothingPaid,
    /// An object of the other mode.
    OtherMode,
    /// An object of a connected account.
    ConnectedAccount,
}

impl IgnoreReason {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::NotOurs => "not_ours",
            Self::NothingPaid => "nothing_paid",
            Self::OtherMode => "other_mode",
            Self::ConnectedAccount => "connected_account",
        }
    }
}

impl Observation {
    /// Why deployment `ours` ignores this observation whatever is stored; none if it doesn't.
    pub(super) fn ignore_reason(&self, ours: &Shop) -> Option<IgnoreReason> {
        match &self.content {
            _ if self.mode != ours.mode => Some(IgnoreReason::OtherMode),
            _ if self.connected_account => Some(IgnoreReason::ConnectedAccount),
            _ if ours.disowns(&self.owner) => Some(IgnoreReason::NotOurs),
            Content::Nothing(nothing) => Some(nothing.ignore_reason()),
            Content::Facts(..) | Content::CustomerDeleted(..) | Content::Unreadable { .. } => None,
        }
    }
}

impl Nothing {
    pub(super) const fn ignore_reason(self) -> IgnoreReason {
        match self {
            Self::UnhandledType => IgnoreReason::UnknownType,
            // We sell through payment intents only.
            Self::NoPaymentIntent => IgnoreReason::NotOurs,
            Self::NothingPaid => IgnoreReason::NothingPaid,
        }
    }
}

/// What a payment pays for, as Stripe's API says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentFor {
    /// No invoice of a subscription. The metadata of the payment intent names its owner.
    Purchase(Owner),
    /// An invoice of a subscription. The subscription's metadata names its owner.
    Subscription(SubscriptionId, InvoiceId, Owner),
}

/// Whom a payment belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PaymentOwner {
    /// A purchase of this deployment's: this source.
    Purchase(SourceId),
    /// An invoice of a subscription of this deployment's.
    Subscription(SubscriptionId, InvoiceId),
    /// Somebody else.
    Foreign,
}

/// Whom the payment belongs to that an observation of this source is about. What is stored is ours;
/// a session carries its owner's mark; and of a refund's or dispute's payment only Stripe knows.
pub(super) fn owner(
    state: &State,
    observed: &Owner,
    source: &SourceId,
    ours: &Shop,
) -> Result<PaymentOwner, Undecided> {
    match source {
        _ if state.stored.source.is_some() || ours.owns(observed) => {
            Ok(PaymentOwner::Purchase(source.clone()))
        }
        SourceId::Payment(payment) => {
            let answered = state.answers.owners.get(payment);
            Ok(match answer(answered, || Question::Owner(payment.clone()))? {
                PaymentFor::Purchase(owner) if ours.owns(owner) => {
                    PaymentOwner::Purchase(source.clone())
                }
                PaymentFor::Subscription(subscription, invoice, owner) if ours.owns(owner) => {
                    PaymentOwner::Subscription(subscription.clone(), invoice.clone())
                }
                PaymentFor::Purchase(_) | PaymentFor::Subscription(..) => PaymentOwner::Foreign,
            })
        }
        SourceId::Session(_) | SourceId::Grant(_) => Ok(PaymentOwner::Foreign),
    }
}
