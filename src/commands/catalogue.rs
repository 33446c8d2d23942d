//! All commands together.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use include_dir::{Dir, include_dir};

use super::{file, limits, shown::Shown, spec::Command};

/// The files that are compiled in.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/commands");

/// The file that describes the groups.
const GROUPS: &str = "groups.toml";

/// The longest command file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The most characters that Discord takes in one command, with all that is below it.
const MAX_WEIGHT: usize = 8000;

/// The characters of `/pangeo` itself, at most.
const ROOT_WEIGHT: usize = 110;

/// The most subcommands and groups in one place.
const MAX_CHILDREN: usize = 25;

/// One thing that is wrong with a command file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Everything that is wrong with the command files; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueErrors(pub Vec<Problem>);

impl fmt::Display for CatalogueErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the command files do not hold")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogueErrors {}

/// All commands, checked.
#[derive(Clone, Debug)]
pub struct Catalogue {
    commands: BTreeMap<String, Command>,
    groups: BTreeMap<String, String>,
    shown: Shown,
}

impl Catalogue {
    /// The commands that are compiled in.
    ///
    /// # Errors
    /// When a file does not hold; a test makes sure that all do with the product's steps.
    pub fn built_in(known_steps: &[&str]) -> Result<Self, CatalogueErrors> {
        Self::load(None, known_steps)
    }

    /// The commands that are compiled in and those of a site's own folder.
    ///
    /// `known_steps` are the names of the steps that operations can run.
    ///
    /// # Errors
    /// Everything that is wrong in all files.
    pub fn load(folder: Option<&Path>, known_steps: &[&str]) -> Result<Self, CatalogueErrors> {
        let mut files = built_in_files();
        let built_in = files.len();
        let mut problems = Vec::new();
        if let Some(folder) = folder {
            add_folder(folder, &mut files, &mut problems);
        }
        Self::from_files((&files, built_in), known_steps, problems)
    }

    /// The files from the number `own_from` on are a site's own.
    fn from_files(
        (files, own_from): (&[(String, String)], usize),
        known_steps: &[&str],
        mut problems: Vec<Problem>,
    ) -> Result<Self, CatalogueErrors> {
        let mut catalogue = Self {
            commands: BTreeMap::new(),
            groups: BTreeMap::new(),
            shown: Shown::WHOLE,
        };
        for (at, (name, text)) in files.iter().enumerate() {
            if name.rsplit('/').next() == Some(GROUPS) {
                catalogue.add_groups(name, text, &mut problems);
                continue;
            }
            match file::read(name.rsplit('/').next().unwrap_or(name), text, known_steps) {
                Ok(command) if at >= own_from && !command.is_runbook() => {
                    problems.push(Problem {
                        file: name.clone(),
                        line: None,
                        text: "a site's own command is a runbook: give it `effect = \"operation\"` and `[[steps]]`; anything else needs code".to_owned(),
                    });
                }
                Ok(command) => catalogue.add(name, command, &mut problems),
                Err(found) => problems.extend(found.into_iter().map(|problem| Problem {
                    file: name.clone(),
                    ..problem
                })),
            }
        }
        catalogue.check_together(&mut problems);
        catalogue.fit(&mut problems);
        if problems.is_empty() {
            Ok(catalogue)
        } else {
            Err(CatalogueErrors(problems))
        }
    }

    fn add(&mut self, file: &str, mut command: Command, problems: &mut Vec<Problem>) {
        command.file = file.to_owned();
        if let Some(earlier) = self.commands.get(&command.name()) {
            problems.push(Problem {
                file: file.to_owned(),
                line: None,
                text: format!(
                    "`/pangeo {}` stands in {} already; a site's own command needs its own name",
                    command.name(),
                    earlier.file
                ),
            });
            return;
        }
        self.commands.insert(command.name(), command);
    }

    fn add_groups(&mut self, file: &str, text: &str, problems: &mut Vec<Problem>) {
        let problem = |text: String| Problem {
            file: file.to_owned(),
            line: None,
            text,
        };
        match toml::from_str::<BTreeMap<String, String>>(text) {
            Ok(groups) => {
                for (group, description) in groups {
                    if let Some(text) = limits::description_problem(&description) {
                        problems.push(problem(format!("`{group}`: {text}")));
                    }
                    if self.groups.contains_key(&group) {
                        problems.push(problem(format!("the group `{group}` is described twice")));
                    }
                    self.groups.insert(group, description);
                }
            }
            Err(error) => problems.push(problem(error.message().trim().to_owned())),
        }
    }

