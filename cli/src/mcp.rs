//! The tutor's tools over standard input and output, for MCP clients that start a program instead of
//! calling an address. Each line is one message, which is sent to the deployment's `/mcp`; what that
//! answers is a line again. So the tools are the deployment's own, with its limits and its log.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio>

pub mod token;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::domain::id::LearnerId;
use shared::telemetry::Chain;

use token::{TokenError, Tokens};
use tutor::LEARNER;

/// Longer than a function's answer takes.
const TIMEOUT: Duration = Duration::from_secs(35);

/// From this version on, headers repeat what a message is about.
const HEADERS_SINCE: &str = "2026-07-28";
/// Where a message of these versions says which it is.
const VERSION_IN_META: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";

/// JSON-RPC's code for a message that isn't JSON.
const PARSE_ERROR: i64 = -32700;
/// Its code for JSON that isn't a request.
const INVALID_REQUEST: i64 = -32600;
/// The first of the codes that JSON-RPC leaves to servers.
const SERVER_ERROR: i64 = -32000;

/// Sends messages to a deployment's tutor.
pub struct Bridge {
    http: Client,
    url: String,
    tokens: Tokens,
    /// The only learner that the tools are about; none if the client names them.
    learner: Option<LearnerId>,
    /// The version that the client and the server have agreed on.
    version: Option<String>,
}

/// Why a message has no answer.
#[derive(Debug, thiserror::Error)]
enum BridgeError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{url} doesn't answer ({reason}): check that the stack runs, and your network")]
    Unreachable { url: String, reason: String },
    #[error("{url} answers {status}: {says}{}", advice(*.status))]
    Refused { url: String, status: StatusCode, says: String },
}

/// What to do about a refused token. One that this program got itself has been renewed already.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "; if you have set COURSEGATE_TOKEN, it has expired or isn't an access token of this \
             stack's issuer: get another"
        }
        StatusCode::FORBIDDEN => {
            "; if you have set COURSEGATE_TOKEN, it needs the scope coursegate/learn or \
             coursegate/learners"
        }
        _ => "",
    }
}

impl Bridge {
    /// A bridge to the tutor at this address, with these tokens, about this learner.
    pub fn new(url: String, tokens: Tokens, learner: Option<LearnerId>) -> reqwest::Result<Self> {
        let http = Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { http, url, tokens, learner, version: None })
    }

    /// The answer to a line; none if the line is a notification. It is one line.
    pub async fn answer(&mut self, line: &str) -> Option<String> {
        let mut message: Value = match serde_json::from_str(line) {
            Ok(message) => message,
            Err(error) => {
                return Some(failure(&Value::Null, PARSE_ERROR, &format!("not JSON: {error}")));
            }
        };
        if !message.is_object() {
            return Some(failure(&Value::Null, INVALID_REQUEST, "send one JSON object a line"));
        }
        if let Some(learner) = &self.learner {
            name(learner, &mut message);
        }
        match self.send(&message).await {
            Ok(answer) => answer.map(|mut answer| {
                if self.learner.is_some() {
                    leave_out_learner(&mut answer);
                }
                answer.to_string()
            }),
            // A notification gets no answer, and neither does its failure.
            Err(error) => message.get("id").map(|id| failure(id, SERVER_ERROR, &error.to_string())),
        }
    }

    async fn send(&mut self, message: &Value) -> Result<Option<Value>, BridgeError> {
        let mut response = self.post(message).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.tokens.renew() {
            response = self.post(message).await?;
        }
        let status = response.status();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        match answer {
            Some(answer) if answer.get("jsonrpc").is_some() => {
                if let Some(version) = answer.pointer("/result/protocolVersion") {
                    self.version = version.as_str().map(ToOwned::to_owned);
                }
                Ok(Some(answer))
            }
            _ if status == StatusCode::ACCEPTED => Ok(None),
            answer => {
                // A problem has a detail, and API Gateway's own errors a message.
                let says = answer.as_ref().and_then(|it| it.get("detail").or(it.get("message")));
                let says = says.and_then(Value::as_str).unwrap_or(&text).to_owned();
                Err(BridgeError::Refused { url: self.url.clone(), status, says })
            }
        }
    }

    async fn post(&mut self, message: &Value) -> Result<Response, BridgeError> {
        let token = self.tokens.get(&self.http).await?;
        let request = self.http.post(&self.url).bearer_auth(token.expose_secret());
        let request = request.header("accept", "application/json, text/event-stream");
        let request = headers(request, message, self.version.as_deref()).json(message);
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> BridgeError {
        let reason = Chain(error).to_string();
        BridgeError::Unreachable { url: self.url.clone(), reason }
    }
}

/// Names the learner in a call of a tool, whatever the model has written there.
fn name(learner: &LearnerId, message: &mut Value) {
    if message.get("method").and_then(Value::as_str) != Some("tools/call") {
        return;
    }
    if let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) {
        let arguments = params.entry("arguments").or_insert_with(|| json!({}));
        if let Some(arguments) = arguments.as_object_mut() {
            arguments.insert(LEARNER.to_owned(), learner.as_str().into());
        }
    }
}

/// Takes the argument out of the tools' descriptions: the model has nothing to name.
fn leave_out_learner(answer: &mut Value) {
    let tools = answer.pointer_mut("/result/tools").and_then(Value::as_array_mut);
    for tool in tools.into_iter().flatten() {
        if let Some(schema) = tool.get_mut("inputSchema") {
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                properties.remove(LEARNER);
            }
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|name| name != LEARNER);
            }
        }
    }
}

/// Adds the headers that a message needs over HTTP and doesn't have over standard input.
fn headers(request: RequestBuilder, message: &Value, agreed: Option<&str>) -> RequestBuilder {
    let in_message = message.pointer(VERSION_IN_META).and_then(Value::as_str);
    let Some(version) = in_message.or(agreed) else { return request };
    let request = request.header("mcp-protocol-version", version);
    let method = message.get("method").and_then(Value::as_str);
    // Versions are dates.
    let Some(method) = method.filter(|_| version >= HEADERS_SINCE) else { return request };
    let named = ["/params/name", "/params/uri"].into_iter().find_map(|at| message.pointer(at));
    let request = request.header("mcp-method", method);
    match named.and_then(Value::as_str) {
        Some(name) => request.header("mcp-name", header_value(name)),
        None => request,
    }
}

/// A name as a header's value: as it is, or encoded if a header can't hold it.
fn header_value(name: &str) -> String {
    let is_plain = name.trim() == name && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if is_plain && !name.starts_with("=?") {
        name.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(name))
    }
}

fn failure(id: &Value, code: i64, message: &str) -> String {
    let error = json!({ "code": code, "message": message });
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}
