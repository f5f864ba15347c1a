//! From the catalog file to the shop: plan, push and pull; interrupted, and after changes behind
//! our back.

use std::path::Path;

use coursegate::catalog::{self, Closing, Plan, PlanError, PushError, Step, parse, pull, push};
use coursegate::deployment::{Deployment, LocalStack};
use serde_json::{Value, json};
use shared::domain::catalog::{Catalog, PublishedCatalog};
use shared::domain::money::Money;
use shared::dynamo::catalog::{ITEM_BYTES_MAX, item_bytes};
use shared::ports::CatalogReader as _;
use simulation::rendering::MARK;
use tests::requests::{Who, answer, api, learner};
use tests::world::{World, edited_catalog};

use crate::checkout::checkout;

fn dearer() -> Catalog {
    edited_catalog(|text| text.replace("amount = 999", "amount = 3900"))
}

/// A catalog that differs from the demo's in everything that can differ.
fn edited() -> Catalog {
    edited_catalog(|text| {
        text.replace("amount = 999", "amount = 3900")
            .replace("TutorClaw, all chapters", "TutorClaw, everything")
            .replace("courses = [\"tutorclaw\"]", "courses = [\"tutorclaw\", \"memory\"]")
            .replace("lookup_key = \"curriculum_paid\"", "lookup_key = \"curriculum_2027\"")
            + r#"
            [[product]]
            id = "everything"
            name = "Everything"
            courses = ["tutorclaw", "memory", "evaluation"]
            [[price]]
            lookup_key = "everything_paid"
            product = "everything"
            amount = 11900
            currency = "usd"
            "#
    })
}

async fn plan(world: &World, wanted: &Catalog) -> Plan {
    catalog::look(wanted, &world.account(), &world.deployment("")).await.unwrap()
}

async fn forced(world: &World, wanted: &Catalog) -> Result<Plan, PushError> {
    push(wanted, Closing::Allowed, &world.account(), &world.deployment(""), |_| {}).await
}

/// The output of `pull`, parsed, and its notes.
async fn pulled(world: &World, deployment: &Deployment) -> (Catalog, Vec<String>) {
    let pulled = pull(&world.account(), deployment).await.unwrap();
    (parse(&pulled.text, Path::new("pulled")).unwrap(), pulled.notes)
}

/// A deployment in the same Stripe account, with nothing on sale yet.
async fn neighbour(world: &World) -> Deployment {
    let (dynamodb, serving) = tests::world::dynamodb().await;
    tokio::spawn(serving);
    let stripe = world.stripe_url.clone();
    let stack = LocalStack { dynamodb, stripe, ..LocalStack::default() };
    Deployment::local(&stack, "123456789012/eu-central-1/neighbour".parse().unwrap())
}

/// A catalog of the demo's courses with other ids for products and prices.
pub(crate) fn other_names() -> Catalog {
    edited_catalog(|text| other_products(&text).replace("_paid\"", "_2027\""))
}

/// The text with another id for each product.
fn other_products(text: &str) -> String {
    text.replace("[[product]]\nid = \"", "[[product]]\nid = \"other_")
        .replace("product = \"", "product = \"other_")
}

