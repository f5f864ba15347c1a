//! Computes Stripe's signatures independently, with another library than the functions use:
//! <https://docs.stripe.com/webhooks#verify-manually>.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use shared::domain::time::Timestamp;

/// How far a signature's time may be off.
const TOLERANCE_SECONDS: u64 = 300;

fn mac(secret: &str, time: i64, body: &[u8]) -> Vec<u8> {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let signed = [format!("{time}.").as_bytes(), body].concat();
    sign(&key, &signed).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Every time that a header names.
fn times(header: &str) -> impl Iterator<Item = i64> {
    values(header, "t").filter_map(|value| value.parse().ok())
}

fn values<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = header.split(',').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

/// A header in which `$t` stands for the current time, and `$0`, `$1`… for the signature with the
/// first, second… secret at the header's last time.
pub(crate) fn filled_in(header: &str, body: &[u8], secrets: &[&str], now: Timestamp) -> String {
    let header = header.replace("$t", &now.unix_seconds().to_string());
    let Some(time) = times(&header).last() else { return header };
    secrets.iter().enumerate().fold(header, |header, (index, secret)| {
        let name = format!("${index}");
        if header.contains(&name) {
            header.replace(&name, &hex(&mac(secret, time, body)))
        } else {
            header
        }
    })
}

/// Whether a header has a signature of this body with one of the secrets, made within five minutes.
pub(crate) fn is_signed(header: &str, body: &[u8], secrets: &[&str], now: Timestamp) -> bool {
    let recent = |time: &i64| now.unix_seconds().abs_diff(*time) <= TOLERANCE_SECONDS;
    times(header).filter(recent).any(|time| {
        secrets.iter().filter(|secret| !secret.is_empty()).any(|secret| {
            let expected = hex(&mac(secret, time, body));
            values(header, "v1").any(|value| value.eq_ignore_ascii_case(&expected))
        })
    })
}
