//! Why a product is open for a learner, or is not: each source of it with all that is known of it.

use std::collections::{BTreeMap, BTreeSet};

use shared::domain::access::{Grant, Holdings, RefundThreshold, Standing};
use shared::domain::catalog::Catalog;
use shared::domain::decide::StoredSource;
use shared::domain::facts::Facts;
use shared::domain::id::{CourseId, LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;
use shared::domain::why::{Effect, Step, why};
use shared::ports::{AccessReader as _, CatalogReader as _, LedgerError};
use shared::telemetry::Chain;

use crate::deployment::Deployment;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The table failed.
    #[error("{}: look at your permissions and your network, then ask again", Chain(.0))]
    Table(#[from] LedgerError),
    /// Nothing is called so, and nothing was.
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

/// How a product stands for a learner, and why.
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
    /// Since when it is open, or closed, and what did it; none if it never was open.
    pub since: Option<(Timestamp, String)>,
    /// Until when it stays open; none for ever.
    pub until: Option<Timestamp>,
    /// Where it could come from, the earliest first.
    pub sources: Vec<SourceStory>,
}

/// A source, and all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStory {
    /// Which.
    pub source: SourceId,
    /// All facts.
    pub facts: Facts,
    /// What follows from them.
    pub grant: Grant,
    /// What it gives now.
    pub standing: Standing,
    /// Whether an earlier payment has bought the same.
    pub is_double: bool,
    /// What is known, in the order of time.
    pub steps: Vec<Step>,
}

/// Explains each product that a learner has or had something of; or one product.
pub async fn explain(
    deployment: &Deployment,
    learner: &LearnerId,
    product: Option<&ProductId>,
    now: Timestamp,
) -> Result<Vec<Explanation>, WhyError> {
    let table = deployment.table();
    let holdings = table.holdings(learner).await?;
    let published = table.catalog().await?;
    let catalog = published.as_ref().map(|published| &published.catalog);
    let is_meant = |grant: &Grant| product.is_none_or(|product| grant.product == *product);
    let meant = holdings.iter().filter(|(_, grant)| is_meant(grant));
    let sources: Vec<SourceId> = meant.map(|(source, _)| source.clone()).collect();
    let is_known = |product| catalog.is_some_and(|catalog| catalog.product(product).is_some());
    if let Some(product) = product.filter(|product| sources.is_empty() && !is_known(product)) {
        let (product, products) = (product.clone(), products(catalog));
        return Err(WhyError::UnknownProduct { product, products });
    }
    let stored = table.sources(&sources).await?;
    Ok(stories(&holdings, &stored, deployment.refund_threshold, now)
        .into_iter()
        .map(|(product, sources)| explanation(product, sources, catalog, now))
        .collect())
}

