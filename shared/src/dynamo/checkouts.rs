//! What checkout keeps about a learner: their Stripe customer, their attempts to buy, the links that
//! were made for them, and how often they or their links' holders have asked.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Table;
use super::attributes::{Item, Reader, number, text, time};
use super::failure::{held, ledger_error};
use super::key::{Key, PK, SK, TTL};
use super::ledger::{customer, entitlements};
use crate::domain::checkout::{Attempt, Buyer, Channel, Link, OpenSession};
use crate::domain::id::{AttemptId, CustomerId, LearnerId, LinkId, ProductId, SessionId};
use crate::domain::rate::{Counter, Rate};
use crate::domain::time::{DAY, Timestamp};
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
    async fn buyer(&self, learner: &LearnerId, product: &ProductId) -> Result<Buyer, LedgerError> {
        let keys = vec![
            Key::Access(learner.clone()),
            Key::Customer(learner.clone()),
            Key::Checkout(learner.clone(), product.clone()),
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
                _ => return Err(LedgerError::Unreadable("an item that nobody asked for".into())),
            }
        }
        Ok(buyer)
    }

    async fn set_customer(
        &self,
        learner: &LearnerId,
        customer: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Customer(learner.clone()).attributes();
        item.insert("customer".to_owned(), text(customer.as_str()));
        let replaces = replaces.map(|customer| vec![("customer", Some(text(customer.as_str())))]);
        self.put_if(item, replaces).await
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Checkout(learner.clone(), product.clone()).attributes();
        let ends = attempt.started_at.plus_seconds(ATTEMPT_KEPT_DAYS * DAY);
        item.extend([
            ("attempt".to_owned(), text(attempt.id.as_str())),
            ("fingerprint".to_owned(), text(&attempt.fingerprint)),
            ("catalog_version".to_owned(), number(attempt.catalog_version)),
            ("started_at".to_owned(), time(attempt.started_at)),
            ("channel".to_owned(), text(channel_name(attempt.channel))),
            (TTL.to_owned(), time(ends)),
        ]);
        let replaces = replaces.map(|attempt| {
            let session = attempt.session.as_ref().map(|session| text(session.id.as_str()));
            vec![("attempt", Some(text(attempt.id.as_str()))), ("session", session)]
        });
        self.put_if(item, replaces).await
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

    async fn begin_window(
        &self,
        counter: &Counter,
        rate: Rate,
        replaces: Option<Rate>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Rate(counter.clone()).attributes();
        item.extend([
            ("since".to_owned(), time(rate.since)),
            ("times".to_owned(), number(rate.times)),
            (TTL.to_owned(), time(rate.since.plus_seconds(RATE_KEPT_DAYS * DAY))),
        ]);
        let replaces = replaces.map(|rate| vec![("since", Some(time(rate.since)))]);
        self.put_if(item, replaces).await
    }

    async fn count_in_window(
        &self,
        counter: &Counter,
        since: Timestamp,
        times_max: u32,
    ) -> Result<bool, LedgerError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(Key::Rate(counter.clone()).attributes()))
            .update_expression("ADD times :one")
            .condition_expression("since = :since AND times < :max")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":since", time(since))
            .expression_attribute_values(":max", number(times_max));
        held(update.send().await.map(drop))
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        let mut item = Key::Link(id.clone()).attributes();
        item.extend([
            ("learner".to_owned(), text(link.learner.as_str())),
            ("price".to_owned(), text(link.price.as_str())),
            ("expires_at".to_owned(), time(link.expires_at)),
            (TTL.to_owned(), time(link.expires_at.plus_seconds(DAY))),
        ]);
        self.put_if(item, None).await
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

    /// Puts an item if none is there, or if the one that is there still has these attributes, or
    /// still lacks those without a value.
    async fn put_if(
        &self,
        item: Item,
        replaces: Option<Vec<(&str, Option<AttributeValue>)>>,
    ) -> Result<bool, LedgerError> {
        let mut put = self.client.put_item().table_name(&self.name).set_item(Some(item));
        match replaces {
            None => put = put.condition_expression("attribute_not_exists(pk)"),
            Some(attributes) => {
                let (mut conditions, mut names, mut values) =
                    (Vec::new(), HashMap::new(), HashMap::new());
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
                put = put
                    .condition_expression(conditions.join(" AND "))
                    .set_expression_attribute_names(Some(names))
                    .set_expression_attribute_values(Some(values));
            }
        }
        held(put.send().await.map(drop))
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
        channel: channel(reader.text("channel")?)?,
        session,
    })
}

fn rate(reader: &Reader<'_>) -> Result<Rate, LedgerError> {
    Ok(Rate { since: reader.time("since")?, times: reader.number("times")? })
}

const SITE: &str = "site";
const LINK: &str = "link";

const fn channel_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Site => SITE,
        Channel::Link => LINK,
    }
}

fn channel(name: &str) -> Result<Channel, LedgerError> {
    match name {
        SITE => Ok(Channel::Site),
        LINK => Ok(Channel::Link),
        other => Err(LedgerError::Unreadable(format!("attempt through channel {other}"))),
    }
}
