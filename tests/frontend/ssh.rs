//! Connections, commands, files: what the bot does on a front end by itself.

use std::time::{Duration, Instant};

use pangeo_bot::services::frontend::{FrontendError, HostKey};
use pangeo_bot::services::helm::Helm;
use sandbox::frontend::SshDoor;
use secrecy::SecretString;
use serde_json::json;

use crate::world::{INFRASTRUCTURE, VERSION, World, chart, run_id, values};

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
        helm.start_or_attach(&run_id(), &chart(VERSION), &values())
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
    // However often it changed, healing the world brings the trusted one back.
    for change in [true, false, false] {
        if change {
            let changed = world.front_ends.change_host_key(INFRASTRUCTURE).await;
            changed.unwrap();
        } else {
            let healed = world.front_ends.restore_host_key(INFRASTRUCTURE).await;
            healed.unwrap();
        }
    }
    assert!(world.client.connect(&world.access).await.is_ok());
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

#[test]
fn host_keys_are_kept_as_text() {
    let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let key: HostKey = serde_json::from_value(json!(text)).unwrap();
    assert_eq!(serde_json::to_value(&key).unwrap(), json!(text));
}
