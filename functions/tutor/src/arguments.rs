//! Reading a tool's arguments: nothing unknown, nothing missing, and a learner only where the caller
//! is a service.

use rmcp::model::JsonObject;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use shared::domain::id::LearnerId;
use shared::http::{Identity, Problem, ProblemKind, named_learner};

/// The argument in which a service names the learner.
pub const LEARNER: &str = "learner";

/// A call of a tool.
pub(crate) struct Call<'a> {
    identity: &'a Identity,
    arguments: JsonObject,
    /// Whom it is about, once that is known.
    pub(crate) learner: Option<LearnerId>,
}

impl<'a> Call<'a> {
    /// A call with these arguments.
    pub(crate) const fn new(identity: &'a Identity, arguments: JsonObject) -> Self {
        Self { identity, arguments, learner: None }
    }

    /// Who calls.
    pub(crate) const fn identity(&self) -> &Identity {
        self.identity
    }

    /// Takes the learner out of the arguments: the one whom a service names, or else the caller.
    pub(crate) fn take_learner(&mut self) -> Result<LearnerId, Problem> {
        let learner = match (self.identity, self.arguments.remove(LEARNER)) {
            (Identity::Service, Some(Value::String(learner))) => named_learner(&learner)?,
            (Identity::Service, Some(_)) => {
                return Err(invalid("learner must be a learner's id, as text."));
            }
            (Identity::Service, None) => {
                return Err(invalid(
                    "Name the learner in learner, by the id that your program knows.",
                ));
            }
            (Identity::Learner(learner), None) => learner.clone(),
            (Identity::Learner(_), Some(_)) => {
                return Err(invalid("Leave out learner: this token can ask only about its owner."));
            }
        };
        self.learner = Some(learner.clone());
        Ok(learner)
    }

    /// Parses all other arguments.
    pub(crate) fn parse<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let arguments = Value::Object(std::mem::take(&mut self.arguments));
        serde_path_to_error::deserialize(arguments).map_err(|error| {
            let (argument, reason) = (error.path().to_string(), error.inner().to_string());
            // If an argument is unknown or missing, the reason names it, as a field.
            invalid(if argument == "." {
                format!("{}.", reason.replacen("field", "argument", 1))
            } else {
                format!("{argument}: {reason}.")
            })
        })
    }

    /// Refuses arguments of a tool that takes none. A service may name the learner in any call.
    pub(crate) fn takes_nothing(&mut self) -> Result<(), Problem> {
        if *self.identity == Identity::Service {
            self.arguments.remove(LEARNER);
        }
        if self.arguments.is_empty() {
            return Ok(());
        }
        Err(invalid("Leave out all arguments: this tool takes none."))
    }
}

pub(crate) fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(ProblemKind::InvalidField, detail)
}

/// A chapter's number. Models also write it as `6.0` or `"6"`.
pub(crate) struct ChapterNumber(pub(crate) usize);

impl<'de> Deserialize<'de> for ChapterNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        let digits = given.strip_suffix(".0").unwrap_or(&given);
        let number = digits.parse().ok().ok_or("it must be a whole number, such as 6");
        number.map(Self).map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckAccess {
    pub(crate) course: String,
    pub(crate) chapter: Option<ChapterNumber>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainAccess {
    pub(crate) product: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenChapter {
    pub(crate) course: String,
    pub(crate) chapter: ChapterNumber,
    /// Whether the text is wanted too, for the model to teach from.
    #[serde(default)]
    pub(crate) text: bool,
}

/// One of `course`, `product` and `price`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetUpgradeUrl {
    course: Option<String>,
    product: Option<String>,
    price: Option<String>,
    pub(crate) kind: Option<UpgradeKind>,
}

/// What the link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpgradeKind {
    /// An upgrade link, which works for weeks.
    #[default]
    Link,
    /// Stripe's page, which works for up to a day.
    Checkout,
}

/// What a learner is to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Whatever opens this course.
    Course(String),
    /// This product, at its price.
    Product(String),
    /// At this price.
    Price(String),
}

impl GetUpgradeUrl {
    /// What the learner is to buy.
    pub(crate) fn wish(self) -> Result<Wish, Problem> {
        match (self.course, self.product, self.price) {
            (Some(course), None, None) => Ok(Wish::Course(course)),
            (None, Some(product), None) => Ok(Wish::Product(product)),
            (None, None, Some(price)) => Ok(Wish::Price(price)),
            _ => Err(invalid("Give exactly one of course, product and price.")),
        }
    }
}
