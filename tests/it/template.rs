//! The CloudFormation template: template.yaml expanded by SAM's own translator, compared with the
//! code and the local stack.

mod rules;
mod site;
mod throttled;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use local::template::Access;
use serde_json::{Value, json};
use tests::moto::moto;
use tests::world::{root, template};
use tools::find_or_pass_over;

use crate::tidy::done_by_adapters;

/// The stack as deployed with some parameters.
struct Deployment {
    parameters: Value,
    expanded: Value,
}

/// The template as CloudFormation would get it; none if SAM is missing, and then the test is
/// skipped.
pub(crate) fn expand(parameters: &Value) -> Option<Value> {
    let output = Command::new(find_or_pass_over("sam")?.with_file_name("python"))
        .arg("-I")
        .arg(root().join("tools/expand.py"))
        .arg(root().join("template.yaml"))
        .arg(parameters.to_string())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

impl Deployment {
    fn resources(&self) -> &serde_json::Map<String, Value> {
        self.expanded["Resources"].as_object().unwrap()
    }

    fn resource(&self, name: &str) -> &Value {
        &self.resources()[name]
    }

    /// The outputs' names.
    fn outputs(&self) -> BTreeSet<&str> {
        self.expanded["Outputs"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// The properties of each resource of this type.
    fn of_type(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let all = self.resources().iter();
        all.filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
            .collect()
    }
}

/// One with its own user pool, and one with another issuer; none if SAM is missing, and then the
/// test is skipped.
fn deployments() -> Option<&'static [Deployment; 2]> {
    static DEPLOYMENTS: OnceLock<[Deployment; 2]> = OnceLock::new();
    find_or_pass_over("sam")?;
    Some(DEPLOYMENTS.get_or_init(|| {
        [
            json!({
                "SiteOrigin": "https://learn.example.com",
                "AlarmEmail": "ops@example.com",
                "SesIdentityArn": "arn:aws:ses:us-east-1:123456789012:identity/example.com",
                "SenderEmail": "school@example.com",
                "SignInDomainPrefix": "learn-example",
                "Architecture": "x86_64",
                "LogRetentionDays": 90,
                "WebhookConcurrency": "20",
                "SiteDomain": "learn.example.com",
                "SiteCertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/site",
                "CorsOrigins": "https://blog.example.com,https://other.example.com",
                "DeploymentMark": "123456789012/eu-central-1/before-it-was-renamed",
            }),
            json!({
                "SiteOrigin": "https://learn.example.com",
                "AlarmEmail": "ops@example.com",
                "JwtIssuer": "https://issuer.example.com",
                "JwtAudience": "site,service",
                "WebhookEntrance": "api",
            }),
        ]
        .map(|parameters| {
            let expanded = expand(&parameters).unwrap();
            Deployment { parameters, expanded }
        })
    }))
}

/// One with these parameters besides the required ones; none if SAM is missing.
fn deployed_with(parameters: &[(&str, &str)]) -> Option<Deployment> {
    let required = [("SiteOrigin", "https://learn.example.com"), ("AlarmEmail", "ops@example.com")];
    let parameters = required.iter().chain(parameters);
    let parameters = parameters.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let expanded = expand(&parameters)?;
    Some(Deployment { parameters, expanded })
}

/// One that serves no site; none if SAM is missing.
fn without_a_site() -> Option<Deployment> {
    deployed_with(&[("SiteHosting", "none"), ("CorsOrigins", "https://blog.example.com")])
}

/// `Table` for `{"Ref": "Table"}`, `Table.Arn` for `{"Fn::GetAtt": ["Table", "Arn"]}`, and a
/// substitution as written.
fn named(reference: &Value) -> String {
    match (&reference["Ref"], &reference["Fn::GetAtt"], &reference["Fn::Sub"]) {
        (Value::String(name), _, _) | (_, _, Value::String(name)) => name.clone(),
        (_, Value::Array(path), _) => {
            path.iter().map(|part| part.as_str().unwrap()).collect::<Vec<_>>().join(".")
        }
        _ => panic!("{reference} names nothing"),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// The API's route for Stripe's deliveries.
pub(crate) const WEBHOOK: &str = "POST /webhook";

#[test]
fn each_route_has_the_local_stack_s_function_and_authorizer() {
    let Some(deployments) = deployments() else { return };
    let template = template();
    let mut read = BTreeMap::new();
    for function in &template.functions {
        for route in &function.routes {
            read.insert(route.key(), (function.logical_id.clone(), route.access.clone()));
        }
    }
    let handled: BTreeSet<&str> =
        [checkout::ROUTES, entitlements::ROUTES, tutor::ROUTES, &[WEBHOOK]]
            .concat()
            .into_iter()
            .collect();
    assert_eq!(read.keys().map(String::as_str).collect::<BTreeSet<_>>(), handled);

    for deployment in deployments {
        let body = &deployment.resource("Api")["Properties"]["Body"];
        let mut deployed = BTreeMap::new();
        for (path, methods) in body["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let integration = &operation["x-amazon-apigateway-integration"];
                assert_eq!(integration["type"], "aws_proxy");
                assert_eq!(integration["payloadFormatVersion"], "2.0");
                let uri = integration["uri"]["Fn::Sub"].as_str().unwrap();
                let function = uri.split("functions/${").nth(1).unwrap();
                let function = function.strip_suffix(".Arn}/invocations").unwrap();
                let access = if operation["security"] == json!([{ "NONE": [] }]) {
                    Access::Open
                } else {
                    let scopes = texts(&operation["security"][0]["Jwt"]);
                    Access::Token { scopes: scopes.into_iter().map(str::to_owned).collect() }
                };
                let key = format!("{} {path}", method.to_uppercase());
                deployed.insert(key, (function.to_owned(), access));
            }
        }
        assert_eq!(deployed, read);
        let stage = &deployment.resource("ApiapiStage")["Properties"];
        assert_eq!(stage["StageName"], template.stage.as_str());
    }
}

#[test]
fn the_api_accepts_tokens_of_its_pool_or_the_given_issuer() {
    let Some([pool, other]) = deployments() else { return };
    let expected = [
        (
            pool,
            json!({ "Fn::GetAtt": ["UserPool", "ProviderURL"] }),
            json!([{ "Ref": "SiteClient" }, { "Ref": "ServiceClient" }]),
        ),
        (other, json!("https://issuer.example.com"), json!(["site", "service"])),
    ];
    for (deployment, issuer, audience) in expected {
        let body = &deployment.resource("Api")["Properties"]["Body"];
        let schemes = body["components"]["securitySchemes"].as_object().unwrap();
        assert_eq!(schemes.keys().collect::<Vec<_>>(), ["Jwt"]);
        let expected = json!({
            "type": "jwt",
            "identitySource": "$request.header.Authorization",
            "jwtConfiguration": { "issuer": issuer, "audience": audience },
        });
        assert_eq!(schemes["Jwt"]["x-amazon-apigateway-authorizer"], expected);
        assert_eq!(deployment.expanded["Outputs"]["JwtIssuer"]["Value"], issuer);
    }
    assert!(pool.of_type("AWS::Cognito::UserPool").contains_key("UserPool"));
    let pieces = other.resources().values().map(|resource| resource["Type"].as_str().unwrap());
    assert_eq!(pieces.filter(|kind| kind.starts_with("AWS::Cognito::")).count(), 0);
}

#[test]
fn no_pool_client_has_both_learner_and_service_scopes() {
    let Some([pool, _]) = deployments() else { return };
    let clients = pool.of_type("AWS::Cognito::UserPoolClient");
    assert_eq!(clients.keys().collect::<Vec<_>>(), [&"ServiceClient", &"SiteClient"]);
    for (name, flow, has_secret, minutes, scopes) in [
        ("SiteClient", "code", false, 60, &["openid", "email", "coursegate/learn"][..]),
        ("ServiceClient", "client_credentials", true, 24 * 60, &["coursegate/learners"]),
    ] {
        let client = clients[name];
        assert_eq!(texts(&client["AllowedOAuthFlows"]), [flow]);
        assert_eq!(texts(&client["AllowedOAuthScopes"]), scopes);
        assert_eq!(client["GenerateSecret"], has_secret, "{name}");
        assert_eq!(client["EnableTokenRevocation"], true, "{name}");
        assert_eq!(client["PreventUserExistenceErrors"], "ENABLED", "{name}");
        assert_eq!(client["AccessTokenValidity"], minutes, "{name}");
        assert_eq!(client["TokenValidityUnits"]["AccessToken"], "minutes", "{name}");
    }
    let site = clients["SiteClient"];
    for urls in ["CallbackURLs", "LogoutURLs"] {
        assert_eq!(texts(&site[urls]), ["https://learn.example.com/"]);
    }
    // The local stack's issuer has the same rules.
    let rotation = json!({ "Feature": "ENABLED", "RetryGracePeriodSeconds": 10 });
    assert_eq!(site["RefreshTokenRotation"], rotation);
    assert_eq!(site["RefreshTokenValidity"], 30);
    assert_eq!(site["TokenValidityUnits"]["RefreshToken"], "days");
    let server = &pool.resource("ResourceServer")["Properties"];
    let scopes = server["Scopes"].as_array().unwrap().iter();
    let scopes: Vec<&str> = scopes.map(|scope| scope["ScopeName"].as_str().unwrap()).collect();
    assert_eq!(
        (server["Identifier"].as_str(), scopes),
        (Some("coursegate"), vec!["learn", "learners"])
    );
}

#[test]
fn learners_sign_in_with_an_emailed_code() {
    let Some([pool, _]) = deployments() else { return };
    let properties = &pool.resource("UserPool")["Properties"];
    assert_eq!(properties["UserPoolTier"], "ESSENTIALS");
    let factors = texts(&properties["Policies"]["SignInPolicy"]["AllowedFirstAuthFactors"]);
    // Cognito refuses a list without PASSWORD.
    assert_eq!(factors, ["PASSWORD", "EMAIL_OTP", "WEB_AUTHN"]);
    let flows = &pool.resource("SiteClient")["Properties"]["ExplicitAuthFlows"];
    assert_eq!(texts(flows), ["ALLOW_USER_AUTH"], "without it, SignUp requires a password");
    let domain = "learn-example.auth.${AWS::Region}.amazoncognito.com";
    assert_eq!(named(&properties["WebAuthnRelyingPartyID"]), domain);
    assert_eq!(properties["WebAuthnUserVerification"], "required");
    assert_eq!(texts(&properties["UsernameAttributes"]), ["email"]);
    assert_eq!(texts(&properties["AutoVerifiedAttributes"]), ["email"]);
    assert_eq!(properties["UsernameConfiguration"]["CaseSensitive"], false);
    let sender = json!({
        "EmailSendingAccount": "DEVELOPER",
        "SourceArn": pool.parameters["SesIdentityArn"],
        "From": "school@example.com",
    });
    assert_eq!(properties["EmailConfiguration"], sender);
    assert_eq!(pool.resource("SignInDomain")["Properties"]["Domain"], "learn-example");
    assert_eq!(pool.resource("SignInDomain")["Properties"]["ManagedLoginVersion"], 2);
}

#[test]
fn each_function_runs_as_locally_with_logs_and_traces() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let functions = deployment.of_type("AWS::Lambda::Function");
        let read = template().functions;
        assert_eq!(functions.len(), read.len());
        let mut logs = BTreeSet::new();
        for expected in read {
            let name = expected.logical_id.as_str();
            let function = functions[name];
            let variables = function["Environment"]["Variables"].as_object().unwrap();
            let given: BTreeSet<&String> = variables.keys().collect();
            assert_eq!(given, expected.variables.keys().collect(), "{name}");
            assert_eq!(function["Timeout"], expected.timeout.as_secs(), "{name}");
            assert_eq!(function["MemorySize"], expected.memory_mb, "{name}");
            assert_eq!(function["TracingConfig"]["Mode"], "Active", "{name}");
            let architecture = deployment.parameters["Architecture"].as_str().unwrap_or("arm64");
            assert_eq!(texts(&function["Architectures"]), [architecture], "{name}");
            let reserved = match name {
                "WebhookFunction" => &deployment.parameters["WebhookConcurrency"],
                _ => &Value::Null,
            };
            assert_eq!(&function["ReservedConcurrentExecutions"], reserved, "{name}");
            logs.insert(named(&function["LoggingConfig"]["LogGroup"]));
        }
        let stage = &deployment.resource("ApiapiStage")["Properties"];
        logs.insert(named(&stage["AccessLogSettings"]["DestinationArn"]).replace(".Arn", ""));
        assert_eq!(logs.len(), 5, "each has a log of its own");
        for log in &logs {
            let retention = deployment.parameters["LogRetentionDays"].as_u64().unwrap_or(30);
            let properties = &deployment.resource(log)["Properties"];
            assert_eq!(properties["RetentionInDays"], retention, "{log}");
        }
    }
}

#[test]
fn function_variables_belong_to_this_deployment() {
    let Some(deployments) = deployments() else { return };
    let (table, key) = (json!({ "Ref": "Table" }), json!({ "Ref": "StripeApiKey" }));
    let secret = json!({ "Ref": "StripeSigningSecret" });
    let read_key = json!({ "Ref": "StripeReadKey" });

    for deployment in deployments {
        let mark = &deployment.expanded["Outputs"]["DeploymentMark"]["Value"];
        let is_given = json!({ "Fn::Equals": [{ "Ref": "DeploymentMark" }, ""] });
        assert_eq!(deployment.expanded["Conditions"]["MarkIsGiven"]["Fn::Not"][0], is_given);
        for (function, variable, value) in [
            ("EntitlementsFunction", "TABLE_NAME", &table),
            ("CheckoutFunction", "TABLE_NAME", &table),
            ("TutorFunction", "TABLE_NAME", &table),
            ("WebhookFunction", "TABLE_NAME", &table),
            ("CheckoutFunction", "STRIPE_API_KEY_SECRET_ID", &key),
            ("TutorFunction", "STRIPE_API_KEY_SECRET_ID", &key),
            ("WebhookFunction", "STRIPE_SIGNING_SECRET_ID", &secret),
            ("WebhookFunction", "STRIPE_READ_KEY_SECRET_ID", &read_key),
            ("WebhookFunction", "STRIPE_API_URL", &json!("")),
            ("CheckoutFunction", "REFUND_THRESHOLD_PERCENT", &json!(100)),
            ("EntitlementsFunction", "REFUND_THRESHOLD_PERCENT", &json!(100)),
            ("TutorFunction", "REFUND_THRESHOLD_PERCENT", &json!(100)),
            ("TutorFunction", "SITE_ORIGIN", &deployment.parameters["SiteOrigin"]),
            ("TutorFunction", "DEPLOYMENT_MARK", mark),
            ("TutorFunction", "STRIPE_MODE", &json!("test")),
            ("TutorFunction", "STRIPE_API_URL", &json!("")),
            ("CheckoutFunction", "SITE_ORIGIN", &deployment.parameters["SiteOrigin"]),
            ("CheckoutFunction", "DEPLOYMENT_MARK", mark),
            ("WebhookFunction", "DEPLOYMENT_MARK", mark),
            ("CheckoutFunction", "STRIPE_MODE", &json!("test")),
            ("WebhookFunction", "STRIPE_MODE", &json!("test")),
            ("CheckoutFunction", "STRIPE_API_URL", &json!("")),
            ("WebhookFunction", "DYNAMODB_ENDPOINT", &json!("")),
            ("WebhookFunction", "SECRETS_MANAGER_ENDPOINT", &json!("")),
        ] {
            let environment = &deployment.resource(function)["Properties"]["Environment"];
            assert_eq!(&environment["Variables"][variable], value, "{function} {variable}");
        }
    }
}

#[test]
fn each_role_allows_exactly_what_its_adapters_do() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let roles = deployment.of_type("AWS::IAM::Role");
        assert_eq!(roles.len(), 4);
        for kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"] {
            assert!(deployment.of_type(kind).is_empty(), "{kind}");
        }
        for (function, done) in done_by_adapters() {
            let role = named(&deployment.resource(function)["Properties"]["Role"]);
            let role = roles[role.strip_suffix(".Arn").unwrap()];
            let mut allowed = BTreeSet::new();
            for policy in role["Policies"].as_array().unwrap() {
                for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                    assert_eq!(statement["Effect"], "Allow");
                    let on = named(&statement["Resource"]);
                    let actions = texts(&statement["Action"]).into_iter();
                    allowed.extend(actions.map(|action| format!("{action} on {on}")));
                }
            }
            assert_eq!(allowed, done, "{function}");
            let managed = [
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
                "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
            ];
            assert_eq!(texts(&role["ManagedPolicyArns"]), managed, "{function}");
            let trusted = &role["AssumeRolePolicyDocument"]["Statement"];
            assert_eq!(trusted.as_array().unwrap().len(), 1);
            assert_eq!(texts(&trusted[0]["Principal"]["Service"]), ["lambda.amazonaws.com"]);
        }
    }
}

