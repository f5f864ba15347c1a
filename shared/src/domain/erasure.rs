//! What is left to erase of a learner's access.

use std::collections::BTreeMap;

use super::access::Entitlements;
use super::decide::{StoredSource, Write};
use super::id::{LearnerId, ProductId, SourceId};
use super::time::Timestamp;

/// The most grants and the most first purchases that one write removes. DynamoDB allows expressions
/// of up to 4 KB:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const REMOVED_MAX: usize = 50;

/// The next write that erases a learner, given their entitlements and the sources of these; `None`
/// once nothing that the erasure covers is left. A grant whose source wasn't found is kept, because
/// it may have begun later.
#[must_use]
pub fn erasure(
    learner: &LearnerId,
    at: Timestamp,
    entitlements: &Entitlements,
    sources: &BTreeMap<SourceId, StoredSource>,
) -> Option<Write> {
    let is_covered =
        |source: &SourceId| sources.get(source).is_some_and(|stored| stored.facts.is_erased_by(at));
    let grants = entitlements.iter().map(|(source, _)| source).filter(|source| is_covered(source));
    let grants: Vec<SourceId> = grants.take(REMOVED_MAX).cloned().collect();
    let first_purchases =
        entitlements.first_purchases().filter(|(_, source)| is_covered(source)).take(REMOVED_MAX);
    let first_purchases: Vec<(ProductId, SourceId)> =
        first_purchases.map(|(product, source)| (product.clone(), source.clone())).collect();
    let is_done =
        grants.is_empty() && first_purchases.is_empty() && entitlements.erased_at() >= Some(at);
    (!is_done).then(|| Write::Erase { learner: learner.clone(), at, grants, first_purchases })
}
