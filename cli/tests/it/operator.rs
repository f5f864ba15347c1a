//! The operator's commands as they are typed, against the local stack that is running.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::running::{Folder, Running, command, project, up};

/// What a command has said, and how it ended.
struct Said {
    out: String,
    problem: String,
    code: Option<i32>,
}

fn port(running: &Running) -> String {
    running.addresses["gateway"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

fn run(running: &Running, arguments: &[&str]) -> Said {
    run_with(running, arguments, "")
}

fn run_with(running: &Running, arguments: &[&str], input: &str) -> Said {
    let port = port(running);
    let mut command = command(&[arguments, &["--gateway-port", &port]].concat());
    finish(command.stdin(Stdio::piped()), input)
}

fn finish(command: &mut Command, input: &str) -> Said {
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        problem: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// Posts to a piece of the stack: a form to Stripe's API, JSON to the rest.
fn post(running: &Running, piece: &str, path: &str, body: &str) -> Value {
    let url = format!("{}{path}", running.addresses[piece].as_str().unwrap());
    let mut curl = Command::new("curl");
    curl.args(["-s", "-u", "sk_test_any:", "-d", body, &url]);
    serde_json::from_slice(&curl.output().unwrap().stdout).unwrap_or_default()
}

/// What the doctor says under this name, with its remedy.
fn line(said: &Said, name: &str) -> String {
    let mut lines = said.out.lines();
    let found = lines.find(|line| line.contains(&format!(" {name} ")));
    let found = found.unwrap_or_else(|| panic!("nothing about {name}: {}", said.out));
    let remedy = lines.next().filter(|line| line.trim_start().starts_with("->"));
    format!("{found} {}", remedy.unwrap_or_default().trim())
}

#[test]
fn an_edited_catalog_is_planned_pushed_and_read_back() {
    let running = up(&["--ephemeral"]);
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    std::fs::write(&file, text.replace("amount = 2900", "amount = 3900")).unwrap();

    let said = run(&running, &["catalog", "plan"]);
    assert_eq!((said.out.as_str(), said.code), ("local sells what catalog.toml says.\n", Some(0)));
    let said = run(&running, &["catalog", "plan", &file]);
    let steps = "~ price tutorclaw_paid: 29.00 USD becomes 39.00 USD for tutorclaw; who has a page \
                 open still pays the old price\n~ table: catalog version 2\n";
    assert!(said.out.starts_with(steps) && said.out.contains("2 steps to do"), "{}", said.out);
    let said = run(&running, &["catalog", "push", &file]);
    assert!(said.out.starts_with(steps) && said.out.contains("2 steps done"), "{}", said.out);
    let said = run(&running, &["catalog", "push", &file]);
    assert!(said.out.starts_with("Nothing to do"), "{}", said.out);

    let pulled = run(&running, &["catalog", "pull"]);
    assert_eq!((pulled.problem.as_str(), pulled.code), ("", Some(0)));
    let again = folder.path("pulled.toml");
    std::fs::write(&again, pulled.out).unwrap();
    let said = run(&running, &["catalog", "plan", &again]);
    assert!(said.out.contains("sells what"), "{}", said.out);
}

#[test]
fn a_price_that_is_taken_away_is_no_longer_sold_and_not_pulled() {
    let running = up(&["--ephemeral"]);
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    std::fs::write(&file, text.rsplit_once("[[price]]").unwrap().0).unwrap();
    let said = run(&running, &["catalog", "push", &file]);
    assert!(
        said.out.starts_with(
            "~ table: catalog version 2: price curriculum_paid is no longer on sale\n1 step done"
        ),
        "{}",
        said.out
    );
    let said = run(&running, &["catalog", "pull"]);
    assert!(!said.out.contains("curriculum_paid"), "{}", said.out);
    let note = "coursegate: price curriculum_paid is left out: the table doesn't sell it\n";
    assert_eq!((said.problem.as_str(), said.code), (note, Some(0)));
}

#[test]
fn what_is_wrong_in_a_catalog_file_is_named_with_its_line() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    std::fs::write(&file, text.replace("amount = 2900", "amount = 0")).unwrap();
    let line = text.lines().position(|line| line == "lookup_key = \"tutorclaw_paid\"").unwrap() + 1;
    let mut command = command(&["catalog", "plan", &file]);
    let said = finish(command.stdin(Stdio::piped()), "");
    let expected = format!(
        "coursegate: {file}, line {line}: price tutorclaw_paid must be more than zero: a course for \
         nothing has the category free\n"
    );
    assert_eq!((said.problem, said.code), (expected, Some(1)));
}

#[test]
fn a_push_that_would_close_something_says_what_and_how_to_insist() {
    let running = up(&["--ephemeral"]);
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    let text = text.replace("courses = [\"memory\", \"evaluation\"]", "courses = [\"memory\"]");
    let text =
        text.replace("courses = [\"tutorclaw\"]", "courses = [\"tutorclaw\", \"evaluation\"]");
    std::fs::write(&file, text).unwrap();
    let said = run(&running, &["catalog", "plan", &file]);
    let loss = "owners would lose: product curriculum no longer opens evaluation";
    assert!(said.out.contains(loss), "{}", said.out);
    let said = run(&running, &["catalog", "push", &file]);
    assert!(said.problem.contains("--force") && said.code == Some(1), "{}", said.problem);
    let said = run(&running, &["catalog", "push", &file, "--force"]);
    assert!(said.out.contains("! owners have lost") && said.code == Some(0), "{}", said.out);
}

#[test]
fn without_a_deployment_every_command_says_what_to_do() {
    for arguments in [
        &["catalog", "plan"][..],
        &["catalog", "push"],
        &["catalog", "pull"],
        &["webhook", "register"],
        &["webhook", "rotate"],
        &["key", "store"],
        &["doctor"],
    ] {
        // Nothing listens on port 1.
        let mut command = command(&[arguments, &["--gateway-port", "1"]].concat());
        let said = finish(command.stdin(Stdio::piped()), "");
        let expected = "coursegate: no local stack answers on port 1: start one with `cargo run`, \
                        or name a deployment with --stack\n";
        assert_eq!((said.problem.as_str(), said.code), (expected, Some(1)));
    }
}

#[test]
fn a_key_comes_by_standard_input_and_is_tried() {
    let running = up(&["--ephemeral"]);
    let said = run_with(&running, &["key", "store"], "rk_live_51\n");
    assert!(said.problem.contains("is live, and this deployment is test"), "{}", said.problem);
    assert!(!said.problem.contains("rk_live_51") && said.code == Some(1));
    let said = run_with(&running, &["key", "store"], "\n");
    assert!(said.problem.contains("give it on standard input"), "{}", said.problem);
    let said = run_with(&running, &["key", "store"], "rk_test_51\n");
    assert!(said.out.contains("tried and stored") && said.code == Some(0), "{}", said.problem);
    assert!(!said.out.contains("rk_test_51"));
}

#[test]
fn a_stack_that_has_just_started_is_well() {
    let running = up(&["--ephemeral"]);
    let said = run(&running, &["doctor"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.problem);
    assert!(said.out.contains(" 0 wrong."), "{}", said.out);
    for name in ["table", "functions' key", "account", "prices", "endpoint", "signed probe", "api"]
    {
        assert!(line(&said, name).starts_with("ok"), "{}", said.out);
    }
    for secret in ["whsec_", "sk_test_", "rk_test_"] {
        assert!(!said.out.contains(secret), "{}", said.out);
    }
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_remedy() {
    let running = up(&["--ephemeral"]);
    let endpoints =
        format!("{}/v1/webhook_endpoints", running.addresses["stripe"].as_str().unwrap());
    let list =
        Command::new("curl").args(["-s", "-u", "sk_test_any:", &endpoints]).output().unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let endpoint = list["data"][0]["id"].as_str().unwrap();

    // Somebody has been in the Dashboard, in Secrets Manager and in the table's settings.
    let secret = json!({"SecretId": "coursegate/StripeApiKey", "SecretString": "sk_live_51"});
    aws(&running, "secrets_manager", "secretsmanager.PutSecretValue", &secret);
    let unprotected = json!({"TableName": "coursegate", "DeletionProtectionEnabled": false});
    aws(&running, "dynamodb", "DynamoDB_20120810.UpdateTable", &unprotected);
    let said = run(&running, &["doctor"]);
    assert!(line(&said, "table").contains("not protected from deletion"), "{}", said.out);
    let key = line(&said, "functions' key");
    assert!(
        key.starts_with("WRONG") && key.contains("is live") && key.contains("key store"),
        "{key}"
    );
    assert_eq!(said.code, Some(1));
    assert!(!said.out.contains("sk_live_51"));

    let secret = json!({"SecretId": "coursegate/StripeApiKey", "SecretString": "sk_test_51"});
    aws(&running, "secrets_manager", "secretsmanager.PutSecretValue", &secret);
    post(&running, "stripe", &format!("/v1/webhook_endpoints/{endpoint}"), "disabled=true");
    post(&running, "stripe", "/v1/products/coursegate_tutorclaw", "active=false");
    let said = run(&running, &["doctor"]);
    let found = line(&said, "endpoint");
    assert!(found.contains("it is disabled") && found.contains("webhook register"), "{found}");
    let prices = line(&said, "prices");
    assert!(prices.starts_with("WRONG") && prices.contains("catalog push"), "{prices}");

    for remedy in [&["webhook", "register"][..], &["catalog", "push"]] {
        assert_eq!(run(&running, remedy).code, Some(0));
    }
    let said = run(&running, &["doctor"]);
    assert!(line(&said, "endpoint").starts_with("ok"), "{}", said.out);
    assert!(line(&said, "prices").starts_with("ok"), "{}", said.out);
}

fn aws(running: &Running, piece: &str, target: &str, body: &Value) {
    let url = running.addresses[piece].as_str().unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--fail-with-body", "-H", &format!("x-amz-target: {target}")]);
    curl.args(["-H", "content-type: application/x-amz-json-1.0", "-d", &body.to_string(), url]);
    // DynamoDB's signatures are not looked at here, but must be there.
    let signed = "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/dynamodb/aws4_request, \
                  SignedHeaders=host, Signature=none";
    curl.args(["-H", &format!("authorization: {signed}"), "-H", "x-amz-date: 20261121T000000Z"]);
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_rotation_is_begun_and_ended_by_the_same_command() {
    let running = up(&["--ephemeral"]);
    let said = run(&running, &["webhook", "rotate"]);
    assert!(said.out.contains("both signing secrets are accepted"), "{}{}", said.out, said.problem);
    let said = run(&running, &["doctor"]);
    assert!(line(&said, "signed probe").contains("2 stored secrets"), "{}", said.out);
    assert!(line(&said, "endpoint").starts_with("note"), "{}", said.out);
    let said = run(&running, &["webhook", "rotate", "--now"]);
    assert!(said.out.contains("only the new signing secret is left"), "{}", said.out);
    let said = run(&running, &["doctor"]);
    assert!(line(&said, "endpoint").starts_with("ok") && said.code == Some(0), "{}", said.out);
}
