//! The whole system in bad weather: the real executables under the local Lambda, thousands of
//! signed events, duplicated and shuffled, people who buy and people who ask, while processes are
//! killed and `DynamoDB` fails; and then every item of the table against the truth.
//!
//! - [`script`]: what happens at Stripe, and what must be true in the end.
//! - [`deliveries`]: Stripe's events on their way. [`buyers`]: people at the API and the simulator.
//! - [`faults`]: `DynamoDB` on a bad day. [`asked`]: Stripe, as the functions ask it.
//! - [`doors`]: how they all reach the stack. [`witness`]: what they see.
//! - [`mod@audit`]: nothing lost, nothing doubled.
//! - [`random`]: the seed decides what is thrown. What meets what is up to the machine.

pub mod asked;
pub mod audit;
pub mod buyers;
pub mod deliveries;
pub mod doors;
pub mod faults;
pub mod random;
pub mod report;
pub mod script;
pub mod witness;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use coursegate::catalog::{Closing, push};
use coursegate::deployment::{Deployment, LocalStack};
use coursegate::webhook;
use local::Keep;
use local::addresses::Addresses;
use local::lambda::Programs;
use local::observer::Observer;
use local::secrets::Secrets;
use local::stack::{self, Ports, Stack, secret_name};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shared::domain::catalog::Catalog;
use shared::ports::{Clock as _, SystemClock};
use simulation::oracle::Effect;
use simulation::shop;
use tokio::task::JoinSet;

use crate::world::{edited_catalog, plain, root};
use asked::Asked;
use audit::{Expected, audit};
use buyers::Buyers;
use deliveries::Deliveries;
use doors::Doors;
use faults::{Faults, Weather};
use random::Random;
use report::Report;
use script::Script;
use witness::Witness;

/// One buyer for so many events.
const EVENTS_A_BUYER: usize = 40;
/// How many learners ask for access at once.
const ASKING: usize = 2;
/// The storm is over long before; after it nothing takes so long.
const CALM_MAX: Duration = Duration::from_mins(2);

/// What kind of storm.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is thrown follows from it.
    pub seed: u64,
    /// So many events at least.
    pub events: usize,
    /// Processes of one function at most.
    pub instances: usize,
    /// After this long the weather is fine, and what is left is delivered in it.
    pub seconds: u64,
    /// What is run for the functions.
    pub programs: Programs,
    /// Where to leave the logs and the table if anything is wrong.
    pub folder: PathBuf,
}

/// Everything that takes part.
struct Storm {
    options: Options,
    stack: Stack,
    script: Arc<Script>,
    asked: Asked,
    faults: Faults,
    doors: Doors,
    witness: Witness,
    deliveries: Deliveries,
    buyers: Buyers,
    servers: JoinSet<()>,
}

/// Runs a storm, and says what it was like and what was wrong.
pub async fn run(options: Options) -> Report {
    let begun = Instant::now();
    let storm = Storm::gather(options).await;
    let stormed = storm.rage().await;
    let items = storm.look().await;
    storm.report(&items, begun.elapsed(), stormed).await
}

impl Storm {
    async fn gather(options: Options) -> Self {
        let mut servers = JoinSet::new();
        let (faults, proxy_url, serving) = Faults::new(options.seed).await;
        servers.spawn(serving);
        // Some time ago, so that nothing comes from the future.
        let begun = SystemClock.now().unix_seconds() - 86_400;
        let script = Arc::new(Script::write(options.seed, options.events, begun));
        let witness = Witness::default();
        let told = (Arc::clone(&script), options.seed, witness.clone());
        let (asked, stripe_url, serving) = Asked::new(told.0, told.1, told.2).await;
        servers.spawn(serving);
        let stack = start(&options, proxy_url, stripe_url).await;
        faults.leads_to(stack.addresses().dynamodb.clone());
        asked.leads_to(stack.addresses().stripe.clone());
        eprintln!("the gateway is {}", stack.addresses().gateway);

        let signing_secret = stack.secrets().current(&secret_name("StripeSigningSecret")).unwrap();
        let doors = Doors::of(stack.addresses(), signing_secret).await;
        let of = Arc::clone(&script);
        let deliveries = Deliveries::of(of, options.seed, doors.clone(), witness.clone());
        let buyers = Buyers::new(options.seed, doors.clone(), witness.clone());
        Self { options, stack, script, asked, faults, doors, witness, deliveries, buyers, servers }
    }

    fn buyers_count(&self) -> usize {
        self.options.events.div_ceil(EVENTS_A_BUYER)
    }

