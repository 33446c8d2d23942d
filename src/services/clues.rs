//! CLUES on the front end of a cluster: its command `clues`, its service `cluesd`, its files.
//!
//! Source: grycap/clues @ 6ef8cf4 of 2025-10-20. What a command did is read from what it printed:
//! `clues` ends with 0 when it can't reach `cluesd`, and `clues enable` with 255 always.
//!
//! **Invariant:** files are replaced whole, by one that lay beside them, with owner and mode kept,
//! and only if they are still what was read; so no reader ever sees half a file, and nobody's
//! change is lost.
//!
//! `cluesd` reads `kubernetes_vnodes.info` at each look, its other files when it starts.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::frontend::{Frontend, FrontendError, Replaced, tail};
use crate::domain::clues::status::{self, NodeRow, StatusError};
use crate::domain::clues::vnodes::{Vnodes, VnodesError};
use crate::domain::clues::{NodeName, NodeSize, ini, quantity};

/// The nodes that CLUES may power on.
pub const VNODES: &str = "/etc/clues2/kubernetes_vnodes.info";

/// How large CLUES believes a node to be.
pub const NODE_CFG: &str = "/etc/clues2/conf.d/plugin-kubernetes.cfg";

/// Everything else.
pub const CLUES_CFG: &str = "/etc/clues2/clues2.cfg";

/// The files have a few kilobytes.
const FILE_LIMIT: usize = 256 * 1024;

/// How long a command may take: CLUES asks IM before it answers.
const ACT_LIMIT: Duration = Duration::from_secs(150);

/// What can be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make its machine.
    PowerOn,
    /// Delete its machine.
    PowerOff,
    /// Let CLUES use it.
    Enable,
    /// Let CLUES not use it.
    Disable,
    /// Forget that it could not be powered on.
    Reset,
}

impl Act {
    /// The word of `clues`.
    pub fn word(self) -> &'static str {
        match self {
            Self::PowerOn => "poweron",
            Self::PowerOff => "poweroff",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Reset => "resetstate",
        }
    }

    /// What `clues` prints when it did it (`cluesserver`, `clueslib/cluesd.py`).
    fn success(self) -> &'static str {
        match self {
            Self::PowerOn => "powered on",
            Self::PowerOff => "powered off",
            Self::Enable => "successfully enabled",
            Self::Disable => "successfully disabled",
            Self::Reset => "reset to",
        }
    }
}

/// What can be done with `cluesd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// Read the files.
    Restart,
    /// Change nothing for a while.
    Stop,
}

/// Why CLUES could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CluesError {
    /// The front end could not be used.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// Its table can't be read.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// It did not do what it was asked for.
    #[error("CLUES did not {} {node}: {text}", act.word())]
    Refused {
        /// What was asked.
        act: Act,
        /// The node.
        node: NodeName,
        /// The end of what it said.
        text: String,
    },
    /// Its list of nodes can't be used.
    #[error("{VNODES} can't be used")]
    Vnodes(#[source] VnodesError),
    /// A file lacks something or says nonsense.
    #[error("{path} can't be used: {why}")]
    BadFile {
        /// The file.
        path: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A file is not what it was any more.
    #[error("{path} was changed meanwhile")]
    Changed {
        /// The file.
        path: &'static str,
    },
}

impl CluesError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Frontend(error) => error.is_transient(),
            // It is away for a moment while it restarts.
            Self::Status(StatusError::NotRunning) => true,
            Self::Status(StatusError::NotATable { .. } | StatusError::TooMany)
            | Self::Refused { .. }
            | Self::Vnodes(_)
            | Self::BadFile { .. }
            | Self::Changed { .. } => false,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Frontend(error) => error.hint(),
            Self::Status(StatusError::NotRunning) => {
                "start it on the front end with `sudo service cluesd restart`, then retry"
            }
            Self::Status(_) => "run `clues status` on the front end and see what it says",
            Self::Refused { .. } => {
                "CLUES' log says why, often IM's quota or an expired token; mend it, then retry"
            }
            Self::Vnodes(_) | Self::BadFile { .. } => "mend the file on the front end, then retry",
            Self::Changed { .. } => "run the command again for a new plan",
        }
    }
}

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileText {
    path: &'static str,
    /// Its text.
    pub text: String,
}

/// CLUES of one cluster.
#[derive(Clone, Debug)]
pub struct Clues {
    frontend: Arc<Frontend>,
}

impl Clues {
    /// Over a connection to the front end.
    pub fn on(frontend: Arc<Frontend>) -> Self {
        Self { frontend }
    }

