//! Identifiers. Each has its own type, and parsing is the only way to make one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The text is not a valid identifier. The error never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is {rule}")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
}

/// Stripe promises neither the length nor the alphabet of its ids, only that 255 characters are
/// enough: <https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible>.
const STRIPE_ID_LENGTH_MAX: usize = 255;

fn is_word(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_stripe_id(text: &str, prefix: &str) -> bool {
    is_word(text, prefix.len().saturating_add(1), STRIPE_ID_LENGTH_MAX) && text.starts_with(prefix)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One attempt to open a checkout session: our own random id, and Stripe's idempotency key.
    AttemptId, "checkout attempt", "8 to 64 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, 8, 64)
);
id!(
    /// A course of the catalog.
    CourseId, "course id", "1 to 64 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, 1, 64)
);
id!(
    /// A Stripe customer.
    CustomerId, "Stripe customer id", "like cus_…",
    |text| is_stripe_id(text, "cus_")
);
id!(
    /// The text in the metadata of everything that a deployment creates at Stripe. Stripe allows
    /// values of 500 characters: <https://docs.stripe.com/metadata>.
    DeploymentMark, "deployment mark", "1 to 200 of A-Z, a-z, 0-9, _, -, ., : and /",
    |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
        (1..=200).contains(&text.len()) && text.bytes().all(is_plain)
    }
);
id!(
    /// A Stripe dispute.
    DisputeId, "Stripe dispute id", "like du_…",
    |text| is_stripe_id(text, "du_") || is_stripe_id(text, "dp_")
);
id!(
    /// A Stripe event.
    EventId, "Stripe event id", "like evt_…",
    |text| is_stripe_id(text, "evt_")
);
id!(
    /// An early fraud warning by Stripe Radar.
    FraudWarningId, "Stripe early fraud warning id", "like issfr_…",
    |text| is_stripe_id(text, "issfr_")
);
id!(
    /// A manual grant: our own random id.
    GrantId, "grant id", "like grant_…",
    |text| is_stripe_id(text, "grant_")
);
id!(
    /// A Stripe invoice.
    InvoiceId, "Stripe invoice id", "like in_…",
    |text| is_stripe_id(text, "in_")
);
id!(
    /// A learner: from the `sub` claim of a verified token ([`LearnerId::of_subject`]), or chosen by
    /// a service.
    LearnerId, "learner id", "1 to 64 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, 1, 64)
);
id!(
    /// The unguessable part of an upgrade link: 192 random bits in base64url.
    LinkId, "link", "32 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, LinkId::LENGTH, LinkId::LENGTH)
);
id!(
    /// A Stripe payment intent.
    PaymentIntentId, "Stripe payment intent id", "like pi_…",
    |text| is_stripe_id(text, "pi_")
);
id!(
    /// Our name for a price, which is its `lookup_key` at Stripe.
    PriceKey, "price", "1 to 64 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, 1, 64)
);
id!(
    /// A product of the catalog: what a learner owns.
    ProductId, "product id", "1 to 64 of A-Z, a-z, 0-9, _ and -",
    |text| is_word(text, 1, 64)
);
id!(
    /// A Stripe refund.
    RefundId, "Stripe refund id", "like re_…",
    |text| is_stripe_id(text, "re_") || is_stripe_id(text, "pyr_")
);
id!(
    /// A Stripe Checkout session.
    SessionId, "Stripe checkout session id", "like cs_…",
    |text| is_stripe_id(text, "cs_")
);
id!(
    /// A Stripe price.
    StripePriceId, "Stripe price id", "like price_…",
    |text| is_stripe_id(text, "price_")
);
id!(
    /// A Stripe subscription.
    SubscriptionId, "Stripe subscription id", "like sub_…",
    |text| is_stripe_id(text, "sub_")
);

impl LinkId {
    /// Its length in characters.
    pub const LENGTH: usize = 32;

    /// Parses the link at the start of this text. Chat clients often add the character that follows
    /// an address in a message, such as a full stop or a bracket.
    pub fn at_start_of(text: &str) -> Result<Self, IdError> {
        text.get(..Self::LENGTH).unwrap_or(text).parse()
    }
}

impl LearnerId {
    /// What the ids start with that services choose for learners who don't sign in.
    pub const SERVICE_PREFIX: &str = "x-";
    /// What the ids start with that are hashes of a `sub`.
    const HASH_PREFIX: &str = "sub-";

    /// The id of the learner whom an issuer calls `subject` in its tokens. That is the subject
    /// itself if it's a learner id that nobody else can have, and otherwise a hash of both: `sub-`
    /// and the base64url of SHA-256 over the issuer, a zero byte and the subject. An issuer may
    /// choose any text: <https://openid.net/specs/openid-connect-core-1_0.html#IDToken>.
    pub fn of_subject(issuer: &str, subject: &str) -> Result<Self, IdError> {
        if subject.is_empty() {
            return Err(IdError { what: "subject", rule: "not empty" });
        }
        let reserved = [Self::SERVICE_PREFIX, Self::HASH_PREFIX];
        match subject.parse() {
            Ok(id)
                if id != Self::forgotten()
                    && !reserved.iter().any(|it| subject.starts_with(it)) =>
            {
                Ok(id)
            }
            _ => {
                let hash =
                    Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject);
                let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
                Ok(Self(format!("{}{hash}", Self::HASH_PREFIX)))
            }
        }
    }

    /// Replaces the id of an erased learner. Nothing is granted to it.
    #[must_use]
    pub fn forgotten() -> Self {
        Self("forgotten".to_owned())
    }
}

