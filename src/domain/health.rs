//! What a running bot knows about its own connections.

use std::sync::{Arc, Mutex, PoisonError};

/// How this replica stands to Discord's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// It has not tried yet.
    Starting,
    /// It is connected and receives events.
    Connected,
    /// It was connected, or should be, and tries again.
    Reconnecting,
    /// Another replica holds the gateway; this one works on operations.
    HeldByAnother,
}

impl Gateway {
    /// Whether the bot as a whole can be talked to.
    pub fn is_ready(self) -> bool {
        match self {
            Gateway::Connected | Gateway::HeldByAnother => true,
            Gateway::Starting | Gateway::Reconnecting => false,
        }
    }

    /// The state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Gateway::Starting => "not connected yet",
            Gateway::Connected => "connected",
            Gateway::Reconnecting => "lost, reconnecting",
            Gateway::HeldByAnother => "held by another replica",
        }
    }
}

/// The health of this process; `chat` tells it, `web` shows it. Clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Gateway>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Gateway::Starting)))
    }
}

impl Health {
    /// A process that has just started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells how this replica stands to the gateway now.
    pub fn set_gateway(&self, gateway: Gateway) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = gateway;
    }

    /// How this replica stands to the gateway.
    pub fn gateway(&self) -> Gateway {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
