//! The success page does not wait for the webhook: it asks us to look at Stripe.

use serde::Serialize;
use shared::domain::access::EffectiveStatus;
use shared::domain::checkout::SessionState;
use shared::domain::decide::{Content, Outcome};
use shared::domain::id::{LearnerId, SessionId};
use shared::domain::rate::{Action, Counter};
use shared::ports::Clock;

use crate::failure::Failure;
use crate::{App, Store, Stripe};

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Confirmation {
    /// `open` or `expired`; and once the buyer has done their part `processing`, `paid`, `failed`,
    /// `ended`, `refunded`, `suspended`, `dispute_lost` or `revoked`.
    status: &'static str,
    /// Whether what was bought is open to the learner now: `granted` or `denied`.
    access: &'static str,
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// Takes in what Stripe says of this learner's session, by the webhook's own decide and commit.
    pub(crate) async fn confirm(
        &self,
        learner: &LearnerId,
        session: &SessionId,
    ) -> Result<Confirmation, Failure> {
        let now = self.clock.now();
        self.admit(Counter::Learner(learner.clone(), Action::Confirm), now).await?;
        let found = self.stripe.session(session, now).await?.ok_or(Failure::UnknownSession)?;
        // A session of another learner, or of another deployment in the Stripe account, is as
        // unknown as one that never was.
        if !found.is_of(learner, &self.shop) {
            return Err(Failure::UnknownSession);
        }
        let outcome = self.ingest(&found.observation).await?;
        if let Outcome::Quarantined { reason } = outcome {
            return Err(Failure::Unreadable(reason));
        }
        let Content::Facts(source, _) = &found.observation.content else {
            let status = match found.state {
                SessionState::Open(_) => "open",
                SessionState::Gone => "expired",
                SessionState::Unreadable(reason) => return Err(Failure::Unreadable(reason)),
                SessionState::Complete => {
                    let reason = "a session is complete, and doesn't say what was bought";
                    return Err(Failure::Unreadable(reason.to_owned()));
                }
            };
            return Ok(Confirmation { status, access: "denied" });
        };
        // What was refunded or disputed since is known to the table alone; and that somebody is
        // forgotten.
        let entitlements = self.table.entitlements(learner).await?;
        let grant = entitlements.of(source).ok_or(Failure::UnknownSession)?;
        let is_open = entitlements.owns(&grant.product, self.refund_threshold, now);
        Ok(Confirmation {
            status: match grant.effective_status(self.refund_threshold, now) {
                EffectiveStatus::Active => "paid",
                effective_status @ (EffectiveStatus::Ended
                | EffectiveStatus::Processing
                | EffectiveStatus::Failed
                | EffectiveStatus::Refunded
                | EffectiveStatus::Suspended
                | EffectiveStatus::DisputeLost
                | EffectiveStatus::Revoked) => effective_status.name(),
            },
            access: if is_open { "granted" } else { "denied" },
        })
    }
}
