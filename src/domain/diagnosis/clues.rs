//! CLUES: whether it runs, what it believes, and what it may use.
//!
//! Its words are those of `clueslib` (grycap/clues): the states of `clues status`, the messages of
//! its log.

use crate::domain::clues::NodeState;
use crate::domain::clues::status::NodeRow;

use super::{Amount, CluesNode, Remedy, Seen, SeenClues, Verdict};

/// CLUES writes a mark every 1800 s; two are missing.
const SILENT_S: i64 = 3600;

/// CLUES cannot power on what it needs.
const NOTHING_LEFT: &[&str] = &[
    "cannot power on any node but still need",
    "cannot be satisfied",
];

/// How far the believed memory may be from the real one, in percent.
const TOLERANCE: u64 = 10;

fn all_well(clues: &SeenClues, bad: &[String], words: &str) -> Option<Verdict> {
    bad.is_empty()
        .then(|| Verdict::Fine(format!("{words} {} nodes", clues.nodes.len())))
}

fn line_of(node: &CluesNode) -> String {
    let enabled = if node.enabled { "enabled" } else { "disabled" };
    format!("clues status: {} {} {enabled}", node.name, node.state)
}

impl From<NodeRow> for CluesNode {
    fn from(row: NodeRow) -> Self {
        let stable_s = row.stable_s();
        Self {
            name: row.name,
            state: row.state,
            enabled: row.enabled,
            stable_s,
            believed: Amount {
                cpu_milli: row.cpus.saturating_mul(1000),
                memory: row.memory,
            },
        }
    }
}

/// The verdict over CLUES' nodes, which only a running CLUES tells.
fn judge_nodes(seen: &Seen, judge: impl FnOnce(&SeenClues) -> Verdict) -> Verdict {
    seen.clues.judge(|clues| {
        if clues.stopped {
            return Verdict::Unknown("CLUES does not run".to_owned());
        }
        judge(clues)
    })
}

/// It does not answer, or has not written anything for two heartbeats.
pub fn dead(seen: &Seen) -> Verdict {
    const RESTART: Remedy = Remedy {
        words: "`sudo service cluesd restart` on the front end",
        command: Some("run restart-clues"),
    };
    seen.clues.judge(|clues| match clues.quiet_s {
        _ if clues.stopped => {
            let words = "clues status: Could not connect to CLUES server";
            Verdict::found([words.to_owned()], RESTART)
        }
        Some(quiet) if quiet <= SILENT_S => {
            Verdict::Fine(format!("its log was written to {quiet} s ago"))
        }
        Some(quiet) => {
            let words = format!(
                "the last line of its log is {} min old; it writes one every 30 min",
                quiet / 60
            );
            Verdict::found([words], RESTART)
        }
        None => Verdict::found(["it has no log".to_owned()], RESTART),
    })
}

/// It believes that a node is smaller or bigger than it is.
pub fn wrong_node_size(seen: &Seen) -> Verdict {
    const SET: Remedy = Remedy {
        words: "set `KUBERNETES_NODE_MEMORY` (bytes) and `KUBERNETES_NODE_SLOTS` in `/etc/clues2/conf.d/plugin-kubernetes.cfg` to what a real node has, then restart cluesd",
        command: Some("flavor set"),
    };
    judge_nodes(seen, |clues| {
        let Some(real) = seen.real_worker() else {
            return Verdict::Unknown(
                "no worker and no flavour is known to compare with".to_owned(),
            );
        };
        // Nodes that are on have their real size; those that are off what CLUES believes.
        let off = clues.nodes.iter().filter(|node| node.state.is_off());
        let wrong: Vec<String> = off
            .filter(|node| is_other(node, real))
            .map(|node| {
                format!(
                    "CLUES believes that {} has {}, a real node {}",
                    node.name,
                    node.believed.words(),
                    real.words()
                )
            })
            .collect();
        if wrong.is_empty() {
            return Verdict::Fine(format!("a real node has {}", real.words()));
        }
        let line = clues.last_line(NOTHING_LEFT).map(str::to_owned);
        Verdict::found(wrong.into_iter().take(2).chain(line), SET)
    })
}

fn is_other(node: &CluesNode, real: Amount) -> bool {
    let difference = node.believed.memory.abs_diff(real.memory);
    let cpus = node.believed.cpu_milli.abs_diff(real.cpu_milli);
    difference > real.memory / 100 * TOLERANCE || cpus >= 1000
}

/// Pods wait, and every node that CLUES has is on.
pub fn maximum_reached(seen: &Seen) -> Verdict {
    const RAISE: Remedy = Remedy {
        words: "raise the maximum of the cluster, or wait until nodes become free",
        command: Some("scale"),
    };
    judge_nodes(seen, |clues| {
        let all = clues.nodes.len();
        // One that is on its way, or on and of no use, is missing too: that has other causes.
        let is_missing = |node: &&CluesNode| {
            node.state.is_off() || node.state == NodeState::PowOn || !seen.is_ready(&node.name)
        };
        let missing = clues.nodes.iter().filter(is_missing).count();
        let demand = seen.wants_nodes();
        if missing > 0 || all == 0 || demand == 0 {
            return Verdict::Fine(format!("{} of {all} nodes are on", all - missing));
        }
        let words = format!("all {all} nodes of CLUES are on, {demand} pods wait");
        let line = clues.last_line(NOTHING_LEFT).map(str::to_owned);
        Verdict::found([words].into_iter().chain(line), RAISE)
    })
}

