//! One client per outside system.
//!
//! **Invariant:** a service knows `domain` and nothing else of the bot: no database, no Discord.

pub mod http;
