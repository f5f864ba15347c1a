//! `cargo xtask`: the project's tasks.

#![allow(clippy::print_stdout, reason = "a command prints to its user")]

mod checks;
mod fuzz;
mod sam;
mod signing;
mod storm;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Print a sample event of events/webhook with the deployment's mark and a fresh signature
    Sign {
        /// A file in events/webhook
        file: PathBuf,
        /// The deployment's mark; without mark and secret, the running local stack's
        #[arg(long, requires = "secret")]
        mark: Option<String>,
        /// The deployment's signing secret
        #[arg(long, requires = "mark")]
        secret: Option<String>,
        /// The port of the local stack's gateway
        #[arg(long, default_value_t = 3000)]
        gateway_port: u16,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test => checks::run(),
        Chore::Tools => xtask::tools::install().map_err(Into::into),
        Chore::Advisories => checks::advisories(),
        Chore::Sbom => xtask::sbom::write_all().map_err(Into::into).map(|files| {
            for file in files {
                println!("{}", file.display());
            }
        }),
        Chore::Fuzz { target, seconds, keep } => fuzz::run(&target, seconds, keep),
        Chore::Sam => sam::run(),
        Chore::Bench { arguments } => {
            let bench = ["run", "--quiet", "--profile", "bench", "--package", "bench", "--"];
            cargo(&bench, &arguments)
        }
        Chore::Simulate { arguments } => {
            cargo(&["run", "--quiet", "--package", "simulation", "--"], &arguments)
        }
        Chore::Storm { arguments } => storm::run(&arguments),
        Chore::Sign { file, mark, secret, gateway_port } => {
            let given = mark.zip(secret).map(|(mark, secret)| signing::Seal { mark, secret });
            signing::run(&file, given, gateway_port).map(|event| {
                // The reader may close the pipe: `cargo xtask sign … | head`.
                let _ = writeln!(std::io::stdout(), "{event}");
            })
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
    let status = cargo.args(command).args(arguments).current_dir(xtask::tools::root()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cargo {} failed: see above", command.join(" ")).into())
}
