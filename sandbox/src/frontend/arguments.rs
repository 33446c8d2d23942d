//! Command lines of helm and kubectl, as far as the howto and the bot use them.

use std::collections::BTreeMap;

/// Options that take a value.
const WITH_VALUE: [&str; 17] = [
    "repo",
    "namespace",
    "version",
    "values",
    "timeout",
    "output",
    "filter",
    "kubeconfig",
    "untardir",
    "destination",
    "set",
    "set-string",
    "max",
    "revision",
    "filename",
    "selector",
    "field-manager",
];

/// Options that are there or not; some take a value behind `=`.
const ALONE: [&str; 18] = [
    "install",
    "wait",
    "cleanup-on-fail",
    "create-namespace",
    "atomic",
    "rollback-on-failure",
    "dry-run",
    "debug",
    "untar",
    "all",
    "all-namespaces",
    "short",
    "keep-history",
    "ignore-not-found",
    "server-side",
    "force-conflicts",
    "reuse-values",
    "no-headers",
];

/// A command line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The words that are no options.
    pub(super) words: Vec<String>,
    options: BTreeMap<String, Vec<String>>,
}

impl Arguments {
    /// Takes a command line apart; the error is what the program prints.
    pub(super) fn parse(args: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if !arg.starts_with('-') || arg == "-" {
                parsed.words.push(arg.clone());
                continue;
            }
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let name = long_name(name).ok_or_else(|| unknown(arg))?;
            let value = match value {
                Some(value) => value,
                None if WITH_VALUE.contains(&name) => rest
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("Error: flag needs an argument: {arg}\n"))?,
                None if ALONE.contains(&name) => "true".to_owned(),
                None => return Err(unknown(arg)),
            };
            parsed
                .options
                .entry(name.to_owned())
                .or_default()
                .push(value);
        }
        Ok(parsed)
    }

    /// The last value of an option.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.last().map(String::as_str)
    }

    /// Whether an option is set and not `false` or `none`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value, "false" | "none"))
    }

    pub(super) fn word(&self, number: usize) -> &str {
        self.words.get(number).map_or("", String::as_str)
    }
}

fn long_name(name: &str) -> Option<&str> {
    Some(match name {
        "-n" => "namespace",
        "-f" => "values",
        "-o" => "output",
        "-i" => "install",
        "-a" => "all",
        "-A" => "all-namespaces",
        "-l" => "selector",
        "-q" => "short",
        "-d" => "destination",
        other => other.strip_prefix("--")?,
    })
}

fn unknown(arg: &str) -> String {
    if arg.starts_with("--") {
        return format!("Error: unknown flag: {arg}\n");
    }
    let letter = arg.trim_start_matches('-').chars().next().unwrap_or('-');
    format!("Error: unknown shorthand flag: {letter:?} in {arg}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_howto_s_command_line_is_understood() {
        let args = parse(
            "upgrade daskhub daskhub --repo=https://helm.dask.org --install --wait \
             --cleanup-on-fail --create-namespace --namespace daskhub --version 2022.8.2 \
             --values values.yaml --dry-run=server",
        )
        .unwrap();
        assert_eq!(args.words, ["upgrade", "daskhub", "daskhub"]);
        assert_eq!(args.get("version"), Some("2022.8.2"));
        assert_eq!(args.get("values"), Some("values.yaml"));
        assert!(args.has("install") && args.has("dry-run"));
    }

    #[test]
    fn misspelt_options_are_refused_as_helm_does() {
        assert_eq!(
            parse("upgrade --instal").unwrap_err(),
            "Error: unknown flag: --instal\n"
        );
    }
}
