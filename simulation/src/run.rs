//! One run: what Stripe has told reaches functions, several at once, in an order that the caller
//! chooses step by step.

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

use crate::invariant::{Answer, Excuses, Violation};
use crate::mutant::Mutant;
use crate::oracle::{Door, Effect, Stripe};
use crate::rendering::OTHER_MARK;
use crate::shop;
use crate::world::{Fault, Instance, Stage, Tally, World};

/// How often Stripe comes again at the end, when nothing fails any more.
const LAST_ATTEMPTS_MAX: u32 = 3;
/// A signature is Stripe's for so long.
const SIGNATURE_SECONDS: i64 = 300;
/// A function that has no answer after this says so.
const LATE_SECONDS: i64 = 8;
/// A function asks for a secret out of turn once in ten seconds.
const BETWEEN_ATTEMPTS_SECONDS: i64 = 11;

/// One thing to bring to a function: what is told, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parcel {
    message: usize,
    is_garbled: bool,
}

/// One instance of the function, as Lambda keeps it: warm from event to event.
struct Worker {
    door: Instance,
    app: Arc<App<Instance, Instance, Instance, Instance>>,
    job: Option<Job>,
}

/// A parcel has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Which.
    pub parcel: usize,
    /// Whether with a 2xx. If not, Stripe comes again.
    pub is_acknowledged: bool,
}

struct Job {
    parcel: usize,
    started_at: i64,
    /// Whether its clock was so far off that what has just been signed seems old.
    is_clock_off: bool,
    /// The secrets that it is signed with.
    signing: Vec<String>,
    /// When the instance began with it, by its clock then.
    begun_at: Option<i64>,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// A run.
pub struct Run {
    stripe: Arc<Stripe>,
    world: Arc<Mutex<World>>,
    workers: Vec<Worker>,
    parcels: Vec<Parcel>,
    /// Which of them have been answered with a 2xx.
    acknowledged: Vec<bool>,
    /// The secrets that Stripe signs with.
    signing: Vec<String>,
    /// How often the secret has been rolled, in its three steps.
    rolls: usize,
    /// The events whose records were deleted for their age.
    deleted: BTreeSet<String>,
    /// What has happened, in words, if anybody wants to read it.
    pub story: Option<Vec<String>>,
}

impl Run {
    /// A run of what this Stripe tells, with so many instances of the function.
    #[must_use]
    pub fn new(stripe: &Arc<Stripe>, instances: usize) -> Self {
        let secret = "whsec_1";
        let world = Arc::new(Mutex::new(World::new(stripe, secret)));
        let mut parcels = Vec::new();
        for (message, told) in stripe.messages().iter().enumerate() {
            parcels.push(Parcel { message, is_garbled: false });
            if told.garbled.is_some() {
                parcels.push(Parcel { message, is_garbled: true });
            }
        }
        Self {
            stripe: Arc::clone(stripe),
            workers: (0..instances).map(|_| Worker::start(&world)).collect(),
            world,
            acknowledged: vec![false; parcels.len()],
            parcels,
            signing: vec![secret.to_owned()],
            rolls: 0,
            deleted: BTreeSet::new(),
            story: None,
        }
    }

    /// A new run of the same, with so many instances.
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

    /// How much there is to bring.
    #[must_use]
    pub fn parcels(&self) -> usize {
        self.parcels.len()
    }

    /// What has not been acknowledged yet, and nobody has in hand.
    pub fn waiting(&self) -> impl Iterator<Item = usize> {
        let in_hand = |parcel: usize| {
            let mut jobs = self.workers.iter().filter_map(|worker| worker.job.as_ref());
            jobs.any(|job| job.parcel == parcel)
        };
        (0..self.parcels.len())
            .filter(move |parcel| !self.acknowledged[*parcel] && !in_hand(*parcel))
    }

