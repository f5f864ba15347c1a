use std::collections::BTreeMap;

use super::*;
use crate::domain::access::{Entitlements, Reason, check};
use crate::domain::availability::View;
use crate::domain::catalog::{Catalog, Category, Course, Price, Product};
use crate::domain::facts::{ManualGrant, Sale};
use crate::domain::id::ProductId;

const NOW: i64 = 99;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

#[expect(clippy::unnecessary_wraps, reason = "a sale's total is optional")]
fn usd(amount_minor: i64) -> Option<Money> {
    Some(Money { amount_minor, currency: "usd".parse().unwrap() })
}

fn action(seconds: i64) -> OperatorAction {
    OperatorAction {
        at: at(seconds),
        by: "grace".parse().unwrap(),
        reason: "by mistake".parse().unwrap(),
    }
}

fn bought(payment: Payment) -> Facts {
    let sale = Sale {
        product: "tutorclaw".parse().unwrap(),
        price: "tutorclaw_paid".parse().unwrap(),
        session: "cs_1".parse().unwrap(),
        opened_at: Some(at(1)),
        total: usd(2900),
        learner: "ada".parse().unwrap(),
    };
    Purchase { sale, payment }.into()
}

fn payment(statuses: &[(PaymentStatus, i64)]) -> Facts {
    let (furthest, _) = *statuses.iter().max().unwrap();
    let statuses = statuses.iter().map(|(status, seconds)| (*status, at(*seconds)));
    bought(Payment::stored(furthest, statuses.collect()))
}

fn undated(status: PaymentStatus) -> Facts {
    bought(Payment::stored(status, std::iter::empty().collect()))
}

fn sold() -> Facts {
    payment(&[(PaymentStatus::Paid, 1)])
}

fn given(seconds: i64, until: Option<i64>) -> Facts {
    let product = "tutorclaw".parse().unwrap();
    let (until, learner) = (until.map(at), "ada".parse().unwrap());
    Origin::Manual(ManualGrant { product, until, action: action(seconds), learner }).into()
}

fn refund(id: &str, amount_minor: i64, statuses: &[(RefundStatus, i64)]) -> Facts {
    let statuses = statuses.iter().map(|(status, seconds)| (*status, at(*seconds))).collect();
    let refund = Refund { amount_minor, statuses };
    Facts { refunds: [(id.parse().unwrap(), refund)].into(), ..Facts::default() }
}

fn dispute(id: &str, statuses: &[(DisputeStatus, i64)], read: Option<DisputeStatus>) -> Facts {
    let statuses = statuses.iter().map(|(status, seconds)| (*status, at(*seconds))).collect();
    let mut dispute = Dispute { statuses, snapshot: None };
    if let Some(status) = read {
        dispute.record(status);
    }
    Facts { disputes: [(id.parse().unwrap(), dispute)].into(), ..Facts::default() }
}

fn revoked(seconds: i64) -> Facts {
    Facts { revoked: Some(action(seconds)), ..Facts::default() }
}

fn joined(observations: &[Facts]) -> Facts {
    observations.iter().cloned().fold(Facts::default(), Facts::join)
}

fn of(facts: &Facts) -> History {
    history(&"pi_1".parse().unwrap(), facts, RefundThreshold::ALL, at(NOW))
}

#[track_caller]
fn check_steps(observations: &[Facts], expected: &[&str]) {
    let line = |step: &Step| {
        let at = step.at.map_or("-".to_owned(), |at| at.unix_seconds().to_string());
        format!("{at} {} {} {}", step.id, step.fact.name(), step.effect.name())
    };
    let lines: Vec<_> = of(&joined(observations)).steps().iter().map(line).collect();
    assert_eq!(lines, expected);
}

