//! Reads `template.yaml`: the local stack runs what AWS would deploy.
//!
//! Routes, scopes, variables, timeouts and the table are declared in the template and nowhere else.
//! Anything unsupported that would change the system's behavior is an error that names its path, so
//! the local stack can't silently differ from the deployed one.

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use node::{Node, Resolver};

/// The local stack's part of the template, with every reference resolved.
#[derive(Debug, Clone)]
pub struct Template {
    /// The names of its parameters.
    pub parameters: BTreeSet<String>,
    /// The API's stage, which is the first segment of every path: `api`.
    pub stage: String,
    /// The JWT authorizer of the API.
    pub authorizer: Authorizer,
    /// The API's CORS rules; none if the template allows no other origin.
    pub cors: Option<Cors>,
    /// The CORS rules that `CloudFront` applies to everything under the API's stage.
    pub api_headers: Option<Cors>,
    /// How many requests the API lets through.
    pub throttling: Throttling,
    /// The functions, in the template's order.
    pub functions: Vec<Function>,
    /// The one table.
    pub table: Table,
    /// The secrets with their initial values.
    pub secrets: Vec<Secret>,
    /// The CORS rules of the chapters' bucket.
    pub content_cors: Vec<Cors>,
    /// The headers of the site's files: lower-case names, and values.
    pub site_headers: Vec<(&'static str, String)>,
}

/// CORS rules: <https://fetch.spec.whatwg.org/#http-cors-protocol>.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// The origins.
    pub origins: Vec<String>,
    /// The methods.
    pub methods: Vec<String>,
    /// The request headers.
    pub headers: Vec<String>,
    /// The exposed response headers.
    pub exposed_headers: Vec<String>,
    /// How long a browser may cache this.
    pub max_age_seconds: u32,
}

/// The API's JWT authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// The token's `iss`.
    pub issuer: String,
    /// The accepted values of a token's `aud` or `client_id`.
    pub audiences: Vec<String>,
}

/// How many requests the API lets through to each route.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Throttling {
    /// The limit of a route without one of its own; none if there is no limit.
    pub default: Option<Limit>,
    /// By route: `POST /checkout`.
    pub routes: BTreeMap<String, Limit>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests at once.
    pub burst: u32,
    /// Requests per second in the long run.
    pub rate: u32,
}

/// One Lambda function.
#[derive(Debug, Clone)]
pub struct Function {
    /// `CheckoutFunction`
    pub logical_id: String,
    /// `checkout`: the binary's name, and the function's on the local stack.
    pub binary: String,
    /// Its description.
    pub description: String,
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// Memory in MB. The function is told; nothing enforces it here.
    pub memory_mb: u32,
    /// How many executions are reserved for it, which is also its limit.
    pub reserved_concurrency: Option<u32>,
    /// Environment variables, including those of `Globals`.
    pub variables: BTreeMap<String, String>,
    /// The API's routes to this function.
    pub routes: Vec<Route>,
    /// Whether it has a Function URL.
    pub function_url: bool,
}

/// One route of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET`
    pub method: String,
    /// `/courses/{course}/access`, without the stage.
    pub path: String,
    /// Who may call it.
    pub access: Access,
}

impl Route {
    /// `GET /courses/{course}/access`, as API Gateway writes it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Who may call a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Open,
    /// The bearer of a valid token with one of these scopes; any valid token if there are none.
    Token {
        /// One of these must be in the token's `scope` or `scp`.
        scopes: Vec<String>,
    },
}

/// The table, as a `CreateTable` request without its name.
#[derive(Debug, Clone)]
pub struct Table {
    /// `KeySchema`, `AttributeDefinitions` and so on.
    pub definition: serde_json::Map<String, Value>,
    /// The attribute with an item's expiry time.
    pub ttl_attribute: Option<String>,
}

/// A secret of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// `StripeApiKey`
    pub logical_id: String,
    /// Its initial value.
    pub value: String,
}

