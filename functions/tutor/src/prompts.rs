//! The prompt that explains how to tutor with a paywall.

use rmcp::ErrorData;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role,
};
use shared::ports::Clock;
use shared::usecases::sales::{Store, Stripe};

use crate::App;
use crate::resources::failed;

const NAME: &str = "tutor";
const COURSE: &str = "course";
const TEXT: &str = include_str!("prompts/tutor.md");

/// The prompt as it is listed.
pub(crate) fn tutor() -> Prompt {
    let course = PromptArgument::new(COURSE)
        .with_description("The id of the course to teach. Without it, the learner chooses.")
        .with_required(false);
    let description = "How to teach a course whose first chapters are free, and what to do when the \
                       learner reaches a chapter that has to be paid for.";
    Prompt::new(NAME, Some(description), Some(vec![course])).with_title("Tutor with a paywall")
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// The prompt, for the course that was asked for.
    pub(crate) async fn get_prompt(
        &self,
        request: &GetPromptRequestParams,
    ) -> Result<GetPromptResult, ErrorData> {
        let wrong = |detail: &'static str| ErrorData::invalid_params(detail, None);
        if request.name != NAME {
            return Err(wrong("There is no such prompt. There is tutor."));
        }
        let arguments = request.arguments.clone().unwrap_or_default();
        if arguments.keys().any(|argument| argument != COURSE) {
            return Err(wrong("The prompt has one argument, course."));
        }
        let start = match arguments.get(COURSE).map(|id| id.as_str().unwrap_or_default()) {
            None => "Ask the learner which course they want to take.".to_owned(),
            // Only an id from the catalog, so that it can't carry instructions.
            Some(id) => {
                let published =
                    self.courses.list_courses().await.map_err(|error| failed(&error))?;
                let known = published.catalog.courses().iter().any(|it| it.id.as_str() == id);
                if !known {
                    return Err(wrong(
                        "There is no such course. The tool list_courses lists them.",
                    ));
                }
                format!("Teach the course {id}.")
            }
        };
        let text = format!("{}\n\n{start}\n", TEXT.trim_end());
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]))
    }
}
