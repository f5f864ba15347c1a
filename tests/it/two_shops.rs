//! Two complete shops in one Stripe account. Stripe sends each of them everything, and each keeps
//! its own.

use std::collections::BTreeSet;

use coursegate::events;
use coursegate::learner::forget;
use serde_json::{Value, json};
use shared::domain::decide::{IgnoreReason, Outcome};
use shared::ports::Clock as _;
use shared::stripe::wire::handled_event_types;
use tests::requests::{answer, learner};
use tests::world::World;

use crate::catalog::other_names;
use crate::log_hygiene::{counted, lines, listen};

/// Two deployments that share a Stripe account, with the same learners and catalog.
struct Shops {
    ours: Shop,
    theirs: Shop,
}

/// A deployment, the price of its demo product, and the objects it created at Stripe.
struct Shop {
    world: World,
    product: &'static str,
    price: &'static str,
    ids: BTreeSet<String>,
    payments: BTreeSet<String>,
}

/// The result of each learner's purchase: the tier, and the status of the source.
const BUYERS: [(&str, &str, Option<&str>); 7] = [
    ("ada", "paid", Some("active")),
    ("refunded", "free", Some("refunded")),
    ("disputed", "free", Some("dispute_lost")),
    ("warned", "paid", Some("active")),
    ("debit", "paid", Some("active")),
    ("expired", "free", None),
    ("deleted", "paid", Some("active")),
];

impl Shops {
    async fn open() -> Self {
        let ours = World::new().await;
        let theirs = ours.beside("123456789012/eu-central-1/theirs").await;
        theirs.publish(&other_names()).await.unwrap();
        Self {
            ours: Shop::new(ours, "tutorclaw", "tutorclaw_paid"),
            theirs: Shop::new(theirs, "other_tutorclaw", "tutorclaw_2027"),
        }
    }

    /// Every event of both shops that either handles, the oldest of each type first.
    async fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for kind in handled_event_types() {
            events.extend(self.ours.world.events(kind).await);
        }
        events
    }
}

impl Shop {
    fn new(world: World, product: &'static str, price: &'static str) -> Self {
        Self { world, product, price, ids: BTreeSet::new(), payments: BTreeSet::new() }
    }

    /// Opens a session for this learner.
    async fn buy(&mut self, who: &str) -> String {
        let body = json!({ "price": self.price }).to_string();
        let opened =
            self.world.ask("POST /checkout", "/checkout", &learner(who), Some(&body)).await;
        let (status, session) = answer(&opened);
        assert_eq!(status, 201, "{session}");
        let session = session["session_id"].as_str().unwrap().to_owned();
        let found = self.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        self.ids.insert(found["customer"].as_str().unwrap().to_owned());
        self.ids.insert(session.clone());
        session
    }

    /// The payment of a session that was paid.
    async fn payment(&mut self, session: &str) -> String {
        let found = self.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        let payment = found["payment_intent"].as_str().unwrap().to_owned();
        self.ids.insert(payment.clone());
        self.payments.insert(payment.clone());
        payment
    }

    /// Causes every event that Stripe sends.
    async fn trade(&mut self) {
        for (who, ..) in BUYERS {
            let session = self.buy(who).await;
            match who {
                "expired" => {
                    self.world.expire(&session).await;
                    continue;
                }
                "debit" => {
                    self.world.pay_by_debit(&session).await;
                    let settle = format!("/_sim/checkout/sessions/{session}/settle");
                    self.simulate(&settle, &json!({ "outcome": "succeeded" })).await;
                }
                _ => self.world.pay(&session).await,
            }
            let payment = self.payment(&session).await;
            match who {
                "refunded" => {
                    let form = [("payment_intent".to_owned(), payment)];
                    assert_eq!(self.world.stripe_form("/v1/refunds", &form).await.0, 200);
                }
                "disputed" => {
                    let dispute = json!({ "payment_intent": payment, "status": "needs_response" });
                    let dispute = self.simulate("/_sim/disputes", &dispute).await;
                    let path = format!("/_sim/disputes/{}", dispute["id"].as_str().unwrap());
                    self.simulate(&path, &json!({ "status": "lost" })).await;
                }
                "warned" => {
                    let payment = json!({ "payment_intent": payment });
                    self.simulate("/_sim/early_fraud_warnings", &payment).await;
                }
                "deleted" => {
                    let found =
                        self.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
                    let customer = found["customer"].as_str().unwrap();
                    let url = format!("{}/v1/customers/{customer}", self.world.stripe_url);
                    let delete = reqwest::Client::new().delete(url).bearer_auth("sk_test_world");
                    assert_eq!(delete.send().await.unwrap().status(), 200);
                }
                _ => {}
            }
        }
    }

