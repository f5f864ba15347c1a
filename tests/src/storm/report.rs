//! A storm's report.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Options, Storm};

/// The gateway's response when a process dies while handling an event.
const KILLED_WHILE_BUSY: &str = "delivery: 502 ";
/// Counts that are not enough by themselves.
const STRIPE_READS: &str = "Stripe reads";
/// What must have happened to learners and at Stripe, by section; in the sections below, everything
/// must.
const MUST: [(&str, &str); 7] = [
    (STRIPE_READS, "payment_intents"),
    (STRIPE_READS, "payment_intents, failed"),
    (STRIPE_READS, "disputes"),
    ("access checks", "granted"),
    ("access checks", "denied"),
    ("purchases", "bought"),
    ("purchases", "checkout 409"),
];

/// What was sent, what happened, and the result.
#[derive(Debug, Clone)]
pub struct Report {
    options: Options,
    /// Counts under headings.
    parts: Vec<(&'static str, Vec<(String, u64)>)>,
    took: Duration,
    stormed: Duration,
    delivered: usize,
    wrong: Vec<String>,
    kept: Option<PathBuf>,
}

impl Report {
    pub(super) fn of(
        storm: &Storm,
        functions: &Value,
        items: usize,
        took: Duration,
        stormed: Duration,
    ) -> Self {
        let (observations, deliveries) = (&storm.observations, &storm.deliveries);
        let number = |count: usize| u64::try_from(count).unwrap();
        let counts = |start: &str| observations.counts(start);
        let sent = vec![
            ("events".to_owned(), number(storm.script.messages.len())),
            ("deliveries of them".to_owned(), number(deliveries.sent())),
            ("people buying".to_owned(), number(storm.buyers_count())),
            ("processes killed".to_owned(), observations.times("killed")),
            (
                "times without Secrets Manager".to_owned(),
                observations.times("without Secrets Manager"),
            ),
            ("times without DynamoDB".to_owned(), observations.times("without DynamoDB")),
        ];
        let functions = functions.as_object().unwrap().iter();
        let cold_starts = functions
            .map(|(name, health)| (name.clone(), health["cold_starts"].as_u64().unwrap()))
            .collect();
        let mut faults = vec![("requests".to_owned(), storm.faults.requests())];
        let injected = storm.faults.injected();
        faults.extend(injected.iter().map(|(name, times)| ((*name).to_owned(), *times)));
        let bought: Vec<_> = ["bought", "rate-limited", "paid by card", "paid by debit"]
            .map(|what| (what.to_owned(), observations.times(what)))
            .into_iter()
            .chain(counts("checkout:").into_iter().map(|(it, n)| (format!("checkout {it}"), n)))
            .chain(counts("confirm:").into_iter().map(|(it, n)| (format!("confirm {it}"), n)))
            .collect();
        let parts = vec![
            ("sent", sent),
            ("DynamoDB", faults),
            ("cold starts", cold_starts),
            ("delivery responses", counts("delivery:")),
            (STRIPE_READS, counts("Stripe read:")),
            ("access checks", counts("access:")),
            ("purchases", bought),
            ("final table", vec![("items".to_owned(), number(items))]),
        ];
        let mut wrong = observations.violations();
        wrong.extend(missing(&parts));
        if observations.times(KILLED_WHILE_BUSY) == 0 {
            wrong.push("no process was killed while busy; use more events".to_owned());
        }
        let delivered = deliveries.sent() - deliveries.left();
        let options = storm.options.clone();
        Self { options, parts, took, stormed, delivered, wrong, kept: None }
    }

    /// All violations; empty if there are none.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Keeps the logs, the table and this report for debugging.
    pub(super) fn keep(&mut self, storm: &Storm, items: &[Value]) {
        let folder = self.options.folder.join(self.options.seed.to_string());
        // Removes an earlier storm's files.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for log in fs::read_dir(storm.stack.logs()).unwrap() {
            let log = log.unwrap();
            fs::copy(log.path(), folder.join(log.file_name())).unwrap();
        }
        let mut items: Vec<String> = items.iter().map(ToString::to_string).collect();
        items.sort();
        fs::write(folder.join("table.jsonl"), items.join("\n")).unwrap();
        let messages = storm.script.messages.iter().map(|message| message.body.to_string());
        let messages: Vec<String> = messages.collect();
        fs::write(folder.join("events.jsonl"), messages.join("\n")).unwrap();
        self.kept = Some(folder.clone());
        fs::write(folder.join("report.txt"), self.to_string()).unwrap();
    }

    /// The command that repeats the storm.
    #[must_use]
    pub fn command(&self) -> String {
        let Options { seed, events, instances, seconds, .. } = &self.options;
        format!(
            "cargo xtask storm --seed {seed} --events {events} --instances {instances} \
             --seconds {seconds}"
        )
    }
}

/// What never happened and so was not tested.
fn missing(parts: &[(&'static str, Vec<(String, u64)>)]) -> Vec<String> {
    let must = |name: &str| matches!(name, "sent" | "DynamoDB" | "cold starts");
    let whole = parts.iter().filter(|(name, _)| must(name));
    let never = whole.flat_map(|(part, counts)| {
        counts.iter().filter(|(_, times)| *times == 0).map(move |(what, _)| (*part, what.as_str()))
    });
    let has_happened = |(part, what): &(&str, &str)| {
        let counts = parts.iter().filter(|(name, _)| name == part).flat_map(|(_, counts)| counts);
        counts.filter(|(name, _)| name == what).any(|(_, times)| *times > 0)
    };
    never
        .chain(MUST.into_iter().filter(|must| !has_happened(must)))
        .map(|(part, what)| format!("{part}, {what}: it never happened; use more events"))
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, counts) in &self.parts {
            writeln!(f, "{part}")?;
            for (what, times) in counts {
                writeln!(f, "{times:>8}  {what}")?;
            }
        }
        let rate = u128::try_from(self.delivered).unwrap() * 1000 / self.took.as_millis().max(1);
        writeln!(
            f,
            "{} s of storm, {} s in all; {rate} deliveries acknowledged per second",
            self.stormed.as_secs(),
            self.took.as_secs()
        )?;
        if self.wrong.is_empty() {
            return write!(f, "Nothing is lost or duplicated (seed {}).", self.options.seed);
        }
        let mut list = String::new();
        for what in &self.wrong {
            writeln!(list, "  - {what}")?;
        }
        write!(
            f,
            "WRONG (seed {}):\n{list}To throw the same once more, in an order that the machine \
             chooses anew:\n  {}",
            self.options.seed,
            self.command()
        )?;
        match &self.kept {
            Some(folder) => write!(f, "\nThe functions' logs and the table: {}", shown(folder)),
            None => Ok(()),
        }
    }
}

fn shown(folder: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| folder.strip_prefix(here).ok());
    short.unwrap_or(folder).display().to_string()
}
