//! The template as the local stack reads it.

use local::template::{Access, References, Template, TemplateError};

use crate::support::{Folder, template_file};

fn references() -> References {
    [
        ("SiteOrigin", "http://site"),
        ("JwtIssuer", "http://issuer"),
        ("JwtAudience", "one, two"),
        ("Table", "coursegate"),
        ("StripeApiKey", "arn:key"),
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
    let route = checkout.routes.iter().find(|route| route.path == "/checkout").unwrap();
    assert_eq!(route.key(), "POST /checkout");
    assert_eq!(route.access, Access::Token { scopes: vec!["coursegate/learn".to_owned()] });
    let go = checkout.routes.iter().find(|route| route.path == "/go/{link}").unwrap();
    assert_eq!(go.access, Access::Open);
    assert!(find("webhook").function_url && !checkout.function_url);
    assert!(!find("entitlements").variables.contains_key("STRIPE_API_KEY_SECRET_ID"));
    assert_eq!(template.table.ttl_attribute.as_deref(), Some("ttl"));
    assert_eq!(template.secrets.len(), 2);
}

#[test]
fn what_is_not_understood_is_an_error_that_names_its_place() {
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
    check("!Ref SiteOrigin", "!ImportValue x", "Variables.SITE_ORIGIN: !ImportValue");
    check("Type: AWS::DynamoDB::Table", "Type: AWS::SQS::Queue", "Resources.Table");
    check("Path: /go/{link}", "Path: /{proxy+}", "Events.Go.Properties.Path");
    check("AuthType: NONE", "AuthType: AWS_IAM", "FunctionUrlConfig.AuthType");
    check("Type: HttpApi\n", "Type: Schedule\n", "Events.Courses.Type");
    check("Transform:", "\tTransform:", "not YAML");
}

#[test]
fn an_empty_or_broken_template_is_named() {
    let folder = Folder::new();
    let file = folder.0.join("shop.yaml");
    for (text, problem) in [
        ("", "the template declares nothing"),
        ("- one\n- two\n", "the template declares nothing"),
        ("Transform: x\n", "the template declares nothing"),
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