/// Why a template can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file can't be read.
    #[error("cannot read the template {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("the template is not YAML: {0}")]
    NotYaml(serde_norway::Error),
    /// The file is YAML, but declares no resources.
    #[error("the template has no Resources: see the project's template.yaml")]
    Empty,
    /// The template in this file is invalid.
    #[error("{}: {problem}", file.display())]
    In {
        /// The file.
        file: PathBuf,
        /// The error.
        problem: Box<TemplateError>,
    },
    /// Something in it can't be run here.
    #[error("the template's {path}: {problem}")]
    Unusable {
        /// `Resources.CheckoutFunction.Properties.Timeout`
        path: String,
        /// The error.
        problem: String,
    },
}

/// Values of parameters (`SiteOrigin`), resources (`Table`) and their attributes (`Table.Arn`).
pub type References = BTreeMap<String, String>;

/// The bucket of the chapters.
const CONTENT_BUCKET: &str = "ContentBucket";
/// The header policies of the distribution, for the site's files and for the API.
const SITE_HEADERS: &str = "SiteHeaders";
const API_HEADERS: &str = "ApiHeaders";

/// Properties of a function that make no difference on a laptop.
const FUNCTION_WITHOUT_EFFECT: &[&str] = &[
    "Architectures",
    "CodeUri",
    "FunctionName",
    "Handler",
    "LoggingConfig",
    "Policies",
    "Role",
    "Runtime",
    "Tags",
    "Tracing",
];

/// Monitoring, logging and permission resources, which have no counterpart on a laptop.
const TYPES_WITHOUT_EFFECT: &[&str] = &[
    "AWS::Budgets::",
    "AWS::CloudFront::",
    "AWS::CloudWatch::",
    "AWS::Cognito::",
    "AWS::IAM::",
    "AWS::KMS::",
    "AWS::Lambda::Permission",
    "AWS::Logs::",
    "AWS::S3::",
    "AWS::SNS::",
];

impl Template {
    /// Reads a file. See [`Template::parse`].
    pub fn read(path: &Path, references: &References) -> Result<Template, TemplateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TemplateError::Unreadable { path: path.to_owned(), source })?;
        Template::parse(&text, references).map_err(|problem| TemplateError::In {
            file: path.to_owned(),
            problem: Box::new(problem),
        })
    }

    /// Parses the template, with `references` for values that only a deployment knows: parameters,
    /// and what `!Ref` and `!GetAtt` of a resource return.
    pub fn parse(text: &str, references: &References) -> Result<Template, TemplateError> {
        let document: serde_norway::Value =
            serde_norway::from_str(text).map_err(TemplateError::NotYaml)?;
        if document.get("Resources").is_none() {
            return Err(TemplateError::Empty);
        }
        let resolver = Resolver::new(&document, references);
        let root = Node::root(&document, &resolver);

        let globals =
            root.child("Globals")?.map(|globals| globals.child("Function")).transpose()?;
        let globals = globals.flatten();
        let parameters = read_parameters(&root, references)?;
        let resources = Resources::sort(&root.require("Resources")?)?;
        let api = read_api(&resources.api)?;
        let mut functions = Vec::new();
        for resource in &resources.functions {
            functions.push(read_function(resource, globals.as_ref())?);
        }
        for url in &resources.function_urls {
            read_function_url(url, &mut functions)?;
        }
        let table = read_table(&resources.table)?;
        let secrets = resources.secrets.iter().map(read_secret).collect::<Result<Vec<_>, _>>()?;
        let content_cors = resources.content.map(|bucket| read_bucket(&bucket)).transpose()?;
        let site_headers =
            resources.site_headers.map(|policy| read_headers(&policy)).transpose()?;
        let api_headers =
            resources.api_headers.map(|policy| read_api_headers(&policy)).transpose()?;
        Ok(Template {
            parameters,
            stage: api.stage,
            authorizer: api.authorizer,
            cors: api.cors,
            api_headers,
            throttling: api.throttling,
            functions,
            table,
            secrets,
            content_cors: content_cors.unwrap_or_default(),
            site_headers: site_headers.unwrap_or_default(),
        })
    }
}

