//! Facts about manual grants and other operator actions.

use std::fmt;
use std::str::FromStr;

use super::super::id::{LearnerId, ProductId};
use super::super::time::Timestamp;

/// A short text, such as the reason for an operator's action: 1 to 500 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(String);

/// The text is not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note is 1 to 500 characters on one line")]
pub struct NoteError;

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text = text.trim();
        let is_note =
            (1..=500).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_note { Ok(Self(text.to_owned())) } else { Err(NoteError) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Note {
    pub(super) fn forgotten() -> Self {
        Self("forgotten".to_owned())
    }
}

/// An operator's action: when, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorAction {
    /// When it was done.
    pub at: Timestamp,
    /// The operator: an AWS identity, or a user name on a laptop.
    pub by: Note,
    /// The reason that they gave.
    pub reason: Note,
}

/// Access that an operator granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManualGrant {
    /// The product.
    pub product: ProductId,
    /// When it ends; `None` if it doesn't.
    pub until: Option<Timestamp>,
    /// Who granted it, when and why.
    pub action: OperatorAction,
    /// The learner.
    pub learner: LearnerId,
}

impl ManualGrant {
    /// A grant has a random id and is written once, so two observations of it should be equal.
    pub(super) fn join(self, other: Self) -> Self {
        self.max(other)
    }
}
