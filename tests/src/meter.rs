//! Meters in front of DynamoDB and Stripe: the requests made, and the units AWS would charge.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Method, Response, StatusCode, Uri, header};
use serde_json::Value;

use crate::relay::{self, Answer, Relay, Request};

/// DynamoDB requests and the units they consumed.
///
/// Requests that it refused are counted among the calls. DynamoDB reports no units for them, but a
/// cancelled transaction is probably billed like one that is committed: those units are estimated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// How often each operation was called.
    pub calls: BTreeMap<String, u64>,
    /// One unit is a strongly consistent read of 4 KB, of an item or of its absence.
    pub read_units: u64,
    /// One unit is a write of 1 KB. In a transaction each KB takes two.
    pub write_units: u64,
    /// Those of cancelled transactions, estimated as two for each item of up to 1 KB.
    pub cancelled_units: u64,
}

impl Reading {
    /// The number of sequential DynamoDB requests.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.calls.values().sum()
    }

    fn add(&mut self, operation: &str, items: usize, answer: &Value) {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
        if answer.get("CancellationReasons").is_some() {
            self.cancelled_units += 2 * u64::try_from(items).unwrap();
        }
        let consumed = &answer["ConsumedCapacity"];
        let consumed = match consumed.as_array() {
            // One for each table, if a request concerns several.
            Some(tables) => tables.iter().map(units).sum(),
            None if consumed.is_null() => 0,
            None => units(consumed),
        };
        match operation {
            "GetItem" | "BatchGetItem" => self.read_units += consumed,
            "PutItem" | "UpdateItem" | "TransactWriteItems" => self.write_units += consumed,
            other => assert_eq!(consumed, 0, "say in the meter whether {other} reads or writes"),
        }
    }
}

/// `1.0`. There are no halves, since every read is strongly consistent.
fn units(consumed: &Value) -> u64 {
    let text = consumed["CapacityUnits"].to_string();
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    whole.parse().unwrap_or_else(|_| panic!("{text} units: a read that may be stale?"))
}

impl std::ops::AddAssign<&Self> for Reading {
    fn add_assign(&mut self, more: &Self) {
        for (operation, times) in &more.calls {
            *self.calls.entry(operation.clone()).or_default() += times;
        }
        self.read_units += more.read_units;
        self.write_units += more.write_units;
        self.cancelled_units += more.cancelled_units;
    }
}

/// `1 read, 6 written: BatchGetItem, 2 UpdateItem`
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self
            .calls
            .iter()
            .map(|(operation, times)| match times {
                1 => operation.clone(),
                _ => format!("{times} {operation}"),
            })
            .collect();
        let calls = if calls.is_empty() { "nothing".to_owned() } else { calls.join(", ") };
        write!(f, "{} read, {} written", self.read_units, self.write_units)?;
        if self.cancelled_units > 0 {
            write!(f, ", {} cancelled", self.cancelled_units)?;
        }
        write!(f, ": {calls}")
    }
}

/// A proxy that makes DynamoDB report each request's consumption. Clones are the same meter.
#[derive(Clone)]
pub struct Meter {
    relay: Arc<Relay>,
    reading: Arc<Mutex<Reading>>,
}

impl Meter {
    /// A meter in front of this DynamoDB: its address, and the task that serves it.
    pub async fn before(
        target: String,
    ) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let meter = Self { relay: Arc::new(Relay::to(target)), reading: Arc::default() };
        let server = meter.clone();
        let pass_on = move |request| {
            let meter = server.clone();
            async move { Some(meter.pass_on(request).await) }
        };
        let (url, serving) = relay::serve(pass_on).await;
        (meter, url, serving)
    }

    /// The consumption since the last call.
    #[must_use]
    pub fn take(&self) -> Reading {
        std::mem::take(&mut *self.reading.lock().unwrap())
    }

    async fn pass_on(&self, mut request: Request) -> Answer {
        request.body["ReturnConsumedCapacity"] = "TOTAL".into();
        let answer = self.relay.pass_on(&request).await;
        let items = request.body["TransactItems"].as_array().map_or(0, Vec::len);
        self.reading.lock().unwrap().add(&request.operation, items, &answer.body);
        answer
    }
}

/// A proxy that takes down what Stripe is asked. Clones are the same meter.
#[derive(Clone)]
pub struct StripeMeter {
    client: reqwest::Client,
    target: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl StripeMeter {
    /// A meter in front of this Stripe: its address, and the task that serves it.
    pub async fn before(
        target: String,
    ) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let meter = Self { client, target, calls: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = meter.clone();
        let router = axum::Router::new().fallback(async move |method, uri, headers, body| {
            server.pass_on(method, uri, headers, body).await
        });
        (meter, url, async move { axum::serve(listener, router).await.unwrap() })
    }

    /// What was asked since this was last called, such as `POST /v1/customers`, in order.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    async fn pass_on(
        &self,
        method: Method,
        uri: Uri,
        mut headers: axum::http::HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        self.calls.lock().unwrap().push(format!("{method} {}", uri.path()));
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let request = self.client.request(method, format!("{}{uri}", self.target));
        let answer = request.headers(headers).body(body).send().await.unwrap();
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
        let body = answer.bytes().await.unwrap();
        Response::builder().status(status).body(Body::from(body)).unwrap()
    }
}
