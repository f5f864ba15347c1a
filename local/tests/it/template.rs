//! The template as the local stack reads it.

use local::template::{Access, Limit, References, Template, TemplateError};

use crate::support::{Folder, template_file};

fn references() -> References {
    [
        ("SiteOrigin", "http://site"),
        ("JwtIssuer", "http://issuer"),
        ("JwtAudience", "one, two"),
        ("ContentEndpoint", "http://content"),
        ("ContentBucket", "coursegate-content"),
        ("CorsOrigins", "http://one,https://two"),
        ("Table", "coursegate"),
        ("StripeApiKey", "arn:key"),
        ("StripeReadKey", "arn:read"),
        ("StripeSigningSecret", "arn:secret"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn text() -> String {
    std::fs::read_to_string(template_file()).unwrap()
}

#[test]
fn the_projects_template_is_understood() {
    let template = Template::parse(&text(), &references()).unwrap();
    assert_eq!(template.stage, "api");
    assert_eq!(template.authorizer.audiences, ["one", "two"]);
    let find = |name: &str| template.functions.iter().find(|f| f.binary == name).unwrap();
    let checkout = find("checkout");
    assert_eq!(checkout.logical_id, "CheckoutFunction");
    assert_eq!(checkout.timeout.as_secs(), 28);
    assert_eq!(checkout.memory_mb, 256);
    assert_eq!(checkout.variables["SITE_ORIGIN"], "http://site");
    assert_eq!(checkout.variables["TABLE_NAME"], "coursegate", "from Globals");
    assert_eq!(checkout.variables["STRIPE_MODE"], "test", "the parameter's default");
    assert_eq!(checkout.variables["REFUND_THRESHOLD_PERCENT"], "100", "a number's default");
    let route = checkout.routes.iter().find(|route| route.path == "/checkout").unwrap();
    assert_eq!(route.key(), "POST /checkout");
    assert_eq!(route.access, Access::Token { scopes: vec!["coursegate/learn".to_owned()] });
    let go = checkout.routes.iter().filter(|route| route.path == "/go/{proxy+}");
    let go: Vec<_> = go.map(|route| (route.method.as_str(), &route.access)).collect();
    assert_eq!(go, ["GET", "HEAD", "POST"].map(|method| (method, &Access::Open)));
    assert!(find("webhook").function_url && !checkout.function_url);
    assert!(!find("entitlements").variables.contains_key("STRIPE_API_KEY_SECRET_ID"));
    assert_eq!(template.table.ttl_attribute.as_deref(), Some("ttl"));
    assert_eq!(template.secrets.len(), 3);
}

#[test]
fn limits_and_the_webhook_s_entrance_follow_the_parameters() {
    let with = |parameters: &[(&str, &str)]| {
        let given = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let references = references().into_iter().chain(given).collect();
        Template::parse(&text(), &references).map_err(|error| error.to_string())
    };
    let webhook = |template: &Template| {
        let found = template.functions.iter().find(|function| function.binary == "webhook");
        let function = found.unwrap();
        assert_eq!(function.routes[0].key(), "POST /webhook");
        assert_eq!(function.routes[0].access, Access::Open);
        (function.function_url, function.reserved_concurrency)
    };
    let usual = with(&[]).unwrap();
    assert_eq!(webhook(&usual), (true, None));
    let limit = |burst, rate| Limit { burst, rate };
    assert_eq!(usual.throttling.default, Some(limit(100, 50)));
    assert_eq!(usual.throttling.routes["POST /webhook"], limit(20, 10));
    let other = [("WebhookEntrance", "api"), ("WebhookConcurrency", "3")];
    assert_eq!(webhook(&with(&other).unwrap()), (false, Some(3)));
    let error = with(&[("WebhookEntrance", "door")]).unwrap_err();
    assert!(error.ends_with("WebhookEntrance.AllowedValues: door is not one of these values"));
}

#[test]
fn the_csp_is_read_from_the_template() {
    let template = Template::parse(&text(), &references()).unwrap();
    let cors = template.cors.unwrap();
    assert_eq!(cors.origins, ["http://one", "https://two"]);
    assert_eq!((cors.methods.join(" "), cors.max_age_seconds), ("GET POST".to_owned(), 600));
    assert_eq!(template.api_headers.as_ref(), Some(&cors), "CloudFront's are the same");
    let [site, others] = template.content_cors.as_slice() else { panic!("two rules") };
    assert_eq!(
        (&site.origins[..], &others.origins[..]),
        (&["http://site".to_owned()][..], &cors.origins[..])
    );
    let header = |name: &str| {
        let found = template.site_headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(
        header("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' http://content https://issuer ; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    assert_eq!(header("access-control-allow-origin"), "*");

    let mut alone = references();
    alone.insert("CorsOrigins".to_owned(), String::new());
    let template = Template::parse(&text(), &alone).unwrap();
    assert_eq!((template.cors, template.content_cors.len()), (None, 1));
    assert_eq!(template.api_headers, None);
}

#[test]
fn an_unsupported_construct_is_an_error_with_its_path() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = text();
        assert!(text.contains(from), "the template has changed: {from}");
        let changed = text.replacen(from, to, 1);
        let error = Template::parse(&changed, &references()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("Timeout: 28", "Timeout: soon", "Resources.CheckoutFunction.Properties.Timeout");
    check("Timeout: 28", "VpcConfig: {}", "Resources.CheckoutFunction.Properties.VpcConfig");
    check("!Ref SiteOrigin", "!Ref Nothing", "Variables.SITE_ORIGIN: Nothing has no value");
    check(
        "!Ref SiteOrigin",
        "!ImportValue x",
        "Variables.SITE_ORIGIN: the local stack doesn't support !ImportValue",
    );
    check("!Ref SiteOrigin", "!If [Nothing, a, b]", "SITE_ORIGIN.If: there is no condition");
    check("!Ref SiteOrigin", "!If [OwnPool, a]", "SITE_ORIGIN: !If takes a condition");
    check("!Ref SiteOrigin", "{ a: { Fn::Sub: b } }", "SITE_ORIGIN.a.Fn::Sub: write it in its");
    check(
        "OwnPool: !Equals [",
        "OwnPool: !Or [",
        "Conditions.OwnPool: the local stack supports only !Eq",
    );
    check("Condition: OwnPool", "Condition: Nothing", "there is no condition Nothing");
    check("Type: AWS::DynamoDB::Table", "Type: AWS::SQS::Queue", "Resources.Table");
    check(
        "Path: /go/{proxy+}",
        "Path: /$default",
        "Events.ShowLink.Properties.Path: the local stack doesn't support default",
    );
    check("Path: /go/{proxy+}", "Path: /go/{link+}", "Path: a greedy variable must be the last");
    check("Path: /go/{proxy+}", "Path: /{proxy+}/go", "Path: a greedy variable must be the last");
    check("AuthType: NONE", "AuthType: AWS_IAM", "WebhookFunctionUrl.Properties.AuthType");
    let target = "TargetFunctionArn: !Ref WebhookFunction";
    check(target, "TargetFunctionArn: !Ref Table", "TargetFunctionArn: there is no such function");
    check(target, "TargetFunctionArn: a", "TargetFunctionArn: this must be the !Ref of a resource");
    check("SiteHeaders:\n", "OtherHeaders:\n", "Resources.OtherHeaders: the local stack doesn't");
    check("ThrottlingBurstLimit: 100", "ThrottlingBurstLimit: many", "DefaultRouteSettings.Thr");
    check("Type: HttpApi\n", "Type: Schedule\n", "Events.Courses.Type");
    check("Transform:", "\tTransform:", "not YAML");
    let split = "AllowOrigins: !Split [\",\", !Ref CorsOrigins]";
    let at = "Resources.Api.Properties.CorsConfiguration.AllowOrigins";
    check(split, "AllowOrigins: !Split [a]", &format!("{at}.Split: this must have two arguments"));
    check(split, "AllowOrigins: !Split [a, [b]]", "!Split takes a separator and a text");
    check(split, "AllowOrigins: !Join [a, b]", "!Join takes a separator and a list of text");
    check(split, "AllowOrigins: !Select [2, [a, b]]", "!Select takes an index and a list");
    check("MaxAge: 600\n", "AllowCredentials: true\n", "CorsConfiguration.AllowCredentials");
    check("MaxAge: 600 }", "MaxAge: 600, Id: a }", "CorsRules.0.Id: the local stack doesn't");
    check("FrameOptions:", "XSSProtection:", "SecurityHeadersConfig.XSSProtection");
    check("Items: [\"*\"]", "Items: [\"https://a\"]", "AccessControlAllowOrigins.Items: the local");
}

/// A template whose condition `Given` holds unless the parameter `Size` is `none`.
fn conditional(size: &str) -> Template {
    let text = r#"
Parameters:
  Size: { Type: String, Default: none }
Conditions:
  Given: !Not [!Equals [!Ref Size, none]]
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      StageName: !If [Given, !Sub "stage-${Size}", api]
      Auth:
        DefaultAuthorizer: Jwt
        Authorizers:
          Jwt:
            IdentitySource: $request.header.Authorization
            JwtConfiguration:
              issuer: !If [Given, !GetAtt Nowhere.Url, http://issuer]
              audience: [one, !If [Given, two, !Ref AWS::NoValue]]
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TimeToLiveSpecification: !If [Given, { AttributeName: ttl, Enabled: true }, !Ref AWS::NoValue]
  Queue:
    Type: AWS::SQS::Queue
    Condition: Given
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties:
      SecretString: !If [Given, !If [Given, both, neither], !If [Given, one, !Ref Size]]
"#;
    let given = if size == "none" { text.to_owned() } else { text.replace("AWS::SQS", "AWS::SNS") };
    let references = [("Size", size), ("Nowhere.Url", "http://nowhere")];
    let references = references.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Template::parse(&given, &references.into()).unwrap()
}

#[test]
fn what_a_condition_excludes_is_neither_made_nor_required() {
    let without = conditional("none");
    assert_eq!(without.stage, "api");
    assert_eq!(without.authorizer.issuer, "http://issuer");
    assert_eq!(without.authorizer.audiences, ["one"]);
    assert_eq!(without.table.ttl_attribute, None);
    assert_eq!(without.secrets[0].value, "none");
    let with = conditional("large");
    assert_eq!(with.stage, "stage-large");
    assert_eq!(with.authorizer.issuer, "http://nowhere");
    assert_eq!(with.authorizer.audiences, ["one", "two"]);
    assert_eq!(with.table.ttl_attribute.as_deref(), Some("ttl"));
    assert_eq!(with.secrets[0].value, "both");
}

#[test]
fn an_empty_or_broken_template_is_named() {
    let folder = Folder::new();
    let file = folder.0.join("shop.yaml");
    for (text, problem) in [
        ("", "the template has no Resources"),
        ("- one\n- two\n", "the template has no Resources"),
        ("Transform: x\n", "the template has no Resources"),
        ("a: [\n", "not YAML"),
        ("Resources: 5\n", "the template's Resources"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Template::read(&file, &references()).unwrap_err().to_string();
        assert!(error.contains("shop.yaml: ") && error.contains(problem), "{error}");
    }
}

#[test]
fn a_missing_template_is_named() {
    let file = std::path::Path::new("/nonexistent/template.yaml");
    let error = Template::read(file, &references()).unwrap_err();
    assert!(matches!(error, TemplateError::Unreadable { .. }));
    assert!(error.to_string().contains("/nonexistent/template.yaml"), "{error}");
}
