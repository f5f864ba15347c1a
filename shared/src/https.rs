//! Outgoing connections: HTTP/1.1 over TLS, trusting Mozilla's certificate authorities, which are
//! compiled in. Callers decide on timeouts and on whether connections stay open.

use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;

/// Opens connections.
pub(crate) type Connector = HttpsConnector<TcpConnector>;

/// Connects to `https://`. It connects to `http://` only if the configured endpoint starts with
/// that, as on a developer's machine.
pub(crate) fn connector(endpoint: Option<&str>) -> Connector {
    over(HttpsConnectorBuilder::new().with_webpki_roots(), endpoint)
}

fn over(tls: HttpsConnectorBuilder<WantsSchemes>, endpoint: Option<&str>) -> Connector {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let is_in_the_clear = endpoint.is_some_and(|url| url.starts_with("http://"));
    let schemes = if is_in_the_clear { tls.https_or_http() } else { tls.https_only() };
    schemes.enable_http1().wrap_connector(tcp)
}

/// Connects to `https://` and trusts only this authority.
#[cfg(test)]
pub(crate) fn connector_trusting(
    authority: rustls::pki_types::CertificateDer<'static>,
) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    over(HttpsConnectorBuilder::new().with_tls_config(tls), None)
}