/// It tried three times to power a node on.
pub fn power_on_given_up(seen: &Seen) -> Verdict {
    const RESET: Remedy = Remedy {
        words: "mend the cause first, then `clues resetstate <node>` on the front end",
        command: Some("nodes reset"),
    };
    judge_nodes(seen, |clues| {
        let given_up: Vec<&CluesNode> = clues
            .nodes
            .iter()
            .filter(|node| node.state == NodeState::OffErr)
            .collect();
        let lines: Vec<String> = given_up
            .iter()
            .map(|node| {
                let text = format!("power on node {}", node.name);
                let line = clues.recent.iter().rev().find(|line| line.contains(&text));
                line.cloned().unwrap_or_else(|| line_of(node))
            })
            .collect();
        all_well(clues, &lines, "none given up of").unwrap_or_else(|| Verdict::found(lines, RESET))
    })
}

/// It may not use some nodes.
pub fn nodes_disabled(seen: &Seen) -> Verdict {
    const ENABLE: Remedy = Remedy {
        words: "`clues enable <node>` on the front end",
        command: Some("nodes enable"),
    };
    judge_nodes(seen, |clues| {
        let disabled = clues.nodes.iter().filter(|node| !node.enabled);
        let lines: Vec<String> = disabled.map(line_of).collect();
        all_well(clues, &lines, "none disabled of").unwrap_or_else(|| Verdict::found(lines, ENABLE))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{amount, clues_node, clues_of, evidence, kubernetes_of, wants, well};
    use super::*;

    #[test]
    fn a_clues_that_does_not_answer_is_dead_and_tells_nothing_of_nodes() {
        let mut seen = well();
        *clues_of(&mut seen) = SeenClues {
            stopped: true,
            quiet_s: Some(5),
            ..SeenClues::default()
        };
        assert!(evidence(&dead(&seen)).contains("Could not connect"));
        for judge in [wrong_node_size, maximum_reached, power_on_given_up] {
            assert!(matches!(judge(&seen), Verdict::Unknown(_)));
        }
    }

    #[test]
    fn silence_for_two_heartbeats_is_death() {
        for (quiet, found) in [
            (Some(10), false),
            (Some(3600), false),
            (Some(3601), true),
            (None, true),
        ] {
            let mut seen = well();
            clues_of(&mut seen).quiet_s = quiet;
            let is_found = matches!(dead(&seen), Verdict::Found { .. });
            assert_eq!(is_found, found, "{quiet:?}");
        }
    }

    #[test]
    fn a_node_of_another_size_is_found_with_both_sizes() {
        for (believed, found) in [
            (amount(8, 31), false),
            (amount(8, 32), false),
            (amount(1, 1), true),
            (amount(4, 31), true),
            (amount(8, 64), true),
        ] {
            let mut seen = well();
            clues_of(&mut seen).nodes[1].believed = believed;
            let verdict = wrong_node_size(&seen);
            assert_eq!(
                matches!(verdict, Verdict::Found { .. }),
                found,
                "{believed:?}"
            );
            if found {
                assert!(
                    evidence(&verdict).contains("a real node 8 CPUs, 31.0 GiB"),
                    "{verdict:?}"
                );
            }
        }
        let mut no_worker = well();
        kubernetes_of(&mut no_worker).nodes.clear();
        clues_of(&mut no_worker).nodes[1].believed = amount(1, 1);
        assert!(
            evidence(&wrong_node_size(&no_worker)).contains("32.0 GiB"),
            "the flavour counts"
        );
    }

    #[test]
    fn the_maximum_is_reached_only_while_pods_wait() {
        let mut seen = well();
        clues_of(&mut seen).nodes[1].state = NodeState::Used;
        assert!(matches!(maximum_reached(&seen), Verdict::Fine(_)));
        kubernetes_of(&mut seen).waiting.push(wants(amount(1, 2)));
        assert_eq!(
            evidence(&maximum_reached(&seen)),
            "all 2 nodes of CLUES are on, 1 pods wait"
        );
        clues_of(&mut seen)
            .nodes
            .push(clues_node("wn3", NodeState::Off));
        assert!(matches!(maximum_reached(&seen), Verdict::Fine(_)));
    }

    #[test]
    fn given_up_and_disabled_nodes_are_named() {
        let mut seen = well();
        clues_of(&mut seen).nodes[1].state = NodeState::OffErr;
        assert_eq!(
            evidence(&power_on_given_up(&seen)),
            "clues status: wn2 off (err) enabled"
        );
        let line = "[MONITOR];DEBUG;2027-01-15 08:00:00,000;failed to power on node wn2 (3 fails)";
        clues_of(&mut seen).recent.push(line.to_owned());
        assert_eq!(evidence(&power_on_given_up(&seen)), line);
        clues_of(&mut seen).nodes[0].enabled = false;
        assert_eq!(
            evidence(&nodes_disabled(&seen)),
            "clues status: wn1 used disabled"
        );
    }
}
