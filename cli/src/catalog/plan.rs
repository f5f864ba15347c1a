//! What has to be done so that Stripe and the table sell what the catalog file says: pure.

use std::collections::BTreeMap;
use std::fmt;

use shared::domain::catalog::{Catalog, Course, Price, Product, PublishedCatalog};
use shared::domain::id::{CourseId, PriceKey, ProductId, StripePriceId};
use shared::domain::money::Money;
use shared::dynamo::catalog::{ITEM_BYTES_MAX, item_bytes};

use super::shop::{self, Shop};

/// All that has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One after the other. Publishing comes last, so that nothing is offered before Stripe has it.
    pub steps: Vec<Step>,
    /// What owners would lose, in words. Nothing is lost unless the operator insists.
    pub closes: Vec<String>,
    /// Stripe's prices that stay as they are.
    pub(super) kept_prices: BTreeMap<PriceKey, StripePriceId>,
}

/// One thing to do. Its text says it to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Stripe does not have this product.
    CreateProduct(Product),
    /// Stripe has this product otherwise.
    UpdateProduct {
        /// As it shall be.
        product: Product,
        /// Keys of its metadata that shall go.
        stale_keys: Vec<String>,
        /// What differs, in words.
        changes: Vec<String>,
    },
    /// Stripe has no such price.
    CreatePrice {
        /// As it shall be.
        price: Price,
        /// The price that has the lookup key now, and hands it over.
        replaces: Option<Replaced>,
    },
    /// The table sells something else.
    Publish {
        /// The version that this will be.
        version: u64,
        /// What differs, in words.
        changes: Vec<String>,
    },
}

/// A price whose lookup key goes to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Stripe's id. It stays valid for sessions that are open.
    pub id: StripePriceId,
    /// What it costs; none where that is no fixed amount, paid once.
    pub once: Option<Money>,
}

/// Why a catalog can't be put on sale in this account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Another deployment sells this product in the same account.
    #[error(
        "the product {} in this Stripe account belongs to another deployment, {owner}: if this one \
         replaces it, give it the same mark (the stack's parameter DeploymentMark, or \
         --deployment-mark on a laptop), and it keeps the other's sales; if that one is gone for \
         good, take the key {} off the product's metadata in the Dashboard; otherwise sell other \
         products, or use another account or sandbox",
        shop::stripe_product(.product),
        shop::DEPLOYMENT
    )]
    ProductTaken {
        /// The product.
        product: ProductId,
        /// The mark of the deployment that sells it.
        owner: String,
    },
    /// Somebody else's price has a lookup key of ours.
    #[error(
        "the lookup key {key} belongs to price {id} of another product in this Stripe account: \
         choose another key in the catalog, or take it from that price in the Dashboard"
    )]
    KeyTaken {
        /// The lookup key.
        key: PriceKey,
        /// The price that has it.
        id: StripePriceId,
    },
    /// The table can't hold the catalog.
    #[error(
        "the catalog takes {bytes} bytes of one item in the table, which has room for \
         {ITEM_BYTES_MAX}: shorten summaries and titles, or remove what nobody owns"
    )]
    TooLarge {
        /// How large it is, as DynamoDB counts.
        bytes: usize,
    },
}

/// Compares what is wanted with what Stripe and the table have.
pub fn plan(
    wanted: &Catalog,
    shop: &Shop,
    published: Option<&PublishedCatalog>,
) -> Result<Plan, PlanError> {
    let mut steps = Vec::new();
    for product in wanted.products() {
        steps.extend(product_step(product, shop)?);
    }
    let mut kept_prices = BTreeMap::new();
    for price in wanted.prices() {
        match price_step(price, shop)? {
            PriceStep::Keep(id) => {
                kept_prices.insert(price.key.clone(), id);
            }
            PriceStep::Do(step) => steps.push(step),
        }
    }
    let creates = steps.iter().any(|step| matches!(step, Step::CreatePrice { .. }));
    let is_on_sale = published.is_some_and(|published| {
        !creates && published.catalog == *wanted && published.stripe_prices == kept_prices
    });
    if !is_on_sale {
        let version = published.map_or(1, |published| published.version.saturating_add(1));
        let bytes = item_bytes(wanted, &kept_prices, version);
        if bytes > ITEM_BYTES_MAX {
            return Err(PlanError::TooLarge { bytes });
        }
        let before = published.map(|published| &published.catalog);
        steps.push(Step::Publish { version, changes: differences(wanted, before) });
    }
    let closes = published.map(|before| wanted.closes(&before.catalog)).unwrap_or_default();
    Ok(Plan { steps, closes, kept_prices })
}

