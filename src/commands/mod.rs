//! What people can ask for: reads and checks the files in `commands/`.
//!
//! A command is one TOML file, and its name is the file's name: `deploy.toml` is `/pangeo deploy`,
//! `dns.check.toml` is `/pangeo dns check`. `groups.toml` describes the groups.
//! The files are compiled in, so that binary and commands cannot differ; a site's own folder may
//! add more. Both go one way: `file.rs` reads them, `limits.rs` compares them with Discord's limits,
//! and [`Catalogue`] keeps those that hold.
//! A file may consist of programs to run on a front end: a runbook, see [`runbook`].
//! What a person typed goes through [`options::parse_options`], and for `deploy` on through
//! [`deploy::deploy_options`].
//!
//! **Invariant:** data only. No file contains a condition or a template, and nothing here talks to
//! a service or the database.
//! **Invariant:** who may run a command, how many grants it needs and what its steps are is known
//! from its file alone.

mod catalogue;
pub mod deploy;
mod file;
mod limits;
pub mod options;
pub mod runbook;
mod shown;
mod spec;
pub mod typed;
pub mod value;

pub use catalogue::{Catalogue, CatalogueErrors, Problem};
pub use shown::Shown;
pub use spec::{
    Approvals, Command, CommandPath, Complete, Effect, Modal, ModalInput, ModalStyle,
    OperationSpec, OptionKind, OptionSpec, WireType,
};