impl Template {
    /// Where Stripe delivers, as the template's output `WebhookUrl`: in AWS the Function URL has its
    /// own host; here it has a path.
    pub(crate) fn webhook_path(&self) -> String {
        if self.functions.iter().any(|function| function.function_url) {
            "/webhook".to_owned()
        } else {
            format!("/{}/webhook", self.stage)
        }
    }
}

/// The parameters' names. A value that AWS would refuse is an error.
fn read_parameters(
    root: &Node<'_>,
    references: &References,
) -> Result<BTreeSet<String>, TemplateError> {
    let Some(parameters) = root.child("Parameters")? else { return Ok(BTreeSet::new()) };
    let mut names = BTreeSet::new();
    for parameter in parameters.children()? {
        let given = references.get(parameter.name());
        if let (Some(given), Some(allowed)) = (given, parameter.child("AllowedValues")?)
            && !allowed.items()?.iter().any(|value| value.string().is_ok_and(|it| it == *given))
        {
            return Err(allowed.unusable(format!("{given} is not one of these values")));
        }
        names.insert(parameter.name().to_owned());
    }
    Ok(names)
}

/// The resources that matter here, by type.
struct Resources<'a> {
    api: Node<'a>,
    table: Node<'a>,
    functions: Vec<Node<'a>>,
    secrets: Vec<Node<'a>>,
    function_urls: Vec<Node<'a>>,
    content: Option<Node<'a>>,
    site_headers: Option<Node<'a>>,
    api_headers: Option<Node<'a>>,
}

impl<'a> Resources<'a> {
    fn sort(resources: &Node<'a>) -> Result<Resources<'a>, TemplateError> {
        let (mut apis, mut tables) = (Vec::new(), Vec::new());
        let (mut functions, mut function_urls, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        let (mut content, mut site_headers, mut api_headers) = (None, None, None);
        for resource in resources.children()? {
            if let Some(condition) = resource.child("Condition")?
                && !condition.holds()?
            {
                continue;
            }
            let kind = resource.require("Type")?.string()?;
            match kind.as_str() {
                "AWS::Serverless::HttpApi" => apis.push(resource),
                "AWS::Serverless::Function" => functions.push(resource),
                "AWS::Lambda::Url" => function_urls.push(resource),
                "AWS::DynamoDB::Table" => tables.push(resource),
                "AWS::SecretsManager::Secret" => secrets.push(resource),
                "AWS::S3::Bucket" if resource.name() == CONTENT_BUCKET => content = Some(resource),
                "AWS::CloudFront::ResponseHeadersPolicy" => match resource.name() {
                    SITE_HEADERS => site_headers = Some(resource),
                    API_HEADERS => api_headers = Some(resource),
                    _ => return Err(resource.unusable("the local stack doesn't send its headers")),
                },
                other if TYPES_WITHOUT_EFFECT.iter().any(|known| other.starts_with(known)) => {}
                other => {
                    return Err(
                        resource.unusable(format!("the local stack has no counterpart of {other}"))
                    );
                }
            }
        }
        Ok(Resources {
            api: only(apis, resources, "AWS::Serverless::HttpApi")?,
            table: only(tables, resources, "AWS::DynamoDB::Table")?,
            functions,
            function_urls,
            secrets,
            content,
            site_headers,
            api_headers,
        })
    }
}

fn only<'a>(
    mut found: Vec<Node<'a>>,
    resources: &Node<'a>,
    kind: &str,
) -> Result<Node<'a>, TemplateError> {
    match (found.pop(), found.is_empty()) {
        (Some(resource), true) => Ok(resource),
        _ => Err(resources.unusable(format!("the local stack runs exactly one {kind}"))),
    }
}

/// The API without its routes, which belong to the functions.
struct Api {
    stage: String,
    authorizer: Authorizer,
    cors: Option<Cors>,
    throttling: Throttling,
}

