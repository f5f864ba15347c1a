//! A deployment in AWS as the operator's commands see it: moto has the stack of template.yaml, the
//! simulator is Stripe, and this process serves the functions' addresses.

mod examined;
mod service_secret;
mod sign_in;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::Parameter;
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use coursegate::catalog::{Closing, push};
use coursegate::deployment::{Deployment, DeploymentError};
use coursegate::doctor::{Finding, examine};
use coursegate::{key, webhook as endpoint};
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use serde_norway::Value as Yaml;
use shared::domain::access::RefundThreshold;
use shared::domain::decide::Mode;
use shared::dynamo::Table;
use shared::ports::{Clock as _, SystemClock};
use shared::secrets::SecretCache;
use shared::stripe::api::StripeApi;
use shared::usecases::catalog::CatalogCache;
use tests::moto::quiet_moto;
use tests::requests::{Who, answer, api, delivery};
use tests::world::{catalog, root, template_yaml};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The template's resource types that moto's CloudFormation creates.
const MADE: [&str; 2] = ["AWS::DynamoDB::Table", "AWS::SNS::Topic"];

/// The operator's own.
const KEY: &str = "sk_test_of_the_operator";

/// The template without what moto can't create. Each omitted resource is a parameter of the same
/// name, so that the outputs can refer to it.
pub(crate) fn template_for_moto() -> Yaml {
    let mut template = template_yaml();
    let resources = std::mem::take(template["Resources"].as_mapping_mut().unwrap());
    for (name, resource) in resources {
        if MADE.contains(&resource["Type"].as_str().unwrap()) {
            template["Resources"][name] = resource;
        } else {
            template["Parameters"][name] =
                serde_norway::from_str("{Type: String, Default: ''}").unwrap();
        }
    }
    // Made-up addresses of what AWS would create.
    for (output, resource) in
        [("ApiUrl", "Api"), ("SiteUrl", "Site"), ("WebhookUrl", "WebhookFunction")]
    {
        let value = template["Outputs"][output].get_mut("Value").unwrap();
        *value = serde_norway::from_str(&format!("!Ref {resource}")).unwrap();
    }
    template
}

/// An empty deployment.
pub(crate) struct Shop {
    name: &'static str,
    aws: SdkConfig,
    pub(crate) parameters: BTreeMap<&'static str, String>,
    stripe: stripe_simulator::Simulator,
    /// API, site and webhook.
    servers: JoinSet<()>,
}

impl Shop {
    /// Deploys it. None if moto is missing.
    pub(crate) async fn deploy(name: &'static str, mode: Mode) -> Option<Self> {
        let moto = quiet_moto()?;
        let aws = moto.config();
        let (listener, url) = listen().await;
        let (stripes_listener, stripe_url) = listen().await;
        let options = stripe_simulator::Options { listener: stripes_listener, state: None };
        let mut parameters = BTreeMap::from([
            ("StripeMode", coursegate::account::name_of(mode).to_owned()),
            ("SiteOrigin", url.clone()),
            ("AlarmEmail", "operator@example.com".to_owned()),
            ("JwtIssuer", url.clone()),
            // A live deployment has none, and in these tests none with a live key.
            ("StripeApiUrl", if mode == Mode::Live { String::new() } else { stripe_url }),
            ("Site", url.clone()),
            ("SiteBucket", format!("{name}-site")),
            ("ContentBucket", format!("{name}-content")),
            ("Api", format!("{url}/api")),
            ("WebhookFunction", format!("{url}/webhook")),
        ]);
        for secret in ["StripeApiKey", "StripeReadKey", "StripeSigningSecret"] {
            let value = &template_yaml()["Resources"][secret]["Properties"]["SecretString"];
            let create = aws_sdk_secretsmanager::Client::new(&aws).create_secret();
            let create = create.name(format!("{name}-{secret}"));
            let created = create.secret_string(value.as_str().unwrap()).send().await.unwrap();
            parameters.insert(secret, created.arn().unwrap().to_owned());
        }
        for bucket in ["SiteBucket", "ContentBucket"] {
            moto.create_bucket(&parameters[bucket]).await;
        }
        let mut shop = Self {
            name,
            aws,
            parameters,
            stripe: stripe_simulator::start(options).await.unwrap(),
            servers: JoinSet::new(),
        };
        shop.create_stack(name, &template_for_moto()).await;
        let deployment = shop.deployment().await;
        let properties = &template_yaml()["Resources"]["Table"]["Properties"];
        let protected = &properties["PointInTimeRecoverySpecification"];
        recover(&deployment, protected["PointInTimeRecoveryEnabled"].as_bool().unwrap()).await;
        expire(&deployment, properties["TimeToLiveSpecification"]["Enabled"].as_bool().unwrap())
            .await;
        shop.serve(listener, &deployment);
        Some(shop)
    }

