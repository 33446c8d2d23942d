//! One client per outside system.
//!
//! **Invariant:** a service knows `domain` and nothing else of the bot: no database, no Discord.

pub mod attachments;
pub mod checkin;
pub mod clues;
pub mod detached;
pub mod dns;
pub mod ec3;
pub mod frontend;
pub mod helm;
pub mod http;
pub mod hub;
pub mod im;
pub mod kubernetes;
pub mod registry;
pub mod switch;
pub mod templates;
pub(crate) mod text;
