//! What the documents say is held against what is there: commands and options, steps, links.
#![cfg(test)]

use std::path::{Path, PathBuf};

use pangeo_bot::commands::{Catalogue, Command};
use pangeo_bot::domain::person::Role;
use pangeo_bot::operations::start::known_steps;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn catalogue() -> Catalogue {
    Catalogue::built_in(&known_steps()).unwrap()
}

fn roles(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    words.join(", ")
}

/// `1 of approver`, `none` for an operation that nobody has to approve; empty for the others.
fn approvals(command: &Command) -> String {
    let rule = command.approvals.as_ref();
    rule.map_or_else(String::new, |rule| match rule.needed {
        0 => "none".to_owned(),
        needed => format!("{needed} of {}", roles(&rule.from)),
    })
}

/// The part of a page below a heading of the second level, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let begin = page.find(&format!("\n## {heading}\n"))? + 1;
    let rest = page.get(begin..)?;
    rest.get(..rest.find("\n## ").unwrap_or(rest.len()))
}

/// The row of a table whose first cell is this.
fn row<'a>(page: &'a str, first: &str) -> Option<Vec<&'a str>> {
    let cells = |line: &'a str| -> Vec<&'a str> {
        let line = line.trim().trim_start_matches('|');
        line.split('|').map(str::trim).collect()
    };
    page.lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .find(|cells| cells.first().copied() == Some(first))
}

#[test]
fn the_readme_lists_every_command_as_its_file_says() {
    let readme = read("README.md");
    let catalogue = catalogue();
    for command in catalogue.commands() {
        let name = format!("`/pangeo {}`", command.name());
        let cells = row(&readme, &name).unwrap_or_else(|| panic!("README.md has no row {name}"));
        assert_eq!(cells[1], roles(&command.may_run), "who may run {name}");
        assert_eq!(cells[3], approvals(command), "the approvals of {name}");
    }
    let listed = readme.matches("\n| `/pangeo ").count();
    assert_eq!(listed, catalogue.commands().count(), "rows in README.md");
}

#[test]
fn the_page_of_commands_has_every_command_and_option() {
    let page = read("docs/commands.md");
    for command in catalogue().commands() {
        let name = command.name();
        let text = section(&page, &format!("`{name}`"))
            .unwrap_or_else(|| panic!("docs/commands.md has no section `{name}`"));
        let who = format!("**Who:** {}.", roles(&command.may_run));
        assert!(text.contains(&who), "`{name}`: {who}");
        assert!(
            text.contains(&format!("\n/pangeo {name}")),
            "`{name}` has no example"
        );
        assert!(
            text.contains("**Answer:**"),
            "`{name}` does not say what it answers"
        );
        let rule = approvals(command);
        assert!(
            rule.is_empty() || text.contains(&format!("**Approvals:** {rule};")),
            "`{name}`: {rule}"
        );
        let mut documented = 0;
        for option in &command.options {
            let mark = if option.complete.is_some() { " *" } else { "" };
            let first = format!("`{}`{mark}", option.name);
            let cells = row(text, &first).unwrap_or_else(|| panic!("`{name}` has no row {first}"));
            documented += 1;
            for choice in &option.choices {
                assert!(
                    cells[1].contains(&format!("`{choice}`")),
                    "{name} {first}: {choice}"
                );
            }
            assert_eq!(
                cells[2] == "**needed**",
                option.required,
                "{name} {first}: needed?"
            );
            if let Some(default) = &option.default {
                assert_eq!(
                    cells[2],
                    format!("`{default}`"),
                    "{name} {first}: its default"
                );
            }
            assert_eq!(cells[3], option.description, "{name} {first}");
        }
        let rows = text
            .split("\n### ")
            .next()
            .unwrap_or_default()
            .matches("\n| `")
            .count();
        assert_eq!(
            rows, documented,
            "`{name}` has rows of options that it lacks"
        );
    }
}

#[test]
fn every_step_is_documented_with_its_file() {
    let page = read("docs/commands.md");
    for step in known_steps() {
        assert!(
            page.contains(&format!("| [`{step}`](../src/operations/steps/")),
            "docs/commands.md has no row for the step `{step}`"
        );
    }
    let module = read("src/operations/steps/mod.rs");
    for entry in std::fs::read_dir(top().join("src/operations/steps")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "mod.rs" {
            continue;
        }
        assert!(
            page.contains(&format!("(../src/operations/steps/{name})")),
            "docs/commands.md does not link {name}"
        );
        let name = name.trim_end_matches(".rs");
        assert!(
            module.contains(&format!("mod {name};")),
            "steps/mod.rs does not name {name}"
        );
    }
}

#[test]
fn every_decision_and_page_is_in_its_index() {
    for folder in ["docs", "docs/decisions"] {
        let index = read(&format!("{folder}/README.md"));
        for entry in std::fs::read_dir(top().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") && name != "README.md" {
                assert!(
                    index.contains(&format!("({name})")),
                    "{folder}/README.md does not link {name}"
                );
            }
        }
    }
}

/// Folders of others' files or of built ones.
const NOT_OURS: [&str; 4] = ["target", "node_modules", ".git", ".sandbox"];

fn pages_below(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !NOT_OURS.contains(&name.as_ref()) {
            pages_below(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// The text without code blocks and code spans, in which `](` means nothing.
fn without_code(text: &str) -> String {
    let prose = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    prose.split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// As GitHub makes anchors: small letters, digits, dashes and underscores; spaces become dashes.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _left_out => None,
        })
        .collect()
}

fn anchors(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut pages = Vec::new();
    pages_below(&top(), &mut pages);
    assert!(pages.len() >= 10, "the pages were not found: {pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for rest in without_code(&text).split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let there = path.exists()
                && (place.is_empty()
                    || std::fs::read_to_string(&path)
                        .is_ok_and(|text| anchors(&text).iter().any(|a| a == place)));
            if !there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "runs the project's own script")]
fn whoever_is_not_root_is_told_what_is_missing_and_what_will_not_work() {
    let as_somebody = |commands: &str| {
        let script = format!("id() {{ echo 1000; }}; source scripts/lib.sh; {commands}");
        let shell = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script, "scripts/run"])
            .current_dir(top())
            .output()
            .unwrap();
        let said = [shell.stdout, shell.stderr].concat();
        (shell.status.success(), String::from_utf8(said).unwrap())
    };
    let missing = "need no-such-package no-such-command; install_missing; echo went on";
    let (done, said) = as_somebody(missing);
    assert!(!done && !said.contains("went on"), "{said}");
    assert!(said.contains("only root may install them"), "{said}");
    assert!(said.contains("no-such-package"), "{said}");
    let (done, said) = as_somebody("warn_unless_root");
    assert!(
        done && said.contains("pretend front ends need root"),
        "{said}"
    );
}
