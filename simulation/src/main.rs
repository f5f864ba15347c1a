//! `cargo xtask simulate`.

#![allow(clippy::print_stdout, reason = "a command prints to its user")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::buying::Buying;
use simulation::history::History;
use simulation::search::{self, Generated, play, play_all};

/// Play generated histories of purchases and faults, and compare each end with the oracle
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Arguments {
    /// How many histories to play; `cargo xtask test` plays 100,000 of seed 2026
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The seed; it gives the same histories on any machine
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// Play only this history, and print its steps
    #[arg(long)]
    history: Option<u64>,
    /// Play learners who buy at checkout instead of events that reach the webhook
    #[arg(long)]
    buying: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.buying { run::<Buying>(&arguments) } else { run::<History>(&arguments) }
}

fn run<H: Generated>(arguments: &Arguments) -> ExitCode {
    let Arguments { histories, seed, history, .. } = *arguments;
    let started = Instant::now();
    let result = match history {
        Some(number) => {
            for line in search::history::<H>(seed, number).trace(None) {
                println!("  {line}");
            }
            play::<H>(seed, number, None)
        }
        None => play_all::<H>(seed, histories, None),
    };
    match result {
        Ok(tally) => {
            let played = history.map_or(histories, |_| 1);
            let seconds = started.elapsed().as_secs();
            println!(
                "{played} histories of seed {seed} converge to the oracle ({seconds} s). They contain:"
            );
            for (what, times) in tally {
                println!("{times:>12}  {what}");
            }
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}
