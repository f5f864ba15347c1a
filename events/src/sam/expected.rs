//! The expected responses to the samples, from the replay test's snapshots.

use std::fmt;

use serde_json::Value;

use super::Fault;

/// A function's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Value,
    pub(crate) headers: Value,
    pub(crate) body: Value,
}

/// The replay test's response to a sample.
pub(crate) fn of(folder: &str, sample: &str) -> Result<Answer, Fault> {
    let name = format!("tests/it/snapshots/it__replay__{folder}__{sample}.snap");
    let text = std::fs::read_to_string(tools::root().join(&name))
        .map_err(|error| format!("{name} can't be read: {error}; run `cargo test -p tests`"))?;
    parse(&text).ok_or_else(|| format!("{name} is not a snapshot of a response").into())
}

/// A snapshot is JSON below a header between two lines of dashes.
fn parse(snapshot: &str) -> Option<Answer> {
    let json = snapshot.splitn(3, "---\n").nth(2)?;
    let mut answer: Value = serde_json::from_str(json).ok()?;
    let mut take = |name: &str| answer.get_mut(name).map(Value::take);
    Some(Answer { status: take("status")?, headers: take("headers")?, body: take("body")? })
}

impl Answer {
    /// The differences, one per line; empty if the response is the expected one.
    pub(crate) fn differences(&self, answer: &Answer) -> Option<String> {
        let parts = [
            ("status", &self.status, &answer.status),
            ("headers", &self.headers, &answer.headers),
            ("body", &self.body, &answer.body),
        ];
        let differing = parts.into_iter().filter(|(_, expected, found)| !agrees(expected, found));
        let lines: Vec<String> = differing
            .map(|(part, expected, found)| {
                format!("  {part} expected: {expected}\n  {part} found:    {found}")
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// `200 applied`, `409 urn:coursegate:problem:already-entitled`
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let words =
            ["outcome", "type"].into_iter().filter_map(|name| self.body.get(name)?.as_str());
        for word in words {
            write!(f, " {word}")?;
        }
        Ok(())
    }
}

/// Whether a value is the expected one. The snapshots have placeholders in brackets for random
/// values, and times of their own.
fn agrees(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(expected), Value::String(found)) => {
            expected == found || expected.contains('[') || page(expected) == page(found)
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| agrees(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(name, expected)| {
                    found.get(name).is_some_and(|found| {
                        let is_later = name == "expires_at" && found.is_string();
                        is_later || agrees(expected, found)
                    })
                })
        }
        _ => expected == found,
    }
}

/// A page without its style, which the snapshots leave out, and without the day on which its link
/// ends, which is not that of the replay test.
fn page(html: &str) -> String {
    without(&without(html, "<style>", "</style>"), "This link works until ", ".")
}

/// A text without what begins and ends so.
fn without(text: &str, begins: &str, ends: &str) -> String {
    let around = text.split_once(begins).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(ends)?;
        Some(format!("{before}{after}"))
    });
    around.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[track_caller]
    fn check(expected: &Value, found: &Value, agrees: bool) {
        assert_eq!(super::agrees(expected, found), agrees, "{expected} {found}");
    }

    #[test]
    fn only_random_values_may_differ() {
        check(&json!({ "a": [1, null] }), &json!({ "a": [1, null] }), true);
        check(&json!("[session]"), &json!("cs_test_a1"), true);
        check(&json!({ "url": "[stripe]/c/pay/[session]" }), &json!({ "url": "http://x" }), true);
        check(&json!({ "expires_at": "2026" }), &json!({ "expires_at": "2027" }), true);
        check(&json!({ "since": "2026" }), &json!({ "since": "2027" }), false);
        check(&json!("[session]"), &json!(5), false);
        check(&json!({ "expires_at": "2026" }), &json!({ "expires_at": null }), false);
        check(&json!({ "a": 1 }), &json!({ "a": 1, "b": 2 }), false);
        check(&json!({ "a": 1, "b": 2 }), &json!({ "a": 1 }), false);
        check(&json!([1]), &json!([1, 2]), false);
        let shown = "<head><style>p {}</style></head><p>This link works until 1 May 2027.</p>";
        let expected = "<head></head><p>This link works until 21 December 2026.</p>";
        check(&json!(expected), &json!(shown), true);
        check(&json!(expected), &json!(shown.replace("works", "worked")), false);
        check(&json!(200), &json!("200"), false);
    }

    #[test]
    fn every_sample_has_an_expected_answer() {
        let mut samples = 0;
        for (folder, _) in crate::sam::FUNCTIONS {
            for sample in crate::sam::samples(folder).unwrap() {
                let name = sample.file_stem().unwrap().to_str().unwrap();
                let expected = super::of(folder, name).unwrap();
                assert_eq!(expected.differences(&expected.clone()), None, "{folder}/{name}");
                let mut other = expected.clone();
                other.status = json!(500);
                let differences = expected.differences(&other).unwrap();
                assert!(differences.contains("status found:    500"), "{differences}");
                samples += 1;
            }
        }
        assert!(samples >= 31, "{samples}");
    }
}
