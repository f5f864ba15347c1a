//! Access for containers, which can't reach 127.0.0.1 of their host.
//!
//! On Linux, Docker gives the host an address on a bridge network shared with its containers. A
//! connection to a port of that address is forwarded to the same port of 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Why containers can't be given access.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Other machines may reach such an address too.
    #[error(
        "{0} is not a private address: nothing here asks for a password, so give the address of \
         Docker's bridge, usually 172.17.0.1"
    )]
    Public(Ipv4Addr),
    /// The address can't be listened on.
    #[error(
        "containers can't be let in at {address}: {source}; start Docker, and look at what \
         `ip address show docker0` says its bridge's address is"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// Listens on the bridge's address on `inside`'s port, and forwards connections to `inside`.
/// Dropping the future closes the listener and every connection.
pub(crate) async fn open(
    bridge: Ipv4Addr,
    inside: SocketAddr,
) -> Result<impl Future<Output = ()> + Send + 'static, BridgeError> {
    if !bridge.is_private() {
        return Err(BridgeError::Public(bridge));
    }
    let address = SocketAddr::from((bridge, inside.port()));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| BridgeError::Listen { address, source })?;
    Ok(serve(listener, inside))
}

async fn serve(listener: TcpListener, inside: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(connect(stream, inside))),
            Err(error) => tracing::warn!(%error, "a container's connection failed"),
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(mut outside: TcpStream, inside: SocketAddr) {
    if let Ok(mut inside) = TcpStream::connect(inside).await {
        // A closed connection is no error here.
        let _ = copy_bidirectional(&mut outside, &mut inside).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{BridgeError, open, serve};

    /// Answers every connection, once it has sent everything, with what it sent, in brackets.
    async fn echo(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            stream.write_all(&[b"[", said.as_slice(), b"]"].concat()).await.unwrap();
        }
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_connection_is_forwarded_both_ways() {
        let (inside, inside_address) = listen().await;
        let (outside, outside_address) = listen().await;
        tokio::spawn(echo(inside));
        tokio::spawn(serve(outside, inside_address));
        for said in ["one", "two"] {
            let mut stream = TcpStream::connect(outside_address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, format!("[{said}]"));
        }
    }

    #[tokio::test]
    async fn only_a_private_address_is_allowed() {
        let (_inside, address) = listen().await;
        for public in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::LOCALHOST] {
            let refused = open(public, address).await.map(drop);
            assert!(matches!(refused, Err(BridgeError::Public(address)) if address == public));
        }
    }
}
