//! The services as one webhook function sees them, with every step under the scheduler's control.
//!
//! On every call a function first yields, then gets the result, and yields again before it knows
//! the result. At each of these points the scheduler can let others run first, fail the call in one
//! of the ways in which it fails in production, or kill the function.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use shared::domain::access::Entitlements;
use shared::domain::decide::{Needs, PaymentFor, Stored, StoredSource, Write};
use shared::domain::facts::DisputeStatus;
use shared::domain::id::{DisputeId, LearnerId, PaymentIntentId, SourceId};
use shared::domain::shop::Owner;
use shared::domain::time::Timestamp;
use shared::ports::{
    AccessReader, Clock, Commit, Ledger, LedgerError, SecretReader, SecretUnavailable,
    SecretVersion, SourceFinder, StripeReadError, StripeReader,
};
use shared::stripe::wire;

use crate::invariant::{Invariants, Violation};
use crate::memory::{Contents, Customer};
use crate::mutant::Mutant;
use crate::oracle::{self, DisputeVersion, Message, Stripe};
use crate::secret::{Refresh, StoredSecret, Version};

/// How a call can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Throttled or unreachable; nothing is done.
    Unavailable,
    /// A commit is made, and its response lost.
    AnswerLost,
    /// A commit is made after the caller has given up, and perhaps after the next attempt.
    DoneLate,
    /// A commit conflicts with another transaction; nothing is written. No emulator does this.
    Conflict,
    /// A read returns the state before the last commit.
    Stale,
    /// Stripe returns a state whose event it sends only later.
    Early,
    /// Somebody stores a wrong secret, or undoes that, just after this read.
    SecretMoves,
}

/// Where a function has yielded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has made no call yet.
    Started,
    /// It is about to read a secret.
    AskingForSecret,
    /// It is about to read the table.
    Reading,
    /// It is about to scan the table.
    Scanning,
    /// The table was read, and the result is on its way.
    Read,
    /// It is about to call Stripe.
    AskingStripe,
    /// Stripe was called, and the response is on its way.
    StripeAnswered,
    /// It is about to commit.
    Committing,
    /// Its commit was made, and it does not know yet.
    Answered,
    /// It sleeps.
    Sleeping,
}

impl Stage {
    /// The stage, described.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Started => "before it starts",
            Self::AskingForSecret => "before it reads a secret",
            Self::Reading => "before it reads the table",
            Self::Scanning => "before it scans the table",
            Self::Read => "after it read the table",
            Self::AskingStripe => "before it calls Stripe",
            Self::StripeAnswered => "after it called Stripe",
            Self::Committing => "before it commits",
            Self::Answered => "after its commit",
            Self::Sleeping => "while it waits to retry",
        }
    }
}

/// All faults.
pub const FAULTS: [Fault; 7] = [
    Fault::Unavailable,
    Fault::AnswerLost,
    Fault::DoneLate,
    Fault::Conflict,
    Fault::Stale,
    Fault::Early,
    Fault::SecretMoves,
];

impl Fault {
    /// Whether it applies at that stage.
    #[must_use]
    pub const fn can_happen(self, stage: Stage) -> bool {
        match self {
            Self::Unavailable => matches!(
                stage,
                Stage::AskingForSecret
                    | Stage::Reading
                    | Stage::Scanning
                    | Stage::AskingStripe
                    | Stage::Committing
            ),
            Self::AnswerLost | Self::DoneLate | Self::Conflict => {
                matches!(stage, Stage::Committing)
            }
            Self::Stale => matches!(stage, Stage::Reading),
            Self::Early => matches!(stage, Stage::AskingStripe),
            Self::SecretMoves => matches!(stage, Stage::AskingForSecret),
        }
    }
}

/// How often each thing has happened, so that a test notices if something never did.
pub type Tally = BTreeMap<&'static str, u64>;

