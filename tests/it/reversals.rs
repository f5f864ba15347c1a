//! Refunds, disputes, warnings and duplicate payments, from Stripe to the learner's access.

use coursegate::manual;
use serde_json::{Value, json};
use shared::domain::time::Timestamp;
use shared::ports::Clock as _;
use tests::requests::{Who, answer, api, learner};
use tests::sessions::event;
use tests::world::World;

use crate::log_hygiene::{counted, lines, listen};

/// A shop, and the events that Stripe has delivered.
pub(crate) struct Shop {
    pub(crate) world: World,
    told: usize,
}

impl Shop {
    async fn open() -> Self {
        Self { world: World::new().await, told: 0 }
    }

    /// A shop in which ada has paid for the demo course and the events are delivered; and the
    /// payment.
    pub(crate) async fn sold() -> (Self, String) {
        let mut shop = Self::open().await;
        let payment = shop.pay("ada").await;
        shop.tell().await;
        assert_eq!(shop.access("ada").await, ("granted".into(), "purchased".into()));
        (shop, payment)
    }

    /// A learner pays for the demo course. No event is delivered yet.
    async fn pay(&self, who: &str) -> String {
        let session = self.world.buy(&learner(who)).await;
        self.world.pay(&session).await;
        let session = self.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        session["payment_intent"].as_str().unwrap().to_owned()
    }

    /// The undelivered events, oldest first.
    pub(crate) async fn untold(&mut self) -> Vec<Value> {
        let list = self.world.stripe_get("/v1/events?limit=100").await;
        let mut events = list["data"].as_array().unwrap().clone();
        events.reverse();
        let untold = events.split_off(self.told);
        self.told += untold.len();
        untold
    }

    /// Delivers them; returns the types of those that changed anything.
    pub(crate) async fn tell(&mut self) -> Vec<String> {
        let mut applied = Vec::new();
        for event in self.untold().await {
            let (status, answer) = self.world.deliver(&event).await;
            assert_eq!(status, 200, "{answer}");
            if answer["outcome"] == "applied" {
                applied.push(event["type"].as_str().unwrap().to_owned());
            }
        }
        applied
    }

    pub(crate) async fn access(&self, who: &str) -> (Value, Value) {
        self.access_to("tutorclaw", who).await
    }

    async fn access_to(&self, course: &str, who: &str) -> (Value, Value) {
        let target = format!("/courses/{course}/access?chapter=6");
        let target = if course == "tutorclaw" { target } else { target.replace("=6", "=2") };
        let read = self.world.read("GET /courses/{course}/access", &target, &learner(who)).await;
        (read.1["access"].clone(), read.1["reason"].clone())
    }

    pub(crate) async fn is_open(&self) -> bool {
        self.access("ada").await.0 == "granted"
    }

    /// The status of each of ada's sources.
    pub(crate) async fn statuses(&self) -> Vec<Value> {
        let read = self.world.read("GET /entitlements", "/entitlements", &learner("ada")).await;
        let all = read.1["entitlements"].as_array().unwrap().clone();
        all.into_iter().map(|entitlement| entitlement["status"].clone()).collect()
    }

    async fn refund(&self, payment: &str, amount: Option<i64>) -> String {
        let mut form = vec![("payment_intent".to_owned(), payment.to_owned())];
        form.extend(amount.map(|amount| ("amount".to_owned(), amount.to_string())));
        let (status, refund) = self.world.stripe_form("/v1/refunds", &form).await;
        assert_eq!(status, 200, "{refund}");
        refund["id"].as_str().unwrap().to_owned()
    }

