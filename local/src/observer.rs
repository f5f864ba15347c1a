//! Observes requests: the command line prints them, tests collect them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request that the gateway or the bucket has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// `POST`
    pub method: String,
    /// `/api/checkout`
    pub path: String,
    /// `201`
    pub status: u16,
    /// How long it took.
    pub duration: Duration,
    /// The function that answered, or `s3`; none if the gateway did.
    pub function: Option<String>,
    /// Why the gateway refused, how the function failed, or which event was delivered; for a 5xx,
    /// that the disk is full, if it is.
    pub note: Option<String>,
}

/// A callback for each request.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Served) + Send + Sync>);

impl Observer {
    /// Calls this with each request.
    pub fn new(tell: impl Fn(&Served) + Send + Sync + 'static) -> Observer {
        Observer(Arc::new(tell))
    }

    pub(crate) fn served(&self, served: &Served) {
        (self.0)(served);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Observer")
    }
}
