//! The chapters: a file each, held against what is on sale and what a page may show.

use std::path::{Path, PathBuf};

use shared::domain::catalog::Catalog;
use shared::domain::id::CourseId;

use super::SiteError;
use super::files::{FileError, below, bytes, content_type};
use crate::s3::Object;

/// Where the chapters are in their bucket.
pub(super) const PREFIX: &str = "content/";
/// A chapter is text, which nobody waits for.
const BYTES_MAX: usize = 1_000_000;

/// What the folder has.
pub(super) struct Chapters {
    pub(super) objects: Vec<Object>,
    /// The files that are no chapters.
    pub(super) left_out: Vec<String>,
    folder: PathBuf,
}

/// Reads the folder.
pub(super) fn read(folder: &Path, cache_control: &'static str) -> Result<Chapters, FileError> {
    let (mut objects, mut left_out) = (Vec::new(), Vec::new());
    for (name, path) in below(folder, "--content")? {
        if is_chapter(&name) {
            let (bytes, content_type) = (bytes(&path, "--content")?, content_type(&name));
            let key = format!("{PREFIX}{name}");
            objects.push(Object { key, bytes, content_type, cache_control });
        } else {
            left_out.push(path.display().to_string());
        }
    }
    Ok(Chapters { objects, left_out, folder: folder.to_owned() })
}

/// Whether a link can lead there: `tutorclaw/6.html`.
fn is_chapter(name: &str) -> bool {
    let Some((course, file)) = name.split_once('/') else { return false };
    let Some(number) = file.strip_suffix(".html") else { return false };
    let is_number = number.parse::<usize>().is_ok_and(|it| it > 0 && it.to_string() == number);
    course.parse::<CourseId>().is_ok() && is_number
}

impl Chapters {
    /// Refuses what a learner could not read; with force, only what no page may show.
    pub(super) fn check(&self, catalog: Option<&Catalog>, force: bool) -> Result<(), SiteError> {
        let mut faults = Vec::new();
        for object in &self.objects {
            if let Some(fault) = fault(&object.bytes) {
                faults.push(format!("{} {fault}", self.file(&object.key)));
            }
        }
        let is_forceable = faults.is_empty();
        if !force || !is_forceable {
            faults.extend(self.missing(catalog));
        }
        if faults.is_empty() { Ok(()) } else { Err(SiteError::Faults { faults, is_forceable }) }
    }

    fn missing(&self, catalog: Option<&Catalog>) -> Vec<String> {
        let Some(catalog) = catalog else {
            let says = "nothing is on sale yet, so no chapter belongs to a course: put your \
                        courses on sale with `coursegate catalog push` first";
            return vec![says.to_owned()];
        };
        let mut missing = Vec::new();
        for course in catalog.courses() {
            for (number, title) in (1_usize..).zip(&course.chapters) {
                let key = format!("{PREFIX}{}/{number}.html", course.id);
                if !self.objects.iter().any(|object| object.key == key) {
                    missing.push(format!(
                        "{} is not there, and {} is on sale with it ({title}): write it",
                        self.file(&key),
                        course.id
                    ));
                }
            }
        }
        missing
    }

    fn file(&self, key: &str) -> String {
        self.folder.join(key.strip_prefix(PREFIX).unwrap_or(key)).display().to_string()
    }
}

/// What no page may show of a chapter, and what to do about it.
fn fault(bytes: &[u8]) -> Option<String> {
    if bytes.len() > BYTES_MAX {
        return Some(format!(
            "has {} bytes, and a chapter {BYTES_MAX} at most: make it shorter, or its pictures \
             smaller",
            bytes.len()
        ));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some("is not UTF-8: save it as that".to_owned());
    };
    if text.trim().is_empty() {
        return Some("is empty: write it".to_owned());
    }
    tags(text).find_map(|tag| unfit(&tag))
}

fn unfit(tag: &Tag<'_>) -> Option<String> {
    let name = tag.name.to_ascii_lowercase();
    match name.as_str() {
        "script" => return Some("has a script, and no page runs one: remove it".to_owned()),
        "html" | "head" | "body" => {
            return Some(format!(
                "has a <{name}>, and a chapter is a part of a page: keep what is in the body"
            ));
        }
        _ => {}
    }
    tag.attributes.iter().find_map(|(attribute, value)| {
        let attribute = attribute.to_ascii_lowercase();
        let runs = attribute.starts_with("on");
        let leads = matches!(attribute.as_str(), "href" | "src") && leads_to_a_script(value);
        (runs || leads).then(|| {
            format!("has a script in {attribute} of a <{name}>, and no page runs one: remove it")
        })
    })
}

/// Whether an address is a script, or begins with a character reference, behind which one may hide.
fn leads_to_a_script(address: &str) -> bool {
    let address: String = address.chars().filter(|it| !it.is_ascii_whitespace()).collect();
    let (beginning, _) = split_at_any(&address, |it| it == '/' || it == '?');
    beginning.contains('&') || beginning.to_ascii_lowercase().starts_with("javascript:")
}

