//! Support for learners: `why`, `grant`, `revoke`, `double-payments`, `unknown-sources`.

use coursegate::calendar::utc;
use coursegate::deployment::Deployment;
use coursegate::double_payments::{self, DoublePayment};
use coursegate::manual::{self, Revoked};
use coursegate::unknown_sources::{self, Found, UnknownSource};
use coursegate::why::{self, SourceStory};
use shared::domain::access::{EffectiveStatus, Grant};
use shared::domain::facts::{Facts, Note};
use shared::domain::id::{LearnerId, ProductId, SourceId};
use shared::domain::money::Money;
use shared::domain::time::Timestamp;
use shared::ports::{AccessReader as _, Clock as _, SystemClock};
use shared::telemetry::Chain;

use super::{Ended, complete, count, find, find_to_change, run, say};
use crate::arguments::PlaceArguments;
use crate::terminal::{self, Terminal};

pub(crate) fn why(
    place: PlaceArguments,
    learner: &LearnerId,
    product: Option<&ProductId>,
) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let now = SystemClock.now();
        let found = why::explain(&deployment, learner, product, now).await;
        let found = found.map_err(|error| complete(&deployment, &error.to_string()))?;
        let terminal = Terminal::new();
        for (number, explanation) in found.iter().enumerate() {
            if number > 0 {
                terminal::print("");
            }
            terminal.explanation(learner, explanation);
        }
        if found.is_empty() {
            nothing_known(&deployment, learner, product).await?;
        }
        Ok(())
    })
}

async fn nothing_known(
    deployment: &Deployment,
    learner: &LearnerId,
    product: Option<&ProductId>,
) -> Ended {
    let of = product.map_or_else(String::new, |product| format!(" for {product}"));
    terminal::print(&format!("No payment or grant{of} is recorded for the learner {learner}."));
    let entitlements = deployment.table().entitlements(learner).await.map_err(say)?;
    if let Some(at) = entitlements.erased_at() {
        terminal::print(&format!(
            "They were erased on {}: what they began to buy before that opens nothing.",
            utc(at)
        ));
    }
    if learner.as_str().parse::<SourceId>().is_ok() {
        let hint = "This looks like the id of a payment, session or grant: give the learner's id.";
        terminal::print(hint);
        return Ok(());
    }
    for line in [
        "If they have paid, they may be known by another id, or the event has not arrived:",
        "- `coursegate doctor` lists the payment events that have not arrived,",
        "- `coursegate quarantine list` lists the events that could not be read.",
    ] {
        terminal::print(&complete(deployment, line));
    }
    Ok(())
}

pub(crate) fn grant(
    place: PlaceArguments,
    learner: &LearnerId,
    product: &ProductId,
    reason: Note,
    until: Option<Timestamp>,
) -> Ended {
    run(async {
        let deployment = find_to_change(place).await?;
        let now = SystemClock.now();
        let granted = manual::grant(&deployment, learner, product, until, reason, now).await;
        let source = granted.map_err(|error| complete(&deployment, &error.to_string()))?;
        let until = until.map_or_else(|| "for ever".to_owned(), |it| format!("until {}", utc(it)));
        terminal::print(&format!("{source} gives {product} to {learner} {until}."));
        let says = format!("To undo this: `coursegate revoke {source} --reason TEXT`.");
        terminal::print(&complete(&deployment, &says));
        Ok(())
    })
}

pub(crate) fn revoke(place: PlaceArguments, source: &SourceId, reason: Note) -> Ended {
    run(async {
        let deployment = find_to_change(place).await?;
        let now = SystemClock.now();
        let revoked = manual::revoke(&deployment, source, reason, now).await;
        let revoked = revoked.map_err(|error| complete(&deployment, &error.to_string()))?;
        let Revoked { facts, earlier } = revoked;
        terminal::print(&match earlier {
            Some(action) => format!(
                "{source} was revoked already, {} by {}: {}",
                utc(action.at),
                action.by,
                action.reason
            ),
            None => format!("{source} no longer opens anything, and never will again."),
        });
        if let Some((learner, grant)) = Grant::of(&facts) {
            still_open(&deployment, &learner, &grant, now).await?;
        }
        if let Some(kept) = kept(&facts) {
            terminal::print(&format!(
                "This moves no money: {kept} of the payment is not refunded.\nTo return \
                 it, refund it in Stripe's Dashboard."
            ));
        }
        Ok(())
    })
}

