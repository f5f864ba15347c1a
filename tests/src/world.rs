//! The functions' dependencies, real and in this process; each world has its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coursegate::account::Account;
use coursegate::catalog::{Closing, Plan, PushError, push};
use coursegate::deployment::{Deployment, LocalStack};
use lambda_http::{Body, Response};
use local::secrets::Secrets;
use local::template::{References, Template};
use serde_json::{Value, json};
use shared::config::{AwsConfig, ContentConfig, SecretConfig, TableConfig};
use shared::content::{ChapterTexts, ContentLinks};
use shared::domain::access::RefundThreshold;
use shared::domain::catalog::Catalog;
use shared::domain::decide::Mode;
use shared::domain::shop::Shop;
use shared::dynamo::Table;
use shared::ports::Clock;
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::usecases::catalog::CatalogCache;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::instances::Instances;
use crate::meter::{Meter, StripeMeter};
use crate::requests::{Who, answer, api, delivery, message_to_tutor};
use simulation::clock::ManualClock;
use simulation::rendering::MARK;
use simulation::shop;

/// The table's name.
pub const TABLE: &str = "coursegate";
/// The signing secret of every new world.
pub const SIGNING_SECRET: &str = "whsec_of_the_test";
/// Where learners are redirected back to.
pub const SITE_ORIGIN: &str = "https://learn.example.com";

/// The bucket of the chapters.
pub const CONTENT_BUCKET: &str = local::content::BUCKET;

/// The names of the secrets.
pub const API_KEY_ID: &str = "stripe-api-key";
/// See [`API_KEY_ID`].
pub const READ_KEY_ID: &str = "stripe-read-key";
/// See [`API_KEY_ID`].
pub const SIGNING_SECRET_ID: &str = "stripe-signing-secret";

/// DynamoDB, Secrets Manager and Stripe on free ports, with the demo catalog on sale.
pub struct World {
    /// The clock of all functions.
    pub clock: ManualClock,
    /// Secrets Manager.
    pub secrets: Secrets,
    /// The Stripe simulator's address.
    pub stripe_url: String,
    /// The deployment mark in Stripe's objects.
    pub shop: Shop,
    dynamodb_url: String,
    secrets_url: String,
    /// The webhook's address, and its Lambda API; empty until it is served.
    functions_url: String,
    stripe: Arc<stripe_simulator::Simulator>,
    servers: JoinSet<()>,
}

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `template.yaml` as text.
#[must_use]
pub fn template_yaml() -> serde_norway::Value {
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    serde_norway::from_str(&text).unwrap()
}

