//! What must always hold, said once more than the code says it: after each commit, at each answer,
//! and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use shared::domain::access::{Grant, Status};
use shared::domain::decide::{Recorded, Write};
use shared::domain::facts;
use shared::domain::id::SourceId;
use shared::domain::time::Timestamp;

use crate::memory::Contents;
use crate::oracle::{Door, Effect, Held, Payment, Stripe, Telling};

/// A law, and how it was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: &'static str,
    /// What happened instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

/// A function's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; for a session that we have read, 200 or 503.
    pub status: u16,
    /// `applied`, `duplicate`, `ignored` or `quarantined`; empty where there is none.
    pub outcome: String,
}

/// What may excuse an answer that is no 2xx.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excuses {
    /// Something that the function asked for was refused, or others were quicker.
    pub is_troubled: bool,
    /// Its clock is wrong, or it can't know of a new signing secret yet.
    pub may_mistrust: bool,
}

/// The truth, to be held against the table.
pub(crate) struct Law {
    truth: BTreeMap<String, Held>,
    /// The events that tell of a source.
    concerning: BTreeSet<String>,
}

fn holds(
    condition: bool,
    law: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation { law, what: what() }) }
}

impl Law {
    pub(crate) fn of(stripe: &Stripe) -> Self {
        let concerning = stripe
            .tellings()
            .iter()
            .filter(|telling| telling.door == Door::Webhook && telling.effect != Effect::Nothing);
        let concerning = concerning.filter_map(|telling| telling.body["id"].as_str());
        let concerning = concerning.map(ToOwned::to_owned).collect();
        Self { truth: stripe.truth(), concerning }
    }

    /// Judges a commit that was made.
    pub(crate) fn committed(
        &self,
        before: &Contents,
        writes: &[Write],
        after: &Contents,
    ) -> Result<(), Violation> {
        each_item_is_written_once(writes)?;
        self.only_what_concerns_us_is_on_record(after)?;
        records_only_rise(before, after)?;
        facts_only_rise(before, after)?;
        access_is_the_fold_of_facts(after)?;
        after.sources.iter().try_for_each(|(source, stored)| {
            self.nobody_has_what_they_have_not_paid_for(source, &stored.purchase)
        })
    }

    fn only_what_concerns_us_is_on_record(&self, after: &Contents) -> Result<(), Violation> {
        after.events.keys().try_for_each(|event| {
            holds(
                self.concerning.contains(event.as_str()),
                "what is none of our business writes nothing",
                || format!("{event} is on record"),
            )
        })
    }

    fn nobody_has_what_they_have_not_paid_for(
        &self,
        source: &SourceId,
        purchase: &facts::Purchase,
    ) -> Result<(), Violation> {
        let law = "nobody has what they have not paid for";
        let told = self.truth.get(source.as_str());
        let Some(held) = told else {
            return Err(Violation { law, what: format!("there is no {source} at Stripe") });
        };
        let sale = &purchase.sale;
        let is_theirs =
            sale.learner.as_str() == held.learner && sale.product.as_str() == held.product;
        holds(is_theirs, law, || {
            format!("{source} gives {} to {}, and was {held:?}", sale.product, sale.learner)
        })?;
        let is_paid = matches!(purchase.payment, facts::Payment::Paid { .. });
        let was_paid = matches!(held.payment, Payment::Paid { .. });
        holds(!is_paid || was_paid, law, || format!("{source} counts as paid, and is {held:?}"))
    }

    /// Judges an answer, given the table as it is now.
    pub(crate) fn answered(
        telling: &Telling,
        is_garbled: bool,
        answer: &Answer,
        excuses: Excuses,
        contents: &Contents,
    ) -> Result<(), Violation> {
        let law = "a 2xx means committed, known, irrelevant by a rule, or kept for later; our own \
                   trouble is a 5xx";
        let what = || format!("{telling} is answered {} {}", answer.status, answer.outcome);
        match answer.status {
            200 => {}
            500..=599 => return holds(excuses.is_troubled, law, what),
            _ => return holds(excuses.may_mistrust, law, what),
        }
        let event = telling.body["id"].as_str().unwrap_or_default();
        let recorded = contents.events.iter().find(|(id, _)| id.as_str() == event);
        let recorded = recorded.map(|(_, recorded)| *recorded);
        let is_kept = match (answer.outcome.as_str(), &telling.effect, telling.door) {
            ("ignored", effect, _) => *effect == Effect::Nothing,
            ("applied" | "duplicate", Effect::Source(source), Door::Reading) => {
                contents.sources.keys().any(|stored| stored.as_str() == source)
            }
            ("applied", Effect::Source(_), Door::Webhook) => {
                !is_garbled && recorded.is_some_and(|recorded| recorded != Recorded::Quarantined)
            }
            // Somebody else may have been quicker, and read it better.
            ("duplicate", Effect::Source(_), Door::Webhook) => {
                recorded.is_some_and(|recorded| recorded != Recorded::Quarantined)
            }
            ("quarantined", Effect::Source(_), Door::Webhook) => {
                is_garbled
                    && recorded.is_some()
                    && contents.quarantine.keys().any(|id| id.as_str() == event)
            }
            _ => false,
        };
        holds(is_kept, law, what)
    }

