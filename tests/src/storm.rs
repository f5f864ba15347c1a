//! A stress test of the whole system: the real executables under the local Lambda, thousands of
//! signed events, duplicated and shuffled, buyers and readers, while processes are killed and
//! DynamoDB fails; afterwards every item of the table is compared with what it must be.
//!
//! - [`script`]: what happens at Stripe, and the expected end.
//! - [`deliveries`]: Stripe's events on their way. [`buyers`]: learners at the API and the
//!   simulator.
//! - [`faults`]: DynamoDB's injected faults. [`stripe_proxy`]: Stripe, as the functions call it.
//! - [`clients`]: clients of the stack. [`observations`]: their observations.
//! - [`mod@audit`]: compares the table with the expected end.
//! - [`random`]: the seed determines the events and faults. Their timing is up to the machine.

pub mod audit;
pub mod buyers;
pub mod clients;
pub mod deliveries;
pub mod faults;
pub mod observations;
pub mod random;
pub mod report;
pub mod script;
pub mod stripe_proxy;

use std::collections::{BTreeMap, HashMap};
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
use audit::{Expected, audit};
use buyers::Buyers;
use clients::Clients;
use deliveries::Deliveries;
use faults::{FaultMode, Faults};
use observations::Observations;
use random::Random;
use report::Report;
use script::Script;
use stripe_proxy::StripeProxy;

/// The number of events per buyer.
const EVENTS_A_BUYER: usize = 40;
/// The number of learners who check their access concurrently.
const ASKING: usize = 2;
/// A limit that nothing reaches after the storm.
const AFTER_STORM_MAX: Duration = Duration::from_mins(2);

/// The parameters of a storm.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// The least number of events.
    pub events: usize,
    /// The most processes of one function.
    pub instances: usize,
    /// The time after which no more faults are injected and the rest is delivered.
    pub seconds: u64,
    /// The programs that run the functions.
    pub programs: Programs,
    /// Where to keep the logs and the table if anything is wrong.
    pub folder: PathBuf,
}

/// All participants.
struct Storm {
    options: Options,
    stack: Stack,
    script: Arc<Script>,
    stripe_proxy: StripeProxy,
    faults: Faults,
    clients: Clients,
    observations: Observations,
    deliveries: Deliveries,
    buyers: Buyers,
    servers: JoinSet<()>,
}

/// Runs a storm, and returns a report with everything that was wrong.
pub async fn run(options: Options) -> Report {
    let begun = Instant::now();
    let storm = Storm::gather(options).await;
    let stormed = storm.run_storm().await;
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
        let observations = Observations::default();
        let told = (Arc::clone(&script), options.seed, observations.clone());
        let (stripe_proxy, stripe_url, serving) = StripeProxy::new(told.0, told.1, told.2).await;
        servers.spawn(serving);
        let stack = start(&options, proxy_url, stripe_url).await;
        faults.leads_to(stack.addresses().dynamodb.clone());
        stripe_proxy.leads_to(stack.addresses().stripe.clone());
        eprintln!("the gateway is {}", stack.addresses().gateway);

        let signing_secret = stack.secrets().current(&secret_name("StripeSigningSecret")).unwrap();
        let clients = Clients::of(stack.addresses(), signing_secret).await;
        let of = Arc::clone(&script);
        let deliveries = Deliveries::of(of, options.seed, clients.clone(), observations.clone());
        let buyers = Buyers::new(options.seed, clients.clone(), observations.clone());
        Self {
            options,
            stack,
            script,
            stripe_proxy,
            faults,
            clients,
            observations,
            deliveries,
            buyers,
            servers,
        }
    }

    fn buyers_count(&self) -> usize {
        self.options.events.div_ceil(EVENTS_A_BUYER)
    }

    /// Starts everything at once, and waits until all events are delivered. Returns how long faults
    /// were injected.
    async fn run_storm(&self) -> Duration {
        let begun = Instant::now();
        let mut fault_tasks = JoinSet::new();
        self.faults.set_mode(FaultMode::Random);
        self.stripe_proxy.storms(true);
        let (seed, clients, observations) = (self.options.seed, &self.clients, &self.observations);
        fault_tasks.spawn(kill_processes(seed, clients.clone(), observations.clone()));
        fault_tasks.spawn(without_secrets(
            seed,
            self.stack.secrets().clone(),
            observations.clone(),
        ));
        fault_tasks.spawn(without_dynamodb(seed, self.faults.clone(), observations.clone()));
        for number in 0..ASKING {
            let script = Arc::clone(&self.script);
            fault_tasks.spawn(ask(seed, number, script, clients.clone(), observations.clone()));
        }
        fault_tasks.spawn(observation(begun, self.deliveries.clone()));

        let mut sent = JoinSet::new();
        let (deliveries, buyers) = (self.deliveries.clone(), self.buyers.clone());
        sent.spawn(async move { deliveries.run().await });
        let (people, count) = (buyers.clone(), self.buyers_count());
        sent.spawn(async move { people.run(count).await });
        sent.spawn(async move { buyers.shuffle_deliveries().await });
        let all_has_come = async {
            while let Some(done) = sent.join_next().await {
                done.unwrap();
            }
        };
        tokio::pin!(all_has_come);
        let is_over = Duration::from_secs(self.options.seconds);
        let came_in_time = tokio::time::timeout(is_over, &mut all_has_come).await.is_ok();

        fault_tasks.abort_all();
        while let Some(ended) = fault_tasks.join_next().await {
            assert!(ended.is_err_and(|why| why.is_cancelled()), "it panicked: see above");
        }
        self.stack.secrets().set_down(false);
        self.faults.set_mode(FaultMode::Off);
        self.stripe_proxy.storms(false);
        self.deliveries.end_storm();
        let stormed = begun.elapsed();
        if !came_in_time && tokio::time::timeout(AFTER_STORM_MAX, all_has_come).await.is_err() {
            let left = self.deliveries.left();
            let seconds = AFTER_STORM_MAX.as_secs();
            self.observations
                .wrong(format!("{seconds} s after the storm {left} deliveries are left"));
        }
        self.buyers.all_told().await;
        if let Err(why) = self.faults.are_over().await {
            self.observations.wrong(why);
        }
        stormed
    }

    /// Checks everybody's access once more, and then reads the whole table.
    async fn look(&self) -> Vec<Value> {
        for pair in self.script.pairs() {
            let before = self.observations.access_check_starts(&pair);
            let holds = self.script.holders.contains(&pair);
            let access = match self.clients.may_open(&pair).await {
                Some((200, answer)) => answer["access"].clone(),
                answered => {
                    self.observations.wrong(format!(
                        "{pair:?} fails to check access after the storm: {answered:?}"
                    ));
                    continue;
                }
            };
            let has_access = access == "granted";
            self.observations.access_check_ends(
                &pair,
                before,
                has_access,
                self.script.steady.contains(&pair),
            );
            if has_access != holds {
                self.observations
                    .wrong(format!("{pair:?} ends as {access}, and holds it: {holds}"));
            }
        }
        let items = self.items().await;
        for what in audit(&items, &self.expected().await) {
            self.observations.wrong(what);
        }
        items
    }

    /// Every item of the table, as plain JSON.
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
        let functions = self.clients.functions().await;
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

