//! A node of the template: a value, and the path that an error names.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use serde_norway::Value;
use serde_norway::value::TaggedValue;

use super::{References, TemplateError};

/// The pseudo parameters that AWS defines in every stack.
const PSEUDO_PARAMETERS: &[(&str, &str)] = &[
    ("AWS::AccountId", "000000000000"),
    ("AWS::Partition", "aws"),
    ("AWS::Region", "us-east-1"),
    ("AWS::StackName", "coursegate"),
    ("AWS::URLSuffix", "amazonaws.com"),
];

/// Stands for an absent property.
const NO_VALUE: &str = "AWS::NoValue";

/// The values of `!Ref`, `!GetAtt` and `!Sub`, and the conditions.
pub(super) struct Resolver<'a> {
    document: &'a Value,
    references: &'a References,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(document: &'a Value, references: &'a References) -> Self {
        Resolver { document, references }
    }

    fn look_up(&self, name: &str) -> Option<Json> {
        let parameter = self.document.get("Parameters").and_then(|all| all.get(name));
        let field = |field| parameter.and_then(|one| one.get(field)).and_then(Value::as_str);
        // A number becomes text, as in CloudFormation.
        let number = parameter.and_then(|one| one.get("Default")).and_then(Value::as_i64);
        let number = number.map(|number| number.to_string());
        let pseudo =
            || PSEUDO_PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let value = self
            .references
            .get(name)
            .map(String::as_str)
            .or_else(|| field("Default"))
            .or(number.as_deref())
            .or_else(pseudo)?;
        Some(match field("Type") {
            Some("CommaDelimitedList") => value.split(',').map(str::trim).collect(),
            Some(_) | None => Json::from(value),
        })
    }
}

