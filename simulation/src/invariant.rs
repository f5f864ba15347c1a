//! The invariants, stated independently of the code: after each commit, at each response, and at
//! the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use shared::domain::access::{self, Grant, Status};
use shared::domain::availability::View;
use shared::domain::catalog::{Catalog, Category, Course, Product};
use shared::domain::decide::{Recorded, StoredSource, Target, Write};
use shared::domain::facts;
use shared::domain::id::{LearnerId, ProductId, SourceId};
use shared::domain::snapshot::Snapshot;
use shared::domain::time::Timestamp;

mod erasure;

use crate::memory::Contents;
use crate::oracle::{
    Customer, Dispute, DisputeState, Effect, Fact, Message, PRODUCTS, Payment, Refund, RefundState,
    Reversals, Route, SourceState, Stripe,
};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// What was found instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A function's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; for a session that we have read, 200 or 503.
    pub status: u16,
    /// `applied`, `duplicate`, `ignored` or `quarantined`; empty where there is none.
    pub outcome: String,
}

/// The reasons that allow a response other than 2xx.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate allowance")]
pub(crate) struct Allowances {
    /// The last call failed; or one for a secret did, within ten seconds.
    pub(crate) has_last_failed: bool,
    /// How often other functions changed what it was about to write.
    pub(crate) conflicts: u32,
    /// The function ran out of time.
    pub(crate) is_late: bool,
    /// By its clock the signature is too old, or from the future.
    pub(crate) is_clock_off: bool,
    /// It can't know the secret yet, having read it less than ten seconds ago.
    pub(crate) may_not_know: bool,
}

/// How often a decision is retried before the event is left to a redelivery.
const CONFLICTS_MAX: u32 = 5;

/// The oracle's state, to compare with the table.
pub(crate) struct Invariants {
    truth: BTreeMap<String, SourceState>,
    /// When each learner was last erased, in Unix seconds.
    erasures: BTreeMap<String, i64>,
    customers: BTreeMap<String, Customer>,
    /// The events about our own objects.
    concerning: BTreeSet<String>,
    /// Events about other objects, whose garbled copies can't be recognized as such.
    puzzling: BTreeSet<String>,
}

