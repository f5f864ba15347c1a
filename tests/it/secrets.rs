//! Signing secrets: several at once, rotated while running, and with Secrets Manager down.

use samples::signature;
use shared::ports::{Clock, SecretReader as _};
use shared::secrets::SecretsManager;
use tests::requests::{answer, delivery};
use tests::sessions::event;
use tests::world::{SIGNING_SECRET, SIGNING_SECRET_ID, World};

pub(crate) type App = webhook::App<shared::dynamo::Table, simulation::clock::ManualClock>;

/// Delivers an event signed with this secret, and returns the status.
pub(crate) async fn deliver(world: &World, app: &App, secret: &str) -> u16 {
    let body = event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000").to_string();
    let header = signature(&body, secret, world.clock.now().unix_seconds());
    answer(&webhook::handle(app, &delivery(&body, Some(&header))).await).0
}

/// Makes this the secret's current value, wherever the secret is kept.
pub(crate) trait Put: AsyncFn(&'static str) {}
impl<F: AsyncFn(&'static str)> Put for F {}

#[tokio::test]
async fn each_of_several_secrets_is_accepted() {
    let world = World::new().await;
    each_of_several_is_accepted(&world, &world.webhook(), put_in(&world)).await;
}

pub(crate) async fn each_of_several_is_accepted(world: &World, app: &App, put: impl Put) {
    put("whsec_one\nwhsec_two  whsec_three").await;
    for secret in ["whsec_one", "whsec_two", "whsec_three"] {
        assert_eq!(deliver(world, app, secret).await, 200);
    }
    assert_eq!(deliver(world, app, "whsec_four").await, 400);
}

#[tokio::test]
async fn a_rotated_secret_works_at_once_and_the_old_one_for_a_day() {
    let world = World::new().await;
    a_rotated_secret_is_accepted_with_the_old_one(&world, &world.webhook(), put_in(&world)).await;
}

pub(crate) async fn a_rotated_secret_is_accepted_with_the_old_one(
    world: &World,
    app: &App,
    put: impl Put,
) {
    assert_eq!(deliver(world, app, SIGNING_SECRET).await, 200);
    world.clock.advance(11);
    put("whsec_new").await;
    assert_eq!(deliver(world, app, "whsec_new").await, 200);
    assert_eq!(deliver(world, app, SIGNING_SECRET).await, 200);
    world.clock.advance(26 * 3600);
    assert_eq!(deliver(world, app, SIGNING_SECRET).await, 400);
    assert_eq!(deliver(world, app, "whsec_new").await, 200);
}

#[tokio::test]
async fn after_two_rotations_only_the_last_two_secrets_work() {
    let world = World::new().await;
    of_three_secrets_the_last_two_are_accepted(&world, &world.webhook(), put_in(&world)).await;
}

pub(crate) async fn of_three_secrets_the_last_two_are_accepted(
    world: &World,
    app: &App,
    put: impl Put,
) {
    put("whsec_second").await;
    put("whsec_third").await;
    assert_eq!(deliver(world, app, "whsec_third").await, 200);
    assert_eq!(deliver(world, app, "whsec_second").await, 200);
    assert_eq!(deliver(world, app, SIGNING_SECRET).await, 400);
}

#[tokio::test]
async fn forged_requests_refetch_secrets_once_per_ten_seconds() {
    let world = World::new().await;
    forged_requests_are_not_asked_about_twice(&world, &world.webhook(), put_in(&world)).await;
}

pub(crate) async fn forged_requests_are_not_asked_about_twice(
    world: &World,
    app: &App,
    put: impl Put,
) {
    assert_eq!(deliver(world, app, SIGNING_SECRET).await, 200);
    world.clock.advance(11);
    assert_eq!(deliver(world, app, "whsec_forged").await, 400);
    // Had it read the secret again, it would know the new one.
    put("whsec_new").await;
    assert_eq!(deliver(world, app, "whsec_new").await, 400);
    world.clock.advance(10);
    assert_eq!(deliver(world, app, "whsec_new").await, 200);
}

#[tokio::test]
async fn a_placeholder_secret_is_replaced_without_a_restart() {
    let world = World::new().await;
    a_placeholder_is_no_secret(&world, &world.webhook(), put_in(&world)).await;
}

pub(crate) async fn a_placeholder_is_no_secret(world: &World, app: &App, put: impl Put) {
    // Twice, so that the previous version is a placeholder too.
    put("placeholder").await;
    put("still none").await;
    for secret in ["", "still none", SIGNING_SECRET] {
        assert_eq!(deliver(world, app, secret).await, 503, "signed with {secret:?}");
    }
    put("whsec_real").await;
    world.clock.advance(10);
    assert_eq!(deliver(world, app, "whsec_real").await, 200);
}

#[tokio::test]
async fn a_version_keeps_its_id_when_it_is_no_longer_the_current_one() {
    let world = World::new().await;
    let secret = SecretsManager::new(world.secrets_manager(), SIGNING_SECRET_ID.to_owned());
    a_version_keeps_its_id(&secret, put_in(&world)).await;
}

/// By the version's id a function notices that the secret changed while it was read.
pub(crate) async fn a_version_keeps_its_id(secret: &SecretsManager, put: impl Put) {
    let at = async |stage: &str| secret.version(stage).await.unwrap().unwrap().id;
    put("whsec_second").await;
    let second = at("AWSCURRENT").await;
    assert!(!second.is_empty());
    put("whsec_third").await;
    assert_eq!(at("AWSPREVIOUS").await, second);
    assert_ne!(at("AWSCURRENT").await, second);
}

/// Puts values into the local stack's Secrets Manager.
fn put_in(world: &World) -> impl Put {
    async |value| world.secrets.set_current(SIGNING_SECRET_ID, value).unwrap()
}

#[tokio::test]
async fn without_secrets_manager_a_cold_start_is_503_then_retried() {
    let world = World::new().await;
    world.secrets.set_down(true);
    let app = world.webhook();
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 503);
    world.secrets.set_down(false);
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 200);
}

#[tokio::test]
async fn without_secrets_manager_a_warm_function_works_an_hour() {
    let world = World::new().await;
    let app = world.webhook();
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 200);
    world.secrets.set_down(true);
    world.clock.advance(59 * 60);
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 200);
    // Another secret may be forged, or newer than the known ones: nobody can say.
    assert_eq!(deliver(&world, &app, "whsec_forged").await, 503);
    assert_eq!(deliver(&world, &app, "whsec_forged").await, 503);
    world.secrets.set_down(false);
    world.clock.advance(10);
    assert_eq!(deliver(&world, &app, "whsec_forged").await, 400);
    world.secrets.set_down(true);
    world.clock.advance(59 * 60);
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 200);
    world.clock.advance(2 * 60);
    assert_eq!(deliver(&world, &app, SIGNING_SECRET).await, 503);
}
