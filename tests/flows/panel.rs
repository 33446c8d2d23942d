//! The panel of the world on the page: users come and go, a cause is switched on and off, and time
//! is made to pass quickly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::browser::{Browser, BrowserOptions};
use sandbox::world::StallCause;
use sandbox::world::bot::{BotProcess, find_binary};
use sandbox::world::panel::Panel;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

/// Shows the panel, of a scene that has no other.
fn has_panel(scene: &Scene) {
    let settings = scene.bot.settings().clone();
    let bot = BotProcess::new(find_binary().unwrap(), settings, None);
    let bot = Arc::new(tokio::sync::Mutex::new(bot));
    let panel = Panel::new(Arc::clone(&scene.world), bot);
    scene.world.discord.set_world(Arc::new(panel));
}

async fn presses(browser: &Browser, text: &str) {
    browser.click_text("#world button", text).await.unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn causes_users_and_time_are_switched_in_the_panel(pool: PgPool) {
    let scene = Scene::start(pool).await;
    has_panel(&scene);
    scene.deploys("").await;
    let world = &scene.world;
    let id = world.im.infrastructure("pangeo-geo").unwrap().id;
    let options = BrowserOptions {
        patience: PATIENCE,
        ..BrowserOptions::default()
    };
    let browser = Browser::start(options).await.unwrap();
    browser.resize(1600, 1400).await.unwrap();
    let url = format!("{}/#as=ana", world.discord.url());
    browser.open(&url).await.unwrap();
    browser.wait_for("#world .world-row").await.unwrap();
    world.cause(&id, StallCause::WrongNodeSize, true).unwrap();
    for text in ["1 of 5 on", "0 run, 0 wait", "Wrong node size in CLUES"] {
        browser
            .wait_for_text("#world .world-row", text)
            .await
            .unwrap();
    }

    // What is wrong has a tick; pressing it puts it right.
    presses(&browser, "✓ Wrong node size in CLUES").await;
    let gone = "#world [data-action=stall-wrong-node-size] .button.danger";
    browser.wait_for(gone).await.unwrap();
    assert_eq!(world.causes(&id), []);
    presses(&browser, "Nodes disabled").await;
    browser.click("dialog .button.danger").await.unwrap();
    browser
        .wait_for_text("#world button", "✓ Nodes disabled")
        .await
        .unwrap();
    assert_eq!(world.causes(&id), [StallCause::NodesDisabled]);
    presses(&browser, "✓ Nodes disabled").await;

    presses(&browser, "600 ×").await;
    presses(&browser, "Users come and go").await;
    browser
        .wait_for_text("#world button", "✓ Users come and go")
        .await
        .unwrap();
    // A course begins at nine.
    browser
        .wait_for_text("#world .world-row", "Mon 09:")
        .await
        .unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let is_on = |state: &str| ["idle", "used"].contains(&state);
    let began = Instant::now();
    while world
        .front_ends
        .nodes(&id)
        .iter()
        .filter(|n| is_on(&n.state))
        .count()
        < 2
    {
        look.tick().await;
        assert!(began.elapsed() < PATIENCE, "nobody needs a second node");
    }
    assert_eq!(world.pace(), Some(600));
    if let Some(path) = std::env::var_os("PANEL_PICTURE") {
        let up = "document.querySelector('.world-body').scrollTop = 0";
        browser.script(up, serde_json::json!([])).await.unwrap();
        browser.screenshot(path.as_ref()).await.unwrap();
    }
    presses(&browser, "✓ Users come and go").await;
    browser
        .wait_for_text("#world .world-row", "0 run, 0 wait")
        .await
        .unwrap();
    assert_eq!(
        browser.console_errors().await.unwrap(),
        Vec::<String>::new()
    );
    browser.close().await.unwrap();
    scene.nothing_unexpected();
}