/// The demo catalog without the curriculum's price.
fn without_curriculum_paid() -> Catalog {
    edited_catalog(|text| {
        let (before, after) =
            text.split_once("[[price]]\nlookup_key = \"curriculum_paid\"").unwrap();
        let (_, after) = after.split_once("[[price]]").unwrap();
        format!("{before}[[price]]{after}")
    })
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// Stripe's prices: id, lookup key, amount, whether active; oldest first.
async fn prices(world: &World) -> Vec<(String, Value, i64, bool)> {
    let list = world.stripe_get("/v1/prices?limit=100").await;
    let prices = list["data"].as_array().unwrap().iter().rev();
    let of = |price: &Value| {
        let id = price["id"].as_str().unwrap().to_owned();
        let amount = price["unit_amount"].as_i64().unwrap();
        (id, price["lookup_key"].clone(), amount, price["active"] == true)
    };
    prices.map(of).collect()
}

/// An open session, its price and its learner.
struct Sold {
    learner: Who,
    session: String,
    amount: i64,
}

/// Opens a session at this price.
async fn buy(world: &World, name: &str, price: &str) -> Sold {
    let learner = learner(name);
    let body = json!({ "price": price }).to_string();
    let opened = world.ask("POST /checkout", "/checkout", &learner, Some(&body)).await;
    let (status, opened) = answer(&opened);
    assert_eq!(status, 201, "{price}: {opened}");
    let session = opened["session_id"].as_str().unwrap().to_owned();
    let found = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
    Sold { learner, session, amount: found["amount_total"].as_i64().unwrap() }
}

async fn post(world: &World, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}{path}", world.stripe_url);
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = reqwest::Client::new().post(url).bearer_auth("sk_test_world");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(body.join("&")).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_catalog_too_large_for_the_table_is_refused_first() {
    let world = World::new().await;
    let published = world.table().catalog().await.unwrap().unwrap();
    let with_summary = |bytes: usize| {
        edited_catalog(|text| {
            let summary = "What an agent is, when you need none, and a first one that answers.";
            assert!(text.contains(summary));
            text.replace(summary, &"s".repeat(bytes))
        })
    };
    let size = item_bytes(&with_summary(0), &published.stripe_prices, 2);
    let largest = ITEM_BYTES_MAX - size;
    let before = (prices(&world).await, world.stripe_get("/v1/products").await);
    let too_large = edited_catalog(|text| {
        let text = text.replace("amount = 999", "amount = 3900");
        let text = text.replace("TutorClaw, all chapters", "TutorClaw, everything");
        text.replace("What an agent is, when", &"s".repeat(largest))
    });
    for wanted in [with_summary(largest + 1), too_large] {
        let looked = catalog::look(&wanted, &world.account(), &world.deployment("")).await;
        for error in [looked.unwrap_err(), world.publish(&wanted).await.unwrap_err()] {
            assert!(matches!(error, PushError::Plan(PlanError::TooLarge { .. })), "{error}");
            let said = error.to_string();
            assert!(said.contains("which has room for 408576: shorten summaries"), "{said}");
        }
    }
    assert_eq!(before, (prices(&world).await, world.stripe_get("/v1/products").await));
    // The largest catalog that is accepted fits into the table.
    world.publish(&with_summary(largest)).await.unwrap();
    let held = world.table().catalog().await.unwrap().unwrap();
    assert_eq!(held.catalog, with_summary(largest));
    assert_eq!(item_bytes(&held.catalog, &held.stripe_prices, 2), ITEM_BYTES_MAX);
}

#[tokio::test]
async fn a_newer_rule_does_not_close_a_shop_already_on_sale() {
    let world = World::new().await;
    let on_sale = world.table().catalog().await.unwrap().unwrap();
    let (courses, mut products, mut prices) = (
        on_sale.catalog.courses().to_vec(),
        on_sale.catalog.products().to_vec(),
        on_sale.catalog.prices().to_vec(),
    );
    let twice = products[0].courses[0].clone();
    products[0].courses.push(twice);
    products[1].name = " ".to_owned();
    products[2].courses = vec!["first-steps".parse().unwrap()];
    prices[0].money = Money { amount_minor: 10, currency: "bgn".parse().unwrap() };
    assert!(Catalog::new(courses.clone(), products.clone(), prices.clone()).is_err());
    let catalog = Catalog::restore(courses, products, prices).unwrap();
    let stripe_prices = on_sale.stripe_prices.clone();
    let older = PublishedCatalog { catalog, stripe_prices, version: 2 };
    assert!(world.table().publish_catalog(&older).await.unwrap());

    assert_eq!(world.table().catalog().await.unwrap().unwrap(), older);
    let route = "GET /courses/{course}/access";
    let target = "/courses/tutorclaw/access?chapter=6";
    let (status, access) = world.read(route, target, &learner("ada")).await;
    assert_eq!((status, &access["offers"][0]["amount"]), (200, &json!(10)), "{access}");
    // The author learns of it with the next plan, and publishing a valid one fixes it.
    assert_eq!(forced(&world, &tests::world::catalog()).await.unwrap().steps.len(), 1);
}

#[tokio::test]
async fn a_plan_previews_a_push_and_changes_nothing() {
    let world = World::new().await;
    assert_eq!(
        texts(&plan(&world, &edited()).await),
        [
            "~ product tutorclaw: \"TutorClaw, all chapters\" becomes \"TutorClaw, everything\", \
         it opens tutorclaw, memory",
            "+ product everything: \"Everything\", opens tutorclaw, memory, evaluation",
            "~ price tutorclaw_paid: 9.99 USD becomes 39.00 USD for tutorclaw; buyers with an \
             open checkout page still pay the old price",
            "+ price curriculum_2027: 99.00 USD for curriculum",
            "+ price everything_paid: 119.00 USD for everything",
            "~ table: catalog version 2: price curriculum_paid is no longer on sale",
        ]
    );
    let before = (prices(&world).await, world.stripe_get("/v1/products").await);
    plan(&world, &edited()).await;
    assert_eq!(before, (prices(&world).await, world.stripe_get("/v1/products").await));
}

#[tokio::test]
async fn pushing_again_changes_nothing() {
    let world = World::new().await;
    for wanted in [edited(), dearer(), edited()] {
        let planned = plan(&world, &wanted).await;
        assert_eq!(forced(&world, &wanted).await.unwrap().steps, planned.steps);
        assert!(!planned.steps.is_empty());
        assert_eq!(texts(&plan(&world, &wanted).await), Vec::<String>::new());
        assert_eq!(world.publish(&wanted).await.unwrap().steps, []);
    }
}

#[tokio::test]
async fn a_changed_amount_is_a_new_price_for_new_sessions_only() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    let before = prices(&world).await;
    world.publish(&dearer()).await.unwrap();

    let after = prices(&world).await;
    let old = before.iter().find(|(_, key, ..)| key == "tutorclaw_paid").unwrap();
    assert!(after.contains(&(old.0.clone(), Value::Null, 999, true)), "{after:?}");
    let new = after.iter().find(|(_, key, ..)| key == "tutorclaw_paid").unwrap();
    assert_eq!((new.2, new.3), (3900, true));

    world.pay(&session).await;
    let paid = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
    assert_eq!((&paid["amount_total"], &paid["payment_status"]), (&json!(999), &json!("paid")));
    let (status, opened) = checkout(&world, &learner("bob")).await;
    assert_eq!(status, 201, "{opened}");
    let opened = opened["session_id"].as_str().unwrap();
    let opened = world.stripe_get(&format!("/v1/checkout/sessions/{opened}")).await;
    assert_eq!(opened["amount_total"], 3900);
}

