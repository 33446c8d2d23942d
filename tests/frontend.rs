//! The bot's clients for front ends, helm, Kubernetes and the hub against pretend front ends:
//! real `ssh`, real `sshd`, real shell scripts; helm and the API are the sandbox's.
#![cfg(test)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pangeo_bot::domain::ids::OperationId;
use pangeo_bot::domain::names::HostName;
use pangeo_bot::services::frontend::{
    Frontend, FrontendAccess, FrontendClient, FrontendError, HostKey,
};
use pangeo_bot::services::helm::{
    Helm, HelmFailure, HelmRun, HelmSettings, Recovery, ReleaseStatus, RunId, Start,
};
use pangeo_bot::services::hub::{CertificateProblem, HubClient, HubError, HubTarget};
use pangeo_bot::services::kubernetes::Kubernetes;
use sandbox::faults::{Fault, On};
use sandbox::frontend::{FrontEnds, FrontEndsOptions, HelmFault, SshDoor};
use sandbox::machines::{MachineRequest, Machines};
use secrecy::SecretString;
use serde_json::json;

const INFRASTRUCTURE: &str = "a1";
const HOST: &str = "geo.vm.fedcloud.eu";
const VERSION: &str = "2022.8.2";

const VALUES: &str = "dask-gateway:\n  gateway:\n    auth:\n      type: jupyterhub\n\
    jupyterhub:\n  proxy:\n    secretToken: c0ffee\n  ingress:\n    enabled: true\n    hosts:\n    - geo.vm.fedcloud.eu\n";

