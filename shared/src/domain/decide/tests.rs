use super::super::access::{End, EndReason, Status};
use super::super::facts::{Payment, Sale};
use super::super::shop::Owner;
use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn ours() -> Shop {
    Shop { mode: Mode::Test, mark: id("ours") }
}

/// A grant of `tutorclaw`, in words: `active`, `suspended`, `99%`, `active until 1001`.
fn grant(words: &str) -> Grant {
    let (word, until) = words.split_once(" until ").unwrap_or((words, ""));
    let at = until.parse().ok().map(Timestamp::from_unix_seconds);
    Grant {
        product: id("tutorclaw"),
        status: match word {
            "suspended" => Status::Suspended,
            "dispute_lost" => Status::DisputeLost,
            "revoked" => Status::Revoked,
            "processing" => Status::Processing,
            "failed" => Status::Failed,
            _ => Status::Active,
        },
        since: None,
        end: at.map(|at| End { at, reason: EndReason::GivenUntil }),
        refunded_percent: word.trim_end_matches('%').parse().unwrap_or(0),
    }
}

/// Whether `pi_b`, which has come to open `tutorclaw`, is marked as its first purchase, and what it
/// replaces as that. `held` are the learner's other sources, of which `pi_a` was the first.
#[track_caller]
fn check_first_purchase(held: &[(&str, &str)], expected: &str) {
    let grants = held.iter().map(|(source, words)| (id(source), grant(words)));
    let entitlements = grants
        .collect::<Entitlements>()
        .with_first_purchases(BTreeMap::from([(id("tutorclaw"), id("pi_a"))]));
    let first = first_purchase(Some(&entitlements), &id("pi_b"), &id("tutorclaw"), NOW);
    let found = match first {
        None => "duplicate".to_owned(),
        Some(FirstPurchase { replaces: None }) => "first".to_owned(),
        Some(FirstPurchase { replaces: Some((source, seen)) }) => {
            assert_eq!(seen.as_ref(), entitlements.of(&source), "as it was seen");
            format!("replaces {source}")
        }
    };
    assert_eq!(found, expected, "{held:?}");
}

#[test]
fn a_payment_is_a_duplicate_while_another_holds_the_product() {
    for holds in ["active", "1%", "99%", "active until 1001"] {
        check_first_purchase(&[("pi_a", holds)], "duplicate");
        // Whether it was the first or not.
        check_first_purchase(&[("pi_a", "100%"), ("pi_c", holds)], "duplicate");
    }
    for over in ["100%", "suspended", "dispute_lost", "revoked", "active until 1000"] {
        check_first_purchase(&[("pi_a", over)], "replaces pi_a");
        check_first_purchase(&[("pi_a", over), ("grant_c", "active")], "replaces pi_a");
    }
    for pending in ["processing", "failed"] {
        check_first_purchase(&[("pi_a", pending)], "replaces pi_a");
    }
    // Its grant is gone: the learner was erased and has bought again.
    check_first_purchase(&[], "replaces pi_a");
}

#[test]
fn nothing_seen_of_the_learner_is_taken_for_a_first_purchase() {
    let first = first_purchase(None, &id("pi_b"), &id("tutorclaw"), NOW);
    assert_eq!(first, Some(FirstPurchase { replaces: None }));
}

fn event(kind: &str) -> Event {
    let kind = kind.to_owned();
    Event { id: id("evt_1"), kind, object: None, api_version: None, created: NOW }
}

fn observation(owner: Owner, facts: Facts) -> Observation {
    Observation {
        event: Some(event("refund.created")),
        mode: Mode::Test,
        connected_account: false,
        owner,
        content: Content::Facts(id("pi_a"), Box::new(facts)),
    }
}

fn sold() -> Facts {
    let sale = Sale {
        product: id("tutorclaw"),
        price: id("tutorclaw_paid"),
        session: id("cs_a"),
        total: None,
        opened_at: Some(NOW),
        learner: id("ada"),
    };
    Purchase { sale, payment: Payment::paid(NOW) }.into()
}

