//! `cargo xtask sign`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use xtask::sign::sign_file;

/// What the template calls the secret, and the local stack with it.
const SECRET_ID: &str = "coursegate/StripeSigningSecret";

/// Signs the event in this file and answers with it, as it is sent.
pub(crate) fn run(
    file: &Path,
    secret: Option<String>,
    secrets_port: u16,
) -> Result<String, Box<dyn std::error::Error>> {
    let secret = if let Some(secret) = secret {
        secret
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(of_a_stack(&format!("http://127.0.0.1:{secrets_port}")))?
    };
    let event = sign_file(file, &secret, now()?)?;
    Ok(serde_json::to_string_pretty(&event)?)
}

#[expect(clippy::disallowed_methods, reason = "a signature carries the time at which it is made")]
pub(crate) fn now() -> Result<i64, Box<dyn std::error::Error>> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(i64::try_from(seconds)?)
}

/// The first of the signing secrets that the Secrets Manager at this address has.
pub(crate) async fn of_a_stack(address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let request = reqwest::Client::new()
        .post(format!("{address}/"))
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header("content-type", "application/x-amz-json-1.1")
        .body(serde_json::json!({ "SecretId": SECRET_ID }).to_string());
    let answer: Value = match request.send().await {
        Ok(response) => response.json().await?,
        Err(_) => {
            return Err(format!(
                "no local stack answers at {address}: start one with `cargo run`, or give the \
                 signing secret with --secret"
            )
            .into());
        }
    };
    let secret = answer.get("SecretString").and_then(Value::as_str).unwrap_or_default();
    match secret.split_whitespace().next() {
        Some(secret) => Ok(secret.to_owned()),
        None => Err(format!("what answers at {address} has no secret {SECRET_ID}").into()),
    }
}
