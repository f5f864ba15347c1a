//! Stripe's published test cards, and what each of them does.

use serde_json::Value;

use crate::document::Document;
use crate::error::ApiError;

/// A test card number.
#[derive(Debug)]
pub(crate) struct TestCard {
    pub(crate) number: &'static str,
    pub(crate) brand: &'static str,
    pub(crate) behaviour: Behaviour,
    /// Its description on the page.
    pub(crate) meaning: &'static str,
}

/// What paying with a card leads to.
#[derive(Debug)]
pub(crate) enum Behaviour {
    Pays,
    Declines(Decline),
    /// Requires 3D Secure, then pays.
    Authenticates,
    /// Pays, and is disputed at once, once per complaint.
    Disputes(&'static [Complaint]),
    /// Pays, and gets an early fraud warning at once.
    Warns,
    /// Pays; a refund starts with the first status and gets the second one later.
    RefundsLate(&'static str, &'static str),
}

/// How the bank declines a card.
#[derive(Debug)]
pub(crate) struct Decline {
    code: &'static str,
    /// The `decline_code`, if the bank gives one.
    reason: Option<&'static str>,
    message: &'static str,
}

/// A cardholder's complaint to the bank.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// The status in which the dispute opens.
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
}

const FRAUD: Complaint = Complaint { status: "needs_response", reason: "fraudulent" };
const NOT_RECEIVED: Complaint =
    Complaint { status: "needs_response", reason: "product_not_received" };
const INQUIRY: Complaint = Complaint { status: "warning_needs_response", reason: "fraudulent" };

const fn pays(number: &'static str, brand: &'static str, meaning: &'static str) -> TestCard {
    TestCard { number, brand, behaviour: Behaviour::Pays, meaning }
}

const fn visa(number: &'static str, behaviour: Behaviour, meaning: &'static str) -> TestCard {
    TestCard { number, brand: "visa", behaviour, meaning }
}

const fn declines(
    number: &'static str,
    code: &'static str,
    reason: Option<&'static str>,
    message: &'static str,
    meaning: &'static str,
) -> TestCard {
    visa(number, Behaviour::Declines(Decline { code, reason, message }), meaning)
}

/// From <https://docs.stripe.com/testing>, which has more. Cards of one group stand together.
pub(crate) const TEST_CARDS: &[TestCard] = &[
    pays("4242424242424242", "visa", "Pays"),
    pays("5555555555554444", "mastercard", "Pays"),
    declines(
        "4000000000000002",
        "card_declined",
        Some("generic_decline"),
        "Your card was declined.",
        "Declined",
    ),
    declines(
        "4000000000009995",
        "card_declined",
        Some("insufficient_funds"),
        "Your card has insufficient funds.",
        "Insufficient funds",
    ),
    declines("4000000000000069", "expired_card", None, "Your card has expired.", "Expired"),
    declines(
        "4000000000000127",
        "incorrect_cvc",
        None,
        "Your card's security code is incorrect.",
        "Wrong CVC",
    ),
    declines(
        "4000000000000119",
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
        "Processing error",
    ),
    visa("4000002760003184", Behaviour::Authenticates, "Always requires 3D Secure"),
    visa("4000002500003155", Behaviour::Authenticates, "3D Secure unless set up"),
    visa("4000000000000259", Behaviour::Disputes(&[FRAUD]), "Disputed as fraud"),
    visa("4000000000002685", Behaviour::Disputes(&[NOT_RECEIVED]), "Disputed as not received"),
    visa("4000000404000079", Behaviour::Disputes(&[FRAUD, NOT_RECEIVED]), "Disputed twice"),
    visa("4000000000001976", Behaviour::Disputes(&[INQUIRY]), "Inquiry"),
    visa("4000000000005423", Behaviour::Warns, "Early fraud warning"),
    visa("4000000000007726", Behaviour::RefundsLate("pending", "succeeded"), "Succeeds later"),
    visa("4000000000005126", Behaviour::RefundsLate("succeeded", "failed"), "Fails later"),
];

impl TestCard {
    /// The card with this number, with any spaces.
    pub(crate) fn find(number: &str) -> Result<&'static Self, ApiError> {
        let digits: String =
            number.chars().filter(|character| !matches!(character, ' ' | '-')).collect();
        TEST_CARDS.iter().find(|card| card.number == digits).ok_or_else(|| {
            ApiError::new(402, "card_error", "Your card number is incorrect.")
                .with("code", "incorrect_number")
                .with("param", "number")
        })
    }

    /// The card that paid a charge, if a card did.
    pub(crate) fn of(charge: &Value) -> Option<&'static Self> {
        Self::with(charge.field("payment_method_details"))
    }

    /// The card in a payment method's details, if there is one.
    pub(crate) fn with(details: &Value) -> Option<&'static Self> {
        let fingerprint = details.field("card").text("fingerprint");
        TEST_CARDS.iter().find(|card| card.fingerprint() == fingerprint)
    }

    /// Each card has one fingerprint, here derived from its number.
    pub(crate) fn fingerprint(&self) -> String {
        format!("sim{}", self.number.get(3..).unwrap_or_default())
    }

    pub(crate) fn last4(&self) -> &'static str {
        self.number.get(12..).unwrap_or_default()
    }

    /// The number in groups of four.
    pub(crate) fn grouped(&self) -> String {
        let mut grouped = String::new();
        for (index, digit) in self.number.chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                grouped.push(' ');
            }
            grouped.push(digit);
        }
        grouped
    }

    /// The heading of the card's group on the page.
    pub(crate) fn group(&self) -> &'static str {
        match self.behaviour {
            Behaviour::Pays => "Pay",
            Behaviour::Declines(_) => "Are declined",
            Behaviour::Authenticates => "Require 3D Secure",
            Behaviour::Disputes(_) | Behaviour::Warns => "Pay, then dispute or warning",
            Behaviour::RefundsLate(..) => "Pay, then refund slowly",
        }
    }

    /// The error that the bank declines with, if it does.
    pub(crate) fn decline(&self) -> Option<ApiError> {
        let Behaviour::Declines(decline) = &self.behaviour else { return None };
        let error = ApiError::new(402, "card_error", decline.message).with("code", decline.code);
        Some(match decline.reason {
            Some(reason) => error.with("decline_code", reason),
            None => error,
        })
    }
}
