//! The Python sources inside the values: made from typed fields and read back.
//!
//! A source is read back only if making it again from what was read gives the same text; anything
//! else is somebody's own work, which is kept as it is and never rewritten.

use std::{sync::LazyLock, time::Duration};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::domain::{
    deploy::{Auth, NotebookImage},
    size::Size,
};

/// Where the native login finds its pages; a constant of the howto.
pub(super) const NATIVE_LOGIN_TEMPLATES: &str = "import os, nativeauthenticator\n\
    c.JupyterHub.template_paths = [f\"{os.path.dirname(nativeauthenticator.__file__)}/templates/\"]\n";

/// A source that was not made here, or that was changed by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of {block} was changed by hand; it is kept as it is")]
pub struct HandMade {
    /// Which block.
    pub block: &'static str,
}

/// What one Dask cluster may take: the block `dasklimits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaskLimits {
    /// Cores of all its workers together.
    pub cluster_max_cores: u32,
    /// Memory of all its workers together.
    pub cluster_max_memory: Size,
    /// How many workers.
    pub cluster_max_workers: u32,
    /// How long it may do nothing before it is stopped.
    pub idle_timeout: Duration,
}

impl DaskLimits {
    /// The howto's limits.
    pub fn howto() -> Self {
        Self {
            cluster_max_cores: 6,
            cluster_max_memory: Size::gb(24),
            cluster_max_workers: 4,
            idle_timeout: Duration::from_mins(30),
        }
    }

    /// The Python source.
    pub fn to_python(&self) -> String {
        format!(
            "c.ClusterConfig.cluster_max_cores = {}\n\
             c.ClusterConfig.cluster_max_memory = \"{}\"\n\
             c.ClusterConfig.cluster_max_workers = {}\n\
             c.ClusterConfig.idle_timeout = {}\n",
            self.cluster_max_cores,
            self.cluster_max_memory.spaced_quantity(),
            self.cluster_max_workers,
            self.idle_timeout.as_secs(),
        )
    }

    /// Reads the Python source back.
    ///
    /// # Errors
    /// [`HandMade`] when it is not what [`DaskLimits::to_python`] makes.
    pub fn parse(source: &str) -> Result<Self, HandMade> {
        let hand_made = HandMade {
            block: "dasklimits",
        };
        let value = |key: &str| {
            let prefix = format!("c.ClusterConfig.{key} = ");
            source.lines().find_map(|line| line.strip_prefix(&prefix))
        };
        let read = || {
            let memory = value("cluster_max_memory")?.trim_matches('"');
            Some(Self {
                cluster_max_cores: value("cluster_max_cores")?.parse().ok()?,
                cluster_max_memory: Size::parse(&format!("{memory}B")).ok()?,
                cluster_max_workers: value("cluster_max_workers")?.parse().ok()?,
                idle_timeout: Duration::from_secs(value("idle_timeout")?.parse().ok()?),
            })
        };
        read()
            .filter(|limits| same(&limits.to_python(), source))
            .ok_or(hand_made)
    }
}

/// A default and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What one gets without choosing.
    pub default: u32,
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// What people may choose for their Dask workers: the block `optionHandler`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOptions {
    /// Cores of a worker.
    pub cores: Choice,
    /// Memory of a worker, in GiB.
    pub memory_gib: Choice,
    /// The image when none is chosen, with its tag.
    pub image: String,
}

static CHOICES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"Integer\("worker_cores", default=(\d+), min=(\d+), max=(\d+), [^\n]*\n *Float\("worker_memory", default=(\d+), min=(\d+), max=(\d+), [^\n]*\n *String\("image", default="([^"\n]*)""#,
    )
    .ok()
});

impl WorkerOptions {
    /// The howto's options, by kind of login.
    pub fn howto(auth: Auth, image: &NotebookImage) -> Self {
        let (cores_max, memory, memory_max) = match auth {
            Auth::CheckIn(_) => (4, 2, 8),
            Auth::Native => (8, 4, 32),
        };
        Self {
            cores: Choice {
                default: 1,
                min: 1,
                max: cores_max,
            },
            memory_gib: Choice {
                default: memory,
                min: 2,
                max: memory_max,
            },
            image: image.to_string(),
        }
    }

    /// The Python source.
    pub fn to_python(&self) -> String {
        let Choice { default, min, max } = self.cores;
        let cores = format!("default={default}, min={min}, max={max}");
        let Choice { default, min, max } = self.memory_gib;
        let memory = format!("default={default}, min={min}, max={max}");
        let image = &self.image;
        format!(
            r#"from dask_gateway_server.options import Options, Integer, Float, String

def options_handler(options):
  if ":" not in options.image:
    raise ValueError("When specifying an image you must also provide a tag")
  return {{
    "worker_cores": options.worker_cores,
    "worker_memory": int(options.worker_memory * 2 ** 30),
    "image": options.image,
  }}

c.Backend.cluster_options = Options(
  Integer("worker_cores", {cores}, label="Worker Cores"),
  Float("worker_memory", {memory}, label="Worker Memory (GiB)"),
  String("image", default="{image}", label="Image"),
  handler=options_handler,
)
"#
        )
    }

    /// Reads the Python source back.
    ///
    /// # Errors
    /// [`HandMade`] when it is not what [`WorkerOptions::to_python`] makes.
    pub fn parse(source: &str) -> Result<Self, HandMade> {
        let hand_made = HandMade {
            block: "optionHandler",
        };
        let read = || {
            let found = CHOICES.as_ref()?.captures(source)?;
            let number = |index: usize| found.get(index)?.as_str().parse().ok();
            Some(Self {
                cores: Choice {
                    default: number(1)?,
                    min: number(2)?,
                    max: number(3)?,
                },
                memory_gib: Choice {
                    default: number(4)?,
                    min: number(5)?,
                    max: number(6)?,
                },
                image: found.get(7)?.as_str().to_owned(),
            })
        };
        read()
            .filter(|options| same(&options.to_python(), source))
            .ok_or(hand_made)
    }
}

/// Equal but for white space at the ends of lines and of the whole.
fn same(a: &str, b: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim().lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    lines(a) == lines(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deploy::CheckinInstance;

    #[test]
    fn what_is_made_is_read_back() {
        let limits = DaskLimits::howto();
        assert_eq!(DaskLimits::parse(&limits.to_python()), Ok(limits));
        let image = NotebookImage {
            name: "pangeo/pangeo-notebook".to_owned(),
            tag: "2022.09.21".to_owned(),
        };
        for auth in [Auth::Native, Auth::CheckIn(CheckinInstance::Demo)] {
            let options = WorkerOptions::howto(auth, &image);
            assert_eq!(WorkerOptions::parse(&options.to_python()), Ok(options));
        }
    }

    #[test]
    fn what_somebody_wrote_is_not_taken_for_ours() {
        let own = format!("{}c.Other = 1\n", DaskLimits::howto().to_python());
        assert!(DaskLimits::parse(&own).is_err());
        let own = DaskLimits::howto().to_python().replace("= 6", "= 2 * 3");
        assert!(DaskLimits::parse(&own).is_err());
        assert!(WorkerOptions::parse("").is_err());
    }
}
