//! The prompt that explains how to tutor with a paywall.

use rmcp::ErrorData;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role,
};
use shared::domain::id::CourseId;

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

/// The prompt, for the course that was asked for.
pub(crate) fn get(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    if request.name != NAME {
        let detail = format!("There is no such prompt. There is {NAME}.");
        return Err(ErrorData::invalid_params(detail, None));
    }
    let course = request.arguments.as_ref().and_then(|arguments| arguments.get(COURSE));
    let start = match course.map(|id| id.as_str().unwrap_or_default().parse::<CourseId>()) {
        None => "Ask the learner which course they want to take.".to_owned(),
        // An id has no spaces and no punctuation, so it can't carry instructions.
        Some(Ok(course)) => format!("Teach the course {course}."),
        Some(Err(error)) => return Err(ErrorData::invalid_params(format!("{error}."), None)),
    };
    let message = PromptMessage::new_text(Role::User, format!("{}\n\n{start}\n", TEXT.trim_end()));
    Ok(GetPromptResult::new(vec![message]))
}
