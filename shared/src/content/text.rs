//! Reading a chapter's text through its link.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::{StatusCode, Uri};

use super::Link;
use crate::https::{Connector, connector};

/// How long S3 may take.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// The largest chapter that is read. A function's response is at most 6 MB:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const BYTES_MAX: usize = 1024 * 1024;

/// Reads chapters.
pub struct ChapterTexts(Client<Connector, Empty<Bytes>>);

/// What a link led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChapterText {
    /// The chapter, in HTML.
    Html(String),
    /// There is none, as far as S3 says.
    Missing,
}

/// The text could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the chapter's text can't be read")]
pub struct TextError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl ChapterTexts {
    /// Reads from this S3 server, or from AWS.
    #[must_use]
    pub fn new(endpoint: Option<&str>) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(connector(endpoint)))
    }

    /// The text that this link leads to.
    pub async fn read(&self, link: &Link) -> Result<ChapterText, TextError> {
        let read = tokio::time::timeout(READ_WITHIN, self.get(&link.url));
        read.await.map_err(|elapsed| TextError(elapsed.into()))?
    }

    async fn get(&self, url: &str) -> Result<ChapterText, TextError> {
        let url: Uri = url.parse().map_err(|error| TextError(Box::new(error)))?;
        let answer = self.0.get(url).await.map_err(|error| TextError(error.into()))?;
        match answer.status() {
            StatusCode::OK => {
                let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
                let text = body.map_err(TextError)?.to_bytes().to_vec();
                let text = String::from_utf8(text).map_err(|error| TextError(error.into()))?;
                Ok(ChapterText::Html(text))
            }
            StatusCode::NOT_FOUND => Ok(ChapterText::Missing),
            // Without s3:ListBucket, S3 answers a missing object like a forbidden one, so this may
            // also be a role without permission.
            StatusCode::FORBIDDEN => {
                tracing::warn!("S3 refuses a chapter: it is missing, or the role may not read it");
                Ok(ChapterText::Missing)
            }
            other => Err(TextError(format!("S3 answered {other}").into())),
        }
    }
}