    fn check_together(&self, problems: &mut Vec<Problem>) {
        let mut problem = |file: &str, text: String| {
            problems.push(Problem {
                file: file.to_owned(),
                line: None,
                text,
            });
        };
        let mut children: BTreeMap<&str, usize> = BTreeMap::new();
        let mut top = 0;
        for command in self.commands.values() {
            match &command.path.group {
                None => {
                    top += 1;
                    if self.groups.contains_key(&command.path.name) {
                        problem(
                            &command.file,
                            "a group has the same name as this command".to_owned(),
                        );
                    }
                }
                Some(group) => {
                    *children.entry(group).or_default() += 1;
                    if !self.groups.contains_key(group) {
                        problem(
                            &command.file,
                            format!("the group `{group}` is not described in {GROUPS}"),
                        );
                    }
                }
            }
        }
        for group in self.groups.keys() {
            match children.get(group.as_str()) {
                None => problem(GROUPS, format!("the group `{group}` has no commands")),
                Some(count) if *count > MAX_CHILDREN => problem(
                    GROUPS,
                    format!(
                        "the group `{group}` has {count} commands; Discord allows {MAX_CHILDREN}"
                    ),
                ),
                Some(_) => {}
            }
        }
        if top + self.groups.len() > MAX_CHILDREN {
            problem(
                GROUPS,
                format!(
                    "`/pangeo` has {} commands and groups; Discord allows {MAX_CHILDREN}",
                    top + self.groups.len()
                ),
            );
        }
    }

    /// Finds how much of the descriptions Discord can show.
    fn fit(&mut self, problems: &mut Vec<Problem>) {
        let fitting = Shown::choices().find(|shown| self.weight(*shown) <= MAX_WEIGHT);
        if let Some(shown) = fitting {
            self.shown = shown;
            return;
        }
        let weight = self.weight(Shown::LEAST);
        problems.push(Problem {
            file: GROUPS.to_owned(),
            line: None,
            text: format!(
                "all names, choices and the beginnings of all descriptions have {weight} characters; Discord allows {MAX_WEIGHT}"
            ),
        });
    }

    fn weight(&self, shown: Shown) -> usize {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, text)| {
            name.chars().count() + text.chars().count().min(shown.of_commands())
        });
        let commands = self.commands.values();
        let commands = commands.map(|command| limits::weight(command, shown));
        ROOT_WEIGHT + groups.sum::<usize>() + commands.sum::<usize>()
    }

    /// How much of the descriptions Discord shows; `/pangeo help` and the manual have all of them.
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// The command of that name, such as `deploy` or `dns check`.
    pub fn get(&self, name: &str) -> Option<&Command> {
        self.commands.get(name)
    }

    /// All commands, by name.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.commands.values()
    }

    /// All groups by name, with their descriptions.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &str)> {
        self.groups
            .iter()
            .map(|(name, description)| (name.as_str(), description.as_str()))
    }
}

fn built_in_files() -> Vec<(String, String)> {
    BUILT_IN
        .files()
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|file| {
            let name = file.path().to_str()?;
            Some((format!("commands/{name}"), file.contents_utf8()?.to_owned()))
        })
        .collect()
}

fn add_folder(folder: &Path, files: &mut Vec<(String, String)>, problems: &mut Vec<Problem>) {
    let mut problem = |path: &Path, text: String| {
        problems.push(Problem {
            file: path.display().to_string(),
            line: None,
            text,
        });
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problem(folder, format!("the folder cannot be read: {error}")),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(data) if data.len() > MAX_FILE_BYTES => {
                problem(
                    &path,
                    format!("the file is longer than {MAX_FILE_BYTES} bytes"),
                );
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                problem(&path, format!("the file cannot be read: {error}"));
                continue;
            }
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(error) => problem(&path, format!("the file cannot be read: {error}")),
        }
    }
}

