//! Requests to AWS, signed with the crate that the AWS SDK signs its own with.

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningError, SigningParams, sign as sign_request,
};

/// The headers that sign a request with these.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
pub(crate) fn signature(
    parameters: &SigningParams<'_>,
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Result<Vec<(String, String)>, SigningError> {
    let headers = headers.iter().copied();
    let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))?;
    let (instructions, _) = sign_request(request, parameters)?.into_parts();
    let headers = instructions.headers();
    Ok(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
