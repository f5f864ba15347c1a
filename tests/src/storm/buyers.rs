//! People who buy by themselves in the storm: through the API, at the simulator's checkout page,
//! and back, until each has what they paid for.

use std::collections::BTreeMap;
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
/// At this price.
const PRICE: &str = "tutorclaw_paid";
/// So often they try each step: fewer times than a learner may ask in ten minutes.
const TRIES_MAX: u32 = 16;

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
                Err(why) => self.witness.wrong(why),
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

    /// Waits until the simulator has delivered everything.
    pub async fn all_told(&self) {
        let mut undelivered = Vec::new();
        for _ in 0..600 {
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

    async fn buy(&self, number: usize) -> Result<(), String> {
        let mut random = Random::new(self.seed, &format!("buyer {number}"));
        let learner = self.doors.sign_in(&format!("buyer{number}@example.com")).await;
        pause(&mut random, 5000).await;
        let session = self.open(&learner, &mut random).await?;
        let pair = (learner.id.clone(), PRODUCT.to_owned());
        self.witness.may_be_let_in(&pair);
        let pay = format!("checkout/sessions/{session}/pay");
        if random.percent(30) {
            let debit = json!({ "payment_method": "sepa_debit" });
            self.doors.behind_the_scenes(&pay, &debit).await;
            self.witness.count("paid by debit");
            let confirm = format!("/checkout/{session}/confirm");
            self.persist(&learner, &confirm, &json!({}), &mut random, |status, answer| {
                status == 200 && answer["status"] == "processing"
            })
            .await?;
            let settle = format!("checkout/sessions/{session}/settle");
            self.doors.behind_the_scenes(&settle, &json!({ "outcome": "succeeded" })).await;
        } else {
            let card = json!({ "card": "4242424242424242" });
            self.doors.behind_the_scenes(&pay, &card).await;
            self.witness.count("paid by card");
        }
        self.confirm(&learner, &session, &mut random).await?;
        self.witness.must_be_let_in(&pair);
        self.asks_again(&learner, &mut random).await
    }

    /// Two tabs, one session.
    async fn open(&self, learner: &Learner, random: &mut Random) -> Result<String, String> {
        let mut sessions = Vec::new();
        let mut tries = 0;
        while sessions.len() < 2 {
            let body = json!({ "price": PRICE });
            let ask = || self.doors.post(learner, "/checkout", &body);
            let (one, other) = tokio::join!(ask(), ask());
            tries += 2;
            for answered in [one, other] {
                let (status, answer) = answered.unwrap_or_default();
                self.witness.count(format!("checkout: {status}"));
                match status {
                    200 | 201 => sessions.push(answer["session_id"].clone()),
                    0 | 500..=599 => {}
                    _ => {
                        let who = &learner.id;
                        return Err(format!("{who} wants to buy: {status} {answer}, try {tries}"));
                    }
                }
            }
            if tries >= TRIES_MAX && sessions.is_empty() {
                return Err(format!("{} can't get a session in {tries} tries", learner.id));
            }
            pause(random, 300).await;
        }
        if sessions.iter().any(|session| *session != sessions[0]) {
            return Err(format!("{} was given more than one session: {sessions:?}", learner.id));
        }
        Ok(sessions[0].as_str().unwrap().to_owned())
    }

    async fn confirm(
        &self,
        learner: &Learner,
        session: &str,
        random: &mut Random,
    ) -> Result<(), String> {
        let path = format!("/checkout/{session}/confirm");
        let granted = json!({ "status": "paid", "access": "granted" });
        self.persist(learner, &path, &json!({}), random, |status, answer| {
            status == 200 && *answer == granted
        })
        .await
    }

    /// Nothing is sold twice.
    async fn asks_again(&self, learner: &Learner, random: &mut Random) -> Result<(), String> {
        let body = json!({ "price": PRICE });
        self.persist(learner, "/checkout", &body, random, |status, _| status == 409).await
    }

    /// Posts until this is answered. Only a failure of ours is a reason to try again.
    async fn persist(
        &self,
        learner: &Learner,
        path: &str,
        body: &Value,
        random: &mut Random,
        is_it: impl Fn(u16, &Value) -> bool,
    ) -> Result<(), String> {
        let kind = path.rsplit('/').next().unwrap();
        for _ in 0..TRIES_MAX {
            let (status, answer) = self.doors.post(learner, path, body).await.unwrap_or_default();
            self.witness.count(format!("{kind}: {status}"));
            if is_it(status, &answer) {
                return Ok(());
            }
            if !matches!(status, 0 | 500..=599) {
                return Err(format!("{} at {path}: {status} {answer}", learner.id));
            }
            pause(random, 300).await;
        }
        Err(format!("{} at {path} fails {TRIES_MAX} times", learner.id))
    }

    /// Adds what Stripe has of them to what must be in the table.
    pub async fn expect(&self, expected: &mut Expected) {
        for customer in self.doors.list("/customers", "").await {
            let buyer = Self::of(&customer, expected);
            buyer.customers.push(customer["id"].as_str().unwrap().to_owned());
        }
        let expand = "&expand[]=data.payment_intent.latest_charge";
        for session in self.doors.list("/checkout/sessions", expand).await {
            let price = session["metadata"]["price"].as_str().unwrap().to_owned();
            let sessions = Self::of(&session, expected).sessions.entry(price).or_default();
            sessions.push(session["id"].as_str().unwrap().to_owned());
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

/// What these events tell of one purchase that its buyer has also confirmed.
fn source(events: &[Value], charged: i64) -> Source {
    let is_paid = |event: &&Value| event["data"]["object"]["payment_status"] == "paid";
    let paid_at = events.iter().filter(is_paid).filter_map(|event| event["created"].as_i64());
    let since = paid_at.chain([charged]).min().unwrap();
    Source {
        payment: Payment::Paid { since },
        // As it was on its way, and as it was paid.
        readings_max: 2,
        ..Source::sold(&events[0]["data"]["object"])
    }
}

async fn pause(random: &mut Random, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.within(10..=most_ms))).await;
}
