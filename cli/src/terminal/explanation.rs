//! Prints why a product is open or closed.

use coursegate::calendar::{minute, utc};
use coursegate::why::{Explanation, SourceStory};
use shared::domain::access::EffectiveStatus;
use shared::domain::facts::{OperatorAction, Origin};
use shared::domain::id::{CourseId, LearnerId};
use shared::domain::why::{Effect, Fact, Step, describe_status};

use super::{BOLD, DIM, GREEN, RED, Terminal, YELLOW, print};

/// The width of what is printed.
const COLUMNS: usize = 100;
/// Time and effect stand before a fact's words.
const BEFORE_WORDS: usize = 32;

impl Terminal {
    /// Prints a product's status for a learner, then each source with its history.
    pub(crate) fn explanation(self, learner: &LearnerId, explanation: &Explanation) {
        let Explanation { product, name, courses, sources, .. } = explanation;
        print(&self.paint(BOLD, &format!("{learner}: {product}")));
        let name = name.as_deref().unwrap_or("no longer in the catalog");
        let courses: Vec<&str> = courses.iter().map(CourseId::as_str).collect();
        let opens = match courses.as_slice() {
            [] => String::new(),
            [course] => format!(": opens the course {course}"),
            courses => format!(": opens the courses {}", courses.join(", ")),
        };
        print(&self.paint(DIM, &format!("{name}{opens}")));
        let colour = if explanation.is_open { GREEN } else { RED };
        print(&self.paint(colour, &state(explanation)));
        for story in sources {
            print("");
            self.story(story);
        }
    }

    fn story(self, story: &SourceStory) {
        let SourceStory { source, effective_status, .. } = story;
        let colour = match effective_status {
            EffectiveStatus::Active => GREEN,
            EffectiveStatus::Processing | EffectiveStatus::Suspended => YELLOW,
            EffectiveStatus::Ended
            | EffectiveStatus::Failed
            | EffectiveStatus::Refunded
            | EffectiveStatus::DisputeLost
            | EffectiveStatus::Revoked => RED,
        };
        let effective_status = self.paint(colour, effective_status.name());
        print(&format!("  {} {effective_status}", self.paint(BOLD, source.as_str())));
        match &story.facts.origin {
            Some(Origin::Purchase(purchase)) => {
                let sold =
                    format!("    sold as {} in {}", purchase.sale.price, purchase.sale.session);
                print(&self.paint(DIM, &sold));
            }
            Some(Origin::Manual(grant)) => {
                let until =
                    grant.until.map_or("for ever".to_owned(), |it| format!("until {}", utc(it)));
                print(&self.paint(DIM, &format!("    given {until}")));
            }
            None => {}
        }
        if story.is_double {
            let double = "    PAID TWICE: an earlier payment bought the same product; refunding \
                          this one ends no access.";
            print(&self.paint(YELLOW, double));
        }
        for step in story.history.steps() {
            self.step(story, step);
        }
    }

    fn step(self, story: &SourceStory, step: &Step) {
        let at = step.at.map_or_else(|| "time unknown".to_owned(), minute);
        let colour = match step.effect {
            Effect::Opens | Effect::Restores => GREEN,
            Effect::Suspends => YELLOW,
            Effect::Closes => RED,
            Effect::Nothing => DIM,
        };
        let effect = if step.effect == Effect::Nothing { "-" } else { step.effect.name() };
        let mut words = wrapped(&describe(&step.fact));
        let first = words.next().unwrap_or_default();
        let at = self.paint(DIM, &format!("{at:<16}"));
        let effect = self.paint(colour, &format!("{effect:<8}"));
        print(&format!("    {at}  {effect}  {first}"));
        for line in words {
            print(&format!("{:BEFORE_WORDS$}{line}", ""));
        }
        if step.id != story.source.as_str() {
            print(&format!("{:BEFORE_WORDS$}{}", "", self.paint(DIM, &step.id)));
        }
    }
}

/// Whether it is open, since when, and if it is closed, why.
fn state(explanation: &Explanation) -> String {
    let word = if explanation.is_open { "OPEN" } else { "CLOSED" };
    let since = explanation.since.map_or_else(String::new, |at| format!(" since {}", utc(at)));
    if explanation.is_open {
        let until = explanation.until.map_or_else(String::new, |at| format!(", until {}", utc(at)));
        return format!("{word}{since}{until}.");
    }
    let decisive = explanation.decisive.and_then(|number| explanation.sources.get(number));
    let why = decisive.map_or_else(String::new, |story| format!(" {}", reason(story, explanation)));
    format!("{word}{since}.{why}")
}

/// Why a source doesn't open the product, and since when if the product was closed before that.
fn reason(story: &SourceStory, explanation: &Explanation) -> String {
    let words = match (story.effective_status, &story.facts.revoked) {
        (EffectiveStatus::Revoked, Some(action)) => by_hand("Revoked", action),
        (effective_status, _) => describe_status(effective_status, &story.facts),
    };
    let times = explanation.since.map(utc).zip(story.history.since().map(utc));
    match times.filter(|(closed, at)| closed != at) {
        Some((_, at)) => format!("{} ({at}).", words.trim_end_matches('.')),
        None => words,
    }
}

/// Describes a fact; for an operator's action also who did it, and why.
fn describe(fact: &Fact) -> String {
    match fact {
        Fact::Given(action) => by_hand("Granted", action),
        Fact::Revoked(action) => by_hand("Revoked", action),
        Fact::Payment(..)
        | Fact::Refund(..)
        | Fact::Dispute(_)
        | Fact::FraudWarning
        | Fact::Ended
        | Fact::Forgotten => fact.describe(),
    }
}

fn by_hand(what: &str, OperatorAction { by, reason, .. }: &OperatorAction) -> String {
    format!("{what} by {by}: {reason}")
}

/// A text in lines that fit. A word that does not fit has a line of its own.
fn wrapped(text: &str) -> std::vec::IntoIter<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < COLUMNS - BEFORE_WORDS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}
