//! The webhook through its handler: what it accepts, refuses, quarantines and returns.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use samples::signature;
use serde_json::{Value, json};
use shared::domain::access::Status;
use shared::domain::decide::Recorded;
use shared::dynamo::Table;
use shared::ports::{AccessReader, Clock};
use simulation::memory::MemoryLedger;
use simulation::rendering::MARK;
use tests::flaky::{Fault, Flaky};
use tests::requests::{answer, delivery, from_event, function_url_event};
use tests::sessions::event;
use tests::world::{SIGNING_SECRET, World};

const PAID: &str = "evt_1 completed paid cs_a pi_a ada tutorclaw @1000";

/// A change to an event before it is sent.
type Edit = fn(&mut Value);

fn applied() -> (u16, Value) {
    (200, json!({ "outcome": "applied" }))
}

fn duplicate() -> (u16, Value) {
    (200, json!({ "outcome": "duplicate" }))
}

fn ignored() -> (u16, Value) {
    (200, json!({ "outcome": "ignored" }))
}

fn problem(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["type"].as_str().unwrap_or_default())
}

/// The status of each of a learner's sources.
async fn statuses(world: &World, learner: &str) -> Vec<Status> {
    statuses_on(&world.table(), learner).await
}

async fn statuses_on(ledger: &impl AccessReader, learner: &str) -> Vec<Status> {
    let entitlements = ledger.entitlements(&learner.parse().unwrap()).await.unwrap();
    entitlements.iter().map(|(_, grant)| grant.status).collect()
}

/// Delivers an event as Stripe would, to a webhook function that has just started with this table.
async fn deliver_on(world: &World, table: &Table, event: &Value) -> (u16, Value) {
    let body = event.to_string();
    let request = delivery(&body, Some(&world.sign(&body)));
    answer(&webhook::handle(&world.webhook_on(table.clone()), &request).await)
}

#[tokio::test]
async fn a_paid_session_opens_once_however_often_delivered() {
    let world = World::new().await;
    a_paid_session_opens_the_course_once(&world, &world.table()).await;
    assert_eq!(world.items_of("SOURCE#", "").await.len(), 1);
    assert_eq!(world.items_of("EVENT#", "").await.len(), 2);
}

pub(crate) async fn a_paid_session_opens_the_course_once(world: &World, table: &Table) {
    let deliver = async |line: &str| deliver_on(world, table, &event(line)).await;
    assert_eq!(deliver(PAID).await, applied());
    assert_eq!(deliver(PAID).await, duplicate());
    // Stripe may report one change under two event ids.
    assert_eq!(deliver(&PAID.replace("evt_1", "evt_2")).await, duplicate());
    assert_eq!(statuses_on(table, "ada").await, [Status::Active]);
}

#[tokio::test]
async fn fifty_deliveries_of_one_event_at_once_are_one_purchase() {
    let world = World::new().await;
    deliveries_at_once_are_one_purchase(&world, &world.table(), 50).await;
}

pub(crate) async fn deliveries_at_once_are_one_purchase(
    world: &World,
    table: &Table,
    deliveries: usize,
) {
    let (event, apps) = (event(PAID), vec![(); deliveries]);
    let answers = join_all(apps.iter().map(|()| deliver_on(world, table, &event))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == applied()).count(), 1);
    assert_eq!(statuses_on(table, "ada").await, [Status::Active]);
}

#[tokio::test]
async fn unpaid_opens_nothing_until_the_bank_has_paid() {
    let world = World::new().await;
    let unpaid = event("evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000");
    assert_eq!(world.deliver(&unpaid).await, applied());
    assert_eq!(statuses(&world, "ada").await, [Status::Processing]);
    let paid = event("evt_2 async_payment_succeeded paid cs_a pi_a ada tutorclaw @2000");
    assert_eq!(world.deliver(&paid).await, applied());
    assert_eq!(statuses(&world, "ada").await, [Status::Active]);
}