/// Prints the product's status now.
async fn still_open(
    deployment: &Deployment,
    learner: &LearnerId,
    grant: &Grant,
    now: Timestamp,
) -> Ended {
    let product = &grant.product;
    let found = why::explain(deployment, learner, Some(product), now).await.map_err(say)?;
    let mut live = found.iter().filter(|it| it.is_open).flat_map(|it| &it.sources);
    let live = live.find(|story| story.effective_status == EffectiveStatus::Active);
    let says = match live {
        Some(SourceStory { source, .. }) => {
            format!("{product} stays open for {learner}: {source} opens it too.")
        }
        None => format!(
            "{product} is closed for {learner}.\nTo undo this, grant it again: `coursegate grant \
             {learner} {product} --reason TEXT`."
        ),
    };
    terminal::print(&complete(deployment, &says));
    Ok(())
}

/// The part of a payment that was not refunded; none if nothing was paid.
fn kept(facts: &Facts) -> Option<Money> {
    let purchase = facts.purchase()?;
    let total = purchase.sale.total.filter(|_| purchase.payment.is_paid())?;
    let amount_minor = total.amount_minor.saturating_sub(facts.refunded_minor());
    (amount_minor > 0).then_some(Money { amount_minor, ..total })
}

pub(crate) fn double_payments(place: PlaceArguments) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let found = double_payments::look(&deployment, SystemClock.now()).await;
        let found = found.map_err(|error| {
            format!("{}: check your permissions and your network", Chain(&error))
        })?;
        let terminal = Terminal::new();
        for DoublePayment { learner, product, payments } in &found {
            terminal.headline(&format!("{learner}: {product}"), "");
            for payment in payments {
                terminal.double_payment(payment, kept(&payment.facts));
            }
        }
        terminal::print(&match found.len() {
            0 => "Nobody has paid twice for the same product.".to_owned(),
            _ => "\nRefund the later ones in Stripe's Dashboard: no access ends.\n\
                  Once Stripe reports a refund, the payment leaves this list."
                .to_owned(),
        });
        Ok(())
    })
}

/// How many sources one command looks up: some minutes' worth.
const SOURCES_MAX: usize = 1000;

pub(crate) fn unknown_sources(place: PlaceArguments, after: Option<&SourceId>) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let account = deployment.account().await.map_err(say)?;
        let found = unknown_sources::look(&deployment, &account, after, SOURCES_MAX).await;
        let Found { unknown, looked_up, more_after } = found.map_err(say)?;
        for UnknownSource { source, learner, product, since, why } in &unknown {
            let since = since.map_or_else(String::new, |since| format!(" since {}", utc(since)));
            terminal::print(&format!("{source} opens {product} for {learner}{since}.\n  {why}"));
        }
        let looked_up = count(looked_up, "source");
        terminal::print(&match unknown.len() {
            0 => format!(
                "Looked up {looked_up} at Stripe: everything that gives access was paid for."
            ),
            number => complete(
                &deployment,
                &format!(
                    "\nLooked up {looked_up} at Stripe: {number} to revoke, each with `coursegate \
                     revoke SOURCE --reason TEXT`.\nThat moves no money."
                ),
            ),
        });
        if let Some(after) = more_after {
            let more = format!("`coursegate unknown-sources --after {after}`");
            let says = format!("The table has more sources. To continue: {more}.");
            terminal::print(&complete(&deployment, &says));
        }
        Ok(())
    })
}
