//! The parameters of each operation, declared as data, and their validation.
//!
//! A validated request contains only known parameters of the right type, so handlers needn't check
//! again. An empty text means "unset this", as in Stripe's API, and becomes null.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// A parameter.
pub(crate) struct Parameter {
    name: &'static str,
    shape: Shape,
    required: bool,
}

/// The shape of a parameter's value.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text,
    /// A text of at most this many characters.
    Bounded(usize),
    /// The same, but not only white space.
    Name(usize),
    /// An absolute http or https address.
    Url,
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
    Choice(&'static [&'static str]),
    Metadata,
    List(&'static Shape),
    Object(&'static [Parameter]),
    /// A time, or an object of `gt`, `gte`, `lt` and `lte`.
    TimeRange,
}

impl Parameter {
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }
}

pub(crate) const fn required(name: &'static str, shape: Shape) -> Parameter {
    Parameter { name, shape, required: true }
}

pub(crate) const fn optional(name: &'static str, shape: Shape) -> Parameter {
    Parameter { name, shape, required: false }
}

/// An amount. Its maximum depends on the currency: see [`crate::amounts`].
pub(crate) const AMOUNT: Shape = Shape::Integer { min: 0, max: i64::MAX };
pub(crate) const TIMESTAMP: Shape = Shape::Integer { min: 0, max: i64::MAX };
const BOUND: &[Parameter] = &[
    optional("gt", TIMESTAMP),
    optional("gte", TIMESTAMP),
    optional("lt", TIMESTAMP),
    optional("lte", TIMESTAMP),
];

/// Validates a request's parameters against the operation's.
pub(crate) fn check(parameters: &[Parameter], sent: &Value) -> Result<Value, ApiError> {
    object(parameters, sent, "")
}

fn object(parameters: &[Parameter], sent: &Value, path: &str) -> Result<Value, ApiError> {
    let Some(sent) = sent.as_object() else {
        return Err(invalid("parameter_invalid_object", path, "an object"));
    };
    for name in sent.keys() {
        if !parameters.iter().any(|parameter| parameter.name == name) {
            let known: Vec<_> = parameters.iter().map(|parameter| parameter.name).collect();
            return Err(ApiError::parameter_unknown(&join(path, name), &known));
        }
    }
    let mut checked = Map::new();
    for parameter in parameters {
        let path = join(path, parameter.name);
        match sent.get(parameter.name) {
            Some(value) => {
                let value = one(parameter.shape, value, &path)?;
                if value.is_null() && parameter.required {
                    return Err(ApiError::parameter(
                        "parameter_invalid_empty",
                        &path,
                        format!("{path} must not be empty."),
                    ));
                }
                checked.insert(parameter.name.to_owned(), value);
            }
            None if parameter.required => return Err(ApiError::parameter_missing(&path)),
            None => {}
        }
    }
    Ok(Value::Object(checked))
}

fn one(shape: Shape, value: &Value, path: &str) -> Result<Value, ApiError> {
    if value.as_str() == Some("") {
        return Ok(Value::Null);
    }
    match shape {
        Shape::Text => text(value, path).map(Value::from),
        Shape::Bounded(longest) => bounded(value, longest, path),
        Shape::Name(longest) => match text(value, path)? {
            blank if blank.trim().is_empty() => Err(ApiError::parameter(
                "parameter_invalid_string_blank",
                path,
                format!("{path} must not be only white space."),
            )),
            _ => bounded(value, longest, path),
        },
        Shape::Url => match text(value, path)? {
            url if is_url(url) => Ok(url.into()),
            _ => {
                Err(invalid("url_invalid", path, "an address that starts with http:// or https://"))
            }
        },
        Shape::Integer { min, max } => match text(value, path)?.parse::<i64>() {
            Ok(number) if number < min => {
                Err(invalid("parameter_invalid_integer", path, &format!("at least {min}")))
            }
            Ok(number) if number > max => {
                Err(invalid("parameter_invalid_integer", path, &format!("at most {max}")))
            }
            Ok(number) => Ok(number.into()),
            Err(_) => Err(invalid("parameter_invalid_integer", path, "a whole number")),
        },
        Shape::Boolean => match text(value, path)? {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(invalid("parameter_invalid_boolean", path, "true or false")),
        },
        Shape::Choice(choices) => match text(value, path)? {
            choice if choices.contains(&choice) => Ok(choice.into()),
            _ => Err(invalid(
                "parameter_invalid_choice",
                path,
                &format!("one of {}", choices.join(", ")),
            )),
        },
        Shape::Metadata => metadata(value, path),
        Shape::List(shape) => list(*shape, value, path),
        Shape::Object(parameters) => object(parameters, value, path),
        Shape::TimeRange if value.is_string() => one(TIMESTAMP, value, path),
        Shape::TimeRange => object(BOUND, value, path),
    }
}

/// Stripe has no code for a text that is too long: its error has only a message and a `param`.
fn bounded(value: &Value, longest: usize, path: &str) -> Result<Value, ApiError> {
    let text = text(value, path)?;
    if text.chars().count() <= longest {
        return Ok(text.into());
    }
    let message = format!("Invalid string: {path} must be at most {longest} characters.");
    Err(ApiError::invalid_request(message).with("param", path).unexecuted())
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str, ApiError> {
    value.as_str().ok_or_else(|| invalid("parameter_invalid_string", path, "a single value"))
}

fn is_url(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && !text.contains(|character: char| character.is_whitespace() || character.is_control())
}

/// Lists come as `a[]=…` or as `a[0]=…`.
fn list(shape: Shape, value: &Value, path: &str) -> Result<Value, ApiError> {
    let not_a_list = || invalid("parameter_invalid_array", path, "a list");
    let elements: Vec<(usize, &Value)> = match value {
        Value::Array(elements) => elements.iter().enumerate().collect(),
        Value::Object(numbered) => {
            let mut elements = Vec::with_capacity(numbered.len());
            for (key, element) in numbered {
                elements.push((key.parse().map_err(|_not_a_number| not_a_list())?, element));
            }
            elements.sort_by_key(|(index, _)| *index);
            elements
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(not_a_list());
        }
    };
    elements
        .into_iter()
        .map(|(index, element)| one(shape, element, &format!("{path}[{index}]")))
        .collect()
}

fn metadata(value: &Value, path: &str) -> Result<Value, ApiError> {
    let Some(entries) = value.as_object() else {
        return Err(invalid("parameter_invalid_object", path, "an object"));
    };
    if entries.len() > 50 {
        return Err(invalid("parameter_invalid_object", path, "at most 50 keys"));
    }
    for (key, value) in entries {
        let path = join(path, key);
        if key.chars().count() > 40 {
            return Err(invalid(
                "parameter_invalid_string",
                &path,
                "a key of at most 40 characters",
            ));
        }
        if text(value, &path)?.chars().count() > 500 {
            return Err(invalid("parameter_invalid_string", &path, "at most 500 characters long"));
        }
    }
    Ok(value.clone())
}

fn invalid(code: &str, path: &str, expected: &str) -> ApiError {
    ApiError::parameter(code, path, format!("Invalid {path}: it must be {expected}."))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}[{name}]") }
}