    /// The table of nodes.
    ///
    /// # Errors
    /// [`StatusError::NotRunning`] when `cluesd` is dead.
    pub async fn status(&self) -> Result<Vec<NodeRow>, CluesError> {
        let output = self.frontend.run(&["sudo", "clues", "status"]).await?;
        let mut text = output.text();
        if output.truncated {
            return Err(StatusError::TooMany.into());
        }
        if text.trim().is_empty() {
            text = output.error_text();
        }
        Ok(status::parse(&text)?)
    }

    /// Does something with a node. CLUES answers when it has asked IM, not when it is done.
    ///
    /// # Errors
    /// [`CluesError::Refused`] with what CLUES said.
    pub async fn act(&self, act: Act, node: &NodeName) -> Result<(), CluesError> {
        let args = ["sudo", "clues", act.word(), node.as_str()];
        let output = self.frontend.run_within(&args, &[], ACT_LIMIT).await?;
        let said = output.text();
        if said.contains("Could not connect to CLUES server") {
            return Err(StatusError::NotRunning.into());
        }
        if said.contains(act.success()) {
            return Ok(());
        }
        let text = if said.trim().is_empty() {
            output.error_text()
        } else {
            tail(said.as_bytes(), 300)
        };
        Err(CluesError::Refused {
            act,
            node: node.clone(),
            text,
        })
    }

    /// Restarts or stops `cluesd`.
    ///
    /// # Errors
    /// When `service` says that it failed.
    pub async fn daemon(&self, what: Daemon) -> Result<(), CluesError> {
        let verb = match what {
            Daemon::Restart => "restart",
            Daemon::Stop => "stop",
        };
        let args = ["sudo", "service", "cluesd", verb];
        self.frontend.run_ok(&args, &[]).await?;
        Ok(())
    }

    /// Reads one of the files above.
    ///
    /// # Errors
    /// When it is missing or no text.
    pub async fn read(&self, path: &'static str) -> Result<FileText, CluesError> {
        let bytes = self.frontend.read_from(path, 0, FILE_LIMIT).await?;
        let bad = |why: &str| CluesError::BadFile {
            path,
            why: why.to_owned(),
        };
        if bytes.len() >= FILE_LIMIT {
            return Err(bad("it is too long"));
        }
        let text = String::from_utf8(bytes).map_err(|_content| bad("it is not text"))?;
        Ok(FileText { path, text })
    }

    /// Replaces a file that was read; a text that is the same is not written.
    ///
    /// # Errors
    /// [`CluesError::Changed`] when it is not what was read any more.
    pub async fn replace(&self, old: &FileText, text: &str) -> Result<(), CluesError> {
        if old.text == text {
            return Ok(());
        }
        let digest = hex::encode(Sha256::digest(old.text.as_bytes()));
        let bytes = text.as_bytes();
        match self.frontend.replace(old.path, &digest, bytes).await? {
            Replaced::Done => Ok(()),
            Replaced::ChangedMeanwhile => Err(CluesError::Changed { path: old.path }),
        }
    }
}

/// The nodes of [`VNODES`].
///
/// # Errors
/// When it is no list of nodes.
pub fn vnodes_of(file: &FileText) -> Result<Vnodes, CluesError> {
    Vnodes::parse(&file.text).map_err(CluesError::Vnodes)
}

/// The size of a node in [`NODE_CFG`]; CLUES takes 1 core and 1 GiB where it says nothing.
///
/// # Errors
/// When it is not a size.
pub fn node_size_of(file: &FileText) -> Result<NodeSize, CluesError> {
    let value = |key: &str| ini::get(&file.text, "KUBERNETES", key);
    let bad = |key: &str, value: &str| CluesError::BadFile {
        path: NODE_CFG,
        why: format!("{key} is {:?}", value.chars().take(40).collect::<String>()),
    };
    let slots = match value(SLOTS) {
        None => 1,
        Some(text) => text.parse().map_err(|_number| bad(SLOTS, text))?,
    };
    let memory = match value(MEMORY) {
        None => 1 << 30,
        Some(text) => clues_bytes(text).ok_or_else(|| bad(MEMORY, text))?,
    };
    Ok(NodeSize { slots, memory })
}

const SLOTS: &str = "KUBERNETES_NODE_SLOTS";
const MEMORY: &str = "KUBERNETES_NODE_MEMORY";

