//! The paths of the API.
//!
//! Source: `IM/rest/routers/*.py` of IM 2.0.0; the order of the checks is theirs too (the body is
//! parsed before the login is looked at).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::answer::{
    self, Failure, NO_SUCH_INFRASTRUCTURE, NO_SUCH_VM, Output, media_types, not_one_of, respond,
};
use super::auth::{Authorization, CloudKind, Owner, Refusal};
use super::design::Design;
use super::state::{ImState, Infrastructure};
use super::{Inner, change, life, radl, site, tosca, vm};

/// The longest template that is taken, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

type Shared = State<Arc<Inner>>;
type Params = Query<HashMap<String, String>>;

/// The templates that it serves, by name.
pub(super) const TEMPLATES: [(&str, &str); 4] = [
    ("kubernetes.yaml", include_str!("templates/kubernetes.yaml")),
    (
        "kubernetes_elastic.yaml",
        include_str!("templates/kubernetes_elastic.yaml"),
    ),
    ("prometheus.yaml", include_str!("templates/prometheus.yaml")),
    ("daskhub.yaml", include_str!("templates/daskhub.yaml")),
];

pub(super) fn router(im: Arc<Inner>) -> Router {
    let property = get(read_property).put(operate).post(change_owner);
    let machine = get(read_vm).delete(remove_vms);
    let infrastructure = get(read).post(update).delete(destroy);
    Router::new()
        .route("/version", get(version))
        .route("/tosca/{name}", get(template))
        .route("/infrastructures", get(list).post(create))
        .route("/infrastructures/{id}", infrastructure)
        .route("/infrastructures/{id}/{property}", property)
        .route("/infrastructures/{id}/vms/{vm}", machine)
        .route(
            "/infrastructures/{id}/vms/{vm}/{property}",
            get(read_vm_property),
        )
        .route("/infrastructures/{id}/vms/{vm}/start", put(start_vm))
        .route("/infrastructures/{id}/vms/{vm}/stop", put(stop_vm))
        .route("/infrastructures/{id}/vms/{vm}/reboot", put(reboot_vm))
        .route("/clouds/{id}/{property}", get(read_cloud))
        .fallback(|| async { detail(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(im)
}

fn detail(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({ "detail": text }))).into_response()
}

/// A flag of the query, as `FastAPI` reads one.
fn flag(params: &HashMap<String, String>, name: &str, default: bool) -> bool {
    params.get(name).map_or(default, |value| {
        matches!(
            value.to_lowercase().as_str(),
            "1" | "true" | "yes" | "on" | "t" | "y"
        )
    })
}

impl Inner {
    fn login(&self, headers: &HeaderMap) -> Result<(Authorization, Owner), Failure> {
        let authorization = Authorization::of(headers)?;
        let owner = authorization.owner(self.checkin.as_deref())?;
        Ok((authorization, owner))
    }

    /// Runs on an infrastructure of the one who asks.
    fn on<T>(
        &self,
        headers: &HeaderMap,
        id: &str,
        run: impl FnOnce(&mut Infrastructure, &Authorization) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (authorization, owner) = self.login(headers)?;
        let mut state = self.state.change();
        let found = state.infrastructures.get_mut(id);
        let infrastructure = found.ok_or(NO_SUCH_INFRASTRUCTURE)?;
        if !infrastructure.owners.contains(&owner) {
            return Err(Failure::NotOurs);
        }
        run(infrastructure, &authorization)
    }

    fn uri(&self, id: &str) -> String {
        format!("{}/infrastructures/{id}", self.url)
    }

    fn vm_uris(&self, id: &str, numbers: impl Iterator<Item = u32>) -> Output {
        let uri = self.uri(id);
        Output::Uris(numbers.map(|n| format!("{uri}/vms/{n}")).collect())
    }
}

/// The template in a body, by its media type.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Design, Failure> {
    let text = String::from_utf8_lossy(body);
    let mut types = media_types(headers, header::CONTENT_TYPE);
    if types.is_empty() {
        types.push("text/plain".to_owned());
    }
    let is = |known: &[&str]| types.iter().any(|t| known.contains(&t.as_str()));
    let parsed = if text.is_empty() {
        Ok(Design::default())
    } else if is(&["application/json"]) {
        Err("Expecting value: line 1 column 1 (char 0)".to_owned())
    } else if is(&["text/yaml"]) {
        tosca::read(&text).map_err(|error| format!("Error parsing TOSCA template: {error}"))
    } else if is(&["text/plain", "*/*", "text/*"]) {
        radl::read(&text)
    } else {
        return Err(unsupported_media_type(&types));
    };
    parsed.map_err(|error| Failure::Plain(400, format!("Error parsing request body: {error}")))
}

