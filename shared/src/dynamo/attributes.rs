//! Building and reading the attributes of DynamoDB items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::key::{Key, PK, SK};
use crate::domain::time::Timestamp;
use crate::ports::LedgerError;

/// An item, or a map within one.
pub(super) type Item = HashMap<String, AttributeValue>;

impl Key {
    /// The key as DynamoDB attributes.
    pub(super) fn attributes(&self) -> Item {
        HashMap::from([(PK.to_owned(), text(self.pk())), (SK.to_owned(), text(self.sk()))])
    }
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn time(value: Timestamp) -> AttributeValue {
    number(value.unix_seconds())
}

/// Reads attributes of one item. An error names the attribute.
pub(super) struct Reader<'a>(pub(super) &'a Item);

impl Reader<'_> {
    pub(super) fn maybe_text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, LedgerError> {
        self.maybe_text(name).ok_or_else(|| unreadable(name))
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T, LedgerError> {
        self.text(name)?.parse().ok().ok_or_else(|| unreadable(name))
    }

    pub(super) fn maybe_number<T: std::str::FromStr>(
        &self,
        name: &str,
    ) -> Result<Option<T>, LedgerError> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(value) => {
                let number = value.as_n().ok().and_then(|number| number.parse().ok());
                number.map(Some).ok_or_else(|| unreadable(name))
            }
        }
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, LedgerError> {
        self.maybe_number(name)?.ok_or_else(|| unreadable(name))
    }

    pub(super) fn maybe_time(&self, name: &str) -> Result<Option<Timestamp>, LedgerError> {
        Ok(self.maybe_number(name)?.map(Timestamp::from_unix_seconds))
    }

    pub(super) fn time(&self, name: &str) -> Result<Timestamp, LedgerError> {
        self.number(name).map(Timestamp::from_unix_seconds)
    }
}

fn unreadable(name: &str) -> LedgerError {
    LedgerError::Unreadable(format!("attribute {name} is missing or has the wrong type"))
}
