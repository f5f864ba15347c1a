//! Writes what Stripe and the table have as a catalog file.

use std::path::Path;

use shared::domain::catalog::{Catalog, Course, Price, Product};
use shared::domain::id::PriceKey;
use shared::ports::{CatalogReader as _, LedgerError};

use super::file::{self, CatalogFileError};
use super::shop::{self, OtherAccount, Shop};
use crate::account::{Account, AccountError};
use crate::deployment::Deployment;

/// What is on sale, as a catalog file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The file's text.
    pub text: String,
    /// What the author should know before they use it, in words.
    pub notes: Vec<String>,
}

/// Why nothing can be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Stripe's products and prices can't be read.
    #[error("the products and prices can't be read: {0}")]
    Account(#[from] AccountError),
    /// The table sells in another account.
    #[error(transparent)]
    OtherAccount(#[from] OtherAccount),
    /// The table failed.
    #[error("the table request for the catalog failed: {0}")]
    Table(#[from] LedgerError),
    /// The file can't be written as text.
    #[error("the catalog can't be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

/// Reads products and prices back from Stripe, and courses from the table, which alone has them.
pub async fn pull(account: &Account, deployment: &Deployment) -> Result<Pulled, PullError> {
    let published = deployment.table().catalog().await?;
    let shop = shop::read(account, deployment.shop.mark.as_str()).await?;
    if shop::is_of_another_account(published.as_ref(), &shop, account).await? {
        return Err(OtherAccount.into());
    }
    Ok(compose(&shop, published.as_ref().map(|published| &published.catalog))?)
}

fn compose(shop: &Shop, published: Option<&Catalog>) -> Result<Pulled, toml::ser::Error> {
    let mut notes = Vec::new();
    let prices = prices(shop, published, &mut notes);
    let products = products(shop, published, &prices, &mut notes);
    let courses: &[Course] = published.map(Catalog::courses).unwrap_or_default();
    let text = file::write(courses, &products, &prices)?;
    if let Err(CatalogFileError::Faults { faults, .. }) = file::parse(&text, Path::new("")) {
        notes.extend(faults.iter().map(ToString::to_string));
    }
    Ok(Pulled { text, notes })
}

/// In the order of the table's catalog, then whatever only Stripe has and these prices sell; all of
/// Stripe's where the table has no catalog.
fn products(
    shop: &Shop,
    published: Option<&Catalog>,
    prices: &[Price],
    notes: &mut Vec<String>,
) -> Vec<Product> {
    let known = published.map(Catalog::products).unwrap_or_default();
    let mut products = Vec::new();
    for product in known {
        let Some(found) = shop.products.get(&product.id) else {
            let where_it_is = match shop.others.get(&product.id) {
                Some(owner) => format!("belongs to another deployment, {owner}"),
                None => "is not in Stripe: push to create it".to_owned(),
            };
            notes.push(format!("product {} {where_it_is}", product.id));
            products.push(product.clone());
            continue;
        };
        let (name, courses) = (found.name.clone(), found.courses());
        let courses = if courses.is_empty() { product.courses.clone() } else { courses };
        products.push(Product { id: product.id.clone(), name, courses });
    }
    for (id, found) in &shop.products {
        if !found.is_active || known.iter().any(|product| product.id == *id) {
            continue;
        }
        if published.is_none() || prices.iter().any(|price| price.product == *id) {
            notes.push(format!("product {id} is in Stripe, but not in the table's catalog"));
            let (name, courses) = (found.name.clone(), found.courses());
            products.push(Product { id: id.clone(), name, courses });
        } else {
            notes.push(format!("product {id} is left out: it is in Stripe, not in the table"));
        }
    }
    products
}

/// In the order of the table's catalog, and no others; all of Stripe's where the table has no
/// catalog.
fn prices(shop: &Shop, published: Option<&Catalog>, notes: &mut Vec<String>) -> Vec<Price> {
    let known = published.map(Catalog::prices).unwrap_or_default();
    let place = |key: &PriceKey| known.iter().position(|price| price.key == *key);
    let mut found = Vec::new();
    for price in &shop.prices {
        let (Some(product), Some(key)) = (&price.product, &price.lookup_key) else { continue };
        match (key.parse(), price.once) {
            (Ok(key), _) if published.is_some() && place(&key).is_none() => {
                notes.push(format!("price {key} is left out: the table doesn't sell it"));
            }
            (Ok(key), Some(money)) => found.push(Price { key, product: product.clone(), money }),
            (Err(error), _) => notes.push(format!("price {} is left out: {error}", price.id)),
            (Ok(key), None) => {
                notes.push(format!(
                    "price {key} is left out: it isn't a one-time price with a fixed amount"
                ));
            }
        }
    }
    for price in known.iter().filter(|price| !found.iter().any(|it| it.key == price.key)) {
        notes.push(format!("price {} is sold by the table, but not active in Stripe", price.key));
    }
    found.sort_by_key(|price| (place(&price.key), price.key.clone()));
    found
}
