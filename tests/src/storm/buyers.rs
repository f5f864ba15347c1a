//! People who buy by themselves in the storm: through the API, at the simulator's checkout page,
//! and back, until each has what they paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use simulation::oracle::Payment;
use tokio::task::JoinSet;

use super::audit::{Buyer, Expected};
use super::doors::{Doors, Learner};
use super::random::Random;
use super::script::Source;
use super::witness::Witness;

/// What they buy.
const PRODUCT: &str = "tutorclaw";
/// At one of these prices, in two currencies.
const PRICES: [&str; 2] = ["tutorclaw_paid", "tutorclaw_eur"];
/// So often they want what they have.
const ASKED_AGAIN: u32 = 3;
/// So often they try each step.
const TRIES_MAX: u64 = 100;
/// A learner may ask for twenty sessions in ten minutes. One request may be counted three times:
/// when `DynamoDB`'s answer is lost, its client asks again.
const ADMITTED_MIN: u64 = 20 / 3;

/// Why somebody has not bought.
#[derive(Debug)]
enum Stopped {
    /// They have asked too often, and may come back in some minutes.
    TooOften,
    /// This must not be.
    Wrong(String),
}

/// Everybody who buys. Clones are the same people.
#[derive(Clone)]
pub struct Buyers {
    doors: Doors,
    witness: Witness,
    seed: u64,
    is_over: Arc<AtomicBool>,
}

impl Buyers {
    /// Buyers at these doors.
    #[must_use]
    pub fn new(seed: u64, doors: Doors, witness: Witness) -> Self {
        Self { doors, witness, seed, is_over: Arc::default() }
    }