    async fn simulate(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.world.stripe_post(path, body).await;
        assert_eq!(status, 200, "{path} {answer}");
        answer
    }

    /// Whether an event is about an object that this shop created.
    fn owns(&self, event: &Value) -> bool {
        let object = &event["data"]["object"];
        [&object["id"], &object["payment_intent"]]
            .into_iter()
            .filter_map(Value::as_str)
            .any(|id| self.ids.contains(id))
    }

    /// Handles an event; returns whether it was another shop's.
    async fn take(&self, event: &Value) -> bool {
        let (status, answer) = self.world.deliver(event).await;
        let outcome = answer["outcome"].as_str().unwrap_or_default();
        assert_eq!(status, 200, "{answer}");
        let is_known = matches!(outcome, "applied" | "duplicate");
        let is_own = self.owns(event);
        let is_expired = event["type"] == "checkout.session.expired";
        assert_eq!(is_known, is_own && !is_expired, "{outcome}: {event}");
        assert!(is_known || outcome == "ignored", "{outcome}: {event}");
        !is_own
    }

    /// The table contains this shop's sales, and nothing of the other's.
    async fn holds_only_its_own(&self, other: &Self) {
        let items = self.world.items().await;
        let sources: BTreeSet<String> = items
            .iter()
            .filter_map(|item| item["pk"].as_str()?.strip_prefix("SOURCE#"))
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(sources, self.payments);
        let all = json!(items).to_string();
        for id in other.ids.iter().map(String::as_str).chain([other.price]) {
            assert!(!all.contains(id), "{id} of {} is kept", other.product);
        }
        for (who, tier, status) in BUYERS {
            let read = self.world.read("GET /entitlements", "/entitlements", &learner(who)).await;
            assert_eq!(read.1["tier"], tier, "{who}");
            let entitlements = read.1["entitlements"].as_array().unwrap();
            let products: Vec<_> = entitlements.iter().map(|one| one["product"].as_str()).collect();
            let statuses: Vec<_> = entitlements.iter().map(|one| one["status"].as_str()).collect();
            assert_eq!(statuses, status.map(Some).into_iter().collect::<Vec<_>>(), "{who}");
            assert!(products.iter().all(|product| *product == Some(self.product)), "{who}");
        }
    }
}

#[tokio::test]
async fn two_shops_in_one_account_each_keep_their_own_sales() {
    let mut shops = Shops::open().await;
    shops.ours.trade().await;
    shops.theirs.trade().await;
    let shared: Vec<_> = shops.ours.ids.intersection(&shops.theirs.ids).collect();
    assert!(shared.is_empty(), "the same learner's id is another customer: {shared:?}");

    let events = shops.events().await;
    let kinds: BTreeSet<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    for kind in [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.expired",
        "refund.created",
        "charge.dispute.created",
        "charge.dispute.closed",
        "radar.early_fraud_warning.created",
        "customer.deleted",
    ] {
        assert!(kinds.contains(kind), "{kind}");
    }
    listen();
    let mut of_others = 0;
    // First the refunds and disputes, and then the sales; and everything once more.
    for event in events.iter().rev().chain(&events) {
        for shop in [&shops.ours, &shops.theirs] {
            of_others += u64::from(shop.take(event).await);
        }
    }
    assert_eq!(counted(&lines(), "not_ours"), of_others);
    assert!(of_others > 20, "{of_others}");
    shops.ours.holds_only_its_own(&shops.theirs).await;
    shops.theirs.holds_only_its_own(&shops.ours).await;
}

