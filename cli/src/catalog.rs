//! `catalog.toml` becomes the shop: read, checked, and put on sale in Stripe and in the table.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::domain::catalog::{Catalog, Category, Course, Price, Product, PublishedCatalog};
use shared::domain::id::{ProductId, StripePriceId};
use shared::domain::money::Money;
use shared::dynamo::Table;
use shared::ports::LedgerError;
use stripe::{Client, StripeError};
use stripe_product::price::{CreatePrice, ListPrice};
use stripe_product::product::{CreateProduct, RetrieveProduct, UpdateProduct};

/// Stripe's products carry our id in this field of their metadata.
const PRODUCT_METADATA: &str = "product";
/// Our products' ids at Stripe start so, that they don't meet anybody else's.
const STRIPE_PRODUCT_PREFIX: &str = "coursegate_";

/// Why a catalog file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFileError {
    /// It can't be read at all.
    #[error("{path} can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or not of this shape.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, 1 for the first.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// What it says makes no shop.
    #[error("{path}: {}", faults.join("; "))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        faults: Vec<String>,
    },
}

/// Why a catalog could not be put on sale. What was done stays done; doing it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Stripe did not do as it was asked.
    #[error("Stripe did not take {what}: {}", stripe_says(source))]
    Stripe {
        /// The product or price.
        what: String,
        /// Why.
        source: StripeError,
    },
    /// Stripe's price has no usable id.
    #[error("Stripe answered without a usable id for price {0}")]
    NoPriceId(String),
    /// The table failed.
    #[error("the table did not take the catalog: {0}")]
    Table(#[from] LedgerError),
    /// Learners would lose what they own.
    #[error(
        "this would close what learners may own: {}; put it back, and take away its price to stop \
         selling it",
        .0.join("; ")
    )]
    Closes(Vec<String>),
    /// Somebody else has published at the same moment.
    #[error("somebody else has published a catalog at this moment: look at it, then push again")]
    Overtaken,
    /// The client could not be made.
    #[error("the Stripe API key or address can't be used")]
    Client(#[source] StripeError),
}

