//! What must always hold, said once more than the code says it: after each commit, at each answer,
//! and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use shared::domain::access::{self, Grant, RefundThreshold, Status};
use shared::domain::catalog::{Catalog, Category, Course, Product};
use shared::domain::decide::{Recorded, StoredSource, Write};
use shared::domain::facts;
use shared::domain::id::SourceId;
use shared::domain::time::Timestamp;

use crate::memory::Contents;
use crate::oracle::{Door, Effect, Held, PRODUCTS, Payment, Stripe, Telling};

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
#[expect(clippy::struct_excessive_bools, reason = "each is an excuse of its own")]
pub(crate) struct Excuses {
    /// The last thing that it asked for was refused; or a secret was, within ten seconds.
    pub(crate) has_last_failed: bool,
    /// So often others were at work on what it wrote.
    pub(crate) conflicts: u32,
    /// It has had its time.
    pub(crate) is_late: bool,
    /// By its clock the signature is too old, or of the future.
    pub(crate) is_clock_off: bool,
    /// It can't know the secret yet, having looked within ten seconds.
    pub(crate) may_not_know: bool,
}

/// How often it is decided anew, before it is left to Stripe.
const CONFLICTS_MAX: u32 = 4;

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
            self.nobody_has_what_they_have_not_paid_for(source, sold(stored))
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

    /// Judges an answer, given the table as it is now; the event's record may have been deleted.
    pub(crate) fn answered(
        telling: &Telling,
        is_garbled: bool,
        answer: &Answer,
        excuses: Excuses,
        is_deleted: bool,
        contents: &Contents,
    ) -> Result<(), Violation> {
        let law = "a 2xx means committed, known, irrelevant by a rule, or kept for later; our own \
                   trouble is a 503";
        let is_lawful = match answer.status {
            200 => is_kept(telling, is_garbled, &answer.outcome, is_deleted, contents),
            503 => excuses.has_last_failed || excuses.conflicts >= CONFLICTS_MAX || excuses.is_late,
            400 => excuses.is_clock_off || excuses.may_not_know,
            _ => false,
        };
        holds(is_lawful, law, || {
            format!("{telling} is answered {} {}: {excuses:?}", answer.status, answer.outcome)
        })
    }

    /// Judges the end, when all has been told and acknowledged; but for these records, which were
    /// deleted for their age.
    pub(crate) fn ended(
        &self,
        contents: &Contents,
        deleted: &BTreeSet<String>,
        now: i64,
    ) -> Result<(), Violation> {
        self.every_event_is_on_record(contents, deleted)?;
        let law = "in the end everybody has what they have paid for, and nothing else";
        let kept: BTreeMap<&str, Held> = contents
            .sources
            .iter()
            .map(|(source, stored)| (source.as_str(), held(sold(stored))))
            .collect();
        for (source, expected) in &self.truth {
            let given = kept.get(source.as_str());
            holds(given == Some(expected), law, || {
                format!("{source} is kept as {given:?}, and should be {expected:?}")
            })?;
        }
        holds(kept.len() == self.truth.len(), law, || {
            format!("{} sources, and {} at Stripe", kept.len(), self.truth.len())
        })?;
        self.what_is_paid_is_open(contents, Timestamp::from_unix_seconds(now))
    }

    /// Asks as a learner would, for every course and everybody.
    fn what_is_paid_is_open(&self, contents: &Contents, now: Timestamp) -> Result<(), Violation> {
        let catalog = catalog();
        let learners: BTreeSet<&str> =
            self.truth.values().map(|held| held.learner.as_str()).collect();
        for (learner, product) in learners.iter().flat_map(|it| PRODUCTS.map(|of| (*it, of))) {
            let grants = contents.access.iter().find(|(id, _)| id.as_str() == learner);
            let grants = grants.into_iter().flat_map(|(_, access)| access.grants.clone());
            let course = catalog.course(&product.parse().unwrap()).unwrap();
            let (holdings, all) = (grants.collect(), RefundThreshold::ALL);
            let access = access::check(&catalog, course, None, &holdings, all, now);
            let is_paid = self.truth.values().any(|held| {
                let is_theirs = held.learner == learner && held.product == product;
                is_theirs && matches!(held.payment, Payment::Paid { .. })
            });
            holds(access.granted == is_paid, "who has paid is let in, and nobody else", || {
                format!("{learner} is let in to {product}: {}; paid: {is_paid}", access.granted)
            })?;
        }
        Ok(())
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

/// Whether what an outcome says is so in the table.
fn is_kept(
    telling: &Telling,
    is_garbled: bool,
    outcome: &str,
    is_deleted: bool,
    contents: &Contents,
) -> bool {
    let event = telling.body["id"].as_str().unwrap_or_default();
    let recorded = contents.events.iter().find(|(id, _)| id.as_str() == event);
    let recorded = recorded.map(|(_, recorded)| *recorded);
    let is_applied =
        is_deleted || recorded.is_some_and(|recorded| recorded != Recorded::Quarantined);
    let is_stored =
        |source: &String| contents.sources.keys().any(|stored| stored.as_str() == source);
    match (outcome, &telling.effect, telling.door) {
        ("ignored", effect, _) => *effect == Effect::Nothing,
        ("applied" | "duplicate", Effect::Source(source), Door::Reading) => is_stored(source),
        ("applied", Effect::Source(source), Door::Webhook) => {
            !is_garbled && is_applied && is_stored(source)
        }
        // Somebody else may have been quicker, and read it better.
        ("duplicate", Effect::Source(source), Door::Webhook) => is_applied && is_stored(source),
        ("quarantined", Effect::Source(_), Door::Webhook) => {
            let is_listed = contents.quarantine.keys().any(|id| id.as_str() == event);
            is_garbled && is_listed && (is_deleted || recorded.is_some())
        }
        _ => false,
    }
}

/// What was sold; so far nothing is told of a source before that.
fn sold(stored: &StoredSource) -> &facts::Purchase {
    stored.facts.purchase().unwrap()
}

/// A purchase as Stripe's side would put it.
fn held(purchase: &facts::Purchase) -> Held {
    let sale = &purchase.sale;
    Held {
        learner: sale.learner.to_string(),
        product: sale.product.to_string(),
        price: sale.price.to_string(),
        session: sale.session.to_string(),
        amount: sale.total.map_or(-1, |total| total.amount_minor),
        payment: match purchase.payment {
            facts::Payment::Processing => Payment::Processing,
            facts::Payment::Failed => Payment::Failed,
            facts::Payment::Paid { at } => Payment::Paid { since: at.0.unix_seconds() },
        },
    }
}

/// A course for each product.
fn catalog() -> Catalog {
    let courses = PRODUCTS.map(|id| Course {
        id: id.parse().unwrap(),
        title: id.to_owned(),
        summary: String::new(),
        category: Category::Alacarte,
        chapters: vec!["One".to_owned()],
        free_chapters: 0,
    });
    let products = PRODUCTS.map(|id| Product {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        courses: vec![id.parse().unwrap()],
    });
    Catalog::new(courses.to_vec(), products.to_vec(), Vec::new()).unwrap()
}

/// `DynamoDB` refuses a transaction that writes an item twice, and takes time for large ones.
fn each_item_is_written_once(writes: &[Write]) -> Result<(), Violation> {
    let items: BTreeSet<_> = writes.iter().map(Write::target).collect();
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

/// What was sold stays, a payment only comes further, and each time the version rises by one.
fn facts_only_rise(before: &Contents, after: &Contents) -> Result<(), Violation> {
    before.sources.iter().try_for_each(|(source, was)| {
        let law = "facts are never taken back, and each change has a version";
        let Some(is) = after.sources.get(source) else {
            return Err(Violation { law, what: format!("{source} is gone") });
        };
        let (old, new) = (held(sold(was)), held(sold(is)));
        let rises = match (old.payment, new.payment) {
            (Payment::Processing, _) => true,
            (Payment::Failed, new) => new != Payment::Processing,
            (Payment::Paid { since: old }, Payment::Paid { since: new }) => new <= old,
            (Payment::Paid { .. }, _) => false,
        };
        let is_same_sale = Held { payment: new.payment, ..old.clone() } == new;
        let version = was.version + u64::from(old != new);
        holds(rises && is_same_sale && is.version == version, law, || {
            format!("{was:?} became {is:?}")
        })
    })
}

/// What a learner has follows from the facts, and could be made from them at any time.
fn access_is_the_fold_of_facts(contents: &Contents) -> Result<(), Violation> {
    let law = "access is what follows from the facts, and nothing else";
    for (source, stored) in &contents.sources {
        let purchase = sold(stored);
        let sale = &purchase.sale;
        let grants = contents.access.get(&sale.learner).map(|access| &access.grants);
        let (status, since) = match purchase.payment {
            facts::Payment::Processing => (Status::Processing, None),
            facts::Payment::Failed => (Status::Failed, None),
            facts::Payment::Paid { at } => (Status::Active, Some(at.0)),
        };
        let product = sale.product.clone();
        let follows = Grant { product, status, since, until: None, refunded_percent: 0 };
        let given = grants.and_then(|grants| grants.get(source));
        holds(given == Some(&follows), law, || {
            format!("{source} gives {} {given:?}", sale.learner)
        })?;
    }
    let grants: usize = contents.access.values().map(|access| access.grants.len()).sum();
    holds(grants == contents.sources.len(), law, || {
        format!("{grants} grants from {} sources", contents.sources.len())
    })
}
