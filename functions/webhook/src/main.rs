//! The webhook function's executable.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    webhook::run().await
}
