//! Every key of the table. No other file spells one.

use crate::domain::decide::Target;
use crate::domain::id::{EventId, LearnerId, LinkId, ProductId, SourceId};
use crate::domain::rate::{Action, Counter};

/// The partition key's attribute.
pub const PK: &str = "pk";
/// The sort key's attribute.
pub const SK: &str = "sk";
/// The attribute with the time after which DynamoDB deletes an item, with some delay. No decision
/// reads it.
pub const TTL: &str = "ttl";

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The record of an event.
    Event(EventId),
    /// An event that could not be read.
    Quarantined(EventId),
    /// A learner who has paid for a product more than once.
    DoublePayment(LearnerId, ProductId),
    /// The facts of a source.
    Source(SourceId),
    /// A learner's entitlements.
    Access(LearnerId),
    /// A learner's Stripe customer.
    Customer(LearnerId),
    /// A learner's latest attempt to buy a product.
    Checkout(LearnerId, ProductId),
    /// How often something was requested recently.
    Rate(Counter),
    /// An upgrade link.
    Link(LinkId),
    /// The catalog on sale.
    Catalog,
}

impl From<Target<'_>> for Key {
    fn from(target: Target<'_>) -> Self {
        match target {
            Target::Event(id) => Self::Event(id.clone()),
            Target::Quarantined(id) => Self::Quarantined(id.clone()),
            Target::Source(id) => Self::Source(id.clone()),
            Target::Access(learner) => Self::Access(learner.clone()),
            Target::DoublePayment(learner, product) => {
                Self::DoublePayment(learner.clone(), product.clone())
            }
            Target::Customer(learner) => Self::Customer(learner.clone()),
        }
    }
}

impl Key {
    /// The partition key of the list of events that could not be read.
    pub const QUARANTINE_LIST: &str = "QUARANTINE";
    /// The partition key of the list of double payments.
    pub const DOUBLE_PAYMENT_LIST: &str = "DOUBLE_PAYMENT";
    /// The sort key of every source.
    pub const SOURCE: &str = "SOURCE";

    /// The partition key.
    #[must_use]
    pub fn pk(&self) -> String {
        match self {
            Self::Event(id) => format!("EVENT#{id}"),
            Self::Quarantined(_) => Self::QUARANTINE_LIST.to_owned(),
            Self::DoublePayment(..) => Self::DOUBLE_PAYMENT_LIST.to_owned(),
            Self::Source(id) => format!("SOURCE#{id}"),
            Self::Access(learner)
            | Self::Customer(learner)
            | Self::Checkout(learner, _)
            | Self::Rate(Counter::Learner(learner, _)) => format!("LEARNER#{learner}"),
            Self::Link(id) | Self::Rate(Counter::Link(id)) => format!("LINK#{id}"),
            Self::Catalog => "CATALOG".to_owned(),
        }
    }

    /// The sort key.
    #[must_use]
    pub fn sk(&self) -> String {
        match self {
            Self::Event(_) => "EVENT".to_owned(),
            Self::Quarantined(id) => id.to_string(),
            Self::DoublePayment(learner, product) => format!("{learner}#{product}"),
            Self::Source(_) => Self::SOURCE.to_owned(),
            Self::Access(_) => "ACCESS".to_owned(),
            Self::Customer(_) => "CUSTOMER".to_owned(),
            Self::Checkout(_, product) => format!("CHECKOUT#{product}"),
            Self::Rate(Counter::Learner(_, action)) => format!("RATE#{}", action.name()),
            Self::Rate(Counter::Link(_)) => "RATE".to_owned(),
            Self::Link(_) => "LINK".to_owned(),
            Self::Catalog => "CURRENT".to_owned(),
        }
    }

    /// Parses a partition key and sort key; `None` if they aren't one of our keys.
    #[must_use]
    pub fn parse(pk: &str, sk: &str) -> Option<Self> {
        let (kind, id) = pk.split_once('#').unwrap_or((pk, ""));
        match (kind, sk.split_once('#').unwrap_or((sk, ""))) {
            ("EVENT", ("EVENT", "")) => id.parse().ok().map(Self::Event),
            (Self::QUARANTINE_LIST, (event, "")) if id.is_empty() => {
                event.parse().ok().map(Self::Quarantined)
            }
            (Self::DOUBLE_PAYMENT_LIST, (learner, product)) if id.is_empty() => {
                Some(Self::DoublePayment(learner.parse().ok()?, product.parse().ok()?))
            }
            ("SOURCE", ("SOURCE", "")) => id.parse().ok().map(Self::Source),
            ("LEARNER", (kind, detail)) => Self::of_learner(id.parse().ok()?, kind, detail),
            ("LINK", ("LINK", "")) => id.parse().ok().map(Self::Link),
            ("LINK", ("RATE", "")) => Some(Self::Rate(Counter::Link(id.parse().ok()?))),
            ("CATALOG", ("CURRENT", "")) if id.is_empty() => Some(Self::Catalog),
            _ => None,
        }
    }

    fn of_learner(learner: LearnerId, kind: &str, detail: &str) -> Option<Self> {
        match (kind, detail) {
            ("ACCESS", "") => Some(Self::Access(learner)),
            ("CUSTOMER", "") => Some(Self::Customer(learner)),
            ("CHECKOUT", product) => Some(Self::Checkout(learner, product.parse().ok()?)),
            ("RATE", name) => {
                let action = Action::ALL.into_iter().find(|action| action.name() == name)?;
                Some(Self::Rate(Counter::Learner(learner, action)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_round_trips_and_no_two_share_an_item() {
        let learner: LearnerId = "ada".parse().unwrap();
        let mut keys = vec![
            Key::Event("evt_1".parse().unwrap()),
            Key::Quarantined("evt_1".parse().unwrap()),
            Key::Source("pi_1".parse().unwrap()),
            Key::Source("cs_1".parse().unwrap()),
            Key::DoublePayment(learner.clone(), "p".parse().unwrap()),
            Key::Access(learner.clone()),
            Key::Customer(learner.clone()),
            Key::Checkout(learner.clone(), "p".parse().unwrap()),
            Key::Link("abcdefghijklmnopqrstuvwxyz012345".parse().unwrap()),
            Key::Rate(Counter::Link("abcdefghijklmnopqrstuvwxyz012345".parse().unwrap())),
            Key::Catalog,
        ];
        keys.extend(Action::ALL.map(|action| Key::Rate(Counter::Learner(learner.clone(), action))));
        let mut seen = std::collections::BTreeSet::new();
        for key in keys {
            assert!(seen.insert((key.pk(), key.sk())), "{key:?}");
            assert_eq!(Key::parse(&key.pk(), &key.sk()), Some(key));
        }
    }

    #[test]
    fn a_foreign_key_is_not_parsed() {
        for (pk, sk) in [("EVENT#cus_1", "EVENT"), ("LEARNER#ada", "RATE#x"), ("X", "Y"), ("", "")]
        {
            assert_eq!(Key::parse(pk, sk), None);
        }
    }
}
