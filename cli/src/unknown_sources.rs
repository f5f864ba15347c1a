//! Access that Stripe doesn't say was paid for: what a forged event leaves behind.
//!
//! Whoever has a signing secret can write a purchase into the table that never was. So each payment
//! that opens something is looked up at Stripe: whether it is there, was made by our server for that
//! learner and product, and was paid. What Stripe doesn't answer is an error, never a finding.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use shared::domain::access::{Grant, Status};
use shared::domain::facts::{Facts, Origin};
use shared::domain::id::{DeploymentMark, LearnerId, ProductId, SourceId};
use shared::domain::time::Timestamp;
use shared::dynamo::operator;
use shared::ports::{CatalogReader as _, LedgerError};
use shared::stripe::wire::metadata;
use shared::telemetry::Chain;

use crate::account::{Account, AccountError, NoParameters};
use crate::deployment::Deployment;

/// How many requests to Stripe are under way at once: a sandbox takes 25 a second.
/// <https://docs.stripe.com/rate-limits>
const REQUESTS_AT_ONCE: usize = 4;
/// How many prices are looked up to see whether the account is the shop's.
const PRICES_MAX: usize = 3;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum UnknownSourcesError {
    /// Stripe didn't answer a request.
    #[error("{0}; there is no result until Stripe has answered for each payment")]
    Account(#[from] AccountError),
    /// The key's account never had any of it.
    #[error(
        "this key's Stripe account has neither these payments nor the prices that are on sale: it \
         isn't the shop's account, sandbox or mode; use a key of the shop's account"
    )]
    OtherAccount,
    /// The table failed.
    #[error("{}: check your permissions and your network, then try again", Chain(.0))]
    Table(#[from] LedgerError),
}

/// A source that opens something, and that Stripe doesn't say was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSource {
    /// The source's id.
    pub source: SourceId,
    /// The learner it gives access.
    pub learner: LearnerId,
    /// What it opens.
    pub product: ProductId,
    /// Since when, as the table has it.
    pub since: Option<Timestamp>,
    /// What Stripe says instead.
    pub why: Why,
}

/// What Stripe says of a source instead of that it was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It has no such payment or session.
    Missing,
    /// It is there, and not what our server made for this learner and product.
    NotOurs,
    /// It is not paid; its status.
    Unpaid(String),
    /// Its status, which this version doesn't know.
    UnknownStatus(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("Stripe doesn't have it."),
            Self::NotOurs => f.write_str(
                "Stripe has it, but its metadata names another deployment, learner or product, or \
                 none. Leave it if this shop had another deployment mark when it was sold.",
            ),
            Self::Unpaid(status) => write!(f, "Stripe says that it isn't paid: it is {status}."),
            Self::UnknownStatus(status) => write!(
                f,
                "Stripe says that it is {status}, which this version doesn't know: check it in \
                 Stripe's Dashboard before you revoke it."
            ),
        }
    }
}

/// What was found in a part of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What Stripe doesn't say was paid for.
    pub unknown: Vec<UnknownSource>,
    /// How many sources were looked up at Stripe.
    pub looked_up: usize,
    /// The last source that was read, if there are more after it.
    pub more_after: Option<SourceId>,
}

/// Looks up at most so many of the table's sources, those after this one.
pub async fn look(
    deployment: &Deployment,
    account: &Account,
    after: Option<&SourceId>,
    sources_max: usize,
) -> Result<Found, UnknownSourcesError> {
    let table = deployment.table();
    let read = operator::sources(&table, after, sources_max).await?;
    let more_after = read.last().filter(|_| read.len() >= sources_max).map(|(id, _)| id.clone());
    let open = read.into_iter().filter_map(|(source, stored)| Open::new(source, &stored.facts));
    let open: Vec<Open> = open.collect();
    let looked_up = open.len();
    let answers = stream::iter(open).map(|open| async {
        let why = open.why(account, &deployment.shop.mark).await?;
        Ok::<_, AccountError>(why.map(|why| open.because(why)))
    });
    let answers = answers.buffered(REQUESTS_AT_ONCE).try_collect::<Vec<_>>().await?;
    let unknown: Vec<UnknownSource> = answers.into_iter().flatten().collect();
    let is_missing = |unknown: &UnknownSource| unknown.why == Why::Missing;
    if unknown.iter().any(is_missing) && !sells(deployment, account, looked_up, &unknown).await? {
        return Err(UnknownSourcesError::OtherAccount);
    }
    Ok(Found { unknown, looked_up, more_after })
}

