//! Read, decide, commit: the one way in which anything learnt from Stripe becomes access.
//!
//! The webhook, the confirmation after a redirect and a checkout that finds an older session paid
//! all come through here, and are counted and logged here.

use std::time::Duration;

use crate::domain::decide::{Content, Irrelevance, Mode, News, Outcome, State, decide};
use crate::domain::time::Timestamp;
use crate::ports::{Clock, Commit, Ledger, LedgerError};
use crate::telemetry::{self, Metric};

/// How often a decision is made when what it was based on changes meanwhile.
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

/// Applies news to the ledger, as a deployment of mode `ours`, and says what became of it.
pub async fn apply<L: Ledger>(
    ledger: &L,
    clock: &impl Clock,
    ours: Mode,
    news: &News,
) -> Result<Outcome, ApplyError> {
    for attempt in 1..=ATTEMPTS_MAX {
        let state = match news.needs(ours) {
            Some(needs) => ledger.load(needs).await.map_err(ApplyError::Ledger)?,
            None => State::default(),
        };
        let now = clock.now();
        let decision = decide(&state, news, ours, now);
        let commit = if decision.writes.is_empty() {
            Commit::Applied
        } else {
            ledger.commit(&decision.writes).await.map_err(ApplyError::Ledger)?
        };
        match commit {
            Commit::Applied => {
                tell(news, &decision.outcome);
                if !decision.writes.is_empty() {
                    measure_age(news, &decision.outcome, now);
                }
                return Ok(decision.outcome);
            }
            // Another instance has just recorded this very event, or changed its source. Read what
            // it left: of an event on record the decision will be to write nothing.
            Commit::AlreadyProcessed | Commit::Conflict => {
                telemetry::count(Metric::Conflict);
                if attempt < ATTEMPTS_MAX {
                    clock.sleep(pause(attempt)).await;
                }
            }
        }
    }
    Err(ApplyError::Contended)
}

/// Lets whoever was quicker finish: 10 to 40 ms, then twice and four times that.
fn pause(attempt: u32) -> Duration {
    let jitter_ms = getrandom::u32().unwrap_or_default() % 16;
    let factor = 1_u64.checked_shl(attempt).unwrap_or(1);
    Duration::from_millis(u64::from(5_u32.saturating_add(jitter_ms)).saturating_mul(factor))
}

/// Records how late an event is that was not on record. What can't be read may not say when it was
/// made.
fn measure_age(news: &News, outcome: &Outcome, now: Timestamp) {
    let Some(event) = &news.event else { return };
    if !matches!(outcome, Outcome::Quarantined { .. }) {
        let age = now.unix_seconds().saturating_sub(event.created.unix_seconds());
        // Stripe's clock may be ahead of ours.
        telemetry::record(Metric::EventAge, u64::try_from(age).unwrap_or(0));
    }
}

/// Counts what became of the news, and logs it by all that a payment is traced by.
fn tell(news: &News, outcome: &Outcome) {
    let (metric, reason) = match outcome {
        Outcome::Applied => (Metric::Applied, None),
        Outcome::Duplicate => (Metric::Duplicate, None),
        Outcome::Ignored(rule) => (Metric::Ignored, Some(rule.name())),
        Outcome::Quarantined { reason } => (Metric::Quarantined, Some(reason.as_str())),
    };
    telemetry::count(metric);
    if *outcome == Outcome::Ignored(Irrelevance::OtherMode) {
        telemetry::count(Metric::OtherMode);
    }
    let purchase = match &news.content {
        Content::Purchase(source, purchase) => Some((source, &purchase.sale)),
        Content::Irrelevant(_) | Content::Unreadable { .. } => None,
    };
    let event = news.event.as_ref();
    tracing::info!(
        stripe.event_id = event.map(|event| event.id.as_str()),
        stripe.event_type = event.map(|event| event.kind.as_str()),
        stripe.object_id = match event {
            Some(event) => event.object.as_deref(),
            None => purchase.map(|(_, sale)| sale.session.as_str()),
        },
        stripe.api_version = event.and_then(|event| event.api_version.as_deref()),
        source = purchase.map(|(source, _)| source.as_str()),
        learner.id = purchase.map(|(_, sale)| sale.learner.as_str()),
        outcome = outcome.name(),
        reason,
        "{}",
        if event.is_some() { "event handled" } else { "session read" },
    );
}
