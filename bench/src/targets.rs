//! The list of performance targets.

use crate::report::{FLOOR, Measured, NODE, Report};
use crate::statistics::{decimal, hundredths, ratio};

/// A figure and its limit.
pub(crate) struct Target {
    pub(crate) what: &'static str,
    figure: Of,
    limit: Limit,
}

/// The figure that a target is about.
enum Of {
    /// A figure of a row, by subject and operation.
    Row(&'static str, &'static str, Reads),
    /// A function's package size.
    Zip(&'static str),
}

enum Limit {
    /// At most this many hundredths of the floor's.
    OfFloor(u64),
    /// At most this many hundredths of Node's.
    OfNode(u64),
    /// At most this count.
    Count(u64),
    /// At most this many bytes.
    Bytes(u64),
}

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    NotMet,
    Unknown,
}

const APPLIED: &str = "event applied";
const MB: u64 = 1_000_000;

const fn of(
    what: &'static str,
    (subject, operation): (&'static str, &'static str),
    figure: Reads,
    limit: Limit,
) -> Target {
    Target { what, figure: Of::Row(subject, operation, figure), limit }
}

const fn zip(what: &'static str, subject: &'static str) -> Target {
    Target { what, figure: Of::Zip(subject), limit: Limit::Bytes(5 * MB) }
}

/// Reads a figure from a row.
type Reads = fn(&Measured) -> Option<u64>;

const FIRST_ANSWER: Reads = |row| row.first_answer_ns.map(|it| it.median);
const CPU: Reads = |row| row.cpu_ns.map(|it| it.median);
const MEMORY: Reads = |row| Some(row.peak_memory_bytes);
const TRIPS: Reads = |row| Some(row.round_trips);
const READ: Reads = |row| Some(row.read_units);
const WRITTEN: Reads = |row| Some(row.write_units);

const REFUNDED: (&str, &str) = ("webhook", "refund applied");
const OPENED: (&str, &str) = ("checkout", "session opened");
const ACCESS: (&str, &str) = ("entitlements", "access, 1 purchase");
const TOOL: (&str, &str) = ("tutor", "tool called");
const ACCESS_OF_MANY: (&str, &str) = ("entitlements", "access, 50 purchases");
const ACCESS_AMONG_MANY: (&str, &str) = ("entitlements", "access, 100,000 learners");

/// Every target.
pub(crate) const TARGETS: &[Target] = &[
    of("webhook, start to first answer", ("webhook", APPLIED), FIRST_ANSWER, Limit::OfFloor(250)),
    of("tutor, start to first answer", TOOL, FIRST_ANSWER, Limit::OfFloor(300)),
    of("webhook, CPU of an event applied", ("webhook", APPLIED), CPU, Limit::OfFloor(400)),
    of("webhook, CPU of an event applied", ("webhook", APPLIED), CPU, Limit::OfNode(10)),
    of("webhook, memory", ("webhook", APPLIED), MEMORY, Limit::Bytes(16 * MB)),
    of("entitlements, memory", ACCESS, MEMORY, Limit::Bytes(16 * MB)),
    of("checkout, memory", OPENED, MEMORY, Limit::Bytes(16 * MB)),
    of("tutor, memory", TOOL, MEMORY, Limit::Bytes(24 * MB)),
    zip("webhook, zip", "webhook"),
    zip("entitlements, zip", "entitlements"),
    zip("checkout, zip", "checkout"),
    zip("tutor, zip", "tutor"),
    of("event applied, round trips", ("webhook", APPLIED), TRIPS, Limit::Count(1)),
    of("event applied, units read", ("webhook", APPLIED), READ, Limit::Count(0)),
    of("event applied, units written", ("webhook", APPLIED), WRITTEN, Limit::Count(6)),
    of("event again, round trips", ("webhook", "event again"), TRIPS, Limit::Count(1)),
    of("refund applied, round trips", REFUNDED, TRIPS, Limit::Count(2)),
    of("refund applied, units read", REFUNDED, READ, Limit::Count(2)),
    of("refund applied, units written", REFUNDED, WRITTEN, Limit::Count(6)),
    of("session opened, round trips", OPENED, TRIPS, Limit::Count(4)),
    of("access, round trips", ACCESS, TRIPS, Limit::Count(1)),
    of("access, units read", ACCESS, READ, Limit::Count(1)),
    of("tool called, round trips", TOOL, TRIPS, Limit::Count(3)),
    of("access of 50 purchases, units read", ACCESS_OF_MANY, READ, Limit::Count(1)),
    of("access among 100,000 learners, units read", ACCESS_AMONG_MANY, READ, Limit::Count(1)),
];

impl Target {
    pub(crate) fn limit(&self) -> String {
        match self.limit {
            Limit::OfFloor(times) => format!("{} x the floor", hundredths(times)),
            Limit::OfNode(times) => format!("{} x Node", hundredths(times)),
            Limit::Count(count) => count.to_string(),
            Limit::Bytes(bytes) => format!("{} MB", decimal(bytes, MB)),
        }
    }

    /// The measured figure and what it means, for the report.
    pub(crate) fn judge(&self, report: &Report) -> (String, Verdict) {
        let measured = match self.figure {
            Of::Row(subject, operation, figure) => report.row(subject, operation).and_then(figure),
            Of::Zip(subject) => report.sizes.get(subject).map(|size| size.zip_bytes),
        };
        let compared = match self.limit {
            Limit::OfFloor(limit) => {
                self.compared(report, FLOOR, measured).map(|it| (it, hundredths(it), limit))
            }
            Limit::OfNode(limit) => {
                self.compared(report, NODE, measured).map(|it| (it, hundredths(it), limit))
            }
            Limit::Count(limit) => measured.map(|it| (it, it.to_string(), limit)),
            Limit::Bytes(limit) => measured.map(|it| (it, decimal(it, MB), limit)),
        };
        match compared {
            Some((value, text, limit)) if value <= limit => (text, Verdict::Met),
            Some((_, text, _)) => (text, Verdict::NotMet),
            None => (String::new(), Verdict::Unknown),
        }
    }

    fn compared(&self, report: &Report, with: &str, measured: Option<u64>) -> Option<u64> {
        let Of::Row(_, operation, figure) = self.figure else { return None };
        ratio(measured?, report.row(with, operation).and_then(figure)?)
    }
}