/// A start tag.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

/// The start tags of an HTML text, outside its comments.
fn tags(text: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('<')?;
            if let Some(comment) = after.strip_prefix("!--") {
                rest = after_comment(comment);
            } else if after.starts_with(|first: char| first.is_ascii_alphabetic()) {
                let (tag, after) = tag(after);
                rest = after;
                return Some(tag);
            } else {
                rest = after;
            }
        }
    })
}

/// What follows a comment that starts here: browsers take some for ended that are not by the book.
fn after_comment(text: &str) -> &str {
    let empty = [">", "->"].into_iter().find_map(|end| text.strip_prefix(end));
    let ends = ["-->", "--!>"].into_iter().filter_map(|end| text.split_once(end));
    empty.unwrap_or_else(|| {
        ends.min_by_key(|(comment, _)| comment.len()).map_or("", |(_, after)| after)
    })
}

/// The tag that starts here, and what follows it.
fn tag(text: &str) -> (Tag<'_>, &str) {
    let is_space_or_slash = |it: char| it.is_ascii_whitespace() || it == '/';
    let (name, mut rest) = split_at_any(text, |it| is_space_or_slash(it) || it == '>');
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_space_or_slash);
        if rest.is_empty() {
            return (Tag { name, attributes }, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name, attributes }, after);
        }
        // As browsers do: an equals sign where a name should be is the first of its letters.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest.get(first..).unwrap_or_default();
        let end = end.find(|it| is_space_or_slash(it) || it == '>' || it == '=');
        let end = end.map_or(rest.len(), |end| end.saturating_add(first));
        let (attribute, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (value, after) = match after.trim_ascii_start().strip_prefix('=') {
            Some(after) => value(after.trim_ascii_start()),
            None => ("", after),
        };
        attributes.push((attribute, value));
        rest = after;
    }
}

/// An attribute's value, quoted or not, and what follows it.
fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote).unwrap_or((quoted, ""));
        }
    }
    split_at_any(text, |it| it.is_ascii_whitespace() || it == '>')
}

fn split_at_any(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(ends).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: Option<&str>) {
        let fault = fault(html.as_bytes());
        let is_right = match (&fault, expected) {
            (Some(fault), Some(expected)) => fault.contains(expected),
            (fault, expected) => fault.is_none() && expected.is_none(),
        };
        assert!(is_right, "{html}: {fault:?}");
    }

    #[test]
    fn a_chapter_is_a_fragment_that_runs_nothing() {
        check("<article><p>1 < 2 && 3 > 2</p></article>", None);
        check(
            "<pre><code>&lt;script&gt;</code></pre> <a href=\"/on\" title='onclick=\"x\"'>",
            None,
        );
        check("<!-- <script> --><p>", None);
        check("<p>a <b data-x=1>b</b><br/><img alt='>' src=\"data:image/png;base64,AA==\">", None);
        check("<header><bodyguard-card>", None);
        check("<!-- a --!><p>--><!----><p>", None);
        for comment in ["<!-->", "<!--->", "<!---->", "<!-- a --!>"] {
            check(&format!("{comment}<script>x</script>-->"), Some("has a script,"));
        }
        check("<a href=\"/find?a=1&amp;b=2\">", None);
        check("<a href=\"&#106;avascript:alert(1)\">", Some("href of a <a>"));
        check("<SCRIPT src=x>", Some("has a script,"));
        check("<svg/><p><script", Some("has a script,"));
        check("<!doctype html><html lang=en>", Some("has a <html>"));
        check("<p>x</p><Body>", Some("has a <body>"));
        check("<img src=x OnError=alert(1)>", Some("onerror of a <img>"));
        check("<img/onerror=alert(1)>", Some("onerror of a <img>"));
        check("<img alt=\"a\"onerror = 'alert(1)'>", Some("onerror of a <img>"));
        check("<a href=\" java\nscript:alert(1)\">", Some("href of a <a>"));
        check("<a title=\"'>\" href=JavaScript:x>", Some("href of a <a>"));
        check(" \n", Some("is empty"));
        check(&"x".repeat(BYTES_MAX + 1), Some("1000001 bytes"));
        assert!(fault(b"caf\xe9").is_some_and(|fault| fault.contains("UTF-8")));
    }

    #[test]
    fn a_chapter_s_file_is_named_by_course_and_number() {
        for name in ["tutorclaw/6.html", "first-steps/12.html"] {
            assert!(is_chapter(name), "{name}");
        }
        let others =
            ["README.md", "6.html", "tutorclaw/six.html", "tutorclaw/06.html", "tutorclaw/0.html"];
        for name in others.into_iter().chain(["tutorclaw/6.htm", "a/b/6.html", "tutorclaw/+6.html"])
        {
            assert!(!is_chapter(name), "{name}");
        }
    }
}
