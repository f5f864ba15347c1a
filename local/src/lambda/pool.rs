//! Assigns events to a function's instances.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::configuration::{Configuration, UpdateInProgress, UpdateStatus};
use super::process::{self, Instance};
use super::{FunctionError, FunctionHealth, LambdaError, Options, api};
use crate::template::Function;
use crate::{clock, random};

/// How long Lambda gives an instance to request its first event.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// An event on its way to an instance.
#[derive(Debug, Clone)]
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) event: Bytes,
    pub(super) deadline_ms: u64,
}

type Answer = Result<Bytes, FunctionError>;

/// The instances of one function.
#[derive(Debug)]
pub(super) struct Pool {
    function: Function,
    options: Arc<Options>,
    state: Mutex<PoolState>,
    phase: watch::Sender<Phase>,
    running: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct PoolState {
    instances: BTreeMap<String, Member>,
    waiting: VecDeque<(Invocation, oneshot::Sender<Answer>)>,
    cold_starts: u64,
    is_stopping: bool,
    configuration: Configuration,
    /// The number of configuration updates. An instance keeps the number it started with.
    updates: u64,
    /// Instances that started before this update get no more events.
    serving_since: u64,
}

/// The pool's state for one instance.
#[derive(Debug, Default)]
struct Member {
    process: Option<u32>,
    kill: Option<oneshot::Sender<()>>,
    is_ready: bool,
    /// The configuration update after which it started.
    started_after: u64,
    /// Notified when the instance requests its first event; dropped if it never does.
    ready: Option<oneshot::Sender<()>>,
    /// Set while the instance waits for its next event.
    idle: Option<oneshot::Sender<Invocation>>,
    /// Set while the instance handles an event.
    busy: Option<(String, oneshot::Sender<Answer>)>,
}

/// The state of the function's first instance.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Failed(String),
}

impl Pool {
    pub(super) fn new(function: Function, options: Arc<Options>) -> Pool {
        let configuration = Configuration::new(&function);
        Pool {
            function,
            options,
            state: Mutex::new(PoolState { configuration, ..PoolState::default() }),
            phase: watch::Sender::new(Phase::Starting),
            running: watch::Sender::new(0),
        }
    }

    pub(super) fn function(&self) -> &Function {
        &self.function
    }

    pub(super) fn health(&self) -> FunctionHealth {
        let state = self.state();
        FunctionHealth {
            ready: *self.phase.borrow() == Phase::Ready,
            instances: state.instances.len(),
            processes: state.instances.values().filter_map(|member| member.process).collect(),
            cold_starts: state.cold_starts,
        }
    }

    /// Waits until the first instance is ready or has failed to start.
    pub(super) async fn ready(&self) -> Result<(), LambdaError> {
        let mut phase = self.phase.subscribe();
        let reached = phase.wait_for(|phase| *phase != Phase::Starting).await;
        match reached.as_deref() {
            Ok(Phase::Failed(problem)) => {
                let log = process::log_file(&self.options, &self.function);
                Err(LambdaError::NotStarted {
                    function: self.function.binary.clone(),
                    problem: problem.clone(),
                    last_line: process::last_line(&log),
                    log,
                })
            }
            Ok(Phase::Starting | Phase::Ready) | Err(_) => Ok(()),
        }
    }

    pub(super) fn configuration(&self) -> Configuration {
        self.state().configuration.clone()
    }

