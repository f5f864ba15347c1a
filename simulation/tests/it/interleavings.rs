//! Every interleaving of a few events.

use std::sync::Arc;

use simulation::interleaving::{Bounds, Deliveries, explore};
use simulation::mutant::Mutant;
use simulation::oracle::{Action, Stripe};
use simulation::run::Run;
use simulation::world::Stage;

const OPEN: Action = Action::Open { learner: 0, product: 0 };
const CARD: Action = Action::Card { session: 0 };
const DEBIT: Action = Action::Debit { session: 0 };
const SETTLE: Action = Action::Settle { session: 0 };
const REFUSE: Action = Action::Refuse { session: 0 };
const READ: Action = Action::Read { session: 0 };
const WAIT: Action = Action::Wait { seconds: 100 };

const HALF: Action = Action::Refund { session: 0, parts: 2, start: 2 };
const WHOLE: Action = Action::Refund { session: 0, parts: 1, start: 2 };
const FAILS: Action = Action::RefundFails { refund: 0 };
const DISPUTE: Action = Action::Dispute { session: 0, is_inquiry: false };
const WON: Action = Action::Decide { dispute: 0, verdict: 0 };
/// The opposite of won or lost.
const FLIP: Action = Action::Decide { dispute: 0, verdict: 0 };
const LOST: Action = Action::Decide { dispute: 0, verdict: 1 };
/// After a lost dispute.
const APPEAL: Action = Action::Decide { dispute: 0, verdict: 4 };
const WARN: Action = Action::Warn { session: 0 };
const ERASE: Action = Action::Erase { learner: 0 };

const fn again(event: u8) -> Action {
    Action::Repeat { event, later: false }
}

const fn garble(event: u8) -> Action {
    Action::Garble { event }
}

/// Explores every interleaving of the events these actions cause, each delivered as often as
/// `copies` says.
#[track_caller]
fn explored(actions: &[Action], copies: &[usize], bounds: Bounds) -> u64 {
    explored_after(&[], actions, copies, bounds)
}

/// The same, after these deliveries.
#[track_caller]
fn explored_after(first: &[usize], actions: &[Action], copies: &[usize], bounds: Bounds) -> u64 {
    let stripe = Arc::new(Stripe::after(actions, "", 1_800_000_000));
    let deliveries: Vec<usize> = copies
        .iter()
        .enumerate()
        .flat_map(|(delivery, copies)| std::iter::repeat_n(delivery, *copies))
        .collect();
    match explore(&stripe, Deliveries { first, then: &deliveries }, bounds, None) {
        Ok(explored) => {
            eprintln!("{actions:?} {copies:?}: {} runs, {:?}", explored.runs, explored.tally);
            explored.runs
        }
        Err(broken) => panic!("{}\n  {}", broken.violation, broken.trace.join("\n  ")),
    }
}

const ORDERS: Bounds = Bounds { instances: 1, faults: 0 };
const TWO: Bounds = Bounds { instances: 2, faults: 0 };
const THREE: Bounds = Bounds { instances: 3, faults: 0 };
const ONE_FAULT: Bounds = Bounds { instances: 2, faults: 1 };
const TWO_FAULTS: Bounds = Bounds { instances: 2, faults: 2 };

#[test]
fn seven_events_of_one_purchase_converge_in_every_order() {
    // A debit, reported twice, read while it is processing and once it is paid, and a garbled copy
    // of one event: seven in all, two in the same second.
    let actions = [OPEN, DEBIT, READ, WAIT, SETTLE, READ, again(0), again(1), garble(1)];
    assert_eq!(explored(&actions, &[1; 7], ORDERS), 5040);
}

#[test]
fn refunds_and_a_dispute_converge_in_every_order() {
    let actions = [OPEN, CARD, HALF, HALF, FAILS, DISPUTE, WON];
    // Sold, refunded twice in part with one failure that is reported twice, and a dispute that is
    // won. The events about the charge come last.
    let copies = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1];
    assert_eq!(explored(&actions, &copies, ORDERS), 5040);
}

#[test]
fn a_dispute_won_lost_and_won_converges_in_every_order() {
    let actions = [OPEN, CARD, DISPUTE, WON, FLIP, FLIP, WARN, HALF];
    assert_eq!(explored(&actions, &[1, 1, 1, 1, 1, 1, 1, 0], ORDERS), 5040);
}

#[test]
fn an_appeal_converges_in_every_order() {
    // Lost, appealed with evidence, and then won, or lost again.
    for verdict in [WON, LOST] {
        let evidence = Action::Evidence { dispute: 0 };
        let actions = [OPEN, CARD, DISPUTE, LOST, APPEAL, evidence, verdict];
        assert_eq!(explored(&actions, &[1; 6], ORDERS), 720);
    }
}

