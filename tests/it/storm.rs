//! The storm's injected DynamoDB errors look real: how the functions' own client classifies each
//! fault, and which it retries.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem};
use tests::storm::faults::{Fault, FaultMode, Faults};
use tests::world::{TABLE, dynamodb, table_config};
use tokio::task::JoinSet;

/// A DynamoDB with faults, and the functions' own client, but with at most two attempts and short
/// pauses.
struct Ill {
    faults: Faults,
    client: Client,
    _servers: JoinSet<()>,
}

impl Ill {
    async fn new() -> Self {
        let mut servers = JoinSet::new();
        let (dynamodb_url, serving) = dynamodb().await;
        servers.spawn(serving);
        let (faults, url, serving) = Faults::new(1).await;
        servers.spawn(serving);
        faults.leads_to(dynamodb_url);
        let twice = RetryConfig::standard().with_max_attempts(2);
        let twice = twice.with_initial_backoff(Duration::from_millis(1));
        let config = shared::aws::dynamodb(&table_config(&url)).config().to_builder();
        let client = Client::from_conf(config.retry_config(twice).build());
        Self { faults, client, _servers: servers }
    }

    /// The result of a transaction of two items, how often it is attempted, and whether it is
    /// committed.
    async fn transact(&self, fault: Fault, id: &str) -> (String, u64, bool) {
        self.faults.set_mode(FaultMode::Only(fault));
        let before = self.faults.requests();
        let transaction = ["a", "b"].map(|part| {
            let put = Put::builder().table_name(TABLE);
            let put = put.item("pk", text(id)).item("sk", text(part)).build().unwrap();
            TransactWriteItem::builder().put(put).build()
        });
        let transact = self.client.transact_write_items();
        let answer = transact.set_transact_items(Some(transaction.to_vec())).send().await;
        self.faults.are_over().await.unwrap();
        let times = self.faults.requests() - before;
        self.faults.set_mode(FaultMode::Off);
        let get = self.client.get_item().table_name(TABLE).consistent_read(true);
        let found = get.key("pk", text(id)).key("sk", text("a")).send().await.unwrap();
        let said = answer.map_or_else(|error| said(&error), |_| "well".to_owned());
        (said, times, found.item.is_some())
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// The SDK's view: the code and reasons, or how the call failed.
fn said(error: &SdkError<TransactWriteItemsError>) -> String {
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("no code");
            let TransactWriteItemsError::TransactionCanceledException(canceled) = service.err()
            else {
                return code.to_owned();
            };
            let reasons = canceled.cancellation_reasons().iter();
            let mut reasons: Vec<&str> = reasons.filter_map(|reason| reason.code()).collect();
            reasons.sort_unstable();
            format!("{code}: {}", reasons.join(", "))
        }
        SdkError::TimeoutError(_) => "timeout".to_owned(),
        SdkError::DispatchFailure(_) => "no answer".to_owned(),
        SdkError::ConstructionFailure(_) | SdkError::ResponseError(_) | _ => {
            DisplayErrorContext(error).to_string()
        }
    }
}

#[tokio::test]
async fn a_function_classifies_faults_and_retries_the_transient() {
    let ill = Ill::new().await;
    let canceled = "TransactionCanceledException";
    for (number, (fault, expected, times, is_done)) in [
        (Fault::Throttled, "ThrottlingException".to_owned(), 2, false),
        (Fault::ThroughputExceeded, "ProvisionedThroughputExceededException".to_owned(), 2, false),
        (Fault::Failed, "InternalServerError".to_owned(), 2, false),
        (Fault::Unavailable, "ServiceUnavailableException".to_owned(), 2, false),
        (Fault::NotReached, "no answer".to_owned(), 2, false),
        (Fault::AnswerLost, "no answer".to_owned(), 2, true),
        (Fault::DoneAndFailed, "InternalServerError".to_owned(), 2, true),
        (Fault::Slow, "well".to_owned(), 1, true),
        (Fault::AnsweredTooLate, "timeout".to_owned(), 2, true),
        (Fault::DoneTooLate, "timeout".to_owned(), 2, true),
        (Fault::Conflict, format!("{canceled}: None, TransactionConflict"), 1, false),
        (
            Fault::ConflictAndThrottled,
            format!("{canceled}: ThrottlingError, TransactionConflict"),
            1,
            false,
        ),
        (Fault::InProgress, "TransactionInProgressException".to_owned(), 2, false),
        (Fault::WriteConflict, "TransactionConflictException".to_owned(), 1, false),
    ]
    .into_iter()
    .enumerate()
    {
        let fared = ill.transact(fault, &format!("item {number}")).await;
        assert_eq!(fared, (expected, times, is_done), "{fault:?}");
    }
}

#[tokio::test]
async fn unprocessed_keys_are_returned_as_requested() {
    let ill = Ill::new().await;
    for number in 0..3 {
        ill.transact(Fault::Slow, &format!("item {number}")).await;
    }
    let key = |number: usize| {
        [("pk", format!("item {number}")), ("sk", "a".to_owned())]
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
            .into()
    };
    let mut asked = KeysAndAttributes::builder().consistent_read(true);
    for number in 0..3 {
        asked = asked.keys(key(number));
    }
    ill.faults.set_mode(FaultMode::Only(Fault::Unprocessed));
    let batch = ill.client.batch_get_item().request_items(TABLE, asked.build().unwrap());
    let answer = batch.send().await.unwrap();
    let read = answer.responses.unwrap()[TABLE].len();
    let left = &answer.unprocessed_keys.unwrap()[TABLE];
    assert_eq!(left.consistent_read(), Some(true));
    assert!(read > 0 && read + left.keys().len() == 3, "{read} {left:?}");
}
