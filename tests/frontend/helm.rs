//! The release: runs that outlive their connection, recovery, failures, the chart.

use std::time::Duration;

use pangeo_bot::domain::ids::OperationId;
use pangeo_bot::services::helm::{
    ChartSchema, Helm, HelmFailure, HelmRun, Recovery, ReleaseStatus, RunId, Start,
};
use sandbox::frontend::HelmFault;
use secrecy::SecretString;

use crate::world::{
    INFRASTRUCTURE, VALUES, VERSION, World, chart, eventually, install, run_id, until_over, values,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_and_upgraded() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    assert_eq!(helm.release().await.unwrap(), None);
    assert_eq!(helm.history().await.unwrap(), []);
    helm.dry_run(&chart(VERSION), &values()).await.unwrap();
    assert_eq!(helm.history().await.unwrap(), []);
    let run = install(&helm).await;
    let release = helm.release().await.unwrap().unwrap();
    assert_eq!(
        (release.revision, release.status),
        (1, ReleaseStatus::Deployed)
    );
    assert_eq!(release.chart, "daskhub-2022.8.2");
    assert_eq!(
        world.front_ends.last_values(INFRASTRUCTURE).as_deref(),
        Some(VALUES)
    );
    let left = world.file(&format!("var/tmp/pangeo-bot/{run}/values.yaml"));
    eventually("the values are removed", || !left.exists()).await;
    helm.cleanup(&run).await.unwrap();
    assert_eq!(helm.poll(&run, 0).await.unwrap(), HelmRun::Absent);
    install(&helm).await;
    let history = helm.history().await.unwrap();
    let states: Vec<_> = history.iter().map(|r| (r.revision, r.status)).collect();
    assert_eq!(
        states,
        [(1, ReleaseStatus::Superseded), (2, ReleaseStatus::Deployed)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_outlives_the_connection_and_is_found_again() {
    let world = World::with(|options| options.install_time = Duration::from_secs(2)).await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    world.front_ends.cut_ssh(INFRASTRUCTURE).unwrap();
    let broken = helm.poll(&run, 0).await.unwrap_err();
    assert!(broken.is_transient(), "{broken:?}");
    drop(frontend);
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    assert_eq!(
        helm.start_or_attach(&run, &chart(VERSION), &values())
            .await
            .unwrap(),
        Start::Attached
    );
    let (end, log) = until_over(&helm, &run).await;
    assert!(matches!(end, HelmRun::Ended { code: 0, .. }), "{end:?}");
    assert!(log.contains("STATUS: deployed"), "{log}");
    assert_eq!(world.front_ends.helm_runs(INFRASTRUCTURE), 1);
    // Started once more after its end: nothing new, and no values are left.
    assert_eq!(
        helm.start_or_attach(&run, &chart(VERSION), &values())
            .await
            .unwrap(),
        Start::Attached
    );
    assert_eq!(world.front_ends.helm_runs(INFRASTRUCTURE), 1);
    assert!(
        !world
            .file(&format!("var/tmp/pangeo-bot/{run}/values.yaml"))
            .exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_starters_make_one_helm() {
    let world = World::start().await;
    let (one, two) = (world.connect().await, world.connect().await);
    let (first, second) = (
        Helm::new(&one, &world.settings),
        Helm::new(&two, &world.settings),
    );
    for round in 1..=5 {
        let run = RunId::new(OperationId::new(), 1);
        let (values, chart) = (values(), chart(VERSION));
        let (a, b) = tokio::join!(
            first.start_or_attach(&run, &chart, &values),
            second.start_or_attach(&run, &chart, &values)
        );
        let starts = [a.unwrap(), b.unwrap()];
        assert_eq!(
            starts.iter().filter(|s| **s == Start::Started).count(),
            1,
            "{starts:?}"
        );
        let (end, log) = until_over(&first, &run).await;
        assert!(
            matches!(end, HelmRun::Ended { code: 0, .. }),
            "{end:?}: {log}"
        );
        assert_eq!(world.front_ends.helm_runs(INFRASTRUCTURE), round);
        let left = world.file(&format!("var/tmp/pangeo-bot/{run}/values.yaml"));
        eventually("the values are removed", || !left.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_helm_is_recovered_only_when_it_is_gone() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    world.front_ends.fail_helm(&HelmFault::Hang, 1);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    let release = helm.release().await.unwrap().unwrap();
    assert_eq!(release.status, ReleaseStatus::PendingInstall);
    let busy = helm.recover().await.unwrap_err();
    assert!(
        matches!(busy, pangeo_bot::services::helm::HelmError::StillRunning),
        "{busy:?}"
    );
    assert_eq!(
        world
            .front_ends
            .kill_helm(INFRASTRUCTURE, "KILL")
            .await
            .unwrap(),
        1
    );
    let (end, _) = until_over(&helm, &run).await;
    assert!(matches!(end, HelmRun::Ended { code: 137, .. }), "{end:?}");
    // Everything is refused as long as the lock is there.
    let refused = helm.dry_run(&chart(VERSION), &values()).await.unwrap_err();
    assert_eq!(refused.failure(), Some(HelmFailure::AnotherInProgress));
    assert_eq!(helm.recover().await.unwrap(), Recovery::Uninstalled);
    assert_eq!(helm.recover().await.unwrap(), Recovery::NotNeeded);
    install(&helm).await;
    world.front_ends.fail_helm(&HelmFault::Hang, 1);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    world
        .front_ends
        .kill_helm(INFRASTRUCTURE, "KILL")
        .await
        .unwrap();
    until_over(&helm, &run).await;
    assert_eq!(
        helm.recover().await.unwrap(),
        Recovery::RolledBack { to: 1 }
    );
    let release = helm.release().await.unwrap().unwrap();
    assert_eq!(
        (release.revision, release.status),
        (3, ReleaseStatus::Deployed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_dies_with_helm_is_told() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    world.front_ends.fail_helm(&HelmFault::Hang, 1);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    let dir = format!("/var/tmp/pangeo-bot/{run}");
    let kill =
        "read -r pid _ < \"$1/pid\"; read -r helm _ < \"$1/program.pid\"; kill -KILL $pid $helm";
    frontend
        .run_ok(&["sudo", "sh", "-c", kill, "kill", &dir], &[])
        .await
        .unwrap();
    let (end, _) = until_over(&helm, &run).await;
    assert!(matches!(end, HelmRun::Lost { .. }), "{end:?}");
    // The starter itself may die between taking the lock and starting anything.
    for (age, lost) in [("now", false), ("2 minutes ago", true)] {
        let run = run_id();
        let lock = format!("/var/tmp/pangeo-bot/{run}/lock");
        frontend.run_ok(&["mkdir", "-p", &lock], &[]).await.unwrap();
        frontend
            .run_ok(&["touch", "-d", age, &lock], &[])
            .await
            .unwrap();
        let answer = helm.poll(&run, 0).await.unwrap();
        assert_eq!(
            matches!(answer, HelmRun::Lost { .. }),
            lost,
            "{age}: {answer:?}"
        );
        assert_eq!(
            helm.start_or_attach(&run, &chart(VERSION), &values())
                .await
                .unwrap(),
            Start::Attached
        );
    }
    assert!(!world.file(&format!("{}/values.yaml", &dir[1..])).exists());
    assert_eq!(helm.recover().await.unwrap(), Recovery::Uninstalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_helm_leaves_a_release_that_can_be_upgraded() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    world.front_ends.fail_helm(&HelmFault::Hang, 1);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    assert!(
        helm.cleanup(&run).await.is_err(),
        "a run that is not over was removed"
    );
    helm.stop(&run).await.unwrap();
    let (end, log) = until_over(&helm, &run).await;
    assert!(matches!(end, HelmRun::Ended { code: 1, .. }), "{end:?}");
    assert_eq!(HelmFailure::read(&log), HelmFailure::Cancelled, "{log}");
    let release = helm.release().await.unwrap().unwrap();
    assert_eq!(release.status, ReleaseStatus::Failed);
    install(&helm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_helm_are_told_apart() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    for (fault, failure) in [
        (HelmFault::HookNotReady, HelmFailure::HookNotReadyInTime),
        (HelmFault::NotReady, HelmFailure::NotReadyInTime),
        (HelmFault::AlreadyExists, HelmFailure::AlreadyExists),
        (
            HelmFault::RepositoryUnreachable,
            HelmFailure::RepositoryUnreachable,
        ),
        (
            HelmFault::ClusterUnreachable,
            HelmFailure::ClusterUnreachable,
        ),
        (HelmFault::RolledBack, HelmFailure::RolledBack),
    ] {
        world.front_ends.fail_helm(&fault, 1);
        let run = run_id();
        helm.start_or_attach(&run, &chart(VERSION), &values())
            .await
            .unwrap();
        let (end, log) = until_over(&helm, &run).await;
        assert!(
            matches!(end, HelmRun::Ended { code: 1, .. }),
            "{fault:?}: {end:?}"
        );
        assert_eq!(HelmFailure::read(&log), failure, "{log}");
    }
    let unknown = helm.dry_run(&chart("9.9.9"), &values()).await.unwrap_err();
    assert_eq!(
        unknown.failure(),
        Some(HelmFailure::ChartNotFound),
        "{unknown}"
    );
    let bad = SecretString::from("jupyterhub:\n  proxy:\n    secretTokn: hush-hush\n");
    let refused = helm.dry_run(&chart(VERSION), &bad).await.unwrap_err();
    assert_eq!(refused.failure(), Some(HelmFailure::ValuesRefused));
    assert!(
        refused.to_string().contains("secretTokn is not allowed"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("hush-hush"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_shows_its_schemas_and_definitions() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    let schemas = helm.chart_schemas(&chart(VERSION)).await.unwrap();
    let names: Vec<_> = schemas.iter().map(ChartSchema::name).collect();
    assert_eq!(names, ["dask-gateway", "jupyterhub"]);
    assert_eq!(schemas[1].schema["properties"]["proxy"]["type"], "object");
    install(&helm).await;
    assert!(!helm.crds_differ(&chart(VERSION)).await.unwrap());
    let missing = helm
        .dry_run(&chart("2024.1.1"), &values())
        .await
        .unwrap_err();
    assert_eq!(
        missing.failure(),
        Some(HelmFailure::CrdsMissing),
        "{missing}"
    );
    assert!(helm.crds_differ(&chart("2024.1.1")).await.unwrap());
    let applied = helm.apply_crds(&chart("2024.1.1")).await.unwrap();
    assert!(
        applied.contains(&"ingressroutes.traefik.io".to_owned()),
        "{applied:?}"
    );
    assert!(!helm.crds_differ(&chart("2024.1.1")).await.unwrap());
    helm.dry_run(&chart("2024.1.1"), &values()).await.unwrap();
}
