//! One key of an INI file, as Python's `ConfigParser` reads it; everything else stays as it is.

/// Why a key can't be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// Its value goes over several lines, which CLUES' files never have.
    #[error("the value of `{key}` goes over several lines")]
    SeveralLines {
        /// The key.
        key: String,
    },
    /// The new value would break the file.
    #[error("the value of `{key}` must be one line")]
    BadValue {
        /// The key.
        key: String,
    },
}

/// The name of the section that a line begins.
fn section_of(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    Some(name)
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// Whether a line goes on with the value of the line before.
fn goes_on(line: &str) -> bool {
    line.starts_with([' ', '\t']) && !line.trim().is_empty() && !is_comment(line.trim_start())
}

/// Where the value begins, if the line sets the key; names of keys have no case.
fn value_at(line: &str, key: &str) -> Option<usize> {
    if is_comment(line) || line.starts_with([' ', '\t']) {
        return None;
    }
    let at = line.find(['=', ':'])?;
    let name = line.get(..at)?.trim();
    if !name.eq_ignore_ascii_case(key) {
        return None;
    }
    let rest = line.get(at + 1..)?;
    let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    Some(at + 1 + spaces)
}

/// The value of a key; the last one if it is set several times.
pub fn get<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines() {
        if let Some(name) = section_of(line) {
            inside = name == section;
        } else if inside && let Some(at) = value_at(line, key) {
            found = line.get(at..).map(str::trim);
        }
    }
    found
}

/// The text with another value of a key, wherever it is set; a key or section that is missing is
/// added. Comments, order, spaces and line ends stay.
///
/// # Errors
/// When the old or the new value is not one line.
pub fn set(text: &str, section: &str, key: &str, value: &str) -> Result<String, IniError> {
    if value.chars().any(char::is_control) || value != value.trim() {
        return Err(IniError::BadValue {
            key: key.to_owned(),
        });
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut made = String::with_capacity(text.len() + 64);
    let mut inside = false;
    let mut set = false;
    // Where a missing key would go: after the last line with content of its section.
    let mut place = None;
    for (number, line) in lines.iter().enumerate() {
        let bare = line.trim_end_matches(['\r', '\n']);
        if let Some(name) = section_of(bare) {
            inside = name == section;
        }
        match value_at(bare, key).filter(|_| inside) {
            Some(at) => {
                if lines.get(number + 1).is_some_and(|next| goes_on(next)) {
                    return Err(IniError::SeveralLines {
                        key: key.to_owned(),
                    });
                }
                made.push_str(line.get(..at).unwrap_or_default());
                made.push_str(value);
                made.push_str(line.get(bare.len()..).unwrap_or_default());
                set = true;
            }
            None => made.push_str(line),
        }
        if inside && !bare.trim().is_empty() {
            if !made.ends_with('\n') {
                made.push_str(end);
            }
            place = Some(made.len());
        }
    }
    if set {
        return Ok(made);
    }
    let line = format!("{key}={value}{end}");
    match place {
        Some(place) => made.insert_str(place, &line),
        None => {
            if !made.is_empty() && !made.ends_with('\n') {
                made.push_str(end);
            }
            made.push_str(&format!("{end}[{section}]{end}{line}"));
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# by ansible\n[general]\nTIMEOUT=10\n\n[scheduling]\nIDLE_TIME = 900 \n; how many\nextra_nodes_free : 0\n#EXTRA_NODES_FREE=7\n\n[other]\nEXTRA_NODES_FREE=9";

    #[test]
    fn one_value_changes_and_nothing_else() {
        let made = set(FILE, "scheduling", "EXTRA_NODES_FREE", "2").unwrap();
        assert_eq!(
            made,
            FILE.replace("extra_nodes_free : 0", "extra_nodes_free : 2")
        );
        assert_eq!(get(&made, "scheduling", "EXTRA_NODES_FREE"), Some("2"));
        assert_eq!(get(&made, "other", "extra_nodes_free"), Some("9"));
        let windows = "[a]\r\nK=1\r\n[b]\r\n";
        assert_eq!(
            set(windows, "a", "k", "2").unwrap(),
            "[a]\r\nK=2\r\n[b]\r\n"
        );
    }

    #[test]
    fn setting_what_is_set_changes_nothing() {
        assert_eq!(
            set(FILE, "scheduling", "IDLE_TIME", "900").unwrap().trim(),
            FILE.replace("900 ", "900")
        );
        assert_eq!(set(FILE, "general", "TIMEOUT", "10").unwrap(), FILE);
    }

    #[test]
    fn a_missing_key_goes_to_the_end_of_its_section() {
        let made = set(FILE, "scheduling", "MAX_BOOTING_NODES", "5").unwrap();
        let begin = made.find("#EXTRA").unwrap();
        assert!(made[begin..].starts_with("#EXTRA_NODES_FREE=7\nMAX_BOOTING_NODES=5\n\n[other]"));
        let made = set(FILE, "other", "X", "1").unwrap();
        assert!(made.ends_with("EXTRA_NODES_FREE=9\nX=1\n"), "{made}");
        let made = set(FILE, "new", "X", "1").unwrap();
        assert!(
            made.ends_with("EXTRA_NODES_FREE=9\n\n[new]\nX=1\n"),
            "{made}"
        );
        assert_eq!(set("", "a", "b", "c").unwrap(), "\n[a]\nb=c\n");
    }

    #[test]
    fn a_key_that_is_set_twice_is_set_twice() {
        assert_eq!(
            set("[a]\nk=1\nk=2\n", "a", "k", "3").unwrap(),
            "[a]\nk=3\nk=3\n"
        );
    }

    #[test]
    fn what_would_break_the_file_is_refused() {
        assert!(set("[a]\nk=1\n  2\n", "a", "k", "3").is_err());
        assert!(set("[a]\nk=1\n", "a", "k", "3\n[b]").is_err());
    }
}
