//! The door of a front end's SSH port, where faults are made: it refuses, it is silent, or it
//! cuts all connections. Behind it stands the real `sshd`, untouched.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::serve::Background;

/// What the SSH port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshDoor {
    /// Connections reach `sshd`.
    Open,
    /// Nothing listens.
    Refusing,
    /// Connections are taken and nothing is said.
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    door: SshDoor,
    cuts: u32,
}

/// The door.
pub(super) struct Proxy {
    orders: watch::Sender<Orders>,
    _background: Background,
}

impl Proxy {
    pub(super) fn start(listener: TcpListener, outside: SocketAddr, inside: SocketAddr) -> Self {
        let (orders, receiver) = watch::channel(Orders {
            door: SshDoor::Open,
            cuts: 0,
        });
        let background = Background::new();
        background.run(run(Some(listener), outside, inside, receiver));
        Self {
            orders,
            _background: background,
        }
    }

    pub(super) fn set(&self, door: SshDoor) {
        self.orders.send_modify(|orders| orders.door = door);
    }

    /// Ends every connection that is open now.
    pub(super) fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }
}

async fn run(
    mut listener: Option<TcpListener>,
    outside: SocketAddr,
    inside: SocketAddr,
    mut orders: watch::Receiver<Orders>,
) {
    let mut connections = JoinSet::new();
    let mut seen = *orders.borrow_and_update();
    loop {
        if seen.door == SshDoor::Refusing {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(outside).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *orders.borrow_and_update();
                if now.cuts != seen.cuts {
                    connections.shutdown().await;
                }
                seen = now;
            }
            Some(_) = connections.join_next() => {}
            stream = accepted => {
                let (Some((stream, _)), door) = (stream, seen.door) else { continue };
                connections.spawn(carry(stream, inside, door));
            }
        }
    }
}

async fn carry(mut stream: TcpStream, inside: SocketAddr, door: SshDoor) {
    if door == SshDoor::Silent {
        std::future::pending::<()>().await;
    }
    let Ok(mut server) = TcpStream::connect(inside).await else {
        return;
    };
    // Small packets of an interactive protocol; without this each waits for an acknowledgement.
    if stream.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    if let Err(error) = copy_bidirectional(&mut stream, &mut server).await {
        tracing::debug!(%error, "an SSH connection broke");
    }
}
