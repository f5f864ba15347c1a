//! Generated histories of learners who buy: one session to pay, one payment, and nobody locked out.

use simulation::buying::{Buying, Mutant};
use simulation::search::{Generated, play, play_all};

/// The same on every machine; `cargo xtask simulate --buying --seed` plays others.
const SEED: u64 = 2026;
const HISTORIES: u64 = 5_000;

#[test]
fn concurrent_buyers_get_one_session_and_no_double_sale() {
    let tally = play_all::<Buying>(SEED, HISTORIES, None).unwrap_or_else(|it| panic!("{it}"));
    for happened in [
        "Stripe broke",
        "a link may not close the learner's session",
        "a payment changed",
        "a transaction was writing the same item",
        "answered 200",
        "answered 409",
        "answered 503",
        "a new session",
        "done late",
        "done, and the response lost",
        "event delivered",
        "function killed",
        "not reached",
        "paid by card",
        "paid by debit",
        "price changed",
        "redirected",
        "session closed",
        "session not closed: Stripe failed",
        "session not closed: no longer open",
        "session of another attempt, or recorded already",
    ] {
        let times = tally.get(happened).copied().unwrap_or_default();
        assert!(times >= HISTORIES / 200, "{happened}: {times} times only; {tally:?}");
    }
    for step in [
        "read",
        "count",
        "create customer",
        "begin attempt",
        "open session",
        "record session",
        "check session",
        "close session",
        "ingest",
    ] {
        for happened in [format!("failed: {step}"), format!("killed after: {step}")] {
            let times = tally.get(happened.as_str()).copied().unwrap_or_default();
            assert!(times >= HISTORIES / 500, "{happened}: {times} times only; {tally:?}");
        }
    }
}

#[test]
fn the_same_seed_replays_the_same_checkouts() {
    for number in 0..20 {
        let played = || play::<Buying>(SEED, number, None).unwrap();
        assert_eq!(played(), played());
    }
}

#[track_caller]
fn finds(mutant: Mutant, invariant: &str) {
    let broken = play_all::<Buying>(SEED, 10_000, Some(mutant)).expect_err("no history catches it");
    assert!(broken.violation.invariant.contains(invariant), "{broken}");
    let length = broken.shortest.parts();
    assert!(length <= 20, "the shortest history has {length} parts:\n{broken}");
}

#[test]
fn omitting_attempts_is_caught() {
    finds(Mutant::AttemptsForgotten, "there is at most one session to pay");
}

#[test]
fn replacing_an_attempt_whose_session_is_in_use_is_caught() {
    finds(Mutant::SessionsOverlooked, "there is at most one session to pay");
}

#[test]
fn leaving_sessions_open_is_caught() {
    finds(Mutant::ExpiryPretended, "there is at most one session to pay");
}

#[test]
fn overwriting_a_customer_is_caught() {
    finds(Mutant::CustomersOverwritten, "a learner has one customer");
}

#[test]
fn returning_unrecorded_sessions_is_caught() {
    finds(Mutant::RecordingPretended, "there is at most one session to pay");
}
