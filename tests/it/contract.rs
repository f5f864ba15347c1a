//! One contract, two ledgers: in memory, and the table with the real SDK.

use futures_util::future::join_all;
use shared::domain::access::{Grant, Status};
use shared::domain::catalog::PublishedCatalog;
use shared::domain::checkout::{Attempt, Buyer, Link, NewCustomer, OpenSession};
use shared::domain::decide::{Event, FirstPurchase, Needs, Recorded, Stored, StoredSource, Write};
use shared::domain::facts::{
    Dispute, DisputeStatus, Facts, ManualGrant, OperatorAction, Origin, Payment, PaymentStatus,
    Purchase, Refund, RefundStatus, Sale, StatusHistory,
};
use shared::domain::id::{CustomerId, EventId, LearnerId, ProductId, SourceId};
use shared::domain::rate::{Action, Count, Counter, Rate};
use shared::domain::snapshot::Snapshot;
use shared::domain::time::Timestamp;
use shared::dynamo::Table;
use shared::ports::{AccessReader, CatalogReader, CheckoutStore, Commit, Ledger};
use simulation::memory::MemoryLedger;
use tests::world::{catalog, dynamodb, table_at};

#[tokio::test]
async fn the_memory_ledger_meets_the_contract() {
    keeps_the_contract(&MemoryLedger::default()).await;
    keeps_the_contract_of_checkout(&MemoryLedger::default()).await;
}

#[tokio::test]
async fn the_table_meets_the_contract() {
    let (url, server) = dynamodb().await;
    let server = tokio::spawn(server);
    let table = table_at(&url);
    keeps_the_contract(&table).await;
    keeps_the_contract_of_checkout(&table).await;
    keeps_the_contract_of_the_catalog(&table).await;
    server.abort();
}

