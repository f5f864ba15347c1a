//! From bytes that anybody may have sent to an event that Stripe has signed.

use secrecy::{ExposeSecret, SecretString};
use stripe_webhook::{Webhook, WebhookError};

use crate::domain::time::Timestamp;

/// What arrived, not yet trusted in any part.
#[derive(Clone, Copy)]
pub struct UnverifiedDelivery<'a> {
    /// The `Stripe-Signature` header: `t=…,v1=…`, with one `v1` for each active secret.
    pub unverified_signature: &'a str,
    /// The body exactly as it came; a re-serialized one has another signature.
    pub unverified_body: &'a str,
}

/// A body that carries a signature of Stripe's, made within five minutes of now. Only
/// [`UnverifiedDelivery::verify`] makes one.
#[derive(Clone, Copy)]
pub struct VerifiedDelivery<'a> {
    body: &'a str,
}

/// Why a delivery is not Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header's timestamp is no number.
    #[error("the Stripe-Signature header can't be read")]
    Malformed,
    /// No signature matches any accepted secret.
    #[error("no signature in the Stripe-Signature header matches the body")]
    Mismatch,
    /// Signed too long ago, or in the future. Stripe signs every attempt anew.
    #[error("the signature's timestamp is more than five minutes from now")]
    Stale,
}

impl<'a> UnverifiedDelivery<'a> {
    /// Checks the signature against each of these secrets, as of now.
    ///
    /// The rules are Stripe's: HMAC-SHA256 over `t.body`, `v1` only, five minutes of tolerance:
    /// <https://docs.stripe.com/webhooks#verify-manually>.
    pub fn verify(
        self,
        secrets: &[SecretString],
        now: Timestamp,
    ) -> Result<VerifiedDelivery<'a>, SignatureError> {
        if !self.times().all(|time| is_at_some_distance(time, now)) {
            return Err(SignatureError::Stale);
        }
        for secret in secrets {
            let result = Webhook::construct_event_with_timestamp(
                self.unverified_body,
                self.unverified_signature,
                secret.expose_secret(),
                now.unix_seconds(),
            );
            match result {
                // The library parses after it has verified. What its strict types can't read, our
                // tolerant ones may; that is for the next step to say.
                Ok(_) | Err(WebhookError::BadParse(_)) => {
                    return Ok(VerifiedDelivery { body: self.unverified_body });
                }
                Err(WebhookError::BadTimestamp(_)) => return Err(SignatureError::Stale),
                Err(WebhookError::BadHeader(_)) => return Err(SignatureError::Malformed),
                Err(WebhookError::BadKey | WebhookError::BadSignature) => {}
            }
        }
        Err(SignatureError::Mismatch)
    }

    fn times(self) -> impl Iterator<Item = i64> {
        let pairs = self.unverified_signature.split(',');
        pairs.filter_map(|pair| pair.strip_prefix("t=")?.parse().ok())
    }
}

/// Whether the distance to now is a number. The library doesn't ask, and would panic at a header
/// of the end of time; it gets there only if that is signed with the right secret.
fn is_at_some_distance(unix_seconds: i64, now: Timestamp) -> bool {
    let distance = now.unix_seconds().checked_sub(unix_seconds);
    distance.and_then(i64::checked_abs).is_some()
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
    fn refuses_a_stale_and_a_future_timestamp_and_accepts_five_minutes_of_skew() {
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
    fn refuses_a_body_that_says_the_same_in_other_bytes() {
        let reserialized = r#"{"id":"evt_1","object":"event"}"#;
        check(&sign("whsec_new", NOW), reserialized, Err(SignatureError::Mismatch));
    }

    #[test]
    fn refuses_what_is_not_a_signature_without_falling_over() {
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

    #[test]
    fn without_a_secret_nothing_verifies() {
        let delivery =
            UnverifiedDelivery { unverified_signature: &sign("", NOW), unverified_body: BODY };
        assert_eq!(delivery.verify(&[], NOW).map(|_| ()), Err(SignatureError::Mismatch));
    }
}
