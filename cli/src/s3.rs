//! S3, as far as a site of a hundred files needs it: list, look, put, delete.
//!
//! Requests are signed with the crate that the AWS SDK signs its own with, and sent by the client
//! that the other commands have. The SDK's client for S3 would be the largest crate of the program.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sigv4::http_request::{PayloadChecksumKind, SigningSettings};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_xml::decode::{Document, XmlDecodeError, try_data};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use local::gateway::route::percent_encode;
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use shared::content::s3::{bucket_url, signing_params};
use shared::domain::time::Timestamp;
use shared::ports::{Clock as _, SystemClock};
use shared::telemetry::Chain;

use crate::signed;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long is waited before each further try, where S3 fails or is not reached.
const WAITS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

/// Why S3 did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There are no credentials.
    #[error(
        "no AWS credentials are found, or they have expired: sign in (`aws sso login`, if that is \
         your way), or name a profile that has some with AWS_PROFILE"
    )]
    NoCredentials,
    /// The operator may not do this.
    #[error(
        "your AWS identity may not do {action} in bucket {bucket}: give it the permissions that \
         docs/DEPLOY.md names for the site; or, if it had them a moment ago, sign in again"
    )]
    Denied {
        /// What it needs to be allowed.
        action: &'static str,
        /// Where.
        bucket: String,
    },
    /// There is no such bucket.
    #[error(
        "there is no bucket {0}: somebody has deleted it; create it again with the settings that \
         template.yaml gives it, or deploy a stack of another name"
    )]
    NoBucket(String),
    /// S3 refused it for another reason.
    #[error(
        "S3 refuses {action} in bucket {bucket} with {status}: {says}; put that right, then run it \
         again"
    )]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// Where.
        bucket: String,
        /// The status.
        status: u16,
        /// What S3 says.
        says: String,
    },
    /// S3 can't be reached.
    #[error(
        "S3 can't be reached ({0}): look at your network, then run it again; it goes on where it \
         was"
    )]
    Unreachable(String),
    /// The request can't be signed, or the answer can't be read.
    #[error(
        "{0}: run it again; if it stays so, this program and S3 have grown apart: take its newest \
         version"
    )]
    Unreadable(String),
}

/// What S3 is asked for, by the permission that it needs.
#[derive(Debug, Clone, Copy)]
enum Action {
    List,
    Look,
    Put,
    Delete,
}

impl Action {
    const fn permission(self) -> &'static str {
        match self {
            Self::List => "s3:ListBucket",
            Self::Look => "s3:GetObject",
            Self::Put => "s3:PutObject",
            Self::Delete => "s3:DeleteObject",
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::List => Method::GET,
            Self::Look => Method::HEAD,
            Self::Put => Method::PUT,
            Self::Delete => Method::DELETE,
        }
    }
}

/// S3 of an account and a Region.
#[derive(Debug, Clone)]
pub struct S3 {
    config: SdkConfig,
}

/// A bucket.
pub struct Bucket {
    name: String,
    url: String,
    region: String,
    identity: Identity,
    http: reqwest::Client,
}

/// An object as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key: a path without a slash at its start.
    pub key: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// What it is.
    pub content_type: &'static str,
    /// How long a browser or a cache may keep it.
    pub cache_control: &'static str,
}

/// An object as it is, but for what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The SHA-256 of its bytes in Base64, which S3 has checked. None if whoever put it there gave
    /// none.
    sha256: Option<String>,
    content_type: Option<String>,
    cache_control: Option<String>,
}

impl Stored {
    /// Whether this is what the object is to be.
    #[must_use]
    pub fn is(&self, object: &Object) -> bool {
        self.sha256.as_deref() == Some(&sha256(&object.bytes))
            && self.content_type.as_deref() == Some(object.content_type)
            && self.cache_control.as_deref() == Some(object.cache_control)
    }
}

