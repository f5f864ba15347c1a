//! Functions as processes: parallel, crashing, timing out, and gone at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use local::lambda::{InvokeError, Lambda, LambdaError, Options, Programs};
use local::observer::Observer;
use local::template::Function;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Folder, answer, client, this_program};

struct Running {
    lambda: Lambda,
    url: String,
    folder: Folder,
}

fn function(name: &str) -> Function {
    Function {
        logical_id: format!("{name}Function"),
        binary: name.to_owned(),
        description: "Says what it is told.".to_owned(),
        timeout: Duration::from_secs(20),
        memory_mb: 256,
        reserved_concurrency: None,
        variables: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        routes: Vec::new(),
        function_url: false,
    }
}

async fn run(function: Function, instances_max: usize) -> Running {
    run_as(Programs::One(this_program()), vec![function], instances_max).await
}

async fn run_as(programs: Programs, functions: Vec<Function>, instances_max: usize) -> Running {
    start(programs, functions, instances_max, None).await
}

async fn run_in_account(functions: Vec<Function>, account_concurrency: Option<usize>) -> Running {
    start(Programs::One(this_program()), functions, 9, account_concurrency).await
}

async fn start(
    programs: Programs,
    functions: Vec<Function>,
    instances_max: usize,
    account_concurrency: Option<usize>,
) -> Running {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = Options {
        functions,
        programs,
        logs: folder.0.clone(),
        instances_max,
        account_concurrency,
        observer: Observer::new(|_| {}),
    };
    let (lambda, server) = Lambda::new(options, listener);
    tokio::spawn(server);
    Running { lambda, url, folder }
}

/// How many processes wait for this file.
fn waiting_for(file: &Path) -> usize {
    let names = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    let begun = format!("{}.", file.file_name().unwrap().display());
    names.filter(|name| name.starts_with(&begun)).count()
}

impl Running {
    async fn invoke(&self, event: Value) -> Result<Value, InvokeError> {
        let answer = self.lambda.invoke("echo", Bytes::from(event.to_string())).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn error_type(&self, event: Value) -> String {
        match self.invoke(event).await {
            Err(InvokeError::Failed(error)) => error.error_type,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_function_gets_only_its_event_and_lambdas_environment() {
    let running = run(function("echo"), 1).await;
    let said = running.invoke(json!({"a": 1})).await.unwrap();
    assert_eq!(said["event"], json!({"a": 1}));
    let environment = said["environment"].as_object().unwrap();
    assert_eq!(environment["GREETING"], "hello");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], "echo");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "256");
    assert_eq!(environment["AWS_ACCESS_KEY_ID"], "local");
    // The tests' own environment has these two.
    assert!(!environment.contains_key("CARGO_MANIFEST_DIR"));
    assert!(!environment.contains_key("PATH"));
    running.lambda.stop().await;
}

#[tokio::test]
async fn each_function_may_be_a_program_of_its_own() {
    let programs = Programs::Each([("echo".to_owned(), this_program())].into());
    let running = run_as(programs, vec![function("echo"), function("other")], 1).await;
    let said = running.invoke(json!({"a": 1})).await.unwrap();
    assert_eq!(said["environment"]["AWS_LAMBDA_FUNCTION_NAME"], "echo");
    let answer = running.lambda.invoke("other", Bytes::from_static(b"{}")).await;
    let Err(InvokeError::Failed(error)) = answer else { panic!("{answer:?}") };
    assert!(error.error_message.contains("Programs::Each has no program for other"), "{error}");
    running.lambda.stop().await;
}

#[tokio::test]
async fn events_at_the_same_time_get_an_instance_each_up_to_the_limit() {
    let running = run(function("echo"), 3).await;
    let file = running.folder.0.join("go");
    let event = json!({"do": format!("wait-for {}", file.display())}).to_string();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (lambda, event) = (running.lambda.clone(), Bytes::from(event.clone()));
        answers.spawn(async move { lambda.invoke("echo", event).await.unwrap() });
    }
    while running.lambda.health()["echo"].instances < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(&file, "").unwrap();
    let answers = answers.join_all().await;
    assert_eq!(answers.len(), 5);
    assert_eq!(running.lambda.health()["echo"].cold_starts, 3);
    running.lambda.stop().await;
}

