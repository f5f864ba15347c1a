//! A clock that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shared::domain::time::Timestamp;
use shared::ports::{Clock, SystemClock};

/// A clock that only moves by hand. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds)))
    }

    /// A clock that shows the current time.
    #[must_use]
    pub fn now() -> Self {
        Self::at(SystemClock.now().unix_seconds())
    }

    /// Moves it forward or back.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.0.load(Ordering::SeqCst))
    }

    /// Sleeps in real time; this clock doesn't move.
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
