//! Decide and commit: the only way in which anything learnt from Stripe changes access.
//!
//! The webhook, the confirmation after a redirect and a checkout that finds an older session paid
//! all use it. It counts and logs them.
//!
//! The first event of a purchase is committed without reading, on the condition that nothing is
//! stored about the purchase: one round trip. A condition that fails returns the item, and the next
//! decision is based on that. For everything else, the stored items are read first.

use std::time::Duration;

use crate::domain::decide::{
    Alert, Answers, Decision, IgnoreReason, Observation, Outcome, Plan, Question, State, Stored,
    decide,
};
use crate::domain::id::{LearnerId, SessionId, SourceId};
use crate::domain::shop::Shop;
use crate::domain::time::Timestamp;
use crate::ports::{Clock, Commit, Ledger, LedgerError, StripeReadError, StripeReader};
use crate::telemetry::{self, Metric};

/// How many times a decision is made if what it was based on changes meanwhile.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// Why an observation could not be applied. Nothing of it is lost: Stripe sends the event again,
/// and the learner may reload the page.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
    /// Stripe could not be asked.
    #[error("Stripe could not be asked")]
    Stripe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others changed the same items each time.
    #[error("the source was changed by others {ATTEMPTS_MAX} times in a row")]
    Contended,
}

/// Applies an observation to the ledger of deployment `ours`, and returns its outcome.
pub async fn apply(
    ledger: &impl Ledger,
    stripe: &impl StripeReader,
    clock: &impl Clock,
    ours: &Shop,
    observation: &Observation,
) -> Result<Outcome, ApplyError> {
    let mut state = State::default();
    let mut must_read = !observation.is_probably_new();
    for attempt in 1..=ATTEMPTS_MAX {
        let is_guess = attempt == 1 && !must_read;
        if must_read {
            let access = state.stored.access.take();
            state.stored = Stored { access, ..load(ledger, observation, ours).await? };
        }
        let now = clock.now();
        let plan = plan(stripe, &mut state, observation, ours, now).await?;
        let found = match commit(ledger, observation, &plan).await? {
            Commit::Applied => {
                log(observation, &plan);
                raise(observation, &plan);
                if !plan.writes.is_empty() {
                    measure_age(observation, &plan.outcome, now);
                }
                return Ok(plan.outcome);
            }
            Commit::Conflict(found) => *found,
        };
        must_read = found == Stored::default();
        state.stored.learn(found);
        // Stripe's answers count only if they were read after the version that they are stored on.
        state.answers = Answers::default();
        if must_read || !is_guess {
            telemetry::count(Metric::Conflict);
            if attempt < ATTEMPTS_MAX {
                clock.sleep(pause(attempt)).await;
            }
        }
    }
    Err(ApplyError::Contended)
}

async fn load(
    ledger: &impl Ledger,
    observation: &Observation,
    ours: &Shop,
) -> Result<Stored, ApplyError> {
    match observation.needs(ours) {
        Some(needs) => ledger.load(needs).await.map_err(ApplyError::Ledger),
        None => Ok(Stored::default()),
    }
}

/// Decides, asking Stripe where the decision depends on it. Each question is asked once.
async fn plan(
    stripe: &impl StripeReader,
    state: &mut State,
    observation: &Observation,
    ours: &Shop,
    now: Timestamp,
) -> Result<Plan, ApplyError> {
    loop {
        match decide(state, observation, ours, now) {
            Decision::Plan(plan) => return Ok(plan),
            Decision::Ask(Question::Owner(payment)) => {
                let owner = answered(stripe.owner(&payment, now).await)?;
                state.answers.owners.insert(payment, owner);
            }
            Decision::Ask(Question::Dispute(id)) => {
                let status = answered(stripe.dispute(&id, now).await)?;
                state.answers.disputes.insert(id, status);
            }
        }
    }
}

async fn commit(
    ledger: &impl Ledger,
    observation: &Observation,
    plan: &Plan,
) -> Result<Commit, ApplyError> {
    if plan.writes.is_empty() {
        return Ok(Commit::Applied);
    }
    ledger.commit(&plan.writes).await.map_err(|error| {
        // It may have been committed, and then nothing else raises the alerts: better twice than
        // never.
        if matches!(error, LedgerError::Unavailable(_)) {
            raise(observation, plan);
        }
        ApplyError::Ledger(error)
    })
}

