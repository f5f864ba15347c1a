//! S3, as far as a site needs it: objects as they are to be and as they are, and what goes wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::deployment::NoCredentials;

/// Why a request to S3 failed.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There are no credentials.
    #[error(transparent)]
    NoCredentials(#[from] NoCredentials),
    /// The operator may not do this.
    #[error(
        "your AWS identity may not do {action} in bucket {bucket}: give it the permissions that \
         docs/DEPLOY.md names for the site; or, if it had them a moment ago, sign in again"
    )]
    Denied {
        /// What it needs to be allowed.
        action: &'static str,
        /// The bucket.
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
        "S3 refuses {action} in bucket {bucket} with {status}: {says}; fix that, then run it again"
    )]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// The HTTP status.
        status: u16,
        /// What S3 says.
        says: String,
    },
    /// S3 can't be reached.
    #[error(
        "S3 can't be reached ({0}): check your network, then run it again; it continues where it \
         stopped"
    )]
    Unreachable(String),
    /// The answer can't be read.
    #[error("{0}: run it again; if this keeps happening, use the newest version of this program")]
    Unreadable(String),
}

/// An object as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key: a path without a slash at its start.
    pub key: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// What it is.
    pub content_type: String,
    /// How long a browser or a cache may keep it.
    pub cache_control: &'static str,
}

/// An object as it is, but for what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The SHA-256 of its bytes in Base64, which S3 has checked. None if whoever put it there gave
    /// none.
    pub(crate) sha256: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
}

impl Stored {
    /// Whether this is what the object is to be.
    #[must_use]
    pub fn is(&self, object: &Object) -> bool {
        self.sha256.as_deref() == Some(&sha256(&object.bytes))
            && self.content_type.as_deref() == Some(object.content_type.as_str())
            && self.cache_control.as_deref() == Some(object.cache_control)
    }
}

/// As S3 has it in headers.
fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::digest(bytes))
}
