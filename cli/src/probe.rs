//! A probe: an event that changes nothing, signed with a secret, to see whether the webhook takes it.

use reqwest::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::domain::decide::Mode;
use shared::domain::time::Timestamp;
use stripe_webhook::Webhook;

use crate::account::API_VERSION;
use crate::deployment::Deployment;

/// Delivers a probe to a deployment's webhook, as Stripe delivers an event.
pub(crate) async fn deliver(
    http: &reqwest::Client,
    deployment: &Deployment,
    secret: &SecretString,
    now: Timestamp,
) -> Result<Response, reqwest::Error> {
    let now = now.unix_seconds();
    let body = event(deployment.shop.mode, now);
    let signature = Webhook::generate_test_header(&body, secret.expose_secret(), Some(now));
    let request = http
        .post(&deployment.webhook_url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(body);
    request.send().await
}

/// The status and the outcome of a probe.
pub(crate) async fn outcome(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    let outcome = body.get("outcome").and_then(Value::as_str).unwrap_or_default();
    (status, outcome.to_owned())
}

/// An event of no type that is handled: whoever takes it applies nothing.
fn event(mode: Mode, now: i64) -> String {
    json!({
        "id": format!("evt_coursegateprobe{now}"),
        "object": "event",
        "api_version": API_VERSION.as_str(),
        "created": now,
        "data": { "object": { "id": "probe", "object": "probe" } },
        "livemode": mode == Mode::Live,
        "pending_webhooks": 1,
        "request": null,
        "type": "coursegate.probe",
    })
    .to_string()
}
