//! What can go wrong when Stripe is asked.

use crate::ports::StripeUnavailable;
use crate::secrets::SecretError;

/// Why Stripe did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// There is no usable key: a placeholder, or Secrets Manager can't be reached.
    #[error("there is no usable Stripe API key")]
    NoKey(#[source] SecretError),
    /// The key is of the other mode, or no key at all.
    #[error("the Stripe API key is not one of this deployment's mode")]
    WrongMode,
    /// Stripe does not accept the key, or not for this.
    #[error("Stripe does not accept the API key for this request")]
    Unauthorized,
    /// Something that the request names is not there.
    #[error("Stripe does not know what the request names ({param})")]
    Missing {
        /// Stripe's name of the parameter; empty where it is the object asked for.
        param: String,
    },
    /// The request is refused, and would be again.
    #[error("Stripe refuses the request with {status} ({code})")]
    Refused {
        /// Stripe's status.
        status: u16,
        /// Stripe's code, or the type where it gave none.
        code: String,
    },
    /// Too many requests for now, or one under this very idempotency key is still being seen to.
    #[error("Stripe asks to come back later")]
    Busy,
    /// An error of Stripe's own. A request that changes something may have been carried out.
    #[error("Stripe fails with {status}")]
    Failed {
        /// Stripe's status.
        status: u16,
    },
    /// No answer in time. A request that changes something may have been carried out.
    #[error("Stripe does not answer")]
    Unreachable,
    /// An answer that can't be read.
    #[error("Stripe's answer can't be read: {0}")]
    Unreadable(String),
}

impl StripeError {
    /// Whether Stripe has answered under this idempotency key for good: the same key would bring
    /// the same answer for a day, so another try needs another key.
    /// <https://docs.stripe.com/api/idempotent_requests>
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Missing { .. } | Self::Failed { .. })
    }

    pub(super) const fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Busy | Self::Failed { .. } | Self::Unreachable)
    }
}

impl From<StripeError> for StripeUnavailable {
    fn from(error: StripeError) -> Self {
        Self(Box::new(error))
    }
}
