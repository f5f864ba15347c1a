//! Why a product is open or closed for a learner: each source with its whole history.

use std::collections::BTreeMap;

use shared::domain::access::{EffectiveStatus, Entitlements, Grant, RefundThreshold};
use shared::domain::catalog::Catalog;
use shared::domain::decide::StoredSource;
use shared::domain::facts::Facts;
use shared::domain::id::{CourseId, LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;
use shared::domain::why::{History, history, overall};
use shared::ports::{AccessReader as _, CatalogReader as _, LedgerError};
use shared::telemetry::Chain;

use crate::deployment::Deployment;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The table failed.
    #[error("{}: check your permissions and your network, then try again", Chain(.0))]
    Table(#[from] LedgerError),
    /// No product has this id, and none had.
    #[error("there is no product {product}, and this learner has none of that name: {}", there_are(.products))]
    UnknownProduct {
        /// What was asked for.
        product: ProductId,
        /// Those of the catalog.
        products: Vec<ProductId>,
    },
}

/// Names what can be chosen from.
pub(crate) fn there_are(products: &[ProductId]) -> String {
    let products: Vec<&str> = products.iter().map(ProductId::as_str).collect();
    match products.as_slice() {
        [] => "nothing is on sale: publish the catalog with `coursegate catalog push`".to_owned(),
        products => format!("take one of {}", products.join(", ")),
    }
}

/// The products of a catalog.
pub(crate) fn products(catalog: Option<&Catalog>) -> Vec<ProductId> {
    let products = catalog.map(Catalog::products).unwrap_or_default();
    products.iter().map(|product| product.id.clone()).collect()
}

/// A product's status for a learner, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The product.
    pub product: ProductId,
    /// What the catalog calls it; none if it is not in there any more.
    pub name: Option<String>,
    /// What it opens.
    pub courses: Vec<CourseId>,
    /// Whether a source opens it now.
    pub is_open: bool,
    /// Since when it is open, or closed; none if it never was open.
    pub since: Option<Timestamp>,
    /// Until when it stays open; none if there is no end.
    pub until: Option<Timestamp>,
    /// Where it could come from, the earliest first.
    pub sources: Vec<SourceStory>,
    /// The number of the source that says why it is open, or closed.
    pub decisive: Option<usize>,
}

/// A source with its whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStory {
    /// The source's id.
    pub source: SourceId,
    /// All facts.
    pub facts: Facts,
    /// What follows from them.
    pub grant: Grant,
    /// What it gives now.
    pub effective_status: EffectiveStatus,
    /// Whether an earlier payment has bought the same.
    pub is_double: bool,
    /// What happened to it.
    pub history: History,
}

/// Explains each product that a learner has or had something of; or one product.
pub async fn explain(
    deployment: &Deployment,
    learner: &LearnerId,
    product: Option<&ProductId>,
    now: Timestamp,
) -> Result<Vec<Explanation>, WhyError> {
    let table = deployment.table();
    let entitlements = table.entitlements(learner).await?;
    let published = table.catalog().await?;
    let catalog = published.as_ref().map(|published| &published.catalog);
    let is_meant = |grant: &Grant| product.is_none_or(|product| grant.product == *product);
    let meant = entitlements.iter().filter(|(_, grant)| is_meant(grant));
    let sources: Vec<SourceId> = meant.map(|(source, _)| source.clone()).collect();
    let is_known = |product| catalog.is_some_and(|catalog| catalog.product(product).is_some());
    if let Some(product) = product.filter(|product| sources.is_empty() && !is_known(product)) {
        let (product, products) = (product.clone(), products(catalog));
        return Err(WhyError::UnknownProduct { product, products });
    }
    let stored = table.sources(&sources).await?;
    Ok(stories(&entitlements, &stored, deployment.refund_threshold, now)
        .into_iter()
        .map(|(product, sources)| explanation(product, sources, catalog))
        .collect())
}

/// The stories of these sources, by their products, the earliest first.
pub(crate) fn stories(
    entitlements: &Entitlements,
    stored: &BTreeMap<SourceId, StoredSource>,
    threshold: RefundThreshold,
    now: Timestamp,
) -> BTreeMap<ProductId, Vec<SourceStory>> {
    let mut stories: BTreeMap<ProductId, Vec<SourceStory>> = BTreeMap::new();
    for (source, StoredSource { facts, .. }) in stored {
        let Some((_, grant)) = Grant::of(facts) else { continue };
        let history = history(source, facts, threshold, now);
        let Some(effective_status) = history.effective_status() else { continue };
        let story = SourceStory {
            source: source.clone(),
            facts: facts.clone(),
            effective_status,
            is_double: entitlements.is_double(source, threshold, now),
            history,
            grant,
        };
        stories.entry(story.grant.product.clone()).or_default().push(story);
    }
    for stories in stories.values_mut() {
        // What has not been paid for yet comes last.
        stories.sort_by_key(|story| (story.grant.since.is_none(), story.grant.since));
    }
    stories
}

fn explanation(
    product: ProductId,
    sources: Vec<SourceStory>,
    catalog: Option<&Catalog>,
) -> Explanation {
    let known = catalog.and_then(|catalog| catalog.product(&product));
    let live = sources.iter().filter(|story| story.effective_status == EffectiveStatus::Active);
    // No end if any of them has none; otherwise the latest end.
    let ends: Option<Vec<Timestamp>> = live.map(|story| story.grant.until()).collect();
    let histories: Vec<&History> = sources.iter().map(|story| &story.history).collect();
    let overall = overall(&histories);
    Explanation {
        name: known.map(|product| product.name.clone()),
        courses: known.map(|product| product.courses.clone()).unwrap_or_default(),
        is_open: overall.is_open,
        since: overall.since,
        until: ends.and_then(|ends| ends.into_iter().max()),
        decisive: overall.decisive,
        product,
        sources,
    }
}

#[cfg(test)]
mod tests {
    use shared::domain::facts::{ManualGrant, OperatorAction, Origin};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_product_stays_open_until_its_last_source_ends() {
        let given = |until: Option<i64>| {
            let note = |text: &str| text.parse().unwrap();
            let facts = Origin::Manual(ManualGrant {
                product: "tutorclaw".parse().unwrap(),
                until: until.map(at),
                action: OperatorAction { at: at(5), by: note("grace"), reason: note("a prize") },
                learner: "ada".parse().unwrap(),
            });
            StoredSource { facts: facts.into(), version: 1 }
        };
        for (ends, until) in [
            (&[Some(120), Some(110)][..], Some(120)),
            (&[Some(120), None], None),
            (&[Some(40), Some(110)], Some(110)),
        ] {
            let sources = ends.iter().zip(1..);
            let stored = sources
                .map(|(until, number)| (format!("grant_{number}").parse().unwrap(), given(*until)));
            let entitlements = Entitlements::default();
            let stories = stories(&entitlements, &stored.collect(), RefundThreshold::ALL, at(99));
            let (product, stories) = stories.into_iter().next().unwrap();
            let found = explanation(product, stories, None);
            assert!(found.is_open);
            assert_eq!(found.until, until.map(at), "{ends:?}");
        }
    }
}
