//! DynamoDB and Secrets Manager without a socket: the AWS SDK's clients call a function.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::apply::apply;
use shared::content::ContentLinks;
use shared::domain::catalog::{Catalog, PublishedCatalog};
use shared::domain::checkout::{Link, Session};
use shared::domain::decide::Outcome;
use shared::dynamo::Table;
use shared::dynamo::key::{PK, SK};
use shared::ports::CheckoutStore as _;
use shared::stripe::wire::session_from_api;
use simulation::clock::ManualClock;
use simulation::rendering::MARK;
use simulation::shop;

use crate::ledger::Asked;
use crate::{NOW, block_on, root};

const TABLE: &str = "coursegate";

/// The learner who owns something.
pub(crate) const OWNER: &str = "grace";
/// Their product, and its course.
pub(crate) const OWNED: &str = "tutorclaw";

/// An upgrade link, and its learner.
pub(crate) const LINK: (&str, &str) = ("SampleLink0SampleLink0SampleLink", "x-chat-7");

/// DynamoDB and Secrets Manager. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct Aws(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    database: Option<Database>,
    keys_written: Vec<String>,
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aws")
    }
}

/// The demo catalog, as on sale.
pub(crate) fn catalog() -> &'static PublishedCatalog {
    static CATALOG: LazyLock<PublishedCatalog> = LazyLock::new(|| {
        let catalog: Catalog = coursegate::catalog::read(&root().join("catalog.toml")).unwrap();
        let keys = catalog.prices().iter().map(|price| price.key.clone());
        let stripe_prices: BTreeMap<_, _> =
            keys.map(|key| (key.clone(), format!("price_{key}").parse().unwrap())).collect();
        PublishedCatalog { catalog, stripe_prices, version: 1 }
    });
    &CATALOG
}

/// Chapter links. Nobody opens them here.
pub(crate) fn content_links() -> ContentLinks {
    links("https://content.s3.us-east-1.amazonaws.com")
}

/// The same to a bucket that is read without a network: by clients that refuse plain HTTP.
pub(crate) fn unreachable_content() -> ContentLinks {
    links("http://127.0.0.1:9")
}

fn links(bucket: &str) -> ContentLinks {
    let identity = Credentials::new("test", "test", None, None, "test").into();
    ContentLinks::new(bucket.to_owned(), "us-east-1".to_owned(), identity)
}

/// The purchase of [`OWNER`].
fn purchase() -> Session {
    let session = json!({
        "id": "cs_test_owner",
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": "pi_owner",
        "metadata": {
            "coursegate": MARK,
            "learner_id": OWNER,
            "product": OWNED,
            "price": "tutorclaw_paid",
        },
        "created": NOW.unix_seconds(),
        "livemode": false,
    });
    session_from_api(&session.to_string(), NOW).unwrap()
}

impl Aws {
    /// Starts over, with the demo catalog on sale, one learner who owns something, and a link for
    /// another.
    pub(crate) fn reset(&self) {
        let database = Database::memory().unwrap();
        let definition = json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": PK, "AttributeType": "S" },
                { "AttributeName": SK, "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": PK, "KeyType": "HASH" },
                { "AttributeName": SK, "KeyType": "RANGE" },
            ],
        });
        database.create_table(serde_json::from_value(definition).unwrap()).unwrap();
        *self.0.lock().unwrap() = State { database: Some(database), keys_written: Vec::new() };
        let table = self.table();
        assert!(block_on(table.publish_catalog(catalog())).unwrap());
        let clock = ManualClock::at(NOW.unix_seconds());
        let bought =
            block_on(apply(&table, &Asked, &clock, &shop(), &purchase().observation)).unwrap();
        assert_eq!(bought, Outcome::Applied);
        let (id, learner) = LINK;
        let link = Link {
            learner: learner.parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            expires_at: NOW.plus_seconds(60),
        };
        assert!(block_on(table.put_link(&id.parse().unwrap(), &link)).unwrap());
        self.0.lock().unwrap().keys_written.clear();
    }

    /// The partition key of each item written since.
    pub(crate) fn keys_written(&self) -> Vec<String> {
        self.0.lock().unwrap().keys_written.clone()
    }

    /// The table.
    pub(crate) fn table(&self) -> Table {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(self.client());
        Table::new(aws_sdk_dynamodb::Client::from_conf(config.build()), TABLE.to_owned())
    }

    /// Secrets Manager, with placeholders only.
    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(self.client());
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }

    fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let mut state = self.0.lock().unwrap();
        let (status, body) = match target.rsplit_once('.').map(|(_, operation)| operation) {
            Some("GetSecretValue") => (200, json!({ "SecretString": "placeholder" }).to_string()),
            Some(operation) => state.dispatch(operation, body),
            None => panic!("a request without X-Amz-Target"),
        };
        HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer(&request)))
    }
}

impl State {
    fn dispatch(&mut self, operation: &str, body: &[u8]) -> (u16, String) {
        let database = self.database.as_ref().expect("reset comes first");
        let answer = match operation {
            "GetItem" => run(body, |request| database.get_item(request)),
            "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
            "PutItem" => run(body, |request| database.put_item(request)),
            "UpdateItem" => run(body, |request| database.update_item(request)),
            "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
            other => panic!("the functions may not call {other}"),
        };
        match answer {
            Ok(answer) => {
                self.keys_written.extend(keys_written(operation, body));
                (200, answer)
            }
            Err(error) => (error.status_code(), error.to_json()),
        }
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    operation(serde_json::from_slice(body).unwrap())
        .map(|answer| serde_json::to_string(&answer).unwrap())
}

/// The partition keys that an operation has written.
fn keys_written(operation: &str, body: &[u8]) -> Vec<String> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let key = |write: &Value| {
        let key = write.get("Key").or_else(|| write.get("Item")).unwrap();
        key[PK]["S"].as_str().unwrap().to_owned()
    };
    match operation {
        "PutItem" | "UpdateItem" => vec![key(&request)],
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().unwrap().iter();
            writes.flat_map(|write| write.as_object().unwrap().values()).map(key).collect()
        }
        _ => Vec::new(),
    }
}
