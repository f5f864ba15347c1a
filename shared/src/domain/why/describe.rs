//! Facts and statuses as sentences, for somebody who reads them out to the learner.

use super::Fact;
use crate::domain::access::EffectiveStatus;
use crate::domain::facts::{DisputeStatus, Facts, PaymentStatus, Refund, RefundStatus};
use crate::domain::money::Money;

impl Fact {
    /// Its name in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Payment(PaymentStatus::Processing, _) => "payment_processing",
            Self::Payment(PaymentStatus::Failed, _) => "payment_failed",
            Self::Payment(PaymentStatus::Paid, _) => "paid",
            Self::Given(_) => "given",
            Self::Refund(RefundStatus::Pending, ..) => "refund_pending",
            Self::Refund(RefundStatus::RequiresAction, ..) => "refund_requires_action",
            Self::Refund(RefundStatus::Succeeded, ..) => "refunded",
            Self::Refund(RefundStatus::Canceled, ..) => "refund_canceled",
            Self::Refund(RefundStatus::Failed, ..) => "refund_failed",
            Self::Dispute(DisputeStatus::Inquiry) => "dispute_inquiry",
            Self::Dispute(DisputeStatus::InquiryClosed) => "dispute_inquiry_closed",
            Self::Dispute(DisputeStatus::Open) => "dispute_open",
            Self::Dispute(DisputeStatus::Won) => "dispute_won",
            Self::Dispute(DisputeStatus::Lost) => "dispute_lost",
            Self::Dispute(DisputeStatus::Appealed) => "dispute_appealed",
            Self::Dispute(DisputeStatus::Blocked | DisputeStatus::Resolved) => "dispute_prevented",
            Self::FraudWarning => "fraud_warning",
            Self::Revoked(_) => "revoked",
            Self::Ended => "ended",
            Self::Forgotten => "forgotten",
        }
    }

    /// The amount of the payment or refund, if known.
    #[must_use]
    pub fn money(&self) -> Option<Money> {
        match self {
            Self::Payment(_, money) => *money,
            Self::Refund(_, total, amount_minor) => {
                total.map(|total| Money { amount_minor: *amount_minor, ..total })
            }
            Self::Given(_)
            | Self::Dispute(_)
            | Self::FraudWarning
            | Self::Revoked(_)
            | Self::Ended
            | Self::Forgotten => None,
        }
    }

    /// As a sentence.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Payment(status, total) => payment(*status, *total),
            Self::Given(_) => "Given without a payment.".to_owned(),
            Self::Refund(status, total, amount_minor) => refund(*status, *total, *amount_minor),
            Self::Dispute(status) => dispute(*status).to_owned(),
            Self::FraudWarning => "The bank warns that the card may be stolen.".to_owned(),
            Self::Revoked(_) => "The author ended the access.".to_owned(),
            Self::Ended => "The access ended as planned.".to_owned(),
            Self::Forgotten => "The learner's data was erased.".to_owned(),
        }
    }
}

/// The status of a source with these facts, as a sentence.
#[must_use]
pub fn describe_status(effective_status: EffectiveStatus, facts: &Facts) -> String {
    let total = facts.purchase().and_then(|purchase| purchase.sale.total);
    match effective_status {
        EffectiveStatus::Active => "The access is open.".to_owned(),
        EffectiveStatus::Ended => Fact::Ended.describe(),
        EffectiveStatus::Processing => payment(PaymentStatus::Processing, total),
        EffectiveStatus::Failed => payment(PaymentStatus::Failed, total),
        EffectiveStatus::Refunded => {
            let mut live = facts.refunds.values().filter(|refund| refund.is_live());
            let is_made = |refund: &Refund| refund.statuses.at(RefundStatus::Succeeded).is_some();
            let status =
                if live.all(is_made) { RefundStatus::Succeeded } else { RefundStatus::Pending };
            refund(status, total, facts.refunded_minor())
        }
        EffectiveStatus::Suspended => dispute(DisputeStatus::Open).to_owned(),
        EffectiveStatus::DisputeLost => "The bank returned the money.".to_owned(),
        EffectiveStatus::Revoked => "The author ended the access.".to_owned(),
    }
}

fn payment(status: PaymentStatus, total: Option<Money>) -> String {
    let of = total.map_or_else(String::new, |total| format!(" of {total}"));
    match (status, total) {
        (PaymentStatus::Processing, _) => {
            format!("The payment{of} is processing; the bank hasn't confirmed it.")
        }
        (PaymentStatus::Failed, _) => format!("The payment{of} failed."),
        (PaymentStatus::Paid, Some(Money { amount_minor: 0, .. })) => {
            "There was nothing to pay.".to_owned()
        }
        (PaymentStatus::Paid, Some(total)) => format!("Paid {total}."),
        (PaymentStatus::Paid, None) => "Paid.".to_owned(),
    }
}

/// A refund of this amount of a payment, as a sentence.
fn refund(status: RefundStatus, total: Option<Money>, amount_minor: i64) -> String {
    let sum = total.map(|total| {
        let amount = Money { amount_minor, ..total };
        if amount == total { total.to_string() } else { format!("{amount} of {total}") }
    });
    let subject = sum.as_deref().unwrap_or("The payment");
    let object = sum.as_deref().unwrap_or("the payment");
    match status {
        RefundStatus::Pending => format!("{subject} is being refunded."),
        RefundStatus::RequiresAction => format!("The refund of {object} needs the buyer's action."),
        RefundStatus::Succeeded => format!("{subject} was refunded."),
        RefundStatus::Canceled => format!("The refund of {object} was canceled."),
        RefundStatus::Failed => format!("The refund of {object} failed, and the money came back."),
    }
}

const fn dispute(status: DisputeStatus) -> &'static str {
    match status {
        DisputeStatus::Inquiry => "The bank asked about the payment.",
        DisputeStatus::InquiryClosed => "The bank closed its inquiry.",
        DisputeStatus::Open => "The payment is disputed at the bank.",
        DisputeStatus::Won => "The bank decided the dispute: the payment stands.",
        DisputeStatus::Lost => "The bank decided the dispute and returned the money.",
        DisputeStatus::Appealed => "The bank's decision on the dispute was appealed.",
        DisputeStatus::Blocked => "A dispute was prevented: the payment stands.",
        DisputeStatus::Resolved => "A dispute was prevented by returning the money.",
    }
}
