//! Words as types.
//!
//! Everything that has a name in `docs/` is a type here: names that reach a shell, a URL or a
//! Kubernetes object are parsed once at the edge and trusted afterwards.
//!
//! **Invariant:** no I/O. Nothing here opens a file, a socket or reads the clock; the time comes
//! in as an argument or through [`clock::Clock`].

pub mod adoption;
pub mod alert;
pub mod approval;
pub mod chart;
pub mod clock;
pub mod clues;
pub mod cluster;
pub mod deploy;
pub mod diagnosis;
pub mod dns;
pub mod email;
pub mod event;
pub mod front_end;
pub mod health;
pub mod ids;
pub mod images;
pub mod links;
pub mod lock;
pub mod log_view;
pub mod logs;
pub mod message;
pub mod metrics;
pub mod names;
pub mod operation;
pub mod owners;
pub mod person;
pub mod plan;
pub mod proof;
pub mod redact;
pub mod runbook;
pub mod sample;
pub mod schedule;
pub mod seal;
pub mod size;
pub mod time;
pub mod token;
pub mod tosca;
pub mod values;
pub mod yaml;
