//! `cargo xtask sam`: builds every function with SAM and runs it in Docker on every sample of its
//! folder in `events/`, against a local stack.

mod expected;
mod invoking;
mod stack;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use invoking::Sam;
use stack::Stack;

use crate::signing::Seal;

/// The folders of `events/`, and the logical id of each one's function.
const FUNCTIONS: [(&str, &str); 4] = [
    ("webhook", "WebhookFunction"),
    ("checkout", "CheckoutFunction"),
    ("entitlements", "EntitlementsFunction"),
    ("tutor", "TutorFunction"),
];

pub(crate) type Fault = Box<dyn std::error::Error>;

/// Builds the functions and runs every sample.
pub(crate) fn run() -> Result<(), Fault> {
    let docker = docker()?;
    cargo_lambda_is_there()?;
    tools::install_python()?;
    let sam = Sam::find()?;
    let command = build_command()?;
    sam.build()?;

    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut tried, mut differing) = (0_usize, 0_usize);
    for (folder, function) in FUNCTIONS {
        for sample in samples(folder)? {
            let started = Instant::now();
            let name = sample.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let expected = expected::of(folder, &name)?;
            // As in the replay test, each sample gets its own world.
            let stack = Stack::start(&command, docker.bridge.as_deref())?;
            runtime.block_on(stack.sell_to_grace())?;
            runtime.block_on(stack.make_link())?;
            let event = event(folder, &sample, &runtime.block_on(stack.seal())?)?;
            let answer = sam.invoke(function, &event, &stack)?;
            tried = tried.saturating_add(1);
            let seconds = started.elapsed().as_secs_f32();
            match expected.differences(&answer) {
                None => println!("{folder}/{name}: {expected}, {seconds:.1} s"),
                Some(differences) => {
                    differing = differing.saturating_add(1);
                    println!("{folder}/{name}: DIFFERS\n{differences}");
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs();
    if differing > 0 {
        return Err(format!(
            "\n{differing} of {tried} samples are answered differently than the snapshots in \
             tests/it/snapshots say: mend the function, or run `cargo test -p tests replay` if the \
             snapshots are what is wrong"
        )
        .into());
    }
    println!("\n{tried} samples in {seconds} s, each with the replay test's response.");
    Ok(())
}

/// A sample as its function gets it: Stripe's events are signed first.
fn event(folder: &str, sample: &Path, seal: &Seal) -> Result<Value, Fault> {
    if folder == "webhook" {
        return seal.sign(sample);
    }
    read_json(sample)
}

/// A function's samples, sorted by name.
fn samples(folder: &str) -> Result<Vec<PathBuf>, Fault> {
    let folder = tools::root().join("events").join(folder);
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    let mut samples = Vec::new();
    for entry in entries {
        samples.push(entry?.path());
    }
    samples.sort();
    if samples.is_empty() {
        return Err(format!("{} holds no samples", folder.display()).into());
    }
    Ok(samples)
}

fn read_json(path: &Path) -> Result<Value, Fault> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let json = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not JSON: {error}", path.display()))?;
    Ok(json)
}

/// The container engine.
struct Docker {
    /// The address at which containers reach this machine; none if Docker Desktop provides it.
    bridge: Option<String>,
}

fn docker() -> Result<Docker, Fault> {
    let said = said_by("docker", &["info", "--format", "{{.OperatingSystem}}"]);
    let Some(system) = said.filter(|said| !said.is_empty()) else {
        return Err("no Docker engine answers `docker info`: install Docker, start it, and run \
                    `cargo xtask sam` again"
            .into());
    };
    if !cfg!(target_os = "linux") || system == "Docker Desktop" {
        return Ok(Docker { bridge: None });
    }
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    let gateway = said_by("docker", &["network", "inspect", "bridge", "--format", format]);
    // An engine that has never run a container may not know it; this is its default.
    let gateway = gateway.filter(|gateway| !gateway.is_empty());
    Ok(Docker { bridge: Some(gateway.unwrap_or_else(|| "172.17.0.1".to_owned())) })
}

fn cargo_lambda_is_there() -> Result<(), Fault> {
    if said_by("cargo-lambda", &["lambda", "--version"]).is_some() {
        return Ok(());
    }
    Err("cargo-lambda is missing, which SAM builds the functions with: install it as \
         https://www.cargo-lambda.info/guide/installation.html says, and run `cargo xtask sam` again"
        .into())
}

/// A program's output, if it succeeds.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Builds the `coursegate` command, and returns its path: beside this executable.
fn build_command() -> Result<PathBuf, Fault> {
    println!("== cargo build --package coursegate");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--package", "coursegate"])
        .current_dir(tools::root())
        .status()?;
    if !built.success() {
        return Err("the coursegate command can't be built: see above".into());
    }
    let name = format!("coursegate{}", std::env::consts::EXE_SUFFIX);
    Ok(std::env::current_exe()?.with_file_name(name))
}
