//! What Stripe has for sale, as far as it is ours or in our way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::domain::catalog::Product;
use shared::domain::id::{CourseId, ProductId, StripePriceId};
use shared::domain::money::Money;

use crate::account::{Account, AccountError, Listed};

/// Our products' ids at Stripe start so, that they don't meet anybody else's.
const PRODUCT_PREFIX: &str = "coursegate_";
/// Under this key, a product's metadata holds our id of it.
const PRODUCT: &str = "product";
/// Under this key, a product's metadata names the courses that it opens, separated by commas; what
/// doesn't fit goes on under `courses_2` and so on.
const COURSES: &str = "courses";
/// <https://docs.stripe.com/metadata>
const METADATA_CHARACTERS_MAX: usize = 500;

/// What Stripe has: our products, and every price that is active.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shop {
    /// Our products.
    pub products: BTreeMap<ProductId, ShopProduct>,
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

#[derive(Serialize)]
struct ActivePrices {
    active: bool,
}

#[derive(Serialize)]
struct AllProducts {}

/// Reads the whole shop.
pub(super) async fn read(account: &Account) -> Result<Shop, AccountError> {
    let products: Vec<ProductShape> = account.list("/products", &AllProducts {}).await?;
    let prices: Vec<PriceShape> = account.list("/prices", &ActivePrices { active: true }).await?;
    let ours = products.into_iter().filter_map(|product| {
        let id = our_product(&product.id)?;
        let ProductShape { name, active: is_active, metadata, .. } = product;
        Some((id, ShopProduct { name, is_active, metadata }))
    });
    let prices = prices.into_iter().map(PriceShape::into_price);
    Ok(Shop { products: ours.collect(), prices: prices.collect::<Result<_, _>>()? })
}

impl PriceShape {
    fn into_price(self) -> Result<ShopPrice, AccountError> {
        let currency = self.currency.parse().ok().filter(|_| self.recurring.is_none());
        let once = currency.zip(self.unit_amount);
        Ok(ShopPrice {
            id: self.id.parse().map_err(|error| AccountError::Unreadable(format!("{error}")))?,
            lookup_key: self.lookup_key,
            product: our_product(&self.product),
            once: once.map(|(currency, amount_minor)| Money { amount_minor, currency }),
        })
    }
}

fn our_product(stripe_id: &str) -> Option<ProductId> {
    stripe_id.strip_prefix(PRODUCT_PREFIX)?.parse().ok()
}

/// Stripe's id of a product of ours.
pub(super) fn stripe_product(id: &ProductId) -> String {
    format!("{PRODUCT_PREFIX}{id}")
}

/// The metadata of a product: which it is, and which courses it opens.
pub(super) fn metadata(product: &Product) -> BTreeMap<String, String> {
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
    metadata
}

/// Whether this key of a product's metadata is written by us.
pub(super) fn is_our_key(key: &str) -> bool {
    key == PRODUCT || key == COURSES || key.starts_with("courses_")
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
    fn however_many_courses_a_product_opens_its_metadata_names_them_all_within_stripe_s_limit() {
        for count in [1, 2, 30, 200] {
            let courses: Vec<CourseId> = (0..count)
                .map(|number| format!("a-course-with-a-long-name-{number}").parse().unwrap())
                .collect();
            let product = Product {
                id: "bundle".parse().unwrap(),
                name: "Bundle".to_owned(),
                courses: courses.clone(),
            };
            let metadata = metadata(&product);
            for (key, value) in &metadata {
                assert!(is_our_key(key) && value.len() <= METADATA_CHARACTERS_MAX, "{key}");
            }
            let product = ShopProduct { name: String::new(), is_active: true, metadata };
            assert_eq!(product.courses(), courses);
        }
    }
}
