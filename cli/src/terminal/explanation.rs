//! Why a product is open or closed, as somebody reads it out.

use coursegate::calendar::{minute, utc};
use coursegate::why::{Explanation, SourceStory};
use shared::domain::access::Standing;
use shared::domain::facts::{Deed, Origin};
use shared::domain::id::{CourseId, LearnerId};
use shared::domain::why::{Effect, Fact, Step};

use super::{BOLD, DIM, GREEN, RED, Terminal, YELLOW, print};

/// The width of what is printed.
const COLUMNS: usize = 100;
/// Time and effect stand before a fact's words.
const BEFORE_WORDS: usize = 32;

impl Terminal {
    /// How a product stands for a learner, then each source with all that is known of it.
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
        let SourceStory { source, standing, .. } = story;
        let colour = match standing {
            Standing::Active => GREEN,
            Standing::Processing | Standing::Suspended => YELLOW,
            Standing::Ended | Standing::Failed | Standing::Refunded | Standing::Revoked => RED,
        };
        let standing = self.paint(colour, standing.name());
        print(&format!("  {} {standing}", self.paint(BOLD, source.as_str())));
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
            let double = "    PAID TWICE: an earlier payment has bought the same; refunding this one \
                          closes nothing.";
            print(&self.paint(YELLOW, double));
        }
        for step in &story.steps {
            self.step(story, step);
        }
    }

    fn step(self, story: &SourceStory, step: &Step) {
        let at = step.at.map_or_else(|| "not yet".to_owned(), minute);
        let colour = match step.effect {
            Effect::Opens | Effect::Restores => GREEN,
            Effect::Suspends => YELLOW,
            Effect::Closes => RED,
            Effect::Nothing => DIM,
        };
        let effect = if step.effect == Effect::Nothing { "-" } else { step.effect.name() };
        let mut words = wrapped(&words(&step.fact));
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

/// How it stands, in a sentence that can be read out.
fn state(explanation: &Explanation) -> String {
    let word = if explanation.is_open { "OPEN" } else { "CLOSED" };
    let until = explanation.until.filter(|_| explanation.is_open);
    let until = until.map_or_else(String::new, |until| format!(", until {}", utc(until)));
    match &explanation.since {
        Some((since, _)) if explanation.is_open => format!("{word} since {}{until}.", utc(*since)),
        Some((since, words)) => format!("{word} since {}. {words}", utc(*since)),
        None => format!("{word}. {}", never_open(&explanation.sources)),
    }
}

/// Why a product never was open: its payment is on its way or has failed; or it was undone before
/// it arrived.
fn never_open(sources: &[SourceStory]) -> String {
    let waits = |story: &&SourceStory| story.standing == Standing::Processing;
    let failed = |story: &&SourceStory| story.standing == Standing::Failed;
    let story = sources.iter().find(waits).or_else(|| sources.iter().find(failed));
    let mut steps = story.into_iter().flat_map(|story| &story.steps);
    let payment = steps.find(|step| matches!(step.fact, Fact::Payment(..)));
    payment.map_or_else(|| "It never was open.".to_owned(), |payment| payment.fact.words())
}

/// What is told of a fact; of what was done by hand also who did it, and why.
fn words(fact: &Fact) -> String {
    match fact {
        Fact::Given(Deed { by, reason, .. }) | Fact::Revoked(Deed { by, reason, .. }) => {
            format!("{} By {by}: {reason}", fact.words())
        }
        Fact::Payment(..)
        | Fact::Refund(..)
        | Fact::Dispute(_)
        | Fact::FraudWarning
        | Fact::Forgotten => fact.words(),
    }
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
