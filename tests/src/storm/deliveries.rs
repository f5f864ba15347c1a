//! Events on their way, as Stripe sends them: each more than once, in no order, again until it is
//! taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use simulation::oracle::{Effect, Message};
use tokio::task::JoinSet;

use super::doors::{Answered, Doors};
use super::random::Random;
use super::script::{Script, opened_by};
use super::witness::Witness;

/// Stripe keeps about so many under way at once.
const AT_ONCE: usize = 32;
/// An event that is not taken by then never will be.
const ATTEMPTS_MAX: u32 = 150;
/// So long after the storm its last calls to `DynamoDB` may still fail.
const GRACE: Duration = Duration::from_secs(6);

/// One copy of an event on its way.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    /// Which message it is.
    message: usize,
    /// Whether it is told in a way that can't be read.
    is_garbled: bool,
    attempts: u32,
}

/// Rounds of deliveries: each round at the very same moment, once the round before is answered.
type Volley = Vec<Vec<Delivery>>;

/// Each message two to four times, alone or all at once, in no order; and all that is told of one
/// source, mostly for the first time: one message, and then all the others at once.
fn volleys(script: &Script, random: &mut Random) -> Vec<Volley> {
    let mut volleys = Vec::new();
    let mut of_sources: BTreeMap<&str, Vec<Delivery>> = BTreeMap::new();
    for (number, message) in script.messages.iter().enumerate() {
        let one = Delivery { message: number, is_garbled: false, attempts: 0 };
        let garbled = message.garbled.as_ref().map(|_| Delivery { is_garbled: true, ..one });
        let times = usize::try_from(random.within(2..=4)).unwrap();
        let copies = std::iter::repeat_n(one, times).chain(garbled);
        if random.percent(25) {
            volleys.push(vec![copies.collect()]);
        } else {
            volleys.extend(copies.map(|copy| vec![vec![copy]]));
        }
        if let Effect::Source(source) = &message.effect {
            of_sources.entry(source).or_default().push(one);
        }
    }
    random.shuffle(&mut volleys);
    for mut told in of_sources.into_values().filter(|told| told.len() > 1) {
        random.shuffle(&mut told);
        let others = told.split_off(1);
        volleys.insert(random.below(volleys.len() / 4 + 1), vec![told, others]);
    }
    volleys
}

/// All that is to be delivered. Clones are the same.
#[derive(Clone)]
pub struct Deliveries {
    inner: Arc<Inner>,
}

struct Inner {
    script: Arc<Script>,
    doors: Doors,
    witness: Witness,
    random: Mutex<Random>,
    queue: Mutex<VecDeque<Volley>>,
    /// Copies that have not been taken yet.
    left: AtomicUsize,
    thrown: usize,
    calm_since: OnceLock<Instant>,
}

impl Deliveries {
    /// Everything, more than once and shuffled.
    #[must_use]
    pub fn of(script: Arc<Script>, seed: u64, doors: Doors, witness: Witness) -> Self {
        let mut random = Random::new(seed, "deliveries");
        let queue = volleys(&script, &mut random);
        let thrown = queue.iter().flatten().map(Vec::len).sum();
        let inner = Inner {
            script,
            doors,
            witness,
            random: Mutex::new(random),
            queue: Mutex::new(queue.into()),
            left: AtomicUsize::new(thrown),
            thrown,
            calm_since: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many there are, copies included.
    #[must_use]
    pub fn thrown(&self) -> usize {
        self.inner.thrown
    }

    /// How many have not been taken yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.inner.left.load(Ordering::SeqCst)
    }

    /// The storm is over: soon there is no more excuse.
    pub fn calm(&self) {
        self.inner.calm_since.set(Instant::now()).unwrap();
    }

    /// Delivers until all is taken.
    pub async fn run(&self) {
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let inner = Arc::clone(&self.inner);
            workers.spawn(async move { inner.work().await });
        }
        while let Some(worker) = workers.join_next().await {
            worker.unwrap();
        }
    }
}

impl Inner {
    async fn work(&self) {
        while self.left.load(Ordering::SeqCst) > 0 {
            let next = self.queue.lock().unwrap().pop_front();
            match next {
                Some(volley) => {
                    for round in volley {
                        join_all(round.into_iter().map(|delivery| self.send(delivery))).await;
                    }
                }
                // What is left is in others' hands, and may come back.
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn send(&self, delivery: Delivery) {
        let message = &self.script.messages[delivery.message];
        let opens = opened_by(message).filter(|_| !delivery.is_garbled);
        if let Some(pair) = &opens {
            self.witness.may_be_let_in(pair);
        }
        let body = if delivery.is_garbled { message.garbled.as_ref() } else { Some(&message.body) };
        let body = format!("{:#}", body.unwrap());
        let is_calm = self.calm_since.get().is_some_and(|calm| calm.elapsed() > GRACE);
        let answered = self.doors.deliver(&body).await;
        if self.is_taken(message, delivery, &answered) {
            self.left.fetch_sub(1, Ordering::SeqCst);
            let opens = opens.filter(|_| match &message.effect {
                Effect::Source(source) => self.script.steady_sources.contains(source),
                Effect::Customer(_) | Effect::Erasure { .. } | Effect::Nothing => false,
            });
            if let Some(pair) = opens {
                self.witness.must_be_let_in(&pair);
            }
            return;
        }
        if is_calm {
            self.witness.wrong(format!("{message} fails in the calm: {answered:?}"));
        }
        let attempts = delivery.attempts + 1;
        if attempts == ATTEMPTS_MAX {
            self.witness.wrong(format!("{message} fails {attempts} times: {answered:?}"));
            self.left.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.come_again(Delivery { attempts, ..delivery }).await;
        }
    }

    /// Whether Stripe would send no more; says if it should not have been answered so.
    fn is_taken(&self, message: &Message, delivery: Delivery, answered: &Answered) -> bool {
        let Some((status, answer)) = answered else {
            self.witness.count("answered: not at all");
            return false;
        };
        let outcome = answer["outcome"].as_str().unwrap_or_default();
        self.witness.count(format!("answered: {status} {outcome}"));
        match status {
            200 => self.check_outcome(message, delivery.is_garbled, outcome),
            500..=599 => return false,
            _ => self.witness.wrong(format!("{message} was answered with {status} {answer}")),
        }
        true
    }

    fn check_outcome(&self, message: &Message, is_garbled: bool, outcome: &str) {
        let expected: &[&str] = match message.effect {
            // Of another shop's too: whose it is is told from what can't be read.
            _ if is_garbled => &["quarantined", "duplicate"],
            Effect::Nothing if message.garbled.is_some() => &["ignored", "duplicate"],
            Effect::Nothing => &["ignored"],
            Effect::Source(_) => &["applied", "duplicate"],
            // Nobody in the script has asked to buy here, so nobody is a customer.
            Effect::Customer(_) => &["duplicate"],
            // No delivery erases anybody.
            Effect::Erasure { .. } => &[],
        };
        if !expected.contains(&outcome) {
            self.witness.wrong(format!("{message} was answered with {outcome}"));
        }
        if outcome == "applied" {
            self.witness.applied(message.body["id"].as_str().unwrap());
        }
    }

    /// After a moment, somewhere in the queue.
    async fn come_again(&self, delivery: Delivery) {
        let (pause_ms, place) = {
            let mut random = self.random.lock().unwrap();
            let waiting = self.queue.lock().unwrap().len();
            (random.within(10..=150), random.below(waiting + 1))
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        let mut queue = self.queue.lock().unwrap();
        let place = place.min(queue.len());
        queue.insert(place, vec![vec![delivery]]);
    }
}
