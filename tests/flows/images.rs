//! `/pangeo values image`: what the registry of an image tells of its tags.

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const NOTEBOOK: &str = "pangeo/pangeo-notebook";

async fn deployed(pool: PgPool) -> Scene {
    let scene = Scene::start(pool).await;
    scene.deploys("").await;
    scene
}

/// The plan that Ana gets; it is newer than another.
async fn plan_of(scene: &Scene, older: Option<&Message>, options: &str) -> Message {
    let typed = format!("/pangeo values image name:geo {options}");
    let answer = scene.person("ana").runs(&typed).await.answer().await;
    assert!(answer.says("plan `"), "{typed}: {}", answer.text());
    scene
        .plan_after(older, "in notebooks and Dask workers")
        .await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_plan_tells_of_newer_tags_and_of_one_that_is_not_there(pool: PgPool) {
    let scene = deployed(pool).await;
    let registry = &scene.world.registry;
    let ana = scene.person("ana");
    let tags = ana
        .completes("/pangeo values image name:geo tag:2024")
        .await;
    let tags: Vec<&str> = tags.iter().map(|(_, tag)| tag.as_str()).collect();
    assert_eq!(tags, ["2024.04.08", "2024.01.15"]);

    let plan = plan_of(&scene, None, "tag:2024.01.15").await;
    assert!(plan.says("newer tags: `2024.04.08`"), "{}", plan.text());
    assert!(!plan.says("has no tag"), "{}", plan.text());
    // Each page was asked for, with a token that the registry sent for.
    let faults = registry.faults();
    let pages = faults.count(&On::get("/v2/pangeo/pangeo-notebook/tags/list"));
    assert!(pages >= 4, "{pages} requests for tags");
    assert_eq!(faults.count(&On::get("/token")), 2);

    registry.push(NOTEBOOK, "2024.06.02");
    let plan = plan_of(&scene, Some(&plan), "tag:2024.03.13").await;
    for words in [
        "newer tags: `2024.06.02`, `2024.04.08`",
        "the registry has no tag `2024.03.13`",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_registry_that_does_not_tell_is_no_reason_against_a_plan(pool: PgPool) {
    let scene = deployed(pool).await;
    let faults = scene.world.registry.faults();
    let mut plan = plan_of(&scene, None, "image:quay.io/pangeo/a tag:2024.01.15").await;
    assert!(
        plan.says("the registry `quay.io` is not asked"),
        "{}",
        plan.text()
    );
    let mut tag = 1;
    for (on, fault, words) in [
        ("/v2/", Fault::answer(503, "no"), "answers with status 503"),
        ("/v2/", Fault::DropRequest, "does not answer"),
        ("/v2/", Fault::HalfBody, "newer tags are not known"),
        ("/v2/", Fault::answer(401, "no"), "wants a login"),
        ("/token", Fault::content("{}"), "it hands out no token"),
    ] {
        faults.clear();
        drop(faults.inject(On::get(on), fault, 100));
        tag += 1;
        let options = format!("image:{NOTEBOOK} tag:2024.01.{tag:02}");
        plan = plan_of(&scene, Some(&plan), &options).await;
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    faults.clear();
    let plan = plan_of(&scene, Some(&plan), "image:somebody/else tag:2024.01.15").await;
    assert!(plan.says("wants a login for this image"), "{}", plan.text());
    scene.nothing_unexpected();
}
