//! Access without a payment at Stripe, in a table of any size and whatever Stripe returns.

use coursegate::account::Account;
use coursegate::deployment::Deployment;
use coursegate::unknown_sources::{Found, UnknownSourcesError, Why, look};
use coursegate::{learner as erasure, manual};
use serde_json::json;
use shared::domain::decide::Mode;
use shared::domain::id::SourceId;
use shared::ports::Clock as _;
use tests::requests::learner;
use tests::sessions::event;
use tests::world::World;

/// An event with a valid signature that Stripe never sent.
async fn forge(world: &World, number: usize, learner: &str) -> SourceId {
    let line = format!("evt_{number} completed paid cs_{number} pi_{number} {learner} tutorclaw");
    assert_eq!(world.deliver(&event(&format!("{line} @1000"))).await.0, 200);
    format!("pi_{number}").parse().unwrap()
}

async fn all(world: &World) -> Found {
    look(&world.deployment(""), &world.account(), None, 1000).await.unwrap()
}

#[tokio::test]
async fn only_live_sources_are_checked_and_only_forged_ones_found() {
    let world = World::new().await;
    let session = world.buy(&learner("ada")).await;
    world.pay(&session).await;
    let paid = world.events("checkout.session.completed").await.remove(0);
    assert_eq!(world.deliver(&paid).await.0, 200);
    let forged = forge(&world, 1, "eve").await;
    let found = all(&world).await;
    assert_eq!((found.looked_up, found.unknown.len(), found.more_after), (2, 1, None));
    assert_eq!((&found.unknown[0].source, &found.unknown[0].why), (&forged, &Why::Missing));
    assert_eq!(found.unknown[0].learner.as_str(), "eve");

    let (deployment, now) = (world.deployment(""), world.clock.now());
    manual::revoke(&deployment, &forged, "forged".parse().unwrap(), now).await.unwrap();
    let found = all(&world).await;
    assert_eq!((found.looked_up, found.unknown.len()), (1, 0));

    forge(&world, 2, "mallory").await;
    let mallory = "mallory".parse().unwrap();
    erasure::forget(&deployment, &world.account(), &mallory).await.unwrap();
    assert_eq!(all(&world).await.looked_up, 1);
}

#[tokio::test]
async fn a_large_table_is_scanned_in_pages_completely() {
    let world = World::new().await;
    let mut forged = Vec::new();
    for number in 0..23 {
        forged.push(forge(&world, number, "eve").await);
    }
    let (mut found, mut after, mut parts) = (Vec::new(), None, 0);
    loop {
        let part = look(&world.deployment(""), &world.account(), after.as_ref(), 5).await.unwrap();
        assert!(part.looked_up <= 5, "{part:?}");
        found.extend(part.unknown.into_iter().map(|unknown| unknown.source));
        parts += 1;
        after = part.more_after;
        if after.is_none() {
            break;
        }
    }
    found.sort();
    forged.sort();
    assert_eq!((found, parts), (forged, 5));
}

#[tokio::test]
async fn without_all_of_stripe_s_answers_nothing_is_found() {
    let world = World::new().await;
    for number in 0..3 {
        forge(&world, number, "eve").await;
    }
    for (fault, says) in [
        (json!({"status": 500, "times": 50}), "there is no result"),
        (json!({"status": 403, "times": 50}), "403"),
        (json!({"drop": true, "times": 50}), "can't be reached"),
    ] {
        let mut request = json!({"method": "GET", "path": "/v1/payment_intents/pi_2"});
        request.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        assert_eq!(world.stripe_post("/_sim/faults", &request).await.0, 200);
        let looked = look(&world.deployment(""), &world.account(), None, 1000).await;
        let error = looked.unwrap_err().to_string();
        assert!(error.contains(says), "{fault}: {error}");
        let cleared = reqwest::Client::new().delete(format!("{}/_sim/faults", world.stripe_url));
        assert!(cleared.send().await.unwrap().status().is_success());
    }
    assert_eq!(all(&world).await.unknown.len(), 3);
}

#[tokio::test]
async fn another_account_s_key_finds_no_forged_payments() {
    let world = World::new().await;
    let session = world.buy(&learner("ada")).await;
    world.pay(&session).await;
    let paid = world.events("checkout.session.completed").await.remove(0);
    assert_eq!(world.deliver(&paid).await.0, 200);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = stripe_simulator::Options { listener, state: None };
    let other = stripe_simulator::start(options).await.unwrap();
    let account = Account::new(Some(&other.url()), &"sk_test_other".into(), Mode::Test).unwrap();
    let deployment = Deployment { stripe_url: Some(other.url()), ..world.deployment("") };
    let looked = look(&deployment, &account, None, 1000).await;
    assert!(matches!(looked, Err(UnknownSourcesError::OtherAccount)), "{looked:?}");
}
