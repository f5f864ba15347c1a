//! The `coursegate` command.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "a developer's tool; money is counted elsewhere"
)]

mod arguments;
mod function;
mod operator;
mod terminal;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Function { name }) => function::run(name).map_err(|error| error.to_string()),
        Some(Command::Catalog(command)) => operator::catalog(command),
        Some(Command::Webhook(command)) => operator::webhook(command),
        Some(Command::Key(command)) => operator::key(command),
        Some(Command::Site(command)) => operator::site::site(command),
        Some(Command::Doctor { place, catalog }) => operator::doctor(place, catalog),
        Some(Command::Mcp { learner, place }) => operator::mcp::mcp(place, learner),
        Some(Command::Why { learner, product, place }) => {
            operator::support::why(place, &learner, product.as_ref())
        }
        Some(Command::Grant { learner, product, reason, until, place }) => {
            operator::support::grant(place, &learner, &product, reason, until)
        }
        Some(Command::Revoke { source, reason, place }) => {
            operator::support::revoke(place, &source, reason)
        }
        Some(Command::DoublePayments { place }) => operator::support::double_payments(place),
        Some(Command::UnknownSources { after, place }) => {
            operator::support::unknown_sources(place, after.as_ref())
        }
        Some(Command::Learner(command)) => operator::learner::learner(command),
        Some(Command::Replay { event, place }) => operator::events::replay(place, &event),
        Some(Command::Quarantine(command)) => operator::events::quarantine(command),
        Some(Command::Up(options)) => up::run(options).map_err(|error| error.to_string()),
        None => up::run(arguments.up).map_err(|error| error.to_string()),
    };
    match result.and_then(|()| terminal::all_printed()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            terminal::problem(&problem);
            ExitCode::FAILURE
        }
    }
}
