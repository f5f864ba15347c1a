//! Commits a list of writes as one transaction, and reads why one was cancelled.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};

use super::Table;
use super::attributes::{Item, Reader, number, text, time};
use super::failure::ledger_error;
use super::key::{Key, TTL};
use super::ledger;
use super::source::{self, Changes};
use crate::domain::access::{EndReason, Grant, Status};
use crate::domain::decide::{Event, FirstPurchase, Recorded, Stored, StoredSource, Target, Write};
use crate::domain::facts::Facts;
use crate::domain::id::{ProductId, SourceId};
use crate::domain::time::{DAY, Timestamp};
use crate::ports::{Commit, LedgerError};

/// The IAM actions needed here: a transaction needs the permission of each write.
pub(super) const ACTIONS: &[&str] = &["dynamodb:PutItem", "dynamodb:UpdateItem"];

/// How long the record of an event is kept: longer than Stripe can resend the event. People can
/// resend one manually (<https://docs.stripe.com/webhooks#manual-retry>), and Stripe deletes events
/// after 30 days.
const EVENT_KEPT_DAYS: i64 = 90;
const STRIPE_RESENDS_DAYS: i64 = 30;
const _: () = assert!(STRIPE_RESENDS_DAYS < EVENT_KEPT_DAYS);

/// Names of attributes and of their values, for both writing and reading.
pub(super) mod name {
    pub(in crate::dynamo) const OUTCOME: &str = "outcome";
    pub(in crate::dynamo) const APPLIED: &str = "applied";
    pub(in crate::dynamo) const UNCHANGED: &str = "unchanged";
    pub(in crate::dynamo) const QUARANTINED: &str = "quarantined";
    pub(in crate::dynamo) const STATUS: &str = "status";
    pub(in crate::dynamo) const PROCESSING: &str = "processing";
    pub(in crate::dynamo) const FAILED: &str = "failed";
    pub(in crate::dynamo) const ACTIVE: &str = "active";
    pub(in crate::dynamo) const SUSPENDED: &str = "suspended";
    pub(in crate::dynamo) const DISPUTE_LOST: &str = "dispute_lost";
    pub(in crate::dynamo) const REVOKED: &str = "revoked";
    /// Why a grant ends. Earlier versions didn't write it: there, an end always came from a manual
    /// grant.
    pub(in crate::dynamo) const END_REASON: &str = "end_reason";
    pub(in crate::dynamo) const GIVEN_UNTIL: &str = "given_until";
    pub(in crate::dynamo) const REFUNDED_PERCENT: &str = "refunded_percent";
    /// A prefix before a product's id, for the payment that was the first to open the product.
    pub(in crate::dynamo) const FIRST: &str = "first#";
    /// When the learner was erased.
    pub(in crate::dynamo) const ERASED_AT: &str = "erased_at";
    pub(in crate::dynamo) const DELETED_AT: &str = "deleted_at";
}

impl Table {
    pub(super) async fn transact(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let items = writes
            .iter()
            .map(|write| transact_item(&self.name, write))
            .collect::<Result<Vec<_>, _>>()?;
        let answer =
            self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = answer else { return Ok(Commit::Applied) };
        match conflict(&error) {
            Some(reasons) => Ok(Commit::Conflict(Box::new(found(writes, reasons)?))),
            None => Err(transaction_error(error)),
        }
    }
}

/// Whether all conditions of a transaction held. That they did not, or that another write was
/// quicker, is an answer and no error: read again.
pub(super) fn all_held<R: std::fmt::Debug + Send + Sync + 'static>(
    answer: Result<(), SdkError<TransactWriteItemsError, R>>,
) -> Result<bool, LedgerError> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if conflict(&error).is_some() => Ok(false),
        Err(error) => Err(transaction_error(error)),
    }
}

/// The reasons, if a transaction was cancelled because of others.
fn conflict<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<&[CancellationReason]> {
    cancellation(error).filter(|reasons| classify(reasons) == Cancelled::Conflict)
}

/// Any other failure of a transaction.
fn transaction_error<R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<TransactWriteItemsError, R>,
) -> LedgerError {
    match cancellation(&error).map(classify) {
        Some(Cancelled::Refused) => LedgerError::Refused(Box::new(error)),
        Some(Cancelled::Conflict | Cancelled::Passing) => LedgerError::Unavailable(Box::new(error)),
        None => ledger_error(error),
    }
}