fn unsupported_media_type(types: &[String]) -> Failure {
    let shown = format!("['{}']", types.join("', '"));
    Failure::Plain(415, format!("Unsupported Media Type {shown}"))
}

async fn version(headers: HeaderMap) -> Response {
    let output = Output::Text("2.0.0".to_owned(), "version");
    respond(&headers, answer::INFO, None, Ok(output))
}

async fn template(State(im): Shared, Path(name): Path<String>) -> Response {
    let changes = im.template_changes.load(Ordering::Relaxed);
    match TEMPLATES.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => {
            let version = format!("template_version: \"1.0.{changes}\"");
            let text = text.replacen("template_version: \"1.0.0\"", &version, 1);
            ([(header::CONTENT_TYPE, "text/yaml")], text).into_response()
        }
        None => detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}

async fn list(State(im): Shared, headers: HeaderMap) -> Response {
    let result = im.login(&headers).map(|(_, owner)| {
        let state = im.state.read();
        let after = im.speed().listing;
        let ours = state.infrastructures.values();
        let mut ours: Vec<&Infrastructure> = ours
            .filter(|i| i.owners.contains(&owner) && i.is_listed(after))
            .collect();
        ours.sort_by_key(|infrastructure| infrastructure.number);
        Output::Uris(ours.iter().map(|i| im.uri(&i.id)).collect())
    });
    respond(&headers, answer::LIST, None, result)
}

async fn create(
    State(im): Shared,
    Query(params): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let result = parse(&headers, &body).and_then(|design| {
        let (authorization, owner) = im.login(&headers)?;
        if flag(&params, "dry_run", false) {
            return Ok((None, estimate(&authorization, &design)));
        }
        let cloud = authorization.cloud();
        let id = {
            let mut state = im.state.change();
            new_infrastructure(&mut state, owner, design, &authorization)
        };
        life::launch(&im, id.clone(), cloud);
        let uri = im.uri(&id);
        Ok((Some(id), Output::Uri(uri)))
    });
    match result {
        Ok((id, output)) => respond(&headers, answer::CREATE, id.as_deref(), Ok(output)),
        Err(failure) => respond(&headers, answer::CREATE, None, Err(failure)),
    }
}

fn estimate(authorization: &Authorization, design: &Design) -> Output {
    let Some(cloud) = authorization.cloud() else {
        return Output::Json(json!({}));
    };
    if design.systems.is_empty() {
        return Output::Json(json!({}));
    }
    let (compute, storage) = design.estimate();
    let (kind, endpoint) = match cloud.kind {
        CloudKind::Dummy => ("Dummy", "http://:80".to_owned()),
        CloudKind::Site => ("OpenStack", cloud.host.clone()),
    };
    Output::Json(json!({ cloud.id: {
        "cloudType": kind, "cloudEndpoint": endpoint, "compute": compute, "storage": storage,
    }}))
}

fn new_infrastructure(
    state: &mut ImState,
    owner: Owner,
    design: Design,
    authorization: &Authorization,
) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    state.created += 1;
    let mut infrastructure = Infrastructure {
        number: state.created,
        id: id.clone(),
        owners: vec![owner],
        design,
        cloud: authorization.cloud(),
        vms: Vec::new(),
        next_vm: 0,
        contmsg: String::new(),
        adding: true,
        deleting: false,
        failed: false,
        configured: 0,
        configuration: 0,
        created_at: Some(std::time::Instant::now()),
    };
    for system in infrastructure.design.systems.clone() {
        for _ in 0..system.count {
            infrastructure.add_vm(&system.name);
        }
    }
    state.infrastructures.insert(id.clone(), infrastructure);
    id
}

async fn read(State(im): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let result = im.on(&headers, &id, |i, _| {
        Ok(im.vm_uris(&id, i.vms.iter().map(|vm| vm.number)))
    });
    respond(&headers, answer::INFO, None, result)
}

async fn update(
    State(im): Shared,
    Path(id): Path<String>,
    Query(params): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let context = flag(&params, "context", true);
    let result = parse(&headers, &body).and_then(|design| {
        im.on(&headers, &id, |i, authorization| {
            Ok((change::update(i, design)?, authorization.cloud()))
        })
    });
    let result = result.map(|(updated, cloud)| {
        change::after_update(&im, &id, cloud, &updated, context);
        im.vm_uris(&id, updated.added.into_iter())
    });
    respond(
        &headers,
        answer::ADD,
        context.then_some(id.as_str()),
        result,
    )
}