#[test]
fn a_payment_is_a_purchase_s_a_subscription_s_or_foreign() {
    let marked = |mark: &str| Owner::Marked(id(mark));
    let of_subscription = |owner| PaymentFor::Subscription(id("sub_1"), id("in_1"), owner);
    let quarantined = "the payment is for invoice in_1 of subscription sub_1, and this version \
                       doesn't sell subscriptions";
    let quarantined = Outcome::Quarantined { reason: quarantined.to_owned() };
    let foreign = Outcome::Ignored(IgnoreReason::NotOurs);
    for (answer, expected) in [
        (PaymentFor::Purchase(marked("ours")), Outcome::Applied),
        (PaymentFor::Purchase(marked("theirs")), foreign.clone()),
        (PaymentFor::Purchase(Owner::Unmarked), foreign.clone()),
        (of_subscription(marked("ours")), quarantined),
        (of_subscription(marked("theirs")), foreign.clone()),
        (of_subscription(Owner::Unmarked), foreign),
    ] {
        let refund = observation(Owner::Unsaid, Facts::default());
        let mut state = State::default();
        let asked = decide(&state, &refund, &ours(), NOW);
        assert_eq!(asked, Decision::Ask(Question::Owner(id("pi_a"))));
        // The answer about another payment is no answer.
        state.answers.owners.insert(id("pi_b"), Ok(answer.clone()));
        assert_eq!(decide(&state, &refund, &ours(), NOW), asked);
        state.answers.owners.insert(id("pi_a"), Ok(answer));
        let Decision::Plan(plan) = decide(&state, &refund, &ours(), NOW) else { panic!() };
        assert_eq!(plan.outcome, expected);
        // A payment that is stored is ours, and nobody is asked.
        let source = Some(StoredSource { facts: sold(), version: 1 });
        let stored = Stored { source, ..Stored::default() };
        let state = State { stored, ..State::default() };
        assert!(matches!(decide(&state, &refund, &ours(), NOW), Decision::Plan(_)));
    }
}

#[test]
fn only_the_event_of_a_purchase_is_decided_without_reading() {
    let read = Observation { event: None, ..observation(Owner::Marked(id("ours")), sold()) };
    assert!(observation(Owner::Marked(id("ours")), sold()).is_probably_new());
    assert!(!read.is_probably_new());
    assert!(!observation(Owner::Unsaid, Facts::default()).is_probably_new());
}

#[test]
fn an_erasure_that_was_not_seen_is_taken_not_to_be() {
    let bought = observation(Owner::Marked(id("ours")), sold());
    let learner = |erased_at: Option<i64>| {
        let erased_at = erased_at.map(Timestamp::from_unix_seconds);
        let access = Some(Entitlements::default().with_erasure(erased_at));
        State { stored: Stored { access, ..Stored::default() }, ..State::default() }
    };
    for (state, expected) in [
        (State::default(), Some(None)),
        (learner(None), Some(None)),
        // Before and after the session was opened.
        (learner(Some(999)), Some(Some(999))),
        (learner(Some(1_000)), None),
    ] {
        let Decision::Plan(plan) = decide(&state, &bought, &ours(), NOW) else { panic!() };
        let condition = plan.writes.iter().find_map(|write| match write {
            Write::SetGrant { erased_at, .. } => Some(erased_at.map(Timestamp::unix_seconds)),
            Write::RecordEvent { .. }
            | Write::ListQuarantined { .. }
            | Write::ResolveQuarantined { .. }
            | Write::StoreSource { .. }
            | Write::Erase { .. }
            | Write::ListDoublePayment { .. }
            | Write::UnlinkCustomer { .. } => None,
        });
        assert_eq!(condition, expected, "{state:?}");
    }
}
