//! The tutor's tools: the same answers as the API's routes, in the shapes that they declare.

mod hostile;
mod protocol;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use shared::ports::Clock as _;
use tests::requests::{Who, answer, learner};
use tests::world::{World, root};
use tutor::Tool;

use crate::openapi::document;

/// The tools' output schemas, which are compiled into the function.
const OUTPUT_SCHEMAS: &str = "functions/tutor/src/tools/output-schemas.json";

/// The tools as this caller sees them, by name.
async fn tools(world: &World, who: &Who) -> BTreeMap<String, Value> {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let (status, answer) = world.tell_tutor(who, &message).await;
    assert_eq!(status, 200, "{answer}");
    let tools = answer["result"]["tools"].as_array().unwrap().iter();
    tools.map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect()
}

fn assert_valid(schema: &Value, instance: &Value, what: &str) {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(instance).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?} in {instance}");
}

/// A schema of the document by itself: without references, and open to members that a later version
/// adds, since clients keep what they have read.
fn standalone(document: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            if let Some(reference) = schema["$ref"].as_str() {
                let target = document.pointer(reference.trim_start_matches('#')).unwrap();
                return standalone(document, target);
            }
            let members = members.iter().filter(|(name, _)| *name != "additionalProperties");
            members.map(|(name, value)| (name.clone(), standalone(document, value))).collect()
        }
        Value::Array(items) => items.iter().map(|item| standalone(document, item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

/// What the tools return, according to the document.
fn derived_schemas() -> Value {
    let document = document();
    let of = |name: &str| standalone(&document, &document["components"]["schemas"][name]);
    // An upgrade link, or a session if that was asked for.
    let mut upgrade = of("Checkout");
    upgrade["required"] = of("UpgradeLink")["required"].clone();
    let account = json!({
        "type": "object",
        "required": ["url"],
        "properties": { "url": { "type": "string", "format": "uri" } },
    });
    let schemas = Tool::ALL.map(|tool| {
        let schema = match tool {
            Tool::ListCourses => of("Courses"),
            Tool::CheckAccess => of("Access"),
            Tool::GetTier => of("Entitlements"),
            Tool::GetUpgradeUrl => upgrade.clone(),
            Tool::ExplainAccess => of("Why"),
            Tool::OpenChapter => of("ChapterLink"),
            Tool::GetAccountUrl => account.clone(),
        };
        (tool.name().to_owned(), schema)
    });
    Value::Object(Map::from_iter(schemas))
}

#[test]
fn the_tools_return_the_document_s_shapes() {
    let file = root().join(OUTPUT_SCHEMAS);
    let derived = format!("{:#}\n", derived_schemas());
    if std::env::var_os("COURSEGATE_SCHEMAS").is_some() {
        std::fs::write(&file, &derived).unwrap();
    }
    let compiled = std::fs::read_to_string(&file).unwrap();
    assert!(compiled == derived, "{OUTPUT_SCHEMAS} is old: COURSEGATE_SCHEMAS=1 writes it anew");
}

#[tokio::test]
async fn a_model_can_read_what_each_tool_is_for() {
    let world = World::new().await;
    for who in [Who::Service, learner("ada")] {
        let tools = tools(&world, &who).await;
        assert_eq!(tools.len(), Tool::ALL.len());
        for (name, tool) in tools {
            assert!(!tool["title"].as_str().unwrap().is_empty(), "{name}");
            let description = tool["description"].as_str().unwrap();
            assert!(description.len() > 100 && description.ends_with('.'), "{name}: {description}");
            assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
            assert_eq!(tool["annotations"]["destructiveHint"], false, "{name}");
            let changes = name == "get_upgrade_url";
            assert_eq!(tool["annotations"]["readOnlyHint"], !changes, "{name}");
            let input = &tool["inputSchema"];
            assert_eq!(input["additionalProperties"], false, "{name}");
            let is_about_a_learner = !matches!(name.as_str(), "list_courses" | "get_account_url");
            let takes_a_learner = is_about_a_learner && who == Who::Service;
            assert_eq!(input["properties"]["learner"].is_object(), takes_a_learner, "{name}");
            let required = input["required"].as_array().unwrap();
            assert_eq!(required.contains(&json!("learner")), takes_a_learner, "{name}");
            for (argument, schema) in input["properties"].as_object().unwrap() {
                assert!(schema["description"].is_string(), "{name} {argument}");
            }
        }
    }
}

/// A tool's call: its arguments, what it answers, and the route that answers the same.
type Asked = (&'static str, Value, Option<(&'static str, String)>);

/// Calls about this learner, for a caller who need not name them.
fn calls(learner: &str) -> Vec<Asked> {
    let of = |rest: &str| format!("/learners/{learner}{rest}");
    vec![
        ("list_courses", json!({}), Some(("GET /courses", "/courses".to_owned()))),
        (
            "check_access",
            json!({ "course": "tutorclaw", "chapter": 6 }),
            Some((
                "GET /learners/{learner}/courses/{course}/access",
                of("/courses/tutorclaw/access?chapter=6"),
            )),
        ),
        (
            "check_access",
            json!({ "course": "models" }),
            Some(("GET /learners/{learner}/courses/{course}/access", of("/courses/models/access"))),
        ),
        (
            "get_tier",
            json!({}),
            Some(("GET /learners/{learner}/entitlements", of("/entitlements"))),
        ),
        (
            "explain_access",
            json!({ "product": "tutorclaw" }),
            Some((
                "GET /learners/{learner}/entitlements/{product}/why",
                of("/entitlements/tutorclaw/why"),
            )),
        ),
        ("open_chapter", json!({ "course": "tutorclaw", "chapter": 1 }), None),
        ("get_upgrade_url", json!({ "course": "retrieval" }), None),
        ("get_upgrade_url", json!({ "product": "voice", "kind": "link" }), None),
        ("get_upgrade_url", json!({ "price": "curriculum_paid", "kind": "checkout" }), None),
        ("get_account_url", json!({}), None),
    ]
}

#[tokio::test]
async fn tools_answer_what_the_routes_answer() {
    let world = World::new().await;
    buys(&world, &learner("grace")).await;
    for (id, who) in [
        ("ada", Who::Service),
        ("ada", learner("ada")),
        ("grace", Who::Service),
        ("grace", learner("grace")),
    ] {
        let tools = tools(&world, &who).await;
        for (tool, mut arguments, route) in calls(id) {
            if tools[tool]["inputSchema"]["properties"]["learner"].is_object() {
                arguments["learner"] = id.into();
            }
            assert_valid(&tools[tool]["inputSchema"], &arguments, tool);
            let result = world.call(&who, tool, &arguments).await;
            assert_ne!(result["isError"], true, "{tool} {arguments}: {result}");
            let structured = &result["structuredContent"];
            assert_valid(&tools[tool]["outputSchema"], structured, tool);
            // A sentence, and the same again for clients that read only text.
            let sentence = result["content"][0]["text"].as_str().unwrap();
            assert!(sentence.ends_with('.'), "{tool}: {sentence}");
            let text = result["content"][1]["text"].as_str().unwrap();
            assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), structured, "{tool}");
            if let Some((route, target)) = route {
                let who = if route == "GET /courses" { Who::Anyone } else { Who::Service };
                assert_eq!(&world.read(route, &target, &who).await.1, structured, "{tool}");
            }
        }
    }
}

