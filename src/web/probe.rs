//! Asks a running bot whether it is alive: `pangeo-bot health`, the health check of the image.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the bot may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the bot does not count as alive.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nothing answers there.
    #[error("no bot answers at {address}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// No answer within three seconds.
    #[error("the bot at {address} did not answer within {PATIENCE:?}")]
    Slow {
        /// Where it was asked.
        address: SocketAddr,
    },
    /// Something answers, but not that it is alive.
    #[error("what answers at {address} is not well: {first_line}")]
    NotWell {
        /// Where it was asked.
        address: SocketAddr,
        /// The first line of the answer, at most 100 characters.
        first_line: String,
    },
}

/// Asks the bot whose `web.listen` is `listen` for `/healthz`.
///
/// # Errors
/// [`ProbeError`] when it is not alive.
pub async fn probe(listen: SocketAddr) -> Result<(), ProbeError> {
    let address = reachable(listen);
    let answer = tokio::time::timeout(PATIENCE, ask(address))
        .await
        .map_err(|_elapsed| ProbeError::Slow { address })?
        .map_err(|source| ProbeError::Unreachable { address, source })?;
    let first_line: String = answer
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(100)
        .collect();
    if first_line.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(ProbeError::NotWell {
            address,
            first_line,
        })
    }
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// "All addresses" is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}
