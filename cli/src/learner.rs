//! Exports or erases a learner's data. What accounting needs is kept without their name.

pub mod sessions;

use serde::Serialize;
use serde_json::Value;
use shared::apply::ApplyError;
use shared::domain::id::{CustomerId, LearnerId, SessionId, SourceId};
use shared::domain::time::Timestamp;
use shared::dynamo::key::{Key, PK, SK};
use shared::dynamo::operator::{self, HeldItem};
use shared::erasure::erase;
use shared::http::rfc3339;
use shared::ports::{Clock as _, LedgerError, SystemClock};
use shared::telemetry::Chain;

use crate::account::{Account, AccountError};
use crate::deployment::Deployment;

/// What an access item has once its learner is erased.
const TOMBSTONE: [&str; 3] = [PK, SK, ERASED_AT];
const ERASED_AT: &str = "erased_at";
/// A payment that is on its way, in a source's item.
const PROCESSING: &str = "processing";
const PAID: &str = "paid";

/// Why a learner was not erased, or not completely. Repeating the command continues it.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The table failed.
    #[error("{}: check your permissions and your network, then try again", Chain(.0))]
    Table(#[from] LedgerError),
    /// A source could not be written.
    #[error("{}: try again; it continues where it stopped", Chain(.0))]
    Apply(#[from] ApplyError),
    /// Stripe can't be asked.
    #[error(
        "nothing was erased, since Stripe can't be asked what this learner has paid: {0}; your key \
         needs Checkout Sessions: Write and Charges: Read"
    )]
    Stripe(#[from] AccountError),
    /// A session can't be read.
    #[error(
        "nothing was erased, since {session} can't be read and may have been paid ({reason}): use \
         the newest version of this program"
    )]
    Unreadable {
        /// The session's id.
        session: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The id stands for erased learners.
    #[error("{0} stands for erased learners: no data is stored under it")]
    Forgotten(LearnerId),
    /// New items were written meanwhile.
    #[error(
        "{learner} was erased, but came back or was buying something meanwhile ({left}): run this \
         again later; if this program doesn't know such items, use its newest version"
    )]
    Left {
        /// The learner.
        learner: LearnerId,
        /// The items.
        left: String,
    },
}

/// A learner's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The learner.
    pub learner: LearnerId,
    /// The items.
    pub items: Vec<HeldItem>,
}

/// Scans the whole table for a learner's data.
pub async fn look(deployment: &Deployment, learner: &LearnerId) -> Result<Held, LearnerError> {
    if *learner == LearnerId::forgotten() {
        return Err(LearnerError::Forgotten(learner.clone()));
    }
    let items = operator::held_of(&deployment.table(), learner).await?;
    Ok(Held { learner: learner.clone(), items })
}

#[derive(Serialize)]
struct Export<'a> {
    learner: &'a str,
    exported_at: String,
    items: Vec<&'a Value>,
}

impl Held {
    /// All of it as formatted JSON.
    #[must_use]
    pub fn export(&self, now: Timestamp) -> String {
        let export = Export {
            learner: self.learner.as_str(),
            exported_at: rfc3339(now),
            items: self.items.iter().map(|item| &item.json).collect(),
        };
        serde_json::to_string_pretty(&export).unwrap_or_default()
    }

    /// The sources.
    pub fn sources(&self) -> impl Iterator<Item = &SourceId> {
        self.items.iter().filter_map(|item| match &item.key {
            Some(Key::Source(source)) => Some(source),
            _ => None,
        })
    }

    /// The Stripe customer that the learner had, or has.
    #[must_use]
    pub fn customer(&self) -> Option<CustomerId> {
        let is_customer = |item: &&HeldItem| matches!(item.key, Some(Key::Customer(_)));
        self.items.iter().find(is_customer)?.text("customer").parse().ok()
    }

    /// The checkout sessions that Stripe may know more of: those of attempts, as far as Stripe's
    /// answers were recorded, and those whose payment is on its way.
    pub(crate) fn unsettled_sessions(&self) -> impl Iterator<Item = SessionId> {
        let is_unsettled = |item: &&HeldItem| match &item.key {
            Some(Key::Source(_)) => item.text("payment") == PROCESSING,
            _ => item.text(SK).starts_with("CHECKOUT#"),
        };
        let unsettled = self.items.iter().filter(is_unsettled);
        unsettled.filter_map(|item| item.text("session").parse().ok())
    }