#[tokio::test]
async fn stripe_s_products_name_what_they_grant() {
    let world = World::new().await;
    let product = world.stripe_get("/v1/products/coursegate_curriculum").await;
    assert_eq!(
        product["metadata"],
        json!({"product": "curriculum", "courses": "models,tools,memory,evaluation", "coursegate": MARK})
    );
    world.publish(&edited()).await.unwrap();
    let product = world.stripe_get("/v1/products/coursegate_tutorclaw").await;
    assert_eq!(product["metadata"]["courses"], "tutorclaw,memory");
}

#[tokio::test]
async fn a_retired_product_stays_in_stripe_and_can_return() {
    let world = World::new().await;
    let first = prices(&world).await;
    // A function caches the catalog for a minute.
    let stale = world.checkout();
    let ask = async |name: &str| {
        let body = Some(r#"{"price": "curriculum_paid"}"#);
        let request = api("POST /checkout", "/checkout", &learner(name), body);
        let (status, answer) = answer(&::checkout::handle(&*stale, &request).await);
        assert_eq!(status, 201, "{name}: {answer}");
    };
    ask("ada").await;
    let plan = world.publish(&without_curriculum_paid()).await.unwrap();
    assert!(matches!(&plan.steps[..], [Step::Publish { .. }]), "{plan:?}");
    assert_eq!(prices(&world).await, first);
    ask("bob").await;

    let plan = world.publish(&tests::world::catalog()).await.unwrap();
    assert!(matches!(&plan.steps[..], [Step::Publish { .. }]), "{plan:?}");
    assert_eq!(prices(&world).await, first);
    assert_eq!(buy(&world, "cleo", "curriculum_paid").await.amount, 9900);
}

#[tokio::test]
async fn retired_products_are_pulled_only_into_an_empty_table() {
    let world = World::new().await;
    let smaller = without_curriculum_paid();
    world.publish(&smaller).await.unwrap();
    let deployment = world.deployment("");
    let (read, notes) = pulled(&world, &deployment).await;
    assert_eq!(read, smaller);
    assert_eq!(notes, ["price curriculum_paid is left out: the table doesn't sell it"]);

    let empty = Deployment { shop: deployment.shop, ..neighbour(&world).await };
    let pulled = pull(&world.account(), &empty).await.unwrap();
    for key in ["tutorclaw_paid", "curriculum_paid"] {
        assert!(pulled.text.contains(&format!("lookup_key = \"{key}\"")), "{}", pulled.text);
    }
}

#[tokio::test]
async fn two_shops_in_one_account_leave_each_other_alone() {
    let world = World::new().await;
    let neighbour = neighbour(&world).await;
    let (before, products) = (prices(&world).await, world.stripe_get("/v1/products").await);
    let theirs = other_names();
    let account = world.account();
    push(&theirs, Closing::Refused, &account, &neighbour, |_| {}).await.unwrap();

    // Each has exactly what it sells, and finds nothing to do.
    let both = prices(&world).await;
    assert_eq!(both.len(), 2 * before.len(), "{both:?}");
    assert!(both.starts_with(&before), "{both:?}");
    for product in products["data"].as_array().unwrap() {
        let id = product["id"].as_str().unwrap();
        assert_eq!(world.stripe_get(&format!("/v1/products/{id}")).await, *product);
    }
    assert_eq!(plan(&world, &tests::world::catalog()).await.steps, []);
    let (ours, notes) = pulled(&world, &world.deployment("")).await;
    assert_eq!((ours, notes), (tests::world::catalog(), Vec::new()));
    let again = catalog::look(&theirs, &account, &neighbour).await.unwrap();
    assert_eq!(again.steps, []);
    let (read, notes) = pulled(&world, &neighbour).await;
    assert_eq!((read, notes), (theirs, Vec::new()));
}

#[tokio::test]
async fn another_deployment_s_product_is_refused_first() {
    let world = World::new().await;
    let neighbour = neighbour(&world).await;
    let before = (prices(&world).await, world.stripe_get("/v1/products").await);
    // The product in conflict comes second, after one that could be created.
    let wanted = edited_catalog(|text| {
        text.replace("[[product]]\nid = \"tutorclaw\"", "[[product]]\nid = \"claw\"")
            .replace("product = \"tutorclaw\"", "product = \"claw\"")
    });
    for closing in [Closing::Refused, Closing::Allowed] {
        let error = push(&wanted, closing, &world.account(), &neighbour, |_| {}).await.unwrap_err();
        assert!(matches!(error, PushError::Plan(PlanError::ProductTaken { .. })), "{error}");
        assert_eq!(
            error.to_string(),
            "the product coursegate_curriculum in this Stripe account belongs to another \
             deployment, sample: if this one replaces it, give it the same mark (the stack's \
             parameter DeploymentMark, or --deployment-mark on a laptop), and it keeps the other's \
             sales; if that one is gone for good, take the key coursegate off the product's \
             metadata in the Dashboard; otherwise sell other products, or use another account or \
             sandbox"
        );
    }
    assert_eq!(before, (prices(&world).await, world.stripe_get("/v1/products").await));
    assert_eq!(neighbour.table().catalog().await.unwrap(), None);
    // Nor is a lookup key taken from the other deployment's price.
    let wanted = edited_catalog(|text| other_products(&text));
    let error = catalog::look(&wanted, &world.account(), &neighbour).await.unwrap_err();
    assert!(matches!(error, PushError::Plan(PlanError::KeyTaken { .. })), "{error}");
}

#[tokio::test]
async fn a_product_without_a_mark_is_adopted() {
    let world = World::new().await;
    // As left by an older version of this program, or by somebody who removed the mark.
    for product in tests::world::catalog().products() {
        let path = format!("/v1/products/coursegate_{}", product.id);
        let (status, product) = post(&world, &path, &[("metadata[coursegate]", "")]).await;
        assert_eq!((status, &product["metadata"]["coursegate"]), (200, &Value::Null));
    }
    let neighbour = neighbour(&world).await;
    let (account, wanted) = (world.account(), tests::world::catalog());
    let pushed = push(&wanted, Closing::Refused, &account, &neighbour, |_| {}).await.unwrap();
    assert_eq!(
        texts(&pushed),
        [
            "~ product tutorclaw: it is marked as this deployment's",
            "~ product curriculum: it is marked as this deployment's",
            "~ product retrieval: it is marked as this deployment's",
            "~ product voice: it is marked as this deployment's",
            "~ product production: it is marked as this deployment's",
            "~ table: catalog version 1",
        ]
    );
    assert_eq!(catalog::look(&wanted, &account, &neighbour).await.unwrap().steps, []);
    let product = world.stripe_get("/v1/products/coursegate_tutorclaw").await;
    assert_eq!(product["metadata"]["coursegate"], neighbour.shop.mark.as_str());
}

#[tokio::test]
async fn another_account_s_key_moves_the_shop_only_with_force() {
    let world = World::new().await;
    let other = World::new().await;
    let (account, before) = (other.account(), prices(&other).await);
    let deployment = world.deployment("");
    for wanted in [tests::world::catalog(), dearer()] {
        let looked = catalog::look(&wanted, &account, &deployment).await.unwrap_err();
        let pushed = push(&wanted, Closing::Refused, &account, &deployment, |_| {}).await;
        let pulled = pull(&account, &deployment).await.unwrap_err();
        for said in [looked.to_string(), pushed.unwrap_err().to_string(), pulled.to_string()] {
            assert_eq!(
                said,
                "the table sells prices that this key's Stripe account doesn't have: it sells in \
                 another account, sandbox or mode; use a key of that account, deploy a separate \
                 stack for this one, or move the shop here with `coursegate catalog push --force`"
            );
        }
    }
    assert_eq!(prices(&other).await, before);
    assert_eq!(world.table().catalog().await.unwrap().unwrap().version, 1);

    push(&dearer(), Closing::Allowed, &account, &deployment, |_| {}).await.unwrap();
    assert_eq!(catalog::look(&dearer(), &account, &deployment).await.unwrap().steps, []);
    let published = world.table().catalog().await.unwrap().unwrap();
    let ids: Vec<String> = prices(&other).await.into_iter().map(|(id, ..)| id).collect();
    assert!(published.stripe_prices.values().all(|id| ids.contains(&id.to_string())));
}

#[tokio::test]
async fn archived_prices_still_belong_to_this_account() {
    let world = World::new().await;
    for (id, ..) in prices(&world).await {
        let (status, _) = post(&world, &format!("/v1/prices/{id}"), &[("active", "false")]).await;
        assert_eq!(status, 200);
    }
    world.publish(&tests::world::catalog()).await.unwrap();
    assert_eq!(texts(&plan(&world, &tests::world::catalog()).await), Vec::<String>::new());
    assert_eq!(buy(&world, "ada", "curriculum_paid").await.amount, 9900);
}

#[tokio::test]
async fn somebody_else_s_price_keeps_its_lookup_key() {
    let world = World::new().await;
    let (_, product) = post(&world, "/v1/products", &[("name", "A mug")]).await;
    let product = product["id"].as_str().unwrap();
    let form =
        [("product", product), ("currency", "usd"), ("unit_amount", "900"), ("lookup_key", "mug")];
    let (status, mug) = post(&world, "/v1/prices", &form).await;
    assert_eq!(status, 200, "{mug}");

    let wanted = edited_catalog(|text| text.replace("\"tutorclaw_paid\"", "\"mug\""));
    let error = world.publish(&wanted).await.unwrap_err().to_string();
    assert!(
        error.contains("the lookup key mug belongs to price") && error.contains("choose another")
    );
    let now = world.stripe_get(&format!("/v1/prices/{}", mug["id"].as_str().unwrap())).await;
    assert_eq!((&now["lookup_key"], &now["active"]), (&json!("mug"), &json!(true)));
    // Other integrations' objects are not in the plan either.
    assert_eq!(world.publish(&tests::world::catalog()).await.unwrap().steps, []);
}

#[tokio::test]
async fn dashboard_changes_are_seen_pulled_and_overwritten() {
    let world = World::new().await;
    let product = "/v1/products/coursegate_tutorclaw";
    post(&world, product, &[("name", "Renamed"), ("active", "false")]).await;
    let wanted = tests::world::catalog();
    assert_eq!(
        texts(&plan(&world, &wanted).await),
        [
            "~ product tutorclaw: \"Renamed\" becomes \"TutorClaw, all chapters\", it is active again"
        ]
    );
    let name = "tutorclaw".parse().unwrap();
    let (seen, _) = pulled(&world, &world.deployment("")).await;
    assert_eq!(seen.product(&name).unwrap().name, "Renamed");

    world.publish(&wanted).await.unwrap();
    let now = world.stripe_get(product).await;
    assert_eq!((&now["name"], &now["active"]), (&json!("TutorClaw, all chapters"), &json!(true)));
}

#[tokio::test]
async fn a_pull_returns_what_was_pushed() {
    let world = World::new().await;
    for wanted in [tests::world::catalog(), edited(), dearer()] {
        forced(&world, &wanted).await.unwrap();
        assert_eq!(pulled(&world, &world.deployment("")).await.0, wanted);
    }
}

#[tokio::test]
async fn taking_access_from_owners_needs_force() {
    let world = World::new().await;
    let smaller = edited_catalog(|text| {
        text.replace("\"memory\", \"evaluation\"]", "\"memory\"]").replace(
            "category = \"curriculum\"\nfree_chapters = 1\nchapters = [\n  \"A question",
            "category = \"free\"\nchapters = [\n  \"A question",
        )
    });
    let before = world.stripe_get("/v1/products").await;
    let planned = plan(&world, &smaller).await;
    assert_eq!(planned.closes, ["product curriculum no longer opens evaluation"]);
    let error = world.publish(&smaller).await.unwrap_err().to_string();
    assert!(error.contains("no longer opens evaluation") && error.contains("--force"), "{error}");
    assert_eq!(world.stripe_get("/v1/products").await, before);
    assert_eq!(forced(&world, &smaller).await.unwrap().closes, planned.closes);
    assert_eq!(texts(&plan(&world, &smaller).await), Vec::<String>::new());
}

/// After this many modifying requests, the next one fails: the connection is closed each of the three
/// times that it is sent, before or after Stripe has executed it.
async fn fail_after(world: &World, requests: u32, after: bool) {
    if requests > 0 {
        let pass = json!({"method": "POST", "path": "/v1", "delay_ms": 1, "times": requests});
        assert_eq!(world.stripe_post("/_sim/faults", &pass).await.0, 200);
    }
    let cut = json!({"method": "POST", "path": "/v1", "drop": true, "after": after, "times": 3});
    assert_eq!(world.stripe_post("/_sim/faults", &cut).await.0, 200);
}

#[tokio::test]
async fn a_brief_stripe_outage_does_not_fail_a_push() {
    for trouble in [
        json!({ "status": 429, "times": 2 }),
        json!({ "status": 500 }),
        json!({ "drop": true, "after": false, "times": 2 }),
        json!({ "drop": true, "after": true, "times": 2 }),
    ] {
        let world = World::new().await;
        let mut fault = trouble.clone();
        fault["method"] = "POST".into();
        fault["path"] = "/v1".into();
        assert_eq!(world.stripe_post("/_sim/faults", &fault).await.0, 200);
        let pushed = world.publish(&edited()).await;
        assert!(pushed.is_ok(), "{trouble}: {pushed:?}");
        assert_eq!(texts(&plan(&world, &edited()).await), Vec::<String>::new(), "{trouble}");
    }
}

#[tokio::test]
async fn an_interrupted_push_resumes_where_it_stopped() {
    let mut interrupted = 0;
    for after in [false, true] {
        for requests in 0..10 {
            let world = World::new().await;
            fail_after(&world, requests, after).await;
            let first = world.publish(&edited()).await;
            if first.is_ok() {
                break;
            }
            interrupted += 1;
            // Until the table is published, the previous catalog is on sale.
            let on_sale = world.table().catalog().await.unwrap().unwrap();
            assert_eq!((on_sale.catalog, on_sale.version), (tests::world::catalog(), 1));
            let stays = buy(&world, "ada", "tutorclaw_paid").await;
            let goes = buy(&world, "bob", "curriculum_paid").await;
            assert_eq!((stays.amount, goes.amount), (999, 9900));

            world.publish(&edited()).await.unwrap();
            for sold in [stays, goes] {
                world.pay(&sold.session).await;
                let target = format!("/checkout/{}/confirm", sold.session);
                let confirm = "POST /checkout/{session}/confirm";
                let confirmed = world.ask(confirm, &target, &sold.learner, None).await;
                let expected = (200, json!({ "status": "paid", "access": "granted" }));
                assert_eq!(answer(&confirmed), expected, "cut {requests} (after: {after})");
            }
            assert_eq!(texts(&plan(&world, &edited()).await), Vec::<String>::new());
            for price in edited().prices() {
                let amount = buy(&world, "cleo", price.key.as_str()).await.amount;
                assert_eq!(amount, price.money.amount_minor, "cut {requests} (after: {after})");
            }
        }
    }
    assert_eq!(interrupted, 10, "every request of the push was cut once before and once after");
}

#[tokio::test]
async fn two_concurrent_pushes_end_in_one_of_them() {
    for _ in 0..5 {
        let world = World::new().await;
        let (dearer, edited) = (dearer(), edited());
        let (one, other) = tokio::join!(world.publish(&dearer), world.publish(&edited));
        assert!(one.is_ok() || other.is_ok());
        world.publish(&edited).await.unwrap();
        assert_eq!(texts(&plan(&world, &edited).await), Vec::<String>::new());
    }
}

#[tokio::test]
async fn removing_chapters_from_owners_is_refused_by_name() {
    let world = World::new().await;
    let shorter = edited_catalog(|text| text.replace("  \"Putting it in front of people\",\n", ""));
    let error = world.publish(&shorter).await.unwrap_err().to_string();
    assert!(error.contains("course tutorclaw had 10 chapters and has 9"), "{error}");
    let fewer_free = edited_catalog(|text| text.replace("free_chapters = 5", "free_chapters = 4"));
    assert_eq!(
        texts(&plan(&world, &fewer_free).await),
        ["~ table: catalog version 2: course tutorclaw is edited, 5 free chapters become 4"]
    );
}
