//! A source's item, with one attribute for each fact.
//!
//! This keeps the attributes that newer versions have added. Each refund, dispute or fraud warning
//! is an attribute of its own, named after its id.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{Item, Reader, number, text, time};
use crate::domain::decide::StoredSource;
use crate::domain::facts::{
    Dispute, DisputeStatus, Facts, ManualGrant, OperatorAction, Origin, Payment, PaymentStatus,
    Purchase, Refund, RefundStatus, Sale, StatusHistory,
};
use crate::domain::money::Money;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::ports::LedgerError;

/// The version of the set of facts that a source can have. Code that knows an older one must not
/// decide on a source: it could give access that a fact it can't see has ended.
const SHAPE: u64 = 2;

const SHAPE_NAME: &str = "shape";
pub(super) const VERSION: &str = "version";

const REFUND: &str = "refund#";
const DISPUTE: &str = "dispute#";
const FRAUD_WARNING: &str = "fraud_warning#";

const PAYMENT_STATUSES: [(PaymentStatus, &str); 3] = [
    (PaymentStatus::Processing, "processing"),
    (PaymentStatus::Failed, "failed"),
    (PaymentStatus::Paid, "paid"),
];

const PAYMENT_TIMES: [(PaymentStatus, &str); 3] = [
    (PaymentStatus::Processing, "processing_at"),
    (PaymentStatus::Failed, "failed_at"),
    (PaymentStatus::Paid, "paid_at"),
];

const REFUND_STATUSES: [(RefundStatus, &str); 5] = [
    (RefundStatus::Pending, "pending"),
    (RefundStatus::RequiresAction, "requires_action"),
    (RefundStatus::Succeeded, "succeeded"),
    (RefundStatus::Canceled, "canceled"),
    (RefundStatus::Failed, "failed"),
];

const DISPUTE_STATUSES: [(DisputeStatus, &str); 8] = [
    (DisputeStatus::Inquiry, "inquiry"),
    (DisputeStatus::InquiryClosed, "inquiry_closed"),
    (DisputeStatus::Open, "open"),
    (DisputeStatus::Won, "won"),
    (DisputeStatus::Blocked, "blocked"),
    (DisputeStatus::Lost, "lost"),
    (DisputeStatus::Resolved, "resolved"),
    (DisputeStatus::Appealed, "appealed"),
];

/// What a write changes in a source's item.
pub(super) struct Changes {
    /// The attributes to set.
    pub(super) set: Vec<(String, AttributeValue)>,
    /// The names of those to remove.
    pub(super) remove: Vec<String>,
}

/// The difference between the source as it was read and these facts. DynamoDB allows expressions of
/// up to 4 KB, so adding a refund must not rewrite the earlier ones:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
pub(super) fn changes(facts: &Facts, replaces: Option<&StoredSource>) -> Changes {
    let mut before: Item =
        replaces.map(|stored| attributes(&stored.facts)).unwrap_or_default().into_iter().collect();
    let version = replaces.map_or(0, |stored| stored.version).saturating_add(1);
    // Older versions may have written a lower shape, or none.
    let mut set =
        vec![(SHAPE_NAME.to_owned(), number(SHAPE)), (VERSION.to_owned(), number(version))];
    for (name, value) in attributes(facts) {
        if before.remove(&name).as_ref() != Some(&value) {
            set.push((name, value));
        }
    }
    Changes { set, remove: before.into_keys().collect() }
}

/// One attribute for each fact.
fn attributes(facts: &Facts) -> Vec<(String, AttributeValue)> {
    let mut attributes = Vec::new();
    let mut put = |name: &str, value| attributes.push((name.to_owned(), value));
    match &facts.origin {
        Some(Origin::Purchase(purchase)) => put_purchase(&mut put, purchase),
        Some(Origin::Manual(grant)) => {
            put("learner", text(grant.learner.as_str()));
            put("product", text(grant.product.as_str()));
            if let Some(until) = grant.until {
                put("until", time(until));
            }
            put_action(&mut put, "granted", &grant.action);
        }
        None => {}
    }
    for (id, refund) in &facts.refunds {
        put(&format!("{REFUND}{id}"), AttributeValue::M(refund_item(refund)));
    }
    for (id, dispute) in &facts.disputes {
        put(&format!("{DISPUTE}{id}"), AttributeValue::M(dispute_item(dispute)));
    }
    for (id, at) in &facts.fraud_warnings {
        put(&format!("{FRAUD_WARNING}{id}"), time(*at));
    }
    if let Some(revoked) = &facts.revoked {
        put_action(&mut put, "revoked", revoked);
    }
    if let Some(at) = facts.forgotten {
        put("forgotten_at", time(at));
    }
    attributes
}

