//! The traits through which Stripe is called.

use crate::domain::checkout::{Session, SessionRequest};
use crate::domain::decide::PaymentFor;
use crate::domain::facts::DisputeStatus;
use crate::domain::id::{AttemptId, CustomerId, DisputeId, LearnerId, PaymentIntentId, SessionId};
use crate::domain::time::Timestamp;

/// Answers questions that only Stripe can answer.
pub trait StripeReader {
    /// What this payment pays for, and which deployment that belongs to.
    fn owner(
        &self,
        payment: &PaymentIntentId,
        now: Timestamp,
    ) -> impl Future<Output = Result<PaymentFor, StripeReadError>> + Send;

    /// The status of this dispute.
    fn dispute(
        &self,
        id: &DisputeId,
        now: Timestamp,
    ) -> impl Future<Output = Result<DisputeStatus, StripeReadError>> + Send;
}

/// The calls that open, read and close Checkout sessions.
pub trait StripeCheckout {
    /// Creates a customer for this learner; the same one whenever it is asked with the same
    /// predecessor within a day, unless it is asked under another key.
    fn create_customer(
        &self,
        learner: &LearnerId,
        replaces: Option<&CustomerId>,
        other_key: Option<&AttemptId>,
        now: Timestamp,
    ) -> impl Future<Output = Result<CustomerId, StripeError>> + Send;

    /// Opens a session; the same one whenever it is asked for the same attempt within a day.
    fn open_session(
        &self,
        request: &SessionRequest,
        attempt: &AttemptId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Session, StripeError>> + Send;

    /// The session as it is now; `None` if Stripe does not know it.
    fn session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Session>, StripeError>> + Send;

    /// Expires a session, and checks in the response that it is expired. Stripe refuses to expire a
    /// session that is no longer open, with 400: read it again.
    fn expire_session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StripeError>> + Send;
}

/// Why a question to Stripe has no answer.
#[derive(Debug, thiserror::Error)]
pub enum StripeReadError {
    /// Stripe can't be asked now. It may answer later.
    #[error("Stripe can't be asked")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stripe answered with something that this version doesn't know, and would again.
    #[error("Stripe's answer can't be read: {0}")]
    Unreadable(String),
}

/// Why a request to Stripe failed.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// There is no usable key: a placeholder, or Secrets Manager can't be reached.
    #[error("there is no usable Stripe API key")]
    NoKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key belongs to the other mode, or is not a key.
    #[error("the Stripe API key is not one of this deployment's mode")]
    WrongMode,
    /// Stripe does not accept the key, or not for this request.
    #[error("Stripe does not accept the API key for this request")]
    Unauthorized,
    /// Something that the request names does not exist.
    #[error("Stripe does not know what the request names ({param})")]
    Missing {
        /// Stripe's name of the parameter; empty if it is the requested object.
        param: String,
    },
    /// The request is refused, and would be again.
    #[error("Stripe refuses the request with {status} ({code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code, or the error type if there is no code.
        code: String,
    },
    /// Too many requests, or another one with this idempotency key is in progress.
    #[error("Stripe asks to come back later")]
    Busy,
    /// An error at Stripe. A request that changes something may have been carried out.
    #[error("Stripe fails with {status}")]
    Failed {
        /// The HTTP status.
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

    /// Whether the same request may succeed if it is sent again.
    #[must_use]
    pub const fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Busy | Self::Failed { .. } | Self::Unreachable)
    }
}

impl From<StripeError> for StripeReadError {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::Unreadable(reason) => Self::Unreadable(reason),
            StripeError::NoKey(_)
            | StripeError::WrongMode
            | StripeError::Unauthorized
            | StripeError::Missing { .. }
            | StripeError::Refused { .. }
            | StripeError::Busy
            | StripeError::Failed { .. }
            | StripeError::Unreachable => Self::Unavailable(Box::new(error)),
        }
    }
}