/// A value in the template, and its path.
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    name: String,
    resolver: &'a Resolver<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, resolver: &'a Resolver<'a>) -> Node<'a> {
        Node { value, path: String::new(), name: String::new(), resolver }
    }

    /// The last key of its path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn unusable(&self, problem: impl Into<String>) -> TemplateError {
        TemplateError::Unusable { path: self.path.clone(), problem: problem.into() }
    }

    fn below(&self, name: &str, value: &'a Value) -> Node<'a> {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Node { value, path, name: name.to_owned(), resolver: self.resolver }
    }

    /// The branch that an `!If` selects, and any other value as it is; none for `AWS::NoValue`.
    fn settled(&self) -> Result<Option<Node<'a>>, TemplateError> {
        let Value::Tagged(tagged) = self.value else { return Ok(Some(self.copy())) };
        if tagged.tag == "Ref" && tagged.value.as_str() == Some(NO_VALUE) {
            return Ok(None);
        }
        if tagged.tag != "If" {
            return Ok(Some(self.copy()));
        }
        let Some([condition, then, otherwise]) = tagged.value.as_sequence().map(Vec::as_slice)
        else {
            return Err(self.unusable("!If takes a condition and two values"));
        };
        let holds = self.below("If", condition).holds()?;
        let chosen = if holds { then } else { otherwise };
        Node { value: chosen, path: self.path.clone(), ..self.copy() }.settled()
    }

    fn copy(&self) -> Node<'a> {
        let Node { value, path, name, resolver } = self;
        Node { value, path: path.clone(), name: name.clone(), resolver }
    }

    /// Whether the condition of this name is true.
    pub(super) fn holds(&self) -> Result<bool, TemplateError> {
        let Some(name) = self.value.as_str() else {
            return Err(self.unusable("this must be the name of a condition"));
        };
        let conditions = self.resolver.document.get("Conditions");
        let Some(condition) = conditions.and_then(|all| all.get(name)) else {
            return Err(self.unusable(format!("there is no condition {name}")));
        };
        let path = format!("Conditions.{name}");
        Node { value: condition, path, name: name.to_owned(), resolver: self.resolver }.is_true()
    }

    fn is_true(&self) -> Result<bool, TemplateError> {
        let Value::Tagged(tagged) = self.value else {
            return Err(self.unusable("the local stack supports only !Equals, !Not and !And"));
        };
        if tagged.tag == "Condition" {
            return self.below("Condition", &tagged.value).holds();
        }
        let arguments = tagged.value.as_sequence().map(Vec::as_slice);
        match (tagged.tag.to_string().as_str(), arguments) {
            ("!Equals", Some([one, other])) => {
                Ok(self.below("0", one).json()? == self.below("1", other).json()?)
            }
            ("!Not", Some([condition])) => Ok(!self.below("0", condition).is_true()?),
            ("!And", Some(conditions)) => {
                for condition in conditions {
                    if !self.below("And", condition).is_true()? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Err(self.unusable("the local stack supports only !Equals, !Not and !And")),
        }
    }

    fn mapping(&self) -> Result<&'a serde_norway::Mapping, TemplateError> {
        self.value.as_mapping().ok_or_else(|| self.unusable("this must be a mapping"))
    }

    pub(super) fn children(&self) -> Result<Vec<Node<'a>>, TemplateError> {
        self.mapping()?
            .iter()
            .filter_map(|(key, value)| match key.as_str() {
                Some(key) => self.below(key, value).settled().transpose(),
                None => Some(Err(self.unusable("its keys must be text"))),
            })
            .collect()
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<Vec<Node<'a>>, TemplateError> {
        let items = self.value.as_sequence();
        let items = items.ok_or_else(|| self.unusable("this must be a list"))?.iter().enumerate();
        items
            .filter_map(|(index, item)| self.below(&index.to_string(), item).settled().transpose())
            .collect()
    }

    pub(super) fn child(&self, name: &str) -> Result<Option<Node<'a>>, TemplateError> {
        match self.mapping()?.get(name) {
            Some(value) => self.below(name, value).settled(),
            None => Ok(None),
        }
    }

    pub(super) fn require(&self, name: &str) -> Result<Node<'a>, TemplateError> {
        self.child(name)?.ok_or_else(|| self.unusable(format!("{name} is missing")))
    }

    /// Refuses a mapping with any other key: it might matter.
    pub(super) fn only_keys(&self, known: &[&str]) -> Result<(), TemplateError> {
        match self.children()?.into_iter().find(|child| !known.contains(&child.name())) {
            None => Ok(()),
            Some(unknown) => Err(unknown.unusable("the local stack doesn't support this property")),
        }
    }

    /// Text; a number or a boolean becomes text, as in AWS.
    pub(super) fn string(&self) -> Result<String, TemplateError> {
        match self.json()? {
            Json::String(text) => Ok(text),
            Json::Number(number) => Ok(number.to_string()),
            Json::Bool(truth) => Ok(truth.to_string()),
            Json::Array(_) | Json::Object(_) | Json::Null => {
                Err(self.unusable("this must be text"))
            }
        }
    }

    pub(super) fn strings(&self) -> Result<Vec<String>, TemplateError> {
        let list = self.json()?;
        let items = list.as_array().ok_or_else(|| self.unusable("this must be a list"))?;
        items
            .iter()
            .map(|item| {
                let text = item.as_str().map(str::to_owned);
                text.ok_or_else(|| self.unusable("its items must be text"))
            })
            .collect()
    }

    /// The resource that a `!Ref` names.
    pub(super) fn resource(&self) -> Result<&'a str, TemplateError> {
        let tagged = if let Value::Tagged(tagged) = self.value { Some(tagged) } else { None };
        let name = tagged.filter(|tagged| tagged.tag == "Ref");
        let name = name.and_then(|tagged| tagged.value.as_str());
        name.ok_or_else(|| self.unusable("this must be the !Ref of a resource"))
    }

    pub(super) fn integer(&self) -> Result<u32, TemplateError> {
        let number = self.json()?.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.unusable("this must be a whole number"))
    }

    /// The value with every reference resolved.
    pub(super) fn json(&self) -> Result<Json, TemplateError> {
        match self.value {
            Value::Null => Ok(Json::Null),
            Value::Bool(truth) => Ok(Json::Bool(*truth)),
            Value::String(text) => Ok(Json::String(text.clone())),
            Value::Number(number) => serde_json::to_value(number)
                .map_err(|error| self.unusable(format!("this is no JSON number: {error}"))),
            Value::Sequence(_) => self.items()?.iter().map(Node::json).collect(),
            Value::Mapping(_) => {
                let members: Result<BTreeMap<_, _>, _> = self
                    .children()?
                    .iter()
                    .map(|child| {
                        if child.name().starts_with("Fn::") {
                            return Err(child.unusable("write it in its short form, such as !Sub"));
                        }
                        Ok((child.name().to_owned(), child.json()?))
                    })
                    .collect();
                Ok(members?.into_iter().collect())
            }
            Value::Tagged(tagged) => self.intrinsic(tagged),
        }
    }

    fn intrinsic(&self, tagged: &'a TaggedValue) -> Result<Json, TemplateError> {
        let function = tagged.tag.to_string();
        let function = function.trim_start_matches('!');
        let text = || {
            let text = tagged.value.as_str();
            text.ok_or_else(|| self.unusable(format!("!{function} takes a text")))
        };
        let argument = self.below(function, &tagged.value);
        match function {
            "Ref" | "GetAtt" => self.look_up(text()?),
            "Sub" => self.substitute(text()?).map(Json::String),
            "Join" => argument.join(),
            "Select" => argument.select(),
            "Split" => argument.split(),
            other => Err(self.unusable(format!("the local stack doesn't support !{other}"))),
        }
    }

    /// A function's two arguments.
    fn pair(&self) -> Result<(Json, Json), TemplateError> {
        let Json::Array(arguments) = self.json()? else {
            return Err(self.unusable("this must be a list of two arguments"));
        };
        let [one, other] = <[Json; 2]>::try_from(arguments)
            .map_err(|_more| self.unusable("this must have two arguments"))?;
        Ok((one, other))
    }

    fn join(&self) -> Result<Json, TemplateError> {
        let (separator, parts) = self.pair()?;
        let parts: Option<Vec<&str>> =
            parts.as_array().and_then(|parts| parts.iter().map(Json::as_str).collect());
        match (separator.as_str(), parts) {
            (Some(separator), Some(parts)) => Ok(parts.join(separator).into()),
            _ => Err(self.unusable("!Join takes a separator and a list of text")),
        }
    }

    fn split(&self) -> Result<Json, TemplateError> {
        let (separator, text) = self.pair()?;
        match (separator.as_str(), text.as_str()) {
            (Some(separator), Some(text)) => Ok(text.split(separator).collect()),
            _ => Err(self.unusable("!Split takes a separator and a text")),
        }
    }

    fn select(&self) -> Result<Json, TemplateError> {
        let (index, list) = self.pair()?;
        let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
        let item = index.and_then(|index| list.as_array()?.get(index));
        item.cloned().ok_or_else(|| self.unusable("!Select takes an index and a list"))
    }

    fn look_up(&self, name: &str) -> Result<Json, TemplateError> {
        let found = self.resolver.look_up(name);
        found.ok_or_else(|| self.unusable(format!("{name} has no value on the local stack")))
    }

    fn substitute(&self, text: &str) -> Result<String, TemplateError> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(self.unusable("a ${ has no }"));
            };
            result.push_str(before);
            let value = self.look_up(name)?;
            let value = value.as_str();
            result.push_str(value.ok_or_else(|| self.unusable(format!("{name} is a list")))?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }
}
