//! `cargo xtask`: the project's chores.

#![allow(clippy::print_stdout, reason = "a command talks to whoever types it")]

mod checks;
mod fuzz;
mod storm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const SAMPLES: [&str; 5] = ["run", "--quiet", "--package", "samples", "--"];

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check everything: format, lints, documentation, every test.
    Test,
    /// Put the tools that tests need into target/tools; `test` does it by itself.
    Tools,
    /// Ask whether anything is known against the crates that we depend on.
    Advisories,
    /// Write what each function is linked from to target/sbom, in CycloneDX.
    Sbom,
    /// Look for inputs that a target of fuzz/ does not stand, with libFuzzer.
    Fuzz {
        /// The target, one of the folders in fuzz/corpus.
        target: String,
        /// For how long.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Put what reaches more code than the inputs in fuzz/corpus beside them.
        #[arg(long)]
        keep: bool,
    },
    /// Run every function in Docker by SAM, with every sample of its folder in events/.
    Sam,
    /// Measure the functions against a floor and against peers: one table. `--help` says more.
    #[command(disable_help_flag = true)]
    Bench {
        /// What `bench` is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play generated histories of purchases, in every order and with every fault, and hold each end
    /// against the truth. `--help` says more.
    #[command(disable_help_flag = true)]
    Simulate {
        /// What `simulate` is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the whole system while processes are killed and DynamoDB fails, and hold every item
    /// against the truth. `--help` says more.
    #[command(disable_help_flag = true)]
    Storm {
        /// What `storm` is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print a sample event of events/webhook with the deployment's mark and a fresh signature, to
    /// hand to the webhook. `--help` says more.
    #[command(disable_help_flag = true)]
    Sign {
        /// What `samples sign` is given.
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

/// Runs cargo with this, and what was given to the chore.
fn cargo(command: &[&str], arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut cargo = std::process::Command::new("cargo");
    let status = cargo.args(command).args(arguments).current_dir(tools::root()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cargo {} failed: see above", command.join(" ")).into())
}