    /// Throws everything at once, and waits until all has come through. Answers with how long the
    /// weather was bad.
    async fn rage(&self) -> Duration {
        let begun = Instant::now();
        let mut weather = JoinSet::new();
        self.faults.turn(Weather::Storm);
        self.asked.storms(true);
        let (seed, doors, witness) = (self.options.seed, &self.doors, &self.witness);
        weather.spawn(lightning(seed, doors.clone(), witness.clone()));
        weather.spawn(without_secrets(seed, self.stack.secrets().clone(), witness.clone()));
        weather.spawn(without_dynamodb(seed, self.faults.clone(), witness.clone()));
        for number in 0..ASKING {
            let script = Arc::clone(&self.script);
            weather.spawn(ask(seed, number, script, doors.clone(), witness.clone()));
        }
        weather.spawn(observation(begun, self.deliveries.clone()));

        let mut thrown = JoinSet::new();
        let (deliveries, buyers) = (self.deliveries.clone(), self.buyers.clone());
        thrown.spawn(async move { deliveries.run().await });
        let (people, count) = (buyers.clone(), self.buyers_count());
        thrown.spawn(async move { people.run(count).await });
        thrown.spawn(async move { buyers.shuffle_deliveries().await });
        let all_has_come = async {
            while let Some(done) = thrown.join_next().await {
                done.unwrap();
            }
        };
        tokio::pin!(all_has_come);
        let is_over = Duration::from_secs(self.options.seconds);
        let came_in_time = tokio::time::timeout(is_over, &mut all_has_come).await.is_ok();

        weather.abort_all();
        while let Some(ended) = weather.join_next().await {
            assert!(ended.is_err_and(|why| why.is_cancelled()), "it panicked: see above");
        }
        self.stack.secrets().set_down(false);
        self.faults.turn(Weather::Fine);
        self.asked.storms(false);
        self.deliveries.calm();
        let stormed = begun.elapsed();
        if !came_in_time && tokio::time::timeout(CALM_MAX, all_has_come).await.is_err() {
            let left = self.deliveries.left();
            let calm = CALM_MAX.as_secs();
            self.witness.wrong(format!("{calm} s after the storm {left} deliveries are left"));
        }
        self.buyers.all_told().await;
        if let Err(why) = self.faults.are_over().await {
            self.witness.wrong(why);
        }
        stormed
    }

    /// Asks for everybody once more, and then reads the whole table.
    async fn look(&self) -> Vec<Value> {
        for pair in self.script.pairs() {
            let before = self.witness.before_asking(&pair);
            let holds = self.script.holders.contains(&pair);
            let access = match self.doors.may_open(&pair).await {
                Some((200, answer)) => answer["access"].clone(),
                answered => {
                    self.witness.wrong(format!("{pair:?} asks in the calm: {answered:?}"));
                    continue;
                }
            };
            let is_let_in = access == "granted";
            self.witness.after_asking(&pair, before, is_let_in, self.script.steady.contains(&pair));
            if is_let_in != holds {
                self.witness.wrong(format!("{pair:?} ends as {access}, and holds it: {holds}"));
            }
        }
        let items = self.items().await;
        for what in audit(&items, &self.expected().await) {
            self.witness.wrong(what);
        }
        items
    }

    /// Every item of the table, in `DynamoDB`'s JSON made plain.
    async fn items(&self) -> Vec<Value> {
        let dynamodb = deployment(&self.stack).dynamodb;
        let scan = dynamodb.scan().table_name(stack::TABLE).consistent_read(true);
        let items = scan.into_paginator().items().send().try_collect().await.unwrap();
        let fields = |item: HashMap<String, AttributeValue>| {
            item.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        };
        items.into_iter().map(fields).collect()
    }

    async fn expected(&self) -> Expected {
        let mut expected = Expected {
            sources: self.script.sources.clone(),
            verdicts: self.script.verdicts.clone(),
            ..Expected::default()
        };
        for message in &self.script.messages {
            let event = message.body["id"].as_str().unwrap().to_owned();
            if message.garbled.is_some() {
                expected.garbled.insert(event.clone());
            }
            match &message.effect {
                Effect::Source(source) => drop(expected.events.insert(event, source.clone())),
                Effect::Customer(learner) => {
                    expected.events.insert(event, format!("the customer of {learner}"));
                }
                Effect::Erasure { .. } | Effect::Nothing => {}
            }
        }
        self.buyers.expect(&mut expected).await;
        expected
    }

    async fn report(mut self, items: &[Value], took: Duration, stormed: Duration) -> Report {
        let functions = self.doors.functions().await;
        let mut report = Report::of(&self, &functions, items.len(), took, stormed);
        if report.wrong().is_empty() {
            self.stack.shutdown().await;
        } else {
            report.keep(&self, items);
            self.stack.shutdown().await;
        }
        self.servers.shutdown().await;
        report
    }
}

