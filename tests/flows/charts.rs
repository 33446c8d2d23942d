//! `/pangeo values chart`: where the chart of a hub comes from.

use std::path::PathBuf;

use sandbox::discord::Message;
use sandbox::frontend::HelmFault;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const FOLDER: &str = "/home/cloudadm/daskhub";

/// A scene with a hub of an older chart, and its infrastructure's id.
async fn deployed(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    let id = scene.deploys("chart-version:2023.1.0").await;
    (scene, id)
}

/// Where the folder of the chart lies for the test.
fn folder(scene: &Scene, id: &str) -> PathBuf {
    let root = scene.world.front_ends.root(id).unwrap();
    root.join(FOLDER.trim_start_matches('/'))
}

/// Somebody on the front end writes a chart of one's own, whose sub-charts are to be fetched.
fn writes_chart(scene: &Scene, id: &str, version: &str) {
    let folder = folder(scene, id);
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    let chart = format!(
        "apiVersion: v2\nname: daskhub\nversion: {version}\ndependencies:\n\
         - name: jupyterhub\n  version: 3.2.1\n  repository: https://hub.jupyter.org/helm-chart\n\
         - name: dask-gateway\n  version: 2024.1.0\n  repository: https://helm.dask.org\n"
    );
    std::fs::write(folder.join("Chart.yaml"), chart).unwrap();
    std::fs::write(folder.join("Chart.lock"), "dependencies: []\n").unwrap();
    std::fs::write(folder.join("templates/banner.yaml"), "# ours\n").unwrap();
}

async fn asks(scene: &Scene, typed: &str) -> Message {
    scene.person("ana").runs(typed).await.answer().await
}

/// Ana asks for it and ben approves it; the plan, when so many operations came to rest.
async fn changes(scene: &Scene, typed: &str, plan: &str, rests: i64) -> Message {
    let answer = asks(scene, typed).await;
    assert!(answer.says("plan `"), "{typed}: {}", answer.text());
    let plan = scene.plan(plan).await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees_rests(rests).await;
    plan
}

/// The chart version that runs, and what helm says of its revision.
fn runs(scene: &Scene, id: &str) -> (String, String) {
    let newest = scene.world.front_ends.releases(id).pop().unwrap();
    (newest.chart_version, newest.description)
}

