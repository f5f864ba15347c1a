//! The currencies that Stripe charges, and the amounts it takes in each.
//!
//! The table is [`web/currencies.js`](../../web/currencies.js), which the site loads as it is, so
//! that the functions, the command, the Stripe simulator and the site can't disagree about what an
//! amount is. This crate knows Stripe's documentation and nothing of Coursegate.
//!
//! A line of the table is five numbers and the codes of the currencies that they apply to; the
//! numbers are the fields of [`Currency`], in their order. Sources, as of November 2026, are these
//! sections of <https://docs.stripe.com/currencies>:
//!
//! - [presentment currencies](https://docs.stripe.com/currencies#presentment-currencies), for an
//!   account in any country;
//! - [zero-decimal](https://docs.stripe.com/currencies#zero-decimal) and
//!   [three-decimal](https://docs.stripe.com/currencies#three-decimal) currencies and
//!   [special cases](https://docs.stripe.com/currencies#special-cases);
//! - [minimum and maximum
//!   amounts](https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).

use std::sync::LazyLock;

/// The lines of the table, among the site's own code.
const TABLE: &str = include_str!("../../web/currencies.js");

static CURRENCIES: LazyLock<Vec<Currency>> =
    LazyLock::new(|| TABLE.lines().filter_map(currencies).flatten().collect());

/// A currency and Stripe's rules for it. Amounts are integers, as in Stripe's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    /// The ISO 4217 code in lower case, as Stripe writes it.
    pub code: &'static str,
    /// How many decimals the integer amounts have: 999 is 9.99 dollars.
    pub decimals: usize,
    /// How many decimals people write; fewer than `decimals` where Stripe counts in hundredths that
    /// no longer exist: <https://docs.stripe.com/currencies#special-cases>.
    pub written_decimals: usize,
    /// What an amount must be a multiple of.
    pub multiple: i64,
    /// The smallest amount that can be charged. Where Stripe lists none, it is `multiple`.
    pub min: i64,
    /// The largest amount that every payment method takes.
    pub max: i64,
}

/// Every currency that Stripe charges.
#[must_use]
pub fn all() -> &'static [Currency] {
    &CURRENCIES
}

/// The currency of this code, in lower case; none if Stripe doesn't charge in it.
#[must_use]
pub fn find(code: &str) -> Option<&'static Currency> {
    CURRENCIES.iter().find(|currency| currency.code == code)
}

/// An amount as people write it, without the currency: 2900 is `29.00` in dollars, `2900` in yen
/// and `29` in krónur. A currency that is not in the table has two decimals, which is Stripe's
/// rule; an amount that doesn't come out even is written in full.
#[must_use]
pub fn decimal(amount: i64, code: &str) -> String {
    let (decimals, written) =
        find(code).map_or((2, 2), |currency| (currency.decimals, currency.written_decimals));
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = decimals.saturating_add(1));
    let (whole, fraction) =
        digits.split_at_checked(digits.len().saturating_sub(decimals)).unwrap_or((&digits, ""));
    let sign = if amount < 0 { "-" } else { "" };
    let (shown, dropped) = fraction.split_at_checked(written).unwrap_or((fraction, ""));
    let shown = if dropped.bytes().all(|digit| digit == b'0') { shown } else { fraction };
    let point = if shown.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{shown}")
}

/// The currencies of a line of the table; none of any other line.
fn currencies(line: &'static str) -> Option<impl Iterator<Item = Currency>> {
    let mut words = line.split_ascii_whitespace();
    let decimals = words.next()?.parse().ok()?;
    let written_decimals = words.next()?.parse().ok()?;
    let multiple = words.next()?.parse().ok()?;
    let min = words.next()?.parse().ok()?;
    let max = words.next()?.parse().ok()?;
    Some(words.map(move |code| Currency { code, decimals, written_decimals, multiple, min, max }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_whole_table_parses_and_is_consistent() {
        let codes: BTreeSet<&str> = all().iter().map(|currency| currency.code).collect();
        assert_eq!((all().len(), codes.len()), (139, 139));
        for currency in all() {
            let Currency { code, decimals, written_decimals, multiple, min, max } = *currency;
            assert!(
                code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{code}"
            );
            assert!(written_decimals <= decimals && decimals <= 3, "{code}");
            assert!(multiple >= 1 && min >= multiple && max > min, "{code}");
            assert_eq!((min % multiple, max % multiple), (0, 0), "{code}");
            // What people don't write must be zero.
            let unwritten = 10_i64.pow(u32::try_from(decimals - written_decimals).unwrap());
            assert_eq!(multiple % unwritten, 0, "{code}");
        }
    }

    #[test]
    fn amounts_are_written_with_the_decimals_that_people_use() {
        for (amount, code, text) in [
            (2900, "usd", "29.00"),
            (5, "eur", "0.05"),
            (0, "gbp", "0.00"),
            (-105, "eur", "-1.05"),
            (2900, "jpy", "2900"),
            (2900, "kwd", "2.900"),
            (500, "isk", "5"),
            (-100, "ugx", "-1"),
            (500_050, "isk", "5000.50"),
            (2900, "xxx", "29.00"),
            (i64::MIN, "usd", "-92233720368547758.08"),
        ] {
            assert_eq!(decimal(amount, code), text, "{amount} {code}");
        }
    }
}
