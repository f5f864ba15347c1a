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
         {guide}); or, if it had it a moment ago, sign in again"
    )]
    Denied {
        /// The IAM action.
        action: &'static str,
        /// What it was about.
        resource: String,
        /// The section of the guides that names the permission.
        guide: &'static str,
    },
    /// AWS doesn't know who asks.
    #[error(
        "{service} in {region} doesn't know your AWS credentials ({says}): if \
         `aws sts get-caller-identity` fails too, sign in again, or use another access key; if \
         not, enable the Region in your account, or correct AWS_REGION"
    )]
    UnknownCredentials {
        /// The service's name.
        service: &'static str,
        /// Where it was asked.
        region: String,
        /// The service's message.
        says: String,
    },
    /// The secret key, the session token or the time of the signature is wrong.
    #[error(
        "{service} doesn't accept the signature that your AWS credentials made ({says}): check \
         this machine's clock; if it is right, sign in again, or set AWS_SECRET_ACCESS_KEY to the \
         secret of AWS_ACCESS_KEY_ID"
    )]
    WrongSignature {
        /// The service's name.
        service: &'static str,
        /// The service's message.
        says: String,
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
            Self::NoCredentials(_)
            | Self::Denied { .. }
            | Self::UnknownCredentials { .. }
            | Self::WrongSignature { .. } => false,
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
    /// The section of the guides that names the permissions.
    guide: &'static str,
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
        let (host, guide) = ("lambda", "docs/GO-LIVE.md#rotation");
        Self::new(config, Names { title: "Lambda", host, signing: host, guide })
    }

    /// Cognito's user pools.
    #[must_use]
    pub fn cognito(config: &SdkConfig) -> Self {
        let (host, guide) = ("cognito-idp", "docs/GO-LIVE.md#rotation");
        Self::new(config, Names { title: "Cognito", host, signing: host, guide })
    }

    /// Simple Email Service.
    #[must_use]
    pub fn ses(config: &SdkConfig) -> Self {
        let guide = "docs/DEPLOY.md#5-check-the-setup";
        Self::new(config, Names { title: "SES", host: "email", signing: "ses", guide })
    }

    /// The section of the guides that names the permissions that its calls need.
    #[must_use]
    pub fn guide(&self) -> &'static str {
        self.names.guide
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
        let identity: Identity = credentials.map_err(|_why| NoCredentials)?.into();
        let now = u64::try_from(SystemClock.now().unix_seconds()).unwrap_or_default();
        let url = self.url(call);
        let signature = self.signature(&identity, &url, call, now);
        // A signature is valid for one host, so redirects are not followed.
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| self.unreadable(&error))?;
        let mut request = http.request(call.method.clone(), url).body(call.body.to_owned());
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signature? {
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
        Err(self.refused(call, status.as_u16(), kind, &message))
    }

    fn region(&self) -> String {
        self.config.region().map(ToString::to_string).unwrap_or_default()
    }

    fn url(&self, call: &Call<'_>) -> String {
        let endpoint = self.config.endpoint_url().map(|url| url.trim_end_matches('/').to_owned());
        let endpoint = endpoint.unwrap_or_else(|| {
            let region = self.region();
            format!("https://{}.{region}.{}", self.names.host, domain(&region))
        });
        format!("{endpoint}{}", call.path)
    }

    /// The headers that sign a request at this second.
    fn signature(
        &self,
        identity: &Identity,
        url: &str,
        call: &Call<'_>,
        now: u64,
    ) -> Result<Vec<(String, String)>, SignedError> {
        let region = self.region();
        let parameters = parameters(identity, &region, self.names.signing, now);
        let parameters = parameters.map_err(|error| self.unreadable(&error))?;
        signature(&parameters, url, call).map_err(|error| self.unreadable(&error))
    }

    fn refused(&self, call: &Call<'_>, status: u16, kind: String, message: &str) -> SignedError {
        let (action, resource) = (call.action, call.resource.to_owned());
        let Names { title: service, guide, .. } = self.names;
        // After the first line of a message about a signature comes what should have been signed,
        // which has the session token.
        let says = message.lines().next().filter(|line| !line.is_empty());
        let says =
            says.unwrap_or(if kind.is_empty() { "no reason given" } else { &kind }).to_owned();
        match kind.as_str() {
            "AccessDeniedException" => SignedError::Denied { action, resource, guide },
            "ExpiredTokenException" | "ExpiredToken" => NoCredentials.into(),
            "UnrecognizedClientException" | "InvalidClientTokenId" => {
                SignedError::UnknownCredentials { service, region: self.region(), says }
            }
            "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" => {
                SignedError::WrongSignature { service, says }
            }
            _ => SignedError::Refused { service, action, resource, status, kind, says },
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

/// The domain of a Region's partition:
/// <https://docs.aws.amazon.com/sdk-for-rust/latest/dg/endpoints.html>.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else if region.starts_with("eusc-") {
        "amazonaws.eu"
    } else {
        "amazonaws.com"
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
    now: u64,
) -> Result<SigningParams<'a>, v4::signing_params::BuildError> {
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

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::Credentials;

    use super::*;

    const CALL: Call<'_> = Call {
        action: "x:Do",
        resource: "thing 1",
        method: Method::GET,
        path: "/things/1",
        headers: &[],
        body: &[],
    };

    fn config(region: &'static str) -> SdkConfig {
        SdkConfig::builder().region(Region::from_static(region)).build()
    }

    #[test]
    fn each_service_is_asked_at_its_host_and_signed_for() {
        type Of = fn(&SdkConfig) -> Service;
        let (lambda, cognito, ses): (Of, Of, Of) =
            (Service::lambda, Service::cognito, Service::ses);
        for (service, region, host, scope) in [
            (lambda, "eu-central-1", "lambda.eu-central-1.amazonaws.com", "eu-central-1/lambda"),
            (
                cognito,
                "eu-central-1",
                "cognito-idp.eu-central-1.amazonaws.com",
                "eu-central-1/cognito-idp",
            ),
            (ses, "eu-west-1", "email.eu-west-1.amazonaws.com", "eu-west-1/ses"),
            (lambda, "us-gov-west-1", "lambda.us-gov-west-1.amazonaws.com", "us-gov-west-1/lambda"),
            (lambda, "cn-north-1", "lambda.cn-north-1.amazonaws.com.cn", "cn-north-1/lambda"),
            (
                lambda,
                "eusc-de-east-1",
                "lambda.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1/lambda",
            ),
        ] {
            // In a Region and moved there.
            for service in
                [service(&config(region)), service(&config("sa-east-1")).in_region(region)]
            {
                let url = service.url(&CALL);
                assert_eq!(url, format!("https://{host}/things/1"));
                let identity = Credentials::new("AKID", "secret", None, None, "test").into();
                let headers = service.signature(&identity, &url, &CALL, 1_800_000_000).unwrap();
                let signed = headers.iter().find(|(name, _)| name == "authorization").unwrap();
                let scope = format!("Credential=AKID/20270115/{scope}/aws4_request, ");
                assert!(signed.1.contains(&scope), "{} {scope}", signed.1);
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let config = config("eu-south-2");
        let (lambda, ses) = (Service::lambda(&config), Service::ses(&config));
        for (service, status, kind, message, says, advises) in [
            (
                &lambda,
                403,
                "AccessDeniedException",
                "No.",
                "may not do x:Do",
                "docs/GO-LIVE.md#rotation",
            ),
            (&ses, 403, "AccessDeniedException", "No.", "may not do x:Do", "docs/DEPLOY.md#5-"),
            (&lambda, 403, "ExpiredTokenException", "Old.", "have expired", "sign in"),
            (
                &ses,
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                "SES in eu-south-2 doesn't know your AWS credentials (The security token",
                "enable the Region",
            ),
            (
                &lambda,
                403,
                "InvalidSignatureException",
                "Signature expired: 20270115T080000Z",
                "(Signature expired: 20270115T080000Z)",
                "clock",
            ),
            (
                &ses,
                403,
                "SignatureDoesNotMatch",
                "It does not match.\n\nx-amz-security-token:secret",
                "(It does not match.)",
                "AWS_SECRET_ACCESS_KEY",
            ),
            (&ses, 400, "TooManyRequestsException", "", "400", "TooManyRequestsException"),
            (&ses, 502, "", "", "502", "no reason given"),
        ] {
            let error = service.refused(&CALL, status, kind.to_owned(), message).to_string();
            assert!(error.contains(says) && error.contains(advises), "{kind}: {error}");
            assert!(!error.contains("security-token"), "{error}");
        }
    }
}