#[test]
fn access_steps_are_in_chronological_order() {
    use DisputeStatus::{Inquiry, Lost, Open, Won};
    use RefundStatus::{Failed, Pending, Succeeded};
    check_steps(&[sold()], &["1 pi_1 paid opens"]);
    check_steps(
        &[sold(), dispute("du_1", &[(Inquiry, 2), (Open, 3), (Won, 4)], None)],
        &[
            "1 pi_1 paid opens",
            "2 du_1 dispute_inquiry nothing",
            "3 du_1 dispute_open suspends",
            "4 du_1 dispute_won restores",
        ],
    );
    check_steps(
        &[sold(), dispute("du_1", &[(Open, 3), (Lost, 4), (Won, 5)], Some(Won))],
        &[
            "1 pi_1 paid opens",
            "3 du_1 dispute_open suspends",
            "4 du_1 dispute_lost closes",
            "5 du_1 dispute_won restores",
        ],
    );
    check_steps(
        &[
            sold(),
            refund("re_1", 1000, &[(Succeeded, 2)]),
            refund("re_2", 1900, &[(Pending, 3), (Succeeded, 4), (Failed, 5)]),
        ],
        &[
            "1 pi_1 paid opens",
            "2 re_1 refunded nothing",
            "3 re_2 refund_pending closes",
            "4 re_2 refunded nothing",
            "5 re_2 refund_failed restores",
        ],
    );
}

#[test]
fn a_bank_debit_lists_the_time_of_each_event() {
    use PaymentStatus::{Failed, Paid, Processing};
    check_steps(&[payment(&[(Processing, 2)])], &["2 pi_1 payment_processing nothing"]);
    check_steps(
        &[payment(&[(Processing, 2), (Failed, 5)])],
        &["2 pi_1 payment_processing nothing", "5 pi_1 payment_failed nothing"],
    );
    check_steps(
        &[payment(&[(Processing, 2), (Failed, 5), (Paid, 7)])],
        &[
            "2 pi_1 payment_processing nothing",
            "5 pi_1 payment_failed nothing",
            "7 pi_1 paid opens",
        ],
    );
    // As an earlier version stored it.
    check_steps(&[undated(Failed)], &["- pi_1 payment_failed nothing"]);
    check_steps(
        &[payment(&[(Processing, 2)]), revoked(3), payment(&[(Paid, 4)])],
        &["2 pi_1 payment_processing nothing", "3 pi_1 revoked closes", "4 pi_1 paid nothing"],
    );
}

#[test]
fn a_limited_grant_ends_with_its_own_step() {
    check_steps(&[given(1, Some(40))], &["1 pi_1 given opens", "40 pi_1 ended closes"]);
    check_steps(&[given(1, Some(NOW + 1))], &["1 pi_1 given opens"]);
    check_steps(
        &[given(1, Some(40)), revoked(9)],
        &["1 pi_1 given opens", "9 pi_1 revoked closes"],
    );
}

#[test]
fn what_ends_before_its_sale_is_known_never_opened() {
    use DisputeStatus::{Lost, Open};
    let late = || payment(&[(PaymentStatus::Paid, 9)]);
    let refunded = || refund("re_1", 2900, &[(RefundStatus::Succeeded, 2)]);
    check_steps(&[refunded()], &["2 re_1 refunded nothing"]);
    check_steps(&[refunded(), late()], &["2 re_1 refunded nothing", "9 pi_1 paid nothing"]);
    check_steps(
        &[dispute("du_1", &[(Open, 2), (Lost, 12)], None), late()],
        &["2 du_1 dispute_open nothing", "9 pi_1 paid nothing", "12 du_1 dispute_lost closes"],
    );
    // As when the operator's clock is behind Stripe's.
    check_steps(&[revoked(2), late()], &["2 pi_1 revoked closes", "9 pi_1 paid nothing"]);
}