/// The compiled-in catalogue, for tests of a layer that knows no steps: whether each is a known
/// one is asked by `pangeo-bot check`, whose test has the real list.
#[cfg(test)]
pub(crate) fn for_tests() -> Catalogue {
    Catalogue::built_in(&tests::named_steps()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Effect, deploy::STEPS};

    /// The steps that the compiled-in files name.
    pub(super) fn named_steps() -> Vec<&'static str> {
        let mut names = Vec::new();
        for (_, text) in built_in_files() {
            let file: toml::Table = text.parse().unwrap();
            let steps = file.get("operation").and_then(|table| table.get("steps"));
            for step in steps.and_then(toml::Value::as_array).into_iter().flatten() {
                let name: &'static str = step.as_str().unwrap().to_owned().leak();
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn the_built_in_commands_hold() {
        let catalogue = for_tests();
        // Which there are is held against the README by tests/docs.rs.
        assert!(catalogue.get("help").is_some());
        assert_eq!(
            catalogue
                .get("deploy")
                .unwrap()
                .operation
                .as_ref()
                .unwrap()
                .steps,
            STEPS
        );
        assert!(catalogue.weight(catalogue.shown()) <= MAX_WEIGHT);
    }

    #[test]
    fn secrets_are_asked_for_in_modals_only() {
        let catalogue = for_tests();
        for command in catalogue.commands() {
            for option in &command.options {
                assert!(
                    !option.name.contains("secret") && !option.name.contains("token"),
                    "`/pangeo {}` has the option `{}`",
                    command.name(),
                    option.name
                );
            }
        }
        for name in ["dns set-secret", "checkin set-client"] {
            let command = catalogue.get(name).unwrap();
            let modal = command.modal.as_ref().unwrap();
            assert!(modal.inputs.iter().any(|input| input.secret));
            assert_eq!(command.effect, Effect::Records);
        }
    }

    #[test]
    fn a_sites_own_folder_is_checked_the_same_way() {
        let folder = std::env::temp_dir().join(format!("commands-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let own = include_str!("../../commands/run.restart-clues.toml");
        let own = &own.replace("Restart CLUES", "Ours: restart CLUES");
        std::fs::write(folder.join("run.ours.toml"), own).unwrap();
        let loaded = Catalogue::load(Some(&folder), &named_steps()).unwrap();
        assert!(loaded.get("run ours").is_some() && loaded.get("deploy").is_some());

        std::fs::write(folder.join("deploy.toml"), own).unwrap();
        std::fs::write(
            folder.join("run.ours.toml"),
            "description = \"\"\neffect = \"reads\"\n[who]\nmay_run = [\"viewer\"]\n",
        )
        .unwrap();
        std::fs::write(folder.join("new.sub.toml"), own).unwrap();
        let reads = "description = \"Read\"\neffect = \"reads\"\n[who]\nmay_run = [\"viewer\"]\n";
        std::fs::write(folder.join("run.read.toml"), reads).unwrap();
        let errors = Catalogue::load(Some(&folder), &named_steps())
            .unwrap_err()
            .to_string();
        assert!(
            errors.contains("stands in commands/deploy.toml already"),
            "{errors}"
        );
        assert!(
            errors.contains("run.ours.toml:1: the description has 0"),
            "{errors}"
        );
        assert!(errors.contains("`new` is not described"), "{errors}");
        assert!(
            errors.contains("run.read.toml: a site's own command is a runbook"),
            "{errors}"
        );

        std::fs::remove_dir_all(&folder).unwrap();
        let errors = Catalogue::load(Some(&folder), &named_steps())
            .unwrap_err()
            .to_string();
        assert!(errors.contains("cannot be read"), "{errors}");
    }

    /// A catalogue of this many commands in four groups, each with an option of this name.
    fn large(commands: usize, option: &str) -> Result<Catalogue, CatalogueErrors> {
        let text = format!(
            "description = \"{}\"\neffect = \"reads\"\n[who]\nmay_run = [\"viewer\"]\n\
             [[options]]\nname = \"{option}\"\nkind = \"word\"\ndescription = \"{}\"\n",
            "d".repeat(50),
            "word ".repeat(20)
        );
        let groups = "a = \"A\"\nb = \"B\"\nc = \"C\"\nd = \"D\"\n";
        let mut files = vec![("groups.toml".to_owned(), groups.to_owned())];
        for (n, group) in (0..commands).zip(["a", "b", "c", "d"].into_iter().cycle()) {
            files.push((format!("{group}.{}{n}.toml", "x".repeat(20)), text.clone()));
        }
        Catalogue::from_files((&files, files.len()), &[], Vec::new())
    }

    #[test]
    fn descriptions_are_shown_as_far_as_discord_takes_them() {
        assert_eq!(large(40, "one").unwrap().shown(), Shown::WHOLE);
        let more = large(60, "one").unwrap();
        let shown = more.shown();
        assert!(shown != Shown::WHOLE && more.weight(shown) <= MAX_WEIGHT);
        let longer = Shown::choices().take_while(|longer| *longer != shown);
        assert!(more.weight(longer.last().unwrap()) > MAX_WEIGHT);
        let errors = large(100, &"o".repeat(32)).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        let text = errors.to_string();
        assert!(text.contains("Discord allows 8000"), "{text}");
    }
}