fn read_api(resource: &Node<'_>) -> Result<Api, TemplateError> {
    let properties = resource.require("Properties")?;
    properties.only_keys(&[
        "AccessLogSettings",
        "Auth",
        "CorsConfiguration",
        "DefaultRouteSettings",
        "Description",
        "Domain",
        "FailOnWarnings",
        "RouteSettings",
        "StageName",
        "Tags",
    ])?;
    let stage = properties.require("StageName")?.string()?;
    let auth = properties.require("Auth")?;
    auth.only_keys(&["Authorizers", "DefaultAuthorizer"])?;
    let name = auth.require("DefaultAuthorizer")?.string()?;
    let authorizer = auth.require("Authorizers")?.require(&name)?;
    authorizer.only_keys(&["IdentitySource", "JwtConfiguration"])?;
    let source = authorizer.require("IdentitySource")?;
    if source.string()? != "$request.header.Authorization" {
        return Err(source.unusable("the local gateway reads the Authorization header only"));
    }
    let configuration = authorizer.require("JwtConfiguration")?;
    let authorizer = Authorizer {
        issuer: configuration.require("issuer")?.string()?,
        audiences: configuration.require("audience")?.strings()?,
    };
    let cors = properties.child("CorsConfiguration")?;
    let cors = cors.map(|cors| read_api_cors(&cors)).transpose()?;
    Ok(Api { stage, authorizer, cors, throttling: read_throttling(&properties)? })
}

fn read_throttling(api: &Node<'_>) -> Result<Throttling, TemplateError> {
    let limit = |settings: &Node<'_>| {
        settings.only_keys(&["ThrottlingBurstLimit", "ThrottlingRateLimit"])?;
        let burst = settings.require("ThrottlingBurstLimit")?.integer()?;
        Ok(Limit { burst, rate: settings.require("ThrottlingRateLimit")?.integer()? })
    };
    let default =
        api.child("DefaultRouteSettings")?.map(|settings| limit(&settings)).transpose()?;
    let mut routes = BTreeMap::new();
    if let Some(settings) = api.child("RouteSettings")? {
        for route in settings.children()? {
            routes.insert(route.name().to_owned(), limit(&route)?);
        }
    }
    Ok(Throttling { default, routes })
}

fn read_api_cors(cors: &Node<'_>) -> Result<Cors, TemplateError> {
    cors.only_keys(&["AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders", "MaxAge"])?;
    Ok(Cors {
        origins: cors.require("AllowOrigins")?.strings()?,
        methods: cors.require("AllowMethods")?.strings()?,
        headers: cors.require("AllowHeaders")?.strings()?,
        exposed_headers: cors.require("ExposeHeaders")?.strings()?,
        max_age_seconds: cors.require("MaxAge")?.integer()?,
    })
}

/// The CORS rules of the chapters' bucket. The local stack implements who else may read it.
fn read_bucket(resource: &Node<'_>) -> Result<Vec<Cors>, TemplateError> {
    let rules =
        resource.require("Properties")?.require("CorsConfiguration")?.require("CorsRules")?;
    let rules = rules.items()?.into_iter().map(|rule| {
        rule.only_keys(&["AllowedMethods", "AllowedOrigins", "MaxAge"])?;
        Ok(Cors {
            origins: rule.require("AllowedOrigins")?.strings()?,
            methods: rule.require("AllowedMethods")?.strings()?,
            max_age_seconds: rule.require("MaxAge")?.integer()?,
            ..Cors::default()
        })
    });
    rules.collect()
}