    /// The instances that have something to do, and where they stand.
    pub fn busy(&self) -> impl Iterator<Item = (usize, Stage)> {
        let busy = |(number, worker): (usize, &Worker)| {
            worker.job.is_some().then(|| (number, worker.door.stage()))
        };
        self.workers.iter().enumerate().filter_map(busy)
    }

    /// The first instance that has nothing to do.
    #[must_use]
    pub fn idle(&self) -> Option<usize> {
        self.workers.iter().position(|worker| worker.job.is_none())
    }

    /// How often each kind of thing has happened.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.world().tally.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn tell(&mut self, describe: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = describe(self);
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    fn name(&self, parcel: usize) -> String {
        let Parcel { message, is_garbled } = self.parcels[parcel];
        let garbled = if is_garbled { ", in a shape that can't be read" } else { "" };
        format!("{}{garbled}", self.stripe.messages()[message])
    }

    /// Brings a parcel to the first idle instance, also one that has been acknowledged already.
    pub fn start(&mut self, parcel: usize) {
        let Some(number) = self.idle() else { return };
        self.tell(|run| format!("instance {number} is given {}", run.name(parcel)));
        let now = self.world().now;
        let same = self.parcels[parcel].message;
        let is_twice = self
            .workers
            .iter()
            .filter_map(|worker| worker.job.as_ref())
            .any(|job| self.parcels[job.parcel].message == same);
        if is_twice {
            self.world().count("same event at the same time");
        }
        if self.acknowledged[parcel] {
            self.world().count("event again");
        }
        let Parcel { message, is_garbled } = self.parcels[parcel];
        let message = &self.stripe.messages()[message];
        let worker = &self.workers[number];
        let future: Pin<Box<dyn Future<Output = Answer> + Send>> = match message.door {
            Door::Webhook => {
                let body = message.garbled.as_ref().filter(|_| is_garbled);
                let request = self.delivery(body.unwrap_or(&message.body), now);
                let app = Arc::clone(&worker.app);
                Box::pin(async move { answer_of(&webhook::handle(&app, &request).await) })
            }
            Door::Reading => Box::pin(read(worker.door.clone(), message.body.to_string())),
            Door::Command => Box::pin(command(worker.door.clone(), message.effect.clone())),
        };
        worker.door.begin();
        self.world().hear(message);
        let signing = self.signing.clone();
        let job =
            Job { parcel, started_at: now, is_clock_off: false, signing, begun_at: None, future };
        self.workers[number].job = Some(job);
    }

    fn delivery(&self, event: &Value, now: i64) -> Request {
        let body = event.to_string();
        let mut signature = format!("t={now}");
        for secret in &self.signing {
            let header = samples::signature(&body, secret, now);
            signature.push_str(header.trim_start_matches(|c| c != ','));
        }
        let request = HttpRequest::builder().method("POST").header("stripe-signature", signature);
        request.body(Body::Text(body)).unwrap()
    }

    /// Lets an instance go on to where it stands still next; what it asks for may go wrong.
    pub fn resume(
        &mut self,
        number: usize,
        fault: Option<Fault>,
    ) -> Result<Option<Answered>, Violation> {
        let its_now = self.world().now + self.workers[number].door.skew_seconds();
        let Some(job) = self.workers[number].job.as_mut() else { return Ok(None) };
        job.begun_at.get_or_insert(its_now);
        job.is_clock_off |= (its_now - job.started_at).abs() > SIGNATURE_SECONDS;
        {
            let mut world = self.world.lock().unwrap();
            world.catch_up();
            world.fault = fault;
        }
        let parcel = job.parcel;
        let polled = job.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let (violation, has_met) = {
            let mut world = self.world.lock().unwrap();
            let left = world.fault.take();
            (world.violation.take(), fault.is_some() && left.is_none())
        };
        if let Some(fault) = fault.filter(|_| has_met) {
            self.tell(|_| format!("instance {number} meets a fault: {}", describe(fault)));
        }
        if let Some(violation) = violation {
            return Err(violation);
        }
        match polled {
            Poll::Pending => {
                self.tell(|run| {
                    let stage = run.workers[number].door.stage().describe();
                    format!("instance {number} stands still {stage}")
                });
                Ok(None)
            }
            Poll::Ready(answer) => {
                self.answered(number, &answer)?;
                Ok(Some(Answered { parcel, is_acknowledged: answer.status == 200 }))
            }
        }
    }

