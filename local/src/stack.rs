//! The whole stack: binds every port, starts every service, and stops them again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::addresses::{Addresses, Demo, Stripe};
use crate::bridge::{self, BridgeError};
use crate::content::{self, Bucket};
use crate::dynamo::{self, DynamoError};
use crate::gateway::authorizer::Authorizer;
use crate::gateway::{self, Gateway};
use crate::lambda::{self, Lambda, LambdaError, Programs};
use crate::observer::Observer;
use crate::secrets::{self, Secrets};
use crate::sign_in::{SERVICE_CLIENT, SITE_CLIENT, SignIn, SignInError};
use crate::site::{self, Site};
use crate::state::{self, Entries, Keep, StateError};
use crate::template::{References, Template, TemplateError};
use crate::{pages, random};

/// The table's name, which is what `!Ref Table` gives.
pub const TABLE: &str = "coursegate";
/// Stripe's own address.
const STRIPE_API_URL: &str = "https://api.stripe.com";
const STRIPE_API_KEY: &str = "StripeApiKey";
const STRIPE_READ_KEY: &str = "StripeReadKey";
const STRIPE_SIGNING_SECRET: &str = "StripeSigningSecret";

/// How to run the stack.
#[derive(Debug, Clone)]
pub struct Options {
    /// `template.yaml`
    pub template: PathBuf,
    /// Where state is stored.
    pub keep: Keep,
    /// The ports to listen on; zero picks a free one.
    pub ports: Ports,
    /// The programs that run the functions.
    pub programs: Programs,
    /// The most processes of one function.
    pub instances_max: usize,
    /// Enforces AWS's limits, for an account with this quota of concurrent executions: the quota,
    /// and the template's throttling. Without it, events wait and nothing is throttled.
    pub account_concurrency: Option<usize>,
    /// Values of the template's parameters, such as `WebhookEntrance`.
    pub parameters: References,
    /// Observes each request.
    pub observer: Observer,
    /// The catalog entries to try a purchase with, for the home page.
    pub demo: Option<Demo>,
    /// A Stripe account to use instead of the simulator.
    pub account: Option<StripeAccount>,
    /// The stack's deployment mark at Stripe; if none, the stored one, or a random one.
    pub deployment_mark: Option<String>,
    /// The functions' DynamoDB address, if it differs from the stack's.
    pub dynamodb_proxy: Option<String>,
    /// The functions' Stripe address, if it differs.
    pub stripe_proxy: Option<String>,
}

impl Options {
    /// The template, with these values and those that the options change.
    fn read_template(&self, mut references: References) -> Result<Template, StartError> {
        if let Some(StripeAccount { url: None, .. }) = self.account {
            references.insert("StripeApiUrl".to_owned(), String::new());
        }
        if let Some(proxy) = &self.dynamodb_proxy {
            references.insert("DynamoDbEndpoint".to_owned(), proxy.clone());
        }
        if let Some(proxy) = &self.stripe_proxy {
            references.insert("StripeApiUrl".to_owned(), proxy.clone());
        }
        references.extend(self.parameters.clone());
        let template = Template::read(&self.template, &references)?;
        let mut given = self.parameters.keys();
        match given.find(|name| !template.parameters.contains(*name)) {
            Some(unknown) => Err(StartError::NoParameter(unknown.clone())),
            None => Ok(template),
        }
    }
}

/// The developer's own Stripe account, in test mode.
#[derive(Debug, Clone)]
pub struct StripeAccount {
    /// Stripe's address, if it is not Stripe's own.
    pub url: Option<String>,
    /// The functions' key. It is kept in memory only.
    pub api_key: SecretString,
    /// The events' signing secret. It is kept in memory only.
    pub signing_secret: SecretString,
    /// The handled event types, separated by commas.
    pub event_types: String,
}

