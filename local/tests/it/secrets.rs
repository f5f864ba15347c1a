//! Secrets Manager with the real SDK, through rotations and faults.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;

use crate::support::TestStack;

fn sdk(stack: &TestStack) -> Client {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(&stack.stack.addresses().secrets_manager);
    Client::from_conf(config.build())
}

/// The value at a label, or the error's name.
async fn value(client: &Client, stage: &str) -> String {
    match client.get_secret_value().secret_id("s").version_stage(stage).send().await {
        Ok(found) => found.secret_string().unwrap().to_owned(),
        Err(error) => error.code().unwrap().to_owned(),
    }
}

async fn put(client: &Client, value: &str, token: &str) -> Result<(), String> {
    let put = client.put_secret_value().secret_id("s").secret_string(value);
    let result = put.client_request_token(token).send().await;
    result.map(|_| ()).map_err(|error| error.code().unwrap().to_owned())
}

#[tokio::test]
async fn a_new_value_makes_the_current_one_previous() {
    let stack = TestStack::start().await;
    let client = sdk(&stack);
    client.create_secret().name("s").secret_string("one").send().await.unwrap();
    assert_eq!(value(&client, "AWSCURRENT").await, "one");
    assert_eq!(value(&client, "AWSPREVIOUS").await, "ResourceNotFoundException");
    for (new, old) in [("two", "one"), ("three", "two"), ("four", "three")] {
        put(&client, new, &format!("token-{new}-0000000000000000000000000000")).await.unwrap();
        assert_eq!(value(&client, "AWSCURRENT").await, new);
        assert_eq!(value(&client, "AWSPREVIOUS").await, old);
    }
    let described = client.describe_secret().secret_id("s").send().await.unwrap();
    assert_eq!(described.version_ids_to_stages().unwrap().len(), 2);
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_rotation_passes_through_pending_and_can_be_undone() {
    let stack = TestStack::start().await;
    let client = sdk(&stack);
    let created = client.create_secret().name("s").secret_string("old").send().await.unwrap();
    let old = created.version_id().unwrap().to_owned();
    let new = "10000000-0000-4000-8000-000000000000";
    let pending = client.put_secret_value().secret_id("s").secret_string("new");
    pending.client_request_token(new).version_stages("AWSPENDING").send().await.unwrap();
    assert_eq!(value(&client, "AWSCURRENT").await, "old");
    assert_eq!(value(&client, "AWSPENDING").await, "new");

    let to = |version: &str| {
        let update = client.update_secret_version_stage().secret_id("s");
        update.version_stage("AWSCURRENT").move_to_version_id(version)
    };
    let careless = to(new).send().await.unwrap_err();
    assert_eq!(careless.code(), Some("InvalidParameterException"));
    to(new).remove_from_version_id(&old).send().await.unwrap();
    assert_eq!(value(&client, "AWSCURRENT").await, "new");
    assert_eq!(value(&client, "AWSPREVIOUS").await, "old");
    to(&old).remove_from_version_id(new).send().await.unwrap();
    assert_eq!(value(&client, "AWSCURRENT").await, "old");
    assert_eq!(value(&client, "AWSPREVIOUS").await, "new");
    let both = client.get_secret_value().secret_id("s").version_id(new);
    let both = both.version_stage("AWSCURRENT").send().await.unwrap_err();
    assert_eq!(both.code(), Some("ResourceNotFoundException"));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn the_same_request_twice_changes_nothing_the_second_time() {
    let stack = TestStack::start().await;
    let client = sdk(&stack);
    client.create_secret().name("s").secret_string("one").send().await.unwrap();
    let token = "20000000-0000-4000-8000-000000000000";
    put(&client, "two", token).await.unwrap();
    put(&client, "two", token).await.unwrap();
    assert_eq!(value(&client, "AWSPREVIOUS").await, "one");
    let other = put(&client, "three", token).await;
    assert_eq!(other, Err("ResourceExistsException".to_owned()));
    let again = client.create_secret().name("s").secret_string("x").send().await.unwrap_err();
    assert_eq!(again.code(), Some("ResourceExistsException"));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn the_templates_secrets_are_there_by_name_and_by_arn() {
    let stack = TestStack::start().await;
    let client = sdk(&stack);
    for id in ["coursegate/StripeApiKey".to_owned(), local::secrets::arn("coursegate/StripeApiKey")]
    {
        let found = client.get_secret_value().secret_id(&id).send().await.unwrap();
        assert_eq!(found.secret_string(), Some(stack.stripe_api_key().as_str()), "{id}");
        assert_eq!(found.arn(), Some(local::secrets::arn("coursegate/StripeApiKey").as_str()));
        assert!(found.created_date().is_some_and(|created| created.secs() > 1_700_000_000));
    }
    let missing = client.get_secret_value().secret_id("nobody").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn faults_can_be_injected() {
    let stack = TestStack::start().await;
    let client = sdk(&stack);
    stack.stack.secrets().set_current("s", "one").unwrap();
    stack.stack.secrets().fail_next(1);
    assert_eq!(value(&client, "AWSCURRENT").await, "InternalServiceError");
    assert_eq!(value(&client, "AWSCURRENT").await, "one");

    let fault = format!("{}/_fault", stack.stack.addresses().secrets_manager);
    let down = stack.client.post(&fault).body(r#"{"down":true}"#).send().await.unwrap();
    assert_eq!(down.status(), 200);
    assert_eq!(value(&client, "AWSCURRENT").await, "InternalServiceError");
    stack.client.post(&fault).body(r#"{"down":false}"#).send().await.unwrap();
    assert_eq!(value(&client, "AWSCURRENT").await, "one");
    let wrong = stack.client.post(&fault).body("{").send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    stack.stack.shutdown().await;
}
