//! Signed requests to the AWS services of which Coursegate needs only a call or two: Lambda, Cognito
//! and SES. The SDK's crate for each of them would add a minute to the build.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningError, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_types::SdkConfig;
use aws_types::region::Region;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::ports::{Clock as _, SystemClock};
use shared::telemetry::Chain;

use crate::deployment::NoCredentials;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is encoded in a segment of a path: all but letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a request to an AWS service failed.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// There are no credentials.
    #[error(transparent)]
    NoCredentials(#[from] NoCredentials),
    /// The operator may not do this.
    #[error(
        "your AWS identity may not do {action} on {resource}: give it that permission (see \
         docs/GO-LIVE.md); or, if it had it a moment ago, sign in again"
    )]
    Denied {
        /// The IAM action.
        action: &'static str,
        /// What it was about.
        resource: String,
    },
    /// The service refused it for another reason.
    #[error("{service} answers {action} on {resource} with {status}: {says}")]
    Refused {
        /// The service's name.
        service: &'static str,
        /// The IAM action.
        action: &'static str,
        /// What it was about.
        resource: String,
        /// The HTTP status.
        status: u16,
        /// The error's name, such as `ResourceNotFoundException`.
        kind: String,
        /// The service's message.
        says: String,
    },
    /// The service can't be reached.
    #[error("{service} can't be reached ({reason}): check your network")]
    Unreachable {
        /// The service's name.
        service: &'static str,
        /// What the operating system or the connection says.
        reason: String,
    },
    /// The request can't be signed, or the answer can't be read.
    #[error(
        "a request to {service} or its answer: {reason}: if this keeps happening, use the newest \
         version of this program"
    )]
    Unreadable {
        /// The service's name.
        service: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl SignedError {
    /// Whether the service doesn't have what was asked for.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == "NotFoundException")
    }

    /// Whether the service may have done what was asked for, although no answer says so.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::NoCredentials(_) | Self::Denied { .. } => false,
            Self::Refused { status, .. } => *status >= 500,
            Self::Unreachable { .. } | Self::Unreadable { .. } => true,
        }
    }
}

/// A service's names.
#[derive(Debug, Clone, Copy)]
struct Names {
    /// In error messages.
    title: &'static str,
    /// In the service's host name.
    host: &'static str,
    /// In signatures.
    signing: &'static str,
}

/// An AWS service, reached with the operator's credentials.
#[derive(Debug, Clone)]
pub struct Service {
    config: SdkConfig,
    names: Names,
}

/// A request.
pub(crate) struct Call<'a> {
    /// The IAM action that it needs.
    pub(crate) action: &'static str,
    /// What it is about, in error messages: `function coursegate-webhook`.
    pub(crate) resource: &'a str,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// An error's body. Its name is here or in a header.
