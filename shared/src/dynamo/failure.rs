//! What a failed call to DynamoDB means.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::ports::LedgerError;

/// DynamoDB's error codes for requests that would be refused again.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const REFUSALS: [&str; 6] = [
    "ValidationException",
    "AccessDeniedException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
    "ItemCollectionSizeLimitExceededException",
    "IdempotentParameterMismatchException",
];

/// Codes of a single write that was not made because its condition did not hold, or because a
/// transaction was writing the same item.
const NOT_HELD: [&str; 2] = ["ConditionalCheckFailedException", "TransactionConflictException"];

/// Classifies a failure: refused for good, or worth retrying. An unknown code is worth retrying, so
/// that Stripe redelivers the event.
pub(super) fn ledger_error<E, R>(error: SdkError<E, R>) -> LedgerError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let refused = code(&error).is_some_and(|code| REFUSALS.contains(&code));
    let source: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
    if refused { LedgerError::Refused(source) } else { LedgerError::Unavailable(source) }
}

/// Whether a write's condition held. That it did not, or that another write was quicker, is an
/// answer and no error: read again.
pub(super) fn held<E, R>(answer: Result<(), SdkError<E, R>>) -> Result<bool, LedgerError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match answer {
        Ok(()) => Ok(true),
        Err(error) if code(&error).is_some_and(|code| NOT_HELD.contains(&code)) => Ok(false),
        Err(error) => Err(ledger_error(error)),
    }
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}