#[tokio::test]
async fn each_sentence_can_be_read_to_the_learner() {
    let world = World::new().await;
    buys(&world, &learner("grace")).await;
    starts_a_debit(&world, &learner("dora")).await;
    let (ada, dora, grace) = (learner("ada"), learner("dora"), learner("grace"));
    let sixth = json!({ "course": "tutorclaw", "chapter": 6 });
    let product = json!({ "product": "tutorclaw" });
    for (who, tool, arguments, expected) in [
        (
            &ada,
            "check_access",
            &json!({ "course": "tutorclaw", "chapter": 5 }),
            "Chapter 5 of “TutorClaw” is free for everybody.",
        ),
        (
            &ada,
            "check_access",
            &sixth,
            "Chapter 6 of “TutorClaw” isn't open. “TutorClaw, all chapters” for 9.99 USD opens it.",
        ),
        (&grace, "check_access", &sixth, "Chapter 6 of “TutorClaw” is open."),
        (
            &dora,
            "check_access",
            &sixth,
            "Chapter 6 of “TutorClaw” isn't open yet: the payment is still being processed.",
        ),
        (
            &ada,
            "explain_access",
            &product,
            "“TutorClaw, all chapters” isn't open. No payment for it has arrived. If you have just \
             paid, it takes a moment.",
        ),
        (
            &grace,
            "explain_access",
            &product,
            "“TutorClaw, all chapters” is open. What happened: Paid 9.99 USD.",
        ),
        (&ada, "get_tier", &json!({}), "You are on the free tier: the free chapters are open."),
        (&grace, "get_tier", &json!({}), "You are on the paid tier. Open in full: “TutorClaw”."),
    ] {
        let result = world.call(who, tool, arguments).await;
        assert_eq!(result["content"][0]["text"], expected, "{tool} {arguments}");
    }
}

