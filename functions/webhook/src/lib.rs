//! The webhook function, which receives Stripe's events.
//!
//! It verifies, reads, decides, commits and acknowledges. A 2xx means that the event is applied,
//! was already applied, is ignored by an explicit rule, or is kept for a version that can read it.
//! A failure on our side is a 5xx, so that Stripe redelivers the event.

use std::time::Duration;

use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Request, Response, service_fn};
use serde::Serialize;
use shared::apply::{ApplyError, apply};
use shared::domain::decide::{Observation, Outcome};
use shared::domain::shop::Shop;
use shared::domain::time::Timestamp;
use shared::http::{Incoming, Problem, ProblemKind, json};
use shared::ports::{AccessReader, Clock, Ledger, SecretReader, StripeReader, SystemClock};
use shared::secrets::{SecretCache, SecretError, SecretsManager};
use shared::stripe::api::StripeApi;
use shared::stripe::signature::{SignatureError, UnverifiedDelivery, VerifiedDelivery};
use shared::telemetry::{self, Metric};
use shared::{aws, config};
use tracing::Instrument;

/// The largest event that we accept. Stripe publishes no limit; its events are a few kilobytes.
/// A larger one can be applied with `coursegate replay`, which reads it from Stripe.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// When to respond at the latest. Lambda stops the function after ten seconds, as `template.yaml`
/// says.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// The function's dependencies.
pub struct App<L, C, R = StripeApi, S = SecretsManager> {
    /// Where facts are stored.
    pub ledger: L,
    /// Answers what only Stripe knows. Events of purchases never need it.
    pub stripe: R,
    /// The secrets that Stripe may sign with.
    pub signing_secrets: SecretCache<S>,
    /// What identifies this deployment's objects at Stripe.
    pub shop: Shop,
    /// The clock.
    pub clock: C,
}

#[derive(Serialize)]
struct Acknowledgement {
    outcome: &'static str,
}

/// Runs the function until the Lambda runtime ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::init(config::function_name());
    let config = config::WebhookConfig::parse(config::process_environment)?;
    let secrets_manager = aws::secrets_manager(&config.table.aws, &config.signing_secret);
    let stripe_keys = SecretCache::api_key(
        aws::secrets_manager(&config.table.aws, &config.read_key),
        config.read_key.secret_id,
    );
    let app = &App {
        ledger: aws::table(&config.table),
        stripe: StripeApi::new(config.stripe_api_url, config.shop.clone(), stripe_keys),
        signing_secrets: SecretCache::signing_secrets(
            secrets_manager,
            config.signing_secret.secret_id,
        ),
        shop: config.shop,
        clock: SystemClock,
    };
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, std::convert::Infallible>(handle(app, &request).await)
    }))
    .await
}

/// Handles one delivery.
pub async fn handle<L: Ledger + AccessReader, C: Clock, R: StripeReader, S: SecretReader>(
    app: &App<L, C, R, S>,
    request: &Request,
) -> Response<Body> {
    let incoming = Incoming::new(request);
    let delivered = async {
        tokio::select! {
            biased;
            delivered = deliver(app, request) => delivered,
            () = app.clock.sleep(ANSWER_WITHIN) => Err(too_slow()),
        }
    };
    match delivered.instrument(incoming.span()).await {
        Ok(outcome) => json(StatusCode::OK, &Acknowledgement { outcome: outcome.name() }),
        Err(problem) => problem.response(incoming.request_id()),
    }
}

async fn deliver<L: Ledger + AccessReader, C: Clock, R: StripeReader, S: SecretReader>(
    app: &App<L, C, R, S>,
    request: &Request,
) -> Result<Outcome, Problem> {
    if request.method() != Method::POST {
        let detail = "Stripe delivers events here with POST.";
        return Err(Problem::new(ProblemKind::MethodNotAllowed, detail));
    }
    let now = app.clock.now();
    let delivery = verify(&app.signing_secrets, unverified(request)?, now).await?;
    let observation = delivery.read(app.shop.mode);
    apply(&app.ledger, &app.stripe, &app.clock, &app.shop, &observation)
        .await
        .map_err(|error| not_applied(&observation, &error))
}