/// The state that all functions share.
pub(crate) struct World {
    pub(crate) contents: Contents,
    before: Contents,
    pub(crate) invariant: Invariants,
    stripe: Arc<Stripe>,
    /// For each dispute, the number of changes up to which Stripe may return its status. It returns
    /// nothing older than what it has sent; that it returns nothing newer is the worst case.
    heard: BTreeMap<String, usize>,
    /// The first result, where it never changes.
    first_answers: BTreeMap<String, DisputeStatus>,
    /// The signing secret in Secrets Manager.
    pub(crate) secret: StoredSecret,
    pub(crate) now: i64,
    /// The table's permanent mutant.
    pub(crate) mutant: Option<Mutant>,
    /// The fault of the next call; none again once it has happened.
    pub(crate) fault: Option<Fault>,
    /// Commits that are made later.
    late: Vec<Vec<Write>>,
    /// Whether event and source are read at two moments, as `BatchGetItem` may.
    pub(crate) tears_reads: bool,
    pub(crate) violation: Option<Violation>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(stripe: &Arc<Stripe>, secret: &str) -> Self {
        let now = stripe.now();
        let linked = |(learner, customer): (&String, &oracle::Customer)| {
            let id = customer.id.parse().unwrap();
            (learner.parse().unwrap(), Customer { id, is_deleted: false })
        };
        let customers = stripe.customers().iter().map(linked).collect();
        let contents = Contents { customers, ..Contents::default() };
        Self {
            before: contents.clone(),
            contents,
            invariant: Invariants::of(stripe),
            stripe: Arc::clone(stripe),
            heard: BTreeMap::new(),
            first_answers: BTreeMap::new(),
            secret: StoredSecret::new(secret, now),
            now,
            mutant: None,
            fault: None,
            late: Vec::new(),
            tears_reads: false,
            violation: None,
            tally: Tally::new(),
        }
    }

