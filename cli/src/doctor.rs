//! `coursegate doctor`: what is wrong with a deployment, and what to do about it.
//!
//! Every check reads the deployment itself, changes nothing, and returns a [`Finding`].

mod aws;
mod destinations;
mod doors;
mod seller;
mod sign_in;
mod sources;
mod stripe;
mod waiting;

use std::path::PathBuf;

use shared::ports::{Clock as _, SystemClock};

pub use sign_in::PERMISSIONS as SES_PERMISSIONS;

use crate::account::Account;
use crate::deployment::{Deployment, DeploymentError};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is wrong.
    Good(String),
    /// Worth knowing, but not an error.
    Note {
        /// What was found.
        says: String,
        /// What to do about it, if anything.
        remedy: String,
    },
    /// Must be fixed.
    Bad {
        /// What is wrong.
        says: String,
        /// What to do.
        remedy: String,
    },
    /// The check doesn't apply, and why.
    Skipped(&'static str),
}

impl Finding {
    fn good(says: impl Into<String>) -> Self {
        Self::Good(says.into())
    }

    fn note(says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Note { says: says.into(), remedy: remedy.into() }
    }

    fn bad(says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Bad { says: says.into(), remedy: remedy.into() }
    }
}

/// What the doctor examines.
struct Patient<'a> {
    deployment: &'a Deployment,
    /// The account, which knows the operator's key; or why it can't be reached.
    account: Result<Account, DeploymentError>,
    /// The catalog file, if there is one.
    catalog: Option<PathBuf>,
    http: reqwest::Client,
    now: i64,
}

/// What to do about a secret that can't be read.
const SECRET_UNREAD: &str = "check in Secrets Manager that it exists (`aws secretsmanager \
                             restore-secret` restores a recently deleted one), and check your \
                             permissions";

const WHY_LOCAL: &str = "exists only in AWS";

/// Runs every check, passes each finding to `found`, and returns whether nothing is bad.
pub async fn examine(
    deployment: &Deployment,
    catalog: Option<PathBuf>,
    mut found: impl FnMut(&'static str, &Finding),
) -> bool {
    let account = stripe::reach(deployment).await;
    let http = reqwest::Client::builder().timeout(std::time::Duration::from_secs(15)).build();
    let now = SystemClock.now().unix_seconds();
    let http = http.unwrap_or_default();
    let patient = Patient { deployment, account, catalog, http, now };
    let mut is_well = true;
    let mut note = |name, finding: Finding| {
        is_well &= !matches!(finding, Finding::Bad { .. });
        found(name, &finding);
    };
    note("stack", aws::stack(&patient));
    note("table", aws::table(&patient).await);
    note("alarms", aws::alarms(&patient).await);
    note("sign-in", sign_in::issuer(&patient).await);
    note("sign-in e-mails", sign_in::emails(&patient).await);
    note("functions' key", stripe::functions_key(&patient).await);
    note("webhook's key", stripe::webhooks_key(&patient).await);
    note("your key", stripe::operators_key(&patient));
    note("account", stripe::account(&patient).await);
    note("prices", stripe::prices(&patient).await);
    note("catalog file", stripe::catalog_file(&patient).await);
    note("endpoint", stripe::endpoint(&patient).await);
    note("thin events", destinations::thin_events(&patient).await);
    note("deliveries", stripe::deliveries(&patient).await);
    note("seller", seller::seller(&patient).await);
    note("quarantine", waiting::quarantine(&patient).await);
    note("double payments", waiting::double_payments(&patient).await);
    note("unknown sources", sources::unknown(&patient).await);
    note("customer portal", stripe::portal(&patient).await);
    note("tax", stripe::tax(&patient).await);
    note("site's files", aws::site_files(&patient).await);
    note("signed probe", doors::signed_probe(&patient).await);
    note("forged probe", doors::forged_probe(&patient).await);
    note("api", doors::api(&patient).await);
    note("site", doors::site(&patient).await);
    note("tutor", doors::tutor(&patient).await);
    note("clock", doors::clock(&patient).await);
    is_well
}
