//! Replays every file in `events/` through its function's handler, with a snapshot of the response
//! and of the changed items.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lambda_http::{Body, Response};
use samples::sign_file;
use serde_json::{Map, Value, json};
use shared::domain::checkout::Link;
use shared::domain::time::{DAY, Timestamp};
use shared::ports::{CheckoutStore as _, Clock};
use simulation::clock::ManualClock;
use simulation::rendering::MARK;
use tests::requests::{answer, from_event, text};
use tests::sessions::event;
use tests::world::{SIGNING_SECRET, World, root};

/// When the samples were sent.
const SENT: i64 = 1_795_240_000;

fn files(function: &str) -> Vec<PathBuf> {
    let folder = root().join("events").join(function);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|is| is == "json")));
    files
}

/// The samples' upgrade link.
const LINK: &str = "SampleLink0SampleLink0SampleLink";

/// A world in which grace owns the demo course and a chat has a link for another learner, at the
/// time of the samples.
async fn world() -> World {
    let mut world = World::new().await;
    world.clock = ManualClock::at(SENT);
    let grace = event("evt_grace completed paid cs_grace pi_grace grace tutorclaw @1795000000");
    assert_eq!(world.deliver(&grace).await.0, 200);
    let link = Link {
        learner: "x-chat-7".parse().unwrap(),
        price: "tutorclaw_paid".parse().unwrap(),
        expires_at: Timestamp::from_unix_seconds(SENT).plus_seconds(30 * DAY),
    };
    assert!(world.table().put_link(&LINK.parse().unwrap(), &link).await.unwrap());
    world
}

/// Sends the event to its function and snapshots the result.
async fn replay<F: Future<Output = Response<Body>>>(
    world: &World,
    function: &str,
    file: &Path,
    handle: impl FnOnce() -> F,
) {
    let before = by_key(world.items().await);
    let response = handle().await;
    let mut writes = by_key(world.items().await);
    writes.retain(|key, item| before.get(key) != Some(item));
    let (status, body) = answer(&response);
    // A page without its style.
    let page = text(&response).split_once("<style>").zip(text(&response).split_once("</style>"));
    let body = page.map_or(body, |((head, _), (_, body))| format!("{head}{body}").into());
    let mut headers = Map::new();
    for (name, value) in response.headers() {
        headers.insert(name.to_string(), value.to_str().unwrap().into());
    }
    let writes: Vec<Value> = writes.into_values().collect();
    let mut snapshot =
        json!({ "status": status, "headers": headers, "body": body, "writes": writes });
    name_what_is_random(&mut snapshot);
    let name = file.file_stem().unwrap().to_str().unwrap();
    // With any of serde_json's features that the test crates enable.
    insta::with_settings!({ sort_maps => true }, {
        insta::assert_json_snapshot!(format!("{function}__{name}"), snapshot);
    });
}

fn by_key(items: Vec<Value>) -> BTreeMap<String, Value> {
    items.into_iter().map(|item| (format!("{} {}", item["pk"], item["sk"]), item)).collect()
}

/// Ids and times that differ in each run: checked for their shape and replaced by its name.
fn name_what_is_random(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            shorten_a_tool_s_text(fields);
            // Stripe decides when a session expires, we when a link does.
            let ends_at_stripe = fields.contains_key("session_id");
            for (name, value) in fields {
                match (name.as_str(), &value) {
                    ("attempt" | "fingerprint" | "customer", Value::String(_)) => {
                        *value = format!("[{name}]").into();
                    }
                    ("expires_at", Value::Number(_)) => *value = "[expires_at]".into(),
                    ("expires_at", Value::String(_)) if ends_at_stripe => {
                        *value = "[expires_at]".into();
                    }
                    _ => name_what_is_random(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(name_what_is_random),
        Value::String(text) => {
            if let Some((before, _)) = text.split_once(" at http")
                && text.contains(" on Stripe's page. ")
            {
                // A tutor's sentence, with a link and its end.
                *text = format!("{before} at [url]");
            } else if text.starts_with("cs_test_a1") && text.len() > 60 {
                "[session]".clone_into(text);
            } else if text.contains("/c/pay/cs_test_a1") {
                "[stripe]/c/pay/[session]".clone_into(text);
            } else if let Some((before, link)) = text.rsplit_once("/go/") {
                assert_eq!(link.len(), 32);
                *text = format!("{before}/go/[link]");
            } else if let Some((_, object)) =
                text.split_once("?X-Amz-").and_then(|(link, _)| link.split_once("/content/"))
            {
                *text = format!("[bucket]/content/{object}?[signature]");
            } else if let Some(link) = text.strip_prefix("LINK#") {
                assert_eq!(link.len(), 32);
                "LINK#[link]".clone_into(text);
            } else if let Some((before, after)) = text.split_once("'sha256-") {
                let (_, after) = after.split_once('\'').unwrap();
                *text = format!("{before}'[style]'{after}");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A tool's result has its structured content once more as text.
fn shorten_a_tool_s_text(result: &mut Map<String, Value>) {
    let Some(structured) = result.get("structuredContent").cloned() else { return };
    let Some(again) = result["content"].get_mut(1) else { return };
    let text = again["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
    again["text"] = "[structuredContent]".into();
}

#[tokio::test]
async fn the_webhook_s_samples() {
    for file in files("webhook") {
        let world = world().await;
        let now = world.clock.now().unix_seconds();
        let request = from_event(&sign_file(&file, MARK, SIGNING_SECRET, now).unwrap());
        let app = world.webhook();
        replay(&world, "webhook", &file, || webhook::handle(&app, &request)).await;
    }
}

#[tokio::test]
async fn a_sample_that_is_not_signed_is_refused() {
    let file = files("webhook").into_iter().next().unwrap();
    let world = world().await;
    let now = world.clock.now().unix_seconds();
    let mut unsigned = sign_file(&file, MARK, "whsec_other", now).unwrap();
    let refused = webhook::handle(&world.webhook(), &from_event(&unsigned)).await;
    assert_eq!(refused.status(), 400);
    unsigned["headers"].as_object_mut().unwrap().remove("stripe-signature");
    let refused = webhook::handle(&world.webhook(), &from_event(&unsigned)).await;
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn the_checkout_s_samples() {
    for file in files("checkout") {
        let world = world().await;
        let request = read(&file);
        let app = world.checkout();
        replay(&world, "checkout", &file, || checkout::handle(&*app, &request)).await;
    }
}

#[tokio::test]
async fn the_entitlements_samples() {
    for file in files("entitlements") {
        let world = world().await;
        let request = read(&file);
        let app = world.entitlements();
        replay(&world, "entitlements", &file, || entitlements::handle(&app, &request)).await;
    }
}

#[tokio::test]
async fn the_tutor_s_samples() {
    for file in files("tutor") {
        let world = world().await;
        let (request, app) = (read(&file), world.tutor());
        replay(&world, "tutor", &file, || tutor::handle(&app, request)).await;
    }
}

#[test]
fn every_snapshot_belongs_to_a_sample() {
    let folder = root().join("tests/it/snapshots");
    let mut snapshots: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("it__replay__") && !name.contains(".snap."))
        .collect();
    snapshots.sort();
    let samples = ["checkout", "entitlements", "tutor", "webhook"].iter().flat_map(|function| {
        files(function).into_iter().map(move |file| {
            format!("it__replay__{function}__{}.snap", file.file_stem().unwrap().to_str().unwrap())
        })
    });
    assert_eq!(snapshots, samples.collect::<Vec<_>>());
}

fn read(file: &Path) -> lambda_http::Request {
    from_event(&serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
}
