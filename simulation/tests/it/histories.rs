//! Generated histories: with every order and every fault, they converge to the oracle.

use simulation::history::{History, Step};
use simulation::mutant::Mutant;
use simulation::oracle::Action;
use simulation::search::{Generated, play, play_all};
use simulation::world::Fault;

/// The same on every machine; `cargo xtask simulate --seed` plays others.
const SEED: u64 = 2026;
const HISTORIES: u64 = 100_000;

#[test]
fn random_histories_converge_to_the_oracle() {
    let tally =
        play_all::<History>(SEED, HISTORIES, None).unwrap_or_else(|broken| panic!("{broken}"));
    // Every one of these happened.
    for happened in [
        "answered 4xx",
        "answered 5xx",
        "applied",
        "dispute's status looked up",
        "payment's owner looked up",
        "clock skewed",
        "commit made late",
        "commit overtaken",
        "commit refused",
        "commit's response lost",
        "duplicate",
        "event again",
        "grant overtaken",
        "ignored",
        "killed after its commit",
        "killed before its commit",
        "learner erased",
        "quarantined",
        "read refused",
        "record deleted",
        "same event at the same time",
        "secret changed while it was read",
        "secret refused",
        "signing secret rolled",
        "stale read",
        "another shop's sale reported",
        "transaction conflict",
    ] {
        let times = tally.get(happened).copied().unwrap_or_default();
        assert!(times >= HISTORIES / 100, "{happened}: {times} times only; {tally:?}");
    }
}

#[test]
fn the_same_seed_replays_the_same_histories() {
    for number in 0..20 {
        let played = || play::<History>(SEED, number, None).unwrap();
        assert_eq!(played(), played());
    }
    let played = |seed| play_all::<History>(seed, 20, None).unwrap();
    assert_ne!(played(SEED), played(SEED + 1));
}

/// One purchase is delivered, after these steps.
fn purchase(steps: Vec<Step>) -> History {
    let actions = vec![Action::Open { learner: 0, product: 0 }, Action::Card { session: 0 }];
    History { actions, steps }
}

#[test]
fn a_delivery_two_rotations_late_may_be_refused() {
    // It is signed with the first secret. The third is stored before the function reads any.
    let rolls = [Step::Roll; 5];
    let steps = [Step::Start(0)].into_iter().chain(rolls).chain([Step::Go(0, 9)]).collect();
    let tally = purchase(steps).play(None).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((tally.get("answered 4xx"), tally.get("applied")), (Some(&1), Some(&1)));
}

#[test]
fn a_secret_changed_mid_read_is_read_consistently() {
    const READS: u32 = 10;
    let mut moved = 0;
    for moves in 0..1 << READS {
        let read = |number| match moves & (1 << number) {
            0 => Step::Go(0, 1),
            _ => Step::Fail(0, Fault::SecretMoves),
        };
        // The first function is killed; the second runs into the remains of the secret.
        let first = [Step::Start(0), Step::Go(0, 1)].into_iter().chain((0..3).map(read));
        let second = [Step::Crash(0), Step::Start(0), Step::Go(0, 1)];
        let steps = first.chain(second).chain((3..READS).map(read)).collect();
        let history = purchase(steps);
        let tally = history.play(None).unwrap_or_else(|violation| {
            panic!("{violation}\n  {}", history.trace(None).join("\n  "))
        });
        moved += tally.get("secret changed while it was read").copied().unwrap_or_default();
    }
    assert!(moved > 1 << READS, "{moved}");
}

#[track_caller]
fn finds(mutant: Mutant, invariant: &str) {
    finds_with(SEED, mutant, invariant);
}

#[track_caller]
fn finds_with(seed: u64, mutant: Mutant, invariant: &str) {
    let broken =
        play_all::<History>(seed, 10_000, Some(mutant)).expect_err("no history catches it");
    assert!(broken.violation.invariant.contains(invariant), "{broken}");
    let length = broken.shortest.parts();
    assert!(length <= 25, "the shortest history has {length} parts:\n{broken}");
    eprintln!("{mutant:?}: history {}, {length} parts", broken.number);
}

