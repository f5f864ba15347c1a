//! `coursegate up --stripe`: the Stripe account of whoever runs the stack.

use local::stack::StripeAccount;
use shared::domain::decide::Mode;
use shared::stripe::api::mode_of_key;
use shared::stripe::wire::handled_event_types;

/// Where the key is, out of sight of everybody who lists processes.
const API_KEY: &str = "STRIPE_API_KEY";
/// Where the signing secret is.
const SIGNING_SECRET: &str = "STRIPE_WEBHOOK_SECRET";

/// Why the account can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OwnAccountError {
    #[error(
        "{API_KEY} is not set: set it to a test key of yours, sk_test_… or rk_test_…, from \
         https://dashboard.stripe.com/test/apikeys"
    )]
    NoKey,
    #[error(
        "{API_KEY} is a live key, and purchases on a laptop must not be real: take a test key, \
         sk_test_… or rk_test_…, from https://dashboard.stripe.com/test/apikeys"
    )]
    LiveKey,
    #[error(
        "{API_KEY} is not a secret or restricted key: take one that starts with sk_test_ or \
         rk_test_ from https://dashboard.stripe.com/test/apikeys"
    )]
    NotAKey,
    #[error(
        "{SIGNING_SECRET} is not set to a signing secret: set it to what `stripe listen \
         --print-secret` prints, which starts with whsec_"
    )]
    NoSigningSecret,
}

/// The account of this environment, at this address or Stripe's own.
pub(crate) fn read(
    url: Option<String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<StripeAccount, OwnAccountError> {
    let variable = |name| {
        let value = environment(name).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let api_key = variable(API_KEY).ok_or(OwnAccountError::NoKey)?;
    match mode_of_key(&api_key) {
        Some(Mode::Test) => {}
        Some(Mode::Live) => return Err(OwnAccountError::LiveKey),
        None => return Err(OwnAccountError::NotAKey),
    }
    let signing_secret = variable(SIGNING_SECRET).filter(|secret| secret.starts_with("whsec_"));
    Ok(StripeAccount {
        url,
        api_key: api_key.into(),
        signing_secret: signing_secret.ok_or(OwnAccountError::NoSigningSecret)?.into(),
        event_types: handled_event_types().collect::<Vec<_>>().join(","),
    })
}
