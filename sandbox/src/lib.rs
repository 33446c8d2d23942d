//! A simulation of everything around the bot: Discord with a web page, Infrastructure Manager,
//! Dynamic DNS, Check-in, and front ends with a real `sshd`.
//!
//! Used by `make run`, by the tests and by the benches; the bot itself never uses it.
//! Where it differs from the real system, the sandbox is wrong.

pub mod browser;
pub mod checkin;
pub mod discord;
pub mod dns;
pub mod faults;
pub mod frontend;
pub mod im;
pub mod machines;
pub mod pace;
pub mod page;
pub mod registry;
pub mod saved;
mod serve;
pub mod switch;
pub mod tls;
pub mod world;
