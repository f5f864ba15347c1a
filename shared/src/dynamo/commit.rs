//! A list of writes becomes one transaction, and its failure an answer.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, TransactWriteItem, Update};

use super::Table;
use super::attributes::{Item, number, text, time};
use super::failure::ledger_error;
use super::key::{Key, TTL};
use super::source::{self, Changes};
use crate::domain::access::{Grant, RefundThreshold, Status};
use crate::domain::decide::{Event, FirstPurchase, Recorded, StoredSource, Write};
use crate::domain::facts::Facts;
use crate::domain::id::{LearnerId, ProductId, SourceId};
use crate::domain::time::{DAY, Timestamp};
use crate::ports::{Commit, LedgerError};

/// The API calls made here, as IAM names them: a transaction needs the permission of each part.
pub(super) const ACTIONS: &[&str] = &["dynamodb:PutItem", "dynamodb:UpdateItem"];

/// How long the record of an event is kept. Longer than anybody can have Stripe send it again:
/// <https://docs.stripe.com/webhooks#manual-retry> for people, and events are gone after 30 days.
const EVENT_KEPT_DAYS: i64 = 90;
const STRIPE_RESENDS_DAYS: i64 = 30;
const _: () = assert!(STRIPE_RESENDS_DAYS < EVENT_KEPT_DAYS);

/// Names of attributes and of their values, shared by what writes and what reads.
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
    pub(in crate::dynamo) const REFUNDED_PERCENT: &str = "refunded_percent";
    /// Followed by a product: the payment that was the first to open it.
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
        match answer {
            Ok(_) => Ok(Commit::Applied),
            Err(error) => match cancellation(&error).map(|reasons| classify(writes, reasons)) {
                Some(Cancelled::Answer(commit)) => Ok(commit),
                Some(Cancelled::Refused) => Err(LedgerError::Refused(Box::new(error))),
                Some(Cancelled::Passing) => Err(LedgerError::Unavailable(Box::new(error))),
                None => Err(ledger_error(error)),
            },
        }
    }
}

/// What a cancelled transaction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    /// A condition did not hold, or another transaction was at work on an item.
    Answer(Commit),
    /// It would be refused again.
    Refused,
    /// It may be made later.
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

/// Looks at all of the reasons; they come in the order of the writes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn classify(writes: &[Write], reasons: &[CancellationReason]) -> Cancelled {
    let (mut answer, mut passing) = (None, false);
    for (write, reason) in writes.iter().zip(reasons) {
        match (reason.code().unwrap_or("None"), write) {
            ("None", _) => {}
            ("ValidationError" | "ItemCollectionSizeLimitExceeded", _) => {
                return Cancelled::Refused;
            }
            // An event on record settles it, whatever else has moved.
            ("ConditionalCheckFailed", Write::RecordEvent { .. }) => {
                answer = Some(Commit::AlreadyProcessed);
            }
            // Whatever else has moved is read again with what the learner has.
            ("ConditionalCheckFailed", Write::SetGrant { .. }) => {
                let before = answer.filter(|it| *it != Commit::Conflict);
                answer = before.or(Some(Commit::GrantRefused));
            }
            ("ConditionalCheckFailed" | "TransactionConflict", _) => {
                answer = answer.or(Some(Commit::Conflict));
            }
            _ => passing = true,
        }
    }
    match answer {
        Some(answer) if !passing => Cancelled::Answer(answer),
        _ => Cancelled::Passing,
    }
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
        Write::SetGrant { learner, source, grant, began_at, first_purchase } => {
            let first_purchase = first_purchase.as_ref();
            item.update(set_grant(table, learner, source, grant, *began_at, first_purchase)?)
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

fn update(table: &str, key: &Key) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    Update::builder().table_name(table).set_key(Some(key.attributes()))
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
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match replaces {
        None => put.condition_expression("attribute_not_exists(pk)"),
        Some(before) => put
            .condition_expression("#outcome = :before")
            .expression_attribute_names("#outcome", name::OUTCOME)
            .expression_attribute_values(":before", text(outcome(before))),
    };
    put.build().map_err(ours)
}

/// Writes attribute by attribute, so that code that knows fewer facts than other code erases none.
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

