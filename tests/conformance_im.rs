//! Every call that our client makes is one that Infrastructure Manager's own API description has:
//! method, path and query parameters. Needs `CONFORMANCE_DATA`.
#![cfg(test)]

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use pangeo_bot::domain::names::InfrastructureId;
use pangeo_bot::services::http;
use pangeo_bot::services::im::{
    CloudCredential, Contextualize, DeleteMode, ImClient, ImCredentials, ImLogin, Power, Template,
};
use sandbox::im::{Im, ImOptions, SpeedOptions};
use sandbox::machines::{Machine, MachineRequest, Machines};
use secrecy::SecretString;
use serde_json::Value;

/// A cloud without machines: only the calls matter here.
struct NoMachines;

impl Machines for NoMachines {
    fn start(&self, request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Machine>> {
        Box::pin(async move { anyhow::bail!("no machine for {}", request.infrastructure) })
    }

    fn configured<'a>(
        &'a self,
        _infrastructure: &'a str,
        _host: Option<&'a str>,
        _points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop<'a>(&'a self, _infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

const RADL: &str = "system front (cpu.count>=1)\ndeploy front 1\ncontextualize ()";

/// Makes every call once; what they answer is the contract suite's matter.
async fn call_everything(client: &ImClient) {
    let template = || Template::radl(RADL);
    let id = client.create(&template()).await.unwrap();
    let missing = InfrastructureId::parse("00000000-0000-0000-0000-000000000000").unwrap();
    for id in [&id, &missing] {
        drop(client.state(id).await);
        drop(client.contmsg(id, 0).await);
        drop(client.vm_contmsg(id, 0, 0).await);
        drop(client.outputs(id).await);
        drop(client.tosca(id).await);
        drop(client.vms(id).await);
        drop(client.vm(id, 0).await);
        drop(client.infra_name(id).await);
        drop(client.update(id, &template(), Contextualize::Skip).await);
        drop(client.reconfigure(id).await);
        drop(client.power_vm(id, 0, Power::Reboot).await);
        drop(client.power_all(id, Power::Stop).await);
        drop(client.owners(id).await);
        drop(client.delete_vms(id, &[7]).await);
        drop(client.delete(id, DeleteMode::Careful).await);
        drop(client.delete(id, DeleteMode::Force).await);
    }
    drop(client.version().await);
    drop(client.estimate(&template()).await);
    drop(client.list().await);
    drop(client.find_by_name("nobody").await);
    drop(client.quotas("dummy").await);
    drop(client.images("dummy").await);
}

/// The operation of the description that a request is, if it is one.
fn described<'a>(description: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let asked: Vec<&str> = path.split('/').collect();
    let paths = description.get("paths")?.as_object()?;
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == asked.len()
            && parts
                .iter()
                .zip(&asked)
                .all(|(part, asked)| part.starts_with('{') || part == asked)
    };
    // A literal path stands before one with a parameter: `…/state` before `…/{Property}`.
    let mut found: Vec<(&String, &Value)> = paths.iter().filter(|(path, _)| fits(path)).collect();
    found.sort_by_key(|(path, _)| path.matches('{').count());
    found.first()?.1.get(method.to_lowercase())
}

#[tokio::test]
#[ignore = "needs CONFORMANCE_DATA"]
async fn conformance_every_call_of_infrastructure_manager_is_described() {
    #[expect(clippy::disallowed_methods, reason = "tests read where the data is")]
    let data = std::env::var("CONFORMANCE_DATA").expect("CONFORMANCE_DATA names the folder");
    let text = std::fs::read_to_string(PathBuf::from(data).join("im-swagger.yaml")).unwrap();
    let description: Value = serde_saphyr::from_str(&text).unwrap();
    let im = Im::start(ImOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        state_file: None,
        speed: SpeedOptions::for_tests(),
        machines: Arc::new(NoMachines),
        dns: None,
        checkin: None,
    })
    .await
    .unwrap();
    let credentials = ImCredentials {
        login: ImLogin::Password {
            username: "user".to_owned(),
            password: SecretString::from("password"),
        },
        clouds: vec![CloudCredential::Dummy {
            id: "dummy".to_owned(),
        }],
    };
    let url = im.url().parse().unwrap();
    call_everything(&ImClient::new(
        http::client(None).unwrap(),
        url,
        credentials,
    ))
    .await;

    let requests = im.faults().requests();
    assert!(
        requests.len() > 30,
        "only {} calls were made",
        requests.len()
    );
    let mut wrong = Vec::new();
    for request in requests {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let Some(operation) = described(&description, &request.method, path) else {
            wrong.push(format!("{} {path} is not described", request.method));
            continue;
        };
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            let parameters = operation.get("parameters").and_then(Value::as_array);
            let known = parameters.into_iter().flatten().any(|parameter| {
                parameter.get("in").and_then(Value::as_str) == Some("query")
                    && parameter.get("name").and_then(Value::as_str) == Some(name.as_ref())
            });
            if !known {
                wrong.push(format!(
                    "{} {path} has no parameter `{name}`",
                    request.method
                ));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert_eq!(wrong, Vec::<String>::new());
}
