//! Links to the content behind the paywall: chapters in a private S3 bucket. A link is signed with
//! the function's own credentials and works for five minutes.
//!
//! Signing uses the same crate as the AWS SDK. It makes no request, so the function needs no S3
//! client.
//!
//! The credentials that Lambda gives a function are temporary, so a link contains their session
//! token, without which S3 refuses it. The token alone can't sign anything: that takes the secret
//! key, which is in no link and can't be derived from one.

pub(crate) mod s3;
mod text;

pub use text::{ChapterText, ChapterTexts, TextError};

use std::time::Duration;

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_smithy_runtime_api::client::identity::Identity;
use lambda_http::http::Request;

use self::s3::signing_params;
use crate::domain::id::CourseId;
use crate::domain::time::Timestamp;

/// The IAM actions that a function needs to create links: opening one uses the function's
/// permissions.
pub const ACTIONS: &[&str] = &["s3:GetObject"];

/// How long a link works.
pub const LINK_SECONDS: u32 = 5 * 60;

/// Creates links.
#[derive(Clone)]
pub struct ContentLinks {
    base_url: String,
    region: String,
    identity: Identity,
}

/// A link to a chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The chapter's URL. Whoever has it can read the chapter.
    pub url: String,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A link couldn't be created.
#[derive(Debug, thiserror::Error)]
#[error("the link to a chapter can't be signed")]
pub struct LinkError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl ContentLinks {
    /// Links to objects under this address, which has no trailing slash, in this Region, signed
    /// with this identity.
    #[must_use]
    pub fn new(base_url: String, region: String, identity: Identity) -> Self {
        Self { base_url, region, identity }
    }

    /// A link to a chapter, counted from 1. It doesn't check that the object exists.
    pub fn chapter(
        &self,
        course: &CourseId,
        chapter: usize,
        now: Timestamp,
    ) -> Result<Link, LinkError> {
        let url = format!("{}/content/{course}/{chapter}.html", self.base_url);
        let lifetime = Duration::from_secs(LINK_SECONDS.into());
        Ok(Link {
            url: self.presign(url, lifetime, now)?,
            expires_at: now.plus_seconds(LINK_SECONDS.into()),
        })
    }

    /// The address with a signature in its query, for a GET request whose only signed header is
    /// `host`.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    fn presign(
        &self,
        url: String,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, LinkError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(lifetime);
        let parameters = signing_params(settings, &self.identity, &self.region, now);
        let parameters = parameters.map_err(failed)?;
        let mut request = Request::get(url).body(()).map_err(failed)?;
        if request.uri().authority().is_none() {
            return Err(LinkError("the bucket's address has no host".into()));
        }
        let address = request.uri().to_string();
        let body = SignableBody::UnsignedPayload;
        let signable =
            SignableRequest::new("GET", address, std::iter::empty(), body).map_err(failed)?;
        let (instructions, _) = sign(signable, &parameters).map_err(failed)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.uri().to_string())
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    LinkError(Box::new(error))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::Credentials;

    use super::*;

    /// 24 May 2013, 00:00:00 UTC.
    const OF_THE_EXAMPLE: Timestamp = Timestamp::from_unix_seconds(1_369_353_600);

    fn links(base_url: &str, session_token: Option<&str>) -> ContentLinks {
        let id = "AKIAIOSFODNN7EXAMPLE";
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let token = session_token.map(str::to_owned);
        let identity = Credentials::new(id, key, token, None, "test").into();
        ContentLinks::new(base_url.to_owned(), "us-east-1".to_owned(), identity)
    }

    #[test]
    fn a_link_is_signed_as_in_the_example_of_aws() {
        let links = links("https://examplebucket.s3.amazonaws.com", None);
        let url = "https://examplebucket.s3.amazonaws.com/test.txt".to_owned();
        let signed = links.presign(url, Duration::from_hours(24), OF_THE_EXAMPLE).unwrap();
        assert_eq!(
            signed,
            "https://examplebucket.s3.amazonaws.com/test.txt\
             ?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z\
             &X-Amz-Expires=86400\
             &X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn a_chapter_link_names_it_and_works_for_five_minutes() {
        let links = links("https://bucket.s3.us-east-1.amazonaws.com", Some("a+session/token="));
        let link = links.chapter(&"tutorclaw".parse().unwrap(), 6, OF_THE_EXAMPLE).unwrap();
        let start = "https://bucket.s3.us-east-1.amazonaws.com/content/tutorclaw/6.html?";
        assert!(link.url.starts_with(start), "{}", link.url);
        assert!(link.url.contains("&X-Amz-Expires=300&"), "{}", link.url);
        assert!(link.url.ends_with("&X-Amz-Security-Token=a%2Bsession%2Ftoken%3D"), "{}", link.url);
        assert_eq!(link.expires_at.unix_seconds(), OF_THE_EXAMPLE.unix_seconds() + 300);
    }

    #[test]
    fn an_address_that_is_none_is_an_error_and_no_panic() {
        for base_url in ["", "not an address", "https://"] {
            let link = links(base_url, None).chapter(&"a".parse().unwrap(), 1, OF_THE_EXAMPLE);
            assert!(link.is_err(), "{base_url}: {link:?}");
        }
    }
}
