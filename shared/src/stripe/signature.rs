//! Verifies that Stripe signed a delivery.
//!
//! Stripe's library does this too, but it also parses what it has verified, which adds the code of
//! every type of object to a function: see `docs/adr/0013-a-function-carries-what-it-runs.md`. The
//! tests compare this code with the library.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::domain::time::Timestamp;

/// How far a signature's timestamp may be from now.
const TOLERANCE_SECONDS: i64 = 300;

/// A delivery that hasn't been verified, and no part of which can be trusted.
#[derive(Clone, Copy)]
pub struct UnverifiedDelivery<'a> {
    /// The `Stripe-Signature` header: `t=…,v1=…`, with one `v1` for each active secret.
    pub unverified_signature: &'a str,
    /// The body exactly as it arrived. A re-serialized one would have a different signature.
    pub unverified_body: &'a str,
}

/// A body that Stripe signed within five minutes of now. Only [`UnverifiedDelivery::verify`]
/// creates one.
#[derive(Clone, Copy)]
pub struct VerifiedDelivery<'a> {
    body: &'a str,
}

/// Why a delivery can't be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header's timestamp is not a number.
    #[error("the Stripe-Signature header can't be read")]
    Malformed,
    /// No signature matches any accepted secret.
    #[error("no signature in the Stripe-Signature header matches the body")]
    Mismatch,
    /// Signed too long ago, or in the future. Stripe signs each attempt with a new timestamp.
    #[error("the signature's timestamp is more than five minutes from now")]
    Stale,
}

impl<'a> UnverifiedDelivery<'a> {
    /// Checks the signature with each of these secrets, at the time `now`.
    ///
    /// The rules are Stripe's: HMAC-SHA256 over `t.body`, `v1` only, five minutes of tolerance:
    /// <https://docs.stripe.com/webhooks#verify-manually>.
    pub fn verify(
        self,
        secrets: &[SecretString],
        now: Timestamp,
    ) -> Result<VerifiedDelivery<'a>, SignatureError> {
        let header = Header::parse(self.unverified_signature)?;
        if !secrets.iter().any(|secret| header.signs(self.unverified_body, secret)) {
            return Err(SignatureError::Mismatch);
        }
        if header.is_within_tolerance(now) {
            Ok(VerifiedDelivery { body: self.unverified_body })
        } else {
            Err(SignatureError::Stale)
        }
    }
}

/// The contents of the `Stripe-Signature` header, unverified.
struct Header<'a> {
    unix_seconds: i64,
    signatures: Vec<&'a str>,
}

impl<'a> Header<'a> {
    fn parse(unverified: &'a str) -> Result<Self, SignatureError> {
        let mut time = None;
        let mut signatures = Vec::new();
        for pair in unverified.split(',') {
            match pair.split_once('=').ok_or(SignatureError::Mismatch)? {
                ("t", value) => {
                    time = Some(value.parse().or(Err(SignatureError::Malformed))?);
                }
                ("v1", value) => signatures.push(value),
                _ => {}
            }
        }
        let unix_seconds = time.ok_or(SignatureError::Mismatch)?;
        Ok(Self { unix_seconds, signatures })
    }

    /// Whether one of the signatures was made from this body with this secret. Each is compared in
    /// constant time.
    fn signs(&self, body: &str, secret: &SecretString) -> bool {
        let key = secret.expose_secret().as_bytes();
        // Anybody can sign with an empty secret. Keys of any other length are fine.
        let Some(Ok(mut mac)) = (!key.is_empty()).then(|| Hmac::<Sha256>::new_from_slice(key))
        else {
            return false;
        };
        mac.update(format!("{}.", self.unix_seconds).as_bytes());
        mac.update(body.as_bytes());
        self.signatures.iter().any(|signature| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(signature, &mut bytes).is_ok()
                && mac.clone().verify_slice(&bytes).is_ok()
        })
    }

    fn is_within_tolerance(&self, now: Timestamp) -> bool {
        let distance = now.unix_seconds().checked_sub(self.unix_seconds);
        let distance = distance.and_then(i64::checked_abs);
        distance.is_some_and(|seconds| seconds <= TOLERANCE_SECONDS)
    }
}

impl<'a> VerifiedDelivery<'a> {
    /// The signed text.
    #[must_use]
    pub const fn body(self) -> &'a str {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use stripe_webhook::{Webhook, WebhookError};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
    const BODY: &str = r#"{"id": "evt_1", "object": "event"}"#;

    fn sign(secret: &str, at: Timestamp) -> String {
        Webhook::generate_test_header(BODY, secret, Some(at.unix_seconds()))
    }

    #[track_caller]
    fn check(signature: &str, body: &str, expected: Result<(), SignatureError>) {
        let secrets = ["whsec_new", "whsec_old"].map(SecretString::from);
        let delivery =
            UnverifiedDelivery { unverified_signature: signature, unverified_body: body };
        assert_eq!(delivery.verify(&secrets, NOW).map(|_| ()), expected, "{signature}");
    }

