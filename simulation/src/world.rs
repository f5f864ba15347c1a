//! The world as one webhook function sees it, with every step of it in the scheduler's hand.
//!
//! Whatever a function asks of the world, it first stands still, is then answered, and stands still
//! again before it knows the answer. So the scheduler can let others go first at each of these
//! points, have the question fail in one of the ways in which it fails in earnest, or end the
//! function there.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use shared::domain::decide::{Needs, State, Write};
use shared::domain::time::Timestamp;
use shared::ports::{
    Clock, Commit, Ledger, LedgerError, SecretReader, SecretUnavailable, SecretVersion,
};

use crate::law::{Law, Violation};
use crate::memory::Contents;

/// What goes wrong with one thing that is asked of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Throttled or unreachable; nothing is done.
    Unavailable,
    /// A commit is made, and its answer lost.
    AnswerLost,
    /// A commit meets another transaction; nothing is written. No emulator ever says so.
    Conflict,
    /// A read answers with what was there before the last commit.
    Stale,
}

/// What is wrong with a table on purpose, to see whether the laws notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It stores a source's facts whatever version they were decided on.
    VersionUnchecked,
    /// It records an event that is on record already.
    RecordUnchecked,
    /// It records the event first, and the facts in a second transaction.
    TwoTransactions,
    /// It says that it has committed, and will do so later.
    CommitsLater,
    /// It leaves out what a purchase gives.
    GrantForgotten,
}

/// Where a function stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has not asked for anything yet.
    Started,
    /// It is about to read a secret.
    AskingForSecret,
    /// It is about to read the table.
    Reading,
    /// The table has been read, and the answer is on its way.
    Read,
    /// It is about to commit.
    Committing,
    /// It has committed, and does not know it yet.
    Committed,
    /// It sleeps.
    Sleeping,
}

impl Stage {
    /// Where it is, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Started => "before it begins",
            Self::AskingForSecret => "before it reads a secret",
            Self::Reading => "before it reads the table",
            Self::Read => "after it has read the table",
            Self::Committing => "before it commits",
            Self::Committed => "after it has committed",
            Self::Sleeping => "while it waits to try again",
        }
    }
}

/// How often each kind of thing has happened, so that a run in which nothing did is noticed.
pub type Tally = BTreeMap<&'static str, u64>;

