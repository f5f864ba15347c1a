//! Money in integers of the currency's minor unit, and the amounts that Stripe can charge.

use std::fmt;
use std::str::FromStr;

/// A three-letter ISO 4217 code in lower case, as Stripe writes it. Any code can be parsed, even
/// one that Stripe doesn't charge in today; see [`Money::chargeable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The text is not a currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three lower-case letters, like usd")]
pub struct CurrencyError;

impl Currency {
    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters are accepted.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_lowercase) => Ok(Self([a, b, c])),
            _ => Err(CurrencyError),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in the minor unit of its currency, as Stripe counts it: 2900 `usd` is 29 dollars, 2900
/// `jpy` is 2900 yen, and 2900 `isk` is 29 krónur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// The amount in the currency's minor unit.
    pub amount_minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why Stripe can't charge an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotChargeable {
    /// Zero or less.
    #[error("an amount must be more than zero")]
    NotPositive,
    /// Stripe doesn't know the currency, or no longer charges in it.
    #[error(
        "Stripe doesn't charge in {0}: choose one of \
         https://docs.stripe.com/currencies#presentment-currencies"
    )]
    UnknownCurrency(Currency),
    /// Below the currency's minimum.
    #[error(
        "{amount} is below Stripe's minimum of {min} \
         (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts)"
    )]
    TooSmall {
        /// The requested amount.
        amount: Money,
        /// The smallest amount.
        min: Money,
    },
    /// Above the currency's maximum.
    #[error(
        "{amount} is above Stripe's maximum of {max} \
         (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts)"
    )]
    TooLarge {
        /// The requested amount.
        amount: Money,
        /// The largest amount.
        max: Money,
    },
    /// Not a multiple that Stripe charges: amounts with three decimals must end in 0, krónur and
    /// Ugandan shillings must be whole.
    #[error(
        "the amount {} must be a multiple of {multiple}, like {}, which is {below} \
         (https://docs.stripe.com/currencies#special-cases)",
        amount.amount_minor,
        below.amount_minor
    )]
    TooFine {
        /// The requested amount.
        amount: Money,
        /// What it must be a multiple of.
        multiple: i64,
        /// The next smaller amount that can be charged.
        below: Money,
    },
}

impl Money {
    /// Whether Stripe can charge this amount, by the currency's own limits. An account that is paid
    /// out in another currency also has that currency's minimum, at the day's exchange rate, which
    /// only Stripe knows.
    pub fn chargeable(self) -> Result<(), NotChargeable> {
        let rules = currencies::find(self.currency.as_str())
            .ok_or(NotChargeable::UnknownCurrency(self.currency))?;
        let of = |amount_minor| Self { amount_minor, currency: self.currency };
        let rest = self.amount_minor.checked_rem(rules.multiple).unwrap_or_default();
        if self.amount_minor <= 0 {
            Err(NotChargeable::NotPositive)
        } else if self.amount_minor < rules.min {
            Err(NotChargeable::TooSmall { amount: self, min: of(rules.min) })
        } else if self.amount_minor > rules.max {
            Err(NotChargeable::TooLarge { amount: self, max: of(rules.max) })
        } else if rest != 0 {
            let below = of(self.amount_minor.saturating_sub(rest));
            Err(NotChargeable::TooFine { amount: self, multiple: rules.multiple, below })
        } else {
            Ok(())
        }
    }
}

/// For people: `29.00 USD`, `29 ISK`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.currency.as_str();
        write!(f, "{} {}", currencies::decimal(self.amount_minor, code), code.to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_with_the_digits_of_its_currency() {
        for (amount_minor, currency, text) in [
            (2900, "usd", "29.00 USD"),
            (-105, "eur", "-1.05 EUR"),
            (2900, "jpy", "2900 JPY"),
            (2900, "kwd", "2.900 KWD"),
            (500, "isk", "5 ISK"),
            (500, "ugx", "5 UGX"),
        ] {
            let currency = currency.parse().unwrap();
            assert_eq!(Money { amount_minor, currency }.to_string(), text);
        }
    }
}
