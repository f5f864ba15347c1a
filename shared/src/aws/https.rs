//! The HTTP client that the AWS SDK uses. DynamoDB and Secrets Manager speak only HTTP/1.1.
//!
//! The SDK's own client reads the machine's certificate authorities from hundreds of files, and
//! parses them again for each client and once more for its first request. That took more than half
//! of a cold start.

use std::error::Error;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::https::{Connector, connector};

/// Connections that stay open between requests. Timeouts are left to the SDK.
#[derive(Debug)]
struct Connections(Client<Connector, SdkBody>);

/// A client with its own connections, to this endpoint or else to AWS.
pub(super) fn client(endpoint: Option<&str>) -> SharedHttpClient {
    let connections = SharedHttpConnector::new(Connections::over(connector(endpoint)));
    http_client_fn(move |_, _| connections.clone())
}

impl Connections {
    fn over(connector: Connector) -> Self {
        let timed = TokioTimer::new();
        Self(Client::builder(TokioExecutor::new()).pool_timer(timed).build(connector))
    }
}

impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failed)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tells the SDK whether a retry may help. It can't if the response isn't HTTP.
fn failed(error: legacy::Error) -> ConnectorError {
    if error.is_connect() || is_broken_off(&error) {
        ConnectorError::io(error.into())
    } else {
        ConnectorError::other(error.into(), None)
    }
}

fn is_broken_off(error: &legacy::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let is_hyper_s = error.downcast_ref::<hyper::Error>().is_some_and(|error| {
            error.is_closed() || error.is_canceled() || error.is_incomplete_message()
        });
        if is_hyper_s || error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
