//! The rendered TOSCA document in the real Infrastructure Manager.
//!
//! IM comes from `PyPI`, as for `contract_im.rs`, and reads grycap's types from `CONFORMANCE_DATA`.
//! Two things are changed for it: the playbooks that the types name are on the web, so an empty one
//! takes their place; and `PyPI`'s `tosca-parser` refuses `get_attribute: [HOST, …]`, which the fork
//! in IM's own images takes, so `HOST` becomes the node that it stands for.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::NaiveDate;
use pangeo_bot::operations::start::known_steps;
use pangeo_bot::{
    app::render,
    commands::Catalogue,
    config::Config,
    services::{
        http,
        im::{CloudCredential, ImClient, ImCredentials, ImLogin, Template},
    },
};
use secrecy::SecretString;
use url::Url;

#[path = "contract_im/real.rs"]
mod real_server;

const TYPES: &str = "https://raw.githubusercontent.com/grycap/tosca/main/custom_types.yaml";
const PLAYBOOKS: &str = "https://raw.githubusercontent.com/grycap/tosca/main/artifacts/";

#[expect(
    clippy::disallowed_methods,
    reason = "a test names its data by a variable"
)]
fn data() -> PathBuf {
    let folder = std::env::var("CONFORMANCE_DATA")
        .expect("set CONFORMANCE_DATA to a folder that scripts/fetch-conformance-data filled");
    fs::canonicalize(folder).unwrap()
}

/// The text with every playbook of the web replaced by a file.
fn without_the_web(text: &str, playbook: &Path) -> String {
    let mut parts = text.split(PLAYBOOKS);
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        let rest = part.trim_start_matches(name);
        out += &format!("file://{}{rest}", playbook.display());
    }
    out
}

async fn rendered(more: &str) -> String {
    let catalogue = Catalogue::built_in(&known_steps()).unwrap();
    let args = format!(
        "render tosca --host pangeo.vm.fedcloud.eu --email a@example.org --templates {} {more}",
        data().join("tosca").display()
    );
    let matches = render::command(&catalogue)
        .try_get_matches_from(args.split_whitespace())
        .unwrap();
    let today = NaiveDate::from_ymd_opt(2026, 9, 1).unwrap();
    render::render(&Config::default(), &catalogue, &matches, today)
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "needs CONFORMANCE_DATA"]
async fn conformance_tosca_parses_in_the_real_im() {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("types-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&folder).unwrap();
    let playbook = folder.join("empty.yml");
    fs::write(&playbook, "- hosts: localhost\n  tasks: []\n").unwrap();
    let types = fs::read_to_string(data().join("custom_types.yaml")).unwrap();
    let types_file = folder.join("custom_types.yaml");
    fs::write(&types_file, without_the_web(&types, &playbook)).unwrap();

    let credentials = ImCredentials {
        login: ImLogin::Password {
            username: "conformance".to_owned(),
            password: SecretString::from("p"),
        },
        clouds: vec![CloudCredential::Dummy {
            id: "dummy".to_owned(),
        }],
    };
    let url = Url::parse(&real_server::url().await).unwrap();
    let im = ImClient::new(http::client(None).unwrap(), url, credentials);

    for more in [
        "",
        "--method tosca",
        "--worker-disk 50GiB --frontend-cpus 2",
    ] {
        let document = rendered(&format!("--site-image mock0://linux/1 {more}")).await;
        let document = without_the_web(&document, &playbook)
            .replace(TYPES, &format!("file://{}", types_file.display()))
            .replace("- HOST\n", "- front\n");
        let estimate = im
            .estimate(&Template::tosca(document))
            .await
            .unwrap_or_else(|error| panic!("{more}: {error}: {error:?}"));
        let totals = estimate.0["dummy"].totals();
        // The front end and the first worker node; CLUES adds the others.
        let cores = if more.contains("frontend-cpus") {
            10.0
        } else {
            12.0
        };
        assert_eq!((totals.instances, totals.public_ips), (2, 1), "{more}");
        assert_eq!((totals.cores, totals.memory_gb), (cores, 48.0), "{more}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
