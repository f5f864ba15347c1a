//! The operator's commands, from the command line to the terminal.

pub(crate) mod events;
pub(crate) mod learner;
pub(crate) mod mcp;
pub(crate) mod site;
pub(crate) mod support;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use coursegate::catalog::{self, Closing, Plan};
use coursegate::deployment::{Cloud, Deployment};
use coursegate::doctor::{self, Finding};
use coursegate::key::service::{self, Added, Deleted, Status, Which};
use coursegate::key::{self, reading};
use coursegate::webhook::{self, Ending};
use secrecy::{ExposeSecret as _, SecretString};
use shared::ports::{Clock as _, SystemClock};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::arguments::{CatalogCommand, KeyCommand, PlaceArguments, WebhookCommand};
use crate::terminal::{self, Terminal};

/// A command's end: the sentence that says what is wrong.
type Ended = Result<(), String>;

pub(crate) fn catalog(command: CatalogCommand) -> Ended {
    run(async {
        match command {
            CatalogCommand::Plan { place, file } => plan(place, &file).await,
            CatalogCommand::Push { place, file, force } => push(place, &file, force).await,
            CatalogCommand::Pull { place } => pull(place).await,
        }
    })
}

async fn plan(place: PlaceArguments, file: &Path) -> Ended {
    let wanted = catalog::read(file).map_err(say)?;
    let deployment = find(place).await?;
    let account = deployment.account().await.map_err(say)?;
    let plan = catalog::look(&wanted, &account, &deployment).await.map_err(say)?;
    for step in &plan.steps {
        terminal::print(&step.to_string());
    }
    for loss in &plan.closes {
        terminal::print(&format!("! owners would lose: {loss}"));
    }
    terminal::print(&match (plan.steps.len(), plan.closes.is_empty()) {
        (0, _) => format!("{} sells what {} says.", deployment.name, file.display()),
        (steps, true) => {
            let push = format!("`coursegate catalog push {}`", file.display());
            let push = complete(&deployment, &push);
            format!("{} to do; run {push}.", count(steps, "step"))
        }
        (steps, false) => format!(
            "{} to do; a push refuses to take away what owners have, unless you add --force.",
            count(steps, "step")
        ),
    });
    Ok(())
}

async fn push(place: PlaceArguments, file: &Path, force: bool) -> Ended {
    let wanted = catalog::read(file).map_err(say)?;
    let deployment = find_to_change(place).await?;
    let account = deployment.account().await.map_err(say)?;
    let closing = if force { Closing::Allowed } else { Closing::Refused };
    let done = |step: &catalog::Step| terminal::print(&step.to_string());
    let pushed = catalog::push(&wanted, closing, &account, &deployment, done).await;
    let Plan { steps, closes, .. } = pushed.map_err(say)?;
    for loss in closes {
        terminal::print(&format!("! owners have lost: {loss}"));
    }
    terminal::print(&if steps.is_empty() {
        format!("Nothing to do: {} sells what {} says.", deployment.name, file.display())
    } else {
        format!(
            "{} done. {} sells what {} says; the functions pick it up within a minute.",
            count(steps.len(), "step"),
            deployment.name,
            file.display()
        )
    });
    Ok(())
}

async fn pull(place: PlaceArguments) -> Ended {
    let deployment = find(place).await?;
    let account = deployment.account().await.map_err(say)?;
    let pulled = catalog::pull(&account, &deployment).await.map_err(say)?;
    terminal::print(pulled.text.trim_end());
    for note in pulled.notes {
        terminal::problem(&note);
    }
    Ok(())
}

