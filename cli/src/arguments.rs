//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::function::Name;

/// Sells courses with Stripe from your own AWS account. On a laptop, without AWS or Stripe: `up`.
#[derive(Debug, Parser)]
#[command(name = "coursegate", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) up: Up,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the local stack; also what happens without a command
    Up(Up),
    /// Be one of the functions: what the local stack starts as a function's process.
    #[command(hide = true)]
    Function {
        /// Which one.
        name: Name,
    },
}

/// How to run the local stack.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Take free ports, keep nothing, and say where everything is as --json does
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Keep nothing: forget everything at the end
    #[arg(long)]
    pub(crate) memory: bool,
    /// End the start with a line for programs: `ready {"gateway":"http://…",…}`
    #[arg(long)]
    pub(crate) json: bool,
    /// Site, API, sign-in and webhook [default: 3000]
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// Lambda's Invoke API [default: 3001]
    #[arg(long, value_name = "PORT")]
    pub(crate) lambda_port: Option<u16>,
    /// DynamoDB [default: 8000]
    #[arg(long, value_name = "PORT")]
    pub(crate) dynamodb_port: Option<u16>,
    /// Stripe simulator [default: 12111]
    #[arg(long, value_name = "PORT")]
    pub(crate) stripe_port: Option<u16>,
    /// Secrets Manager [default: 4566]
    #[arg(long, value_name = "PORT")]
    pub(crate) secrets_port: Option<u16>,
    /// What is sold [default: catalog.toml beside the template]
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,
    /// What would be deployed [default: template.yaml here or in a folder above]
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// Where state is kept [default: .coursegate beside the template]
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["memory", "ephemeral"])]
    pub(crate) state: Option<PathBuf>,
}
