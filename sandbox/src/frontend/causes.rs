//! What makes a cluster stop growing, as far as its front end, its nodes and its users go.
//!
//! Each is a state of the pretend systems and shows itself as it would in the real ones; so what
//! cures the real ones cures it too. Those that are the cloud's, and all of them by name, are in
//! [`crate::world`].

use std::fs;

use super::FrontEnds;
use super::clues;
use super::elastic;
use super::people::ServerSize;
use super::state::{Cluster, PowerState, Server, Trouble, WorkerNode};
use anyhow::Context;

/// Users who hold a node each begin so.
const HOLDER: &str = "holder-";

/// The user whose server is larger than any node.
const TOO_LARGE: &str = "zoe";

/// The user whose image can't be pulled.
const NO_IMAGE: &str = "iris";

impl FrontEnds {
    /// Writes a size of nodes into CLUES' file and restarts CLUES: the real one, or the one that
    /// the file begins with, 1 core and 1 GiB.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn set_believed_size(&self, infrastructure: &str, right: bool) -> anyhow::Result<()> {
        let real = self.shared.look(infrastructure, elastic::worker_size);
        let (cpus, memory) = real.context("no such front end")?;
        let (slots, memory) = if right {
            (cpus / 1000, memory)
        } else {
            (1, 1 << 30)
        };
        let file = self.root(infrastructure)?.join(clues::NODE_CFG);
        let text = fs::read_to_string(&file).context("read the size of nodes")?;
        let line = |line: &str| match line.split_once('=') {
            Some(("KUBERNETES_NODE_SLOTS", _)) => format!("KUBERNETES_NODE_SLOTS={slots}\n"),
            Some(("KUBERNETES_NODE_MEMORY", _)) => format!("KUBERNETES_NODE_MEMORY={memory}\n"),
            _other => format!("{line}\n"),
        };
        let text: String = text.lines().map(line).collect();
        fs::write(&file, text).context("write the size of nodes")?;
        clues::start(&self.shared, infrastructure);
        Ok(())
    }

    /// Whether the running CLUES believes what a node really has.
    pub fn believes_right(&self, infrastructure: &str) -> bool {
        let right = self.shared.look(infrastructure, |cluster| {
            let (cpus, memory) = elastic::worker_size(cluster);
            let config = &cluster.clues.config;
            // What a person rounds is right enough.
            config.slots * 1000 == cpus && config.memory.abs_diff(memory) < memory / 10
        });
        right == Some(true)
    }

    /// Whether `cluesd` runs.
    pub fn clues_runs(&self, infrastructure: &str) -> bool {
        let down = self.shared.look(infrastructure, |c| c.clues.down);
        down == Some(false)
    }

    /// Users take every node that there can be and want one more, or go again.
    pub fn hold_all_nodes(&self, infrastructure: &str, on: bool) {
        let most = clues::vnode_names(&self.shared, infrastructure).len();
        self.shared.change(infrastructure, |cluster| {
            cluster.servers.retain(|s| !s.user.starts_with(HOLDER));
            if !on {
                return;
            }
            let (cpus, memory) = elastic::worker_size(cluster);
            for number in 0..=most {
                let user = format!("{HOLDER}{}", number + 1);
                let size = (cpus / 4 * 3, memory / 4 * 3);
                cluster.servers.push(Server::new(&user, size, None));
            }
        });
    }

    /// A user wants a server of twice a node's size, or gives up.
    pub fn want_too_much(&self, infrastructure: &str, on: bool) {
        let size = self.shared.look(infrastructure, elastic::worker_size);
        self.stop_server(infrastructure, TOO_LARGE);
        if let (true, Some((cpus, memory))) = (on, size) {
            let size = ServerSize {
                cpu_milli: cpus * 2,
                memory: memory * 2,
            };
            self.start_server(infrastructure, TOO_LARGE, size);
        }
    }

    /// A user's server waits for its image, or that user goes.
    pub fn miss_an_image(&self, infrastructure: &str, on: bool) {
        self.stop_server(infrastructure, NO_IMAGE);
        if on {
            self.start_stuck_server(infrastructure, NO_IMAGE, Trouble::Image);
        }
    }

    /// A user starts a small server that no node helps.
    pub fn start_stuck_server(&self, infrastructure: &str, user: &str, trouble: Trouble) {
        let small = (100, 128 << 20);
        self.shared.change(infrastructure, |cluster| {
            cluster
                .servers
                .push(Server::new(user, small, Some(trouble)));
        });
    }

    /// Takes from CLUES every node that is off, or gives all back: given up, or disabled.
    pub fn withhold_nodes(&self, infrastructure: &str, how: Withheld, on: bool) {
        let known = clues::vnode_names(&self.shared, infrastructure);
        let mut given_up = Vec::new();
        self.shared.change(infrastructure, |cluster| {
            let retries = cluster.clues.config.retries;
            for (name, node) in &mut cluster.clues.nodes {
                match (how, on) {
                    (Withheld::GivenUp, true)
                        if node.state == PowerState::Off && known.contains(name) =>
                    {
                        node.on_fails = retries;
                        node.set(PowerState::OffErr);
                        given_up.push((name.clone(), retries));
                    }
                    (Withheld::GivenUp, false) if node.state == PowerState::OffErr => {
                        node.on_fails = 0;
                        node.set(PowerState::Off);
                    }
                    (Withheld::Disabled, true) if node.state == PowerState::Off => {
                        node.disabled = true;
                    }
                    (Withheld::Disabled, false) => node.disabled = false,
                    (Withheld::GivenUp | Withheld::Disabled, _) => {}
                }
            }
        });
        for (name, fails) in given_up {
            let text = format!("failed to power on node {name} ({fails} fails)");
            clues::log(
                &self.shared,
                infrastructure,
                "NODE",
                clues::Level::Debug,
                &text,
            );
        }
    }

    /// Lets the pods of a deployment, such as `hub`, start again and again, or run again.
    pub fn crash_deployment(&self, infrastructure: &str, deployment: &str, on: bool) {
        self.shared.change(infrastructure, |cluster| {
            if on {
                cluster.crashing.insert(deployment.to_owned(), 7);
            } else {
                cluster.crashing.remove(deployment);
            }
        });
    }

    /// The kubelets of all nodes that are on stop answering, or answer again.
    pub fn silence_kubelets(&self, infrastructure: &str, on: bool) {
        self.shared.change(infrastructure, |cluster| {
            let nodes = cluster.clues.nodes.values_mut();
            for node in nodes.filter(|node| node.joined) {
                node.not_ready = on;
            }
        });
    }

    /// Whether something of a cluster's servers and nodes keeps it from growing.
    pub(crate) fn is_kept_by(&self, infrastructure: &str, by: Kept) -> bool {
        let is_held = |cluster: &Cluster| match by {
            Kept::Holders => cluster.servers.iter().any(|s| s.user.starts_with(HOLDER)),
            Kept::TooLarge => cluster.servers.iter().any(|s| s.user == TOO_LARGE),
            Kept::Image => cluster.servers.iter().any(|s| s.trouble.is_some()),
            Kept::GivenUp => any(cluster, |node| node.state == PowerState::OffErr),
            Kept::Disabled => any(cluster, |node| node.disabled),
            Kept::NotReady => any(cluster, |node| node.joined && node.not_ready),
        };
        self.shared.look(infrastructure, is_held) == Some(true)
    }
}

/// How nodes are taken from CLUES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// CLUES failed to power them on as often as it may.
    GivenUp,
    /// A person disabled them.
    Disabled,
}

/// What of a cluster's servers and nodes can keep it from growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Holders,
    TooLarge,
    Image,
    GivenUp,
    Disabled,
    NotReady,
}

fn any(cluster: &Cluster, is: impl Fn(&WorkerNode) -> bool) -> bool {
    cluster.clues.nodes.values().any(is)
}
