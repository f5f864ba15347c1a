//! `cargo xtask sign`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use samples::sign_file;
use serde_json::Value;

/// The secret's logical id in the template, and its name on the local stack.
const SECRET_ID: &str = "coursegate/StripeSigningSecret";

/// What makes a sample an event of a deployment.
pub(crate) struct Seal {
    /// The deployment's mark.
    pub(crate) mark: String,
    /// Its signing secret.
    pub(crate) secret: String,
}

impl Seal {
    /// The event in this file, marked and signed for the deployment now.
    pub(crate) fn sign(&self, file: &Path) -> Result<Value, Box<dyn std::error::Error>> {
        Ok(sign_file(file, &self.mark, &self.secret, now()?)?)
    }
}

/// Signs the event in this file and returns it as it is sent.
pub(crate) fn run(
    file: &Path,
    given: Option<Seal>,
    gateway_port: u16,
) -> Result<String, Box<dyn std::error::Error>> {
    let seal = if let Some(seal) = given {
        seal
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(of_the_running_stack(&format!("http://127.0.0.1:{gateway_port}")))?
    };
    Ok(serde_json::to_string_pretty(&seal.sign(file)?)?)
}

#[expect(clippy::disallowed_methods, reason = "a signature carries the time at which it is made")]
fn now() -> Result<i64, Box<dyn std::error::Error>> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(i64::try_from(seconds)?)
}

/// The seal of the local stack whose gateway has this address.
async fn of_the_running_stack(gateway: &str) -> Result<Seal, Box<dyn std::error::Error>> {
    let health: Value = match reqwest::get(format!("{gateway}/local/health")).await {
        Ok(response) => response.json().await?,
        Err(_) => {
            return Err(format!(
                "no local stack answers at {gateway}: start one with `cargo run`, or give the \
                 deployment's mark and signing secret with --mark and --secret"
            )
            .into());
        }
    };
    of_a_stack(&health).await
}

/// The seal in a stack's addresses, from its start or from `GET /local/health`.
pub(crate) async fn of_a_stack(stack: &Value) -> Result<Seal, Box<dyn std::error::Error>> {
    let text = |name: &str| {
        let found = stack.get(name).and_then(Value::as_str);
        found.ok_or_else(|| format!("the local stack doesn't report its {name}: restart it"))
    };
    let mark = text("deployment_mark")?.to_owned();
    let secret = signing_secret(text("secrets_manager")?).await?;
    Ok(Seal { mark, secret })
}

/// The current signing secret in the Secrets Manager at this address.
async fn signing_secret(address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let request = reqwest::Client::new()
        .post(format!("{address}/"))
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header("content-type", "application/x-amz-json-1.1")
        .body(serde_json::json!({ "SecretId": SECRET_ID }).to_string());
    let answer: Value = request.send().await?.json().await?;
    let secret = answer.get("SecretString").and_then(Value::as_str).unwrap_or_default();
    match secret.split_whitespace().next() {
        Some(secret) => Ok(secret.to_owned()),
        None => Err(format!("the Secrets Manager at {address} has no secret {SECRET_ID}").into()),
    }
}
