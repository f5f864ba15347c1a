//! What is for sale to whom: one session to pay for a product, at whatever price and through
//! whatever channel, and nothing that is already open, being paid for, or disputed.

use serde_json::{Value, json};
use shared::domain::catalog::Catalog;
use tests::requests::{Who, answer, learner};
use tests::world::{World, edited_catalog};

use crate::checkout::{count, problem};

/// The demo catalog with a second currency for one product, and a bundle of two others.
fn wider_catalog() -> Catalog {
    edited_catalog(|text| {
        format!(
            r#"{text}
            [[price]]
            lookup_key = "tutorclaw_eur"
            product = "tutorclaw"
            amount = 899
            currency = "eur"
            [[product]]
            id = "workshop"
            name = "Retrieval and voice"
            courses = ["first-steps", "retrieval", "voice"]
            [[price]]
            lookup_key = "workshop_paid"
            product = "workshop"
            amount = 7900
            currency = "usd"
            "#
        )
    })
}

async fn world() -> World {
    let world = World::new().await;
    world.publish(&wider_catalog()).await.unwrap();
    world
}

async fn ask(world: &World, who: &Who, price: &str) -> (u16, Value) {
    let body = json!({ "price": price }).to_string();
    answer(&world.ask("POST /checkout", "/checkout", who, Some(&body)).await)
}

/// Opens a session, which must succeed.
async fn open(world: &World, who: &Who, price: &str) -> String {
    let (status, answer) = ask(world, who, price).await;
    assert!(matches!(status, 200 | 201), "{price}: {status} {answer}");
    answer["session_id"].as_str().unwrap().to_owned()
}

/// Buys at this price, and delivers the events.
async fn own(world: &World, who: &Who, price: &str) -> String {
    let session = open(world, who, price).await;
    world.pay(&session).await;
    let told = world.events("checkout.session.completed").await;
    assert_eq!(world.deliver(told.last().unwrap()).await.0, 200);
    session
}

/// Requests an upgrade link.
async fn link(world: &World, who: &str, price: &str) -> (u16, Value) {
    let route = "POST /learners/{learner}/upgrade-link";
    let body = json!({ "price": price }).to_string();
    let target = format!("/learners/{who}/upgrade-link");
    answer(&world.ask(route, &target, &Who::Service, Some(&body)).await)
}

async fn access(world: &World, who: &Who, course: &str) -> Value {
    let target = format!("/courses/{course}/access");
    world.read("GET /courses/{course}/access", &target, who).await.1
}

/// The prices that are offered for a course.
async fn offered(world: &World, who: &Who, course: &str) -> Vec<String> {
    let access = access(world, who, course).await;
    let offers = access["offers"].as_array().unwrap().iter();
    offers.map(|offer| offer["price"].as_str().unwrap().to_owned()).collect()
}

async fn open_sessions(world: &World) -> usize {
    count(world, "/v1/checkout/sessions?status=open").await
}

#[tokio::test]
async fn two_prices_of_one_product_have_one_session_to_pay() {
    let world = world().await;
    let ada = learner("ada");
    let usd = open(&world, &ada, "tutorclaw_paid").await;
    let eur = open(&world, &ada, "tutorclaw_eur").await;
    assert_ne!(usd, eur);
    assert_eq!(open_sessions(&world).await, 1);
    // And back again: the first one is expired, so there is a third.
    let again = open(&world, &ada, "tutorclaw_paid").await;
    assert!(again != usd && again != eur);
    assert_eq!(open_sessions(&world).await, 1);
}

#[tokio::test]
async fn a_renamed_or_repriced_price_has_one_session_to_pay() {
    for edit in [
        |text: String| text.replace("\"tutorclaw_paid\"", "\"tutorclaw_new\""),
        |text: String| text.replace("amount = 999", "amount = 1099"),
    ] {
        let world = World::new().await;
        let ada = learner("ada");
        let before = world.buy(&ada).await;
        let after = edited_catalog(edit);
        world.publish(&after).await.unwrap();
        let price = after.prices()[0].key.to_string();
        assert_ne!(open(&world, &ada, &price).await, before, "{price}");
        assert_eq!(open_sessions(&world).await, 1, "{price}");
    }
}

