//! What checkout stores about a learner: their Stripe customer, their attempts to buy, their upgrade
//! links, and how often they and their links have been used.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};

use super::Table;
use super::attributes::{Item, Reader, number, text, time};
use super::commit::all_held;
use super::failure::{held, ledger_error};
use super::key::{Key, PK, SK, TTL};
use super::ledger::{customer, entitlements};
use crate::domain::checkout::{Attempt, Buyer, Link, NewCustomer, OpenSession};
use crate::domain::id::{AttemptId, LearnerId, LinkId, ProductId, SessionId};
use crate::domain::rate::{Count, Counter, Rate};
use crate::domain::time::DAY;
use crate::ports::{CheckoutStore, LedgerError};

/// The API calls made here, as IAM names them.
pub const ACTIONS: &[&str] =
    &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/// A session that was paid is found through its attempt for longer than Stripe can tell of the
/// payment: it keeps events for 30 days. <https://docs.stripe.com/api/events>
const ATTEMPT_KEPT_DAYS: i64 = 40;
const STRIPE_KEEPS_EVENTS_DAYS: i64 = 30;
const _: () = assert!(STRIPE_KEEPS_EVENTS_DAYS < ATTEMPT_KEPT_DAYS);
/// Longer than the longest window.
const RATE_KEPT_DAYS: i64 = 1;

impl CheckoutStore for Table {
    async fn buyer(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        counter: &Counter,
    ) -> Result<Buyer, LedgerError> {
        let keys = vec![
            Key::Access(learner.clone()),
            Key::Customer(learner.clone()),
            Key::Checkout(learner.clone(), product.clone()),
            Key::Rate(counter.clone()),
        ];
        let mut buyer = Buyer::default();
        for item in self.batch_get(keys).await? {
            let reader = Reader(&item);
            match Key::parse(reader.text(PK)?, reader.text(SK)?) {
                Some(Key::Access(_)) => buyer.entitlements = entitlements(&item)?,
                Some(Key::Customer(_)) => {
                    let customer = customer(&reader)?;
                    (buyer.customer, buyer.deleted_customer) = (customer.linked, customer.deleted);
                }
                Some(Key::Checkout(..)) => buyer.attempt = Some(attempt(&reader)?),
                Some(Key::Rate(_)) => buyer.rate = Some(rate(&reader)?),
                _ => return Err(LedgerError::Unreadable("an item that nobody asked for".into())),
            }
        }
        Ok(buyer)
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
        customer: Option<&NewCustomer>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Checkout(learner.clone(), product.clone()).attributes();
        let ends = attempt.started_at.plus_seconds(ATTEMPT_KEPT_DAYS * DAY);
        item.extend([
            ("attempt".to_owned(), text(attempt.id.as_str())),
            ("fingerprint".to_owned(), text(&attempt.fingerprint)),
            ("catalog_version".to_owned(), number(attempt.catalog_version)),
            ("started_at".to_owned(), time(attempt.started_at)),
            (TTL.to_owned(), time(ends)),
        ]);
        let replaces = replaces.map(|attempt| {
            let session = attempt.session.as_ref().map(|session| text(session.id.as_str()));
            vec![("attempt", Some(text(attempt.id.as_str()))), ("session", session)]
        });
        let attempt = Conditional::new(item, replaces);
        let Some(NewCustomer { id, replaces }) = customer else { return self.put(attempt).await };
        let mut item = Key::Customer(learner.clone()).attributes();
        item.insert("customer".to_owned(), text(id.as_str()));
        let replaces = replaces.as_ref().map(|old| vec![("customer", Some(text(old.as_str())))]);
        self.put_both([attempt, Conditional::new(item, replaces)]).await
    }

    async fn renew_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> Result<bool, LedgerError> {
        let update = self
            .unopened_attempt(learner, product, attempt)
            .update_expression("SET attempt = :renewed")
            .expression_attribute_values(":renewed", text(renewed.as_str()));
        held(update.send().await.map(drop))
    }

