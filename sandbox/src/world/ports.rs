//! The ports of the services of a world that is kept: the same in every run.
//!
//! Addresses are part of what others remember. The issuer's stands in the owners of every
//! infrastructure, so that with another port nobody could use the clusters of the run before.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use anyhow::Context;

use crate::saved::Saved;

/// Chooses where the services of a world listen.
pub(super) struct Ports {
    page: SocketAddr,
    kept: Option<Saved<BTreeMap<String, u16>>>,
}

impl Ports {
    /// Free ports, or with a file the ports that it remembers, at first those after the page's.
    ///
    /// # Errors
    /// When the file does not parse.
    pub(super) fn new(page: SocketAddr, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let kept = file.map(|file| Saved::open(Some(file))).transpose()?;
        Ok(Self { page, kept })
    }

    /// The address of one service.
    ///
    /// # Errors
    /// When no port is free or the file can't be written.
    pub(super) fn choose(&self, service: &str, number: u16) -> anyhow::Result<SocketAddr> {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let Some(kept) = &self.kept else {
            return Ok(any);
        };
        let before = kept.read().get(service).copied();
        let wanted = before.unwrap_or_else(|| self.page.port().saturating_add(number));
        let port = match free(SocketAddr::new(any.ip(), wanted)) {
            Ok(port) => port,
            Err(error) => {
                if before.is_some() {
                    tracing::warn!(
                        service, port = wanted, %error,
                        "the port of the last run is taken; clusters of that run may be refused"
                    );
                }
                free(any).context("look for a free port")?
            }
        };
        if before != Some(port) {
            kept.change().insert(service.to_owned(), port);
            kept.save()?;
        }
        Ok(SocketAddr::new(any.ip(), port))
    }
}

/// The port, if it is free for TCP and UDP.
fn free(address: SocketAddr) -> std::io::Result<u16> {
    let address = TcpListener::bind(address)?.local_addr()?;
    UdpSocket::bind(address)?;
    Ok(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_world_has_the_same_ports_again() {
        let name = format!("sandbox-ports-{}", uuid::Uuid::new_v4());
        let kept = std::env::temp_dir().join(name);
        let file = || Some(kept.clone());
        let page = SocketAddr::from(([127, 0, 0, 1], 0));
        let taken = TcpListener::bind(page).unwrap();
        let first = Ports::new(taken.local_addr().unwrap(), file()).unwrap();
        // What is taken is not chosen.
        let im = first.choose("im", 0).unwrap();
        assert_ne!(im, taken.local_addr().unwrap());
        let dns = first.choose("dns", 0).unwrap();
        assert_ne!(dns.port(), 0);

        let again = Ports::new(page, file()).unwrap();
        assert_eq!(again.choose("im", 7).unwrap(), im);
        assert_eq!(again.choose("dns", 8).unwrap(), dns);
        let forgets = Ports::new(page, None).unwrap();
        assert_eq!(forgets.choose("im", 7).unwrap().port(), 0);
        std::fs::remove_file(&kept).unwrap();
    }
}
