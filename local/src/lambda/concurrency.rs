//! How many executions run at the same time, and which ones Lambda throttles.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Throttled;
use crate::template::Function;

/// The account's executions, by function.
#[derive(Debug)]
pub(super) struct Concurrency {
    /// The account's quota; none if nothing limits it.
    account: Option<usize>,
    /// The functions with a reservation. A reservation is taken from the account's quota, whether
    /// it is used or not.
    reserved: BTreeMap<String, usize>,
    running: Mutex<BTreeMap<String, usize>>,
}

impl Concurrency {
    pub(super) fn new(account: Option<usize>, functions: &[Function]) -> Arc<Self> {
        let reserved = functions.iter().filter_map(|function| {
            let reserved = usize::try_from(function.reserved_concurrency?).ok()?;
            Some((function.binary.clone(), reserved))
        });
        Arc::new(Self { account, reserved: reserved.collect(), running: Mutex::default() })
    }

    /// Begins an execution of this function, which lasts until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>, function: &str) -> Result<Execution, Throttled> {
        let mut running = self.running();
        if let Some(reserved) = self.reserved.get(function) {
            if running.get(function).copied().unwrap_or_default() >= *reserved {
                return Err(Throttled::Function);
            }
        } else if let Some(account) = self.account {
            let unreserved = account.saturating_sub(self.reserved.values().sum());
            let shared = running.iter().filter(|(name, _)| !self.reserved.contains_key(*name));
            if shared.map(|(_, count)| count).sum::<usize>() >= unreserved {
                return Err(Throttled::Account);
            }
        }
        let count = running.entry(function.to_owned()).or_default();
        *count = count.saturating_add(1);
        Ok(Execution { concurrency: Arc::clone(self), function: function.to_owned() })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An execution in progress.
#[derive(Debug)]
pub(super) struct Execution {
    concurrency: Arc<Concurrency>,
    function: String,
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(count) = self.concurrency.running().get_mut(&self.function) {
            *count = count.saturating_sub(1);
        }
    }
}