fn product_step(product: &Product, shop: &Shop) -> Result<Option<Step>, PlanError> {
    if let Some(owner) = shop.others.get(&product.id) {
        let (product, owner) = (product.id.clone(), owner.clone());
        return Err(PlanError::ProductTaken { product, owner });
    }
    let Some(found) = shop.products.get(&product.id) else {
        return Ok(Some(Step::CreateProduct(product.clone())));
    };
    let metadata = shop::metadata(product, &shop.mark);
    let stale_keys: Vec<String> = found
        .metadata
        .keys()
        .filter(|key| shop::is_our_key(key) && !metadata.contains_key(*key))
        .cloned()
        .collect();
    let mut changes = Vec::new();
    if found.name != product.name {
        changes.push(format!("{:?} becomes {:?}", found.name, product.name));
    }
    if !found.is_active {
        changes.push("it is active again".to_owned());
    }
    if !found.metadata.contains_key(shop::DEPLOYMENT) {
        changes.push("it is marked as this deployment's".to_owned());
    }
    let differs = |(key, value): (&String, &String)| {
        key != shop::DEPLOYMENT && found.metadata.get(key) != Some(value)
    };
    if !stale_keys.is_empty() || metadata.iter().any(differs) {
        changes.push(format!("it opens {}", courses(product)));
    }
    if changes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Step::UpdateProduct { product: product.clone(), stale_keys, changes }))
}

enum PriceStep {
    Keep(StripePriceId),
    Do(Step),
}

fn price_step(price: &Price, shop: &Shop) -> Result<PriceStep, PlanError> {
    let key = price.key.as_str();
    let holder = shop.prices.iter().find(|found| found.lookup_key.as_deref() == Some(key));
    Ok(match holder {
        Some(found) if found.product.is_none() => {
            let (key, id) = (price.key.clone(), found.id.clone());
            return Err(PlanError::KeyTaken { key, id });
        }
        Some(found)
            if found.once == Some(price.money)
                && found.product.as_ref() == Some(&price.product) =>
        {
            PriceStep::Keep(found.id.clone())
        }
        other => {
            let replaces = other.map(|found| Replaced { id: found.id.clone(), once: found.once });
            PriceStep::Do(Step::CreatePrice { price: price.clone(), replaces })
        }
    })
}

fn differences(wanted: &Catalog, before: Option<&Catalog>) -> Vec<String> {
    let Some(before) = before else { return Vec::new() };
    let mut changes = Vec::new();
    for course in wanted.courses() {
        match before.course(&course.id) {
            None => changes.push(format!("course {} is new", course.id)),
            Some(found) if found != course => changes.push(edit(found, course)),
            Some(_) => {}
        }
    }
    let gone = before.courses().iter().filter(|course| wanted.course(&course.id).is_none());
    changes.extend(gone.map(|course| format!("course {} is gone", course.id)));
    let unsold = before.prices().iter().filter(|price| wanted.offer(&price.key).is_none());
    changes.extend(unsold.map(|price| format!("price {} is no longer on sale", price.key)));
    changes
}

fn courses(product: &Product) -> String {
    let courses: Vec<&str> = product.courses.iter().map(CourseId::as_str).collect();
    courses.join(", ")
}

fn edit(before: &Course, now: &Course) -> String {
    let mut changes = Vec::new();
    let counts = [
        ("chapters", before.chapters.len(), now.chapters.len()),
        ("free chapters", before.free_chapters, now.free_chapters),
    ];
    for (what, had, has) in counts {
        if had != has {
            changes.push(format!(", {had} {what} become {has}"));
        }
    }
    format!("course {} is edited{}", now.id, changes.concat())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateProduct(product) => {
                write!(f, "+ product {}: {:?}, ", product.id, product.name)?;
                write!(f, "opens {}", courses(product))
            }
            Self::UpdateProduct { product, changes, .. } => {
                write!(f, "~ product {}: {}", product.id, changes.join(", "))
            }
            Self::CreatePrice { price, replaces: None } => {
                write!(f, "+ price {}: {} for {}", price.key, price.money, price.product)
            }
            Self::CreatePrice { price, replaces: Some(old) } => {
                let before =
                    old.once.map_or_else(|| "what it was".to_owned(), |money| money.to_string());
                write!(f, "~ price {}: {before} becomes {}", price.key, price.money)?;
                write!(
                    f,
                    " for {}; buyers with an open checkout page still pay the old price",
                    price.product
                )
            }
            Self::Publish { version, changes } if changes.is_empty() => {
                write!(f, "~ table: catalog version {version}")
            }
            Self::Publish { version, changes } => {
                write!(f, "~ table: catalog version {version}: {}", changes.join(", "))
            }
        }
    }
}
