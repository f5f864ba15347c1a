//! The currencies and amounts that Stripe accepts, and where it refuses the others: the currency
//! and the maximum when a price is created, the minimum and other limits when something is charged.
//! <https://docs.stripe.com/currencies>
//!
//! There are no exchange rates here: a currency without its own minimum is charged in any amount,
//! whereas Stripe applies the minimum of the account's payout currency.

use currencies::Currency;

use crate::error::ApiError;

/// The currency that a request names, in upper or lower case.
pub(crate) fn currency(named: &str) -> Result<&'static Currency, ApiError> {
    let code = named.to_lowercase();
    currencies::find(&code).ok_or_else(|| {
        let known: Vec<&str> = currencies::all().iter().map(|currency| currency.code).collect();
        let message = format!(
            "Invalid currency: {code}. Stripe currently supports these currencies: {}",
            known.join(", ")
        );
        // Stripe has no code for this.
        ApiError::invalid_request(message).with("param", "currency").unexecuted()
    })
}

/// A price may be zero or too small to be charged, but not too large.
pub(crate) fn check_price(currency: &Currency, unit_amount: i64) -> Result<(), ApiError> {
    if unit_amount <= currency.max {
        return Ok(());
    }
    let message = format!("Amount must be no more than {}", written(currency, currency.max));
    Err(ApiError::parameter("amount_too_large", "unit_amount", message))
}

/// A total: zero, or an amount that can be charged. Stripe's errors name no parameter, since a
/// total has several.
pub(crate) fn check_total(code: &str, total: i64) -> Result<(), ApiError> {
    let Some(currency) = currencies::find(code).filter(|_| total != 0) else { return Ok(()) };
    let (error, limit, bound) = if total < currency.min {
        ("amount_too_small", "at least", currency.min)
    } else if total > currency.max {
        ("amount_too_large", "no more than", currency.max)
    } else {
        return check_granularity(code, total);
    };
    let message = format!(
        "The Checkout Session's total amount due must add up to {limit} {}",
        written(currency, bound)
    );
    Err(ApiError::invalid_request(message).with("code", error))
}

/// Three-decimal amounts end in 0, and krónur and Ugandan shillings are whole. Stripe documents the
/// rule but no error code for it, so there is none here.
pub(crate) fn check_granularity(code: &str, amount: i64) -> Result<(), ApiError> {
    match currencies::find(code) {
        Some(Currency { multiple, .. }) if amount % multiple != 0 => {
            let code = code.to_uppercase();
            let message = format!("An amount in {code} must be divisible by {multiple}.");
            Err(ApiError::invalid_request(message))
        }
        _ => Ok(()),
    }
}

/// `0.50 usd`
fn written(currency: &Currency, amount: i64) -> String {
    format!("{} {}", currencies::decimal(amount, currency.code), currency.code)
}