#[tokio::test]
async fn confirm_and_replay_ignore_another_shop_s_sale() {
    let Shops { ours, mut theirs } = Shops::open().await;
    let confirm = async |shop: &Shop, session: &str| {
        let target = format!("/checkout/{session}/confirm");
        let route = "POST /checkout/{session}/confirm";
        answer(&shop.world.ask(route, &target, &learner("ada"), None).await)
    };
    let unknown = confirm(&ours, "cs_test_of_nobody").await;
    assert_eq!(unknown.0, 404);

    let session = theirs.buy("ada").await;
    assert_eq!(confirm(&ours, &session).await, unknown, "open");
    theirs.world.expire(&session).await;
    assert_eq!(confirm(&ours, &session).await, unknown, "expired");
    let session = theirs.buy("ada").await;
    theirs.world.pay(&session).await;
    let payment = theirs.payment(&session).await;
    let form = [("payment_intent".to_owned(), payment), ("amount".to_owned(), "100".to_owned())];
    theirs.world.stripe_form("/v1/refunds", &form).await;
    assert_eq!(confirm(&ours, &session).await, unknown, "paid");

    let replay = async |shop: &Shop, kind: &str| {
        let event = shop.world.events(kind).await.remove(0);
        let id = event["id"].as_str().unwrap().parse().unwrap();
        let (deployment, now) = (shop.world.deployment(""), shop.world.clock.now());
        events::replay(&deployment, &shop.world.account(), &id, now).await.unwrap().outcome
    };
    let not_ours = Outcome::Ignored(IgnoreReason::NotOurs);
    for kind in ["refund.created", "checkout.session.completed"] {
        assert_eq!(replay(&ours, kind).await, not_ours, "{kind}");
    }
    let kept: Vec<Value> = ours.world.items().await;
    assert!(kept.iter().all(|item| item["sk"] == "RATE#confirm"), "{kept:?}");

    let paid = json!({ "status": "paid", "access": "granted" });
    assert_eq!(confirm(&theirs, &session).await, (200, paid));
    assert_eq!(replay(&theirs, "refund.created").await, Outcome::Applied);
    assert_eq!(replay(&theirs, "checkout.session.completed").await, Outcome::Duplicate);
}

#[tokio::test]
async fn a_stack_that_keeps_the_mark_takes_over_the_sales() {
    let Shops { mut ours, theirs } = Shops::open().await;
    ours.trade().await;
    let world = ours.world.beside(ours.world.shop.mark.as_str()).await;
    let plan = world.publish(&tests::world::catalog()).await.unwrap();
    assert_eq!(plan.steps.len(), 1, "Stripe has it all already: {:?}", plan.steps);
    let restored = Shop { world, ids: ours.ids.clone(), payments: ours.payments.clone(), ..ours };
    for kind in handled_event_types() {
        for event in restored.world.events(kind).await {
            restored.world.deliver(&event).await;
        }
    }
    restored.holds_only_its_own(&theirs).await;
}

#[tokio::test]
async fn a_session_with_another_mark_is_replaced() {
    let mut world = World::new().await;
    let ada = learner("ada");
    let before = world.buy(&ada).await;
    world.shop.mark = "renamed".parse().unwrap();
    let after = world.buy(&ada).await;
    assert_ne!(before, after);
    let found = world.stripe_get(&format!("/v1/checkout/sessions/{before}")).await;
    assert_eq!(found["status"], "expired");
    world.pay(&after).await;
    let paid = world.events("checkout.session.completed").await.remove(0);
    assert_eq!(world.deliver(&paid).await.1["outcome"], "applied");
}

#[tokio::test]
async fn erasing_a_learner_leaves_another_shop_s_session_open() {
    let Shops { mut ours, mut theirs } = Shops::open().await;
    let sessions = [(ours.buy("ada").await, "expired"), (theirs.buy("ada").await, "open")];
    let deployment = ours.world.deployment("");
    forget(&deployment, &ours.world.account(), &"ada".parse().unwrap()).await.unwrap();
    for (session, status) in sessions {
        let found = ours.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        assert_eq!(found["status"], status);
    }
}
