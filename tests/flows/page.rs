//! The same deploy by hand: typed, filled in and reacted to on the page, in a headless Chromium.

use sandbox::browser::{Browser, BrowserOptions, keys};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const COMPOSER: &str = "#main-composer textarea";

async fn open_as(browser: &Browser, scene: &Scene, person: &str) {
    let url = scene.world.discord.url();
    browser.open("about:blank").await.unwrap();
    browser.open(&format!("{url}/#as={person}")).await.unwrap();
    browser.wait_for(COMPOSER).await.unwrap();
}

async fn types(browser: &Browser, line: &str) {
    browser.type_text(COMPOSER, line).await.unwrap();
    browser.press(keys::ENTER).await.unwrap();
}

/// Vic types a whole line at once, before any completion has come, and sees the last hours.
async fn looks_at_it(browser: &Browser, scene: &Scene) {
    sqlx::query(
        "insert into samples
         select id, now() - n * interval '1 minute', 3 - n % 3, 20 + n % 40, greatest(0, n % 90 - 60)
         from clusters, generate_series(1, 359) n where n not between 140 and 170",
    )
    .execute(&scene.pool)
    .await
    .unwrap();
    open_as(browser, scene, "vic").await;
    types(browser, "/pangeo status name:geo").await;
    browser
        .wait_for_text(".message.ephemeral", "users online")
        .await
        .unwrap();
    browser.wait_for("img.embed-image").await.unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn ana_types_a_deploy_and_ben_reacts_on_the_page(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.prepare_host(HOST);
    let options = BrowserOptions {
        patience: PATIENCE,
        ..BrowserOptions::default()
    };
    let browser = Browser::start(options).await.unwrap();

    open_as(&browser, &scene, "ana").await;
    types(&browser, &format!("/pangeo dns set-secret host:{HOST}")).await;
    browser
        .type_text("dialog[open] input", sandbox::world::DNS_SECRET)
        .await
        .unwrap();
    browser.press(keys::ENTER).await.unwrap();
    browser
        .wait_for_text(".message.ephemeral", "sealed and kept")
        .await
        .unwrap();
    types(
        &browser,
        &format!("/pangeo deploy name:geo host:{HOST} auth:native"),
    )
    .await;
    let plan = scene.plan("Create cluster `geo`").await;
    browser
        .wait_for_text(".message", "Create cluster")
        .await
        .unwrap();

    open_as(&browser, &scene, "ben").await;
    let reaction = format!("[data-id='{}'] .reaction[data-emoji='✅']", plan.id);
    browser.click(&reaction).await.unwrap();
    // The plan names the host and Grafana too: only the bot's last word has these lines.
    for line in [
        format!("Hub: https://{HOST}/"),
        format!("Grafana: https://{HOST}/grafana/"),
    ] {
        browser.wait_for_text(".message", &line).await.unwrap();
    }
    scene.sees("succeeded").await;
    browser.click(".thread-card").await.unwrap();
    browser
        .wait_for_text("#side .message", "✓ record-revision")
        .await
        .unwrap();
    looks_at_it(&browser, &scene).await;
    assert_eq!(
        browser.console_errors().await.unwrap(),
        Vec::<String>::new()
    );
    if let Some(path) = std::env::var_os("PAGE_PICTURE") {
        browser.resize(1280, 860).await.unwrap();
        let down = "document.querySelectorAll('.messages').forEach(m => m.scrollTop = 1e9)";
        browser.script(down, serde_json::json!([])).await.unwrap();
        browser.screenshot(path.as_ref()).await.unwrap();
    }
    browser.close().await.unwrap();
    scene.nothing_unexpected();
}