async fn history(scene: &Scene) -> String {
    let history = scene
        .person("vic")
        .runs("/pangeo values history name:geo")
        .await;
    history.answer().await.text()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_chart_of_a_folder_is_installed_and_later_changes_keep_to_it(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let chart = format!("/pangeo values chart name:geo folder:{FOLDER}");
    let none = asks(&scene, &chart).await;
    for words in ["nothing was changed", "holds no chart that helm can use"] {
        assert!(none.says(words), "{words}: {}", none.text());
    }
    writes_chart(&scene, &id, "2024.1.1-egi.1");
    let older = scene.world.front_ends.crds(&id);
    let plan = changes(&scene, &chart, "to the chart of the folder", 2).await;
    for words in [
        "- chart 2023.1.0",
        "+ chart daskhub 2024.1.1-egi.1 of the folder /home/cloudadm/daskhub (",
        "installs what then lies in",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    assert_eq!(runs(&scene, &id).0, "2024.1.1-egi.1");
    // The definitions of 2024 are others than those of 2023; helm alone would have failed.
    assert_ne!(scene.world.front_ends.crds(&id), older);
    // What was fetched for it lies elsewhere.
    assert!(!folder(&scene, &id).join("charts").exists());

    let set = "/pangeo values set name:geo path:jupyterhub.singleuser.startTimeout value:700";
    let plan = changes(&scene, set, "Set `jupyterhub.singleuser.startTimeout`", 3).await;
    assert!(!plan.says("+ chart"), "{}", plan.text());
    assert_eq!(runs(&scene, &id).0, "2024.1.1-egi.1");
    let typo = "/pangeo values set name:geo path:jupyterhub.hubb.x value:1";
    let typo = asks(&scene, typo).await;
    assert!(typo.says("the chart does not know"), "{}", typo.text());

    // The folder changes: the next plan says so, and installs it.
    writes_chart(&scene, &id, "2024.1.1-egi.2");
    let limits = "/pangeo values limits name:geo workers:9";
    asks(&scene, limits).await;
    let plan = scene.plan("Change what one Dask cluster").await;
    for words in [
        "+ chart daskhub 2024.1.1-egi.2",
        "was changed since revision 3",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    // It changes once more before somebody approves.
    writes_chart(&scene, &id, "2024.1.1-egi.3");
    scene.person("ben").reacts(&plan, "✅");
    let stopped = scene
        .stops("than the one that was approved", "for a new plan")
        .await;
    assert_eq!(runs(&scene, &id).0, "2024.1.1-egi.1");
    let ana = scene.person("ana");
    ana.presses_on(&stopped, "Leave").await.answer().await;

    let back = "/pangeo values chart name:geo configured:True version:2024.1.1";
    let plan = changes(&scene, back, "to version 2024.1.1 of the chart", 5).await;
    assert!(
        plan.says("- chart daskhub 2024.1.1-egi.1 of the folder"),
        "{}",
        plan.text()
    );
    assert_eq!(runs(&scene, &id).0, "2024.1.1");
    let history = history(&scene).await;
    for words in [
        "chart 2024.1.1\n",
        "chart daskhub 2024.1.1-egi.1 of the folder",
        "chart 2023.1.0",
    ] {
        assert!(history.contains(words), "{words}: {history}");
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn another_repository_is_kept_until_somebody_goes_back(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    for (given, why) in [
        ("repository:http://charts.example.org", "only https"),
        (
            "repository:https://ana:secret@charts.example.org",
            "only https",
        ),
        ("repository:https://charts.invalid", "can't be reached"),
        (
            "repository:https://charts.example.org chart:hub",
            "no such chart version",
        ),
        ("folder:/home/../etc", "write its whole path"),
        (
            "folder:/opt/daskhub version:2024.1.1",
            "its Chart.yaml says",
        ),
        ("folder:/opt/daskhub configured:True", "give one of"),
        ("chart:hub", "say its `repository`"),
        ("", "give at least one of"),
    ] {
        let answer = asks(&scene, &format!("/pangeo values chart name:geo {given}")).await;
        assert!(answer.says(why), "{given}: {}", answer.text());
    }
    let elsewhere =
        "/pangeo values chart name:geo repository:https://charts.example.org version:2024.1.1";
    let plan = changes(
        &scene,
        elsewhere,
        "to the chart daskhub 2024.1.1 of https",
        2,
    )
    .await;
    assert!(
        plan.says("whoever can change https://charts.example.org"),
        "{}",
        plan.text()
    );
    let installs = |number: usize| {
        let commands = scene.world.front_ends.commands(&id);
        let upgrades = commands
            .into_iter()
            .filter(|line| line.contains(" helm upgrade "));
        upgrades.collect::<Vec<_>>()[number].clone()
    };
    assert!(
        installs(1).contains("--repo=https://charts.example.org"),
        "{}",
        installs(1)
    );
    let workers = "/pangeo values limits name:geo workers:9";
    changes(&scene, workers, "Change what one Dask cluster", 3).await;
    assert!(
        installs(2).contains("--repo=https://charts.example.org"),
        "{}",
        installs(2)
    );

    // Back at the first revision the chart is that of the configuration, and so it stays.
    let back = "/pangeo values rollback name:geo revision:1";
    let plan = changes(&scene, back, "Roll `geo` back to revision 1", 4).await;
    for words in [
        "- chart daskhub 2024.1.1 of https://charts",
        "+ chart 2023.1.0",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    assert_eq!(runs(&scene, &id).0, "2023.1.0");
    let plan = scene.plan("Change what one Dask cluster").await;
    asks(&scene, "/pangeo values limits name:geo workers:8").await;
    let plan = scene
        .plan_after(Some(&plan), "Change what one Dask cluster")
        .await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees_rests(5).await;
    for number in [3, 4] {
        let line = installs(number);
        assert!(line.contains("--repo=https://helm.dask.org"), "{line}");
    }
    assert_eq!(runs(&scene, &id).0, "2023.1.0");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_chart_that_fails_is_rolled_back_by_itself_and_not_kept(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    writes_chart(&scene, &id, "2024.1.1-egi.1");
    scene.world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    let chart = format!("/pangeo values chart name:geo folder:{FOLDER}");
    changes(&scene, &chart, "to the chart of the folder", 2).await;
    scene.sees("rolled back by itself to helm revision 1").await;
    let back = ("2023.1.0".to_owned(), "Rollback to 1".to_owned());
    assert_eq!(runs(&scene, &id), back);
    let stopped = scene.sees_button("Undo…").await;
    scene.undoes(&stopped, "`values chart` of `geo`").await;
    scene
        .counts("select count(*) from operations where state = 'undone'", 1)
        .await;
    let workers = "/pangeo values limits name:geo workers:9";
    asks(&scene, workers).await;
    let plan = scene.plan("Change what one Dask cluster").await;
    assert!(!plan.says("+ chart"), "{}", plan.text());
    scene.person("ben").reacts(&plan, "✅");
    scene
        .counts(
            "select count(*) from operations where state = 'succeeded'",
            2,
        )
        .await;
    assert_eq!(runs(&scene, &id).0, "2023.1.0");
    scene.nothing_unexpected();
}
