//! What waits for somebody to see to it.

use shared::domain::time::Timestamp;
use shared::dynamo::operator;

use super::{Finding, Patient};
use crate::double_payments::look;

const TABLE: &str = "look at the table";

pub(super) async fn quarantine(patient: &Patient<'_>) -> Finding {
    match operator::quarantined(&patient.deployment.table()).await {
        Ok(waiting) if waiting.is_empty() => Finding::good("no event waits to be read"),
        Ok(waiting) => Finding::note(
            format!("events that could not be read, and wait: {}", waiting.len()),
            "see why with `coursegate quarantine list`, and apply them with `coursegate quarantine \
             drain` within 30 days",
        ),
        Err(error) => Finding::bad(error.to_string(), TABLE),
    }
}

pub(super) async fn double_payments(patient: &Patient<'_>) -> Finding {
    match look(patient.deployment, Timestamp::from_unix_seconds(patient.now)).await {
        Ok(double) if double.is_empty() => Finding::good("nobody has paid twice"),
        Ok(double) => Finding::note(
            format!("learners who have paid twice for one product: {}", double.len()),
            "see whom to pay back what with `coursegate double-payments`",
        ),
        Err(error) => Finding::bad(error.to_string(), TABLE),
    }
}
