//! A proxy between the functions and DynamoDB: it parses each request, and its handler forwards it,
//! answers it, or closes the connection without a response.

use std::io::{self, ErrorKind};
use std::sync::OnceLock;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// DynamoDB's limit is 16 MB.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request to DynamoDB.
#[derive(Debug, Clone)]
pub struct Request {
    /// `TransactWriteItems`
    pub operation: String,
    /// The request's JSON.
    pub body: Value,
    headers: HeaderMap,
}

impl Request {
    async fn read(request: hyper::Request<hyper::body::Incoming>) -> io::Result<Self> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(io::Error::other)?;
        let target = parts.headers["x-amz-target"].to_str().unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let mut headers = parts.headers;
        headers.remove(header::CONTENT_LENGTH);
        Ok(Self { operation, body: serde_json::from_slice(&body).unwrap(), headers })
    }
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status: 200, or an error.
    pub status: StatusCode,
    /// The response's JSON.
    pub body: Value,
}

impl Answer {
    fn into_response(self) -> Response<Body> {
        let body = Bytes::from(self.body.to_string());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let json = "application/x-amz-json-1.0".parse().unwrap();
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// The connection to a DynamoDB.
#[derive(Debug)]
pub struct Relay {
    client: reqwest::Client,
    target: OnceLock<String>,
}

impl Default for Relay {
    /// A connection whose DynamoDB's address is set later.
    fn default() -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { client, target: OnceLock::new() }
    }
}

impl Relay {
    /// The connection to the DynamoDB at this address.
    #[must_use]
    pub fn to(target: String) -> Self {
        Self { target: OnceLock::from(target), ..Self::default() }
    }

    /// Sets the address of the DynamoDB that was not known before.
    pub fn leads_to(&self, target: String) {
        self.target.set(target).unwrap();
    }

    /// Forwards a request, and returns the response.
    pub async fn pass_on(&self, request: &Request) -> Answer {
        let target = self.target.get().expect("a relay with a target");
        let post = self.client.post(target).headers(request.headers.clone());
        let answer = post.body(request.body.to_string()).send().await;
        let answer = answer.expect("a response from DynamoDB");
        let status = answer.status();
        Answer { status, body: answer.json().await.expect("a JSON response") }
    }
}

/// Serves in front of DynamoDB: the address, and the task that serves it. Without a response the
/// connection is closed. A request is handled to its end even if the client disconnects.
pub async fn serve<H, A>(handle: H) -> (String, impl Future<Output = ()> + Send + 'static)
where
    H: Fn(Request) -> A + Clone + Send + 'static,
    A: Future<Output = Option<Answer>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let handle = handle.clone();
            let answer = service_fn(move |request| answer(handle.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            connections.spawn(connection);
            // Finished ones are dropped, however they ended.
            while connections.try_join_next().is_some() {}
        }
    };
    (url, serving)
}

async fn answer<H, A>(
    handle: H,
    request: hyper::Request<hyper::body::Incoming>,
) -> io::Result<Response<Body>>
where
    H: Fn(Request) -> A,
    A: Future<Output = Option<Answer>> + Send + 'static,
{
    let request = Request::read(request).await?;
    let answer = tokio::spawn(handle(request)).await.map_err(io::Error::other)?;
    answer.map(Answer::into_response).ok_or_else(|| ErrorKind::ConnectionAborted.into())
}
