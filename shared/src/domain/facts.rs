//! What is known of one source of access, and how two observations of it are joined.
//!
//! Events come twice, late, out of order and as two ids for one change. So nothing here is "the
//! last status seen": each event adds facts, and [`Facts::join`] is idempotent, commutative and
//! associative. Whatever the order, the same observations make the same facts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::id::{DisputeId, FraudWarningId, LearnerId, PriceKey, ProductId, RefundId, SessionId};
use super::money::Money;
use super::time::Timestamp;

/// What was sold, as our own server wrote it into the session's metadata, and so for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sale {
    /// What they own once it is paid.
    pub product: ProductId,
    /// At which of its prices.
    pub price: PriceKey,
    /// Through which session.
    pub session: SessionId,
    /// What the session came to, discounts and taxes included, where it could be read.
    pub total: Option<Money>,
    /// When Stripe opened the session; none in what was stored before this was.
    pub opened_at: Option<Timestamp>,
    /// To whom. Last, so that the order of two sales does not hang on whether it is forgotten.
    pub learner: LearnerId,
}

/// How far a payment has come. The order is the join's: a payment that failed can still be paid,
/// and one that is paid stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentStatus {
    /// The buyer has done their part; the bank hasn't confirmed the payment.
    Processing,
    /// The bank refused it.
    Failed,
    /// Paid, or there was nothing to pay.
    Paid,
}

/// What Stripe has reported about a payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Payment {
    status: PaymentStatus,
    statuses: StatusHistory<PaymentStatus>,
}

impl Payment {
    /// Stripe reported this status at this time.
    #[must_use]
    pub fn reported(status: PaymentStatus, at: Timestamp) -> Self {
        Self { status, statuses: StatusHistory::once(status, at) }
    }

    /// Paid at this time.
    #[must_use]
    pub fn paid(at: Timestamp) -> Self {
        Self::reported(PaymentStatus::Paid, at)
    }

    /// A payment as it was stored. Earlier versions kept no times for processing and failed
    /// payments.
    #[must_use]
    pub fn stored(status: PaymentStatus, statuses: StatusHistory<PaymentStatus>) -> Self {
        Self {
            status: statuses.furthest().map_or(status, |furthest| furthest.max(status)),
            statuses,
        }
    }

    /// How far it has come.
    #[must_use]
    pub const fn status(&self) -> PaymentStatus {
        self.status
    }

    /// Whether it is paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.status == PaymentStatus::Paid
    }

    /// The earliest time at which Stripe reported it as paid.
    #[must_use]
    pub fn paid_at(&self) -> Option<Timestamp> {
        self.statuses.at(PaymentStatus::Paid)
    }

    /// Each status that Stripe reported and the earliest time at which it did, in the order of the
    /// statuses. Only the current status can lack its time.
    pub fn history(&self) -> impl Iterator<Item = (PaymentStatus, Option<Timestamp>)> {
        let is_undated = self.statuses.at(self.status).is_none();
        let undated = is_undated.then_some((self.status, None));
        self.statuses.iter().map(|(status, at)| (status, Some(at))).chain(undated)
    }

    fn join(self, other: Self) -> Self {
        Self { status: self.status.max(other.status), statuses: self.statuses.join(other.statuses) }
    }
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purchase {
    /// What was sold.
    pub sale: Sale,
    /// What became of the payment.
    pub payment: Payment,
}

impl Purchase {
    /// Whether the money has arrived, or there was nothing to pay.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.payment.is_paid()
    }

    /// The fuller sale, and all that was reported about the payment.
    ///
    /// Two observations never differ in their sale, since metadata is written once; that one of them
    /// is chosen by its order makes the join total, so that a surprise cannot make it depend on
    /// which came first.
    fn join(self, other: Self) -> Self {
        Self { sale: self.sale.max(other.sale), payment: self.payment.join(other.payment) }
    }
}

/// What an operator wrote down: up to 500 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(String);

/// Not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note is 1 to 500 characters on one line")]
pub struct NoteError;

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text = text.trim();
        let is_remark =
            (1..=500).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_remark { Ok(Self(text.to_owned())) } else { Err(NoteError) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Note {
    fn forgotten() -> Self {
        Self("forgotten".to_owned())
    }
}

/// Who did something by hand, when and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorAction {
    /// When.
    pub at: Timestamp,
    /// Who: an AWS identity, or a name on a laptop.
    pub by: Note,
    /// Why.
    pub reason: Note,
}

/// Access that an operator gave by hand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManualGrant {
    /// To what.
    pub product: ProductId,
    /// Until when; none for ever.
    pub until: Option<Timestamp>,
    /// By whom, when and why.
    pub action: OperatorAction,
    /// To whom.
    pub learner: LearnerId,
}

/// Where access comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// It was sold.
    Purchase(Purchase),
    /// It was given.
    Manual(ManualGrant),
}

