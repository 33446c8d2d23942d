//! The documents that are written from the table of keys.

use std::fmt::Write;

use super::keys::{ENTRY_SECRETS, Form, KEYS, Key};

const CREDENTIAL: &str = r#"
# The clouds that may be used, one table each.
# [[im.credentials]]
# name = "cesnet"               # what people type; the credential's id in IM
# kind = "EGI"                  # EGI, OpenStack or Dummy
# host = "CESNET-MCC"           # EGI: the site's name; OpenStack: the Keystone URL
# vo = "vo.pangeo.eu"           # default: the name in [vo]
# image = "ost://identity.cloud.muni.cz/0123abcd"   # image of the VMs when none is asked for
# secret_file = "/run/secrets/cesnet"               # or PANGEO_BOT_IM_CREDENTIAL_CESNET; default: the token of [im]
# OpenStack only: username = "egi.eu", tenant = "openid", domain = "…", auth_version = "3.x_oidc_access_token"
"#;

const SEALING: &str = r#"
# The keys that secrets in the database are sealed with: 32 bytes as 64 hexadecimal digits,
# made with `openssl rand -hex 32`. Keep an old key in the list until `pangeo-bot` has sealed all again.
# [[sealing.keys]]
# id = "2026a"
# key_file = "/run/secrets/sealing-2026a"           # or PANGEO_BOT_SEALING_KEY_2026A
"#;

const CLUSTERS: &str = r#"
# Other limits for some clusters, in seconds, and another backup; those above where none is given.
# [[watch.clusters]]
# name = "geo"
# stall_after_s = 600           # its site is slow
# latent_after_s = 1200
# boot_s = 2400
# backup_path = "/pv/backup"    # "" needs none
# backup_age_s = 172800
"#;

fn section_of(key: &Key) -> &'static str {
    key.path.rsplit_once('.').map_or("", |(section, _)| section)
}

fn name_of(key: &Key) -> &'static str {
    key.path.rsplit_once('.').map_or(key.path, |(_, name)| name)
}

fn note(key: &Key) -> String {
    let variable = key.variable();
    match key.form {
        Form::Secret => format!("secret; variable {variable}, or a file"),
        Form::Text | Form::Number | Form::Texts | Form::Numbers => match key.default {
            Some(_) => format!("{}; variable {variable}", key.unit),
            None => format!("{}; no default; variable {variable}", key.unit),
        },
    }
}

/// The example configuration file: every key with its unit and default, as comments.
pub fn example_toml() -> String {
    let mut text = String::from(
        "# pangeo-bot: the configuration with all its keys.\n\
         # A key that is commented out shows its default, or an example where there is none.\n\
         # Written from src/config/keys.rs; a test keeps it the same.\n",
    );
    let mut section = "";
    for key in KEYS {
        let this = section_of(key);
        if this != section {
            text += end_of(section);
            text += &format!("\n[{this}]\n");
            section = this;
        }
        text += &format!("\n# {}\n# ({})\n", key.about, note(key));
        let name = name_of(key);
        text += &match key.form {
            Form::Secret => format!(
                "# {name}_file = \"/run/secrets/{}\"\n",
                key.path.replace(['.', '_'], "-")
            ),
            Form::Text | Form::Number | Form::Texts | Form::Numbers => {
                format!("# {name} = {}\n", key.default.unwrap_or(key.example))
            }
        };
    }
    text + end_of(section)
}

fn end_of(section: &str) -> &'static str {
    match section {
        "im" => CREDENTIAL,
        "sealing" => SEALING,
        "watch" => CLUSTERS,
        _other => "",
    }
}

/// The example of environment variables: every variable with its unit and default, as comments.
pub fn example_env() -> String {
    let mut text = String::from(
        "# pangeo-bot: all environment variables.\n\
         # Each overrides the key of the same name in the configuration file; lists are parted by commas.\n\
         # Written from src/config/keys.rs; a test keeps it the same.\n\
         \n# The configuration file. (path; default: none)\n# PANGEO_BOT_CONFIG=pangeo-bot.toml\n",
    );
    for key in KEYS {
        let value = key.default.unwrap_or(key.example);
        let value = value.replace(['[', ']', '"'], "").replace(", ", ",");
        let variable = key.variable();
        text += &format!("\n# {} ({})\n# {variable}={value}\n", key.about, key.unit);
        if key.form == Form::Secret {
            text += &format!(
                "# {variable}_FILE=/run/secrets/{}\n",
                key.path.replace(['.', '_'], "-")
            );
        }
    }
    for (_, prefix, about) in ENTRY_SECRETS {
        text += &format!("\n# {about} (secret)\n# {prefix}<NAME>=\n");
    }
    text
}