pub(crate) fn webhook(command: WebhookCommand) -> Ended {
    run(async {
        let mut is_told = false;
        let mut tell = |deployment: &Deployment, line: &str| {
            is_told = true;
            terminal::print(&complete(deployment, line));
        };
        match command {
            WebhookCommand::Register { place } => {
                let deployment = find_to_change(place).await?;
                let tell = &mut |line: String| tell(&deployment, &line);
                let account = deployment.account().await.map_err(say)?;
                let registered = webhook::register(&account, &deployment, tell).await;
                registered.map_err(|error| complete(&deployment, &error.to_string()))?;
            }
            WebhookCommand::Rotate { place, now } => {
                let deployment = find_to_change(place).await?;
                let tell = &mut |line: String| tell(&deployment, &line);
                let account = deployment.account().await.map_err(say)?;
                let ending = if now { Ending::Now } else { Ending::WhenDelivered };
                let now = SystemClock.now();
                let rotated = webhook::rotate(&account, &deployment, ending, now, tell).await;
                rotated.map_err(|error| complete(&deployment, &error.to_string()))?;
            }
        }
        if !is_told {
            terminal::print("Nothing to do: the endpoint is up to date.");
        }
        Ok(())
    })
}

pub(crate) fn key(command: KeyCommand) -> Ended {
    run(async {
        match command {
            KeyCommand::Store { webhook: false, place } => {
                store_key(&find_to_change(place).await?).await
            }
            KeyCommand::Store { webhook: true, place } => {
                store_reading_key(&find_to_change(place).await?).await
            }
            KeyCommand::RotateService { place, list: true, .. } => {
                list_service_secrets(&find(place).await?).await
            }
            KeyCommand::RotateService { place, list: false, delete: None } => {
                add_service_secret(&find_to_change(place).await?).await
            }
            KeyCommand::RotateService { place, list: false, delete: Some(which) } => {
                delete_service_secret(&find_to_change(place).await?, which).await
            }
        }
    })
}

fn cloud_of_services(deployment: &Deployment) -> Result<&Cloud, String> {
    deployment.cloud.as_ref().ok_or_else(|| {
        "services need no secret on the local stack: POST /local/service-token returns a token. \
         Name a deployment in AWS with --stack."
            .to_owned()
    })
}

async fn list_service_secrets(deployment: &Deployment) -> Ended {
    let Status { client, created } =
        service::list(cloud_of_services(deployment)?).await.map_err(say)?;
    terminal::print(&format!(
        "The services' client {client} has {}.",
        count(created.len(), "secret")
    ));
    for (index, time) in created.iter().enumerate() {
        // As in `--delete`.
        let age = match (index, created.len()) {
            (0, 2) => ": older",
            (1, 2) => ": newer",
            _ => "",
        };
        terminal::print(&format!("  created at {time}{age}"));
    }
    Ok(())
}

async fn add_service_secret(deployment: &Deployment) -> Ended {
    let added = service::add(cloud_of_services(deployment)?).await;
    let Added { client, secret } =
        added.map_err(|error| complete(deployment, &error.to_string()))?;
    terminal::print(&complete(
        deployment,
        &format!(
            "The services' client {client} has a second secret, which is shown only now:\n\n    \
             {}\n\nUse it in every service; the old one works meanwhile. When every service uses \
             it, delete the old one with `coursegate key rotate-service --delete older`.",
            secret.expose_secret(),
        ),
    ));
    Ok(())
}

async fn delete_service_secret(deployment: &Deployment, which: Which) -> Ended {
    let deleted = service::delete(cloud_of_services(deployment)?, which).await;
    let Deleted { client, created, remaining } =
        deleted.map_err(|error| complete(deployment, &error.to_string()))?;
    terminal::print(&format!(
        "Deleted the secret of {created}. The services' client {client} has one secret, created at \
         {remaining}. Tokens that were issued before are valid for up to a day."
    ));
    Ok(())
}

