//! `coursegate up`: the local stack, from the command line to Ctrl-C.

mod own_account;
mod welcome;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coursegate::catalog::{self, CatalogFileError, Closing, PushError, Step};
use coursegate::deployment::{Deployment, DeploymentError, LocalStack};
use coursegate::webhook::{self, WebhookError};
use local::Keep;
use local::addresses::{Addresses, Demo, Stripe};
use local::lambda::{Program, Programs};
use local::observer::Observer;
use local::stack::{Options, Ports, Stack, StartError};
use serde::Serialize;
use shared::config::process_environment;
use shared::domain::catalog::Catalog;
use shared::domain::id::IdError;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::arguments::Up;
use crate::terminal::{self, Terminal};
use own_account::OwnAccountError;

/// Stopping may take this long; then the process ends anyway, and its functions with it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(800);
/// Processes of one function at most.
const INSTANCES_MAX: usize = 4;

/// Why the stack doesn't run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    #[error(
        "there is no template.yaml here or in any folder above: run this inside the project, or \
         name one with --template"
    )]
    NoTemplate,
    #[error("there is no template {}", .0.display())]
    TemplateMissing(PathBuf),
    #[error("the stack can't run on this machine: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    CatalogFile(#[from] CatalogFileError),
    #[error(transparent)]
    OwnAccount(#[from] OwnAccountError),
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    #[error("the webhook can't be registered: {0}")]
    Webhook(#[from] WebhookError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("the mark in the state folder can't be used: {0}; give another with --deployment-mark")]
    Mark(#[from] IdError),
}

/// Runs the stack until it is told to stop.
pub(crate) fn run(options: Up) -> Result<(), UpError> {
    // The DynamoDB engine warns of every condition that is not met, which is how a duplicate is
    // known.
    let usual = Targets::new().with_default(LevelFilter::WARN);
    terminal::log(usual.with_target("dynoxide", LevelFilter::ERROR));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(up(options));
    // Whatever still blocks a thread is not waited for.
    runtime.shutdown_background();
    result
}

async fn up(options: Up) -> Result<(), UpError> {
    let started = Instant::now();
    let mut stop = Stop::listen()?;
    let places = Places::find(&options)?;
    let terminal = Terminal::new();
    let catalog = catalog::read(&places.catalog)?;
    let stack = tokio::select! {
        stack = start(&options, &places, &catalog, terminal) => stack?,
        () = stop.requested() => return Ok(()),
    };

    let logs = shorten(stack.logs());
    let seconds = format!("{:.1} s", started.elapsed().as_secs_f32());
    let steps = stack.addresses().try_this(demo(&catalog).as_ref(), &stack.stripe());
    terminal.welcome(stack.addresses(), &places.describe(), &logs, &seconds, &steps);
    if let Ok(program) = std::env::current_exe() {
        terminal.mcp_client(&program, stack.addresses());
    }
    terminal::print("\nCtrl-C stops everything. Requests:\n");
    if let Some(count) = stack.held_deliveries() {
        terminal.held(count, stack.addresses());
    }
    if options.json || options.ephemeral {
        terminal::print(&format!("ready {}", ready(&stack)));
    }

    stop.requested().await;
    // Whatever doesn't stop in time ends with this process.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, stack.shutdown()).await;
    Ok(())
}

async fn start(
    options: &Up,
    places: &Places,
    catalog: &Catalog,
    terminal: Terminal,
) -> Result<Stack, UpError> {
    let account = options
        .account
        .stripe
        .then(|| own_account::read(options.account.stripe_url.clone(), process_environment))
        .transpose()?;
    let mut stack = Stack::start(Options {
        template: places.template.clone(),
        keep: places.keep.clone(),
        ports: ports(options),
        programs: Programs::One(Program {
            file: std::env::current_exe()?,
            arguments: vec!["function".to_owned()],
        }),
        instances_max: INSTANCES_MAX,
        account_concurrency: options.concurrency,
        parameters: options.parameters.iter().cloned().collect(),
        observer: Observer::new(move |served| terminal.served(served)),
        demo: demo(catalog),
        account,
        deployment_mark: options.deployment_mark.as_ref().map(ToString::to_string),
        dynamodb_proxy: None,
        stripe_proxy: None,
    })
    .await?;
    if let Err(error) = open(options, catalog, &mut stack).await {
        stack.shutdown().await;
        return Err(error);
    }
    Ok(stack)
}

/// The first course of the catalog that has a locked chapter and is for sale.
fn demo(catalog: &Catalog) -> Option<Demo> {
    catalog.courses().iter().find_map(|course| {
        let offer = catalog.offers_for(&course.id).next()?;
        let chapter =
            (1..=course.chapters.len()).find(|chapter| !course.is_free(Some(*chapter)))?;
        let price = offer.price.key.to_string();
        Some(Demo { course: course.id.to_string(), chapter, price })
    })
}

/// Puts the catalog on sale, then lets people in.
async fn open(options: &Up, catalog: &Catalog, stack: &mut Stack) -> Result<(), UpError> {
    if let Some(address) = options.docker_bridge {
        stack.let_containers_in(address).await?;
    }
    let deployment =
        Deployment::local(&reached(stack.addresses()), stack.deployment_mark().parse()?);
    let account = deployment.account().await?;
    // On a laptop nobody owns anything that counts, and the author may try what they like.
    let closing = Closing::Allowed;
    let pushed = catalog::push(catalog, closing, &account, &deployment, |_| {}).await?;
    // The first time everything is new; afterwards an edit should be seen, or a slip.
    if pushed.steps.iter().any(|step| matches!(step, Step::Publish { version: 2.., .. })) {
        terminal::print("The catalog file goes on sale with these changes:");
        for step in &pushed.steps {
            terminal::print(&format!("  {step}"));
        }
        for loss in &pushed.closes {
            terminal::print(&format!("  ! owners have lost: {loss}"));
        }
    }
    // To an account of one's own, `stripe listen` is the endpoint.
    if stack.stripe() == Stripe::Simulator {
        webhook::register(&account, &deployment, &mut |_| {}).await?;
    }
    stack.open();
    Ok(())
}

fn reached(addresses: &Addresses) -> LocalStack {
    let Addresses { gateway, webhook, lambda, dynamodb, stripe, secrets_manager, content: _ } =
        addresses.clone();
    LocalStack { gateway, webhook, lambda, dynamodb, stripe, secrets_manager }
}

/// What there is to know of the stack, as `GET /local/health` says it too.
#[derive(Serialize)]
struct Ready<'a> {
    #[serde(flatten)]
    addresses: &'a Addresses,
    deployment_mark: &'a str,
}

fn ready(stack: &Stack) -> String {
    let ready = Ready { addresses: stack.addresses(), deployment_mark: stack.deployment_mark() };
    serde_json::to_string(&ready).unwrap_or_default()
}

fn ports(options: &Up) -> Ports {
    let port =
        |chosen: Option<u16>, usual| chosen.unwrap_or(if options.ephemeral { 0 } else { usual });
    Ports {
        gateway: port(options.gateway_port, 3000),
        lambda: port(options.lambda_port, 3001),
        dynamodb: port(options.dynamodb_port, 8000),
        stripe: port(options.stripe_port, 12111),
        secrets_manager: port(options.secrets_port, 4566),
        content: port(options.content_port, 9000),
    }
}

/// The files and folders that the stack works with.
struct Places {
    template: PathBuf,
    catalog: PathBuf,
    keep: Keep,
}

impl Places {
    fn find(options: &Up) -> Result<Places, UpError> {
        let template = match &options.template {
            Some(template) if template.is_file() => template.clone(),
            Some(template) => return Err(UpError::TemplateMissing(template.clone())),
            None => find_template(&std::env::current_dir()?).ok_or(UpError::NoTemplate)?,
        };
        let beside = |name: &str| template.with_file_name(name);
        let keep = if options.memory || options.ephemeral {
            Keep::Memory
        } else {
            let folder = options.state.clone().unwrap_or_else(|| beside(".coursegate"));
            // What the simulator has named is not known to Stripe, nor the other way round.
            Keep::Folder(if options.account.stripe { folder.join("stripe") } else { folder })
        };
        let catalog = options.catalog.clone().unwrap_or_else(|| beside("catalog.toml"));
        Ok(Places { template, catalog, keep })
    }

    fn describe(&self) -> String {
        match &self.keep {
            Keep::Folder(folder) => shorten(folder),
            Keep::Memory => "in memory: lost on exit".to_owned(),
        }
    }
}

fn find_template(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join("template.yaml")).find(|file| file.is_file())
}

/// A path as seen from here.
fn shorten(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).display().to_string()
}

/// Ctrl-C, or SIGTERM.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    #[cfg(unix)]
    fn listen() -> std::io::Result<Stop> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop {})
    }

    #[cfg(not(unix))]
    async fn requested(&mut self) {
        // Without a way to hear of Ctrl-C, the system ends the process.
        let _ = tokio::signal::ctrl_c().await;
    }
}
