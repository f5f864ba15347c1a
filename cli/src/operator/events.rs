//! `replay` and `quarantine`, from the command line to the terminal.

use coursegate::calendar::utc;
use coursegate::deployment::Deployment;
use coursegate::events::{self, EventError, Replayed};
use shared::domain::decide::{Content, IgnoreReason, Outcome};
use shared::domain::id::EventId;
use shared::dynamo::operator::{Quarantined, quarantined};
use shared::ports::{Clock as _, SystemClock};
use shared::telemetry::Chain;

use super::{Ended, complete, count, find, find_to_change, run, say};
use crate::arguments::{PlaceArguments, QuarantineCommand};
use crate::terminal::{self, Terminal};

pub(crate) fn replay(place: PlaceArguments, event: &EventId) -> Ended {
    run(async {
        let deployment = find_to_change(place).await?;
        let account = deployment.account().await.map_err(say)?;
        let replayed = events::replay(&deployment, &account, event, SystemClock.now()).await;
        let replayed = replayed.map_err(say)?;
        let says = format!("{event}: {}", meaning(&replayed));
        if !replayed.is_settled() {
            let then = "It stays in quarantine: deploy a version that can read it, then replay \
                        it. Stripe keeps events for 30 days.";
            return Err(format!("{says}\n{then}"));
        }
        terminal::print(&says);
        if let Content::Facts(source, _) = &replayed.observation.content {
            terminal::print(&format!("It is about {source}."));
        }
        Ok(())
    })
}

/// An event's outcome, and what it means.
fn meaning(replayed: &Replayed) -> String {
    let outcome = &replayed.outcome;
    let name = outcome.name();
    match outcome {
        Outcome::Applied => format!("{name}. Its content is in the table now."),
        Outcome::Duplicate => {
            format!("{name}. Its content was in the table already; nothing has changed.")
        }
        Outcome::Ignored(rule) => format!("{name}. {} Nothing has changed.", rule_in_words(*rule)),
        Outcome::Quarantined { reason } => format!("{name}. It can't be read: {reason}."),
    }
}

const fn rule_in_words(rule: IgnoreReason) -> &'static str {
    match rule {
        IgnoreReason::UnknownType => "No access depends on events of this type.",
        IgnoreReason::NotOurs => "It is about something that doesn't carry this deployment's mark.",
        IgnoreReason::NothingPaid => "It is about a checkout that ended without a payment.",
        IgnoreReason::OtherMode => "It belongs to the other mode (test or live).",
        IgnoreReason::ConnectedAccount => "It is about a connected account.",
    }
}

pub(crate) fn quarantine(command: QuarantineCommand) -> Ended {
    run(async {
        match command {
            QuarantineCommand::List { place } => list(&find(place).await?).await,
            QuarantineCommand::Drain { place } => drain(&find_to_change(place).await?).await,
            QuarantineCommand::Dismiss { event, place } => {
                let deployment = find_to_change(place).await?;
                let dismissed = events::dismiss(&deployment, &event, SystemClock.now()).await;
                dismissed.map_err(|error| complete(&deployment, &error.to_string()))?;
                terminal::print(&format!(
                    "{event} is dismissed from quarantine and was not applied."
                ));
                Ok(())
            }
        }
    })
}

async fn list(deployment: &Deployment) -> Ended {
    let waiting = quarantined(&deployment.table())
        .await
        .map_err(|error| format!("{}: check your permissions and your network", Chain(&error)))?;
    let terminal = Terminal::new();
    for Quarantined { event, reason, since } in &waiting {
        terminal.headline(event.id.as_str(), &event.kind);
        let object = event.object.as_deref().unwrap_or("something without an id");
        terminal::print(&format!("  about {object}, since {}: {reason}", utc(*since)));
    }
    terminal::print(&if waiting.is_empty() {
        "No event is in quarantine.".to_owned()
    } else {
        let says = format!(
            "\n{} in quarantine. Deploy a version that can read them, then `coursegate quarantine \
             drain`.\nStripe keeps events for 30 days.",
            count(waiting.len(), "event")
        );
        complete(deployment, &says)
    });
    Ok(())
}

async fn drain(deployment: &Deployment) -> Ended {
    let account = deployment.account().await.map_err(say)?;
    let mut seen = 0_usize;
    let tell = |waiting: &Quarantined, became: &Result<Replayed, EventError>| {
        seen += 1;
        let says = match became {
            Ok(replayed) => meaning(replayed),
            Err(error) => format!("left. {error}"),
        };
        terminal::print(&format!("{} ({}): {says}", waiting.event.id, waiting.event.kind));
    };
    let left = events::drain(deployment, &account, SystemClock.now(), tell).await.map_err(say)?;
    match (seen, left) {
        (0, _) => terminal::print("No event is in quarantine."),
        (_, 0) => terminal::print("The quarantine is empty now."),
        _ => {
            return Err(complete(
                deployment,
                &format!(
                    "{} left: if Stripe no longer has it or no version can read it, resolve it \
                     manually (`coursegate grant`), then `coursegate quarantine dismiss EVENT`",
                    count(left, "event")
                ),
            ));
        }
    }
    Ok(())
}