fn holds(
    condition: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

impl Invariants {
    pub(crate) fn of(stripe: &Stripe) -> Self {
        let (mut concerning, mut puzzling) = (BTreeSet::new(), BTreeSet::new());
        for message in stripe.messages().iter().filter(|it| it.route == Route::Webhook) {
            let id = message.body["id"].as_str().map(ToOwned::to_owned);
            match message.effect {
                Effect::Source(_) | Effect::Customer(_) => concerning.extend(id),
                Effect::Nothing => puzzling.extend(id.filter(|_| message.garbled.is_some())),
                // Not an event: only the operator triggers it.
                Effect::Erasure { .. } => {}
            }
        }
        let (truth, customers) = (stripe.truth(), stripe.customers().clone());
        let erasures = stripe.erasures().clone();
        Self { truth, erasures, customers, concerning, puzzling }
    }

    /// Checks a commit.
    pub(crate) fn committed(
        &self,
        before: &Contents,
        writes: &[Write],
        after: &Contents,
    ) -> Result<(), Violation> {
        each_item_is_written_once(writes)?;
        self.only_relevant_events_are_recorded(after)?;
        self.nothing_of_another_shop_is_stored(after)?;
        records_only_grow(before, after)?;
        facts_only_grow(before, writes, after)?;
        self.erased_learners_stay_erased(before, writes, after)?;
        self.access_is_the_fold_of_facts(before, after)?;
        for write in writes {
            match write {
                Write::StoreSource { source, .. } => {
                    if let Some(stored) = after.sources.get(source) {
                        self.nobody_has_unpaid_access(source, &stored.facts)?;
                        self.only_reported_facts_are_known(source, &stored.facts)?;
                    }
                }
                Write::SetGrant { learner, grant, .. } => {
                    only_duplicate_payments_are_listed(after, learner, &grant.product)?;
                }
                Write::ListDoublePayment { learner, product, .. } => {
                    let paid = self.paid_for(after, learner, product);
                    let invariant = "only duplicate payments are listed as such";
                    holds(paid > 1, invariant, || format!("{learner} has paid {paid} times"))?;
                }
                Write::UnlinkCustomer { learner, .. } => {
                    let is_deleted = self.customers[learner.as_str()].is_deleted;
                    let invariant = "a customer is unlinked once it is deleted at Stripe";
                    holds(is_deleted, invariant, || format!("{learner}'s exists"))?;
                }
                Write::RecordEvent { .. }
                | Write::ListQuarantined { .. }
                | Write::ResolveQuarantined { .. }
                | Write::Erase { .. } => {}
            }
        }
        Ok(())
    }

    fn nothing_of_another_shop_is_stored(&self, after: &Contents) -> Result<(), Violation> {
        after.sources.keys().try_for_each(|source| {
            let is_ours = self.truth.contains_key(source.as_str());
            let invariant = "nothing of another shop is stored";
            holds(is_ours, invariant, || format!("{source} is stored, but this shop never sold it"))
        })
    }

    /// How often a learner has paid for a product, as far as the table knows, including before an
    /// erasure.
    fn paid_for(&self, contents: &Contents, learner: &LearnerId, product: &ProductId) -> usize {
        let is_one = |(source, stored): &(&SourceId, &StoredSource)| {
            let held = self.truth.get(source.as_str());
            let is_theirs = held.is_some_and(|held| held.learner == learner.as_str());
            let purchase = stored.facts.purchase().filter(|it| it.sale.product == *product);
            let is_payment = matches!(source, SourceId::Payment(_));
            is_theirs && is_payment && purchase.is_some_and(facts::Purchase::is_paid)
        };
        contents.sources.iter().filter(is_one).count()
    }

    fn only_relevant_events_are_recorded(&self, after: &Contents) -> Result<(), Violation> {
        after.events.keys().try_for_each(|event| {
            holds(
                self.concerning.contains(event.as_str()) || self.puzzling.contains(event.as_str()),
                "irrelevant events write nothing",
                || format!("{event} is on record"),
            )
        })
    }

    /// Every stored refund, dispute and warning must be or have been so at Stripe.
    fn only_reported_facts_are_known(
        &self,
        source: &SourceId,
        known: &facts::Facts,
    ) -> Result<(), Violation> {
        let told = self.truth.get(source.as_str()).map(|held| &held.reversals);
        let known = reversals(known);
        let is_told = told.is_some_and(|told| {
            known.refunds.iter().all(|(id, is)| {
                told.refunds.get(id).is_some_and(|was| {
                    was.amount == is.amount && is_within(&is.statuses, &was.statuses)
                })
            }) && known.disputes.iter().all(|(id, is)| {
                told.disputes.get(id).is_some_and(|was| {
                    is_within(&is.statuses, &was.statuses) && was.statuses.contains_key(&is.state)
                })
            }) && is_within(&known.warnings, &told.warnings)
        });
        holds(is_told, "only facts that Stripe reported are stored", || {
            format!("{source} is stored as {known:?}, but was {told:?}")
        })
    }

    fn nobody_has_unpaid_access(
        &self,
        source: &SourceId,
        facts: &facts::Facts,
    ) -> Result<(), Violation> {
        let Some(purchase) = facts.purchase() else { return Ok(()) };
        let invariant = "nobody has access without paying";
        let told = self.truth.get(source.as_str());
        let Some(held) = told else {
            return Err(Violation { invariant, what: format!("there is no {source} at Stripe") });
        };
        let sale = &purchase.sale;
        let is_nobodys = held.is_erased && sale.learner == LearnerId::forgotten();
        let is_theirs = (is_nobodys || sale.learner.as_str() == held.learner)
            && sale.product.as_str() == held.product;
        holds(is_theirs, invariant, || {
            format!("{source} gives {} to {}, but was {held:?}", sale.product, sale.learner)
        })?;
        let is_paid = purchase.payment.is_paid();
        let was_paid = matches!(held.payment, Payment::Paid { .. });
        holds(!is_paid || was_paid, invariant, || {
            format!("{source} counts as paid, but is {held:?}")
        })
    }

    /// Checks a response against the table's current state, in which the event's record may have
    /// been deleted.
    pub(crate) fn answered(
        &self,
        message: &Message,
        is_garbled: bool,
        answer: &Answer,
        allowances: Allowances,
        is_deleted: bool,
        contents: &Contents,
    ) -> Result<(), Violation> {
        let invariant = "a 2xx means committed, known, irrelevant by a rule, or kept for later; our own \
                   trouble is a 503";
        let is_lawful = match answer.status {
            200 if answer.outcome == "erased" => {
                return self.an_erasure_is_complete(&message.effect, contents);
            }
            200 => is_kept(message, is_garbled, &answer.outcome, is_deleted, contents),
            503 => {
                allowances.has_last_failed
                    || allowances.conflicts >= CONFLICTS_MAX
                    || allowances.is_late
            }
            400 => allowances.is_clock_off || allowances.may_not_know,
            _ => false,
        };
        holds(is_lawful, invariant, || {
            format!("{message} gets {} {}: {allowances:?}", answer.status, answer.outcome)
        })
    }

    /// Checks the final state, when everything was delivered and acknowledged, except for these
    /// records, which have expired.
    pub(crate) fn ended(
        &self,
        contents: &Contents,
        deleted: &BTreeSet<String>,
        now: i64,
    ) -> Result<(), Violation> {
        self.every_event_is_on_record(contents, deleted)?;
        let invariant = "in the end everybody has exactly what they paid for";
        for (source, expected) in &self.truth {
            let mut expected = expected.clone();
            if expected.is_erased {
                expected.learner = LearnerId::forgotten().to_string();
            }
            let stored = contents.sources.iter().find(|(id, _)| id.as_str() == source);
            let given = stored.and_then(|(_, stored)| held(&stored.facts));
            holds(given.as_ref() == Some(&expected), invariant, || {
                format!("{source} is stored as {given:?}, expected {expected:?}")
            })?;
        }
        let sources = contents.sources.len();
        holds(sources == self.truth.len(), invariant, || {
            format!("{sources} sources, but {} at Stripe", self.truth.len())
        })?;
        for (learner, at) in &self.erasures {
            self.learner_is_fully_erased(learner, *at, contents)?;
        }
        self.paid_products_are_open(contents, Timestamp::from_unix_seconds(now))?;
        self.duplicate_payments_are_listed(contents)?;
        contents.customers.iter().try_for_each(|(learner, customer)| {
            let is_deleted = self.customers[learner.as_str()].is_deleted;
            let invariant = "a customer is unlinked once it is deleted at Stripe";
            holds(customer.is_deleted == is_deleted, invariant, || {
                format!("{learner} has {customer:?}, deleted: {is_deleted}")
            })
        })
    }

    fn duplicate_payments_are_listed(&self, contents: &Contents) -> Result<(), Violation> {
        let invariant = "the operator's list has exactly the duplicate payments";
        let mut payments: BTreeMap<(&str, &str), (u32, u32)> = BTreeMap::new();
        for (_, held) in self.truth.iter().filter(|(source, _)| source.starts_with("pi_")) {
            let (paid, open) = payments.entry((&held.learner, &held.product)).or_default();
            *paid += u32::from(matches!(held.payment, Payment::Paid { .. }));
            *open += u32::from(held.is_open(100));
        }
        for ((learner, product), (paid, open)) in payments {
            let listed =
                |(l, p): &(LearnerId, ProductId)| l.as_str() == learner && p.as_str() == product;
            let is_listed = contents.double_payments.iter().any(listed);
            holds(is_listed || open < 2, invariant, || {
                format!("{learner} paid twice for {product}")
            })?;
            holds(!is_listed || paid > 1, invariant, || {
                format!("{learner} is listed for {product}")
            })?;
        }
        Ok(())
    }

    /// Checks access for every learner and every course, as a learner would ask for it.
    fn paid_products_are_open(&self, contents: &Contents, now: Timestamp) -> Result<(), Violation> {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(catalog);
        let catalog = &*CATALOG;
        let learners: BTreeSet<&str> =
            self.truth.values().map(|held| held.learner.as_str()).collect();
        for (learner, product) in learners.iter().flat_map(|it| PRODUCTS.map(|of| (*it, of))) {
            let entitlements = contents.entitlements(&learner.parse().unwrap());
            let course = catalog.course(&product.parse().unwrap()).unwrap();
            for percent in [50, 100] {
                let threshold = percent.to_string().parse().unwrap();
                let view = View { catalog, entitlements: &entitlements, threshold, now };
                let access = access::check(&view, course, None);
                let is_open = self.truth.values().any(|held| {
                    held.learner == learner && held.product == product && held.is_open(percent)
                });
                let invariant = "whose payment is there, and neither refunded nor disputed, is let in, \
                           and nobody else";
                holds(access.granted == is_open, invariant, || {
                    let granted = access.granted;
                    format!("{learner} has access to {product}: {granted}, at {percent} %")
                })?;
            }
        }
        Ok(())
    }

    fn every_event_is_on_record(
        &self,
        contents: &Contents,
        deleted: &BTreeSet<String>,
    ) -> Result<(), Violation> {
        let invariant = "every relevant event is recorded once it is acknowledged";
        let recorded: BTreeMap<&str, Recorded> =
            contents.events.iter().map(|(id, recorded)| (id.as_str(), *recorded)).collect();
        for event in self.concerning.iter().filter(|event| !deleted.contains(*event)) {
            let recorded = recorded.get(event.as_str());
            let is_applied = matches!(recorded, Some(Recorded::Applied | Recorded::Unchanged));
            holds(is_applied, invariant, || format!("{event} is {recorded:?}"))?;
        }
        for (event, (_, is_resolved)) in &contents.quarantine {
            let is_read = recorded.get(event.as_str()) != Some(&Recorded::Quarantined);
            holds(*is_resolved == is_read || deleted.contains(event.as_str()), invariant, || {
                format!("{event} was read: {is_read}; but the list says {is_resolved}")
            })?;
        }
        Ok(())
    }
}

/// Whether the table contains what an outcome claims.
fn is_kept(
    message: &Message,
    is_garbled: bool,
    outcome: &str,
    is_deleted: bool,
    contents: &Contents,
) -> bool {
    let event = message.body["id"].as_str().unwrap_or_default();
    let recorded = contents.events.iter().find(|(id, _)| id.as_str() == event);
    let recorded = recorded.map(|(_, recorded)| *recorded);
    let is_applied =
        is_deleted || recorded.is_some_and(|recorded| recorded != Recorded::Quarantined);
    let is_stored = |source: &String| {
        let stored = contents.sources.iter().find(|(id, _)| id.as_str() == source);
        stored.is_some_and(|(_, stored)| is_known(message.fact.as_ref(), &stored.facts))
    };
    match (outcome, &message.effect, message.route) {
        ("ignored", effect, _) => *effect == Effect::Nothing,
        ("applied" | "duplicate", Effect::Source(source), Route::Reading) => is_stored(source),
        ("applied", Effect::Source(source), Route::Webhook) => {
            !is_garbled && is_applied && is_stored(source)
        }
        // Another function may have been quicker, and read it better.
        ("duplicate", Effect::Source(source), Route::Webhook) => is_applied && is_stored(source),
        ("applied", Effect::Customer(learner), Route::Webhook) => {
            let customer = contents.customers.iter().find(|(id, _)| id.as_str() == learner);
            !is_garbled && is_applied && customer.is_some_and(|(_, it)| it.is_deleted)
        }
        ("duplicate", Effect::Customer(_), Route::Webhook) => is_applied,
        // It was quarantined, and read later.
        ("duplicate", Effect::Nothing, Route::Webhook) => message.garbled.is_some() && is_applied,
        // An unreadable event can't be recognized as somebody else's.
        ("quarantined", _, Route::Webhook) => {
            let is_listed = contents.quarantine.keys().any(|id| id.as_str() == event);
            is_garbled && is_listed && (is_deleted || recorded.is_some())
        }
        _ => false,
    }
}

/// Whether this is among these facts.
fn is_known(fact: Option<&Fact>, facts: &facts::Facts) -> bool {
    let known = reversals(facts);
    match fact {
        Some(Fact::Sold { is_paid }) => {
            facts.purchase().is_some_and(|purchase| !is_paid || purchase.payment.is_paid())
        }
        Some(Fact::Refund(id, state)) => {
            known.refunds.get(id).is_some_and(|refund| refund.statuses.contains_key(state))
        }
        Some(Fact::Dispute(id, state)) => {
            known.disputes.get(id).is_some_and(|dispute| dispute.statuses.contains_key(state))
        }
        Some(Fact::Warning(id)) => known.warnings.contains_key(id),
        None => false,
    }
}

/// The oracle's view of a stored source; none before the sale is known.
fn held(facts: &facts::Facts) -> Option<SourceState> {
    let purchase = facts.purchase()?;
    let sale = &purchase.sale;
    Some(SourceState {
        learner: sale.learner.to_string(),
        product: sale.product.to_string(),
        price: sale.price.to_string(),
        session: sale.session.to_string(),
        opened_at: sale.opened_at.map_or(-1, Timestamp::unix_seconds),
        amount: sale.total.map_or(-1, |total| total.amount_minor),
        payment: payment(purchase),
        processing_at: reported_at(purchase, facts::PaymentStatus::Processing),
        failed_at: reported_at(purchase, facts::PaymentStatus::Failed),
        reversals: reversals(facts),
        is_erased: facts.forgotten.is_some(),
    })
}

fn payment(purchase: &facts::Purchase) -> Payment {
    match purchase.payment.status() {
        facts::PaymentStatus::Processing => Payment::Processing,
        facts::PaymentStatus::Failed => Payment::Failed,
        facts::PaymentStatus::Paid => {
            Payment::Paid { since: purchase.payment.paid_at().unwrap().unix_seconds() }
        }
    }
}

fn reported_at(purchase: &facts::Purchase, status: facts::PaymentStatus) -> Option<i64> {
    let (_, at) = purchase.payment.history().find(|(told, _)| *told == status)?;
    Some(at?.unix_seconds())
}

fn reversals(facts: &facts::Facts) -> Reversals {
    let refunds = facts.refunds.iter().map(|(id, refund)| {
        let statuses: BTreeMap<RefundState, i64> = refund
            .statuses
            .iter()
            .map(|(status, at)| (refund_state(status), at.unix_seconds()))
            .collect();
        // A failed refund stays failed, and one that succeeded is no longer pending.
        let state = statuses.keys().next_back().copied().unwrap_or(RefundState::Pending);
        (id.to_string(), Refund { amount: refund.amount_minor, state, statuses })
    });
    let disputes = facts.disputes.iter().map(|(id, dispute)| {
        let statuses: BTreeMap<DisputeState, i64> = dispute
            .statuses
            .iter()
            .map(|(status, at)| (dispute_state(status), at.unix_seconds()))
            .collect();
        // Of several verdicts, or after an appeal, the one that Stripe returned when asked.
        let furthest = statuses.keys().next_back().copied().unwrap_or(DisputeState::Inquiry);
        let is_appealed = statuses.contains_key(&DisputeState::Appealed);
        let snapshot = dispute.snapshot.filter(|_| is_appealed || verdicts(&statuses) > 1);
        let state = snapshot.map_or(furthest, |snapshot| dispute_state(snapshot.value));
        (id.to_string(), Dispute { state, statuses })
    });
    let warnings = facts.fraud_warnings.iter();
    Reversals {
        refunds: refunds.collect(),
        disputes: disputes.collect(),
        warnings: warnings.map(|(id, at)| (id.to_string(), at.unix_seconds())).collect(),
    }
}

fn verdicts(statuses: &BTreeMap<DisputeState, i64>) -> usize {
    statuses.keys().filter(|state| **state > DisputeState::Open).count()
}

const fn refund_state(status: facts::RefundStatus) -> RefundState {
    match status {
        facts::RefundStatus::Pending => RefundState::Pending,
        facts::RefundStatus::RequiresAction => RefundState::RequiresAction,
        facts::RefundStatus::Succeeded => RefundState::Succeeded,
        facts::RefundStatus::Canceled => RefundState::Canceled,
        facts::RefundStatus::Failed => RefundState::Failed,
    }
}

const fn dispute_state(status: facts::DisputeStatus) -> DisputeState {
    match status {
        facts::DisputeStatus::Inquiry => DisputeState::Inquiry,
        facts::DisputeStatus::InquiryClosed => DisputeState::InquiryClosed,
        facts::DisputeStatus::Open => DisputeState::Open,
        facts::DisputeStatus::Won => DisputeState::Won,
        facts::DisputeStatus::Blocked => DisputeState::Blocked,
        facts::DisputeStatus::Lost => DisputeState::Lost,
        facts::DisputeStatus::Resolved => DisputeState::Resolved,
        facts::DisputeStatus::Appealed => DisputeState::Appealed,
    }
}

/// Whether each of the first is among the second, at the same time or earlier.
fn is_within<K: Ord>(known: &BTreeMap<K, i64>, told: &BTreeMap<K, i64>) -> bool {
    known.iter().all(|(what, at)| told.get(what).is_some_and(|first| first <= at))
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

/// DynamoDB refuses a transaction that writes an item twice; large ones are slow.
fn each_item_is_written_once(writes: &[Write]) -> Result<(), Violation> {
    let items: BTreeSet<_> = writes.iter().map(Write::target).collect();
    holds(
        items.len() == writes.len() && writes.len() <= 10,
        "a transaction writes each item once, and at most ten",
        || format!("{writes:?}"),
    )
}

/// A record stays, and changes only if it was quarantined.
fn records_only_grow(before: &Contents, after: &Contents) -> Result<(), Violation> {
    before.events.iter().try_for_each(|(event, was)| {
        let is = after.events.get(event);
        holds(
            is == Some(was) || (*was == Recorded::Quarantined && is.is_some()),
            "an event is recorded once; quarantined may become applied, never the reverse",
            || format!("{event} was {was:?} and is {is:?}"),
        )
    })
}

/// What was sold never changes, a payment's status only moves forward, reported facts stay, and
/// each change increases the version by one.
fn facts_only_grow(before: &Contents, writes: &[Write], after: &Contents) -> Result<(), Violation> {
    before.sources.iter().try_for_each(|(source, was)| {
        let invariant = "facts are never removed, and each change has a version";
        let Some(is) = after.sources.get(source) else {
            return Err(Violation { invariant, what: format!("{source} is gone") });
        };
        let is_written = writes.iter().any(|write| write.target() == Target::Source(source));
        let grows = if is_written {
            is.version == was.version + 1 && grows(&was.facts, &is.facts)
        } else {
            is == was
        };
        holds(grows, invariant, || format!("{was:?} became {is:?}"))
    })
}

fn grows(was: &facts::Facts, is: &facts::Facts) -> bool {
    let sale_stays = match (was.purchase(), is.purchase()) {
        (None, _) => true,
        (Some(was), Some(is)) => {
            let learner = is.sale.learner.clone();
            let is_nobodys = learner == LearnerId::forgotten();
            let told_no_later = |status| {
                reported_at(was, status)
                    .is_none_or(|was| reported_at(is, status).is_some_and(|is| is <= was))
            };
            (is_nobodys || learner == was.sale.learner)
                && is.sale == facts::Sale { learner, ..was.sale.clone() }
                && payment_advances(payment(was), payment(is))
                && told_no_later(facts::PaymentStatus::Processing)
                && told_no_later(facts::PaymentStatus::Failed)
        }
        (Some(_), None) => false,
    };
    let stays_forgotten = was.forgotten.is_none() || is.forgotten.is_some();
    let (old, new) = (reversals(was), reversals(is));
    let refunds_stay = old.refunds.iter().all(|(id, was)| {
        let is = new.refunds.get(id);
        is.is_some_and(|is| is.amount == was.amount && is_within(&was.statuses, &is.statuses))
    });
    let disputes_stay = old.disputes.iter().all(|(id, was)| {
        new.disputes.get(id).is_some_and(|is| is_within(&was.statuses, &is.statuses))
    });
    let answers_rise = was.disputes.iter().all(|(id, was)| {
        let (was, is) = (was.snapshot, is.disputes.get(id).and_then(|is| is.snapshot));
        let reading =
            |snapshot: Option<Snapshot<facts::DisputeStatus>>| snapshot.map(|it| it.number);
        was == is || reading(is) > reading(was)
    });
    let are_read = new
        .disputes
        .iter()
        .zip(is.disputes.values())
        .all(|((_, told), is)| verdicts(&told.statuses) < 2 || is.snapshot.is_some());
    let warnings_stay = is_within(&old.warnings, &new.warnings);
    let told_stays = refunds_stay && disputes_stay && warnings_stay;
    sale_stays && stays_forgotten && told_stays && answers_rise && are_read
}

fn payment_advances(was: Payment, is: Payment) -> bool {
    match (was, is) {
        (Payment::Processing, _) => true,
        (Payment::Failed, is) => is != Payment::Processing,
        (Payment::Paid { since: was }, Payment::Paid { since: is }) => is <= was,
        (Payment::Paid { .. }, _) => false,
    }
}

fn grant<'a>(contents: &'a Contents, learner: &LearnerId, source: &SourceId) -> Option<&'a Grant> {
    contents.access.get(learner)?.grants.get(source)
}

