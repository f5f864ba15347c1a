//! One run: Stripe's messages reach functions, several at once, in an order that the caller chooses
//! step by step.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use lambda_http::http::Request as HttpRequest;
use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::apply::apply;
use shared::domain::decide::Mode;
use shared::domain::time::Timestamp;
use shared::erasure::erase;
use shared::secrets::SecretCache;
use shared::stripe::wire;
use webhook::App;

use crate::invariant::{Allowances, Answer, Violation};
use crate::mutant::Mutant;
use crate::oracle::{Effect, Route, Stripe};
use crate::rendering::OTHER_MARK;
use crate::shop;
use crate::world::{Fault, Instance, Stage, Tally, World};

/// How often Stripe redelivers at the end, when nothing fails any more.
const LAST_ATTEMPTS_MAX: u32 = 3;
/// How long a signature is valid.
const SIGNATURE_SECONDS: i64 = 300;
/// A function without a response after this long returns one anyway.
const LATE_SECONDS: i64 = 8;
/// A function reads the secret out of turn at most once in ten seconds.
const BETWEEN_ATTEMPTS_SECONDS: i64 = 11;

/// One delivery to a function: the message, and its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery {
    message: usize,
    is_garbled: bool,
}

/// One instance of the function, as Lambda keeps it: warm from event to event.
struct Worker {
    instance: Instance,
    app: Arc<App<Instance, Instance, Instance, Instance>>,
    job: Option<Job>,
}

/// A delivery that has a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The delivery.
    pub delivery: usize,
    /// Whether the response was 2xx. If not, Stripe delivers again.
    pub is_acknowledged: bool,
}

struct Job {
    delivery: usize,
    started_at: i64,
    /// Whether its clock was so far off that a fresh signature seems old.
    is_clock_off: bool,
    /// The secrets that it is signed with.
    signing: Vec<String>,
    /// When the instance started on it, by its clock at that time.
    begun_at: Option<i64>,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// A run.
pub struct Run {
    stripe: Arc<Stripe>,
    world: Arc<Mutex<World>>,
    workers: Vec<Worker>,
    deliveries: Vec<Delivery>,
    /// The deliveries that got a 2xx.
    acknowledged: Vec<bool>,
    /// The secrets that Stripe signs with.
    signing: Vec<String>,
    /// How far the secret has been rolled, in its three steps.
    rolls: usize,
    /// The events whose records have expired.
    deleted: BTreeSet<String>,
    /// A log of the steps, if anybody wants to read it.
    pub trace: Option<Vec<String>>,
}

impl Run {
    /// A run of this Stripe's messages, with this many instances of the function.
    #[must_use]
    pub fn new(stripe: &Arc<Stripe>, instances: usize) -> Self {
        let secret = "whsec_1";
        let world = Arc::new(Mutex::new(World::new(stripe, secret)));
        let mut deliveries = Vec::new();
        for (message, told) in stripe.messages().iter().enumerate() {
            deliveries.push(Delivery { message, is_garbled: false });
            if told.garbled.is_some() {
                deliveries.push(Delivery { message, is_garbled: true });
            }
        }
        Self {
            stripe: Arc::clone(stripe),
            workers: (0..instances).map(|_| Worker::start(&world)).collect(),
            world,
            acknowledged: vec![false; deliveries.len()],
            deliveries,
            signing: vec![secret.to_owned()],
            rolls: 0,
            deleted: BTreeSet::new(),
            trace: None,
        }
    }

    /// A new run of the same, with this many instances.
    #[must_use]
    pub fn again(&self, instances: usize) -> Self {
        let again = Self::new(&self.stripe, instances);
        let mutant = self.world().mutant;
        mutant.into_iter().fold(again, Self::with)
    }

    /// The same, with this mutant.
    #[must_use]
    pub fn with(mut self, mutant: Mutant) -> Self {
        self.world().mutant = Some(mutant);
        let instances = self.workers.len();
        self.workers = (0..instances).map(|_| Worker::start(&self.world)).collect();
        self
    }

    /// The same, where an event's record and its source may be read at two moments.
    #[must_use]
    pub fn with_torn_reads(self) -> Self {
        self.world().tears_reads = true;
        self
    }

