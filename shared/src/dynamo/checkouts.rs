//! What checkout keeps about a learner: their Stripe customer, their attempts to buy, how often
//! they have asked, and the links that were made for them.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Table;
use super::attributes::{Item, Reader, number, text, time};
use super::failure::{held, ledger_error};
use super::key::{Action, Key, PK, SK, TTL};
use super::ledger::{customer, holdings};
use crate::domain::access::Holdings;
use crate::domain::checkout::{Attempt, OpenSession};
use crate::domain::id::{AttemptId, CustomerId, LearnerId, LinkId, PriceKey, SessionId};
use crate::domain::rate::Rate;
use crate::domain::time::{DAY, Timestamp};
use crate::ports::LedgerError;

/// The API calls made here, as IAM names them.
pub const ACTIONS: &[&str] =
    &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/// Stripe closes a session within a day, and an attempt is not repeated for longer.
const ATTEMPT_KEPT_DAYS: i64 = 2;
/// Longer than the longest window.
const RATE_KEPT_DAYS: i64 = 1;

/// What is on record of a learner who wants to buy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyer {
    /// What they have.
    pub holdings: Holdings,
    /// Their Stripe customer.
    pub customer: Option<CustomerId>,
    /// The one they had, if Stripe has told us that it was deleted.
    pub deleted_customer: Option<CustomerId>,
    /// Their latest attempt at this price.
    pub attempt: Option<Attempt>,
}

/// What an upgrade link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who buys.
    pub learner: LearnerId,
    /// What.
    pub price: PriceKey,
    /// Until when the link leads anywhere.
    pub expires_at: Timestamp,
}

impl Table {
    /// All that a request to buy depends on, in one strongly consistent read.
    pub async fn buyer(&self, learner: &LearnerId, price: &PriceKey) -> Result<Buyer, LedgerError> {
        let keys = vec![
            Key::Access(learner.clone()),
            Key::Customer(learner.clone()),
            Key::Checkout(learner.clone(), price.clone()),
        ];
        let mut buyer = Buyer::default();
        for item in self.batch_get(keys).await? {
            let reader = Reader(&item);
            match Key::parse(reader.text(PK)?, reader.text(SK)?) {
                Some(Key::Access(_)) => buyer.holdings = holdings(&item)?,
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

    /// Makes this the learner's customer, unless another has become it since `replaces` was read.
    /// Says whether it is.
    pub async fn set_customer(
        &self,
        learner: &LearnerId,
        customer: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Customer(learner.clone()).attributes();
        item.insert("customer".to_owned(), text(customer.as_str()));
        let replaces = replaces.map(|customer| vec![("customer", text(customer.as_str()))]);
        self.put_if(item, replaces).await
    }

    /// Writes an attempt down in the place of the one that was read. Says whether it is: if not,
    /// another request was quicker.
    pub async fn begin_attempt(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
        attempt: &Attempt,
        replaces: Option<&AttemptId>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Checkout(learner.clone(), price.clone()).attributes();
        let ends = attempt.started_at.plus_seconds(ATTEMPT_KEPT_DAYS * DAY);
        item.extend([
            ("attempt".to_owned(), text(attempt.id.as_str())),
            ("fingerprint".to_owned(), text(&attempt.fingerprint)),
            ("catalog_version".to_owned(), number(attempt.catalog_version)),
            ("started_at".to_owned(), time(attempt.started_at)),
            (TTL.to_owned(), time(ends)),
        ]);
        let replaces = replaces.map(|attempt| vec![("attempt", text(attempt.as_str()))]);
        self.put_if(item, replaces).await
    }

    /// Gives an attempt another id, and so another idempotency key, unless a session is on record
    /// for it by now. Says whether it has.
    pub async fn renew_attempt(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> Result<bool, LedgerError> {
        let update = self
            .unopened_attempt(learner, price, attempt)
            .update_expression("SET attempt = :renewed")
            .expression_attribute_values(":renewed", text(renewed.as_str()));
        held(update.send().await.map(drop))
    }

    /// Writes down the session that Stripe opened for an attempt. Says whether this was the first
    /// to do so; another request may have joined the same attempt, or have replaced it.
    pub async fn record_session(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> Result<bool, LedgerError> {
        let update = self
            .unopened_attempt(learner, price, attempt)
            .update_expression("SET #session = :session, #url = :url, expires_at = :expires_at")
            .expression_attribute_names("#url", "url")
            .expression_attribute_values(":session", text(session.id.as_str()))
            .expression_attribute_values(":url", text(&session.url))
            .expression_attribute_values(":expires_at", time(session.expires_at));
        held(update.send().await.map(drop))
    }

    /// An update of an attempt, on condition that it is still this one and no session is on record
    /// for it.
    fn unopened_attempt(
        &self,
        learner: &LearnerId,
        price: &PriceKey,
        attempt: &AttemptId,
    ) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(Key::Checkout(learner.clone(), price.clone()).attributes()))
            .condition_expression("attempt = :attempt AND attribute_not_exists(#session)")
            .expression_attribute_names("#session", "session")
            .expression_attribute_values(":attempt", text(attempt.as_str()))
    }

    /// How often this learner has done this.
    pub async fn rate(
        &self,
        learner: &LearnerId,
        action: Action,
    ) -> Result<Option<Rate>, LedgerError> {
        let item = self.get(&Key::Rate(learner.clone(), action)).await?;
        item.as_ref().map(|item| rate(&Reader(item))).transpose()
    }

    /// Begins a window in the place of the one that was read. Says whether it did; if not, another
    /// request was quicker.
    pub async fn begin_window(
        &self,
        learner: &LearnerId,
        action: Action,
        rate: Rate,
        replaces: Option<Rate>,
    ) -> Result<bool, LedgerError> {
        let mut item = Key::Rate(learner.clone(), action).attributes();
        item.extend([
            ("since".to_owned(), time(rate.since)),
            ("times".to_owned(), number(rate.times)),
            (TTL.to_owned(), time(rate.since.plus_seconds(RATE_KEPT_DAYS * DAY))),
        ]);
        let replaces = replaces.map(|rate| vec![("since", time(rate.since))]);
        self.put_if(item, replaces).await
    }

    /// Counts one more in the window that began then. Says whether it did; if not, the window is
    /// full by now, or over.
    pub async fn count_in_window(
        &self,
        learner: &LearnerId,
        action: Action,
        since: Timestamp,
        times_max: u32,
    ) -> Result<bool, LedgerError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(Key::Rate(learner.clone(), action).attributes()))
            .update_expression("ADD times :one")
            .condition_expression("since = :since AND times < :max")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":since", time(since))
            .expression_attribute_values(":max", number(times_max));
        held(update.send().await.map(drop))
    }

