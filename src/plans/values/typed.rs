//! Changes of what has a type: limits, worker options, notebooks, the image; and overlays.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Before, Wanted, Wish};
use crate::commands::value::Options;
use crate::domain::deploy::{DeployOptions, MachineSize, NotebookImage};
use crate::domain::size::Size;
use crate::domain::values::change::Make;
use crate::domain::values::python::{Choice, DaskLimits, WorkerOptions};
use crate::domain::values::secrets::holds_secret;
use crate::domain::values::text::{Edit, Path, overlay};
use crate::domain::yaml;

/// Where the two Python sources stand.
const SOURCES: [&str; 3] = ["dask-gateway", "gateway", "extraConfig"];

fn source_path(block: &str) -> Path {
    Path::of(&SOURCES).below(block)
}

fn notebook_path(below: &[&str]) -> Path {
    let start = Path::of(&["jupyterhub", "singleuser"]);
    below.iter().fold(start, |path, key| path.below(key))
}

/// A change from what stands there.
fn edit_to(before: &Before, path: Path, new: impl Into<Value>) -> Edit {
    Edit {
        old: path.find(&before.tree).cloned(),
        new: Some(new.into()),
        path,
    }
}

fn number(options: &Options, name: &str) -> Option<u32> {
    options
        .integer(name)
        .and_then(|number| u32::try_from(number).ok())
}

fn by_hand(block: &str) -> Vec<String> {
    vec![format!(
        "the source of `{block}` was changed by hand and is kept as it is; change it with `/pangeo values edit`"
    )]
}

fn none_given(options: &[&str]) -> Vec<String> {
    let names: Vec<String> = options.iter().map(|name| format!("`{name}`")).collect();
    vec![format!("give at least one of {}", names.join(", "))]
}

pub(super) fn limits(before: &Before, options: &Options) -> Wish {
    const NAMES: [&str; 4] = ["cores", "memory", "workers", "idle-timeout"];
    if !NAMES.iter().any(|name| options.is_given(name)) {
        return Err(none_given(&NAMES));
    }
    let path = source_path("dasklimits");
    let mut warnings = Vec::new();
    let mut limits = match path.find(&before.tree) {
        Some(Value::String(source)) => {
            DaskLimits::parse(source).map_err(|_hand_made| by_hand("dasklimits"))?
        }
        Some(_) => return Err(by_hand("dasklimits")),
        None => {
            warnings.push("there were no limits; those not given are the howto's".to_owned());
            DaskLimits::howto()
        }
    };
    if let Some(cores) = number(options, "cores") {
        limits.cluster_max_cores = cores;
    }
    if let Some(memory) = options.size("memory") {
        limits.cluster_max_memory = memory.clone();
    }
    if let Some(workers) = number(options, "workers") {
        limits.cluster_max_workers = workers;
    }
    if let Some(minutes) = number(options, "idle-timeout") {
        limits.idle_timeout = Duration::from_mins(u64::from(minutes));
    }
    warnings.extend(limits_warning(before, &limits));
    let edit = edit_to(before, path, limits.to_python());
    Ok(Wanted {
        make: Make::Edits { edits: vec![edit] },
        chart: None,
        summary: format!(
            "Change what one Dask cluster of `{}` may take",
            before.cluster.name
        ),
        warnings,
    })
}

/// A worker that does not fit into the limits never starts.
fn limits_warning(before: &Before, limits: &DaskLimits) -> Option<String> {
    let source = source_path("optionHandler");
    let options = WorkerOptions::parse(source.find(&before.tree)?.as_str()?).ok()?;
    (options.cores.max > limits.cluster_max_cores).then(|| {
        format!(
            "People may choose workers of {} cores, more than the {} of a whole cluster",
            options.cores.max, limits.cluster_max_cores
        )
    })
}

/// The worker options that stand in the values, if they were not written by hand.
fn known_worker_options(before: &Before) -> Result<WorkerOptions, Vec<String>> {
    let path = source_path("optionHandler");
    let source = path.find(&before.tree).and_then(Value::as_str);
    source
        .and_then(|source| WorkerOptions::parse(source).ok())
        .ok_or_else(|| by_hand("optionHandler"))
}