/// What all functions share.
pub(crate) struct World {
    pub(crate) contents: Contents,
    before: Contents,
    pub(crate) law: Law,
    /// The signing secret's current version, and since when; and the one before.
    pub(crate) secret: (String, i64),
    pub(crate) previous_secret: Option<String>,
    pub(crate) now: i64,
    /// What is wrong with the table all the time.
    pub(crate) flaw: Option<Flaw>,
    /// What goes wrong with the next question; none again once it has.
    pub(crate) fault: Option<Fault>,
    /// Whether the last commit was refused, by a fault or since somebody else was quicker.
    pub(crate) is_refused: bool,
    pub(crate) violation: Option<Violation>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(law: Law, secret: &str, now: i64) -> Self {
        Self {
            contents: Contents::default(),
            before: Contents::default(),
            law,
            secret: (secret.to_owned(), now),
            previous_secret: None,
            now,
            flaw: None,
            fault: None,
            is_refused: false,
            violation: None,
            tally: Tally::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The fault that is due, if it is one of these.
    fn meets(&mut self, possible: &[Fault]) -> Option<Fault> {
        self.fault.take_if(|fault| possible.contains(fault))
    }

    fn load(&mut self, needs: Needs<'_>) -> Result<State, LedgerError> {
        match self.meets(&[Fault::Unavailable, Fault::Stale]) {
            Some(Fault::Stale) => {
                self.count("stale read");
                Ok(self.before.state(needs))
            }
            Some(_) => {
                self.count("read refused");
                Err(unavailable())
            }
            None => Ok(self.contents.state(needs)),
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let fault = self.meets(&[Fault::Unavailable, Fault::AnswerLost, Fault::Conflict]);
        match fault {
            Some(Fault::Unavailable) => {
                self.count("commit refused");
                return Err(unavailable());
            }
            Some(Fault::Conflict) => {
                self.count("transaction conflict");
                self.is_refused = true;
                return Ok(Commit::Conflict);
            }
            _ => {}
        }
        let before = self.contents.clone();
        let answer = match self.flaw {
            None | Some(Flaw::TwoTransactions | Flaw::CommitsLater) => self.contents.commit(writes),
            Some(flaw) => {
                let flawed = flawed(writes, flaw, &before);
                self.contents.commit(&flawed)
            }
        };
        if answer == Commit::Applied {
            let judged = self.law.committed(&before, writes, &self.contents);
            self.violation = self.violation.take().or(judged.err());
            self.before = before;
        } else {
            self.count("commit overtaken");
            self.is_refused = true;
        }
        if fault == Some(Fault::AnswerLost) {
            self.count("commit's answer lost");
            return Err(unavailable());
        }
        Ok(answer)
    }

    fn secret(&mut self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        if self.meets(&[Fault::Unavailable]).is_some() {
            self.count("secret refused");
            return Err(SecretUnavailable("as the scheduler has it".into()));
        }
        Ok(if stage == "AWSCURRENT" {
            let (text, since) = &self.secret;
            let created = Some(Timestamp::from_unix_seconds(*since));
            Some(SecretVersion { text: text.as_str().into(), created })
        } else {
            let previous = self.previous_secret.as_deref();
            previous.map(|text| SecretVersion { text: text.into(), created: None })
        })
    }
}

/// What a flawed table makes of these writes.
fn flawed(writes: &[Write], flaw: Flaw, contents: &Contents) -> Vec<Write> {
    let mut writes = writes.to_vec();
    if flaw == Flaw::GrantForgotten {
        writes.retain(|write| !matches!(write, Write::SetGrant { .. }));
    }
    for write in &mut writes {
        match write {
            Write::StoreSource { source, replaces, .. } if flaw == Flaw::VersionUnchecked => {
                *replaces = contents.sources.get(source).map(|stored| stored.version);
            }
            Write::RecordEvent { event, replaces, .. } if flaw == Flaw::RecordUnchecked => {
                *replaces = contents.events.get(&event.id).copied();
            }
            Write::StoreSource { .. }
            | Write::RecordEvent { .. }
            | Write::ListQuarantined { .. }
            | Write::ResolveQuarantined { .. }
            | Write::SetGrant { .. } => {}
        }
    }
    writes
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("as the scheduler has it".into())
}

/// The world's door for one instance. Clones are the same instance's.
#[derive(Clone)]
pub(crate) struct Instance {
    world: Arc<Mutex<World>>,
    own: Arc<Mutex<Own>>,
}

/// What is an instance's own.
struct Own {
    stage: Stage,
    skew_seconds: i64,
}

impl Instance {
    pub(crate) fn new(world: &Arc<Mutex<World>>) -> Self {
        let own = Own { stage: Stage::Started, skew_seconds: 0 };
        Self { world: Arc::clone(world), own: Arc::new(Mutex::new(own)) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.own.lock().unwrap().stage
    }

    pub(crate) fn skew_seconds(&self) -> i64 {
        self.own.lock().unwrap().skew_seconds
    }

    pub(crate) fn skew(&self, seconds: i64) {
        self.own.lock().unwrap().skew_seconds = seconds;
    }

    pub(crate) async fn stand_at(&self, stage: Stage) {
        self.own.lock().unwrap().stage = stage;
        Once::default().await;
    }
}

/// Pending once: then it is the scheduler's turn.
#[derive(Default)]
struct Once {
    stood: bool,
}

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.stood, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Ledger for Instance {
    async fn load(&self, needs: Needs<'_>) -> Result<State, LedgerError> {
        self.stand_at(Stage::Reading).await;
        let answer = self.world().load(needs);
        self.stand_at(Stage::Read).await;
        answer
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.stand_at(Stage::Committing).await;
        let flaw = self.world().flaw;
        let answer = match flaw {
            Some(Flaw::TwoTransactions) => {
                let is_record = |write: &&Write| matches!(write, Write::RecordEvent { .. });
                let (record, rest): (Vec<&Write>, Vec<&Write>) = writes.iter().partition(is_record);
                let first = self.world().commit(&record.into_iter().cloned().collect::<Vec<_>>());
                if matches!(first, Ok(Commit::Applied)) {
                    self.stand_at(Stage::Committing).await;
                    self.world().commit(&rest.into_iter().cloned().collect::<Vec<_>>())
                } else {
                    first
                }
            }
            // And it never does.
            Some(Flaw::CommitsLater) => Ok(Commit::Applied),
            _ => self.world().commit(writes),
        };
        self.stand_at(Stage::Committed).await;
        answer
    }
}

impl SecretReader for Instance {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        self.stand_at(Stage::AskingForSecret).await;
        self.world().secret(stage)
    }
}

impl Clock for Instance {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.world().now + self.skew_seconds())
    }

    async fn sleep(&self, _: Duration) {
        self.stand_at(Stage::Sleeping).await;
    }
}
