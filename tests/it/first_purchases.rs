//! After a payment, no text says that nothing was charged.

use std::path::PathBuf;

use serde_json::{Value, json};
use shared::http::ProblemKind;
use tests::claims::denial_of_a_charge;
use tests::requests::{Who, answer, learner, text};
use tests::world::{API_KEY_ID, World, root};

use crate::checkout::BODY;
use crate::tidy::{code, files};
use crate::trouble::{fault, no_more_faults};

#[test]
fn no_problem_text_promises_that_nothing_was_charged() {
    for kind in ProblemKind::ALL {
        assert_eq!(denial_of_a_charge(kind.title()), None, "{kind:?}");
    }
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    for folder in ["functions", "shared/src/http", "local/stripe/src/page"] {
        // Text that continues on the next line of the source.
        let lines = |file: &PathBuf| code(file).replace("\\\n", " ");
        texts.extend(files(folder, ".rs").into_iter().map(|file| (file.clone(), lines(&file))));
    }
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        (file, text)
    };
    texts.extend(files("web", ".js").into_iter().map(read));
    texts.extend(
        ["web/index.html", "docs/ERRORS.md", "docs/openapi.yaml"].map(PathBuf::from).map(read),
    );
    for (file, text) in texts {
        assert_eq!(denial_of_a_charge(&text), None, "{}", file.display());
    }
}

/// Every request about a session that was just paid.
async fn answers(world: &World, session: &str, link: &str) -> Vec<(u16, String)> {
    let ada = learner("ada");
    let confirm = format!("/checkout/{session}/confirm");
    let as_service = format!("/learners/ada{confirm}");
    let mut answers = Vec::new();
    for (route, target, who) in [
        ("POST /checkout/{session}/confirm", confirm.as_str(), &ada),
        ("POST /learners/{learner}/checkout/{session}/confirm", &as_service, &Who::Service),
        ("POST /checkout", "/checkout", &ada),
        ("POST /learners/{learner}/upgrade-link", "/learners/ada/upgrade-link", &Who::Service),
        ("GET /go/{proxy+}", link, &Who::Anyone),
        ("POST /go/{proxy+}", link, &Who::Anyone),
    ] {
        let response = world.ask(route, target, who, BODY).await;
        answers.push((response.status().as_u16(), text(&response).to_owned()));
    }
    answers
}

#[tokio::test]
async fn after_a_payment_no_answer_says_that_nothing_was_charged() {
    let mut world = World::new().await;
    let ada = learner("ada");
    let target = "/learners/ada/upgrade-link";
    let made =
        world.ask("POST /learners/{learner}/upgrade-link", target, &Who::Service, BODY).await;
    let made: Value = answer(&made).1;
    let link = made["url"].as_str().unwrap().split_once("/api").unwrap().1.to_owned();
    let session = world.buy(&ada).await;
    // Stripe gets the money. The event doesn't arrive.
    world.pay(&session).await;

    let check = |what: &str, answers: Vec<(u16, String)>| {
        assert!(answers.iter().any(|(status, _)| *status >= 500), "{what}: {answers:?}");
        for (status, text) in answers {
            assert_eq!(denial_of_a_charge(&text), None, "{what}: {status} {text}");
        }
    };
    for mut trouble in [
        json!({ "status": 400, "times": 9 }),
        json!({ "status": 401, "times": 9 }),
        json!({ "status": 402, "times": 9 }),
        json!({ "status": 429, "times": 50 }),
        json!({ "status": 503, "times": 50 }),
        json!({ "drop": true, "times": 50 }),
    ] {
        trouble["path"] = "/v1/".into();
        fault(&world, trouble.clone()).await;
        check(&trouble.to_string(), answers(&world, &session, &link).await);
        no_more_faults(&world).await;
    }
    for key in ["placeholder", "sk_live_of_another_world"] {
        world.secrets.set_current(API_KEY_ID, key).unwrap();
        check(key, answers(&world, &session, &link).await);
    }
    world.stop_servers().await;
    check("nothing answers", answers(&world, &session, &link).await);
}
