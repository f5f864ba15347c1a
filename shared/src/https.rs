//! The way out: HTTP/1.1 over TLS, trusting Mozilla's certificate authorities, which are compiled
//! in. Whoever uses it says how long a request may take, and whether connections stay open.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;

/// Opens connections.
pub(crate) type Connector = HttpsConnector<TcpConnector>;

/// Connections to `https://`, and on a developer's machine to `http://`.
pub(crate) fn connector() -> Connector {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http();
    https.enable_http1().wrap_connector(tcp)
}
