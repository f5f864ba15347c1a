//! `cargo xtask storm`: the functions as deployed, under injected faults.

use xtask::sbom::FUNCTIONS;

use crate::cargo;

/// Builds the functions separately, as for a deployment, and runs the storm against them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    // `--help` needs no build.
    let is_question = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    for function in FUNCTIONS.into_iter().filter(|_| !is_question) {
        cargo(&["build", "--quiet", "--release", "--package", function], &[])?;
    }
    let functions = tools::root().join("target/release").display().to_string();
    let storm = ["run", "--quiet", "--profile", "bench", "--package", "tests", "--bin", "storm"];
    let given = ["--".to_owned(), "--functions".to_owned(), functions];
    cargo(&storm, &[&given, arguments].concat())
}
