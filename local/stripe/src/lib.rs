#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! - `state`: the lock, the clock and the transaction around every operation; `store` keeps all
//!   documents in memory and in a SQLite file.
//! - `api`: HTTP, keys and errors of `/v1`; with `form`, `parameters`, `permissions`, `idempotency`
//!   and
//!   `faults`.
//! - `resources`: the table of operations, and one module for each kind of object.
//! - `amounts`: the currencies and amounts that Stripe accepts.
//! - `payments`: what happens when a buyer pays; `cards` are Stripe's test cards.
//! - `later`: timed changes, such as a session's expiry.
//! - `events` and `deliveries`: which events are sent to which endpoints, until they arrive.
//! - `page`: the hosted page. `control`: `/_sim`. `connection`: connections that can be closed
//!   without a response.
//!
//! To add a resource, add a module in `resources`, its lines in the table, and a kind in `store`.

// Stripe's objects have many fields.
#![recursion_limit = "256"]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a developer's tool, built with overflow checks"
)]

mod amounts;
mod api;
mod cards;
mod connection;
mod control;
mod deliveries;
mod document;
mod error;
mod events;
mod faults;
mod form;
mod id;
mod idempotency;
mod later;
mod page;
mod parameters;
mod payments;
mod permissions;
mod resources;
mod state;
mod store;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::connection::{Connection, CuttableListener};
use crate::resources::webhook_endpoints;
use crate::state::{Core, Origin};

/// How often the simulator looks for changes that are due and records that have expired.
const TICK: Duration = Duration::from_millis(500);

/// How to start a simulator.
#[derive(Debug)]
pub struct Options {
    /// The address to listen on; port 0 picks a free one. It should be on the loopback interface:
    /// the simulator accepts any test key.
    pub listener: TcpListener,
    /// The SQLite file that keeps the state over a restart; without one it is in memory.
    pub state: Option<PathBuf>,
}

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
}

/// Why the simulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener has no address.
    #[error("the Stripe simulator's listener has no local address; bind it to 127.0.0.1 first")]
    Listener(#[source] std::io::Error),
    /// The state file cannot be opened or read.
    #[error(
        "the Stripe simulator cannot use its state file {path}; stop the simulator that uses it, or delete it to start over"
    )]
    State {
        /// The file.
        path: String,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error(
        "the disk is full: the Stripe simulator can't write its state file {0}; free some space and start it again"
    )]
    DiskFull(String),
    /// The HTTP client for deliveries can't be created.
    #[error("the Stripe simulator cannot set up its webhook deliveries")]
    Deliveries(#[source] reqwest::Error),
    /// The task that reads the state file panicked.
    #[error("the Stripe simulator's state could not be read")]
    Interrupted(#[source] JoinError),
}

/// Why a webhook endpoint was not registered.
#[derive(Debug, thiserror::Error)]
#[error("the Stripe simulator did not register the webhook endpoint: {reason}")]
pub struct RegisterError {
    reason: String,
}

/// Starts a simulator; it serves requests when this returns.
pub async fn start(options: Options) -> Result<Simulator, StartError> {
    let Options { listener, state } = options;
    let port = listener.local_addr().map_err(StartError::Listener)?.port();
    let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
    let http = reqwest::Client::builder()
        .timeout(deliveries::TIMEOUT)
        // Like Stripe, it follows no redirects and uses no proxy of the developer's machine.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(StartError::Deliveries)?;
    let (stop, stopping) = watch::channel(false);
    let (to_deliver, batches) = mpsc::unbounded_channel();
    let path = state.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let core = tokio::task::spawn_blocking(move || {
        Core::new(url, state.as_deref(), to_deliver, stopping, http)
    })
    .await
    .map_err(StartError::Interrupted)?
    .map_err(|source| {
        if store::is_full(&source) {
            StartError::DiskFull(path)
        } else {
            StartError::State { path, source }
        }
    })?;

    deliveries::resume(&core);
    let background = vec![
        tokio::spawn(deliveries::dispatch(Arc::clone(&core), batches)),
        tokio::spawn(tick(Arc::clone(&core))),
    ];
    let server = tokio::spawn(serve(Arc::clone(&core), listener));
    Ok(Simulator { core, stop, server, background })
}

async fn serve(core: Arc<Core>, listener: TcpListener) {
    let mut stopping = core.stopping.clone();
    let router = control::routes().merge(page::routes()).fallback(api::handle).with_state(core);
    let service = router.into_make_service_with_connect_info::<Connection>();
    let served =
        axum::serve(CuttableListener(listener), service).with_graceful_shutdown(async move {
            // A closed channel means that the simulator was dropped: stop as well.
            let _stop = stopping.wait_for(|stopping| *stopping).await;
        });
    if let Err(error) = served.await {
        tracing::error!(%error, "the Stripe simulator stopped serving");
    }
}

async fn tick(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let pruned = core.transact(Origin::default(), |call| {
            idempotency::prune(call);
            deliveries::prune(call);
            Ok(())
        });
        if let Err(error) = pruned {
            tracing::warn!(
                error = error.message(),
                "the Stripe simulator could not run its periodic tasks"
            );
        }
    }
}

impl Simulator {
    /// Its address, `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        self.core.url.clone()
    }

    /// Makes sure that there is one webhook endpoint registered this way, enabled and for all
    /// events, at this address, and returns its newest signing secret (`whsec_…`). After a restart
    /// it is the same endpoint, moved if necessary, with its secret and its undelivered events.
    pub async fn register_webhook(&self, url: &str) -> Result<String, RegisterError> {
        let (core, url) = (Arc::clone(&self.core), url.to_owned());
        let registered = tokio::task::spawn_blocking(move || {
            core.transact(Origin::default(), |call| webhook_endpoints::ensure(call, &url))
        });
        match registered.await {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(error)) => Err(RegisterError { reason: error.message().to_owned() }),
            Err(error) => Err(RegisterError { reason: error.to_string() }),
        }
    }

    /// The number of held deliveries; `None` when deliveries are not being held. The setting
    /// survives a restart.
    #[must_use]
    pub fn held_deliveries(&self) -> Option<usize> {
        deliveries::held_back(&self.core)
    }

    /// Stops serving and delivering. What is undelivered is delivered after the next start from
    /// the same file.
    pub async fn shutdown(mut self) {
        self.halt();
        // Requests end within moments; a client that never reads must not delay the stop.
        if tokio::time::timeout(Duration::from_secs(2), &mut self.server).await.is_err() {
            self.server.abort();
        }
    }

    fn halt(&self) {
        self.stop.send_replace(true);
        for task in &self.background {
            task.abort();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.halt();
    }
}
