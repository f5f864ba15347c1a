//! The success page doesn't wait for the webhook: it has us ask Stripe.

use super::{Sales, SalesError, Store, Stripe, undescribed};
use crate::domain::access::EffectiveStatus;
use crate::domain::checkout::SessionState;
use crate::domain::decide::Outcome;
use crate::domain::id::{LearnerId, SessionId};
use crate::domain::rate::{Action, Counter};
use crate::ports::Clock;

/// A session, and whether what it sells is open to the learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The session.
    pub status: SessionStatus,
    /// Whether its product is open to the learner now.
    pub is_open: bool,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// It can still be paid.
    Open,
    /// It has expired.
    Expired,
    /// The buyer has completed it, and this has become of the purchase.
    Complete(EffectiveStatus),
}

impl<C: Clock, T: Store, S: Stripe> Sales<C, T, S> {
    /// Asks Stripe about a learner's session and applies the answer, by the webhook's own decide and
    /// commit. A session of another learner, or of another deployment in the Stripe account, is as
    /// unknown as one that doesn't exist.
    pub async fn confirm(
        &self,
        learner: &LearnerId,
        session: &SessionId,
    ) -> Result<Confirmation, SalesError> {
        let now = self.clock.now();
        self.count(Counter::Learner(learner.clone(), Action::Confirm), now).await?;
        let found = self.stripe.session(session, now).await?;
        let found = found.filter(|found| found.is_of(learner, &self.shop));
        let found = found.ok_or(SalesError::UnknownSession)?;
        if let Outcome::Quarantined { reason } = self.ingest(&found.observation).await? {
            return Err(SalesError::Unreadable(reason));
        }
        let Some(source) = found.observation.content.source() else {
            let status = match found.state {
                SessionState::Open(_) => SessionStatus::Open,
                SessionState::Gone => SessionStatus::Expired,
                SessionState::Unreadable(reason) => return Err(SalesError::Unreadable(reason)),
                SessionState::Complete => return Err(undescribed()),
            };
            return Ok(Confirmation { status, is_open: false });
        };
        // Only the table knows what has been refunded or disputed since, and who was erased.
        let entitlements = self.table.entitlements(learner).await?;
        let grant = entitlements.of(source).ok_or(SalesError::UnknownSession)?;
        Ok(Confirmation {
            status: SessionStatus::Complete(grant.effective_status(self.refund_threshold, now)),
            is_open: entitlements.owns(&grant.product, self.refund_threshold, now),
        })
    }
}
