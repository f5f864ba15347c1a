//! A local stack for the run, on free ports and in memory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Fault, read_json};
use crate::signing::Seal;

/// The event of grace's purchase.
const PURCHASE: &str = "events/webhook/checkout_session_completed_paid.json";
/// The time of grace's purchase, as in the replay test.
const BOUGHT: i64 = 1_795_000_000;

/// The samples' upgrade link.
const LINK: &str = "SampleLink0SampleLink0SampleLink";
/// Its expiry, in Unix seconds: in 2100.
const LINK_ENDS: &str = "4102444800";
/// A well-formed signature, which suffices for the local stack's DynamoDB.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/dynamodb/aws4_request, \
                      SignedHeaders=host, Signature=none";

/// A running stack. It is stopped when it is dropped.
pub(crate) struct Stack {
    process: Child,
    addresses: Value,
}

impl Stack {
    /// Starts a stack and waits until it is ready.
    pub(crate) fn start(command: &Path, bridge: Option<&str>) -> Result<Stack, Fault> {
        let bridge = bridge.map(|address| format!("--docker-bridge={address}"));
        let mut process = Command::new(command)
            .args(["up", "--ephemeral"])
            .args(bridge)
            .current_dir(tools::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the local stack says nothing")?;
        let mut stack = Stack { process, addresses: Value::Null };
        let mut lines = BufReader::new(stdout).lines();
        loop {
            let line = lines.next().ok_or("the local stack has not started: see above")??;
            if let Some(addresses) = line.strip_prefix("ready ") {
                stack.addresses = serde_json::from_str(addresses)?;
                break;
            }
        }
        // It prints a line for each request, which must be read.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(stack)
    }

    fn address(&self, piece: &str) -> Result<&str, Fault> {
        let address = self.addresses.get(piece).and_then(Value::as_str);
        Ok(address.ok_or_else(|| format!("the local stack has no address for {piece}"))?)
    }

    /// The seal that makes a sample an event of this stack.
    pub(crate) async fn seal(&self) -> Result<Seal, Fault> {
        crate::signing::of_a_stack(&self.addresses).await
    }

    /// As in the replay test, grace owns the demo course before a sample arrives.
    pub(crate) async fn sell_to_grace(&self) -> Result<(), Fault> {
        let event = self.seal().await?.sign(&purchase_of_grace()?)?;
        let webhook = "/2015-03-31/functions/WebhookFunction/invocations";
        let url = format!("{}{webhook}", self.address("lambda")?);
        let answer: Value =
            reqwest::Client::new().post(url).json(&event).send().await?.json().await?;
        match answer.get("body").and_then(Value::as_str) {
            Some(r#"{"outcome":"applied"}"#) => Ok(()),
            _ => Err(format!("the local stack refused grace's purchase: {answer}").into()),
        }
    }

    /// As in the replay test, a chat has a link for another learner.
    pub(crate) async fn make_link(&self) -> Result<(), Fault> {
        let item = json!({
            "pk": { "S": format!("LINK#{LINK}") },
            "sk": { "S": "LINK" },
            "learner": { "S": "x-chat-7" },
            "price": { "S": "tutorclaw_paid" },
            "expires_at": { "N": LINK_ENDS },
        });
        let put = reqwest::Client::new()
            .post(self.address("dynamodb")?)
            .header("x-amz-target", "DynamoDB_20120810.PutItem")
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", SIGNED)
            .header("x-amz-date", "20261121T000000Z")
            .body(json!({ "TableName": "coursegate", "Item": item }).to_string());
        let answer = put.send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(format!("the local stack refused the link: {}", answer.text().await?).into())
    }

    /// `events/sam-local.json` with this stack's addresses and mark.
    pub(crate) fn variables_file(&self) -> Result<PathBuf, Fault> {
        let mut file = read_json(&tools::root().join("events/sam-local.json"))?;
        for (variable, piece) in [
            ("DYNAMODB_ENDPOINT", "dynamodb"),
            ("SECRETS_MANAGER_ENDPOINT", "secrets_manager"),
            ("STRIPE_API_URL", "stripe"),
        ] {
            let place = file.pointer_mut(&format!("/Parameters/{variable}"));
            let place = place.ok_or_else(|| format!("events/sam-local.json lacks {variable}"))?;
            // A container's 127.0.0.1 is the container.
            *place = self.address(piece)?.replace("127.0.0.1", "host.docker.internal").into();
        }
        let parameters = file.get_mut("Parameters").and_then(Value::as_object_mut);
        let parameters = parameters.ok_or("events/sam-local.json lacks Parameters")?;
        parameters.insert("DEPLOYMENT_MARK".to_owned(), self.address("deployment_mark")?.into());
        write("sam-local.json", &file)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // A graceful stop removes its temporary files.
        let process = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &process]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// A sample event, changed to another learner and another purchase.
fn purchase_of_grace() -> Result<PathBuf, Fault> {
    let mut event = read_json(&tools::root().join(PURCHASE))?;
    for (place, value) in [
        ("/body/id", json!("evt_grace")),
        ("/body/created", json!(BOUGHT)),
        ("/body/data/object/id", json!("cs_grace")),
        ("/body/data/object/payment_intent", json!("pi_grace")),
        ("/body/data/object/client_reference_id", json!("grace")),
        ("/body/data/object/metadata/learner_id", json!("grace")),
    ] {
        let place = event.pointer_mut(place).ok_or_else(|| format!("{PURCHASE} has no {place}"))?;
        *place = value;
    }
    write("purchase-of-grace.json", &event)
}

/// Writes a file for this run into `target/sam`.
fn write(name: &str, json: &Value) -> Result<PathBuf, Fault> {
    let folder = tools::root().join("target/sam");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    std::fs::write(&file, format!("{json:#}\n"))?;
    Ok(file)
}
