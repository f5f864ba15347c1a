//! `cargo xtask sign` and `cargo xtask sam`.

#![allow(clippy::print_stdout, reason = "a command talks to whoever types it")]

mod sam;
mod signing;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The sample events", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every function in Docker by SAM, with every sample of its folder in `events/`.
    Sam,
    /// Print a sample event of events/webhook with the deployment's mark and a fresh signature, to
    /// hand to the webhook.
    Sign {
        /// The file, one of those in events/webhook.
        file: PathBuf,
        /// The deployment's mark; without mark and secret, those of the running local stack.
        #[arg(long, requires = "secret")]
        mark: Option<String>,
        /// The deployment's signing secret.
        #[arg(long, requires = "mark")]
        secret: Option<String>,
        /// The port of the local stack's gateway.
        #[arg(long, default_value_t = 3000)]
        gateway_port: u16,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Sam => sam::run(),
        Command::Sign { file, mark, secret, gateway_port } => {
            let given = mark.zip(secret).map(|(mark, secret)| signing::Seal { mark, secret });
            signing::run(&file, given, gateway_port).map(|event| {
                // Whoever reads may have had enough: `cargo xtask sign … | head`.
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