#[test]
fn an_appeal_interleaves_with_its_verdict_at_every_point() {
    for verdict in [WON, LOST] {
        let actions = [OPEN, CARD, DISPUTE, LOST, APPEAL, verdict];
        assert!(explored_after(&[0, 1, 2], &actions, &[0, 0, 0, 1, 1], TWO) > 30);
        assert!(explored_after(&[0, 1], &actions, &[0, 0, 1, 1, 1], TWO) > 30);
        assert!(explored_after(&[0, 2], &actions, &[0, 0, 0, 1, 1], ONE_FAULT) > 30);
    }
}

#[test]
fn a_refund_interleaves_with_its_purchase_at_every_point() {
    assert!(explored(&[OPEN, CARD, WHOLE], &[2, 1], TWO) > 30);
    assert!(explored(&[OPEN, CARD, WHOLE, FAILS], &[1, 1, 0, 1], TWO) > 30);
    assert!(explored(&[OPEN, DEBIT, SETTLE, WHOLE], &[1, 1, 1], TWO) > 30);
    assert!(explored(&[OPEN, CARD, WHOLE], &[1, 1], ONE_FAULT) > 30);
}

#[test]
fn contradicting_verdicts_interleave_at_every_point() {
    let actions = [OPEN, CARD, DISPUTE, WON, FLIP, FLIP];
    assert!(explored_after(&[0, 1], &actions, &[0, 0, 1, 1, 1], TWO) > 30);
    assert!(explored_after(&[0, 2], &actions[..5], &[0, 0, 0, 1], ONE_FAULT) > 10);
    assert!(explored_after(&[0, 2], &actions, &[0, 0, 0, 1, 1], ONE_FAULT) > 30);
    // Before the sale is known.
    assert!(explored(&actions, &[0, 0, 1, 1, 1], TWO) > 1000);
}

#[test]
fn two_payments_for_one_product_interleave_at_every_point() {
    let actions = [OPEN, CARD, OPEN, CARD, WHOLE, FAILS];
    assert!(explored(&actions[..4], &[2, 1], TWO) > 30);
    assert!(explored(&[OPEN, CARD, OPEN, CARD, READ], &[1, 1, 1], TWO) > 30);
    assert!(explored(&actions[..4], &[1, 1], ONE_FAULT) > 30);
    assert!(explored_after(&[0], &actions, &[0, 1, 1], ONE_FAULT) > 30);
    // The second comes to open what the first no longer opens, and later does again.
    assert!(explored_after(&[0, 2], &actions, &[0, 1, 0, 0, 1], ONE_FAULT) > 30);
}

#[test]
fn an_erasure_interleaves_with_purchases_at_every_point() {
    assert!(explored(&[OPEN, CARD, ERASE], &[1, 1], TWO) > 30);
    // Events from before, at the same time, and after.
    let debit = [OPEN, DEBIT, ERASE, SETTLE];
    assert!(explored_after(&[0], &debit, &[0, 1, 1], TWO) > 30);
    assert!(explored_after(&[0], &[OPEN, CARD, ERASE, WHOLE], &[0, 1, 1], TWO) > 30);
    let bought_again = [OPEN, CARD, ERASE, WAIT, OPEN, CARD];
    assert!(explored_after(&[0], &bought_again, &[0, 1, 1], TWO) > 30);
    assert!(explored_after(&[2], &bought_again, &[1, 1], TWO) > 30);
    assert!(explored_after(&[0], &bought_again, &[0, 1], ONE_FAULT) > 10);
    assert!(explored_after(&[2], &bought_again, &[0, 1], ONE_FAULT) > 10);
}

#[test]
fn events_delivered_twice_converge_in_every_order() {
    assert_eq!(explored(&[OPEN, DEBIT, WAIT, SETTLE, READ], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, DEBIT, REFUSE, READ], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, CARD, READ, garble(0)], &[2, 2, 2], ORDERS), 90);
    assert_eq!(explored(&[OPEN, CARD, OPEN, CARD, READ, again(1)], &[2, 2, 2, 1], ORDERS), 630);
}

#[test]
fn two_functions_interleaved_at_every_point_lose_nothing() {
    for actions in [
        &[OPEN, CARD, READ, again(0)][..],
        &[OPEN, DEBIT, SETTLE, READ],
        &[OPEN, DEBIT, REFUSE, READ],
        &[OPEN, CARD, garble(0), READ],
    ] {
        assert!(explored(actions, &[1, 1, 1], TWO) > 30);
        assert!(explored(actions, &[2, 1, 1], TWO) > 30);
    }
}

