//! The whole stack: binds every port, starts every piece, and stops them again.

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
    /// Where state is kept.
    pub keep: Keep,
    /// Which ports to listen on; zero takes a free one.
    pub ports: Ports,
    /// What is run for the functions.
    pub programs: Programs,
    /// How many processes of one function may run at once.
    pub instances_max: usize,
    /// Who is told about each request.
    pub observer: Observer,
    /// What there is to try a purchase with, for the home page.
    pub demo: Option<Demo>,
    /// A Stripe account to use; without one there is the simulator.
    pub account: Option<StripeAccount>,
    /// What marks the stack's objects at Stripe as its own, from now on; without one it is what the
    /// state remembers, or a random one.
    pub deployment_mark: Option<String>,
    /// Where functions find DynamoDB, if something stands between them and the stack's.
    pub dynamodb_proxy: Option<String>,
    /// Where the functions find Stripe, if something stands before it.
    pub stripe_proxy: Option<String>,
}

/// A Stripe account of the developer's own, in test mode.
#[derive(Debug, Clone)]
pub struct StripeAccount {
    /// Stripe's address, if it is not Stripe's own.
    pub url: Option<String>,
    /// The key that the functions use. It is kept in memory only.
    pub api_key: SecretString,
    /// What the events are signed with. It is kept in memory only.
    pub signing_secret: SecretString,
    /// The types of event that are handled, separated by commas.
    pub event_types: String,
}

/// Ports on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The site, the API, sign-in and the webhook.
    pub gateway: u16,
    /// Lambda's API.
    pub lambda: u16,
    /// DynamoDB.
    pub dynamodb: u16,
    /// Stripe.
    pub stripe: u16,
    /// Secrets Manager.
    pub secrets_manager: u16,
    /// S3.
    pub content: u16,
}

