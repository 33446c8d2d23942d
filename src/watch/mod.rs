//! The watch: looks at every cluster all the time and never repairs.
//!
//! | file | what |
//! |---|---|
//! | [`mirrors`] | which clusters this replica watches, and a connection to the Kubernetes of each |
//! | [`mirror`] | what the Kubernetes of one cluster shows, kept as it changes |
//! | [`sampler`] | counts nodes and pods once a minute, for the picture in `status` |
//! | [`watcher`] | looks at each cluster, and tells the channel when something stalls |
//! | `moment` | a moment on two clocks, by which a clock that was set is known |
//! | `wanted` | how many nodes a cluster lacks, for the picture |
//! | `tokens` | the token of a front end, told before it ends and told once |
//! | [`beside`] | gateway, pods that crash, disks, backup |
//! | `judging` | what one look says about every kind of alert |
//! | `telling` | what people are told of an alert: its message, calls, its end, groups |
//! | [`digest`] | once a day, what is open and what comes up |
//! | [`sightings`] | what a look says about each kind of alert; the growing is in [`crate::domain::diagnosis::stall`] |
//!
//! **Invariant:** nothing outside is changed.

pub mod beside;
pub mod digest;
mod judging;
pub mod mirror;
pub mod mirrors;
mod moment;
pub mod sampler;
mod settings;
pub mod sightings;
mod telling;
mod tokens;
mod wanted;
pub mod watcher;

pub use beside::BesideRules;
pub use digest::{Digest, DigestSettings};
pub use mirrors::Mirrors;
pub use sampler::Sampler;
pub use settings::WatchSettings;
pub use watcher::Watcher;
