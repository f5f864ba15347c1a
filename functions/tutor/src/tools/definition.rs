//! What a model reads about each tool. It knows nothing else about the shop.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, Tool as Definition, ToolAnnotations};
use serde_json::{Value, json};
use shared::http::Identity;

use super::Tool;
use crate::arguments::LEARNER;

/// The answers' shapes, by tool. A test derives them from `docs/openapi.yaml`.
static OUTPUT_SCHEMAS: LazyLock<BTreeMap<String, Arc<JsonObject>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("output-schemas.json")).unwrap_or_default());

impl Tool {
    /// What this caller's model reads about the tool.
    pub(crate) fn definition(self, identity: &Identity) -> Definition {
        let mut definition = Definition::new(
            self.name(),
            self.description(),
            Arc::new(object(self.input_schema(identity))),
        );
        definition.title = Some(self.title().to_owned());
        definition.output_schema = OUTPUT_SCHEMAS.get(self.name()).cloned();
        definition.annotations = Some(self.annotations());
        definition
    }

    const fn title(self) -> &'static str {
        match self {
            Self::ListCourses => "List courses and prices",
            Self::CheckAccess => "Check access",
            Self::GetTier => "Get a learner's tier",
            Self::GetUpgradeUrl => "Get a link to buy",
            Self::ExplainAccess => "Explain access",
            Self::OpenChapter => "Open a chapter",
            Self::GetAccountUrl => "Get the account page",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::ListCourses => {
                "Lists all courses of this shop: their ids, titles and chapters, which chapters are \
                 free, and the offers that open the rest, with prices. Amounts are in the currency's \
                 minor unit, such as cents. Call it first to learn the ids that the other tools take."
            }
            Self::CheckAccess => {
                "Says whether a learner may open a course, or one of its chapters. Call it before \
                 you teach a chapter, and again after the learner says that they have paid. If \
                 access is denied, reason says why, and offers what would open it. Never teach a \
                 chapter that is denied."
            }
            Self::GetTier => {
                "Says whether a learner is on the free or the paid tier, and lists everything that \
                 they have bought or been given, with its status."
            }
            Self::GetUpgradeUrl => {
                "Returns a link with which the learner can buy what they are missing. Send it to \
                 them as it is. By default it is an upgrade link, which works for 30 days and can \
                 be opened on any device; with kind \"checkout\" it is Stripe's payment page itself, \
                 which works for up to a day and replaces any other checkout page that the learner \
                 has open for it. Give exactly one of course, product and price. Only the learner can \
                 pay, on Stripe's page. It is an error if there is nothing left to pay."
            }
            Self::ExplainAccess => {
                "Explains why a learner has or doesn't have a product: its payments, refunds, \
                 disputes and grants in order, each with a sentence and what it did to access. Call \
                 it when the learner says that something should be open and it isn't."
            }
            Self::OpenChapter => {
                "Returns a link to a chapter that the learner may open, and with text true also its \
                 text, in HTML, for you to teach from. The link works for five minutes, and whoever \
                 has it can read the chapter, so send it to the learner and to nobody else. It is \
                 an error if the learner has no access."
            }
            Self::GetAccountUrl => {
                "Returns the address of the page on which learners who sign in to the site see what \
                 they have bought there. Learners with ids that start with x- have no account \
                 there: tell them what get_tier and explain_access say."
            }
        }
    }

    fn annotations(self) -> ToolAnnotations {
        let annotations = ToolAnnotations::new().destructive(false);
        match self {
            // It creates a link, or a session at Stripe.
            Self::GetUpgradeUrl => annotations.read_only(false).idempotent(false).open_world(true),
            Self::ListCourses
            | Self::CheckAccess
            | Self::GetTier
            | Self::ExplainAccess
            | Self::OpenChapter
            | Self::GetAccountUrl => annotations.read_only(true).open_world(false),
        }
    }

    fn input_schema(self, identity: &Identity) -> Value {
        let course = || json!({ "type": "string", "description": "The course's id." });
        let chapter =
            |description| json!({ "type": "integer", "minimum": 1, "description": description });
        let (properties, mut required) = match self {
            Self::ListCourses | Self::GetAccountUrl | Self::GetTier => (json!({}), Vec::new()),
            Self::CheckAccess => {
                let chapter = chapter(
                    "The chapter's number; 1 is the first. Leave it out to ask about the whole \
                     course.",
                );
                (json!({ "course": course(), "chapter": chapter }), vec!["course"])
            }
            Self::OpenChapter => {
                let chapter = chapter("The chapter's number; 1 is the first.");
                let text = json!({
                    "type": "boolean",
                    "default": false,
                    "description": "Whether to return the text too.",
                });
                let properties = json!({ "course": course(), "chapter": chapter, "text": text });
                (properties, vec!["course", "chapter"])
            }
            Self::ExplainAccess => {
                let product = json!({ "type": "string", "description": "The product's id." });
                (json!({ "product": product }), vec!["product"])
            }
            Self::GetUpgradeUrl => (upgrade_properties(), Vec::new()),
        };
        let mut properties = object(properties);
        if self.is_about_a_learner() && *identity == Identity::Service {
            let learner = json!({
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]{1,64}$",
                "description": "Whom it is about: the id of the learner you are talking to, which \
                                your own program knows. Never take it from what the learner writes.",
            });
            properties.insert(LEARNER.to_owned(), learner);
            required.insert(0, LEARNER);
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

fn upgrade_properties() -> Value {
    json!({
        "course": {
            "type": "string",
            "description": "The id of the course that the learner wants to open.",
        },
        "product": {
            "type": "string",
            "description": "The id of the product that the learner wants to buy.",
        },
        "price": {
            "type": "string",
            "description": "The price of the offer that the learner has chosen.",
        },
        "kind": {
            "type": "string",
            "enum": ["link", "checkout"],
            "default": "link",
            "description": "link works for 30 days; checkout leads straight to Stripe's page.",
        },
    })
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonObject::new()
        }
    }
}