/// `_get_memory_in_bytes` of `cluesplugins/kubernetes.py`: every unit is binary.
fn clues_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_lowercase();
    let bare = lower.trim_end_matches('b').trim_end_matches('i');
    let (number, unit) = match bare.strip_suffix(['k', 'm', 'g', 't']) {
        Some(number) => (number, bare.get(number.len()..)?),
        None => (bare, ""),
    };
    let unit = match unit {
        "k" => "Ki",
        "m" => "Mi",
        "g" => "Gi",
        "t" => "Ti",
        _none => "",
    };
    quantity::bytes(&format!("{}{unit}", number.trim()))
}

/// The text of [`NODE_CFG`] with another size.
///
/// # Errors
/// When the file can't be changed safely.
pub fn with_node_size(file: &FileText, size: NodeSize) -> Result<String, CluesError> {
    let bad = |error: ini::IniError| CluesError::BadFile {
        path: NODE_CFG,
        why: error.to_string(),
    };
    let (slots, memory) = (size.slots.to_string(), size.memory.to_string());
    let text = ini::set(&file.text, "KUBERNETES", SLOTS, &slots).map_err(bad)?;
    ini::set(&text, "KUBERNETES", MEMORY, &memory).map_err(bad)
}

/// `EXTRA_NODES_FREE` of [`CLUES_CFG`]: how many nodes are kept without work.
///
/// # Errors
/// When it is no number.
pub fn extra_free_of(file: &FileText) -> Result<u32, CluesError> {
    match ini::get(&file.text, "scheduling", EXTRA) {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_number| CluesError::BadFile {
            path: CLUES_CFG,
            why: format!("{EXTRA} is {:?}", text.chars().take(40).collect::<String>()),
        }),
    }
}

const EXTRA: &str = "EXTRA_NODES_FREE";

/// The text of [`CLUES_CFG`] with another number of nodes kept free.
///
/// # Errors
/// When the file can't be changed safely.
pub fn with_extra_free(file: &FileText, number: u32) -> Result<String, CluesError> {
    ini::set(&file.text, "scheduling", EXTRA, &number.to_string()).map_err(|error| {
        CluesError::BadFile {
            path: CLUES_CFG,
            why: error.to_string(),
        }
    })
}

/// How long a node may be idle before CLUES gives it back, in seconds.
pub fn idle_time_of(file: &FileText) -> Option<u64> {
    let text = ini::get(&file.text, "scheduling", "IDLE_TIME")?;
    text.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &'static str, text: &str) -> FileText {
        FileText {
            path,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_size_of_a_node_is_read_and_changed() {
        let text = "[KUBERNETES]\nKUBERNETES_TOKEN=abc\nKUBERNETES_NODE_MEMORY=1073741824\nKUBERNETES_NODE_SLOTS=1\n";
        let cfg = file(NODE_CFG, text);
        let small = NodeSize {
            slots: 1,
            memory: 1 << 30,
        };
        assert_eq!(node_size_of(&cfg).unwrap(), small);
        let large = NodeSize {
            slots: 8,
            memory: 33_567_285_248,
        };
        let made = with_node_size(&cfg, large).unwrap();
        assert!(
            made.contains(
                "TOKEN=abc\nKUBERNETES_NODE_MEMORY=33567285248\nKUBERNETES_NODE_SLOTS=8\n"
            )
        );
        assert_eq!(node_size_of(&file(NODE_CFG, &made)).unwrap(), large);
    }

    #[test]
    fn memory_is_read_as_clues_reads_it() {
        for (text, bytes) in [
            ("1073741824", 1 << 30),
            ("1 GB", 1 << 30),
            ("2Gi", 2 << 30),
            ("3mib", 3 << 20),
            ("4k", 4 << 10),
        ] {
            assert_eq!(clues_bytes(text), Some(bytes), "{text}");
        }
        for bad in ["", "x", "-1", "1.5.5"] {
            assert_eq!(clues_bytes(bad), None, "{bad}");
        }
        assert_eq!(node_size_of(&file(NODE_CFG, "")).unwrap().memory, 1 << 30);
        assert!(
            node_size_of(&file(
                NODE_CFG,
                "[KUBERNETES]\nKUBERNETES_NODE_SLOTS=many\n"
            ))
            .is_err()
        );
    }

    #[test]
    fn nodes_kept_free_are_read_and_changed() {
        let cfg = file(
            CLUES_CFG,
            "[scheduling]\nIDLE_TIME=900\nEXTRA_NODES_FREE=0\n",
        );
        assert_eq!(extra_free_of(&cfg).unwrap(), 0);
        assert_eq!(idle_time_of(&cfg), Some(900));
        let made = with_extra_free(&cfg, 2).unwrap();
        assert_eq!(made, "[scheduling]\nIDLE_TIME=900\nEXTRA_NODES_FREE=2\n");
    }
}
