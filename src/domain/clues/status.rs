//! The table of `clues status`.
//!
//! `cluesserver` prints a heading, a rule, and for each node
//! `%-24s   %8s   %8s   %11s   %4s,%-9s    %3s,%-9s`: name (its first 24 characters), state (its
//! first 8: `off (err` for `off (err)`), enabled, how long (modulo a day), cores and bytes in use, cores and
//! bytes in all.

use super::NodeState;

/// The most nodes that are read; a cluster has some tens.
pub const NODES_MAX: usize = 2_000;

/// What CLUES cuts names to.
const NAME_CUT: usize = 24;

/// One node of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name, at most 24 characters of it.
    pub name: String,
    /// Its state.
    pub state: NodeState,
    /// Whether CLUES may use it.
    pub enabled: bool,
    /// For how long the state is so, as CLUES writes it; a day begins it anew.
    pub stable: String,
    /// Thousandths of a core in use.
    pub used_cpu_milli: u64,
    /// Bytes in use.
    pub used_memory: u64,
    /// Cores in all; what CLUES believes if the node is off.
    pub cpus: u64,
    /// Bytes in all; the same.
    pub memory: u64,
}

impl NodeRow {
    /// Whether the row is that of a node.
    pub fn is_of(&self, name: &str) -> bool {
        let cut: String = name.chars().take(NAME_CUT).collect();
        self.name == cut || super::first_label(&self.name) == super::first_label(name)
    }

    /// For how many seconds it has been in its state; `None` if [`NodeRow::stable`] is not of the
    /// form `00h12'31"`.
    pub fn stable_s(&self) -> Option<i64> {
        let (hours, rest) = self.stable.split_once('h')?;
        let (minutes, rest) = rest.split_once('\'')?;
        let seconds = rest.strip_suffix('"')?;
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        hours
            .checked_mul(3600)?
            .checked_add(minutes.checked_mul(60)?)?
            .checked_add(number(seconds)?)
    }
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// `cluesd` does not run.
    #[error("CLUES does not run")]
    NotRunning,
    /// It says something else.
    #[error("what CLUES says is not its table of nodes: {line:?}")]
    NotATable {
        /// The first line that is not understood, cut to 100 characters.
        line: String,
    },
    /// There are more nodes than a cluster can have.
    #[error("CLUES lists more than {NODES_MAX} nodes")]
    TooMany,
}

/// Reads the table.
///
/// # Errors
/// [`StatusError`]; a table is understood whole or not at all, since what is done with nodes
/// depends on all of them.
pub fn parse(text: &str) -> Result<Vec<NodeRow>, StatusError> {
    if text.contains("Could not connect to CLUES server") {
        return Err(StatusError::NotRunning);
    }
    let mut lines = text.lines().map(str::trim_end);
    let strange = |line: &str| StatusError::NotATable {
        line: line.chars().filter(|c| !c.is_control()).take(100).collect(),
    };
    let is_rule = |line: &str| line.len() > 40 && line.bytes().all(|b| b == b'-');
    if !lines.by_ref().take(20).any(is_rule) {
        return Err(strange(text.lines().next().unwrap_or_default()));
    }
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if rows.len() == NODES_MAX {
            return Err(StatusError::TooMany);
        }
        rows.push(row(line).ok_or_else(|| strange(line))?);
    }
    Ok(rows)
}

fn row(line: &str) -> Option<NodeRow> {
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let (state, rest) = state(rest.trim_start())?;
    let mut words = rest.split_whitespace();
    let enabled = match words.next()? {
        "enabled" => true,
        "disabled" => false,
        _other => return None,
    };
    let stable = words.next()?;
    let (used_cpus, used_memory) = words.next()?.split_once(',')?;
    let (cpus, memory) = words.next()?.split_once(',')?;
    let row = NodeRow {
        name: name.to_owned(),
        state,
        enabled,
        stable: stable.chars().take(20).collect(),
        used_cpu_milli: amount(used_cpus, 1000)?,
        used_memory: amount(used_memory, 1)?,
        cpus: amount(cpus, 1)?,
        memory: amount(memory, 1)?,
    };
    words.next().is_none().then_some(row)
}

fn state(text: &str) -> Option<(NodeState, &str)> {
    // The longer of two words with one beginning stands first.
    const WORDS: [(&str, NodeState); 9] = [
        ("off (err)", NodeState::OffErr),
        ("off (err", NodeState::OffErr),
        ("on (err)", NodeState::OnErr),
        ("powoff", NodeState::PowOff),
        ("powon", NodeState::PowOn),
        ("idle", NodeState::Idle),
        ("used", NodeState::Used),
        ("off", NodeState::Off),
        ("unk", NodeState::Unknown),
    ];
    WORDS.iter().find_map(|(word, state)| {
        let rest = text.strip_prefix(word)?;
        rest.starts_with(char::is_whitespace)
            .then_some((*state, rest))
    })
}

