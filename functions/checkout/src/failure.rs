//! Why a request failed, and how the client is told.

use lambda_http::{Body, Response};
use shared::domain::id::LearnerId;
use shared::domain::rate::TooOften;
use shared::http::{Incoming, Problem, ProblemKind};
use shared::ports::StripeError;
use shared::telemetry::{self, Metric};
use shared::usecases::sales::SalesError;

use crate::{links, page};

/// When to try again if Stripe can't be reached.
const RETRY_SECONDS: i64 = 5;

const UNREADABLE: &str = "Stripe's answer about this checkout can't be read. Nothing is lost, and \
                          the shop's owner has been notified.";

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
            Self::TooSlow => try_again(),
            Self::Sales(error) => sales_problem(error),
        }
    }
}

fn sales_problem(error: &SalesError) -> Problem {
    match error {
        SalesError::UnknownPrice => Problem::new(
            ProblemKind::UnknownPrice,
            "Use the price of an offer: GET /courses lists them.",
        ),
        SalesError::UnknownSession => Problem::new(
            ProblemKind::UnknownSession,
            "Confirm a session that POST /checkout returned for this learner.",
        ),
        SalesError::UnknownLink => Problem::new(
            ProblemKind::UnknownLink,
            "It may be incomplete or too old. Ask for a new one where you got it.",
        ),
        SalesError::OfferEnded => Problem::new(
            ProblemKind::UnknownPrice,
            "Its offer has ended. Ask for a new link where you got this one.",
        ),
        SalesError::AlreadyEntitled => Problem::new(
            ProblemKind::AlreadyEntitled,
            "There is nothing to pay: all of its courses are open.",
        ),
        SalesError::PaymentProcessing => Problem::new(
            ProblemKind::PaymentProcessing,
            "The courses open as soon as the bank confirms the payment.",
        ),
        SalesError::PaymentDisputed => Problem::new(
            ProblemKind::PaymentDisputed,
            "It can't be bought again until the bank has decided the dispute.",
        ),
        SalesError::CheckoutOpenElsewhere(TooOften { retry_after_seconds }) => Problem::new(
            ProblemKind::CheckoutOpenElsewhere,
            format!(
                "Finish the checkout that is already open, or use this link again in {}.",
                duration(*retry_after_seconds)
            ),
        )
        .retry_after(*retry_after_seconds),
        SalesError::RateLimited(TooOften { retry_after_seconds }) => Problem::new(
            ProblemKind::RateLimited,
            format!("Please try again in {}.", duration(*retry_after_seconds)),
        )
        .retry_after(*retry_after_seconds),
        SalesError::Contended => try_again(),
        SalesError::Table(error) => Problem::from(error),
        SalesError::Apply(error) => Problem::from(error),
        SalesError::Stripe(error) => stripe_problem(error),
        SalesError::Unreadable(_) => Problem::new(ProblemKind::Internal, UNREADABLE),
        SalesError::Randomness(_) | SalesError::Id(_) => Problem::new(
            ProblemKind::Internal,
            "Nothing is lost. The shop's owner has been notified.",
        ),
    }
}

fn try_again() -> Problem {
    Problem::new(ProblemKind::Unavailable, "Please try again in a moment.").retry_after(1)
}

/// Seconds in words, rounded up to minutes if there are more than two.
fn duration(seconds: i64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.saturating_add(59) / 60),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

/// None of these says whether anything was charged: the learner may have paid before, and only Stripe
/// knows.
fn stripe_problem(error: &StripeError) -> Problem {
    match error {
        StripeError::Missing { .. } | StripeError::Refused { .. } => Problem::new(
            ProblemKind::StripeRefused,
            "The shop's owner has to fix this and has been notified.",
        ),
        StripeError::WrongMode | StripeError::Unauthorized => {
            Problem::new(ProblemKind::Internal, "The shop's owner has been notified.")
        }
        StripeError::Unreadable(_) => Problem::new(ProblemKind::Internal, UNREADABLE),
        StripeError::NoKey(_) => {
            Problem::new(ProblemKind::Unavailable, "This shop isn't set up yet. Try again later.")
                .retry_after(RETRY_SECONDS)
        }
        StripeError::Busy | StripeError::Failed { .. } | StripeError::Unreachable => Problem::new(
            ProblemKind::StripeUnavailable,
            "Try again in a moment. If you have paid already, your access opens on its own.",
        )
        .retry_after(RETRY_SECONDS),
    }
}
