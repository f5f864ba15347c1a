//! Access that Stripe doesn't say was paid for.

use super::{Finding, Patient};
use crate::account::AccountError;
use crate::unknown_sources::{self, Found, UnknownSourcesError};

/// How many sources are looked up: a few seconds' worth.
const SOURCES_MAX: usize = 100;

pub(super) async fn unknown(patient: &Patient<'_>) -> Finding {
    let Ok(account) = &patient.account else {
        return Finding::Skipped("payments can't be checked without your Stripe key");
    };
    match unknown_sources::look(patient.deployment, account, None, SOURCES_MAX).await {
        Ok(found) if found.unknown.is_empty() => Finding::good(known(&found)),
        Ok(Found { unknown, .. }) => {
            let sources = unknown.iter().map(|it| it.source.to_string());
            let sources: Vec<String> = sources.take(3).collect();
            let more = if unknown.len() > sources.len() { ", …" } else { "" };
            Finding::bad(
                format!(
                    "sources that give access, but that Stripe doesn't report as paid: {} \
                     ({}{more})",
                    unknown.len(),
                    sources.join(", ")
                ),
                "see why with `coursegate unknown-sources`; revoke each with `coursegate revoke \
                 SOURCE --reason TEXT`",
            )
        }
        Err(UnknownSourcesError::Account(error @ AccountError::Refused { status: 403, .. })) => {
            Finding::bad(
                format!("your key isn't allowed to read payments: {error}"),
                "give your key PaymentIntents: Read and Checkout Sessions: Read",
            )
        }
        Err(UnknownSourcesError::Account(error)) => Finding::bad(
            format!("can't check whether Stripe knows the payments: {error}"),
            "check whether Stripe is up (status.stripe.com), then try again",
        ),
        Err(error @ UnknownSourcesError::OtherAccount) => {
            Finding::bad(error.to_string(), "then run the doctor again")
        }
        Err(UnknownSourcesError::Table(error)) => {
            Finding::bad(error.to_string(), "check the table")
        }
    }
}

fn known(found: &Found) -> String {
    let count = found.looked_up;
    match (&found.more_after, count) {
        (Some(_), _) => format!(
            "Stripe confirms all {count} that give access, of {SOURCES_MAX} sources; `coursegate \
             unknown-sources` checks the others too"
        ),
        (None, 0) => "no payment gives access yet".to_owned(),
        (None, _) => format!("Stripe confirms every payment that gives access: {count}"),
    }
}