/// Ports on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The site, the API, sign-in and the webhook.
    pub gateway: u16,
    /// Lambda's API.
    pub lambda: u16,
    /// DynamoDB's API.
    pub dynamodb: u16,
    /// The Stripe simulator.
    pub stripe: u16,
    /// Secrets Manager's API.
    pub secrets_manager: u16,
    /// S3's API, which has the chapters.
    pub content: u16,
}

impl Ports {
    /// Free ports.
    pub const FREE: Ports =
        Ports { gateway: 0, lambda: 0, dynamodb: 0, stripe: 0, secrets_manager: 0, content: 0 };
}

impl Ports {
    fn are_distinct(&self) -> Result<(), StartError> {
        let Ports { gateway, lambda, dynamodb, stripe, secrets_manager, content } = *self;
        let all = [gateway, lambda, dynamodb, stripe, secrets_manager, content];
        let mut seen = BTreeSet::new();
        match all.into_iter().find(|port| *port != 0 && !seen.insert(*port)) {
            Some(port) => Err(StartError::PortTwice(port)),
            None => Ok(()),
        }
    }
}

/// Why the stack can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two services would listen on one port.
    #[error("two services of the stack have the same port, {0}: give each its own")]
    PortTwice(u16),
    /// The port is in use.
    #[error(
        "port {port} ({piece}) is in use: stop the program that uses it, or choose another with {flag}"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The service.
        piece: &'static str,
        /// The command-line flag that changes it.
        flag: &'static str,
    },
    /// The port can't be listened on for another reason.
    #[error("cannot listen on port {port} ({piece}): {source}")]
    Listen {
        /// The port.
        port: u16,
        /// The service.
        piece: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The template has no parameter of this name.
    #[error("the template has no parameter {0}")]
    NoParameter(String),
    /// The template can't be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The table can't be used.
    #[error(transparent)]
    Dynamo(#[from] DynamoError),
    /// Sign-in can't start.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// Containers can't be given access.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A function can't start.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// The Stripe simulator can't start.
    #[error("{0}")]
    Stripe(String),
}

/// A running stack. Dropping it ends everything at once; [`Stack::shutdown`] does so gracefully.
pub struct Stack {
    addresses: Addresses,
    deployment_mark: String,
    is_open: Arc<AtomicBool>,
    lambda: Lambda,
    secrets: Secrets,
    stripe: StripeSide<stripe_simulator::Simulator>,
    servers: JoinSet<()>,
    state: state::State,
}

/// The simulator, for now only its listener, or the developer's account.
enum StripeSide<S> {
    Simulator(S),
    Account(StripeAccount),
}

/// The listeners, all bound before anything starts.
struct Listeners {
    gateway: TcpListener,
    lambda: TcpListener,
    dynamodb: TcpListener,
    stripe: StripeSide<TcpListener>,
    secrets_manager: TcpListener,
    content: TcpListener,
}

impl Stack {
    /// Starts everything, and waits until every function has requested its first event. The API
    /// answers 503 until [`Stack::open`], so that no function caches an empty catalog.
    pub async fn start(options: Options) -> Result<Stack, StartError> {
        let (listeners, mut addresses) =
            Listeners::bind(options.ports, options.account.clone()).await?;
        let state = state::State::open(options.keep.clone())?;
        let entries = state.entries()?;
        let deployment_mark = deployment_mark(&entries, options.deployment_mark.clone())?;
        let template = options.read_template(references(&addresses, &deployment_mark))?;
        addresses.webhook = addresses.gateway.clone() + &template.webhook_path();
        let mut servers = JoinSet::new();

        let database = dynamo::open(&state, TABLE, &template.table)?;
        servers.spawn(dynoxide::server::serve_on(listeners.dynamodb, database.clone()));
        servers.spawn(dynamo::sweep(database));

        let secrets = match &listeners.stripe {
            StripeSide::Simulator(_) => Secrets::open(entries.clone())?,
            StripeSide::Account(_) => Secrets::in_memory()?,
        };
        for secret in &template.secrets {
            secrets.create_if_missing(&secret_name(&secret.logical_id), &secret.value)?;
        }
        servers.spawn(serve(listeners.secrets_manager, secrets.clone().router()));

        let stripe = listeners.stripe.start(state.file("stripe.db")).await?;
        stripe.share_secrets(&secrets)?;

        let observer = options.observer.clone();
        let sign_in = SignIn::open(&addresses.gateway, &issuer(&addresses), entries, observer)?;
        let functions = lambda::Options {
            functions: template.functions.clone(),
            programs: options.programs,
            logs: state.logs().to_owned(),
            instances_max: options.instances_max,
            account_concurrency: options.account_concurrency,
            observer: options.observer.clone(),
        };
        let (lambda, lambda_server) = Lambda::new(functions, listeners.lambda);
        servers.spawn(lambda_server);

        let is_open = Arc::new(AtomicBool::new(false));
        let authorizer = Authorizer::new(&template.authorizer, sign_in.keys());
        let project = options.template.parent().unwrap_or(Path::new("."));
        let bucket = Bucket::new(project, template.content_cors.clone(), options.observer.clone());
        servers.spawn(serve(listeners.content, bucket.router()));
        let is_throttled = options.account_concurrency.is_some();
        let (disk, observer) = (state.disk(), options.observer);
        let gateway =
            Gateway::new(&template, is_throttled, authorizer, lambda.clone(), disk, observer);
        let health = Health {
            is_open: Arc::clone(&is_open),
            lambda: lambda.clone(),
            addresses: addresses.clone(),
            deployment_mark: deployment_mark.clone(),
        };
        let site = Site::new(project, &addresses.gateway, &template);
        let pages = pages::router(addresses.clone(), options.demo, stripe.who());
        let pages = pages.merge(sign_in.router()).merge(site.router());
        let router = router(&template, gateway, health, pages);
        servers.spawn(serve(listeners.gateway, router));

        let mut stack =
            Stack { addresses, deployment_mark, is_open, lambda, secrets, stripe, servers, state };
        if let Err(error) = stack.lambda.start_all().await {
            stack.state.leave_logs();
            stack.shutdown().await;
            return Err(error.into());
        }
        Ok(stack)
    }

    /// Lets requests through to the API.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Gives containers access to what functions call: DynamoDB, Stripe and Secrets Manager, each
    /// on its port of this address of Docker's bridge.
    pub async fn let_containers_in(&mut self, address: Ipv4Addr) -> Result<(), StartError> {
        let Addresses { dynamodb, stripe, secrets_manager, .. } = &self.addresses;
        for url in [dynamodb, stripe, secrets_manager] {
            // An external Stripe needs no bridge.
            let inside = url.strip_prefix("http://").and_then(|inside| inside.parse().ok());
            if let Some(inside) = inside {
                self.servers.spawn(bridge::open(address, inside).await?);
            }
        }
        Ok(())
    }

    /// The number of events that the simulator holds back, in this run or since an earlier one.
    #[must_use]
    pub fn held_deliveries(&self) -> Option<usize> {
        match &self.stripe {
            StripeSide::Simulator(simulator) => simulator.held_deliveries(),
            StripeSide::Account(_) => None,
        }
    }

    /// Which Stripe the stack uses.
    #[must_use]
    pub fn stripe(&self) -> Stripe {
        self.stripe.who()
    }

    /// Every address.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The stack's deployment mark at Stripe.
    #[must_use]
    pub fn deployment_mark(&self) -> &str {
        &self.deployment_mark
    }

    /// Secrets Manager, for faults and rotations.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The folder of the functions' logs.
    #[must_use]
    pub fn logs(&self) -> &std::path::Path {
        self.state.logs()
    }

    /// Stops everything, and returns once nothing is running.
    pub async fn shutdown(mut self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.lambda.stop().await;
        if let StripeSide::Simulator(simulator) = self.stripe {
            simulator.shutdown().await;
        }
        self.servers.shutdown().await;
    }
}

impl<S> StripeSide<S> {
    fn who(&self) -> Stripe {
        match self {
            StripeSide::Simulator(_) => Stripe::Simulator,
            StripeSide::Account(account) => {
                Stripe::Account { event_types: account.event_types.clone() }
            }
        }
    }

    /// Stores the functions' secrets: the account's key and signing secret or, with the simulator,
    /// keys that stay the same as long as the state exists.
    fn share_secrets(&self, secrets: &Secrets) -> Result<(), StateError> {
        let keys = [(STRIPE_API_KEY, "sk_test_"), (STRIPE_READ_KEY, "rk_test_")];
        for (key, prefix) in keys.map(|(key, prefix)| (secret_name(key), prefix)) {
            match self {
                StripeSide::Simulator(_) => {
                    let kept = secrets.current(&key).filter(|key| key.starts_with(prefix));
                    let value =
                        kept.unwrap_or_else(|| format!("{prefix}local{}", random::token::<12>()));
                    secrets.set_current(&key, &value)?;
                }
                StripeSide::Account(account) => {
                    secrets.set_current(&key, account.api_key.expose_secret())?;
                }
            }
        }
        if let StripeSide::Account(account) = self {
            let signing_secret = secret_name(STRIPE_SIGNING_SECRET);
            secrets.set_current(&signing_secret, account.signing_secret.expose_secret())?;
        }
        Ok(())
    }
}

impl StripeSide<TcpListener> {
    async fn start(
        self,
        state: Option<PathBuf>,
    ) -> Result<StripeSide<stripe_simulator::Simulator>, StartError> {
        let listener = match self {
            StripeSide::Simulator(listener) => listener,
            StripeSide::Account(account) => return Ok(StripeSide::Account(account)),
        };
        let options = stripe_simulator::Options { listener, state };
        let simulator = stripe_simulator::start(options).await;
        let simulator = simulator.map_err(|error| StartError::Stripe(with_source(&error)))?;
        Ok(StripeSide::Simulator(simulator))
    }
}

/// An error and its causes, in one sentence.
fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Listeners {
    async fn bind(
        ports: Ports,
        account: Option<StripeAccount>,
    ) -> Result<(Listeners, Addresses), StartError> {
        ports.are_distinct()?;
        let (gateway, gateway_url) = bind(ports.gateway, "gateway", "--gateway-port").await?;
        let (lambda, lambda_url) = bind(ports.lambda, "lambda", "--lambda-port").await?;
        let (dynamodb, dynamodb_url) = bind(ports.dynamodb, "dynamodb", "--dynamodb-port").await?;
        let (stripe, stripe_url) = if let Some(account) = account {
            let url = account.url.clone().unwrap_or_else(|| STRIPE_API_URL.to_owned());
            (StripeSide::Account(account), url)
        } else {
            let (listener, url) = bind(ports.stripe, "stripe", "--stripe-port").await?;
            (StripeSide::Simulator(listener), url)
        };
        let (secrets_manager, secrets_manager_url) =
            bind(ports.secrets_manager, "secrets manager", "--secrets-port").await?;
        let (content, content_url) = bind(ports.content, "S3", "--content-port").await?;
        let addresses = Addresses {
            // The template says where.
            webhook: String::new(),
            gateway: gateway_url,
            lambda: lambda_url,
            dynamodb: dynamodb_url,
            stripe: stripe_url,
            secrets_manager: secrets_manager_url,
            content: content_url,
        };
        let listeners = Listeners { gateway, lambda, dynamodb, stripe, secrets_manager, content };
        Ok((listeners, addresses))
    }
}

async fn bind(
    port: u16,
    piece: &'static str,
    flag: &'static str,
) -> Result<(TcpListener, String), StartError> {
    let failed = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::AddrInUse {
            StartError::PortInUse { port, piece, flag }
        } else {
            StartError::Listen { port, piece, source }
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{address}")))
}

/// The given mark, or this state's own. A random one tells apart laptops that share a Stripe
/// account.
fn deployment_mark(entries: &Entries, given: Option<String>) -> Result<String, StateError> {
    const KIND: &str = "deployment";
    const NAME: &str = "mark";
    match given {
        Some(mark) => {
            entries.put(KIND, NAME, &mark)?;
            Ok(mark)
        }
        None => entries.get_or_put(KIND, NAME, format!("local-{}", random::token::<8>())),
    }
}

fn issuer(addresses: &Addresses) -> String {
    format!("{}/local", addresses.gateway)
}

/// The name of this secret of the template's.
#[must_use]
pub fn secret_name(logical_id: &str) -> String {
    format!("coursegate/{logical_id}")
}

/// The values of the template's parameters and resources on this machine.
fn references(addresses: &Addresses, deployment_mark: &str) -> References {
    let audience = format!("{SITE_CLIENT},{SERVICE_CLIENT}");
    let table_arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}");
    [
        ("StripeMode", "test".to_owned()),
        ("DeploymentMark", deployment_mark.to_owned()),
        ("SiteOrigin", addresses.gateway.clone()),
        ("JwtIssuer", issuer(addresses)),
        ("JwtAudience", audience),
        ("StripeApiUrl", addresses.stripe.clone()),
        ("DynamoDbEndpoint", addresses.dynamodb.clone()),
        ("SecretsManagerEndpoint", addresses.secrets_manager.clone()),
        ("ContentEndpoint", addresses.content.clone()),
        ("ContentBucket", content::BUCKET.to_owned()),
        ("CorsOrigins", site::other_origin(&addresses.gateway)),
        ("Table", TABLE.to_owned()),
        ("Table.Arn", table_arn),
        (STRIPE_API_KEY, secrets::arn(&secret_name(STRIPE_API_KEY))),
        (STRIPE_READ_KEY, secrets::arn(&secret_name(STRIPE_READ_KEY))),
        (STRIPE_SIGNING_SECRET, secrets::arn(&secret_name(STRIPE_SIGNING_SECRET))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn serve(listener: TcpListener, router: Router) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).await {
        tracing::error!(%error, "a server stopped");
    }
}

fn router(template: &Template, gateway: Gateway, health: Health, pages: Router) -> Router {
    let stage = &template.stage;
    let functions = Router::new()
        .route(&format!("/{stage}"), any(gateway::api))
        .route(&format!("/{stage}/"), any(gateway::api))
        .route(&format!("/{stage}/{{*path}}"), any(gateway::api))
        .layer(from_fn_with_state(health.clone(), hold_until_open))
        .layer(from_fn_with_state(template.api_headers.clone(), site::api_headers))
        // Deliveries left over from the last run may come at once.
        .route("/webhook", any(gateway::function_url))
        .with_state(gateway);
    Router::new()
        .route("/local/health", get(health_of))
        .with_state(health)
        .merge(pages)
        .merge(functions)
        .method_not_allowed_fallback(async || site::method_not_allowed())
}

/// What `GET /local/health` checks.
#[derive(Clone)]
struct Health {
    is_open: Arc<AtomicBool>,
    lambda: Lambda,
    addresses: Addresses,
    deployment_mark: String,
}

async fn health_of(State(health): State<Health>) -> Response {
    let functions = health.lambda.health();
    let is_open = health.is_open.load(Ordering::SeqCst);
    let is_ready = is_open && functions.values().all(|function| function.ready);
    let (status, word) = if is_ready {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    let Addresses { gateway, webhook, lambda, dynamodb, stripe, secrets_manager, content } =
        health.addresses;
    let body = json!({
        "status": word,
        "deployment_mark": health.deployment_mark,
        "gateway": gateway,
        "webhook": webhook,
        "lambda": lambda,
        "functions": functions,
        "dynamodb": dynamodb,
        "stripe": stripe,
        "secrets_manager": secrets_manager,
        "content": content,
    });
    (status, axum::Json(body)).into_response()
}

async fn hold_until_open(State(health): State<Health>, request: Request, next: Next) -> Response {
    if health.is_open.load(Ordering::SeqCst) {
        next.run(request).await
    } else {
        gateway::unavailable()
    }
}
