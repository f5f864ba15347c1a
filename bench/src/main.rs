//! Measures performance: `cargo xtask bench`. See `bench/README.md`.

#![recursion_limit = "256"]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a measurement that can't continue should stop"
)]
#![allow(clippy::print_stdout, reason = "a command prints to its user")]

mod measure;
mod operations;
mod peers;
mod process;
mod programs;
mod report;
mod shops;
mod statistics;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::runtime::Builder;

use measure::{Bench, Effort, Row};
use peers::Peer;
use programs::{Subject, said};
use report::{Measured, Report};
use shops::Shops;

/// Measure our functions against a no-op function and against peers
#[derive(Parser)]
#[command(name = "cargo xtask bench", version)]
struct Arguments {
    /// Which of our own peers to include
    #[arg(long, value_enum, default_value_t = OwnPeers::All)]
    peers: OwnPeers,
    /// Another program that speaks the Runtime API, in place of the webhook: NAME=COMMAND
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Peer>,
    /// How often to measure everything
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Insert the results into this document
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OwnPeers {
    /// Those in Node and Python.
    All,
    /// None of them.
    None,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    if !Path::new("/proc/self/schedstat").exists() {
        return Err("this reads what Linux says of processes in /proc: run it on Linux".to_owned());
    }
    let (subjects, absent) = subjects(arguments)?;
    let sizes = subjects.iter().map(|it| Ok((it.name.clone(), it.size()?)));
    let sizes: Vec<_> = sizes.collect::<Result<_, String>>()?;
    let effort = Effort { rounds: arguments.rounds, starts: 3, calls: 300, load_ms: 1_000 };
    let rows = measured(&subjects, effort)?;
    let report = Report {
        machine: machine(),
        effort: words(effort),
        absent,
        rows: rows.iter().map(Measured::from).collect(),
        sizes: sizes.into_iter().filter_map(|(name, size)| Some((name, size?))).collect(),
    };
    let text = report.text();
    println!("\n{text}");
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(file, &json)?;
    }
    if let Some(file) = &arguments.write {
        let failed = |problem: String| format!("{} can't be used: {problem}", file.display());
        let document = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        write(file, &report::replaced(&document, &text).map_err(failed)?)?;
    }
    Ok(())
}

/// The subjects, and those that are missing.
fn subjects(arguments: &Arguments) -> Result<(Vec<Subject>, Vec<String>), String> {
    let mut subjects = programs::build()?;
    let mut absent = Vec::new();
    match arguments.peers {
        OwnPeers::None => absent.push("Node and Python, as was asked with --peers none".to_owned()),
        OwnPeers::All => {
            for (name, peer) in [("Node", peers::node()), ("Python", peers::python())] {
                match peer {
                    Ok(subject) => subjects.push(subject),
                    Err(problem) => absent.push(format!("{name}: {problem}")),
                }
            }
        }
    }
    for peer in &arguments.peer {
        let subject = peer.subject()?;
        if subjects.iter().any(|other| other.name == subject.name) {
            return Err(format!("two subjects are called {}: rename one", subject.name));
        }
        subjects.push(subject);
    }
    for absent in &absent {
        println!("NOT MEASURED: {absent}");
    }
    Ok((subjects, absent))
}

fn measured(subjects: &[Subject], effort: Effort) -> Result<Vec<Row>, String> {
    let logs = tools::root().join("target/bench/logs");
    let failed = |error: std::io::Error| format!("{} can't be used: {error}", logs.display());
    if logs.exists() {
        std::fs::remove_dir_all(&logs).map_err(failed)?;
    }
    std::fs::create_dir_all(&logs).map_err(failed)?;
    // DynamoDB, Secrets Manager and Stripe have their own threads.
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (servers, bench) = (runtime().map_err(failed)?, runtime().map_err(failed)?);
    let rows = bench.block_on(async {
        println!("filling the tables");
        let shops = Shops::open(servers.handle()).await;
        let mut bench = Bench::new(subjects, shops, logs)?;
        bench.run(effort, |progress| println!("{progress}")).await?;
        Ok::<_, String>(bench.rows)
    })?;
    servers.shutdown_background();
    Ok(rows)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn words(effort: Effort) -> String {
    let Effort { rounds, starts, calls, load_ms } = effort;
    format!(
        "Medians, and from the least to the most, of {} starts, of {rounds} times {calls} calls, \
         and of {rounds} times {load_ms} ms of load.",
        rounds * starts
    )
}

fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |it| it.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let tools = [("rustc", "--version"), ("uname", "-sr"), ("node", "--version")];
    let tools = tools.into_iter().filter_map(|(tool, argument)| {
        let said = said(tool, &[argument])?;
        Some(if tool == "node" { format!("Node {said}") } else { said })
    });
    let python = said("python3", &["--version"]);
    let tools: Vec<String> = tools.chain(python).collect();
    format!("{model}, {cores} cores; {}", tools.join("; "))
}
