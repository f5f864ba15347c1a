//! Learners who paid more than once for the same product and were not refunded.

use shared::domain::id::{LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;
use shared::dynamo::operator;
use shared::ports::{AccessReader as _, LedgerError};

use crate::deployment::Deployment;
use crate::why::{SourceStory, stories};

/// A learner and a product with more than one payment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoublePayment {
    /// The learner who paid.
    pub learner: LearnerId,
    /// The product they paid for.
    pub product: ProductId,
    /// The payments that stand, the earliest first. Refund all but the first.
    pub payments: Vec<SourceStory>,
}

/// Looks at each learner and product on the list, and leaves out what is settled by now.
pub async fn look(
    deployment: &Deployment,
    now: Timestamp,
) -> Result<Vec<DoublePayment>, LedgerError> {
    let table = deployment.table();
    let mut found = Vec::new();
    for listed in operator::double_payments(&table).await? {
        let entitlements = table.entitlements(&listed.learner).await?;
        let effective_status =
            entitlements.payments_that_open(&listed.product, deployment.refund_threshold, now);
        let effective_status: Vec<SourceId> =
            effective_status.map(|(source, _)| source.clone()).collect();
        if effective_status.len() < 2 {
            continue;
        }
        let stored = table.sources(&effective_status).await?;
        let payments = stories(&entitlements, &stored, deployment.refund_threshold, now);
        let payments = payments.into_values().flatten().collect();
        found.push(DoublePayment { learner: listed.learner, product: listed.product, payments });
    }
    Ok(found)
}
