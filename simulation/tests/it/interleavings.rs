//! Every interleaving, in the small.

use std::sync::Arc;

use simulation::interleaving::{Bounds, explore};
use simulation::oracle::{Stripe, Word};
use simulation::run::Run;
use simulation::world::{Flaw, Stage};

const OPEN: Word = Word::Open { learner: 0, product: 0 };
const CARD: Word = Word::Card { session: 0 };
const DEBIT: Word = Word::Debit { session: 0 };
const SETTLE: Word = Word::Settle { session: 0 };
const REFUSE: Word = Word::Refuse { session: 0 };
const READ: Word = Word::Read { session: 0 };
const WAIT: Word = Word::Wait { seconds: 100 };

const fn again(event: u8) -> Word {
    Word::Repeat { event, later: false }
}

const fn garble(event: u8) -> Word {
    Word::Garble { event }
}

/// Explores all that these words have Stripe tell, each parcel as often as `copies` says.
#[track_caller]
fn explored(words: &[Word], copies: &[usize], bounds: Bounds) -> u64 {
    let stripe = Arc::new(Stripe::after(words, "", 1_800_000_000));
    let parcels: Vec<usize> = copies
        .iter()
        .enumerate()
        .flat_map(|(parcel, copies)| std::iter::repeat_n(parcel, *copies))
        .collect();
    match explore(&stripe, &parcels, bounds, None) {
        Ok(explored) => {
            eprintln!("{bounds:?} {copies:?}: {} runs, {:?}", explored.runs, explored.tally);
            explored.runs
        }
        Err(broken) => panic!("{}\n  {}", broken.violation, broken.story.join("\n  ")),
    }
}

const ORDERS: Bounds = Bounds { instances: 1, troubles: 0 };
const TWO: Bounds = Bounds { instances: 2, troubles: 0 };
const THREE: Bounds = Bounds { instances: 3, troubles: 0 };
const TROUBLED: Bounds = Bounds { instances: 2, troubles: 1 };
const TWICE_TROUBLED: Bounds = Bounds { instances: 2, troubles: 2 };

#[test]
fn seven_events_of_one_purchase_end_in_the_truth_in_each_of_their_orders() {
    // A debit that is told of twice, read while it is on its way and once it has come, and one
    // event that also comes in a shape that can't be read: seven in all, two in the same second.
    let words = [OPEN, DEBIT, READ, WAIT, SETTLE, READ, again(0), again(1), garble(1)];
    assert_eq!(explored(&words, &[1; 7], ORDERS), 5040);
}

#[test]
fn each_event_twice_ends_in_the_truth_in_each_of_their_orders() {
    assert_eq!(explored(&[OPEN, DEBIT, WAIT, SETTLE, READ], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, DEBIT, REFUSE, READ], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, CARD, READ, garble(0)], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, CARD, OPEN, CARD, READ, again(1)], &[2, 2, 2, 1], ORDERS), 630);
}

#[test]
fn two_functions_meet_at_every_point_and_nothing_is_lost_or_doubled() {
    for words in [
        &[OPEN, CARD, READ, again(0)][..],
        &[OPEN, DEBIT, SETTLE, READ],
        &[OPEN, DEBIT, REFUSE, READ],
        &[OPEN, CARD, OPEN, CARD, READ],
        &[OPEN, CARD, garble(0), READ],
    ] {
        assert!(explored(words, &[1, 1, 1], TWO) > 100);
        assert!(explored(words, &[2, 1, 1], TWO) > 1000);
    }
}

#[test]
fn three_functions_meet_at_every_point() {
    assert!(explored(&[OPEN, DEBIT, SETTLE, READ], &[1, 1, 1], THREE) > 1000);
    assert!(explored(&[OPEN, CARD, garble(0), READ], &[1, 1, 1], THREE) > 1000);
}

#[test]
fn wherever_one_function_is_killed_or_fails_the_other_and_the_next_make_it_good() {
    for words in [
        &[OPEN, CARD, again(0)][..],
        &[OPEN, DEBIT, SETTLE],
        &[OPEN, CARD, READ],
        &[OPEN, CARD, garble(0)],
    ] {
        assert!(explored(words, &[1, 1], TROUBLED) > 900);
    }
    assert!(explored(&[OPEN, DEBIT, SETTLE], &[2, 1], TROUBLED) > 20_000);
    assert!(explored(&[OPEN, CARD, garble(0)], &[1, 1], TWICE_TROUBLED) > 30_000);
}

#[test]
fn a_function_that_has_had_its_time_says_so_and_the_next_delivery_applies() {
    let stripe = Arc::new(Stripe::after(&[OPEN, CARD], "", 1_800_000_000));
    let mut run = Run::new(&stripe, 1);
    run.start(0);
    while run.busy().all(|(_, stage)| stage != Stage::Committing) {
        assert_eq!(run.resume(0, None).unwrap(), None);
    }
    run.pass(7);
    // Its commit is made, but the answer takes too long.
    assert_eq!(run.resume(0, None).unwrap(), None);
    run.pass(1);
    let answered = loop {
        if let Some(answered) = run.resume(0, None).unwrap() {
            break answered;
        }
    };
    assert!(answered.is_acknowledged, "what is there in time is said");
    run.start(0);
    assert_eq!(run.resume(0, None).unwrap(), None);
    run.pass(8);
    let answered = run.resume(0, None).unwrap();
    assert_eq!(answered.map(|answered| answered.is_acknowledged), Some(false));
    assert_eq!(run.tally().get("answered 5xx"), Some(&1));
    run.finish().unwrap();
}

#[test]
fn a_table_that_does_not_check_versions_is_found_by_two_functions() {
    let stripe = Arc::new(Stripe::after(&[OPEN, DEBIT, WAIT, SETTLE], "", 1_800_000_000));
    let broken = explore(&stripe, &[0, 1], TWO, Some(Flaw::VersionUnchecked)).unwrap_err();
    assert!(broken.violation.law.contains("never taken back"), "{:#?}", broken.story);
}
