//! What the operator has to handle: quarantined events and double payments.

use shared::domain::time::Timestamp;
use shared::dynamo::operator;

use super::{Finding, Patient};
use crate::double_payments::look;

const TABLE: &str = "check the table";

pub(super) async fn quarantine(patient: &Patient<'_>) -> Finding {
    match operator::quarantined(&patient.deployment.table()).await {
        Ok(waiting) if waiting.is_empty() => Finding::good("no event is in quarantine"),
        Ok(waiting) => Finding::note(
            format!("events in quarantine that could not be read: {}", waiting.len()),
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
            format!("learners who paid twice for one product: {}", double.len()),
            "see what to refund with `coursegate double-payments`",
        ),
        Err(error) => Finding::bad(error.to_string(), TABLE),
    }
}