    /// How far the payment of a session is on record, as `processing`; none if it isn't.
    pub(crate) fn payment_of(&self, session: &SessionId) -> Option<&str> {
        let mut items = self.items.iter();
        let source = items.find(|item| {
            matches!(item.key, Some(Key::Source(_))) && item.text("session") == session.as_str()
        });
        source.map(|source| source.text("payment"))
    }

    /// The sources whose payment is still on its way.
    pub fn processing(&self) -> impl Iterator<Item = &SourceId> {
        self.items.iter().filter_map(|item| match &item.key {
            Some(Key::Source(source)) if item.text("payment") == PROCESSING => Some(source),
            _ => None,
        })
    }

    /// When the learner was erased, if they were.
    #[must_use]
    pub fn erased_at(&self) -> Option<Timestamp> {
        let access = self.items.iter().find(|item| matches!(item.key, Some(Key::Access(_))))?;
        access.json.get(ERASED_AT)?.as_i64().map(Timestamp::from_unix_seconds)
    }

    /// Whether only the time of the erasure is left.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.items.iter().all(is_tombstone)
    }

    /// When the last of the sources began, by Stripe's clock or another machine's, which may be
    /// ahead of this one's.
    fn latest(&self) -> Option<Timestamp> {
        let sources = self.items.iter().filter(|item| matches!(item.key, Some(Key::Source(_))));
        let began = sources.flat_map(|source| {
            ["opened_at", "granted_at"].map(|name| source.json.get(name).and_then(Value::as_i64))
        });
        began.flatten().max().map(Timestamp::from_unix_seconds)
    }

    /// What is deleted: all but the sources and the access item, which are erased otherwise, and
    /// what is not known to be theirs alone.
    pub fn deleted(&self) -> impl Iterator<Item = &HeldItem> {
        let own = Key::Access(self.learner.clone()).pk();
        self.items.iter().filter(move |item| match &item.key {
            Some(Key::Link(_) | Key::DoublePayment(..)) => true,
            Some(Key::Access(_)) => false,
            _ => item.text(PK) == own,
        })
    }

    fn names(&self) -> String {
        let left = self.items.iter().filter(|item| !is_tombstone(item));
        let names = left.map(|item| format!("{} {}", item.text(PK), item.text(SK)));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Whether an item says only that its learner was erased.
fn is_tombstone(item: &HeldItem) -> bool {
    let is_known = |name: &String| TOMBSTONE.contains(&name.as_str());
    matches!(item.key, Some(Key::Access(_)))
        && item.json.as_object().is_some_and(|item| item.keys().all(is_known))
}

/// Erases a learner. Sessions that can still be paid are expired, and what Stripe hasn't reported
/// yet is recorded; then the names are taken from the sources, and everything else is deleted but the
/// time of the erasure, which keeps out what arrives later. Says how many items were deleted.
pub async fn forget(
    deployment: &Deployment,
    account: &Account,
    learner: &LearnerId,
) -> Result<usize, LearnerError> {
    let unsettled = sessions::look(deployment, account, &look(deployment, learner).await?).await?;
    sessions::settle(deployment, account, unsettled).await?;
    let held = look(deployment, learner).await?;
    if held.is_erased() {
        return Ok(0);
    }
    let (table, clock) = (deployment.table(), SystemClock);
    let now = clock.now();
    let at = held.latest().map_or(now, |latest| latest.max(now));
    erase(&table, deployment, &clock, &deployment.shop, learner, at).await?;
    let mut deleted: usize = 0;
    for item in held.deleted() {
        operator::erase(&table, item).await?;
        deleted = deleted.saturating_add(1);
    }
    // Whoever is buying at this moment is left to finish.
    let held = look(deployment, learner).await?;
    if held.is_erased() {
        return Ok(deleted);
    }
    Err(LearnerError::Left { learner: learner.clone(), left: held.names() })
}