#[tokio::test]
async fn a_paid_product_is_not_resold_at_a_new_price() {
    for (paid, refused) in
        [("tutorclaw_eur", "tutorclaw_paid"), ("tutorclaw_paid", "tutorclaw_eur")]
    {
        let world = world().await;
        let ada = learner("ada");
        let session = open(&world, &ada, paid).await;
        world.pay(&session).await;
        assert_eq!(problem(&ask(&world, &ada, refused).await), (409, "already-entitled"), "{paid}");
        assert_eq!(problem(&link(&world, "ada", refused).await), (409, "already-entitled"));
    }
}

#[tokio::test]
async fn a_pending_debit_blocks_a_sale_at_any_price() {
    let world = world().await;
    let ada = learner("ada");
    let session = open(&world, &ada, "tutorclaw_paid").await;
    world.pay_by_debit(&session).await;
    for price in ["tutorclaw_paid", "tutorclaw_eur"] {
        assert_eq!(
            problem(&ask(&world, &ada, price).await),
            (409, "payment-processing"),
            "{price}"
        );
        assert_eq!(problem(&link(&world, "ada", price).await), (409, "payment-processing"));
    }
    assert_eq!(offered(&world, &ada, "tutorclaw").await, [""; 0]);
    world.refuse_debit(&session).await;
    open(&world, &ada, "tutorclaw_eur").await;
}

#[tokio::test]
async fn a_product_is_refused_only_if_all_its_courses_are_open() {
    let world = world().await;
    let (ada, bob) = (learner("ada"), learner("bob"));
    own(&world, &ada, "workshop_paid").await;
    for price in ["retrieval_paid", "voice_paid", "workshop_paid"] {
        assert_eq!(problem(&ask(&world, &ada, price).await), (409, "already-entitled"), "{price}");
        assert_eq!(problem(&link(&world, "ada", price).await), (409, "already-entitled"));
    }
    // A part of the bundle, and then all of it.
    own(&world, &bob, "retrieval_paid").await;
    let voice = access(&world, &bob, "voice").await;
    let bundle = voice["offers"].as_array().unwrap().iter();
    let mut bundle = bundle.filter(|offer| offer["price"] == "workshop_paid");
    assert_eq!(bundle.next().unwrap()["owned_courses"], json!(["first-steps", "retrieval"]));
    own(&world, &bob, "voice_paid").await;
    assert_eq!(problem(&ask(&world, &bob, "workshop_paid").await), (409, "already-entitled"));
}

#[tokio::test]
async fn a_disputed_course_is_not_sold_until_the_bank_decides() {
    for (outcome, expected) in [("lost", 201), ("won", 409)] {
        let world = world().await;
        let ada = learner("ada");
        let session = own(&world, &ada, "retrieval_paid").await;
        let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        let payment = session["payment_intent"].as_str().unwrap();
        let opened = json!({ "payment_intent": payment, "status": "needs_response" });
        let (status, dispute) = world.stripe_post("/_sim/disputes", &opened).await;
        assert_eq!(status, 200, "{dispute}");
        let created = world.events("charge.dispute.created").await;
        assert_eq!(world.deliver(&created[0]).await.0, 200);
        for price in ["retrieval_paid", "workshop_paid"] {
            let refused = ask(&world, &ada, price).await;
            assert_eq!(problem(&refused), (409, "payment-disputed"), "{price}");
            assert_eq!(problem(&link(&world, "ada", price).await), (409, "payment-disputed"));
        }
        assert_eq!(access(&world, &ada, "retrieval").await["reason"], "payment_disputed");
        assert_eq!(offered(&world, &ada, "retrieval").await, [""; 0]);
        assert_eq!(offered(&world, &ada, "voice").await, ["voice_paid"]);

        let path = format!("/_sim/disputes/{}", dispute["id"].as_str().unwrap());
        let (status, closed) = world.stripe_post(&path, &json!({ "status": outcome })).await;
        assert_eq!(status, 200, "{closed}");
        let closed = world.events("charge.dispute.closed").await;
        assert_eq!(world.deliver(&closed[0]).await.0, 200);
        assert_eq!(ask(&world, &ada, "retrieval_paid").await.0, expected, "{outcome}");
    }
}
