//! `MiniStack`, an emulator of AWS that deploys the whole template and runs the functions' own
//! executables behind its API Gateway, without Docker.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{Capability, Parameter};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use shared::dynamo::Table;

use crate::world::{root, template};

/// Serves on this port and ends when its standard input is closed, even if the tests are killed.
const SERVER: &str = "
import os, signal, sys, threading
from ministack.app import main

def end_with_the_tests():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)

# The functions' processes are in its group, and end with it.
os.setpgid(0, 0)
threading.Thread(target=end_with_the_tests, daemon=True).start()
sys.argv = ['ministack']
main()
";

/// Packs a function's executable as Lambda expects it, uncompressed, which is faster.
const PACK: &str = "
import sys, zipfile
program, archive = sys.argv[1:]
with zipfile.ZipFile(archive, 'w') as file:
    file.write(program, 'bootstrap')
";

const FUNCTIONS: [&str; 4] = ["checkout", "entitlements", "tutor", "webhook"];

/// The bucket of the functions' packages and of the template.
const PACKAGES: &str = "packages";

/// A running `MiniStack`. It is stopped when this is dropped.
pub struct MiniStack {
    url: String,
    python: PathBuf,
    folder: PathBuf,
    server: Child,
}

impl MiniStack {
    /// Starts one; none if it is missing, and then the test is skipped.
    #[must_use]
    pub fn start() -> Option<Self> {
        let python = tools::find_or_pass_over("ministack")?.with_file_name("python");
        let port = free_port();
        let folder = root().join(format!("target/ministack/{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Command::new(&python)
            .args(["-I", "-c", SERVER])
            .envs([("GATEWAY_PORT", port.as_str()), ("BIND_HOST", "127.0.0.1")])
            .envs([("LOG_LEVEL", "INFO"), ("IOT_MTLS_ENABLED", "0")])
            // Where it unpacks the functions.
            .env("TMPDIR", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let is_ready = log.by_ref().any(|line| line.unwrap().contains("Running on"));
        assert!(is_ready, "MiniStack failed to start");
        // It logs each request, which must be read.
        std::thread::spawn(move || log.for_each(drop));
        Some(Self { url: format!("http://127.0.0.1:{port}"), python, folder, server })
    }

    /// The address of all its services.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The configuration of the AWS SDK's clients.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        crate::moto::config_of(&self.url)
    }

    /// A request that isn't redirected.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        client.request(method, format!("{}{path}", self.url))
    }

    /// Calls an operation of a JSON API: `DynamoDB_20120810.CreateTable`.
    pub async fn call(&self, operation: &str, request: &Value) -> Value {
        let call = self
            .request(Method::POST, "/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", operation)
            .body(request.to_string());
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{operation}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The template's table under another name.
    pub async fn table(&self, name: &str) -> Table {
        let mut definition = template().table.definition;
        definition.insert("TableName".to_owned(), name.into());
        self.call("DynamoDB_20120810.CreateTable", &definition.into()).await;
        Table::new(aws_sdk_dynamodb::Client::new(&self.config()), name.to_owned())
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) {
        // Only the service is read from the signature.
        let scope = "test/20260101/us-east-1/s3/aws4_request";
        let put = self.request(Method::PUT, path);
        let put = put.header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}"));
        assert_eq!(put.body(bytes).send().await.unwrap().status(), 200, "{path}");
    }

    /// Uploads the functions' executables of this folder, as `sam package` does.
    pub async fn upload_functions(&self, executables: &Path) {
        self.put(&format!("/{PACKAGES}"), Vec::new()).await;
        for function in FUNCTIONS {
            let archive = self.folder.join(function);
            let pack = Command::new(&self.python)
                .args(["-I", "-c", PACK])
                .args([&executables.join(function), &archive])
                .status();
            assert!(pack.unwrap().success());
            self.put(&format!("/{PACKAGES}/{function}"), std::fs::read(archive).unwrap()).await;
        }
    }

    /// Creates a stack of an expanded template. Returns its outputs.
    pub async fn create_stack(
        &self,
        name: &str,
        template: Value,
        parameters: &Value,
    ) -> HashMap<String, String> {
        let template = adapted(template).to_string();
        self.put(&format!("/{PACKAGES}/template.json"), template.into_bytes()).await;
        let client = aws_sdk_cloudformation::Client::new(&self.config());
        let url = format!("{}/{PACKAGES}/template.json", self.url);
        let create = client.create_stack().stack_name(name).template_url(url);
        let given = parameters.as_object().unwrap().iter().map(|(name, value)| {
            Parameter::builder()
                .parameter_key(name)
                .parameter_value(value.as_str().unwrap())
                .build()
        });
        let create = create.set_parameters(Some(given.collect()));
        create.capabilities(Capability::CapabilityIam).send().await.unwrap();
        loop {
            let stacks = client.describe_stacks().stack_name(name).send().await.unwrap();
            let stack = &stacks.stacks()[0];
            match stack.stack_status().unwrap().as_str() {
                "CREATE_COMPLETE" => {
                    let outputs = stack.outputs().iter().map(|output| {
                        let text = |text: Option<&str>| text.unwrap().to_owned();
                        (text(output.output_key()), text(output.output_value()))
                    });
                    return outputs.collect();
                }
                "CREATE_IN_PROGRESS" => {}
                ended => {
                    let events = client.describe_stack_events().stack_name(name).send().await;
                    panic!("{ended}: {events:#?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The template without what `MiniStack` can't do.
fn adapted(mut template: Value) -> Value {
    let resources = template["Resources"].as_object_mut().unwrap();
    for function in FUNCTIONS {
        let name = format!("{}{}Function", function[..1].to_uppercase(), &function[1..]);
        let code = json!({ "S3Bucket": PACKAGES, "S3Key": function });
        resources[&name]["Properties"]["Code"] = code;
    }
    let unknown: Vec<String> = resources
        .iter()
        .filter(|(_, resource)| {
            let is_math = resource["Properties"]["Metrics"].is_array();
            resource["Type"] == "AWS::Cognito::ManagedLoginBranding" || is_math
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in &unknown {
        resources.remove(name);
    }
    let routes = routes(&resources["Api"]["Properties"]["Body"]);
    resources.extend(routes);
    resources["Api"]["Properties"] = json!({ "Name": "Api", "ProtocolType": "HTTP" });
    let mut text = template.to_string();
    for name in unknown {
        // The dashboard shows all alarms.
        text = text.replace(&format!("${{{name}.Arn}}"), &name);
    }
    let url = r#"{"Fn::GetAtt":["UserPool","ProviderURL"]}"#;
    let issuer = "https://cognito-idp.${AWS::Region}.amazonaws.com/${UserPool}";
    let issuer = json!({ "Fn::Sub": issuer }).to_string();
    assert!(text.contains(url));
    serde_json::from_str(&text.replace(url, &issuer)).unwrap()
}

/// `MiniStack` ignores an API's OpenAPI document, so each of its routes becomes a resource.
fn routes(document: &Value) -> Map<String, Value> {
    let of_the_api = |kind: &str, mut properties: Value| {
        properties["ApiId"] = json!({ "Ref": "Api" });
        json!({ "Type": format!("AWS::ApiGatewayV2::{kind}"), "Properties": properties })
    };
    let scheme = &document["components"]["securitySchemes"]["Jwt"];
    let scheme = &scheme["x-amazon-apigateway-authorizer"];
    let jwt = &scheme["jwtConfiguration"];
    let authorizer = json!({
        "Name": "Jwt",
        "AuthorizerType": "JWT",
        "IdentitySource": [scheme["identitySource"]],
        "JwtConfiguration": { "Issuer": jwt["issuer"], "Audience": jwt["audience"] },
    });
    let mut resources = Map::new();
    resources.insert("Jwt".to_owned(), of_the_api("Authorizer", authorizer));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let number = resources.len();
            let called = &operation["x-amazon-apigateway-integration"];
            let integration = json!({
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": called["uri"],
                "PayloadFormatVersion": called["payloadFormatVersion"],
            });
            let name = format!("Integration{number}");
            let mut route = json!({
                "RouteKey": format!("{} {path}", method.to_uppercase()),
                "Target": { "Fn::Sub": format!("integrations/${{{name}}}") },
            });
            resources.insert(name, of_the_api("Integration", integration));
            let scopes = &operation["security"][0]["Jwt"];
            if scopes.is_array() {
                route["AuthorizationType"] = "JWT".into();
                route["AuthorizerId"] = json!({ "Ref": "Jwt" });
                route["AuthorizationScopes"] = scopes.clone();
            }
            resources.insert(format!("Route{number}"), of_the_api("Route", route));
        }
    }
    resources
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// `MiniStack` can't choose one itself.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}