pub(super) fn worker_options(before: &Before, options: &Options) -> Wish {
    const NAMES: [&str; 8] = [
        "cores",
        "cores-min",
        "cores-max",
        "memory",
        "memory-min",
        "memory-max",
        "image",
        "tag",
    ];
    let mut wanted = known_worker_options(before)?;
    if !NAMES.iter().any(|name| options.is_given(name)) {
        // As the button of an alert asks for it.
        let most = most_on_a_worker(before).unwrap_or((u32::MAX, u32::MAX));
        let small = WorkerOptions {
            cores: at_most(wanted.cores, most.0),
            memory_gib: at_most(wanted.memory_gib, most.1),
            ..wanted.clone()
        };
        if small == wanted {
            let mut problems = none_given(&NAMES);
            problems
                .push("nothing that people may choose is more than a worker node has".to_owned());
            return Err(problems);
        }
        wanted = small;
    }
    let mut problems = Vec::new();
    let names = ["cores", "memory"];
    for (name, choice) in names
        .iter()
        .zip([&mut wanted.cores, &mut wanted.memory_gib])
    {
        *choice = Choice {
            default: number(options, name).unwrap_or(choice.default),
            min: number(options, &format!("{name}-min")).unwrap_or(choice.min),
            max: number(options, &format!("{name}-max")).unwrap_or(choice.max),
        };
        if choice.min > choice.default || choice.default > choice.max {
            problems.push(format!(
                "`{name}`: the default {} must lie between {} and {}",
                choice.default, choice.min, choice.max
            ));
        }
    }
    match image_of(options, &wanted.image) {
        Some(image) => wanted.image = image.to_string(),
        None => problems.push("`image`: give its `tag` too".to_owned()),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let edit = edit_to(before, source_path("optionHandler"), wanted.to_python());
    Ok(Wanted {
        make: Make::Edits { edits: vec![edit] },
        chart: None,
        summary: format!(
            "Change what people of `{}` may choose for Dask workers",
            before.cluster.name
        ),
        warnings: Vec::new(),
    })
}

/// The size of a worker node; that of an adopted cluster may not be known.
fn worker_of(before: &Before) -> Option<MachineSize> {
    let options = before.cluster.options.clone();
    let options: DeployOptions = serde_json::from_value(options).ok()?;
    Some(options.worker)
}

/// The most cores and GiB that a pod on a worker node can get for sure, in whole numbers, beside what the
/// system takes.
fn most_on_a_worker(before: &Before) -> Option<(u32, u32)> {
    let worker = worker_of(before)?;
    let gib = u32::try_from(worker.memory.bytes() >> 30).unwrap_or(u32::MAX);
    let most = (worker.cpus.saturating_sub(1), gib.saturating_sub(1));
    (most.0 > 0 && most.1 > 0).then_some(most)
}

fn at_most(choice: Choice, most: u32) -> Choice {
    Choice {
        default: choice.default.min(most),
        min: choice.min.min(most),
        max: choice.max.min(most),
    }
}

/// The image that the options and the one before (`name:tag`) give together.
fn image_of(options: &Options, before: &str) -> Option<NotebookImage> {
    let (name, tag) = before.rsplit_once(':')?;
    Some(NotebookImage {
        name: options.text("image").unwrap_or_else(|| name.to_owned()),
        tag: options.text("tag").unwrap_or_else(|| tag.to_owned()),
    })
}

pub(super) fn notebook(before: &Before, options: &Options) -> Wish {
    const NAMES: [&str; 5] = [
        "cpu-guarantee",
        "cpu-limit",
        "memory-guarantee",
        "memory-limit",
        "start-timeout",
    ];
    let cpu = |name: &str, key| {
        number(options, name).map(|cores| edit_to(before, notebook_path(&["cpu", key]), cores))
    };
    let memory = |name: &str, key| {
        let path = notebook_path(&["memory", key]);
        options
            .size(name)
            .map(|size| edit_to(before, path, size.quantity()))
    };
    let timeout = number(options, "start-timeout")
        .map(|seconds| edit_to(before, notebook_path(&["startTimeout"]), seconds));
    let mut edits: Vec<Edit> = [
        cpu("cpu-guarantee", "guarantee"),
        cpu("cpu-limit", "limit"),
        memory("memory-guarantee", "guarantee"),
        memory("memory-limit", "limit"),
        timeout,
    ]
    .into_iter()
    .flatten()
    .collect();
    if edits.is_empty() {
        // As the button of an alert asks for it.
        edits = what_fits(before);
    }
    if edits.is_empty() {
        let mut problems = none_given(&NAMES);
        problems.push("no more is guaranteed than a worker node has".to_owned());
        return Err(problems);
    }
    let mut problems = too_little(before, &edits);
    problems.extend(too_much(before, &edits));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Wanted {
        make: Make::Edits { edits },
        chart: None,
        summary: format!("Change what a notebook of `{}` gets", before.cluster.name),
        warnings: vec![
            "running notebooks keep what they have until they are started anew".to_owned(),
        ],
    })
}

