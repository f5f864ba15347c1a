//! Generated histories: in every order, with every fault, the end is the truth.

use simulation::history::{play, play_all};
use simulation::world::Flaw;

/// The same on every machine; `cargo xtask simulate --seed` plays others.
const SEED: u64 = 2026;
const HISTORIES: u64 = 100_000;

#[test]
fn whatever_happens_at_stripe_and_goes_wrong_with_us_the_end_is_the_truth() {
    let tally = play_all(SEED, HISTORIES, None).unwrap_or_else(|broken| panic!("{broken}"));
    // None of it was left out.
    for happened in [
        "answered 4xx",
        "answered 5xx",
        "applied",
        "clock skewed",
        "commit overtaken",
        "commit refused",
        "commit's answer lost",
        "duplicate",
        "event again",
        "ignored",
        "killed after its commit",
        "killed before its commit",
        "quarantined",
        "read refused",
        "record deleted",
        "same event at the same time",
        "secret refused",
        "signing secret rolled",
        "stale read",
        "transaction conflict",
    ] {
        let times = tally.get(happened).copied().unwrap_or_default();
        assert!(times >= HISTORIES / 100, "{happened}: {times} times only; {tally:?}");
    }
}

#[test]
fn the_same_seed_plays_the_same_histories() {
    for number in 0..20 {
        assert_eq!(play(SEED, number, None).unwrap(), play(SEED, number, None).unwrap());
    }
    assert_ne!(play_all(SEED, 20, None).unwrap(), play_all(SEED + 1, 20, None).unwrap());
}

#[track_caller]
fn finds(flaw: Flaw, law: &str) {
    let broken = play_all(SEED, 10_000, Some(flaw)).expect_err("no history notices");
    assert!(broken.violation.law.contains(law), "{broken}");
    let length = broken.shortest.words.len() + broken.shortest.turns.len();
    assert!(length <= 25, "the shortest history has {length} parts:\n{broken}");
}

#[test]
fn a_table_that_does_not_check_versions_is_found() {
    finds(Flaw::VersionUnchecked, "facts are joined and never taken back");
}

#[test]
fn a_table_that_records_an_event_twice_is_found() {
    finds(Flaw::RecordUnchecked, "every event that concerns us is on record");
}

#[test]
fn a_table_that_records_the_event_before_its_facts_is_found() {
    finds(Flaw::TwoTransactions, "in the end everybody has what they have paid for");
}

#[test]
fn a_table_that_acknowledges_before_it_has_committed_is_found() {
    finds(Flaw::CommitsLater, "a 2xx means committed");
}

#[test]
fn a_table_that_leaves_out_what_was_bought_is_found() {
    finds(Flaw::GrantForgotten, "access is what follows from the facts");
}