#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl Service {
    /// Lambda, with this configuration's credentials, Region and endpoint.
    #[must_use]
    pub fn lambda(config: &SdkConfig) -> Self {
        Self::new(config, Names { title: "Lambda", host: "lambda", signing: "lambda" })
    }

    /// Cognito's user pools.
    #[must_use]
    pub fn cognito(config: &SdkConfig) -> Self {
        let names = Names { title: "Cognito", host: "cognito-idp", signing: "cognito-idp" };
        Self::new(config, names)
    }

    /// Simple Email Service.
    #[must_use]
    pub fn ses(config: &SdkConfig) -> Self {
        Self::new(config, Names { title: "SES", host: "email", signing: "ses" })
    }

    /// The same service in another Region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        Self { config, names: self.names }
    }

    fn new(config: &SdkConfig, names: Names) -> Self {
        Self { config: config.clone(), names }
    }

    /// Sends a GET and reads the answer's JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        action: &'static str,
        resource: &str,
        path: &str,
    ) -> Result<T, SignedError> {
        let (method, headers, body) = (Method::GET, &[][..], &[][..]);
        self.send(&Call { action, resource, method, path, headers, body }).await
    }

    /// Calls an operation of a service that speaks AWS's JSON protocol.
    /// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
    pub(crate) async fn operation<T: DeserializeOwned>(
        &self,
        action: &'static str,
        resource: &str,
        target: &str,
        input: &Value,
    ) -> Result<T, SignedError> {
        let headers = &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let (method, path, body) = (Method::POST, "/", input.to_string());
        let body = body.as_bytes();
        self.send(&Call { action, resource, method, path, headers, body }).await
    }

    /// Sends a request and reads the answer's JSON.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<T, SignedError> {
        let provider = self.config.credentials_provider().ok_or(NoCredentials)?;
        let credentials = provider.provide_credentials().await;
        let identity = credentials.map_err(|_why| NoCredentials)?.into();
        let region = self.config.region().map(ToString::to_string).unwrap_or_default();
        let endpoint = self.config.endpoint_url().map(|url| url.trim_end_matches('/').to_owned());
        let Names { host, signing, .. } = self.names;
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{host}.{region}.amazonaws.com"));
        let url = format!("{endpoint}{}", call.path);
        let parameters = parameters(&identity, &region, signing);
        let parameters = parameters.map_err(|error| self.unreadable(&error))?;
        let signature = signature(&parameters, &url, call);
        // A signature is valid for one host, so redirects are not followed.
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| self.unreadable(&error))?;
        let mut request = http.request(call.method.clone(), url).body(call.body.to_owned());
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signature.map_err(|error| self.unreadable(&error))? {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, header) = (answer.status(), error_type(answer.headers()));
        let text = answer.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            // Some answers have no body.
            let text = if text.is_empty() { "{}" } else { &text };
            return serde_json::from_str(text).map_err(|error| self.unreadable(&error));
        }
        let Refusal { kind, message } = serde_json::from_str(&text).unwrap_or_default();
        let kind = if header.is_empty() { error_name(&kind) } else { header };
        Err(self.refused(call, status.as_u16(), kind, message))
    }

    fn refused(&self, call: &Call<'_>, status: u16, kind: String, message: String) -> SignedError {
        let (action, resource) = (call.action, call.resource.to_owned());
        match kind.as_str() {
            "AccessDeniedException" => SignedError::Denied { action, resource },
            "ExpiredTokenException" | "ExpiredToken" => NoCredentials.into(),
            _ => {
                let says = if message.is_empty() { "no reason given".to_owned() } else { message };
                let service = self.names.title;
                SignedError::Refused { service, action, resource, status, kind, says }
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> SignedError {
        let reason = Chain(error).to_string();
        SignedError::Unreachable { service: self.names.title, reason }
    }

    fn unreadable(&self, error: &(dyn std::error::Error + 'static)) -> SignedError {
        let reason = Chain(error).to_string();
        SignedError::Unreadable { service: self.names.title, reason }
    }
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// The name of an error in the header `x-amzn-errortype`.
fn error_type(headers: &HeaderMap) -> String {
    let kind = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    error_name(kind.unwrap_or_default())
}

/// The name of an error, without a namespace before and a URL after it.
/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
fn error_name(text: &str) -> String {
    let name = text.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().to_owned()
}

fn parameters<'a>(
    identity: &'a Identity,
    region: &'a str,
    service: &'a str,
) -> Result<SigningParams<'a>, v4::signing_params::BuildError> {
    let now = u64::try_from(SystemClock.now().unix_seconds()).unwrap_or_default();
    let now = UNIX_EPOCH.checked_add(Duration::from_secs(now)).unwrap_or(UNIX_EPOCH);
    let parameters = v4::SigningParams::builder().identity(identity).region(region);
    let parameters = parameters.name(service).time(now).settings(SigningSettings::default());
    Ok(parameters.build()?.into())
}

/// The headers that sign a request.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn signature(
    parameters: &SigningParams<'_>,
    url: &str,
    call: &Call<'_>,
) -> Result<Vec<(String, String)>, SigningError> {
    let (method, body) = (call.method.as_str(), SignableBody::Bytes(call.body));
    let request = SignableRequest::new(method, url, call.headers.iter().copied(), body)?;
    let (instructions, _) = sign(request, parameters)?.into_parts();
    let headers = instructions.headers();
    Ok(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
