//! `cargo xtask storm`, once the functions are built.

#![allow(clippy::print_stdout, reason = "a command prints to its user")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use local::lambda::{Program, Programs};
use tests::storm::{self, Options};

const FUNCTIONS: [&str; 4] = ["checkout", "entitlements", "tutor", "webhook"];

#[derive(Parser)]
#[command(name = "cargo xtask storm", about = "The whole system in bad weather", version)]
struct Arguments {
    /// The seed of the generated events; their timing is up to the machine
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The least number of events
    #[arg(long, default_value_t = 3000)]
    events: usize,
    /// The most processes of one function
    #[arg(long, default_value_t = 8)]
    instances: usize,
    /// The time after which no more faults are injected and the rest is delivered
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The folder with the functions' executables
    #[arg(long)]
    functions: PathBuf,
    /// Where to keep the logs and the table if anything is wrong
    #[arg(long, default_value = "target/storm")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run_storm(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_storm(arguments: Arguments) -> Result<ExitCode, io::Error> {
    let options = Options {
        seed: arguments.seed,
        events: arguments.events,
        instances: arguments.instances,
        seconds: arguments.seconds,
        programs: each_in(&arguments.functions)?,
        folder: arguments.folder,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            report = storm::run(options) => {
                println!("{report}");
                let is_well = report.wrong().is_empty();
                Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            // The processes end with the runtime.
            called_off = tokio::signal::ctrl_c() => {
                called_off?;
                println!("The storm is called off: nothing is known.");
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

/// The functions' own executables.
fn each_in(folder: &Path) -> io::Result<Programs> {
    let mut programs = BTreeMap::new();
    for name in FUNCTIONS {
        let file = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !file.is_file() {
            return Err(io::Error::other(format!(
                "there is no {}: build the functions, as `cargo xtask storm` does",
                file.display()
            )));
        }
        println!("the {name} function is {}", file.display());
        programs.insert(name.to_owned(), Program { file, arguments: Vec::new() });
    }
    Ok(Programs::Each(programs))
}
