//! What can be asked on the command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use coursegate::calendar;
use coursegate::deployment::Place;
use shared::domain::facts::Note;
use shared::domain::id::{DeploymentMark, EventId, LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;

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
    /// What is sold: compare catalog.toml with Stripe and the table, put it on sale, read it back
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// The webhook endpoint at Stripe: create it or bring it up to date, rotate its signing secret
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// The Stripe API keys that the functions use
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say why a learner can open what they have, or can't: each payment, refund, dispute and grant
    Why {
        /// Whose; the `sub` of their token, or the service's name for them
        learner: LearnerId,
        /// Only this product
        product: Option<ProductId>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Give a learner a product, without a payment
    Grant {
        /// To whom
        learner: LearnerId,
        /// What
        product: ProductId,
        /// Why; it is kept with your name, and told by `coursegate why`
        #[arg(long, value_name = "TEXT")]
        reason: Note,
        /// Until when: a date, with which it ends, or a time like 2027-01-31T12:00:00Z; all in UTC
        #[arg(long, value_name = "DATE", value_parser = end)]
        until: Option<Timestamp>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Take back what a payment or a grant opens, for good; moves no money
    Revoke {
        /// Which, as `why` names it: pi_…, cs_… or grant_…
        source: SourceId,
        /// Why; it is kept with your name, and told by `coursegate why`
        #[arg(long, value_name = "TEXT")]
        reason: Note,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Read an event from Stripe once more, and apply it
    Replay {
        /// Which: evt_…
        event: EventId,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Events that could not be read, and wait for a version that can
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Who has paid for the same product twice, and what to pay back
    DoublePayments {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Access that Stripe doesn't say was paid for, which forged events may have left behind
    UnknownSources {
        /// Go on after this one, where the command stopped before
        #[arg(long, value_name = "SOURCE")]
        after: Option<SourceId>,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// All that is held of a learner: write it out, or erase it
    #[command(subcommand)]
    Learner(LearnerCommand),
    /// The course site and the chapters: send them into the stack's buckets
    #[command(subcommand)]
    Site(SiteCommand),
    /// Look at everything, say what is wrong and what to do; fails if anything is
    Doctor {
        #[command(flatten)]
        place: PlaceArguments,
        /// What should be on sale [default: catalog.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        catalog: Option<PathBuf>,
    },
    /// Be one of the functions: what the local stack starts as a function's process.
    #[command(hide = true)]
    Function {
        /// Which one.
        name: Name,
    },
}

/// Which deployment is meant.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// The CloudFormation stack, in the Region and account of the AWS environment; without it, the
    /// local stack that is running
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The local stack's gateway
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
    /// Say what a push would do, and do nothing
    Plan {
        #[command(flatten)]
        place: PlaceArguments,
        /// The catalog file
        #[arg(default_value = "catalog.toml")]
        file: PathBuf,
    },
    /// Put it on sale: products and prices in Stripe, then the catalog in the table
    Push {
        #[command(flatten)]
        place: PlaceArguments,
        /// The catalog file
        #[arg(default_value = "catalog.toml")]
        file: PathBuf,
        /// Even if learners lose what they own, or the shop moves to another Stripe account
        #[arg(long)]
        force: bool,
    },
    /// Write what is on sale as a catalog file, to standard output
    Pull {
        #[command(flatten)]
        place: PlaceArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Create the endpoint with exactly the events that are handled, or bring it up to date
    Register {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Begin to replace the signing secret; three days later, run it again to end the old one
    Rotate {
        #[command(flatten)]
        place: PlaceArguments,
        /// End the old secret at once, because somebody else has it
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Read a key from standard input, try it, and store it in Secrets Manager
    Store {
        /// The webhook's key, which only reads, instead of that with which is sold
        #[arg(long)]
        webhook: bool,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Send what has changed: the site, its config.json, the chapters
    Deploy {
        #[command(flatten)]
        place: PlaceArguments,
        /// The site's folder
        #[arg(long, value_name = "FOLDER", default_value = "web")]
        site: PathBuf,
        /// The chapters' folder, with a file COURSE/NUMBER.html for each
        #[arg(long, value_name = "FOLDER", default_value = "content")]
        content: PathBuf,
        /// The site's client at an issuer of your own; that of the stack's user pool is known
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// Even if a chapter of what is on sale has no file
        #[arg(long)]
        force: bool,
        /// Delete from the buckets what is no longer in the folders
        #[arg(long)]
        delete: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Say what waits, since when and why
    List {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Read each from Stripe once more and apply it; fails if any is left
    Drain {
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Take one off the list without applying it, once you have seen to it otherwise
    Dismiss {
        /// Which: evt_…
        event: EventId,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LearnerCommand {
    /// Write all that is held of a learner to standard output, as JSON
    Export {
        /// Whose
        learner: LearnerId,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Erase all that is held of a learner, but for what accounting needs, without their name
    Forget {
        /// Whom
        learner: LearnerId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

fn end(text: &str) -> Result<Timestamp, &'static str> {
    calendar::end(text).ok_or("give a date like 2027-01-31, or a time like 2027-01-31T12:00:00Z")
}

/// Whose Stripe.
#[derive(Debug, Args)]
pub(crate) struct OwnAccount {
    /// Sell through your own Stripe account, in test mode, instead of the simulator: its key is
    /// taken from `STRIPE_API_KEY`, and what `stripe listen --print-secret` prints from
    /// `STRIPE_WEBHOOK_SECRET`
    #[arg(long, conflicts_with = "stripe_port")]
    pub(crate) stripe: bool,
    /// Where that Stripe is, for tests
    #[arg(long, hide = true, value_name = "URL", requires = "stripe")]
    pub(crate) stripe_url: Option<String>,
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
    #[command(flatten)]
    pub(crate) account: OwnAccount,
    /// What marks this stack's products, customers and payments at Stripe as its own; it is kept
    /// with the state [default: a random one for each state]
    #[arg(long, value_name = "MARK")]
    pub(crate) deployment_mark: Option<DeploymentMark>,
    /// Site, API, sign-in and webhook [default: 3000]
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// Lambda's API [default: 3001]
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
    /// S3, which has the chapters [default: 9000]
    #[arg(long, value_name = "PORT")]
    pub(crate) content_port: Option<u16>,
    /// Let containers reach DynamoDB, Stripe and Secrets Manager at this address of Docker's bridge
    /// [172.17.0.1 if none is given]. Docker Desktop's containers reach them without it
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "172.17.0.1"
    )]
    pub(crate) docker_bridge: Option<Ipv4Addr>,
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
