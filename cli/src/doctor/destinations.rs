//! Endpoints that were made for thin events by mistake: Stripe's Dashboard offers them first.
//!
//! `/v1` doesn't list them, and a thin event leaves out what has changed. So whoever pays waits for
//! an event that can't be applied.

use serde::Deserialize;
use shared::dynamo::operator;
use shared::stripe::wire::is_thin;

use super::stripe::{NO_ACCOUNT, give, is_listened_to, unseen};
use super::{Finding, Patient};
use crate::account::AccountError;

const PATH: &str = "/core/event_destinations";
/// Stripe leaves the address out unless it is asked for.
const QUERY: &str = "limit=100&include[0]=webhook_endpoint.url";
const REMEDY: &str = "delete it in Stripe's Dashboard (Workbench, Webhooks), run `coursegate \
                      webhook register`, then replay the events named under deliveries";

/// <https://docs.stripe.com/api/v2/core/event-destinations/object>
#[derive(Deserialize)]
struct Destination {
    id: String,
    event_payload: String,
    status: String,
    webhook_endpoint: Option<WebhookEndpoint>,
}

#[derive(Deserialize)]
struct WebhookEndpoint {
    url: Option<String>,
}

impl Destination {
    fn delivers_to(&self, url: &str) -> bool {
        self.webhook_endpoint.as_ref().and_then(|endpoint| endpoint.url.as_deref()) == Some(url)
    }

    /// What is wrong with it, if anything is. One that is disabled is as wrong as one that is not:
    /// whoever enables it gets thin events.
    fn fault(&self) -> Option<String> {
        match self.event_payload.as_str() {
            "snapshot" => None,
            "thin" => Some(format!(
                "{} ({}) delivers thin events here, which leave out what has changed",
                self.id, self.status
            )),
            other => Some(format!("{} delivers {other} events here, which can't be read", self.id)),
        }
    }
}

pub(super) async fn thin_events(patient: &Patient<'_>) -> Finding {
    if is_listened_to(patient.deployment) {
        return Finding::Skipped("`stripe listen` is the endpoint here");
    }
    let Ok(account) = &patient.account else { return Finding::Skipped(NO_ACCOUNT) };
    let url = &patient.deployment.webhook_url;
    match account.list_v2::<Destination>(PATH, QUERY).await {
        Ok(destinations) => {
            let here = destinations.iter().filter(|destination| destination.delivers_to(url));
            let faults: Vec<String> = here.filter_map(Destination::fault).collect();
            if faults.is_empty() {
                Finding::good("no event destination delivers them here")
            } else {
                Finding::bad(faults.join("; "), REMEDY)
            }
        }
        Err(error) => by_quarantine(patient, &error).await,
    }
}

/// If event destinations can't be listed, a thin event in quarantine proves that there is one.
async fn by_quarantine(patient: &Patient<'_>, error: &AccountError) -> Finding {
    let waiting = match operator::quarantined(&patient.deployment.table()).await {
        Ok(waiting) => waiting,
        Err(error) => return Finding::bad(error.to_string(), "check the table"),
    };
    let thin = waiting.iter().filter(|waiting| is_thin(&waiting.event.kind)).count();
    if thin > 0 {
        return Finding::bad(
            format!("an endpoint delivers thin events here, and {thin} wait in quarantine"),
            REMEDY,
        );
    }
    let says = if error.is_forbidden() { unseen(error) } else { error.to_string() };
    Finding::note(
        format!("none has arrived; can't check whether an endpoint would send them: {says}"),
        format!(
            "{}, or look in Stripe's Dashboard (Workbench, Webhooks)",
            give("Event Destinations: Read")
        ),
    )
}