/// What goes wrong: who asks, the tool, its arguments, the problem's type, and the advice.
fn wrong_calls() -> Vec<(&'static str, &'static str, Value, &'static str, &'static str)> {
    let sixth = || json!({ "course": "tutorclaw", "chapter": 6 });
    vec![
        ("ada", "check_access", json!({ "course": "none" }), "unknown-course", "Call list_courses"),
        (
            "ada",
            "check_access",
            json!({ "course": "tutorclaw", "chapter": 11 }),
            "unknown-chapter",
            "has chapters 1 to 10",
        ),
        ("ada", "open_chapter", sixth(), "access-denied", "Call get_upgrade_url"),
        ("dora", "open_chapter", sixth(), "access-denied", "call check_access later"),
        (
            "ada",
            "explain_access",
            json!({ "product": "none" }),
            "unknown-product",
            "Call list_courses",
        ),
        ("ada", "get_upgrade_url", json!({}), "invalid-field", "exactly one of"),
        (
            "ada",
            "get_upgrade_url",
            json!({ "course": "tutorclaw", "price": "tutorclaw_paid" }),
            "invalid-field",
            "exactly one of",
        ),
        (
            "ada",
            "get_upgrade_url",
            json!({ "price": "none" }),
            "unknown-price",
            "Call list_courses",
        ),
        (
            "ada",
            "get_upgrade_url",
            json!({ "product": "none" }),
            "unknown-product",
            "Call list_courses",
        ),
        (
            "ada",
            "get_upgrade_url",
            json!({ "course": "first-steps" }),
            "already-entitled",
            "It is free for everybody",
        ),
        (
            "grace",
            "get_upgrade_url",
            json!({ "course": "tutorclaw" }),
            "already-entitled",
            "nothing to pay",
        ),
        (
            "grace",
            "get_upgrade_url",
            json!({ "price": "tutorclaw_paid", "kind": "checkout" }),
            "already-entitled",
            "nothing to pay",
        ),
        (
            "dora",
            "get_upgrade_url",
            json!({ "course": "tutorclaw" }),
            "payment-processing",
            "Don't send another link",
        ),
    ]
}

