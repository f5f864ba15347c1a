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

use secrecy::ExposeSecret;
use shared::domain::access::{Holdings, Status};
use shared::domain::decide::{Needs, State, StoredSource, Write};
use shared::domain::facts::{DisputeStatus, Origin, Payment};
use shared::domain::id::{DisputeId, LearnerId, PaymentIntentId, SourceId};
use shared::domain::time::Timestamp;
use shared::ports::{
    AccessReader, Clock, Commit, Ledger, LedgerError, SecretReader, SecretUnavailable,
    SecretVersion, StripeReader, StripeUnavailable,
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
    /// A commit is made when nobody waits for it any more, and perhaps after the next try.
    DoneLate,
    /// A commit meets another transaction; nothing is written. No emulator ever says so.
    Conflict,
    /// A read answers with what was there before the last commit.
    Stale,
}

/// What is wrong on purpose, to see whether the laws notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The table stores a source's facts whatever version they were decided on.
    VersionUnchecked,
    /// The table records an event that is on record already.
    RecordUnchecked,
    /// The event is recorded first, and the facts in a second transaction.
    TwoTransactions,
    /// The table says that it has committed, and has not.
    NeverCommits,
    /// The table refuses for ever.
    AlwaysRefuses,
    /// The table loses the records of other events.
    LosesRecords,
    /// What a purchase gives is left out.
    GrantForgotten,
    /// What a purchase gives is written twice.
    GrantTwice,
    /// A payment that is on its way counts as paid.
    UnpaidGranted,
    /// The function belongs to live mode.
    LiveMode,
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
    /// Its commit has been answered, and it does not know yet.
    Answered,
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
            Self::Answered => "after its commit",
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
    /// Commits that are made later.
    late: Vec<Vec<Write>>,
    /// Whether event and source are read at two moments, as `BatchGetItem` may.
    pub(crate) tears_reads: bool,
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
            late: Vec::new(),
            tears_reads: false,
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
        let fault =
            self.meets(&[Fault::Unavailable, Fault::AnswerLost, Fault::DoneLate, Fault::Conflict]);
        match fault {
            Some(Fault::Unavailable) => {
                self.count("commit refused");
                Err(unavailable())
            }
            Some(Fault::Conflict) => {
                self.count("transaction conflict");
                Ok(Commit::Conflict)
            }
            Some(Fault::DoneLate) => {
                self.count("commit done late");
                self.late.push(writes.to_vec());
                Err(unavailable())
            }
            Some(_) => {
                self.count("commit's answer lost");
                self.transact(writes);
                Err(unavailable())
            }
            None => Ok(self.transact(writes)),
        }
    }

    /// Makes the commits that nobody waits for any more.
    pub(crate) fn catch_up(&mut self) {
        for writes in std::mem::take(&mut self.late) {
            self.transact(&writes);
        }
    }

    fn transact(&mut self, writes: &[Write]) -> Commit {
        let before = self.contents.clone();
        let answer = match self.flaw {
            None => self.contents.commit(writes),
            Some(flaw) => self.flawed(writes, flaw),
        };
        if answer == Commit::Applied {
            let judged = self.law.committed(&before, writes, &self.contents);
            self.violation = self.violation.take().or(judged.err());
            self.before = before;
        } else {
            self.count("commit overtaken");
        }
        answer
    }

    /// What a flawed table makes of these writes.
    fn flawed(&mut self, writes: &[Write], flaw: Flaw) -> Commit {
        let mut writes = writes.to_vec();
        for write in &mut writes {
            match write {
                Write::StoreSource { source, replaces, .. } if flaw == Flaw::VersionUnchecked => {
                    *replaces = self.contents.sources.get(source).map(|stored| stored.version);
                }
                Write::RecordEvent { event, replaces, .. } if flaw == Flaw::RecordUnchecked => {
                    *replaces = self.contents.events.get(&event.id).copied();
                }
                Write::StoreSource { facts, .. } if flaw == Flaw::UnpaidGranted => {
                    if let Some(Origin::Purchase(purchase)) = &mut facts.origin
                        && !matches!(purchase.payment, Payment::Paid { .. })
                    {
                        purchase.payment = Payment::paid(Timestamp::from_unix_seconds(self.now));
                    }
                }
                Write::SetGrant { grant, .. }
                    if flaw == Flaw::UnpaidGranted && grant.since.is_none() =>
                {
                    grant.status = Status::Active;
                    grant.since = Some(Timestamp::from_unix_seconds(self.now));
                }
                Write::StoreSource { .. }
                | Write::RecordEvent { .. }
                | Write::ListQuarantined { .. }
                | Write::ResolveQuarantined { .. }
                | Write::SetGrant { .. }
                | Write::ListDoublePayment { .. }
                | Write::UnlinkCustomer { .. } => {}
            }
        }
        match flaw {
            Flaw::NeverCommits => return Commit::Applied,
            Flaw::AlwaysRefuses => return Commit::Conflict,
            Flaw::LosesRecords => self.contents.events.clear(),
            Flaw::GrantForgotten => writes.retain(|write| !matches!(write, Write::SetGrant { .. })),
            Flaw::VersionUnchecked
            | Flaw::RecordUnchecked
            | Flaw::TwoTransactions
            | Flaw::GrantTwice
            | Flaw::UnpaidGranted
            | Flaw::LiveMode => {}
        }
        self.contents.commit(&writes)
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
    /// Its last questions, while it has had something to do.
    asked: Asked,
    /// The secrets that it has read, and when it last tried to, by its clock.
    secrets: Vec<String>,
    last_secret_try: Option<SecretTry>,
}

