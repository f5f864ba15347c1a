//! DynamoDB's faults: a proxy in front of it that injects them in the service's own format.
//!
//! Errors:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::random::Random;
use crate::relay::{self, Answer, Relay, Request};

/// The percentage of reads that fail.
const READS_PERCENT: u64 = 12;
/// The percentage of writes that fail.
const WRITES_PERCENT: u64 = 35;
/// A request takes up to a second and a half anyway; more on a busy machine.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);
/// DynamoDB's own error names.
const OURS: &str = "com.amazonaws.dynamodb.v20120810";

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The account is throttled.
    Throttled,
    /// The table is throttled.
    ThroughputExceeded,
    /// It fails, and nothing is done.
    Failed,
    /// It is not available.
    Unavailable,
    /// The connection closes before the request has arrived.
    NotReached,
    /// It is done, and the connection closes before the response has arrived.
    AnswerLost,
    /// It is done, but the response says that it failed.
    DoneAndFailed,
    /// It is slow.
    Slow,
    /// It is done, and the response comes after the client has given up.
    AnsweredTooLate,
    /// It is done after the client has given up, and perhaps after the next attempt.
    DoneTooLate,
    /// Another transaction holds items of this one.
    Conflict,
    /// The same, and it is throttled as well.
    ConflictAndThrottled,
    /// The same transaction is still in progress, after an earlier attempt.
    InProgress,
    /// A transaction holds the item to be written.
    WriteConflict,
    /// Some of the keys are not read.
    Unprocessed,
}

use Fault::{
    AnswerLost, AnsweredTooLate, Conflict, ConflictAndThrottled, DoneAndFailed, DoneTooLate,
    Failed, InProgress, NotReached, Slow, Throttled, ThroughputExceeded, Unavailable, Unprocessed,
    WriteConflict,
};

impl Fault {
    /// All faults, their weights, and their names.
    pub const ALL: [(Self, usize, &'static str); 15] = [
        (Throttled, 4, "ThrottlingException"),
        (ThroughputExceeded, 4, "ProvisionedThroughputExceededException"),
        (Failed, 4, "InternalServerError, nothing done"),
        (Unavailable, 4, "503, nothing done"),
        (NotReached, 4, "connection closed before the request arrived"),
        (AnswerLost, 6, "done, connection closed before the answer arrived"),
        (DoneAndFailed, 6, "done, InternalServerError"),
        (Slow, 6, "slow"),
        (AnsweredTooLate, 1, "done, answered after the timeout"),
        (DoneTooLate, 1, "done after the timeout"),
        (Conflict, 8, "TransactionConflict"),
        (ConflictAndThrottled, 4, "TransactionConflict and ThrottlingError"),
        (InProgress, 4, "TransactionInProgressException"),
        (WriteConflict, 12, "TransactionConflictException of a single write"),
        (Unprocessed, 24, "UnprocessedKeys"),
    ];

    /// One of the faults that apply to this request; those that have never happened come first.
    fn drawn(random: &mut Random, request: &Request, injected: &BTreeMap<Self, u64>) -> Self {
        let possible = Self::ALL.into_iter().filter(|(fault, ..)| fault.applies_to(request));
        let possible: Vec<Self> =
            possible.flat_map(|(fault, weight, _)| std::iter::repeat_n(fault, weight)).collect();
        let is_new = |fault: &&Self| !injected.contains_key(*fault);
        *possible.iter().find(is_new).unwrap_or_else(|| random.pick(&possible))
    }

    fn applies_to(self, request: &Request) -> bool {
        match (self, request.operation.as_str()) {
            (Conflict | InProgress, operation) => operation == "TransactWriteItems",
            // Each of the two reasons is an item's own.
            (ConflictAndThrottled, operation) => {
                operation == "TransactWriteItems" && items(request) > 1
            }
            (WriteConflict, operation) => matches!(operation, "PutItem" | "UpdateItem"),
            // At least one is read, or the whole request is refused.
            (Unprocessed, operation) => operation == "BatchGetItem" && keys(request).len() > 1,
            _ => true,
        }
    }
}

fn items(request: &Request) -> usize {
    request.body["TransactItems"].as_array().unwrap().len()
}

fn keys(request: &Request) -> &[Value] {
    let tables = request.body["RequestItems"].as_object().unwrap();
    let (_, asked) = tables.iter().next().unwrap();
    asked["Keys"].as_array().unwrap()
}

/// Which faults are injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// No faults.
    Off,
    /// All of them.
    Random,
    /// No request succeeds.
    Down,
    /// Every request has this fault.
    Only(Fault),
}

