use super::super::money::Money;
use super::super::snapshot::Snapshot;
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn purchase(session: &str, payment: Payment) -> Purchase {
    Purchase {
        sale: Sale {
            learner: "ada".parse().unwrap(),
            product: "tutorclaw".parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            session: session.parse().unwrap(),
            opened_at: Some(at(1)),
            total: Some(Money { amount_minor: 2900, currency: "usd".parse().unwrap() }),
        },
        payment,
    }
}

/// As an earlier version stored it.
fn undated(status: PaymentStatus) -> Payment {
    Payment::stored(status, std::iter::empty().collect())
}

fn refund(id: &str, amount_minor: i64, status: RefundStatus, seconds: i64) -> Facts {
    let refund = Refund { amount_minor, statuses: StatusHistory::once(status, at(seconds)) };
    Facts { refunds: [(id.parse().unwrap(), refund)].into(), ..Facts::default() }
}

fn dispute(id: &str, status: DisputeStatus, seconds: i64) -> Facts {
    let dispute = Dispute { statuses: StatusHistory::once(status, at(seconds)), snapshot: None };
    Facts { disputes: [(id.parse().unwrap(), dispute)].into(), ..Facts::default() }
}

fn answered(id: &str, number: u64, status: DisputeStatus) -> Facts {
    let mut facts = dispute(id, status, 9);
    for dispute in facts.disputes.values_mut() {
        dispute.snapshot = Some(Snapshot { number, value: status });
    }
    facts
}

fn action(seconds: i64) -> OperatorAction {
    OperatorAction {
        at: at(seconds),
        by: "grace".parse().unwrap(),
        reason: "by mistake".parse().unwrap(),
    }
}

/// One observation of each kind, and some that contradict each other.
fn observations() -> Vec<Facts> {
    let manual = |until| ManualGrant {
        learner: "ada".parse().unwrap(),
        product: "tutorclaw".parse().unwrap(),
        until,
        action: action(1),
    };
    let mut observations = vec![
        Facts::default(),
        Origin::Manual(manual(None)).into(),
        Origin::Manual(manual(Some(at(9)))).into(),
        refund("re_1", 2900, RefundStatus::Pending, 3),
        refund("re_1", 2900, RefundStatus::Succeeded, 4),
        refund("re_1", 2900, RefundStatus::Failed, 5),
        refund("re_2", 100, RefundStatus::Succeeded, 5),
        dispute("du_1", DisputeStatus::Inquiry, 3),
        dispute("du_1", DisputeStatus::Open, 4),
        dispute("du_1", DisputeStatus::Open, 2),
        dispute("du_1", DisputeStatus::Lost, 5),
        dispute("du_1", DisputeStatus::Won, 6),
        dispute("du_1", DisputeStatus::Appealed, 7),
        answered("du_1", 1, DisputeStatus::Won),
        answered("du_1", 2, DisputeStatus::Lost),
        dispute("du_2", DisputeStatus::Resolved, 5),
        Facts { fraud_warnings: [("issfr_1".parse().unwrap(), at(5))].into(), ..Facts::default() },
        Facts { fraud_warnings: [("issfr_1".parse().unwrap(), at(4))].into(), ..Facts::default() },
        Facts { revoked: Some(action(7)), ..Facts::default() },
        Facts { revoked: Some(action(8)), ..Facts::default() },
        Facts { forgotten: Some(at(9)), ..Facts::default() },
    ];
    for session in ["cs_a", "cs_b"] {
        let payments = [
            undated(PaymentStatus::Processing),
            undated(PaymentStatus::Failed),
            Payment::reported(PaymentStatus::Processing, at(1)),
            Payment::reported(PaymentStatus::Processing, at(2)),
            Payment::reported(PaymentStatus::Failed, at(1)),
            Payment::paid(at(1)),
            Payment::paid(at(2)),
        ];
        observations.extend(payments.map(|payment| purchase(session, payment).into()));
    }
    observations
}

#[test]
fn the_join_is_idempotent_commutative_and_associative() {
    let observations = observations();
    for a in &observations {
        assert_eq!(a.clone().join(a.clone()), *a);
        for b in &observations {
            let ab = a.clone().join(b.clone());
            assert_eq!(ab, b.clone().join(a.clone()));
            assert_eq!(ab, ab.clone().join(a.clone()));
            for c in &observations {
                let left = ab.clone().join(c.clone());
                assert_eq!(left, a.clone().join(b.clone().join(c.clone())));
            }
        }
    }
}

#[test]
fn the_furthest_payment_status_counts_at_its_earliest_time() {
    use PaymentStatus::{Failed, Paid, Processing};
    let history = |observations: &[Payment]| {
        let facts = observations.iter().cloned().map(|payment| purchase("cs_a", payment).into());
        let all = facts.fold(Facts::default(), Facts::join);
        let payment = all.purchase().unwrap().payment.clone();
        (payment.status(), payment.history().collect::<Vec<_>>())
    };
    let reported = Payment::reported;
    let observations = [
        reported(Paid, at(9)),
        reported(Failed, at(5)),
        reported(Processing, at(2)),
        reported(Paid, at(7)),
    ];
    let dated = [Processing, Failed, Paid].into_iter().zip([2, 5, 7].map(|it| Some(at(it))));
    assert_eq!(history(&observations), (Paid, dated.collect()));
    // An earlier version kept a time only for paid payments. A later event adds it.
    let failed = undated(Failed);
    assert_eq!(history(std::slice::from_ref(&failed)), (Failed, vec![(Failed, None)]));
    let known = [failed.clone(), reported(Failed, at(5))];
    assert_eq!(history(&known), (Failed, vec![(Failed, Some(at(5)))]));
    assert_eq!(history(&[failed, reported(Paid, at(7))]), (Paid, vec![(Paid, Some(at(7)))]));
}

