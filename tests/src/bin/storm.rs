//! `cargo xtask storm`, once the functions are built.

#![allow(clippy::print_stdout, reason = "a command talks to whoever types it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use local::lambda::{Program, Programs};
use tests::storm::{self, Options};

#[derive(Parser)]
#[command(name = "cargo xtask storm", about = "The whole system in bad weather", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Role>,
    /// What is thrown follows from this number; what meets what is up to the machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many events, at least.
    #[arg(long, default_value_t = 3000)]
    events: usize,
    /// Processes of one function at most.
    #[arg(long, default_value_t = 8)]
    instances: usize,
    /// After this long the weather is fine, and what is left is delivered in it.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The folder of the functions' own executables. Without it this program is all of them.
    #[arg(long)]
    functions: Option<PathBuf>,
    /// Where to leave the logs and the table if anything is wrong.
    #[arg(long, default_value = "target/storm")]
    folder: PathBuf,
}

#[derive(Subcommand)]
enum Role {
    /// Be a function, as the local Lambda starts it.
    #[command(hide = true)]
    Function { name: Function },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Function {
    Checkout,
    Entitlements,
    Webhook,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Role::Function { name }) => be(name),
        None => rage(arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a function, on one thread as its own executable has it.
fn be(function: Function) -> Result<ExitCode, lambda_http::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match function {
            Function::Checkout => checkout::run().await,
            Function::Entitlements => entitlements::run().await,
            Function::Webhook => webhook::run().await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn rage(arguments: Arguments) -> Result<ExitCode, lambda_http::Error> {
    let programs = match arguments.functions {
        Some(folder) => each_in(&folder)?,
        None => this_program()?,
    };
    let options = Options {
        seed: arguments.seed,
        events: arguments.events,
        instances: arguments.instances,
        seconds: arguments.seconds,
        programs,
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

/// This program, as each of the functions.
fn this_program() -> std::io::Result<Programs> {
    let file = std::env::current_exe()?;
    println!("the functions are {} function NAME", file.display());
    Ok(Programs::One(Program { file, arguments: vec!["function".to_owned()] }))
}

/// The functions' own executables.
fn each_in(folder: &std::path::Path) -> std::io::Result<Programs> {
    let mut programs = BTreeMap::new();
    for function in Function::value_variants() {
        let name = function.to_possible_value().map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        let file = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !file.is_file() {
            return Err(std::io::Error::other(format!(
                "there is no {}: build the functions, as `cargo xtask storm` does",
                file.display()
            )));
        }
        println!("the {name} function is {}", file.display());
        programs.insert(name, Program { file, arguments: Vec::new() });
    }
    Ok(Programs::Each(programs))
}