    /// Stripe has sent this to somebody.
    pub(crate) fn sent(&mut self, message: &Message) {
        if let Some(DisputeVersion { dispute, changes }) = &message.dispute_version {
            let heard = self.heard.entry(dispute.clone()).or_default();
            *heard = (*changes).max(*heard);
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The pending fault, if it is one of these.
    fn take_fault(&mut self, possible: &[Fault]) -> Option<Fault> {
        self.fault.take_if(|fault| possible.contains(fault))
    }

    fn read<T>(&mut self, read: impl FnOnce(&Contents) -> T) -> Result<T, LedgerError> {
        match self.take_fault(&[Fault::Unavailable, Fault::Stale]) {
            Some(Fault::Stale) => {
                self.count("stale read");
                Ok(read(&self.before))
            }
            Some(_) => {
                self.count("read refused");
                Err(unavailable())
            }
            None => Ok(read(&self.contents)),
        }
    }

    /// A strongly consistent scan sees everything that was written before it began.
    fn scan<T>(&mut self, scan: impl FnOnce(&Contents) -> T) -> Result<T, LedgerError> {
        if self.take_fault(&[Fault::Unavailable]).is_some() {
            self.count("scan refused");
            return Err(unavailable());
        }
        Ok(scan(&self.contents))
    }

    /// What this payment pays for. There are no subscriptions here.
    fn owner(&mut self, payment: &str) -> Result<PaymentFor, StripeReadError> {
        if self.take_fault(&[Fault::Unavailable]).is_some() {
            self.count("Stripe refused");
            return Err(stripe_unavailable());
        }
        self.count("payment's owner looked up");
        if self.mutant == Some(Mutant::EarlyRefundDropped) {
            return Ok(PaymentFor::Purchase(Owner::Unmarked));
        }
        let payment = self.stripe.payment(payment).ok_or_else(stripe_unavailable)?;
        let owner = wire::payment_owner_from_api(&payment.to_string()).unwrap();
        Ok(PaymentFor::Purchase(owner))
    }

    /// A dispute's status when it was last reported, or its current one.
    fn dispute(&mut self, id: &str) -> Result<DisputeStatus, StripeReadError> {
        match self.take_fault(&[Fault::Unavailable, Fault::Early]) {
            Some(Fault::Early) => {
                self.count("Stripe ahead of its events");
                self.heard.insert(id.to_owned(), self.stripe.changes(id));
            }
            Some(_) => {
                self.count("Stripe refused");
                return Err(stripe_unavailable());
            }
            None => self.count("dispute's status looked up"),
        }
        let heard = self.heard.get(id).copied().unwrap_or_default();
        let object = self.stripe.dispute(id, heard).ok_or_else(stripe_unavailable)?;
        let status = wire::dispute_status_from_api(&object.to_string()).unwrap();
        if self.mutant == Some(Mutant::VerdictReadOnce) {
            return Ok(*self.first_answers.entry(id.to_owned()).or_insert(status));
        }
        Ok(status)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let fault = self.take_fault(&[
            Fault::Unavailable,
            Fault::AnswerLost,
            Fault::DoneLate,
            Fault::Conflict,
        ]);
        match fault {
            Some(Fault::Unavailable) => {
                self.count("commit refused");
                Err(unavailable())
            }
            Some(Fault::Conflict) => {
                self.count("transaction conflict");
                Ok(Commit::Conflict(Box::default()))
            }
            Some(Fault::DoneLate) => {
                self.count("commit made late");
                self.late.push(writes.to_vec());
                Err(unavailable())
            }
            Some(_) => {
                self.count("commit's response lost");
                self.transact(writes);
                Err(unavailable())
            }
            None => Ok(self.transact(writes)),
        }
    }

    /// Makes the commits whose callers have given up.
    pub(crate) fn catch_up(&mut self) {
        for writes in std::mem::take(&mut self.late) {
            self.transact(&writes);
        }
    }

    fn transact(&mut self, writes: &[Write]) -> Commit {
        let before = self.contents.clone();
        let answer = match self.mutant {
            None => self.contents.commit(writes),
            Some(mutant) => mutant.commit(&mut self.contents, writes),
        };
        if answer == Commit::Applied {
            let judged = self.invariant.committed(&before, writes, &self.contents);
            self.violation = self.violation.take().or(judged.err());
            self.before = before;
        }
        if let Commit::Conflict(found) = &answer {
            self.count("commit overtaken");
            if found.access.is_some() {
                self.count("grant overtaken");
            }
        }
        answer
    }

    /// The signing secret's version at this stage, and the number of changes so far.
    fn secret(&mut self, stage: &str) -> Result<(Option<Version>, usize), SecretUnavailable> {
        let fault = self.take_fault(&[Fault::Unavailable, Fault::SecretMoves]);
        if fault == Some(Fault::Unavailable) {
            self.count("secret refused");
            return Err(SecretUnavailable("by order of the scheduler".into()));
        }
        let answer = (self.secret.version(stage), self.secret.changes());
        if fault == Some(Fault::SecretMoves) {
            self.secret.store_wrong(self.now);
        }
        Ok(answer)
    }
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("by order of the scheduler".into())
}

fn stripe_unavailable() -> StripeReadError {
    StripeReadError::Unavailable("by order of the scheduler".into())
}

/// One instance's ports. Clones belong to the same instance.
#[derive(Clone)]
pub(crate) struct Instance {
    world: Arc<Mutex<World>>,
    own: Arc<Mutex<InstanceState>>,
}

/// An instance's own state.
struct InstanceState {
    stage: Stage,
    skew_seconds: i64,
    /// Its latest calls for this delivery.
    asked: Asked,
    /// Its latest refresh of the signing secret.
    refresh: Option<Refresh>,
}

/// The results of a function's calls, on the way to one response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether the last call failed.
    pub(crate) has_last_failed: bool,
    /// How often a commit failed because of other functions.
    pub(crate) conflicts: u32,
    /// Whether the last commit was made.
    pub(crate) is_committed: bool,
}

impl Instance {
    pub(crate) fn new(world: &Arc<Mutex<World>>) -> Self {
        let own = InstanceState {
            stage: Stage::Started,
            skew_seconds: 0,
            asked: Asked::default(),
            refresh: None,
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

    /// It gets a new delivery.
    pub(crate) fn begin(&self) {
        let mut own = self.own.lock().unwrap();
        (own.stage, own.asked) = (Stage::Started, Asked::default());
        own.refresh.iter_mut().for_each(Refresh::end);
    }

    /// Whether it may not know any of these secrets yet, having read others less than ten seconds
    /// before it started, by its clock; and whether its refresh failed.
    pub(crate) fn missing_secret(&self, secrets: &[String], now: i64) -> (bool, bool) {
        let refresh = self.own.lock().unwrap().refresh.clone();
        refresh.map_or((false, false), |refresh| {
            refresh.allowances(secrets, now, &self.world().secret)
        })
    }

    pub(crate) fn skew(&self, seconds: i64) {
        self.own.lock().unwrap().skew_seconds = seconds;
    }

    pub(crate) async fn yield_at(&self, stage: Stage) {
        self.own.lock().unwrap().stage = stage;
        YieldOnce::default().await;
    }
}

/// Pending once: the scheduler decides when to continue.
#[derive(Default)]
pub(crate) struct YieldOnce {
    stood: bool,
}

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.stood, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Instance {
    fn note<T, E>(&self, answer: &Result<T, E>) {
        self.own.lock().unwrap().asked.has_last_failed = answer.is_err();
    }

    async fn read(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        self.yield_at(Stage::Reading).await;
        self.world().read(|contents| contents.stored(needs))
    }

    async fn transact(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        self.yield_at(Stage::Committing).await;
        let mut world = self.world();
        match world.mutant {
            None => world.commit(writes),
            Some(mutant) => {
                let writes = mutant.decide(&world.contents, writes, world.now);
                world.commit(&writes)
            }
        }
    }
}

impl Ledger for Instance {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        let tears_reads = self.world().tears_reads;
        let answer = if tears_reads {
            let event = Needs { event: needs.event, ..Needs::default() };
            match self.read(event).await {
                Ok(first) => {
                    let second = self.read(Needs { event: None, ..needs }).await;
                    second.map(|second| Stored { event: first.event, ..second })
                }
                Err(error) => Err(error),
            }
        } else {
            self.read(needs).await
        };
        self.note(&answer);
        self.yield_at(Stage::Read).await;
        answer
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let mutant = self.world().mutant;
        let answer = if mutant == Some(Mutant::TwoTransactions) {
            let is_record = |write: &Write| matches!(write, Write::RecordEvent { .. });
            let (record, rest): (Vec<_>, Vec<_>) = writes.iter().cloned().partition(is_record);
            match self.transact(&record).await {
                Ok(Commit::Applied) => self.transact(&rest).await,
                other => other,
            }
        } else {
            self.transact(writes).await
        };
        self.note(&answer);
        {
            let mut own = self.own.lock().unwrap();
            own.asked.is_committed = matches!(answer, Ok(Commit::Applied));
            own.asked.conflicts += u32::from(matches!(answer, Ok(Commit::Conflict(_))));
        }
        self.yield_at(Stage::Answered).await;
        answer
    }
}

impl AccessReader for Instance {
    async fn entitlements(&self, learner: &LearnerId) -> Result<Entitlements, LedgerError> {
        self.yield_at(Stage::Reading).await;
        let answer = self.world().read(|contents| contents.entitlements(learner));
        self.note(&answer);
        self.yield_at(Stage::Read).await;
        answer
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        self.yield_at(Stage::Reading).await;
        let answer = self.world().read(|contents| contents.stored_sources(sources));
        self.note(&answer);
        self.yield_at(Stage::Read).await;
        answer
    }
}

impl SourceFinder for Instance {
    async fn sources_of(&self, learner: &LearnerId) -> Result<Vec<SourceId>, LedgerError> {
        self.yield_at(Stage::Scanning).await;
        let answer = self.world().scan(|contents| contents.sources_of(learner));
        self.note(&answer);
        self.yield_at(Stage::Read).await;
        answer
    }
}

impl StripeReader for Instance {
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        self.yield_at(Stage::AskingStripe).await;
        let answer = self.world().owner(payment.as_str());
        self.note(&answer);
        self.yield_at(Stage::StripeAnswered).await;
        answer
    }

