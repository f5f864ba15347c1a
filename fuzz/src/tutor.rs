//! Messages to the tutor. A message's first line and fields are as in [`crate::api`].

use std::sync::Arc;

use serde_json::Value;
use shared::content::ChapterTexts;
use shared::domain::id::LearnerId;
use simulation::clock::ManualClock;

use crate::api::{checkout_app, opened, request};
use crate::database::{Aws, OWNED, OWNER, unreachable_content};
use crate::message::Message;
use crate::{answered, assert_problem, block_on};

/// Any message to the tutor gets an answer. Nothing about a learner is revealed or changed without a
/// token for it, and what is open is free or bought.
pub fn tutor(bytes: &[u8]) {
    thread_local! {
        static APP: (Aws, Arc<tutor::App<ManualClock>>) = tutor_app();
    }
    let message = Message::parse(bytes);
    let Some(request) = request(&message) else { return };
    APP.with(|(aws, app)| {
        aws.reset();
        let response = block_on(tutor::handle(app, request));
        let (status, answer) = answered(&response);
        assert!(status < 500, "{status} {answer}");
        if matches!(status, 401 | 403 | 413) && answer["type"].is_string() {
            assert_problem(&response);
        }
        let learner = learner(&message);
        for key in aws.keys_written() {
            let learner = learner.as_ref().expect("only a token's learner changes anything");
            let is_theirs = key == format!("LEARNER#{learner}") || key.starts_with("LINK#");
            assert!(is_theirs, "{key} is not of {learner}");
        }
        let owns = learner.is_some_and(|learner| learner.as_str() == OWNER);
        let result = &answer["result"]["structuredContent"];
        if result["access"].is_string() && result["course"].is_string() {
            assert_eq!(result["access"], opened(result, owns), "{answer}");
        }
        if result["url"].as_str().is_some_and(|url| url.contains("/content/")) {
            assert_eq!(opened(result, owns), "granted", "{answer}");
        }
        if !owns {
            assert!(!answer["result"]["structuredContent"].to_string().contains("pi_"), "{answer}");
            assert_ne!(result["tier"], "paid", "{answer}: {OWNED} belongs to {OWNER}");
        }
    });
}

fn tutor_app() -> (Aws, Arc<tutor::App<ManualClock>>) {
    let (aws, sales) = checkout_app();
    let app = tutor::App::new(sales, unreachable_content(), ChapterTexts::new(None));
    (aws, Arc::new(app))
}

/// The learner that a message may be about: the one whom a service names, or else the token's own.
fn learner(message: &Message<'_>) -> Option<LearnerId> {
    let scopes = message.field("claim.scope")?;
    let has = |scope: &str| scopes.split(' ').any(|one| one == scope);
    if has("coursegate/learners") {
        let body: Value = serde_json::from_slice(message.body).ok()?;
        let learner = body["params"]["arguments"]["learner"].as_str()?;
        return learner.parse().ok().filter(|learner| *learner != LearnerId::forgotten());
    }
    let subject = message.field("claim.sub").filter(|_| has("coursegate/learn"))?;
    LearnerId::of_subject(message.field("claim.iss").unwrap_or_default(), subject).ok()
}
