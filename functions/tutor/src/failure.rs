//! Why a tool has no answer, as a result that tells the model what to do next.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;
use shared::content::TextError;
use shared::http::{Problem, ProblemKind};
use shared::ports::StripeError;
use shared::telemetry::{self, Metric};
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::SalesError;

/// A call takes longer than a client waits.
#[derive(Debug, thiserror::Error)]
#[error("the call takes too long")]
pub(crate) struct TooSlow;

/// Why a tool has no answer.
pub(crate) enum Failure {
    /// Something that the model sent or asked for. The problem says what to do in terms of tools.
    Advice(Problem),
    Courses(CoursesError),
    Sales(SalesError),
    /// A chapter's text could not be read.
    Text(TextError),
    /// It takes longer than a client waits.
    TooSlow(TooSlow),
}

impl Failure {
    /// The result. Our own faults and Stripe's are logged here, with their causes.
    pub(crate) fn result(&self) -> (ProblemKind, CallToolResult) {
        let problem = match self {
            Self::Advice(problem) => problem.clone(),
            Self::Courses(error) => failed(Problem::from(error), error),
            Self::Sales(error) => {
                if matches!(error, SalesError::Stripe(StripeError::WrongMode)) {
                    telemetry::count(Metric::OtherMode);
                }
                failed(Problem::from(error), error)
            }
            Self::Text(error) => failed(Problem::try_again(), error),
            Self::TooSlow(error) => failed(Problem::try_again(), error),
        };
        let kind = problem.kind();
        let detail = match self {
            Self::Advice(problem) => problem.detail().to_owned(),
            Self::Courses(_) | Self::Sales(_) | Self::Text(_) | Self::TooSlow(_) => {
                advice(&problem).to_owned()
            }
        };
        let is_argument = kind == ProblemKind::InvalidField;
        let title = if is_argument { "An argument is wrong" } else { kind.title() };
        let text = ContentBlock::text(format!("{title}. {detail}"));
        let mut result = CallToolResult::error(vec![text]);
        result.structured_content = Some(json!({
            "type": format!("urn:coursegate:problem:{}", kind.name()),
            "title": title,
            "detail": detail,
            "retry_after_seconds": problem.retry_after_seconds(),
        }));
        (kind, result)
    }
}

fn failed(problem: Problem, error: &(dyn std::error::Error + 'static)) -> Problem {
    if problem.kind().status() >= 500 {
        log(error);
    }
    problem
}

/// Logs and counts a failure of our own, or of a service that we need.
pub(crate) fn log(error: &(dyn std::error::Error + 'static)) {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(error);
    tracing::error!(%error, "tutor failed");
}

/// What to do next, in terms of tools where the API's own advice is about routes.
fn advice(problem: &Problem) -> &str {
    match problem.kind() {
        ProblemKind::UnknownCourse => "Call list_courses for the ids of the courses.",
        ProblemKind::UnknownPrice => "Call list_courses for the prices on sale.",
        ProblemKind::UnknownProduct => {
            "Call list_courses for the products on sale, or get_tier for those that the learner has."
        }
        ProblemKind::AlreadyEntitled => {
            "There is nothing to pay: what it sells is open to the learner. Carry on with the lesson."
        }
        ProblemKind::PaymentProcessing => {
            "Tell the learner that the courses open as soon as the bank confirms the payment, and \
             call check_access later. Don't send another link."
        }
        ProblemKind::PaymentDisputed => {
            "It can't be bought again until the bank has decided the dispute. There is no link to \
             send."
        }
        ProblemKind::Internal | ProblemKind::StripeRefused => {
            "Trying again won't help, and nothing is lost. Tell the learner that the shop's owner \
             has been notified, and carry on with what is open."
        }
        ProblemKind::MalformedJson
        | ProblemKind::BadSignature
        | ProblemKind::Unauthorized
        | ProblemKind::Forbidden
        | ProblemKind::AccessDenied
        | ProblemKind::UnknownRoute
        | ProblemKind::MethodNotAllowed
        | ProblemKind::UnknownChapter
        | ProblemKind::UnknownSession
        | ProblemKind::UnknownLink
        | ProblemKind::CheckoutOpenElsewhere
        | ProblemKind::BodyTooLarge
        | ProblemKind::InvalidField
        | ProblemKind::RateLimited
        | ProblemKind::Unavailable
        | ProblemKind::StripeUnavailable => problem.detail(),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Advice(problem)
    }
}

impl From<CoursesError> for Failure {
    fn from(error: CoursesError) -> Self {
        Self::Courses(error)
    }
}

impl From<SalesError> for Failure {
    fn from(error: SalesError) -> Self {
        Self::Sales(error)
    }
}