async fn store_key(deployment: &Deployment) -> Ended {
    let key = read_key(deployment, "the functions")?;
    key::store(deployment, &key).await.map_err(say)?;
    stored(&deployment.api_key_id);
    if key::is_unrestricted(&key) {
        terminal::print(&format!(
            "This key has full access to the account. A restricted key is enough, with {}.",
            key::permissions().collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(())
}

async fn store_reading_key(deployment: &Deployment) -> Ended {
    let key = read_key(deployment, "the webhook")?;
    let surplus = reading::store(deployment, &key).await.map_err(say)?;
    stored(&deployment.read_key_id);
    if !surplus.is_empty() {
        terminal::print(&format!(
            "This key can do more than it needs: {}. Remove that in Stripe's Dashboard: it needs \
             only {}.",
            surplus.join(", "),
            reading::names()
        ));
    }
    Ok(())
}

fn stored(id: &str) {
    terminal::print(&format!(
        "The key works and is stored in {id}; running functions switch to it within five minutes."
    ));
}

/// Reads the key from standard input, so that it is in no argument, history or process list.
fn read_key(deployment: &Deployment, whose: &str) -> Result<SecretString, String> {
    let line = if std::io::stdin().is_terminal() {
        let mode = coursegate::account::name_of(deployment.shop.mode);
        rpassword::prompt_password(format!(
            "Paste the {mode} restricted key for {whose} (rk_…), then press Enter (your input \
             stays hidden): "
        ))
        .map_err(say)?
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(say)?;
        line
    };
    if line.trim().is_empty() {
        return Err("no key was given: pass it on standard input".to_owned());
    }
    Ok(SecretString::from(line.trim()))
}

pub(crate) fn doctor(place: PlaceArguments, catalog: Option<PathBuf>) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let usual = PathBuf::from("catalog.toml");
        let catalog = catalog.or_else(|| usual.is_file().then_some(usual));
        let terminal = Terminal::new();
        terminal.diagnosis(&deployment.name, coursegate::account::name_of(deployment.shop.mode));
        let (mut good, mut notes, mut bad) = (0_usize, 0_usize, 0_usize);
        let is_well = doctor::examine(&deployment, catalog, |name, finding| {
            match finding {
                Finding::Good(_) => good += 1,
                Finding::Note { .. } => notes += 1,
                Finding::Bad { .. } => bad += 1,
                Finding::Skipped(_) => {}
            }
            terminal.finding(name, finding, |text| complete(&deployment, text));
        })
        .await;
        let noun = if notes == 1 { "note" } else { "notes" };
        terminal::print(&format!("\n{good} ok, {notes} {noun}, {bad} wrong."));
        if is_well {
            Ok(())
        } else {
            Err("fix what is wrong, then run the doctor again".to_owned())
        }
    })
}

/// Has the commands in a text, which stand between backticks, mean this deployment too.
fn complete(deployment: &Deployment, text: &str) -> String {
    let place = match (&deployment.cloud, deployment.site_origin.rsplit_once(':')) {
        (Some(_), _) => format!(" --stack {}", deployment.name),
        (None, Some((_, port))) if port != "3000" => format!(" --gateway-port {port}"),
        (None, _) => return text.to_owned(),
    };
    let parts = text.split('`').enumerate().map(|(number, part)| {
        let is_command = number % 2 == 1 && part.starts_with("coursegate ");
        if is_command { format!("{part}{place}") } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// For what changes it: by a program of the version that is deployed only, since another version may
/// speak another version of Stripe's API, or write another catalog.
async fn find_to_change(place: PlaceArguments) -> Result<Deployment, String> {
    let deployment = find(place).await?;
    if let Some(cloud) = &deployment.cloud {
        let ours = env!("CARGO_PKG_VERSION");
        if cloud.version != ours {
            return Err(format!(
                "{} runs version {}, but this program is {ours}: deploy this version (`sam build`, \
                 `sam deploy`), or use that version of this program",
                deployment.name, cloud.version
            ));
        }
        // So that the operator notices a wrong stack or mode.
        let mode = coursegate::account::name_of(deployment.shop.mode);
        terminal::print(&format!("{} ({mode}):", cloud.location));
    }
    Ok(deployment)
}

async fn find(place: PlaceArguments) -> Result<Deployment, String> {
    Deployment::find(&place.place()).await.map_err(say)
}

fn run(command: impl Future<Output = Ended>) -> Ended {
    // The libraries' own warnings would stand between the command's lines, which say the same.
    terminal::log(Targets::new().with_default(LevelFilter::OFF));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(say)?.block_on(command)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}