#[test]
fn a_missing_version_check_is_caught() {
    finds(Mutant::VersionUnchecked, "facts are never removed");
}

#[test]
fn recording_an_event_twice_is_caught() {
    finds(Mutant::RecordUnchecked, "an event is recorded once");
}

#[test]
fn a_table_that_loses_records_is_caught() {
    finds(Mutant::LosesRecords, "an event is recorded once");
}

#[test]
fn a_table_that_never_recovers_is_caught() {
    finds(Mutant::AlwaysRefuses, "a failed event succeeds when redelivered");
}

#[test]
fn recording_an_event_before_its_facts_is_caught() {
    finds(Mutant::TwoTransactions, "a 2xx means committed");
}

#[test]
fn acknowledging_without_committing_is_caught() {
    finds(Mutant::NeverCommits, "a 2xx means committed");
}

#[test]
fn a_purchase_without_access_is_caught() {
    finds(Mutant::GrantForgotten, "access is exactly what follows from the facts");
}

#[test]
fn an_invalid_transaction_is_caught() {
    finds(Mutant::GrantTwice, "a transaction writes each item once");
}

#[test]
fn access_without_payment_is_caught() {
    finds(Mutant::UnpaidGranted, "nobody has access without paying");
}

#[test]
fn accepting_the_other_mode_is_caught() {
    finds(Mutant::LiveMode, "a 2xx means committed");
    let live = History { actions: vec![Action::Stray { kind: 2 }], steps: Vec::new() };
    let violation = live.play(Some(Mutant::LiveMode)).unwrap_err();
    assert_eq!(violation.invariant, "irrelevant events write nothing");
}

#[test]
fn accepting_another_shop_s_mark_is_caught() {
    finds(Mutant::OtherMark, "a 2xx means committed");
    let sale = History { actions: vec![Action::Stray { kind: 1 }], steps: Vec::new() };
    let violation = sale.play(Some(Mutant::OtherMark)).unwrap_err();
    assert_eq!(violation.invariant, "irrelevant events write nothing");
}

#[test]
fn last_event_wins_for_refunds_is_caught() {
    finds(Mutant::LastRefundStatusWins, "facts are never removed");
}

#[test]
fn not_restoring_access_after_a_failed_refund_is_caught() {
    finds(Mutant::FailedRefundStays, "a 2xx means committed");
}

#[test]
fn counting_a_refund_per_event_is_caught() {
    finds(Mutant::RefundsAdded, "facts are never removed");
}

#[test]
fn dropping_an_early_refund_is_caught() {
    finds(Mutant::EarlyRefundDropped, "a 2xx means committed");
}

#[test]
fn suspending_access_for_an_inquiry_is_caught() {
    finds(Mutant::InquirySuspends, "only facts that Stripe reported are stored");
}

#[test]
fn not_restoring_access_after_a_won_dispute_is_caught() {
    finds(Mutant::WonForgotten, "a 2xx means committed");
}

#[test]
fn reading_a_verdict_only_once_is_caught() {
    finds(Mutant::VerdictReadOnce, "in the end everybody has exactly what they paid for");
}

#[test]
fn an_unversioned_verdict_is_caught() {
    // Three functions have to interleave in one way: about one history in 25,000. This is an early
    // one.
    let invariant = "in the end everybody has exactly what they paid for";
    finds_with(1, Mutant::KnownVerdictUnwritten, invariant);
}

#[test]
fn reading_secret_versions_at_two_moments_is_caught() {
    finds(Mutant::SecretMovesUnnoticed, "a 2xx means committed");
}

#[test]
fn an_unreported_duplicate_payment_is_caught() {
    finds(Mutant::FirstPurchaseUnchecked, "a duplicate payment is listed at once");
}

#[test]
fn a_grant_to_an_erased_learner_is_caught() {
    finds(
        Mutant::ErasureUnchecked,
        "an erased learner gets nothing from before, and is not named again",
    );
}
