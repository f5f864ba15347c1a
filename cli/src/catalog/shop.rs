//! What Stripe has for sale, as far as it is ours or in our way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::domain::catalog::{Product, PublishedCatalog};
use shared::domain::id::{CourseId, ProductId, StripePriceId};
use shared::domain::money::Money;
pub(super) use shared::stripe::wire::metadata::DEPLOYMENT;
use shared::stripe::wire::metadata::PRODUCT;

use crate::account::{Account, AccountError, Listed, NoParameters};

/// Our products' ids at Stripe start so, that they don't meet anybody else's.
const PRODUCT_PREFIX: &str = "coursegate_";
/// Under this key, a product's metadata names the courses that it opens, separated by commas; what
/// doesn't fit goes on under `courses_2` and so on.
const COURSES: &str = "courses";
/// <https://docs.stripe.com/metadata>
const METADATA_CHARACTERS_MAX: usize = 500;
/// <https://docs.stripe.com/metadata>
const METADATA_KEYS_MAX: usize = 50;

/// What Stripe has: our products, and every price that is active.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shop {
    /// The mark of the deployment whose shop this is.
    pub mark: String,
    /// Our products. One without a mark is taken for ours.
    pub products: BTreeMap<ProductId, ShopProduct>,
    /// The products of other deployments in this account, and those deployments' marks.
    pub others: BTreeMap<ProductId, String>,
    /// Every active price of the account: our own, and others that may hold a lookup key.
    pub prices: Vec<ShopPrice>,
}

/// A product at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopProduct {
    /// What the checkout page calls it.
    pub name: String,
    /// Whether it can be sold.
    pub is_active: bool,
    /// All its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// An active price at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopPrice {
    /// Stripe's id.
    pub id: StripePriceId,
    /// Its lookup key.
    pub lookup_key: Option<String>,
    /// What it sells; none if that is not ours.
    pub product: Option<ProductId>,
    /// For how much; none where that is no fixed amount, paid once.
    pub once: Option<Money>,
}

#[derive(Deserialize)]
struct ProductShape {
    id: String,
    name: String,
    active: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PriceShape {
    id: String,
    lookup_key: Option<String>,
    product: String,
    unit_amount: Option<i64>,
    currency: String,
    recurring: Option<serde_json::Value>,
}

impl Listed for ProductShape {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for PriceShape {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The table sells in another account than this key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the table sells prices that this key's Stripe account doesn't have: it sells in another \
     account, sandbox or mode; use a key of that account, deploy a separate stack for this one, \
     or move the shop here with `coursegate catalog push --force`"
)]
pub struct OtherAccount;

#[derive(Serialize)]
struct ActivePrices {
    active: bool,
}

/// Reads the whole shop of the deployment with this mark.
pub(super) async fn read(account: &Account, mark: &str) -> Result<Shop, AccountError> {
    let products: Vec<ProductShape> = account.list("/products", &NoParameters {}).await?;
    let prices: Vec<PriceShape> = account.list("/prices", &ActivePrices { active: true }).await?;
    let mut shop = Shop { mark: mark.to_owned(), ..Shop::default() };
    for product in products {
        let Some(id) = product_id(&product.id) else { continue };
        let ProductShape { name, active: is_active, metadata, .. } = product;
        match metadata.get(DEPLOYMENT) {
            Some(other) if other != mark => {
                shop.others.insert(id, other.clone());
            }
            _ => {
                shop.products.insert(id, ShopProduct { name, is_active, metadata });
            }
        }
    }
    for price in prices {
        shop.prices.push(price.into_price(&shop.products)?);
    }
    Ok(shop)
}

/// Whether the table sells in another account: this one knows none of the table's prices, active
/// or not.
pub(super) async fn is_of_another_account(
    published: Option<&PublishedCatalog>,
    shop: &Shop,
    account: &Account,
) -> Result<bool, AccountError> {
    let Some(published) = published else { return Ok(false) };
    let mut sold = published.stripe_prices.values();
    if sold.any(|id| shop.prices.iter().any(|price| *id == price.id)) {
        return Ok(false);
    }
    knows_none_of(published, account).await
}

/// Whether this account knows none of the prices that are on sale, active or not.
pub(crate) async fn knows_none_of(
    published: &PublishedCatalog,
    account: &Account,
) -> Result<bool, AccountError> {
    for id in published.stripe_prices.values() {
        match account.get::<serde_json::Value>(&format!("/prices/{id}"), &NoParameters {}).await {
            Ok(_) => return Ok(false),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(!published.stripe_prices.is_empty())
}

impl PriceShape {
    fn into_price(
        self,
        ours: &BTreeMap<ProductId, ShopProduct>,
    ) -> Result<ShopPrice, AccountError> {
        let currency = self.currency.parse().ok().filter(|_| self.recurring.is_none());
        let once = currency.zip(self.unit_amount);
        Ok(ShopPrice {
            id: self.id.parse().map_err(|error| AccountError::Unreadable(format!("{error}")))?,
            lookup_key: self.lookup_key,
            product: product_id(&self.product).filter(|id| ours.contains_key(id)),
            once: once.map(|(currency, amount_minor)| Money { amount_minor, currency }),
        })
    }
}

fn product_id(stripe_id: &str) -> Option<ProductId> {
    stripe_id.strip_prefix(PRODUCT_PREFIX)?.parse().ok()
}

/// Stripe's id of a product of ours.
pub(super) fn stripe_product(id: &ProductId) -> String {
    format!("{PRODUCT_PREFIX}{id}")
}

/// The metadata of a product of the deployment with this mark: which it is, and which courses it
/// opens.
pub(super) fn metadata(product: &Product, mark: &str) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(PRODUCT.to_owned(), product.id.to_string())]);
    let mut key = COURSES.to_owned();
    for course in &product.courses {
        let written = metadata.get(&key).map_or(0, String::len);
        if written.saturating_add(course.as_str().len()) >= METADATA_CHARACTERS_MAX {
            key = format!("{COURSES}_{}", metadata.len());
        }
        let courses = metadata.entry(key.clone()).or_default();
        if !courses.is_empty() {
            courses.push(',');
        }
        courses.push_str(course.as_str());
    }
    metadata.insert(DEPLOYMENT.to_owned(), mark.to_owned());
    metadata
}

