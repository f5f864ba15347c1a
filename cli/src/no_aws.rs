//! What stands in the place of `aws` where the program is built without it: no deployment is
//! found, so nobody ever has a value of these types.

#![allow(clippy::unused_async, reason = "the signatures are those of `aws`")]

use secrecy::SecretString;

use crate::deployment::{Deployment, DeploymentError};
use crate::s3::{Object, S3Error, Stored};

/// Clients of what only an AWS deployment has.
pub struct Aws {
    pub(crate) s3: S3,
}

pub(crate) enum S3 {}

pub(crate) enum Bucket {}

impl Aws {
    pub(crate) async fn caller(&self) -> Result<String, String> {
        match self.s3 {}
    }

    pub(crate) async fn subscriptions(&self, _topic: &str) -> Result<Vec<String>, String> {
        match self.s3 {}
    }
}

impl S3 {
    pub(crate) async fn bucket(&self, _name: &str) -> Result<Bucket, S3Error> {
        match *self {}
    }
}

impl Bucket {
    pub(crate) async fn keys(&self, _prefix: &str) -> Result<Vec<String>, S3Error> {
        match *self {}
    }

    pub(crate) async fn look(&self, _key: &str) -> Result<Option<Stored>, S3Error> {
        match *self {}
    }

    pub(crate) async fn put(&self, _object: &Object) -> Result<(), S3Error> {
        match *self {}
    }

    pub(crate) async fn delete(&self, _key: &str) -> Result<(), S3Error> {
        match *self {}
    }
}

pub(crate) async fn find(
    _name: &str,
    _operator_key: Option<SecretString>,
) -> Result<Deployment, DeploymentError> {
    Err(DeploymentError::NotBuilt)
}
