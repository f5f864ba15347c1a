//! Verifies Signature Version 4 in a query string by recomputing it:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use axum::http::{StatusCode, request::Parts};
use time::{Date, Month, OffsetDateTime, Time};

use super::{Refusal, rfc3339};
use crate::lambda::credentials;
use crate::percent;

/// S3's longest validity.
const LIFETIME_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// How far a client's clock may be ahead of S3's.
const SKEW: Duration = Duration::from_mins(15);

/// The parameters of a signature.
struct Claimed<'a> {
    credential: &'a str,
    date: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Accepts a request that the functions' credentials have signed and that has not expired.
pub(super) fn verify(parts: &Parts, now: Duration) -> Result<(), Refusal> {
    let query = parameters(parts.uri.query().unwrap_or_default());
    let parameter = |name: &str| query.get(name).map(String::as_str);
    if !query.keys().any(|name| name.starts_with("X-Amz-")) {
        return Err(Refusal::denied("Access Denied"));
    }
    let required = |name: &str| parameter(name).ok_or_else(|| malformed(INCOMPLETE));
    if required("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let claimed = Claimed {
        credential: required("X-Amz-Credential")?,
        date: required("X-Amz-Date")?,
        signed_headers: required("X-Amz-SignedHeaders")?,
        signature: required("X-Amz-Signature")?,
    };
    let lifetime = required("X-Amz-Expires")?;
    is_of_our_functions(claimed.credential, claimed.date)?;
    if parameter("X-Amz-Security-Token") != Some(credentials::SESSION_TOKEN) {
        let message = "The provided token is malformed or otherwise invalid.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidToken", message));
    }
    is_in_time(claimed.date, lifetime, now)?;
    let expected = signature(parts, &query, &claimed)?;
    if expected == claimed.signature {
        Ok(())
    } else {
        let message = "The request signature we calculated does not match the signature you \
                       provided. Check your key and signing method.";
        Err(Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message))
    }
}

const INCOMPLETE: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, \
                          X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and \
                          X-Amz-Expires parameters.";

fn malformed(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "AuthorizationQueryParametersError", message)
}

/// The decoded parameters. None of those we need may appear twice.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode(name), percent::decode(value))
        })
        .collect()
}

/// `20261121/us-east-1/s3/aws4_request`
fn scope(date: &str) -> String {
    let day = date.get(..8).unwrap_or_default();
    format!("{day}/{}/s3/aws4_request", credentials::REGION)
}

fn is_of_our_functions(credential: &str, date: &str) -> Result<(), Refusal> {
    let Some((id, claimed_scope)) = credential.split_once('/') else {
        return Err(malformed("the Credential is mal-formed; expecting an id and a scope"));
    };
    if id != credentials::ACCESS_KEY_ID {
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", message));
    }
    if claimed_scope != scope(date) {
        return Err(malformed("the Credential's scope is not this day, this Region and S3"));
    }
    Ok(())
}

fn is_in_time(date: &str, lifetime: &str, now: Duration) -> Result<(), Refusal> {
    let signed_at = moment(date);
    let signed_at =
        signed_at.ok_or_else(|| malformed("X-Amz-Date must be like 20261121T194500Z"))?;
    let lifetime = lifetime.parse().ok().filter(|it| (1..=LIFETIME_SECONDS_MAX).contains(it));
    let Some(lifetime) = lifetime else {
        return Err(malformed("X-Amz-Expires must be a number of seconds, at most a week"));
    };
    if signed_at > now.saturating_add(SKEW) {
        return Err(Refusal::denied("Request is not yet valid"));
    }
    let expires_at = signed_at.saturating_add(Duration::from_secs(lifetime));
    if now > expires_at {
        return Err(Refusal {
            more: vec![
                ("X-Amz-Expires", lifetime.to_string()),
                ("Expires", rfc3339(expires_at)),
                ("ServerTime", rfc3339(now)),
            ],
            ..Refusal::denied("Request has expired")
        });
    }
    Ok(())
}

/// Reads `20261121T194500Z`.
fn moment(text: &str) -> Option<Duration> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let is_number =
        |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(day, 8) || !is_number(time, 6) {
        return None;
    }
    let of_two = |text: &str, start: usize| text.get(start..start + 2)?.parse::<u8>().ok();
    let month = Month::try_from(of_two(day, 4)?).ok()?;
    let date =
        Date::from_calendar_date(day.get(..4)?.parse().ok()?, month, of_two(day, 6)?).ok()?;
    let time = Time::from_hms(of_two(time, 0)?, of_two(time, 2)?, of_two(time, 4)?).ok()?;
    let seconds = OffsetDateTime::new_utc(date, time).unix_timestamp();
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// The signature that the request must have.
fn signature(
    parts: &Parts,
    query: &BTreeMap<String, String>,
    claimed: &Claimed<'_>,
) -> Result<String, Refusal> {
    let canonical = canonical_request(parts, query, claimed.signed_headers)?;
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        claimed.date,
        scope(claimed.date),
        hex::encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    );
    let mut key = format!("AWS4{}", credentials::SECRET_ACCESS_KEY).into_bytes();
    for part in scope(claimed.date).split('/') {
        key = hmac(&key, part);
    }
    Ok(hex::encode(hmac(&key, &text)))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn canonical_request(
    parts: &Parts,
    query: &BTreeMap<String, String>,
    signed_headers: &str,
) -> Result<String, Refusal> {
    let signed = query.iter().filter(|(name, _)| *name != "X-Amz-Signature");
    let mut pairs: Vec<(String, String)> =
        signed.map(|(name, value)| (percent::encode(name), percent::encode(value))).collect();
    pairs.sort();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !signed_headers.split(';').any(|name| name == "host") {
        return Err(malformed("the host must be signed"));
    }
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values = parts.headers.get_all(name).iter().map(|value| value.to_str().map(str::trim));
        let values: Option<Vec<&str>> = values.map(Result::ok).collect();
        let values = values.filter(|values| !values.is_empty());
        let Some(values) = values else {
            let message = "There were headers signed for that are not in the request";
            return Err(Refusal::denied(message));
        };
        // Writing to a String cannot fail.
        let _ = writeln!(headers, "{name}:{}", values.join(","));
    }
    let path = percent::decode(parts.uri.path());
    let path = path.split('/').map(percent::encode).collect::<Vec<_>>().join("/");
    let method = &parts.method;
    let query = pairs.join("&");
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n{signed_headers}\nUNSIGNED-PAYLOAD"))
}
