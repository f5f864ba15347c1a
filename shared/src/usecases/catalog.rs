//! The catalog on sale, kept in memory for a minute.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::domain::catalog::PublishedCatalog;
use crate::domain::time::{MINUTE, Timestamp};
use crate::ports::{CatalogReader, LedgerError};

/// How old the catalog in memory may be.
const FRESH_SECONDS: i64 = MINUTE;

/// The catalog, and when it was read.
type Cached = (Arc<PublishedCatalog>, Timestamp);

/// Reads the catalog, at most once a minute. Clones share what is in memory.
#[derive(Clone)]
pub struct CatalogCache<R> {
    reader: R,
    cached: Arc<Mutex<Option<Cached>>>,
}

impl<R: CatalogReader> CatalogCache<R> {
    /// A cache of the catalog that is read here.
    #[must_use]
    pub fn new(reader: R) -> Self {
        Self { reader, cached: Arc::default() }
    }

    /// The catalog on sale, up to a minute old.
    pub async fn get(&self, now: Timestamp) -> Result<Arc<PublishedCatalog>, LedgerError> {
        self.at_least(0, now).await
    }

    /// The catalog on sale, up to a minute old and of this version or a later one.
    pub async fn at_least(
        &self,
        version: u64,
        now: Timestamp,
    ) -> Result<Arc<PublishedCatalog>, LedgerError> {
        let mut cached = self.cached.lock().await;
        if let Some((catalog, read_at)) = &*cached
            && catalog.version >= version
            && (0..FRESH_SECONDS).contains(&now.seconds_since(*read_at))
        {
            return Ok(Arc::clone(catalog));
        }
        let catalog = self.reader.catalog().await?.ok_or_else(|| {
            LedgerError::Unavailable("there is no catalog yet: publish one".into())
        })?;
        let catalog = Arc::new(catalog);
        *cached = Some((Arc::clone(&catalog), now));
        Ok(catalog)
    }
}
