//! The demo chapters' text, to search pages for.

use tests::world::root;

/// Each piece of text that is long enough to be unique.
pub(crate) fn pieces(course: &str, chapter: u32) -> Vec<String> {
    let file = root().join(format!("content/{course}/{chapter}.html"));
    let html = std::fs::read_to_string(file).unwrap();
    let texts = html.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
    let texts = texts.filter(|text| text.len() > 40 && !text.contains(['&', '\n']));
    let pieces: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
    assert!(pieces.len() > 3, "{course}/{chapter} has too little text");
    pieces
}
