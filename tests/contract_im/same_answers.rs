//! Both servers get the same requests and must give the same answers: status, content type, text.

use std::collections::BTreeMap;

use pangeo_bot::services::http;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::RADL;
use super::server::Server;

/// One request: method, path, headers, body. `{id}` in a path is a configured infrastructure.
struct Ask {
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
}

const USER: &str = "id = im; type = InfrastructureManager; username = same; password = p\\n\
                    id = dummy; type = Dummy";
const OTHER: &str = "type = InfrastructureManager; username = other; password = p";

const OTHER_JSON: &str = "{\"username\": \"other\", \"password\": \"p\"}";
const SAME_JSON: &str = "{\"username\": \"same\", \"password\": \"p\"}";

fn ask(method: Method, path: &'static str) -> Ask {
    Ask {
        method,
        path,
        headers: vec![("authorization", USER)],
        body: "",
    }
}

impl Ask {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    fn without_login(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != "authorization");
        self
    }

    fn body(mut self, content_type: &'static str, body: &'static str) -> Self {
        self.body = body;
        self.with("content-type", content_type)
    }
}

fn questions() -> Vec<Ask> {
    let get = |path| ask(Method::GET, path);
    let post = |path| ask(Method::POST, path);
    let put = |path| ask(Method::PUT, path);
    let delete = |path| ask(Method::DELETE, path);
    let mut all = vec![
        get("/version"),
        get("/version").with("accept", "application/json"),
        get("/nothing"),
        ask(Method::PATCH, "/infrastructures"),
        get("/infrastructures").without_login(),
        get("/infrastructures/{id}/state").without_login(),
        get("/infrastructures").with("authorization", "id = dummy; type = Dummy"),
        get("/infrastructures/{id}/state").with("authorization", "id = dummy; type = Dummy"),
        get("/infrastructures").with(
            "authorization",
            "type = InfrastructureManager; password = p",
        ),
        get("/infrastructures").with("authorization", "Bearer notajwt"),
        get("/infrastructures/{id}/state").with("authorization", "Bearer notajwt"),
        get("/infrastructures").with("authorization", "Basic b3RoZXI6cA=="),
        get("/infrastructures").with("authorization", OTHER),
        get("/infrastructures/{id}").with("authorization", OTHER),
        get("/infrastructures/{id}/vms/0").with("authorization", OTHER),
        get("/infrastructures"),
        get("/infrastructures").with("accept", "application/json"),
        get("/infrastructures/unknown").with("accept", "application/json"),
        get("/infrastructures/{id}").with("accept", "application/json"),
        get("/infrastructures/{id}/authorization"),
        get("/infrastructures/{id}/contmsg").with("accept", "application/json"),
        get("/infrastructures/{id}/contmsg").with("accept", "image/png"),
        get("/infrastructures/{id}/state").with("accept", "text/plain"),
        get("/infrastructures/{id}/state").with("accept", "text/plain, application/json;q=0.5"),
        get("/infrastructures/{id}/nothing"),
        get("/infrastructures/{id}/vms/x"),
        get("/infrastructures/{id}/vms/9").with("accept", "application/json"),
        get("/infrastructures/{id}/vms/0/state"),
        get("/infrastructures/{id}/vms/0/contmsg"),
        get("/infrastructures/{id}/vms/0/cpu.count"),
        get("/clouds/dummy/nothing"),
        get("/clouds/dummy/quotas").without_login(),
        get("/clouds/dummy/images"),
    ];
    for property in ["state", "contmsg", "outputs", "tosca"] {
        for id in ["{id}", "unknown"] {
            let path = format!("/infrastructures/{id}/{property}").leak();
            all.push(get(path));
        }
    }
    all.extend([
        post("/infrastructures").body("application/x-tar", "x"),
        post("/infrastructures")
            .body("application/x-tar", "x")
            .with("accept", "application/json"),
        post("/infrastructures").body("text/plain", "system front ("),
        post("/infrastructures").body("text/yaml", "just text"),
        post("/infrastructures")
            .body("application/yaml", "just text")
            .without_login(),
        post("/infrastructures?dry_run=1").body("text/plain", RADL),
        post("/infrastructures?dry_run=1"),
        post("/infrastructures/unknown").body("text/plain", RADL),
        post("/infrastructures/{id}/authorization")
            .body("text/plain", "x")
            .with("accept", "*/*"),
        post("/infrastructures/{id}/authorization").body("application/json", "{\"token\": \"x\"}"),
        post("/infrastructures/{id}/authorization").body("application/json", "notjson"),
        post("/infrastructures/{id}/authorization").body("application/json", "{}"),
        post("/infrastructures/{id}/authorization")
            .body("application/json", "{\"type\": \"Dummy\"}"),
        post("/infrastructures/{id}/authorization")
            .body("application/json", "{\"username\": \"__OPENID__x\"}"),
        post("/infrastructures/unknown/authorization").body("application/json", OTHER_JSON),
        post("/infrastructures/{id}/authorization")
            .body("application/json", OTHER_JSON)
            .with("authorization", OTHER),
        post("/infrastructures/{id}/authorization").body("application/json", OTHER_JSON),
        get("/infrastructures/{id}/authorization").with("authorization", OTHER),
        // Adding somebody again changes nothing.
        post("/infrastructures/{id}/authorization?overwrite=0")
            .body("application/json", OTHER_JSON),
        get("/infrastructures/{id}/authorization").with("accept", "application/json"),
        delete("/infrastructures/{id}/authorization"),
        put("/infrastructures/{id}/authorization"),
        // The list is replaced: who asks loses it, and gets it back.
        post("/infrastructures/{id}/authorization?overwrite=1")
            .body("application/json", OTHER_JSON),
        get("/infrastructures/{id}/authorization"),
        post("/infrastructures/{id}/authorization?overwrite=true")
            .body("application/json", SAME_JSON)
            .with("authorization", OTHER),
        get("/infrastructures/{id}/authorization"),
        put("/infrastructures/unknown/reconfigure"),
        put("/infrastructures/{id}/reconfigure?vm_list=x"),
        put("/infrastructures/{id}/reconfigure"),
        put("/infrastructures/{id}/reboot"),
        put("/infrastructures/unknown/stop"),
        put("/infrastructures/{id}/vms/9/start"),
        delete("/infrastructures/unknown"),
        delete("/infrastructures/{id}/vms/9"),
    ]);
    all
}

