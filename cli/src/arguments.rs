//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use coursegate::calendar;
use coursegate::deployment::Place;
use coursegate::key::service::Which;
use shared::domain::facts::Note;
use shared::domain::id::{DeploymentMark, EventId, LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;

use crate::function::Name;

/// Sell courses with Stripe from your own AWS account. `up` runs everything on your laptop, without
/// AWS or Stripe
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
    /// Run the local stack (the default)
    Up(Up),
    /// Preview, publish or download the catalog
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Register the webhook endpoint at Stripe, or rotate its signing secret
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Store the functions' Stripe API keys, or rotate the services' secret
    #[command(subcommand)]
    Key(KeyCommand),
    /// Explain a learner's access: every payment, refund, dispute and grant
    Why {
        /// Learner id: the token's `sub`, or the id that a service uses
        learner: LearnerId,
        /// Product id from catalog.toml; all products without it
        product: Option<ProductId>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Give a learner a product without a payment
    Grant {
        /// Learner id: the token's `sub`, or the id that a service uses
        learner: LearnerId,
        /// Product id from catalog.toml
        product: ProductId,
        /// The reason, stored with your name and shown by `coursegate why`
        #[arg(long, value_name = "TEXT")]
        reason: Note,
        /// Last day of access (2027-01-31), or when it ends (2027-01-31T12:00:00Z), in UTC
        #[arg(long, value_name = "DATE", value_parser = end)]
        until: Option<Timestamp>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// End the access from a payment or grant for good, without refunding it
    Revoke {
        /// Source id from `coursegate why`: pi_…, cs_… or grant_…
        source: SourceId,
        /// The reason, stored with your name and shown by `coursegate why`
        #[arg(long, value_name = "TEXT")]
        reason: Note,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Read an event from Stripe again and apply it
    Replay {
        /// Stripe event id: evt_…
        event: EventId,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// List, apply or dismiss events that could not be read
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// List duplicate payments to refund
    DoublePayments {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// List access that wasn't paid for at Stripe, as forged events may have left it
    UnknownSources {
        /// Continue after this source, where an earlier run stopped
        #[arg(long, value_name = "SOURCE")]
        after: Option<SourceId>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Export or erase a learner's data
    #[command(subcommand)]
    Learner(LearnerCommand),
    /// Deploy the course site and the chapters to the stack's buckets
    #[command(subcommand)]
    Site(SiteCommand),
    /// Offer the tutor's tools over standard input and output, to MCP clients that start a program
    ///
    /// Without `COURSEGATE_TOKEN` in the environment, it asks with a service's token, which can ask
    /// about every learner. Set it to a learner's access token, and the tools are about that learner
    Mcp {
        /// Only learner that the tools are about, whatever the model says; for a service's token
        #[arg(long, value_name = "ID")]
        learner: Option<LearnerId>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Check the deployment, and explain how to fix what is wrong; exits with 1 if anything is
    Doctor {
        #[command(flatten)]
        place: PlaceArguments,
        /// Catalog to compare with what is on sale [default: catalog.toml, if it exists]
        #[arg(long, value_name = "FILE")]
        catalog: Option<PathBuf>,
    },
    /// Run one of the functions; the local stack starts these.
    #[command(hide = true)]
    Function {
        /// Its name.
        name: Name,
    },
}

/// The deployment that a command acts on.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// CloudFormation stack in the current AWS account and Region; without it, the running local
    /// stack
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Port of the local stack's gateway
    #[arg(long, value_name = "PORT", default_value_t = 3000, conflicts_with = "stack")]
    gateway_port: u16,
}

impl PlaceArguments {
    pub(crate) fn place(self) -> Place {
        self.stack.map_or(Place::Local(self.gateway_port), Place::Stack)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Preview a push
    Plan {
        #[command(flatten)]
        place: PlaceArguments,
        /// The catalog file
        #[arg(default_value = "catalog.toml")]
        file: PathBuf,
    },
    /// Publish the catalog: products and prices to Stripe, then everything to the table
    Push {
        #[command(flatten)]
        place: PlaceArguments,
        /// The catalog file
        #[arg(default_value = "catalog.toml")]
        file: PathBuf,
        /// Push even if learners lose something they own, or the shop moves to another Stripe account
        #[arg(long)]
        force: bool,
    },
    /// Print what is on sale as a catalog file
    Pull {
        #[command(flatten)]
        place: PlaceArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Create the endpoint with the events that are handled, or update it
    Register {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Start replacing the signing secret; run it again three days later to remove the old one
    Rotate {
        #[command(flatten)]
        place: PlaceArguments,
        /// Remove the old secret immediately because it has leaked
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Read a key from standard input, test it and store it in Secrets Manager
    Store {
        /// Store the webhook's read-only key instead of the checkout function's
        #[arg(long)]
        webhook: bool,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Add a second secret for services to get their tokens with, or delete one of the two
    RotateService {
        #[command(flatten)]
        place: PlaceArguments,
        /// List the secrets without their values, and change nothing
        #[arg(long, conflicts_with = "delete")]
        list: bool,
        /// Delete the older secret, once every service uses the newer; or the newer, if it is lost
        #[arg(long, value_name = "WHICH")]
        delete: Option<Which>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Upload what has changed: the site, its config.json and the chapters
    Deploy {
        #[command(flatten)]
        place: PlaceArguments,
        /// Folder of the site
        #[arg(long, value_name = "FOLDER", default_value = "web")]
        site: PathBuf,
        /// Folder of the chapters, with files named COURSE/NUMBER.html
        #[arg(long, value_name = "FOLDER", default_value = "content")]
        content: PathBuf,
        /// Client id of the site at your own issuer; not needed with the stack's user pool
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// Deploy even if a chapter on sale has no file
        #[arg(long)]
        force: bool,
        /// Delete files from the buckets that are no longer in the folders
        #[arg(long)]
        delete: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List unreadable events, with the reason and time
    List {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Read every event from Stripe again and apply it; exits with 1 if any is left
    Drain {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Remove an event from the list without applying it
    Dismiss {
        /// Stripe event id: evt_…
        event: EventId,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LearnerCommand {
    /// Print all data about a learner as JSON
    Export {
        /// Learner id
        learner: LearnerId,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Erase a learner's data; payments are kept for accounting, without the learner
    Forget {
        /// Learner id
        learner: LearnerId,
        /// Don't ask for confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

fn end(text: &str) -> Result<Timestamp, &'static str> {
    calendar::end(text).ok_or("give a date like 2027-01-31, or a time like 2027-01-31T12:00:00Z")
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("give a name and a value, as in NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The Stripe account to sell through.
#[derive(Debug, Args)]
pub(crate) struct OwnAccount {
    /// Use your own Stripe account in test mode instead of the simulator. Set `STRIPE_API_KEY` to its
    /// key and `STRIPE_WEBHOOK_SECRET` to what `stripe listen --print-secret` prints
    #[arg(long, conflicts_with = "stripe_port")]
    pub(crate) stripe: bool,
    /// Address of that Stripe, for tests
    #[arg(long, hide = true, value_name = "URL", requires = "stripe")]
    pub(crate) stripe_url: Option<String>,
}

/// Options of the local stack.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Use free ports, keep nothing, and print the addresses as --json does
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Keep the state in memory only
    #[arg(long)]
    pub(crate) memory: bool,
    /// Print a line for programs once it is ready: `ready {"gateway":"http://…",…}`
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) account: OwnAccount,
    /// Mark of this stack's products, customers and payments at Stripe, kept with the state
    /// [default: random]
    #[arg(long, value_name = "MARK")]
    pub(crate) deployment_mark: Option<DeploymentMark>,
    /// Port of the site, API, sign-in and webhook [default: 3000]
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// Port of Lambda's API [default: 3001]
    #[arg(long, value_name = "PORT")]
    pub(crate) lambda_port: Option<u16>,
    /// Port of DynamoDB [default: 8000]
    #[arg(long, value_name = "PORT")]
    pub(crate) dynamodb_port: Option<u16>,
    /// Port of the Stripe simulator [default: 12111]
    #[arg(long, value_name = "PORT")]
    pub(crate) stripe_port: Option<u16>,
    /// Port of Secrets Manager [default: 4566]
    #[arg(long, value_name = "PORT")]
    pub(crate) secrets_port: Option<u16>,
    /// Port of S3, which has the chapters [default: 9000]
    #[arg(long, value_name = "PORT")]
    pub(crate) content_port: Option<u16>,
    /// Set a parameter of the template, such as WebhookEntrance=api
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Enforce AWS's limits, in an account with a quota of this many concurrent executions: the quota,
    /// and the template's throttling. Without it, events wait and nothing is throttled
    #[arg(long, value_name = "NUMBER")]
    pub(crate) concurrency: Option<usize>,
    /// Let containers reach DynamoDB, Stripe and Secrets Manager at this address of Docker's bridge
    /// [172.17.0.1 if none is given]. Not needed with Docker Desktop
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "172.17.0.1"
    )]
    pub(crate) docker_bridge: Option<Ipv4Addr>,
    /// Catalog file [default: catalog.toml next to the template]
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,
    /// Template [default: template.yaml here or in a parent folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// Folder of the state [default: .coursegate next to the template]
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["memory", "ephemeral"])]
    pub(crate) state: Option<PathBuf>,
}