impl Origin {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Purchase(a), Self::Purchase(b)) => Self::Purchase(a.join(b)),
            (a, b) => a.max(b),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn learner(&self) -> &LearnerId {
        match self {
            Self::Purchase(purchase) => &purchase.sale.learner,
            Self::Manual(grant) => &grant.learner,
        }
    }

    /// When the learner set out to buy it, or the operator gave it; none if that isn't known.
    #[must_use]
    pub const fn began_at(&self) -> Option<Timestamp> {
        match self {
            Self::Purchase(purchase) => purchase.sale.opened_at,
            Self::Manual(grant) => Some(grant.action.at),
        }
    }

    /// What it opens.
    #[must_use]
    pub const fn product(&self) -> &ProductId {
        match self {
            Self::Purchase(purchase) => &purchase.sale.product,
            Self::Manual(grant) => &grant.product,
        }
    }
}

/// The statuses that Stripe has told of something, each with the earliest time at which it did. It
/// only grows, so the order of the observations does not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusHistory<S: Ord>(BTreeMap<S, Timestamp>);

impl<S: Ord + Copy> StatusHistory<S> {
    /// One status, told at this time.
    #[must_use]
    pub fn once(status: S, at: Timestamp) -> Self {
        Self(BTreeMap::from([(status, at)]))
    }

    /// Each status and when it was first told, in the order of the statuses.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (S, Timestamp)> {
        self.0.iter().map(|(status, at)| (*status, *at))
    }

    /// When this status was first told.
    #[must_use]
    pub fn at(&self, status: S) -> Option<Timestamp> {
        self.0.get(&status).copied()
    }

    fn furthest(&self) -> Option<S> {
        self.0.keys().next_back().copied()
    }

    fn join(mut self, other: Self) -> Self {
        for (status, at) in other.0 {
            let known = self.0.entry(status).or_insert(at);
            *known = at.min(*known);
        }
        self
    }
}

impl<S: Ord> FromIterator<(S, Timestamp)> for StatusHistory<S> {
    fn from_iter<I: IntoIterator<Item = (S, Timestamp)>>(statuses: I) -> Self {
        Self(statuses.into_iter().collect())
    }
}

/// How far a refund has come. The order is the join's: a refund that failed has succeeded before,
/// as far as anybody knew. <https://docs.stripe.com/refunds#failed-refunds>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundStatus {
    /// The bank has it.
    Pending,
    /// The buyer has to do something.
    RequiresAction,
    /// The money is on its way back.
    Succeeded,
    /// It was called off.
    Canceled,
    /// The bank could not pay it back.
    Failed,
}

/// A refund of a payment, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refund {
    /// How much, in the payment's currency.
    pub amount_minor: i64,
    /// What Stripe has told of it.
    pub statuses: StatusHistory<RefundStatus>,
}

impl Refund {
    /// Whether the money is going back, or has gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(
            self.statuses.furthest(),
            Some(RefundStatus::Failed | RefundStatus::Canceled) | None
        )
    }

    fn join(self, other: Self) -> Self {
        Self {
            amount_minor: self.amount_minor.max(other.amount_minor),
            statuses: self.statuses.join(other.statuses),
        }
    }
}

/// How far a dispute has come. The order is the join's, up to the verdict: verdicts and appeals may
/// follow one another, and then Stripe is asked which holds. Until it has answered, the last of
/// these counts, so nothing is open whose money may have gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisputeStatus {
    /// The bank asks; no money has moved.
    Inquiry,
    /// The bank asks no more.
    InquiryClosed,
    /// The money is held back until it is decided.
    Open,
    /// Decided for us.
    Won,
    /// It was prevented, and the money stays.
    Blocked,
    /// Decided against us.
    Lost,
    /// It was prevented by paying the money back.
    Resolved,
    /// It was decided against us and we appeal: the money is away until that is decided.
    Appealed,
}

impl DisputeStatus {
    /// Whether the bank has decided at least once: a verdict, or an appeal against one. Each of
    /// these may be followed by any other.
    #[must_use]
    pub const fn is_after_verdict(self) -> bool {
        matches!(self, Self::Won | Self::Blocked | Self::Lost | Self::Resolved | Self::Appealed)
    }

    /// Whether the money is away and may come back.
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Open | Self::Appealed)
    }

    /// Whether the money has gone back.
    #[must_use]
    pub const fn is_against_us(self) -> bool {
        matches!(self, Self::Lost | Self::Resolved)
    }
}

/// A dispute of a payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dispute {
    /// What Stripe has told of it.
    pub statuses: StatusHistory<DisputeStatus>,
    /// What Stripe answered when it was asked last, where that was needed.
    pub settled: Option<Snapshot>,
}

/// What Stripe answered when it was asked how a dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshot {
    /// Which answer this is, from 1. Each was stored on the version that was read before Stripe was
    /// asked, so a later one is newer.
    pub number: u64,
    /// How it stands.
    pub status: DisputeStatus,
}

impl Dispute {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Option<DisputeStatus> {
        let settled = self.settled.filter(|_| self.needs_snapshot());
        settled.map(|settled| settled.status).or_else(|| self.statuses.furthest())
    }

