//! The watch: looks at every cluster all the time and never repairs.
//!
//! | file | what |
//! |---|---|
//! | [`sampler`] | counts nodes and pods once a minute, for the picture in `status` |
//!
//! **Invariant:** nothing outside is changed.

pub mod sampler;

pub use sampler::Sampler;