/// What a notebook would get, in cores or bytes; `None` if the values do not say.
#[expect(clippy::cast_precision_loss, reason = "sizes are only compared")]
fn amount(before: &Before, edits: &[Edit], keys: &[&str]) -> Option<f64> {
    let path = notebook_path(keys);
    let edited = edits.iter().find(|edit| edit.path == path);
    let value = match edited {
        Some(edit) => edit.new.as_ref(),
        None => path.find(&before.tree),
    }?;
    match value.as_str() {
        Some(text) => Size::parse(&format!("{text}B"))
            .ok()
            .map(|size| size.bytes() as f64),
        None => value.as_f64(),
    }
}

/// Guarantees lowered to the most that a pod on a worker node can get.
fn what_fits(before: &Before) -> Vec<Edit> {
    const GIB: f64 = 1_073_741_824.0;
    let Some((cores, gib)) = most_on_a_worker(before) else {
        return Vec::new();
    };
    let parts = [
        ("cpu", f64::from(cores), Value::from(cores)),
        ("memory", f64::from(gib) * GIB, format!("{gib}Gi").into()),
    ];
    let parts = parts.into_iter().filter(|(what, most, _)| {
        amount(before, &[], &[what, "guarantee"]).is_some_and(|wants| wants > *most)
    });
    parts
        .map(|(what, _, most)| edit_to(before, notebook_path(&[what, "guarantee"]), most))
        .collect()
}

/// As much guaranteed as a whole worker node has: no notebook would ever start.
#[expect(clippy::cast_precision_loss, reason = "sizes are only compared")]
fn too_much(before: &Before, edits: &[Edit]) -> Vec<String> {
    let Some(worker) = worker_of(before) else {
        return Vec::new();
    };
    [
        ("cpu", f64::from(worker.cpus)),
        ("memory", worker.memory.bytes() as f64),
    ]
    .into_iter()
    .filter(|(what, has)| {
        amount(before, edits, &[what, "guarantee"]).is_some_and(|wants| wants >= *has)
    })
    .map(|(what, _has)| {
        format!(
            "`{what}-guarantee`: no notebook would ever fit on a worker node of {} CPUs and {}, which needs some for itself as well; lower it",
            worker.cpus, worker.memory
        )
    })
    .collect()
}

/// Limits below what is guaranteed; Kubernetes would refuse every notebook.
fn too_little(before: &Before, edits: &[Edit]) -> Vec<String> {
    let mut problems = Vec::new();
    for what in ["cpu", "memory"] {
        let guarantee = amount(before, edits, &[what, "guarantee"]);
        let limit = amount(before, edits, &[what, "limit"]);
        if let (Some(guarantee), Some(limit)) = (guarantee, limit)
            && limit < guarantee
        {
            problems.push(format!(
                "`{what}-limit`: it is less than what is guaranteed; raise it or lower `{what}-guarantee`"
            ));
        }
    }
    problems
}