#[track_caller]
fn percent(observations: &[Facts], expected: u8) {
    let all = observations.iter().cloned().fold(Facts::default(), Facts::join);
    assert_eq!(all.refunded_percent(), expected);
}

#[test]
fn refunds_add_up_without_failed_or_canceled_ones() {
    use RefundStatus::{Canceled, Failed, Pending, RequiresAction, Succeeded};
    let sold = || purchase("cs_a", Payment::paid(at(1))).into();
    percent(&[sold()], 0);
    percent(&[sold(), refund("re_1", 2900, Succeeded, 2)], 100);
    percent(&[sold(), refund("re_1", 2900, Pending, 2)], 100);
    percent(&[sold(), refund("re_1", 2900, RequiresAction, 2)], 100);
    percent(&[sold(), refund("re_1", 1450, Succeeded, 2)], 50);
    // Rounded down: only a full refund is 100%.
    percent(&[sold(), refund("re_1", 2899, Succeeded, 2)], 99);
    let halves = [refund("re_1", 1450, Succeeded, 2), refund("re_2", 1450, Pending, 3)];
    percent(&[vec![sold()], halves.to_vec()].concat(), 100);
    // A refund that is reported several times is one refund.
    percent(&[sold(), halves[0].clone(), halves[0].clone(), halves[0].clone()], 50);
    percent(&[sold(), refund("re_1", 2900, Succeeded, 2), refund("re_1", 2900, Failed, 3)], 0);
    percent(&[sold(), refund("re_1", 2900, Failed, 3), refund("re_1", 2900, Succeeded, 2)], 0);
    percent(&[sold(), refund("re_1", 2900, Pending, 2), refund("re_1", 2900, Canceled, 3)], 0);
}

#[test]
fn a_refund_of_an_unknown_total_counts_as_full() {
    let succeeded = RefundStatus::Succeeded;
    percent(&[refund("re_1", 1, succeeded, 2)], 100);
    let mut unknown = purchase("cs_a", Payment::paid(at(1)));
    unknown.sale.total = None;
    percent(&[unknown.into(), refund("re_1", 1, succeeded, 2)], 100);
    percent(&[refund("re_1", i64::MAX, succeeded, 2), refund("re_2", i64::MAX, succeeded, 2)], 100);
}

#[test]
fn contradicting_verdicts_resolve_to_stripe_s_last_answer() {
    use DisputeStatus::{Appealed, Lost, Open, Won};
    let status = |observations: &[Facts]| {
        let all = observations.iter().cloned().fold(Facts::default(), Facts::join);
        all.disputes.values().next().unwrap().status().unwrap()
    };
    assert_eq!(status(&[dispute("du_1", Open, 1), dispute("du_1", Won, 2)]), Won);
    assert_eq!(status(&[dispute("du_1", Won, 2), dispute("du_1", Open, 1)]), Won);
    let both = [dispute("du_1", Lost, 1), answered("du_1", 1, Won)];
    assert_eq!(status(&both), Won);
    assert_eq!(status(&[&both[..], &[answered("du_1", 2, Lost)]].concat()), Lost);
    // Stripe hasn't been asked yet: the worse one counts.
    assert_eq!(status(&[dispute("du_1", Won, 2), dispute("du_1", Lost, 1)]), Lost);
    // After an appeal, a single verdict may be the one before it or the one after it.
    let appealed = [dispute("du_1", Lost, 1), dispute("du_1", Appealed, 2)];
    assert_eq!(status(&appealed), Appealed);
    assert_eq!(status(&[&appealed[..], &[answered("du_1", 1, Lost)]].concat()), Lost);
    assert_eq!(status(&[dispute("du_1", Won, 3), dispute("du_1", Appealed, 2)]), Appealed);
}

#[test]
fn an_erased_learner_stays_erased_after_late_events() {
    let forgotten = Facts { forgotten: Some(at(9)), ..Facts::default() };
    let sold: Facts = purchase("cs_a", Payment::paid(at(1))).into();
    let all = sold.clone().join(forgotten).join(Facts { revoked: Some(action(7)), ..sold });
    let text = format!("{all:?}");
    assert!(!text.contains("ada") && !text.contains("by mistake"), "{text}");
    assert!(text.contains("tutorclaw_paid") && text.contains("2900"), "{text}");
}

#[test]
fn a_note_is_one_line_of_limited_length() {
    assert_eq!(" a gift ".parse::<Note>().unwrap().to_string(), "a gift");
    for text in ["", "  ", "a\nb", &"x".repeat(501)] {
        assert_eq!(text.parse::<Note>(), Err(NoteError), "{text}");
    }
}

#[test]
fn an_erasure_covers_what_is_known_to_have_begun_by_then() {
    let bought = |opened_at: Option<i64>| {
        let mut bought = purchase("cs_a", Payment::paid(at(9)));
        bought.sale.opened_at = opened_at.map(at);
        Facts::from(bought)
    };
    for (facts, is_covered) in [
        (bought(Some(4)), true),
        (bought(Some(5)), true),
        (bought(Some(6)), false),
        (bought(None), true),
        // A refund that arrives before its purchase: its learner and its start aren't known.
        (refund("re_1", 100, RefundStatus::Succeeded, 1), false),
        (Facts { forgotten: Some(at(1)), ..Facts::default() }, true),
    ] {
        assert_eq!(facts.is_erased_by(at(5)), is_covered, "{facts:?}");
    }
}