/// Stripe's answer, or why it can't be read. The decision handles that, because asking again would
/// return the same answer.
fn answered<T>(answer: Result<T, StripeReadError>) -> Result<Result<T, String>, ApplyError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(StripeReadError::Unreadable(reason)) => Ok(Err(reason)),
        Err(StripeReadError::Unavailable(cause)) => Err(ApplyError::Stripe(cause)),
    }
}

/// Gives the concurrent commit time to finish: 10 to 40 ms, then twice and four times that.
pub(crate) fn pause(attempt: u32) -> Duration {
    let jitter_ms = getrandom::u32().unwrap_or_default() % 16;
    let factor = 1_u64.checked_shl(attempt).unwrap_or(1);
    Duration::from_millis(u64::from(5_u32.saturating_add(jitter_ms)).saturating_mul(factor))
}

/// Records how late a new event arrives. An unreadable one may not say when it was created.
fn measure_age(observation: &Observation, outcome: &Outcome, now: Timestamp) {
    let Some(event) = &observation.event else { return };
    if !matches!(outcome, Outcome::Quarantined { .. }) {
        let age = now.unix_seconds().saturating_sub(event.created.unix_seconds());
        // Stripe's clock may be ahead of ours.
        telemetry::record(Metric::EventAge, u64::try_from(age).unwrap_or(0));
    }
}

/// Counts the outcome, and logs it with the ids by which a payment is traced.
fn log(observation: &Observation, plan: &Plan) {
    let outcome = &plan.outcome;
    let (metric, reason) = match outcome {
        Outcome::Applied => (Metric::Applied, None),
        Outcome::Duplicate => (Metric::Duplicate, None),
        Outcome::Ignored(rule) => (Metric::Ignored, Some(rule.name())),
        Outcome::Quarantined { reason } => (Metric::Quarantined, Some(reason.as_str())),
    };
    telemetry::count(metric);
    match outcome {
        Outcome::Ignored(IgnoreReason::OtherMode) => telemetry::count(Metric::OtherMode),
        Outcome::Ignored(IgnoreReason::NotOurs) => telemetry::count(Metric::NotOurs),
        Outcome::Ignored(
            IgnoreReason::UnknownType | IgnoreReason::NothingPaid | IgnoreReason::ConnectedAccount,
        )
        | Outcome::Applied
        | Outcome::Duplicate
        | Outcome::Quarantined { .. } => {}
    }
    let session = observation.content.session();
    let event = observation.event.as_ref();
    tracing::info!(
        stripe.event_id = event.map(|event| event.id.as_str()),
        stripe.event_type = event.map(|event| event.kind.as_str()),
        stripe.object_id = match event {
            Some(event) => event.object.as_deref(),
            None => session.map(SessionId::as_str),
        },
        stripe.api_version = event.and_then(|event| event.api_version.as_deref()),
        source = observation.content.source().map(SourceId::as_str),
        learner.id = plan.learner.as_ref().map(LearnerId::as_str),
        outcome = outcome.name(),
        reason,
        "{}",
        match (event, session) {
            (Some(_), _) => "event handled",
            (None, Some(_)) => "session read",
            (None, None) => "facts written by hand",
        },
    );
}

/// Logs and counts the alerts; the metrics have alarms.
fn raise(observation: &Observation, plan: &Plan) {
    let source = observation.content.source().map(SourceId::as_str);
    let learner = plan.learner.as_ref().map(LearnerId::as_str);
    for alert in &plan.alerts {
        let (metric, what) = match alert {
            Alert::DoublePayment => {
                (Metric::DoublePayment, "a learner has paid for the same product twice")
            }
            Alert::FraudWarning => {
                (Metric::FraudWarning, "Stripe warns that a payment's card may be stolen")
            }
            Alert::PaidAfterErasure => {
                (Metric::PaidAfterErasure, "a payment has arrived from a learner who was erased")
            }
        };
        telemetry::count(metric);
        tracing::warn!(source, learner.id = learner, "{what}");
    }
}
