//! Measures each row repeatedly, in turn, so that other load on the machine affects all of them
//! alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use local::lambda::{Lambda, Options, Programs};
use local::observer::Observer;
use serde_json::Value;
use tests::meter::{Meter, Reading};
use tests::world::SIGNING_SECRET;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::operations::{Call, OPERATIONS, Operation};
use crate::process;
use crate::programs::Subject;
use crate::shops::Shops;
use crate::statistics::Samples;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// The number of rounds.
    pub(crate) rounds: u64,
    /// Processes started per row and round.
    pub(crate) starts: u64,
    /// Calls per row and round.
    pub(crate) calls: u64,
    /// How long each row is kept busy per round.
    pub(crate) load_ms: u64,
}

/// The numbers of concurrent instances to load.
pub(crate) const INSTANCES: [usize; 2] = [1, 8];
/// Calls before a function counts as warm.
const WARMING: u64 = 100;

/// An operation of a subject, and its measurements.
pub(crate) struct Row {
    pub(crate) operation: &'static Operation,
    pub(crate) subject: Subject,
    sample: Value,
    calls: u64,
    /// From the start of the process until it requested an event.
    pub(crate) ready_ns: Samples,
    /// From the start of the process until it had handled one.
    pub(crate) first_answer_ns: Samples,
    /// CPU time per call.
    pub(crate) cpu_ns: Samples,
    /// Wall-clock time per call.
    pub(crate) wall_ns: Samples,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) table: Reading,
    /// By the number of instances.
    pub(crate) per_second: BTreeMap<usize, Samples>,
}

/// The rows, and what they are measured with.
pub(crate) struct Bench {
    pub(crate) rows: Vec<Row>,
    shops: Shops,
    logs: PathBuf,
}

impl Bench {
    pub(crate) fn new(subjects: &[Subject], shops: Shops, logs: PathBuf) -> Result<Self, String> {
        let mut rows = Vec::new();
        for operation in OPERATIONS {
            let file = tools::root().join("events").join(operation.sample);
            let sample = read(&file)?;
            let does = |it: &&Subject| {
                it.function == operation.function && (it.is_ours() || operation.is_for_peers)
            };
            for subject in subjects.iter().filter(does) {
                rows.push(Row::new(operation, subject.clone(), sample.clone()));
            }
        }
        Ok(Self { rows, shops, logs })
    }

    /// Measures everything, and reports its progress.
    pub(crate) async fn run(&mut self, effort: Effort, say: impl Fn(&str)) -> Result<(), String> {
        say("round trips and units");
        for row in &mut self.rows {
            row.count(&self.shops, &self.logs).await?;
        }
        let mut warm = Vec::new();
        for row in &mut self.rows {
            let lambda = row.lambda(&self.shops, &self.logs, 1, None).await;
            row.call(&lambda, WARMING).await?;
            warm.push(lambda);
        }
        for round in 1..=effort.rounds {
            say(&format!("round {round} of {}", effort.rounds));
            for _ in 0..effort.starts {
                for row in self.rows.iter_mut().filter(|row| row.operation.is_started) {
                    row.start(&self.shops, &self.logs).await?;
                }
            }
            for (row, lambda) in self.rows.iter_mut().zip(&warm) {
                row.measure(lambda, effort.calls).await?;
            }
        }
        for lambda in warm {
            lambda.stop().await;
        }
        for round in 1..=effort.rounds {
            say(&format!("load, round {round} of {}", effort.rounds));
            for row in self.rows.iter_mut().filter(|row| row.operation.is_loaded) {
                for instances in INSTANCES {
                    row.load(&self.shops, &self.logs, instances, effort.load_ms).await?;
                }
            }
        }
        Ok(())
    }
}

impl Row {
    fn new(operation: &'static Operation, subject: Subject, sample: Value) -> Self {
        Self {
            operation,
            subject,
            sample,
            calls: 0,
            ready_ns: Samples::default(),
            first_answer_ns: Samples::default(),
            cpu_ns: Samples::default(),
            wall_ns: Samples::default(),
            peak_memory_bytes: 0,
            table: Reading::default(),
            per_second: BTreeMap::new(),
        }
    }

