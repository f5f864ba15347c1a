//! The catalog file becomes the shop: planned, pushed, pulled; interrupted, edited behind our back.

use std::path::Path;

use coursegate::catalog::{self, Closing, Plan, PushError, Step, parse, pull, push};
use serde_json::{Value, json};
use shared::domain::catalog::Catalog;
use tests::requests::learner;
use tests::world::{World, edited_catalog};

use crate::checkout::checkout;

fn dearer() -> Catalog {
    edited_catalog(|text| text.replace("amount = 2900", "amount = 3900"))
}

/// A catalog that differs from the demo's in everything that can differ.
fn edited() -> Catalog {
    edited_catalog(|text| {
        text.replace("amount = 2900", "amount = 3900")
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
    catalog::look(wanted, &world.account(), &world.table()).await.unwrap()
}

async fn forced(world: &World, wanted: &Catalog) -> Result<Plan, PushError> {
    push(wanted, Closing::Allowed, &world.account(), &world.table(), |_| {}).await
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// Stripe's prices: id, lookup key, amount, whether active; the oldest first.
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

async fn post(world: &World, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}{path}", world.stripe_url);
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = reqwest::Client::new().post(url).bearer_auth("sk_test_world");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(body.join("&")).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_plan_says_what_a_push_does_and_changes_nothing() {
    let world = World::new().await;
    assert_eq!(
        texts(&plan(&world, &edited()).await),
        [
            "~ product tutorclaw: \"TutorClaw, all chapters\" becomes \"TutorClaw, everything\", \
         it opens tutorclaw, memory",
            "+ product everything: \"Everything\", opens tutorclaw, memory, evaluation",
            "~ price tutorclaw_paid: 2900 usd becomes 3900 usd for tutorclaw; who has a page open \
         still pays the old price",
            "+ price curriculum_2027: 9900 usd for curriculum",
            "+ price everything_paid: 11900 usd for everything",
            "- price curriculum_paid: no longer sold; who owns it keeps it",
            "~ table: catalog version 2",
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
async fn a_changed_amount_is_a_new_price_and_who_has_a_page_open_pays_the_old_one() {
    let world = World::new().await;
    let ada = learner("ada");
    let session = world.buy(&ada).await;
    let before = prices(&world).await;
    world.publish(&dearer()).await.unwrap();

    let after = prices(&world).await;
    let old = before.iter().find(|(_, key, ..)| key == "tutorclaw_paid").unwrap();
    assert!(after.contains(&(old.0.clone(), Value::Null, 2900, true)), "{after:?}");
    let new = after.iter().find(|(_, key, ..)| key == "tutorclaw_paid").unwrap();
    assert_eq!((new.2, new.3), (3900, true));

    world.pay(&session).await;
    let paid = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
    assert_eq!((&paid["amount_total"], &paid["payment_status"]), (&json!(2900), &json!("paid")));
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
        json!({"product": "curriculum", "courses": "memory,evaluation"})
    );
    world.publish(&edited()).await.unwrap();
    let product = world.stripe_get("/v1/products/coursegate_tutorclaw").await;
    assert_eq!(product["metadata"]["courses"], "tutorclaw,memory");
}

#[tokio::test]
async fn what_is_no_longer_sold_is_archived_and_can_be_sold_again() {
    let world = World::new().await;
    let first = prices(&world).await;
    let without = edited_catalog(|text| {
        let (before, _) = text.rsplit_once("[[price]]").unwrap();
        before.to_owned()
    });
    let plan = world.publish(&without).await.unwrap();
    assert!(matches!(&plan.steps[..], [Step::ArchivePrice { .. }, Step::Publish { .. }]));
    let archived = prices(&world).await;
    assert_eq!(archived.iter().filter(|(.., active)| !active).count(), 1, "{archived:?}");

    world.publish(&tests::world::catalog()).await.unwrap();
    let again = prices(&world).await;
    assert_eq!(again.len(), first.len() + 1);
    let sold = again.iter().filter(|(_, key, _, active)| key == "curriculum_paid" && *active);
    assert_eq!(sold.count(), 1, "{again:?}");
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
    // What is none of ours is not in the plan either.
    assert_eq!(world.publish(&tests::world::catalog()).await.unwrap().steps, []);
}

#[tokio::test]
async fn what_was_changed_in_the_dashboard_is_seen_pulled_and_put_back() {
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
    let pulled = pull(&world.account(), &world.table()).await.unwrap();
    let name = "tutorclaw".parse().unwrap();
    let seen = parse(&pulled.text, Path::new("pulled")).unwrap();
    assert_eq!(seen.product(&name).unwrap().name, "Renamed");

    world.publish(&wanted).await.unwrap();
    let now = world.stripe_get(product).await;
    assert_eq!((&now["name"], &now["active"]), (&json!("TutorClaw, all chapters"), &json!(true)));
}

#[tokio::test]
async fn what_is_pulled_is_what_was_pushed() {
    let world = World::new().await;
    for wanted in [tests::world::catalog(), edited(), dearer()] {
        forced(&world, &wanted).await.unwrap();
        let pulled = pull(&world.account(), &world.table()).await.unwrap();
        let read = parse(&pulled.text, Path::new("pulled")).unwrap();
        assert_eq!(read.courses(), wanted.courses());
        assert_eq!(read.prices(), wanted.prices());
        for product in wanted.products() {
            assert_eq!(read.product(&product.id), Some(product));
        }
    }
}

#[tokio::test]
async fn what_owners_would_lose_is_refused_and_done_only_with_force() {
    let world = World::new().await;
    let smaller = edited_catalog(|text| {
        text.replace("courses = [\"memory\", \"evaluation\"]", "courses = [\"memory\"]").replace(
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

/// After this many requests that change something, the next one fails: the connection is cut, before
/// or after Stripe has done as it was asked.
async fn fail_after(world: &World, requests: u32, after: bool) {
    if requests > 0 {
        let pass = json!({"method": "POST", "path": "/v1", "delay_ms": 1, "times": requests});
        assert_eq!(world.stripe_post("/_sim/faults", &pass).await.0, 200);
    }
    let cut = json!({"method": "POST", "path": "/v1", "drop": true, "after": after});
    assert_eq!(world.stripe_post("/_sim/faults", &cut).await.0, 200);
}

#[tokio::test]
async fn a_push_that_is_interrupted_anywhere_goes_on_where_it_was() {
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
            // Until the table is published, what was on sale still is.
            let on_sale = world.table().catalog().await.unwrap().unwrap();
            assert_eq!((on_sale.catalog, on_sale.version), (tests::world::catalog(), 1));
            let (status, opened) = checkout(&world, &learner("ada")).await;
            assert_eq!(status, 201, "{opened}");

            world.publish(&edited()).await.unwrap();
            assert_eq!(texts(&plan(&world, &edited()).await), Vec::<String>::new());
            let sold: Vec<(Value, i64)> = prices(&world)
                .await
                .into_iter()
                .filter(|(_, key, _, active)| *active && !key.is_null())
                .map(|(_, key, amount, _)| (key, amount))
                .collect();
            assert_eq!(sold.len(), 3, "cut {requests} (after: {after}): {sold:?}");
            for price in edited().prices() {
                let expected = (json!(price.key.as_str()), price.money.amount_minor);
                assert!(sold.contains(&expected), "cut {requests} (after: {after}): {sold:?}");
            }
        }
    }
    assert_eq!(interrupted, 12, "every request of the push was cut once before and once after");
}

#[tokio::test]
async fn of_two_pushes_at_once_both_end_and_the_shop_is_one_of_them() {
    for _ in 0..5 {
        let world = World::new().await;
        let (dearer, edited) = (dearer(), edited());
        let (one, other) = tokio::join!(world.publish(&dearer), world.publish(&edited));
        assert!(one.is_ok() || other.is_ok());
        world.publish(&edited).await.unwrap();
        assert_eq!(texts(&plan(&world, &edited).await), Vec::<String>::new());
    }
}
