//! Unguessable identifiers.

use uuid::Uuid;

/// A random UUID: request ids, version ids, learners.
pub(crate) fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// Twice as many hexadecimal digits as `N`.
pub(crate) fn token<const N: usize>() -> String {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "nothing here works without randomness")]
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    hex::encode(bytes)
}

/// A code of six digits, as in an e-mail.
pub(crate) fn digits() -> String {
    format!("{:06}", Uuid::new_v4().as_u128() % 1_000_000)
}
