//! moto, another emulator of AWS: what holds on the local stack's DynamoDB and Secrets Manager
//! should hold there too.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use local::template::Table as Definition;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::dynamo::Table;

use crate::world::template;

/// Serves on a free port, which it prints, and ends when its standard input is closed, even if the
/// tests are killed.
///
/// One request at a time: moto's own server handles several at once, but its tables don't support
/// that. A transaction copies the table, writes, and restores the copy if a condition fails,
/// overwriting what others have written meanwhile.
const SERVER: &str = "
import logging, os, sys, threading
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app)
from werkzeug.serving import make_server

def end_with_the_tests():
    sys.stdin.read()
    os._exit(0)

logging.getLogger('werkzeug').setLevel(logging.ERROR)
threading.Thread(target=end_with_the_tests, daemon=True).start()
application = DomainDispatcherApplication(create_backend_app)
server = make_server('127.0.0.1', 0, application, request_handler=MotoRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A moto server.
pub struct Moto {
    url: String,
    /// Keeps the server's standard input open.
    _server: Child,
}

/// The server that all tests share; each test uses its own names. None if moto is missing; the test
/// is then skipped.
#[must_use]
pub fn moto() -> Option<&'static Moto> {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    started(&MOTO)
}

/// Another one, for clients that wait at most a second, as the operator's commands do: behind the
/// many requests to the first server it could take longer.
#[must_use]
pub fn quiet_moto() -> Option<&'static Moto> {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    started(&MOTO)
}

/// A test's own server, which checks permissions once [`Moto::let_only`] is called.
#[must_use]
pub fn strict_moto() -> Option<Moto> {
    let program = tools::find_or_pass_over("moto_server")?;
    Some(Moto::start(&program.with_file_name("python")))
}

fn started(moto: &'static OnceLock<Moto>) -> Option<&'static Moto> {
    let program = tools::find_or_pass_over("moto_server")?;
    Some(moto.get_or_init(|| Moto::start(&program.with_file_name("python"))))
}

/// The configuration of the AWS SDK's clients for an emulator at this address, without time limits.
pub(crate) fn config_of(emulator: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(emulator)
        .build()
}

impl Moto {
    fn start(python: &Path) -> Self {
        // Isolated from the environment variables and folders of the machine's Python.
        let mut server = Command::new(python)
            .args(["-I", "-c", SERVER])
            // S3 lists at most a thousand objects at once, which no test has.
            .env("MOTO_S3_DEFAULT_MAX_KEYS", "10")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        assert!(!port.is_empty(), "moto failed to start; see above");
        Self { url: format!("http://127.0.0.1:{}", port.trim()), _server: server }
    }

    /// The configuration of the AWS SDK's clients. They wait as long as necessary: tests check
    /// moto's responses, not its speed.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        config_of(&self.url)
    }

    /// A new user with only these permissions. From now on every request's signature and
    /// permissions are checked.
    pub async fn let_only(&self, user: &str, actions: &[&str]) -> SdkConfig {
        self.check_after("inf").await;
        let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let user = ("UserName", user);
        self.iam(&[("Action", "CreateUser"), user]).await;
        let put = ("Action", "PutUserPolicy");
        self.iam(&[put, user, ("PolicyName", "only"), ("PolicyDocument", &policy)]).await;
        let key = self.iam(&[("Action", "CreateAccessKey"), user]).await;
        self.check_after("0").await;
        let value = |name: &str| {
            let (_, value) = key.split_once(&format!("<{name}>")).unwrap();
            value.split('<').next().unwrap().to_owned()
        };
        let (id, secret) = (value("AccessKeyId"), value("SecretAccessKey"));
        let credentials = Credentials::new(id, secret, None, None, "test");
        let credentials = SharedCredentialsProvider::new(credentials);
        self.config().to_builder().credentials_provider(credentials).build()
    }

    /// Makes it check requests after this many.
    async fn check_after(&self, requests: &'static str) {
        let url = format!("{}/moto-api/reset-auth", self.url);
        let answer = reqwest::Client::new().post(url).body(requests).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let form = reqwest::Url::parse_with_params(&self.url, parameters).unwrap();
        let scope = "test/20260101/us-east-1/iam/aws4_request";
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap().to_owned());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        text
    }

    /// A new bucket.
    pub async fn create_bucket(&self, name: &str) {
        let put = self.s3(Method::PUT, &format!("/{name}")).send().await.unwrap();
        assert_eq!(put.status(), 200);
    }

    /// A request to S3 for this path.
    pub fn s3(&self, method: Method, path: &str) -> RequestBuilder {
        let scope = "test/20260101/us-east-1/s3/aws4_request";
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        request.header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}"))
    }

    /// Creates the template's table under the test's own name, and returns moto's description of
    /// it.
    pub async fn create_table(&self, name: &str) -> Value {
        let Definition { mut definition, ttl_attribute } = template().table;
        definition.insert("TableName".to_owned(), name.into());
        let created = self.dynamodb("CreateTable", &definition.into()).await;
        if let Some(attribute) = ttl_attribute {
            let ttl = json!({ "AttributeName": attribute, "Enabled": true });
            let request = json!({ "TableName": name, "TimeToLiveSpecification": ttl });
            self.dynamodb("UpdateTimeToLive", &request).await;
        }
        created["TableDescription"].clone()
    }

    /// A new table.
    pub async fn table(&self, name: &str) -> Table {
        self.create_table(name).await;
        Table::new(aws_sdk_dynamodb::Client::new(&self.config()), name.to_owned())
    }

    /// Deploys a CloudFormation template, and returns the logical and physical id of each resource.
    pub async fn create_stack(&self, name: &str, template: &Value) -> HashMap<String, String> {
        let client = aws_sdk_cloudformation::Client::new(&self.config());
        let create = client.create_stack().stack_name(name).template_body(template.to_string());
        create.send().await.unwrap();
        let made = client.describe_stack_resources().stack_name(name).send().await.unwrap();
        let made = made.stack_resources().iter().map(|made| {
            let id = |id: Option<&str>| id.unwrap().to_owned();
            (id(made.logical_resource_id()), id(made.physical_resource_id()))
        });
        made.collect()
    }

    /// A raw DynamoDB request, as the template declares it.
    pub async fn dynamodb(&self, operation: &str, request: &Value) -> Value {
        // Only the service is read from the signature; nothing is checked.
        let scope = "test/20260101/us-east-1/dynamodb/aws4_request";
        let response = reqwest::Client::new()
            .post(&self.url)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{operation}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Secrets Manager's client.
    #[must_use]
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config())
    }
}
