//! What is held of a learner, written out or erased.

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
                format!("Nothing is held of {learner} but their erasure on {}.", utc(at))
            }
            None => format!("Nothing is held of {learner}."),
        });
        return Ok(());
    }
    plan(&held, &unsettled);
    let waiting = quarantined(&deployment.table()).await.map_err(say)?.len();
    if waiting > 0 {
        terminal::print(&complete(
            &deployment,
            &format!(
                "{} in quarantine may be about them, and would bring them back: see to that first, \
                 with\n`coursegate quarantine drain`.",
                count(waiting, "event")
            ),
        ));
    }
    if !yes {
        ask(learner)?;
    }
    let deleted = learner::forget(&deployment, &account, learner).await.map_err(say)?;
    terminal::print(&format!(
        "Done: {} deleted. Of {learner} the table keeps only the time of their erasure.",
        count(deleted, "item")
    ));
    Ok(())
}

/// What will become of what is held. It is said before anything is done, since afterwards nobody
/// knows any more what is to be deleted elsewhere.
fn plan(held: &Held, unsettled: &Unsettled) {
    let learner = &held.learner;
    let sources: Vec<&str> = held.sources().map(SourceId::as_str).collect();
    terminal::print(&format!("Of {learner} is held: {}.", count(held.items.len(), "item")));
    settling(held, unsettled);
    terminal::print(&format!(
        "- All access ends, and {} will be deleted. The time of the erasure is kept under\n  \
         {learner}, so that nothing they began to buy before it brings them back.",
        count(held.deleted().count(), "item")
    ));
    if !sources.is_empty() {
        terminal::print(
            "- Kept for accounting, without whose they were and without reasons given by hand, each \
             with\n  its product, price, amounts, times and Stripe ids:",
        );
        for source in sources {
            terminal::print(&format!("  - {source}"));
        }
    }
    terminal::print("What is elsewhere is for you to delete:");
    if let Some(customer) = held.customer() {
        terminal::print(&format!(
            "- {customer} in Stripe's Dashboard: their name, e-mail and cards. What Stripe keeps of\n  \
             payments names {learner} in its metadata."
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
        "The functions' logs name them for LogRetentionDays more, and the table's point-in-time\n\
         recovery remembers 35 days; both end by themselves.",
    );
}

/// What is settled at Stripe before anything is erased, and what nobody can settle.
fn settling(held: &Held, unsettled: &Unsettled) {
    for session in &unsettled.open {
        terminal::print(&format!("- {session}\n  can still be paid: it will be expired first."));
    }
    for session in &unsettled.unrecorded {
        let id = &session.id;
        terminal::print(&format!(
            "- {id}\n  was paid, or is being paid, and isn't recorded as that yet: it will be first."
        ));
    }
    for payment in unsettled.processing(held) {
        terminal::print(&format!(
            "- {payment} is on its way from the bank, and can't be stopped. If it arrives, it opens\n  \
             nothing, and an alarm tells you to refund it."
        ));
    }
}

fn ask(learner: &LearnerId) -> Ended {
    print_question(&format!("It can't be undone. Type {learner} to go on: "));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(say)?;
    if line.trim() == learner.as_str() {
        return Ok(());
    }
    Err("nothing was done: type the learner's id when asked, or give --yes".to_owned())
}

fn print_question(question: &str) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{question}");
    let _ = out.flush();
}