    /// The result is fixed when the call is made, and known when it arrives.
    async fn dispute(
        &self,
        id: &DisputeId,
        _: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        self.yield_at(Stage::AskingStripe).await;
        let answer = self.world().dispute(id.as_str());
        self.note(&answer);
        self.yield_at(Stage::StripeAnswered).await;
        answer
    }
}

impl SecretReader for Instance {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        let (now, changes) = (self.now().unix_seconds(), self.world().secret.changes());
        let mut refresh =
            Refresh::reading(self.own.lock().unwrap().refresh.take(), stage, now, changes);
        self.own.lock().unwrap().refresh = Some(refresh.clone());
        self.yield_at(Stage::AskingForSecret).await;
        let (answer, mutant) = {
            let mut world = self.world();
            (world.secret(stage), world.mutant)
        };
        self.note(&answer);
        let (version, changes) = answer?;
        let known = refresh.known(stage).filter(|_| mutant == Some(Mutant::SecretMovesUnnoticed));
        let version = known.cloned().or(version);
        if refresh.answered(stage, version.as_ref(), changes) {
            self.world().count("secret changed while it was read");
        }
        self.own.lock().unwrap().refresh = Some(refresh);
        Ok(version.map(SecretVersion::from))
    }
}

impl Clock for Instance {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.world().now + self.skew_seconds())
    }

    /// A short pause ends at the next step, a longer one once enough time has passed.
    async fn sleep(&self, duration: Duration) {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if seconds == 0 {
            return self.yield_at(Stage::Sleeping).await;
        }
        let until = self.world().now.saturating_add(seconds);
        while self.world().now < until {
            YieldOnce::default().await;
        }
    }
}
