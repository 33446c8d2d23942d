//! `pangeo-bot`: a Discord bot that lets the team of a Virtual Organisation deploy and run DaskHub
//! on the EGI Federation from its channel.
//!
//! What it changes is planned first, approved by VO managers, done durably, and told with logs and
//! URLs.
//!
//! # Map
//!
//! | module | is | may use |
//! |---|---|---|
//! | [`domain`] | words as types, no I/O | – |
//! | [`store`] | SQL | domain |
//! | [`services`] | one client per outside system | domain |
//! | [`commands`] | reads and checks the files in `commands/` | domain |
//! | [`plans`], [`approvals`] | plan and digest; rules and grants | domain, store, commands, services (read only) |
//! | [`operations`] | the durable runner, one file per step | domain, store, services, commands, approvals |
//! | [`watch`] | looks at every cluster all the time, never repairs | domain, store, services, operations (its connections), looks |
//! | [`looks`] | answers of commands that change nothing | domain, store, services, operations (its connections), looks |
//! | `chat` | the only place that knows Discord | all of the above |
//! | [`web`] | health, metrics, signed pages | domain, store |
//! | `app` | wires everything, contains no behaviour | all |
//!
//! `tests/tidy.rs` fails when a module uses another that its row does not name.
//!
//! # An operator deploys a cluster
//!
//! 1. Discord sends an interaction; `chat` acknowledges it at once, checks the role, and parses
//!    the options by `commands/deploy.toml`.
//! 2. [`plans`] looks at everything that could be in the way (names, secrets, template, quota) and
//!    either answers privately what is wrong, or keeps a plan with its digest. The same transaction
//!    tells a message to the outbox.
//! 3. `chat`'s poster posts it. A VO manager reacts ✅; the reactions are read over REST and
//!    [`approvals`] counts them.
//! 4. [`operations::start`] creates cluster, operation and steps in one transaction.
//! 5. [`operations::runner`] claims it by a lease and takes it from step to step. What people see
//!    of it is one message in the plan's thread, edited at most once a second.
//!
//! # The bot restarts in the middle of a step
//!
//! 1. The step has an intent row and no result row. The lease names the replica; the same replica
//!    takes it back at once, another one when it has expired.
//! 2. The claim gets the next attempt number. Were the old process still alive, its writes would be
//!    refused.
//! 3. The step runs again and looks first: the infrastructure of that name exists, the helm run of
//!    that id is under way, the name points there already. It goes on from what it finds.
//! 4. A message whose first post was tried without a recorded answer is looked up in the channel
//!    before it is posted again.

pub mod app;
pub mod approvals;
pub mod chat;
pub mod commands;
pub mod config;
pub mod domain;
pub mod looks;
pub mod operations;
pub mod plans;
pub mod services;
pub mod store;
pub mod telemetry;
pub mod watch;
pub mod web;