    /// Writes a link down. Says whether it is new.
    pub async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        let mut item = Key::Link(id.clone()).attributes();
        item.extend([
            ("learner".to_owned(), text(link.learner.as_str())),
            ("price".to_owned(), text(link.price.as_str())),
            ("expires_at".to_owned(), time(link.expires_at)),
            (TTL.to_owned(), time(link.expires_at.plus_seconds(DAY))),
        ]);
        self.put_if(item, None).await
    }

    /// The link of this id. It may be over: DynamoDB deletes late.
    pub async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        let Some(item) = self.get(&Key::Link(id.clone())).await? else { return Ok(None) };
        let reader = Reader(&item);
        Ok(Some(Link {
            learner: reader.parsed("learner")?,
            price: reader.parsed("price")?,
            expires_at: reader.time("expires_at")?,
        }))
    }

    /// Reads one item, strongly consistent.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>, LedgerError> {
        let request = self.client.get_item().table_name(&self.name).consistent_read(true);
        let answer = request.set_key(Some(key.attributes())).send().await.map_err(ledger_error)?;
        Ok(answer.item)
    }

    /// Puts an item if none is there, or if the one that is there has these attributes still.
    async fn put_if(
        &self,
        item: Item,
        replaces: Option<Vec<(&str, AttributeValue)>>,
    ) -> Result<bool, LedgerError> {
        let mut put = self.client.put_item().table_name(&self.name).set_item(Some(item));
        match replaces {
            None => put = put.condition_expression("attribute_not_exists(pk)"),
            Some(attributes) => {
                let conditions: Vec<String> =
                    attributes.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
                let (mut names, mut values) = (HashMap::new(), HashMap::new());
                for (name, value) in attributes {
                    names.insert(format!("#{name}"), name.to_owned());
                    values.insert(format!(":{name}"), value);
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
        session,
    })
}

fn rate(reader: &Reader<'_>) -> Result<Rate, LedgerError> {
    Ok(Rate { since: reader.time("since")?, times: reader.number("times")? })
}
