//! `cargo xtask simulate`.

#![allow(clippy::print_stdout, reason = "a command talks to whoever types it")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::buying::Buying;
use simulation::history::History;
use simulation::search::{self, Generated, play, play_all};

/// Plays generated histories of purchases, with every fault, and holds each end against the truth.
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Arguments {
    /// How many to play. `cargo xtask test` plays 100,000 of seed 2026.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The same seed plays the same histories on any machine.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// Play this one alone, and tell what happens in it.
    #[arg(long)]
    history: Option<u64>,
    /// Play people who buy at checkout instead of events that reach the webhook.
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
            for line in search::history::<H>(seed, number).story(None) {
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
            println!("{played} histories of seed {seed} end in the truth ({seconds} s). In them:");
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
