//! Wires the parts together; no behaviour of its own.

pub mod check;
pub mod render;