    async fn settle_refund(&self, refund: &str, outcome: &str) {
        let path = format!("/_sim/refunds/{refund}/settle");
        let (status, answer) = self.world.stripe_post(&path, &json!({ "outcome": outcome })).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn dispute(&self, payment: &str, status: &str) -> String {
        let opened = json!({ "payment_intent": payment, "status": status });
        let (status, dispute) = self.world.stripe_post("/_sim/disputes", &opened).await;
        assert_eq!(status, 200, "{dispute}");
        dispute["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn decide(&self, dispute: &str, verdict: Value) {
        let path = format!("/_sim/disputes/{dispute}");
        let (status, answer) = self.world.stripe_post(&path, &verdict).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Revokes a source manually, a second after the latest event.
    async fn revoke(&self, payment: &str) {
        let latest = self.world.stripe_get("/v1/events?limit=1").await;
        let now = latest["data"][0]["created"].as_i64().unwrap() + 1;
        let (source, reason) = (payment.parse().unwrap(), "fraud".parse().unwrap());
        let now = Timestamp::from_unix_seconds(now);
        manual::revoke(&self.world.deployment(""), &source, reason, now).await.unwrap();
        self.pass(60).await;
    }

    async fn pass(&self, seconds: i64) {
        let body = json!({ "seconds": seconds });
        assert_eq!(self.world.stripe_post("/_sim/advance", &body).await.0, 200);
    }

    /// Confirms ada's session at this time.
    async fn confirm(&self, session: &str, at: i64) -> u16 {
        self.world.clock.advance(at - self.world.clock.now().unix_seconds());
        let target = format!("/checkout/{session}/confirm");
        let route = "POST /checkout/{session}/confirm";
        self.world.ask(route, &target, &learner("ada"), None).await.status().as_u16()
    }

    /// The `why` response to ada about the demo course.
    async fn why(&self) -> Value {
        let target = "/entitlements/tutorclaw/why";
        self.world.read("GET /entitlements/{product}/why", target, &learner("ada")).await.1
    }

    async fn warn(&self, payment: &str) {
        let (status, answer) = self
            .world
            .stripe_post("/_sim/early_fraud_warnings", &json!({ "payment_intent": payment }))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn a_full_refund_closes_access_and_allows_buying_again() {
    let (mut shop, payment) = Shop::sold().await;
    shop.refund(&payment, None).await;
    assert_eq!(shop.tell().await, ["refund.created"]);
    assert_eq!(shop.access("ada").await, ("denied".into(), "payment_required".into()));
    assert_eq!(shop.statuses().await, ["refunded"]);
    // The first purchase's attempt is still stored, and its session is complete.
    shop.pay("ada").await;
    shop.tell().await;
    assert!(shop.is_open().await);
    let mut statuses: Vec<String> = shop.statuses().await.iter().map(ToString::to_string).collect();
    statuses.sort();
    assert_eq!(statuses, ["\"active\"", "\"refunded\""]);
    assert!(shop.world.items_of("DOUBLE_PAYMENT", "").await.is_empty());
}

#[tokio::test]
async fn partial_refunds_add_up_and_close_at_all_of_it() {
    let (mut shop, payment) = Shop::sold().await;
    for (amount, is_open) in [(400, true), (400, true), (199, false)] {
        shop.refund(&payment, Some(amount)).await;
        shop.tell().await;
        assert_eq!(shop.is_open().await, is_open, "{amount}");
    }
    assert_eq!(shop.world.items_of("SOURCE#", "").await.len(), 1);
}

#[tokio::test]
async fn a_lower_refund_threshold_also_applies_to_past_purchases() {
    let (mut shop, payment) = Shop::sold().await;
    shop.refund(&payment, Some(500)).await;
    shop.tell().await;
    assert!(shop.is_open().await);
    let mut stricter = shop.world.entitlements();
    stricter.refund_threshold = "50".parse().unwrap();
    let target = "/courses/tutorclaw/access?chapter=6";
    let request = api("GET /courses/{course}/access", target, &learner("ada"), None);
    let (_, answered) = answer(&entitlements::handle(&stricter, &request).await);
    assert_eq!(answered["access"], "denied");
    stricter.refund_threshold = "51".parse().unwrap();
    let (_, answered) = answer(&entitlements::handle(&stricter, &request).await);
    assert_eq!(answered["access"], "granted");
}

#[tokio::test]
async fn a_failed_refund_restores_access() {
    let (mut shop, payment) = Shop::sold().await;
    let refund = shop.refund(&payment, None).await;
    shop.tell().await;
    assert!(!shop.is_open().await);
    shop.settle_refund(&refund, "failed").await;
    shop.tell().await;
    assert!(shop.is_open().await);
    assert_eq!(shop.statuses().await, ["active"]);
}

#[tokio::test]
async fn a_refund_that_arrives_first_refunds_its_purchase() {
    let mut shop = Shop::open().await;
    let payment = shop.pay("ada").await;
    shop.refund(&payment, None).await;
    let mut events = shop.untold().await;
    // All of Stripe's events, newest first.
    events.reverse();
    for event in &events {
        assert_eq!(shop.world.deliver(event).await.0, 200, "{event}");
        assert!(!shop.is_open().await, "after {}", event["type"]);
    }
    assert_eq!(shop.statuses().await, ["refunded"]);
}

/// A payment in the shop's Stripe account to another integration, with this metadata.
pub(crate) async fn payment_of_another_shop(world: &World, metadata: &[(&str, &str)]) -> String {
    let product = [("name".to_owned(), "Somebody else's".to_owned())];
    let (_, product) = world.stripe_form("/v1/products", &product).await;
    let price = [("product", product["id"].as_str().unwrap()), ("unit_amount", "500")];
    let price = [price[0], price[1], ("currency", "usd")].map(|(a, b)| (a.into(), b.into()));
    let (_, price) = world.stripe_form("/v1/prices", &price).await;
    let session = [
        ("mode", "payment"),
        ("line_items[0][price]", price["id"].as_str().unwrap()),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://elsewhere.example.com"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let on = |what: &str| {
        let entry = |(key, value): &(&str, &str)| (format!("{what}[{key}]"), (*value).to_owned());
        metadata.iter().map(entry).collect::<Vec<_>>()
    };
    let session = [session.to_vec(), on("metadata"), on("payment_intent_data[metadata]")].concat();
    let (status, session) = world.stripe_form("/v1/checkout/sessions", &session).await;
    assert_eq!(status, 200, "{session}");
    let session = session["id"].as_str().unwrap();
    world.pay(session).await;
    let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
    session["payment_intent"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn another_shop_s_refunds_and_disputes_are_not_stored() {
    let sale = [("learner_id", "ada"), ("product", "tutorclaw"), ("price", "tutorclaw_paid")];
    let another_deployment = [&sale[..], &[("coursegate", "another-shop")]].concat();
    // Another deployment's learner may have the id of one of ours, and buy what we sell too.
    for metadata in [&another_deployment[..], &sale, &[("order", "7")], &[]] {
        let shop = Shop::open().await;
        let payment = payment_of_another_shop(&shop.world, metadata).await;
        shop.refund(&payment, Some(100)).await;
        shop.dispute(&payment, "needs_response").await;
        shop.warn(&payment).await;
        for kind in [
            "refund.created",
            "charge.dispute.created",
            "radar.early_fraud_warning.created",
            "checkout.session.completed",
        ] {
            let events = shop.world.events(kind).await;
            assert_eq!(events.len(), 1, "{kind}");
            let ignored = (200, json!({ "outcome": "ignored" }));
            assert_eq!(shop.world.deliver(&events[0]).await, ignored, "{kind} {metadata:?}");
        }
        assert!(shop.world.items().await.is_empty());
    }
}

#[tokio::test]
async fn an_unknown_payment_s_refund_is_looked_up_at_stripe() {
    let shop = Shop::open().await;
    let payment = shop.pay("ada").await;
    shop.refund(&payment, None).await;
    let refund = shop.world.events("refund.created").await.remove(0);
    let items = shop.world.items().await.len();
    for fault in [
        json!({ "path": "/v1/payment_intents", "status": 500, "times": 3 }),
        json!({ "path": "/v1/payment_intents", "status": 401, "times": 3 }),
        json!({ "path": "/v1/payment_intents", "drop": true, "times": 3 }),
        // For another account's key, each payment looks foreign.
        json!({ "path": "/v1/payment_intents", "status": 404, "times": 3 }),
        json!({ "path": "/v1/payment_intents", "status": 502, "times": 3, "body": "<html>" }),
    ] {
        assert_eq!(shop.world.stripe_post("/_sim/faults", &fault).await.0, 200);
        let (status, answer) = shop.world.deliver(&refund).await;
        assert_eq!(status, 503, "{fault}: {answer}");
        assert_eq!(shop.world.items().await.len(), items, "{fault}");
        let clear = reqwest::Client::new();
        clear.delete(format!("{}/_sim/faults", shop.world.stripe_url)).send().await.unwrap();
    }
    assert_eq!(shop.world.deliver(&refund).await.1["outcome"], "applied");
    assert_eq!(shop.world.deliver(&refund).await.1["outcome"], "duplicate");
}

#[tokio::test]
async fn without_a_read_key_only_an_unknown_payment_s_refund_waits() {
    let mut shop = Shop::open().await;
    let payment = shop.pay("ada").await;
    shop.refund(&payment, Some(999)).await;
    shop.world.secrets.set_current(tests::world::READ_KEY_ID, "placeholder").unwrap();
    let refund = shop.world.events("refund.created").await.remove(0);
    assert_eq!(shop.world.deliver(&refund).await.0, 503);
    for event in shop.untold().await {
        assert_eq!(shop.world.deliver(&event).await.0, 200, "{event}");
    }
    assert_eq!(shop.statuses().await, ["refunded"]);
}

#[tokio::test]
async fn an_inquiry_changes_nothing_and_a_win_reopens_access() {
    let (mut shop, payment) = Shop::sold().await;
    let dispute = shop.dispute(&payment, "warning_needs_response").await;
    assert_eq!(shop.tell().await, ["charge.dispute.created"]);
    assert!(shop.is_open().await);
    shop.decide(&dispute, json!({ "status": "warning_under_review" })).await;
    shop.tell().await;
    assert!(shop.is_open().await);
    shop.decide(&dispute, json!({ "status": "needs_response" })).await;
    shop.tell().await;
    assert_eq!(shop.access("ada").await, ("denied".into(), "payment_disputed".into()));
    assert_eq!(shop.statuses().await, ["suspended"]);
    shop.decide(&dispute, json!({ "status": "under_review" })).await;
    shop.tell().await;
    assert!(!shop.is_open().await);
    shop.decide(&dispute, json!({ "status": "won" })).await;
    shop.tell().await;
    assert!(shop.is_open().await);
}

#[tokio::test]
async fn an_inquiry_that_is_closed_leaves_everything_as_it_was() {
    let (mut shop, payment) = Shop::sold().await;
    let dispute = shop.dispute(&payment, "warning_needs_response").await;
    shop.decide(&dispute, json!({ "status": "warning_closed" })).await;
    let mut events = shop.untold().await;
    events.reverse();
    for event in events {
        assert_eq!(shop.world.deliver(&event).await.0, 200);
        assert!(shop.is_open().await);
    }
}

#[tokio::test]
async fn lost_disputes_close_and_prevented_ones_follow_the_refund() {
    for (verdict, is_open, status) in [
        (json!({ "status": "lost" }), false, "dispute_lost"),
        (json!({ "status": "prevented", "case_type": "resolution" }), false, "dispute_lost"),
        (json!({ "status": "prevented", "case_type": "block" }), true, "active"),
        (json!({ "status": "won" }), true, "active"),
    ] {
        let (mut shop, payment) = Shop::sold().await;
        let dispute = shop.dispute(&payment, "needs_response").await;
        shop.decide(&dispute, verdict.clone()).await;
        shop.tell().await;
        assert_eq!(shop.is_open().await, is_open, "{verdict}");
        assert_eq!(shop.statuses().await, [status], "{verdict}");
    }
}

#[tokio::test]
async fn a_contradicting_verdict_is_looked_up_in_any_order() {
    for order in [0, 1, 2, 3] {
        let (mut shop, payment) = Shop::sold().await;
        let dispute = shop.dispute(&payment, "needs_response").await;
        let verdicts: &[&str] = if order < 2 { &["lost", "won"] } else { &["won", "lost"] };
        for verdict in verdicts {
            shop.decide(&dispute, json!({ "status": verdict })).await;
        }
        let mut events = shop.untold().await;
        if order % 2 == 1 {
            events.reverse();
        }
        for event in &events {
            assert_eq!(shop.world.deliver(event).await.0, 200, "{event}");
        }
        assert_eq!(shop.is_open().await, order < 2, "{verdicts:?}, order {order}");
        // Delivered again, they change nothing.
        for event in &events {
            let (_, answer) = shop.world.deliver(event).await;
            assert_ne!(answer["outcome"], "applied", "{event}");
        }
        assert_eq!(shop.is_open().await, order < 2);
    }
}

#[tokio::test]
async fn one_lost_dispute_of_two_ends_access() {
    let (mut shop, payment) = Shop::sold().await;
    let first = shop.dispute(&payment, "needs_response").await;
    shop.decide(&first, json!({ "status": "won" })).await;
    let second = shop.dispute(&payment, "needs_response").await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["suspended"]);
    shop.decide(&second, json!({ "status": "lost" })).await;
    shop.tell().await;
    assert_eq!(shop.statuses().await, ["dispute_lost"]);
}

#[tokio::test]
async fn a_won_dispute_does_not_restore_a_refunded_purchase() {
    let (mut shop, payment) = Shop::sold().await;
    shop.refund(&payment, None).await;
    shop.tell().await;
    let source = shop.world.items_of("SOURCE#", "").await.remove(0);
    let source = source["pk"].as_str().unwrap().trim_start_matches("SOURCE#").to_owned();
    let closed = |kind: &str, status: &str| {
        let dispute = json!({
            "id": "du_1", "object": "dispute", "status": status, "payment_intent": source,
        });
        simulation::rendering::event(&format!("evt_{status}"), kind, 1000, &dispute)
    };
    shop.world.deliver(&closed("charge.dispute.created", "needs_response")).await;
    assert_eq!(shop.statuses().await, ["refunded"]);
    shop.world.deliver(&closed("charge.dispute.closed", "won")).await;
    assert_eq!(shop.statuses().await, ["refunded"]);
    assert!(!shop.is_open().await);
}

#[tokio::test]
async fn access_ends_with_the_last_source_that_opens_the_course() {
    let mut shop = Shop::open().await;
    // The whole curriculum twice: bought, and given to her by another payment of a product that
    // opens one of its courses.
    let catalog = tests::world::edited_catalog(|text| {
        text + "\n[[product]]\nid = \"memory\"\nname = \"Memory\"\ncourses = [\"memory\"]\n\n\
                [[price]]\nlookup_key = \"memory_paid\"\nproduct = \"memory\"\namount = 900\n\
                currency = \"usd\"\n"
    });
    shop.world.publish(&catalog).await.unwrap();
    shop.world.clock.advance(120);
    for line in [
        "evt_1 completed paid cs_a pi_a ada curriculum @1000",
        "evt_2 completed paid cs_b pi_b ada memory @1000",
    ] {
        assert_eq!(shop.world.deliver(&event(line)).await.0, 200);
    }
    let refund = |id: &str, payment: &str, amount: i64| {
        let refund = json!({
            "id": format!("re_{id}"), "object": "refund", "status": "succeeded", "amount": amount,
            "payment_intent": payment,
        });
        simulation::rendering::event(&format!("evt_{id}"), "refund.created", 2000, &refund)
    };
    let open = async |shop: &Shop| {
        let (memory, evaluation) =
            (shop.access_to("memory", "ada").await.0, shop.access_to("evaluation", "ada").await.0);
        (memory == "granted", evaluation == "granted")
    };
    assert_eq!(open(&shop).await, (true, true));
    shop.world.deliver(&refund("a", "pi_a", 2900)).await;
    assert_eq!(open(&shop).await, (true, false));
    shop.world.deliver(&refund("b", "pi_b", 2900)).await;
    assert_eq!(open(&shop).await, (false, false));
    assert_eq!(shop.untold().await.len(), shop.told);
}

#[tokio::test]
async fn a_duplicate_payment_is_flagged_counted_and_listed() {
    // In either order, and in the same second, when the id decides.
    for (first, second, double) in [
        ("pi_a ada tutorclaw @1000", "pi_b ada tutorclaw @2000", "pi_b"),
        ("pi_b ada tutorclaw @2000", "pi_a ada tutorclaw @1000", "pi_b"),
        ("pi_b ada tutorclaw @1000", "pi_a ada tutorclaw @1000", "pi_b"),
    ] {
        let shop = Shop::open().await;
        listen();
        for (number, line) in [first, second].into_iter().enumerate() {
            let line = format!("evt_{number} completed paid cs_{number} {line}");
            assert_eq!(shop.world.deliver(&event(&line)).await.1["outcome"], "applied");
            assert_eq!(shop.world.deliver(&event(&line)).await.1["outcome"], "duplicate");
        }
        assert_eq!(counted(&lines(), "double_payment"), 1);
        let listed = shop.world.items_of("DOUBLE_PAYMENT", "").await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["sk"], "ada#tutorclaw");
        let flagged = async || {
            let target = ("GET /entitlements", "/entitlements");
            let read = shop.world.read(target.0, target.1, &learner("ada")).await;
            let all = read.1["entitlements"].as_array().unwrap().clone();
            let flagged = all.iter().filter(|one| one["paid_twice"] == true);
            flagged.map(|one| one["source"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(flagged().await, [double]);
        assert!(shop.is_open().await);
        // Refunding it leaves the access.
        let refund = json!({
            "id": "re_1", "object": "refund", "status": "succeeded", "amount": 2900,
            "payment_intent": double,
        });
        let refund = simulation::rendering::event("evt_r", "refund.created", 3000, &refund);
        assert_eq!(shop.world.deliver(&refund).await.1["outcome"], "applied");
        assert!(shop.is_open().await);
        assert!(flagged().await.is_empty());
    }
}

#[tokio::test]
async fn a_duplicate_payment_confirmed_first_raises_the_alarm_too() {
    let shop = Shop::open().await;
    // Another session for what she is about to buy, which nobody here has opened.
    let first = shop.world.buy(&learner("ada")).await;
    let paid = event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000");
    assert_eq!(shop.world.deliver(&paid).await.1["outcome"], "applied");
    shop.world.pay(&first).await;
    listen();
    let confirm = format!("/checkout/{first}/confirm");
    let route = "POST /checkout/{session}/confirm";
    let confirmed = shop.world.ask(route, &confirm, &learner("ada"), None).await;
    assert_eq!(confirmed.status(), 200);
    assert_eq!(counted(&lines(), "double_payment"), 1);
    assert_eq!(shop.world.items_of("DOUBLE_PAYMENT", "").await.len(), 1);
}

#[tokio::test]
async fn two_simultaneous_payments_are_reported_once() {
    let shop = Shop::open().await;
    let payments = ["pi_a", "pi_b", "pi_c"];
    let events = payments.map(|payment| {
        let session = payment.replace("pi_", "cs_");
        let event_id = payment.replace("pi_", "evt_");
        event(&format!("{event_id} completed paid {session} {payment} ada tutorclaw @1000"))
    });
    listen();
    // Each event comes twice, all at the same moment.
    let deliveries = events.iter().chain(&events).map(|event| shop.world.deliver(event));
    let answers = futures_util::future::join_all(deliveries).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    // One of them is the first, and each of the others is a duplicate.
    let noticed = |lines: &[Value]| {
        let is_notice = |line: &&Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message == "a learner has paid for the same product twice"
        };
        let sources = lines.iter().filter(is_notice).map(|line| line["source"].as_str().unwrap());
        let mut sources: Vec<String> = sources.map(str::to_owned).collect();
        sources.sort();
        sources
    };
    let access = shop.world.items_of("LEARNER#ada", "ACCESS").await.remove(0);
    let first = access["first#tutorclaw"].as_str().unwrap();
    let others: Vec<&str> = payments.into_iter().filter(|payment| *payment != first).collect();
    let lines = lines();
    assert_eq!(noticed(&lines), others);
    assert_eq!(counted(&lines, "double_payment"), 2);
    assert_eq!(shop.world.items_of("DOUBLE_PAYMENT", "").await.len(), 1);
    assert_eq!(shop.statuses().await, ["active"; 3]);
}

#[tokio::test]
async fn a_fraud_warning_is_recorded_and_closes_nothing() {
    let (mut shop, payment) = Shop::sold().await;
    shop.warn(&payment).await;
    listen();
    assert_eq!(shop.tell().await, ["radar.early_fraud_warning.created"]);
    assert_eq!(counted(&lines(), "fraud_warning"), 1);
    assert!(shop.is_open().await);
    let source = shop.world.items_of("SOURCE#", "").await.remove(0);
    let is_warning = |name: &&String| name.starts_with("fraud_warning#issfr_");
    assert_eq!(source.as_object().unwrap().keys().filter(is_warning).count(), 1);
}

#[tokio::test]
async fn a_deleted_customer_keeps_access_and_is_recreated() {
    let (mut shop, _) = Shop::sold().await;
    let customer = shop.world.items_of("LEARNER#ada", "CUSTOMER").await.remove(0);
    let customer = customer["customer"].as_str().unwrap().to_owned();
    let url = format!("{}/v1/customers/{customer}", shop.world.stripe_url);
    let deleted = reqwest::Client::new().delete(url).bearer_auth("sk_test_world").send().await;
    assert_eq!(deleted.unwrap().status(), 200);
    assert_eq!(shop.tell().await, ["customer.deleted"]);
    assert!(shop.is_open().await);
    let body = Some(r#"{"price": "curriculum_paid"}"#);
    let opened = shop.world.ask("POST /checkout", "/checkout", &learner("ada"), body).await;
    assert_eq!(opened.status(), 201);
    let now = shop.world.items_of("LEARNER#ada", "CUSTOMER").await.remove(0);
    assert_ne!(now["customer"], customer);
    assert_eq!(now.get("deleted_at"), None);
    // A repeated event, or one about a customer replaced long ago: nothing to unlink.
    let told = shop.world.events("customer.deleted").await.remove(0);
    let mut again = told.clone();
    again["id"] = "evt_again".into();
    assert_eq!(shop.world.deliver(&told).await.1["outcome"], "duplicate");
    assert_eq!(shop.world.deliver(&again).await.1["outcome"], "duplicate");
    assert_eq!(shop.world.items_of("LEARNER#ada", "CUSTOMER").await, [now]);
}

#[tokio::test]
async fn payment_charge_review_and_credit_note_events_are_ignored() {
    // A payment's event opens nothing without its session, and refunds and disputes have their own
    // events besides the charge's.
    let (shop, payment) = Shop::sold().await;
    let before = shop.world.items().await;
    for kind in [
        "payment_intent.succeeded",
        "payment_intent.processing",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "charge.succeeded",
        "charge.updated",
        "charge.failed",
        "charge.refunded",
        "charge.refund.updated",
        "credit_note.created",
        "credit_note.voided",
        "radar.early_fraud_warning.updated",
        "review.opened",
        "review.closed",
    ] {
        let object = json!({
            "id": "ch_1", "object": "charge", "payment_intent": payment, "status": "succeeded",
            "amount": 2900, "amount_refunded": 2900, "refunded": true, "disputed": true,
            "metadata": { "learner_id": "ada", "product": "tutorclaw", "price": "tutorclaw_paid" },
        });
        let told = simulation::rendering::event("evt_x", kind, 1000, &object);
        let (status, answer) = shop.world.deliver(&told).await;
        assert_eq!((status, &answer["outcome"]), (200, &"ignored".into()), "{kind}");
    }
    assert_eq!(shop.world.items().await, before);
}

#[tokio::test]
async fn an_unreadable_refund_or_dispute_is_kept_until_readable() {
    let (shop, payment) = Shop::sold().await;
    let cases = [
        (
            "refund.created",
            json!({ "id": "re_1", "amount": 2900, "status": "succeeded" }),
            "status",
        ),
        ("refund.updated", json!({ "id": "re_2", "amount": 1, "status": "pending" }), "amount"),
        ("refund.failed", json!({ "id": "re_3", "amount": 1, "status": "failed" }), "id"),
        ("charge.dispute.created", json!({ "id": "du_1", "status": "under_review" }), "status"),
        ("charge.dispute.closed", json!({ "id": "du_2", "status": "won" }), "id"),
        ("radar.early_fraud_warning.created", json!({ "id": "issfr_1" }), "id"),
        (
            "refund.created",
            json!({ "id": "re_4", "amount": 1, "status": "pending" }),
            "payment_intent",
        ),
    ];
    for (number, (kind, mut object, field)) in cases.into_iter().enumerate() {
        object["payment_intent"] = payment.clone().into();
        let id = format!("evt_{number}");
        let readable = simulation::rendering::event(&id, kind, 1000, &object);
        let mut unreadable = readable.clone();
        unreadable["data"]["object"][field] = json!({ "of": "another age" });
        let (_, answer) = shop.world.deliver(&unreadable).await;
        assert_eq!(answer["outcome"], "quarantined", "{kind} {field}");
        let listed = shop.world.items_of("QUARANTINE", &id).await;
        assert!(listed[0]["reason"].as_str().unwrap().contains(field), "{}", listed[0]);
        let (_, answer) = shop.world.deliver(&readable).await;
        assert_eq!(answer["outcome"], "applied", "{kind}");
        let listed = shop.world.items_of("QUARANTINE", &id).await;
        assert!(listed[0]["resolved_at"].is_number());
    }
}

#[tokio::test]
async fn nobody_but_the_learner_and_a_service_may_ask_why() {
    let (shop, _) = Shop::sold().await;
    let own = "GET /entitlements/{product}/why";
    let of_learner = "GET /learners/{learner}/entitlements/{product}/why";
    for (route, target, who, status) in [
        (own, "/entitlements/tutorclaw/why", learner("ada"), 200),
        (own, "/entitlements/tutorclaw/why", Who::Service, 403),
        (own, "/entitlements/tutorclaw/why", Who::Anyone, 401),
        (of_learner, "/learners/ada/entitlements/tutorclaw/why", Who::Service, 200),
        (of_learner, "/learners/ada/entitlements/tutorclaw/why", learner("ada"), 403),
        (own, "/entitlements/nothing/why", learner("ada"), 404),
    ] {
        assert_eq!(shop.world.read(route, target, &who).await.0, status, "{target} {who:?}");
    }
}

#[tokio::test]
async fn why_lists_each_step_and_its_effect_in_order() {
    let (mut shop, payment) = Shop::sold().await;
    shop.warn(&payment).await;
    let dispute = shop.dispute(&payment, "warning_needs_response").await;
    for status in ["needs_response", "won"] {
        shop.world.stripe_post("/_sim/advance", &json!({ "seconds": 86_400 })).await;
        shop.decide(&dispute, json!({ "status": status })).await;
    }
    shop.world.stripe_post("/_sim/advance", &json!({ "seconds": 86_400 })).await;
    let refund = shop.refund(&payment, None).await;
    shop.tell().await;
    let target = "/entitlements/tutorclaw/why";
    let (_, answer) =
        shop.world.read("GET /entitlements/{product}/why", target, &learner("ada")).await;
    assert_eq!((&answer["learner"], &answer["product"]), (&"ada".into(), &"tutorclaw".into()));
    assert_eq!(answer["access"], "denied");
    assert_eq!(answer["sources"].as_array().unwrap().len(), 1);
    let source = &answer["sources"][0];
    assert_eq!((&source["source"], &source["status"]), (&json!(payment), &"refunded".into()));
    let facts: Vec<String> = source["facts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fact| {
            let word = |name: &str| fact[name].as_str().unwrap().to_owned();
            assert!(word("at").ends_with('Z'));
            let id = word("id").replace(&payment, "pi").replace(&dispute, "du");
            let id = id.replace(&refund, "re");
            format!("{id} {} {}: {}", word("fact"), word("effect"), word("text"))
        })
        .collect();
    assert_eq!(
        facts,
        [
            "pi paid opens: Paid 9.99 USD.",
            "du dispute_inquiry nothing: The bank asked about the payment.",
            "du dispute_open suspends: The payment is disputed at the bank.",
            "du dispute_won restores: The bank decided the dispute: the payment stands.",
            "re refunded closes: 9.99 USD was refunded.",
        ]
    );
    // Nothing is known, and nothing is returned.
    let (_, nothing) =
        shop.world.read("GET /entitlements/{product}/why", target, &learner("bob")).await;
    assert_eq!((&nothing["access"], &nothing["sources"]), (&"denied".into(), &json!([])));
}

/// An event that ends access.
#[derive(Debug, Clone, Copy)]
enum End {
    Refund,
    Dispute,
    Lost,
    Prevented,
    Revoke,
}

#[tokio::test]
async fn every_answer_names_who_ended_the_access() {
    use End::{Dispute, Lost, Prevented, Refund, Revoke};
    for (ends, status, last) in [
        (&[Refund][..], "refunded", "refunded closes"),
        (&[Dispute], "suspended", "dispute_open suspends"),
        (&[Dispute, Lost], "dispute_lost", "dispute_lost closes"),
        (&[Dispute, Prevented], "dispute_lost", "dispute_prevented closes"),
        (&[Revoke], "revoked", "revoked closes"),
        (&[Dispute, Revoke], "revoked", "revoked closes"),
        (&[Revoke, Refund], "revoked", "revoked closes"),
        // A revocation is final; the refund had ended access before.
        (&[Refund, Revoke], "revoked", "refunded closes"),
    ] {
        let mut shop = Shop::open().await;
        let ada = learner("ada");
        let session = shop.world.buy(&ada).await;
        shop.world.pay(&session).await;
        shop.tell().await;
        let payment = shop.world.items_of("SOURCE#", "").await.remove(0)["pk"].clone();
        let payment = payment.as_str().unwrap().trim_start_matches("SOURCE#").to_owned();
        let mut dispute = None;
        for end in ends {
            shop.pass(60).await;
            match end {
                Refund => drop(shop.refund(&payment, None).await),
                Dispute => dispute = Some(shop.dispute(&payment, "needs_response").await),
                Lost => shop.decide(dispute.as_ref().unwrap(), json!({ "status": "lost" })).await,
                Prevented => {
                    let verdict = json!({ "status": "prevented", "case_type": "resolution" });
                    shop.decide(dispute.as_ref().unwrap(), verdict).await;
                }
                Revoke => shop.revoke(&payment).await,
            }
            shop.tell().await;
        }
        assert!(!shop.is_open().await, "{ends:?}");
        assert_eq!(shop.statuses().await, [status], "{ends:?}");
        let why = shop.why().await;
        assert_eq!(why["access"], "denied", "{ends:?}: {why}");
        assert_eq!(why["sources"][0]["status"], status, "{ends:?}: {why}");
        let facts = why["sources"][0]["facts"].as_array().unwrap();
        let changed = facts.iter().rfind(|fact| fact["effect"] != "nothing").unwrap();
        let (fact, effect) = (&changed["fact"], &changed["effect"]);
        let found = format!("{} {}", fact.as_str().unwrap(), effect.as_str().unwrap());
        assert_eq!(found, last, "{ends:?}: {why}");
        let target = format!("/checkout/{session}/confirm");
        let confirm = "POST /checkout/{session}/confirm";
        let (_, confirmed) = answer(&shop.world.ask(confirm, &target, &ada, None).await);
        assert_eq!(confirmed, json!({ "status": status, "access": "denied" }), "{ends:?}");
    }
}

#[tokio::test]
async fn a_limited_grant_says_when_it_ended() {
    let shop = Shop::open().await;
    let now = shop.world.clock.now();
    let (ada, product) = ("ada".parse().unwrap(), "tutorclaw".parse().unwrap());
    let (deployment, until) = (shop.world.deployment(""), Some(now.plus_seconds(60)));
    let reason = "a trial".parse().unwrap();
    manual::grant(&deployment, &ada, &product, until, reason, now).await.unwrap();
    shop.world.clock.advance(60);
    assert_eq!(shop.statuses().await, ["ended"]);
    let why = shop.why().await;
    let facts = why["sources"][0]["facts"].as_array().unwrap();
    let line = |fact: &Value| format!("{} {}", fact["fact"], fact["effect"]).replace('"', "");
    assert_eq!(facts.iter().map(line).collect::<Vec<_>>(), ["given opens", "ended closes"]);
    assert_eq!((&why["access"], &why["sources"][0]["status"]), (&"denied".into(), &"ended".into()));
}

#[tokio::test]
async fn a_bank_debit_has_dates_for_its_start_and_outcome() {
    for (outcome, expected) in [
        ("failed", ["payment_processing nothing 1", "payment_failed nothing 3"]),
        ("succeeded", ["payment_processing nothing 1", "paid opens 3"]),
    ] {
        // Whether the webhook reports it, or the learner's confirmation.
        for is_told in [true, false] {
            let mut shop = Shop::open().await;
            let session = shop.world.buy(&learner("ada")).await;
            shop.world.pay_by_debit(&session).await;
            let made = shop.world.events("checkout.session.completed").await.remove(0);
            let made = made["created"].as_i64().unwrap();
            if is_told {
                shop.tell().await;
            }
            assert_eq!(shop.confirm(&session, made).await, 200);
            shop.pass(3 * 86_400).await;
            let settle = format!("/_sim/checkout/sessions/{session}/settle");
            shop.world.stripe_post(&settle, &json!({ "outcome": outcome })).await;
            if is_told {
                shop.tell().await;
            }
            let kind = format!("checkout.session.async_payment_{outcome}");
            let told = shop.world.events(&kind).await.remove(0)["created"].as_i64().unwrap();
            assert_eq!(shop.confirm(&session, told).await, 200);
            let why = shop.why().await;
            let facts = why["sources"][0]["facts"].as_array().unwrap();
            let line = |fact: &Value| {
                let at = fact["at"].as_str().unwrap();
                let day = if at == rfc3339(made) {
                    1
                } else if at == rfc3339(told) {
                    3
                } else {
                    0
                };
                format!("{} {} {day}", fact["fact"], fact["effect"]).replace('"', "")
            };
            let lines: Vec<_> = facts.iter().map(line).collect();
            assert_eq!(lines, expected, "{outcome}, told: {is_told}: {why}");
        }
    }
}

fn rfc3339(seconds: i64) -> String {
    shared::http::rfc3339(Timestamp::from_unix_seconds(seconds))
}