#[test]
fn the_explanations_read_well() {
    use PaymentStatus::{Failed, Paid};
    for (fact, words) in [
        (Fact::Payment(Paid, usd(2900)), "Paid 29.00 USD."),
        (Fact::Payment(Paid, usd(0)), "There was nothing to pay."),
        (Fact::Payment(Paid, None), "Paid."),
        (Fact::Payment(Failed, usd(2900)), "The payment of 29.00 USD failed."),
        (Fact::Refund(RefundStatus::Succeeded, usd(2900), 2900), "29.00 USD was refunded."),
        (Fact::Refund(RefundStatus::Succeeded, None, 2900), "The payment was refunded."),
        (
            Fact::Refund(RefundStatus::Failed, usd(2900), 1000),
            "The refund of 10.00 USD of 29.00 USD failed, and the money came back.",
        ),
        (Fact::Dispute(DisputeStatus::Open), "The payment is disputed at the bank."),
    ] {
        assert_eq!(fact.describe(), words);
    }
}

/// Who or what decides whether a source opens its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decider {
    /// It isn't known what was sold, or the learner's data was erased.
    Nobody,
    /// It is open.
    Open,
    Processing,
    Failed,
    /// The bank has yet to decide.
    Dispute,
    Refund,
    Bank,
    Author,
    Time,
}

/// One choice of facts of a kind: its name, the facts at a given time, and what they mean for
/// access.
struct Choice {
    name: &'static str,
    facts: fn(i64) -> Facts,
    counts: Decider,
}

const fn choice(name: &'static str, counts: Decider, facts: fn(i64) -> Facts) -> Choice {
    Choice { name, facts, counts }
}

/// What can happen to a payment. Each choice spans up to three seconds.
const PAYMENTS: [Choice; 9] = {
    use PaymentStatus::{Failed, Paid, Processing};
    [
        choice("unknown", Decider::Nobody, |_| Facts::default()),
        choice("processing", Decider::Processing, |t| payment(&[(Processing, t)])),
        choice("processing, undated", Decider::Processing, |_| undated(Processing)),
        choice("failed", Decider::Failed, |t| payment(&[(Failed, t)])),
        choice("failed, undated", Decider::Failed, |_| undated(Failed)),
        choice("debit failed", Decider::Failed, |t| payment(&[(Processing, t), (Failed, t + 2)])),
        choice("paid", Decider::Open, |t| payment(&[(Paid, t)])),
        choice("debit paid", Decider::Open, |t| payment(&[(Processing, t), (Paid, t + 2)])),
        choice("debit failed, then paid", Decider::Open, |t| {
            payment(&[(Processing, t), (Failed, t + 1), (Paid, t + 2)])
        }),
    ]
};

/// Manual grants, which have neither refunds nor disputes.
const GIFTS: [Choice; 3] = [
    choice("given", Decider::Open, |t| given(t, None)),
    choice("given until tomorrow", Decider::Open, |t| given(t, Some(NOW + 1))),
    choice("given until yesterday", Decider::Time, |t| given(t, Some(NOW - 1))),
];

const REFUNDS: [Choice; 8] = [
    choice("not refunded", Decider::Open, |_| Facts::default()),
    choice("half refunded", Decider::Open, |t| {
        refund("re_1", 1450, &[(RefundStatus::Succeeded, t)])
    }),
    choice("refund pending", Decider::Refund, |t| {
        refund("re_1", 2900, &[(RefundStatus::Pending, t)])
    }),
    choice("refund needs action", Decider::Refund, |t| {
        refund("re_1", 2900, &[(RefundStatus::Pending, t), (RefundStatus::RequiresAction, t + 1)])
    }),
    choice("refunded", Decider::Refund, |t| {
        refund("re_1", 2900, &[(RefundStatus::Pending, t), (RefundStatus::Succeeded, t + 2)])
    }),
    choice("refunded in parts", Decider::Refund, |t| {
        refund("re_1", 1450, &[(RefundStatus::Succeeded, t)]).join(refund(
            "re_2",
            1450,
            &[(RefundStatus::Pending, t + 2)],
        ))
    }),
    choice("refund failed", Decider::Open, |t| {
        refund("re_1", 2900, &[(RefundStatus::Succeeded, t), (RefundStatus::Failed, t + 2)])
    }),
    choice("refund canceled", Decider::Open, |t| {
        refund("re_1", 2900, &[(RefundStatus::Pending, t), (RefundStatus::Canceled, t + 2)])
    }),
];

