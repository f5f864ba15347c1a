//! What to write when Stripe tells us something: pure, total, and leaving no choice to the shell.

use super::access::Grant;
use super::facts::Purchase;
use super::id::{EventId, LearnerId, SourceId};
use super::time::Timestamp;

/// Which of Stripe's two worlds. They never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Test keys, test cards, no money.
    Test,
    /// Money.
    Live,
}

/// An event of Stripe's, as far as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; each is applied once.
    pub id: EventId,
    /// Its type, such as `checkout.session.completed`.
    pub kind: String,
    /// The id of the object that it is about, where one could be read.
    pub object: Option<String>,
    /// The API version that its object was rendered with.
    pub api_version: Option<String>,
    /// When Stripe made it.
    pub created: Timestamp,
}

/// Something learnt from Stripe: from an event, or by reading the object ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The event that brought it; none when we asked.
    pub event: Option<Event>,
    /// The world it comes from.
    pub mode: Mode,
    /// Whether it is about somebody else's account, connected to ours.
    pub connected_account: bool,
    /// What it says.
    pub content: Content,
}

/// What a piece of news says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Facts about a purchase.
    Purchase(SourceId, Purchase),
    /// Nothing that concerns access, by an explicit rule.
    Irrelevant(Irrelevance),
    /// It concerns us, and a field that is needed could not be read.
    Unreadable {
        /// Which field, and what was expected; never its value.
        reason: String,
    },
}

/// The rules by which news changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Irrelevance {
    /// A type of event that nothing here depends on.
    UnknownType,
    /// An object that our server did not make: its metadata names no learner.
    NotOurs,
    /// A session that ended without a payment being tried.
    NothingPaid,
    /// News of the other mode.
    OtherMode,
    /// News of a connected account.
    ConnectedAccount,
}

impl Irrelevance {
    /// The rule's name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::NotOurs => "not_ours",
            Self::NothingPaid => "nothing_paid",
            Self::OtherMode => "other_mode",
            Self::ConnectedAccount => "connected_account",
        }
    }
}

/// What is on record of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Its facts are in, in the same transaction as this record.
    Applied,
    /// Its facts were in already; another event, or our own reading, had brought them.
    Unchanged,
    /// It could not be read, and waits for code that can.
    Quarantined,
}

/// A source as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The facts.
    pub purchase: Purchase,
    /// How often they have been written; the next write names it.
    pub version: u64,
}

/// What must be read before a decision, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What is on record of the event.
    pub event: Option<Recorded>,
    /// The source that the news is about.
    pub source: Option<StoredSource>,
}

/// One change to the table. A list of them is committed as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Record the event. What is on record of it must be what the decision was made on.
    RecordEvent {
        /// The event.
        event: Event,
        /// What is recorded of it.
        recorded: Recorded,
        /// The record that was read; none if there was none.
        replaces: Option<Recorded>,
        /// When.
        at: Timestamp,
    },
    /// Put the event on the operator's list of what could not be read. The event's record fences it.
    ListQuarantined {
        /// The event.
        event: Event,
        /// What could not be read.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Mark the event on that list as read after all.
    ResolveQuarantined {
        /// The event.
        event: EventId,
        /// When.
        at: Timestamp,
    },
    /// Store a source's facts. Its version must be the one that the decision was made on.
    StoreSource {
        /// The source.
        source: SourceId,
        /// All facts, joined.
        purchase: Purchase,
        /// The version that was read; none if there was no such source.
        replaces: Option<u64>,
    },
    /// Set what this source gives its learner. The source's version fences it.
    SetGrant {
        /// Whose.
        learner: LearnerId,
        /// From where.
        source: SourceId,
        /// What.
        grant: Grant,
    },
}

/// What became of a piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Facts were added.
    Applied,
    /// They were known already.
    Duplicate,
    /// A rule says that it changes nothing; nothing is written.
    Ignored(Irrelevance),
    /// It is kept for code that can read it.
    Quarantined {
        /// What could not be read.
        reason: String,
    },
}

impl Outcome {
    /// Its name in answers, logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored(_) => "ignored",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// What to write, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What became of the news once the writes are committed.
    pub outcome: Outcome,
    /// The writes, all or none; when empty there is nothing to commit.
    pub writes: Vec<Write>,
}

