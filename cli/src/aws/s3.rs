//! The buckets of a stack: list, look, put, delete.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use shared::telemetry::Chain;

use crate::deployment::NoCredentials;
use crate::s3::{Object, S3Error, Stored};

/// How long one attempt at a request may take; the SDK makes three at most.
const TIMEOUT: Duration = Duration::from_mins(1);

const LIST: &str = "s3:ListBucket";
const LOOK: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const DELETE: &str = "s3:DeleteObject";

/// S3 of an account and a Region.
#[derive(Debug, Clone)]
pub struct S3 {
    config: SdkConfig,
}

/// A bucket.
pub struct Bucket {
    name: String,
    client: Client,
}

impl S3 {
    /// S3 as this configuration reaches it.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone() }
    }

    /// A bucket, if there are credentials to ask for it with.
    pub async fn bucket(&self, name: &str) -> Result<Bucket, S3Error> {
        let provider = self.config.credentials_provider().ok_or(NoCredentials)?;
        provider.provide_credentials().await.map_err(|_why| NoCredentials)?;
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build();
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .timeout_config(timeouts)
            // Another server than AWS's finds a bucket by the path.
            .force_path_style(self.config.endpoint_url().is_some());
        Ok(Bucket { name: name.to_owned(), client: Client::from_conf(config.build()) })
    }
}

impl Bucket {
    /// The keys that start so.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, S3Error> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(LIST, &error))?;
            let found = page.contents().iter().filter_map(|object| object.key());
            keys.extend(found.map(ToOwned::to_owned));
        }
        Ok(keys)
    }

    /// What is there under this key.
    pub async fn look(&self, key: &str) -> Result<Option<Stored>, S3Error> {
        let head = self.client.head_object().bucket(&self.name).key(key);
        match head.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => Ok(Some(Stored {
                sha256: answer.checksum_sha256().map(ToOwned::to_owned),
                content_type: answer.content_type().map(ToOwned::to_owned),
                cache_control: answer.cache_control().map(ToOwned::to_owned),
            })),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed(LOOK, &error)),
        }
    }

    /// Puts an object there. S3 takes it only if it has arrived as it was sent.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    pub async fn put(&self, object: &Object) -> Result<(), S3Error> {
        let put = self.client.put_object().bucket(&self.name).key(&object.key);
        let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let put = put.content_type(&object.content_type).cache_control(object.cache_control);
        let sent = put.body(ByteStream::from(object.bytes.clone())).send().await;
        sent.map(drop).map_err(|error| self.failed(PUT, &error))
    }

    /// Deletes what is there, if anything is.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let deleted = self.client.delete_object().bucket(&self.name).key(key).send().await;
        deleted.map(drop).map_err(|error| self.failed(DELETE, &error))
    }

    fn failed<E>(&self, action: &'static str, error: &SdkError<E>) -> S3Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let bucket = self.name.clone();
        let Some(status) = status(error) else {
            return S3Error::Unreachable(Chain(error).to_string());
        };
        if error.as_service_error().is_none() {
            let why = format!("the answer to {action} in bucket {bucket}: {}", Chain(error));
            return S3Error::Unreadable(why);
        }
        match (status, error.code().unwrap_or_default()) {
            (_, "NoSuchBucket") => S3Error::NoBucket(bucket),
            // A token's end and a clock that is off are 403 too, and say so. HEAD says nothing.
            (403, "AccessDenied" | "") => S3Error::Denied { action, bucket },
            (_, "ExpiredToken") => NoCredentials.into(),
            _ => {
                let says = error.message().unwrap_or("no reason given").to_owned();
                S3Error::Refused { action, bucket, status, says }
            }
        }
    }
}

/// The status that S3 has answered with, if it has answered.
fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}
