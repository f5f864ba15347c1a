//! Money: integers of the currency's minor unit.

use std::fmt;
use std::str::FromStr;

/// A three-letter ISO 4217 code in lower case, as Stripe writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Not a currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three lower-case letters, like usd")]
pub struct CurrencyError;

impl Currency {
    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
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

/// An amount in the minor unit of its currency: 2900 `usd` is 29 dollars, 2900 `jpy` is 2900 yen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// How many of the minor unit.
    pub amount_minor: i64,
    /// Of which currency.
    pub currency: Currency,
}

/// Currencies without a minor unit, and those with three digits of it:
/// <https://docs.stripe.com/currencies#minor-units>.
const NO_DIGITS: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];
const THREE_DIGITS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// For people: `29.00 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.currency.as_str() {
            code if NO_DIGITS.contains(&code) => 0,
            code if THREE_DIGITS.contains(&code) => 3,
            _ => 2_usize,
        };
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let amount = self.amount_minor.unsigned_abs();
        let text = format!("{amount:0>width$}", width = digits.saturating_add(1));
        let whole = text.len().saturating_sub(digits);
        let (whole, part) = text.split_at_checked(whole).unwrap_or((&text, ""));
        let point = if part.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{part} {}", self.currency.as_str().to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_with_the_digits_of_its_currency() {
        for (amount_minor, currency, text) in [
            (2900, "usd", "29.00 USD"),
            (5, "eur", "0.05 EUR"),
            (-105, "eur", "-1.05 EUR"),
            (2900, "jpy", "2900 JPY"),
            (2900, "kwd", "2.900 KWD"),
            (500, "isk", "5.00 ISK"),
            (500, "ugx", "5.00 UGX"),
            (i64::MIN, "usd", "-92233720368547758.08 USD"),
        ] {
            let currency = currency.parse().unwrap();
            assert_eq!(Money { amount_minor, currency }.to_string(), text);
        }
    }
}