/// A number that Python printed, such as `2`, `2.5` or `-1`, times a factor; less than nothing is
/// nothing.
fn amount(text: &str, factor: u64) -> Option<u64> {
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u64 = whole.parse().ok()?;
    let mut sum = whole.checked_mul(factor)?;
    let mut place = factor;
    for digit in part.chars() {
        place /= 10;
        sum = sum.checked_add(place.checked_mul(digit.to_digit(10)?.into())?)?;
    }
    Some(if negative { 0 } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "node                        state    enabled   time stable   (cpu,mem) used   (cpu,mem) total\n-----------------------------------------------------------------------------------------------\n";

    fn table(lines: &[&str]) -> Result<Vec<NodeRow>, StatusError> {
        parse(&format!("{HEAD}{}\n\n", lines.join("\n")))
    }

    #[test]
    fn every_state_is_read() {
        // As `cluesserver` prints them.
        for (word, state) in [
            ("idle", NodeState::Idle),
            ("used", NodeState::Used),
            ("off", NodeState::Off),
            ("powon", NodeState::PowOn),
            ("powoff", NodeState::PowOff),
            ("unk", NodeState::Unknown),
            ("on (err)", NodeState::OnErr),
            ("off (err", NodeState::OffErr),
        ] {
            let line = format!(
                "{:<24}   {word:>8}   {:>8}   {:>11}   {:>4},{:<9}    {:>3},{:<9}",
                "wn1", "enabled", "00h12'31\"", "2.5", "3221225472", "8", "33567285248"
            );
            let rows = table(&[&line]).unwrap();
            assert_eq!(
                rows,
                [NodeRow {
                    name: "wn1".to_owned(),
                    state,
                    enabled: true,
                    stable: "00h12'31\"".to_owned(),
                    used_cpu_milli: 2500,
                    used_memory: 3_221_225_472,
                    cpus: 8,
                    memory: 33_567_285_248,
                }],
                "{line}"
            );
        }
    }

    #[test]
    fn no_nodes_and_unusual_numbers_are_read() {
        assert_eq!(table(&[]).unwrap(), []);
        let rows = table(&["wn1 off disabled 23h59'59\" -1,-1 1,1073741824.0"]).unwrap();
        assert_eq!((rows[0].used_memory, rows[0].memory), (0, 1 << 30));
        assert!(!rows[0].enabled);
    }

    #[test]
    fn a_dead_cluesd_is_told_from_nonsense() {
        let dead = "Could not connect to CLUES server http://localhost:8000/RPC2 (please, check if it is running)\n";
        assert_eq!(parse(dead), Err(StatusError::NotRunning));
        assert!(matches!(parse(""), Err(StatusError::NotATable { .. })));
        assert!(matches!(
            parse("Traceback (most recent call last):\n"),
            Err(StatusError::NotATable { .. })
        ));
    }

    #[test]
    fn a_row_that_lacks_something_spoils_the_table() {
        for line in [
            "wn1",
            "wn1   idle",
            "wn1   idle   enabled   00h12'31\"",
            "wn1   idle   enabled   00h12'31\"   0,0",
            "wn1   idle   enabled   00h12'31\"   0,0   1",
            "wn1   idle   maybe   00h12'31\"   0,0   1,1",
            "wn1   busy   enabled   00h12'31\"   0,0   1,1",
            "wn1   idle   enabled   00h12'31\"   0,0   1,1   2,2",
            "wn1   idle   enabled   00h12'31\"   0,0   99999999999999999999,1",
            "\u{202e}wn1\u{7}",
        ] {
            let whole = "wn0   idle   enabled   00h12'31\"   0,0   1,1";
            assert!(table(&[whole, line]).is_err(), "{line:?}");
        }
    }

    #[test]
    fn endless_output_is_refused() {
        let line = "wn1   idle   enabled   00h12'31\"   0,0   1,1\n";
        assert_eq!(
            parse(&format!("{HEAD}{}", line.repeat(10_000))),
            Err(StatusError::TooMany)
        );
        assert!(matches!(
            parse(&"-\n".repeat(10_000)),
            Err(StatusError::NotATable { .. })
        ));
    }

    #[test]
    fn long_names_are_found_by_what_is_left_of_them() {
        let rows = table(&["a-very-long-name-of-a-no   idle   enabled   00h12'31\"   0,0   1,1"]);
        assert!(rows.unwrap()[0].is_of("a-very-long-name-of-a-node"));
    }
}
