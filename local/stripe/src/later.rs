//! Timed changes: sessions expire, and banks respond.

use serde_json::{Value, json};

use crate::document::Document;
use crate::resources::{checkout_sessions, disputes, refunds};
use crate::state::Call;
use crate::store::Kind;

/// How long a bank takes to respond. It takes seconds in Stripe's test mode, too.
const BANK_TAKES_SECONDS: i64 = 10;

/// Schedules the bank's new status for a refund or a dispute.
pub(crate) fn let_bank_answer(call: &mut Call<'_>, kind: Kind, id: &str, status: &str) {
    let due = call.now + BANK_TAKES_SECONDS;
    let answer = json!({ "about": kind.name(), "due": due, "status": status });
    call.store.put(Kind::BankAnswer, id, answer);
    *call.next_due = (*call.next_due).min(due);
}

/// Applies what is due, and notes when the next change is.
pub(crate) fn happen(call: &mut Call<'_>) {
    *call.next_due = i64::MAX;
    // No request caused it, so its events name none.
    let origin = std::mem::take(&mut call.origin);
    checkout_sessions::expire_due(call);
    let answers: Vec<(String, Value)> = call
        .store
        .iterate(Kind::BankAnswer)
        .map(|(_, id, answer)| (id.to_owned(), answer.clone()))
        .collect();
    for (id, answer) in answers {
        let due = answer.integer("due");
        if due > call.now {
            *call.next_due = (*call.next_due).min(due);
            continue;
        }
        call.store.remove(Kind::BankAnswer, &id);
        let status = answer.text("status");
        let done = if answer.text("about") == Kind::Refund.name() {
            refunds::settle(call, &id, status)
        } else {
            disputes::move_to(call, &id, status, None)
        };
        if let Err(error) = done {
            tracing::debug!(
                id,
                error = error.message(),
                "the status changed before the bank responded"
            );
        }
    }
    call.origin = origin;
}