impl Ports {
    /// Whatever is free.
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

/// Why the stack doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two pieces of the stack are to listen on one port.
    #[error("two pieces of the stack are to listen on port {0}: give each a port of its own")]
    PortTwice(u16),
    /// Somebody listens there already.
    #[error("port {port} ({piece}) is in use: stop what uses it, or choose another with {flag}")]
    PortInUse {
        /// The port.
        port: u16,
        /// What wanted it.
        piece: &'static str,
        /// The command line's flag for it.
        flag: &'static str,
    },
    /// The port can't be listened on for another reason.
    #[error("cannot listen on port {port} ({piece}): {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What wanted it.
        piece: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The template can't be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no table.
    #[error(transparent)]
    Dynamo(#[from] DynamoError),
    /// Nobody could sign in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// Containers can't be let in.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A function doesn't start.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// The Stripe simulator doesn't start.
    #[error("{0}")]
    Stripe(String),
}

/// A running stack. Dropping it ends everything at once; [`Stack::shutdown`] waits for it.
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

/// Who Stripe is: the simulator, which is a listener first, or somebody's account.
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
    /// Starts everything, and waits until every function has asked for its first event. The API
    /// answers 503 until [`Stack::open`], so that no function remembers an empty catalog.
    pub async fn start(options: Options) -> Result<Stack, StartError> {
        let (listeners, addresses) = Listeners::bind(options.ports, options.account).await?;
        let state = state::State::open(options.keep.clone())?;
        let entries = state.entries()?;
        let deployment_mark = deployment_mark(&entries, options.deployment_mark)?;
        let mut references = references(&addresses, &deployment_mark);
        if let StripeSide::Account(StripeAccount { url: None, .. }) = listeners.stripe {
            references.insert("StripeApiUrl".to_owned(), String::new());
        }
        if let Some(proxy) = options.dynamodb_proxy {
            references.insert("DynamoDbEndpoint".to_owned(), proxy);
        }
        if let Some(proxy) = options.stripe_proxy {
            references.insert("StripeApiUrl".to_owned(), proxy);
        }
        let template = Template::read(&options.template, &references)?;
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

        let sign_in = SignIn::open(&addresses.gateway, &issuer(&addresses), entries)?;
        let functions = lambda::Options {
            functions: template.functions.clone(),
            programs: options.programs,
            logs: state.logs().to_owned(),
            instances_max: options.instances_max,
            observer: options.observer.clone(),
        };
        let (lambda, lambda_server) = Lambda::new(functions, listeners.lambda);
        servers.spawn(lambda_server);

        let is_open = Arc::new(AtomicBool::new(false));
        let authorizer = Authorizer::new(&template.authorizer, sign_in.keys());
        let project = options.template.parent().unwrap_or(Path::new("."));
        let bucket = Bucket::new(project, template.content_cors.clone(), options.observer.clone());
        servers.spawn(serve(listeners.content, bucket.router()));
        let gateway =
            Gateway::new(&template, authorizer, lambda.clone(), state.disk(), options.observer);
        let health = Health {
            is_open: Arc::clone(&is_open),
            lambda: lambda.clone(),
            addresses: addresses.clone(),
            deployment_mark: deployment_mark.clone(),
        };
        let site = Site::new(project, &addresses.gateway, &template);
        let pages = pages::router(addresses.clone(), options.demo, stripe.who());
        let pages = pages.merge(sign_in.router()).merge(site.router());
        let router = router(&template.stage, gateway, health, pages);
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

    /// Lets containers reach what functions speak to: DynamoDB, Stripe and Secrets Manager, each
    /// on its port of this address of Docker's bridge.
    pub async fn let_containers_in(&mut self, address: Ipv4Addr) -> Result<(), StartError> {
        let Addresses { dynamodb, stripe, secrets_manager, .. } = &self.addresses;
        for url in [dynamodb, stripe, secrets_manager] {
            // What is elsewhere is reached without a bridge.
            let inside = url.strip_prefix("http://").and_then(|inside| inside.parse().ok());
            if let Some(inside) = inside {
                self.servers.spawn(bridge::open(address, inside).await?);
            }
        }
        Ok(())
    }

    /// How many events the simulator holds back, as it has been told to now or in an earlier run.
    #[must_use]
    pub fn held_deliveries(&self) -> Option<usize> {
        match &self.stripe {
            StripeSide::Simulator(simulator) => simulator.held_deliveries(),
            StripeSide::Account(_) => None,
        }
    }

    /// Who Stripe is.
    #[must_use]
    pub fn stripe(&self) -> Stripe {
        self.stripe.who()
    }

    /// Where everything is.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What marks the stack's objects at Stripe as its own.
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

    /// Stops everything, and returns when nothing of it runs any more.
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

    /// Stores what the functions need: the account's key and signing secret, or at the simulator
    /// keys that stay the same for as long as the state lives.
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

/// An error and what lies under it, in one sentence.
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

/// The mark that was given, or that this state has had from its start. A random one tells the
/// laptops apart that share a Stripe account.
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

/// The name of the secret that the template calls so.
#[must_use]
pub fn secret_name(logical_id: &str) -> String {
    format!("coursegate/{logical_id}")
}

/// What the template's parameters and resources are on this machine.
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

fn router(stage: &str, gateway: Gateway, health: Health, pages: Router) -> Router {
    let functions = Router::new()
        .route(&format!("/{stage}"), any(gateway::api))
        .route(&format!("/{stage}/"), any(gateway::api))
        .route(&format!("/{stage}/{{*path}}"), any(gateway::api))
        .layer(from_fn_with_state(health.clone(), hold_until_open))
        // Deliveries that were left from the last time may come at once.
        .route("/webhook", any(gateway::function_url))
        .with_state(gateway);
    Router::new()
        .route("/local/health", get(health_of))
        .with_state(health)
        .merge(pages)
        .merge(functions)
        .method_not_allowed_fallback(async || site::method_not_allowed())
}

/// What `GET /local/health` looks at.
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
    let Addresses { gateway, lambda, dynamodb, stripe, secrets_manager, content } =
        health.addresses;
    let body = json!({
        "status": word,
        "deployment_mark": health.deployment_mark,
        "gateway": gateway,
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