    /// Changes the description and, as any update of a function does in AWS, replaces its
    /// instances; until a new one is ready, the running ones continue.
    pub(super) fn update(
        self: &Arc<Self>,
        description: Option<String>,
    ) -> Result<Configuration, UpdateInProgress> {
        let (configuration, updates) = {
            let mut state = self.state();
            state.configuration.begin_update(description)?;
            state.updates = state.updates.saturating_add(1);
            (state.configuration.clone(), state.updates)
        };
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let (is_ready, ready) = oneshot::channel();
            pool.start(Some(is_ready));
            let status = match ready.await {
                Ok(()) => {
                    pool.retire_older_than(updates);
                    UpdateStatus::Successful
                }
                Err(_) => UpdateStatus::Failed("a new instance did not start".to_owned()),
            };
            pool.state().configuration.status = status;
        });
        Ok(configuration)
    }

    /// Ends the instances that started before this update; busy ones once they have finished.
    fn retire_older_than(self: &Arc<Self>, update: u64) {
        let retired: Vec<String> = {
            let mut state = self.state();
            state.serving_since = update;
            let idle = state
                .instances
                .iter()
                .filter(|(_, member)| member.started_after < update && member.busy.is_none());
            idle.map(|(id, _)| id.clone()).collect()
        };
        for id in &retired {
            self.kill(id);
        }
        self.dispatch();
    }

    pub(super) async fn invoke(self: &Arc<Self>, event: Bytes) -> Answer {
        let (reply, answer) = oneshot::channel();
        let request_id = random::uuid();
        let invocation = Invocation { request_id: request_id.clone(), event, deadline_ms: 0 };
        self.enqueue(invocation, reply);
        self.dispatch();
        let gone = || error("Runtime.Unavailable", &request_id, "the local stack is stopping");
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Dropping the reply is the result while the pool is stopping.
    fn enqueue(&self, invocation: Invocation, reply: oneshot::Sender<Answer>) {
        let mut state = self.state();
        if !state.is_stopping {
            state.waiting.push_back((invocation, reply));
        }
    }

    /// Gives waiting events to idle instances, and starts instances for the rest.
    fn dispatch(self: &Arc<Self>) {
        let mut state = self.state();
        let timeout = self.function.timeout;
        while let Some(id) = state.idle_instance() {
            let Some((mut invocation, reply)) = state.waiting.pop_front() else { return };
            let Some(member) = state.instances.get_mut(&id) else { return };
            let Some(idle) = member.idle.take() else { return };
            invocation.deadline_ms = clock::now_ms()
                .saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            let request_id = invocation.request_id.clone();
            match idle.send(invocation) {
                Ok(()) => {
                    member.busy = Some((request_id.clone(), reply));
                    self.watch_timeout(id, request_id);
                }
                // The instance has just stopped listening: the event waits for another one.
                Err(invocation) => state.waiting.push_front((invocation, reply)),
            }
        }
        let starting = state.instances.values().filter(|member| !member.is_ready).count();
        let wanted = state.waiting.len().saturating_sub(starting);
        let room = self.options.instances_max.saturating_sub(state.instances.len());
        drop(state);
        for _ in 0..wanted.min(room) {
            self.start_one();
        }
    }

    /// Starts one more instance.
    pub(super) fn start_one(self: &Arc<Self>) {
        self.start(None);
    }

    /// The same, with a notification when it requests its first event.
    fn start(self: &Arc<Self>, ready: Option<oneshot::Sender<()>>) {
        let id = random::token::<8>();
        let (kill, killed) = oneshot::channel();
        {
            let mut state = self.state();
            if state.is_stopping {
                return;
            }
            state.cold_starts = state.cold_starts.saturating_add(1);
            let started_after = state.updates;
            let member = Member { kill: Some(kill), started_after, ready, ..Member::default() };
            state.instances.insert(id.clone(), member);
            self.running.send_modify(|running| *running = running.saturating_add(1));
        }
        let pool = Arc::clone(self);
        let instance_id = id.clone();
        tokio::spawn(async move {
            let end = match pool.run(&instance_id, killed).await {
                Ok(end) => end,
                Err(error) => format!("its Runtime API can't be served: {error}"),
            };
            pool.ended(&instance_id, &end);
        });
        self.watch_init(id);
    }

    /// Runs an instance to its end with its own Runtime API, and returns how it ended.
    async fn run(self: &Arc<Self>, id: &str, killed: oneshot::Receiver<()>) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let runtime_api = listener.local_addr()?.to_string();
        let router = api::runtime_router(Arc::clone(self), id.to_owned());
        let server = async { axum::serve(listener, router).await };
        let instance =
            Instance { options: &self.options, function: &self.function, runtime_api, id };
        let started = |process| {
            if let Some(member) = self.state().instances.get_mut(id) {
                member.process = process;
            }
        };
        tokio::select! {
            end = process::run(instance, killed, started) => Ok(end),
            stopped = server => stopped.map(|()| "its Runtime API stopped".to_owned()),
        }
    }

    /// Ends an instance that hasn't requested its first event in time.
    fn watch_init(self: &Arc<Self>, id: String) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(INIT_TIMEOUT).await;
            let is_ready = pool.state().instances.get(&id).is_none_or(|member| member.is_ready);
            if !is_ready {
                pool.kill(&id);
            }
        });
    }

    /// An instance requests its next event. `None` if the pool doesn't know it (any more).
    pub(super) async fn next(self: &Arc<Self>, id: &str) -> Option<Invocation> {
        let (idle, next) = oneshot::channel();
        {
            let mut state = self.state();
            let serving_since = state.serving_since;
            let member = state.instances.get_mut(id)?;
            member.is_ready = true;
            if member.started_after < serving_since {
                // The function was updated while this instance was busy.
                member.kill.take().map(|kill| kill.send(()));
                return None;
            }
            member.idle = Some(idle);
            member.ready.take().map(|ready| ready.send(()));
        }
        self.phase.send_if_modified(|phase| {
            let is_first = *phase != Phase::Ready;
            *phase = Phase::Ready;
            is_first
        });
        self.dispatch();
        next.await.ok()
    }

    /// An instance returns a result. Returns whether it was for its current event.
    pub(super) fn answer(&self, id: &str, request_id: &str, answer: Answer) -> bool {
        let mut state = self.state();
        let Some(member) = state.instances.get_mut(id) else { return false };
        match member.busy.take_if(|(busy_with, _)| busy_with == request_id) {
            Some((_, reply)) => {
                // The caller may have hung up.
                let _ = reply.send(answer);
                true
            }
            None => false,
        }
    }

    /// An instance reports that it can't start.
    pub(super) fn init_failed(&self, id: &str, problem: &str) {
        let function = &self.function.binary;
        tracing::warn!("{function}: instance {id} failed to start: {problem}");
    }

    fn ended(self: &Arc<Self>, id: &str, end: &str) {
        let mut state = self.state();
        let member = state.instances.remove(id);
        self.running.send_modify(|running| *running = running.saturating_sub(1));
        let Some(member) = member else { return };
        let is_stopping = state.is_stopping;
        let is_retired = member.started_after < state.serving_since;
        if let Some((request_id, reply)) = member.busy {
            let problem = format!("Runtime exited with error: {end}");
            let _ = reply.send(Err(error("Runtime.ExitError", &request_id, &problem)));
        } else if !member.is_ready
            && !is_retired
            && let Some((invocation, reply)) = state.waiting.pop_front()
        {
            // Each failed start fails one event, so a broken function can't restart forever.
            let problem = format!("Runtime exited while starting: {end}");
            let _ = reply.send(Err(error("Runtime.InitError", &invocation.request_id, &problem)));
        }
        drop(state);
        if is_stopping {
            return;
        }
        self.phase.send_if_modified(|phase| {
            let is_first = *phase == Phase::Starting;
            if is_first {
                *phase = Phase::Failed(end.to_owned());
            }
            is_first
        });
        if member.is_ready && !is_retired {
            let function = &self.function.binary;
            tracing::warn!("{function}: its process ended ({end}); starting another one");
            self.start_one();
        } else {
            self.dispatch();
        }
    }

    /// Ends an instance that is still busy with this event at its timeout.
    fn watch_timeout(self: &Arc<Self>, id: String, request_id: String) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let timeout = pool.function.timeout;
            tokio::time::sleep(timeout).await;
            let problem = format!("Task timed out after {}.00 seconds", timeout.as_secs());
            let timed_out = error("Sandbox.Timedout", &request_id, &problem);
            if pool.answer(&id, &request_id, Err(timed_out)) {
                pool.kill(&id);
            }
        });
    }

    fn kill(&self, id: &str) {
        let mut state = self.state();
        if let Some(kill) = state.instances.get_mut(id).and_then(|member| member.kill.take()) {
            // It has ended by itself if nobody listens.
            let _ = kill.send(());
        }
    }

    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopping = true;
        state.waiting.clear();
        for member in state.instances.values_mut() {
            if let Some(kill) = member.kill.take() {
                let _ = kill.send(());
            }
        }
    }

    pub(super) async fn stopped(&self) {
        // The sender is in self, so this can't fail.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn idle_instance(&self) -> Option<String> {
        let idle = self
            .instances
            .iter()
            .filter(|(_, member)| member.started_after >= self.serving_since)
            .find(|(_, member)| member.idle.as_ref().is_some_and(|idle| !idle.is_closed()));
        idle.map(|(id, _)| id.clone())
    }
}

fn error(kind: &str, request_id: &str, problem: &str) -> FunctionError {
    FunctionError {
        error_type: kind.to_owned(),
        error_message: format!("RequestId: {request_id} Error: {problem}"),
    }
}
