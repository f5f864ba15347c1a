//! Read, decide, commit: the one way in which anything learnt from Stripe becomes access.
//!
//! The webhook and the confirmation after a redirect both come through here.

use std::time::Duration;

use crate::domain::decide::{Mode, News, Outcome, State, decide};
use crate::ports::{Clock, Commit, Ledger, LedgerError};

/// How often a decision is made anew when what it was based on has changed meanwhile.
const ATTEMPTS_MAX: u32 = 4;

/// Why news could not be applied. Nothing of it is lost: Stripe comes again, the learner may too.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
    /// Others changed the same source each time.
    #[error("the source was changed by others {ATTEMPTS_MAX} times in a row")]
    Contended,
}

/// What became of the news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it was.
    pub outcome: Outcome,
    /// How often the decision had to be made anew.
    pub conflicts: u32,
}

/// Applies news to the ledger, as a deployment of mode `ours`.
pub async fn apply<L: Ledger>(
    ledger: &L,
    clock: &impl Clock,
    ours: Mode,
    news: &News,
) -> Result<Report, ApplyError> {
    for conflicts in 0..ATTEMPTS_MAX {
        let state = match news.needs(ours) {
            Some(needs) => ledger.load(needs).await.map_err(ApplyError::Ledger)?,
            None => State::default(),
        };
        let decision = decide(&state, news, ours, clock.now());
        if decision.writes.is_empty() {
            return Ok(Report { outcome: decision.outcome, conflicts });
        }
        match ledger.commit(&decision.writes).await.map_err(ApplyError::Ledger)? {
            Commit::Applied => return Ok(Report { outcome: decision.outcome, conflicts }),
            // Another instance has just recorded this very event. What it recorded says what it
            // was: read it, and the decision will be to write nothing.
            Commit::AlreadyProcessed | Commit::Conflict => pause(conflicts).await,
        }
    }
    Err(ApplyError::Contended)
}

/// Lets whoever was quicker finish: 5 to 20 ms, then twice and four times that.
async fn pause(conflicts: u32) {
    let jitter_ms = getrandom::u32().unwrap_or_default() % 16;
    let factor = 1_u64.checked_shl(conflicts).unwrap_or(1);
    let pause_ms = u64::from(5_u32.saturating_add(jitter_ms)).saturating_mul(factor);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