/// The stories of these sources, by their products, the earliest first.
pub(crate) fn stories(
    holdings: &Holdings,
    stored: &BTreeMap<SourceId, StoredSource>,
    threshold: RefundThreshold,
    now: Timestamp,
) -> BTreeMap<ProductId, Vec<SourceStory>> {
    let mut stories: BTreeMap<ProductId, Vec<SourceStory>> = BTreeMap::new();
    for (source, StoredSource { facts, .. }) in stored {
        let Some((_, grant)) = Grant::of(facts) else { continue };
        let story = SourceStory {
            source: source.clone(),
            facts: facts.clone(),
            standing: grant.standing(threshold, now),
            is_double: holdings.is_double(source, threshold, now),
            steps: why(source, facts, threshold, now),
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
    now: Timestamp,
) -> Explanation {
    let known = catalog.and_then(|catalog| catalog.product(&product));
    let live = || sources.iter().filter(|story| story.standing == Standing::Active);
    // For ever if any of them is; otherwise as long as the longest.
    let ends: Option<Vec<Timestamp>> = live().map(|story| story.grant.until).collect();
    Explanation {
        name: known.map(|product| product.name.clone()),
        courses: known.map(|product| product.courses.clone()).unwrap_or_default(),
        is_open: live().next().is_some(),
        since: changed(&sources, now),
        until: ends.and_then(|ends| ends.into_iter().max()),
        product,
        sources,
    }
}

/// When the first of these sources came to open the product, or the last to close it, and by what.
fn changed(sources: &[SourceStory], now: Timestamp) -> Option<(Timestamp, String)> {
    let mut changes = Vec::new();
    for story in sources {
        for step in &story.steps {
            let opens = match step.effect {
                Effect::Opens | Effect::Restores => true,
                Effect::Suspends | Effect::Closes => false,
                Effect::Nothing => continue,
            };
            changes.extend(step.at.map(|at| (at, &story.source, opens, step.fact.words())));
        }
        let ended = story.grant.until.filter(|until| *until <= now);
        let over = || "Its time was over.".to_owned();
        changes.extend(ended.map(|until| (until, &story.source, false, over())));
    }
    changes.sort_by_key(|(at, ..)| *at);
    let (mut open, mut last) = (BTreeSet::new(), None);
    for (at, source, opens, words) in changes {
        let was_open = !open.is_empty();
        if opens {
            open.insert(source);
        } else {
            open.remove(source);
        }
        if was_open == open.is_empty() {
            last = Some((at, words));
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use shared::domain::facts::{
        Deed, Dispute, DisputeStatus, ManualGrant, Origin, Payment, Purchase, Sale, Told,
    };

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn sold(seconds: i64) -> Facts {
        let sale = Sale {
            product: "tutorclaw".parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            session: "cs_1".parse().unwrap(),
            opened_at: Some(at(1)),
            total: None,
            learner: "ada".parse().unwrap(),
        };
        Purchase { sale, payment: Payment::paid(at(seconds)) }.into()
    }

    fn given(from: i64, until: i64) -> Facts {
        let remark = |text: &str| text.parse().unwrap();
        let grant = ManualGrant {
            product: "tutorclaw".parse().unwrap(),
            until: Some(at(until)),
            deed: Deed { at: at(from), by: remark("grace"), reason: remark("a prize") },
            learner: "ada".parse().unwrap(),
        };
        Origin::Manual(grant).into()
    }

    fn disputed(facts: Facts, told: &[(DisputeStatus, i64)]) -> Facts {
        let told: Told<_> = told.iter().map(|(status, second)| (*status, at(*second))).collect();
        let disputes = [("du_1".parse().unwrap(), Dispute { told, settled: None })].into();
        facts.join(Facts { disputes, ..Facts::default() })
    }

    #[track_caller]
    fn check(sources: &[(&str, Facts)], expected: (bool, Option<i64>, Option<i64>)) {
        let stored: BTreeMap<SourceId, StoredSource> = sources
            .iter()
            .map(|(id, facts)| {
                (id.parse().unwrap(), StoredSource { facts: facts.clone(), version: 1 })
            })
            .collect();
        let holdings = Holdings::default();
        let stories = stories(&holdings, &stored, RefundThreshold::ALL, at(99));
        let (product, stories) = stories.into_iter().next().unwrap();
        let found = explanation(product, stories, None, at(99));
        let since = found.since.map(|(at, _)| at.unix_seconds());
        let until = found.until.map(Timestamp::unix_seconds);
        assert_eq!((found.is_open, since, until), expected);
    }

    #[test]
    fn a_product_is_open_since_the_first_source_that_opened_it_and_closed_since_the_last() {
        use DisputeStatus::{Lost, Open, Won};
        check(&[("pi_1", sold(5))], (true, Some(5), None));
        check(&[("pi_1", sold(5)), ("pi_2", sold(7))], (true, Some(5), None));
        let open = disputed(sold(5), &[(Open, 8)]);
        check(&[("pi_1", open.clone())], (false, Some(8), None));
        check(&[("pi_1", open), ("pi_2", sold(7))], (true, Some(5), None));
        let won = disputed(sold(5), &[(Open, 8), (Won, 9)]);
        check(&[("pi_1", won)], (true, Some(9), None));
        let lost = disputed(sold(5), &[(Lost, 3)]);
        check(&[("pi_1", lost)], (false, None, None));
        check(&[("grant_1", given(5, 40))], (false, Some(40), None));
        check(&[("grant_1", given(5, 40)), ("pi_1", sold(50))], (true, Some(50), None));
        check(&[("grant_1", given(5, 40)), ("pi_1", sold(30))], (true, Some(5), None));
        check(
            &[("grant_1", given(5, 120)), ("grant_2", given(6, 110))],
            (true, Some(5), Some(120)),
        );
    }
}
