//! All that is held of a learner: written out for them, and erased where the law asks, but for what
//! accounting needs.

use serde::Serialize;
use serde_json::Value;
use shared::apply::ApplyError;
use shared::domain::facts::Facts;
use shared::domain::id::{CustomerId, LearnerId, SessionId, SourceId};
use shared::domain::time::Timestamp;
use shared::dynamo::key::Key;
use shared::dynamo::operator::{self, HeldItem};
use shared::http::rfc3339;
use shared::ports::LedgerError;
use shared::telemetry::Chain;

use crate::deployment::Deployment;
use crate::hand::tell;

/// How often the table is looked through for what came while it was erased.
const ROUNDS_MAX: usize = 3;

/// Why a learner is not forgotten, or not altogether. Doing it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The table failed.
    #[error("{}: look at your permissions and your network, then do it again", Chain(.0))]
    Table(#[from] LedgerError),
    /// A source could not be written.
    #[error("{}: do it again, which goes on where it stopped", Chain(.0))]
    Apply(#[from] ApplyError),
    /// It stands for those who were forgotten.
    #[error("{0} is what those are called who were forgotten: nothing is held under it")]
    Forgotten(LearnerId),
    /// Something keeps coming.
    #[error(
        "something of {learner} is still in the table ({left}): if they are just buying something, \
         do it again later; if this program does not know such items, use the newer one"
    )]
    Left {
        /// Who.
        learner: LearnerId,
        /// The items.
        left: String,
    },
}

/// All that is held of a learner.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Who.
    pub learner: LearnerId,
    /// The items.
    pub items: Vec<HeldItem>,
}

/// Looks for all that is held of a learner, through the whole table.
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
    /// All of it as JSON, for people.
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

    /// The checkout sessions that may still be paid: they are not over, and of no source.
    pub fn open_sessions(&self, now: Timestamp) -> impl Iterator<Item = SessionId> {
        let is_open = move |item: &&HeldItem| {
            let ends = item.json.get("expires_at").and_then(Value::as_i64);
            let is_completed = |other: &HeldItem| {
                matches!(other.key, Some(Key::Source(_)))
                    && other.text("session") == item.text("session")
            };
            matches!(item.key, Some(Key::Checkout(..)))
                && ends.is_some_and(|ends| ends > now.unix_seconds())
                && !self.items.iter().any(is_completed)
        };
        self.items.iter().filter(is_open).filter_map(|item| item.text("session").parse().ok())
    }

    /// What is deleted: all but the sources, of which the learner's name is taken, and what is not
    /// known to be theirs alone.
    fn deleted(&self) -> impl Iterator<Item = &HeldItem> {
        let own = Key::Access(self.learner.clone()).pk();
        self.items.iter().filter(move |item| match &item.key {
            Some(Key::Link(_) | Key::DoublePayment(..)) => true,
            _ => item.text(shared::dynamo::key::PK) == own,
        })
    }

    fn names(&self) -> String {
        use shared::dynamo::key::{PK, SK};
        let name = |item: &HeldItem| format!("{} {}", item.text(PK), item.text(SK));
        self.items.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Forgets a learner. Of their sources stays what they are, without whose: whatever Stripe tells of
/// them later, the name does not come back. Everything else is deleted. Says how many items that
/// was.
pub async fn forget(
    deployment: &Deployment,
    learner: &LearnerId,
    now: Timestamp,
) -> Result<usize, LearnerError> {
    let mut deleted: usize = 0;
    for _ in 0..ROUNDS_MAX {
        let held = look(deployment, learner).await?;
        if held.items.is_empty() {
            return Ok(deleted);
        }
        // The sources first: from then on nothing of them comes to the access item.
        for source in held.sources() {
            let facts = Facts { forgotten: Some(now), ..Facts::default() };
            tell(deployment, source, facts).await?;
        }
        for item in held.deleted() {
            operator::erase(&deployment.table(), item).await?;
            deleted = deleted.saturating_add(1);
        }
    }
    let held = look(deployment, learner).await?;
    if held.items.is_empty() {
        return Ok(deleted);
    }
    Err(LearnerError::Left { learner: learner.clone(), left: held.names() })
}
