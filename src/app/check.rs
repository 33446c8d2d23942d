//! `pangeo-bot check`: is the configuration whole, and does every command file hold?
//!
//! It asks nobody: no database, no Discord, no network. Every problem is named with its place and
//! what to do, all at once.

use std::{fmt, path::Path};

use crate::{
    commands::{Catalogue, Command},
    config::Config,
};

/// What `check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What must be mended; nothing when all holds.
    pub problems: Vec<String>,
    /// What was looked at.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Whether all holds.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "ok       {note}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem  {problem}")?;
        }
        match self.problems.len() {
            0 => write!(f, "all holds"),
            1 => write!(f, "1 problem"),
            count => write!(f, "{count} problems"),
        }
    }
}

/// Checks the configuration and the command files.
///
/// `path` is the configuration file and `variables` the environment; with neither, only the
/// command files are checked. `folder` is a folder of command files beside that of the
/// configuration; `known_steps` are the steps that operations can run.
pub fn check(
    path: Option<&Path>,
    variables: Vec<(String, String)>,
    folder: Option<&Path>,
    known_steps: &[&str],
) -> CheckReport {
    let mut report = CheckReport::default();
    let configured = path.is_some()
        || variables
            .iter()
            .any(|(name, _)| name.starts_with("PANGEO_BOT_"));
    let mut own_folder = folder.map(Path::to_path_buf);
    if configured {
        match Config::load(path, variables) {
            Ok(config) => {
                own_folder = own_folder.or_else(|| config.commands.dir.clone());
                check_config(&config, &mut report);
            }
            Err(errors) => report
                .problems
                .extend(errors.0.iter().map(ToString::to_string)),
        }
    } else {
        report.notes.push(
            "no configuration is given; `--config FILE` or the variables of `.env.example` would be checked".to_owned(),
        );
    }
    check_commands(own_folder.as_deref(), known_steps, &mut report);
    report
}

fn check_config(config: &Config, report: &mut CheckReport) {
    match config.require_for_serve() {
        Ok(()) => report
            .notes
            .push("the configuration is whole; `serve` can start".to_owned()),
        Err(errors) => report
            .problems
            .extend(errors.0.iter().map(ToString::to_string)),
    }
    if let Some(path) = &config.hub.extra_roots_file {
        let place = format!("hub.extra_roots_file: {}", path.display());
        let roots = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|pem| {
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            });
        match roots {
            Ok(roots) if roots.is_empty() => report
                .problems
                .push(format!("{place}: holds no certificate in PEM form")),
            Ok(roots) => report
                .notes
                .push(format!("{place}: {} certificates", roots.len())),
            Err(error) => report.problems.push(format!("{place}: {error}")),
        }
    }
    let source = &config.templates.source;
    if !source.contains("://") && !Path::new(source).is_dir() {
        report.problems.push(format!(
            "templates.source: there is no folder `{source}`; name a folder with `kubernetes.yaml`, or a URL"
        ));
    }
}

fn check_commands(folder: Option<&Path>, known_steps: &[&str], report: &mut CheckReport) {
    match Catalogue::load(folder, known_steps) {
        Ok(catalogue) => {
            let names: Vec<String> = catalogue.commands().map(Command::name).collect();
            report
                .notes
                .push(format!("{} commands: {}", names.len(), names.join(", ")));
        }
        Err(errors) => report
            .problems
            .extend(errors.0.iter().map(ToString::to_string)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::start::known_steps;

    #[test]
    fn without_a_configuration_the_command_files_are_checked() {
        let report = check(None, Vec::new(), None, &known_steps());
        assert!(report.is_good(), "{report}");
        assert!(
            report
                .to_string()
                .contains(" commands: adopt, alerts ack, ")
        );
    }

    #[test]
    fn every_problem_of_configuration_and_commands_is_named() {
        let folder = std::env::temp_dir().join(format!("check-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("bad.toml"), "description = \"x\"\n").unwrap();
        let variables = vec![(
            "PANGEO_BOT_TEMPLATES_SOURCE".to_owned(),
            "/nowhere".to_owned(),
        )];
        let report = check(None, variables, Some(&folder), &known_steps());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!report.is_good());
        let text = report.to_string();
        for part in [
            "discord.token",
            "sealing.keys",
            "there is no folder `/nowhere`",
            "bad.toml",
            "missing field",
        ] {
            assert!(text.contains(part), "{part} is not named in\n{text}");
        }
    }
}
