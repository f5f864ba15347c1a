//! Times as an operator reads and writes them: UTC, to the minute.

use shared::domain::time::Timestamp;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, OffsetDateTime};

const DAY: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const MINUTE: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute]");

/// `2026-11-24 13:05`, in UTC.
#[must_use]
pub fn minute(at: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.unix_seconds());
    let text = time.ok().and_then(|time| time.format(&MINUTE).ok());
    text.unwrap_or_else(|| at.unix_seconds().to_string())
}

/// The same with its zone: `2026-11-24 13:05 UTC`.
#[must_use]
pub fn utc(at: Timestamp) -> String {
    format!("{} UTC", minute(at))
}

/// A time in RFC 3339, or a date, which means the end of that day in UTC.
#[must_use]
pub fn end(text: &str) -> Option<Timestamp> {
    let day = || Some(Date::parse(text, &DAY).ok()?.with_time(time!(23:59:59)).assume_utc());
    let end = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day)?;
    Some(Timestamp::from_unix_seconds(end.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_lasts_to_its_end_and_a_time_is_exact() {
        for (text, expected) in [
            ("2027-01-31", Some("2027-01-31 23:59")),
            ("2027-01-31T12:30:00+02:00", Some("2027-01-31 10:30")),
            ("2027-02-30", None),
            ("31.1.2027", None),
            ("2027-01-31T12:30:00", None),
            ("", None),
        ] {
            assert_eq!(end(text).map(minute).as_deref(), expected, "{text}");
        }
    }
}
