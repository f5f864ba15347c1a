//! The parameters for signing a link to a chapter, and the bucket's address.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::http_request::{
    PercentEncodingMode, SigningParams, SigningSettings, UriPathNormalizationMode,
};
use aws_sigv4::sign::v4;
use aws_sigv4::sign::v4::signing_params::BuildError;
use aws_smithy_runtime_api::client::identity::Identity;

use crate::domain::time::Timestamp;

/// The address of a bucket. Neither it nor the endpoint has a trailing slash. S3 has the bucket in
/// the host name, other servers have it in the path.
pub(crate) fn bucket_url(endpoint: Option<&str>, region: &str, bucket: &str) -> String {
    match endpoint {
        Some(endpoint) => format!("{endpoint}/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    }
}

/// The parameters for signing a request at this time.
pub(crate) fn signing_params<'a>(
    mut settings: SigningSettings,
    identity: &'a Identity,
    region: &'a str,
    at: Timestamp,
) -> Result<SigningParams<'a>, BuildError> {
    // S3 signs paths as they are; other services encode and normalize them first.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let params = v4::SigningParams::builder().identity(identity).region(region).name("s3");
    Ok(params.time(system_time(at)).settings(settings).build()?.into())
}

fn system_time(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.unix_seconds()).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}
