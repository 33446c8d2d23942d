//! The watch: looks at every cluster all the time and never repairs.
//!
//! | file | what |
//! |---|---|
//! | [`sampler`] | counts nodes and pods once a minute, for the picture in `status` |
//! | [`watcher`] | looks at each cluster, and tells the channel when something stalls |
//! | [`sightings`] | what a look says about each kind of alert; the growing is in [`crate::domain::diagnosis::stall`] |
//!
//! **Invariant:** nothing outside is changed.

pub mod sampler;
pub mod sightings;
pub mod watcher;

pub use sampler::Sampler;
pub use watcher::{WatchSettings, Watcher};
