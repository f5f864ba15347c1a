//! Stands in for the Stripe simulator until that crate has its first version.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "temporary")]
pub(crate) struct Options {
    pub(crate) listener: tokio::net::TcpListener,
    pub(crate) state: Option<std::path::PathBuf>,
}
pub(crate) struct Simulator(tokio::net::TcpListener);
pub(crate) async fn start(options: Options) -> Result<Simulator, std::io::Error> {
    let _ = options.state;
    Ok(Simulator(options.listener))
}
impl Simulator {
    pub(crate) fn register_webhook(&self, _url: &str) -> String {
        let _ = &self.0;
        "whsec_local".to_owned()
    }
    pub(crate) async fn shutdown(self) {}
}
