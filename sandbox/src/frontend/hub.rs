//! The pretend ingress of a cluster with the hub behind it.
//!
//! It shows the placeholder certificate of an ingress controller until IM configured the cluster
//! while its host name pointed there, which is when Let's Encrypt would give a real one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Json, Router};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::json;

use super::Shared;
use super::chart;
use super::hub_api;
use super::state::Workload;
use crate::tls::IssuedCertificate;

/// Where the hub's proxy has the Dask gateway.
const GATEWAY: &str = "/services/dask-gateway";

#[derive(Clone)]
struct Ingress {
    shared: Arc<Shared>,
    infrastructure: String,
}

/// The ingress of one cluster.
pub(super) fn router(shared: Arc<Shared>, infrastructure: &str) -> Router {
    Router::new().fallback(answer).with_state(Ingress {
        shared,
        infrastructure: infrastructure.to_owned(),
    })
}

async fn answer(State(ingress): State<Ingress>, request: Request) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(':').next())
        .unwrap_or_default()
        .to_owned();
    let path = request.uri().path().to_owned();
    let state = ingress.shared.look(&ingress.infrastructure, |cluster| {
        let version = cluster
            .deployed()
            .map(|r| chart::parts_of(&r.chart_version).1);
        let is_its_host = cluster.ingress_host().is_some_and(|own| own == host);
        (
            cluster.configured,
            version.filter(|_| is_its_host),
            cluster.workload.clone(),
            cluster.crashing.clone(),
        )
    });
    let Some((true, version, workload, crashing)) = state else {
        return (StatusCode::BAD_GATEWAY, "nothing is configured here\n").into_response();
    };
    if path.starts_with("/grafana") {
        return Html("<title>Grafana (simulated)</title><h1>Grafana</h1><p>This is a simulation.")
            .into_response();
    }
    let Some(version) = version else {
        return (StatusCode::NOT_FOUND, "default backend - 404").into_response();
    };
    let crashes = |is: fn(&str) -> bool| crashing.keys().any(|name| is(name));
    if path.starts_with(GATEWAY) && workload == Workload::Ready {
        return gateway(&path, crashes(|name| name.contains("dask-gateway")));
    }
    if workload != Workload::Ready || crashes(|name| matches!(name, "hub" | "proxy")) {
        let text = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>";
        return (StatusCode::SERVICE_UNAVAILABLE, Html(text)).into_response();
    }
    let asked = (request.method(), path.as_str(), request.headers());
    if let Some(answer) = hub_api::answer(&ingress.shared, &ingress.infrastructure, asked) {
        return answer;
    }
    match path.as_str() {
        "/" | "/hub" | "/hub/" => Redirect::to("/hub/login").into_response(),
        "/hub/login" => Html("<title>JupyterHub (simulated)</title><h1>Sign in with EGI Check-In</h1><p>This is a simulation.").into_response(),
        "/hub/api" | "/hub/api/" => Json(json!({ "version": version })).into_response(),
        "/hub/health" => StatusCode::OK.into_response(),
        _ => {
            let from_the_hub = [("x-jupyterhub-version", version)];
            (StatusCode::NOT_FOUND, from_the_hub, "404 : Not Found").into_response()
        }
    }
}

/// What the Dask gateway answers, or traefik for it.
fn gateway(path: &str, is_down: bool) -> Response {
    if is_down {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    }
    match path.strip_prefix(GATEWAY) {
        Some("/api/health") => Json(json!({ "status": "pass" })).into_response(),
        _ => (StatusCode::NOT_FOUND, Json(json!({ "error": "Not Found" }))).into_response(),
    }
}

/// Chooses the certificate by the host name that the client asks for.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) shared: Arc<Shared>,
    pub(super) infrastructure: String,
    pub(super) placeholder: IssuedCertificate,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().unwrap_or_default().to_owned();
        let certified = self
            .shared
            .look(&self.infrastructure, |cluster| {
                cluster.certified.contains(&asked)
            })
            .filter(|is_certified| *is_certified);
        match certified.and_then(|_yes| self.shared.certificate_of(&asked)) {
            Some(certificate) => Some(certificate.certified()),
            None => Some(self.placeholder.certified()),
        }
    }
}