/// What a cancelled transaction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    /// A condition didn't hold, or another transaction was writing an item.
    Conflict,
    /// It would be refused again.
    Refused,
    /// It may succeed later.
    Passing,
}

fn cancellation<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<&[CancellationReason]> {
    let error = error.as_service_error()?;
    if let TransactWriteItemsError::TransactionCanceledException(canceled) = error {
        Some(canceled.cancellation_reasons())
    } else {
        None
    }
}

const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// Considers all reasons, of which there is one for each write. An unknown one counts as temporary.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn classify(reasons: &[CancellationReason]) -> Cancelled {
    let (mut has_conflict, mut has_other) = (false, false);
    for reason in reasons {
        match reason.code().unwrap_or("None") {
            "None" => {}
            "ValidationError" | "ItemCollectionSizeLimitExceeded" => return Cancelled::Refused,
            CONDITION_FAILED | "TransactionConflict" => has_conflict = true,
            _ => has_other = true,
        }
    }
    if has_conflict && !has_other { Cancelled::Conflict } else { Cancelled::Passing }
}

/// The items whose conditions failed. The reasons are in the order of the writes.
fn found(writes: &[Write], reasons: &[CancellationReason]) -> Result<Stored, LedgerError> {
    let mut found = Stored::default();
    for (write, reason) in writes.iter().zip(reasons) {
        let Some(item) = reason.item().filter(|_| reason.code() == Some(CONDITION_FAILED)) else {
            continue;
        };
        match write.target() {
            Target::Event(_) => found.event = Some(ledger::recorded(&Reader(item))?),
            Target::Source(_) => found.source = Some(source::stored(item)?),
            Target::Access(_) => found.access = Some(ledger::entitlements(item)?),
            Target::Customer(_) => found.customer = ledger::customer(&Reader(item))?.linked,
            // Written unconditionally.
            Target::Quarantined(_) | Target::DoublePayment(..) => {}
        }
    }
    Ok(found)
}

fn transact_item(table: &str, write: &Write) -> Result<TransactWriteItem, LedgerError> {
    let item = TransactWriteItem::builder();
    let key = Key::from(write.target());
    let item = match write {
        Write::RecordEvent { event, recorded, replaces, at } => {
            item.put(record_event(table, event, *recorded, *replaces, *at)?)
        }
        Write::ListQuarantined { event, reason, at } => {
            let mut attributes = event_attributes(&key, event, *at);
            attributes.insert("reason".to_owned(), text(reason));
            // The event's record fences it.
            let put = Put::builder().table_name(table).set_item(Some(attributes));
            item.put(put.build().map_err(ours)?)
        }
        Write::ResolveQuarantined { at, .. } => item.update(
            update(table, &key)
                .update_expression("SET resolved_at = :at, #ttl = :ttl")
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":at", time(*at))
                .expression_attribute_values(":ttl", time(at.plus_seconds(EVENT_KEPT_DAYS * DAY)))
                .build()
                .map_err(ours)?,
        ),
        Write::StoreSource { source, facts, replaces } => {
            item.update(store_source(table, source, facts, replaces.as_ref())?)
        }
        Write::SetGrant { source, grant, erased_at, first_purchase, .. } => {
            let first_purchase = first_purchase.as_ref();
            item.update(set_grant(table, &key, source, grant, *erased_at, first_purchase)?)
        }
        Write::Erase { at, grants, first_purchases, .. } => {
            item.update(erase(table, &key, *at, grants, first_purchases)?)
        }
        Write::ListDoublePayment { at, .. } => item.update(
            update(table, &key)
                .update_expression("SET noticed_at = :at")
                .expression_attribute_values(":at", time(*at))
                .build()
                .map_err(ours)?,
        ),
        Write::UnlinkCustomer { customer, at, .. } => item.update(
            update(table, &key)
                .update_expression("SET #deleted_at = :at")
                .condition_expression("customer = :customer")
                .expression_attribute_names("#deleted_at", name::DELETED_AT)
                .expression_attribute_values(":at", time(*at))
                .expression_attribute_values(":customer", text(customer.as_str()))
                .build()
                .map_err(ours)?,
        ),
    };
    Ok(item.build())
}