/// A proxy with faults, at first without any. Clones share everything.
#[derive(Clone)]
pub struct Faults {
    inner: Arc<Inner>,
}

struct Inner {
    relay: Relay,
    attempt_timeout: Duration,
    random: Mutex<Random>,
    weather: Mutex<FaultMode>,
    requests: AtomicU64,
    under_way: AtomicU64,
    panics: AtomicU64,
    injected: Mutex<BTreeMap<Fault, u64>>,
}

/// A request in progress, until it has a response or its handler has panicked.
struct UnderWay<'a>(&'a Inner);

impl<'a> UnderWay<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.under_way.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.fetch_add(1, Ordering::SeqCst);
        }
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Faults {
    /// The proxy: its address, and the task that serves it. It has no target yet.
    pub async fn new(seed: u64) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let timeouts = shared::dynamo::timeouts();
        let inner = Inner {
            relay: Relay::default(),
            attempt_timeout: timeouts.operation_attempt_timeout().unwrap(),
            random: Mutex::new(Random::new(seed, "faults")),
            weather: Mutex::new(FaultMode::Off),
            requests: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            injected: Mutex::default(),
        };
        let faults = Self { inner: Arc::new(inner) };
        let server = faults.clone();
        let pass_on = move |request| {
            let faults = server.clone();
            async move { faults.pass_on(request).await }
        };
        let (url, serving) = relay::serve(pass_on).await;
        (faults, url, serving)
    }

    /// Sets DynamoDB's address.
    pub fn leads_to(&self, dynamodb_url: String) {
        self.inner.relay.leads_to(dynamodb_url);
    }

    /// From now on.
    pub fn set_mode(&self, weather: FaultMode) {
        *self.inner.weather.lock().unwrap() = weather;
    }

    /// The number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::SeqCst)
    }

    /// How often each fault has happened, including those that never did.
    #[must_use]
    pub fn injected(&self) -> Vec<(&'static str, u64)> {
        let injected = self.inner.injected.lock().unwrap();
        let times = |fault| injected.get(&fault).copied().unwrap_or_default();
        Fault::ALL.map(|(fault, _, name)| (name, times(fault))).to_vec()
    }

    /// Waits until no abandoned request is in progress. Fails if that takes too long, or if the
    /// proxy has panicked: then the failures were not DynamoDB's.
    pub async fn are_over(&self) -> Result<(), String> {
        let none_is_left = async {
            while self.inner.under_way.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let is_over = tokio::time::timeout(UNDER_WAY_MAX, none_is_left).await.is_ok();
        let seconds = UNDER_WAY_MAX.as_secs();
        match self.inner.panics.load(Ordering::SeqCst) {
            0 if is_over => Ok(()),
            0 => Err(format!("a request to DynamoDB takes more than {seconds} s")),
            times => Err(format!("the proxy before DynamoDB panicked {times} times: see stderr")),
        }
    }

    async fn pass_on(&self, request: Request) -> Option<Answer> {
        self.inner.requests.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay::new(&self.inner);
        match self.draw(&request) {
            Some(fault) => self.inject(fault, request).await,
            None => Some(self.inner.relay.pass_on(&request).await),
        }
    }

    fn draw(&self, request: &Request) -> Option<Fault> {
        let weather = *self.inner.weather.lock().unwrap();
        let mut injected = self.inner.injected.lock().unwrap();
        let fault = match weather {
            FaultMode::Off => return None,
            FaultMode::Only(fault) => fault,
            FaultMode::Down => {
                let gone = [Throttled, ThroughputExceeded, Failed, Unavailable, NotReached];
                *self.inner.random.lock().unwrap().pick(&gone)
            }
            FaultMode::Random => {
                let mut random = self.inner.random.lock().unwrap();
                let is_read = matches!(request.operation.as_str(), "GetItem" | "BatchGetItem");
                let percent = if is_read { READS_PERCENT } else { WRITES_PERCENT };
                if !random.percent(percent) {
                    return None;
                }
                Fault::drawn(&mut random, request, &injected)
            }
        };
        *injected.entry(fault).or_default() += 1;
        Some(fault)
    }

    async fn inject(&self, fault: Fault, request: Request) -> Option<Answer> {
        let relay = &self.inner.relay;
        match fault {
            Throttled => Some(refusal(
                "com.amazon.coral.availability#ThrottlingException",
                "Rate of requests exceeds the allowed throughput.",
            )),
            ThroughputExceeded => Some(refusal(
                &format!("{OURS}#ProvisionedThroughputExceededException"),
                "The level of configured provisioned throughput for the table was exceeded.",
            )),
            Failed => Some(failure()),
            Unavailable => Some(Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                body: json!({
                    "__type": "com.amazon.coral.availability#ServiceUnavailableException",
                    "message": "The service is currently unavailable or busy.",
                }),
            }),
            NotReached => None,
            AnswerLost => {
                relay.pass_on(&request).await;
                None
            }
            DoneAndFailed => {
                relay.pass_on(&request).await;
                Some(failure())
            }
            Slow => {
                let most = u64::try_from(self.inner.attempt_timeout.as_millis()).unwrap() / 4;
                self.wait(1..=most).await;
                Some(relay.pass_on(&request).await)
            }
            AnsweredTooLate => {
                let answer = relay.pass_on(&request).await;
                self.wait_too_long().await;
                Some(answer)
            }
            DoneTooLate => {
                self.wait_too_long().await;
                Some(relay.pass_on(&request).await)
            }
            Conflict => Some(self.canceled(&request, &["TransactionConflict"])),
            ConflictAndThrottled => {
                Some(self.canceled(&request, &["TransactionConflict", "ThrottlingError"]))
            }
            InProgress => Some(refusal(
                &format!("{OURS}#TransactionInProgressException"),
                "Transaction from previous request is still in progress",
            )),
            WriteConflict => Some(refusal(
                &format!("{OURS}#TransactionConflictException"),
                "Transaction is ongoing for the item",
            )),
            Unprocessed => Some(self.unprocessed(request).await),
        }
    }

    async fn wait(&self, ms: std::ops::RangeInclusive<u64>) {
        let ms = self.inner.random.lock().unwrap().within(ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn wait_too_long(&self) {
        tokio::time::sleep(self.inner.attempt_timeout).await;
        self.wait(20..=400).await;
    }

    /// A transaction that is canceled for each of these reasons at least once, each at another
    /// item.
    fn canceled(&self, request: &Request, codes: &[&'static str]) -> Answer {
        let items = items(request);
        let mut reasons = vec!["None"; items];
        let mut random = self.inner.random.lock().unwrap();
        let mut places: Vec<usize> = (0..items).collect();
        random.shuffle(&mut places);
        for (place, code) in places.into_iter().zip(codes) {
            reasons[place] = code;
        }
        let list: Vec<Value> = reasons.iter().map(|code| reason(code)).collect();
        Answer {
            status: StatusCode::BAD_REQUEST,
            body: json!({
                "__type": format!("{OURS}#TransactionCanceledException"),
                "Message": format!(
                    "Transaction cancelled, please refer cancellation reasons for specific \
                     reasons [{}]",
                    reasons.join(", ")
                ),
                "CancellationReasons": list,
            }),
        }
    }

    /// Leaves some of the keys unprocessed.
    async fn unprocessed(&self, mut request: Request) -> Answer {
        let (table, asked) = {
            let tables = request.body["RequestItems"].as_object().unwrap();
            let (table, asked) = tables.iter().next().unwrap();
            (table.clone(), asked.clone())
        };
        let mut keys = asked["Keys"].as_array().unwrap().clone();
        let left = {
            let mut random = self.inner.random.lock().unwrap();
            random.shuffle(&mut keys);
            keys.split_off(1 + random.below(keys.len() - 1))
        };
        request.body["RequestItems"][&table]["Keys"] = keys.into();
        let mut answer = self.inner.relay.pass_on(&request).await;
        if answer.status.is_success() {
            answer.body["UnprocessedKeys"][&table] = asked;
            answer.body["UnprocessedKeys"][&table]["Keys"] = left.into();
        }
        answer
    }
}

fn refusal(kind: &str, message: &str) -> Answer {
    Answer { status: StatusCode::BAD_REQUEST, body: json!({ "__type": kind, "message": message }) }
}

fn failure() -> Answer {
    Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        body: json!({
            "__type": format!("{OURS}#InternalServerError"),
            "message": "Internal server error",
        }),
    }
}

fn reason(code: &str) -> Value {
    match code {
        "TransactionConflict" => {
            json!({ "Code": code, "Message": "Transaction is ongoing for the item" })
        }
        "ThrottlingError" => {
            json!({ "Code": code, "Message": "Throughput exceeds the current capacity." })
        }
        _ => json!({ "Code": code }),
    }
}
