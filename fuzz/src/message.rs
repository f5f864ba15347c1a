//! Requests as readable text that stays valid when mutated: a first line, a line `name: value` for
//! each field, an empty line, the body.

/// A request as text. Any bytes are one.
pub struct Message<'a> {
    /// The first line.
    pub first: String,
    fields: Vec<(String, String)>,
    /// Everything after the empty line.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Parses any bytes.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let end = bytes.windows(2).position(|two| two == b"\n\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        Self { first, fields: lines.filter_map(field).collect(), body }
    }

    /// The last field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().rev();
        fields.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All fields, with their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All fields with this prefix, by the rest of their names.
    pub fn fields_of(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        self.fields().filter_map(move |(name, value)| {
            name.strip_prefix(kind)?.strip_prefix('.').map(|name| (name, value))
        })
    }
}
