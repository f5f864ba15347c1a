//! A signing secret that somebody else has: the webhook refuses it before the rotation ends.
//!
//! Instances that run keep the secrets that they have read for five minutes. So they are replaced;
//! and because neither Lambda nor Secrets Manager promises when a change is seen everywhere, the
//! webhook is tried with the secret afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use shared::ports::{Clock as _, SystemClock};
use shared::telemetry::Chain;

use super::{WebhookError, values};
use crate::deployment::{Deployment, DeploymentError};
use crate::probe;

/// How many events are forged at once, so that they meet several instances.
const FORGED_AT_ONCE: usize = 10;
/// How often the instances are replaced before it is left to the operator.
const ATTEMPTS_MAX: u32 = 3;
/// The pause before the next attempt.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);
/// How long one event may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the webhook did with forged events.
enum Trial {
    /// It refused this many, and accepted none.
    Refused(usize),
    /// It accepted at least one.
    Accepted,
    /// It is unknown whether it would accept them, and why.
    Unclear(String),
}

/// The secrets that are accepted and are not this one.
pub(super) async fn others(
    deployment: &Deployment,
    secret: &SecretString,
) -> Result<Vec<SecretString>, DeploymentError> {
    let id = &deployment.signing_secret_id;
    let (current, previous) = (deployment.secret(id).await?, deployment.previous_secret(id).await?);
    let texts = [Some(current), previous];
    let mut others: Vec<SecretString> = texts.iter().flatten().flat_map(|it| values(it)).collect();
    others.retain(|other| other.expose_secret() != secret.expose_secret());
    others.sort_by(|one, other| one.expose_secret().cmp(other.expose_secret()));
    others.dedup_by(|one, other| one.expose_secret() == other.expose_secret());
    Ok(others)
}

/// Replaces the webhook's instances until it refuses these secrets, which Secrets Manager does not
/// hold any more, and accepts the new one.
pub(super) async fn shut_out(
    deployment: &Deployment,
    new: &SecretString,
    leaked: &[SecretString],
    tell: &mut dyn FnMut(String),
) -> Result<(), WebhookError> {
    let http = reqwest::Client::builder().timeout(TIMEOUT).build();
    let http = http.map_err(|error| WebhookError::Untried(Chain(&error).to_string()))?;
    if deployment.cloud.is_some() && !leaked.is_empty() {
        tell(format!(
            "sending the webhook {FORGED_AT_ONCE} events at a time that are signed with the old \
             secret: this sets off the alarm SignaturesFail, and is not an attack"
        ));
    }
    for attempt in 1.. {
        let replaced = deployment.webhook_function.replace_instances(SystemClock.now()).await;
        replaced.map_err(WebhookError::NotReplaced)?;
        tell("replaced all running instances of the webhook function".to_owned());
        let (problem, error) = match attempt_forgery(&http, deployment, new, leaked).await {
            Trial::Refused(count) => {
                tell(refused(count));
                return Ok(());
            }
            Trial::Accepted => (
                "the webhook still accepts events signed with the old secret".to_owned(),
                WebhookError::StillAccepted,
            ),
            Trial::Unclear(reason) => (reason.clone(), WebhookError::Untried(reason)),
        };
        if attempt == ATTEMPTS_MAX {
            return Err(error);
        }
        tell(format!("{problem}; trying again in {} s", BETWEEN_ATTEMPTS.as_secs()));
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    Ok(())
}

fn refused(count: usize) -> String {
    if count == 0 {
        return "the old secret is no longer stored, so the webhook can't be tested with it; it \
                accepts the new one"
            .to_owned();
    }
    format!(
        "the webhook refused {count} events signed with the old secret, and accepted one signed \
         with the new one"
    )
}

/// Sends forged events at the same time. One signed with the new secret has to be accepted, or a
/// refusal would mean nothing: with a clock that is off, everything is refused.
async fn attempt_forgery(
    http: &reqwest::Client,
    deployment: &Deployment,
    new: &SecretString,
    leaked: &[SecretString],
) -> Trial {
    let now = SystemClock.now();
    let deliver = async |secret: &SecretString| {
        let answer = probe::deliver(http, deployment, secret, now).await;
        answer.map(|answer| answer.status())
    };
    let (mut refused, mut unclear) = (0_usize, None);
    // One secret after the other, or the API would throttle the last one's events.
    for secret in leaked {
        let before = refused;
        let forged = std::iter::repeat_n(secret, FORGED_AT_ONCE);
        for status in join_all(forged.map(deliver)).await {
            match status {
                Ok(status) if status.is_success() => return Trial::Accepted,
                Ok(StatusCode::BAD_REQUEST) => refused = refused.saturating_add(1),
                // As many instances as may run are at work, or the API throttles the route.
                Ok(StatusCode::TOO_MANY_REQUESTS) => {}
                Ok(status) => unclear = Some(answers(status, "a forged event")),
                Err(error) => unclear = Some(unreachable(&error)),
            }
        }
        if refused == before && unclear.is_none() {
            unclear = Some(answers(StatusCode::TOO_MANY_REQUESTS, "each forged event"));
        }
    }
    match (unclear, deliver(new).await) {
        (Some(unclear), _) => unclear,
        (None, Err(error)) => unreachable(&error),
        (None, Ok(status)) if !status.is_success() => {
            answers(status, "an event signed with the new secret")
        }
        (None, Ok(_)) => Trial::Refused(refused),
    }
}

fn answers(status: StatusCode, to: &str) -> Trial {
    Trial::Unclear(format!("the webhook answers {} to {to}", status.as_u16()))
}

fn unreachable(error: &reqwest::Error) -> Trial {
    Trial::Unclear(format!("the webhook can't be reached: {}", Chain(error)))
}
