//! The functions' logs and metrics: enough to trace a payment, and nothing secret.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use serde_json::{Value, json};
use shared::ports::Clock;
use shared::telemetry::{self, Metric};
use simulation::memory::MemoryLedger;
use tests::flaky::{Fault, Flaky};
use tests::requests::{delivery, learner};
use tests::sessions::event;
use tests::world::{API_KEY_ID, SIGNING_SECRET, World};
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// The output of this thread since recording started.
    static WRITTEN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Records the output of a thread that asks for it. All tests of the process share one subscriber,
/// since `tracing` caches which subscribers are interested in what.
#[derive(Clone)]
struct ThreadCapture;

impl Write for ThreadCapture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        WRITTEN.with_borrow_mut(|written| written.iter_mut().for_each(|all| all.extend(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ThreadCapture {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Records this thread, on which the whole world of a test runs.
pub(crate) fn listen() {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let subscriber = telemetry::subscriber("shop-webhook".to_owned(), ThreadCapture);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    WRITTEN.set(Some(Vec::new()));
}

/// The lines since then, each of which must be JSON.
pub(crate) fn lines() -> Vec<Value> {
    let text = String::from_utf8(WRITTEN.take().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The count of this metric.
pub(crate) fn counted(lines: &[Value], metric: &str) -> u64 {
    lines
        .iter()
        .filter(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"] == metric)
        .map(|line| line[metric].as_u64().unwrap())
        .sum()
}

/// An event with all personal data that Stripe has.
fn personal(line: &str) -> Value {
    let mut event = event(line);
    event["data"]["object"]["customer_details"] = json!({
        "email": "ada@private.example",
        "name": "Ada Private",
        "phone": "+49 30 1234567",
        "address": { "line1": "Private Street 7" },
    });
    event
}

const PRIVATE: [&str; 9] = [
    SIGNING_SECRET,
    "sk_test_world",
    "ada@private.example",
    "Ada Private",
    "1234567",
    "Private Street",
    "4242424242424242",
    "v1=",
    "customer_details",
];

#[tokio::test]
async fn logs_contain_no_secrets_or_personal_data() {
    listen();
    let world = World::new().await;
    let paid = personal("evt_1 completed paid cs_a pi_a ada tutorclaw @1000");
    world.deliver(&paid).await;
    world.deliver(&paid).await;
    let mut unreadable = personal("evt_2 completed paid cs_b pi_b ada tutorclaw @1000");
    unreadable["data"]["object"]["payment_status"] = "ada@private.example".into();
    world.deliver(&unreadable).await;
    unreadable["id"] = "Ada Private".into();
    world.deliver(&unreadable).await;
    unreadable["id"] = "evt_3".into();
    unreadable["created"] = "ada@private.example".into();
    unreadable["data"]["object"]["id"] = "Ada Private".into();
    world.deliver(&unreadable).await;
    world.deliver(&personal("evt_4 expired unpaid cs_c - ada tutorclaw @1000")).await;

    let body = paid.to_string();
    webhook::handle(&world.webhook(), &delivery(&body, Some("t=1,v1=00"))).await;
    let flaky = Flaky::new(MemoryLedger::default());
    flaky.plan([Fault::Commit, Fault::Conflict]);
    let app = world.webhook_on(flaky);
    for _ in 0..2 {
        webhook::handle(&app, &delivery(&body, Some(&world.sign(&body)))).await;
    }
    world.secrets.set_down(true);
    webhook::handle(&world.webhook(), &delivery(&body, Some(&world.sign(&body)))).await;
    world.secrets.set_down(false);

    let session = world.buy(&learner("ada2")).await;
    world.pay(&session).await;
    let refused = json!({ "path": "/v1/checkout/sessions", "status": 400, "body": {
        "error": { "type": "invalid_request_error", "message": "sk_test_world ada@private.example" }
    } });
    world.stripe_post("/_sim/faults", &refused).await;
    let asked = Some(r#"{"price": "tutorclaw_paid"}"#);
    let response = world.ask("POST /checkout", "/checkout", &learner("bob"), asked).await;
    assert_eq!(response.status(), 500);

    let lines = lines();
    assert!(lines.len() > 20);
    for line in &lines {
        let text = line.to_string();
        for private in PRIVATE {
            assert!(!text.contains(private), "{private} in {text}");
        }
    }
    for (metric, expected) in [
        ("applied", 2),
        ("duplicate", 1),
        ("ignored", 1),
        ("quarantined", 3),
        ("bad_signature", 1),
        ("conflict", 1),
        ("session_opened", 1),
        ("failed", 3),
    ] {
        assert_eq!(counted(&lines, metric), expected, "{metric}");
    }
}

#[tokio::test]
async fn a_handled_event_is_one_traceable_log_line() {
    listen();
    let world = World::new().await;
    world.deliver(&event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000")).await;
    let lines = lines();
    let handled: Vec<_> = lines.iter().filter(|line| line["message"] == "event handled").collect();
    assert_eq!(handled.len(), 1);
    let expected = json!({
        "stripe.event_id": "evt_1",
        "stripe.event_type": "checkout.session.completed",
        "stripe.object_id": "cs_a",
        "stripe.api_version": "2026-09-30.endive",
        "learner.id": "ada",
        "outcome": "applied",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&handled[0][field], value, "{field}");
    }
}

#[tokio::test]
async fn each_reason_to_alert_the_operator_is_counted_separately() {
    listen();
    let world = World::new().await;
    let body = event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000").to_string();
    for header in [None, Some("t=1,v1=00"), Some("")] {
        webhook::handle(&world.webhook(), &delivery(&body, header)).await;
    }
    let mut large = event("evt_2 completed paid cs_a pi_a ada tutorclaw @1000");
    large["padding"] = "x".repeat(1024 * 1024).into();
    world.deliver(&large).await;
    let mut live = event("evt_3 completed paid cs_a pi_a ada tutorclaw @1000");
    live["livemode"] = true.into();
    world.deliver(&live).await;
    let mut another_shop_s = event("evt_4 completed paid cs_a pi_a ada tutorclaw @1000");
    another_shop_s["data"]["object"]["metadata"]["coursegate"] = "another-shop".into();
    world.deliver(&another_shop_s).await;
    world.secrets.set_current(API_KEY_ID, "rk_live_other").unwrap();
    let asked = Some(r#"{"price": "tutorclaw_paid"}"#);
    world.ask("POST /checkout", "/checkout", &learner("bob"), asked).await;

    let lines = lines();
    for (metric, expected) in [
        ("refused", 1),
        ("bad_signature", 2),
        ("too_large", 1),
        ("other_mode", 2),
        ("not_ours", 1),
        ("ignored", 2),
        ("failed", 1),
        ("event_age_seconds", 0),
    ] {
        assert_eq!(counted(&lines, metric), expected, "{metric}");
    }
}

#[tokio::test]
async fn an_event_s_age_is_measured_once_if_it_can_be_read() {
    listen();
    let world = World::new().await;
    let mut late = event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000");
    late["created"] = (world.clock.now().unix_seconds() - 90).into();
    world.deliver(&late).await;
    world.deliver(&late).await;
    late["id"] = "evt_2".into();
    late["created"] = "soon".into();
    world.deliver(&late).await;
    // A fact known from another event; and an event from a clock ahead of ours.
    late["id"] = "evt_3".into();
    late["created"] = (world.clock.now().unix_seconds() + 5).into();
    world.deliver(&late).await;
    let lines = lines();
    let ages = lines.iter().filter_map(|line| line["event_age_seconds"].as_u64());
    assert_eq!(ages.collect::<Vec<_>>(), [90, 0]);
}

#[tokio::test]
async fn a_measurement_is_in_cloudwatch_s_embedded_metric_format() {
    listen();
    telemetry::count(Metric::Applied);
    telemetry::record(Metric::EventAge, 90);
    let lines = lines();
    assert_eq!(lines.len(), 2);
    for (line, (name, unit, value)) in
        lines.iter().zip([("applied", "Count", 1), ("event_age_seconds", "Seconds", 90)])
    {
        assert!(line["_aws"]["Timestamp"].as_i64().unwrap() > 1_700_000_000_000);
        let metrics = json!([{
            "Namespace": "Coursegate",
            "Dimensions": [["FunctionName"]],
            "Metrics": [{ "Name": name, "Unit": unit }],
        }]);
        assert_eq!(line["_aws"]["CloudWatchMetrics"], metrics);
        assert_eq!((&line["FunctionName"], &line[name]), (&json!("shop-webhook"), &json!(value)));
    }
}
