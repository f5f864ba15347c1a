//! A short storm, run as `cargo xtask storm` runs a long one. It is its own test program, so that
//! nothing else runs beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tests::executables::functions;

const STORM: &str = env!("CARGO_BIN_EXE_storm");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The functions' own executables, built once.
static FUNCTIONS: LazyLock<PathBuf> = LazyLock::new(|| functions(STORM));

/// The storm, with the functions' own executables.
fn storm(arguments: &[&str]) -> Command {
    let mut storm = Command::new(STORM);
    storm.current_dir(ROOT).arg("--functions").arg(&*FUNCTIONS).args(arguments);
    storm
}

#[test]
fn killed_processes_and_a_failing_table_lose_nothing() {
    let output = storm(&["--seed", "4", "--events", "250", "--seconds", "90"]).output().unwrap();
    let (said, errors) = (output.stdout, output.stderr);
    let (said, errors) = (String::from_utf8_lossy(&said), String::from_utf8_lossy(&errors));
    println!("{said}{errors}");
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("Nothing is lost or duplicated (seed 4)."), "{said}");
}

/// The processes that the stack behind this gateway runs now.
async fn processes(gateway: &str) -> Vec<Pid> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let health = client.get(format!("{gateway}/local/health")).send().await.unwrap();
    let health: Value = health.json().await.unwrap();
    let functions = health["functions"].as_object().unwrap().values();
    let processes = functions.flat_map(|function| function["processes"].as_array().unwrap());
    let pid = |process: &Value| i32::try_from(process.as_i64().unwrap()).ok();
    processes.map(|process| pid(process).and_then(Pid::from_raw).unwrap()).collect()
}

/// The line with which a storm reports its gateway.
fn gateway(said: &mut impl BufRead) -> String {
    let line = said.lines().next().expect("a storm that begins").unwrap();
    line.strip_prefix("the gateway is ").expect(&line).to_owned()
}

#[tokio::test]
async fn a_canceled_storm_leaves_no_process_behind() {
    let mut storm = storm(&["--events", "300"]);
    let mut storm = storm.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // Keeps the pipe open, so that the storm can print more.
    let mut said = BufReader::new(storm.stderr.take().unwrap());
    let gateway = gateway(&mut said);
    let mut functions = Vec::new();
    while functions.len() < 4 {
        assert_eq!(storm.try_wait().unwrap(), None, "the storm ends before it has begun");
        tokio::time::sleep(Duration::from_millis(50)).await;
        functions = processes(&gateway).await;
    }
    kill_process(Pid::from_child(&storm), Signal::INT).unwrap();
    assert!(!storm.wait().unwrap().success(), "called off, and nothing is known");
    for _ in 0..100 {
        functions.retain(|process| test_kill_process(*process).is_ok());
        if functions.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left behind: {functions:?}");
}