#[tokio::test]
async fn an_error_tells_the_model_what_to_do_next() {
    let world = World::new().await;
    buys(&world, &learner("grace")).await;
    starts_a_debit(&world, &learner("dora")).await;
    for (who, tool, arguments, problem, advice) in wrong_calls() {
        let result = world.call(&learner(who), tool, &arguments).await;
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        let structured = &result["structuredContent"];
        assert_eq!(structured["type"], format!("urn:coursegate:problem:{problem}"), "{tool}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(advice), "{tool} {arguments}: {text}");
        assert!(!text.contains("GET /") && !text.contains("POST /"), "{tool}: {text}");
    }
}

#[tokio::test]
async fn a_choice_of_offers_is_the_learner_s() {
    let world = World::new().await;
    let price = "[[price]]\nlookup_key = \"tutorclaw_patron\"\nproduct = \"tutorclaw\"\n\
                 amount = 1999\ncurrency = \"usd\"\n";
    let catalog = tests::world::edited_catalog(|text| format!("{text}\n{price}"));
    world.publish(&catalog).await.unwrap();
    for wish in [json!({ "course": "tutorclaw" }), json!({ "product": "tutorclaw" })] {
        let result = world.call(&learner("ada"), "get_upgrade_url", &wish).await;
        assert_eq!(result["isError"], true, "{result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        for choice in ["price tutorclaw_paid", "9.99 USD", "price tutorclaw_patron", "19.99 USD"] {
            assert!(text.contains(choice), "{text}");
        }
    }
    let chosen = json!({ "price": "tutorclaw_patron" });
    let result = world.call(&learner("ada"), "get_upgrade_url", &chosen).await;
    assert_ne!(result["isError"], true, "{result}");
}

/// A shop in which a bundle also opens the demo course.
async fn shop_with_a_bundle() -> World {
    let world = World::new().await;
    let bundle = "[[product]]\nid = \"both\"\nname = \"Both\"\ncourses = [\"tutorclaw\", \"voice\"]\n\
                  [[price]]\nlookup_key = \"both_paid\"\nproduct = \"both\"\namount = 4500\n\
                  currency = \"usd\"\n";
    let catalog = tests::world::edited_catalog(|text| format!("{text}\n{bundle}"));
    world.publish(&catalog).await.unwrap();
    world
}

#[tokio::test]
async fn a_course_is_not_sold_again_while_its_payment_is_processing() {
    let world = shop_with_a_bundle().await;
    let dora = learner("dora");
    let debit = starts_a_debit(&world, &dora).await;
    let wish = json!({ "course": "tutorclaw" });
    let refused = world.call(&dora, "get_upgrade_url", &wish).await;
    let problem = &refused["structuredContent"]["type"];
    assert_eq!(problem, "urn:coursegate:problem:payment-processing", "{refused}");
    // The bank refuses, and the event that says so never arrives: Stripe is asked.
    world.refuse_debit(&debit).await;
    let again = world.call(&dora, "get_upgrade_url", &wish).await;
    let choices = again["content"][0]["text"].as_str().unwrap();
    assert!(
        choices.contains("price tutorclaw_paid") && choices.contains("price both_paid"),
        "{again}"
    );
}

#[tokio::test]
async fn a_learner_hears_what_of_an_offer_they_have() {
    let world = shop_with_a_bundle().await;
    let grace = learner("grace");
    buys(&world, &grace).await;
    let checked = world.call(&grace, "check_access", &json!({ "course": "voice" })).await;
    let says = checked["content"][0]["text"].as_str().unwrap();
    assert!(says.contains("“Both” for 45.00 USD (you already have 1 of its 2 courses)"), "{says}");
    // Nobody who owns a course through a bundle is told that it isn't open.
    let bundle = json!({ "price": "both_paid", "kind": "checkout" });
    let bought = world.call(&learner("ada"), "get_upgrade_url", &bundle).await;
    world.pay(bought["structuredContent"]["session_id"].as_str().unwrap()).await;
    deliver_the_last(&world).await;
    let product = json!({ "product": "tutorclaw" });
    let explained = world.call(&learner("ada"), "explain_access", &product).await;
    let says = explained["content"][0]["text"].as_str().unwrap();
    assert_eq!(says, "“TutorClaw, all chapters” is open through something else that you have.");
}

#[tokio::test]
async fn access_that_ends_can_be_bought_for_good() {
    let world = World::new().await;
    let now = world.clock.now();
    let until = now.plus_seconds(1_000);
    let deployment = world.deployment("http://127.0.0.1:9/webhook");
    let (learner_id, product) = ("ada".parse().unwrap(), "tutorclaw".parse().unwrap());
    let given = coursegate::manual::grant(
        &deployment,
        &learner_id,
        &product,
        Some(until),
        "a trial".parse().unwrap(),
        now,
    );
    given.await.unwrap();
    let ada = learner("ada");
    let checked = world.call(&ada, "check_access", &json!({ "course": "tutorclaw" })).await;
    let says = checked["content"][0]["text"].as_str().unwrap();
    assert!(says.starts_with("The course “TutorClaw” is open until "), "{says}");
    for wish in [json!({ "course": "tutorclaw" }), json!({ "product": "tutorclaw" })] {
        let link = world.call(&ada, "get_upgrade_url", &wish).await;
        assert_ne!(link["isError"], true, "{link}");
    }
}

#[tokio::test]
async fn a_slow_stripe_ends_in_a_result() {
    let world = World::new().await;
    let wish = json!({ "price": "tutorclaw_paid", "kind": "checkout" });
    world
        .stripe_post(
            "/_sim/faults",
            &json!({ "path": "/v1/checkout/sessions", "status": 503, "times": 50 }),
        )
        .await;
    let result = world.call(&learner("ada"), "get_upgrade_url", &wish).await;
    assert_eq!(result["isError"], true, "{result}");
    assert!(result["structuredContent"]["retry_after_seconds"].is_number(), "{result}");
}

#[tokio::test]
async fn stripe_s_page_shows_nobody_s_email_or_cards() {
    let world = World::new().await;
    // The learner has a customer, since they have bought on the site before.
    world.buy(&learner("ada")).await;
    for who in [Who::Service, learner("ada")] {
        let mut arguments = json!({ "price": "voice_paid", "kind": "checkout" });
        if who == Who::Service {
            arguments["learner"] = "ada".into();
        }
        let result = world.call(&who, "get_upgrade_url", &arguments).await;
        let session = result["structuredContent"]["session_id"].as_str().unwrap();
        let session = world.stripe_get(&format!("/v1/checkout/sessions/{session}")).await;
        assert_eq!(session["customer"], Value::Null, "{session}");
        assert_eq!(session["metadata"]["learner_id"], "ada", "{session}");
    }
}

#[tokio::test]
async fn each_learner_has_a_limit_of_their_own() {
    let world = World::new().await;
    let arguments = json!({ "learner": "ada" });
    for _ in 0..300 {
        assert_ne!(world.call(&Who::Service, "get_tier", &arguments).await["isError"], true);
    }
    let refused = world.call(&Who::Service, "get_tier", &arguments).await;
    assert_eq!(refused["structuredContent"]["type"], "urn:coursegate:problem:rate-limited");
    assert_eq!(refused["structuredContent"]["retry_after_seconds"], 600);
    let also = world.call(&learner("ada"), "check_access", &json!({ "course": "tools" })).await;
    assert_eq!(also["isError"], true, "the token makes no difference: {also}");
    let listed = world.call(&learner("ada"), "list_courses", &json!({})).await;
    assert_eq!(listed["isError"], true, "a learner's other calls count too: {listed}");
    for (who, tool) in [(Who::Service, "list_courses"), (learner("bob"), "get_tier")] {
        assert_ne!(world.call(&who, tool, &json!({})).await["isError"], true, "{tool}");
    }
    world.clock.advance(600);
    assert_ne!(world.call(&Who::Service, "get_tier", &arguments).await["isError"], true);
}

#[tokio::test]
async fn our_own_faults_are_no_tool_s_fault() {
    let mut world = World::new().await;
    let wish = json!({ "price": "tutorclaw_paid", "kind": "checkout" });
    world.secrets.set_current(tests::world::API_KEY_ID, "sk_live_of_another_mode").unwrap();
    let result = world.call(&learner("ada"), "get_upgrade_url", &wish).await;
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Trying again won't help"), "{text}");
    world.stop_servers().await;
    for (tool, arguments) in [("list_courses", json!({})), ("get_tier", json!({}))] {
        let result = world.call(&learner("ada"), tool, &arguments).await;
        assert_eq!(result["structuredContent"]["type"], "urn:coursegate:problem:unavailable");
        assert!(result["structuredContent"]["retry_after_seconds"].is_number(), "{result}");
    }
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": "coursegate://courses" } });
    let (_, answer) = world.tell_tutor(&learner("ada"), &message).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
}

/// Has a learner buy the demo course, and Stripe's event arrive.
async fn buys(world: &World, who: &Who) {
    let session = world.buy(who).await;
    world.pay(&session).await;
    deliver_the_last(world).await;
}

/// The same by bank debit, which the bank hasn't confirmed. Returns the session.
async fn starts_a_debit(world: &World, who: &Who) -> String {
    let session = world.buy(who).await;
    world.pay_by_debit(&session).await;
    deliver_the_last(world).await;
    session
}

async fn deliver_the_last(world: &World) {
    let completed = world.events("checkout.session.completed").await;
    assert_eq!(world.deliver(completed.last().unwrap()).await.0, 200);
}

/// The answer to a request of this method.
async fn ask(world: &World, who: &Who, method: &str, params: Value) -> (u16, Value) {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    answer_of(world, who, &message.to_string()).await
}

async fn answer_of(world: &World, who: &Who, message: &str) -> (u16, Value) {
    let request = tests::requests::message_to_tutor(who, message);
    answer(&tutor::handle(&world.tutor(), request).await)
}