    /// So many people buy, until each of them has what they paid for.
    pub async fn run(&self, count: usize) {
        let mut people = JoinSet::new();
        for number in 0..count {
            let buyers = self.clone();
            people.spawn(async move { buyers.buy(number).await });
        }
        while let Some(one) = people.join_next().await {
            match one.unwrap() {
                Ok(()) => self.witness.count("bought"),
                Err(Stopped::TooOften) => self.witness.count("asked too often"),
                Err(Stopped::Wrong(why)) => self.witness.wrong(why),
            }
        }
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Has the simulator hold its events back again and again, and let them go twice and shuffled.
    pub async fn shuffle_deliveries(&self) {
        let mut random = Random::new(self.seed, "simulator's deliveries");
        while !self.is_over.load(Ordering::SeqCst) {
            self.doors.behind_the_scenes("deliveries/hold", &json!({})).await;
            tokio::time::sleep(Duration::from_millis(random.within(300..=1500))).await;
            let seed = random.within(0..=1_000_000);
            let release = json!({ "copies": 2, "order": "shuffled", "seed": seed });
            self.doors.behind_the_scenes("deliveries/release", &release).await;
            tokio::time::sleep(Duration::from_millis(random.within(100..=400))).await;
        }
    }

    /// Waits until the simulator has delivered everything; it comes again within a minute.
    pub async fn all_told(&self) {
        let mut undelivered = Vec::new();
        for _ in 0..1200 {
            undelivered = self.doors.undelivered().await;
            if undelivered.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for delivery in undelivered {
            self.witness.wrong(format!("the simulator can't deliver: {delivery}"));
        }
    }

    async fn buy(&self, number: usize) -> Result<(), Stopped> {
        let random = Random::new(self.seed, &format!("buyer {number}"));
        let learner = self.doors.sign_in(&format!("buyer{number}@example.com")).await;
        Buying { buyers: self, learner, random, asked: 0 }.run().await
    }

    /// Adds what Stripe has of them to what must be in the table.
    pub async fn expect(&self, expected: &mut Expected) {
        for customer in self.doors.list("/customers", "").await {
            let buyer = Self::of(&customer, expected);
            buyer.customers.push(customer["id"].as_str().unwrap().to_owned());
        }
        let expand = "&expand[]=data.payment_intent.latest_charge";
        for session in self.doors.list("/checkout/sessions", expand).await {
            let product = session["metadata"]["product"].as_str().unwrap().to_owned();
            let paid = Self::of(&session, expected).sessions.entry(product).or_default();
            if session["status"] == "complete" {
                paid.push(session["id"].as_str().unwrap().to_owned());
            }
        }
        let events = self.doors.list("/events", "").await;
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

    /// When the charge of a payment was made.
    async fn charged(&self, payment_intent: &str) -> i64 {
        let query = format!("&payment_intent={payment_intent}");
        let charges = self.doors.list("/charges", &query).await;
        charges[0]["created"].as_i64().unwrap()
    }
}

/// One of them, on their way.
struct Buying<'a> {
    buyers: &'a Buyers,
    learner: Learner,
    random: Random,
    /// How often they have asked for something.
    asked: u64,
}

impl Buying<'_> {
    async fn run(&mut self) -> Result<(), Stopped> {
        let Buyers { doors, witness, .. } = self.buyers;
        self.pause(5000).await;
        let session = self.open().await?;
        let pair = (self.learner.id.clone(), PRODUCT.to_owned());
        witness.may_be_let_in(&pair);
        let pay = format!("checkout/sessions/{session}/pay");
        let confirm = format!("/checkout/{session}/confirm");
        if self.random.percent(30) {
            let debit = json!({ "payment_method": "sepa_debit" });
            doors.behind_the_scenes(&pay, &debit).await;
            witness.count("paid by debit");
            let on_its_way = json!({ "status": "processing", "access": "denied" });
            self.persist(&confirm, |status, answer| status == 200 && *answer == on_its_way).await?;
            let settle = format!("checkout/sessions/{session}/settle");
            doors.behind_the_scenes(&settle, &json!({ "outcome": "succeeded" })).await;
        } else {
            let card = json!({ "card": "4242424242424242" });
            doors.behind_the_scenes(&pay, &card).await;
            witness.count("paid by card");
        }
        let granted = json!({ "status": "paid", "access": "granted" });
        self.persist(&confirm, |status, answer| status == 200 && *answer == granted).await?;
        witness.must_be_let_in(&pair);
        // Nothing is sold twice.
        for _ in 0..ASKED_AGAIN {
            self.persist("/checkout", |status, _| status == 409).await?;
        }
        Ok(())
    }

    /// Two tabs, perhaps at two prices, and of all the sessions that they were given one that can
    /// be paid.
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
                    _ => self.is_excused("/checkout", status, &answer)?,
                }
            }
            let mut open = Vec::new();
            for session in &sessions {
                if self.buyers.doors.session(session).await["status"] == "open" {
                    open.push(session.clone());
                }
            }
            match open.as_slice() {
                [] => self.pause(300).await,
                [session] => return Ok(session.clone()),
                _ => return Err(self.wrong(&format!("can pay any of the sessions {open:?}"))),
            }
        }
        Err(self.wrong(&format!("is given the sessions {sessions:?}, none of them open")))
    }

    /// Posts until this is answered. Only a failure of ours is a reason to try again.
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
            self.is_excused(path, status, &answer)?;
            self.pause(300).await;
        }
        Err(self.wrong(&format!("posts to {path} {TRIES_MAX} times in vain")))
    }

    /// Status and answer; zero where there is none.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answered = self.buyers.doors.post(&self.learner, path, body).await;
        let (status, answer) = answered.unwrap_or_default();
        let kind = path.rsplit('/').next().unwrap();
        self.buyers.witness.count(format!("{kind}: {status}"));
        (status, answer)
    }

    /// Whether this answer is one after which to try again.
    fn is_excused(&self, path: &str, status: u16, answer: &Value) -> Result<(), Stopped> {
        match status {
            0 | 500..=599 => Ok(()),
            429 if self.asked >= ADMITTED_MIN => Err(Stopped::TooOften),
            _ => Err(self.wrong(&format!("posts to {path}: {status} {answer}"))),
        }
    }

    fn wrong(&self, what: &str) -> Stopped {
        Stopped::Wrong(format!("{} {what}, having asked {} times", self.learner.id, self.asked))
    }

    async fn pause(&mut self, most_ms: u64) {
        let ms = self.random.within(10..=most_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// What these events tell of one purchase that its buyer has also confirmed.
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
        // As it was on its way, and as it was paid.
        readings_max: 2,
        ..Source::sold(&events[0]["data"]["object"])
    }
}