/// A product's metadata can't name all the courses that it opens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "product {product} opens {courses} courses, and their ids don't all fit into Stripe's metadata \
     ({METADATA_KEYS_MAX} values of {METADATA_CHARACTERS_MAX} characters): use shorter ids, or split \
     the product"
)]
pub(super) struct TooManyCourses {
    product: ProductId,
    courses: usize,
}

/// Whether Stripe's metadata has room for the courses that this product opens.
pub(super) fn check_metadata(product: &Product) -> Result<(), TooManyCourses> {
    if metadata(product, "").len() <= METADATA_KEYS_MAX {
        return Ok(());
    }
    Err(TooManyCourses { product: product.id.clone(), courses: product.courses.len() })
}

/// Whether this key of a product's metadata is written by us.
pub(super) fn is_our_key(key: &str) -> bool {
    key == DEPLOYMENT || key == PRODUCT || key == COURSES || key.starts_with("courses_")
}

impl ShopProduct {
    /// The courses that the metadata names.
    pub(super) fn courses(&self) -> Vec<CourseId> {
        let mut lists: Vec<(usize, &String)> = self
            .metadata
            .iter()
            .filter_map(|(key, list)| match key.strip_prefix(COURSES)? {
                "" => Some((1, list)),
                rest => Some((rest.strip_prefix('_')?.parse().ok()?, list)),
            })
            .collect();
        lists.sort_unstable();
        let ids = lists.into_iter().flat_map(|(_, list)| list.split(','));
        ids.filter_map(|id| id.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on should stop where it is")]
    use super::*;

    #[test]
    fn metadata_names_every_course_within_stripe_s_limit() {
        for count in [1, 2, 30, 200] {
            let courses: Vec<CourseId> = (0..count)
                .map(|number| format!("a-course-with-a-long-name-{number}").parse().unwrap())
                .collect();
            let product = Product {
                id: "bundle".parse().unwrap(),
                name: "Bundle".to_owned(),
                courses: courses.clone(),
            };
            let metadata = metadata(&product, "123456789012/eu-central-1/coursegate");
            for (key, value) in &metadata {
                assert!(is_our_key(key) && value.len() <= METADATA_CHARACTERS_MAX, "{key}");
            }
            let product = ShopProduct { name: String::new(), is_active: true, metadata };
            assert_eq!(product.courses(), courses);
        }
    }
}
