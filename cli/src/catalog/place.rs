//! Where in a catalog file a field stands.

use toml::Spanned;
use toml::de::DeTable;

/// A field of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// `course`, `product` or `price`.
    pub(super) kind: &'static str,
    /// Which of that kind; 0 is the first.
    pub(super) entry: usize,
    /// The field's name.
    pub(super) field: &'static str,
    /// Which element of the field, if the field is a list; 0 is the first.
    pub(super) element: Option<usize>,
}

/// The text of a catalog file, and what it is made of.
pub(super) struct Lines<'a> {
    text: &'a str,
    document: Spanned<DeTable<'a>>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        // Where this is no TOML, there is an error that says more.
        let (document, _errors) = DeTable::parse_recoverable(text);
        Self { text, document }
    }

    /// The line of a field, 1 for the first. A field that is left out stands where its entry's id
    /// does.
    pub(super) fn line(&self, place: Place) -> usize {
        let id = if place.kind == "price" { "lookup_key" } else { "id" };
        let list = self.document.get_ref().get(place.kind);
        let entry = list.and_then(|list| list.get_ref().get(place.entry));
        let field = entry
            .and_then(|entry| entry.get_ref().get(place.field).or_else(|| entry.get_ref().get(id)));
        let element =
            field.and_then(|field| place.element.and_then(|index| field.get_ref().get(index)));
        let found = element.or(field).or(entry);
        self.line_at(found.map_or(0, |found| found.span().start))
    }

    /// The line of what stands at this offset, 1 for the first.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    }
}
