//! A meter between the functions and `DynamoDB`: what is called, and what AWS would charge for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, header};
use serde_json::Value;
use tokio::net::TcpListener;

/// What `DynamoDB` was asked for, and the units that it used up for that.
///
/// Requests that it refused are counted among the calls; units are reported for none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// How often each operation was called.
    pub calls: BTreeMap<String, u64>,
    /// One is a strongly consistent read of 4 KB, of an item or of its absence.
    pub read_units: u64,
    /// One is a write of 1 KB. In a transaction each KB is two.
    pub write_units: u64,
}

impl Reading {
    /// How often a function waited for `DynamoDB`.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.calls.values().sum()
    }

    fn add(&mut self, operation: &str, answer: &Value) {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
        let consumed = &answer["ConsumedCapacity"];
        let consumed = match consumed.as_array() {
            // One for each table, where several items are meant.
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

/// `1.0`. There is no half where every read is strongly consistent.
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
        write!(f, "{} read, {} written: {calls}", self.read_units, self.write_units)
    }
}

/// A proxy that has `DynamoDB` report what each request used up. Clones are the same meter.
#[derive(Clone)]
pub struct Meter {
    target: String,
    reading: Arc<Mutex<Reading>>,
}

impl Meter {
    /// A meter in front of this `DynamoDB`: its address, and the task that serves it.
    pub async fn before(
        target: String,
    ) -> (Self, String, impl Future<Output = ()> + Send + 'static) {
        let meter = Self { target, reading: Arc::default() };
        let (server, client) = (meter.clone(), reqwest::Client::new());
        let pass_on = async move |headers: HeaderMap, body: Bytes| {
            server.pass_on(&client, headers, &body).await
        };
        let router = axum::Router::new().route("/", axum::routing::post(pass_on));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (meter, url, async move { axum::serve(listener, router).await.unwrap() })
    }

    /// What has been used up since it was last asked.
    #[must_use]
    pub fn take(&self) -> Reading {
        std::mem::take(&mut *self.reading.lock().unwrap())
    }

    async fn pass_on(
        &self,
        client: &reqwest::Client,
        mut headers: HeaderMap,
        body: &[u8],
    ) -> Response<Body> {
        let target = headers["x-amz-target"].to_str().unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let mut request: Value = serde_json::from_slice(body).unwrap();
        request["ReturnConsumedCapacity"] = "TOTAL".into();
        headers.remove(header::CONTENT_LENGTH);
        let request = client.post(&self.target).headers(headers).body(request.to_string());
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap();
        let reported = serde_json::from_slice(&body).unwrap_or_default();
        self.reading.lock().unwrap().add(&operation, &reported);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