#[test]
fn only_the_api_invokes_functions_and_the_public_the_webhook() {
    let Some(deployments) = deployments() else { return };
    for (deployment, has_url) in deployments.iter().zip([true, false]) {
        let mut by_the_api = BTreeSet::new();
        let mut by_anyone = BTreeSet::new();
        for permission in deployment.of_type("AWS::Lambda::Permission").into_values() {
            let function = named(&permission["FunctionName"]);
            let action = permission["Action"].as_str().unwrap();
            if permission["Principal"] == "apigateway.amazonaws.com" {
                assert_eq!(action, "lambda:InvokeFunction");
                let source = &permission["SourceArn"]["Fn::Sub"];
                let arn = source[0].as_str().unwrap();
                let (_, route) = arn.split_once(":${__ApiId__}/${__Stage__}/").unwrap();
                assert!(!route.contains('{'), "{route} lets the API call no route");
                assert_eq!(source[1]["__ApiId__"], json!({ "Ref": "Api" }));
                by_the_api.insert(function);
            } else {
                assert_eq!(permission["Principal"], "*");
                let by_url = permission["InvokedViaFunctionUrl"] == true
                    || permission["FunctionUrlAuthType"] == "NONE";
                assert!(by_url, "{permission}");
                by_anyone.insert((function, action));
            }
        }
        let api = ["CheckoutFunction", "EntitlementsFunction", "TutorFunction", "WebhookFunction"];
        assert_eq!(by_the_api, api.map(str::to_owned).into());
        // AWS requires both since October 2025:
        // https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        let both = ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"].into_iter();
        let both = both.filter(|_| has_url).map(|action| ("WebhookFunction".to_owned(), action));
        assert_eq!(by_anyone, both.collect());
        let urls = deployment.of_type("AWS::Lambda::Url");
        let functions: Vec<_> = urls.values().map(|url| named(&url["TargetFunctionArn"])).collect();
        assert_eq!(functions, if has_url { &["WebhookFunction"][..] } else { &[] });
        // Where the operator's commands tell Stripe to deliver.
        let address = &deployment.expanded["Outputs"]["WebhookUrl"]["Value"];
        if has_url {
            assert_eq!(address, &json!({ "Fn::GetAtt": ["WebhookFunctionUrl", "FunctionUrl"] }));
        } else {
            let api = named(&deployment.expanded["Outputs"]["ApiUrl"]["Value"]);
            assert_eq!(named(address), api + "/webhook");
        }
    }
}

