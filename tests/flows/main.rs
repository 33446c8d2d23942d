//! Whole flows, read like a chat: the unmodified binary in a world of the sandbox, a real
//! PostgreSQL, a real `sshd`. See `tests/README.md`.
#![cfg(test)]

mod adopt;
mod alert_causes;
mod alert_kinds;
mod alert_pairs;
mod alerts;
mod causes;
mod charts;
mod clock;
mod crash;
mod days;
mod deploy;
mod destroy;
mod dns;
mod effects;
mod event;
mod every_command;
mod every_step;
mod failures;
mod flavor;
mod images;
mod inventory;
mod kill;
#[path = "../week/live.rs"]
mod live;
mod logs;
mod lost_creates;
mod metrics;
mod nodes;
mod owners;
mod page;
mod panel;
mod proof;
mod refused;
mod runbooks;
mod scale;
mod scene;
mod schedules;
mod set_host;
mod token;
mod two_bots;
mod undo;
mod undo_killed;
mod values;
mod watch_storms;
mod watching;

use pangeo_bot::store::MIGRATOR;
