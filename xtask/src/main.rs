//! `cargo xtask`: the project's tasks.

#![allow(clippy::print_stdout, reason = "a command prints to its user")]

mod checks;
mod fuzz;
mod storm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const SAMPLES: [&str; 5] = ["run", "--quiet", "--package", "samples", "--"];

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's tasks", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run all checks: format, lints, documentation, tests
    Test,
    /// Install the tools that tests need in target/tools; `test` does so itself
    Tools,
    /// Check the dependencies for known vulnerabilities
    Advisories,
    /// Write each function's SBOM to target/sbom, in CycloneDX
    Sbom,
    /// Search for inputs that break a target of fuzz/, with libFuzzer
    Fuzz {
        /// The target, a folder in fuzz/corpus
        target: String,
        /// How many seconds to search
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Add inputs that reach new code to fuzz/corpus
        #[arg(long)]
        keep: bool,
    },
    /// Run every function with SAM in Docker, on every sample of its folder in events/
    Sam,
    /// Measure the functions against a no-op function and peers; see `--help`
    #[command(disable_help_flag = true)]
    Bench {
        /// The arguments of `bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play generated histories of purchases and faults, and compare each end with the oracle; see
    /// `--help`
    #[command(disable_help_flag = true)]
    Simulate {
        /// The arguments of `simulate`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the whole system while processes are killed and DynamoDB fails, and check every item;
    /// see `--help`
    #[command(disable_help_flag = true)]
    Storm {
        /// The arguments of `storm`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print a sample event of events/webhook with the deployment's mark and a fresh signature.
    /// `--help` says more.
    #[command(disable_help_flag = true)]
    Sign {
        /// The arguments of `samples sign`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test => checks::run(),
        Chore::Tools => tools::install().map_err(Into::into),
        Chore::Advisories => checks::advisories(),
        Chore::Sbom => xtask::sbom::write_all().map_err(Into::into).map(|files| {
            for file in files {
                println!("{}", file.display());
            }
        }),
        Chore::Fuzz { target, seconds, keep } => fuzz::run(&target, seconds, keep),
        Chore::Sam => cargo(&SAMPLES, &["sam".to_owned()]),
        Chore::Bench { arguments } => {
            let bench = ["run", "--quiet", "--profile", "bench", "--package", "bench", "--"];
            cargo(&bench, &arguments)
        }
        Chore::Simulate { arguments } => {
            // As it is tested: the webhook and checkout optimised.
            let simulate = ["run", "--quiet", "--profile", "test", "--package", "simulation", "--"];
            cargo(&simulate, &arguments)
        }
        Chore::Storm { arguments } => storm::run(&arguments),
        Chore::Sign { arguments } => {
            let samples = [&SAMPLES[..], &["sign"]].concat();
            cargo(&samples, &arguments)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs cargo with these arguments, followed by the task's own.
fn cargo(command: &[&str], arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut cargo = std::process::Command::new("cargo");
    let status = cargo.args(command).args(arguments).current_dir(tools::root()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cargo {} failed: see above", command.join(" ")).into())
}
