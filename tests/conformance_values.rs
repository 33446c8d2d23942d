//! What the bot renders, compared with the howto's own files, the charts' schemas and grycap's
//! templates.
//!
//! The data is not part of the project: `CONFORMANCE_DATA` names its folder, which
//! `scripts/fetch-conformance-data` fills. The tests are ignored unless `.ci/run` asks for them, so
//! that without the data they are counted as ignored and never as passed.

#![cfg(test)]

use std::path::PathBuf;

use chrono::NaiveDate;
use pangeo_bot::operations::start::known_steps;
use pangeo_bot::{
    app::render,
    commands::Catalogue,
    config::Config,
    domain::{
        tosca::Template,
        values::schema,
        values::text::{Edit, Path, edited},
        yaml,
    },
};
use serde_json::Value;

const CHECK_IN: &str = "render values --host pangeo.vm.fedcloud.eu --auth check-in \
    --check-in development --image pangeo/pangeo-notebook --tag 2022.09.21";
const NATIVE: &str = "render values --host pangeo.vm.fedcloud.eu --auth native";

#[expect(
    clippy::disallowed_methods,
    reason = "a test names its data by a variable"
)]
fn data(path: &str) -> PathBuf {
    let folder = std::env::var("CONFORMANCE_DATA")
        .expect("set CONFORMANCE_DATA to a folder that scripts/fetch-conformance-data filled");
    PathBuf::from(folder).join(path)
}