const DISPUTES: [Choice; 17] = {
    use DisputeStatus::{Appealed, Blocked, Inquiry, InquiryClosed, Lost, Open, Resolved, Won};
    [
        choice("no dispute", Decider::Open, |_| Facts::default()),
        choice("inquiry", Decider::Open, |t| dispute("du_1", &[(Inquiry, t)], None)),
        choice("inquiry closed", Decider::Open, |t| {
            dispute("du_1", &[(Inquiry, t), (InquiryClosed, t + 1)], None)
        }),
        choice("disputed", Decider::Dispute, |t| {
            dispute("du_1", &[(Inquiry, t), (Open, t + 1)], None)
        }),
        choice("won", Decider::Open, |t| dispute("du_1", &[(Open, t), (Won, t + 1)], None)),
        choice("won, statuses alone", Decider::Open, |t| dispute("du_1", &[(Won, t)], None)),
        choice("blocked", Decider::Open, |t| dispute("du_1", &[(Blocked, t)], None)),
        choice("lost", Decider::Bank, |t| dispute("du_1", &[(Open, t), (Lost, t + 2)], None)),
        choice("lost, statuses alone", Decider::Bank, |t| dispute("du_1", &[(Lost, t)], None)),
        choice("resolved", Decider::Bank, |t| dispute("du_1", &[(Resolved, t)], None)),
        choice("lost, then won", Decider::Open, |t| {
            dispute("du_1", &[(Open, t), (Lost, t + 1), (Won, t + 2)], Some(Won))
        }),
        choice("won, then lost", Decider::Bank, |t| {
            dispute("du_1", &[(Open, t), (Won, t + 1), (Lost, t + 2)], Some(Lost))
        }),
        choice("lost, then appealed", Decider::Dispute, |t| {
            dispute("du_1", &[(Open, t), (Lost, t + 1), (Appealed, t + 2)], Some(Appealed))
        }),
        choice("appeal won", Decider::Open, |t| {
            dispute("du_1", &[(Lost, t), (Appealed, t + 1), (Won, t + 2)], Some(Won))
        }),
        choice("won and lost in the same second", Decider::Open, |t| {
            dispute("du_1", &[(Won, t), (Lost, t)], Some(Won))
        }),
        choice("disputed twice, one won", Decider::Dispute, |t| {
            dispute("du_1", &[(Open, t), (Won, t + 2)], None).join(dispute(
                "du_2",
                &[(Open, t + 1)],
                None,
            ))
        }),
        choice("disputed twice, one lost", Decider::Bank, |t| {
            dispute("du_1", &[(Open, t), (Lost, t + 1)], None).join(dispute(
                "du_2",
                &[(Open, t + 2)],
                None,
            ))
        }),
    ]
};

/// The other ways in which access ends.
const ENDS: [Choice; 3] = [
    choice("not ended", Decider::Open, |_| Facts::default()),
    choice("revoked", Decider::Author, revoked),
    choice("erased", Decider::Nobody, |t| Facts { forgotten: Some(at(t)), ..Facts::default() }),
];

/// When the four kinds of facts happen: the payment first, then the others in each order; all in
/// the same second; and the payment last.
const ORDERS: [[i64; 4]; 8] = [
    [1, 5, 10, 15],
    [1, 5, 15, 10],
    [1, 10, 5, 15],
    [1, 10, 15, 5],
    [1, 15, 5, 10],
    [1, 15, 10, 5],
    [1, 1, 1, 1],
    [20, 5, 10, 15],
];