/// Sets what a source gives, unless the learner has been erased since it began; and, where it
/// is to be the first payment to open its product, that it is.
fn set_grant(
    table: &str,
    learner: &LearnerId,
    source: &SourceId,
    grant: &Grant,
    began_at: Option<Timestamp>,
    first_purchase: Option<&FirstPurchase>,
) -> Result<Update, LedgerError> {
    let update = update(table, &Key::Access(learner.clone()))
        .expression_attribute_names("#source", source.as_str())
        .expression_attribute_names("#erased_at", name::ERASED_AT)
        .expression_attribute_values(":grant", AttributeValue::M(grant_attributes(grant)));
    let (not_erased, update) = match began_at {
        None => ("attribute_not_exists(#erased_at)", update),
        Some(began_at) => (
            "(attribute_not_exists(#erased_at) OR #erased_at < :began_at)",
            update.expression_attribute_values(":began_at", time(began_at)),
        ),
    };
    let Some(first_purchase) = first_purchase else {
        let update = update.update_expression("SET #source = :grant");
        return update.condition_expression(not_erased).build().map_err(ours);
    };
    let update = update
        .update_expression("SET #source = :grant, #first = :source")
        .expression_attribute_names("#first", format!("{}{}", name::FIRST, grant.product))
        .expression_attribute_values(":source", text(source.as_str()));
    let (is_first, update) = match &first_purchase.replaces {
        None => ("(attribute_not_exists(#first) OR #first = :source)", update),
        // Meanwhile it may have come to open it again.
        Some(before) => (
            "#first = :before AND NOT (#before.#status = :active AND \
             (attribute_not_exists(#before.#refunded) OR #before.#refunded < :all))",
            update
                .expression_attribute_names("#before", before.as_str())
                .expression_attribute_names("#status", name::STATUS)
                .expression_attribute_names("#refunded", name::REFUNDED_PERCENT)
                .expression_attribute_values(":before", text(before.as_str()))
                .expression_attribute_values(":active", text(name::ACTIVE))
                .expression_attribute_values(":all", number(RefundThreshold::ALL.percent())),
        ),
    };
    update.condition_expression(format!("{not_erased} AND {is_first}")).build().map_err(ours)
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
    for (name, value) in [("since", grant.since), ("until", grant.until)] {
        if let Some(value) = value {
            item.insert(name.to_owned(), time(value));
        }
    }
    if grant.refunded_percent > 0 {
        item.insert(name::REFUNDED_PERCENT.to_owned(), number(grant.refunded_percent));
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes() -> Vec<Write> {
        let event = Event {
            id: "evt_1".parse().unwrap(),
            kind: "checkout.session.completed".to_owned(),
            object: None,
            api_version: None,
            created: Timestamp::from_unix_seconds(1),
        };
        let at = Timestamp::from_unix_seconds(2);
        vec![
            Write::ResolveQuarantined { event: event.id.clone(), at },
            Write::RecordEvent { event, recorded: Recorded::Applied, replaces: None, at },
        ]
    }

    #[track_caller]
    fn check(codes: [&str; 2], expected: Cancelled) {
        let reasons = codes.map(|code| CancellationReason::builder().code(code).build());
        assert_eq!(classify(&writes(), &reasons), expected, "{codes:?}");
    }

    #[test]
    fn a_cancelled_transaction_is_classified_by_all_of_its_reasons() {
        let processed = || Cancelled::Answer(Commit::AlreadyProcessed);
        let conflict = || Cancelled::Answer(Commit::Conflict);
        check(["None", "ConditionalCheckFailed"], processed());
        check(["ConditionalCheckFailed", "None"], conflict());
        check(["TransactionConflict", "None"], conflict());
        check(["TransactionConflict", "ConditionalCheckFailed"], processed());
        check(["ConditionalCheckFailed", "TransactionConflict"], conflict());
        check(["ConditionalCheckFailed", "ThrottlingError"], Cancelled::Passing);
        check(["ProvisionedThroughputExceeded", "None"], Cancelled::Passing);
        check(["ValidationError", "ConditionalCheckFailed"], Cancelled::Refused);
        check(["ThrottlingError", "ItemCollectionSizeLimitExceeded"], Cancelled::Refused);
        check(["SomethingNew", "None"], Cancelled::Passing);
    }

    #[test]
    fn a_refused_grant_is_told_from_a_version_that_has_moved() {
        let source: SourceId = "pi_1".parse().unwrap();
        let grant = Grant {
            product: "tutorclaw".parse().unwrap(),
            status: Status::Active,
            since: None,
            until: None,
            refunded_percent: 0,
        };
        let [_, event] = <[Write; 2]>::try_from(writes()).unwrap();
        let writes = [
            event,
            Write::SetGrant {
                learner: "ada".parse().unwrap(),
                source: source.clone(),
                grant,
                began_at: None,
                first_purchase: Some(FirstPurchase { replaces: None }),
            },
            Write::StoreSource { source, facts: Facts::default(), replaces: None },
        ];
        let failed = "ConditionalCheckFailed";
        for (codes, expected) in [
            (["None", failed, "None"], Commit::GrantRefused),
            (["None", failed, failed], Commit::GrantRefused),
            (["None", failed, "TransactionConflict"], Commit::GrantRefused),
            (["None", "TransactionConflict", "None"], Commit::Conflict),
            (["None", "None", failed], Commit::Conflict),
            ([failed, failed, "None"], Commit::AlreadyProcessed),
        ] {
            let reasons = codes.map(|code| CancellationReason::builder().code(code).build());
            let answer = classify(&writes, &reasons);
            assert_eq!(answer, Cancelled::Answer(expected), "{codes:?}");
        }
    }
}
