//! Whole flows, read like a chat: the unmodified binary in a world of the sandbox, a real
//! PostgreSQL, a real `sshd`. See `tests/README.md`.
#![cfg(test)]

mod deploy;
mod scene;

use pangeo_bot::store::MIGRATOR;