/// Calls `judge` with every combination of facts that one source can have: its name, the facts, and
/// what decides.
fn combinations(orders: &[[i64; 4]], mut judge: impl FnMut(&str, &Facts, Decider)) {
    let mut combine = |choices: [&Choice; 4]| {
        for times in orders {
            let parts: Vec<Facts> =
                choices.iter().zip(times).map(|(choice, time)| (choice.facts)(*time)).collect();
            let name = choices.map(|choice| choice.name).join(", ");
            let decider = decider(choices.map(|choice| choice.counts));
            judge(&format!("{name} at {times:?}"), &joined(&parts), decider);
        }
    };
    for end in &ENDS {
        for gift in &GIFTS {
            combine([gift, &REFUNDS[0], &DISPUTES[0], end]);
        }
        for (payment, refund) in
            PAYMENTS.iter().flat_map(|it| REFUNDS.iter().map(move |of| (it, of)))
        {
            for dispute in &DISPUTES {
                combine([payment, refund, dispute, end]);
            }
        }
    }
}

/// The rule, written a second time: erasure and revocation are final; otherwise the payment
/// decides, then the bank, then refunds, then time.
fn decider([origin, refund, dispute, end]: [Decider; 4]) -> Decider {
    match (end, origin) {
        (Decider::Nobody, _) | (_, Decider::Nobody) => Decider::Nobody,
        (Decider::Author, _) => Decider::Author,
        (_, Decider::Processing | Decider::Failed) => origin,
        _ if dispute == Decider::Bank => Decider::Bank,
        _ if refund == Decider::Refund => Decider::Refund,
        _ if dispute == Decider::Dispute => Decider::Dispute,
        _ => origin,
    }
}

fn decider_of(effective_status: Option<EffectiveStatus>) -> Decider {
    match effective_status {
        None => Decider::Nobody,
        Some(EffectiveStatus::Active) => Decider::Open,
        Some(EffectiveStatus::Ended) => Decider::Time,
        Some(EffectiveStatus::Processing) => Decider::Processing,
        Some(EffectiveStatus::Failed) => Decider::Failed,
        Some(EffectiveStatus::Refunded) => Decider::Refund,
        Some(EffectiveStatus::Suspended) => Decider::Dispute,
        Some(EffectiveStatus::DisputeLost) => Decider::Bank,
        Some(EffectiveStatus::Revoked) => Decider::Author,
    }
}

/// The effect that the last step with an effect must have had.
fn last_effect(history: &History, is_ended: bool) -> (Option<Effect>, bool) {
    let mut effects = history.steps().iter().map(|step| step.effect);
    let last = effects.rfind(|effect| *effect != Effect::Nothing);
    let agrees = match (last, history.effective_status()) {
        (Some(Effect::Opens | Effect::Restores), Some(EffectiveStatus::Active))
        | (Some(Effect::Suspends), Some(EffectiveStatus::Suspended))
        | (
            Some(Effect::Closes),
            Some(
                EffectiveStatus::Ended
                | EffectiveStatus::Refunded
                | EffectiveStatus::DisputeLost
                | EffectiveStatus::Revoked,
            ),
        )
        | (None, Some(EffectiveStatus::Processing | EffectiveStatus::Failed)) => true,
        (last, None) => last == is_ended.then_some(Effect::Closes),
        // Refunded or disputed before the payment was reported.
        (None, Some(_)) => {
            history.steps().iter().all(|it| it.effective_status != Some(EffectiveStatus::Active))
        }
        _ => false,
    };
    (last, agrees)
}

#[test]
fn a_source_s_status_agrees_with_its_last_step() {
    let mut seen = 0;
    combinations(&ORDERS, |name, facts, expected| {
        seen += 1;
        let history = of(facts);
        let effective_status =
            Grant::of(facts).map(|(_, it)| it.effective_status(RefundThreshold::ALL, at(NOW)));
        assert_eq!(history.effective_status(), effective_status, "{name}: {history:#?}");
        assert_eq!(decider_of(effective_status), expected, "{name}: {history:#?}");
        let is_ended = facts.forgotten.is_some() || facts.revoked.is_some();
        let (last, agrees) = last_effect(&history, is_ended);
        assert!(agrees, "{name}: {effective_status:?} after {last:?}: {history:#?}");
        // Opened once, and then only restored; and nothing happens to what is closed already.
        let effects: Vec<Effect> = history.steps().iter().map(|step| step.effect).collect();
        assert!(effects.iter().filter(|it| **it == Effect::Opens).count() <= 1, "{name}");
        let changes = effects.iter().filter(|it| **it != Effect::Nothing);
        let twice = changes.clone().zip(changes.skip(1)).find(|(one, other)| one == other);
        assert_eq!(twice, None, "{name}: {history:#?}");
        // Only what an earlier version stored lacks its time.
        let undated = history.steps().iter().filter(|step| step.at.is_none()).count();
        assert_eq!(undated, usize::from(name.contains("undated")), "{name}");
        let times: Vec<_> = history.steps().iter().filter_map(|step| step.at).collect();
        assert!(times.is_sorted(), "{name}: {history:#?}");
    });
    assert_eq!(seen, 8 * 3 * (3 + 9 * 8 * 17));
}