fn put_purchase(put: &mut impl FnMut(&str, AttributeValue), purchase: &Purchase) {
    let sale = &purchase.sale;
    put("learner", text(sale.learner.as_str()));
    put("product", text(sale.product.as_str()));
    put("price", text(sale.price.as_str()));
    put("session", text(sale.session.as_str()));
    if let Some(total) = sale.total {
        put("amount", number(total.amount_minor));
        put("currency", text(total.currency.as_str()));
    }
    if let Some(opened_at) = sale.opened_at {
        put("opened_at", time(opened_at));
    }
    put("payment", text(name_of(&PAYMENT_STATUSES, purchase.payment.status())));
    for (status, at) in purchase.payment.history() {
        if let Some(at) = at {
            put(name_of(&PAYMENT_TIMES, status), time(at));
        }
    }
}

fn put_action(put: &mut impl FnMut(&str, AttributeValue), what: &str, action: &OperatorAction) {
    put(&format!("{what}_at"), time(action.at));
    put(&format!("{what}_by"), text(action.by.to_string()));
    put(&format!("{what}_for"), text(action.reason.to_string()));
}

fn refund_item(refund: &Refund) -> Item {
    let mut item = statuses_item(&refund.statuses, &REFUND_STATUSES);
    item.insert("amount".to_owned(), number(refund.amount_minor));
    item
}

fn dispute_item(dispute: &Dispute) -> Item {
    let mut item = statuses_item(&dispute.statuses, &DISPUTE_STATUSES);
    if let Some(snapshot) = dispute.snapshot {
        item.insert("reading".to_owned(), number(snapshot.number));
        item.insert("read".to_owned(), text(name_of(&DISPUTE_STATUSES, snapshot.value)));
    }
    item
}

