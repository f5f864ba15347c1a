//! Why a request is not granted, and how that is said.

use lambda_http::{Body, Response};
use shared::apply::ApplyError;
use shared::domain::id::{IdError, LearnerId};
use shared::domain::rate::TooOften;
use shared::http::{Incoming, Problem, ProblemKind};
use shared::ports::{LedgerError, StripeError};
use shared::telemetry::{self, Metric};

use crate::{links, page};

/// Come back after this long when Stripe is away.
const RETRY_SECONDS: i64 = 5;

const UNREADABLE: &str = "Stripe's answer about this checkout can't be read. Nothing is lost, and \
                          the shop's owner has been notified.";

/// Why a request is not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request is not one that this function takes")]
    Request(Problem),
    #[error("no such price")]
    UnknownPrice,
    #[error("no such session of this learner")]
    UnknownSession,
    #[error("no such link, or it has expired")]
    UnknownLink,
    #[error("the link's price is no longer for sale")]
    OfferEnded,
    #[error("already entitled")]
    AlreadyEntitled,
    #[error("payment processing")]
    PaymentProcessing,
    #[error("payment disputed")]
    PaymentDisputed,
    #[error("the learner has a checkout open that this link may not close")]
    CheckoutOpenElsewhere(TooOften),
    #[error("rate limited")]
    RateLimited(TooOften),
    #[error("it takes longer than the function may")]
    TooSlow,
    #[error("the learner's other requests were quicker each time")]
    Contended,
    #[error("the table failed")]
    Table(#[from] LedgerError),
    #[error("what Stripe said could not be applied")]
    Apply(#[from] ApplyError),
    #[error("Stripe failed")]
    Stripe(#[from] StripeError),
    #[error("Stripe's session can't be read: {0}")]
    Unreadable(String),
    #[error("there is no randomness")]
    Randomness(#[from] getrandom::Error),
    #[error("an id of our own making is none")]
    Id(#[from] IdError),
}

impl Failure {
    /// The answer. It is logged here, once: what is our fault or Stripe's with its causes.
    pub(crate) fn answer(&self, incoming: &Incoming<'_>) -> Response<Body> {
        let problem = self.problem();
        let learner = incoming.learner_for_logs();
        let learner = learner.as_ref().map(LearnerId::as_str);
        let outcome = problem.kind().name();
        if problem.kind().status() >= 500 {
            telemetry::count(Metric::Failed);
            if matches!(self, Self::Stripe(StripeError::WrongMode)) {
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
            Self::UnknownPrice => Problem::new(
                ProblemKind::UnknownPrice,
                "GET /courses lists the offers that there are, each with its price.",
            ),
            Self::UnknownSession => Problem::new(
                ProblemKind::UnknownSession,
                "Confirm a session that this learner's own checkout answered with.",
            ),
            Self::UnknownLink => Problem::new(
                ProblemKind::UnknownLink,
                "It may be incomplete or too old. Ask for a new one where you got it.",
            ),
            Self::OfferEnded => Problem::new(
                ProblemKind::UnknownPrice,
                "Its offer has ended. Ask for a new link where you got this one.",
            ),
            Self::AlreadyEntitled => Problem::new(
                ProblemKind::AlreadyEntitled,
                "Nothing needs to be paid: all of its courses are open.",
            ),
            Self::PaymentProcessing => Problem::new(
                ProblemKind::PaymentProcessing,
                "The courses open as soon as the bank confirms the payment.",
            ),
            Self::PaymentDisputed => Problem::new(
                ProblemKind::PaymentDisputed,
                "It can't be bought again until the bank has decided the dispute.",
            ),
            Self::CheckoutOpenElsewhere(TooOften { retry_after_seconds }) => Problem::new(
                ProblemKind::CheckoutOpenElsewhere,
                format!(
                    "Finish the checkout that is already open, or use this link again in {}.",
                    duration(*retry_after_seconds)
                ),
            )
            .retry_after(*retry_after_seconds),
            Self::RateLimited(TooOften { retry_after_seconds }) => Problem::new(
                ProblemKind::RateLimited,
                format!("Please try again in {}.", duration(*retry_after_seconds)),
            )
            .retry_after(*retry_after_seconds),
            Self::Contended | Self::TooSlow => {
                Problem::new(ProblemKind::Unavailable, "Please try again in a moment.")
                    .retry_after(1)
            }
            Self::Table(error) => Problem::from(error),
            Self::Apply(error) => Problem::from(error),
            Self::Stripe(error) => stripe_problem(error),
            Self::Unreadable(_) => Problem::new(ProblemKind::Internal, UNREADABLE),
            Self::Randomness(_) | Self::Id(_) => {
                Problem::new(ProblemKind::Internal, "Nothing is lost; we have been told.")
            }
        }
    }
}

/// So many seconds in words, rounded up to minutes where there are more than two.
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

/// Nothing here says whether anything was charged: the learner may have paid before they asked, and
/// only Stripe could tell.
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