fn too_slow() -> Problem {
    telemetry::count(Metric::Failed);
    tracing::error!(outcome = "failed", "no response within {} s", ANSWER_WITHIN.as_secs());
    Problem::new(ProblemKind::Unavailable, "This took too long. Please deliver the event again.")
}

fn not_applied(observation: &Observation, cause: &ApplyError) -> Problem {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(cause);
    let event = observation.event.as_ref();
    tracing::error!(
        stripe.event_id = event.map(|event| event.id.as_str()),
        stripe.event_type = event.map(|event| event.kind.as_str()),
        stripe.object_id = event.and_then(|event| event.object.as_deref()),
        outcome = "failed",
        %error,
        "event not applied"
    );
    Problem::from(cause)
}

/// The delivery as it was sent. Anyone can send one, so a large body is refused before its signature
/// is computed, and raises no alarm.
fn unverified(request: &Request) -> Result<UnverifiedDelivery<'_>, Problem> {
    if request.body().len() > BODY_BYTES_MAX {
        return Err(refused(
            Metric::TooLarge,
            ProblemKind::BodyTooLarge,
            "the body is larger than 1 MiB",
            "Send at most 1 MiB.",
        ));
    }
    let unverified_signature = request
        .headers()
        .get("stripe-signature")
        .and_then(|header| header.to_str().ok())
        .ok_or_else(|| {
            refused(
                Metric::Refused,
                ProblemKind::BadSignature,
                "the Stripe-Signature header is missing or not text",
                "Send the event as Stripe does, with its Stripe-Signature header.",
            )
        })?;
    let unverified_body = match request.body() {
        Body::Text(text) => Some(text.as_str()),
        Body::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        Body::Empty | _ => Some(""),
    };
    let unverified_body = unverified_body.ok_or_else(|| {
        refused(
            Metric::BadSignature,
            ProblemKind::BadSignature,
            "the body is not UTF-8",
            "Send the body exactly as Stripe signed it.",
        )
    })?;
    Ok(UnverifiedDelivery { unverified_signature, unverified_body })
}

/// Verifies with the cached secrets and, if none matches, with newly read ones.
async fn verify<'a>(
    secrets: &SecretCache<impl SecretReader>,
    delivery: UnverifiedDelivery<'a>,
    now: Timestamp,
) -> Result<VerifiedDelivery<'a>, Problem> {
    let known = secrets.get(now).await.map_err(|error| no_secret(&error))?;
    match delivery.verify(&known, now) {
        Err(SignatureError::Mismatch) => {}
        verified => return verified.map_err(bad_signature),
    }
    // The secret may have been rotated. If that can't be checked, respond with a 5xx instead of
    // refusing.
    if !secrets.refresh(now).await.map_err(|error| no_secret(&error))? {
        return Err(bad_signature(SignatureError::Mismatch));
    }
    let fresh = secrets.get(now).await.map_err(|error| no_secret(&error))?;
    delivery.verify(&fresh, now).map_err(bad_signature)
}

fn no_secret(cause: &SecretError) -> Problem {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(cause);
    tracing::error!(%error, "no signing secret to verify with");
    let detail = "No signing secret is available yet. Please deliver the event again.";
    Problem::new(ProblemKind::Unavailable, detail)
}

fn bad_signature(error: SignatureError) -> Problem {
    refused(
        Metric::BadSignature,
        ProblemKind::BadSignature,
        error.to_string(),
        "Send the event as Stripe does, signed with this endpoint's secret and the current time.",
    )
}

fn refused(
    metric: Metric,
    kind: ProblemKind,
    reason: impl Into<String>,
    detail: &'static str,
) -> Problem {
    telemetry::count(metric);
    tracing::warn!(outcome = "refused", reason = reason.into(), "request refused");
    Problem::new(kind, detail)
}
