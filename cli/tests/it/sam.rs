//! What `sam local invoke` gives the functions in a container, held against the local stack.

use std::collections::BTreeSet;

use local::template::{References, Template};
use serde_json::{Value, json};

use crate::running::{command, project, up};

/// A signature in shape: the local stack's DynamoDB asks for no more.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/dynamodb/aws4_request, \
                      SignedHeaders=host, Signature=none";

/// `events/sam-local.json`: variables and their values.
fn variables() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(project().join("events/sam-local.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let variables = file["Parameters"].as_object().unwrap().iter();
    variables.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn variable(name: &str) -> String {
    variables().into_iter().find(|(found, _)| found == name).unwrap().1
}

#[test]
fn sam_sets_only_the_deployment_s_variables() {
    // Whatever only a deployment knows is recognised by its value.
    let references: References = [
        ("StripeMode", "test"),
        ("DeploymentMark", "given"),
        ("SiteOrigin", "https://given"),
        ("JwtIssuer", "https://given"),
        ("JwtAudience", "given"),
        ("StripeApiUrl", "http://given"),
        ("DynamoDbEndpoint", "http://given"),
        ("SecretsManagerEndpoint", "http://given"),
        ("ContentEndpoint", "http://given"),
        ("ContentBucket", "given"),
        ("CorsOrigins", ""),
        ("Table", "given"),
        ("Table.Arn", "given"),
        ("StripeApiKey", "given"),
        ("StripeReadKey", "given"),
        ("StripeSigningSecret", "given"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let template = Template::read(&project().join("template.yaml"), &references).unwrap();
    let depending: BTreeSet<String> = template
        .functions
        .iter()
        .flat_map(|function| &function.variables)
        .filter(|(_, value)| value.contains("given"))
        .map(|(name, _)| name.clone())
        .collect();
    assert!(depending.contains("TABLE_NAME"), "{depending:?}");
    // Each local stack has a mark of its own, which the commands in docs/SAMPLE-EVENTS.md put into
    // the environment.
    let named = variables().into_iter().map(|(name, _)| name).chain(["DEPLOYMENT_MARK".to_owned()]);
    assert_eq!(named.collect::<BTreeSet<String>>(), depending);
}

#[tokio::test]
async fn everything_sam_names_is_in_the_local_stack() {
    let running = up(&["--ephemeral"]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (piece, action, request) in [
        (
            "dynamodb",
            "DynamoDB_20120810.DescribeTable",
            json!({ "TableName": variable("TABLE_NAME") }),
        ),
        (
            "secrets_manager",
            "secretsmanager.GetSecretValue",
            json!({ "SecretId": variable("STRIPE_API_KEY_SECRET_ID") }),
        ),
        (
            "secrets_manager",
            "secretsmanager.GetSecretValue",
            json!({ "SecretId": variable("STRIPE_SIGNING_SECRET_ID") }),
        ),
    ] {
        let sent = client
            .post(running.addresses[piece].as_str().unwrap())
            .header("x-amz-target", action)
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", SIGNED)
            .header("x-amz-date", "20261121T000000Z")
            .body(request.to_string());
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{request}: {}", answer.text().await.unwrap());
    }
}

#[test]
fn sam_s_addresses_are_the_ports_that_the_stack_listens_on() {
    let help = String::from_utf8(command(&["--help"]).output().unwrap().stdout).unwrap();
    for (name, flag) in [
        ("DYNAMODB_ENDPOINT", "--dynamodb-port"),
        ("SECRETS_MANAGER_ENDPOINT", "--secrets-port"),
        ("SITE_ORIGIN", "--gateway-port"),
        ("STRIPE_API_URL", "--stripe-port"),
        ("CONTENT_ENDPOINT", "--content-port"),
    ] {
        let url = variable(name);
        let port = url.rsplit(':').next().unwrap();
        let explained = help.split(flag).nth(1).unwrap().split("--").next().unwrap();
        assert!(explained.contains(&format!("[default: {port}]")), "{name} {url}: {explained}");
    }
}

/// The address by which this machine can be reached by its containers, or something like it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn containers_reach_the_stack_only_at_a_private_address() {
    use crate::running::{Ended, end};

    for address in ["0.0.0.0", "8.8.8.8"] {
        let flag = format!("--docker-bridge={address}");
        let Ended { code, stderr } = end(command(&["--ephemeral", &flag]));
        assert_eq!(code, Some(1));
        assert!(stderr.contains("not a private address"), "{stderr}");
    }
    // Nobody has this address.
    let Ended { code, stderr } = end(command(&["--ephemeral", "--docker-bridge=10.255.255.254"]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("start Docker"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
}
