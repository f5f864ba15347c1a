//! Lambda: each function runs as its own processes, which speak the real Runtime API.
//!
//! [`Lambda::invoke`] gives an event to a function and waits for its result. An instance handles
//! one event at a time; when all are busy another one is started, up to a limit, and then events
//! wait. Events beyond a function's reserved concurrency or the account's quota are refused, as in
//! AWS. The parts: `concurrency` counts executions, `pool` assigns events to instances, `process` is
//! an instance's process, `api` is the HTTP side: a Runtime API for each instance and Lambda's own
//! API for everybody else.
//! `configuration` holds what that API can read and change of a function.

mod api;
mod concurrency;
mod configuration;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::observer::Observer;
use crate::template::Function;
use concurrency::Concurrency;
use pool::Pool;

/// Lambda's limit for an event and for a result.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The credentials that Lambda gives a function to sign its requests with. They protect nothing
/// here: everything is open to anyone on this machine.
pub(crate) mod credentials {
    pub(crate) const REGION: &str = "us-east-1";
    pub(crate) const ACCESS_KEY_ID: &str = "local";
    pub(crate) const SECRET_ACCESS_KEY: &str = "local";
    pub(crate) const SESSION_TOKEN: &str = "local";
}

/// How to run functions.
#[derive(Debug, Clone)]
pub struct Options {
    /// The functions, as the template declares them.
    pub functions: Vec<Function>,
    /// The programs that run them.
    pub programs: Programs,
    /// Each function logs to `NAME.log` in this folder.
    pub logs: PathBuf,
    /// The most processes of one function.
    pub instances_max: usize,
    /// The account's quota of concurrent executions; none if nothing limits it.
    pub account_concurrency: Option<usize>,
    /// Observes each request to the Invoke API.
    pub observer: Observer,
}

/// The programs that run the functions.
#[derive(Debug, Clone)]
pub enum Programs {
    /// One program runs every function: its last argument is the function's name.
    One(Program),
    /// Each function has its own program, by the function's name.
    Each(BTreeMap<String, Program>),
}

/// An executable file and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// The running functions. Clones share them.
#[derive(Debug, Clone)]
pub struct Lambda {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
    concurrency: Arc<Concurrency>,
    observer: Observer,
}

/// Why a function returned no result. It becomes JSON as Lambda returns it to a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{error_type}: {error_message}")]
pub struct FunctionError {
    /// `Runtime.ExitError`, `Sandbox.Timedout`, or what the function itself reported.
    pub error_type: String,
    /// A message for people.
    pub error_message: String,
}

/// Why an invocation was impossible, or failed.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No function has this name.
    #[error("there is no function {0}")]
    NoSuchFunction(String),
    /// The event is over 6 MB.
    #[error("the event is larger than {PAYLOAD_BYTES_MAX} bytes")]
    EventTooLarge,
    /// Too many executions are in progress.
    #[error("{0}")]
    Throttled(Throttled),
    /// The function failed.
    #[error(transparent)]
    Failed(FunctionError),
}

/// Whose limit of concurrent executions is reached, as Lambda names it.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors>
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Throttled {
    /// What the functions without a reservation share.
    #[error("ConcurrentInvocationLimitExceeded")]
    Account,
    /// The function's reservation.
    #[error("ReservedFunctionConcurrentInvocationLimitExceeded")]
    Function,
}

/// A function's health.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct FunctionHealth {
    /// Whether an instance has been ready for an event.
    pub ready: bool,
    /// The number of running or starting processes.
    pub instances: usize,
    /// Their process ids, for a debugger or `kill`.
    pub processes: Vec<u32>,
    /// The number of processes started so far.
    pub cold_starts: u64,
}

/// Why the functions can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// A function's process ended, or never requested its first event.
    #[error(
        "the {function} function did not start ({problem}): {last_line}; its log is {}",
        log.display()
    )]
    NotStarted {
        /// `checkout`
        function: String,
        /// How it ended.
        problem: String,
        /// The last line of its log.
        last_line: String,
        /// Its log file.
        log: PathBuf,
    },
}

impl Lambda {
    /// Prepares the functions and serves the API on `listener`; no function starts until it is
    /// needed. The returned future is the server: it runs until it is dropped.
    pub fn new(
        options: Options,
        listener: TcpListener,
    ) -> (Lambda, impl Future<Output = ()> + Send + 'static) {
        let concurrency = Concurrency::new(options.account_concurrency, &options.functions);
        let options = Arc::new(options);
        let pools = options
            .functions
            .iter()
            .map(|function| {
                let pool = Pool::new(function.clone(), Arc::clone(&options));
                (function.binary.clone(), Arc::new(pool))
            })
            .collect();
        let observer = options.observer.clone();
        let lambda = Lambda { pools: Arc::new(pools), concurrency, observer };
        let router = api::functions_router(lambda.clone());
        let server = async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the Lambda API stopped");
            }
        };
        (lambda, server)
    }

    /// Starts one instance of each function in parallel, and waits until each requests an event.
    pub async fn start_all(&self) -> Result<(), LambdaError> {
        for pool in self.pools.values() {
            pool.start_one();
        }
        for pool in self.pools.values() {
            pool.ready().await?;
        }
        Ok(())
    }

    /// Gives a function (by its binary's name or logical id) an event, and waits for the result.
    pub async fn invoke(&self, function: &str, event: Bytes) -> Result<Bytes, InvokeError> {
        let pool =
            self.pool(function).ok_or_else(|| InvokeError::NoSuchFunction(function.to_owned()))?;
        if event.len() > PAYLOAD_BYTES_MAX {
            return Err(InvokeError::EventTooLarge);
        }
        let _execution =
            self.concurrency.begin(&pool.function().binary).map_err(InvokeError::Throttled)?;
        pool.invoke(event).await.map_err(InvokeError::Failed)
    }

    /// Each function's health, by name.
    #[must_use]
    pub fn health(&self) -> BTreeMap<String, FunctionHealth> {
        self.pools.iter().map(|(name, pool)| (name.clone(), pool.health())).collect()
    }

    /// Ends every process and waits until they are gone.
    pub async fn stop(&self) {
        for pool in self.pools.values() {
            pool.stop();
        }
        for pool in self.pools.values() {
            pool.stopped().await;
        }
    }

    fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        // An ARN ends with the name, and perhaps a version.
        let name = name.rsplit(":function:").next().unwrap_or(name);
        let name = name.split(':').next().unwrap_or(name);
        self.pools
            .get(name)
            .or_else(|| self.pools.values().find(|pool| pool.function().logical_id == name))
    }
}
