//! Read, decide, commit: the one way in which anything learnt from Stripe becomes access.
//!
//! The webhook, the confirmation after a redirect and a checkout that finds an older session paid
//! all come through here, and are counted and logged here.

use std::time::Duration;

use crate::domain::decide::{
    Alert, Content, Decision, IgnoreReason, Observation, Outcome, Plan, Question, State, decide,
};
use crate::domain::id::{LearnerId, SessionId, SourceId};
use crate::domain::shop::Shop;
use crate::domain::time::Timestamp;
use crate::ports::{
    AccessReader, Clock, Commit, Ledger, LedgerError, StripeReadError, StripeReader,
};
use crate::telemetry::{self, Metric};

/// How often a decision is made when what it was based on changes meanwhile.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// Why an observation could not be applied. Nothing of it is lost: Stripe comes again, the learner may too.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
    /// Stripe could not be asked.
    #[error("Stripe could not be asked")]
    Stripe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others changed the same source each time.
    #[error("the source was changed by others {ATTEMPTS_MAX} times in a row")]
    Contended,
}

/// Applies an observation to the ledger of deployment `ours`, and says what became of it.
pub async fn apply<L: Ledger + AccessReader>(
    ledger: &L,
    stripe: &impl StripeReader,
    clock: &impl Clock,
    ours: &Shop,
    observation: &Observation,
) -> Result<Outcome, ApplyError> {
    let mut is_grant_refused = false;
    for attempt in 1..=ATTEMPTS_MAX {
        let mut state = match observation.needs(ours) {
            Some(needs) => ledger.load(needs).await.map_err(ApplyError::Ledger)?,
            None => State::default(),
        };
        state.is_grant_refused = is_grant_refused;
        let now = clock.now();
        let plan = loop {
            match decide(&state, observation, ours, now) {
                Decision::Plan(plan) => break plan,
                Decision::Ask(question) => ask(ledger, stripe, &mut state, question, now).await?,
            }
        };
        let commit = if plan.writes.is_empty() {
            Commit::Applied
        } else {
            match ledger.commit(&plan.writes).await {
                Ok(commit) => commit,
                Err(error) => {
                    // It may have been made, and then nobody would hear of it: better twice.
                    if matches!(error, LedgerError::Unavailable(_)) {
                        notify(observation, &plan);
                    }
                    return Err(ApplyError::Ledger(error));
                }
            }
        };
        match commit {
            Commit::Applied => {
                tell(observation, &plan);
                notify(observation, &plan);
                if !plan.writes.is_empty() {
                    measure_age(observation, &plan.outcome, now);
                }
                return Ok(plan.outcome);
            }
            // Not a race: the next decision knows more.
            Commit::GrantRefused => is_grant_refused = true,
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

/// Adds the answer to what the decision is made on. Each question is asked once.
async fn ask<L: AccessReader>(
    ledger: &L,
    stripe: &impl StripeReader,
    state: &mut State,
    question: Question,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let answers = &mut state.answers;
    match question {
        Question::Owner(payment) => {
            let owner = answered(stripe.owner(&payment, now).await)?;
            answers.owners.insert(payment, owner);
        }
        Question::Dispute(id) => {
            let status = answered(stripe.dispute(&id, now).await)?;
            answers.disputes.insert(id, status);
        }
        Question::Entitlements(learner) => {
            let entitlements = ledger.entitlements(&learner).await.map_err(ApplyError::Ledger)?;
            answers.entitlements.insert(learner, entitlements);
        }
    }
    Ok(())
}

/// What Stripe answered; or the reason why the answer can't be read, which is for the decision to
/// deal with: asking again would bring the same.
fn answered<T>(answer: Result<T, StripeReadError>) -> Result<Result<T, String>, ApplyError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(StripeReadError::Unreadable(reason)) => Ok(Err(reason)),
        Err(StripeReadError::Unavailable(cause)) => Err(ApplyError::Stripe(cause)),
    }
}

/// Lets whoever was quicker finish: 10 to 40 ms, then twice and four times that.
pub(crate) fn pause(attempt: u32) -> Duration {
    let jitter_ms = getrandom::u32().unwrap_or_default() % 16;
    let factor = 1_u64.checked_shl(attempt).unwrap_or(1);
    Duration::from_millis(u64::from(5_u32.saturating_add(jitter_ms)).saturating_mul(factor))
}

/// Records how late an event is that was not on record. What can't be read may not say when it was
/// made.
fn measure_age(observation: &Observation, outcome: &Outcome, now: Timestamp) {
    let Some(event) = &observation.event else { return };
    if !matches!(outcome, Outcome::Quarantined { .. }) {
        let age = now.unix_seconds().saturating_sub(event.created.unix_seconds());
        // Stripe's clock may be ahead of ours.
        telemetry::record(Metric::EventAge, u64::try_from(age).unwrap_or(0));
    }
}

/// Counts what became of the observation, and logs it by all that a payment is traced by.
fn tell(observation: &Observation, plan: &Plan) {
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
    let (source, session) = match &observation.content {
        Content::Facts(source, facts) => {
            (Some(source), facts.purchase().map(|purchase| &purchase.sale.session))
        }
        Content::CustomerDeleted(..) | Content::Ignored(_) | Content::Unreadable { .. } => {
            (None, None)
        }
    };
    let event = observation.event.as_ref();
    let learner = plan.learner.as_ref().map(LearnerId::as_str);
    tracing::info!(
        stripe.event_id = event.map(|event| event.id.as_str()),
        stripe.event_type = event.map(|event| event.kind.as_str()),
        stripe.object_id = match event {
            Some(event) => event.object.as_deref(),
            None => session.map(SessionId::as_str),
        },
        stripe.api_version = event.and_then(|event| event.api_version.as_deref()),
        source = source.map(SourceId::as_str),
        learner.id = learner,
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

/// Says what somebody has to be told, and counts it, which rings.
fn notify(observation: &Observation, plan: &Plan) {
    let source = match &observation.content {
        Content::Facts(source, _) => Some(source.as_str()),
        Content::CustomerDeleted(..) | Content::Ignored(_) | Content::Unreadable { .. } => None,
    };
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
                (Metric::PaidAfterErasure, "a payment has arrived whose buyer was erased")
            }
        };
        telemetry::count(metric);
        tracing::warn!(source, learner.id = learner, "{what}");
    }
}
