//! A short storm, the way `cargo xtask storm` runs a long one. It is a test program of its own, so
//! that nothing else runs beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The program that is the storm, and in debug builds the functions too.
fn storm(arguments: &[&str]) -> Command {
    let mut storm = Command::new(env!("CARGO_BIN_EXE_storm"));
    storm.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(arguments);
    storm
}

#[test]
fn nothing_is_lost_or_doubled_while_processes_are_killed_and_dynamodb_fails() {
    let output = storm(&["--seed", "4", "--events", "250", "--seconds", "90"]).output().unwrap();
    let (said, errors) = (output.stdout, output.stderr);
    let (said, errors) = (String::from_utf8_lossy(&said), String::from_utf8_lossy(&errors));
    println!("{said}{errors}");
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("Nothing is lost and nothing is doubled (seed 4)."), "{said}");
}

/// The processes that this one has started.
fn children(parent: &Child) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-o", "pid=", "--ppid", &parent.id().to_string()])
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

fn is_running(process: &str) -> bool {
    let probe = Command::new("kill").args(["-0", process]).stderr(Stdio::null()).status();
    probe.unwrap().success()
}

#[test]
fn a_storm_that_is_called_off_leaves_no_process_behind() {
    let mut storm = storm(&["--events", "300"]).stdout(Stdio::null()).spawn().unwrap();
    let mut functions = Vec::new();
    while functions.len() < 4 {
        assert_eq!(storm.try_wait().unwrap(), None, "the storm ends before it has begun");
        std::thread::sleep(Duration::from_millis(50));
        functions = children(&storm);
    }
    let interrupt = Command::new("kill").args(["-INT", &storm.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(!storm.wait().unwrap().success(), "called off, and nothing is known");
    for _ in 0..100 {
        functions.retain(|process| is_running(process));
        if functions.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("left behind: {functions:?}");
}