    /// Lets an instance go on to its answer.
    pub fn go_on(&mut self, number: usize) -> Result<(), Violation> {
        while self.workers[number].job.is_some() {
            self.resume(number, None)?;
        }
        Ok(())
    }

    fn answered(&mut self, number: usize, answer: &Answer) -> Result<(), Violation> {
        self.tell(|_| format!("instance {number} answers {} {}", answer.status, answer.outcome));
        let Some(job) = self.workers[number].job.take() else { return Ok(()) };
        let Parcel { message, is_garbled } = self.parcels[job.parcel];
        let message = &self.stripe.messages()[message];
        let mut world = self.world.lock().unwrap();
        if message.body["data"]["object"]["metadata"]["coursegate"] == OTHER_MARK {
            world.count("told of another shop's sale");
        }
        match answer.status {
            200 => {
                self.acknowledged[job.parcel] = true;
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
        let door = &self.workers[number].door;
        let asked = door.asked();
        let (may_not_know, has_looked_in_vain) =
            door.ignorance(&job.signing, job.begun_at.unwrap_or(now));
        let excuses = Excuses {
            has_last_failed: asked.has_last_failed || has_looked_in_vain,
            conflicts: asked.conflicts,
            is_late: now - job.started_at >= LATE_SECONDS,
            is_clock_off: job.is_clock_off,
            may_not_know,
        };
        let is_deleted =
            message.body["id"].as_str().is_some_and(|event| self.deleted.contains(event));
        let world = self.world();
        world.invariant.answered(message, is_garbled, answer, excuses, is_deleted, &world.contents)
    }

    /// Ends an instance where it stands, as a time-out or a SIGKILL does, and starts another. Says
    /// which parcel it had in hand.
    pub fn crash(&mut self, number: usize) -> Option<usize> {
        if self.workers[number].job.is_some() {
            let worker = &self.workers[number];
            let stage = worker.door.stage();
            let is_committed = stage == Stage::Answered && worker.door.asked().is_committed;
            self.world().count(if is_committed {
                "killed after its commit"
            } else {
                "killed before its commit"
            });
            self.tell(|_| format!("instance {number} is killed {}", stage.describe()));
        }
        let ended = std::mem::replace(&mut self.workers[number], Worker::start(&self.world));
        ended.job.map(|job| job.parcel)
    }

    /// Time passes for all.
    pub fn pass(&mut self, seconds: i64) {
        self.tell(|_| format!("{seconds} seconds pass"));
        self.world().now += seconds;
    }

    /// The clock of an instance goes wrong, until it is replaced.
    pub fn skew(&mut self, number: usize, seconds: i64) {
        self.tell(|_| format!("instance {number}'s clock is {seconds} seconds off"));
        self.world().count("clock skewed");
        self.workers[number].door.skew(seconds);
    }

    /// The record of an event is deleted for its age.
    pub fn forget(&mut self, number: usize) {
        let events: Vec<_> = self.world().contents.events.keys().cloned().collect();
        if events.is_empty() {
            return;
        }
        let event = &events[number % events.len()];
        self.tell(|_| format!("the record of {event} is deleted"));
        let mut world = self.world.lock().unwrap();
        world.count("record deleted");
        world.contents.events.remove(event);
        self.deleted.insert(event.to_string());
    }

    /// The signing secret is rolled, a step at a time: Stripe signs with both; the new one is
    /// stored; Stripe signs with the new one alone.
    pub fn roll(&mut self) {
        let secret = format!("whsec_{}", self.rolls / 3 + 2);
        match self.rolls % 3 {
            0 => {
                self.tell(|_| format!("Stripe signs with {secret} too"));
                self.signing.insert(0, secret);
            }
            1 => {
                self.tell(|_| format!("{secret} is stored"));
                let mut world = self.world.lock().unwrap();
                let now = world.now;
                world.secret.put(secret, now);
            }
            _ => {
                self.tell(|_| format!("Stripe signs with {secret} alone"));
                self.signing.truncate(1);
            }
        }
        self.rolls += 1;
        self.world().count("signing secret rolled");
    }

    /// Nothing fails any more, and Stripe comes again until all is acknowledged. Then the end is
    /// held against the truth.
    pub fn finish(&mut self) -> Result<(), Violation> {
        for number in 0..self.workers.len() {
            self.go_on(number)?;
            // Clocks are right again.
            self.workers[number].door.skew(0);
        }
        if self.rolls % 3 == 2 {
            // Whoever rolls a secret does not stop half way.
            self.roll();
        }
        for parcel in 0..self.parcels.len() {
            let mut attempts = 0;
            while !self.acknowledged[parcel] {
                attempts += 1;
                if attempts > LAST_ATTEMPTS_MAX {
                    let invariant = "what fails is delivered again, and then succeeds";
                    return Err(Violation {
                        invariant,
                        what: format!("{} never does", self.name(parcel)),
                    });
                }
                self.pass(BETWEEN_ATTEMPTS_SECONDS);
                self.start(parcel);
                self.go_on(0)?;
            }
        }
        let mut world = self.world.lock().unwrap();
        world.catch_up();
        world.invariant.ended(&world.contents, &self.deleted, world.now)
    }
}

impl Worker {
    fn start(world: &Arc<Mutex<World>>) -> Self {
        let door = Instance::new(world);
        let mutant = world.lock().unwrap().mutant;
        let mut shop = shop();
        if mutant == Some(Mutant::LiveMode) {
            shop.mode = Mode::Live;
        }
        if mutant == Some(Mutant::OtherMark) {
            shop.mark = OTHER_MARK.parse().unwrap();
        }
        let app = App {
            ledger: door.clone(),
            stripe: door.clone(),
            signing_secrets: SecretCache::signing_secrets_of(door.clone()),
            shop,
            clock: door.clone(),
        };
        Self { door, app: Arc::new(app), job: None }
    }
}

/// What a confirmation after the redirect does with the session that it has read.
async fn read(door: Instance, json: String) -> Answer {
    door.stand_at(Stage::Started).await;
    let now = Timestamp::from_unix_seconds(door.world().now);
    let session = wire::session_from_api(&json, now).unwrap();
    match apply(&door, &door, &door, &shop(), &session.observation).await {
        Ok(outcome) => Answer { status: 200, outcome: outcome.name().to_owned() },
        Err(_) => Answer { status: 503, outcome: String::new() },
    }
}

/// What the operator's command does.
async fn command(door: Instance, effect: Effect) -> Answer {
    let Effect::Erasure { learner, at } = effect else { panic!("{effect:?} is no command") };
    door.stand_at(Stage::Started).await;
    let (learner, at) = (learner.parse().unwrap(), Timestamp::from_unix_seconds(at));
    match erase(&door, &door, &door, &shop(), &learner, at).await {
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
        Fault::Unavailable => "what it asks for can't be reached",
        Fault::AnswerLost => "its commit is made, and the answer is lost",
        Fault::DoneLate => "its commit is made when it has given up",
        Fault::Conflict => "its commit meets another transaction",
        Fault::Stale => "it reads what was there before",
        Fault::Early => "Stripe answers with what it has yet to tell",
        Fault::SecretMoves => "the secret is changed just after it was read",
    }
}
