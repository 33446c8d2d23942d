//! Plans, grants and starts over a real PostgreSQL with a clock that is moved by hand, without
//! Discord.
#![cfg(test)]

mod audit;
mod desk;
mod force;
mod grants;
mod start;
