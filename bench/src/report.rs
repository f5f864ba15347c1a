//! The results as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::Row;
use crate::programs::Size;
use crate::statistics::{Figure, decimal, hundredths, ratio};
use crate::targets::{self, Verdict};

/// The row that the others are compared with, and the best known peer.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const NODE: &str = "node";

/// All results. Times are in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The machine.
    pub(crate) machine: String,
    /// How much was measured.
    pub(crate) effort: String,
    /// The missing subjects, with reasons.
    pub(crate) absent: Vec<String>,
    pub(crate) rows: Vec<Measured>,
    pub(crate) sizes: BTreeMap<String, Size>,
}

/// A row.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) subject: String,
    pub(crate) operation: &'static str,
    pub(crate) ready_ns: Option<Figure>,
    pub(crate) first_answer_ns: Option<Figure>,
    pub(crate) cpu_ns: Option<Figure>,
    pub(crate) wall_ns: Option<Figure>,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) round_trips: u64,
    pub(crate) read_units: u64,
    pub(crate) write_units: u64,
    /// By the number of instances.
    pub(crate) per_second: BTreeMap<usize, Option<Figure>>,
}

impl From<&Row> for Measured {
    fn from(row: &Row) -> Self {
        let loads = row.per_second.iter();
        Self {
            subject: row.subject.name.clone(),
            operation: row.operation.name,
            ready_ns: row.ready_ns.figure(),
            first_answer_ns: row.first_answer_ns.figure(),
            cpu_ns: row.cpu_ns.figure(),
            wall_ns: row.wall_ns.figure(),
            peak_memory_bytes: row.peak_memory_bytes,
            round_trips: row.table.round_trips(),
            read_units: row.table.read_units,
            write_units: row.table.write_units,
            per_second: loads.map(|(instances, it)| (*instances, it.figure())).collect(),
        }
    }
}

const HEADINGS: [&str; 16] = [
    "who",
    "what",
    "ready, ms",
    "first answer, ms",
    "to floor",
    "to Node",
    "CPU a call, µs",
    "to floor",
    "to Node",
    "answer, ms",
    "memory, MB",
    "table: trips, read, written",
    "1 instance, calls/s",
    "8 instances, calls/s",
    "program, MB",
    "zip, MB",
];

const MS: u64 = 1_000_000;
const MB: u64 = 1_000_000;

impl Report {
    /// The floor's row, or Node's for the same operation.
    pub(crate) fn row(&self, subject: &str, operation: &str) -> Option<&Measured> {
        let mut rows = self.rows.iter().filter(|row| row.subject == subject);
        rows.find(|row| row.operation == operation || subject == FLOOR)
    }

    /// The table, the targets and the notes, as aligned Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}.\n{}\n\n", self.machine, self.effort);
        for absent in &self.absent {
            let _ = writeln!(text, "**Not measured: {absent}.**\n");
        }
        let rows: Vec<_> = self.rows.iter().map(|row| self.cells(row)).collect();
        text.push_str(&table(&HEADINGS, &rows));
        text.push('\n');
        let targets = targets::TARGETS.iter().map(|target| {
            let (measured, verdict) = target.judge(self);
            let verdict = match verdict {
                Verdict::Met => "met",
                Verdict::NotMet => "**not met**",
                Verdict::Unknown => "not measured",
            };
            vec![target.what.to_owned(), target.limit(), measured, verdict.to_owned()]
        });
        text.push_str(&table(&["target", "limit", "measured", ""], &targets.collect::<Vec<_>>()));
        text
    }

    fn cells(&self, row: &Measured) -> Vec<String> {
        let to = |whose: &str, figure: fn(&Measured) -> Option<Figure>| {
            let other = self.row(whose, row.operation).filter(|other| other.subject != row.subject);
            let (of, to) = (figure(row), other.and_then(figure));
            of.zip(to).and_then(|(of, to)| ratio(of.median, to.median)).map(hundredths)
        };
        let size = self.sizes.get(&row.subject).filter(|_| row.first_answer_ns.is_some());
        let load = |instances: usize| row.per_second.get(&instances).copied().flatten();
        let cells = [
            Some(row.subject.clone()),
            Some(row.operation.to_owned()),
            row.ready_ns.map(|it| spread(it, MS)),
            row.first_answer_ns.map(|it| spread(it, MS)),
            to(FLOOR, |row| row.first_answer_ns),
            to(NODE, |row| row.first_answer_ns),
            row.cpu_ns.map(|it| spread(it, 1_000)),
            to(FLOOR, |row| row.cpu_ns),
            to(NODE, |row| row.cpu_ns),
            row.wall_ns.map(|it| spread(it, MS)),
            Some(decimal(row.peak_memory_bytes, MB)),
            Some(format!("{}, {}, {}", row.round_trips, row.read_units, row.write_units)),
            load(1).map(spread_whole),
            load(8).map(spread_whole),
            size.map(|size| decimal(size.bytes, MB)),
            size.map(|size| decimal(size.zip_bytes, MB)),
        ];
        cells.map(Option::unwrap_or_default).to_vec()
    }
}

/// `8.1 (7.6–9.3)`
fn spread(figure: Figure, unit: u64) -> String {
    let Figure { median, min, max } = figure;
    format!("{} ({}–{})", decimal(median, unit), decimal(min, unit), decimal(max, unit))
}

fn spread_whole(figure: Figure) -> String {
    format!("{} ({}–{})", figure.median, figure.min, figure.max)
}

/// A Markdown table whose columns are as wide as necessary.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let mut text = line(&headings);
    text.push_str(&line(&rule));
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

/// The document with its measured part replaced.
pub(crate) fn replaced(document: &str, measured: &str) -> Result<String, String> {
    const BEGIN: &str = "<!-- measured by cargo xtask bench -->\n";
    const END: &str = "<!-- end of what is measured -->";
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{measured}{END}{after}"))
    });
    parts.ok_or_else(|| {
        format!("it has no place for the results: add the lines {BEGIN:?} and {END:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cell = |text: &str| text.to_owned();
        let text =
            table(&["a", "wide"], &[vec![cell("µµµ"), cell("1")], vec![cell("x"), cell("2")]]);
        assert_eq!(text, "| a   | wide |\n| --- | ---- |\n| µµµ | 1    |\n| x   | 2    |\n");
    }

    #[test]
    fn updating_a_document_replaces_only_the_measurements() {
        let document = "# Fast\n<!-- measured by cargo xtask bench -->\nold\n\
                        <!-- end of what is measured -->\nwords\n";
        let new = replaced(document, "new\n").unwrap();
        assert_eq!(new, document.replace("old", "new"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("# Fast\n", "new\n").is_err());
    }
}