    async fn record_session(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> Result<bool, LedgerError> {
        let update = self
            .unopened_attempt(learner, product, attempt)
            .update_expression("SET #session = :session, #url = :url, expires_at = :expires_at")
            .expression_attribute_names("#url", "url")
            .expression_attribute_values(":session", text(session.id.as_str()))
            .expression_attribute_values(":url", text(&session.url))
            .expression_attribute_values(":expires_at", time(session.expires_at));
        held(update.send().await.map(drop))
    }

    async fn rate(&self, counter: &Counter) -> Result<Option<Rate>, LedgerError> {
        let item = self.get(&Key::Rate(counter.clone())).await?;
        item.as_ref().map(|item| rate(&Reader(item))).transpose()
    }

    async fn count(&self, count: &Count) -> Result<bool, LedgerError> {
        let Count { counter, before, after, times_max } = count;
        let key = Key::Rate(counter.clone()).attributes();
        if before.is_some_and(|before| before.since == after.since) {
            let update = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(key))
                .update_expression("ADD times :one")
                .condition_expression("since = :since AND times < :max")
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":since", time(after.since))
                .expression_attribute_values(":max", number(*times_max));
            return held(update.send().await.map(drop));
        }
        let mut item = key;
        item.extend([
            ("since".to_owned(), time(after.since)),
            ("times".to_owned(), number(after.times)),
            (TTL.to_owned(), time(after.since.plus_seconds(RATE_KEPT_DAYS * DAY))),
        ]);
        let replaces = before.map(|before| vec![("since", Some(time(before.since)))]);
        self.put(Conditional::new(item, replaces)).await
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        let mut item = Key::Link(id.clone()).attributes();
        item.extend([
            ("learner".to_owned(), text(link.learner.as_str())),
            ("price".to_owned(), text(link.price.as_str())),
            ("expires_at".to_owned(), time(link.expires_at)),
            (TTL.to_owned(), time(link.expires_at.plus_seconds(DAY))),
        ]);
        self.put(Conditional::new(item, None)).await
    }

    async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        let Some(item) = self.get(&Key::Link(id.clone())).await? else { return Ok(None) };
        let reader = Reader(&item);
        Ok(Some(Link {
            learner: reader.parsed("learner")?,
            price: reader.parsed("price")?,
            expires_at: reader.time("expires_at")?,
        }))
    }
}

impl Table {
    /// An update of an attempt, on condition that it is still this one and no session is on record
    /// for it.
    fn unopened_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
    ) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(Key::Checkout(learner.clone(), product.clone()).attributes()))
            .condition_expression("attempt = :attempt AND attribute_not_exists(#session)")
            .expression_attribute_names("#session", "session")
            .expression_attribute_values(":attempt", text(attempt.as_str()))
    }

    /// Reads one item, strongly consistent.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>, LedgerError> {
        let request = self.client.get_item().table_name(&self.name).consistent_read(true);
        let answer = request.set_key(Some(key.attributes())).send().await.map_err(ledger_error)?;
        Ok(answer.item)
    }

    async fn put(&self, put: Conditional) -> Result<bool, LedgerError> {
        let Conditional { item, condition, names, values } = put;
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        held(request.send().await.map(drop))
    }

    /// Puts both items in one transaction, or neither.
    async fn put_both(&self, puts: [Conditional; 2]) -> Result<bool, LedgerError> {
        let puts = puts.map(|Conditional { item, condition, names, values }| {
            let put = Put::builder()
                .table_name(&self.name)
                .set_item(Some(item))
                .condition_expression(condition)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build();
            put.map(|put| TransactWriteItem::builder().put(put).build())
        });
        let puts: Result<Vec<_>, _> = puts.into_iter().collect();
        let puts = puts.map_err(|error| LedgerError::Refused(Box::new(error)))?;
        let request = self.client.transact_write_items().set_transact_items(Some(puts));
        all_held(request.send().await.map(drop))
    }
}

/// An item to put if none is there, or if the one that is there still has these attributes, and
/// still lacks those without a value.
struct Conditional {
    item: Item,
    condition: String,
    names: Option<HashMap<String, String>>,
    values: Option<Item>,
}

impl Conditional {
    fn new(item: Item, replaces: Option<Vec<(&str, Option<AttributeValue>)>>) -> Self {
        let Some(attributes) = replaces else {
            let condition = "attribute_not_exists(pk)".to_owned();
            return Self { item, condition, names: None, values: None };
        };
        let (mut conditions, mut names, mut values) = (Vec::new(), HashMap::new(), Item::new());
        for (name, value) in attributes {
            names.insert(format!("#{name}"), name.to_owned());
            conditions.push(match value {
                None => format!("attribute_not_exists(#{name})"),
                Some(value) => {
                    values.insert(format!(":{name}"), value);
                    format!("#{name} = :{name}")
                }
            });
        }
        Self { item, condition: conditions.join(" AND "), names: Some(names), values: Some(values) }
    }
}

fn attempt(reader: &Reader<'_>) -> Result<Attempt, LedgerError> {
    let session = match reader.maybe_text("session") {
        Some(_) => Some(OpenSession {
            id: reader.parsed::<SessionId>("session")?,
            url: reader.text("url")?.to_owned(),
            expires_at: reader.time("expires_at")?,
        }),
        None => None,
    };
    Ok(Attempt {
        id: reader.parsed("attempt")?,
        fingerprint: reader.text("fingerprint")?.to_owned(),
        catalog_version: reader.number("catalog_version")?,
        started_at: reader.time("started_at")?,
        session,
    })
}

fn rate(reader: &Reader<'_>) -> Result<Rate, LedgerError> {
    Ok(Rate { since: reader.time("since")?, times: reader.number("times")? })
}