/// The headers of the site's files, except those that apply only to HTTPS.
fn read_headers(resource: &Node<'_>) -> Result<Vec<(&'static str, String)>, TemplateError> {
    let config = resource.require("Properties")?.require("ResponseHeadersPolicyConfig")?;
    config.only_keys(&["Comment", "CorsConfig", "Name", "SecurityHeadersConfig"])?;
    let security = config.require("SecurityHeadersConfig")?;
    let mut headers = vec![("x-content-type-options", "nosniff".to_owned())];
    for header in security.children()? {
        let (name, value) = match header.name() {
            "ContentSecurityPolicy" => ("content-security-policy", "ContentSecurityPolicy"),
            "FrameOptions" => ("x-frame-options", "FrameOption"),
            "ReferrerPolicy" => ("referrer-policy", "ReferrerPolicy"),
            "ContentTypeOptions" | "StrictTransportSecurity" => continue,
            _ => return Err(header.unusable("the local stack doesn't support this header")),
        };
        headers.push((name, header.require(value)?.string()?));
    }
    let origins = config.require("CorsConfig")?.require("AccessControlAllowOrigins")?;
    let origins = origins.require("Items")?;
    if origins.strings()? != ["*"] {
        return Err(
            origins.unusable("the local stack lets every page load the site's scripts: use *")
        );
    }
    headers.push(("access-control-allow-origin", "*".to_owned()));
    Ok(headers)
}

/// The headers that `CloudFront` adds to the API's answers.
fn read_api_headers(resource: &Node<'_>) -> Result<Cors, TemplateError> {
    let config = resource.require("Properties")?.require("ResponseHeadersPolicyConfig")?;
    config.only_keys(&["Comment", "CorsConfig", "Name"])?;
    let cors = config.require("CorsConfig")?;
    let overrides = cors.require("OriginOverride")?;
    if overrides.json()? != Value::Bool(true) {
        return Err(overrides.unusable("the local stack replaces the API's headers: use true"));
    }
    let items = |name: &str| cors.require(name)?.require("Items")?.strings();
    Ok(Cors {
        origins: items("AccessControlAllowOrigins")?,
        methods: items("AccessControlAllowMethods")?,
        headers: items("AccessControlAllowHeaders")?,
        exposed_headers: items("AccessControlExposeHeaders")?,
        max_age_seconds: cors.require("AccessControlMaxAgeSec")?.integer()?,
    })
}

/// Gives the function that this URL is for its URL.
fn read_function_url(url: &Node<'_>, functions: &mut [Function]) -> Result<(), TemplateError> {
    let properties = url.require("Properties")?;
    properties.only_keys(&["AuthType", "TargetFunctionArn"])?;
    let auth = properties.require("AuthType")?;
    if auth.string()? != "NONE" {
        return Err(auth.unusable("the local stack supports only AuthType NONE"));
    }
    let target = properties.require("TargetFunctionArn")?;
    let name = target.resource()?;
    let function = functions.iter_mut().find(|function| function.logical_id == name);
    let function = function.ok_or_else(|| target.unusable("there is no such function"))?;
    function.function_url = true;
    Ok(())
}

fn read_function(
    resource: &Node<'_>,
    globals: Option<&Node<'_>>,
) -> Result<Function, TemplateError> {
    let metadata = resource.require("Metadata")?;
    let properties = resource.require("Properties")?;
    let mut known = FUNCTION_WITHOUT_EFFECT.to_vec();
    known.extend(["Description", "Environment", "Events"]);
    known.extend(["MemorySize", "ReservedConcurrentExecutions", "Timeout"]);
    properties.only_keys(&known)?;
    if let Some(globals) = globals {
        globals.only_keys(&known)?;
    }

    let mut variables = BTreeMap::new();
    for layer in globals.into_iter().chain([&properties]) {
        let Some(environment) = layer.child("Environment")? else { continue };
        for variable in environment.require("Variables")?.children()? {
            variables.insert(variable.name().to_owned(), variable.string()?);
        }
    }
    let mut routes = Vec::new();
    if let Some(events) = properties.child("Events")? {
        for event in events.children()? {
            routes.push(read_route(&event)?);
        }
    }
    let reserved = properties.child("ReservedConcurrentExecutions")?;
    let reserved = reserved.map(|reserved| {
        // A parameter's value is text.
        let number = reserved.string()?.parse();
        number.map_err(|_none| reserved.unusable("this must be a whole number"))
    });
    // Lambda's own defaults: 3 seconds and 128 MB.
    let setting = |name: &str, default: u32| -> Result<u32, TemplateError> {
        if let Some(own) = properties.child(name)? {
            return own.integer();
        }
        match globals.map(|globals| globals.child(name)).transpose()?.flatten() {
            Some(global) => global.integer(),
            None => Ok(default),
        }
    };
    Ok(Function {
        logical_id: resource.name().to_owned(),
        binary: metadata.require("BuildProperties")?.require("Binary")?.string()?,
        description: match properties.child("Description")? {
            Some(description) => description.string()?,
            None => String::new(),
        },
        timeout: Duration::from_secs(u64::from(setting("Timeout", 3)?)),
        memory_mb: setting("MemorySize", 128)?,
        reserved_concurrency: reserved.transpose()?,
        variables,
        routes,
        function_url: false,
    })
}