/// Everything of an answer that a client could look at.
async fn answer(url: &str, id: &str, ask: &Ask) -> String {
    let headers: HeaderMap = ask
        .headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let response = http::client(None)
        .unwrap()
        .request(
            ask.method.clone(),
            format!("{url}{}", ask.path.replace("{id}", id)),
        )
        .headers(headers)
        .body(ask.body)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let of = |name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let (content_type, infid) = (of("content-type"), of("infid"));
    let text = response.text().await.unwrap();
    // The order of keys in JSON says nothing.
    let text = match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&text) {
        Ok(object) => serde_json::to_string(&object).unwrap(),
        Err(_) => text,
    };
    format!("{status} {content_type:?} {infid:?} {text}")
        .replace(url, "URL")
        .replace(id, "ID")
}

async fn with_infrastructure(server: &Server) -> String {
    let created = Ask {
        method: Method::POST,
        path: "/infrastructures?async=1",
        headers: vec![("authorization", USER), ("content-type", "text/plain")],
        body: RADL,
    };
    let text = answer(&server.url, "{id}", &created).await;
    let id = text.rsplit('/').next().unwrap().to_owned();
    let state = ask(Method::GET, "/infrastructures/{id}/state");
    super::until(
        "configured",
        async || answer(&server.url, &id, &state).await,
        |text| text.contains("\"state\":\"configured\""),
    )
    .await;
    id
}

#[tokio::test]
async fn both_servers_answer_the_same() {
    let (sandbox, real) = (Server::sandbox().await, Server::real().await);
    let sandbox_id = with_infrastructure(&sandbox).await;
    let real_id = with_infrastructure(&real).await;
    let mut differences = Vec::new();
    for question in questions() {
        let expected = answer(&real.url, &real_id, &question).await;
        let given = answer(&sandbox.url, &sandbox_id, &question).await;
        if expected != given {
            let Ask { method, path, .. } = question;
            differences.push(format!(
                "{method} {path}\n  real    {expected}\n  sandbox {given}"
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} answers differ\n{}",
        differences.len(),
        differences.join("\n")
    );
}
