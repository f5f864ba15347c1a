//! The DynamoDB and Stripe requests of each operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambda_http::{Body, Response};
use serde_json::{Value, json};
use shared::dynamo::Table;
use shared::ports::Clock as _;
use simulation::clock::ManualClock;
use simulation::rendering;
use tests::meter::{Meter, Reading, StripeMeter};
use tests::requests::{Who, answer, api, delivery, learner};
use tests::sessions::event;
use tests::world::World;

use crate::reversals::payment_of_another_shop;

const CONFIRM: &str = "POST /checkout/{session}/confirm";
const LINK: &str = "POST /learners/{learner}/upgrade-link";
const ACCESS: &str = "GET /courses/{course}/access";

/// A shop whose functions are warm: they have cached the catalog and the secrets.
pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) meter: Meter,
    stripe: StripeMeter,
    entitlements: entitlements::App<Table, ManualClock>,
    checkout: Arc<checkout::App<ManualClock>>,
    webhook: webhook::App<Table, ManualClock>,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let mut world = World::new().await;
        let meter = world.meter().await;
        let (stripe, stripe_url) = world.stripe_meter().await;
        let shop = Self {
            entitlements: world.entitlements(),
            checkout: world.checkout_at(&stripe_url),
            webhook: world.webhook(),
            meter,
            stripe,
            world,
        };
        let now = shop.world.clock.now();
        shop.entitlements.catalog.get(now).await.unwrap();
        shop.checkout.catalog.get(now).await.unwrap();
        let _ = shop.meter.take();
        shop
    }

    pub(crate) async fn read(&self, route: &str, target: &str, who: &Who) -> Value {
        let request = api(route, target, who, None);
        let (status, body) = answer(&entitlements::handle(&self.entitlements, &request).await);
        assert_eq!(status, 200, "{route}: {body}");
        body
    }

    /// Whether this learner may open chapter six.
    pub(crate) async fn access(&self, who: &Who) -> Value {
        self.read(ACCESS, "/courses/tutorclaw/access?chapter=6", who).await["access"].clone()
    }

    async fn ask(
        &self,
        route: &str,
        target: &str,
        who: &Who,
        body: Option<&str>,
        expected: u16,
    ) -> Response<Body> {
        let request = api(route, target, who, body);
        let response = Box::pin(checkout::handle(&*self.checkout, &request)).await;
        assert_eq!(response.status(), expected, "{route}: {:?}", response.body());
        response
    }

    /// Opens a session, or gets the open one; returns its id.
    pub(crate) async fn checkout(&self, who: &Who, price: &str, expected: u16) -> String {
        let body = format!(r#"{{"price": "{price}"}}"#);
        let response = self.ask("POST /checkout", "/checkout", who, Some(&body), expected).await;
        answer(&response).1["session_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn confirm(&self, who: &Who, session: &str) {
        let target = format!("/checkout/{session}/confirm");
        self.ask(CONFIRM, &target, who, None, 200).await;
    }

    pub(crate) async fn deliver(&self, event: &Value, outcome: &str) {
        let body = event.to_string();
        let request = delivery(&body, Some(&self.world.sign(&body)));
        let (status, answer) = answer(&webhook::handle(&self.webhook, &request).await);
        assert_eq!((status, &answer["outcome"]), (200, &outcome.into()), "{answer}");
    }

    /// A session at Stripe.
    pub(crate) async fn event(&self, kind: &str, session: &str) -> Value {
        let events = self.world.events(kind).await;
        events.into_iter().find(|event| event["data"]["object"]["id"] == session).unwrap()
    }

    /// Creates a link, and returns its path.
    async fn link(&self, who: &str) -> String {
        let body = Some(r#"{"price": "tutorclaw_paid"}"#);
        let target = format!("/learners/{who}/upgrade-link");
        let (_, link) = answer(&self.ask(LINK, &target, &Who::Service, body, 201).await);
        let (_, path) = link["url"].as_str().unwrap().split_once("/api").unwrap();
        path.to_owned()
    }

    async fn show_link(&self, path: &str) {
        self.ask("GET /go/{proxy+}", path, &Who::Anyone, None, 200).await;
    }

    async fn use_link(&self, path: &str) {
        self.ask("POST /go/{proxy+}", path, &Who::Anyone, None, 303).await;
    }
}

/// The table requests of each operation, by name.
#[expect(clippy::too_many_lines, reason = "a list")]
async fn measured() -> Vec<(&'static str, Reading)> {
    let shop = Shop::open().await;
    let mut rows = Vec::new();
    macro_rules! measure {
        ($name:literal, $what:expr) => {{
            let done = $what.await;
            rows.push(($name, shop.meter.take()));
            done
        }};
    }
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(learner);

    let cold = shop.world.entitlements();
    let courses = api("GET /courses", "/courses", &Who::Anyone, None);
    measure!("courses listed by a new function", entitlements::handle(&cold, &courses));
    measure!("courses listed", shop.read("GET /courses", "/courses", &Who::Anyone));
    measure!("access checked, nothing owned", shop.access(&ada));

    let session = measure!("checkout opened", shop.checkout(&ada, "tutorclaw_paid", 201));
    measure!("checkout opened again", shop.checkout(&ada, "tutorclaw_paid", 200));
    shop.world.pay(&session).await;
    let paid = shop.event("checkout.session.completed", &session).await;
    measure!("event applied", shop.deliver(&paid, "applied"));
    measure!("event again", shop.deliver(&paid, "duplicate"));
    measure!("confirmed after the event", shop.confirm(&ada, &session));
    measure!("access checked, one purchase", shop.access(&ada));

    let other =
        measure!("checkout of another product", shop.checkout(&ada, "curriculum_paid", 201));
    shop.world.pay(&other).await;
    measure!("confirmed before the event", shop.confirm(&ada, &other));
    let paid = shop.event("checkout.session.completed", &other).await;
    measure!("event after confirmation", shop.deliver(&paid, "duplicate"));
    measure!("event of no known type", shop.deliver(&unknown(&paid), "ignored"));
    measure!("event of the other mode", shop.deliver(&live(&paid), "ignored"));
    measure!("event that can't be read", shop.deliver(&unreadable(&paid), "quarantined"));

    for purchase in 1..=20 {
        let at = shop.world.clock.now().unix_seconds();
        let line = format!(
            "evt_b{purchase} completed paid cs_b{purchase} pi_b{purchase} bob p{purchase} @{at}"
        );
        shop.deliver(&event(&line), "applied").await;
    }
    let _ = shop.meter.take();
    let line = "evt_b21 completed paid cs_b21 pi_b21 bob tutorclaw @1000";
    measure!("event applied, 20 owned before", shop.deliver(&event(line), "applied"));
    assert_eq!(measure!("access checked, 21 purchases", shop.access(&bob)), "granted");
    let entitlements = shop.read("GET /entitlements", "/entitlements", &bob);
    measure!("entitlements listed, 21 purchases", entitlements);

    let refund = |payment: &str| {
        json!({
            "id": format!("re_{payment}"), "object": "refund", "amount": 100, "status": "succeeded",
            "payment_intent": payment,
        })
    };
    let dispute = json!({
        "id": "du_1", "object": "dispute", "status": "under_review", "payment_intent": "pi_b21",
    });
    let (refunded, disputed) = ("refund.created", "charge.dispute.created");
    let refunded = rendering::event("evt_r1", refunded, 2000, &refund("pi_b21"));
    measure!("refund applied", shop.deliver(&refunded, "applied"));
    measure!("refund again", shop.deliver(&refunded, "duplicate"));
    let disputed = rendering::event("evt_d1", disputed, 2000, &dispute);
    measure!("dispute applied", shop.deliver(&disputed, "applied"));
    let payment = payment_of_another_shop(&shop.world, &[]).await;
    let early = rendering::event("evt_r2", "refund.created", 2000, &refund(&payment));
    measure!("refund of another shop's payment", shop.deliver(&early, "ignored"));
    let why = "GET /entitlements/{product}/why";
    measure!("why", shop.read(why, "/entitlements/tutorclaw/why", &bob));
    shop.deliver(&event("evt_e1 completed paid cs_e1 pi_e1 eve tutorclaw @1000"), "applied").await;
    let _ = shop.meter.take();
    let twice = event("evt_e2 completed paid cs_e2 pi_e2 eve tutorclaw @2000");
    measure!("event applied, paid for twice", shop.deliver(&twice, "applied"));

    let path = measure!("upgrade link made", shop.link("x-1"));
    measure!("upgrade link shown", shop.show_link(&path));
    measure!("upgrade link used", shop.use_link(&path));
    measure!("upgrade link used again", shop.use_link(&path));

    let session = shop.checkout(&eve, "curriculum_paid", 201).await;
    shop.world.expire(&session).await;
    let expired = shop.event("checkout.session.expired", &session).await;
    let _ = shop.meter.take();
    measure!("event of a session that was left", shop.deliver(&expired, "ignored"));
    rows
}

fn unknown(event: &Value) -> Value {
    let mut event = event.clone();
    event["id"] = "evt_unknown".into();
    event["type"] = "product.created".into();
    event
}

fn live(event: &Value) -> Value {
    let mut event = event.clone();
    event["id"] = "evt_live".into();
    event["livemode"] = true.into();
    event
}

fn unreadable(event: &Value) -> Value {
    let mut event = event.clone();
    event["id"] = "evt_unreadable".into();
    event["data"]["object"]["payment_status"] = 7.into();
    event
}

#[tokio::test]
async fn each_operation_makes_only_these_table_requests() {
    let rows = measured().await;
    let table: Vec<String> = rows.iter().map(|(name, it)| format!("{name:34}{it}")).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    courses listed by a new function  1 read, 0 written: GetItem
    courses listed                    0 read, 0 written: nothing
    access checked, nothing owned     1 read, 0 written: GetItem
    checkout opened                   4 read, 6 written: BatchGetItem, PutItem, TransactWriteItems, UpdateItem
    checkout opened again             4 read, 1 written: BatchGetItem, UpdateItem
    event applied                     0 read, 6 written: TransactWriteItems
    event again                       0 read, 0 written, 6 cancelled: TransactWriteItems
    confirmed after the event         3 read, 1 written: BatchGetItem, 2 GetItem, PutItem
    access checked, one purchase      1 read, 0 written: GetItem
    checkout of another product       4 read, 3 written: BatchGetItem, PutItem, 2 UpdateItem
    confirmed before the event        3 read, 5 written: BatchGetItem, 2 GetItem, TransactWriteItems, UpdateItem
    event after confirmation          0 read, 2 written, 6 cancelled: 2 TransactWriteItems
    event of no known type            0 read, 0 written: nothing
    event of the other mode           0 read, 0 written: nothing
    event that can't be read          1 read, 4 written: BatchGetItem, TransactWriteItems
    event applied, 20 owned before    0 read, 8 written: TransactWriteItems
    access checked, 21 purchases      1 read, 0 written: GetItem
    entitlements listed, 21 purchases 1 read, 0 written: GetItem
    refund applied                    2 read, 8 written: BatchGetItem, TransactWriteItems
    refund again                      2 read, 0 written: BatchGetItem
    dispute applied                   2 read, 8 written: BatchGetItem, TransactWriteItems
    refund of another shop's payment  2 read, 0 written: BatchGetItem
    why                               2 read, 0 written: BatchGetItem, GetItem
    event applied, paid for twice     0 read, 8 written, 6 cancelled: 2 TransactWriteItems
    upgrade link made                 2 read, 2 written: 2 GetItem, 2 PutItem
    upgrade link shown                1 read, 0 written: GetItem
    upgrade link used                 5 read, 3 written: BatchGetItem, GetItem, 2 PutItem, UpdateItem
    upgrade link used again           5 read, 1 written: BatchGetItem, GetItem, UpdateItem
    event of a session that was left  0 read, 0 written: nothing
    ");
}

#[tokio::test]
async fn a_payment_makes_only_the_designed_requests() {
    let rows: BTreeMap<&str, Reading> = measured().await.into_iter().collect();
    let applied = &rows["event applied"];
    assert_eq!(applied.round_trips(), 1, "{applied}");
    assert_eq!((applied.read_units, applied.write_units), (0, 6), "{applied}");
    for name in ["refund applied", "dispute applied"] {
        let applied = &rows[name];
        assert_eq!(applied.round_trips(), 2, "{name}: {applied}");
        assert!(applied.read_units <= 2, "{name}: {applied}");
    }
    for name in ["event again", "refund again"] {
        let duplicate = &rows[name];
        assert_eq!((duplicate.round_trips(), duplicate.write_units), (1, 0), "{duplicate}");
    }
    for name in ["access checked, nothing owned", "access checked, one purchase"] {
        let checked = &rows[name];
        assert_eq!(checked.calls, BTreeMap::from([("GetItem".to_owned(), 1)]));
        assert_eq!((checked.read_units, checked.write_units), (1, 0), "{checked}");
    }
}

/// Has a session opened, and checks how often it asks the table, and what it asks of Stripe.
#[track_caller]
fn assert_calls(shop: &Shop, what: &str, round_trips_max: u64, stripe_calls: &[&str]) {
    let reading = shop.meter.take();
    assert!(reading.round_trips() <= round_trips_max, "{what}: {reading}");
    let mut calls = shop.stripe.take();
    for call in &mut calls {
        // Without the id of a session.
        call.truncate(call.find("/cs_").unwrap_or(call.len()));
    }
    assert_eq!(calls, stripe_calls, "{what}");
}

#[tokio::test]
async fn a_checkout_takes_at_most_four_round_trips() {
    const CUSTOMER: &str = "POST /v1/customers";
    const OPEN: &str = "POST /v1/checkout/sessions";
    const CHECK: &str = "GET /v1/checkout/sessions";
    let shop = Shop::open().await;
    let ada = learner("ada");
    for (what, price, status, round_trips_max, stripe_calls) in [
        ("the first session", "tutorclaw_paid", 201, 4, &[CUSTOMER, OPEN][..]),
        ("the same session", "tutorclaw_paid", 200, 2, &[CHECK]),
        ("a session for another product", "curriculum_paid", 201, 4, &[OPEN]),
    ] {
        shop.checkout(&ada, price, status).await;
        assert_calls(&shop, what, round_trips_max, stripe_calls);
    }
    let session = shop.checkout(&ada, "tutorclaw_paid", 200).await;
    shop.world.expire(&session).await;
    let _ = (shop.meter.take(), shop.stripe.take());
    shop.checkout(&ada, "tutorclaw_paid", 201).await;
    assert_calls(&shop, "a session in place of an expired one", 4, &[CHECK, OPEN]);

    // A link has to be read first.
    let path = shop.link("x-1").await;
    let _ = shop.meter.take();
    shop.use_link(&path).await;
    assert_calls(&shop, "a link's first session", 5, &[OPEN]);
    shop.use_link(&path).await;
    assert_calls(&shop, "a link's session again", 3, &[CHECK]);
}
