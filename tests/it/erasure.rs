//! Erasing a learner while their purchases are in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use coursegate::deployment::Deployment;
use coursegate::learner::{LearnerError, forget, look, sessions};
use serde_json::{Value, json};
use shared::erasure::erase;
use shared::ports::Clock as _;
use tests::relay::{self, Answer, Relay};
use tests::requests::{Who, answer, learner};
use tests::world::{World, dynamodb_client_at};

use crate::log_hygiene::{counted, lines, listen};

const NOTICE: &str = "paid_after_erasure";

/// A shop, and the events that Stripe has delivered.
struct Shop {
    world: World,
    told: usize,
}

impl Shop {
    async fn open() -> Self {
        Self { world: World::new().await, told: 0 }
    }

    /// Delivers the events that were not delivered yet, oldest first.
    async fn tell(&mut self) {
        let told = self.told;
        self.told += self.deliver_after(told).await;
    }

    /// Delivers all events again, with other ids.
    async fn tell_all_again(&self) {
        let list = self.world.stripe_get("/v1/events?limit=100").await;
        for event in list["data"].as_array().unwrap() {
            let mut again = event.clone();
            again["id"] = format!("{}_again", event["id"].as_str().unwrap()).into();
            let (status, answer) = self.world.deliver(&again).await;
            assert_eq!(status, 200, "{answer}");
        }
    }

    async fn deliver_after(&self, told: usize) -> usize {
        let list = self.world.stripe_get("/v1/events?limit=100").await;
        let mut events = list["data"].as_array().unwrap().clone();
        events.reverse();
        for event in &events[told..] {
            let (status, answer) = self.world.deliver(event).await;
            assert_eq!(status, 200, "{answer}");
        }
        events.len() - told
    }

    async fn forget(&self, who: &str) -> Result<usize, LearnerError> {
        self.forget_through(&self.world.deployment(""), who).await
    }

    async fn forget_through(
        &self,
        deployment: &Deployment,
        who: &str,
    ) -> Result<usize, LearnerError> {
        forget(deployment, &self.world.account(), &who.parse().unwrap()).await
    }

    /// The keys of the items that mention this learner.
    async fn about(&self, who: &str) -> Vec<String> {
        let items = self.world.items().await.into_iter();
        let items = items.filter(|item| item.to_string().contains(who));
        items.map(|item| format!("{} {}", item["pk"], item["sk"]).replace('"', "")).collect()
    }

    async fn lets_in(&self, who: &str) -> bool {
        let target = "/courses/tutorclaw/access?chapter=6";
        let route = "GET /courses/{course}/access";
        self.world.read(route, target, &learner(who)).await.1["access"] == "granted"
    }

    /// Asserts that only the time of a learner's erasure is kept.
    async fn assert_erased(&self, who: &str, when: &str) {
        let access = format!("LEARNER#{who} ACCESS");
        assert_eq!(self.about(who).await, [access], "{when}");
        let access = self.world.items_of(&format!("LEARNER#{who}"), "ACCESS").await.remove(0);
        let names: Vec<&String> = access.as_object().unwrap().keys().collect();
        assert_eq!(names, ["erased_at", "pk", "sk"], "{when}");
        assert!(!self.lets_in(who).await, "{when}");
    }

