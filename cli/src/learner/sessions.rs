//! A learner's checkout sessions at Stripe: those that can still be paid, and those that were paid
//! before Stripe could tell us.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use shared::apply::apply;
use shared::domain::checkout::{Session, SessionState};
use shared::domain::decide::{Content, Outcome};
use shared::domain::facts::{PaymentStatus, Purchase};
use shared::domain::id::{LearnerId, SessionId, SourceId};
use shared::domain::shop::Shop;
use shared::ports::{Clock as _, SystemClock};
use shared::stripe::wire::{metadata, session_from_api};
use stripe_checkout::CheckoutSessionStatus;
use stripe_checkout::checkout_session::{
    ExpireCheckoutSession, ListCheckoutSession, RetrieveCheckoutSession,
};
use stripe_client_core::StripeRequest;

use super::{Held, LearnerError};
use crate::account::{Account, AccountError, Listed};
use crate::deployment::Deployment;

/// A session, as Stripe lists it.
#[derive(Deserialize)]
#[serde(transparent)]
struct ListedSession(Value);

impl Listed for ListedSession {
    fn id(&self) -> &str {
        self.0.get("id").and_then(Value::as_str).unwrap_or_default()
    }
}

impl ListedSession {
    /// Whether this deployment opened it, for this learner.
    fn is_of(&self, learner: &LearnerId, ours: &Shop) -> bool {
        let says = |name: &str| self.0.get("metadata").and_then(|it| it.get(name)?.as_str());
        says(metadata::DEPLOYMENT) == Some(ours.mark.as_str())
            && says(metadata::LEARNER) == Some(learner.as_str())
    }
}

/// What has to be settled at Stripe before a learner is erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// The sessions that can still be paid.
    pub open: Vec<SessionId>,
    /// Those whose status at Stripe isn't in the table yet: complete, or paid by now.
    pub unrecorded: Vec<Session>,
}

impl Unsettled {
    /// Whether there is nothing to settle.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty() && self.unrecorded.is_empty()
    }

    /// The payments that are still on their way, by what is on record and by what isn't yet.
    #[must_use]
    pub fn processing(&self, held: &Held) -> BTreeSet<SourceId> {
        let mut processing: BTreeSet<SourceId> = held.processing().cloned().collect();
        for session in &self.unrecorded {
            let Some((source, purchase)) = purchase(session) else { continue };
            if purchase.payment.status() == PaymentStatus::Processing {
                processing.insert(source.clone());
            } else {
                processing.remove(source);
            }
        }
        processing
    }
}

/// What a session says was bought, if it can be read.
fn purchase(session: &Session) -> Option<(&SourceId, &Purchase)> {
    match &session.observation.content {
        Content::Facts(source, facts) => Some((source, facts.purchase()?)),
        Content::CustomerDeleted(..) | Content::Nothing(_) | Content::Unreadable { .. } => None,
    }
}

/// Whether Stripe has a later status of a complete session than the table.
fn is_news(session: &Session, recorded: Option<&str>) -> bool {
    let is_processing = purchase(session)
        .is_some_and(|(_, bought)| bought.payment.status() == PaymentStatus::Processing);
    match recorded {
        None => true,
        Some(super::PAID) => false,
        Some(_) => !is_processing,
    }
}

/// Asks Stripe about every session of the learner's that isn't settled, and about all that are open:
/// Stripe may have opened one without our receiving the answer.
pub async fn look(
    deployment: &Deployment,
    account: &Account,
    held: &Held,
) -> Result<Unsettled, LearnerError> {
    let mut found = Unsettled::default();
    let listed = account.pages::<ListedSession>(|limit, starting_after| {
        let request = ListCheckoutSession::new().status(CheckoutSessionStatus::Open).limit(limit);
        match starting_after {
            Some(id) => request.starting_after(id).build(),
            None => request.build(),
        }
    });
    let is_theirs = |session: &&ListedSession| session.is_of(&held.learner, &deployment.shop);
    for session in listed.await?.iter().filter(is_theirs) {
        let session = parsed(session.id(), &session.0)?;
        found.open.push(session.id);
    }
    let unsettled: BTreeSet<SessionId> = held.unsettled_sessions().collect();
    for id in unsettled {
        if found.open.contains(&id) {
            continue;
        }
        let Some(session) = read(account, &id).await? else { continue };
        match session.state {
            SessionState::Open(_) => found.open.push(id),
            SessionState::Complete if is_news(&session, held.payment_of(&id)) => {
                found.unrecorded.push(session);
            }
            SessionState::Complete | SessionState::Gone => {}
            SessionState::Unreadable(reason) => return Err(unreadable(id.as_str(), reason)),
        }
    }
    Ok(found)
}

/// Expires what is open, and records what is complete, as the webhook would.
pub async fn settle(
    deployment: &Deployment,
    account: &Account,
    unsettled: Unsettled,
) -> Result<(), LearnerError> {
    let mut complete = unsettled.unrecorded;
    for id in unsettled.open {
        // Its buyer was quicker.
        if !expire(account, &id).await? {
            complete.extend(read(account, &id).await?);
        }
    }
    for session in complete {
        let (table, clock) = (deployment.table(), SystemClock);
        match apply(&table, deployment, &clock, &deployment.shop, &session.observation).await? {
            Outcome::Applied | Outcome::Duplicate | Outcome::Ignored(_) => {}
            Outcome::Quarantined { reason } => return Err(unreadable(session.id.as_str(), reason)),
        }
    }
    Ok(())
}

/// Says whether it is expired; if not, it is no longer open.
async fn expire(account: &Account, id: &SessionId) -> Result<bool, LearnerError> {
    match account.call::<Value>(&ExpireCheckoutSession::new(id.as_str())).await {
        Ok(_) => Ok(true),
        Err(AccountError::Refused { status: 400, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// None if Stripe doesn't know it.
async fn read(account: &Account, id: &SessionId) -> Result<Option<Session>, LearnerError> {
    // The charge says when the session was paid.
    let request = RetrieveCheckoutSession::new(id.as_str())
        .expand(vec!["payment_intent.latest_charge".to_owned()]);
    match account.call::<Value>(&request).await {
        Ok(session) => parsed(id.as_str(), &session).map(Some),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn parsed(id: &str, session: &Value) -> Result<Session, LearnerError> {
    let session = session_from_api(&session.to_string(), SystemClock.now());
    session.map_err(|reason| unreadable(id, reason))
}

fn unreadable(session: &str, reason: String) -> LearnerError {
    LearnerError::Unreadable { session: session.to_owned(), reason }
}
