//! What tests and the world's panel do to a cluster as its users would: start servers, and look at
//! the nodes.

use super::FrontEnds;
use super::clues;
use super::load::Load;
use super::state::{PowerState, Server, WorkerNode};

/// What a server asks for.
#[derive(Clone, Copy, Debug)]
pub struct ServerSize {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory: u64,
}

/// A node as CLUES sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// CLUES' word for its state.
    pub state: String,
    /// Whether CLUES may use it.
    pub enabled: bool,
    /// Whether Kubernetes puts nothing new on it.
    pub cordoned: bool,
}

impl FrontEnds {
    /// A user starts a server; it runs once there is a node with room.
    pub fn start_server(&self, infrastructure: &str, user: &str, size: ServerSize) {
        self.shared.change(infrastructure, |cluster| {
            let size = (size.cpu_milli, size.memory);
            cluster.servers.push(Server::new(user, size, None));
        });
    }

    /// A user's server ends.
    pub fn stop_server(&self, infrastructure: &str, user: &str) {
        self.shared.change(infrastructure, |cluster| {
            cluster.servers.retain(|server| server.user != user);
        });
    }

    /// Lets users come and go by themselves, by a pattern that the seed fixes; `None` lets them all
    /// go.
    pub fn set_load(&self, infrastructure: &str, seed: Option<u64>) {
        self.shared.change(infrastructure, |cluster| {
            if let Some(load) = &cluster.load {
                let gone: Vec<&String> = load.users().collect();
                cluster.servers.retain(|s| !gone.contains(&&s.user));
            }
            cluster.load = seed.map(Load::new);
        });
    }

    /// Lets users come and go from eight o'clock of a day of the week on; 0 is Monday.
    pub fn set_load_on(&self, infrastructure: &str, seed: u64, day: u32) {
        self.set_load(infrastructure, None);
        self.shared.change(infrastructure, |cluster| {
            cluster.load = Some(Load::new(seed).beginning_on(day));
        });
    }

    /// The time of the week in which these users live, such as `Mon 09:05`; `None` if there are
    /// none.
    pub fn load_clock(&self, infrastructure: &str) -> Option<String> {
        let clock = |cluster: &super::state::Cluster| cluster.load.as_ref().map(Load::clock);
        self.shared.look(infrastructure, clock).flatten()
    }

    /// The servers of users and the node of each.
    pub fn servers(&self, infrastructure: &str) -> Vec<(String, Option<String>)> {
        let servers = self.shared.look(infrastructure, |cluster| {
            let of = |server: &Server| (server.user.clone(), server.node.clone());
            cluster.servers.iter().map(of).collect()
        });
        servers.unwrap_or_default()
    }

    /// The nodes that CLUES knows.
    pub fn nodes(&self, infrastructure: &str) -> Vec<NodeView> {
        let of = |(name, node): (&String, &WorkerNode)| NodeView {
            name: name.clone(),
            state: node.state.word().to_owned(),
            enabled: !node.disabled,
            cordoned: node.joined && node.cordoned,
        };
        let nodes = self.shared.look(infrastructure, |cluster| {
            cluster.clues.nodes.iter().map(of).collect()
        });
        nodes.unwrap_or_default()
    }

    /// Cores and bytes that the running `cluesd` believes of a node that is off.
    pub fn believed_size(&self, infrastructure: &str) -> Option<(u64, u64)> {
        self.shared.look(infrastructure, |cluster| {
            let config = &cluster.clues.config;
            (config.slots, config.memory)
        })
    }

    /// `cluesd` dies.
    pub fn kill_clues(&self, infrastructure: &str) {
        self.shared
            .change(infrastructure, |cluster| cluster.clues.down = true);
    }

    /// `cluesd` comes back and reads its files.
    pub fn start_clues(&self, infrastructure: &str) {
        clues::start(&self.shared, infrastructure);
    }

    /// An administrator powers a node on or off with CLUES.
    pub fn power(&self, infrastructure: &str, node: &str, on: bool) {
        let done = if on {
            clues::power_on(&self.shared, infrastructure, node)
        } else {
            clues::power_off(&self.shared, infrastructure, node)
        };
        tracing::debug!(done, node, "an administrator powers a node");
    }

    /// An administrator lets CLUES use a node, or not.
    pub fn set_enabled(&self, infrastructure: &str, node: &str, enabled: bool) {
        self.shared.change(infrastructure, |cluster| {
            if let Some(node) = cluster.clues.nodes.get_mut(node) {
                node.disabled = !enabled;
            }
        });
    }

    /// CLUES gives up to power a node on, as it does when it failed as often as it may.
    pub fn give_up(&self, infrastructure: &str, node: &str) {
        self.shared.change(infrastructure, |cluster| {
            let retries = cluster.clues.config.retries;
            if let Some(node) = cluster.clues.nodes.get_mut(node) {
                node.on_fails = retries;
                node.set(PowerState::OffErr);
            }
        });
    }

    /// The kubelet of a node stops answering, or answers again.
    pub fn set_not_ready(&self, infrastructure: &str, node: &str, not_ready: bool) {
        self.shared.change(infrastructure, |cluster| {
            if let Some(node) = cluster.clues.nodes.get_mut(node) {
                node.not_ready = not_ready;
            }
        });
    }

    /// The IM that CLUES asks for nodes; once, before front ends start.
    pub fn use_workers(&self, im: std::sync::Arc<dyn crate::machines::Workers>) {
        if self.shared.im.set(im).is_err() {
            tracing::warn!("the front ends have an IM already");
        }
    }
}
