//! The chat against the sandbox's Discord: who may, plans and their reactions, the outbox.
//!
//! Database, Discord's HTTP and gateway are real; only planning and looking, which need a cloud,
//! are played here.
#![cfg(test)]

mod access;
mod ends;
mod outbox;
mod plans;
#[expect(clippy::disallowed_methods, reason = "a slow look sleeps")]
mod played;
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts bots beside itself, waits for rows and reads CONFORMANCE_DATA"
)]
mod world;