fn read(path: &str) -> String {
    let path = data(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(text: &str) -> Value {
    yaml::read(text).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// What `pangeo-bot <args>` prints.
fn printed(args: &str) -> Result<String, String> {
    let catalogue = Catalogue::built_in(&known_steps()).unwrap();
    let matches = render::command(&catalogue)
        .try_get_matches_from(args.split_whitespace())
        .unwrap();
    let today = NaiveDate::from_ymd_opt(2026, 9, 1).unwrap();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(render::render(
            &Config::default(),
            &catalogue,
            &matches,
            today,
        ))
        .map_err(|error| format!("{error:#}"))
}

fn tosca(more: &str) -> Value {
    let templates = data("tosca");
    let text = printed(&format!(
        "render tosca --host pangeo.vm.fedcloud.eu --email a@example.org --templates {} {more}",
        templates.display()
    ));
    document(&text.unwrap())
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_values_with_check_in_are_the_howtos() {
    assert_eq!(
        document(&printed(CHECK_IN).unwrap()),
        document(&read("values-checkin.yaml"))
    );
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_values_with_native_login_are_the_howtos() {
    assert_eq!(
        document(&printed(NATIVE).unwrap()),
        document(&read("values-native.yaml"))
    );
}

/// The values of the howto, and those of clusters in use that somebody put beside them.
fn files_of_values() -> Vec<PathBuf> {
    let mut files = vec![data("values-checkin.yaml"), data("values-native.yaml")];
    if let Ok(more) = std::fs::read_dir(data("values")) {
        let paths = more.map(|entry| entry.unwrap().path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")));
    }
    files
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_values_change_in_the_one_place_that_was_meant() {
    let path = Path::of(&["jupyterhub", "singleuser", "startTimeout"]);
    for file in files_of_values() {
        let before = std::fs::read_to_string(&file).unwrap();
        let mut wanted = document(&before);
        let old = path.find(&wanted).cloned();
        wanted["jupyterhub"]["singleuser"]["startTimeout"] = 777.into();
        let new = Some(777.into());
        let edit = Edit {
            path: path.clone(),
            old: old.clone(),
            new,
        };
        let after = edited(&before, &[edit]).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(document(&after), wanted, "{file:?}");
        if old.is_some() {
            let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
            assert_eq!(changed.count(), 1, "{file:?}");
            assert_eq!(before.lines().count(), after.lines().count(), "{file:?}");
        }
    }
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_values_validate_against_the_schemas_of_the_charts() {
    let mut checked = 0;
    for version in ["2022.8.2", "2024.1.1"] {
        for part in ["dask-gateway", "jupyterhub"] {
            let schema = read(&format!("schema/{version}/{part}.schema.json"));
            let schema: Value = serde_json::from_str(&schema).unwrap();
            let problems = |values: &Value| schema::problems(&schema, &values[part]).unwrap();
            for args in [CHECK_IN, NATIVE] {
                let problems = problems(&document(&printed(args).unwrap()));
                assert!(problems.is_empty(), "{part} {version}: {problems:#?}");
                checked += 1;
            }
            // The schema must not accept everything.
            let mut wrong = document(&printed(CHECK_IN).unwrap());
            wrong["jupyterhub"]["singleuser"]["cpu"]["limit"] = "many".into();
            wrong["dask-gateway"]["gateway"]["replicas"] = "many".into();
            assert_eq!(problems(&wrong).len(), 1, "{part} {version}");
        }
    }
    assert_eq!(checked, 8);
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_tosca_is_the_templates_with_nothing_changed_but_the_inputs() {
    let filled = tosca("--site-image ost://site/1");
    let parts = [
        "kubernetes.yaml",
        "kubernetes_elastic.yaml",
        "prometheus.yaml",
    ]
    .map(|file| document(&read(&format!("tosca/{file}"))));
    let changed = [
        "fe_cpus",
        "fe_mem",
        "wn_num",
        "wn_cpus",
        "wn_mem",
        "kube_admin_token",
        "kube_cert_manager",
        "kube_cert_user_email",
        "kube_public_dns_name",
        "kube_ingress_type",
        "max_wn_num",
        "min_wn_num",
        "admin_password",
    ];
    let inputs = filled["topology_template"]["inputs"].as_object().unwrap();
    for (name, input) in inputs {
        let mut original = Value::Null;
        for part in &parts {
            if let Some(found) = part["topology_template"]["inputs"].get(name) {
                original = found.clone();
            }
        }
        if changed.contains(&name.as_str()) {
            original["default"] = input["default"].clone();
        }
        assert_eq!(*input, original, "input {name}");
    }
    let default = |name: &str| &inputs[name]["default"];
    assert_eq!(*default("kube_ingress_type"), "nginx");
    assert_eq!(*default("kube_cert_manager"), true);
    assert_eq!(*default("fe_mem"), "16 GB");
    assert_eq!(*default("wn_cpus"), 8);
    assert_eq!(*default("admin_password"), "grafana_password");
    // The last template that names a node wins, as in the dashboard.
    let nodes = &filled["topology_template"]["node_templates"];
    assert!(nodes["wn_node"]["capabilities"]["wn"].is_object());
    assert_eq!(
        nodes["prometheus"],
        parts[2]["topology_template"]["node_templates"]["prometheus"]
    );
    assert_eq!(
        nodes["wn"]["capabilities"]["os"]["properties"]["image"],
        "ost://site/1"
    );
    assert_eq!(
        nodes["elastic_cluster_front_end"]["properties"]["im_auth"],
        "im_auth"
    );
    let outputs = filled["topology_template"]["outputs"].as_object().unwrap();
    assert!(outputs.contains_key("grafana_endpoint") && outputs.contains_key("api_endpoint"));
    assert_eq!(filled["metadata"]["infra_name"], "pangeo-pangeo");
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_tosca_of_the_daskhub_template_gets_image_and_token() {
    let filled = tosca("--method tosca --tag 2024.01.15");
    let inputs = &filled["topology_template"]["inputs"];
    assert_eq!(inputs["jupyterhub_image_tag"]["default"], "2024.01.15");
    assert_eq!(
        inputs["jupyterhub_image_name"]["default"],
        "pangeo/pangeo-notebook"
    );
    assert_eq!(inputs["jupyterhub_token"]["default"], "token1");
    let nodes = &filled["topology_template"]["node_templates"];
    assert!(nodes["dask"].is_object() && nodes["claim_pvc"].is_object());
}

#[test]
#[ignore = "needs CONFORMANCE_DATA"]
fn conformance_tosca_choices_come_from_the_templates() {
    let texts = [
        "kubernetes.yaml",
        "kubernetes_elastic.yaml",
        "prometheus.yaml",
    ]
    .map(|file| (file, read(&format!("tosca/{file}"))));
    let template = Template::merge(pangeo_bot::domain::deploy::Method::Helm, |name| {
        let found = texts.iter().find(|(file, _)| *file == name);
        found.map(|(_, text)| text.as_str())
    })
    .unwrap();
    assert_eq!(
        template.allowed("fe_cpus"),
        ["2", "4", "8", "16", "32", "64"]
    );
    assert_eq!(template.allowed("wn_mem").last().unwrap(), "512 GB");
    assert!(
        template
            .allowed("kube_version")
            .contains(&"1.28.15".to_owned())
    );
    assert!(!template.default_of("kube_version").unwrap().is_empty());

    let error = printed(&format!(
        "render tosca --host pangeo.vm.fedcloud.eu --email a@example.org --templates {} --worker-cpus 7 --kubernetes-version 1.23.11",
        data("tosca").display()
    ))
    .unwrap_err();
    assert!(
        error.contains("--worker-cpus: `7` is not offered"),
        "{error}"
    );
    assert!(
        error.contains("--kubernetes-version: `1.23.11` is not offered"),
        "{error}"
    );
}
