//! The Stripe simulator with altered responses.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A change to a response.
type Edit = Box<dyn Fn(&mut Value) + Send>;

/// A proxy in front of the simulator that alters some of the responses.
pub struct AlteredStripe {
    /// Its address.
    pub url: String,
    relay: Arc<Relay>,
    server: JoinHandle<()>,
}

struct Relay {
    client: reqwest::Client,
    stripe_url: String,
    /// The method and path prefix of the requests whose responses are altered, and the change.
    change: Mutex<Option<(Method, String, Edit)>>,
}

impl AlteredStripe {
    /// A proxy in front of the simulator at this address. It alters nothing yet.
    pub async fn before(stripe_url: &str) -> Self {
        let relay = Arc::new(Relay {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            stripe_url: stripe_url.to_owned(),
            change: Mutex::new(None),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(pass_on).with_state(Arc::clone(&relay));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, relay, server }
    }

    /// Alters the responses to requests of this method with this path prefix from now on.
    pub fn change(&self, method: Method, path: &str, edit: impl Fn(&mut Value) + Send + 'static) {
        *self.relay.change.lock().unwrap() = Some((method, path.to_owned(), Box::new(edit)));
    }

    /// Alters nothing from now on.
    pub fn restore(&self) {
        *self.relay.change.lock().unwrap() = None;
    }
}

impl Drop for AlteredStripe {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(relay): State<Arc<Relay>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let mut headers: HeaderMap = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let url = format!("{}{}", relay.stripe_url, parts.uri);
    let request = relay.client.request(parts.method.clone(), url).headers(headers);
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status();
    let mut text = answer.text().await.unwrap();
    if let Some((method, path, edit)) = &*relay.change.lock().unwrap()
        && *method == parts.method
        && parts.uri.path().starts_with(path.as_str())
        && let Ok(mut json) = serde_json::from_str::<Value>(&text)
    {
        edit(&mut json);
        text = json.to_string();
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Sets the field at this JSON pointer, or removes it if there is no value.
pub fn put(document: &mut Value, pointer: &str, value: Option<&Value>) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {pointer}"));
    let fields = parent.as_object_mut().unwrap_or_else(|| panic!("{pointer} is in no object"));
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
}