/// An update that returns the item if its condition fails, which costs no read units:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Update.html>
fn update(table: &str, key: &Key) -> UpdateBuilder {
    Update::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn ours(error: aws_sdk_dynamodb::error::BuildError) -> LedgerError {
    LedgerError::Refused(Box::new(error))
}

fn event_attributes(key: &Key, event: &Event, at: Timestamp) -> Item {
    let mut item = key.attributes();
    item.insert("type".to_owned(), text(&event.kind));
    item.insert("created".to_owned(), time(event.created));
    item.insert("at".to_owned(), time(at));
    for (name, value) in [("object", &event.object), ("api_version", &event.api_version)] {
        if let Some(value) = value {
            item.insert(name.to_owned(), text(value));
        }
    }
    item
}

const fn outcome(recorded: Recorded) -> &'static str {
    match recorded {
        Recorded::Applied => name::APPLIED,
        Recorded::Unchanged => name::UNCHANGED,
        Recorded::Quarantined => name::QUARANTINED,
    }
}

fn record_event(
    table: &str,
    event: &Event,
    recorded: Recorded,
    replaces: Option<Recorded>,
    at: Timestamp,
) -> Result<Put, LedgerError> {
    let mut item = event_attributes(&Key::Event(event.id.clone()), event, at);
    item.insert(name::OUTCOME.to_owned(), text(outcome(recorded)));
    item.insert(TTL.to_owned(), time(at.plus_seconds(EVENT_KEPT_DAYS * DAY)));
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let put = match replaces {
        None => put.condition_expression("attribute_not_exists(pk)"),
        Some(before) => put
            .condition_expression("#outcome = :before")
            .expression_attribute_names("#outcome", name::OUTCOME)
            .expression_attribute_values(":before", text(outcome(before))),
    };
    put.build().map_err(ours)
}

/// Writes single attributes, so that code which knows fewer facts than a newer version erases none.
fn store_source(
    table: &str,
    source: &SourceId,
    facts: &Facts,
    replaces: Option<&StoredSource>,
) -> Result<Update, LedgerError> {
    let Changes { set, remove } = source::changes(facts, replaces);
    let mut update = update(table, &Key::Source(source.clone()));
    let (mut assignments, mut removals) = (Vec::new(), Vec::new());
    for (number, (name, value)) in set.into_iter().enumerate() {
        assignments.push(format!("#a{number} = :a{number}"));
        update = update
            .expression_attribute_names(format!("#a{number}"), name)
            .expression_attribute_values(format!(":a{number}"), value);
    }
    for (number, name) in remove.into_iter().enumerate() {
        removals.push(format!("#r{number}"));
        update = update.expression_attribute_names(format!("#r{number}"), name);
    }
    let mut expression = format!("SET {}", assignments.join(", "));
    if !removals.is_empty() {
        expression = format!("{expression} REMOVE {}", removals.join(", "));
    }
    let update = update.update_expression(expression);
    let update = match replaces {
        None => update.condition_expression("attribute_not_exists(pk)"),
        Some(StoredSource { version, .. }) => update
            .condition_expression("#version = :replaces")
            .expression_attribute_names("#version", source::VERSION)
            .expression_attribute_values(":replaces", number(version)),
    };
    update.build().map_err(ours)
}

/// Sets a source's grant, and marks it as the first purchase of its product if the decision says
/// so. The learner's item must still be as the decision saw it.
fn set_grant(
    table: &str,
    key: &Key,
    source: &SourceId,
    grant: &Grant,
    erased_at: Option<Timestamp>,
    first_purchase: Option<&FirstPurchase>,
) -> Result<Update, LedgerError> {
    let update = update(table, key)
        .expression_attribute_names("#source", source.as_str())
        .expression_attribute_names("#erased_at", name::ERASED_AT)
        .expression_attribute_values(":grant", AttributeValue::M(grant_attributes(grant)));
    let (mut condition, mut update) = match erased_at {
        None => ("attribute_not_exists(#erased_at)".to_owned(), update),
        Some(at) => (
            "#erased_at = :erased_at".to_owned(),
            update.expression_attribute_values(":erased_at", time(at)),
        ),
    };
    let mut expression = "SET #source = :grant";
    if let Some(FirstPurchase { replaces }) = first_purchase {
        expression = "SET #source = :grant, #first = :source";
        update = update
            .expression_attribute_names("#first", format!("{}{}", name::FIRST, grant.product))
            .expression_attribute_values(":source", text(source.as_str()));
        let (is_as_seen, with_values) = still_first(update, replaces.as_ref());
        (condition, update) = (format!("{condition} AND {is_as_seen}"), with_values);
    }
    update.update_expression(expression).condition_expression(condition).build().map_err(ours)
}