    /// The number of deliveries.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// The deliveries that are neither acknowledged nor in progress.
    pub fn waiting(&self) -> impl Iterator<Item = usize> {
        let in_hand = |delivery: usize| {
            let mut jobs = self.workers.iter().filter_map(|worker| worker.job.as_ref());
            jobs.any(|job| job.delivery == delivery)
        };
        (0..self.deliveries.len())
            .filter(move |delivery| !self.acknowledged[*delivery] && !in_hand(*delivery))
    }

    /// The busy instances, and their stages.
    pub fn busy(&self) -> impl Iterator<Item = (usize, Stage)> {
        let busy = |(number, worker): (usize, &Worker)| {
            worker.job.is_some().then(|| (number, worker.instance.stage()))
        };
        self.workers.iter().enumerate().filter_map(busy)
    }

    /// The first idle instance.
    #[must_use]
    pub fn idle(&self) -> Option<usize> {
        self.workers.iter().position(|worker| worker.job.is_none())
    }

    /// How often each thing has happened.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.world().tally.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn log(&mut self, describe: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = describe(self);
            self.trace.iter_mut().for_each(|trace| trace.push(line.clone()));
        }
    }

    fn name(&self, delivery: usize) -> String {
        let Delivery { message, is_garbled } = self.deliveries[delivery];
        let garbled = if is_garbled { ", garbled" } else { "" };
        format!("{}{garbled}", self.stripe.messages()[message])
    }

    /// Gives a delivery to the first idle instance, even if it was acknowledged already.
    pub fn start(&mut self, delivery: usize) {
        let Some(number) = self.idle() else { return };
        self.log(|run| format!("instance {number} gets {}", run.name(delivery)));
        let now = self.world().now;
        let same = self.deliveries[delivery].message;
        let is_twice = self
            .workers
            .iter()
            .filter_map(|worker| worker.job.as_ref())
            .any(|job| self.deliveries[job.delivery].message == same);
        if is_twice {
            self.world().count("same event at the same time");
        }
        if self.acknowledged[delivery] {
            self.world().count("event again");
        }
        let Delivery { message, is_garbled } = self.deliveries[delivery];
        let message = &self.stripe.messages()[message];
        let worker = &self.workers[number];
        let future: Pin<Box<dyn Future<Output = Answer> + Send>> = match message.route {
            Route::Webhook => {
                let body = message.garbled.as_ref().filter(|_| is_garbled);
                let request = self.signed_request(body.unwrap_or(&message.body), now);
                let app = Arc::clone(&worker.app);
                Box::pin(async move { answer_of(&webhook::handle(&app, &request).await) })
            }
            Route::Reading => Box::pin(read(worker.instance.clone(), message.body.to_string())),
            Route::Command => Box::pin(command(worker.instance.clone(), message.effect.clone())),
        };
        worker.instance.begin();
        self.world().sent(message);
        let signing = self.signing.clone();
        let job =
            Job { delivery, started_at: now, is_clock_off: false, signing, begun_at: None, future };
        self.workers[number].job = Some(job);
    }

    fn signed_request(&self, event: &Value, now: i64) -> Request {
        let body = event.to_string();
        let mut signature = format!("t={now}");
        for secret in &self.signing {
            let header = samples::signature(&body, secret, now);
            signature.push_str(header.trim_start_matches(|c| c != ','));
        }
        let request = HttpRequest::builder().method("POST").header("stripe-signature", signature);
        request.body(Body::Text(body)).unwrap()
    }

    /// Resumes an instance until it yields; its next call may fail.
    pub fn resume(
        &mut self,
        number: usize,
        fault: Option<Fault>,
    ) -> Result<Option<Answered>, Violation> {
        let its_now = self.world().now + self.workers[number].instance.skew_seconds();
        let Some(job) = self.workers[number].job.as_mut() else { return Ok(None) };
        job.begun_at.get_or_insert(its_now);
        job.is_clock_off |= (its_now - job.started_at).abs() > SIGNATURE_SECONDS;
        {
            let mut world = self.world.lock().unwrap();
            world.catch_up();
            world.fault = fault;
        }
        let delivery = job.delivery;
        let polled = job.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let (violation, has_met) = {
            let mut world = self.world.lock().unwrap();
            let left = world.fault.take();
            (world.violation.take(), fault.is_some() && left.is_none())
        };
        if let Some(fault) = fault.filter(|_| has_met) {
            self.log(|_| format!("instance {number} meets a fault: {}", describe(fault)));
        }
        if let Some(violation) = violation {
            return Err(violation);
        }
        match polled {
            Poll::Pending => {
                self.log(|run| {
                    let stage = run.workers[number].instance.stage().describe();
                    format!("instance {number} yields {stage}")
                });
                Ok(None)
            }
            Poll::Ready(answer) => {
                self.answered(number, &answer)?;
                Ok(Some(Answered { delivery, is_acknowledged: answer.status == 200 }))
            }
        }
    }

    /// Resumes an instance until it has its response.
    pub fn finish_delivery(&mut self, number: usize) -> Result<(), Violation> {
        while self.workers[number].job.is_some() {
            self.resume(number, None)?;
        }
        Ok(())
    }

    fn answered(&mut self, number: usize, answer: &Answer) -> Result<(), Violation> {
        self.log(|_| format!("instance {number} returns {} {}", answer.status, answer.outcome));
        let Some(job) = self.workers[number].job.take() else { return Ok(()) };
        let Delivery { message, is_garbled } = self.deliveries[job.delivery];
        let message = &self.stripe.messages()[message];
        let mut world = self.world.lock().unwrap();
        if message.body["data"]["object"]["metadata"]["coursegate"] == OTHER_MARK {
            world.count("another shop's sale reported");
        }
        match answer.status {
            200 => {
                self.acknowledged[job.delivery] = true;
                world.count(match answer.outcome.as_str() {
                    "applied" => "applied",
                    "duplicate" => "duplicate",
                    "ignored" => "ignored",
                    "erased" => "learner erased",
                    _ => "quarantined",
                });
            }
            500..=599 => world.count("answered 5xx"),
            _ => world.count("answered 4xx"),
        }
        let now = world.now;
        drop(world);
        let instance = &self.workers[number].instance;
        let asked = instance.asked();
        let (may_not_know, has_looked_in_vain) =
            instance.missing_secret(&job.signing, job.begun_at.unwrap_or(now));
        let allowances = Allowances {
            has_last_failed: asked.has_last_failed || has_looked_in_vain,
            conflicts: asked.conflicts,
            is_late: now - job.started_at >= LATE_SECONDS,
            is_clock_off: job.is_clock_off,
            may_not_know,
        };
        let is_deleted =
            message.body["id"].as_str().is_some_and(|event| self.deleted.contains(event));
        let world = self.world();
        world.invariant.answered(
            message,
            is_garbled,
            answer,
            allowances,
            is_deleted,
            &world.contents,
        )
    }

    /// Kills an instance where it is, as a timeout or a SIGKILL does, and starts another. Returns
    /// the delivery that it was handling.
    pub fn crash(&mut self, number: usize) -> Option<usize> {
        if self.workers[number].job.is_some() {
            let worker = &self.workers[number];
            let stage = worker.instance.stage();
            let is_committed = stage == Stage::Answered && worker.instance.asked().is_committed;
            self.world().count(if is_committed {
                "killed after its commit"
            } else {
                "killed before its commit"
            });
            self.log(|_| format!("instance {number} is killed {}", stage.describe()));
        }
        let ended = std::mem::replace(&mut self.workers[number], Worker::start(&self.world));
        ended.job.map(|job| job.delivery)
    }

    /// Advances every clock.
    pub fn pass(&mut self, seconds: i64) {
        self.log(|_| format!("{seconds} seconds pass"));
        self.world().now += seconds;
    }

    /// Sets the clock of an instance wrong until it is replaced.
    pub fn skew(&mut self, number: usize, seconds: i64) {
        self.log(|_| format!("instance {number}'s clock is {seconds} seconds off"));
        self.world().count("clock skewed");
        self.workers[number].instance.skew(seconds);
    }

    /// The record of an event expires.
    pub fn forget(&mut self, number: usize) {
        let events: Vec<_> = self.world().contents.events.keys().cloned().collect();
        if events.is_empty() {
            return;
        }
        let event = &events[number % events.len()];
        self.log(|_| format!("the record of {event} is deleted"));
        let mut world = self.world.lock().unwrap();
        world.count("record deleted");
        world.contents.events.remove(event);
        self.deleted.insert(event.to_string());
    }

    /// Rolls the signing secret one step: Stripe signs with both; the new one is stored; Stripe
    /// signs with the new one alone.
    pub fn roll(&mut self) {
        let secret = format!("whsec_{}", self.rolls / 3 + 2);
        match self.rolls % 3 {
            0 => {
                self.log(|_| format!("Stripe signs with {secret} too"));
                self.signing.insert(0, secret);
            }
            1 => {
                self.log(|_| format!("{secret} is stored"));
                let mut world = self.world.lock().unwrap();
                let now = world.now;
                world.secret.put(secret, now);
            }
            _ => {
                self.log(|_| format!("Stripe signs with {secret} alone"));
                self.signing.truncate(1);
            }
        }
        self.rolls += 1;
        self.world().count("signing secret rolled");
    }

    /// Stops all faults, and redelivers until everything is acknowledged. Then compares the end
    /// with the oracle.
    pub fn finish(&mut self) -> Result<(), Violation> {
        for number in 0..self.workers.len() {
            self.finish_delivery(number)?;
            // Clocks are right again.
            self.workers[number].instance.skew(0);
        }
        if self.rolls % 3 == 2 {
            // Nobody stops half way through rolling a secret.
            self.roll();
        }
        for delivery in 0..self.deliveries.len() {
            let mut attempts = 0;
            while !self.acknowledged[delivery] {
                attempts += 1;
                if attempts > LAST_ATTEMPTS_MAX {
                    let invariant = "a failed event succeeds when redelivered";
                    return Err(Violation {
                        invariant,
                        what: format!("{} never succeeds", self.name(delivery)),
                    });
                }
                self.pass(BETWEEN_ATTEMPTS_SECONDS);
                self.start(delivery);
                self.finish_delivery(0)?;
            }
        }
        let mut world = self.world.lock().unwrap();
        world.catch_up();
        world.invariant.ended(&world.contents, &self.deleted, world.now)
    }
}

