//! `cargo xtask storm`: the functions as they are deployed, in bad weather.

use std::process::Command;

use xtask::tools;

const FUNCTIONS: [&str; 3] = ["checkout", "entitlements", "webhook"];

/// Builds the functions, each by itself as for a deployment, and lets the storm loose on them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    // Whoever only wants to know what it can do need not wait for it.
    let is_question = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    for function in FUNCTIONS.into_iter().filter(|_| !is_question) {
        cargo(&["build", "--quiet", "--release", "--package", function], &[])?;
    }
    let functions = tools::root().join("target/release").display().to_string();
    let storm = ["run", "--quiet", "--profile", "bench", "--package", "tests", "--bin", "storm"];
    let given = ["--".to_owned(), "--functions".to_owned(), functions];
    cargo(&storm, &[&given, arguments].concat())
}

/// Runs cargo with this, and what was given to the chore.
pub(crate) fn cargo(
    command: &[&str],
    arguments: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut cargo = Command::new("cargo");
    let status = cargo.args(command).args(arguments).current_dir(tools::root()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cargo {} failed: see above", command.join(" ")).into())
}