/// One reason why a learner has access.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// A payment. Refunds and disputes refer to it.
    Payment(PaymentIntentId),
    /// A session that had nothing to pay, and therefore no payment.
    Session(SessionId),
    /// A manual grant.
    Grant(GrantId),
}

impl SourceId {
    /// The id as text. It is Stripe's id, except for manual grants.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Payment(id) => id.as_str(),
            Self::Session(id) => id.as_str(),
            Self::Grant(id) => id.as_str(),
        }
    }
}

impl FromStr for SourceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.starts_with("pi_") {
            text.parse().map(Self::Payment)
        } else if text.starts_with("grant_") {
            text.parse().map(Self::Grant)
        } else {
            text.parse().map(Self::Session)
        }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused() {
        assert!("cus_1".parse::<EventId>().is_err());
        assert!("evt_".parse::<EventId>().is_err());
        assert!("evt_1".parse::<EventId>().is_ok());
    }

    #[test]
    fn an_id_has_no_character_of_a_key_or_a_path() {
        for text in ["", "a#b", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(text.parse::<LearnerId>().is_err(), "{text:?}");
        }
        assert!("x-tutor_42".parse::<LearnerId>().is_ok());
    }

    #[test]
    fn a_subject_that_is_no_free_learner_id_is_hashed() {
        let of = |issuer, subject| LearnerId::of_subject(issuer, subject).unwrap();
        let issuer = "https://issuer.example.com/";
        // What a learner has bought is stored under it, so it must never change.
        let hashed = "sub-TRrPJzuO_yIvdIqLGF71coWRwIxZkI1ToPssyB826vg";
        assert_eq!(of(issuer, "auth0|5f7c8ec7c33c6c004bbafe82").as_str(), hashed);
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for subject in ["ada", "8f1a-22", "A_b", "sub", "x", &longest] {
            assert_eq!(of(issuer, subject).as_str(), subject);
        }
        let others = ["x-tutor-7", "sub-1", hashed, "forgotten", "a b", "ä", "a/b", &too_long];
        let mut seen = std::collections::BTreeSet::from([hashed.to_owned()]);
        for subject in others {
            let id = of(issuer, subject);
            assert!(id.as_str().starts_with("sub-"), "{subject}");
            assert_eq!(id.as_str().parse(), Ok(id.clone()), "{subject}");
            assert!(seen.insert(id.to_string()), "{subject}");
            assert!(
                seen.insert(of("https://other.example.com/", subject).to_string()),
                "{subject}"
            );
        }
        assert!(LearnerId::of_subject(issuer, "").is_err());
    }

    #[test]
    fn a_mark_takes_stack_names_that_headers_and_forms_preserve() {
        let longest = "x".repeat(200);
        let stack = "123456789012/eu-central-1/coursegate-live";
        for text in [stack, "local-0123abcd", "shop.example.com:8443", "s", &longest] {
            assert!(text.parse::<DeploymentMark>().is_ok(), "{text:?}");
        }
        for text in ["", " ", "a b", "a&b", "a%20b", "ä", "a\n", &"x".repeat(201)] {
            assert!(text.parse::<DeploymentMark>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_payment_session_or_grant_source_round_trips_as_text() {
        for text in ["pi_3Abc", "cs_test_a1", "grant_x9"] {
            assert_eq!(text.parse::<SourceId>().unwrap().to_string(), text);
        }
        assert!("ch_1".parse::<SourceId>().is_err());
    }

    #[test]
    fn a_link_is_read_whatever_a_chat_client_appended() {
        let id = "0123456789abcdefghijABCDEFGHIJ_-";
        for end in ["", ".", ")", "]", "/", "/.", "_", "**", "…", "\u{201d}", " x", "?", "%"] {
            let found = LinkId::at_start_of(&format!("{id}{end}")).unwrap();
            assert_eq!(found.as_str(), id, "{end:?}");
        }
        for text in ["", ".", &id[1..], &format!("{}.", &id[1..]), &format!(".{id}"), "äöü"] {
            assert!(LinkId::at_start_of(text).is_err(), "{text:?}");
        }
        // A character that starts inside the id's length and ends outside it.
        assert!(LinkId::at_start_of(&format!("{}é", &id[1..])).is_err());
    }

    #[test]
    fn an_error_names_the_rule_and_never_the_text() {
        let error = "sk_live_secret!".parse::<PriceKey>().unwrap_err().to_string();
        assert_eq!(error, "a price is 1 to 64 of A-Z, a-z, 0-9, _ and -");
    }
}