#[test]
fn irreplaceable_resources_are_retained_and_protected() {
    let Some([pool, other]) = deployments() else { return };
    // A failed creation deletes those that could be charged for. The others are protected from
    // deletion, so deleting them would fail.
    let unless_created =
        ["ContentBucket", "SiteBucket", "StripeApiKey", "StripeReadKey", "StripeSigningSecret"];
    let protected = ["Table", "UserPool"];
    for (deployment, protected) in [(pool, &protected[..]), (other, &protected[..1])] {
        let policies = unless_created.iter().map(|name| (name, "RetainExceptOnCreate"));
        for (name, policy) in policies.chain(protected.iter().map(|name| (name, "Retain"))) {
            let resource = deployment.resource(name);
            assert_eq!(resource["DeletionPolicy"], policy, "{name}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
        }
        let table = &deployment.resource("Table")["Properties"];
        assert_eq!(table["DeletionProtectionEnabled"], true);
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
        // Without this property DynamoDB encrypts with its own key, which costs nothing.
        assert_eq!(table["SSESpecification"], Value::Null);
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
        for secret in ["StripeApiKey", "StripeReadKey", "StripeSigningSecret"] {
            let properties = &deployment.resource(secret)["Properties"];
            assert_eq!(properties["SecretString"], "placeholder", "no secret is in a template");
        }
    }
    assert_eq!(pool.resource("UserPool")["Properties"]["DeletionProtection"], "ACTIVE");
}

#[test]
fn the_api_s_log_holds_neither_paths_nor_addresses_nor_tokens() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let stage = &deployment.resource("ApiapiStage")["Properties"];
        let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
        let line: BTreeMap<String, String> = serde_json::from_str(format).unwrap();
        let logged: BTreeSet<&str> = line.values().map(String::as_str).collect();
        let harmless = [
            "$context.authorizer.error",
            "$context.integrationLatency",
            "$context.integrationStatus",
            "$context.requestId",
            "$context.requestTimeEpoch",
            "$context.responseLatency",
            "$context.routeKey",
            "$context.status",
        ];
        assert_eq!(logged, harmless.into());
    }
}

