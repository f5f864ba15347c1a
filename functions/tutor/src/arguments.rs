//! Reading a tool's arguments: nothing unknown, nothing missing, and a learner only where the caller
//! is a service.

use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::domain::id::LearnerId;
use shared::http::{Identity, Problem, ProblemKind, named_learner};

/// The argument in which a service names the learner.
pub(crate) const LEARNER: &str = "learner";

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

    /// Takes the learner out of the arguments: the one whom a service names, or else the caller.
    pub(crate) fn take_learner(&mut self) -> Result<LearnerId, Problem> {
        let learner = match (self.identity, self.arguments.remove(LEARNER)) {
            (Identity::Service, Some(Value::String(learner))) => named_learner(&learner)?,
            (Identity::Service, Some(_)) => {
                return Err(invalid("learner must be a learner's id, as text."));
            }
            (Identity::Service, None) => return Err(invalid("Name the learner in learner.")),
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
            let (field, reason) = (error.path().to_string(), error.inner());
            // If an argument is unknown or missing, the reason names it.
            invalid(if field == "." { format!("{reason}.") } else { format!("{field}: {reason}.") })
        })
    }
}

pub(crate) fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(ProblemKind::InvalidField, detail)
}

/// No arguments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckAccess {
    pub(crate) course: String,
    pub(crate) chapter: Option<usize>,
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
    pub(crate) chapter: usize,
}

/// One of `course`, `product` and `price`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetUpgradeUrl {
    course: Option<String>,
    product: Option<String>,
    price: Option<String>,
    #[serde(default)]
    pub(crate) kind: UpgradeKind,
}

/// What an upgrade address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpgradeKind {
    /// An upgrade link, which works for weeks.
    #[default]
    Link,
    /// Stripe's page, which works for hours.
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