fn follows(held: &SourceState) -> Grant {
    let is_any = |states: &[DisputeState]| {
        held.reversals.disputes.values().any(|dispute| states.contains(&dispute.state))
    };
    let (status, since) = match held.payment {
        Payment::Processing => (Status::Processing, None),
        Payment::Failed => (Status::Failed, None),
        Payment::Paid { since } => {
            let status = if is_any(&[DisputeState::Lost, DisputeState::Resolved]) {
                Status::DisputeLost
            } else if is_any(&[DisputeState::Open, DisputeState::Appealed]) {
                Status::Suspended
            } else {
                Status::Active
            };
            (status, Some(Timestamp::from_unix_seconds(since)))
        }
    };
    let percent = match held.reversals.refunded() {
        0 => 0,
        refunded => (refunded * 100 / held.amount).min(100),
    };
    Grant {
        product: held.product.parse().unwrap(),
        status,
        since,
        end: None,
        refunded_percent: u8::try_from(percent).unwrap(),
    }
}

/// From the moment at which two payments for the same product both open it.
fn only_duplicate_payments_are_listed(
    contents: &Contents,
    learner: &LearnerId,
    product: &ProductId,
) -> Result<(), Violation> {
    let is_open = |grant: &Grant| grant.status == Status::Active && grant.refunded_percent < 100;
    let open = payments(contents, learner, product).filter(|grant| is_open(grant)).count();
    let is_listed = contents.double_payments.contains(&(learner.clone(), product.clone()));
    holds(open < 2 || is_listed, "a duplicate payment is listed at once", || {
        format!("{open} payments of {learner} open {product}")
    })
}

/// The access that this learner's payments for this product give.
fn payments<'a>(
    contents: &'a Contents,
    learner: &LearnerId,
    product: &'a ProductId,
) -> impl Iterator<Item = &'a Grant> {
    let access = contents.access.get(learner);
    let grants = access.into_iter().flat_map(|access| &access.grants);
    let is_one = move |source: &SourceId, grant: &Grant| {
        matches!(source, SourceId::Payment(_)) && grant.product == *product
    };
    grants.filter(move |(source, grant)| is_one(source, grant)).map(|(_, grant)| grant)
}
