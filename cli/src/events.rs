//! Replays events: reads them from Stripe by id, and applies them as the webhook does.

use serde_json::Value;
use shared::apply::{ApplyError, apply};
use shared::domain::decide::{Event, Needs, Observation, Outcome, Recorded, Write};
use shared::domain::id::EventId;
use shared::domain::time::Timestamp;
use shared::dynamo::operator::{self, Quarantined};
use shared::ports::{Commit, Ledger as _, LedgerError, SystemClock};
use shared::stripe::wire::{event_from_api, is_thin};
use shared::telemetry::Chain;

use crate::account::{Account, AccountError, NoParameters};
use crate::deployment::Deployment;

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Stripe no longer has it, or never had it.
    #[error(
        "Stripe has no {0}: it keeps events for 30 days, and shows only those of your key's \
         account and mode; check what the event was about in Stripe's Dashboard"
    )]
    Gone(EventId),
    /// It only named what has changed, and `/v1` doesn't keep such events.
    #[error(
        "{0} is a thin event, which leaves out what has changed: replay the events that \
         `coursegate doctor` says have not arrived, then dismiss this one with \
         `coursegate quarantine dismiss {0}`"
    )]
    Thin(EventId),
    /// Stripe can't be asked.
    #[error("the event can't be read: {0}")]
    Account(#[source] AccountError),
    /// It was read, but not written.
    #[error("{}: try again", Chain(.0))]
    Apply(#[from] ApplyError),
    /// The table failed.
    #[error("{}: check your permissions and your network, then try again", Chain(.0))]
    Table(#[from] LedgerError),
    /// Somebody else recorded it at the same time.
    #[error("somebody else recorded {0} at the same time: try again")]
    Overtaken(EventId),
    /// It is not in quarantine.
    #[error("{0} is not in quarantine: `coursegate quarantine list` shows the events that are")]
    NotWaiting(EventId),
}

/// The result of replaying an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// What it says.
    pub observation: Observation,
    /// What became of it.
    pub outcome: Outcome,
}

/// Reads an event from Stripe and applies it as the webhook would.
pub async fn replay(
    deployment: &Deployment,
    account: &Account,
    id: &EventId,
    now: Timestamp,
) -> Result<Replayed, EventError> {
    let answer = account.get::<Value>(&format!("/events/{id}"), &NoParameters {}).await;
    let event = match answer {
        Ok(event) => event.to_string(),
        Err(error) if error.is_missing() => return Err(EventError::Gone(id.clone())),
        Err(error) => return Err(EventError::Account(error)),
    };
    let observation = event_from_api(&event, deployment.shop.mode);
    let (table, clock) = (deployment.table(), SystemClock);
    let outcome = apply(&table, deployment, &clock, &deployment.shop, &observation).await?;
    if let (Outcome::Ignored(_), Some(event)) = (&outcome, &observation.event) {
        // A rule that came later settles what was kept; the decision itself writes nothing.
        if recorded(deployment, id).await? == Some(Recorded::Quarantined) {
            take_off(deployment, event, Some(Recorded::Quarantined), now).await?;
        }
    }
    Ok(Replayed { observation, outcome })
}

impl Replayed {
    /// Whether the event needs no further action.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !matches!(self.outcome, Outcome::Quarantined { .. })
    }
}

/// Replays every quarantined event, and passes each result to `tell`. Returns how many are left.
pub async fn drain(
    deployment: &Deployment,
    account: &Account,
    now: Timestamp,
    mut tell: impl FnMut(&Quarantined, &Result<Replayed, EventError>),
) -> Result<usize, EventError> {
    let mut left: usize = 0;
    for waiting in operator::quarantined(&deployment.table()).await? {
        let became = match replay(deployment, account, &waiting.event.id, now).await {
            Err(EventError::Gone(id)) if is_thin(&waiting.event.kind) => Err(EventError::Thin(id)),
            became => became,
        };
        if !became.as_ref().is_ok_and(Replayed::is_settled) {
            left = left.saturating_add(1);
        }
        tell(&waiting, &became);
    }
    Ok(left)
}

/// Removes an event from quarantine without applying it: somebody has handled it.
pub async fn dismiss(
    deployment: &Deployment,
    id: &EventId,
    now: Timestamp,
) -> Result<(), EventError> {
    let waiting = operator::quarantined(&deployment.table()).await?;
    let waiting = waiting.into_iter().find(|waiting| waiting.event.id == *id);
    let waiting = waiting.ok_or_else(|| EventError::NotWaiting(id.clone()))?;
    let before = recorded(deployment, id).await?;
    take_off(deployment, &waiting.event, before, now).await
}

async fn recorded(deployment: &Deployment, id: &EventId) -> Result<Option<Recorded>, LedgerError> {
    let needs = Needs { event: Some(id), ..Needs::default() };
    Ok(deployment.table().load(needs).await?.event)
}

async fn take_off(
    deployment: &Deployment,
    event: &Event,
    replaces: Option<Recorded>,
    at: Timestamp,
) -> Result<(), EventError> {
    let writes = [
        Write::RecordEvent { event: event.clone(), recorded: Recorded::Unchanged, replaces, at },
        Write::ResolveQuarantined { event: event.id.clone(), at },
    ];
    match deployment.table().commit(&writes).await? {
        Commit::Applied => Ok(()),
        Commit::Conflict(_) => Err(EventError::Overtaken(event.id.clone())),
    }
}