fn read_route(event: &Node<'_>) -> Result<Route, TemplateError> {
    let kind = event.require("Type")?;
    if kind.string()? != "HttpApi" {
        return Err(kind.unusable("the local stack supports only HttpApi events"));
    }
    let properties = event.require("Properties")?;
    properties.only_keys(&["ApiId", "Auth", "Method", "Path"])?;
    let method = properties.require("Method")?.string()?.to_ascii_uppercase();
    if method == "ANY" {
        return Err(properties.unusable("the local stack doesn't support ANY: name the method"));
    }
    let path = properties.require("Path")?;
    let path_text = path.string()?;
    if !path_text.starts_with('/') || path_text.contains('$') {
        return Err(path.unusable("the local stack doesn't support default routes"));
    }
    // SAM puts a `*` into the permission for each variable except a greedy one of another name, so
    // the API could not invoke the function.
    if path_text.strip_suffix("/{proxy+}").unwrap_or(&path_text).contains("+}") {
        return Err(path.unusable("a greedy variable must be the last segment, {proxy+}"));
    }
    let access = match properties.child("Auth")? {
        None => Access::Token { scopes: Vec::new() },
        Some(auth) => {
            auth.only_keys(&["AuthorizationScopes", "Authorizer"])?;
            let authorizer = auth.child("Authorizer")?.map(|node| node.string()).transpose()?;
            let scopes =
                auth.child("AuthorizationScopes")?.map(|node| node.strings()).transpose()?;
            match (authorizer.as_deref(), scopes) {
                (Some("NONE"), None) => Access::Open,
                (Some("NONE"), Some(_)) => {
                    return Err(auth.unusable("an open route can't have scopes"));
                }
                (_, scopes) => Access::Token { scopes: scopes.unwrap_or_default() },
            }
        }
    };
    Ok(Route { method, path: path_text, access })
}

fn read_table(resource: &Node<'_>) -> Result<Table, TemplateError> {
    let properties = resource.require("Properties")?;
    properties.only_keys(&[
        "AttributeDefinitions",
        "BillingMode",
        "DeletionProtectionEnabled",
        "KeySchema",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "Tags",
        "TimeToLiveSpecification",
    ])?;
    let mut definition = serde_json::Map::new();
    for name in ["AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled", "KeySchema"] {
        if let Some(node) = properties.child(name)? {
            definition.insert(name.to_owned(), node.json()?);
        }
    }
    let ttl_attribute = match properties.child("TimeToLiveSpecification")? {
        Some(ttl) if ttl.require("Enabled")?.json()? == Value::Bool(true) => {
            Some(ttl.require("AttributeName")?.string()?)
        }
        Some(_) | None => None,
    };
    Ok(Table { definition, ttl_attribute })
}

fn read_secret(resource: &Node<'_>) -> Result<Secret, TemplateError> {
    let properties = resource.require("Properties")?;
    properties.only_keys(&["Description", "KmsKeyId", "Name", "SecretString", "Tags"])?;
    Ok(Secret {
        logical_id: resource.name().to_owned(),
        value: properties.require("SecretString")?.string()?,
    })
}