/// The condition that the first purchase of the product is still the one that the decision saw.
fn still_first(
    update: UpdateBuilder,
    replaces: Option<&(SourceId, Option<Grant>)>,
) -> (&'static str, UpdateBuilder) {
    let Some((before, grant)) = replaces else {
        return ("(attribute_not_exists(#first) OR #first = :source)", update);
    };
    let update = update
        .expression_attribute_names("#before", before.as_str())
        .expression_attribute_values(":before", text(before.as_str()));
    match grant {
        None => ("#first = :before AND attribute_not_exists(#before)", update),
        Some(grant) => (
            "#first = :before AND #before = :before_grant",
            update.expression_attribute_values(
                ":before_grant",
                AttributeValue::M(grant_attributes(grant)),
            ),
        ),
    }
}

/// Marks a learner as erased, and removes these grants and first purchases.
fn erase(
    table: &str,
    key: &Key,
    at: Timestamp,
    grants: &[SourceId],
    first_purchases: &[(ProductId, SourceId)],
) -> Result<Update, LedgerError> {
    let mut update = update(table, key)
        .expression_attribute_names("#erased_at", name::ERASED_AT)
        .expression_attribute_values(":at", time(at));
    let mut removed = Vec::new();
    let mut condition = "(attribute_not_exists(#erased_at) OR #erased_at <= :at)".to_owned();
    for (number, source) in grants.iter().enumerate() {
        removed.push(format!("#g{number}"));
        update = update.expression_attribute_names(format!("#g{number}"), source.as_str());
    }
    for (number, (product, source)) in first_purchases.iter().enumerate() {
        removed.push(format!("#c{number}"));
        condition = format!("{condition} AND #c{number} = :c{number}");
        update = update
            .expression_attribute_names(format!("#c{number}"), format!("{}{product}", name::FIRST))
            .expression_attribute_values(format!(":c{number}"), text(source.as_str()));
    }
    let mut expression = "SET #erased_at = :at".to_owned();
    if !removed.is_empty() {
        expression = format!("{expression} REMOVE {}", removed.join(", "));
    }
    update.update_expression(expression).condition_expression(condition).build().map_err(ours)
}

fn grant_attributes(grant: &Grant) -> Item {
    let status = match grant.status {
        Status::Active => name::ACTIVE,
        Status::Processing => name::PROCESSING,
        Status::Failed => name::FAILED,
        Status::Suspended => name::SUSPENDED,
        Status::DisputeLost => name::DISPUTE_LOST,
        Status::Revoked => name::REVOKED,
    };
    let mut item = Item::from([
        ("product".to_owned(), text(grant.product.as_str())),
        (name::STATUS.to_owned(), text(status)),
    ]);
    if let Some(since) = grant.since {
        item.insert("since".to_owned(), time(since));
    }
    if let Some(end) = grant.end {
        item.insert("until".to_owned(), time(end.at));
        item.insert(name::END_REASON.to_owned(), text(end_reason(end.reason)));
    }
    if grant.refunded_percent > 0 {
        item.insert(name::REFUNDED_PERCENT.to_owned(), number(grant.refunded_percent));
    }
    item
}

const fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::GivenUntil => name::GIVEN_UNTIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons<const N: usize>(codes: [&str; N]) -> [CancellationReason; N] {
        codes.map(|code| CancellationReason::builder().code(code).build())
    }

    #[test]
    fn a_cancelled_transaction_is_classified_by_all_of_its_reasons() {
        for (codes, expected) in [
            (["None", "ConditionalCheckFailed"], Cancelled::Conflict),
            (["TransactionConflict", "None"], Cancelled::Conflict),
            (["ConditionalCheckFailed", "TransactionConflict"], Cancelled::Conflict),
            (["ConditionalCheckFailed", "ThrottlingError"], Cancelled::Passing),
            (["ProvisionedThroughputExceeded", "None"], Cancelled::Passing),
            (["ValidationError", "ConditionalCheckFailed"], Cancelled::Refused),
            (["ThrottlingError", "ItemCollectionSizeLimitExceeded"], Cancelled::Refused),
            (["SomethingNew", "None"], Cancelled::Passing),
        ] {
            assert_eq!(classify(&reasons(codes)), expected, "{codes:?}");
        }
    }
}
