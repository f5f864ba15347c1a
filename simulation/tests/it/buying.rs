//! Generated histories of people who buy: one session to pay, one payment, and nobody locked out.

use simulation::buying::{Buying, Mutant};
use simulation::search::{Generated, play, play_all};

/// The same on every machine; `cargo xtask simulate --buying --seed` plays others.
const SEED: u64 = 2026;
const HISTORIES: u64 = 5_000;

#[test]
fn however_people_buy_there_is_one_session_to_pay_and_nothing_is_sold_twice() {
    let tally = play_all::<Buying>(SEED, HISTORIES, None).unwrap_or_else(|it| panic!("{it}"));
    for happened in [
        "Stripe broke",
        "a link may not close the learner's session",
        "a payment became something else",
        "answered 200",
        "answered 409",
        "answered 503",
        "answered with a new session",
        "done late",
        "done, and the answer lost",
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
}

#[test]
fn the_same_seed_plays_the_same_histories_of_buying() {
    for number in 0..20 {
        let played = || play::<Buying>(SEED, number, None).unwrap();
        assert_eq!(played(), played());
    }
}

#[track_caller]
fn finds(mutant: Mutant, invariant: &str) {
    let broken = play_all::<Buying>(SEED, 10_000, Some(mutant)).expect_err("no history notices");
    assert!(broken.violation.invariant.contains(invariant), "{broken}");
    let length = broken.shortest.parts();
    assert!(length <= 20, "the shortest history has {length} parts:\n{broken}");
}

#[test]
fn checkout_without_attempts_is_found() {
    finds(Mutant::AttemptsForgotten, "there is one session to pay");
}

#[test]
fn an_attempt_that_is_replaced_although_its_session_was_handed_out_is_found() {
    finds(Mutant::SessionsOverlooked, "there is one session to pay");
}

#[test]
fn sessions_that_are_not_closed_are_found() {
    finds(Mutant::ExpiryPretended, "there is one session to pay");
}
