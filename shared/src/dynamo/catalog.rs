//! The catalog on sale: one item, replaced whole, kept in a function's memory for a minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Table;
use super::attributes::{Reader, number, text};
use super::failure::held;
use super::key::Key;
use crate::domain::catalog::{Catalog, Category, Course, Price, Product, PublishedCatalog};
use crate::domain::money::Money;
use crate::domain::time::{MINUTE, Timestamp};
use crate::ports::{CatalogReader, LedgerError};

/// The API calls that reading the catalog makes, as IAM names them.
pub const ACTIONS: &[&str] = &["dynamodb:GetItem"];

/// How old the catalog in a function's memory may be.
const FRESH_SECONDS: i64 = MINUTE;

/// The catalog as it is written down, as JSON in one attribute.
#[derive(Serialize, Deserialize)]
struct CatalogDocument {
    courses: Vec<CourseDocument>,
    products: Vec<ProductDocument>,
    prices: Vec<PriceDocument>,
}

#[derive(Serialize, Deserialize)]
struct CourseDocument {
    id: String,
    title: String,
    summary: String,
    category: CategoryDocument,
    chapters: Vec<String>,
    free_chapters: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CategoryDocument {
    Free,
    Curriculum,
    Alacarte,
}

#[derive(Serialize, Deserialize)]
struct ProductDocument {
    id: String,
    name: String,
    courses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct PriceDocument {
    key: String,
    product: String,
    amount: i64,
    currency: String,
    stripe_price: String,
}

/// Reads the catalog, at most once a minute.
pub struct CatalogCache<R = Table> {
    table: R,
    cached: Mutex<Option<(Arc<PublishedCatalog>, Timestamp)>>,
}

impl<R: CatalogReader> CatalogCache<R> {
    /// The catalog in this table.
    #[must_use]
    pub fn new(table: R) -> Self {
        Self { table, cached: Mutex::default() }
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
        let catalog = self.table.catalog().await?.ok_or_else(|| {
            LedgerError::Unavailable("there is no catalog yet: publish one".into())
        })?;
        let catalog = Arc::new(catalog);
        *cached = Some((Arc::clone(&catalog), now));
        Ok(catalog)
    }
}

impl CatalogReader for Table {
    async fn catalog(&self) -> Result<Option<PublishedCatalog>, LedgerError> {
        let Some(item) = self.get(&Key::Catalog).await? else { return Ok(None) };
        let reader = Reader(&item);
        let document: CatalogDocument = serde_json::from_str(reader.text("document")?)
            .map_err(|error| LedgerError::Unreadable(format!("catalog: {error}")))?;
        published(document, reader.number("version")?).map(Some)
    }
}

impl Table {
    /// Puts this catalog on sale in the place of the version before its own. Says whether it is;
    /// if not, somebody else has published one meanwhile.
    pub async fn publish_catalog(&self, catalog: &PublishedCatalog) -> Result<bool, LedgerError> {
        let document = serde_json::to_string(&document(catalog)?)
            .map_err(|error| LedgerError::Refused(Box::new(error)))?;
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(Key::Catalog.attributes()))
            .update_expression("SET document = :document, version = :version")
            .expression_attribute_values(":document", text(document))
            .expression_attribute_values(":version", number(catalog.version));
        let update = match catalog.version.checked_sub(1) {
            None | Some(0) => update.condition_expression("attribute_not_exists(pk)"),
            Some(before) => update
                .condition_expression("version = :before")
                .expression_attribute_values(":before", number(before)),
        };
        held(update.send().await.map(drop))
    }
}

fn document(published: &PublishedCatalog) -> Result<CatalogDocument, LedgerError> {
    let catalog = &published.catalog;
    let courses = catalog.courses().iter().map(|course| CourseDocument {
        id: course.id.to_string(),
        title: course.title.clone(),
        summary: course.summary.clone(),
        category: match course.category {
            Category::Free => CategoryDocument::Free,
            Category::Curriculum => CategoryDocument::Curriculum,
            Category::Alacarte => CategoryDocument::Alacarte,
        },
        chapters: course.chapters.clone(),
        free_chapters: course.free_chapters,
    });
    let products = catalog.products().iter().map(|product| ProductDocument {
        id: product.id.to_string(),
        name: product.name.clone(),
        courses: product.courses.iter().map(ToString::to_string).collect(),
    });
    let prices = catalog.prices().iter().map(|price| {
        let stripe_price = published.stripe_prices.get(&price.key).ok_or_else(|| {
            LedgerError::Unreadable(format!("price {} has no Stripe price", price.key))
        })?;
        Ok(PriceDocument {
            key: price.key.to_string(),
            product: price.product.to_string(),
            amount: price.money.amount_minor,
            currency: price.money.currency.to_string(),
            stripe_price: stripe_price.to_string(),
        })
    });
    Ok(CatalogDocument {
        courses: courses.collect(),
        products: products.collect(),
        prices: prices.collect::<Result<_, LedgerError>>()?,
    })
}

fn published(document: CatalogDocument, version: u64) -> Result<PublishedCatalog, LedgerError> {
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, LedgerError> {
        text.parse().map_err(|error| LedgerError::Unreadable(format!("catalog: {error}")))
    }
    let courses = document.courses.into_iter().map(|course| {
        Ok(Course {
            id: parsed(&course.id)?,
            title: course.title,
            summary: course.summary,
            category: match course.category {
                CategoryDocument::Free => Category::Free,
                CategoryDocument::Curriculum => Category::Curriculum,
                CategoryDocument::Alacarte => Category::Alacarte,
            },
            chapters: course.chapters,
            free_chapters: course.free_chapters,
        })
    });
    let products = document.products.into_iter().map(|product| {
        let courses = product.courses.iter().map(|id| parsed(id)).collect::<Result<_, _>>()?;
        Ok(Product { id: parsed(&product.id)?, name: product.name, courses })
    });
    let mut stripe_prices = BTreeMap::new();
    let mut prices = Vec::new();
    for price in &document.prices {
        let money = Money { amount_minor: price.amount, currency: parsed(&price.currency)? };
        let price_of = Price { key: parsed(&price.key)?, product: parsed(&price.product)?, money };
        stripe_prices.insert(price_of.key.clone(), parsed(&price.stripe_price)?);
        prices.push(price_of);
    }
    let courses = courses.collect::<Result<_, LedgerError>>()?;
    let products = products.collect::<Result<_, LedgerError>>()?;
    let catalog = Catalog::new(courses, products, prices).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        LedgerError::Unreadable(format!("catalog: {}", faults.join("; ")))
    })?;
    Ok(PublishedCatalog { catalog, stripe_prices, version })
}