/// The items that [`decide`] needs to see for this news; none when a rule settles it unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The record of this event.
    pub event: Option<&'a EventId>,
    /// This source.
    pub source: Option<&'a SourceId>,
}

impl News {
    /// The rule by which this news changes nothing for a deployment of this mode, if one applies.
    fn irrelevance(&self, ours: Mode) -> Option<Irrelevance> {
        match &self.content {
            _ if self.mode != ours => Some(Irrelevance::OtherMode),
            _ if self.connected_account => Some(Irrelevance::ConnectedAccount),
            Content::Irrelevant(irrelevance) => Some(*irrelevance),
            Content::Purchase(..) | Content::Unreadable { .. } => None,
        }
    }

    /// What must be read before deciding on it.
    #[must_use]
    pub fn needs(&self, ours: Mode) -> Option<Needs<'_>> {
        if self.irrelevance(ours).is_some() {
            return None;
        }
        let source = match &self.content {
            Content::Purchase(source, _) => Some(source),
            Content::Irrelevant(_) | Content::Unreadable { .. } => None,
        };
        Some(Needs { event: self.event.as_ref().map(|event| &event.id), source })
    }
}

/// Decides what this news changes, given what is stored and a deployment of mode `ours`.
#[must_use]
pub fn decide(state: &State, news: &News, ours: Mode, now: Timestamp) -> Decision {
    if let Some(irrelevance) = news.irrelevance(ours) {
        return Decision { outcome: Outcome::Ignored(irrelevance), writes: Vec::new() };
    }
    match (&news.content, state.event) {
        (_, Some(Recorded::Applied | Recorded::Unchanged)) => {
            Decision { outcome: Outcome::Duplicate, writes: Vec::new() }
        }
        (Content::Purchase(source, purchase), recorded) => {
            let mut decision = join(state.source.as_ref(), source, purchase);
            let outcome = if decision.outcome == Outcome::Applied {
                Recorded::Applied
            } else {
                Recorded::Unchanged
            };
            if let Some(event) = &news.event {
                decision.writes.extend(record(event, outcome, recorded, now));
            }
            decision
        }
        (Content::Unreadable { reason }, recorded) => {
            let event = news.event.as_ref().filter(|_| recorded.is_none());
            Decision {
                outcome: Outcome::Quarantined { reason: reason.clone() },
                writes: event.map_or_else(Vec::new, |event| quarantine(event, reason, now)),
            }
        }
        // Settled above; here so that the match is total without a catch-all.
        (Content::Irrelevant(irrelevance), _) => {
            Decision { outcome: Outcome::Ignored(*irrelevance), writes: Vec::new() }
        }
    }
}

fn join(stored: Option<&StoredSource>, source: &SourceId, purchase: &Purchase) -> Decision {
    let joined = match stored {
        Some(stored) => stored.purchase.clone().join(purchase.clone()),
        None => purchase.clone(),
    };
    if stored.is_some_and(|stored| stored.purchase == joined) {
        return Decision { outcome: Outcome::Duplicate, writes: Vec::new() };
    }
    let grant = Grant::of(&joined);
    let learner = joined.sale.learner.clone();
    let writes = vec![
        Write::StoreSource {
            source: source.clone(),
            purchase: joined,
            replaces: stored.map(|stored| stored.version),
        },
        Write::SetGrant { learner, source: source.clone(), grant },
    ];
    Decision { outcome: Outcome::Applied, writes }
}

fn record(
    event: &Event,
    recorded: Recorded,
    before: Option<Recorded>,
    at: Timestamp,
) -> impl Iterator<Item = Write> {
    let resolve = (before == Some(Recorded::Quarantined))
        .then(|| Write::ResolveQuarantined { event: event.id.clone(), at });
    let record = Write::RecordEvent { event: event.clone(), recorded, replaces: before, at };
    [record].into_iter().chain(resolve)
}

fn quarantine(event: &Event, reason: &str, at: Timestamp) -> Vec<Write> {
    let recorded = Recorded::Quarantined;
    vec![
        Write::RecordEvent { event: event.clone(), recorded, replaces: None, at },
        Write::ListQuarantined { event: event.clone(), reason: reason.to_owned(), at },
    ]
}
