//! The tutor with clients that others wrote: the official conformance suite, MCP Inspector, and the
//! Python and TypeScript clients, over HTTP and over `coursegate mcp`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tools::find_or_pass_over;

use crate::readme::blocks;
use crate::running::{Running, command, project, up};

/// What the suite checks of any server. All its other scenarios call tools, resources and prompts of
/// a server that was made for it, except `dns-rebinding-protection`, which wants requests under
/// foreign names refused. Here each request needs a token, and a browser's the site's origin.
const SCENARIOS: [&str; 5] =
    ["server-initialize", "ping", "tools-list", "resources-list", "prompts-list"];

/// The tutor's tools, in alphabetical order.
fn tool_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = tutor::Tool::ALL.iter().map(|tool| tool.name()).collect();
    names.sort_unstable();
    names
}

/// The stack, discarding its output, and a service's token.
async fn stack() -> (Running, String) {
    let mut running = up(&["--ephemeral"]);
    running.discard_output();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(running.url("/local/service-token")).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    (running, answer["access_token"].as_str().unwrap().to_owned())
}

/// The arguments that start `coursegate mcp` for this stack.
fn bridge(running: &Running) -> [String; 4] {
    let port = running.url("").rsplit_once(':').unwrap().1.to_owned();
    let program = env!("CARGO_BIN_EXE_coursegate").to_owned();
    [program, "mcp".to_owned(), "--gateway-port".to_owned(), port]
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert!(output.status.success(), "{}\n{}", texts[0], texts[1]);
    let [said, _] = texts;
    said
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks each line of a client, and that it connected in so many ways.
fn check(said: &str, ways: usize) {
    let lines: Vec<Value> = said.lines().map(parse).collect();
    assert_eq!(lines.len(), ways, "{said}");
    for line in lines {
        let way = &line["way"];
        assert_eq!(line["tools"], json!(tool_names()), "{way}");
        assert_eq!(line["access"], "denied", "{way}");
        let sentence = line["sentence"].as_str().unwrap();
        assert!(sentence.starts_with("Chapter 6 of “TutorClaw” isn't open."), "{way}");
        assert_eq!(line["refused"], true, "{way}");
        assert!(line["chapter"].as_str().unwrap().starts_with("<article>"), "{way}");
        assert!(line["prompt"].as_str().unwrap().contains("Teach the course tutorclaw."), "{way}");
        let version = line["version"].as_str().unwrap();
        assert!(["2025-11-25", "2026-07-28"].contains(&version), "{way}: {version}");
    }
}

/// The Python that has the official client.
fn python() -> Option<PathBuf> {
    Some(find_or_pass_over("mcp")?.with_file_name("python"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tutor").join(name)
}

#[tokio::test]
async fn the_python_client_works_over_http_and_stdio() {
    let Some(python) = python() else { return };
    let (running, token) = stack().await;
    let mut client = Command::new(python);
    client.arg(script("client.py")).args([running.url("/api/mcp"), token]).args(bridge(&running));
    let said = said(&client.output().unwrap());
    check(&said, 4);
    // The current version is chosen by itself.
    assert!(said.contains(r#""version": "2026-07-28""#), "{said}");
}

#[tokio::test]
async fn the_typescript_client_works_over_http_and_stdio() {
    let manifest = "@modelcontextprotocol/client/package.json";
    let Some(manifest) = find_or_pass_over(manifest) else { return };
    let packages = manifest.ancestors().nth(4).unwrap();
    let (running, token) = stack().await;
    let mut client = Command::new("node");
    client.arg(script("client.mjs")).arg(packages).args([running.url("/api/mcp"), token]);
    check(&said(&client.args(bridge(&running)).output().unwrap()), 2);
}

#[tokio::test]
async fn the_inspector_lists_and_calls_tools() {
    let Some(inspector) = find_or_pass_over("mcp-inspector") else { return };
    let (running, token) = stack().await;
    let over_http = [
        running.url("/api/mcp"),
        "--transport".to_owned(),
        "http".to_owned(),
        "--header".to_owned(),
        format!("Authorization: Bearer {token}"),
    ];
    for server in [over_http.to_vec(), bridge(&running).to_vec()] {
        let inspect = |arguments: &[&str]| {
            let mut inspect = Command::new("node");
            inspect.arg(&inspector).arg("--cli").args(&server).args(arguments);
            let said = said(&inspect.output().unwrap());
            parse(&said)
        };
        let listed = inspect(&["--method", "tools/list"]);
        let mut names: Vec<&str> = listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, tool_names());
        let called = inspect(&[
            "--method",
            "tools/call",
            "--tool-name",
            "check_access",
            "--tool-arg",
            "learner=x-inspector-1",
            "course=tutorclaw",
            "chapter=6",
        ]);
        assert_eq!(called["structuredContent"]["access"], "denied", "{called}");
    }
}

/// Adds the token, which the suite can't send, to each request to the tutor.
async fn with_token(running: &Running, token: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (url, client) = (running.url("/api/mcp"), reqwest::Client::new());
    let forward = async move |request: Request| {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1024 * 1024).await.unwrap();
        let mut forwarded = client.request(parts.method, &url).bearer_auth(&token).body(body);
        for (name, value) in &parts.headers {
            if !["host", "content-length", "connection"].contains(&name.as_str()) {
                forwarded = forwarded.header(name, value);
            }
        }
        let answer = forwarded.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        if let Some(kind) = answer.headers().get("content-type") {
            response = response.header("content-type", kind);
        }
        response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
    };
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(forward)).await.unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_conformance_suite_passes() {
    let Some(suite) = find_or_pass_over("conformance") else { return };
    let (running, token) = stack().await;
    let address = with_token(&running, token).await;
    for scenario in SCENARIOS {
        let mut check = Command::new("node");
        check.arg(&suite).args(["server", "--url", &address, "--scenario", scenario]);
        let said = said(&check.output().unwrap());
        assert!(said.contains("0 failed, 0 warnings"), "{scenario}: {said}");
    }
}

#[tokio::test]
async fn the_guide_s_python_tutor_works_as_it_stands() {
    let Some(python) = python() else { return };
    let guide = std::fs::read_to_string(project().join("docs/TUTOR.md")).unwrap();
    let [program] = &blocks(&guide, "```python")[..] else { panic!("there is one program") };
    let lines = program.lines().count();
    assert!(lines <= 36, "{lines} lines");
    let (running, _) = stack().await;
    let mut tutor = Command::new(python);
    tutor.args(["-c", program]).env("COURSEGATE_URL", running.url(""));
    let said = said(&tutor.output().unwrap());
    for part in [
        "Tutor: Chapter 5 of “TutorClaw” is free for everybody.",
        "Tutor: Chapter 6 of “TutorClaw” isn't open.",
        "/api/go/",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// What `coursegate mcp` answers to these lines.
fn answers(running: &Running, token: Option<&str>, lines: &str) -> (Vec<Value>, String) {
    let [_, arguments @ ..] = bridge(running);
    let mut bridge = command(&arguments.each_ref().map(String::as_str));
    if let Some(token) = token {
        bridge.env("COURSEGATE_TOKEN", token);
    }
    let mut child = bridge.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers = stdout.lines().map(parse).collect();
    (answers, String::from_utf8(output.stderr).unwrap())
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

#[tokio::test]
async fn the_bridge_answers_each_request_and_nothing_else() {
    let (running, _) = stack().await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let lines = format!("{notification}\n\nnonsense\n{LIST}\n{{\"id\":8}}\n[]\n");
    let (answers, stderr) = answers(&running, None, &lines);
    assert_eq!(stderr, "");
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&Value::Null, &json!(7), &json!(8), &Value::Null], "{answers:?}");
    assert_eq!(answers[0]["error"]["code"], -32700);
    assert_eq!(answers[1]["result"]["tools"].as_array().unwrap().len(), tool_names().len());
    assert!(answers[2]["error"]["message"].is_string(), "{answers:?}");
    assert_eq!(answers[3]["error"]["code"], -32600);
}

#[tokio::test]
async fn with_a_learner_given_the_model_can_name_no_other() {
    let (running, _) = stack().await;
    let [_, arguments @ ..] = bridge(&running);
    let mut bridge = command(&arguments.each_ref().map(String::as_str));
    bridge.args(["--learner", "x-1"]);
    let call = json!({
        "jsonrpc": "2.0",
        "id": 8,
        "method": "tools/call",
        "params": { "name": "get_tier", "arguments": { "learner": "x-2" } },
    });
    let mut child = bridge.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{LIST}\n{call}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = said.lines().map(parse).collect();
    for tool in answers[0]["result"]["tools"].as_array().unwrap() {
        assert!(!tool["inputSchema"].to_string().contains("learner\":"), "{tool}");
        let required = tool["inputSchema"]["required"].as_array().unwrap();
        assert!(!required.contains(&json!("learner")), "{tool}");
    }
    assert_eq!(answers[1]["result"]["structuredContent"]["learner"], "x-1", "{said}");
}

#[tokio::test]
async fn a_given_token_is_used_and_its_refusal_is_explained() {
    let (running, _) = stack().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let login =
        client.post(running.url("/local/login")).json(&json!({ "email": "ada@example.com" }));
    let login: Value = login.send().await.unwrap().json().await.unwrap();
    let token = login["access_token"].as_str().unwrap();
    let (listed, _) = answers(&running, Some(token), LIST);
    for tool in listed[0]["result"]["tools"].as_array().unwrap() {
        let asks = &tool["inputSchema"]["properties"]["learner"];
        assert!(asks.is_null(), "a learner asks about themselves: {tool}");
    }
    let (refused, _) = answers(&running, Some("nonsense"), LIST);
    let message = refused[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("401") && message.contains("COURSEGATE_TOKEN"), "{message}");
}
