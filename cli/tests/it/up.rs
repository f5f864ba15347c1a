//! `coursegate up`, from start to stop.

use serde_json::{Value, json};

use crate::running::{Ended, Folder, Running, command, end, project, up, wait_until_gone};

async fn get(url: &str, token: Option<&str>) -> (u16, Value) {
    let mut request = client().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn login(running: &Running) -> Value {
    let request = client().post(running.url("/local/login"));
    request.body(r#"{"email":"ada@example.com"}"#).send().await.unwrap().json().await.unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn the_stack_is_ready_when_it_says_so() {
    let running = up(&["--ephemeral"]);
    let (status, health) = get(&running.url("/local/health"), None).await;
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")));
    for function in ["checkout", "webhook", "entitlements", "tutor"] {
        assert_eq!(health["functions"][function]["ready"], true, "{function}");
    }
    let (status, courses) = get(&running.url("/api/courses"), None).await;
    assert_eq!(status, 200);
    assert!(!courses["courses"].as_array().unwrap().is_empty(), "the catalog is on sale");
    assert!(running.said.contains("Try this"), "{}", running.said);
    assert!(running.said.contains(running.addresses["stripe"].as_str().unwrap()));

    let token = login(&running).await["access_token"].as_str().unwrap().to_owned();
    let access = running.url("/api/courses/tutorclaw/access?chapter=6");
    assert_eq!(get(&access, Some(&token)).await.0, 200);
    assert_eq!(get(&access, None).await, (401, json!({"message": "Unauthorized"})));
    let learner = running.url("/api/learners/x-1/entitlements");
    assert_eq!(get(&learner, Some(&token)).await, (403, json!({"message": "Forbidden"})));
    let nothing = running.url("/api/nothing");
    assert_eq!(get(&nothing, Some(&token)).await, (404, json!({"message": "Not Found"})));

    let (_, said) = running.stop("-TERM");
    assert!(said.contains("GET /api/courses 200"), "a line for each request: {said}");
    assert!(said.contains("GET /api/nothing 404"), "{said}");
}

/// The processes of its functions: three at the start.
async fn functions(running: &Running) -> Vec<u64> {
    let (_, health) = get(&running.url("/local/health"), None).await;
    let functions = health["functions"].as_object().unwrap().values();
    let processes =
        functions.flat_map(|function| function["processes"].as_array().unwrap().clone());
    let processes: Vec<_> = processes.map(|process| process.as_u64().unwrap()).collect();
    assert_eq!(processes.len(), 4, "{health}");
    processes
}

#[tokio::test]
async fn ctrl_c_and_sigterm_leave_no_process() {
    for signal in ["-INT", "-TERM"] {
        let running = up(&["--ephemeral"]);
        let functions = functions(&running).await;
        let (code, _) = running.stop(signal);
        assert_eq!(code, Some(0), "{signal}");
        for process in functions {
            wait_until_gone(process);
        }
    }
}

#[tokio::test]
async fn functions_end_when_their_stack_is_killed() {
    let running = up(&["up", "--ephemeral"]);
    let functions = functions(&running).await;
    let logs = running.said.lines().find_map(|line| line.trim().strip_prefix("Logs"));
    let logs = std::path::PathBuf::from(logs.unwrap().trim());
    let (code, _) = running.stop("-KILL");
    assert_eq!(code, None);
    for process in functions {
        wait_until_gone(process);
    }
    // A killed stack can't remove its temporary folder.
    std::fs::remove_dir_all(logs.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_restart_remembers_the_learner() {
    let folder = Folder::new();
    let state = folder.path("state");
    let ports = ["--gateway-port", "--lambda-port", "--dynamodb-port", "--stripe-port"];
    let mut arguments =
        vec!["--json", "--state", &state, "--secrets-port", "0", "--content-port", "0"];
    arguments.extend(ports.iter().flat_map(|port| [*port, "0"]));
    let first = up(&arguments);
    let learner = login(&first).await["learner"].clone();
    let log = folder.0.join("state/log/entitlements.log");
    assert!(log.is_file(), "the functions' logs are in the state folder");

    // Somebody else can't use the folder in the meantime.
    let Ended { code, stderr } = end(command(&arguments));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another local stack is running on"), "{stderr}");

    // Stripe is still told to hold its events back, and the next start reminds of it.
    assert!(!first.said.contains("held back"), "{}", first.said);
    let hold = format!("{}/_sim/deliveries/hold", first.addresses["stripe"].as_str().unwrap());
    assert_eq!(client().post(hold).send().await.unwrap().status(), 200);
    assert_eq!(first.stop("-INT").0, Some(0));
    let second = up(&arguments);
    assert_eq!(login(&second).await["learner"], learner);
    assert!(second.said.contains("held back"), "{}", second.said);
    assert!(second.said.contains("/_sim/deliveries/release"), "{}", second.said);
    second.stop("-INT");
}

#[tokio::test]
async fn the_suggested_steps_use_the_catalog() {
    let folder = Folder::new();
    let catalog = folder.path("catalog.toml");
    let free = "[[course]]\nid = \"intro\"\ntitle = \"Intro\"\nsummary = \"All free.\"\n\
                category = \"free\"\nchapters = [\"One\"]\n";
    let sold = "[[course]]\nid = \"rust\"\ntitle = \"Rust\"\nsummary = \"Sold.\"\n\
                category = \"alacarte\"\nfree_chapters = 1\nchapters = [\"One\", \"Two\"]\n\
                [[product]]\nid = \"rust\"\nname = \"Rust\"\ncourses = [\"rust\"]\n\
                [[price]]\nlookup_key = \"rust_paid\"\nproduct = \"rust\"\namount = 100\n\
                currency = \"usd\"\n";
    let said = |text: String| {
        std::fs::write(&catalog, text).unwrap();
        let running = up(&["--ephemeral", "--catalog", &catalog]);
        let said = running.said.clone();
        running.stop("-TERM");
        said
    };
    let nothing_sold = said(free.to_owned());
    assert!(nothing_sold.contains("grace@example.com"), "{nothing_sold}");
    assert!(!nothing_sold.contains("/api/checkout"), "{nothing_sold}");
    let one_sold = said(format!("{free}{sold}"));
    assert!(one_sold.contains("/api/courses/rust/access?chapter=2"), "{one_sold}");
    assert!(one_sold.contains(r#""price":"rust_paid""#), "{one_sold}");
}

/// What stops the stack is said in one line, without a panic.
#[track_caller]
fn check_refusal(arguments: &[&str], expected: &[&str]) {
    let Ended { code, stderr } = end(command(arguments));
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = ["--ephemeral", "--gateway-port", &port];
    check_refusal(&arguments, &["port", &port, "(gateway) is in use", "--gateway-port"]);
}

#[test]
fn a_port_clash_and_a_missing_template_are_one_sentence() {
    check_refusal(&["--gateway-port", "3001"], &["two services", "same port, 3001"]);
    check_refusal(&["--template", "/nonexistent/t.yaml"], &["no template /nonexistent/t.yaml"]);
}

#[test]
fn a_parameter_that_aws_would_refuse_is_one_sentence() {
    let with = |parameter, expected: &[&str]| {
        check_refusal(&["--ephemeral", "--parameter", parameter], expected);
    };
    with("WebhookEntrnce=api", &["the template has no parameter WebhookEntrnce"]);
    with("WebhookEntrance=door", &["WebhookEntrance.AllowedValues", "door is not one of these"]);
}

#[test]
fn the_project_is_found_from_a_folder_in_it() {
    // The catalog is read first, so a complaint about a port means that it was found.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut below = command(&["--ephemeral", "--stripe-port", &port]);
    below.current_dir(project().join("cli/src"));
    let Ended { stderr, .. } = end(below);
    assert!(stderr.contains("(stripe) is in use"), "{stderr}");
}

#[test]
fn a_broken_or_missing_catalog_is_one_sentence() {
    let folder = Folder::new();
    let catalog = folder.path("catalog.toml");
    let arguments = ["--ephemeral", "--catalog", &catalog];
    check_refusal(&arguments, &["catalog.toml"]);
    for broken in ["[[course]\n", "surprise = 1\n", "[[price]]\nlookup_key = \"x\"\n"] {
        std::fs::write(&catalog, broken).unwrap();
        check_refusal(&arguments, &["catalog.toml"]);
    }
}

#[test]
fn a_broken_or_missing_template_is_one_sentence() {
    let folder = Folder::new();
    let template = folder.path("template.yaml");
    let catalog = project().join("catalog.toml").display().to_string();
    let arguments = ["--ephemeral", "--catalog", &catalog, "--template", &template];
    check_refusal(&arguments, &["template.yaml"]);
    std::fs::write(&template, "Resources: 5\n").unwrap();
    check_refusal(&arguments, &["the template's Resources"]);

    let mut elsewhere = command(&["--ephemeral"]);
    elsewhere.current_dir(std::env::temp_dir());
    let Ended { code, stderr } = end(elsewhere);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no template.yaml here"), "{stderr}");
}

#[test]
fn help_names_every_flag() {
    let help = command(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--ephemeral",
        "--memory",
        "--json",
        "--stripe",
        "--gateway-port",
        "--lambda-port",
        "--dynamodb-port",
        "--stripe-port",
        "--secrets-port",
        "--docker-bridge",
        "--catalog",
        "--template",
        "--state",
    ] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    let is_named = help.lines().any(|line| line.trim_start().starts_with("function"));
    assert!(!is_named, "that command is between the stack and itself: {help}");
}
