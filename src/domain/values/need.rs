//! What a person on a hub asks a worker node for, read from the values.
//!
//! What does not stand there is the default of the charts: JupyterHub 1.2.0 and 3.2.1 keep 1 GiB for
//! a notebook and no core; Dask Gateway 2022.6.1 and 2024.1.0 give a worker and a scheduler one core
//! and 2 GiB each (`dask_gateway_server/backends/kubernetes`).

use serde_json::Value;

use super::python::WorkerOptions;
use super::text::Path;
use crate::domain::clues::quantity;
use crate::domain::event::Ask;

/// What Dask Gateway asks for where nothing is said; also for the scheduler of each Dask cluster.
pub const DASK_DEFAULT: Ask = Ask {
    cpu_milli: 1000,
    memory: 2 << 30,
};

/// What is kept for one notebook.
pub fn notebook(tree: &Value) -> Ask {
    let guarantee = |what: &str| {
        let path = Path::of(&["jupyterhub", "singleuser", what, "guarantee"]);
        path.find(tree).and_then(as_text)
    };
    Ask {
        cpu_milli: guarantee("cpu")
            .and_then(|text| quantity::cpu_milli(&text))
            .unwrap_or(0),
        memory: guarantee("memory")
            .and_then(|text| byte_specification(&text))
            .unwrap_or(1 << 30),
    }
}

/// What a Dask worker asks for that somebody starts without choosing; `None` if the values do not
/// say it in a way that the bot reads.
pub fn worker(tree: &Value) -> Option<Ask> {
    let path = Path::of(&["dask-gateway", "gateway", "extraConfig", "optionHandler"]);
    let source = path.find(tree)?.as_str()?;
    let options = WorkerOptions::parse(source).ok()?;
    Some(Ask {
        cpu_milli: u64::from(options.cores.default) * 1000,
        memory: u64::from(options.memory_gib.default) << 30,
    })
}

/// Whether each node that comes on pulls the image of notebooks before anybody wants it there.
pub fn pulls_ahead(tree: &Value) -> bool {
    let path = Path::of(&["jupyterhub", "prePuller", "continuous", "enabled"]);
    path.find(tree).and_then(Value::as_bool).unwrap_or(true)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Bytes as `JupyterHub` reads them: `2G` is 2 GiB (`jupyterhub/traitlets.py`, `ByteSpecification`).
fn byte_specification(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.ends_with(['K', 'M', 'G', 'T']) {
        return quantity::bytes(&format!("{text}i"));
    }
    quantity::bytes(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::yaml;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_howtos_values_say_what_a_person_needs() {
        let tree = yaml::read(include_str!("expected/check-in.yaml")).unwrap();
        let ask = |cpu_milli, memory| Ask { cpu_milli, memory };
        assert_eq!(notebook(&tree), ask(1000, 2 * GIB));
        assert_eq!(worker(&tree), Some(ask(1000, 2 * GIB)));
        assert!(pulls_ahead(&tree));
        let tree = yaml::read(include_str!("expected/native.yaml")).unwrap();
        assert_eq!(notebook(&tree), ask(2000, 4 * GIB));
        assert_eq!(worker(&tree), Some(ask(1000, 4 * GIB)));
    }

    #[test]
    fn what_is_not_said_is_the_charts_default() {
        let tree = json!({});
        let nothing = Ask {
            cpu_milli: 0,
            memory: GIB,
        };
        assert_eq!(notebook(&tree), nothing);
        assert_eq!(worker(&tree), None);
        let tree = json!({"jupyterhub": {
            "singleuser": {"cpu": {"guarantee": 0.5}, "memory": {"guarantee": "512M"}},
            "prePuller": {"continuous": {"enabled": false}},
        }});
        let half = Ask {
            cpu_milli: 500,
            memory: GIB / 2,
        };
        assert_eq!(notebook(&tree), half);
        assert!(!pulls_ahead(&tree));
    }

    #[test]
    fn bytes_are_read_as_jupyterhub_reads_them() {
        for (text, bytes) in [
            ("2G", Some(2 * GIB)),
            ("1.5G", Some(3 * GIB / 2)),
            ("512M", Some(GIB / 2)),
            ("2Gi", Some(2 * GIB)),
            ("1073741824", Some(GIB)),
            ("much", None),
        ] {
            assert_eq!(byte_specification(text), bytes, "{text}");
        }
    }
}
