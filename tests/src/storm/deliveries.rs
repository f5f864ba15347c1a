//! Delivers events as Stripe does: each more than once, in no order, and again until acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use simulation::oracle::{Effect, Message};
use tokio::task::JoinSet;

use super::clients::{Answered, Clients};
use super::observations::Observations;
use super::random::Random;
use super::script::{Script, opened_by};

/// About as many concurrent deliveries as Stripe makes.
const AT_ONCE: usize = 32;
/// An event that is not acknowledged by then never will be.
const ATTEMPTS_MAX: u32 = 150;
/// How long after the storm its last DynamoDB requests may still fail.
const GRACE: Duration = Duration::from_secs(6);

/// One copy of an event.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    /// The message.
    message: usize,
    /// Whether it is garbled.
    is_garbled: bool,
    attempts: u32,
}

/// Rounds of deliveries: all of a round at the same moment, once the previous round has its
/// responses.
type Batch = Vec<Vec<Delivery>>;

/// Each message two to four times, separately or together, in no order; and everything about a
/// source, mostly for the first time: one message, and then all the others at once.
fn batches(script: &Script, random: &mut Random) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut of_sources: BTreeMap<&str, Vec<Delivery>> = BTreeMap::new();
    for (number, message) in script.messages.iter().enumerate() {
        let one = Delivery { message: number, is_garbled: false, attempts: 0 };
        let garbled = message.garbled.as_ref().map(|_| Delivery { is_garbled: true, ..one });
        let times = usize::try_from(random.within(2..=4)).unwrap();
        let copies = std::iter::repeat_n(one, times).chain(garbled);
        if random.percent(25) {
            batches.push(vec![copies.collect()]);
        } else {
            batches.extend(copies.map(|copy| vec![vec![copy]]));
        }
        if let Effect::Source(source) = &message.effect {
            of_sources.entry(source).or_default().push(one);
        }
    }
    random.shuffle(&mut batches);
    for mut told in of_sources.into_values().filter(|told| told.len() > 1) {
        random.shuffle(&mut told);
        let others = told.split_off(1);
        batches.insert(random.below(batches.len() / 4 + 1), vec![told, others]);
    }
    batches
}

/// All deliveries. Clones share everything.
#[derive(Clone)]
pub struct Deliveries {
    inner: Arc<Inner>,
}

struct Inner {
    script: Arc<Script>,
    clients: Clients,
    observations: Observations,
    random: Mutex<Random>,
    queue: Mutex<VecDeque<Batch>>,
    /// Copies that have not been acknowledged yet.
    left: AtomicUsize,
    sent: usize,
    ended_at: OnceLock<Instant>,
}

impl Deliveries {
    /// Everything, more than once and shuffled.
    #[must_use]
    pub fn of(
        script: Arc<Script>,
        seed: u64,
        clients: Clients,
        observations: Observations,
    ) -> Self {
        let mut random = Random::new(seed, "deliveries");
        let queue = batches(&script, &mut random);
        let sent = queue.iter().flatten().map(Vec::len).sum();
        let inner = Inner {
            script,
            clients,
            observations,
            random: Mutex::new(random),
            queue: Mutex::new(queue.into()),
            left: AtomicUsize::new(sent),
            sent,
            ended_at: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The number of copies.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.inner.sent
    }

    /// The number of unacknowledged copies.
    #[must_use]
    pub fn left(&self) -> usize {
        self.inner.left.load(Ordering::SeqCst)
    }

    /// Ends the storm: soon no failure is allowed any more.
    pub fn end_storm(&self) {
        self.inner.ended_at.set(Instant::now()).unwrap();
    }

    /// Delivers until everything is acknowledged.
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
                Some(batch) => {
                    for round in batch {
                        join_all(round.into_iter().map(|delivery| self.send(delivery))).await;
                    }
                }
                // The rest is with other tasks, and may come back.
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn send(&self, delivery: Delivery) {
        let message = &self.script.messages[delivery.message];
        let opens = opened_by(message).filter(|_| !delivery.is_garbled);
        if let Some(pair) = &opens {
            self.observations.may_have_access(pair);
        }
        let body = if delivery.is_garbled { message.garbled.as_ref() } else { Some(&message.body) };
        let body = format!("{:#}", body.unwrap());
        let has_ended = self.ended_at.get().is_some_and(|end_storm| end_storm.elapsed() > GRACE);
        let answered = self.clients.deliver(&body).await;
        if self.is_acknowledged(message, delivery, &answered) {
            self.left.fetch_sub(1, Ordering::SeqCst);
            let opens = opens.filter(|_| match &message.effect {
                Effect::Source(source) => self.script.steady_sources.contains(source),
                Effect::Customer(_) | Effect::Erasure { .. } | Effect::Nothing => false,
            });
            if let Some(pair) = opens {
                self.observations.must_have_access(&pair);
            }
            return;
        }
        if has_ended {
            self.observations.wrong(format!("{message} fails after the storm: {answered:?}"));
        }
        let attempts = delivery.attempts + 1;
        if attempts == ATTEMPTS_MAX {
            self.observations.wrong(format!("{message} fails {attempts} times: {answered:?}"));
            self.left.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.redeliver(Delivery { attempts, ..delivery }).await;
        }
    }

    /// Whether Stripe would stop sending it; reports a wrong response.
    fn is_acknowledged(&self, message: &Message, delivery: Delivery, answered: &Answered) -> bool {
        let Some((status, answer)) = answered else {
            self.observations.count("delivery: no response");
            return false;
        };
        let outcome = answer["outcome"].as_str().unwrap_or_default();
        self.observations.count(format!("delivery: {status} {outcome}"));
        match status {
            200 => self.check_outcome(message, delivery.is_garbled, outcome),
            500..=599 => return false,
            _ => self.observations.wrong(format!("{message} got {status} {answer}")),
        }
        true
    }

    fn check_outcome(&self, message: &Message, is_garbled: bool, outcome: &str) {
        let expected: &[&str] = match message.effect {
            // For another shop's too: the owner is in the part that can't be read.
            _ if is_garbled => &["quarantined", "duplicate"],
            Effect::Nothing if message.garbled.is_some() => &["ignored", "duplicate"],
            Effect::Nothing => &["ignored"],
            Effect::Source(_) => &["applied", "duplicate"],
            // Nobody in the script bought through this API, so nobody is a customer.
            Effect::Customer(_) => &["duplicate"],
            // No delivery erases anybody.
            Effect::Erasure { .. } => &[],
        };
        if !expected.contains(&outcome) {
            self.observations.wrong(format!("{message} got {outcome}"));
        }
        if outcome == "applied" {
            self.observations.applied(message.body["id"].as_str().unwrap());
        }
    }

    /// After a moment, somewhere in the queue.
    async fn redeliver(&self, delivery: Delivery) {
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