#[test]
fn three_functions_interleave_at_every_point() {
    assert!(explored(&[OPEN, DEBIT, SETTLE, READ], &[1, 1, 1], THREE) > 30);
    assert!(explored(&[OPEN, CARD, garble(0), READ], &[1, 1, 1], THREE) > 30);
}

#[test]
fn a_function_killed_anywhere_is_recovered_by_the_next() {
    for actions in [
        &[OPEN, CARD, again(0)][..],
        &[OPEN, DEBIT, SETTLE],
        &[OPEN, CARD, READ],
        &[OPEN, CARD, garble(0)],
    ] {
        assert!(explored(actions, &[1, 1], ONE_FAULT) > 100);
    }
    assert!(explored(&[OPEN, DEBIT, SETTLE], &[2, 1], ONE_FAULT) > 3000);
    assert!(explored(&[OPEN, CARD, garble(0)], &[1, 1], TWO_FAULTS) > 1000);
}

#[test]
fn a_function_out_of_time_says_so_and_redelivery_applies() {
    let stripe = Arc::new(Stripe::after(&[OPEN, CARD], "", 1_800_000_000));
    let mut run = Run::new(&stripe, 1);
    run.start(0);
    while run.busy().all(|(_, stage)| stage != Stage::Committing) {
        assert_eq!(run.resume(0, None).unwrap(), None);
    }
    run.pass(7);
    // Its commit is made, but the response takes too long.
    assert_eq!(run.resume(0, None).unwrap(), None);
    run.pass(1);
    let answered = loop {
        if let Some(answered) = run.resume(0, None).unwrap() {
            break answered;
        }
    };
    assert!(answered.is_acknowledged, "a result that is there in time is returned");
    run.start(0);
    assert_eq!(run.resume(0, None).unwrap(), None);
    run.pass(8);
    let answered = run.resume(0, None).unwrap();
    assert_eq!(answered.map(|answered| answered.is_acknowledged), Some(false));
    assert_eq!(run.tally().get("answered 5xx"), Some(&1));
    run.finish().unwrap();
}

#[test]
fn an_abandoned_secret_refresh_finds_nothing() {
    let stripe = Arc::new(Stripe::after(&[OPEN, CARD], "", 1_800_000_000));
    let mut run = Run::new(&stripe, 1);
    let answered = |run: &mut Run| {
        run.start(0);
        loop {
            if let Some(answered) = run.resume(0, None).unwrap() {
                break answered.is_acknowledged;
            }
        }
    };
    assert!(answered(&mut run));
    run.pass(11);
    (0..3).for_each(|_| run.roll());
    run.start(0);
    assert_eq!(run.resume(0, None).unwrap(), None);
    assert_eq!(run.busy().next(), Some((0, Stage::AskingForSecret)));
    run.pass(8);
    let late = run.resume(0, None).unwrap();
    assert_eq!(late.map(|late| late.is_acknowledged), Some(false));
    assert!(!answered(&mut run), "the secret is not known yet");
    assert_eq!(run.tally().get("answered 4xx"), None, "so it must not be refused");
    run.pass(11);
    assert!(answered(&mut run));
    run.finish().unwrap();
}

#[test]
fn a_missing_version_check_is_caught_by_two_functions() {
    let stripe = Arc::new(Stripe::after(&[OPEN, DEBIT, WAIT, SETTLE], "", 1_800_000_000));
    let deliveries = Deliveries { first: &[], then: &[0, 1] };
    let broken = explore(&stripe, deliveries, TWO, Some(Mutant::VersionUnchecked)).unwrap_err();
    assert!(broken.violation.invariant.contains("never removed"), "{:#?}", broken.trace);
}

#[test]
fn an_unversioned_verdict_is_caught_by_two_functions() {
    let actions = [OPEN, CARD, DISPUTE, WON, FLIP, FLIP];
    let stripe = Arc::new(Stripe::after(&actions, "", 1_800_000_000));
    let mutant = Some(Mutant::KnownVerdictUnwritten);
    let deliveries = Deliveries { first: &[0, 1, 2], then: &[3, 4] };
    let broken = explore(&stripe, deliveries, TWO, mutant).unwrap_err();
    assert!(broken.violation.invariant.contains("in the end everybody has"), "{:#?}", broken.trace);
}

#[test]
fn a_grant_to_an_erased_learner_is_caught_by_two_functions() {
    let stripe = Arc::new(Stripe::after(&[OPEN, CARD, ERASE], "", 1_800_000_000));
    let deliveries = Deliveries { first: &[], then: &[0, 1] };
    let broken = explore(&stripe, deliveries, TWO, Some(Mutant::ErasureUnchecked)).unwrap_err();
    assert!(broken.violation.invariant.contains("an erased learner"), "{:#?}", broken.trace);
}
