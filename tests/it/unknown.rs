//! Unknown values in every field that this version reads from Stripe: never read as "not paid",
//! "not ours" or "not disputed".

use axum::http::Method;
use serde_json::{Value, json};
use shared::domain::decide::Recorded;
use shared::stripe::wire::{handled_event_types, is_thin};
use simulation::memory::{Contents, Customer, MemoryLedger};
use simulation::rendering;
use tests::altered::{AlteredStripe, put};
use tests::requests::{Who, answer, api, delivery, learner};
use tests::sessions::event;
use tests::world::{World, edited_catalog};

use crate::checkout::{BODY, problem};

const UNKNOWN: &str = "a_value_of_the_future";

/// The webhook's response.
const APPLIED: &str = "applied";
const DUPLICATE: &str = "duplicate";
const IGNORED: &str = "ignored";
const KEPT: &str = "quarantined";

/// A field of an event, and the event's outcome if the field has an unknown value, is null and is
/// missing.
type Row = (&'static str, [&'static str; 3]);

const ENVELOPE: &[Row] = &[
    ("/id", [KEPT, KEPT, KEPT]),
    // A type that may or may not concern us, and none at all.
    ("/type", [IGNORED, KEPT, KEPT]),
    ("/created", [KEPT, KEPT, KEPT]),
    ("/livemode", [KEPT, KEPT, KEPT]),
    ("/account", [IGNORED, APPLIED, APPLIED]),
    ("/api_version", [APPLIED, APPLIED, APPLIED]),
    ("/data", [KEPT, KEPT, KEPT]),
    ("/data/object", [KEPT, KEPT, KEPT]),
];
const SESSION: &[Row] = &[
    ("/data/object/id", [KEPT, KEPT, KEPT]),
    ("/data/object/mode", [KEPT, KEPT, KEPT]),
    // Stripe's type allows null, and the event says that the buyer has done their part.
    ("/data/object/status", [KEPT, APPLIED, APPLIED]),
    ("/data/object/payment_status", [KEPT, KEPT, KEPT]),
    ("/data/object/payment_intent", [KEPT, KEPT, KEPT]),
    ("/data/object/created", [KEPT, KEPT, KEPT]),
    // Without metadata a session is not ours; a missing field decides nothing.
    ("/data/object/metadata", [KEPT, IGNORED, KEPT]),
    // Any other mark is another deployment's.
    ("/data/object/metadata/coursegate", [IGNORED, KEPT, IGNORED]),
    ("/data/object/metadata/learner_id", [APPLIED, KEPT, KEPT]),
    ("/data/object/metadata/product", [APPLIED, KEPT, KEPT]),
    ("/data/object/metadata/price", [APPLIED, KEPT, KEPT]),
    // The total decides nothing: if it is unknown, any refund counts as full.
    ("/data/object/amount_total", [KEPT, APPLIED, APPLIED]),
    ("/data/object/currency", [APPLIED, APPLIED, APPLIED]),
];
const EXPIRED: &[Row] = &[
    ("/data/object/status", [KEPT, IGNORED, IGNORED]),
    ("/data/object/payment_status", [KEPT, KEPT, KEPT]),
    ("/data/object/metadata", [KEPT, IGNORED, KEPT]),
    ("/data/object/metadata/coursegate", [IGNORED, KEPT, IGNORED]),
];
const REFUND: &[Row] = &[
    ("/data/object/id", [KEPT, KEPT, KEPT]),
    // Stripe's type allows null: the refund is pending.
    ("/data/object/status", [KEPT, APPLIED, KEPT]),
    ("/data/object/amount", [KEPT, KEPT, KEPT]),
    ("/data/object/payment_intent", [KEPT, IGNORED, KEPT]),
];
const DISPUTE: &[Row] = &[
    ("/data/object/id", [KEPT, KEPT, KEPT]),
    ("/data/object/status", [KEPT, KEPT, KEPT]),
    ("/data/object/payment_intent", [KEPT, IGNORED, KEPT]),
];
/// Only card disputes have them, and they matter only for one that was prevented.
const DETAILS: &[Row] = &[
    ("/data/object/payment_method_details", [APPLIED, APPLIED, APPLIED]),
    ("/data/object/payment_method_details/card", [APPLIED, APPLIED, APPLIED]),
    ("/data/object/payment_method_details/card/case_type", [APPLIED, APPLIED, APPLIED]),
];
const PREVENTED: &[Row] = &[
    ("/data/object/payment_method_details", [KEPT, KEPT, KEPT]),
    ("/data/object/payment_method_details/card", [KEPT, KEPT, KEPT]),
    ("/data/object/payment_method_details/card/case_type", [KEPT, KEPT, KEPT]),
];
const WARNING: &[Row] = &[
    ("/data/object/id", [KEPT, KEPT, KEPT]),
    // Stripe leaves it out if the charge has none.
    ("/data/object/payment_intent", [KEPT, IGNORED, IGNORED]),
    ("/data/object/actionable", [APPLIED, APPLIED, APPLIED]),
];
const CUSTOMER: &[Row] = &[
    ("/data/object/id", [KEPT, KEPT, KEPT]),
    ("/data/object/metadata", [KEPT, IGNORED, KEPT]),
    ("/data/object/metadata/coursegate", [IGNORED, KEPT, IGNORED]),
    // Any other name is another learner's, and this is not their customer.
    ("/data/object/metadata/learner_id", [DUPLICATE, KEPT, KEPT]),
];

