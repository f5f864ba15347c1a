//! Why a tool has no answer, as a result that tells the model what to do next.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;
use shared::http::{Problem, ProblemKind};
use shared::telemetry::{self, Metric};
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::SalesError;

/// Why a tool has no answer.
pub(crate) enum Failure {
    /// Something that the model sent or asked for. The problem says what to do in terms of tools.
    Advice(Problem),
    Courses(CoursesError),
    Sales(SalesError),
}

impl Failure {
    /// The result. Our own faults and Stripe's are logged here, with their causes.
    pub(crate) fn result(&self) -> (ProblemKind, CallToolResult) {
        let problem = match self {
            Self::Advice(problem) => problem.clone(),
            Self::Courses(error) => failed(Problem::from(error), error),
            Self::Sales(error) => failed(Problem::from(error), error),
        };
        let kind = problem.kind();
        let detail = match self {
            Self::Advice(problem) => problem.detail().to_owned(),
            Self::Courses(_) | Self::Sales(_) => advice(&problem).to_owned(),
        };
        let mut result =
            CallToolResult::error(vec![ContentBlock::text(format!("{}. {detail}", kind.title()))]);
        result.structured_content = Some(json!({
            "type": format!("urn:coursegate:problem:{}", kind.name()),
            "title": kind.title(),
            "detail": detail,
            "retry_after_seconds": problem.retry_after_seconds(),
        }));
        (kind, result)
    }
}

fn failed(problem: Problem, error: &(dyn std::error::Error + 'static)) -> Problem {
    if problem.kind().status() >= 500 {
        telemetry::count(Metric::Failed);
        let error = telemetry::Chain(error);
        tracing::error!(%error, "tool failed");
    }
    problem
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
            "There is nothing to pay: all of its courses are open to the learner. Carry on with the \
             lesson."
        }
        ProblemKind::PaymentProcessing => {
            "Tell the learner that the courses open as soon as the bank confirms the payment, and \
             call check_access later. Don't send another link."
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
        | ProblemKind::PaymentDisputed
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