/// One pretend front end and what is needed to reach it. All of it ends with the test.
struct World {
    front_ends: Arc<FrontEnds>,
    client: FrontendClient,
    access: FrontendAccess,
    settings: HelmSettings,
    dir: PathBuf,
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut FrontEndsOptions)) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let dir = std::env::temp_dir().join(format!("fe-{}", &name[..8]));
        let mut options = FrontEndsOptions::new(dir.join("world"));
        change(&mut options);
        let ssh_port = options.ssh_port;
        let front_ends = FrontEnds::start(options).await.unwrap();
        let request = MachineRequest {
            infrastructure: INFRASTRUCTURE.to_owned(),
            inputs:
                json!({ "kube_version": "1.28.15", "wn_num": 2, "wn_cpus": 8, "wn_mem": "32 GB" })
                    .as_object()
                    .unwrap()
                    .clone(),
        };
        let machine = Machines::start(front_ends.as_ref(), request).await.unwrap();
        front_ends
            .configured(INFRASTRUCTURE, Some(HOST), false)
            .await
            .unwrap();
        let client = FrontendClient::new(&dir.join("ssh")).unwrap();
        let host_key = client
            .scan_host_key(machine.address, ssh_port)
            .await
            .unwrap();
        let access = FrontendAccess {
            address: machine.address,
            port: ssh_port,
            user: machine.user,
            private_key: SecretString::from(machine.private_key),
            host_key,
        };
        Self {
            front_ends,
            client,
            access,
            settings: HelmSettings::default(),
            dir,
        }
    }

    async fn connect(&self) -> Frontend {
        self.client.connect(&self.access).await.unwrap()
    }

    fn hub(&self) -> (HubClient, HubTarget) {
        let client = HubClient::new(Some(self.front_ends.ca_pem().as_bytes())).unwrap();
        let target = HubTarget {
            scheme: "https".to_owned(),
            host: HostName::parse(HOST).unwrap(),
            port: 8443,
            address: self.access.address,
        };
        (client, target)
    }

    /// A file of the front end, as this machine sees it.
    fn file(&self, path: &str) -> PathBuf {
        self.front_ends.root(INFRASTRUCTURE).unwrap().join(path)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn values() -> SecretString {
    SecretString::from(VALUES)
}

fn run_id() -> RunId {
    RunId::new(OperationId::new(), 1)
}

/// Polls a run until it is over; returns the last answer and the whole log.
async fn until_over(helm: &Helm<'_>, run: &RunId) -> (HelmRun, String) {
    let begin = Instant::now();
    let mut offset = 0;
    let mut whole = String::new();
    loop {
        let answer = helm.poll(run, offset).await.unwrap();
        let (HelmRun::Running { log } | HelmRun::Ended { log, .. } | HelmRun::Lost { log }) =
            &answer
        else {
            return (answer, whole);
        };
        whole.push_str(&log.text);
        offset = log.next_offset;
        if !matches!(answer, HelmRun::Running { .. }) {
            return (answer, whole);
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "the run does not end: {whole}"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for the world outside, with a deadline"
)]
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "not so after 20 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Installs DaskHub and returns the run.
async fn install(helm: &Helm<'_>) -> RunId {
    let run = run_id();
    assert_eq!(
        helm.start_or_attach(&run, VERSION, &values())
            .await
            .unwrap(),
        Start::Started
    );
    let (end, log) = until_over(helm, &run).await;
    assert!(
        matches!(end, HelmRun::Ended { code: 0, .. }),
        "{end:?}: {log}"
    );
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_give_their_output_and_status() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let output = frontend
        .run(&["sh", "-c", "echo out; echo err >&2; exit 7"])
        .await
        .unwrap();
    assert_eq!(output.status, 7);
    assert_eq!(output.text(), "out\n");
    assert_eq!(output.error_text(), "err");
    let output = frontend
        .run_with_input(&["cat"], b"line\0\xff")
        .await
        .unwrap();
    assert_eq!(output.stdout, b"line\0\xff");
    assert!(matches!(
        frontend.run(&["no-such-program"]).await,
        Err(FrontendError::NotFound { program }) if program == "no-such-program"
    ));
    assert!(matches!(
        frontend.run_ok(&["sudo", "no-such-program"], &[]).await,
        Err(FrontendError::NotFound { program }) if program == "no-such-program"
    ));
    assert!(matches!(
        frontend.run(&["sh", "-c", "kill -KILL $$"]).await,
        Err(FrontendError::Killed { .. })
    ));
    let late = frontend
        .run_within(&["sleep", "30"], &[], Duration::from_millis(200))
        .await;
    assert!(matches!(late, Err(FrontendError::TimedOut { .. })));
    assert!(late.unwrap_err().is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_whole_whatever_they_contain() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let hostile = [
        "$(touch /tmp/owned)",
        "`touch /tmp/owned`",
        "; touch /tmp/owned",
        "a'b\"c\\d",
        "!history",
        "two\nlines",
        "",
        " ",
        "*",
        "~",
        "--",
        "-rf",
        "ünï\u{202e}code",
        "%s%n",
        "\r\t\u{1b}[31m",
        "&& exit 3",
        "#",
        "{a,b}",
        "\\",
    ];
    let mut args = vec!["printf", "[%s]"];
    args.extend(hostile);
    let output = frontend.run(&args).await.unwrap();
    let wanted: String = hostile.iter().map(|text| format!("[{text}]")).collect();
    assert_eq!(output.text(), wanted);
    assert!(!world.file("tmp/owned").exists());
    assert!(matches!(
        frontend.run(&["echo", "a\0b"]).await,
        Err(FrontendError::BadArgument { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_is_cut_and_does_not_block() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let output = frontend
        .run(&["head", "-c", "20000000", "/dev/zero"])
        .await
        .unwrap();
    assert_eq!(output.stdout.len(), 1024 * 1024);
    assert!(output.truncated);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_whole_and_private() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let path = "/var/tmp/pangeo-bot/x/it's $HOME.yaml";
    frontend.upload(path, b"first", 0o600).await.unwrap();
    frontend.upload(path, b"second", 0o600).await.unwrap();
    let stat = frontend.run(&["stat", "-c", "%a %U", path]).await.unwrap();
    assert_eq!(stat.text().trim(), "600 root");
    assert_eq!(frontend.read_file_tail(path, 100).await.unwrap(), b"second");
    assert_eq!(frontend.read_from(path, 3, 2).await.unwrap(), b"on");
    assert_eq!(frontend.read_from(path, 6, 10).await.unwrap(), b"");
    frontend.remove(path).await.unwrap();
    frontend.remove(path).await.unwrap();
    assert!(matches!(
        frontend.read_file_tail(path, 10).await,
        Err(FrontendError::NoSuchFile { .. })
    ));
    let left = frontend
        .run(&["ls", "-A", "/var/tmp/pangeo-bot/x"])
        .await
        .unwrap();
    assert_eq!(left.text(), "");
    // What is uploaded never stands in an argument, which every user of the machine can see.
    assert!(
        world
            .front_ends
            .commands(INFRASTRUCTURE)
            .iter()
            .all(|line| !line.contains("second"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_keeps_the_old_file() {
    let world = World::start().await;
    let frontend = world.connect().await;
    frontend
        .upload("/var/tmp/values.yaml", b"old", 0o600)
        .await
        .unwrap();
    world.front_ends.fill_disk(INFRASTRUCTURE, true).unwrap();
    let error = frontend
        .upload("/var/tmp/values.yaml", &vec![b'x'; 100_000], 0o600)
        .await
        .unwrap_err();
    assert!(matches!(error, FrontendError::DiskFull { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert_eq!(
        frontend
            .read_file_tail("/var/tmp/values.yaml", 10)
            .await
            .unwrap(),
        b"old"
    );
    let helm = Helm::new(&frontend, &world.settings);
    assert!(
        helm.start_or_attach(&run_id(), VERSION, &values())
            .await
            .is_err()
    );
    world.front_ends.fill_disk(INFRASTRUCTURE, false).unwrap();
    frontend
        .upload("/var/tmp/values.yaml", b"new", 0o600)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_key_is_never_accepted() {
    let world = World::start().await;
    let frontend = world.connect().await;
    world
        .front_ends
        .change_host_key(INFRASTRUCTURE)
        .await
        .unwrap();
    let new = world
        .client
        .scan_host_key(world.access.address, world.access.port)
        .await
        .unwrap();
    assert_ne!(new, world.access.host_key);
    let error = world.client.connect(&world.access).await.unwrap_err();
    let FrontendError::HostKeyChanged {
        pinned, offered, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*pinned, world.access.host_key.fingerprint());
    assert_eq!(offered.as_deref(), Some(new.fingerprint().as_str()));
    assert!(!error.is_transient());
    // The connection from before is to the machine that was trusted then.
    assert!(frontend.run(&["true"]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart() {
    let world = World::start().await;
    world
        .front_ends
        .set_ssh(INFRASTRUCTURE, SshDoor::Refusing)
        .unwrap();
    let begin = Instant::now();
    let refused = loop {
        match world.client.connect(&world.access).await {
            Ok(_) => assert!(begin.elapsed() < Duration::from_secs(10)),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, FrontendError::Refused { .. }),
        "{refused:?}"
    );
    assert!(refused.is_transient());
    let scan = world
        .client
        .scan_host_key(world.access.address, world.access.port)
        .await;
    assert!(
        matches!(scan, Err(FrontendError::Refused { .. })),
        "{scan:?}"
    );
    world
        .front_ends
        .set_ssh(INFRASTRUCTURE, SshDoor::Open)
        .unwrap();
    let begin = Instant::now();
    while world.client.connect(&world.access).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    let mut stranger = world.access.clone();
    stranger.private_key =
        SecretString::from(std::fs::read_to_string(world.dir.join("world/ca.key")).unwrap());
    let error = world.client.connect(&stranger).await.unwrap_err();
    assert!(
        matches!(error, FrontendError::AuthRefused { .. }),
        "{error:?}"
    );
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_machine_is_given_up_in_time() {
    let world = World::start().await;
    world
        .front_ends
        .set_ssh(INFRASTRUCTURE, SshDoor::Silent)
        .unwrap();
    let client = world
        .client
        .clone()
        .with_connect_limit(Duration::from_secs(1));
    let begin = Instant::now();
    let error = loop {
        match client.connect(&world.access).await {
            Ok(_) => assert!(begin.elapsed() < Duration::from_secs(10)),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, FrontendError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
    let scan = client
        .scan_host_key(world.access.address, world.access.port)
        .await;
    assert!(
        matches!(scan, Err(FrontendError::HostKey { .. })),
        "{scan:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_left_on_the_bot_s_machine() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(world.dir.join("ssh")).unwrap() {
        for file in std::fs::read_dir(entry.unwrap().path()).unwrap() {
            names.push(file.unwrap().file_name().into_string().unwrap());
        }
    }
    assert!(names.contains(&"known_hosts".to_owned()), "{names:?}");
    assert!(!names.contains(&"key".to_owned()), "{names:?}");
    drop(frontend);
    assert_eq!(std::fs::read_dir(world.dir.join("ssh")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_and_upgraded() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    assert_eq!(helm.release().await.unwrap(), None);
    assert_eq!(helm.history().await.unwrap(), []);
    helm.dry_run(VERSION, &values()).await.unwrap();
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
    helm.start_or_attach(&run, VERSION, &values())
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
        helm.start_or_attach(&run, VERSION, &values())
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
        helm.start_or_attach(&run, VERSION, &values())
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
        let values = values();
        let (a, b) = tokio::join!(
            first.start_or_attach(&run, VERSION, &values),
            second.start_or_attach(&run, VERSION, &values)
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
    helm.start_or_attach(&run, VERSION, &values())
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
    let refused = helm.dry_run(VERSION, &values()).await.unwrap_err();
    assert_eq!(refused.failure(), Some(HelmFailure::AnotherInProgress));
    assert_eq!(helm.recover().await.unwrap(), Recovery::Uninstalled);
    assert_eq!(helm.recover().await.unwrap(), Recovery::NotNeeded);
    install(&helm).await;
    world.front_ends.fail_helm(&HelmFault::Hang, 1);
    let run = run_id();
    helm.start_or_attach(&run, VERSION, &values())
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
    helm.start_or_attach(&run, VERSION, &values())
        .await
        .unwrap();
    eventually("helm runs", || {
        world.front_ends.helms_running(INFRASTRUCTURE) == 1
    })
    .await;
    let dir = format!("/var/tmp/pangeo-bot/{run}");
    let kill =
        "read -r pid _ < \"$1/pid\"; read -r helm _ < \"$1/helm.pid\"; kill -KILL $pid $helm";
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
            helm.start_or_attach(&run, VERSION, &values())
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
    helm.start_or_attach(&run, VERSION, &values())
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
        helm.start_or_attach(&run, VERSION, &values())
            .await
            .unwrap();
        let (end, log) = until_over(&helm, &run).await;
        assert!(
            matches!(end, HelmRun::Ended { code: 1, .. }),
            "{fault:?}: {end:?}"
        );
        assert_eq!(HelmFailure::read(&log), failure, "{log}");
    }
    let unknown = helm.dry_run("9.9.9", &values()).await.unwrap_err();
    assert_eq!(
        unknown.failure(),
        Some(HelmFailure::ChartNotFound),
        "{unknown}"
    );
    let bad = SecretString::from("jupyterhub:\n  proxy:\n    secretTokn: hush-hush\n");
    let refused = helm.dry_run(VERSION, &bad).await.unwrap_err();
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
    let schemas = helm.chart_schemas(VERSION).await.unwrap();
    let names: Vec<_> = schemas.iter().map(|schema| schema.chart.as_str()).collect();
    assert_eq!(names, ["dask-gateway", "jupyterhub"]);
    assert_eq!(schemas[1].schema["properties"]["proxy"]["type"], "object");
    install(&helm).await;
    assert!(!helm.crds_differ(VERSION).await.unwrap());
    let missing = helm.dry_run("2024.1.1", &values()).await.unwrap_err();
    assert_eq!(
        missing.failure(),
        Some(HelmFailure::CrdsMissing),
        "{missing}"
    );
    assert!(helm.crds_differ("2024.1.1").await.unwrap());
    let applied = helm.apply_crds("2024.1.1").await.unwrap();
    assert!(
        applied.contains(&"ingressroutes.traefik.io".to_owned()),
        "{applied:?}"
    );
    assert!(!helm.crds_differ("2024.1.1").await.unwrap());
    helm.dry_run("2024.1.1", &values()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_api_is_read_through_ssh() {
    let world = World::start().await;
    let frontend = Arc::new(world.connect().await);
    let kubernetes = Kubernetes::connect(Arc::clone(&frontend)).await.unwrap();
    assert_eq!(kubernetes.version().await.unwrap(), "v1.28.15");
    assert_eq!(kubernetes.deployments("daskhub").await.unwrap(), []);
    assert_eq!(kubernetes.pod_count("daskhub").await.unwrap(), 0);
    let nodes = kubernetes.nodes().await.unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes[0].is_control_plane && nodes[0].ready && !nodes[1].is_control_plane);
    assert_eq!(nodes[1].allocatable_cpu, "8");
    let helm = Helm::new(&frontend, &world.settings);
    install(&helm).await;
    let deployments = kubernetes.deployments("daskhub").await.unwrap();
    assert_eq!(deployments.len(), 6);
    assert!(
        deployments.iter().all(|deployment| deployment.is_ready()),
        "{deployments:?}"
    );
    assert_eq!(kubernetes.pod_count("daskhub").await.unwrap(), 7);
    world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    let run = run_id();
    helm.start_or_attach(&run, VERSION, &values())
        .await
        .unwrap();
    until_over(&helm, &run).await;
    let deployments = kubernetes.deployments("daskhub").await.unwrap();
    let broken: Vec<_> = deployments.iter().filter(|d| !d.is_ready()).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].name, "hub");
    assert!(
        broken[0]
            .reason
            .as_deref()
            .unwrap()
            .contains("minimum availability")
    );
    world
        .front_ends
        .kubernetes_faults()
        .inject(On::any(), Fault::answer(503, "{}"), 1);
    let error = kubernetes.nodes().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_counts_only_with_a_valid_certificate() {
    let world = World::start().await;
    let (client, target) = world.hub();
    let error = client.check(&target).await.unwrap_err();
    let HubError::Certificate {
        problem, subject, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*problem, CertificateProblem::NotTrusted);
    assert!(subject.contains("Fake Certificate"), "{subject}");
    world
        .front_ends
        .configured(INFRASTRUCTURE, Some(HOST), true)
        .await
        .unwrap();
    let error = client.check(&target).await.unwrap_err();
    assert!(
        matches!(error, HubError::NotReady { status: 404, .. }),
        "{error:?}"
    );
    let frontend = world.connect().await;
    install(&Helm::new(&frontend, &world.settings)).await;
    let check = client.check(&target).await.unwrap();
    assert_eq!(check.login_status, 200);
    assert_eq!(check.version.as_deref(), Some("1.5.0"));
    let left = check.certificate_expires_at.unwrap().timestamp()
        - i64::try_from(
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap()
                .as_secs(),
        )
        .unwrap();
    assert!((88 * 86_400..=90 * 86_400).contains(&left), "{left} s");
    world
        .front_ends
        .hub_faults()
        .inject(On::any(), Fault::answer(502, "Bad Gateway"), 1);
    let error = client.check(&target).await.unwrap_err();
    assert!(
        matches!(error, HubError::NotReady { status: 502, .. }),
        "{error:?}"
    );
    let strict = HubClient::new(None).unwrap();
    let error = strict.check(&target).await.unwrap_err();
    assert!(matches!(error, HubError::Certificate { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_sandbox_keeps_the_cluster() {
    let mut world = World::start().await;
    let frontend = world.connect().await;
    install(&Helm::new(&frontend, &world.settings)).await;
    let options = FrontEndsOptions::new(world.dir.join("world"));
    assert!(
        FrontEnds::start(options.clone()).await.is_err(),
        "two sandboxes share a folder"
    );
    let other = FrontEnds::start(FrontEndsOptions::new(world.dir.join("other")));
    let old = std::mem::replace(&mut world.front_ends, other.await.unwrap());
    drop(old);
    let begin = Instant::now();
    while frontend.run(&["true"]).await.is_ok() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "sshd outlives its sandbox"
        );
    }
    world.front_ends = FrontEnds::start(options).await.unwrap();
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    assert!(helm.is_deployed().await.unwrap());
    let request = MachineRequest {
        infrastructure: INFRASTRUCTURE.to_owned(),
        inputs: serde_json::Map::new(),
    };
    let again = Machines::start(world.front_ends.as_ref(), request)
        .await
        .unwrap();
    assert_eq!(again.address, world.access.address);
    world.front_ends.stop(INFRASTRUCTURE).await.unwrap();
    assert_eq!(world.front_ends.infrastructures(), Vec::<String>::new());
    assert!(matches!(
        world.client.connect(&world.access).await,
        Err(FrontendError::Refused { .. })
    ));
}

#[test]
fn host_keys_are_kept_as_text() {
    let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let key: HostKey = serde_json::from_value(json!(text)).unwrap();
    assert_eq!(serde_json::to_value(&key).unwrap(), json!(text));
}
