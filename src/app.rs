//! Wires the parts together; one file per sub-command of the binary.
//!
//! **Invariant:** no behaviour: what happens to a cluster or a message is decided elsewhere.

pub mod admin;
pub mod check;
pub mod parts;
pub mod render;
pub mod serve;
mod watching;