#[test]
fn the_explanations_name_only_who_ended_access() {
    combinations(&ORDERS[..1], |name, facts, _| {
        let Some(effective_status) = of(facts).effective_status() else { return };
        let words = describe_status(effective_status, facts);
        for (word, names) in [
            ("author", Decider::Author),
            ("returned the money", Decider::Bank),
            ("disputed", Decider::Dispute),
            ("refunded", Decider::Refund),
            ("as planned", Decider::Time),
            ("failed", Decider::Failed),
            ("processing", Decider::Processing),
        ] {
            let is_named = decider_of(Some(effective_status)) == names;
            assert_eq!(words.contains(word), is_named, "{name}: {effective_status:?}: {words}");
        }
        // A refund that was made isn't described as pending, nor the reverse.
        if effective_status == EffectiveStatus::Refunded {
            let is_made = name.contains(", refunded,");
            assert_eq!(words.contains("was refunded"), is_made, "{name}: {words}");
        }
    });
}

/// A catalog with one product.
fn catalog() -> Catalog {
    let product: ProductId = "tutorclaw".parse().unwrap();
    let course = Course {
        id: "tutorclaw".parse().unwrap(),
        title: "TutorClaw".to_owned(),
        summary: String::new(),
        category: Category::Alacarte,
        chapters: vec!["One".to_owned()],
        free_chapters: 0,
    };
    let price = Price {
        key: "tutorclaw_paid".parse().unwrap(),
        product: product.clone(),
        money: usd(2900).unwrap(),
    };
    let sold =
        Product { id: product, name: "TutorClaw".to_owned(), courses: vec![course.id.clone()] };
    Catalog::new(vec![course], vec![sold], vec![price]).unwrap()
}

/// One set of facts for each way in which a source can reach a status, at some times.
fn representatives() -> Vec<(String, Facts)> {
    let mut representatives: BTreeMap<String, (String, Facts)> = BTreeMap::new();
    combinations(&[ORDERS[0], ORDERS[6]], |name, facts, decider| {
        let history = of(facts);
        let statuses: Vec<_> = history
            .steps()
            .iter()
            .filter(|step| step.effect != Effect::Nothing)
            .map(|step| format!("{} {:?}", step.effect.name(), step.at))
            .collect();
        representatives
            .entry(format!("{decider:?} {}", statuses.join(" ")))
            .or_insert_with(|| (name.to_owned(), facts.clone()));
    });
    representatives.into_values().collect()
}

