//! What an operator does manually: grant access and revoke it. Both are facts of a source, with who
//! and why, and are applied like observations from Stripe.

use shared::apply::{ApplyError, apply};
use shared::domain::catalog::Catalog;
use shared::domain::decide::{Content, Observation, Outcome, StoredSource};
use shared::domain::facts::{Facts, ManualGrant, Note, OperatorAction, Origin};
use shared::domain::id::{IdError, LearnerId, ProductId, SourceId};
use shared::domain::shop::Owner;
use shared::domain::time::Timestamp;
use shared::ports::{AccessReader as _, CatalogReader as _, LedgerError, SystemClock};
use shared::telemetry::Chain;
use uuid::Uuid;

use crate::deployment::{Deployment, DeploymentError};
use crate::why::{products, there_are};

/// Why a grant or a revocation failed.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// The table can't be read.
    #[error("{}: check your permissions and your network, then try again", Chain(.0))]
    Table(#[from] LedgerError),
    /// It could not be written.
    #[error(
        "{}: it may or may not have been written; check with `coursegate why`, then try again",
        Chain(.0)
    )]
    Apply(#[from] ApplyError),
    /// The operator is not known.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The catalog has no such product.
    #[error("the catalog has no product {product}: {}", there_are(.products))]
    UnknownProduct {
        /// What was asked for.
        product: ProductId,
        /// Those of the catalog.
        products: Vec<ProductId>,
    },
    /// The grant would be over before it began.
    #[error("the grant would have ended already: give a later --until")]
    Over,
    /// The id stands for erased learners.
    #[error("nothing was granted: {0} stands for erased learners")]
    Forgotten(LearnerId),
    /// The learner was erased in the same second.
    #[error("{0} was erased just now, so nothing was granted: run this again if you meant it")]
    JustErased(LearnerId),
    /// The table has no such source.
    #[error(
        "the table has no source {0}: `coursegate why LEARNER` names those of a learner; if a \
         payment's event hasn't arrived, refund the payment in Stripe's Dashboard"
    )]
    UnknownSource(SourceId),
    /// A new grant has no id.
    #[error("the new grant's id can't be used: {0}")]
    NewId(#[from] IdError),
}

/// Applies facts of a source that come from no event.
pub(crate) async fn tell(
    deployment: &Deployment,
    source: &SourceId,
    facts: Facts,
) -> Result<Outcome, ApplyError> {
    let observation = Observation {
        event: None,
        mode: deployment.shop.mode,
        connected_account: false,
        owner: Owner::Marked(deployment.shop.mark.clone()),
        content: Content::Facts(source.clone(), Box::new(facts)),
    };
    let (table, clock) = (deployment.table(), SystemClock);
    apply(&table, deployment, &clock, &deployment.shop, &observation).await
}

/// Grants a learner a product, until then or without an end. Returns the new source.
pub async fn grant(
    deployment: &Deployment,
    learner: &LearnerId,
    product: &ProductId,
    until: Option<Timestamp>,
    reason: Note,
    now: Timestamp,
) -> Result<SourceId, HandError> {
    if *learner == LearnerId::forgotten() {
        return Err(HandError::Forgotten(learner.clone()));
    }
    if until.is_some_and(|until| until <= now) {
        return Err(HandError::Over);
    }
    let published = deployment.table().catalog().await?;
    let catalog: Option<&Catalog> = published.as_ref().map(|published| &published.catalog);
    if catalog.and_then(|catalog| catalog.product(product)).is_none() {
        let (product, products) = (product.clone(), products(catalog));
        return Err(HandError::UnknownProduct { product, products });
    }
    let source = fresh_grant()?;
    let action = OperatorAction { at: now, by: deployment.operator().await?, reason };
    let (product, whose) = (product.clone(), learner.clone());
    let facts = Origin::Manual(ManualGrant { product, until, action, learner: whose }).into();
    tell(deployment, &source, facts).await?;
    let given = facts_of(deployment, &source).await?;
    if given.is_some_and(|facts| facts.forgotten.is_some()) {
        return Err(HandError::JustErased(learner.clone()));
    }
    Ok(source)
}

fn fresh_grant() -> Result<SourceId, IdError> {
    format!("grant_{}", Uuid::new_v4().simple()).parse()
}

/// Revokes a source permanently. Returns its facts afterwards.
pub async fn revoke(
    deployment: &Deployment,
    source: &SourceId,
    reason: Note,
    now: Timestamp,
) -> Result<Revoked, HandError> {
    let unknown = || HandError::UnknownSource(source.clone());
    let before = facts_of(deployment, source).await?.ok_or_else(unknown)?;
    if let Some(action) = before.revoked.clone() {
        return Ok(Revoked { facts: before, earlier: Some(action) });
    }
    let action = OperatorAction { at: now, by: deployment.operator().await?, reason };
    tell(deployment, source, Facts { revoked: Some(action), ..Facts::default() }).await?;
    let facts = facts_of(deployment, source).await?.ok_or_else(unknown)?;
    Ok(Revoked { facts, earlier: None })
}

/// A revoked source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its facts.
    pub facts: Facts,
    /// Who revoked it earlier, if somebody did.
    pub earlier: Option<OperatorAction>,
}

async fn facts_of(
    deployment: &Deployment,
    source: &SourceId,
) -> Result<Option<Facts>, LedgerError> {
    let mut found = deployment.table().sources(std::slice::from_ref(source)).await?;
    Ok(found.remove(source).map(|StoredSource { facts, .. }| facts))
}
