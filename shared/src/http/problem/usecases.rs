//! What the API says when a use case fails.

use super::{Problem, ProblemKind};
use crate::domain::rate::TooOften;
use crate::ports::StripeError;
use crate::usecases::courses::CoursesError;
use crate::usecases::sales::SalesError;

/// When to try again if Stripe can't be reached.
const RETRY_SECONDS: i64 = 5;

const UNREADABLE: &str = "Stripe's answer about this checkout can't be read. Nothing is lost, and \
                          the shop's owner has been notified.";

impl From<&SalesError> for Problem {
    fn from(error: &SalesError) -> Self {
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
            SalesError::Contended => Problem::try_again(),
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
}

impl From<&CoursesError> for Problem {
    fn from(error: &CoursesError) -> Self {
        match error {
            CoursesError::UnknownCourse => {
                Problem::new(ProblemKind::UnknownCourse, "GET /courses lists all courses.")
            }
            CoursesError::UnknownChapter { course, chapters } => Problem::new(
                ProblemKind::UnknownChapter,
                format!("Course {course} has chapters 1 to {chapters}."),
            ),
            CoursesError::UnknownProduct => Problem::new(
                ProblemKind::UnknownProduct,
                "GET /courses lists the products on sale, and GET /entitlements those that the learner has.",
            ),
            CoursesError::Table(cause) => Problem::from(cause),
            CoursesError::Link(_) => Problem::new(
                ProblemKind::Internal,
                "Trying again won't help. The shop's owner has been notified.",
            ),
        }
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

/// Seconds in words, rounded up to minutes if there are more than two.
fn duration(seconds: i64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.saturating_add(59) / 60),
    }
}
