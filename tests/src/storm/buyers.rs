//! Buyers in the storm: through the API, the simulator's checkout page, and back, until each has
//! what they paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use simulation::oracle::Payment;
use tokio::task::JoinSet;

use super::audit::{Buyer, Expected};
use super::clients::{Clients, Learner};
use super::observations::Observations;
use super::random::Random;
use super::script::Source;

/// Their product.
const PRODUCT: &str = "tutorclaw";
/// Its prices, in two currencies.
const PRICES: [&str; 2] = ["tutorclaw_paid", "tutorclaw_eur"];
/// How often they check their access.
const RETRIED: u32 = 3;
/// How often they try each step.
const TRIES_MAX: u64 = 100;
/// A learner may open twenty sessions in ten minutes. One request may be counted three times: when
/// DynamoDB's response is lost, its client retries.
const ADMITTED_MIN: u64 = 20 / 3;

/// Why a buyer has not bought.
#[derive(Debug)]
enum Stopped {
    /// They were rate-limited.
    RateLimited,
    /// A violation.
    Wrong(String),
}

/// All buyers. Clones share everything.
#[derive(Clone)]
pub struct Buyers {
    clients: Clients,
    observations: Observations,
    seed: u64,
    is_over: Arc<AtomicBool>,
}

impl Buyers {
    /// Buyers at these doors.
    #[must_use]
    pub fn new(seed: u64, clients: Clients, observations: Observations) -> Self {
        Self { clients, observations, seed, is_over: Arc::default() }
    }

    /// This many learners buy, until each of them has what they paid for.
    pub async fn run(&self, count: usize) {
        let mut people = JoinSet::new();
        for number in 0..count {
            let buyers = self.clone();
            people.spawn(async move { buyers.buy(number).await });
        }
        while let Some(one) = people.join_next().await {
            match one.unwrap() {
                Ok(()) => self.observations.count("bought"),
                Err(Stopped::RateLimited) => self.observations.count("rate-limited"),
                Err(Stopped::Wrong(why)) => self.observations.wrong(why),
            }
        }
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Repeatedly holds the simulator's events, and releases them twice and shuffled.
    pub async fn shuffle_deliveries(&self) {
        let mut random = Random::new(self.seed, "simulator's deliveries");
        while !self.is_over.load(Ordering::SeqCst) {
            self.clients.control_simulator("deliveries/hold", &json!({})).await;
            tokio::time::sleep(Duration::from_millis(random.within(300..=1500))).await;
            let seed = random.within(0..=1_000_000);
            let release = json!({ "copies": 2, "order": "shuffled", "seed": seed });
            self.clients.control_simulator("deliveries/release", &release).await;
            tokio::time::sleep(Duration::from_millis(random.within(100..=400))).await;
        }
    }

    /// Waits until the simulator has delivered everything; it retries within a minute.
    pub async fn all_told(&self) {
        let mut undelivered = Vec::new();
        for _ in 0..1200 {
            undelivered = self.clients.undelivered().await;
            if undelivered.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for delivery in undelivered {
            self.observations.wrong(format!("the simulator can't deliver: {delivery}"));
        }
    }

    async fn buy(&self, number: usize) -> Result<(), Stopped> {
        let random = Random::new(self.seed, &format!("buyer {number}"));
        let learner = self.clients.sign_in(&format!("buyer{number}@example.com")).await;
        Buying { buyers: self, learner, random, asked: 0 }.run().await
    }

    /// Adds what Stripe has of them to the expected contents of the table.
    pub async fn expect(&self, expected: &mut Expected) {
        for customer in self.clients.list("/customers", "").await {
            let buyer = Self::of(&customer, expected);
            buyer.customers.push(customer["id"].as_str().unwrap().to_owned());
        }
        let expand = "&expand[]=data.payment_intent.latest_charge";
        for session in self.clients.list("/checkout/sessions", expand).await {
            let product = session["metadata"]["product"].as_str().unwrap().to_owned();
            let paid = Self::of(&session, expected).sessions.entry(product).or_default();
            if session["status"] == "complete" {
                paid.push(session["id"].as_str().unwrap().to_owned());
            }
        }
        let events = self.clients.list("/events", "").await;
        let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in events {
            let session = &event["data"]["object"];
            let is_telling = event["type"].as_str().unwrap().starts_with("checkout.session.");
            if is_telling && session["status"] == "complete" {
                let source = session["payment_intent"].as_str().unwrap().to_owned();
                expected.events.insert(event["id"].as_str().unwrap().to_owned(), source.clone());
                told.entry(source).or_default().push(event);
            }
        }
        for (id, events) in told {
            let charged = self.charged(&id).await;
            expected.sources.insert(id, source(&events, charged));
        }
    }

    fn of<'a>(object: &Value, expected: &'a mut Expected) -> &'a mut Buyer {
        let learner = object["metadata"]["learner_id"].as_str().unwrap().to_owned();
        expected.buyers.entry(learner).or_default()
    }

    /// When a payment's charge was made.
    async fn charged(&self, payment_intent: &str) -> i64 {
        let query = format!("&payment_intent={payment_intent}");
        let charges = self.clients.list("/charges", &query).await;
        charges[0]["created"].as_i64().unwrap()
    }
}