/// What putting it on sale has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Products that Stripe did not have, or had otherwise.
    pub products_changed: usize,
    /// Prices that Stripe did not have, or had otherwise.
    pub prices_created: usize,
    /// Whether the table's catalog is another than before.
    pub published: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    course: Vec<CourseShape>,
    #[serde(default)]
    product: Vec<ProductShape>,
    #[serde(default)]
    price: Vec<PriceShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseShape {
    id: String,
    title: String,
    summary: String,
    category: CategoryShape,
    chapters: Vec<String>,
    /// All of them for a free course, none for another.
    free_chapters: Option<i64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum CategoryShape {
    Free,
    Curriculum,
    Alacarte,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductShape {
    id: String,
    name: String,
    courses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceShape {
    lookup_key: String,
    product: String,
    amount: i64,
    currency: String,
}

/// Reads a catalog file and checks all that it says.
pub fn read(path: &Path) -> Result<Catalog, CatalogFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CatalogFileError::Io { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// Checks all that the text of a catalog file says; the path is for the errors.
pub fn parse(text: &str, path: &Path) -> Result<Catalog, CatalogFileError> {
    let shape: FileShape = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        CatalogFileError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            message: error.message().to_owned(),
        }
    })?;
    shape
        .into_catalog()
        .map_err(|faults| CatalogFileError::Faults { path: path.to_owned(), faults })
}

impl FileShape {
    fn into_catalog(self) -> Result<Catalog, Vec<String>> {
        let mut faults = Vec::new();
        let courses = collect(self.course, &mut faults, CourseShape::into_course);
        let products = collect(self.product, &mut faults, ProductShape::into_product);
        let prices = collect(self.price, &mut faults, PriceShape::into_price);
        // References are only worth checking once every entry can be read.
        if !faults.is_empty() {
            return Err(faults);
        }
        Catalog::new(courses, products, prices)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }
}

fn collect<S, T>(
    shapes: Vec<S>,
    faults: &mut Vec<String>,
    convert: impl Fn(S) -> Result<T, String>,
) -> Vec<T> {
    let mut all = Vec::new();
    for shape in shapes {
        match convert(shape) {
            Ok(one) => all.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    all
}

impl CourseShape {
    fn into_course(self) -> Result<Course, String> {
        let (category, free_by_default) = match self.category {
            CategoryShape::Free => (Category::Free, self.chapters.len()),
            CategoryShape::Curriculum => (Category::Curriculum, 0),
            CategoryShape::Alacarte => (Category::Alacarte, 0),
        };
        let free_chapters = match self.free_chapters.map(usize::try_from) {
            None => free_by_default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                return Err(format!("course {:?}: free_chapters is 0 or more", self.id));
            }
        };
        Ok(Course {
            id: self.id.parse().map_err(|error| format!("course {:?}: {error}", self.id))?,
            title: self.title,
            summary: self.summary,
            category,
            free_chapters,
            chapters: self.chapters,
        })
    }
}

impl ProductShape {
    fn into_product(self) -> Result<Product, String> {
        let say = |what: &str, error| format!("product {what:?}: {error}");
        let courses = self.courses.iter().map(|id| id.parse().map_err(|error| say(id, error)));
        Ok(Product {
            id: self.id.parse().map_err(|error| say(&self.id, error))?,
            courses: courses.collect::<Result<_, _>>()?,
            name: self.name,
        })
    }
}

impl PriceShape {
    fn into_price(self) -> Result<Price, String> {
        let key = self.lookup_key;
        let currency = self.currency.parse().map_err(|error| format!("price {key:?}: {error}"))?;
        Ok(Price {
            product: self.product.parse().map_err(|error| format!("price {key:?}: {error}"))?,
            money: Money { amount_minor: self.amount, currency },
            key: key.parse().map_err(|error| format!("price {key:?}: {error}"))?,
        })
    }
}

/// Whether a catalog may close what learners own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It may not: whoever has paid is never locked out by an edit.
    Refused,
    /// It may: nobody owns anything that counts.
    Allowed,
}

/// Puts a catalog on sale: products and prices at Stripe, then the catalog in the table. Doing it
/// again changes nothing.
pub async fn push(
    catalog: &Catalog,
    closing: Closing,
    stripe_url: &str,
    stripe_key: &str,
    table: &Table,
) -> Result<Summary, PushError> {
    let before = table.catalog().await?;
    if let (Closing::Refused, Some(before)) = (closing, &before) {
        let lost = catalog.closes(&before.catalog);
        if !lost.is_empty() {
            return Err(PushError::Closes(lost));
        }
    }
    let client = stripe::ClientBuilder::new(stripe_key)
        .url(stripe_url)
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .map_err(PushError::Client)?;
    let mut summary = Summary::default();
    for product in catalog.products() {
        let changed = push_product(&client, product).await.map_err(|source| PushError::Stripe {
            what: format!("product {}", product.id),
            source,
        })?;
        summary.products_changed = summary.products_changed.saturating_add(usize::from(changed));
    }
    let mut stripe_prices = BTreeMap::new();
    for price in catalog.prices() {
        let (id, created) = push_price(&client, price).await?;
        summary.prices_created = summary.prices_created.saturating_add(usize::from(created));
        stripe_prices.insert(price.key.clone(), id);
    }
    let version = before.as_ref().map_or(1, |before| before.version.saturating_add(1));
    let published = PublishedCatalog { catalog: catalog.clone(), stripe_prices, version };
    let is_news = before.is_none_or(|before| {
        before.catalog != published.catalog || before.stripe_prices != published.stripe_prices
    });
    if is_news {
        if !table.publish_catalog(&published).await? {
            return Err(PushError::Overtaken);
        }
        summary.published = true;
    }
    Ok(summary)
}

fn stripe_product(id: &ProductId) -> String {
    format!("{STRIPE_PRODUCT_PREFIX}{id}")
}

async fn push_product(client: &Client, product: &Product) -> Result<bool, StripeError> {
    let id = stripe_product(&product.id);
    match RetrieveProduct::new(id.as_str()).send(client).await {
        Ok(found) if found.name == product.name && found.active => Ok(false),
        Ok(_) => {
            let update = UpdateProduct::new(id.as_str()).name(&product.name).active(true);
            update.send(client).await.map(|_| true)
        }
        Err(StripeError::Stripe(_, 404)) => {
            let metadata =
                HashMap::from([(PRODUCT_METADATA.to_owned(), product.id.as_str().to_owned())]);
            let create = CreateProduct::new(&product.name).id(id).metadata(metadata);
            create.send(client).await.map(|_| true)
        }
        Err(error) => Err(error),
    }
}

/// The price that Stripe has under this lookup key, if it is the same; otherwise a new one, which
/// takes the lookup key over. The old one stays what it was for those who hold it.
async fn push_price(client: &Client, price: &Price) -> Result<(StripePriceId, bool), PushError> {
    let failed = |source| PushError::Stripe { what: format!("price {}", price.key), source };
    let listed = ListPrice::new()
        .lookup_keys(vec![price.key.to_string()])
        .active(true)
        .send(client)
        .await
        .map_err(failed)?;
    let product = stripe_product(&price.product);
    let same = listed.data.iter().find(|found| {
        found.recurring.is_none()
            && found.unit_amount == Some(price.money.amount_minor)
            && found.currency.to_string() == price.money.currency.as_str()
            && found.product.id().as_str() == product
    });
    let (id, created) = match same {
        Some(found) => (found.id.to_string(), false),
        None => (create_price(client, price, product).await.map_err(failed)?, true),
    };
    let id = id.parse().ok().ok_or_else(|| PushError::NoPriceId(price.key.to_string()))?;
    Ok((id, created))
}

async fn create_price(
    client: &Client,
    price: &Price,
    product: String,
) -> Result<String, StripeError> {
    let money = price.money;
    let currency: stripe_types::Currency =
        money.currency.as_str().parse().ok().ok_or_else(|| {
            StripeError::ConfigError("the currency is not one of Stripe's".to_owned())
        })?;
    let create = CreatePrice::new(currency)
        .product(product)
        .unit_amount(money.amount_minor)
        .lookup_key(price.key.as_str())
        .transfer_lookup_key(true);
    create.send(client).await.map(|created| created.id.to_string())
}

fn stripe_says(error: &StripeError) -> String {
    match error {
        StripeError::Stripe(error, status) => {
            let message = error.message.as_deref().unwrap_or("no reason given");
            format!("{status}, {message}")
        }
        StripeError::JSONDeserialize(_)
        | StripeError::ClientError(_)
        | StripeError::ConfigError(_)
        | StripeError::Timeout => error.to_string(),
    }
}
