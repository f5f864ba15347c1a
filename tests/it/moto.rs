//! The contracts of DynamoDB and Secrets Manager hold on moto too: the same tests with another
//! address.

use shared::secrets::{SecretCache, SecretsManager};
use tests::moto::{Moto, moto};
use tests::sessions::permutations;
use tests::world::{SIGNING_SECRET, World, template};

use crate::contract::{
    keeps_the_contract, keeps_the_contract_of_checkout, keeps_the_contract_of_the_catalog,
};
use crate::convergence::ends_where_memory_does;
use crate::secrets::{
    App, Put, a_placeholder_is_no_secret, a_rotated_secret_is_accepted_with_the_old_one,
    a_version_keeps_its_id, deliver, each_of_several_is_accepted,
    forged_requests_are_not_asked_about_twice, of_three_secrets_the_last_two_are_accepted,
};
use crate::webhook::{a_paid_session_opens_the_course_once, deliveries_at_once_are_one_purchase};

#[tokio::test]
async fn moto_creates_the_table_as_the_template_declares_it() {
    let Some(moto) = moto() else { return };
    let made = moto.create_table("made").await;
    let definition = template().table.definition;
    for property in ["AttributeDefinitions", "KeySchema", "DeletionProtectionEnabled"] {
        assert_eq!(made[property], definition[property], "{property}");
    }
    assert_eq!(made["BillingModeSummary"]["BillingMode"], definition["BillingMode"]);
}

#[tokio::test]
async fn the_table_meets_the_contracts_on_moto() {
    let Some(moto) = moto() else { return };
    let table = moto.table("contract").await;
    keeps_the_contract(&table).await;
    keeps_the_contract_of_checkout(&table).await;
    keeps_the_contract_of_the_catalog(&table).await;
}

#[tokio::test]
async fn event_orders_converge_on_moto() {
    let Some(moto) = moto() else { return };
    let table = moto.table("orders").await;
    // A sample of the 120 permutations, since moto is slow.
    let some: Vec<_> = permutations(&[0, 1, 2, 3, 4]).into_iter().step_by(7).collect();
    ends_where_memory_does(&table, &some).await;
}

#[tokio::test]
async fn the_webhook_applies_an_event_once_on_moto() {
    let Some(moto) = moto() else { return };
    let world = World::new().await;
    a_paid_session_opens_the_course_once(&world, &moto.table("once").await).await;
    deliveries_at_once_are_one_purchase(&world, &moto.table("at-once").await, 20).await;
}

/// A webhook function whose signing secret is moto's, and a function that changes the secret.
async fn with_secret_in(moto: &'static Moto, name: &'static str) -> (World, App, impl Put) {
    let world = World::new().await;
    let client = moto.secrets_manager();
    let create = client.create_secret().name(name).secret_string(SIGNING_SECRET);
    create.send().await.unwrap();
    let signing_secrets = SecretCache::signing_secrets(client.clone(), name.to_owned());
    let app = App { signing_secrets, ..world.webhook() };
    let put = async move |value| {
        let put = client.put_secret_value().secret_id(name).secret_string(value);
        put.send().await.unwrap();
    };
    (world, app, put)
}

#[tokio::test]
async fn signing_secrets_are_read_and_rotated_on_moto() {
    let Some(moto) = moto() else { return };
    let (world, app, put) = with_secret_in(moto, "several").await;
    each_of_several_is_accepted(&world, &app, put).await;
    let (world, app, put) = with_secret_in(moto, "rotated").await;
    a_rotated_secret_is_accepted_with_the_old_one(&world, &app, put).await;
    let (world, app, put) = with_secret_in(moto, "rotated-twice").await;
    of_three_secrets_the_last_two_are_accepted(&world, &app, put).await;
    let (world, app, put) = with_secret_in(moto, "forged").await;
    forged_requests_are_not_asked_about_twice(&world, &app, put).await;
    let (world, app, put) = with_secret_in(moto, "placeholder").await;
    a_placeholder_is_no_secret(&world, &app, put).await;
    let (_, _, put) = with_secret_in(moto, "versions").await;
    let secret = SecretsManager::new(moto.secrets_manager(), "versions".to_owned());
    a_version_keeps_its_id(&secret, put).await;
}

#[tokio::test]
async fn a_missing_signing_secret_is_503_on_moto() {
    let Some(moto) = moto() else { return };
    let world = World::new().await;
    let signing_secrets =
        SecretCache::signing_secrets(moto.secrets_manager(), "nobody-made-it".to_owned());
    let app = App { signing_secrets, ..world.webhook() };
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 503);
}
