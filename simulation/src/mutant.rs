//! Mutants: deliberate defects, to check that the invariants catch them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a mutant changes one thing and leaves the rest"
)]

use shared::domain::access::Grant;
use shared::domain::decide::Write;
use shared::domain::facts::{Dispute, DisputeStatus, Facts, Origin, Payment, Refund, RefundStatus};
use shared::domain::time::Timestamp;
use shared::ports::Commit;

use crate::memory::Contents;

/// A mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The table stores a source's facts without checking their version.
    VersionUnchecked,
    /// The table records an event again.
    RecordUnchecked,
    /// The table takes every payment for the first one for its product.
    FirstPurchaseUnchecked,
    /// The table stores a grant even if the learner was erased after it began.
    ErasureUnchecked,
    /// The event is recorded first, and the facts in a second transaction.
    TwoTransactions,
    /// The table reports a commit that it has not made.
    NeverCommits,
    /// The table never accepts anything again.
    AlwaysRefuses,
    /// The table loses the records of other events.
    LosesRecords,
    /// The grant of a purchase is left out.
    GrantForgotten,
    /// The grant of a purchase is written twice.
    GrantTwice,
    /// A processing payment counts as paid.
    UnpaidGranted,
    /// The function runs in live mode.
    LiveMode,
    /// The function accepts another shop's mark as its own.
    OtherMark,
    /// The last event about a refund wins.
    LastRefundStatusWins,
    /// A failed or canceled refund still counts.
    FailedRefundStays,
    /// Each event about a refund adds another refund.
    RefundsAdded,
    /// A refund that arrives before its purchase is taken for another shop's.
    EarlyRefundDropped,
    /// An inquiry counts as a dispute.
    InquirySuspends,
    /// A won dispute changes nothing.
    WonForgotten,
    /// Stripe is asked only once for a dispute's status.
    VerdictReadOnce,
    /// A known verdict is not written, so no other function notices it.
    KnownVerdictUnwritten,
    /// A secret that changes while it is read is returned as first read.
    SecretMovesUnnoticed,
}

impl Mutant {
    /// The writes of a mutated function, given the stored state and a correct function's writes.
    pub(crate) fn decide(self, stored: &Contents, writes: &[Write], now: i64) -> Vec<Write> {
        let mut writes = writes.to_vec();
        match self {
            Self::GrantForgotten => writes.retain(|write| !matches!(write, Write::SetGrant { .. })),
            Self::GrantTwice => {
                let is_grant = |write: &&Write| matches!(write, Write::SetGrant { .. });
                writes.extend(writes.iter().filter(is_grant).cloned().collect::<Vec<_>>());
            }
            Self::KnownVerdictUnwritten => writes.retain(|write| match write {
                Write::StoreSource { source, facts, .. } => {
                    stored.sources.get(source).is_none_or(|stored| stored.facts != *facts)
                }
                _ => true,
            }),
            _ => self.spoil_facts(stored, &mut writes, Timestamp::from_unix_seconds(now)),
        }
        writes
    }

    /// How a mutated table commits these writes.
    pub(crate) fn commit(self, contents: &mut Contents, writes: &[Write]) -> Commit {
        match self {
            Self::NeverCommits => return Commit::Applied,
            Self::AlwaysRefuses => return Commit::Conflict(Box::default()),
            Self::LosesRecords => contents.events.clear(),
            _ => {}
        }
        let mut writes = writes.to_vec();
        for write in &mut writes {
            match (self, write) {
                (Self::VersionUnchecked, Write::StoreSource { source, replaces, .. }) => {
                    *replaces = contents.sources.get(source).cloned();
                }
                (Self::RecordUnchecked, Write::RecordEvent { event, replaces, .. }) => {
                    *replaces = contents.events.get(&event.id).copied();
                }
                (Self::FirstPurchaseUnchecked, Write::SetGrant { first_purchase, .. }) => {
                    *first_purchase = None;
                }
                (Self::ErasureUnchecked, Write::SetGrant { learner, erased_at, .. }) => {
                    *erased_at = contents.access.get(learner).and_then(|access| access.erased_at);
                }
                _ => {}
            }
        }
        contents.commit(&writes)
    }

    /// Other facts, and the grants that follow from them.
    fn spoil_facts(self, stored: &Contents, writes: &mut Vec<Write>, now: Timestamp) {
        let mut spoilt = None;
        for write in &mut *writes {
            if let Write::StoreSource { source, facts, .. } = write {
                let was = facts.clone();
                self.spoil(stored.sources.get(source).map(|stored| &stored.facts), facts, now);
                let granted = Grant::of(facts).filter(|_| was != *facts);
                spoilt = granted.map(|granted| (source.clone(), granted));
            }
        }
        let Some((source, (learner, grant))) = spoilt else { return };
        let known = writes.iter_mut().find_map(|write| match write {
            Write::SetGrant { grant, .. } => Some(grant),
            _ => None,
        });
        match known {
            Some(known) => *known = grant,
            None => {
                writes.push(Write::SetGrant {
                    learner,
                    source,
                    grant,
                    erased_at: None,
                    first_purchase: None,
                });
            }
        }
    }

    fn spoil(self, stored: Option<&Facts>, facts: &mut Facts, now: Timestamp) {
        match self {
            Self::UnpaidGranted => {
                if let Some(Origin::Purchase(purchase)) = &mut facts.origin
                    && !purchase.payment.is_paid()
                {
                    purchase.payment = Payment::paid(now);
                }
            }
            Self::LastRefundStatusWins | Self::RefundsAdded => {
                for (id, refund) in &mut facts.refunds {
                    let known = stored.and_then(|stored| stored.refunds.get(id));
                    let Some(known) = known.filter(|known| *known != refund) else { continue };
                    if self == Self::RefundsAdded {
                        refund.amount_minor += known.amount_minor;
                    } else {
                        let is_new =
                            |it: &(RefundStatus, _)| known.statuses.iter().all(|was| was != *it);
                        refund.statuses = refund.statuses.iter().filter(is_new).collect();
                    }
                }
            }
            Self::FailedRefundStays => {
                let fails =
                    |status| matches!(status, RefundStatus::Failed | RefundStatus::Canceled);
                facts.refunds.retain(|_, Refund { statuses, .. }| {
                    *statuses = statuses.iter().filter(|(status, _)| !fails(*status)).collect();
                    statuses.iter().next().is_some()
                });
            }
            Self::InquirySuspends => {
                let open = |(status, at)| match status {
                    DisputeStatus::Inquiry => (DisputeStatus::Open, at),
                    status => (status, at),
                };
                for Dispute { statuses, .. } in facts.disputes.values_mut() {
                    *statuses = statuses.iter().map(open).collect();
                }
            }
            Self::WonForgotten => {
                let is_won = |status| matches!(status, DisputeStatus::Won | DisputeStatus::Blocked);
                facts.disputes.retain(|_, Dispute { statuses, .. }| {
                    *statuses = statuses.iter().filter(|(status, _)| !is_won(*status)).collect();
                    statuses.iter().next().is_some()
                });
            }
            _ => {}
        }
    }
}
