//! Clients of the stack: Stripe, the learners and a service.

use std::collections::BTreeMap;

use local::addresses::Addresses;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use shared::ports::{Clock as _, SystemClock};

use super::script::Pair;
use crate::world::catalog;

/// The clients. Clones share connections.
#[derive(Debug, Clone)]
pub struct Clients {
    client: Client,
    addresses: Addresses,
    signing_secret: String,
    service: String,
    /// A locked chapter of each product: `courses/tutorclaw/access?chapter=6`.
    chapters: BTreeMap<String, String>,
}

/// Status and JSON; nothing if there was no response.
pub type Answered = Option<(u16, Value)>;

/// A signed-in learner.
#[derive(Debug, Clone)]
pub struct Learner {
    /// Their id.
    pub id: String,
    token: String,
}

impl Clients {
    /// Clients of the stack at these addresses.
    pub async fn of(addresses: &Addresses, signing_secret: String) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let catalog = catalog();
        let chapter = |product: &shared::domain::catalog::Product| {
            let course = catalog.course(&product.courses[0]).unwrap();
            (
                product.id.to_string(),
                format!("courses/{}/access?chapter={}", course.id, course.free_chapters + 1),
            )
        };
        let chapters = catalog.products().iter().map(chapter).collect();
        let mut clients = Self {
            client,
            addresses: addresses.clone(),
            signing_secret,
            service: String::new(),
            chapters,
        };
        let url = format!("{}/local/service-token", addresses.gateway);
        let (_, token) = answered(clients.client.post(url)).await.unwrap();
        token["access_token"].as_str().unwrap().clone_into(&mut clients.service);
        clients
    }

    /// Delivers this as Stripe does, freshly signed.
    pub async fn deliver(&self, body: &str) -> Answered {
        let now = SystemClock.now().unix_seconds();
        let signature = samples::signature(body, &self.signing_secret, now);
        let url = format!("{}/webhook", self.addresses.gateway);
        let post = self.client.post(url).header("content-type", "application/json; charset=utf-8");
        answered(post.header("stripe-signature", signature).body(body.to_owned())).await
    }

    /// Whether a service is told that this learner may open the product's chapter.
    pub async fn may_open(&self, (learner, product): &Pair) -> Answered {
        let chapter = &self.chapters[product];
        let url = format!("{}/api/learners/{learner}/{chapter}", self.addresses.gateway);
        answered(self.client.get(url).bearer_auth(&self.service)).await
    }

    /// Signs somebody in.
    pub async fn sign_in(&self, email: &str) -> Learner {
        let url = format!("{}/local/login", self.addresses.gateway);
        let login = self.client.post(url).json(&json!({ "email": email }));
        let (_, tokens) = answered(login).await.unwrap();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Learner { id: text("learner"), token: text("access_token") }
    }

    /// Posts to the API as a learner.
    pub async fn post(&self, learner: &Learner, path: &str, body: &Value) -> Answered {
        let url = format!("{}/api{path}", self.addresses.gateway);
        answered(self.client.post(url).bearer_auth(&learner.token).json(body)).await
    }

    /// Uses the simulator's control API.
    pub async fn control_simulator(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/_sim/{path}", self.addresses.stripe);
        answered(self.client.post(url).json(body)).await.unwrap().1
    }

    /// The simulator's undelivered events.
    pub async fn undelivered(&self) -> Vec<Value> {
        let url = format!("{}/_sim/deliveries", self.addresses.stripe);
        let (_, list) = answered(self.client.get(url)).await.unwrap();
        let deliveries = list["deliveries"].as_array().unwrap().iter();
        deliveries.filter(|delivery| delivery["state"] != "delivered").cloned().collect()
    }

    /// A session at Stripe.
    pub async fn session(&self, id: &str) -> Value {
        let url = format!("{}/v1/checkout/sessions/{id}", self.addresses.stripe);
        answered(self.client.get(url).bearer_auth("sk_test_of_the_storm")).await.unwrap().1
    }

    /// All of Stripe's objects of a kind, page by page: `/customers`.
    pub async fn list(&self, path: &str, query: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().and_then(|last| last["id"].as_str());
            let after = after.map(|id| format!("&starting_after={id}")).unwrap_or_default();
            let url = format!("{}/v1{path}?limit=100{query}{after}", self.addresses.stripe);
            let get = self.client.get(url).bearer_auth("sk_test_of_the_storm");
            let (status, page) = answered(get).await.unwrap();
            assert_eq!(status, 200, "{page}");
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            if page["has_more"] != true {
                return all;
            }
        }
    }

    /// The functions' health, by name.
    pub async fn functions(&self) -> Value {
        let url = format!("{}/local/health", self.addresses.gateway);
        answered(self.client.get(url)).await.unwrap().1["functions"].clone()
    }
}

async fn answered(request: RequestBuilder) -> Answered {
    let response = request.send().await.ok()?;
    Some((response.status().as_u16(), response.json().await.unwrap_or_default()))
}