/// Whether this is the account that the shop sells in. An account that has any of its payments is,
/// and so is one that has any of its prices.
async fn sells(
    deployment: &Deployment,
    account: &Account,
    looked_up: usize,
    unknown: &[UnknownSource],
) -> Result<bool, UnknownSourcesError> {
    if unknown.iter().filter(|it| it.why == Why::Missing).count() < looked_up {
        return Ok(true);
    }
    let Some(on_sale) = deployment.table().catalog().await? else { return Ok(false) };
    for price in on_sale.stripe_prices.values().take(PRICES_MAX) {
        let path = format!("/prices/{price}");
        match account.get::<serde_json::Value>(&path, &NoParameters {}).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// A source that opens something, or will once a dispute is won.
struct Open {
    source: SourceId,
    learner: LearnerId,
    grant: Grant,
}

/// A payment intent or a checkout session, as far as it says who has paid for what.
/// <https://docs.stripe.com/api/payment_intents/object>,
/// <https://docs.stripe.com/api/checkout/sessions/object>
#[derive(Deserialize)]
struct Shape {
    status: Option<String>,
    payment_status: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Open {
    fn new(source: SourceId, facts: &Facts) -> Option<Self> {
        if !matches!(facts.origin, Some(Origin::Purchase(_))) {
            return None;
        }
        let (learner, grant) = Grant::of(facts)?;
        let opens = match grant.status {
            Status::Active | Status::Suspended => grant.refunded_percent < 100,
            Status::Processing | Status::Failed | Status::DisputeLost | Status::Revoked => false,
        };
        opens.then_some(Self { source, learner, grant })
    }

    /// What Stripe says instead of that it was paid; nothing if it was.
    async fn why(
        &self,
        account: &Account,
        mark: &DeploymentMark,
    ) -> Result<Option<Why>, AccountError> {
        let path = match &self.source {
            SourceId::Payment(id) => format!("/payment_intents/{id}"),
            SourceId::Session(id) => format!("/checkout/sessions/{id}"),
            SourceId::Grant(_) => return Ok(None),
        };
        match account.get::<Shape>(&path, &NoParameters {}).await {
            Ok(shape) => Ok(self.judge(&shape, mark)),
            Err(error) if error.is_missing() => Ok(Some(Why::Missing)),
            Err(error) => Err(error),
        }
    }

    fn judge(&self, shape: &Shape, mark: &DeploymentMark) -> Option<Why> {
        let says = |name: &str, value: &str| {
            let metadata = shape.metadata.as_ref();
            metadata.and_then(|metadata| metadata.get(name)).is_some_and(|it| it == value)
        };
        if !says(metadata::DEPLOYMENT, mark.as_str())
            || !says(metadata::LEARNER, self.learner.as_str())
            || !says(metadata::PRODUCT, self.grant.product.as_str())
        {
            return Some(Why::NotOurs);
        }
        let status = shape.status.as_deref().unwrap_or("without a status");
        match &self.source {
            SourceId::Session(_) => session(status, shape.payment_status.as_deref()),
            SourceId::Payment(_) | SourceId::Grant(_) => payment(status),
        }
    }

    fn because(self, why: Why) -> UnknownSource {
        let Self { source, learner, grant } = self;
        UnknownSource { source, learner, product: grant.product, since: grant.since, why }
    }
}

/// <https://docs.stripe.com/payments/paymentintents/lifecycle>
fn payment(status: &str) -> Option<Why> {
    match status {
        "succeeded" => None,
        "requires_payment_method"
        | "requires_confirmation"
        | "requires_action"
        | "processing"
        | "requires_capture"
        | "canceled" => Some(Why::Unpaid(status.to_owned())),
        _ => Some(Why::UnknownStatus(status.to_owned())),
    }
}

/// <https://docs.stripe.com/checkout/fulfillment>
fn session(status: &str, payment_status: Option<&str>) -> Option<Why> {
    match (status, payment_status.unwrap_or("without a payment status")) {
        ("complete", "paid" | "no_payment_required") => None,
        ("open" | "expired", _) => Some(Why::Unpaid(status.to_owned())),
        ("complete", "unpaid") => Some(Why::Unpaid("unpaid".to_owned())),
        ("complete", other) | (other, _) => Some(Why::UnknownStatus(other.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on should stop where it is")]
mod tests {
    use serde_json::{Value, json};
    use shared::domain::facts::{Payment, PaymentStatus, Purchase, Sale};

    use super::*;

    fn bought(source: &str, payment: Payment) -> Option<Open> {
        let sale = Sale {
            product: "tutorclaw".parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            session: "cs_1".parse().unwrap(),
            opened_at: None,
            total: None,
            learner: "ada".parse().unwrap(),
        };
        Open::new(source.parse().unwrap(), &Purchase { sale, payment }.into())
    }

    fn judged(source: &str, object: Value) -> Option<Why> {
        let open = bought(source, Payment::paid(Timestamp::from_unix_seconds(1))).unwrap();
        open.judge(&serde_json::from_value(object).unwrap(), &"ours".parse().unwrap())
    }

    #[test]
    fn only_a_payment_by_that_learner_for_that_product_is_known() {
        let ours = json!({"coursegate": "ours", "learner_id": "ada", "product": "tutorclaw"});
        let paid = json!({"status": "succeeded", "metadata": ours});
        assert_eq!(judged("pi_1", paid), None);
        for (mark, learner, product) in [
            ("ours", "eve", "tutorclaw"),
            ("ours", "ada", "curriculum"),
            ("another", "ada", "tutorclaw"),
        ] {
            let metadata = json!({"coursegate": mark, "learner_id": learner, "product": product});
            let other = json!({"status": "succeeded", "metadata": metadata});
            assert_eq!(judged("pi_1", other), Some(Why::NotOurs), "{mark} {learner} {product}");
        }
        for metadata in [json!({}), Value::Null, json!({"learner_id": "ada"})] {
            let nobodys = json!({"status": "succeeded", "metadata": metadata});
            assert_eq!(judged("pi_1", nobodys), Some(Why::NotOurs), "{metadata}");
        }
    }

    #[test]
    fn an_unpaid_session_is_not_known_as_paid() {
        let ours = json!({"coursegate": "ours", "learner_id": "ada", "product": "tutorclaw"});
        let unpaid = |status: &str| Some(Why::Unpaid(status.to_owned()));
        let unknown = |status: &str| Some(Why::UnknownStatus(status.to_owned()));
        for (status, expected) in [
            ("succeeded", None),
            ("canceled", unpaid("canceled")),
            ("processing", unpaid("processing")),
            ("requires_action", unpaid("requires_action")),
            ("requires_capture", unpaid("requires_capture")),
            ("requires_confirmation", unpaid("requires_confirmation")),
            ("requires_payment_method", unpaid("requires_payment_method")),
            ("levitating", unknown("levitating")),
        ] {
            let payment = json!({"status": status, "metadata": ours});
            assert_eq!(judged("pi_1", payment), expected, "{status}");
        }
        for (status, payment_status, expected) in [
            ("complete", json!("paid"), None),
            ("complete", json!("no_payment_required"), None),
            ("complete", json!("unpaid"), unpaid("unpaid")),
            ("complete", json!("levitating"), unknown("levitating")),
            ("complete", Value::Null, unknown("without a payment status")),
            ("open", json!("no_payment_required"), unpaid("open")),
            ("expired", json!("no_payment_required"), unpaid("expired")),
            ("levitating", json!("paid"), unknown("levitating")),
        ] {
            let session =
                json!({"status": status, "payment_status": payment_status, "metadata": ours});
            assert_eq!(judged("cs_1", session), expected, "{status} {payment_status}");
        }
        assert_eq!(judged("pi_1", json!({"metadata": ours})), unknown("without a status"));
    }

    #[test]
    fn a_source_that_opens_nothing_is_not_looked_up() {
        let at = Timestamp::from_unix_seconds(1);
        assert!(bought("pi_1", Payment::reported(PaymentStatus::Processing, at)).is_none());
        assert!(bought("pi_1", Payment::reported(PaymentStatus::Failed, at)).is_none());
        assert!(bought("pi_1", Payment::paid(Timestamp::from_unix_seconds(1))).is_some());
        assert!(Open::new("pi_1".parse().unwrap(), &Facts::default()).is_none());
    }
}