#[test]
fn a_product_s_status_agrees_with_access_for_two_sources() {
    let catalog = catalog();
    let course = &catalog.courses()[0];
    let (first, second): (SourceId, SourceId) = ("pi_1".parse().unwrap(), "pi_2".parse().unwrap());
    let representatives = representatives();
    assert!(representatives.len() > 40, "{}", representatives.len());
    for (one_name, one) in &representatives {
        for (other_name, other) in &representatives {
            let name = format!("({one_name}) and ({other_name})");
            let histories = [of(one), of(other)];
            let overall = overall(&[&histories[0], &histories[1]]);
            let grants = [(&first, one), (&second, other)];
            let entitlements: Entitlements = grants
                .into_iter()
                .filter_map(|(source, facts)| Some((source.clone(), Grant::of(facts)?.1)))
                .collect();
            let (threshold, now) = (RefundThreshold::ALL, at(NOW));
            let view = View { catalog: &catalog, entitlements: &entitlements, threshold, now };
            let access = check(&view, course, None);
            assert_eq!(overall.is_open, access.granted, "{name}: {histories:#?}");
            let decisive = overall.decisive.and_then(|number| histories[number].effective_status());
            let reason = match decisive {
                Some(EffectiveStatus::Active) => Reason::Purchased,
                Some(EffectiveStatus::Processing) => Reason::PaymentProcessing,
                Some(EffectiveStatus::Suspended) => Reason::PaymentDisputed,
                _ => Reason::PaymentRequired,
            };
            assert_eq!(reason, access.reason, "{name}: {histories:#?}");
            was_so_ever_since(&name, &histories, overall);
        }
    }
}

/// The time since which a product is open or closed must agree with the access at each second.
#[track_caller]
fn was_so_ever_since(name: &str, histories: &[History], overall: Overall) {
    let is_open = |second: i64| {
        histories.iter().any(|history| {
            let mut steps = history.steps().iter();
            let last = steps.rfind(|step| step.at.is_none_or(|it| it <= at(second)));
            last.is_some_and(|step| step.effective_status == Some(EffectiveStatus::Active))
        })
    };
    let opens_in = |second: i64| {
        let mut steps = histories.iter().flat_map(History::steps);
        steps.any(|it| {
            it.at == Some(at(second)) && it.effective_status == Some(EffectiveStatus::Active)
        })
    };
    let changes = |second: &i64| {
        let (was, is) = (is_open(second.saturating_sub(1)), is_open(*second));
        was != is || (!was && opens_in(*second))
    };
    let change = (1..=30).chain([NOW - 1, NOW]).rev().find(changes);
    assert_eq!(overall.since, change.map(at), "{name}: {histories:#?}");
}

#[test]
fn open_since_the_first_source_and_closed_since_the_last() {
    use DisputeStatus::{Lost, Open, Won};
    let check = |sources: &[Facts], is_open: bool, since: Option<i64>, decisive: usize| {
        let histories: Vec<History> = sources.iter().map(of).collect();
        let found = overall(&histories.iter().collect::<Vec<_>>());
        let expected = Overall { is_open, since: since.map(at), decisive: Some(decisive) };
        assert_eq!(found, expected, "{sources:#?}");
    };
    let paid = |second: i64| payment(&[(PaymentStatus::Paid, second)]);
    let disputed =
        |statuses: &[(DisputeStatus, i64)]| paid(5).join(dispute("du_1", statuses, None));
    check(&[paid(5)], true, Some(5), 0);
    check(&[paid(5), paid(7)], true, Some(5), 1);
    check(&[disputed(&[(Open, 8)])], false, Some(8), 0);
    check(&[disputed(&[(Open, 8)]), paid(7)], true, Some(5), 1);
    check(&[disputed(&[(Open, 8), (Won, 9)])], true, Some(9), 0);
    check(&[disputed(&[(Open, 8), (Lost, 9)])], false, Some(8), 0);
    check(&[disputed(&[(Lost, 3)])], false, None, 0);
    // All in the same second.
    check(&[disputed(&[(Open, 5), (Lost, 5)])], false, Some(5), 0);
    check(&[given(1, Some(40))], false, Some(40), 0);
    check(&[given(1, Some(40)), paid(50)], true, Some(50), 1);
    check(&[given(1, Some(40)), paid(40)], true, Some(1), 1);
    check(&[given(1, Some(40)), paid(30)], true, Some(1), 1);
    // A failed payment doesn't change what was owned before.
    let failed = payment(&[(PaymentStatus::Processing, 50), (PaymentStatus::Failed, 60)]);
    check(&[disputed(&[(Open, 8), (Lost, 9)]), failed.clone()], false, Some(8), 0);
    check(&[failed], false, None, 0);
}