#[tokio::test]
async fn a_crash_is_an_error_and_the_next_event_a_new_process() {
    let running = run(function("echo"), 1).await;
    let before = running.invoke(json!({})).await.unwrap();
    assert_eq!(running.error_type(json!({"do": "crash"})).await, "Runtime.ExitError");
    let after = running.invoke(json!({})).await.unwrap();
    assert_ne!(before["process"], after["process"]);
    assert_eq!(running.lambda.health()["echo"].cold_starts, 2);
    running.lambda.stop().await;
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_process_lives_on() {
    let running = run(function("echo"), 1).await;
    let before = running.invoke(json!({})).await.unwrap();
    running.error_type(json!({"do": "panic"})).await;
    let after = running.invoke(json!({})).await.unwrap();
    assert_eq!(before["process"], after["process"]);
    running.lambda.stop().await;
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_ended() {
    let timeout = Duration::from_secs(1);
    let running = run(Function { timeout, ..function("echo") }, 1).await;
    let before = running.invoke(json!({})).await.unwrap();
    assert_eq!(running.error_type(json!({"do": "hang"})).await, "Sandbox.Timedout");
    let after = running.invoke(json!({})).await.unwrap();
    assert_ne!(before["process"], after["process"]);
    running.lambda.stop().await;
}

#[tokio::test]
async fn a_function_that_cannot_start_says_where_its_log_is() {
    let running = run(function("broken"), 1).await;
    let error = running.lambda.start_all().await.unwrap_err();
    let LambdaError::NotStarted { function, log, last_line, .. } = &error;
    assert_eq!(function, "broken");
    assert!(log.is_file());
    assert_eq!(last_line, "I am broken");
    assert!(error.to_string().contains("exit status: 7"), "{error}");
    // An event doesn't wait forever either.
    let answer = running.lambda.invoke("broken", Bytes::from_static(b"{}")).await;
    assert!(matches!(answer, Err(InvokeError::Failed(_))), "{answer:?}");
    running.lambda.stop().await;
}

#[tokio::test]
async fn stopping_leaves_no_process() {
    let running = run(function("echo"), 2).await;
    running.lambda.start_all().await.unwrap();
    let process = running.invoke(json!({})).await.unwrap()["process"].to_string();
    running.lambda.stop().await;
    assert_eq!(running.lambda.health()["echo"].instances, 0);
    assert_eq!(running.error_type(json!({})).await, "Runtime.Unavailable");
    if cfg!(target_os = "linux") {
        assert!(!std::path::Path::new("/proc").join(process).exists());
    }
}

#[tokio::test]
async fn the_invoke_api_matches_lambda() {
    let running = run(function("echo"), 1).await;
    let client = client();
    let url = |name: &str| format!("{}/2015-03-31/functions/{name}/invocations", running.url);
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:echo";
    for name in ["echo", "echoFunction", arn] {
        let (status, body) = answer(client.post(url(name)).body("{\"a\":1}")).await;
        assert_eq!((status, &body["event"]), (200, &json!({"a": 1})), "{name}");
    }
    let crash = client.post(url("echo")).body("{\"do\":\"crash\"}").send().await.unwrap();
    assert_eq!(crash.status(), 200);
    assert_eq!(crash.headers()["x-amz-function-error"], "Unhandled");

    let (status, body) = answer(client.post(url("nobody")).body("{}")).await;
    assert_eq!((status, body["Type"].as_str()), (404, Some("User")));
    let (status, _) = answer(client.post(url("echo")).body("{")).await;
    assert_eq!(status, 400);
    let (status, _) = answer(client.post(url("echo")).body(vec![b' '; 6 * 1024 * 1024 + 1])).await;
    assert_eq!(status, 413);
    let dry = client.post(url("echo")).header("x-amz-invocation-type", "DryRun").body("{}");
    assert_eq!(answer(dry).await.0, 204);
    let strange = client.post(url("echo")).header("x-amz-invocation-type", "Now").body("{}");
    assert_eq!(answer(strange).await.0, 400);
    let (status, _) = answer(client.get(format!("{}/nothing", running.url))).await;
    assert_eq!(status, 404);
    running.lambda.stop().await;
}

#[tokio::test]
async fn an_instance_answers_only_its_own_events() {
    let running = run(function("echo"), 1).await;
    let said = running.invoke(json!({})).await.unwrap();
    // As in Lambda: a host and a port, without a scheme.
    let address = said["environment"]["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap();
    assert!(address.parse::<std::net::SocketAddr>().is_ok(), "{address}");
    let client = client();
    let runtime = format!("http://{address}/2018-06-01/runtime/invocation");
    for path in ["1/response", "1/error"] {
        let (status, body) = answer(client.post(format!("{runtime}/{path}")).body("{}")).await;
        assert_eq!(status, 400, "{path}: {body}");
    }
    running.lambda.stop().await;
    assert!(client.get(format!("{runtime}/next")).send().await.is_err(), "gone with its instance");
}

impl Running {
    fn configuration_url(&self, function: &str) -> String {
        format!("{}/2015-03-31/functions/{function}/configuration", self.url)
    }

    /// `GetFunctionConfiguration`
    async fn configuration(&self) -> Value {
        let (status, configuration) = answer(client().get(self.configuration_url("echo"))).await;
        assert_eq!(status, 200, "{configuration}");
        configuration
    }

    /// `UpdateFunctionConfiguration`
    async fn update(&self, change: &Value) -> (u16, Value) {
        let put = client().put(self.configuration_url("echo")).body(change.to_string());
        answer(put).await
    }

    async fn wait_until_gone(&self, processes: &[u32]) {
        while self.lambda.health()["echo"].processes.iter().any(|it| processes.contains(it)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn updated(&self) -> Value {
        loop {
            let configuration = self.configuration().await;
            if configuration["LastUpdateStatus"] != "InProgress" {
                return configuration;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn an_update_replaces_every_instance_and_interrupts_none() {
    let running = run(function("echo"), 3).await;
    running.lambda.start_all().await.unwrap();
    let before = running.configuration().await;
    assert_eq!(before["Description"], "Says what it is told.");
    assert_eq!(before["LastUpdateStatus"], "Successful");

    // All three are busy.
    let file = running.folder.0.join("go");
    let event = json!({"do": format!("wait-for {}", file.display())}).to_string();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (lambda, event) = (running.lambda.clone(), Bytes::from(event.clone()));
        answers.spawn(async move { lambda.invoke("echo", event).await.unwrap() });
        // A process that has started isn't busy yet.
        while waiting_for(&file) < answers.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let old = running.lambda.health()["echo"].processes.clone();
    assert_eq!(old.len(), 3);

    let (status, updating) = running.update(&json!({"Description": "Once more."})).await;
    assert_eq!((status, &updating["LastUpdateStatus"]), (200, &json!("InProgress")));
    assert_ne!(updating["RevisionId"], before["RevisionId"]);
    let updated = running.updated().await;
    assert_eq!(updated["LastUpdateStatus"], "Successful");
    assert_eq!(updated["Description"], "Once more.");

    for _ in 0..5 {
        let said = running.invoke(json!({})).await.unwrap();
        let process = u32::try_from(said["process"].as_u64().unwrap()).unwrap();
        assert!(!old.contains(&process), "{process} is one of {old:?}");
    }
    std::fs::write(&file, "").unwrap();
    assert_eq!(answers.join_all().await.len(), 3, "what was begun is answered");
    running.wait_until_gone(&old).await;

    // None is busy.
    let old = running.lambda.health()["echo"].processes.clone();
    assert_eq!(running.update(&json!({"Description": "And again."})).await.0, 200);
    assert_eq!(running.updated().await["LastUpdateStatus"], "Successful");
    running.wait_until_gone(&old).await;
    running.lambda.stop().await;
}

#[tokio::test]
async fn an_update_fails_no_event_that_waits_for_an_instance() {
    let held = Folder::new();
    let file = held.0.join("held");
    std::fs::write(&file, "").unwrap();
    let variables = BTreeMap::from([("HELD_BY".to_owned(), file.display().to_string())]);
    let running = run(Function { variables, ..function("echo") }, 3).await;
    let begun = begin(&running, "echo", 2);
    while waiting_for(&file) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let starting = running.lambda.health()["echo"].processes.clone();
    // The update's own instance is ready first, and takes one of the two events.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(running.update(&json!({})).await.0, 200);
    assert_eq!(running.updated().await["LastUpdateStatus"], "Successful");
    running.wait_until_gone(&starting).await;
    std::fs::write(running.folder.0.join("go"), "").unwrap();
    let answers = begun.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    running.lambda.stop().await;
}

#[tokio::test]
async fn an_update_that_cannot_start_keeps_running_instances() {
    let running = run(function("echo"), 1).await;
    running.lambda.start_all().await.unwrap();
    let old = running.invoke(json!({})).await.unwrap()["process"].clone();
    // Its log can't be written any more.
    std::fs::remove_dir_all(&running.folder.0).unwrap();
    assert_eq!(running.update(&json!({})).await.0, 200);
    let failed = running.updated().await;
    assert_eq!(failed["LastUpdateStatus"], "Failed", "{failed}");
    assert_eq!(running.invoke(json!({})).await.unwrap()["process"], old);
    running.lambda.stop().await;
}

#[tokio::test]
async fn unsupported_configuration_changes_are_refused() {
    let running = run(function("echo"), 1).await;
    let (status, said) = running.update(&json!({"MemorySize": 512})).await;
    let message = said["Message"].as_str().unwrap();
    assert!(status == 400 && message.contains("edit template.yaml"), "{said}");
    let (status, said) = running.update(&json!({"Description": "x".repeat(257)})).await;
    assert_eq!(status, 400, "{said}");
    let nobody = client().get(running.configuration_url("nobody"));
    assert_eq!(answer(nobody).await.0, 404);
    running.lambda.stop().await;
}

/// Begins this many executions that last until the file is there.
fn begin(
    running: &Running,
    function: &'static str,
    count: usize,
) -> tokio::task::JoinSet<Result<Bytes, InvokeError>> {
    let file = running.folder.0.join("go");
    let event = Bytes::from(json!({"do": format!("wait-for {}", file.display())}).to_string());
    let mut executions = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (lambda, event) = (running.lambda.clone(), event.clone());
        executions.spawn(async move { lambda.invoke(function, event).await });
    }
    executions
}

#[tokio::test]
async fn executions_beyond_a_reservation_or_quota_are_throttled() {
    let reserving = Function { reserved_concurrency: Some(2), ..function("webhook") };
    let none = Function { reserved_concurrency: Some(0), ..function("stopped") };
    let functions = vec![reserving, none, function("echo"), function("other")];
    let running = run_in_account(functions, Some(5)).await;
    // Of five, two are reserved for the webhook. The others share three, and a flood of the webhook
    // doesn't take them.
    let flood = begin(&running, "webhook", 9);
    let stopped = begin(&running, "stopped", 1);
    let shared = begin(&running, "echo", 2);
    let more = begin(&running, "other", 9);
    let throttled = |answers: Vec<Result<Bytes, InvokeError>>| -> Vec<String> {
        let errors = answers.into_iter().filter_map(Result::err);
        errors.map(|error| error.to_string()).collect()
    };
    while running.lambda.health().values().map(|it| it.processes.len()).sum::<usize>() < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let url = format!("{}/2015-03-31/functions/webhook/invocations", running.url);
    let (status, body) = answer(client().post(url).body("{}")).await;
    assert_eq!((status, &body["Type"]), (429, &json!("User")), "{body}");
    std::fs::write(running.folder.0.join("go"), "").unwrap();
    let of_account = "ConcurrentInvocationLimitExceeded".to_owned();
    let of_function = format!("ReservedFunction{of_account}");
    assert_eq!(throttled(flood.join_all().await), vec![of_function.clone(); 7]);
    assert_eq!(throttled(stopped.join_all().await), [of_function]);
    assert_eq!(throttled(shared.join_all().await), [""; 0]);
    assert_eq!(throttled(more.join_all().await), vec![of_account; 8]);
    // What has ended makes room.
    for function in ["webhook", "echo", "other"] {
        assert_eq!(throttled(begin(&running, function, 2).join_all().await), [""; 0]);
    }
    running.lambda.stop().await;
}
