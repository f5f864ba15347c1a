//! The webhook function: Stripe talks to us.
//!
//! Verify, read, decide, commit, acknowledge. A 2xx means that the effect is committed, was so
//! already, is none by an explicit rule, or is kept for code that can read it; whatever fails on
//! our side is a 5xx, so that Stripe comes again.

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

/// Stripe publishes no limit of its own; its events are a few kilobytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Lambda ends the function after ten seconds, as `template.yaml` says; before that, Stripe is told.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// All that the function works with.
pub struct App<L, C, R = StripeApi, S = SecretsManager> {
    /// Where facts are kept.
    pub ledger: L,
    /// Who is asked what only Stripe knows. No event of a purchase needs it.
    pub stripe: R,
    /// The secrets that Stripe may sign with.
    pub signing_secrets: SecretCache<S>,
    /// The deployment as Stripe's objects name it.
    pub shop: Shop,
    /// The time.
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

/// Answers one delivery.
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
        let detail = "This is where Stripe delivers events, with POST.";
        return Err(Problem::new(ProblemKind::MethodNotAllowed, detail));
    }
    let now = app.clock.now();
    let delivery = verify(&app.signing_secrets, unverified(request)?, now).await?;
    if delivery.body().len() > BODY_BYTES_MAX {
        return Err(refused(
            Metric::TooLarge,
            ProblemKind::BodyTooLarge,
            "the event is larger than 1 MiB",
            "An event may have 1 MiB at most.",
        ));
    }
    let observation = delivery.read(app.shop.mode);
    apply(&app.ledger, &app.stripe, &app.clock, &app.shop, &observation)
        .await
        .map_err(|error| not_applied(&observation, &error))
}

fn too_slow() -> Problem {
    telemetry::count(Metric::Failed);
    tracing::error!(outcome = "failed", "no answer within {} s", ANSWER_WITHIN.as_secs());
    Problem::new(ProblemKind::Unavailable, "This takes too long. Please deliver the event again.")
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

fn unverified(request: &Request) -> Result<UnverifiedDelivery<'_>, Problem> {
    let unverified_signature = request
        .headers()
        .get("stripe-signature")
        .and_then(|header| header.to_str().ok())
        .ok_or_else(|| {
            refused(
                Metric::Refused,
                ProblemKind::BadSignature,
                "the Stripe-Signature header is missing or no text",
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

/// Verifies with the secrets at hand and, should none fit, with those that have come since.
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
    // The secret may have been rotated. If nobody can say, it is not for us to refuse it.
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
        "Send the event as Stripe does, signed with this endpoint's secret and the time of now.",
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