/// Every name that a value refers to, without the attribute.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    let before_dot = |text: &str| text.split('.').next().unwrap().to_owned();
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => {
            if let Some(name) = members.get("Ref").and_then(Value::as_str) {
                found.insert(name.to_owned());
            }
            match members.get("Fn::GetAtt") {
                Some(Value::Array(path)) => found.extend([path[0].as_str().unwrap().to_owned()]),
                Some(other) => found.extend([before_dot(other.as_str().unwrap())]),
                None => {}
            }
            let (text, own) = match members.get("Fn::Sub") {
                Some(Value::Array(parts)) => (parts[0].as_str(), parts[1].as_object()),
                other => (other.and_then(Value::as_str), None),
            };
            for name in text.unwrap_or_default().split("${").skip(1) {
                let name = before_dot(name.split('}').next().unwrap());
                if !own.is_some_and(|own| own.contains_key(&name)) {
                    found.insert(name);
                }
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_resolves() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments.iter().chain(&without_a_site()) {
        let mut found = BTreeSet::new();
        references(&deployment.expanded["Resources"], &mut found);
        references(&deployment.expanded["Outputs"], &mut found);
        for resource in deployment.resources().values() {
            let before = &resource["DependsOn"];
            let names = if before.is_string() { json!([before]) } else { before.clone() };
            let names = names.as_array().into_iter().flatten();
            found.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        }
        assert!(found.len() > 20);
        for name in found {
            let there = name.starts_with("AWS::") || deployment.resources().contains_key(&name);
            assert!(there, "{name} is referred to, and is not there");
        }
    }
}

#[test]
fn the_outputs_are_those_that_the_operator_s_commands_read() {
    let Some([pool, other]) = deployments() else { return };
    let always = [
        "AlarmTopicArn",
        "ApiUrl",
        "ContentBucketName",
        "CorsOrigins",
        "DashboardUrl",
        "DeploymentMark",
        "JwtIssuer",
        "RefundThresholdPercent",
        "SiteOrigin",
        "StripeApiKeyArn",
        "StripeMode",
        "StripeReadKeyArn",
        "StripeSigningSecretArn",
        "TableName",
        "Version",
        "WebhookFunctionName",
        "WebhookUrl",
    ];
    let of_the_pool = ["ServiceClientId", "SignInUrl", "SiteClientId"];
    let of_the_site = ["DistributionId", "SiteBucketName", "SiteUrl"];
    assert_eq!(other.outputs(), always.into_iter().chain(of_the_site).collect());
    assert_eq!(pool.outputs(), &other.outputs() | &of_the_pool.into());
    let bare = without_a_site().unwrap();
    assert_eq!(bare.outputs(), always.into_iter().chain(of_the_pool).collect());
}

#[test]
fn a_stack_without_a_site_has_no_cloudfront_and_no_site_bucket() {
    let Some(bare) = without_a_site() else { return };
    let kinds: BTreeSet<&str> =
        bare.resources().values().map(|resource| resource["Type"].as_str().unwrap()).collect();
    assert!(!kinds.iter().any(|kind| kind.starts_with("AWS::CloudFront")), "{kinds:?}");
    assert_eq!(bare.of_type("AWS::S3::Bucket").keys().collect::<Vec<_>>(), [&"ContentBucket"]);
}

#[tokio::test]
async fn moto_creates_the_stateful_resources_as_declared() {
    let (Some([_, deployment]), Some(moto)) = (deployments(), moto()) else { return };
    // The template's types that it supports and that don't depend on others.
    let kinds = ["AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::SNS::Topic"];
    let known = |resource: &Value| kinds.contains(&resource["Type"].as_str().unwrap());
    let resources = deployment.resources().iter().filter(|(_, resource)| known(resource));
    let resources: serde_json::Map<String, Value> =
        resources.map(|(name, resource)| (name.clone(), resource.clone())).collect();
    let made = moto.create_stack("declared", &json!({ "Resources": resources })).await;
    assert_eq!(made.keys().collect::<BTreeSet<_>>(), resources.keys().collect());
    assert_eq!(made["WebhookLogs"], "/aws/lambda/declared-webhook");

    let declared = &deployment.resource("Table")["Properties"];
    let name = json!({ "TableName": made["Table"] });
    let table = &moto.dynamodb("DescribeTable", &name).await["Table"];
    for property in ["AttributeDefinitions", "KeySchema", "DeletionProtectionEnabled"] {
        assert_eq!(table[property], declared[property], "{property}");
    }
    assert_eq!(table["BillingModeSummary"]["BillingMode"], declared["BillingMode"]);
}