/// The image that notebooks shall run; `None` if the values name none and not all is given.
pub(super) fn image_wanted(before: &Before, options: &Options) -> Option<NotebookImage> {
    let text = |keys: &[&str]| {
        let path = notebook_path(keys);
        path.find(&before.tree)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let (name, tag) = (text(&["image", "name"]), text(&["image", "tag"]));
    let name = options.text("image").or(name);
    let tag = options.text("tag").or(tag);
    let (name, tag) = name.zip(tag)?;
    Some(NotebookImage { name, tag })
}

pub(super) fn image(before: &Before, options: &Options) -> Wish {
    if !options.is_given("image") && !options.is_given("tag") {
        return Err(none_given(&["image", "tag"]));
    }
    let Some(image) = image_wanted(before, options) else {
        return Err(vec![
            "the values name no image yet; give both `image` and `tag`".to_owned(),
        ]);
    };
    let mut edits = vec![
        edit_to(
            before,
            notebook_path(&["image", "name"]),
            image.name.clone(),
        ),
        edit_to(before, notebook_path(&["image", "tag"]), image.tag.clone()),
    ];
    let mut warnings = Vec::new();
    match known_worker_options(before) {
        Ok(mut workers) => {
            workers.image = image.to_string();
            edits.push(edit_to(before, source_path("optionHandler"), workers.to_python()));
        }
        Err(_hand_made) => warnings.push(
            "the default image of Dask workers stands in a source that was changed by hand; it stays as it is"
                .to_owned(),
        ),
    }
    if notebook_path(&["profileList"]).find(&before.tree).is_some() {
        warnings.push(
            "the images of `profileList` stay as they are; see `/pangeo values show`".to_owned(),
        );
    }
    if image.tag == "latest" {
        warnings.push(format!(
            "the image `{image}` changes without notice; a fixed tag makes results repeatable"
        ));
    }
    Ok(Wanted {
        make: Make::Edits { edits },
        chart: None,
        summary: format!(
            "Run `{image}` in notebooks and Dask workers of `{}`",
            before.cluster.name
        ),
        warnings,
    })
}

pub(super) fn edit(before: &Before, over: &SecretString) -> Wish {
    let over = yaml::read_plain(over.expose_secret()).map_err(|_error| {
        vec!["the YAML can't be used: write one document, at most 24 deep, without anchors and aliases".to_owned()]
    })?;
    if !over.is_object() {
        return Err(vec![
            "write a mapping from the top, such as `jupyterhub:` with `singleuser:` below"
                .to_owned(),
        ]);
    }
    let edits = overlay(&before.tree, &over);
    let secret: Vec<String> = edits
        .iter()
        .filter(|edit| {
            edit.new
                .as_ref()
                .is_some_and(|new| holds_secret(&edit.path, new))
        })
        .map(|edit| {
            format!(
                "`{}` is or holds a secret; those do not go through the chat",
                edit.path
            )
        })
        .collect();
    if !secret.is_empty() {
        return Err(secret);
    }
    // A secret must not get into the plan as the old value of a place either.
    let edits = edits.into_iter().map(|edit| Edit {
        old: edit
            .old
            .map(|old| crate::domain::values::secrets::shown(&edit.path, &old)),
        ..edit
    });
    Ok(Wanted {
        make: Make::Edits {
            edits: edits.collect(),
        },
        chart: None,
        summary: format!("Lay changes over the values of `{}`", before.cluster.name),
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::commands::Catalogue;
    use crate::commands::options::parse_options;
    use crate::commands::value::RawValue;
    use crate::domain::chart::Chart;
    use crate::domain::cluster::Phase;
    use crate::domain::cluster::tests::cluster;
    use crate::operations::start::known_steps;
    use crate::services::helm::{LiveValues, Release, ReleaseStatus};

    fn before(text: &str) -> Before {
        let tree = yaml::read(text).unwrap();
        Before {
            cluster: cluster("geo", Phase::Running),
            chart: Chart::configured("2024.1.1"),
            newest: Some(SecretString::from(text)),
            live: LiveValues {
                release: Release {
                    revision: 1,
                    status: ReleaseStatus::Deployed,
                    chart: "daskhub-2024.1.1".to_owned(),
                    app_version: String::new(),
                    description: String::new(),
                },
                tree: tree.clone(),
            },
            tree,
            schemas: Arc::default(),
        }
    }

    const CHECK_IN: &str = include_str!("../../domain/values/expected/check-in.yaml");

    fn options(command: &str, given: &[(&str, &str)]) -> Options {
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let mut raw: BTreeMap<String, RawValue> = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), RawValue::from(*value)))
            .collect();
        raw.insert("name".to_owned(), RawValue::from("geo"));
        parse_options(catalogue.get(command).unwrap(), &raw).unwrap()
    }

    fn edits(wish: Wish) -> Vec<Edit> {
        let Make::Edits { edits } = wish.unwrap_or_else(|problems| panic!("{problems:?}")).make
        else {
            panic!("no edits");
        };
        edits
    }

    #[test]
    fn the_image_changes_in_all_its_places() {
        let before = before(CHECK_IN);
        let edits = edits(image(
            &before,
            &options("values image", &[("tag", "2024.01.15")]),
        ));
        let text = crate::domain::values::text::edited(CHECK_IN, &edits).unwrap();
        assert_eq!(text.matches("2024.01.15").count(), 2, "{text}");
        assert!(!text.contains("2022.09.21"));
    }

    #[test]
    fn limits_that_were_written_by_hand_are_kept() {
        let own = CHECK_IN.replace("cluster_max_cores = 6", "cluster_max_cores = 2 * 3");
        let given = options("values limits", &[("cores", "8")]);
        let problems = limits(&before(&own), &given).err().unwrap();
        assert!(problems[0].contains("changed by hand"), "{problems:?}");
        let nothing = options("values limits", &[]);
        let problems = limits(&before(CHECK_IN), &nothing).err().unwrap();
        assert!(problems[0].contains("at least one of"), "{problems:?}");
    }

    #[test]
    fn what_can_never_start_is_refused() {
        let given = options("values notebook", &[("memory-limit", "1 GB")]);
        let problems = notebook(&before(CHECK_IN), &given).err().unwrap();
        assert!(problems[0].contains("`memory-limit`"), "{problems:?}");
        let mut before = before(CHECK_IN);
        let options_of_deploy = crate::domain::deploy::tests::options();
        before.cluster.options = serde_json::to_value(options_of_deploy).unwrap();
        let given = options(
            "values notebook",
            &[("memory-limit", "64 GB"), ("memory-guarantee", "32 GB")],
        );
        let problems = notebook(&before, &given).err().unwrap();
        let says =
            "`memory-guarantee`: no notebook would ever fit on a worker node of 8 CPUs and 32 GB";
        assert!(problems[0].starts_with(says), "{problems:?}");
        let given = options("values notebook", &[("memory-limit", "64 GB")]);
        assert!(notebook(&before, &given).is_ok(), "a limit is no demand");
        let given = options(
            "values worker-options",
            &[("cores-max", "2"), ("cores", "3")],
        );
        let problems = worker_options(&before, &given).err().unwrap();
        assert!(problems[0].contains("between 1 and 2"), "{problems:?}");
    }

    #[test]
    fn without_options_only_what_no_worker_has_is_lowered() {
        let options_of_deploy = crate::domain::deploy::tests::options();
        let of_deploy = |text: &str| {
            let mut before = before(text);
            before.cluster.options = serde_json::to_value(&options_of_deploy).unwrap();
            before
        };
        let given = options("values notebook", &[]);
        let problems = notebook(&of_deploy(CHECK_IN), &given).err().unwrap();
        assert!(
            problems[1].contains("than a worker node has"),
            "{problems:?}"
        );
        let values = "jupyterhub: {singleuser: {cpu: {guarantee: 2}, memory: {guarantee: 64G}}}";
        let edits = edits(notebook(&of_deploy(values), &given));
        assert_eq!(edits.len(), 1);
        assert_eq!(
            edits[0].path.to_string(),
            "jupyterhub.singleuser.memory.guarantee"
        );
        assert_eq!(edits[0].new, Some("28Gi".into()));

        let given = options("values worker-options", &[]);
        let problems = worker_options(&of_deploy(CHECK_IN), &given).err().unwrap();
        assert!(
            problems[1].contains("than a worker node has"),
            "{problems:?}"
        );
        let mut large = known_worker_options(&of_deploy(CHECK_IN)).unwrap();
        large.cores.max = 64;
        let source = large.to_python();
        let tree = serde_json::json!({"dask-gateway": {"gateway": {"extraConfig": {"optionHandler": source}}}});
        let before = of_deploy(&yaml::write(&tree).unwrap());
        let Make::Edits { edits } = worker_options(&before, &given).unwrap().make else {
            panic!("no edits");
        };
        let new = edits[0].new.as_ref().and_then(Value::as_str).unwrap();
        assert_eq!(WorkerOptions::parse(new).unwrap().cores.max, 7);
    }

    #[test]
    fn an_overlay_is_refused_with_secrets_aliases_or_bombs() {
        let lay = |text: &str| edit(&before(CHECK_IN), &SecretString::from(text));
        let good = edits(lay("jupyterhub:\n  cull:\n    timeout: 900\n"));
        assert_eq!(good[0].path.to_string(), "jupyterhub.cull.timeout");
        for (bad, why) in [
            ("jupyterhub:\n  proxy:\n    secretToken: abc", "secretToken"),
            ("a: &x 1\nb: *x", "can't be used"),
            ("[1, 2]", "mapping"),
            ("a: [", "can't be used"),
            ("a: 1\n---\nb: 2", "can't be used"),
            (&"[".repeat(3_000), "can't be used"),
            (&"{a: ".repeat(900), "can't be used"),
            ("a: 1\nb: \0", "can't be used"),
        ] {
            let problems = lay(bad)
                .err()
                .unwrap_or_else(|| panic!("{bad:?} was taken"));
            assert!(problems[0].contains(why), "{bad:?}: {problems:?}");
            assert!(!problems[0].contains("abc"), "{problems:?}");
        }
    }
}
