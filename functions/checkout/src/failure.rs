//! Why a request failed, and how the client is told.

use lambda_http::{Body, Response};
use shared::domain::id::LearnerId;
use shared::http::{Incoming, Problem};
use shared::ports::StripeError;
use shared::telemetry::{self, Metric};
use shared::usecases::sales::SalesError;

use crate::{links, page};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("invalid request")]
    Request(Problem),
    #[error("the request takes too long")]
    TooSlow,
    #[error(transparent)]
    Sales(#[from] SalesError),
}

impl Failure {
    /// The answer. It is logged here, once: our own faults and Stripe's with their causes.
    pub(crate) fn answer(&self, incoming: &Incoming<'_>) -> Response<Body> {
        let problem = self.problem();
        let learner = incoming.learner_for_logs();
        let learner = learner.as_ref().map(LearnerId::as_str);
        let outcome = problem.kind().name();
        if problem.kind().status() >= 500 {
            telemetry::count(Metric::Failed);
            if matches!(self, Self::Sales(SalesError::Stripe(StripeError::WrongMode))) {
                telemetry::count(Metric::OtherMode);
            }
            let error = telemetry::Chain(self);
            tracing::error!(learner.id = learner, outcome, %error, "request failed");
        } else {
            tracing::info!(learner.id = learner, outcome, "request refused");
        }
        let request_id = incoming.request_id();
        match links::page_method(incoming) {
            Some(method) => page::problem(&problem, method, request_id),
            None => problem.response(request_id),
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::Request(problem) => problem.clone(),
            Self::TooSlow => Problem::try_again(),
            Self::Sales(error) => Problem::from(error),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}
