//! The catalog on sale: one item, replaced whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Table;
use super::attributes::{Reader, number, text};
use super::failure::held;
use super::key::{Key, PK, SK};
use crate::domain::catalog::{Catalog, Category, Course, Price, Product, PublishedCatalog};
use crate::domain::id::{PriceKey, StripePriceId};
use crate::domain::money::Money;
use crate::ports::{CatalogReader, LedgerError};

/// The API calls that reading the catalog makes, as IAM names them.
pub const ACTIONS: &[&str] = &["dynamodb:GetItem"];

/// The maximum size of the catalog's item, as [`item_bytes`] counts it. DynamoDB's limit is 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items>);
/// one KB is left for what it counts besides the item when a request updates it.
pub const ITEM_BYTES_MAX: usize = 399 * 1024;

/// The assumed length of Stripe's id of a price that isn't at Stripe yet: about twice what it is
/// today.
const STRIPE_PRICE_ID_BYTES: usize = 64;

/// The attributes of the catalog's item, beside its key.
const DOCUMENT: &str = "document";
const VERSION: &str = "version";

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

impl CatalogReader for Table {
    async fn catalog(&self) -> Result<Option<PublishedCatalog>, LedgerError> {
        let Some(item) = self.get(&Key::Catalog).await? else { return Ok(None) };
        let reader = Reader(&item);
        let document: CatalogDocument = serde_json::from_str(reader.text(DOCUMENT)?)
            .map_err(|error| LedgerError::Unreadable(format!("catalog: {error}")))?;
        published(document, reader.number(VERSION)?).map(Some)
    }
}

impl Table {
    /// Puts this catalog on sale in place of the version before it. Returns `false` if somebody
    /// else has published one meanwhile.
    pub async fn publish_catalog(&self, catalog: &PublishedCatalog) -> Result<bool, LedgerError> {
        for price in catalog.catalog.prices() {
            if !catalog.stripe_prices.contains_key(&price.key) {
                let message = format!("price {} has no Stripe price", price.key);
                return Err(LedgerError::Unreadable(message));
            }
        }
        let document = document(&catalog.catalog, &catalog.stripe_prices);
        let document = serde_json::to_string(&document)
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

/// The size in bytes of the item with this catalog, as DynamoDB counts it: the names and values of
/// its attributes, with a number as half its digits and one byte
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).
/// A price that isn't at Stripe yet counts with room for its id.
#[must_use]
pub fn item_bytes(
    catalog: &Catalog,
    stripe_prices: &BTreeMap<PriceKey, StripePriceId>,
    version: u64,
) -> usize {
    let document = serde_json::to_string(&document(catalog, stripe_prices));
    let version_bytes = version.to_string().len().div_ceil(2).saturating_add(1);
    let sizes = [
        PK.len(),
        Key::Catalog.pk().len(),
        SK.len(),
        Key::Catalog.sk().len(),
        DOCUMENT.len(),
        document.map_or(0, |document| document.len()),
        VERSION.len(),
        version_bytes,
    ];
    sizes.into_iter().fold(0, usize::saturating_add)
}

/// The catalog as it is stored. A price that isn't at Stripe yet has a placeholder of the assumed
/// length.
fn document(
    catalog: &Catalog,
    stripe_prices: &BTreeMap<PriceKey, StripePriceId>,
) -> CatalogDocument {
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
    let prices = catalog.prices().iter().map(|price| PriceDocument {
        key: price.key.to_string(),
        product: price.product.to_string(),
        amount: price.money.amount_minor,
        currency: price.money.currency.to_string(),
        stripe_price: stripe_prices
            .get(&price.key)
            .map_or_else(|| "x".repeat(STRIPE_PRICE_ID_BYTES), ToString::to_string),
    });
    CatalogDocument {
        courses: courses.collect(),
        products: products.collect(),
        prices: prices.collect(),
    }
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
    let catalog = Catalog::restore(courses, products, prices).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        LedgerError::Unreadable(format!("catalog: {}", faults.join("; ")))
    })?;
    Ok(PublishedCatalog { catalog, stripe_prices, version })
}