/// An event of every handled type, and the fields of it that are read.
fn events() -> Vec<(Value, Vec<Row>)> {
    let session = |line: &str, rows: &[&[Row]]| (event(line), rows.concat());
    let of = |kind: &str, object: &Value, rows: &[&[Row]]| {
        (rendering::event("evt_1", kind, 2000, object), rows.concat())
    };
    let refund = |status: &str| rendering::refund("re_1", "pi_a", 2900, status);
    let dispute = |status: &str| rendering::dispute("du_1", "pi_a", status, Some("chargeback"));
    let prevented = |case| rendering::dispute("du_1", "pi_a", "prevented", Some(case));
    let any_dispute: &[&[Row]] = &[DISPUTE, DETAILS];
    let metadata = rendering::metadata(Some(rendering::MARK), "ada");
    vec![
        session("evt_1 completed paid cs_b pi_b ada curriculum @1000", &[ENVELOPE, SESSION]),
        session("evt_1 completed unpaid cs_b pi_b ada curriculum @1000", &[SESSION]),
        session("evt_1 async_payment_succeeded paid cs_b pi_b ada curriculum @1000", &[SESSION]),
        session("evt_1 async_payment_failed unpaid cs_b pi_b ada curriculum @1000", &[SESSION]),
        session("evt_1 expired unpaid cs_b - ada curriculum @1000", &[EXPIRED]),
        of("refund.created", &refund("succeeded"), &[ENVELOPE, REFUND]),
        of("refund.updated", &refund("pending"), &[REFUND]),
        of("refund.failed", &refund("failed"), &[REFUND]),
        of("charge.dispute.created", &dispute("warning_needs_response"), any_dispute),
        of("charge.dispute.updated", &dispute("under_review"), any_dispute),
        of("charge.dispute.closed", &dispute("lost"), any_dispute),
        of("charge.dispute.closed", &prevented("resolution"), &[DISPUTE, PREVENTED]),
        of("charge.dispute.closed", &prevented("block"), &[DISPUTE, PREVENTED]),
        of("charge.dispute.funds_withdrawn", &dispute("needs_response"), any_dispute),
        of("charge.dispute.funds_reinstated", &dispute("won"), any_dispute),
        of(
            "radar.early_fraud_warning.created",
            &rendering::fraud_warning("issfr_1", "pi_a"),
            &[WARNING],
        ),
        of("customer.deleted", &rendering::customer("cus_1", &metadata), &[CUSTOMER]),
    ]
}

/// A ledger in which ada is a customer who has paid for the demo course.
async fn ledger(world: &World) -> MemoryLedger {
    let customer = Customer { id: "cus_1".parse().unwrap(), is_deleted: false };
    let customers = [("ada".parse().unwrap(), customer)].into();
    let ledger = MemoryLedger::from(Contents { customers, ..Contents::default() });
    let sold = event("evt_0 completed paid cs_a pi_a ada tutorclaw @1000");
    assert_eq!(deliver(world, &ledger, &sold).await, APPLIED);
    ledger
}

