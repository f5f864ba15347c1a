//! Writes what Stripe and the table have as a catalog file.

use std::collections::BTreeSet;
use std::path::Path;

use shared::domain::catalog::{Catalog, Course, Price, Product};
use shared::dynamo::Table;
use shared::ports::LedgerError;

use super::file::{self, CatalogFileError};
use super::shop::{self, Shop};
use crate::account::{Account, AccountError};

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
    /// Stripe can't be looked at.
    #[error("the products and prices can't be read: {0}")]
    Account(#[from] AccountError),
    /// The table failed.
    #[error("the table did not answer for the catalog: {0}")]
    Table(#[from] LedgerError),
    /// The file can't be written as text.
    #[error("the catalog can't be written down: {0}")]
    Write(#[from] toml::ser::Error),
}

/// Reads products and prices back from Stripe, and courses from the table, which alone has them.
pub async fn pull(account: &Account, table: &Table) -> Result<Pulled, PullError> {
    let published = table.catalog().await?.map(|published| published.catalog);
    let shop = shop::read(account).await?;
    Ok(compose(&shop, published.as_ref())?)
}

fn compose(shop: &Shop, published: Option<&Catalog>) -> Result<Pulled, toml::ser::Error> {
    let mut notes = Vec::new();
    let products = products(shop, published, &mut notes);
    let prices = prices(shop, published, &mut notes);
    let courses: &[Course] = published.map(Catalog::courses).unwrap_or_default();
    let text = file::write(courses, &products, &prices)?;
    if let Err(CatalogFileError::Faults { faults, .. }) = file::parse(&text, Path::new("")) {
        notes.extend(faults);
    }
    Ok(Pulled { text, notes })
}

/// In the order of the table's catalog, then whatever only Stripe has.
fn products(shop: &Shop, published: Option<&Catalog>, notes: &mut Vec<String>) -> Vec<Product> {
    let known = published.map(Catalog::products).unwrap_or_default();
    let mut products = Vec::new();
    for product in known {
        let Some(found) = shop.products.get(&product.id) else {
            notes.push(format!("product {} is not in Stripe: push to create it", product.id));
            products.push(product.clone());
            continue;
        };
        let (name, courses) = (found.name.clone(), found.courses());
        let courses = if courses.is_empty() { product.courses.clone() } else { courses };
        products.push(Product { id: product.id.clone(), name, courses });
    }
    let ids: BTreeSet<_> = known.iter().map(|product| &product.id).collect();
    for (id, found) in
        shop.products.iter().filter(|(id, found)| found.is_active && !ids.contains(id))
    {
        let courses = found.courses();
        notes.push(format!("product {id} is in Stripe, and not in the table's catalog"));
        products.push(Product { id: id.clone(), name: found.name.clone(), courses });
    }
    products
}

fn prices(shop: &Shop, published: Option<&Catalog>, notes: &mut Vec<String>) -> Vec<Price> {
    let mut found = Vec::new();
    for price in &shop.prices {
        let (Some(product), Some(key)) = (&price.product, &price.lookup_key) else { continue };
        match (key.parse(), price.once) {
            (Ok(key), Some(money)) => found.push(Price { key, product: product.clone(), money }),
            (Err(error), _) => notes.push(format!("price {} is left out: {error}", price.id)),
            (_, None) => {
                notes.push(format!("price {key} is left out: it is no fixed amount, paid once"));
            }
        }
    }
    let known = published.map(Catalog::prices).unwrap_or_default();
    for price in known.iter().filter(|price| !found.iter().any(|it| it.key == price.key)) {
        notes.push(format!("price {} is sold by the table, and not active in Stripe", price.key));
    }
    let place = |price: &Price| known.iter().position(|it| it.key == price.key);
    found.sort_by_key(|price| (place(price).unwrap_or(usize::MAX), price.key.clone()));
    found
}
