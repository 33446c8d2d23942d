//! The rules of `src/` that no compiler checks: which layer may use which, which crates belong to
//! one layer, and that every file and folder says what it is for.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every part of `src/` and the parts that it may use beside itself.
/// A new arrow is a commit of its own, with its reason.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("store", &["domain"]),
    ("services", &["domain"]),
    ("commands", &["domain"]),
    ("approvals", &["domain", "store", "commands", "services"]),
    // Starting asks once more whether the plan is approved.
    (
        "operations",
        &["domain", "store", "services", "commands", "approvals"],
    ),
    // A plan looks at the outside through the same bundle of clients as the steps.
    (
        "plans",
        &["domain", "store", "commands", "services", "operations"],
    ),
    // So do the commands that change nothing.
    ("looks", &["domain", "store", "services", "operations"]),
    // It looks through the same bundle of clients as the steps.
    (
        "watch",
        &["domain", "store", "services", "operations", "looks"],
    ),
    (
        "chat",
        &[
            "config",
            "domain",
            "store",
            "commands",
            "plans",
            "approvals",
            "operations",
            "looks",
            "watch",
        ],
    ),
    ("web", &["domain", "store"]),
];

/// Parts without rules: they only wire.
const WIRING: &[&str] = &["app", "main", "lib"];

/// Crates that only some parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("serenity", &["chat"]),
    ("axum", &["web"]),
    ("kube", &["services"]),
    ("k8s_openapi", &["services"]),
    ("openssh", &["services"]),
    ("hickory_resolver", &["services"]),
    ("reqwest", &["services", "app"]),
    ("sandbox", &[]),
    // `domain` gives its ids the traits that rows need.
    ("sqlx", &["store", "domain", "app", "main"]),
];

/// A Rust file below `src/` and its code, without comments and the contents of strings.
struct Source {
    path: PathBuf,
    part: String,
    text: String,
    code: String,
}