    /// Advances Stripe's clock, so that what begins now doesn't begin in the same second.
    async fn advance(&self) {
        let (status, answer) =
            self.world.stripe_post("/_sim/advance", &json!({ "seconds": 5 })).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn session(&self, session: &str) -> Value {
        self.world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await
    }

    /// Applies these words to ada's session.
    async fn happens(&mut self, words: &str, session: &str) {
        let of_session = |what: &str| format!("/_sim/checkout/sessions/{session}/{what}");
        for word in words.split_whitespace() {
            match word {
                "tell" => self.tell().await,
                "pay" => self.world.pay(session).await,
                "debit" => self.world.pay_by_debit(session).await,
                "settle" => {
                    let settled = json!({ "outcome": "succeeded" });
                    let (status, _) = self.world.stripe_post(&of_session("settle"), &settled).await;
                    assert_eq!(status, 200);
                }
                "refuse" => self.world.refuse_debit(session).await,
                "can't-pay" => {
                    let card = json!({ "card": "4242424242424242" });
                    let (status, _) = self.world.stripe_post(&of_session("pay"), &card).await;
                    assert_eq!(status, 400);
                }
                "refund" => {
                    let payment = self.session(session).await["payment_intent"].clone();
                    let payment = payment.as_str().unwrap().to_owned();
                    let form = [("payment_intent".to_owned(), payment)];
                    assert_eq!(self.world.stripe_form("/v1/refunds", &form).await.0, 200);
                }
                "dispute" => {
                    let payment = self.session(session).await["payment_intent"].clone();
                    let dispute = json!({ "payment_intent": payment });
                    assert_eq!(self.world.stripe_post("/_sim/disputes", &dispute).await.0, 200);
                }
                "confirm" => {
                    let target = format!("/checkout/{session}/confirm");
                    let route = "POST /checkout/{session}/confirm";
                    self.world.ask(route, &target, &learner("ada"), None).await;
                }
                // The table never had the session.
                "lose" => self.delete("LEARNER#ada", "CHECKOUT#").await,
                other => panic!("{other} is no word"),
            }
        }
    }

    async fn delete(&self, pk: &str, sk: &str) {
        use aws_sdk_dynamodb::types::AttributeValue as Attribute;
        for item in self.world.items_of(pk, sk).await {
            let delete = self.world.dynamodb_client().delete_item().table_name("coursegate");
            let key = |name: &str| Attribute::S(item[name].as_str().unwrap().to_owned());
            delete.key("pk", key("pk")).key("sk", key("sk")).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_erased_learner_stays_erased_after_late_deliveries() {
    // What happens before and after the erasure, how many payments are kept without a name, and how
    // many of those that arrived are reported to the operator.
    for (before, after, kept, noticed) in [
        ("pay", "tell", 1, 0),
        ("pay tell", "refund dispute tell", 1, 0),
        ("pay", "confirm tell", 1, 0),
        ("debit", "settle tell", 1, 1),
        ("debit tell", "settle tell", 1, 1),
        ("debit tell", "confirm settle confirm tell", 1, 1),
        ("debit tell", "refuse tell", 1, 0),
        ("debit tell settle", "tell", 1, 0),
        ("debit tell refuse", "tell", 1, 0),
        ("debit tell lose settle", "tell", 1, 0),
        ("", "can't-pay tell confirm", 0, 0),
        ("lose", "can't-pay tell", 0, 0),
        ("lose pay", "tell", 1, 1),
        ("lose pay", "confirm tell", 1, 1),
        ("lose pay", "refund tell", 1, 1),
    ] {
        let when = format!("{before}, erased, {after}");
        let mut shop = Shop::open().await;
        let session = shop.world.buy(&learner("ada")).await;
        shop.happens(before, &session).await;
        shop.forget("ada").await.unwrap();
        shop.assert_erased("ada", &when).await;
        listen();
        shop.happens(after, &session).await;
        shop.tell_all_again().await;
        assert_eq!(counted(&lines(), NOTICE), noticed, "{when}");
        // Confirming counts as a request of a signed-in learner.
        shop.delete("LEARNER#ada", "RATE#").await;
        shop.assert_erased("ada", &when).await;
        let sources = shop.world.items_of("SOURCE#", "").await;
        assert_eq!(sources.len(), kept, "{when}");
        assert!(sources.iter().all(|source| source["learner"] == "forgotten"), "{sources:?}");

        shop.advance().await;
        let session = shop.world.buy(&learner("ada")).await;
        shop.world.pay(&session).await;
        shop.tell().await;
        assert!(shop.lets_in("ada").await, "{when}, and bought again");
        shop.tell_all_again().await;
        assert!(shop.lets_in("ada").await, "{when}, and bought again");
    }
}

#[tokio::test]
async fn an_erasure_spares_other_learners_and_later_purchases() {
    let mut shop = Shop::open().await;
    for who in ["ada", "bob"] {
        let session = shop.world.buy(&learner(who)).await;
        shop.world.pay(&session).await;
    }
    let of_bob = shop.world.buy(&learner("cleo")).await;
    shop.tell().await;
    shop.forget("ada").await.unwrap();
    assert!(shop.lets_in("bob").await);
    assert_eq!(shop.session(&of_bob).await["status"], "open");
    // A learner who returns can be erased again.
    shop.advance().await;
    let session = shop.world.buy(&learner("ada")).await;
    shop.world.pay(&session).await;
    shop.tell().await;
    assert!(shop.lets_in("ada").await);
    shop.forget("ada").await.unwrap();
    shop.tell_all_again().await;
    shop.assert_erased("ada", "twice").await;
    assert_eq!(shop.forget("ada").await.unwrap(), 0);
    assert_eq!(shop.forget("nobody").await.unwrap(), 0);
    assert_eq!(shop.about("nobody").await, [""; 0]);
}

#[tokio::test]
async fn a_payment_during_erasure_grants_nothing_and_can_be_redone() {
    // The eraser's clock is ahead of Stripe's, and the session is recorded after all.
    let mut shop = Shop::open().await;
    let session = shop.world.buy(&learner("ada")).await;
    let (table, deployment) = (shop.world.table(), shop.world.deployment(""));
    let (ada, at) = ("ada".parse().unwrap(), shop.world.clock.now().plus_seconds(60));
    let clock = &shop.world.clock;
    erase(&table, &deployment, clock, &deployment.shop, &ada, at).await.unwrap();
    listen();
    shop.world.pay(&session).await;
    shop.tell().await;
    assert_eq!(counted(&lines(), NOTICE), 1);
    assert!(!shop.lets_in("ada").await);
    let (_, advanced) = shop.world.stripe_post("/_sim/advance", &json!({ "seconds": 90 })).await;
    let again = shop.world.buy(&learner("ada")).await;
    assert_ne!(again, session, "{advanced}");
    shop.world.pay(&again).await;
    shop.tell().await;
    assert!(shop.lets_in("ada").await);
}

#[tokio::test]
async fn whoever_pays_before_their_session_is_expired_has_paid() {
    let shop = Shop::open().await;
    let session = shop.world.buy(&learner("ada")).await;
    let (deployment, account) = (shop.world.deployment(""), shop.world.account());
    let held = look(&deployment, &"ada".parse().unwrap()).await.unwrap();
    let unsettled = sessions::look(&deployment, &account, &held).await.unwrap();
    assert_eq!(unsettled.open.len(), 1);
    shop.world.pay(&session).await;
    sessions::settle(&deployment, &account, unsettled).await.unwrap();
    assert!(shop.lets_in("ada").await);
}

/// A proxy in front of DynamoDB that refuses everything from a certain request on; it may still
/// have forwarded that one.
async fn refusing_after(
    world: &World,
    requests: usize,
    after: bool,
) -> (Deployment, Arc<AtomicUsize>) {
    let relay = Arc::new(Relay::to(world.dynamodb_url().to_owned()));
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let (url, serving) = relay::serve(move |request| {
        let (relay, number) = (Arc::clone(&relay), seen.fetch_add(1, Ordering::SeqCst));
        async move {
            if number < requests {
                return Some(relay.pass_on(&request).await);
            }
            if number == requests && after {
                relay.pass_on(&request).await;
            }
            let body = json!({ "__type": "com.amazonaws.dynamodb#AccessDeniedException" });
            Some(Answer { status: StatusCode::BAD_REQUEST, body })
        }
    })
    .await;
    tokio::spawn(serving);
    let deployment = Deployment { dynamodb: dynamodb_client_at(&url), ..world.deployment("") };
    (deployment, asked)
}

#[tokio::test]
async fn an_interrupted_erasure_is_completed_by_running_it_again() {
    let mut shop = Shop::open().await;
    let mut interrupted = 0;
    for after in [false, true] {
        for requests in 0.. {
            // A paid and delivered purchase, another product's checkout, and a link.
            let who = format!("ada-{requests}-{after}");
            let session = shop.world.buy(&learner(&who)).await;
            shop.world.pay(&session).await;
            shop.tell().await;
            let curriculum = Some(r#"{"price": "curriculum_paid"}"#);
            let opened =
                shop.world.ask("POST /checkout", "/checkout", &learner(&who), curriculum).await;
            let opened = answer(&opened).1["session_id"].as_str().unwrap().to_owned();
            let target = format!("/learners/{who}/upgrade-link");
            let route = "POST /learners/{learner}/upgrade-link";
            shop.world.ask(route, &target, &Who::Service, curriculum).await;

            let (deployment, _) = refusing_after(&shop.world, requests, after).await;
            let is_done = shop.forget_through(&deployment, &who).await.is_ok();
            interrupted += usize::from(!is_done);
            shop.forget(&who).await.unwrap();
            shop.assert_erased(&who, &format!("{requests} {after}")).await;
            assert_eq!(shop.session(&opened).await["status"], "expired");
            if is_done {
                break;
            }
        }
    }
    shop.tell_all_again().await;
    assert!(interrupted > 30, "{interrupted}");
}

#[tokio::test]
async fn nobody_is_erased_while_stripe_cannot_list_payments() {
    let mut shop = Shop::open().await;
    let session = shop.world.buy(&learner("ada")).await;
    shop.world.pay(&session).await;
    shop.tell().await;
    let curriculum = Some(r#"{"price": "curriculum_paid"}"#);
    shop.world.ask("POST /checkout", "/checkout", &learner("ada"), curriculum).await;
    let before = shop.world.items().await;
    let path = "/v1/checkout/sessions";
    for (fault, says) in [
        (json!({ "method": "GET", "path": path, "status": 401 }), "does not know this key"),
        (json!({ "method": "GET", "path": path, "status": 403 }), "Checkout Sessions: Write"),
        (json!({ "method": "POST", "path": path, "status": 403 }), "Checkout Sessions: Write"),
        (json!({ "method": "GET", "path": path, "drop": true, "times": 9 }), "can't be reached"),
    ] {
        assert_eq!(shop.world.stripe_post("/_sim/faults", &fault).await.0, 200);
        let error = shop.forget("ada").await.unwrap_err().to_string();
        assert!(error.starts_with("nothing was erased") && error.contains(says), "{error}");
        assert_eq!(shop.world.items().await, before, "{fault}");
        let url = format!("{}/_sim/faults", shop.world.stripe_url);
        reqwest::Client::new().delete(url).send().await.unwrap();
    }
    assert!(shop.lets_in("ada").await);
    shop.forget("ada").await.unwrap();
    shop.assert_erased("ada", "once Stripe answers").await;
}

#[tokio::test]
async fn nobody_with_an_unreadable_session_is_erased() {
    let shop = Shop::open().await;
    let session = shop.world.buy(&learner("ada")).await;
    shop.world.pay(&session).await;
    let path = format!("/v1/checkout/sessions/{session}");
    let form = [("metadata[product]".to_owned(), String::new())];
    assert_eq!(shop.world.stripe_form(&path, &form).await.0, 200);
    let before = shop.world.items().await;
    let error = shop.forget("ada").await.unwrap_err().to_string();
    for part in ["nothing was erased", &session, "metadata.product is missing"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(shop.world.items().await, before);
}

#[tokio::test]
async fn an_item_of_a_newer_version_is_left_and_named() {
    use aws_sdk_dynamodb::types::AttributeValue as Attribute;
    let shop = Shop::open().await;
    shop.world.buy(&learner("ada")).await;
    let mut put = shop.world.dynamodb_client().put_item().table_name("coursegate");
    for (name, value) in [("pk", "GIFT#1"), ("sk", "GIFT"), ("learner", "ada")] {
        put = put.item(name, Attribute::S(value.to_owned()));
    }
    put.send().await.unwrap();
    let error = shop.forget("ada").await.unwrap_err().to_string();
    for part in ["GIFT#1 GIFT", "use its newest version"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(shop.about("ada").await, ["GIFT#1 GIFT", "LEARNER#ada ACCESS"]);
}