/// The demo catalog, with a second price for the buyers' product.
fn two_currencies() -> Catalog {
    edited_catalog(|text| {
        let price = "lookup_key = \"tutorclaw_eur\"\nproduct = \"tutorclaw\"\namount = 899";
        format!("{text}\n[[price]]\n{price}\ncurrency = \"eur\"\n")
    })
}

/// A stack with that catalog on sale, whose functions use DynamoDB through the proxy.
async fn start(options: &Options, proxy_url: String, stripe_url: String) -> Stack {
    let stack = Stack::start(stack::Options {
        template: root().join("template.yaml"),
        keep: Keep::Memory,
        ports: Ports::FREE,
        programs: options.programs.clone(),
        instances_max: options.instances,
        account_concurrency: None,
        parameters: BTreeMap::new(),
        observer: Observer::new(|_| {}),
        demo: None,
        account: None,
        // As in the script's events.
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
    let Addresses { gateway, webhook, lambda, dynamodb, stripe, secrets_manager, content: _ } =
        stack.addresses().clone();
    let stack = LocalStack { gateway, webhook, lambda, dynamodb, stripe, secrets_manager };
    Deployment::local(&stack, shop().mark)
}

/// Kills one process after another.
async fn kill_processes(seed: u64, clients: Clients, observations: Observations) {
    let mut random = Random::new(seed, "lightning");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(100..=400))).await;
        let functions = clients.functions().await;
        let functions = functions.as_object().unwrap().values();
        let processes: Vec<Value> = functions
            .flat_map(|function| function["processes"].as_array().unwrap().clone())
            .collect();
        if processes.is_empty() {
            continue;
        }
        let process = i32::try_from(random.pick(&processes).as_i64().unwrap()).unwrap();
        let process = Pid::from_raw(process).unwrap();
        // It may have ended by itself meanwhile, at its function's timeout.
        if kill_process(process, Signal::KILL).is_ok() {
            observations.count("killed");
        }
    }
}

/// Takes Secrets Manager down for a moment now and then.
async fn without_secrets(seed: u64, secrets: Secrets, observations: Observations) {
    let mut random = Random::new(seed, "without secrets");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(1500..=4000))).await;
        secrets.set_down(true);
        observations.count("without Secrets Manager");
        tokio::time::sleep(Duration::from_millis(random.within(300..=1000))).await;
        secrets.set_down(false);
    }
}

/// The same for DynamoDB, which also fails in between.
async fn without_dynamodb(seed: u64, faults: Faults, observations: Observations) {
    let mut random = Random::new(seed, "without DynamoDB");
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(2500..=6000))).await;
        faults.set_mode(FaultMode::Down);
        observations.count("without DynamoDB");
        tokio::time::sleep(Duration::from_millis(random.within(300..=1000))).await;
        faults.set_mode(FaultMode::Random);
    }
}

/// Reports progress.
async fn observation(begun: Instant, deliveries: Deliveries) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (sent, left) = (deliveries.sent(), deliveries.left());
        let seconds = begun.elapsed().as_secs();
        eprintln!("{seconds:>5} s: {} of {sent} deliveries are taken", sent - left);
    }
}

/// Learners who check their access.
async fn ask(
    seed: u64,
    number: usize,
    script: Arc<Script>,
    clients: Clients,
    observations: Observations,
) {
    let mut random = Random::new(seed, &format!("asking {number}"));
    let pairs = script.pairs();
    loop {
        tokio::time::sleep(Duration::from_millis(random.within(5..=40))).await;
        let pair = random.pick(&pairs);
        let before = observations.access_check_starts(pair);
        match clients.may_open(pair).await {
            Some((200, answer)) => {
                let has_access = answer["access"] == "granted";
                observations.count(if has_access { "access: granted" } else { "access: denied" });
                observations.access_check_ends(
                    pair,
                    before,
                    has_access,
                    script.steady.contains(pair),
                );
            }
            None | Some((500..=599, _)) => observations.count("access: no response"),
            Some((status, answer)) => {
                observations.wrong(format!("{pair:?} asks: {status} {answer}"));
            }
        }
    }
}
