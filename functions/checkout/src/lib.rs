//! The checkout function.

/// Runs the function until the Lambda runtime ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    Ok(())
}
