//! `learner export` and `learner forget`.

use std::io::{BufRead as _, Write as _};

use coursegate::calendar::utc;
use coursegate::learner::sessions::{self, Unsettled};
use coursegate::learner::{self, Held};
use shared::domain::id::{LearnerId, SourceId};
use shared::dynamo::operator::quarantined;
use shared::ports::{Clock as _, SystemClock};

use super::{Ended, complete, count, find, find_to_change, run, say};
use crate::arguments::{LearnerCommand, PlaceArguments};
use crate::terminal;

pub(crate) fn learner(command: LearnerCommand) -> Ended {
    run(async {
        match command {
            LearnerCommand::Export { learner, place } => export(place, &learner).await,
            LearnerCommand::Forget { learner, yes, place } => forget(place, &learner, yes).await,
        }
    })
}

async fn export(place: PlaceArguments, learner: &LearnerId) -> Ended {
    let deployment = find(place).await?;
    let held = learner::look(&deployment, learner).await.map_err(say)?;
    terminal::print(&held.export(SystemClock.now()));
    Ok(())
}

async fn forget(place: PlaceArguments, learner: &LearnerId, yes: bool) -> Ended {
    let deployment = find_to_change(place).await?;
    let account = deployment.account().await.map_err(say)?;
    let held = learner::look(&deployment, learner).await.map_err(say)?;
    let unsettled = sessions::look(&deployment, &account, &held).await.map_err(say)?;
    if held.is_erased() && unsettled.is_empty() {
        terminal::print(&match held.erased_at() {
            Some(at) => {
                format!("No data is stored about {learner} except their erasure on {}.", utc(at))
            }
            None => format!("No data is stored about {learner}."),
        });
        return Ok(());
    }
    plan(&held, &unsettled);
    let waiting = quarantined(&deployment.table()).await.map_err(say)?.len();
    if waiting > 0 {
        terminal::print(&complete(
            &deployment,
            &format!(
                "{} in quarantine may be about them, and would bring their data back: first run\n\
                 `coursegate quarantine drain`.",
                count(waiting, "event")
            ),
        ));
    }
    if !yes {
        ask(learner)?;
    }
    let deleted = learner::forget(&deployment, &account, learner).await.map_err(say)?;
    terminal::print(&format!(
        "Done: {} deleted. About {learner} the table keeps only the time of their erasure.",
        count(deleted, "item")
    ));
    Ok(())
}

/// Prints what will happen to the data. This comes first, because afterwards nobody knows what to
/// delete elsewhere.
fn plan(held: &Held, unsettled: &Unsettled) {
    let learner = &held.learner;
    let sources: Vec<&str> = held.sources().map(SourceId::as_str).collect();
    terminal::print(&format!("Stored about {learner}: {}.", count(held.items.len(), "item")));
    settling(held, unsettled);
    terminal::print(&format!(
        "- All access ends, and {} will be deleted. The time of the erasure is kept under\n  \
         {learner}, so that a purchase they began before it can't bring their data back.",
        count(held.deleted().count(), "item")
    ));
    if !sources.is_empty() {
        terminal::print(
            "- Kept for accounting, without the learner's id and the operators' reasons, each \
             with\n  its product, price, amounts, times and Stripe ids:",
        );
        for source in sources {
            terminal::print(&format!("  - {source}"));
        }
    }
    terminal::print("Delete these yourself:");
    if let Some(customer) = held.customer() {
        terminal::print(&format!(
            "- {customer} in Stripe's Dashboard: their name, e-mail and cards. Stripe's records \
             of\n  payments name {learner} in their metadata."
        ));
    }
    // What a service calls its own people can't be anybody's sub.
    let account = if learner.as_str().starts_with("x-") {
        format!("- Their account at the service that calls them {learner}.")
    } else {
        format!(
            "- Their account where they sign in: in Cognito, the user whose sub is\n  {learner}."
        )
    };
    terminal::print(&account);
    terminal::print(
        "The functions' logs mention them for another LogRetentionDays, and the table's \
         point-in-time\nrecovery keeps 35 days; both expire by themselves.",
    );
}

/// Prints what is settled at Stripe before anything is erased, and what can't be.
fn settling(held: &Held, unsettled: &Unsettled) {
    for session in &unsettled.open {
        terminal::print(&format!("- {session}\n  can still be paid: it will be expired first."));
    }
    for session in &unsettled.unrecorded {
        let id = &session.id;
        terminal::print(&format!(
            "- {id}\n  was paid, or is being paid, but isn't recorded yet: it will be recorded \
             first."
        ));
    }
    for payment in unsettled.processing(held) {
        terminal::print(&format!(
            "- {payment} is processing at the bank and can't be stopped. If it succeeds, it \
             opens\n  nothing, and an alarm tells you to refund it."
        ));
    }
}

fn ask(learner: &LearnerId) -> Ended {
    print_question(&format!("This can't be undone. Type {learner} to continue: "));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(say)?;
    if line.trim() == learner.as_str() {
        return Ok(());
    }
    Err("nothing was done: type the learner's id when asked, or pass --yes".to_owned())
}

fn print_question(question: &str) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{question}");
    let _ = out.flush();
}