/// `template.yaml`, with a value for every parameter.
#[must_use]
pub fn template() -> Template {
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let references: References = [
        ("StripeMode", "test"),
        ("DeploymentMark", MARK),
        ("SiteOrigin", SITE_ORIGIN),
        ("JwtIssuer", "https://issuer.example.com"),
        ("JwtAudience", "site,service"),
        ("StripeApiUrl", ""),
        ("DynamoDbEndpoint", ""),
        ("SecretsManagerEndpoint", ""),
        ("ContentEndpoint", "https://content.example.com"),
        ("CorsOrigins", ""),
        ("ContentBucket", CONTENT_BUCKET),
        ("Table", TABLE),
        ("Table.Arn", "arn:aws:dynamodb:us-east-1:000000000000:table/coursegate"),
        ("StripeApiKey", API_KEY_ID),
        ("StripeReadKey", READ_KEY_ID),
        ("StripeSigningSecret", SIGNING_SECRET_ID),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Template::parse(&text, &references).unwrap()
}

/// The demo catalog.
#[must_use]
pub fn catalog() -> Catalog {
    coursegate::catalog::read(&root().join("catalog.toml")).unwrap()
}

/// The demo catalog with its text edited this way.
#[must_use]
pub fn edited_catalog(edit: impl FnOnce(String) -> String) -> Catalog {
    let text = edit(std::fs::read_to_string(root().join("catalog.toml")).unwrap());
    coursegate::catalog::parse(&text, Path::new("catalog.toml")).unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Only a DynamoDB, on a free port: its address, and the task that serves it.
pub async fn dynamodb() -> (String, impl Future<Output = ()> + Send + 'static) {
    let database = local::dynamo::in_memory(TABLE, &template().table).unwrap();
    let (listener, url) = listen().await;
    (url, dynoxide::server::serve_on(listener, database))
}

/// The table at this address.
#[must_use]
pub fn table_at(dynamodb_url: &str) -> Table {
    shared::aws::table(&table_config(dynamodb_url))
}

/// A DynamoDB client for this address.
#[must_use]
pub fn dynamodb_client_at(dynamodb_url: &str) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(dynamodb_url);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A function's configuration for the table at this address.
#[must_use]
pub fn table_config(dynamodb_url: &str) -> TableConfig {
    TableConfig {
        aws: aws(),
        table_name: TABLE.to_owned(),
        dynamodb_endpoint: Some(dynamodb_url.to_owned()),
    }
}

/// Chapter links, in AWS or at this address of S3's.
#[must_use]
pub fn content_links(endpoint: Option<String>) -> ContentLinks {
    shared::aws::content_links(
        &aws(),
        &ContentConfig { bucket: CONTENT_BUCKET.to_owned(), endpoint },
    )
}

fn aws() -> AwsConfig {
    AwsConfig {
        region: "us-east-1".to_owned(),
        // As on the local stack, whose bucket accepts no other signature.
        access_key_id: "local".to_owned(),
        secret_access_key: "local".to_owned().into(),
        session_token: Some("local".to_owned().into()),
    }
}

impl World {
    /// A new world with the demo catalog on sale.
    pub async fn new() -> Self {
        let (listener, _) = listen().await;
        let options = stripe_simulator::Options { listener, state: None };
        let stripe = stripe_simulator::start(options).await.unwrap();
        let world = Self::at(Arc::new(stripe), shop()).await;
        world.publish(&catalog()).await.unwrap();
        world
    }

    /// Another deployment in this world's Stripe account, with this mark, and nothing on sale yet.
    pub async fn beside(&self, mark: &str) -> Self {
        let shop = Shop { mark: mark.parse().unwrap(), ..shop() };
        let world = Self::at(Arc::clone(&self.stripe), shop).await;
        Self { clock: self.clock.clone(), ..world }
    }

    async fn at(stripe: Arc<stripe_simulator::Simulator>, shop: Shop) -> Self {
        let mut servers = JoinSet::new();
        let (dynamodb_url, dynamodb) = dynamodb().await;
        servers.spawn(dynamodb);

        let secrets = Secrets::in_memory().unwrap();
        secrets.create_if_missing(API_KEY_ID, "sk_test_world").unwrap();
        secrets.create_if_missing(READ_KEY_ID, "rk_test_world").unwrap();
        secrets.create_if_missing(SIGNING_SECRET_ID, SIGNING_SECRET).unwrap();
        let (listener, secrets_url) = listen().await;
        let router = secrets.clone().router();
        servers.spawn(async move { axum::serve(listener, router).await.unwrap() });

        let stripe_url = stripe.url();
        let clock = ManualClock::now();
        let functions_url = String::new();
        Self {
            clock,
            secrets,
            stripe_url,
            shop,
            dynamodb_url,
            secrets_url,
            functions_url,
            stripe,
            servers,
        }
    }

    /// Puts this catalog on sale.
    pub async fn publish(&self, catalog: &Catalog) -> Result<Plan, PushError> {
        push(catalog, Closing::Refused, &self.account(), &self.deployment(""), |_| {}).await
    }

    /// Makes everything that connects to DynamoDB from now on use this meter.
    pub async fn meter(&mut self) -> Meter {
        let (meter, url, serving) = Meter::before(self.dynamodb_url.clone()).await;
        self.servers.spawn(serving);
        self.dynamodb_url = url;
        meter
    }

    /// A meter in front of Stripe, and its address.
    pub async fn stripe_meter(&mut self) -> (StripeMeter, String) {
        let (meter, url, serving) = StripeMeter::before(self.stripe_url.clone()).await;
        self.servers.spawn(serving);
        (meter, url)
    }

    /// The Stripe account, with an unrestricted key.
    #[must_use]
    pub fn account(&self) -> Account {
        Account::new(Some(&self.stripe_url), &"sk_test_world".into(), Mode::Test).unwrap()
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        table_at(&self.dynamodb_url)
    }

    /// DynamoDB's address.
    #[must_use]
    pub fn dynamodb_url(&self) -> &str {
        &self.dynamodb_url
    }

    /// Secrets Manager's address.
    #[must_use]
    pub fn secrets_url(&self) -> &str {
        &self.secrets_url
    }

    /// The Stripe simulator.
    #[must_use]
    pub fn stripe(&self) -> &stripe_simulator::Simulator {
        &self.stripe
    }

    /// A DynamoDB client.
    #[must_use]
    pub fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
        dynamodb_client_at(&self.dynamodb_url)
    }

    /// A Secrets Manager client.
    #[must_use]
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        let endpoint = Some(self.secrets_url.clone());
        shared::aws::secrets_manager(&aws(), &SecretConfig { secret_id: String::new(), endpoint })
    }

    /// The signing secrets, not yet read.
    #[must_use]
    pub fn signing_secrets(&self) -> SecretCache {
        SecretCache::signing_secrets(self.secrets_manager(), SIGNING_SECRET_ID.to_owned())
    }

    /// The webhook function, just started.
    #[must_use]
    pub fn webhook(&self) -> webhook::App<Table, ManualClock> {
        self.webhook_on(self.table())
    }

    /// The webhook function with this ledger, just started.
    #[must_use]
    pub fn webhook_on<L>(&self, ledger: L) -> webhook::App<L, ManualClock> {
        let key = SecretCache::api_key(self.secrets_manager(), READ_KEY_ID.to_owned());
        webhook::App {
            ledger,
            stripe: StripeApi::new(Some(self.stripe_url.clone()), self.shop.clone(), key),
            signing_secrets: self.signing_secrets(),
            shop: self.shop.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Serves the webhook for Stripe's deliveries, with instances that stay warm, and the Lambda
    /// API that replaces them.
    pub async fn serve_webhook(&mut self) -> Instances {
        let (table, secrets_manager) = (self.table(), self.secrets_manager());
        let (clock, stripe_url, shop) =
            (self.clock.clone(), self.stripe_url.clone(), self.shop.clone());
        let instances = Instances::new(move || {
            let key = SecretCache::api_key(secrets_manager.clone(), READ_KEY_ID.to_owned());
            let secret_id = SIGNING_SECRET_ID.to_owned();
            webhook::App {
                ledger: table.clone(),
                stripe: StripeApi::new(Some(stripe_url.clone()), shop.clone(), key),
                signing_secrets: SecretCache::signing_secrets(secrets_manager.clone(), secret_id),
                shop: shop.clone(),
                clock: clock.clone(),
            }
        });
        let (listener, url) = listen().await;
        let router = instances.clone().router();
        self.servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        self.functions_url = url;
        instances
    }

    /// The webhook's address.
    #[must_use]
    pub fn webhook_url(&self) -> String {
        format!("{}/webhook", self.functions_url)
    }

    /// This world as its operator sees it, with the webhook at this address.
    #[must_use]
    pub fn deployment(&self, webhook_url: &str) -> Deployment {
        let stack = LocalStack {
            gateway: SITE_ORIGIN.to_owned(),
            webhook: webhook_url.to_owned(),
            lambda: self.functions_url.clone(),
            dynamodb: self.dynamodb_url.clone(),
            stripe: self.stripe_url.clone(),
            secrets_manager: self.secrets_url.clone(),
        };
        Deployment {
            api_key_id: API_KEY_ID.to_owned(),
            read_key_id: READ_KEY_ID.to_owned(),
            signing_secret_id: SIGNING_SECRET_ID.to_owned(),
            ..Deployment::local(&stack, self.shop.mark.clone())
        }
    }

    /// The checkout function, just started.
    #[must_use]
    pub fn checkout(&self) -> Arc<checkout::App<ManualClock>> {
        self.checkout_at(&self.stripe_url)
    }

    /// The checkout function with another Stripe, just started.
    #[must_use]
    pub fn checkout_at(&self, stripe_url: &str) -> Arc<checkout::App<ManualClock>> {
        let key = SecretCache::api_key(self.secrets_manager(), API_KEY_ID.to_owned());
        Arc::new(checkout::App {
            table: self.table(),
            catalog: CatalogCache::new(self.table()),
            stripe: StripeApi::new(Some(stripe_url.to_owned()), self.shop.clone(), key),
            site_origin: SITE_ORIGIN.to_owned(),
            shop: self.shop.clone(),
            refund_threshold: RefundThreshold::ALL,
            clock: self.clock.clone(),
        })
    }

    /// The entitlements function, just started.
    #[must_use]
    pub fn entitlements(&self) -> entitlements::App<Table, ManualClock> {
        entitlements::App {
            access: self.table(),
            catalog: CatalogCache::new(self.table()),
            content: content_links(None),
            refund_threshold: RefundThreshold::ALL,
            clock: self.clock.clone(),
        }
    }

    /// The tutor function, just started.
    #[must_use]
    pub fn tutor(&self) -> Arc<tutor::App<ManualClock>> {
        let sales = Arc::into_inner(self.checkout()).unwrap();
        Arc::new(tutor::App::new(sales, content_links(None), ChapterTexts::new(None)))
    }

    /// Signs a body as Stripe would now.
    #[must_use]
    pub fn sign(&self, body: &str) -> String {
        samples::signature(body, SIGNING_SECRET, self.clock.now().unix_seconds())
    }

    /// Delivers an event as Stripe would, to a webhook function that has just started.
    pub async fn deliver(&self, event: &Value) -> (u16, Value) {
        let body = serde_json::to_string_pretty(event).unwrap();
        let request = delivery(&body, Some(&self.sign(&body)));
        answer(&webhook::handle(&self.webhook(), &request).await)
    }

    /// Sends a request to the entitlements function.
    pub async fn read(&self, route_key: &str, target: &str, who: &Who) -> (u16, Value) {
        let request = api(route_key, target, who, None);
        answer(&entitlements::handle(&self.entitlements(), &request).await)
    }

    /// Sends a request to a checkout function that has just started.
    pub async fn ask(
        &self,
        route_key: &str,
        target: &str,
        who: &Who,
        body: Option<&str>,
    ) -> Response<Body> {
        let request = api(route_key, target, who, body);
        checkout::handle(&*self.checkout(), &request).await
    }

    /// Sends a message to a tutor function that has just started.
    pub async fn tell_tutor(&self, who: &Who, message: &Value) -> (u16, Value) {
        let request = message_to_tutor(who, &message.to_string());
        answer(&tutor::handle(&self.tutor(), request).await)
    }

    /// The result of a tool.
    pub async fn call(&self, who: &Who, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (status, answer) = self.tell_tutor(who, &message).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }

    /// Opens a checkout for the demo course, and returns the session's id.
    pub async fn buy(&self, who: &Who) -> String {
        let body = Some(r#"{"price": "tutorclaw_paid"}"#);
        let (status, session) = answer(&self.ask("POST /checkout", "/checkout", who, body).await);
        assert!(status == 201 || status == 200, "{status} {session}");
        session["session_id"].as_str().unwrap().to_owned()
    }

    /// Uses the simulator's control API.
    pub async fn stripe_post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.stripe_url);
        let response = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Creates an object with Stripe's API.
    pub async fn stripe_form(&self, path: &str, form: &[(String, String)]) -> (u16, Value) {
        let url = format!("{}{path}", self.stripe_url);
        let mut query = reqwest::Url::parse(&url).unwrap();
        query.query_pairs_mut().extend_pairs(form);
        let body = query.query().unwrap_or_default().to_owned();
        let request = reqwest::Client::new().post(url).bearer_auth("sk_test_world");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Expires a session at Stripe, without an event for us.
    pub async fn expire(&self, session: &str) {
        let url = format!("{}/v1/checkout/sessions/{session}/expire", self.stripe_url);
        let request = reqwest::Client::new().post(url).bearer_auth("sk_test_world");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Reads from the simulator's API.
    pub async fn stripe_get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.stripe_url);
        let request = reqwest::Client::new().get(url).bearer_auth("sk_test_world");
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Pays a session by card.
    pub async fn pay(&self, session: &str) {
        let path = format!("/_sim/checkout/sessions/{session}/pay");
        let card = serde_json::json!({ "card": "4242424242424242" });
        let (status, answer) = self.stripe_post(&path, &card).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Pays a session by bank debit, which stays processing until it is settled.
    pub async fn pay_by_debit(&self, session: &str) {
        let path = format!("/_sim/checkout/sessions/{session}/pay");
        let debit = serde_json::json!({ "payment_method": "sepa_debit" });
        let (status, answer) = self.stripe_post(&path, &debit).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Makes the bank decline a debit.
    pub async fn refuse_debit(&self, session: &str) {
        let path = format!("/_sim/checkout/sessions/{session}/settle");
        let failed = serde_json::json!({ "outcome": "failed" });
        let (status, answer) = self.stripe_post(&path, &failed).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Stripe's events of this type, oldest first.
    pub async fn events(&self, kind: &str) -> Vec<Value> {
        let list = self.stripe_get(&format!("/v1/events?type={kind}&limit=100")).await;
        list["data"].as_array().unwrap().iter().rev().cloned().collect()
    }

    /// Every item of the table except the catalog, sorted by key, as plain JSON.
    pub async fn items(&self) -> Vec<Value> {
        let scan = self.dynamodb_client().scan().table_name(TABLE).send().await.unwrap();
        let mut items: Vec<Value> = scan
            .items()
            .iter()
            .map(|item| {
                let fields = item.iter().map(|(name, value)| (name.clone(), plain(value)));
                Value::Object(fields.collect())
            })
            .filter(|item| item["pk"] != "CATALOG")
            .collect();
        items.sort_by_key(|item| (item["pk"].to_string(), item["sk"].to_string()));
        items
    }

    /// Those items whose keys have this prefix.
    pub async fn items_of(&self, pk: &str, sk: &str) -> Vec<Value> {
        let starts = |item: &Value, name: &str, with: &str| {
            item[name].as_str().is_some_and(|text| text.starts_with(with))
        };
        let mut items = self.items().await;
        items.retain(|item| starts(item, "pk", pk) && starts(item, "sk", sk));
        items
    }

    /// Makes an item unreadable: this attribute becomes a map without the required fields.
    pub async fn spoil(&self, pk: &str, sk: &str, attribute: &str) {
        use aws_sdk_dynamodb::types::AttributeValue as Attribute;
        let update = self.dynamodb_client().update_item().table_name(TABLE);
        let update = update.key("pk", Attribute::S(pk.to_owned()));
        let update = update.key("sk", Attribute::S(sk.to_owned()));
        let update = update.update_expression("SET #spoilt = :nothing");
        let update = update.expression_attribute_names("#spoilt", attribute);
        let nothing = Attribute::M(HashMap::new());
        update.expression_attribute_values(":nothing", nothing).send().await.unwrap();
    }

    /// Stops DynamoDB, Secrets Manager and everything else at once.
    pub async fn stop_servers(&mut self) {
        self.servers.shutdown().await;
    }
}

/// An attribute as plain JSON.
pub(crate) fn plain(value: &aws_sdk_dynamodb::types::AttributeValue) -> Value {
    use aws_sdk_dynamodb::types::AttributeValue as Attribute;
    if let Attribute::S(text) = value {
        text.as_str().into()
    } else if let Attribute::N(number) = value {
        serde_json::from_str(number).unwrap()
    } else if let Attribute::M(map) = value {
        map.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
    } else {
        panic!("an attribute of an unexpected type: {value:?}")
    }
}
