//! The tables, secrets and Stripe that functions are measured with.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use local::template::Function;
use serde_json::Value;
use shared::config::variable;
use shared::dynamo::key::{Key, PK};
use tests::sessions::event;
use tests::world::{TABLE, World};
use tokio::runtime::Handle;

use crate::operations::{FIFTY, ONE, REFUNDABLE, Shop, refundable};

const PURCHASES: u64 = 50;
const LEARNERS: usize = 100_000;
/// DynamoDB's maximum per request.
const BATCH: usize = 25;

/// Every shop, each with its own DynamoDB and other services.
pub(crate) struct Shops(BTreeMap<Shop, World>);

impl Shops {
    /// Opens them; this runtime serves their services.
    pub(crate) async fn open(servers: &Handle) -> Self {
        let mut shops = BTreeMap::new();
        for shop in [Shop::Growing, Shop::Small, Shop::Large] {
            let world = servers.spawn(World::new()).await.expect("a world starts");
            match shop {
                Shop::Growing => {
                    for number in 0..REFUNDABLE {
                        buy(&world, &refundable(number), 1).await;
                    }
                }
                Shop::Small => {
                    buy(&world, ONE, 1).await;
                    buy(&world, FIFTY, PURCHASES).await;
                }
                Shop::Large => {
                    buy(&world, ONE, 1).await;
                    multiply(&world, ONE).await;
                }
            }
            shops.insert(shop, world);
        }
        Self(shops)
    }

    pub(crate) fn world(&self, shop: Shop) -> &World {
        &self.0[&shop]
    }

    /// This function as deployed for a shop, with the table at this address.
    pub(crate) fn function(
        &self,
        shop: Shop,
        name: &str,
        like: &str,
        dynamodb_url: &str,
    ) -> Function {
        let functions = tests::world::template().functions;
        // The floor is not in the template and reads no variable.
        let declared = functions.iter().find(|function| function.binary == like);
        let mut function = declared.unwrap_or(&functions[0]).clone();
        name.clone_into(&mut function.binary);
        let world = self.world(shop);
        for (variable, url) in [
            (variable::DYNAMODB_ENDPOINT, dynamodb_url),
            (variable::SECRETS_MANAGER_ENDPOINT, world.secrets_url()),
            (variable::STRIPE_API_URL, &world.stripe_url),
        ] {
            if let Some(value) = function.variables.get_mut(variable) {
                url.clone_into(value);
            }
        }
        function
    }
}

async fn buy(world: &World, learner: &str, times: u64) {
    for time in 1..=times {
        let it = format!("{learner}{time}");
        let event = event(&format!(
            "evt_{it} completed paid cs_test_{it} pi_{it} {learner} tutorclaw @1795240000"
        ));
        let (status, answer) = world.deliver(&event).await;
        assert_eq!((status, &answer["outcome"]), (200, &Value::from("applied")), "{answer}");
    }
}

/// Copies this learner's entitlements to many other learners.
async fn multiply(world: &World, learner: &str) {
    let client = world.dynamodb_client();
    let learner: shared::domain::id::LearnerId = learner.parse().expect("a learner's id");
    let key = Key::Access(learner);
    let (pk, sk) = (AttributeValue::S(key.pk()), AttributeValue::S(key.sk()));
    let request = client.get_item().table_name(TABLE).key(PK, pk);
    let answer = request.key(shared::dynamo::key::SK, sk).send().await.expect("an item is read");
    let item = answer.item.expect("the learner owns something");
    let copy = |number: usize| {
        let learner = format!("learner-{number}").parse().expect("a learner's id");
        let mut item: HashMap<_, _> = item.clone();
        item.insert(PK.to_owned(), AttributeValue::S(Key::Access(learner).pk()));
        let put = PutRequest::builder().set_item(Some(item)).build().expect("an item");
        WriteRequest::builder().put_request(put).build()
    };
    for first in (0..LEARNERS).step_by(BATCH) {
        let puts = (first..first + BATCH).map(copy).collect();
        let answer = client.batch_write_item().request_items(TABLE, puts).send().await;
        let left = answer.expect("items are written").unprocessed_items.unwrap_or_default();
        assert!(left.is_empty(), "DynamoDB left items unwritten");
    }
}
