//! Stripe's published test cards and what each of them does.

use crate::error::ApiError;

/// A card number that means something in test mode.
#[derive(Debug)]
pub(crate) struct TestCard {
    pub(crate) number: &'static str,
    pub(crate) brand: &'static str,
    /// How the bank declines it; accepted when none.
    decline: Option<Decline>,
    /// What a person reads beside it.
    pub(crate) meaning: &'static str,
}

#[derive(Debug)]
struct Decline {
    code: &'static str,
    /// The `decline_code`, where the bank gives one.
    reason: Option<&'static str>,
    message: &'static str,
}

const fn accepted(number: &'static str, brand: &'static str, meaning: &'static str) -> TestCard {
    TestCard { number, brand, decline: None, meaning }
}

const fn declined(
    number: &'static str,
    code: &'static str,
    reason: Option<&'static str>,
    message: &'static str,
    meaning: &'static str,
) -> TestCard {
    TestCard { number, brand: "visa", decline: Some(Decline { code, reason, message }), meaning }
}

/// <https://docs.stripe.com/testing> has these and more.
pub(crate) const TEST_CARDS: &[TestCard] = &[
    accepted("4242424242424242", "visa", "Pays"),
    accepted("5555555555554444", "mastercard", "Pays"),
    declined(
        "4000000000000002",
        "card_declined",
        Some("generic_decline"),
        "Your card was declined.",
        "Declined",
    ),
    declined(
        "4000000000009995",
        "card_declined",
        Some("insufficient_funds"),
        "Your card has insufficient funds.",
        "Insufficient funds",
    ),
    declined("4000000000000069", "expired_card", None, "Your card has expired.", "Expired"),
    declined(
        "4000000000000127",
        "incorrect_cvc",
        None,
        "Your card's security code is incorrect.",
        "Wrong CVC",
    ),
    declined(
        "4000000000000119",
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
        "Processing error",
    ),
];

impl TestCard {
    /// The card with this number, however it is grouped.
    pub(crate) fn find(number: &str) -> Result<&'static Self, ApiError> {
        let digits: String =
            number.chars().filter(|character| !matches!(character, ' ' | '-')).collect();
        TEST_CARDS.iter().find(|card| card.number == digits).ok_or_else(|| {
            ApiError::new(402, "card_error", "Your card number is incorrect.")
                .with("code", "incorrect_number")
                .with("param", "number")
        })
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

    /// The error that the bank answers with, if it declines.
    pub(crate) fn decline(&self) -> Option<ApiError> {
        let decline = self.decline.as_ref()?;
        let error = ApiError::new(402, "card_error", decline.message).with("code", decline.code);
        Some(match decline.reason {
            Some(reason) => error.with("decline_code", reason),
            None => error,
        })
    }
}