    /// Judges the end, when all has been told and acknowledged; but for these records, which were
    /// deleted for their age.
    pub(crate) fn ended(
        &self,
        contents: &Contents,
        deleted: &BTreeSet<String>,
    ) -> Result<(), Violation> {
        self.every_event_is_on_record(contents, deleted)?;
        let law = "in the end everybody has what they have paid for, and nothing else";
        let grants = contents.access.iter().flat_map(|(learner, grants)| {
            grants.iter().map(move |(source, grant)| {
                (source.as_str().to_owned(), held(learner.as_str(), grant))
            })
        });
        let grants: BTreeMap<String, Held> = grants.collect();
        for (source, expected) in &self.truth {
            let given = grants.get(source);
            holds(given == Some(expected), law, || {
                format!("{source} gives {given:?}, and should {expected:?}")
            })?;
        }
        let count = (grants.len(), contents.sources.len());
        holds(count == (self.truth.len(), self.truth.len()), law, || {
            format!("there are {count:?} grants and sources, and {} at Stripe", self.truth.len())
        })
    }

    fn every_event_is_on_record(
        &self,
        contents: &Contents,
        deleted: &BTreeSet<String>,
    ) -> Result<(), Violation> {
        let law = "every event that concerns us is on record once it is acknowledged";
        let recorded: BTreeMap<&str, Recorded> =
            contents.events.iter().map(|(id, recorded)| (id.as_str(), *recorded)).collect();
        for event in self.concerning.iter().filter(|event| !deleted.contains(*event)) {
            let recorded = recorded.get(event.as_str());
            let is_applied = matches!(recorded, Some(Recorded::Applied | Recorded::Unchanged));
            holds(is_applied, law, || format!("{event} is {recorded:?}"))?;
        }
        for (event, (_, is_resolved)) in &contents.quarantine {
            holds(*is_resolved || deleted.contains(event.as_str()), law, || {
                format!("{event} has been read, and is still on the operator's list")
            })?;
        }
        Ok(())
    }
}

/// A grant as Stripe's side would put it.
fn held(learner: &str, grant: &Grant) -> Held {
    Held {
        learner: learner.to_owned(),
        product: grant.product.as_str().to_owned(),
        payment: match (grant.status, grant.since) {
            (Status::Processing, _) => Payment::Processing,
            (Status::Failed, _) => Payment::Failed,
            (Status::Active, since) => {
                Payment::Paid { since: since.map_or(0, Timestamp::unix_seconds) }
            }
        },
    }
}

/// `DynamoDB` refuses a transaction that writes an item twice, and takes time for large ones.
fn each_item_is_written_once(writes: &[Write]) -> Result<(), Violation> {
    let item = |write: &Write| match write {
        Write::RecordEvent { event, .. } => format!("event {}", event.id),
        Write::ListQuarantined { event, .. } => format!("quarantined {}", event.id),
        Write::ResolveQuarantined { event, .. } => format!("quarantined {event}"),
        Write::StoreSource { source, .. } => format!("source {source}"),
        Write::SetGrant { learner, .. } => format!("access {learner}"),
    };
    let items: BTreeSet<String> = writes.iter().map(item).collect();
    holds(
        items.len() == writes.len() && writes.len() <= 10,
        "a transaction writes each item once, and ten at most",
        || format!("{writes:?}"),
    )
}

/// What is on record stays, and only what was quarantined changes.
fn records_only_rise(before: &Contents, after: &Contents) -> Result<(), Violation> {
    before.events.iter().try_for_each(|(event, was)| {
        let is = after.events.get(event);
        holds(
            is == Some(was) || (*was == Recorded::Quarantined && is.is_some()),
            "the record of an event is made once; quarantined may become applied, never the reverse",
            || format!("{event} was {was:?} and is {is:?}"),
        )
    })
}

/// Facts are joined, never taken back; each time the version rises by one.
fn facts_only_rise(before: &Contents, after: &Contents) -> Result<(), Violation> {
    before.sources.iter().try_for_each(|(source, was)| {
        let law = "facts are joined and never taken back, and each change has a version";
        let Some(is) = after.sources.get(source) else {
            return Err(Violation { law, what: format!("{source} is gone") });
        };
        let joined = was.purchase.clone().join(is.purchase.clone()) == is.purchase;
        let version = was.version + u64::from(was.purchase != is.purchase);
        holds(joined && is.version == version, law, || format!("{was:?} became {is:?}"))
    })
}

/// What a learner has follows from the facts, and could be made from them at any time.
fn access_is_the_fold_of_facts(contents: &Contents) -> Result<(), Violation> {
    let law = "access is what follows from the facts, and nothing else";
    for (source, stored) in &contents.sources {
        let learner = &stored.purchase.sale.learner;
        let grant = contents.access.get(learner).and_then(|grants| grants.get(source));
        holds(grant == Some(&Grant::of(&stored.purchase)), law, || {
            format!("{source} gives {learner} {grant:?}")
        })?;
    }
    let grants: usize = contents.access.values().map(BTreeMap::len).sum();
    holds(grants == contents.sources.len(), law, || {
        format!("{grants} grants from {} sources", contents.sources.len())
    })
}
