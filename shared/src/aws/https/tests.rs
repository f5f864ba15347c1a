//! Connections to local servers, each with a certificate that was made for the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::https::{connector, connector_trusting};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server for one connection.
struct Server {
    port: u16,
    /// The request that it read, once the connection is closed.
    heard: JoinHandle<String>,
}

impl Server {
    fn start(serve: impl FnOnce(TcpStream) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { port, heard: std::thread::spawn(move || serve(listener.accept().unwrap().0)) }
    }

    /// Without TLS.
    fn in_the_clear(answer: &'static str) -> Self {
        Self::start(move |tcp| answered(tcp, answer))
    }

    /// With a self-signed certificate for this name.
    fn with_certificate(name: &str, answer: &'static str) -> (Self, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate.clone()], key).unwrap());
        let tls = ServerConnection::new(config).unwrap();
        (Self::start(move |tcp| answered(StreamOwned::new(tls, tcp), answer)), certificate)
    }

    fn heard(self) -> String {
        self.heard.join().unwrap()
    }
}

/// Reads a request, answers it and closes the connection. Returns what it read, even if incomplete.
fn answered(mut connection: impl Read + Write, answer: &str) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => heard.push(byte[0]),
            _ => return String::from_utf8(heard).unwrap(),
        }
    }
    connection.write_all(answer.as_bytes()).unwrap();
    connection.flush().unwrap();
    String::from_utf8(heard).unwrap()
}

/// The response's body, or the error as the SDK sees it.
async fn get(connector: Connector, url: &str) -> Result<String, ConnectorError> {
    let request = HttpRequest::get(url).unwrap();
    let connections = Connections::over(connector);
    let answer = connections.call(request).await?;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// The error and its causes, outermost first.
fn causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_reached() {
    let (server, authority) = Server::with_certificate("127.0.0.1", ANSWER);
    let url = format!("https://127.0.0.1:{}/path", server.port);
    assert_eq!(get(connector_trusting(authority), &url).await.unwrap(), "hello");
    assert!(server.heard().starts_with("GET /path HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_gets_no_request() {
    for endpoint in [None, Some("http://127.0.0.1:4566")] {
        let (server, _) = Server::with_certificate("127.0.0.1", ANSWER);
        let url = format!("https://127.0.0.1:{}/", server.port);
        let error = get(connector(endpoint), &url).await.unwrap_err();
        assert!(causes(&error).contains("UnknownIssuer"), "{}", causes(&error));
        assert!(error.is_io());
        assert_eq!(server.heard(), "");
    }
}

#[tokio::test]
async fn a_server_with_another_name_gets_no_request() {
    let (server, authority) = Server::with_certificate("dynamodb.example.com", ANSWER);
    let url = format!("https://127.0.0.1:{}/", server.port);
    let error = get(connector_trusting(authority), &url).await.unwrap_err();
    assert!(causes(&error).contains("not valid for name"), "{}", causes(&error));
    assert!(error.is_io());
    assert_eq!(server.heard(), "");
}

#[tokio::test]
async fn plain_http_is_used_only_for_configured_endpoints() {
    let server = Server::in_the_clear(ANSWER);
    let url = format!("http://127.0.0.1:{}/", server.port);
    for endpoint in [None, Some("https://127.0.0.1:4566")] {
        let error = get(connector(endpoint), &url).await.unwrap_err();
        assert!(causes(&error).contains("unsupported scheme http"), "{}", causes(&error));
    }
    assert_eq!(get(connector(Some(&url)), &url).await.unwrap(), "hello");
    // The server accepts one connection: this was the first.
    assert!(server.heard().starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_dropped_connection_is_retried_a_non_http_answer_not() {
    for (answer, is_tried_again) in [
        ("", true),
        ("HTTP/1.1 20", true),
        ("220 mail.example.com at your service\r\n\r\n", false),
        ("HTTP/1.1 two hundred\r\n\r\n", false),
    ] {
        let (server, authority) = Server::with_certificate("127.0.0.1", answer);
        let url = format!("https://127.0.0.1:{}/", server.port);
        let error = get(connector_trusting(authority), &url).await.unwrap_err();
        assert_eq!(error.is_io(), is_tried_again, "{answer}: {}", causes(&error));
        assert_eq!(error.is_other(), !is_tried_again, "{answer}: {}", causes(&error));
        assert!(server.heard().ends_with("\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = get(connector(None), &url).await.unwrap_err();
    assert!(error.is_io(), "{}", causes(&error));
}