    /// A Lambda that runs only this row's subject.
    async fn lambda(
        &self,
        shops: &Shops,
        logs: &Path,
        instances_max: usize,
        dynamodb_url: Option<&str>,
    ) -> Lambda {
        let shop = self.operation.shop;
        let dynamodb_url = dynamodb_url.unwrap_or_else(|| shops.world(shop).dynamodb_url());
        let name = &self.subject.name;
        let options = Options {
            functions: vec![shops.function(shop, name, &self.subject.function, dynamodb_url)],
            programs: Programs::Each([(name.clone(), self.subject.program.clone())].into()),
            logs: logs.to_owned(),
            instances_max,
            account_concurrency: None,
            observer: Observer::new(|_| {}),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        // Nobody calls the Invoke API, so it isn't served.
        Lambda::new(options, listener).0
    }

    fn event(&mut self) -> String {
        self.calls += 1;
        let mut event = self.sample.clone();
        let call = Call { by: &self.subject.name, number: self.calls };
        (self.operation.change)(&mut event, &call);
        if event["body"].is_object() {
            let body = format!("{:#}", event["body"]);
            let signature = samples::signature(&body, SIGNING_SECRET, now());
            event["headers"]["stripe-signature"] = signature.into();
            event["body"] = body.into();
        }
        event.to_string()
    }

    fn judge(&self) -> Judge {
        let (operation, is_ours) = (self.operation, self.subject.is_ours());
        Judge { name: self.subject.name.clone(), operation, is_ours }
    }

    async fn call(&mut self, lambda: &Lambda, times: u64) -> Result<(), String> {
        for _ in 0..times {
            let event = self.event();
            self.judge().invoke(lambda, event).await?;
        }
        Ok(())
    }

    /// Counts the table requests of one call of a warm function.
    async fn count(&mut self, shops: &Shops, logs: &Path) -> Result<(), String> {
        let table = shops.world(self.operation.shop).dynamodb_url().to_owned();
        let (meter, url, serving) = Meter::before(table).await;
        let serving = tokio::spawn(serving);
        let lambda = self.lambda(shops, logs, 1, Some(&url)).await;
        // A repeated event must come once before, and then gets another outcome.
        let first = self.event();
        let _ = self.judge().invoke(&lambda, first).await;
        self.call(&lambda, 1).await?;
        let _ = meter.take();
        self.call(&lambda, 1).await?;
        self.table = meter.take();
        lambda.stop().await;
        serving.abort();
        Ok(())
    }

    /// Starts a process, and ends it after its first event.
    async fn start(&mut self, shops: &Shops, logs: &Path) -> Result<(), String> {
        let lambda = self.lambda(shops, logs, 1, None).await;
        let (event, judge) = (self.event(), self.judge());
        let started = Instant::now();
        lambda.start_all().await.map_err(|error| error.to_string())?;
        let ready = started.elapsed();
        judge.invoke(&lambda, event).await?;
        let answered = started.elapsed();
        lambda.stop().await;
        self.ready_ns.push(nanoseconds(ready));
        self.first_answer_ns.push(nanoseconds(answered));
        Ok(())
    }

    /// Measures sequential calls of a warm function.
    async fn measure(&mut self, lambda: &Lambda, calls: u64) -> Result<(), String> {
        let events: Vec<String> = (0..calls).map(|_| self.event()).collect();
        let processes = lambda.health()[&self.subject.name].processes.clone();
        let before = process::thread_times(&processes);
        let (judge, mut walls) = (self.judge(), Samples::default());
        for event in events {
            let began = Instant::now();
            judge.invoke(lambda, event).await?;
            walls.push(nanoseconds(began.elapsed()));
        }
        let ran = process::ran_between(&before, &process::thread_times(&processes));
        self.cpu_ns.push(ran / calls);
        self.wall_ns.push(walls.figure().map_or(0, |figure| figure.median));
        let peaks = processes.iter().map(|process| process::peak_memory_bytes(*process));
        self.peak_memory_bytes = self.peak_memory_bytes.max(peaks.max().unwrap_or_default());
        Ok(())
    }

    /// Keeps instances busy, and counts the calls per second.
    async fn load(
        &mut self,
        shops: &Shops,
        logs: &Path,
        instances: usize,
        load_ms: u64,
    ) -> Result<(), String> {
        let lambda = self.lambda(shops, logs, instances, None).await;
        // All instances start before any is measured, and then warm up.
        let sample = 40 * u64::try_from(instances).unwrap_or(u64::MAX);
        self.answer_all(&lambda, instances, sample).await?;
        let took = self.answer_all(&lambda, instances, sample).await?;
        let calls = (sample * load_ms * 1_000_000 / took.max(1)).max(sample);
        let took = self.answer_all(&lambda, instances, calls).await?;
        lambda.stop().await;
        let per_second = calls * 1_000_000_000 / took.max(1);
        self.per_second.entry(instances).or_default().push(per_second);
        Ok(())
    }

    /// Makes this many calls with this concurrency, and returns how long that took.
    async fn answer_all(
        &mut self,
        lambda: &Lambda,
        at_once: usize,
        calls: u64,
    ) -> Result<u64, String> {
        let events: Vec<String> = (0..calls).map(|_| self.event()).collect();
        let events = Arc::new(Mutex::new(events));
        let began = Instant::now();
        let mut callers = JoinSet::<Result<(), String>>::new();
        for _ in 0..at_once {
            let (lambda, judge, events) = (lambda.clone(), self.judge(), Arc::clone(&events));
            callers.spawn(async move {
                loop {
                    let Some(event) = events.lock().await.pop() else { return Ok(()) };
                    judge.invoke(&lambda, event).await?;
                }
            });
        }
        for caller in callers.join_all().await {
            caller?;
        }
        Ok(nanoseconds(began.elapsed()))
    }
}

/// Runs one call, and fails unless the result is the expected one.
struct Judge {
    name: String,
    operation: &'static Operation,
    is_ours: bool,
}

impl Judge {
    async fn invoke(&self, lambda: &Lambda, event: String) -> Result<(), String> {
        let Self { name, operation, is_ours } = self;
        let failed = |problem: &str| format!("{name}, {}: {problem}", operation.name);
        let answer = lambda.invoke(name, event.into()).await;
        let answer = answer.map_err(|error| failed(&error.to_string()))?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| failed(&error.to_string()))?;
        let body = answer["body"].as_str().unwrap_or_default();
        if answer["statusCode"] == operation.status && (!is_ours || body.contains(operation.says)) {
            Ok(())
        } else {
            Err(failed(&format!("answered {answer}")))
        }
    }
}

fn read(file: &Path) -> Result<Value, String> {
    let failed = |problem: String| format!("{} can't be used: {problem}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> i64 {
    use shared::ports::{Clock as _, SystemClock};
    SystemClock.now().unix_seconds()
}