impl S3 {
    /// S3 as this configuration reaches it.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone() }
    }

    /// A bucket, with the credentials as they are now.
    pub async fn bucket(&self, name: &str) -> Result<Bucket, S3Error> {
        let provider = self.config.credentials_provider().ok_or(S3Error::NoCredentials)?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|_why| S3Error::NoCredentials)?;
        let region = self.config.region().map(ToString::to_string).unwrap_or_default();
        let endpoint = self.config.endpoint_url().map(|url| url.trim_end_matches('/'));
        let url = bucket_url(endpoint, &region, name);
        // A signature is for one host: nothing is to follow anywhere.
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| S3Error::Unreadable(Chain(&error).to_string()))?;
        Ok(Bucket { name: name.to_owned(), url, region, identity: credentials.into(), http })
    }
}

impl Bucket {
    /// The keys that start so.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, S3Error> {
        let mut keys = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut query = format!("?list-type=2&prefix={}", percent_encode(prefix));
            if let Some(next) = &next {
                let _ = write!(query, "&continuation-token={}", percent_encode(next));
            }
            let answer = self.ask(Action::List, &query, &[], &[]).await?;
            let text = answer.text().await.map_err(|error| unreachable(&error))?;
            let page = page(&text);
            let page = page.map_err(|error| {
                S3Error::Unreadable(format!(
                    "the list of bucket {} can't be read: {error}",
                    self.name
                ))
            })?;
            keys.extend(page.keys);
            next = page.next;
            if next.is_none() {
                return Ok(keys);
            }
        }
    }

    /// What is there under this key.
    pub async fn look(&self, key: &str) -> Result<Option<Stored>, S3Error> {
        let headers = [("x-amz-checksum-mode", "ENABLED")];
        let path = path(key);
        let answer = match self.ask(Action::Look, &path, &headers, &[]).await {
            Ok(answer) => answer,
            Err(S3Error::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Ok(Some(Stored {
            sha256: header("x-amz-checksum-sha256"),
            content_type: header("content-type"),
            cache_control: header("cache-control"),
        }))
    }

    /// Puts an object there. S3 takes it only if it has arrived as it was sent.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    pub async fn put(&self, object: &Object) -> Result<(), S3Error> {
        let digest = sha256(&object.bytes);
        let headers = [
            ("content-type", object.content_type),
            ("cache-control", object.cache_control),
            ("x-amz-sdk-checksum-algorithm", "SHA256"),
            ("x-amz-checksum-sha256", &digest),
        ];
        let path = path(&object.key);
        self.ask(Action::Put, &path, &headers, &object.bytes).await.map(drop)
    }

    /// Deletes what is there, if anything is.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let path = path(key);
        self.ask(Action::Delete, &path, &[], &[]).await.map(drop)
    }

    /// Asks, and again where S3 fails or is not reached: each request can be made twice.
    async fn ask(
        &self,
        action: Action,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Response, S3Error> {
        let mut waits = WAITS.into_iter();
        loop {
            let answer = self.ask_once(action, target, headers, body).await;
            let may_pass = match &answer {
                Ok(answer) => answer.status().is_server_error(),
                Err(error) => matches!(error, S3Error::Unreachable(_)),
            };
            match waits.next().filter(|_| may_pass) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return self.judge(action, answer?).await,
            }
        }
    }

    async fn ask_once(
        &self,
        action: Action,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Response, S3Error> {
        let url = format!("{}{target}", self.url);
        let signature =
            self.sign(action.method().as_str(), &url, headers, body, SystemClock.now())?;
        let mut request = self.http.request(action.method(), url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signature {
            request = request.header(name, value);
        }
        request.send().await.map_err(|error| unreachable(&error))
    }

    /// The headers that sign a request with these.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
    fn sign(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, S3Error> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = signing_params(settings, &self.identity, &self.region, now);
        let parameters = parameters.map_err(unsigned)?;
        signed::signature(&parameters, method, url, headers, body).map_err(unsigned)
    }

    async fn judge(&self, action: Action, answer: Response) -> Result<Response, S3Error> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bucket = self.name.clone();
        let text = answer.text().await.unwrap_or_default();
        let (code, message) = problem(&text);
        Err(match (status, code.as_str()) {
            (_, "NoSuchBucket") => S3Error::NoBucket(bucket),
            // A token's end and a clock that is off are 403 too, and say so. HEAD says nothing.
            (StatusCode::FORBIDDEN, "AccessDenied" | "") => {
                S3Error::Denied { action: action.permission(), bucket }
            }
            (_, "ExpiredToken") => S3Error::NoCredentials,
            _ => {
                let says = if code.is_empty() { "no reason given".to_owned() } else { message };
                let (action, status) = (action.permission(), status.as_u16());
                S3Error::Refused { action, bucket, status, says }
            }
        })
    }
}