pub(crate) async fn keeps_the_contract<L: Ledger + AccessReader>(ledger: &L) {
    what_is_not_there_is_read_as_nothing(ledger).await;
    what_is_committed_is_read_back(ledger).await;
    an_event_on_record_settles_the_whole_commit(ledger).await;
    a_version_that_has_moved_is_a_conflict_and_nothing_is_written(ledger).await;
    a_quarantined_event_may_be_applied_and_never_the_reverse(ledger).await;
    two_sources_of_one_learner_stand_side_by_side(ledger).await;
    of_many_commits_at_once_exactly_one_is_made(ledger).await;
    facts_of_every_kind_are_kept_before_and_after_what_was_sold_is_known(ledger).await;
    a_first_purchase_is_replaced_only_as_it_was_seen(ledger).await;
    a_first_purchase_is_of_one_product(ledger).await;
    a_grant_is_set_only_if_the_erasure_is_as_it_was_seen(ledger).await;
    an_erasure_removes_what_it_names_and_is_followed_only_by_later_ones(ledger).await;
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn event(id: &str) -> Event {
    Event {
        id: id.parse().unwrap(),
        kind: "checkout.session.completed".to_owned(),
        object: Some("cs_1".to_owned()),
        api_version: None,
        created: at(1),
    }
}

fn record(id: &str, recorded: Recorded) -> Write {
    Write::RecordEvent { event: event(id), recorded, replaces: None, at: at(2) }
}

fn purchase(learner: &str, payment: Payment) -> Purchase {
    let sale = Sale {
        product: "tutorclaw".parse().unwrap(),
        price: "tutorclaw_paid".parse().unwrap(),
        session: "cs_1".parse().unwrap(),
        opened_at: Some(at(1)),
        total: None,
        learner: learner.parse().unwrap(),
    };
    Purchase { sale, payment }
}

/// The writes of facts that are new.
fn store(source: &str, facts: impl Into<Facts>, replaces: Option<StoredSource>) -> Vec<Write> {
    store_with(source, facts, replaces, None, None)
}

#[expect(clippy::unnecessary_wraps, reason = "what a write replaces is optional")]
fn stored(facts: impl Into<Facts>, version: u64) -> Option<StoredSource> {
    Some(StoredSource { facts: facts.into(), version })
}

fn store_with(
    source: &str,
    facts: impl Into<Facts>,
    replaces: Option<StoredSource>,
    erased_at: Option<Timestamp>,
    first_purchase: Option<FirstPurchase>,
) -> Vec<Write> {
    let (source, facts): (SourceId, Facts) = (source.parse().unwrap(), facts.into());
    let grant = Grant::of(&facts);
    let mut writes = vec![Write::StoreSource { source: source.clone(), facts, replaces }];
    if let Some((learner, grant)) = grant {
        writes.push(Write::SetGrant { learner, source, grant, erased_at, first_purchase });
    }
    writes
}

/// Commits what must be refused, and returns the items that were found instead.
async fn refused(ledger: &impl Ledger, writes: &[Write]) -> Stored {
    match ledger.commit(writes).await.unwrap() {
        Commit::Conflict(found) => *found,
        Commit::Applied => panic!("committed {writes:?}"),
    }
}

async fn load(ledger: &impl Ledger, event: &str, source: &str) -> Stored {
    let event: EventId = event.parse().unwrap();
    let source: SourceId = source.parse().unwrap();
    let needs = Needs { event: Some(&event), source: Some(&source), customer: None };
    ledger.load(needs).await.unwrap()
}

async fn statuses(ledger: &impl AccessReader, learner: &str) -> Vec<(String, Status)> {
    let learner: LearnerId = learner.parse().unwrap();
    let entitlements = ledger.entitlements(&learner).await.unwrap();
    entitlements.iter().map(|(source, grant)| (source.to_string(), grant.status)).collect()
}

async fn what_is_not_there_is_read_as_nothing<L: Ledger + AccessReader>(ledger: &L) {
    assert_eq!(load(ledger, "evt_none", "pi_none").await, Stored::default());
    assert!(statuses(ledger, "nobody").await.is_empty());
}

async fn what_is_committed_is_read_back<L: Ledger + AccessReader>(ledger: &L) {
    let mut writes = store("pi_a", purchase("ada", Payment::paid(at(7))), None);
    writes.push(record("evt_a", Recorded::Applied));
    assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
    let state = load(ledger, "evt_a", "pi_a").await;
    assert_eq!(state.event, Some(Recorded::Applied));
    let stored = state.source.unwrap();
    assert_eq!(stored.facts, purchase("ada", Payment::paid(at(7))).into());
    assert_eq!(stored.version, 1);
    assert_eq!(statuses(ledger, "ada").await, [("pi_a".to_owned(), Status::Active)]);
}

async fn an_event_on_record_settles_the_whole_commit<L: Ledger + AccessReader>(ledger: &L) {
    let mut writes = store("pi_b", purchase("ada", Payment::paid(at(7))), None);
    writes.push(record("evt_a", Recorded::Applied));
    let recorded = Stored { event: Some(Recorded::Applied), ..Stored::default() };
    assert_eq!(refused(ledger, &writes).await, recorded);
    assert_eq!(load(ledger, "evt_a", "pi_b").await.source, None);
    assert_eq!(statuses(ledger, "ada").await.len(), 1);
}

async fn a_version_that_has_moved_is_a_conflict_and_nothing_is_written<L: Ledger + AccessReader>(
    ledger: &L,
) {
    let paid = purchase("ada", Payment::paid(at(7)));
    for (replaces, event) in [(None, "evt_b1"), (stored(paid.clone(), 2), "evt_b2")] {
        let failed = purchase("ada", Payment::reported(PaymentStatus::Failed, at(6)));
        let mut writes = store("pi_a", failed, replaces);
        writes.push(record(event, Recorded::Applied));
        let found = refused(ledger, &writes).await;
        let state = load(ledger, event, "pi_a").await;
        assert_eq!(found, state);
        assert_eq!(state.event, None);
        assert_eq!(state.source.unwrap().version, 1);
    }
    let writes = store("pi_a", purchase("ada", Payment::paid(at(6))), stored(paid, 1));
    assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
    assert_eq!(load(ledger, "evt_a", "pi_a").await.source.unwrap().version, 2);
}

async fn a_quarantined_event_may_be_applied_and_never_the_reverse<L: Ledger>(ledger: &L) {
    let quarantine = [
        record("evt_q", Recorded::Quarantined),
        Write::ListQuarantined { event: event("evt_q"), reason: "r".to_owned(), at: at(2) },
    ];
    assert_eq!(ledger.commit(&quarantine).await.unwrap(), Commit::Applied);
    let recorded = |recorded| Stored { event: Some(recorded), ..Stored::default() };
    assert_eq!(refused(ledger, &quarantine).await, recorded(Recorded::Quarantined));
    // A decision that hasn't seen it in quarantine would leave it on the operator's list.
    let unseen = [record("evt_q", Recorded::Applied)];
    assert_eq!(refused(ledger, &unseen).await, recorded(Recorded::Quarantined));
    let replaces = Some(Recorded::Quarantined);
    let resolve = [
        Write::RecordEvent {
            event: event("evt_q"),
            recorded: Recorded::Applied,
            replaces,
            at: at(3),
        },
        Write::ResolveQuarantined { event: "evt_q".parse().unwrap(), at: at(3) },
    ];
    assert_eq!(ledger.commit(&resolve).await.unwrap(), Commit::Applied);
    assert_eq!(load(ledger, "evt_q", "pi_none").await.event, Some(Recorded::Applied));
    assert_eq!(refused(ledger, &resolve).await, recorded(Recorded::Applied));
    assert_eq!(refused(ledger, &quarantine).await, recorded(Recorded::Applied));
}

async fn two_sources_of_one_learner_stand_side_by_side<L: Ledger + AccessReader>(ledger: &L) {
    let processing = Payment::reported(PaymentStatus::Processing, at(1));
    for (source, payment) in [("pi_c", processing), ("cs_c", Payment::paid(at(1)))] {
        let writes = store(source, purchase("cleo", payment), None);
        assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
    }
    let expected = [("pi_c".to_owned(), Status::Processing), ("cs_c".to_owned(), Status::Active)];
    assert_eq!(statuses(ledger, "cleo").await, expected);
}

async fn of_many_commits_at_once_exactly_one_is_made<L: Ledger + AccessReader>(ledger: &L) {
    let mut writes = store("pi_d", purchase("dan", Payment::paid(at(7))), None);
    writes.push(record("evt_d", Recorded::Applied));
    let commits = (0..20).map(|_| ledger.commit(&writes));
    let mut applied = 0;
    for commit in join_all(commits).await {
        match commit.unwrap() {
            Commit::Applied => applied += 1,
            Commit::Conflict(_) => {}
        }
    }
    assert_eq!(applied, 1);
}

async fn facts_of_every_kind_are_kept_before_and_after_what_was_sold_is_known<
    L: Ledger + AccessReader,
>(
    ledger: &L,
) {
    let action = || OperatorAction {
        at: at(5),
        by: "grace".parse().unwrap(),
        reason: "asked for by mail".parse().unwrap(),
    };
    let refund = Refund {
        amount_minor: 1000,
        statuses: StatusHistory::once(RefundStatus::Succeeded, at(3)),
    };
    let reported =
        [(DisputeStatus::Open, at(3)), (DisputeStatus::Won, at(4))].into_iter().collect();
    let snapshot = Some(Snapshot { number: 2, value: DisputeStatus::Won });
    let mut facts = Facts {
        refunds: [("re_1".parse().unwrap(), refund)].into(),
        disputes: [("du_1".parse().unwrap(), Dispute { statuses: reported, snapshot })].into(),
        fraud_warnings: [("issfr_1".parse().unwrap(), at(4))].into(),
        ..Facts::default()
    };
    let kept = async |facts: &Facts, version: u64| {
        let before = load(ledger, "evt_none", "pi_f").await.source;
        let writes = store("pi_f", facts.clone(), before);
        assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
        let id: SourceId = "pi_f".parse().unwrap();
        let stored = ledger.sources(std::slice::from_ref(&id)).await.unwrap().remove(&id).unwrap();
        assert_eq!((&stored.facts, stored.version), (facts, version));
        assert_eq!(load(ledger, "evt_none", "pi_f").await.source, Some(stored));
    };
    kept(&facts, 1).await;
    facts.origin = Some(Origin::Purchase(purchase("fay", Payment::paid(at(1)))));
    kept(&facts, 2).await;
    // If the total is unknown, any refund counts as full.
    assert_eq!(statuses(ledger, "fay").await, [("pi_f".to_owned(), Status::Active)]);
    let entitlements = ledger.entitlements(&"fay".parse().unwrap()).await.unwrap();
    assert_eq!(entitlements.iter().map(|(_, grant)| grant.refunded_percent).max(), Some(100));
    facts.revoked = Some(action());
    kept(&facts, 3).await;
    assert_eq!(statuses(ledger, "fay").await, [("pi_f".to_owned(), Status::Revoked)]);
    facts = facts.join(Facts { forgotten: Some(at(9)), ..Facts::default() });
    kept(&facts, 4).await;

    let until = Some(at(99));
    let (product, learner) = ("tutorclaw".parse().unwrap(), "gil".parse().unwrap());
    let manual = ManualGrant { product, until, action: action(), learner };
    let writes = store("grant_1", Origin::Manual(manual.clone()), None);
    assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
    let stored = load(ledger, "evt_none", "grant_1").await.source.unwrap();
    assert_eq!(stored.facts, Origin::Manual(manual).into());
    let entitlements = ledger.entitlements(&"gil".parse().unwrap()).await.unwrap();
    assert_eq!(entitlements.iter().map(|(_, grant)| grant.until()).collect::<Vec<_>>(), [until]);
    assert!(ledger.sources(&["pi_none".parse().unwrap()]).await.unwrap().is_empty());
}

async fn a_first_purchase_is_replaced_only_as_it_was_seen<L: Ledger + AccessReader>(ledger: &L) {
    let hal = async || ledger.entitlements(&"hal".parse().unwrap()).await.unwrap();
    let of = async |source: &str| hal().await.of(&source.parse().unwrap()).cloned();
    let first = |source: &str, before: Option<(&str, Option<Grant>)>| {
        let replaces = before.map(|(source, grant)| (source.parse().unwrap(), grant));
        let bought = purchase("hal", Payment::paid(at(1)));
        store_with(source, bought, None, None, Some(FirstPurchase { replaces }))
    };
    let is_first = async |source: &str| {
        let first = hal().await.first_purchase(&"tutorclaw".parse().unwrap()).cloned();
        assert_eq!(first, Some(source.parse().unwrap()));
    };
    let taken = async |writes: Vec<Write>| {
        let found = Stored { access: Some(hal().await), ..Stored::default() };
        assert_eq!(refused(ledger, &writes).await, found, "{writes:?}");
    };
    assert_eq!(ledger.commit(&first("pi_h1", None)).await.unwrap(), Commit::Applied);
    is_first("pi_h1").await;
    taken(first("pi_h2", None)).await;
    assert_eq!(load(ledger, "evt_none", "pi_h2").await.source, None);
    taken(first("pi_h2", Some(("pi_h9", None)))).await;
    taken(first("pi_h2", Some(("pi_h1", None)))).await;
    let seen = of("pi_h1").await;
    // It changes after it was seen.
    let dispute =
        Dispute { statuses: StatusHistory::once(DisputeStatus::Open, at(2)), snapshot: None };
    let disputes = [("du_h".parse().unwrap(), dispute)].into();
    let on_hold = Facts { disputes, ..purchase("hal", Payment::paid(at(1))).into() };
    let before = load(ledger, "evt_none", "pi_h1").await.source;
    let writes = store("pi_h1", on_hold, before);
    assert_eq!(ledger.commit(&writes).await.unwrap(), Commit::Applied);
    taken(first("pi_h2", Some(("pi_h1", seen)))).await;
    is_first("pi_h1").await;
    let next = first("pi_h2", Some(("pi_h1", of("pi_h1").await)));
    assert_eq!(ledger.commit(&next).await.unwrap(), Commit::Applied);
    is_first("pi_h2").await;
    // The first purchase may be marked as that again.
    let mut again = first("pi_h2", None);
    again.remove(0);
    assert_eq!(ledger.commit(&again).await.unwrap(), Commit::Applied);
}

async fn a_first_purchase_is_of_one_product<L: Ledger + AccessReader>(ledger: &L) {
    let ida = |source: &str, product: &str| {
        let mut bought = purchase("ida", Payment::paid(at(1)));
        bought.sale.product = product.parse().unwrap();
        store_with(source, bought, None, None, Some(FirstPurchase { replaces: None }))
    };
    let one = ida("pi_i1", "tutorclaw");
    assert_eq!(ledger.commit(&one).await.unwrap(), Commit::Applied);
    let mut known = ida("pi_i2", "tutorclaw");
    known.push(record("evt_a", Recorded::Applied));
    assert_eq!(refused(ledger, &known).await.event, Some(Recorded::Applied));
    let mut other = ida("pi_i3", "curriculum");
    other.push(Write::ListDoublePayment {
        learner: "ida".parse().unwrap(),
        product: "curriculum".parse().unwrap(),
        at: at(9),
    });
    assert_eq!(ledger.commit(&other).await.unwrap(), Commit::Applied);
    let entitlements = ledger.entitlements(&"ida".parse().unwrap()).await.unwrap();
    let first_purchase =
        |product: &str| entitlements.first_purchase(&product.parse().unwrap()).cloned();
    assert_eq!(first_purchase("tutorclaw"), Some("pi_i1".parse().unwrap()));
    assert_eq!(first_purchase("curriculum"), Some("pi_i3".parse().unwrap()));
}

fn erase(at_seconds: i64, grants: &[&str], first_purchases: &[(&str, &str)]) -> [Write; 1] {
    let source = |source: &&str| source.parse().unwrap();
    let first_purchase =
        |(product, source): &(&str, &str)| (product.parse().unwrap(), source.parse().unwrap());
    [Write::Erase {
        learner: "jo".parse().unwrap(),
        at: at(at_seconds),
        grants: grants.iter().map(source).collect(),
        first_purchases: first_purchases.iter().map(first_purchase).collect(),
    }]
}

async fn a_grant_is_set_only_if_the_erasure_is_as_it_was_seen<L: Ledger + AccessReader>(
    ledger: &L,
) {
    // Nothing is known of them yet.
    assert_eq!(ledger.commit(&erase(100, &[], &[])).await.unwrap(), Commit::Applied);
    for (number, (seen, is_applied)) in
        [(None, false), (Some(99), false), (Some(101), false), (Some(100), true)]
            .into_iter()
            .enumerate()
    {
        for (first_purchase, name) in [(None, "x"), (Some(FirstPurchase { replaces: None }), "y")] {
            let (source, event) = (format!("pi_j{number}{name}"), format!("evt_j{number}{name}"));
            let mut bought = purchase("jo", Payment::paid(at(200)));
            bought.sale.product = format!("p{number}{name}").parse().unwrap();
            let mut writes = store_with(&source, bought, None, seen.map(at), first_purchase);
            writes.push(record(&event, Recorded::Applied));
            let found = match ledger.commit(&writes).await.unwrap() {
                Commit::Applied => None,
                Commit::Conflict(found) => found.access.unwrap().erased_at(),
            };
            let expected = if is_applied { None } else { Some(at(100)) };
            assert_eq!(found, expected, "{seen:?} {name}");
            let is_there = load(ledger, &event, &source).await != Stored::default();
            assert_eq!(is_there, is_applied, "{seen:?} {name}");
        }
    }
    let entitlements = ledger.entitlements(&"jo".parse().unwrap()).await.unwrap();
    let sources: Vec<String> = entitlements.iter().map(|(source, _)| source.to_string()).collect();
    assert_eq!(sources, ["pi_j3x", "pi_j3y"]);
    assert_eq!(entitlements.erased_at(), Some(at(100)));
}

async fn an_erasure_removes_what_it_names_and_is_followed_only_by_later_ones<
    L: Ledger + AccessReader,
>(
    ledger: &L,
) {
    for (erased, is_applied) in [
        (erase(99, &["pi_j3x"], &[]), false),
        (erase(200, &["pi_j3x"], &[("p3y", "pi_j3x")]), false),
        (erase(200, &["pi_j3x"], &[("p3x", "pi_j3x")]), false),
        (erase(100, &["pi_j3x"], &[]), true),
        (erase(200, &["pi_j3x", "pi_none"], &[("p3y", "pi_j3y")]), true),
    ] {
        let commit = ledger.commit(&erased).await.unwrap();
        assert_eq!(commit == Commit::Applied, is_applied, "{erased:?}");
        let entitlements = ledger.entitlements(&"jo".parse().unwrap()).await.unwrap();
        let is_left = entitlements.of(&"pi_j3x".parse().unwrap()).is_some();
        assert_eq!(is_left, !is_applied, "{erased:?}");
    }
    let entitlements = ledger.entitlements(&"jo".parse().unwrap()).await.unwrap();
    let sources: Vec<String> = entitlements.iter().map(|(source, _)| source.to_string()).collect();
    assert_eq!((sources, entitlements.first_purchases().count()), (vec!["pi_j3y".to_owned()], 0));
    assert_eq!(entitlements.erased_at(), Some(at(200)));
    // The sources are another matter.
    assert!(load(ledger, "evt_none", "pi_j3x").await.source.is_some());
}

/// Checkout's storage: only a writer that has read the current value may replace it.
pub(crate) async fn keeps_the_contract_of_checkout<T: Ledger + CheckoutStore>(table: &T) {
    a_customer_and_an_attempt_are_replaced_by_who_has_read_them(table).await;
    a_session_is_recorded_once_for_the_attempt_that_opened_it(table).await;
    a_window_counts_up_to_its_limit(table).await;
    a_link_is_written_once(table).await;
}

fn attempt(id: &str) -> Attempt {
    Attempt {
        id: id.parse().unwrap(),
        fingerprint: "same".to_owned(),
        catalog_version: 1,
        started_at: at(100),
        session: None,
    }
}

fn counter(learner: &str) -> Counter {
    Counter::Learner(learner.parse().unwrap(), Action::Checkout)
}

async fn a_customer_and_an_attempt_are_replaced_by_who_has_read_them<T: Ledger + CheckoutStore>(
    table: &T,
) {
    let bob: LearnerId = "bob".parse().unwrap();
    let [product, another, third] = ["tutorclaw", "other", "third"].map(|id| id.parse().unwrap());
    let [one, two]: [CustomerId; 2] = ["cus_1", "cus_2"].map(|id| id.parse().unwrap());
    let new = |id: &CustomerId, replaces: Option<&CustomerId>| NewCustomer {
        id: id.clone(),
        replaces: replaces.cloned(),
    };
    let read = async |product: &ProductId| {
        let buyer = table.buyer(&bob, product, &counter("bob")).await.unwrap();
        (buyer.customer, buyer.attempt.map(|attempt| attempt.id.to_string()))
    };
    let nothing = table.buyer(&bob, &product, &counter("bob")).await.unwrap();
    assert_eq!(nothing, Buyer::default());

    let (first, second) = (attempt("attempt-1"), attempt("attempt-2"));
    let customer = Some(new(&one, None));
    let begins =
        (0..5).map(|_| table.begin_attempt(&bob, &product, &first, None, customer.as_ref()));
    let begun = join_all(begins).await.into_iter().filter(|begun| *begun.as_ref().unwrap());
    assert_eq!(begun.count(), 1);
    assert_eq!(read(&product).await, (Some(one.clone()), Some("attempt-1".to_owned())));

    // Both are written, or neither.
    for (begun, customer) in [
        (Some(&first), new(&two, None)),
        (Some(&first), new(&two, Some(&two))),
        (Some(&second), new(&two, Some(&one))),
        (None, new(&two, Some(&one))),
    ] {
        let begun = table.begin_attempt(&bob, &product, &second, begun, Some(&customer)).await;
        assert!(!begun.unwrap(), "{customer:?}");
        assert_eq!(read(&product).await, (Some(one.clone()), Some("attempt-1".to_owned())));
    }
    let stale = new(&two, None);
    assert!(!table.begin_attempt(&bob, &another, &second, None, Some(&stale)).await.unwrap());
    assert_eq!(read(&another).await, (Some(one.clone()), None));

    assert!(!table.begin_attempt(&bob, &product, &second, Some(&second), None).await.unwrap());
    assert!(table.begin_attempt(&bob, &product, &second, Some(&first), None).await.unwrap());
    assert_eq!(read(&product).await, (Some(one.clone()), Some("attempt-2".to_owned())));
    let replaced = new(&two, Some(&one));
    assert!(table.begin_attempt(&bob, &another, &first, None, Some(&replaced)).await.unwrap());
    assert_eq!(read(&another).await, (Some(two.clone()), Some("attempt-1".to_owned())));

    let unlink = |customer: &CustomerId| {
        [Write::UnlinkCustomer { learner: bob.clone(), customer: customer.clone(), at: at(7) }]
    };
    let linked = async || {
        let needs = Needs { customer: Some(&bob), ..Needs::default() };
        table.load(needs).await.unwrap().customer
    };
    let found = Stored { customer: Some(two.clone()), ..Stored::default() };
    assert_eq!(refused(table, &unlink(&one)).await, found);
    assert_eq!(linked().await, Some(two.clone()));
    assert_eq!(table.commit(&unlink(&two)).await.unwrap(), Commit::Applied);
    assert_eq!(linked().await, None);
    let buyer = table.buyer(&bob, &product, &counter("bob")).await.unwrap();
    assert_eq!((buyer.customer, buyer.deleted_customer), (None, Some(two.clone())));
    let replaced = new(&one, Some(&two));
    assert!(table.begin_attempt(&bob, &third, &first, None, Some(&replaced)).await.unwrap());
    assert_eq!(linked().await, Some(one));
}

async fn a_session_is_recorded_once_for_the_attempt_that_opened_it<T: Ledger + CheckoutStore>(
    table: &T,
) {
    let (eve, product) = ("eve".parse().unwrap(), "tutorclaw".parse().unwrap());
    let (first, renewed) = (attempt("attempt-1"), attempt("attempt-2"));
    let session = |id: &str| OpenSession {
        id: id.parse().unwrap(),
        url: format!("https://checkout.stripe.com/c/pay/{id}"),
        expires_at: at(200),
    };
    let (one, two) = (session("cs_1"), session("cs_2"));
    // Without an attempt there is nothing to record, and nothing is created.
    assert!(!table.record_session(&eve, &product, &first.id, &one).await.unwrap());
    assert_eq!(table.buyer(&eve, &product, &counter("eve")).await.unwrap().attempt, None);
    assert!(table.begin_attempt(&eve, &product, &first, None, None).await.unwrap());
    assert!(table.renew_attempt(&eve, &product, &first.id, &renewed.id).await.unwrap());
    assert!(!table.record_session(&eve, &product, &first.id, &one).await.unwrap());
    assert!(table.record_session(&eve, &product, &renewed.id, &one).await.unwrap());
    assert!(!table.record_session(&eve, &product, &renewed.id, &two).await.unwrap());
    assert!(!table.renew_attempt(&eve, &product, &renewed.id, &first.id).await.unwrap());
    let kept = table.buyer(&eve, &product, &counter("eve")).await.unwrap().attempt;
    let recorded = Attempt { session: Some(one), ..renewed.clone() };
    assert_eq!(kept.as_ref(), Some(&recorded));
    // A writer that read the attempt before its session was recorded doesn't know that it can be
    // paid.
    assert!(!table.begin_attempt(&eve, &product, &first, Some(&renewed), None).await.unwrap());
    let other = Attempt { session: Some(two), ..renewed };
    assert!(!table.begin_attempt(&eve, &product, &first, Some(&other), None).await.unwrap());
    assert!(table.begin_attempt(&eve, &product, &first, Some(&recorded), None).await.unwrap());
}

async fn a_window_counts_up_to_its_limit<T: Ledger + CheckoutStore>(table: &T) {
    let fay: LearnerId = "fay".parse().unwrap();
    let link = |last: char| Counter::Link(format!("{}{last}", "0".repeat(31)).parse().unwrap());
    // None of these counts for another one.
    for counter in [
        Counter::Learner(fay.clone(), Action::Checkout),
        Counter::Learner(fay, Action::Confirm),
        link('1'),
        link('2'),
    ] {
        counts_up_to_its_limit(table, &counter).await;
    }
}

async fn counts_up_to_its_limit<T: Ledger + CheckoutStore>(table: &T, counter: &Counter) {
    let (first, second) = (Rate { since: at(1), times: 1 }, Rate { since: at(9), times: 1 });
    let count = async |before: Option<Rate>, after: Rate| {
        let count = Count { counter: counter.clone(), before, after, times_max: 3 };
        table.count(&count).await.unwrap()
    };
    let (learner, product) = ("fay".parse().unwrap(), "tutorclaw".parse().unwrap());
    let read = async || {
        let rate = table.rate(counter).await.unwrap();
        assert_eq!(table.buyer(&learner, &product, counter).await.unwrap().rate, rate);
        rate
    };
    assert_eq!(read().await, None);
    let again = Rate { times: 2, ..first };
    assert!(!count(Some(first), again).await, "there is no window to count in");
    assert!(count(None, first).await);
    assert!(!count(None, second).await, "there is a window already");
    let answers = join_all((0..5).map(|_| count(Some(first), again))).await;
    assert_eq!(answers.into_iter().filter(|is_counted| *is_counted).count(), 2);
    let full = Rate { times: 3, ..first };
    assert_eq!(read().await, Some(full));
    assert!(count(Some(full), second).await);
    assert!(!count(Some(full), Rate { times: 4, ..first }).await, "its window is over");
    assert_eq!(read().await, Some(second));
}

async fn a_link_is_written_once<T: Ledger + CheckoutStore>(table: &T) {
    let id = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let link = |learner: &str| Link {
        learner: learner.parse().unwrap(),
        price: "tutorclaw_paid".parse().unwrap(),
        expires_at: at(300),
    };
    assert_eq!(table.link(&id).await.unwrap(), None);
    assert!(table.put_link(&id, &link("gil")).await.unwrap());
    assert!(!table.put_link(&id, &link("hal")).await.unwrap());
    assert_eq!(table.link(&id).await.unwrap(), Some(link("gil")));
}

/// A catalog replaces exactly its predecessor, once.
pub(crate) async fn keeps_the_contract_of_the_catalog(table: &Table) {
    let catalog = catalog();
    let stripe_prices =
        catalog.prices().iter().map(|price| (price.key.clone(), "price_1".parse().unwrap()));
    let mut published =
        PublishedCatalog { stripe_prices: stripe_prices.collect(), catalog, version: 2 };
    let mut publish = async |version: u64| {
        published.version = version;
        table.publish_catalog(&published).await.unwrap()
    };
    assert_eq!(table.catalog().await.unwrap(), None);
    // The second before the first, the first and again the first, the fourth before the third.
    for (version, is_published) in
        [(2, false), (1, true), (1, false), (2, true), (2, false), (4, false), (3, true)]
    {
        assert_eq!(publish(version).await, is_published, "version {version}");
    }
    assert_eq!(table.catalog().await.unwrap(), Some(published));
}