/// Delivers an event as Stripe would. Returns its outcome.
async fn deliver(world: &World, ledger: &MemoryLedger, event: &Value) -> String {
    let body = event.to_string();
    let request = delivery(&body, Some(&world.sign(&body)));
    let (status, answer) =
        answer(&webhook::handle(&world.webhook_on(ledger.clone()), &request).await);
    assert_eq!(status, 200, "{answer} to {event}");
    answer["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_unknown_event_value_is_quarantined_without_effect() {
    let world = World::new().await;
    let events = events();
    for kind in handled_event_types() {
        assert!(events.iter().any(|(event, _)| event["type"] == kind), "{kind} is not tried");
    }
    for (whole, rows) in &events {
        let normal = ledger(&world).await;
        deliver(&world, &normal, whole).await;
        for (field, expected) in rows {
            let values = [Some(json!(UNKNOWN)), Some(Value::Null), None];
            for (value, expected) in values.into_iter().zip(expected) {
                let mut altered = whole.clone();
                put(&mut altered, field, value.as_ref());
                let what = format!("{} with {field} {value:?}", whole["type"]);

                let ledger = ledger(&world).await;
                let before = ledger.contents();
                assert_eq!(deliver(&world, &ledger, &altered).await, *expected, "{what}");
                let after = ledger.contents();
                match *expected {
                    IGNORED => assert_eq!(after, before, "{what}"),
                    KEPT => {
                        let kept: Vec<_> = after.quarantine.iter().collect();
                        let [(id, (reason, is_resolved))] = kept[..] else { panic!("{kept:?}") };
                        assert_eq!(after.events[id], Recorded::Quarantined, "{what}");
                        assert!(!is_resolved && !reason.contains(UNKNOWN), "{what}: {reason}");
                        assert_eq!(after.sources, before.sources, "{what}");
                        assert_eq!(after.access, before.access, "{what}");
                    }
                    _ => continue,
                }
                // Nothing is lost: once it can be read, it has its usual effect.
                deliver(&world, &ledger, whole).await;
                let (after, normal) = (ledger.contents(), normal.contents());
                assert_eq!(after.sources, normal.sources, "{what}");
                assert_eq!(after.access, normal.access, "{what}");
                assert_eq!(after.customers, normal.customers, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn known_values_that_contradict_each_other_are_kept() {
    let world = World::new().await;
    let prevented = rendering::dispute("du_1", "pi_a", "prevented", Some("chargeback"));
    let prevented = rendering::event("evt_1", "charge.dispute.closed", 2000, &prevented);
    let case_type = "/data/object/payment_method_details/card/case_type";
    let paid = event("evt_1 completed paid cs_b pi_b ada curriculum @1000");
    let nothing = event("evt_1 completed no_payment_required cs_b - ada curriculum @1000");
    let expired = event("evt_1 expired unpaid cs_b - ada curriculum @1000");
    for (event, field, value, expected) in [
        (&paid, "/data/object/status", "open", KEPT),
        (&paid, "/data/object/status", "expired", KEPT),
        (&paid, "/data/object/mode", "subscription", KEPT),
        // A free session says so from the start.
        (&nothing, "/data/object/status", "open", IGNORED),
        (&nothing, "/data/object/status", "expired", IGNORED),
        (&expired, "/data/object/status", "complete", KEPT),
        (&expired, "/data/object/payment_status", "paid", KEPT),
        (&prevented, case_type, "chargeback", KEPT),
        (&prevented, case_type, "compliance", KEPT),
        (&prevented, case_type, "inquiry", KEPT),
    ] {
        let mut altered = event.clone();
        put(&mut altered, field, Some(&value.into()));
        let ledger = ledger(&world).await;
        let outcome = deliver(&world, &ledger, &altered).await;
        assert_eq!(outcome, expected, "{} with {field} {value}", event["type"]);
    }
}

/// A thin event, as Stripe documents it.
fn thin(kind: &str) -> Value {
    json!({
        "id": "evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0",
        "object": "v2.core.event",
        "type": kind,
        "created": "2026-11-28T12:00:00.000Z",
        "livemode": false,
        "context": null,
        "related_object": {
            "id": "cs_test_thin",
            "type": "checkout.session",
            "url": "/v1/checkout/sessions/cs_test_thin",
        },
        "snapshot_event": "evt_1QCsqGFUNSBGKJbm",
    })
}

#[tokio::test]
async fn a_thin_event_is_quarantined_with_a_reason_and_a_fix() {
    let world = World::new().await;
    for kind in handled_event_types() {
        let ledger = MemoryLedger::default();
        assert!(is_thin(&format!("v1.{kind}")) && !is_thin(kind));
        assert_eq!(deliver(&world, &ledger, &thin(&format!("v1.{kind}"))).await, KEPT, "{kind}");
        let (reason, _) = ledger.contents().quarantine.into_values().next().unwrap();
        assert!(reason.contains("thin events"), "{reason}");
        assert!(reason.contains("`coursegate webhook register`"), "{reason}");
    }
    for kind in ["v1.customer.updated", "v2.core.event_destination.ping", "v1."] {
        let ledger = MemoryLedger::default();
        assert_eq!(deliver(&world, &ledger, &thin(kind)).await, IGNORED, "{kind}");
    }
    assert_eq!(world.deliver(&thin("v1.checkout.session.completed")).await.0, 200);
    let listed = world.items_of("QUARANTINE", "evt_test_").await;
    assert_eq!(listed[0]["object"], "cs_test_thin");
}

/// A world with a proxy in front of Stripe that alters its responses.
async fn altered_world() -> (World, AlteredStripe) {
    let mut world = World::new().await;
    let stripe = AlteredStripe::before(&world.stripe_url).await;
    world.stripe_url.clone_from(&stripe.url);
    (world, stripe)
}

/// Makes Stripe return this in a field of its responses to this kind of request.
fn alter(stripe: &AlteredStripe, method: Method, path: &str, field: &str, value: Option<Value>) {
    let field = field.to_owned();
    stripe.change(method, path, move |answer| {
        if answer.get("error").is_none() {
            put(answer, &field, value.as_ref());
        }
    });
}

async fn confirm(world: &World, who: &Who, session: &str) -> (u16, Value) {
    let route = "POST /checkout/{session}/confirm";
    let target = format!("/checkout/{session}/confirm");
    answer(&checkout::handle(&*world.checkout(), &api(route, &target, who, None)).await)
}

async fn check_out(world: &World, who: &Who) -> (u16, Value) {
    answer(&world.ask("POST /checkout", "/checkout", who, BODY).await)
}

/// The response in a word: the confirmed status, or the problem.
fn word(answered: &(u16, Value)) -> String {
    match answered.1["status"].as_str().filter(|_| answered.0 == 200) {
        Some(status) => status.to_owned(),
        None if answered.0 == 200 || answered.0 == 201 => "sold".to_owned(),
        None => format!("{} {}", answered.0, problem(answered).1),
    }
}

async fn sessions_of(world: &World, who: &str) -> usize {
    let all = world.stripe_get("/v1/checkout/sessions?limit=100").await;
    let all = all["data"].as_array().unwrap();
    all.iter().filter(|session| session["client_reference_id"] == who).count()
}

/// The outcome when it can't be read.
const UNREAD: &str = "500 internal";

/// A buyer's progress.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Open,
    Paid,
    /// By bank debit, which is processing.
    OnItsWay,
    Expired,
}

impl Stage {
    /// The usual responses of confirm and checkout.
    const fn normally(self) -> [&'static str; 2] {
        match self {
            Self::Open => ["open", "sold"],
            Self::Paid => ["paid", "409 already-entitled"],
            Self::OnItsWay => ["processing", "409 payment-processing"],
            Self::Expired => ["expired", "sold"],
        }
    }

    async fn reach(self, world: &World, session: &str) {
        match self {
            Self::Open => {}
            Self::Paid => world.pay(session).await,
            Self::OnItsWay => world.pay_by_debit(session).await,
            Self::Expired => world.expire(session).await,
        }
    }
}

/// A field of a session that we read, and the responses of confirm and checkout if it has an
/// unknown value, is null and is missing; nothing for the usual responses.
type Answers = Option<[&'static str; 2]>;

fn session_fields() -> Vec<(Stage, &'static str, [Answers; 3])> {
    use Stage::{Expired, OnItsWay, Open, Paid};
    const SAME: Answers = None;
    const BAD: Answers = Some([UNREAD, UNREAD]);
    // The session's owner can't be determined, so nobody can confirm it.
    const WHOSE: Answers = Some(["404 unknown-session", UNREAD]);
    let mut fields = Vec::new();
    for stage in [Open, Paid, OnItsWay, Expired] {
        for field in ["/id", "/mode", "/status", "/payment_status", "/livemode"] {
            fields.push((stage, field, [BAD, BAD, BAD]));
        }
    }
    for (stage, field, answers) in [
        (Open, "/url", [SAME, BAD, BAD]),
        (Open, "/expires_at", [BAD, BAD, BAD]),
        // It is read for what was bought, which is nothing yet.
        (Open, "/created", [BAD, SAME, SAME]),
        (Paid, "/created", [BAD, BAD, BAD]),
        (Paid, "/metadata", [BAD, WHOSE, BAD]),
        (OnItsWay, "/metadata", [BAD, WHOSE, BAD]),
        (Paid, "/metadata/coursegate", [WHOSE, BAD, WHOSE]),
        (Paid, "/payment_intent", [BAD, BAD, BAD]),
        (OnItsWay, "/payment_intent", [BAD, BAD, BAD]),
        (OnItsWay, "/payment_intent/status", [BAD, BAD, BAD]),
        // The money has arrived, whatever the payment intent says; its time matters less.
        (Paid, "/payment_intent/status", [SAME, SAME, SAME]),
        (Paid, "/payment_intent/latest_charge", [SAME, SAME, SAME]),
        (Paid, "/payment_intent/latest_charge/payment_method_details", [SAME, SAME, SAME]),
        (Paid, "/payment_intent/latest_charge/payment_method_details/type", [SAME, SAME, SAME]),
        (Paid, "/amount_total", [BAD, SAME, SAME]),
        (Paid, "/currency", [SAME, SAME, SAME]),
    ] {
        fields.push((stage, field, answers));
    }
    fields
}

#[tokio::test]
async fn an_unknown_session_value_blocks_a_sale_and_confirm_says_so() {
    let (world, stripe) = altered_world().await;
    let mut number = 0;
    for (stage, field, expected) in session_fields() {
        let values = [Some(json!(UNKNOWN)), Some(Value::Null), None];
        for (value, expected) in values.into_iter().zip(expected) {
            let what = format!("{stage:?} with {field} {value:?}");
            number += 1;
            let name = format!("learner-{number}");
            let who = learner(&name);
            let session = world.buy(&who).await;
            stage.reach(&world, &session).await;
            let [confirmed, sold] = expected.unwrap_or(stage.normally());

            alter(&stripe, Method::GET, "/v1/checkout/sessions/", field, value);
            assert_eq!(word(&confirm(&world, &who, &session).await), confirmed, "{what}");
            let answered = check_out(&world, &who).await;
            assert_eq!(word(&answered), sold, "{what}");
            if sold == UNREAD {
                assert_eq!(sessions_of(&world, &name).await, 1, "{what}");
                let detail = answered.1["detail"].as_str().unwrap();
                assert!(detail.contains("can't be read"), "{what}: {detail}");
                // And nobody is locked out forever.
                stripe.restore();
                let normally = stage.normally();
                assert_eq!(word(&confirm(&world, &who, &session).await), normally[0], "{what}");
                assert_eq!(word(&check_out(&world, &who).await), normally[1], "{what}");
            }
            stripe.restore();
        }
    }
}

#[tokio::test]
async fn answers_about_sessions_are_parsed_before_selling() {
    for value in [Some(json!(UNKNOWN)), Some(Value::Null), None] {
        let (world, stripe) = altered_world().await;
        let (ada, bob) = (learner("ada"), learner("bob"));
        for (path, field) in [("/v1/customers", "/id"), ("/v1/checkout/sessions", "/status")] {
            alter(&stripe, Method::POST, path, field, value.clone());
            assert_eq!(word(&check_out(&world, &ada).await), UNREAD, "{path} {value:?}");
            stripe.restore();
        }
        assert_eq!(check_out(&world, &ada).await.0, 201);
        assert_eq!(sessions_of(&world, "ada").await, 1, "{value:?}");

        // Another price needs another session in place of the open one.
        let old = world.buy(&bob).await;
        let dearer = edited_catalog(|text| text.replace("amount = 999", "amount = 3900"));
        world.publish(&dearer).await.unwrap();
        let expire = format!("/v1/checkout/sessions/{old}/expire");
        alter(&stripe, Method::POST, &expire, "/status", value.clone());
        assert_eq!(word(&check_out(&world, &bob).await), UNREAD, "{value:?}");
        assert_eq!(sessions_of(&world, "bob").await, 1, "{value:?}");
        stripe.restore();
        assert_eq!(check_out(&world, &bob).await.0, 201);
    }
}

#[tokio::test]
async fn an_unreadable_answer_about_a_payment_quarantines_the_event() {
    let refund = rendering::refund("re_1", "pi_9", 2900, "succeeded");
    let refund = rendering::event("evt_9", "refund.created", 2000, &refund);
    for (field, value, expected) in [
        ("/metadata", Some(json!(UNKNOWN)), KEPT),
        ("/metadata", None, KEPT),
        ("/metadata", Some(json!({})), IGNORED),
        ("/metadata/coursegate", Some(Value::Null), KEPT),
        ("/metadata/coursegate", Some(json!(UNKNOWN)), IGNORED),
        ("/status", Some(json!(UNKNOWN)), APPLIED),
        ("/status", None, APPLIED),
    ] {
        let (world, stripe) = altered_world().await;
        let session = world.buy(&learner("ada")).await;
        world.pay(&session).await;
        let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        let mut refund = refund.clone();
        put(&mut refund, "/data/object/payment_intent", Some(&session["payment_intent"]));
        alter(&stripe, Method::GET, "/v1/payment_intents/", field, value.clone());
        let answered = world.deliver(&refund).await;
        assert_eq!(answered, (200, json!({ "outcome": expected })), "{field} {value:?}");
        stripe.restore();
        let became = if expected == APPLIED { DUPLICATE } else { APPLIED };
        assert_eq!(world.deliver(&refund).await.1["outcome"], became, "{field} {value:?}");
    }
}

#[tokio::test]
async fn an_unreadable_verdict_is_kept_until_readable() {
    for (verdict, field, value) in [
        ("won", "/status", Some(json!(UNKNOWN))),
        ("won", "/status", Some(Value::Null)),
        ("won", "/status", None),
        ("prevented", "/payment_method_details/card/case_type", Some(json!(UNKNOWN))),
        ("prevented", "/payment_method_details/card/case_type", Some(Value::Null)),
        ("prevented", "/payment_method_details", None),
    ] {
        let (world, stripe) = altered_world().await;
        let ada = learner("ada");
        let session = world.buy(&ada).await;
        world.pay(&session).await;
        let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        let opened = json!({ "payment_intent": session["payment_intent"] });
        let (_, dispute) = world.stripe_post("/_sim/disputes", &opened).await;
        let path = format!("/_sim/disputes/{}", dispute["id"].as_str().unwrap());
        world.stripe_post(&path, &json!({ "status": "lost" })).await;
        for event in world.stripe_get("/v1/events?limit=100").await["data"].as_array().unwrap() {
            assert_eq!(world.deliver(event).await.0, 200, "{event}");
        }
        let read = async || {
            let target = ("GET /entitlements", "/entitlements");
            let (_, answer) = world.read(target.0, target.1, &ada).await;
            answer["entitlements"][0]["status"].clone()
        };
        assert_eq!(read().await, "dispute_lost");
        // The other verdict, as Stripe would report it.
        let payment = session["payment_intent"].as_str().unwrap();
        let id = dispute["id"].as_str().unwrap();
        let told = rendering::dispute(id, payment, "won", None);
        let told = rendering::event("evt_won", "charge.dispute.closed", 3000, &told);
        world.stripe_post(&path, &json!({ "status": "won" })).await;
        let shown = json!({ "card": { "case_type": "block" } });
        stripe.change(Method::GET, "/v1/disputes/", move |answer| {
            put(answer, "/status", Some(&verdict.into()));
            put(answer, "/payment_method_details", Some(&shown));
            put(answer, field, value.as_ref());
        });
        let kept = (200, json!({ "outcome": KEPT }));
        assert_eq!(world.deliver(&told).await, kept, "{verdict} {field}");
        assert_eq!(read().await, "dispute_lost", "{verdict} {field}");
        stripe.restore();
        assert_eq!(world.deliver(&told).await.1["outcome"], APPLIED, "{verdict} {field}");
        assert_eq!(read().await, "active", "{verdict} {field}");
    }
}
