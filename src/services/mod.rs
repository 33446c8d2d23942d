//! One client per outside system.
//!
//! **Invariant:** a service knows `domain` and nothing else of the bot: no database, no Discord.

pub mod checkin;
pub mod dns;
pub mod http;
pub mod im;
pub(crate) mod text;