/// A page of a bucket's list.
struct Page {
    keys: Vec<String>,
    next: Option<String>,
}

fn page(xml: &str) -> Result<Page, XmlDecodeError> {
    let mut page = Page { keys: Vec::new(), next: None };
    let mut document = Document::new(xml);
    let mut list = document.root_element()?;
    if list.start_el().local() != "ListBucketResult" {
        return Err(XmlDecodeError::custom("this is no list of a bucket"));
    }
    while let Some(mut element) = list.next_tag() {
        match element.start_el().local() {
            "NextContinuationToken" => page.next = Some(try_data(&mut element)?.into_owned()),
            "Contents" => {
                while let Some(mut field) = element.next_tag() {
                    if field.start_el().local() == "Key" {
                        page.keys.push(try_data(&mut field)?.into_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(page)
}

/// What an error of S3's says: its code, and its message. Both are empty where there is none.
fn problem(xml: &str) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let mut document = Document::new(xml);
    if let Ok(mut error) = document.root_element() {
        while let Some(mut element) = error.next_tag() {
            let place = match element.start_el().local() {
                "Code" => &mut code,
                "Message" => &mut message,
                _ => continue,
            };
            *place = try_data(&mut element).map(Cow::into_owned).unwrap_or_default();
        }
    }
    (code, message)
}

/// Where a key is below its bucket.
fn path(key: &str) -> String {
    key.split('/').fold(String::new(), |path, part| path + "/" + &percent_encode(part))
}

/// As S3 has it in headers.
fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::digest(bytes))
}

fn unreachable(error: &reqwest::Error) -> S3Error {
    S3Error::Unreachable(Chain(error).to_string())
}

fn unsigned(error: impl std::error::Error + 'static) -> S3Error {
    S3Error::Unreadable(format!("a request to S3 can't be signed: {}", Chain(&error)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on should stop where it is")]
mod tests {
    use aws_sdk_dynamodb::config::Credentials;

    use super::*;

    #[test]
    fn a_request_is_signed_as_in_the_example_of_aws() {
        let id = "AKIAIOSFODNN7EXAMPLE";
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let url = "https://examplebucket.s3.amazonaws.com".to_owned();
        let bucket = Bucket {
            name: "examplebucket".to_owned(),
            url: url.clone(),
            region: "us-east-1".to_owned(),
            identity: Credentials::new(id, key, None, None, "test").into(),
            http: reqwest::Client::new(),
        };
        // 24 May 2013, 00:00:00 UTC.
        let then = Timestamp::from_unix_seconds(1_369_353_600);
        let url = format!("{url}/?max-keys=2&prefix=J");
        let signed = bucket.sign("GET", &url, &[], &[], then).unwrap();
        let (_, authorization) = signed.iter().find(|(name, _)| name == "authorization").unwrap();
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn a_list_is_read_page_by_page_with_any_keys() {
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
            <Prefix>content/</Prefix><IsTruncated>true</IsTruncated>\
            <Contents><Key>content/a&amp;b/1.html</Key><Owner><ID>Key</ID></Owner></Contents>\
            <Contents><ETag>&quot;1&quot;</ETag><Key>content/c/2.html</Key></Contents>\
            <NextContinuationToken>1ue/+=</NextContinuationToken></ListBucketResult>";
        let read = page(xml).unwrap();
        assert_eq!(read.keys, ["content/a&b/1.html", "content/c/2.html"]);
        assert_eq!(read.next.as_deref(), Some("1ue/+="));
        for other in ["", "<html>", "<html><body>Sign in</body></html>"] {
            assert!(page(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_key_is_encoded_except_for_its_slashes() {
        assert_eq!(path("pages/a b+ü(1).js"), "/pages/a%20b%2B%C3%BC%281%29.js");
    }
}