/// A buyer in progress.
struct Buying<'a> {
    buyers: &'a Buyers,
    learner: Learner,
    random: Random,
    /// The number of their requests.
    asked: u64,
}

impl Buying<'_> {
    async fn run(&mut self) -> Result<(), Stopped> {
        let Buyers { clients, observations, .. } = self.buyers;
        self.pause(5000).await;
        let session = self.open().await?;
        let pair = (self.learner.id.clone(), PRODUCT.to_owned());
        observations.may_have_access(&pair);
        let pay = format!("checkout/sessions/{session}/pay");
        let confirm = format!("/checkout/{session}/confirm");
        if self.random.percent(30) {
            let debit = json!({ "payment_method": "sepa_debit" });
            clients.control_simulator(&pay, &debit).await;
            observations.count("paid by debit");
            let on_its_way = json!({ "status": "processing", "access": "denied" });
            self.persist(&confirm, |status, answer| status == 200 && *answer == on_its_way).await?;
            let settle = format!("checkout/sessions/{session}/settle");
            clients.control_simulator(&settle, &json!({ "outcome": "succeeded" })).await;
        } else {
            let card = json!({ "card": "4242424242424242" });
            clients.control_simulator(&pay, &card).await;
            observations.count("paid by card");
        }
        let granted = json!({ "status": "paid", "access": "granted" });
        self.persist(&confirm, |status, answer| status == 200 && *answer == granted).await?;
        observations.must_have_access(&pair);
        // Nothing is sold twice.
        for _ in 0..RETRIED {
            self.persist("/checkout", |status, _| status == 409).await?;
        }
        Ok(())
    }

    /// Two tabs, perhaps at two prices, get sessions of which only one can be paid.
    async fn open(&mut self) -> Result<String, Stopped> {
        let mut sessions = BTreeSet::new();
        for _ in 0..TRIES_MAX {
            let [one, other] = [(); 2]
                .map(|()| json!({ "price": PRICES[usize::from(self.random.within(0..=1) == 1)] }));
            let (one, other) =
                tokio::join!(self.post("/checkout", &one), self.post("/checkout", &other));
            self.asked += 2;
            for (status, answer) in [one, other] {
                match status {
                    200 | 201 => {
                        sessions.insert(answer["session_id"].as_str().unwrap().to_owned());
                    }
                    _ => self.check_is_transient("/checkout", status, &answer)?,
                }
            }
            let mut open = Vec::new();
            for session in &sessions {
                if self.buyers.clients.session(session).await["status"] == "open" {
                    open.push(session.clone());
                }
            }
            match open.as_slice() {
                [] => self.pause(300).await,
                [session] => return Ok(session.clone()),
                _ => return Err(self.wrong(&format!("can pay any of the sessions {open:?}"))),
            }
        }
        Err(self.wrong(&format!("gets the sessions {sessions:?}, none of them open")))
    }

    /// Posts until this succeeds. Only a failure of ours is a reason to retry.
    async fn persist(
        &mut self,
        path: &str,
        is_it: impl Fn(u16, &Value) -> bool,
    ) -> Result<(), Stopped> {
        let body = if path == "/checkout" { json!({ "price": PRICES[0] }) } else { json!({}) };
        for _ in 0..TRIES_MAX {
            let (status, answer) = self.post(path, &body).await;
            self.asked += 1;
            if is_it(status, &answer) {
                return Ok(());
            }
            self.check_is_transient(path, status, &answer)?;
            self.pause(300).await;
        }
        Err(self.wrong(&format!("posts to {path} {TRIES_MAX} times without success")))
    }

    /// Status and response; zero if there is none.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answered = self.buyers.clients.post(&self.learner, path, body).await;
        let (status, answer) = answered.unwrap_or_default();
        let kind = path.rsplit('/').next().unwrap();
        self.buyers.observations.count(format!("{kind}: {status}"));
        (status, answer)
    }

    /// Whether to retry after this response.
    fn check_is_transient(&self, path: &str, status: u16, answer: &Value) -> Result<(), Stopped> {
        match status {
            0 | 500..=599 => Ok(()),
            429 if self.asked >= ADMITTED_MIN => Err(Stopped::RateLimited),
            _ => Err(self.wrong(&format!("posts to {path}: {status} {answer}"))),
        }
    }

    fn wrong(&self, what: &str) -> Stopped {
        Stopped::Wrong(format!("{} {what}, after {} requests", self.learner.id, self.asked))
    }

    async fn pause(&mut self, most_ms: u64) {
        let ms = self.random.within(10..=most_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// What these events report about a purchase that its buyer has also confirmed.
fn source(events: &[Value], charged: i64) -> Source {
    let told_at = |status: &str| {
        let told = events.iter().filter(|it| it["data"]["object"]["payment_status"] == status);
        told.filter_map(|event| event["created"].as_i64()).min()
    };
    let processing_at = told_at("unpaid");
    // A debit is charged days before it is paid.
    let charged = Some(charged).filter(|_| processing_at.is_none());
    let since = told_at("paid").into_iter().chain(charged).min().unwrap();
    Source {
        payment: Payment::Paid { since },
        processing_at,
        // As processing, and as paid.
        readings_max: 2,
        ..Source::sold(&events[0]["data"]["object"])
    }
}
