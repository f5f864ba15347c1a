//! The function that the tests run: it echoes its event, or fails as told.

use std::time::Duration;

use lambda_http::lambda_runtime::{self, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Not a test: in Lambda's environment this executable is a function; otherwise this does nothing.
#[test]
fn process() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    // The executable's last argument is the function's name.
    if std::env::args().next_back().as_deref() == Some("broken") {
        eprintln!("I am broken\n");
        std::process::exit(7);
    }
    // A process that starts while this file is there tells the test so, and asks for no event.
    let held = std::env::vars().find(|(name, _)| name == "HELD_BY").map(|(_, file)| file);
    if let Some(file) = held.filter(|file| std::path::Path::new(file).exists()) {
        std::fs::write(format!("{file}.{}", std::process::id()), "").unwrap();
        std::thread::sleep(Duration::from_mins(1));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = runtime.block_on(lambda_runtime::run(service_fn(handle)));
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, std::io::Error> {
    let (event, context) = event.into_parts();
    let header = event["headers"].get("x-do").and_then(Value::as_str);
    let command = header.or(event["do"].as_str()).unwrap_or_default();
    match command.split_once(' ').unwrap_or((command, "")) {
        ("crash", _) => std::process::exit(3),
        ("panic", _) => panic!("as asked"),
        ("hang", _) => std::future::pending::<()>().await,
        ("wait-for", file) => {
            // Tells the test that this process has begun.
            std::fs::write(format!("{file}.{}", std::process::id()), "")?;
            while !std::path::Path::new(file).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        ("say", text) => return Ok(serde_json::from_str(text).unwrap()),
        _ => {}
    }
    let said = json!({
        "event": event,
        "process": std::process::id(),
        "deadline_ms": context.deadline,
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
    });
    if event.get("requestContext").is_none() {
        return Ok(said);
    }
    Ok(json!({
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": said.to_string(),
    }))
}