fn statuses_item<S: Copy + Ord>(statuses: &StatusHistory<S>, names: &[(S, &'static str)]) -> Item {
    statuses.iter().map(|(status, at)| (name_of(names, status).to_owned(), time(at))).collect()
}

fn name_of<S: Copy + PartialEq>(names: &[(S, &'static str)], status: S) -> &'static str {
    names.iter().find_map(|(known, name)| (*known == status).then_some(*name)).unwrap_or_default()
}

/// Reads a source's item.
pub(super) fn stored(item: &Item) -> Result<StoredSource, LedgerError> {
    let reader = Reader(item);
    // The first version didn't write it.
    if reader.maybe_number::<u64>(SHAPE_NAME)?.is_some_and(|shape| shape > SHAPE) {
        let reason = "a source was written by a newer version, and may have unknown facts";
        return Err(LedgerError::Unreadable(reason.to_owned()));
    }
    let facts = Facts {
        origin: origin(&reader)?,
        refunds: named(item, REFUND, |value| refund(&Reader(map(value)?)))?,
        disputes: named(item, DISPUTE, |value| dispute(&Reader(map(value)?)))?,
        fraud_warnings: named(item, FRAUD_WARNING, |value| {
            let seconds = value.as_n().ok().and_then(|seconds| seconds.parse().ok());
            Ok(Timestamp::from_unix_seconds(seconds.ok_or_else(|| unreadable(FRAUD_WARNING))?))
        })?,
        revoked: action(&reader, "revoked")?,
        forgotten: reader.maybe_time("forgotten_at")?,
    };
    Ok(StoredSource { facts, version: reader.number(VERSION)? })
}

fn origin(source: &Reader<'_>) -> Result<Option<Origin>, LedgerError> {
    if source.maybe_text("learner").is_none() {
        return Ok(None);
    }
    let learner = source.parsed("learner")?;
    let product = source.parsed("product")?;
    if let Some(action) = action(source, "granted")? {
        let until = source.maybe_time("until")?;
        return Ok(Some(Origin::Manual(ManualGrant { product, until, action, learner })));
    }
    let payment = payment(source)?;
    let total = match source.maybe_number("amount")? {
        Some(amount_minor) => Some(Money { amount_minor, currency: source.parsed("currency")? }),
        None => None,
    };
    let (price, session) = (source.parsed("price")?, source.parsed("session")?);
    let opened_at = source.maybe_time("opened_at")?;
    let sale = Sale { product, price, session, total, opened_at, learner };
    Ok(Some(Origin::Purchase(Purchase { sale, payment })))
}

fn payment(source: &Reader<'_>) -> Result<Payment, LedgerError> {
    let name = source.text("payment")?;
    let known = PAYMENT_STATUSES.iter().find(|(_, known)| *known == name);
    let Some((status, _)) = known else {
        return Err(LedgerError::Unreadable(format!(
            "a source has the unknown payment status {name}"
        )));
    };
    if *status == PaymentStatus::Paid {
        // Access needs a start. Earlier versions didn't write the other times.
        source.time("paid_at")?;
    }
    Ok(Payment::stored(*status, status_history(source, &PAYMENT_TIMES)?))
}

fn action(source: &Reader<'_>, what: &str) -> Result<Option<OperatorAction>, LedgerError> {
    let Some(at) = source.maybe_time(&format!("{what}_at"))? else { return Ok(None) };
    Ok(Some(OperatorAction {
        at,
        by: source.parsed(&format!("{what}_by"))?,
        reason: source.parsed(&format!("{what}_for"))?,
    }))
}

fn refund(item: &Reader<'_>) -> Result<Refund, LedgerError> {
    Ok(Refund {
        amount_minor: item.number("amount")?,
        statuses: status_history(item, &REFUND_STATUSES)?,
    })
}

fn dispute(item: &Reader<'_>) -> Result<Dispute, LedgerError> {
    let snapshot = match item.maybe_number("reading")? {
        None => None,
        Some(number) => {
            let read = item.text("read")?;
            let status = DISPUTE_STATUSES.iter().find(|(_, name)| *name == read);
            let value = status.ok_or_else(|| unreadable("read"))?.0;
            Some(Snapshot { number, value })
        }
    };
    Ok(Dispute { statuses: status_history(item, &DISPUTE_STATUSES)?, snapshot })
}

fn status_history<S: Copy + Ord>(
    item: &Reader<'_>,
    names: &[(S, &'static str)],
) -> Result<StatusHistory<S>, LedgerError> {
    let mut statuses = Vec::new();
    for (status, name) in names {
        if let Some(at) = item.maybe_time(name)? {
            statuses.push((*status, at));
        }
    }
    Ok(statuses.into_iter().collect())
}

/// The attributes whose names start with this prefix, by the id that follows it.
fn named<K: FromStr + Ord, V>(
    item: &Item,
    prefix: &str,
    read: impl Fn(&AttributeValue) -> Result<V, LedgerError>,
) -> Result<BTreeMap<K, V>, LedgerError> {
    let mut all = BTreeMap::new();
    for (name, value) in item {
        let Some(id) = name.strip_prefix(prefix) else { continue };
        let id = id.parse().ok().ok_or_else(|| unreadable(prefix))?;
        all.insert(id, read(value)?);
    }
    Ok(all)
}

fn map(value: &AttributeValue) -> Result<&Item, LedgerError> {
    value.as_m().ok().ok_or_else(|| unreadable("of a refund or dispute"))
}

fn unreadable(name: &str) -> LedgerError {
    LedgerError::Unreadable(format!("attribute {name} has the wrong type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// The item after these facts are written, one after the other.
    fn item_after(all: &[Facts]) -> Item {
        let (mut item, mut stored) = (Item::new(), None);
        for facts in all {
            let Changes { set, remove } = changes(facts, stored.as_ref());
            item.extend(set);
            item.retain(|name, _| !remove.contains(name));
            let version = stored.map_or(1, |stored: StoredSource| stored.version.saturating_add(1));
            stored = Some(StoredSource { facts: facts.clone(), version });
        }
        item
    }

    fn item(facts: &Facts) -> Item {
        item_after(std::slice::from_ref(facts))
    }

    fn everything() -> Facts {
        let action = |seconds| OperatorAction {
            at: at(seconds),
            by: "arn:aws:iam::1:user/grace".parse().unwrap(),
            reason: "asked for by mail".parse().unwrap(),
        };
        let statuses =
            REFUND_STATUSES.iter().zip(1..).map(|((status, _), second)| (*status, at(second)));
        let refund = Refund { amount_minor: 2900, statuses: statuses.collect() };
        let statuses =
            DISPUTE_STATUSES.iter().zip(1..).map(|((status, _), second)| (*status, at(second)));
        let snapshot = Some(Snapshot { number: 3, value: DisputeStatus::Won });
        let dispute = Dispute { statuses: statuses.collect(), snapshot };
        let open =
            Dispute { statuses: StatusHistory::once(DisputeStatus::Open, at(9)), snapshot: None };
        let sale = Sale {
            learner: "ada".parse().unwrap(),
            product: "tutorclaw".parse().unwrap(),
            price: "tutorclaw_paid".parse().unwrap(),
            session: "cs_1".parse().unwrap(),
            total: Some(Money { amount_minor: 2900, currency: "usd".parse().unwrap() }),
            opened_at: Some(at(1)),
        };
        let statuses =
            PAYMENT_STATUSES.iter().zip(1..).map(|((status, _), second)| (*status, at(second)));
        let payment = Payment::stored(PaymentStatus::Paid, statuses.collect());
        Facts {
            refunds: [("re_1".parse().unwrap(), refund)].into(),
            disputes: [("du_1".parse().unwrap(), dispute), ("dp_2".parse().unwrap(), open)].into(),
            fraud_warnings: [("issfr_1".parse().unwrap(), at(4))].into(),
            revoked: Some(action(5)),
            forgotten: Some(at(6)),
            ..Purchase { sale, payment }.into()
        }
    }

    #[test]
    fn every_fact_is_read_back_as_it_was_written() {
        let facts = everything();
        assert_eq!(stored(&item(&facts)).unwrap(), StoredSource { facts, version: 1 });
        let Facts { refunds, disputes, .. } = everything();
        let grant = ManualGrant {
            learner: "ada".parse().unwrap(),
            product: "tutorclaw".parse().unwrap(),
            until: Some(at(9)),
            action: everything().revoked.unwrap(),
        };
        // Refunds and disputes whose sale isn't known yet, and a manual grant.
        for facts in [
            Facts { refunds, ..Facts::default() },
            Facts { disputes, ..Facts::default() },
            Origin::Manual(grant).into(),
        ] {
            assert_eq!(stored(&item(&facts)).unwrap().facts, facts);
        }
    }

    #[test]
    fn a_write_changes_only_what_differs() {
        let Facts { origin, refunds, disputes, fraud_warnings, revoked, forgotten } = everything();
        let manual = ManualGrant {
            learner: "bob".parse().unwrap(),
            product: "curriculum".parse().unwrap(),
            until: Some(at(9)),
            action: revoked.clone().unwrap(),
        };
        let all = [
            Facts::default(),
            Facts { origin, ..Facts::default() },
            Origin::Manual(manual).into(),
            Facts { refunds, ..Facts::default() },
            Facts { disputes, fraud_warnings, ..Facts::default() },
            Facts { revoked, forgotten, ..Facts::default() },
            everything(),
        ];
        for before in &all {
            for after in &all {
                let item = item_after(&[before.clone(), after.clone()]);
                let expected = StoredSource { facts: after.clone(), version: 2 };
                assert_eq!(stored(&item).unwrap(), expected, "{before:?}");
            }
            let same = StoredSource { facts: before.clone(), version: 1 };
            let Changes { set, remove } = changes(before, Some(&same));
            let set: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((set, remove.len()), (vec![SHAPE_NAME, VERSION], 0));
        }
    }

    #[test]
    fn one_more_fact_is_one_attribute_however_many_there_are() {
        let refund = Refund {
            amount_minor: 1,
            statuses: StatusHistory::once(RefundStatus::Succeeded, at(3)),
        };
        let refunded = |times: usize| {
            let refunds =
                (0..times).map(|it| (format!("re_{it}").parse().unwrap(), refund.clone()));
            Facts { refunds: refunds.collect(), forgotten: None, ..everything() }
        };
        let forgotten = Facts { forgotten: Some(at(6)), ..Facts::default() };
        for times in [1, 2, 277, 278, 1000, 4000] {
            let before = StoredSource { facts: refunded(times), version: 1 };
            let one_more = changes(&refunded(times + 1), Some(&before));
            let names: Vec<&str> = one_more.set.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, [SHAPE_NAME, VERSION, &format!("refund#re_{times}")]);
            let forgotten = changes(&refunded(times).join(forgotten.clone()), Some(&before));
            let names: Vec<&str> = forgotten.set.iter().map(|(name, _)| name.as_str()).collect();
            let expected = [SHAPE_NAME, VERSION, "learner", "revoked_for", "forgotten_at"];
            assert_eq!((names, forgotten.remove.len()), (expected.to_vec(), 0));
        }
    }

    #[test]
    fn a_payment_that_was_stored_without_a_time_is_read() {
        for (name, status) in
            [("processing", PaymentStatus::Processing), ("failed", PaymentStatus::Failed)]
        {
            let mut item = item(&everything());
            item.insert("payment".to_owned(), text(name));
            for time in ["processing_at", "failed_at", "paid_at"] {
                item.remove(time);
            }
            let facts = stored(&item).unwrap().facts;
            let history: Vec<_> = facts.purchase().unwrap().payment.history().collect();
            assert_eq!(history, [(status, None)]);
        }
        let mut undated = item(&everything());
        undated.remove("paid_at");
        assert!(stored(&undated).is_err(), "access needs a start");
    }

    #[test]
    fn items_of_newer_code_are_not_decided_on() {
        let mut newer = item(&everything());
        newer.insert(SHAPE_NAME.to_owned(), number(SHAPE + 1));
        let error = stored(&newer).unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
    }

    #[test]
    fn a_fact_that_cannot_be_read_is_not_overlooked() {
        for (name, value) in [
            ("refund#re_1", text("lost")),
            ("refund#", number(1)),
            ("dispute#du_1", number(1)),
            ("fraud_warning#issfr_1", text("yesterday")),
            ("payment", text("in kind")),
            ("revoked_by", number(1)),
        ] {
            let mut item = item(&everything());
            item.insert(name.to_owned(), value);
            assert!(stored(&item).is_err(), "{name}");
        }
    }
}
