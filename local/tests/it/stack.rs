//! The whole stack: what it starts, what it stores, and what keeps it from starting.

use local::Keep;
use local::lambda::{LambdaError, Program, Programs};
use local::stack::{Options, Ports, Stack, StartError, TABLE};

use crate::support::{Folder, TestStack, client, options};

fn dynamodb(stack: &TestStack) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(&stack.stack.addresses().dynamodb);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

#[tokio::test]
async fn it_is_healthy_once_it_is_open() {
    let stack = Stack::start(options(Keep::Memory)).await.unwrap();
    let health = format!("{}/local/health", stack.addresses().gateway);
    let courses = format!("{}/api/courses", stack.addresses().gateway);
    let client = client();
    assert_eq!(client.get(&health).send().await.unwrap().status(), 503);
    assert_eq!(client.get(&courses).send().await.unwrap().status(), 503);
    stack.open();
    let response = client.get(&health).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["status"], "ok");
    assert_eq!(body["functions"].as_object().unwrap().len(), 4);
    assert_eq!(client.get(&courses).send().await.unwrap().status(), 200);
    stack.shutdown().await;
}

#[tokio::test]
async fn the_table_is_the_templates() {
    use aws_sdk_dynamodb::types::KeySchemaElement;
    let stack = TestStack::start().await;
    let client = dynamodb(&stack);
    let table = client.describe_table().table_name(TABLE).send().await.unwrap();
    let keys = table.table().unwrap().key_schema().iter();
    let keys: Vec<_> = keys.map(KeySchemaElement::attribute_name).collect();
    assert_eq!(keys, ["pk", "sk"]);
    let ttl = client.describe_time_to_live().table_name(TABLE).send().await.unwrap();
    let ttl = ttl.time_to_live_description().unwrap();
    assert_eq!(ttl.attribute_name(), Some("ttl"));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    use aws_sdk_dynamodb::types::AttributeValue::S;
    let folder = Folder::new();
    let keep = || Keep::Folder(folder.0.join("state"));
    let stack = TestStack::start_on(keep()).await.unwrap();
    let (_, learner) = stack.login("ada@example.com").await;
    let key = stack.stripe_api_key();
    stack.stack.secrets().set_current("s", "one").unwrap();
    let put = dynamodb(&stack).put_item().table_name(TABLE);
    put.item("pk", S("a".into())).item("sk", S("b".into())).send().await.unwrap();
    stack.stack.shutdown().await;

    let stack = TestStack::restart_on(keep).await;
    assert_eq!(stack.login("ada@example.com").await.1, learner);
    assert_eq!(stack.stripe_api_key(), key);
    assert_eq!(stack.stack.secrets().current("s").as_deref(), Some("one"));
    let get = dynamodb(&stack).get_item().table_name(TABLE);
    let got = get.key("pk", S("a".into())).key("sk", S("b".into())).send().await.unwrap();
    assert!(got.item().is_some());
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn each_state_keeps_its_own_mark_or_the_one_it_was_given() {
    let memory = || async { TestStack::start().await.stack.deployment_mark().to_owned() };
    assert_ne!(memory().await, memory().await);

    let folder = Folder::new();
    let mark_of = async |deployment_mark: Option<&str>| {
        let deployment_mark = deployment_mark.map(ToOwned::to_owned);
        let options = options(Keep::Folder(folder.0.join("state")));
        let stack = Stack::start(Options { deployment_mark, ..options }).await.unwrap();
        stack.open();
        let health = format!("{}/local/health", stack.addresses().gateway);
        let health: serde_json::Value =
            client().get(health).send().await.unwrap().json().await.unwrap();
        let mark = stack.deployment_mark().to_owned();
        assert_eq!(health["deployment_mark"], mark.as_str());
        stack.shutdown().await;
        mark
    };
    let first = mark_of(None).await;
    assert!(first.starts_with("local-") && first.len() > 20, "{first}");
    assert_eq!(mark_of(None).await, first);
    assert_eq!(mark_of(Some("of-another-laptop")).await, "of-another-laptop");
    assert_eq!(mark_of(None).await, "of-another-laptop");
}

#[tokio::test]
async fn two_stacks_do_not_share_a_folder() {
    let folder = Folder::new();
    let first = TestStack::start_on(Keep::Folder(folder.0.clone())).await.unwrap();
    let second = TestStack::start_on(Keep::Folder(folder.0.clone())).await.map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("another local stack is running on"), "{second}");
    first.stack.shutdown().await;
    let third = TestStack::restart_on(|| Keep::Folder(folder.0.clone())).await;
    third.stack.shutdown().await;
}

#[tokio::test]
async fn unreadable_state_is_named() {
    for file in ["local.db", "dynamo.db"] {
        let folder = Folder::new();
        std::fs::write(folder.0.join(file), "this is no database at all".repeat(100)).unwrap();
        let keep = Keep::Folder(folder.0.clone());
        let error = TestStack::start_on(keep).await.map(|_| ()).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains(file) && sentence.contains("move that file away"), "{sentence}");
        assert!(!sentence.contains("encrypt"), "{sentence}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for (ports, flag) in [
        (Ports { gateway: port, ..Ports::FREE }, "--gateway-port"),
        (Ports { lambda: port, ..Ports::FREE }, "--lambda-port"),
        (Ports { dynamodb: port, ..Ports::FREE }, "--dynamodb-port"),
        (Ports { stripe: port, ..Ports::FREE }, "--stripe-port"),
        (Ports { secrets_manager: port, ..Ports::FREE }, "--secrets-port"),
    ] {
        let options = Options { ports, ..options(Keep::Memory) };
        let error = Stack::start(options).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains(&port.to_string()) && sentence.contains(flag), "{sentence}");
    }
}

#[tokio::test]
async fn a_function_that_does_not_start_stops_the_stack() {
    let program = Program { file: "/nonexistent".into(), arguments: Vec::new() };
    let options = Options { programs: Programs::One(program), ..options(Keep::Memory) };
    let error = Stack::start(options).await.map(|_| ()).unwrap_err();
    let StartError::Lambda(LambdaError::NotStarted { log, .. }) = error else { panic!("{error}") };
    assert!(log.is_file(), "the log stays, to be read");
    std::fs::remove_dir_all(log.parent().unwrap().parent().unwrap()).unwrap();
}

/// Every write to `/dev/full` finds the disk full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_fails_the_request_with_the_reason() {
    let folder = Folder::new();
    let state = folder.0.join("state");
    let stack = TestStack::start_on(Keep::Folder(state.clone())).await.unwrap();
    let note = async || {
        let request = stack.client.get(stack.url("/api/courses")).header("x-do", "crash");
        assert_eq!(request.send().await.unwrap().status(), 502);
        stack.served.lock().unwrap().last().unwrap().note.clone().unwrap()
    };
    assert!(!note().await.contains("disk"));
    std::os::unix::fs::symlink("/dev/full", state.join("space")).unwrap();
    let expected = format!("the disk is full: {} can't be written;", state.display());
    let said = note().await;
    assert!(said.starts_with(&expected), "{said}");
    stack.stack.shutdown().await;
}