async fn destroy(State(im): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let result = im.on(&headers, &id, |i, _| {
        if i.adding {
            return Err(Failure::Conflict);
        }
        i.deleting = true;
        Ok(())
    });
    let result = result.map(|()| {
        life::delete(&im, id.clone());
        Output::Empty
    });
    respond(&headers, answer::DESTROY, None, result)
}

async fn read_property(
    State(im): Shared,
    Path((id, property)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    const KNOWN: [&str; 7] = [
        "contmsg",
        "radl",
        "tosca",
        "state",
        "outputs",
        "data",
        "authorization",
    ];
    let result = if KNOWN.contains(&property.as_str()) {
        im.on(&headers, &id, |i, _| property_of(i, &property))
    } else {
        Err(not_one_of("prop", &property, &KNOWN))
    };
    respond(&headers, answer::PROPERTY, None, result)
}

fn property_of(infrastructure: &Infrastructure, property: &str) -> Result<Output, Failure> {
    let not_valid = || {
        let text =
            format!("'{property}' infrastructure property is not valid in this infrastructure");
        Failure::Plain(403, text)
    };
    match property {
        "contmsg" => Ok(Output::Text(infrastructure.contmsg.clone(), "contmsg")),
        "state" => {
            let states: serde_json::Map<String, Value> = infrastructure
                .vms
                .iter()
                .map(|vm| (vm.number.to_string(), json!(vm.state.word())))
                .collect();
            let state = json!({"state": infrastructure.state(), "vm_states": states});
            Ok(Output::Json(json!({ "state": state })))
        }
        "radl" => Ok(Output::Radl {
            text: radl::design_text(&infrastructure.design),
            json: Value::Array(radl::networks_json(&infrastructure.design)),
        }),
        "tosca" => {
            let document = infrastructure.design.tosca.as_ref().ok_or_else(not_valid)?;
            let text = serde_saphyr::to_string(document)
                .map_err(|error| Failure::Bad(error.to_string()))?;
            Ok(Output::Text(text, "tosca"))
        }
        "outputs" => {
            let outputs = change::outputs(infrastructure).ok_or_else(not_valid)?;
            Ok(Output::Json(json!({ "outputs": outputs })))
        }
        "authorization" => {
            let owners = infrastructure.owners.iter();
            let names = owners.map(|owner| owner.username.clone()).collect();
            Ok(Output::Lines(names, "authorization"))
        }
        // The real one gives everything, passwords included; nobody may need it here.
        _ => Ok(Output::Json(json!({ "data": { "id": infrastructure.id } }))),
    }
}

async fn operate(
    State(im): Shared,
    Path((id, operation)): Path<(String, String)>,
    Query(params): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = match operation.as_str() {
        "reconfigure" => answer::RECONFIGURE,
        "start" => answer::START,
        "stop" => answer::STOP,
        _ => {
            let failure = not_one_of("op", &operation, &["start", "stop"]);
            return respond(&headers, answer::START, None, Err(failure));
        }
    };
    if operation != "reconfigure" {
        let result = im.on(&headers, &id, |i, _| change::power(i, None, &operation));
        return respond(&headers, call, None, result.map(|()| Output::Empty));
    }
    let bad_list = params
        .get("vm_list")
        .is_some_and(|list| list.split(',').any(|n| n.parse::<u32>().is_err()));
    let result = parse(&headers, &body).and_then(|_| {
        if bad_list {
            let text = "Incorrect vm_list format.".to_owned();
            return Err(Failure::Plain(400, text));
        }
        im.on(&headers, &id, |_, _| Ok(()))
    });
    let result = result.map(|()| {
        im.state.change().reconfigured += 1;
        life::configure(&im, id.clone());
        Output::Empty
    });
    respond(&headers, call, Some(&id), result)
}

async fn change_owner(
    State(im): Shared,
    Path((id, property)): Path<(String, String)>,
    Query(params): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if property != "authorization" {
        return detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let types = media_types(&headers, header::CONTENT_TYPE);
    let result = if types.is_empty() || types.iter().any(|t| t == "application/json") {
        serde_json::from_slice::<Value>(&body).map_err(|_not_json| {
            let text = "Expecting value: line 1 column 1 (char 0)";
            Failure::Plain(400, format!("Error parsing auth data: {text}"))
        })
    } else {
        Err(unsupported_media_type(&types))
    };
    let result = result.and_then(|new| {
        im.on(&headers, &id, |i, _| {
            let checkin = im.checkin.as_deref();
            let owner = Authorization::of_json(&new).owner(checkin);
            let owner = owner.map_err(|refusal| match refusal {
                Refusal::Invalid(text) => {
                    Failure::Bad(format!("Invalid new infrastructure data provided: {text}"))
                }
                other @ (Refusal::NoHeader | Refusal::Other(_)) => other.into(),
            })?;
            // IM can take one owner away only by replacing them all.
            if flag(&params, "overwrite", false) {
                i.owners.clear();
            }
            if !i.owners.contains(&owner) {
                i.owners.push(owner);
            }
            Ok(Output::Empty)
        })
    });
    // Its words are not the same for both.
    let call = if matches!(&result, Err(Failure::Missing(_))) {
        answer::NO_OWNERS
    } else {
        answer::OWNERS
    };
    respond(&headers, call, None, result)
}

async fn read_vm(
    State(im): Shared,
    Path((id, number)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let result = im.on(&headers, &id, |i, _| {
        let objects = vm::objects(i, find_vm(i, &number)?);
        Ok(Output::Radl {
            text: radl::text(&objects),
            json: Value::Array(objects),
        })
    });
    respond(&headers, answer::VM, None, result)
}

fn find_vm<'a>(
    infrastructure: &'a Infrastructure,
    number: &str,
) -> Result<&'a super::state::Vm, Failure> {
    let number: u32 = number.parse().map_err(|_not_a_number| NO_SUCH_VM)?;
    let missing = || {
        if number < infrastructure.next_vm {
            Failure::Missing("Deleted VM.")
        } else {
            NO_SUCH_VM
        }
    };
    infrastructure.vm(number).ok_or_else(missing)
}

async fn read_vm_property(
    State(im): Shared,
    Path((id, number, property)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let result = im.on(&headers, &id, |i, _| {
        let vm = find_vm(i, &number)?;
        match property.as_str() {
            "contmsg" if vm.number == 0 && !i.is_dummy() => {
                Ok(Output::Text(i.contmsg.clone(), "contmsg"))
            }
            "contmsg" => Ok(Output::Text(String::new(), "contmsg")),
            "state" => Ok(Output::Text(vm.state.word().to_owned(), "state")),
            _ => {
                let objects = vm::objects(i, vm);
                let system = objects.last().cloned().unwrap_or_default();
                let value = system
                    .get(&property)
                    .or_else(|| system.get(format!("{property}_min")));
                let text = value.map_or_else(|| "None".to_owned(), tosca::shown);
                Ok(Output::Text(text, "property"))
            }
        }
    });
    respond(&headers, answer::VM_PROPERTY, None, result)
}

async fn remove_vms(
    State(im): Shared,
    Path((id, numbers)): Path<(String, String)>,
    Query(params): Params,
    headers: HeaderMap,
) -> Response {
    let result = im.on(&headers, &id, |i, _| change::remove(i, &numbers));
    let result = result.map(|()| {
        if flag(&params, "context", true) {
            life::configure(&im, id.clone());
        }
        Output::Empty
    });
    respond(&headers, answer::REMOVE, None, result)
}

async fn start_vm(im: Shared, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    power_vm(&im, path, headers, ("start", answer::START_VM))
}

async fn stop_vm(im: Shared, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    power_vm(&im, path, headers, ("stop", answer::STOP_VM))
}

async fn reboot_vm(im: Shared, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    power_vm(&im, path, headers, ("reboot", answer::REBOOT_VM))
}

fn power_vm(
    State(im): &Shared,
    Path((id, number)): Path<(String, String)>,
    headers: HeaderMap,
    (word, call): (&str, answer::Call),
) -> Response {
    let result = im.on(&headers, &id, |i, _| {
        let number = find_vm(i, &number)?.number;
        change::power(i, Some(number), word)?;
        Ok(Output::Empty)
    });
    respond(&headers, call, None, result)
}

async fn read_cloud(
    State(im): Shared,
    Path((id, property)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let result = if matches!(property.as_str(), "images" | "quotas") {
        im.login(&headers).and_then(|(authorization, _)| {
            let cloud = authorization
                .cloud_with_id(&id)
                .ok_or_else(|| Failure::Bad(format!("Cloud ID {id} not found.")))?;
            if let Some(text) = site::login_refusal(&im, &cloud) {
                return Err(Failure::Bad(text));
            }
            let value = match property.as_str() {
                "images" => site::images(&cloud),
                _ => site::quotas(&cloud, &im.state.read()),
            };
            Ok(Output::Json(json!({ property.as_str(): value })))
        })
    } else {
        Err(not_one_of("param", &property, &["images", "quotas"]))
    };
    respond(&headers, answer::CLOUD, None, result)
}
