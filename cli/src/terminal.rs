//! What the developer and the operator see.

mod explanation;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use coursegate::calendar::utc;
use coursegate::doctor::Finding;
use coursegate::why::SourceStory;
use shared::config::process_environment;
use shared::domain::money::Money;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) const DIM: &str = "\x1b[2m";
pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const YELLOW: &str = "\x1b[33m";
pub(crate) const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Standard output, with colour where somebody looks at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    has_colour: bool,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal { has_colour: std::io::stdout().is_terminal() && !is_refused }
    }

    /// The deployment that the doctor examines.
    pub(crate) fn diagnosis(self, name: &str, mode: &str) {
        self.headline(name, mode);
        print("");
    }

    /// What the following lines are about.
    pub(crate) fn headline(self, what: &str, kind: &str) {
        print(format!("{} {}", self.paint(BOLD, what), self.paint(DIM, kind)).trim_end());
    }

    /// One of the payments for the same product, with what of it has not gone back.
    pub(crate) fn double_payment(self, story: &SourceStory, kept: Option<Money>) {
        let paid = story.grant.since.map(utc).unwrap_or_default();
        let kept = kept.map(|kept| kept.to_string()).unwrap_or_default();
        let what = if story.is_double {
            self.paint(YELLOW, "the later one: refund it")
        } else {
            self.paint(DIM, "the first one: it stays")
        };
        print(&format!("  {}  {kept:>12}  {paid}  {what}", story.source));
    }

    /// One line a check, and another with the remedy where one is needed.
    pub(crate) fn finding(self, name: &str, finding: &Finding, complete: impl Fn(&str) -> String) {
        let (mark, says, remedy) = match finding {
            Finding::Good(says) => (self.paint(GREEN, "ok   "), says.as_str(), None),
            Finding::Note { says, remedy } => {
                (self.paint(YELLOW, "note "), says.as_str(), Some(remedy))
            }
            Finding::Bad { says, remedy } => {
                (self.paint(RED, "WRONG"), says.as_str(), Some(remedy))
            }
            Finding::Skipped(why) => (self.paint(DIM, "-    "), *why, None),
        };
        let name = format!("{name:<16}");
        let says = match finding {
            Finding::Skipped(_) => self.paint(DIM, says),
            Finding::Good(_) | Finding::Note { .. } | Finding::Bad { .. } => says.to_owned(),
        };
        print(&format!("{mark} {} {says}", self.paint(BOLD, &name)));
        if let Some(remedy) = remedy {
            print(&format!("{:<22} {}", "", self.paint(DIM, &format!("-> {}", complete(remedy)))));
        }
    }

    pub(crate) fn paint(self, colour: &str, text: &str) -> String {
        if self.has_colour && !text.is_empty() {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

/// Why standard output lost a line, the first time that it did.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// A line. Nobody reads it when standard output is closed, and that is no reason to stop.
pub(crate) fn print(line: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{line}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        // What was lost after it was lost for the same reason.
        let _ = LOST.set(error);
    }
}

/// Fails if a line was lost: a catalog or an export that is half written must not look whole.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other error is told as it is")]
pub(crate) fn all_printed() -> Result<(), String> {
    let Some(error) = LOST.get() else { return Ok(()) };
    Err(match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full, so the output is incomplete: free some space and run this again"
                .to_owned()
        }
        _ => format!("the output is incomplete, since it can't be written: {error}"),
    })
}

/// Sends what the libraries log to standard error: what `RUST_LOG` asks for, or else this.
pub(crate) fn log(usual: Targets) {
    let asked_for = process_environment("RUST_LOG").and_then(|text| text.parse().ok());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = layer.without_time().with_filter(asked_for.unwrap_or(usual));
    tracing_subscriber::registry().with(layer).init();
}

/// The one sentence that says what is wrong.
pub(crate) fn problem(sentence: &str) {
    let _ = writeln!(std::io::stderr().lock(), "coursegate: {sentence}");
}