    async fn create_stack(&self, name: &str, template: &Yaml) {
        let client = aws_sdk_cloudformation::Client::new(&self.aws);
        let create = client.create_stack().stack_name(name);
        let create = create.set_parameters(Some(self.parameters()));
        let template = serde_norway::to_string(template).unwrap();
        create.template_body(template).send().await.unwrap();
    }

    pub(crate) async fn update_stack(&self, template: &Yaml) {
        let client = aws_sdk_cloudformation::Client::new(&self.aws);
        let update = client.update_stack().stack_name(self.name);
        let update = update.set_parameters(Some(self.parameters()));
        let template = serde_norway::to_string(template).unwrap();
        update.template_body(template).send().await.unwrap();
    }

    fn parameters(&self) -> Vec<Parameter> {
        let parameters = self.parameters.iter().map(|(name, value)| {
            Parameter::builder().parameter_key(*name).parameter_value(value).build()
        });
        parameters.collect()
    }

    /// The checkout function, as if just started.
    fn checkout(&self, deployment: &Deployment) -> checkout::App<SystemClock> {
        let (secrets_manager, id) = (&deployment.secrets_manager, &deployment.api_key_id);
        let key = SecretCache::api_key(secrets_manager.clone(), id.clone());
        checkout::App {
            table: deployment.table(),
            catalog: CatalogCache::new(deployment.table()),
            stripe: StripeApi::new(Some(self.stripe.url()), deployment.shop.clone(), key),
            site_origin: deployment.site_origin.clone(),
            shop: deployment.shop.clone(),
            refund_threshold: RefundThreshold::ALL,
            clock: SystemClock,
        }
    }

