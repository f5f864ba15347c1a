//! Stripe's form encoding: `metadata[order]=7`, `line_items[0][price]=…`, `expand[]=…`.

use serde_json::{Map, Value};

use crate::error::ApiError;

const DEEPEST: usize = 8;

/// Parses the decoded pairs of a form into a tree of texts, objects and lists. Numbered keys stay
/// an object here: only the parameter's shape tells a list from a map (see [`crate::parameters`]).
pub(crate) fn tree(pairs: Vec<(String, String)>) -> Result<Value, ApiError> {
    let mut root = Value::Object(Map::new());
    for (name, value) in pairs {
        let path = split(&name)?;
        insert(&mut root, &path, value).ok_or_else(|| {
            ApiError::invalid_request(format!(
                "Parameter {name} is both a value and a container; send it one way."
            ))
            .unexecuted()
        })?;
    }
    Ok(root)
}

/// `a[b][0][]` is `a`, `b`, `0` and an empty step.
fn split(name: &str) -> Result<Vec<&str>, ApiError> {
    let malformed = || {
        ApiError::invalid_request(format!(
            "Parameter name {name} is malformed; write it like a[b][0]."
        ))
        .unexecuted()
    };
    let Some(bracket) = name.find('[') else { return Ok(vec![name]) };
    let (first, mut rest) = name.split_at(bracket);
    let mut path = vec![first];
    while !rest.is_empty() {
        let (step, after) =
            rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(malformed)?;
        path.push(step);
        rest = after;
    }
    if first.is_empty() || path.len() > DEEPEST {
        return Err(malformed());
    }
    Ok(path)
}

fn insert(node: &mut Value, path: &[&str], value: String) -> Option<()> {
    let Some((step, rest)) = path.split_first() else {
        *node = Value::String(value);
        return Some(());
    };
    if step.is_empty() {
        if node.as_object().is_some_and(Map::is_empty) {
            *node = Value::Array(Vec::new());
        }
        let elements = node.as_array_mut()?;
        elements.push(Value::Object(Map::new()));
        return insert(elements.last_mut()?, rest, value);
    }
    let child = node.as_object_mut()?.entry(*step).or_insert_with(|| Value::Object(Map::new()));
    // A repeated name is a conflict, unless it leads deeper each time.
    if rest.is_empty() && !child.as_object().is_some_and(Map::is_empty) {
        return child.is_string().then(|| *child = Value::String(value));
    }
    insert(child, rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree_of(pairs: &[(&str, &str)]) -> Result<Value, ApiError> {
        tree(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn brackets_nest() {
        let tree = tree_of(&[
            ("metadata[a]", "1"),
            ("metadata[b]", ""),
            ("line_items[0][price]", "price_1"),
            ("mode", "payment"),
        ]);
        assert_eq!(
            tree.unwrap(),
            json!({"metadata": {"a": "1", "b": ""}, "line_items": {"0": {"price": "price_1"}}, "mode": "payment"})
        );
    }

    #[test]
    fn empty_brackets_append() {
        assert_eq!(
            tree_of(&[("expand[]", "a"), ("expand[]", "b")]).unwrap(),
            json!({"expand": ["a", "b"]})
        );
    }

    #[test]
    fn malformed_forms_are_refused() {
        for name in ["a[b", "a]b[", "a[b]c", "[a]", "a[b][c][d][e][f][g][h][i]"] {
            assert!(tree_of(&[(name, "1")]).is_err() || !name.contains('['), "{name}");
        }
        assert!(tree_of(&[("a", "1"), ("a[b]", "2")]).is_err());
        assert!(tree_of(&[("a[b]", "1"), ("a", "2")]).is_err());
    }
}