/// The reference of all keys, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         One TOML file, named by `--config` or `PANGEO_BOT_CONFIG`, and environment variables above it.\n\
         Every key has a variable of the same name: `PANGEO_BOT_`, the section, the key, in capitals; lists are parted by commas.\n\
         Secrets never stand in the file: they come from their variable, or from a file that `<key>_file` (or `<VARIABLE>_FILE`) names.\n\
         Unknown keys and variables are errors, and `pangeo-bot check` names every problem at once.\n\
         Plain `http` is allowed only to this machine.\n\
         `pangeo-bot.example.toml` has the same keys to copy from; both are written from `src/config/keys.rs`.\n",
    );
    let mut section = "";
    for key in KEYS {
        let this = section_of(key);
        if this != section {
            text += &format!(
                "\n## `[{this}]`\n\n| key | variable | unit | default | what for |\n|---|---|---|---|---|\n"
            );
            section = this;
        }
        let (name, unit) = match key.form {
            Form::Secret => (format!("{}_file", name_of(key)), "path of a file"),
            Form::Text | Form::Number | Form::Texts | Form::Numbers => {
                (name_of(key).to_owned(), key.unit)
            }
        };
        let default = key
            .default
            .map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        let variable = key.variable();
        text += &format!(
            "| `{name}` | `{variable}` | {unit} | {default} | {} |\n",
            key.about
        );
    }
    text += "\n## Lists\n\n```toml";
    text += CREDENTIAL;
    text += SEALING;
    text += "```\n\n";
    for (path, prefix, about) in ENTRY_SECRETS {
        // Writing to a string cannot fail.
        writeln!(text, "- `{prefix}<NAME>` (`{path}`): {about}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::config::Config;

    fn compare(path: &str, expected: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::vars_os().any(|(name, _)| name == "UPDATE_DOCS") {
            std::fs::write(&path, expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found,
            expected,
            "{} differs; run `UPDATE_DOCS=1 cargo test --lib config`",
            path.display()
        );
    }

    #[test]
    fn the_documents_are_up_to_date() {
        compare("pangeo-bot.example.toml", &example_toml());
        compare(".env.example", &example_env());
        compare("docs/configuration.md", &reference());
    }

    /// The example with its keys switched on.
    fn switched_on() -> String {
        example_toml()
            .lines()
            .filter_map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with("[[") => Some(rest),
                Some(rest) => {
                    let (name, _) = rest.split_once(" = ")?;
                    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
                    (name.chars().all(plain) && !name.ends_with("_file")).then_some(rest)
                }
                None => Some(line),
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_example_is_a_valid_configuration_with_the_defaults() {
        let text = switched_on();
        let dir = std::env::temp_dir().join(format!("example-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("example.toml");
        std::fs::write(&path, &text).unwrap();
        let loaded = Config::load(
            Some(&path),
            [("PANGEO_BOT_IM_PASSWORD".to_owned(), "x".to_owned())],
        );
        std::fs::remove_dir_all(&dir).unwrap();
        let example = loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let mut default = Config::default();
        assert_eq!(format!("{:?}", example.helm), format!("{:?}", default.helm));
        assert_eq!(
            format!("{:?}", example.operations),
            format!("{:?}", default.operations)
        );
        assert_eq!(format!("{:?}", example.web), format!("{:?}", default.web));
        assert_eq!(
            format!("{:?}", example.checkin.issuers),
            format!("{:?}", default.checkin.issuers)
        );
        assert_eq!(
            format!("{:?}", example.frontend),
            format!("{:?}", default.frontend)
        );
        assert_eq!(example.im.url, default.im.url);
        assert_eq!(example.dns.domains, default.dns.domains);
        assert_eq!(example.templates.source, default.templates.source);
        assert_eq!(example.log.filter, default.log.filter);
        default.im = example.im;
        assert_eq!(
            default.im.credential(None).map(|one| one.name.as_str()),
            Some("cesnet")
        );
    }

    /// The keys that a section's type knows, out of serde's own complaint about another key.
    fn known_to_serde(section: &str) -> BTreeSet<String> {
        let mut path = std::env::temp_dir();
        path.push(format!("bogus-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, format!("[{section}]\nbogus_key = 1\n")).unwrap();
        let complaint = Config::load(Some(&path), []).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        let (_, list) = complaint
            .split_once("unknown field `bogus_key`, expected ")
            .unwrap_or_else(|| panic!("[{section}] takes any key: {complaint}"));
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_key_of_the_types_is_in_the_table_and_the_other_way_round() {
        let sections: BTreeSet<&str> = KEYS
            .iter()
            .map(|key| key.path.split('.').next().unwrap())
            .collect();
        for section in sections {
            let mut documented: BTreeSet<String> = KEYS
                .iter()
                .filter_map(|key| {
                    let rest = key.path.strip_prefix(section)?.strip_prefix('.')?;
                    let name = rest.split('.').next()?;
                    Some(match key.form {
                        Form::Secret => format!("{name}_file"),
                        Form::Text | Form::Number | Form::Texts | Form::Numbers => name.to_owned(),
                    })
                })
                .collect();
            for (path, _, _) in ENTRY_SECRETS {
                let (of, list) = path.split_once('.').unwrap();
                if of == section {
                    documented.insert(list.to_owned());
                }
            }
            if section == "watch" {
                assert!(CLUSTERS.contains("[[watch.clusters]]"));
                documented.insert("clusters".to_owned());
            }
            assert_eq!(documented, known_to_serde(section), "section [{section}]");
        }
    }
}