    /// Serves as API Gateway and the Function URL. Each request gets a function that has just
    /// started.
    fn serve(&mut self, listener: TcpListener, deployment: &Deployment) {
        let (table, shop) = (deployment.table(), deployment.shop.clone());
        let courses = async move || {
            let request = api("GET /courses", "/courses", &Who::Anyone, None);
            respond(&entitlements::handle(&entitlements(&table), &request).await)
        };
        let unauthorized = async || StatusCode::UNAUTHORIZED;
        let resource = format!("{}/api/mcp", deployment.site_origin);
        let metadata = async move || Json(json!({ "resource": resource }));
        let (table, secrets_manager) = (deployment.table(), deployment.secrets_manager.clone());
        let secret_id = deployment.signing_secret_id.clone();
        let (read_key_id, stripe_url) = (deployment.read_key_id.clone(), self.stripe.url());
        let deliver = async move |headers: HeaderMap, body: String| {
            let key = SecretCache::api_key(secrets_manager.clone(), read_key_id.clone());
            let app = webhook::App {
                ledger: table.clone(),
                stripe: StripeApi::new(Some(stripe_url.clone()), shop.clone(), key),
                signing_secrets: SecretCache::signing_secrets(
                    secrets_manager.clone(),
                    secret_id.clone(),
                ),
                shop: shop.clone(),
                clock: SystemClock,
            };
            let signature = headers.get("stripe-signature").and_then(|it| it.to_str().ok());
            respond(&webhook::handle(&app, &delivery(&body, signature)).await)
        };
        let issuer = sign_in::Issuer::default();
        let router = issuer
            .server_with_site(&self.parameters["JwtIssuer"])
            .route("/api/courses", get(courses))
            .route("/api/entitlements", get(unauthorized))
            .route("/api/mcp", post(unauthorized))
            .route("/.well-known/oauth-protected-resource", get(metadata))
            .route("/webhook", post(deliver.clone()))
            .route("/api/webhook", post(deliver));
        self.servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    /// As the operator's commands see it.
    pub(crate) async fn deployment(&self) -> Deployment {
        self.found_by(&self.aws, Some(KEY)).await.unwrap()
    }

    async fn found_by(
        &self,
        aws: &SdkConfig,
        key: Option<&str>,
    ) -> Result<Deployment, DeploymentError> {
        coursegate::aws::stack(aws, self.name, key.map(Into::into)).await
    }

    /// The operator's setup after the first deployment. Returns the changes in Stripe.
    pub(crate) async fn set_up(&self) -> (usize, usize) {
        let deployment = self.deployment().await;
        let account = deployment.account().await.unwrap();
        key::store(&deployment, &"rk_test_of_the_functions".into()).await.unwrap();
        let key = "rk_test_of_the_webhook";
        let permissions =
            json!({"payment_intents": "read", "disputes": "read", "invoice_payments": "read"});
        let restricted = json!({"key": key, "permissions": permissions});
        self.control_simulator("keys", &restricted).await;
        key::reading::store(&deployment, &key.into()).await.unwrap();
        let pushed =
            push(&catalog(), Closing::Refused, &account, &deployment, |_| {}).await.unwrap();
        let mut told = 0;
        endpoint::register(&account, &deployment, &mut |_| told += 1).await.unwrap();
        (pushed.steps.len(), told)
    }

    /// A learner buys the demo course. Returns the paid session.
    async fn sell_to(&self, learner: &Who) -> Value {
        let price = Some(r#"{"price": "tutorclaw_paid"}"#);
        let request = api("POST /checkout", "/checkout", learner, price);
        let function = self.checkout(&self.deployment().await);
        let (status, session) = answer(&Box::pin(checkout::handle(&function, &request)).await);
        assert_eq!(status, 201, "{session}");
        let id = session["session_id"].as_str().unwrap();
        let card = json!({ "card": "4242424242424242" });
        self.control_simulator(&format!("checkout/sessions/{id}/pay"), &card).await
    }

    /// Uses the simulator's control API.
    async fn control_simulator(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/_sim/{path}", self.stripe.url());
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Deletes the endpoint, as in Stripe's Dashboard.
    async fn delete_endpoint(&self) {
        let deployment = self.deployment().await;
        let account = deployment.account().await.unwrap();
        let endpoint = endpoint::look(&account, &deployment).await.unwrap().good.unwrap().0;
        account.delete(&format!("/webhook_endpoints/{}", endpoint.id)).await.unwrap();
    }

    /// Delivers an event about a session, created this long ago. Returns the event's id.
    async fn tell(&self, kind: &str, session: &Value, seconds_ago: i64) -> String {
        let created = SystemClock.now().unix_seconds() - seconds_ago;
        let event = json!({ "type": kind, "object": session, "created": created });
        let event = self.control_simulator("events", &event).await;
        event["id"].as_str().unwrap().to_owned()
    }

    /// The delivery of an event to the newest endpoint, once it has been tried.
    async fn first_delivery_of(&self, event: &str) -> Value {
        for _ in 0..400 {
            let url = format!("{}/_sim/deliveries", self.stripe.url());
            let all: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
            let mut all = all["deliveries"].as_array().unwrap().iter();
            let tried = |it: &&Value| it["event"] == event && it["attempts"] != 0;
            if let Some(delivery) = all.find(tried) {
                return delivery.clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{event} is not delivered");
    }

    /// The doctor's problems and notes, with their remedies.
    async fn complaints(&self) -> String {
        self.complaints_about(&self.deployment().await).await
    }

    async fn complaints_about(&self, deployment: &Deployment) -> String {
        let mut complaints = String::new();
        for (name, finding) in findings(deployment).await {
            let (kind, says, remedy) = match finding {
                Finding::Good(_) | Finding::Skipped(_) => continue,
                Finding::Note { says, remedy } => ("note", says, remedy),
                Finding::Bad { says, remedy } => ("bad", says, remedy),
            };
            writeln!(complaints, "{kind}, {name}: {says}\n  {remedy}").unwrap();
        }
        let root = root();
        let secrets = ["StripeApiKey", "StripeReadKey", "StripeSigningSecret"];
        let secrets = secrets.map(|name| (self.parameters[name].as_str(), name));
        let names = [
            (deployment.table_name.as_str(), "Table"),
            (&self.parameters["SiteOrigin"], "SiteOrigin"),
            (&self.parameters["SiteBucket"], "SiteBucket"),
            (root.to_str().unwrap(), "."),
            (MARKED_DELETED, "it is marked deleted"),
            (env!("CARGO_PKG_VERSION"), "Version"),
        ];
        for (name, known_as) in names.into_iter().chain(secrets) {
            complaints = complaints.replace(name, known_as);
        }
        complaints
    }

    /// The same without the notes about any healthy deployment.
    async fn new_complaints(&self) -> String {
        self.new_complaints_about(&self.deployment().await).await
    }

    async fn new_complaints_about(&self, deployment: &Deployment) -> String {
        let complaints = self.complaints_about(deployment).await;
        complaints.replace(NOT_DECIDED, "").replace(NOT_SENT, "")
    }
}

/// moto's error, not AWS's, for a secret that exists but can't be read.
const MARKED_DELETED: &str = "An error occurred (InvalidRequestException) when calling the \
    GetSecretValue operation: You tried to                 perform the operation on a secret \
    that's currently marked deleted.";

/// Notes that an operator may ignore.
const NOT_DECIDED: &str = "\
note, customer portal: not set up: buyers can't look up their receipts themselves
  save its settings once in Stripe's Dashboard (Settings, Billing, Customer portal)
note, tax: this version collects none: prices are charged as listed, whatever tax law requires
  ask your accountant what you owe, and file it yourself
";

/// The same for an author with their own site.
const NOT_SENT: &str = "\
note, site's files: SiteBucket has no index.html: CloudFront has nothing to show
  upload the site with `coursegate site deploy`; ignore this if you host your own site
";

pub(crate) async fn findings(deployment: &Deployment) -> Vec<(&'static str, Finding)> {
    let mut findings = Vec::new();
    let found = |name, finding: &Finding| findings.push((name, finding.clone()));
    let is_well = examine(deployment, Some(root().join("catalog.toml")), found).await;
    let is_bad = |(_, finding): &(_, Finding)| matches!(finding, Finding::Bad { .. });
    assert_eq!(is_well, !findings.iter().any(is_bad), "{findings:?}");
    findings
}

pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn respond(response: &Response<Body>) -> (StatusCode, Json<Value>) {
    let (status, body) = answer(response);
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

/// The entitlements function, as if just started.
fn entitlements(table: &Table) -> entitlements::App<Table, SystemClock> {
    let catalog = CatalogCache::new(table.clone());
    entitlements::App {
        access: table.clone(),
        catalog,
        content: tests::world::content_links(None),
        refund_threshold: RefundThreshold::ALL,
        clock: SystemClock,
    }
}

pub(crate) async fn recover(deployment: &Deployment, is_enabled: bool) {
    use aws_sdk_dynamodb::types::PointInTimeRecoverySpecification;
    let specification = PointInTimeRecoverySpecification::builder();
    let specification = specification.point_in_time_recovery_enabled(is_enabled).build().unwrap();
    let update = deployment.dynamodb.update_continuous_backups();
    let update = update.table_name(&deployment.table_name);
    update.point_in_time_recovery_specification(specification).send().await.unwrap();
}

pub(crate) async fn expire(deployment: &Deployment, is_enabled: bool) {
    use aws_sdk_dynamodb::types::TimeToLiveSpecification;
    let attribute = &template_yaml()["Resources"]["Table"]["Properties"]["TimeToLiveSpecification"];
    let attribute = attribute["AttributeName"].as_str().unwrap();
    let specification = TimeToLiveSpecification::builder().attribute_name(attribute);
    let specification = specification.enabled(is_enabled).build().unwrap();
    let update = deployment.dynamodb.update_time_to_live().table_name(&deployment.table_name);
    update.time_to_live_specification(specification).send().await.unwrap();
}

/// An AWS with one altered response.
async fn misquoted(aws: &SdkConfig, says: &str, instead_of: &str) -> SdkConfig {
    let (moto, says, instead_of) =
        (aws.endpoint_url().unwrap().to_owned(), says.to_owned(), instead_of.to_owned());
    let answer = async move |headers: HeaderMap, body: String| {
        let request = reqwest::Client::new().post(&moto).headers(headers).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.text().await.unwrap().replace(&instead_of, &says))
    };
    let (listener, url) = listen().await;
    let router = axum::Router::new().route("/", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    aws.to_builder().endpoint_url(url).build()
}

/// The doctor's finding of this name.
pub(crate) async fn finding(deployment: &Deployment, name: &str) -> Finding {
    let mut findings = findings(deployment).await.into_iter();
    findings.find(|(found, _)| *found == name).unwrap().1
}