/// The demo catalog, with a second price for what the buyers buy.
fn two_currencies() -> Catalog {
    edited_catalog(|text| {
        let price = "lookup_key = \"tutorclaw_eur\"\nproduct = \"tutorclaw\"\namount = 899";
        format!("{text}\n[[price]]\n{price}\ncurrency = \"eur\"\n")
    })
}

/// A stack with that catalog on sale, whose functions find `DynamoDB` behind the proxy.
async fn start(options: &Options, proxy_url: String, stripe_url: String) -> Stack {
    let stack = Stack::start(stack::Options {
        template: root().join("template.yaml"),
        keep: Keep::Memory,
        ports: Ports::FREE,
        programs: options.programs.clone(),
        instances_max: options.instances,
        observer: Observer::new(|_| {}),
        demo: None,
        account: None,
        // As the events of the script carry it.
        deployment_mark: Some(shop().mark.to_string()),
        dynamodb_proxy: Some(proxy_url),
        stripe_proxy: Some(stripe_url),
    })
    .await
    .unwrap();
    let deployment = deployment(&stack);
    let account = deployment.account().await.unwrap();
    push(&two_currencies(), Closing::Refused, &account, &deployment, |_| {}).await.unwrap();
    webhook::register(&account, &deployment, &mut |_| {}).await.unwrap();
    stack.open();
    stack
}

/// The stack as its operator reaches it.
fn deployment(stack: &Stack) -> Deployment {
    let Addresses { gateway, lambda, dynamodb, stripe, secrets_manager, content: _ } =
        stack.addresses().clone();
    let stack = LocalStack { gateway, lambda, dynamodb, stripe, secrets_manager };
    Deployment::local(&stack, shop().mark)
}

/// Kills one process after the other.
async fn lightning(seed: u64, doors: Doors, witness: Witness) {
    let mut random = Random::new(seed, "lightning");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(100..=400))).await;
        let functions = doors.functions().await;
        let functions = functions.as_object().unwrap().values();
        let processes: Vec<Value> = functions
            .flat_map(|function| function["processes"].as_array().unwrap().clone())
            .collect();
        if processes.is_empty() {
            continue;
        }
        let process = i32::try_from(random.pick(&processes).as_i64().unwrap()).unwrap();
        let process = Pid::from_raw(process).unwrap();
        // It may have ended by itself meanwhile, with its function's time.
        if kill_process(process, Signal::KILL).is_ok() {
            witness.count("killed");
        }
    }
}

/// Has Secrets Manager go away for a moment now and then.
async fn without_secrets(seed: u64, secrets: Secrets, witness: Witness) {
    let mut random = Random::new(seed, "without secrets");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(1500..=4000))).await;
        secrets.set_down(true);
        witness.count("without Secrets Manager");
        tokio::time::sleep(Duration::from_millis(random.within(300..=1000))).await;
        secrets.set_down(false);
    }
}

/// The same of `DynamoDB`, which fails in the meantime too.
async fn without_dynamodb(seed: u64, faults: Faults, witness: Witness) {
    let mut random = Random::new(seed, "without DynamoDB");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(2500..=6000))).await;
        faults.turn(Weather::Gone);
        witness.count("without DynamoDB");
        tokio::time::sleep(Duration::from_millis(random.within(300..=1000))).await;
        faults.turn(Weather::Storm);
    }
}

/// Says how far it has come, for whoever waits.
async fn observation(begun: Instant, deliveries: Deliveries) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (thrown, left) = (deliveries.thrown(), deliveries.left());
        let seconds = begun.elapsed().as_secs();
        eprintln!("{seconds:>5} s: {} of {thrown} deliveries are taken", thrown - left);
    }
}

/// Learners who want to know what is open to them.
async fn ask(seed: u64, number: usize, script: Arc<Script>, doors: Doors, witness: Witness) {
    let mut random = Random::new(seed, &format!("asking {number}"));
    let pairs = script.pairs();
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(5..=40))).await;
        let pair = random.pick(&pairs);
        let before = witness.before_asking(pair);
        match doors.may_open(pair).await {
            Some((200, answer)) => {
                let is_let_in = answer["access"] == "granted";
                witness.count(if is_let_in { "asked: granted" } else { "asked: denied" });
                witness.after_asking(pair, before, is_let_in, script.steady.contains(pair));
            }
            None | Some((500..=599, _)) => witness.count("asked: no answer"),
            Some((status, answer)) => witness.wrong(format!("{pair:?} asks: {status} {answer}")),
        }
    }
}