/// When an instance has last asked for a secret, by its clock, and whether in vain.
#[derive(Debug, Clone, Copy)]
struct SecretTry {
    at: i64,
    has_failed: bool,
}

/// What became of what a function has asked for, on the way to one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether the last question failed.
    pub(crate) has_last_failed: bool,
    /// How often a commit was not made because of others.
    pub(crate) conflicts: u32,
    /// Whether the last commit was made.
    pub(crate) is_committed: bool,
}

impl Instance {
    pub(crate) fn new(world: &Arc<Mutex<World>>) -> Self {
        let own = Own {
            stage: Stage::Started,
            skew_seconds: 0,
            asked: Asked::default(),
            secrets: Vec::new(),
            last_secret_try: None,
        };
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

    pub(crate) fn asked(&self) -> Asked {
        self.own.lock().unwrap().asked
    }

    /// It is given something new to do.
    pub(crate) fn begin(&self) {
        let mut own = self.own.lock().unwrap();
        (own.stage, own.asked) = (Stage::Started, Asked::default());
    }

    /// Whether it has looked for secrets within ten seconds and can't know any of these; and whether
    /// it has then looked in vain.
    pub(crate) fn ignorance(&self, secrets: &[String]) -> (bool, bool) {
        let now = self.now().unix_seconds();
        let own = self.own.lock().unwrap();
        let knows = secrets.iter().any(|secret| own.secrets.contains(secret));
        let recent = own.last_secret_try.filter(|last| (0..10).contains(&(now - last.at)));
        (!knows && recent.is_some(), recent.is_some_and(|last| last.has_failed))
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

impl Instance {
    fn note<T, E>(&self, answer: &Result<T, E>) {
        self.own.lock().unwrap().asked.has_last_failed = answer.is_err();
    }

    async fn read(&self, needs: Needs<'_>) -> Result<State, LedgerError> {
        self.stand_at(Stage::Reading).await;
        self.world().load(needs)
    }

    async fn transact(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.stand_at(Stage::Committing).await;
        self.world().commit(writes)
    }
}

impl Ledger for Instance {
    async fn load(&self, needs: Needs<'_>) -> Result<State, LedgerError> {
        let tears_reads = self.world().tears_reads;
        let answer = if tears_reads {
            let event = Needs { event: needs.event, ..Needs::default() };
            match self.read(event).await {
                Ok(first) => {
                    let second = self.read(Needs { event: None, ..needs }).await;
                    second.map(|second| State { event: first.event, ..second })
                }
                Err(error) => Err(error),
            }
        } else {
            self.read(needs).await
        };
        self.note(&answer);
        self.stand_at(Stage::Read).await;
        answer
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let flaw = self.world().flaw;
        let answer = if flaw == Some(Flaw::TwoTransactions) {
            let is_record = |write: &Write| matches!(write, Write::RecordEvent { .. });
            let (record, rest): (Vec<_>, Vec<_>) = writes.iter().cloned().partition(is_record);
            match self.transact(&record).await {
                Ok(Commit::Applied) => self.transact(&rest).await,
                other => other,
            }
        } else if flaw == Some(Flaw::GrantTwice) {
            let grants = writes.iter().filter(|write| matches!(write, Write::SetGrant { .. }));
            self.transact(&writes.iter().chain(grants).cloned().collect::<Vec<_>>()).await
        } else {
            self.transact(writes).await
        };
        self.note(&answer);
        {
            let mut own = self.own.lock().unwrap();
            own.asked.is_committed = matches!(answer, Ok(Commit::Applied));
            own.asked.conflicts += u32::from(matches!(
                answer,
                Ok(Commit::Conflict | Commit::AlreadyProcessed | Commit::Claimed)
            ));
        }
        self.stand_at(Stage::Answered).await;
        answer
    }
}

impl AccessReader for Instance {
    async fn holdings(&self, learner: &LearnerId) -> Result<Holdings, LedgerError> {
        self.stand_at(Stage::Reading).await;
        let answer = Ok(self.world().contents.holdings(learner));
        self.note(&answer);
        self.stand_at(Stage::Read).await;
        answer
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        Ok(self.world().contents.those(sources))
    }
}

impl StripeReader for Instance {
    async fn is_ours(&self, _: &PaymentIntentId, _: Timestamp) -> Result<bool, StripeUnavailable> {
        Err(StripeUnavailable("nobody has told of a refund".into()))
    }

    async fn dispute(
        &self,
        _: &DisputeId,
        _: Timestamp,
    ) -> Result<DisputeStatus, StripeUnavailable> {
        Err(StripeUnavailable("nobody has told of a dispute".into()))
    }
}

impl SecretReader for Instance {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        self.stand_at(Stage::AskingForSecret).await;
        let now = self.now().unix_seconds();
        let answer = self.world().secret(stage);
        self.note(&answer);
        let mut own = self.own.lock().unwrap();
        own.last_secret_try = Some(SecretTry { at: now, has_failed: answer.is_err() });
        if let Ok(Some(version)) = &answer {
            own.secrets.push(version.text.expose_secret().to_owned());
        }
        answer
    }
}

impl Clock for Instance {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.world().now + self.skew_seconds())
    }

    /// A pause is over at the next step; longer ones when so much time has passed.
    async fn sleep(&self, duration: Duration) {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if seconds == 0 {
            return self.stand_at(Stage::Sleeping).await;
        }
        let until = self.world().now.saturating_add(seconds);
        while self.world().now < until {
            Once::default().await;
        }
    }
}
