//! Erasing a learner. Afterwards, nothing that began earlier opens anything for them or names them.
//!
//! The erasure time is written first. A purchase that began before it and is recorded later is
//! recorded without its buyer, so once the sources that name the learner have been found and the
//! name removed, no others follow.

use std::collections::BTreeMap;

use crate::apply::{ATTEMPTS_MAX, ApplyError, apply, pause};
use crate::domain::access::Entitlements;
use crate::domain::decide::{Content, Observation, StoredSource};
use crate::domain::erasure::erasure;
use crate::domain::facts::Facts;
use crate::domain::id::{LearnerId, SourceId};
use crate::domain::shop::{Owner, Shop};
use crate::domain::time::Timestamp;
use crate::ports::{AccessReader, Clock, Commit, Ledger, SourceFinder, StripeReader};

/// The most writes that remove a learner's grants and first purchases. An item of 400 KB, which is
/// DynamoDB's limit, takes fewer.
const ROUNDS_MAX: u32 = 200;

/// Erases a learner's access for deployment `ours`, and removes their name from every source that
/// began by `at`. If it is interrupted, running it again completes it.
pub async fn erase<L: Ledger + AccessReader + SourceFinder>(
    ledger: &L,
    stripe: &impl StripeReader,
    clock: &impl Clock,
    ours: &Shop,
    learner: &LearnerId,
    at: Timestamp,
) -> Result<(), ApplyError> {
    let at = close(ledger, clock, learner, at).await?;
    let sources = ledger.sources_of(learner).await.map_err(ApplyError::Ledger)?;
    let sources = ledger.sources(&sources).await.map_err(ApplyError::Ledger)?;
    for (source, _) in sources.into_iter().filter(|(_, stored)| stored.facts.is_erased_by(at)) {
        let facts = Facts { forgotten: Some(at), ..Facts::default() };
        let observation = Observation {
            event: None,
            mode: ours.mode,
            connected_account: false,
            owner: Owner::Marked(ours.mark.clone()),
            content: Content::Facts(source, Box::new(facts)),
        };
        apply(ledger, stripe, clock, ours, &observation).await?;
    }
    Ok(())
}

/// Writes the erasure time, and removes the grants and first purchases that it covers until none is
/// left; the erasure time keeps others from being added. Returns that time, which is later than
/// `at` if the learner has been erased again since.
async fn close<L: Ledger + AccessReader>(
    ledger: &L,
    clock: &impl Clock,
    learner: &LearnerId,
    at: Timestamp,
) -> Result<Timestamp, ApplyError> {
    let mut conflicts: u32 = 0;
    for _ in 0..ROUNDS_MAX {
        let entitlements = ledger.entitlements(learner).await.map_err(ApplyError::Ledger)?;
        let sources = sources(ledger, &entitlements).await?;
        let at = entitlements.erased_at().map_or(at, |later| later.max(at));
        let Some(write) = erasure(learner, at, &entitlements, &sources) else { return Ok(at) };
        match ledger.commit(&[write]).await.map_err(ApplyError::Ledger)? {
            Commit::Applied => {}
            Commit::Conflict(_) => {
                conflicts = conflicts.saturating_add(1);
                if conflicts == ATTEMPTS_MAX {
                    break;
                }
                clock.sleep(pause(conflicts)).await;
            }
        }
    }
    Err(ApplyError::Contended)
}

/// The sources of a learner's grants and first purchases.
async fn sources<L: AccessReader>(
    ledger: &L,
    entitlements: &Entitlements,
) -> Result<BTreeMap<SourceId, StoredSource>, ApplyError> {
    let granted = entitlements.iter().map(|(source, _)| source);
    let first_purchases = entitlements.first_purchases().map(|(_, source)| source);
    let mut sources: Vec<SourceId> = granted.chain(first_purchases).cloned().collect();
    sources.sort();
    sources.dedup();
    ledger.sources(&sources).await.map_err(ApplyError::Ledger)
}