#[tokio::test]
async fn a_declined_payment_opens_nothing() {
    let world = World::new().await;
    let failed = event("evt_2 async_payment_failed unpaid cs_a pi_a ada tutorclaw @2000");
    let unpaid = event("evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000");
    assert_eq!(world.deliver(&failed).await, applied());
    // It says when the debit was made.
    assert_eq!(world.deliver(&unpaid).await, applied());
    assert_eq!(world.deliver(&unpaid).await, duplicate());
    assert_eq!(statuses(&world, "ada").await, [Status::Failed]);
}

#[tokio::test]
async fn no_payment_required_counts_as_paid_and_expired_as_nothing() {
    let world = World::new().await;
    let free = event("evt_1 completed no_payment_required cs_a - ada tutorclaw @1000");
    let expired = event("evt_2 expired unpaid cs_b - ada tutorclaw @1000");
    assert_eq!(world.deliver(&free).await, applied());
    assert_eq!(world.deliver(&expired).await, ignored());
    assert_eq!(statuses(&world, "ada").await, [Status::Active]);
}

#[tokio::test]
async fn a_base64_body_is_decoded_before_its_signature_is_checked() {
    let world = World::new().await;
    let body = event(PAID).to_string();
    let mut request = function_url_event("POST", &body, Some(&world.sign(&body)));
    request["body"] = STANDARD.encode(&body).into();
    request["isBase64Encoded"] = true.into();
    let answered = answer(&webhook::handle(&world.webhook(), &from_event(&request)).await);
    assert_eq!(answered, applied());
}

