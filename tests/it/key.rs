//! The functions' key: checked, refused or stored.

use coursegate::account::Account;
use coursegate::catalog::{Closing, push};
use coursegate::key::{permissions, store};
use serde_json::json;
use shared::domain::decide::Mode;
use tests::requests::learner;
use tests::world::{API_KEY_ID, World, catalog};

use crate::checkout::checkout;

/// The functions' permissions, by Stripe's names for restricted keys.
const NEEDED: [(&str, &str); 4] = [
    ("checkout_sessions", "write"),
    ("customers", "write"),
    ("charges", "read"),
    ("prices", "read"),
];

/// Creates a restricted key with exactly these permissions.
async fn restrict(world: &World, key: &str, permissions: &[(&str, &str)]) {
    let permissions: serde_json::Map<_, _> = [
        "checkout_sessions",
        "customers",
        "payment_intents",
        "charges",
        "products",
        "prices",
        "events",
        "webhook_endpoints",
    ]
    .into_iter()
    .map(|name| {
        let given = permissions.iter().find(|(it, _)| *it == name);
        (name.to_owned(), json!(given.map_or("none", |(_, level)| *level)))
    })
    .collect();
    let body = json!({"key": key, "permissions": permissions});
    let (status, answer) = world.stripe_post("/_sim/keys", &body).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_key_with_what_the_functions_need_and_no_more_sells() {
    let world = World::new().await;
    restrict(&world, "rk_test_just_enough", &NEEDED).await;
    store(&world.deployment(""), &"rk_test_just_enough".into()).await.unwrap();
    assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "rk_test_just_enough");
    let ada = learner("ada");
    assert_eq!(checkout(&world, &ada).await.0, 201);
    let session = world.buy(&ada).await;
    world.pay(&session).await;
    let target = format!("/checkout/{session}/confirm");
    let route = "POST /checkout/{session}/confirm";
    assert_eq!(world.ask(route, &target, &ada, None).await.status(), 200);
}

#[tokio::test]
async fn a_key_lacking_a_permission_is_refused_by_name() {
    let world = World::new().await;
    for (lacking, named) in NEEDED.iter().zip(permissions()) {
        let given: Vec<_> = NEEDED.iter().filter(|it| *it != lacking).copied().collect();
        restrict(&world, "rk_test_too_little", &given).await;
        let stored = store(&world.deployment(""), &"rk_test_too_little".into()).await;
        let error = stored.unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains("rk_test_too_little"), "{error}");
        let others = permissions().filter(|it| *it != named);
        assert!(others.into_iter().all(|other| !error.contains(other)), "{error}");
        assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "sk_test_world");
    }
}

#[tokio::test]
async fn testing_a_key_leaves_nothing_in_the_account() {
    let world = World::new().await;
    let before = world.stripe_get("/_sim/state").await;
    store(&world.deployment(""), &"rk_test_any".into()).await.unwrap();
    assert_eq!(world.stripe_get("/_sim/state").await, before);
}

#[tokio::test]
async fn a_key_of_the_other_mode_or_no_key_at_all_is_not_stored() {
    let world = World::new().await;
    for (key, says) in [
        ("sk_live_1", "the Stripe key is a live key, but this deployment is test"),
        ("rk_live_1", "the Stripe key is a live key, but this deployment is test"),
        ("pk_test_1", "the Stripe key is neither a secret key nor a restricted key"),
        ("whsec_1", "the Stripe key is neither a secret key nor a restricted key"),
    ] {
        let error = store(&world.deployment(""), &key.into()).await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains(key), "{error}");
        assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "sk_test_world");
    }
}

#[tokio::test]
async fn a_key_that_stripe_does_not_know_is_not_stored() {
    let world = World::new().await;
    let unknown = json!({"path": "/v1/checkout/sessions", "status": 401});
    assert_eq!(world.stripe_post("/_sim/faults", &unknown).await.0, 200);
    let stored = store(&world.deployment(""), &"rk_test_mistyped".into()).await;
    insta::assert_snapshot!(stored.unwrap_err(), @"the key was not stored: Stripe does not know this key: it is mistyped, deleted, rolled or expired; get one from Stripe's Dashboard (Developers, API keys)");
    assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "sk_test_world");
}

#[tokio::test]
async fn another_account_s_key_is_stored_only_after_the_shop_moved() {
    // Both sell the same catalog.
    let (world, other) = (World::new().await, World::new().await);
    let mut deployment = world.deployment("");
    deployment.stripe_url = Some(other.stripe_url.clone());
    let stored = store(&deployment, &"rk_test_of_another".into()).await;
    insta::assert_snapshot!(stored.unwrap_err(), @"the key was not stored: it belongs to another Stripe account or sandbox than the shop, and sees none of the prices on sale: use a key of the shop's account, or move the shop first, with `coursegate catalog push --force` and your own key of the new account");
    assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "sk_test_world");

    let account = other.account();
    push(&catalog(), Closing::Allowed, &account, &deployment, |_| {}).await.unwrap();
    store(&deployment, &"rk_test_of_another".into()).await.unwrap();
    assert_eq!(world.secrets.current(API_KEY_ID).unwrap(), "rk_test_of_another");
}

#[test]
fn a_live_key_is_sent_to_nobody_but_stripe() {
    let key = "rk_live_51".into();
    let refused = Account::new(Some("http://127.0.0.1:12111"), &key, Mode::Live).err().unwrap();
    insta::assert_snapshot!(refused, @"this deployment is live, and its StripeApiUrl is not Stripe's: the live key would be sent there; deploy with StripeApiUrl empty");
    assert!(Account::new(None, &key, Mode::Live).is_ok());
}