    /// Whether only Stripe can say how it stands: more than one verdict was told, or an appeal,
    /// after which any verdict may come, the same one too.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        let after_verdict = || self.statuses.iter().filter(|(status, _)| status.is_after_verdict());
        after_verdict().count() > 1
            || after_verdict().any(|(status, _)| status == DisputeStatus::Appealed)
    }

    /// Whether a verdict or an appeal was told.
    #[must_use]
    pub fn is_after_verdict(&self) -> bool {
        self.statuses.iter().any(|(status, _)| status.is_after_verdict())
    }

    /// Records Stripe's latest answer.
    pub fn settle(&mut self, status: DisputeStatus) {
        let before = self.settled.map_or(0, |settled| settled.number);
        self.settled = Some(Snapshot { number: before.saturating_add(1), status });
    }

    fn join(self, other: Self) -> Self {
        Self {
            statuses: self.statuses.join(other.statuses),
            settled: self.settled.max(other.settled),
        }
    }
}

/// All that is known of one source, or all that one observation says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Where the access comes from; none before that is known, as when a refund is told first.
    pub origin: Option<Origin>,
    /// Its refunds.
    pub refunds: BTreeMap<RefundId, Refund>,
    /// Its disputes. There may be several of one payment.
    pub disputes: BTreeMap<DisputeId, Dispute>,
    /// Stripe's warnings that the card may be stolen, and since when. They change no access.
    pub fraud_warnings: BTreeMap<FraudWarningId, Timestamp>,
    /// That an operator has taken the access back, the first time. It is for good.
    pub revoked: Option<OperatorAction>,
    /// When the learner was forgotten. It is for good.
    pub forgotten: Option<Timestamp>,
}

impl From<Origin> for Facts {
    fn from(origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::default() }
    }
}

impl From<Purchase> for Facts {
    fn from(purchase: Purchase) -> Self {
        Origin::Purchase(purchase).into()
    }
}

impl Facts {
    /// Joins two observations of one source.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let mut joined = Self {
            origin: both(self.origin, other.origin, Origin::join),
            refunds: all(self.refunds, other.refunds, Refund::join),
            disputes: all(self.disputes, other.disputes, Dispute::join),
            fraud_warnings: all(self.fraud_warnings, other.fraud_warnings, Timestamp::min),
            revoked: both(self.revoked, other.revoked, OperatorAction::min),
            forgotten: both(self.forgotten, other.forgotten, Timestamp::min),
        };
        if joined.forgotten.is_some() {
            joined.drop_names();
        }
        joined
    }

    /// The purchase, if that is what it is.
    #[must_use]
    pub const fn purchase(&self) -> Option<&Purchase> {
        match &self.origin {
            Some(Origin::Purchase(purchase)) => Some(purchase),
            Some(Origin::Manual(_)) | None => None,
        }
    }

    /// Whether erasing its learner at this time covers this source: it began no later. A source
    /// that began in the same second, or at an unknown time, is covered too: whoever asked to be
    /// erased must not come back.
    #[must_use]
    pub fn is_erased_by(&self, erased_at: Timestamp) -> bool {
        let began_at = self.origin.as_ref().and_then(Origin::began_at);
        self.forgotten.is_some() || began_at.is_none_or(|began_at| began_at <= erased_at)
    }

    /// What is refunded, or being refunded, in the payment's currency.
    #[must_use]
    pub fn refunded_minor(&self) -> i64 {
        let live = self.refunds.values().filter(|refund| refund.is_live());
        live.fold(0, |sum, refund| sum.saturating_add(refund.amount_minor.max(0)))
    }

    /// How much of the payment that is, in percent, rounded down; all of it, where it can't be
    /// told what the payment came to.
    #[must_use]
    pub fn refunded_percent(&self) -> u8 {
        let refunded = self.refunded_minor();
        let total = self.purchase().and_then(|purchase| purchase.sale.total);
        let percent = match total.map(|total| total.amount_minor) {
            _ if refunded == 0 => 0,
            Some(total) if refunded < total => {
                refunded.saturating_mul(100).checked_div(total).unwrap_or(100)
            }
            _ => 100,
        };
        u8::try_from(percent).unwrap_or(100).min(100)
    }

    fn drop_names(&mut self) {
        match &mut self.origin {
            Some(Origin::Purchase(purchase)) => purchase.sale.learner = LearnerId::forgotten(),
            Some(Origin::Manual(grant)) => {
                grant.learner = LearnerId::forgotten();
                grant.action.reason = Note::forgotten();
            }
            None => {}
        }
        if let Some(revoked) = &mut self.revoked {
            revoked.reason = Note::forgotten();
        }
    }
}

fn both<T>(a: Option<T>, b: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

fn all<K: Ord, V>(
    mut a: BTreeMap<K, V>,
    b: BTreeMap<K, V>,
    join: impl Fn(V, V) -> V,
) -> BTreeMap<K, V> {
    for (key, value) in b {
        let joined = match a.remove(&key) {
            Some(known) => join(known, value),
            None => value,
        };
        a.insert(key, joined);
    }
    a
}

#[cfg(test)]
mod tests;