#[tokio::test]
async fn an_unsigned_event_is_refused_and_writes_nothing() {
    let world = World::new().await;
    let body = event(PAID).to_string();
    let now = world.clock.now().unix_seconds();
    let other = format!("{body} ");
    for (what, header, body) in [
        ("no header", None, &body),
        ("an empty header", Some(String::new()), &body),
        ("another secret", Some(signature(&body, "whsec_other", now)), &body),
        ("another body", Some(world.sign(&body)), &other),
        ("an old signature", Some(signature(&body, SIGNING_SECRET, now - 301)), &body),
        ("a signature of the future", Some(signature(&body, SIGNING_SECRET, now + 301)), &body),
        ("the old scheme", Some(world.sign(&body).replace("v1=", "v0=")), &body),
        ("no number", Some("t=now,v1=00".to_owned()), &body),
    ] {
        let request = delivery(body, header.as_deref());
        let answered = answer(&webhook::handle(&world.webhook(), &request).await);
        assert_eq!(problem(&answered), (400, "urn:coursegate:problem:bad-signature"), "{what}");
    }
    assert!(world.items().await.is_empty());
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_signed_or_not() {
    let world = World::new().await;
    let mut large = event(PAID);
    large["padding"] = "x".repeat(1024 * 1024).into();
    let large = large.to_string();
    let signed = world.sign(&large);
    // The size comes first: nobody can make the function compute signatures of large bodies.
    for signature in [Some(signed.as_str()), Some("t=1,v1=00"), None] {
        let request = delivery(&large, signature);
        let answered = answer(&webhook::handle(&world.webhook(), &request).await);
        let expected = (413, "urn:coursegate:problem:body-too-large");
        assert_eq!(problem(&answered), expected, "{signature:?}");
    }
    assert!(world.items().await.is_empty());
}

#[tokio::test]
async fn only_post_is_accepted() {
    let world = World::new().await;
    let request = from_event(&function_url_event("GET", "", None));
    let answered = answer(&webhook::handle(&world.webhook(), &request).await);
    assert_eq!(problem(&answered), (405, "urn:coursegate:problem:method-not-allowed"));
}

/// The same metadata keys, with another mark.
fn another_deployment_s(event: &mut Value) {
    event["data"]["object"]["metadata"]["coursegate"] = "another-shop".into();
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a row for each event")]
async fn irrelevant_events_are_acknowledged_and_write_nothing() {
    let world = World::new().await;
    let edited = |edit: Edit| {
        let mut event = event(PAID);
        edit(&mut event);
        event
    };
    for (what, event) in [
        ("an unknown type", edited(|event| event["type"] = "customer.updated".into())),
        (
            "an unknown type in an envelope of another shape",
            edited(|event| {
                event["type"] = "customer.updated".into();
                event["created"] = "yesterday".into();
            }),
        ),
        (
            "somebody else's session",
            edited(|event| event["data"]["object"]["metadata"] = json!({})),
        ),
        ("another deployment's session", edited(another_deployment_s)),
        (
            "another deployment's session that can't be read",
            edited(|event| {
                another_deployment_s(event);
                event["data"]["object"]["payment_status"] = "partly".into();
            }),
        ),
        (
            "another deployment's session in an envelope that can't be read",
            edited(|event| {
                another_deployment_s(event);
                event["created"] = "yesterday".into();
            }),
        ),
        (
            "another deployment's expired session",
            edited(|event| {
                another_deployment_s(event);
                event["type"] = "checkout.session.expired".into();
            }),
        ),
        (
            "another deployment's customer",
            edited(|event| {
                another_deployment_s(event);
                event["type"] = "customer.deleted".into();
                event["data"]["object"]["id"] = "cus_1".into();
            }),
        ),
        (
            "a session that names a learner and carries no mark",
            edited(|event| {
                let metadata = event["data"]["object"]["metadata"].as_object_mut().unwrap();
                metadata.remove("coursegate");
            }),
        ),
        (
            "a session whose mark only starts like ours",
            edited(|event| {
                let mark = format!("{MARK}-2");
                event["data"]["object"]["metadata"]["coursegate"] = mark.into();
            }),
        ),
        (
            "a session without metadata",
            edited(|event| {
                event["data"]["object"]["metadata"] = Value::Null;
            }),
        ),
        ("the other mode", edited(|event| event["livemode"] = true.into())),
        ("a connected account", edited(|event| event["account"] = "acct_1".into())),
    ] {
        assert_eq!(world.deliver(&event).await, ignored(), "{what}");
    }
    assert!(world.items().await.is_empty());
}

#[tokio::test]
async fn an_unreadable_event_is_kept_until_readable() {
    let world = World::new().await;
    let edits: [(&str, Edit, &str); 9] = [
        (
            "evt_1",
            |event| event["data"]["object"]["payment_status"] = "partly".into(),
            "checkout session: payment_status has an unknown value",
        ),
        (
            "evt_2",
            |event| {
                let metadata = json!({ "coursegate": MARK, "learner_id": "ada" });
                event["data"]["object"]["metadata"] = metadata;
            },
            "checkout session: metadata.product is missing",
        ),
        (
            "evt_3",
            |event| event["data"]["object"]["mode"] = "subscription".into(),
            "checkout session: mode is not payment",
        ),
        (
            "evt_4",
            |event| drop(event["data"]["object"].as_object_mut().unwrap().remove("payment_status")),
            "checkout session: payment_status is missing",
        ),
        ("evt_5", |event| event["created"] = "yesterday".into(), "event: unexpected JSON at"),
        (
            "evt_6",
            |event| event["data"]["object"]["metadata"]["learner_id"] = "a b".into(),
            "checkout session: metadata.learner_id: a learner id is 1 to 64",
        ),
        // Its owner can't be determined: it may be ours.
        (
            "evt_7",
            |event| event["data"]["object"]["metadata"] = json!(["of another age"]),
            "metadata is not an object",
        ),
        (
            "evt_8",
            |event| drop(event["data"]["object"].as_object_mut().unwrap().remove("metadata")),
            "metadata is missing",
        ),
        (
            "evt_9",
            |event| event["data"]["object"]["metadata"]["coursegate"] = json!({ "mark": MARK }),
            "metadata.coursegate is not text",
        ),
    ];
    for (id, edit, reason) in edits {
        let line = PAID.replace("evt_1", id).replace("_a", &format!("_{id}"));
        let mut unreadable = event(&line);
        edit(&mut unreadable);
        let quarantined = (200, json!({ "outcome": "quarantined" }));
        assert_eq!(world.deliver(&unreadable).await, quarantined, "{id}");
        assert_eq!(world.deliver(&unreadable).await, quarantined, "{id}");
        let listed = world.items_of("QUARANTINE", id).await;
        assert_eq!(listed.len(), 1);
        assert!(listed[0]["reason"].as_str().unwrap().starts_with(reason), "{}", listed[0]);
        assert_eq!(listed[0].get("resolved_at"), None);

        assert_eq!(world.deliver(&event(&line)).await, applied(), "{id}");
        assert_eq!(world.deliver(&event(&line)).await, duplicate(), "{id}");
        let listed = world.items_of("QUARANTINE", id).await;
        assert_eq!(listed[0]["resolved_at"], world.clock.now().unix_seconds());
    }
    assert_eq!(statuses(&world, "ada").await.len(), 9);
}

#[tokio::test]
async fn an_event_without_an_id_is_kept_under_its_body_s_digest() {
    let world = World::new().await;
    for body in ["not json", "[]", r#"{"id": 7}"#] {
        for _ in 0..2 {
            let request = delivery(body, Some(&world.sign(body)));
            let answered = answer(&webhook::handle(&world.webhook(), &request).await);
            assert_eq!(answered, (200, json!({ "outcome": "quarantined" })), "{body}");
        }
    }
    assert_eq!(world.items_of("QUARANTINE", "evt_unreadable_").await.len(), 3);
}

#[tokio::test]
async fn new_stripe_fields_and_values_are_tolerated() {
    let world = World::new().await;
    let mut event = event(PAID);
    event["api_version"] = "2031-01-01.zinnia".into();
    event["a_new_field"] = json!({ "nested": [1, 2] });
    event["data"]["object"]["a_new_field"] = json!([true]);
    event["data"]["object"]["ui_mode"] = "teleport".into();
    event["data"]["object"].as_object_mut().unwrap().remove("amount_total");
    assert_eq!(world.deliver(&event).await, applied());
}

#[tokio::test]
async fn a_failing_ledger_is_503_and_the_redelivery_applies() {
    let world = World::new().await;
    for (faults, first_is_applied) in [
        // A purchase is read only after a commit has failed.
        (vec![Fault::Conflict, Fault::Load], false),
        (vec![Fault::Commit], false),
        (vec![Fault::CommitAnswerLost], true),
    ] {
        let ledger = MemoryLedger::default();
        let flaky = Flaky::new(ledger.clone());
        let app = world.webhook_on(flaky.clone());
        let body = event(PAID).to_string();
        let request = delivery(&body, Some(&world.sign(&body)));
        flaky.plan(faults.clone());
        let answered = answer(&webhook::handle(&app, &request).await);
        assert_eq!(problem(&answered), (503, "urn:coursegate:problem:unavailable"), "{faults:?}");
        assert_eq!(ledger.contents().sources.len(), usize::from(first_is_applied));
        let answered = answer(&webhook::handle(&app, &request).await);
        assert_eq!(answered, if first_is_applied { duplicate() } else { applied() });
        assert_eq!(ledger.contents().sources.len(), 1);
        let recorded: Vec<_> = ledger.contents().events.into_values().collect();
        assert_eq!(recorded, [Recorded::Applied]);
    }
}

#[tokio::test]
async fn a_commit_is_tried_five_times_and_then_left_to_stripe() {
    let world = World::new().await;
    for (conflicts, status) in [(4, 200), (5, 503)] {
        let ledger = MemoryLedger::default();
        let flaky = Flaky::new(ledger.clone());
        flaky.plan(vec![Fault::Conflict; conflicts]);
        let body = event(PAID).to_string();
        let request = delivery(&body, Some(&world.sign(&body)));
        let answered = answer(&webhook::handle(&world.webhook_on(flaky), &request).await);
        assert_eq!(answered.0, status);
        assert_eq!(ledger.contents().sources.len(), usize::from(status == 200));
    }
}

#[tokio::test]
async fn a_missing_table_is_5xx_never_4xx() {
    let mut world = World::new().await;
    let body = event(PAID).to_string();
    let app = world.webhook();
    // The secrets are read in time.
    app.signing_secrets.get(world.clock.now()).await.unwrap();
    world.stop_servers().await;
    let request = delivery(&body, Some(&world.sign(&body)));
    let answered = answer(&webhook::handle(&app, &request).await);
    assert_eq!(problem(&answered), (503, "urn:coursegate:problem:unavailable"));
}