    #[test]
    fn accepts_either_secret_during_rotation() {
        check(&sign("whsec_new", NOW), BODY, Ok(()));
        check(&sign("whsec_old", NOW), BODY, Ok(()));
        check(&sign("whsec_else", NOW), BODY, Err(SignatureError::Mismatch));
    }

    #[test]
    fn accepts_any_of_several_signatures() {
        let valid = sign("whsec_old", NOW);
        let v1 = valid.split_once("v1=").unwrap().1;
        let other = "0".repeat(64);
        for header in [
            format!("t={},v1={other},v1={v1}", NOW.unix_seconds()),
            format!("t={},v1={v1},v1={other},v0={other}", NOW.unix_seconds()),
        ] {
            check(&header, BODY, Ok(()));
        }
    }

    #[test]
    fn refuses_timestamps_more_than_five_minutes_off() {
        for (skew, expected) in [
            (-300, Ok(())),
            (300, Ok(())),
            (-301, Err(SignatureError::Stale)),
            (301, Err(SignatureError::Stale)),
        ] {
            check(&sign("whsec_new", NOW.plus_seconds(skew)), BODY, expected);
        }
        for end_of_time in [i64::MIN, i64::MAX] {
            let header = sign("whsec_new", Timestamp::from_unix_seconds(end_of_time));
            check(&header, BODY, Err(SignatureError::Stale));
        }
    }

    #[test]
    fn refuses_a_reserialized_body() {
        let reserialized = r#"{"id":"evt_1","object":"event"}"#;
        check(&sign("whsec_new", NOW), reserialized, Err(SignatureError::Mismatch));
    }

    #[test]
    fn refuses_a_malformed_signature_without_panicking() {
        let valid = sign("whsec_new", NOW);
        let truncated = &valid[..valid.len() - 2];
        let old_scheme = valid.replace("v1=", "v0=");
        let timestamp_moved = valid.replace("t=17", "t=16");
        for header in [
            "",
            ",",
            "t=1",
            "v1=00",
            "t=,v1=",
            truncated,
            &old_scheme,
            &timestamp_moved,
            "t=1,v1=é",
        ] {
            let secrets = [SecretString::from("whsec_new")];
            let delivery =
                UnverifiedDelivery { unverified_signature: header, unverified_body: BODY };
            assert!(delivery.verify(&secrets, NOW).is_err(), "{header}");
        }
    }

    /// The library's verdict with these secrets, one after the other.
    fn library(header: &str, body: &str, secrets: &[SecretString]) -> Result<(), SignatureError> {
        for secret in secrets {
            let secret = secret.expose_secret();
            let now = NOW.unix_seconds();
            match Webhook::construct_event_with_timestamp(body, header, secret, now) {
                // It parses after it has verified.
                Ok(_) | Err(WebhookError::BadParse(_)) => return Ok(()),
                Err(WebhookError::BadTimestamp(_)) => return Err(SignatureError::Stale),
                Err(WebhookError::BadHeader(_)) => return Err(SignatureError::Malformed),
                Err(WebhookError::BadKey | WebhookError::BadSignature) => {}
            }
        }
        Err(SignatureError::Mismatch)
    }

    #[test]
    fn any_header_gets_the_same_verdict_from_stripe_s_library() {
        let secrets = ["whsec_new", "whsec_old"].map(SecretString::from);
        let signed = |secret, skew| sign(secret, NOW.plus_seconds(skew));
        let old = signed("whsec_old", 0);
        let v1 = old.split_once("v1=").unwrap().1;
        let mut headers = vec![
            old.clone(),
            signed("whsec_new", 300),
            signed("whsec_new", -301),
            signed("whsec_else", 0),
            format!("v1={v1},t={}", NOW.unix_seconds()),
            format!("t={},v1=00,v0=1,v1={v1}", NOW.unix_seconds()),
            format!("t=+{},v1={v1}", NOW.unix_seconds()),
            format!("t=0{},v1={v1}", NOW.unix_seconds()),
            format!("t=1,t={},v1={v1}", NOW.unix_seconds()),
            format!("{old},"),
            format!(" {old}"),
            old.to_uppercase(),
            format!("t={},v1={}", NOW.unix_seconds(), v1.to_uppercase()),
            String::new(),
        ];
        for at in 0..old.len() {
            for with in ["", "0", "x", ",", "=", "é"] {
                headers.push(format!("{}{with}{}", &old[..at], &old[at + 1..]));
            }
        }
        let mut accepted = 0;
        for header in &headers {
            let expected = library(header, BODY, &secrets);
            accepted += usize::from(expected.is_ok());
            check(header, BODY, expected);
        }
        assert!((5..headers.len()).contains(&accepted), "{accepted} of {}", headers.len());
    }

    #[test]
    fn without_a_secret_nothing_verifies() {
        let delivery =
            UnverifiedDelivery { unverified_signature: &sign("", NOW), unverified_body: BODY };
        for secrets in [&[][..], &[SecretString::from("")]] {
            let verified = delivery.verify(secrets, NOW).map(|_| ());
            assert_eq!(verified, Err(SignatureError::Mismatch));
        }
    }
}
