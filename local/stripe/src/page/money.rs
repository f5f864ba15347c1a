//! Amounts for display.

/// Formats an amount in Stripe's integers: 2900 and `usd` is `$29.00`.
pub(crate) fn format(amount: i64, currency: &str) -> String {
    let digits = currencies::decimal(amount, currency);
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut number = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            number.push(',');
        }
        number.push(digit);
    }
    number.push_str(fraction);
    match currency {
        "usd" => format!("${number}"),
        "eur" => format!("€{number}"),
        "gbp" => format!("£{number}"),
        "jpy" => format!("¥{number}"),
        "inr" => format!("₹{number}"),
        other => format!("{}\u{a0}{number}", other.to_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn an_amount_has_its_currencys_decimals() {
        assert_eq!(format(2900, "usd"), "$29.00");
        assert_eq!(format(5, "eur"), "€0.05");
        assert_eq!(format(0, "gbp"), "£0.00");
        assert_eq!(format(123_456_789, "usd"), "$1,234,567.89");
        assert_eq!(format(2900, "jpy"), "¥2,900");
        assert_eq!(format(2900, "kwd"), "KWD\u{a0}2.900");
        assert_eq!(format(2900, "chf"), "CHF\u{a0}29.00");
        assert_eq!(format(123_456_700, "ugx"), "UGX\u{a0}1,234,567");
    }
}
