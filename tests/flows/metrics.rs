//! `/metrics` after a deploy: everything that is declared there counts what happened.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

/// The value of the one series with this name and these labels.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.and_then(|rest| rest.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("there is no `{series}` in\n{text}"))
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deploy_is_counted(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    let ana = scene.person("ana");
    ana.runs("/pangeo help").await.answer().await;
    let set_client = "/pangeo checkin set-client host:geo.vm.fedcloud.eu";
    let form = ana.runs(set_client).await.modal().await;
    let client = [("client-id", "some"), ("client-secret", "some-secret")];
    ana.fills(&form, &client).await.answer().await;
    let check = "/pangeo checkin check host:geo.vm.fedcloud.eu";
    ana.runs(check).await.answer().await;
    let vic = scene.person("vic");
    let deploy = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
    vic.runs(deploy).await.answer().await;
    ana.runs(deploy).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;

    let text = scene.metrics().await;
    for (series, expected) in [
        ("interactions_total{name=\"help\",outcome=\"done\"}", 1.0),
        (
            "interactions_total{name=\"deploy\",outcome=\"refused\"}",
            1.0,
        ),
        ("interactions_total{name=\"deploy\",outcome=\"done\"}", 1.0),
        (
            "interactions_total{name=\"dns set-secret\",outcome=\"done\"}",
            1.0,
        ),
        (
            "interactions_total{name=\"form dns set-secret\",outcome=\"done\"}",
            1.0,
        ),
        ("acknowledge_seconds_count", 8.0),
        (
            "step_seconds_count{name=\"check-hub\",outcome=\"done\"}",
            1.0,
        ),
        ("gateway_connected", 1.0),
    ] {
        assert_eq!(
            value(&text, &format!("pangeo_bot_{series}")),
            expected,
            "{series}"
        );
    }
    for series in [
        "step_seconds_count{name=\"wait-until-configured\",outcome=\"retry\"}",
        "call_seconds_count{name=\"im\",outcome=\"done\"}",
        "call_seconds_count{name=\"dns\",outcome=\"done\"}",
        "call_seconds_count{name=\"resolver\",outcome=\"done\"}",
        "call_seconds_count{name=\"check-in\",outcome=\"done\"}",
        "call_seconds_count{name=\"templates\",outcome=\"done\"}",
        "call_seconds_count{name=\"frontend\",outcome=\"done\"}",
        "call_seconds_count{name=\"kubernetes\",outcome=\"done\"}",
        "call_seconds_count{name=\"hub\",outcome=\"done\"}",
        "messages_total{name=\"plan\",outcome=\"done\"}",
        "messages_total{name=\"progress\",outcome=\"done\"}",
    ] {
        assert!(
            value(&text, &format!("pangeo_bot_{series}")) >= 1.0,
            "{series}"
        );
    }
}