impl Source {
    /// How deep the file's module lies below the root of the crate.
    fn depth(&self) -> usize {
        let file = self.path.file_stem().unwrap();
        let folders = self.path.components().count() - 1;
        folders + usize::from(file != "mod" && file != "lib" && file != "main")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(folder).unwrap().to_path_buf();
                let first = path
                    .components()
                    .next()
                    .unwrap()
                    .as_os_str()
                    .to_str()
                    .unwrap();
                let part = first.trim_end_matches(".rs").to_owned();
                let code = code_only(&text);
                found.push(Source {
                    path,
                    part,
                    text,
                    code,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text with comments removed and strings emptied.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if first == '"' {
            string_length(rest)
        } else if let Some(length) = raw_string_length(rest, code.chars().last()) {
            length
        } else if let Some(length) = character_length(rest) {
            length
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let hashes = rest.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let inside = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let length = inside.find(&end)?;
    Some(1 + count + 1 + length + end.len())
}

/// The length of a character literal such as `'"'`; a lifetime is none.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        return escaped
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')
            .map(|(at, _)| at + 3);
    }
    let character = inside.chars().next()?;
    inside[character.len_utf8()..]
        .starts_with('\'')
        .then_some(character.len_utf8() + 2)
}

/// The names that directly follow `before` in the code, also those in braces.
fn names_after(code: &str, before: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(before) {
        let is_whole = code[..at]
            .chars()
            .last()
            .is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        if !is_whole {
            continue;
        }
        let rest = &code[at + before.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(name_at(rest));
            continue;
        };
        let mut depth = 0;
        let mut expects_name = true;
        for (at, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects_name = true,
                c if depth == 0 && expects_name && c.is_alphabetic() => {
                    names.insert(name_at(&list[at..]));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn name_at(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The parts of the crate that a file uses.
fn used_parts(source: &Source) -> BTreeSet<String> {
    let parts: BTreeSet<&str> = MAY_USE
        .iter()
        .map(|(part, _)| *part)
        .chain(WIRING.iter().copied())
        .collect();
    let mut used = names_after(&source.code, "crate::");
    // `super::` often enough leads to the root of the crate as well.
    for depth in source.depth()..source.depth() + 2 {
        if depth > 0 {
            used.extend(names_after(&source.code, &"super::".repeat(depth)));
        }
    }
    used.retain(|name| parts.contains(name.as_str()) && *name != source.part);
    used
}

#[test]
fn a_layer_uses_only_what_its_row_names() {
    let mut wrong = Vec::new();
    for source in sources(&root().join("src")) {
        if WIRING.contains(&source.part.as_str()) {
            continue;
        }
        let path = source.path.display();
        let Some((_, allowed)) = MAY_USE.iter().find(|(part, _)| *part == source.part) else {
            wrong.push(format!(
                "src/{path}: `{}` has no row in MAY_USE",
                source.part
            ));
            continue;
        };
        for used in used_parts(&source) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!(
                    "src/{path}: `{}` may not use `{used}`",
                    source.part
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_crates_belong_to_one_layer() {
    let mut wrong = Vec::new();
    for source in sources(&root().join("src")) {
        for (name, parts) in CRATES {
            let named = ["::", ":: ", ";", " as "].iter().any(|after| {
                source
                    .code
                    .match_indices(&format!("{name}{after}"))
                    .any(|(at, _)| {
                        let before = source.code[..at].chars().last();
                        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
                            && (*after == "::" || source.code[..at].trim_end().ends_with("use"))
                    })
            });
            if named && !parts.contains(&source.part.as_str()) {
                let path = source.path.display();
                wrong.push(format!("src/{path}: `{name}` belongs to {parts:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_and_folder_says_what_it_is_for() {
    let mut wrong = Vec::new();
    let mut folders = BTreeSet::new();
    for (name, source) in ["src", "sandbox/src"].iter().flat_map(|name| {
        sources(&root().join(name))
            .into_iter()
            .map(move |source| (name, source))
    }) {
        let path = Path::new(name).join(&source.path);
        // A file of unit tests is named after what it tests.
        if !source.text.starts_with("//!") && !path.ends_with("tests.rs") {
            wrong.push(format!("{} does not begin with `//!`", path.display()));
        }
        let folder = path.parent().unwrap();
        // Each file of `bin` is a program of its own.
        if !folder.ends_with("bin") {
            folders.insert(folder.to_path_buf());
        }
    }
    for folder in folders {
        let has = |file: &str| root().join(&folder).join(file).exists();
        let beside = root().join(folder.with_extension("rs")).exists();
        if !has("mod.rs") && !has("lib.rs") && !has("main.rs") && !beside {
            wrong.push(format!("{} has no manual (mod.rs)", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sandbox_knows_nothing_of_the_bot() {
    let mut wrong = Vec::new();
    for source in sources(&root().join("sandbox/src")) {
        if source.code.contains("pangeo_bot::") {
            wrong.push(format!(
                "sandbox/src/{} uses the bot",
                source.path.display()
            ));
        }
    }
    let manifest = std::fs::read_to_string(root().join("sandbox/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for section in ["dependencies", "build-dependencies"] {
        let names = manifest.get(section).and_then(toml::Value::as_table);
        if names.is_some_and(|names| names.contains_key("pangeo-bot")) {
            wrong.push(format!("sandbox/Cargo.toml: {section} names pangeo-bot"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_this_test_reads_code_and_not_prose() {
    let code = code_only(
        "// crate::chat\nuse crate::{domain::ids::{Id, chat}, store};\nlet a = \"crate::web\\\" \";\n\
         let b = r#\"crate::plans \"#; let c = '\"'; fn f<'a>(x: &'a str) { crate::config::x() }\n/* crate::app */",
    );
    let expected: BTreeSet<String> = ["domain", "store", "config"].map(ToOwned::to_owned).into();
    assert_eq!(names_after(&code, "crate::"), expected);
    let source = Source {
        path: PathBuf::from("domain/redact/stream.rs"),
        part: "domain".to_owned(),
        text: String::new(),
        code: "use super::super::super::store::Store; use super::patterns;".to_owned(),
    };
    assert_eq!(used_parts(&source), BTreeSet::from(["store".to_owned()]));
}
