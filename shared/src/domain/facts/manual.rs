//! Facts of a manual grant, and of what else an operator does by hand.

use std::fmt;
use std::str::FromStr;

use super::super::id::{LearnerId, ProductId};
use super::super::time::Timestamp;

/// What an operator wrote down: up to 500 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(String);

/// Not a note.
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

/// Who did something by hand, when and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorAction {
    /// When.
    pub at: Timestamp,
    /// Who: an AWS identity, or a name on a laptop.
    pub by: Note,
    /// Why.
    pub reason: Note,
}

/// Access that an operator gave by hand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManualGrant {
    /// To what.
    pub product: ProductId,
    /// Until when; none for ever.
    pub until: Option<Timestamp>,
    /// By whom, when and why.
    pub action: OperatorAction,
    /// To whom.
    pub learner: LearnerId,
}

impl ManualGrant {
    /// Set once: a grant's id is random, and it is written once.
    pub(super) fn join(self, other: Self) -> Self {
        self.max(other)
    }
}