impl Worker {
    fn start(world: &Arc<Mutex<World>>) -> Self {
        let instance = Instance::new(world);
        let mutant = world.lock().unwrap().mutant;
        let mut shop = shop();
        if mutant == Some(Mutant::LiveMode) {
            shop.mode = Mode::Live;
        }
        if mutant == Some(Mutant::OtherMark) {
            shop.mark = OTHER_MARK.parse().unwrap();
        }
        let app = App {
            ledger: instance.clone(),
            stripe: instance.clone(),
            signing_secrets: SecretCache::signing_secrets_of(instance.clone()),
            shop,
            clock: instance.clone(),
        };
        Self { instance, app: Arc::new(app), job: None }
    }
}

/// What a confirmation does with the session that it has read.
async fn read(instance: Instance, json: String) -> Answer {
    instance.yield_at(Stage::Started).await;
    let now = Timestamp::from_unix_seconds(instance.world().now);
    let session = wire::session_from_api(&json, now).unwrap();
    match apply(&instance, &instance, &instance, &shop(), &session.observation).await {
        Ok(outcome) => Answer { status: 200, outcome: outcome.name().to_owned() },
        Err(_) => Answer { status: 503, outcome: String::new() },
    }
}

/// What the operator's command does.
async fn command(instance: Instance, effect: Effect) -> Answer {
    let Effect::Erasure { learner, at } = effect else { panic!("{effect:?} is no command") };
    instance.yield_at(Stage::Started).await;
    let (learner, at) = (learner.parse().unwrap(), Timestamp::from_unix_seconds(at));
    match erase(&instance, &instance, &instance, &shop(), &learner, at).await {
        Ok(()) => Answer { status: 200, outcome: "erased".to_owned() },
        Err(_) => Answer { status: 503, outcome: String::new() },
    }
}

fn answer_of(response: &Response<Body>) -> Answer {
    let body: &[u8] = response.body();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    Answer {
        status: response.status().as_u16(),
        outcome: body["outcome"].as_str().unwrap_or_default().to_owned(),
    }
}

const fn describe(fault: Fault) -> &'static str {
    match fault {
        Fault::Unavailable => "the service is unavailable",
        Fault::AnswerLost => "its commit is made, and the response lost",
        Fault::DoneLate => "its commit is made after it gave up",
        Fault::Conflict => "its commit conflicts with another transaction",
        Fault::Stale => "it reads the state before the last commit",
        Fault::Early => "Stripe is ahead of its events",
        Fault::SecretMoves => "the secret changes just after it was read",
    }
}
