//! EC3's token files: read, and replaced without anybody ever seeing half of them.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pangeo_bot::services::ec3::{AUTH_FILE, CLUES_LOG, Ec3, Ec3Error, REFRESH_FILE};
use secrecy::{ExposeSecret, SecretString};

use crate::world::World;

/// As long as real tokens are, so that a write is more than one block.
fn token(letter: char) -> SecretString {
    SecretString::from(letter.to_string().repeat(3000))
}

fn local(world: &World, path: &str) -> std::path::PathBuf {
    world.file(path.trim_start_matches('/'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_polls_all_the_time_never_sees_half_a_file() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let ec3 = Ec3::of(&frontend);
    let file = local(&world, AUTH_FILE);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::chown(&file, Some(101), Some(65534)).unwrap();
    let before = std::fs::read_to_string(&file).unwrap();
    let whole: BTreeSet<String> = ['a', 'b']
        .map(|letter| before.replace("sandbox-token", token(letter).expose_secret()))
        .into_iter()
        .chain([before])
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (over, file) = (Arc::clone(&over), file.clone());
        std::thread::spawn(move || {
            let (mut reads, mut seen) = (0_u64, BTreeSet::new());
            while !over.load(Ordering::Relaxed) {
                // Missing would be as bad as half.
                seen.insert(std::fs::read_to_string(&file).unwrap());
                reads += 1;
            }
            (reads, seen)
        })
    };
    for turn in 0..60 {
        let old = ec3.auth().await.unwrap();
        let new = old
            .with(&token(if turn % 2 == 0 { 'a' } else { 'b' }))
            .unwrap();
        ec3.write(&old, &new).await.unwrap();
        assert!(ec3.auth().await.unwrap().has(&new.token()));
    }
    over.store(true, Ordering::Relaxed);
    let (reads, seen) = reader.join().unwrap();
    assert!(reads > 1000, "only {reads} reads");
    assert_eq!(seen, whole, "something else was seen");
    let kept = std::fs::metadata(&file).unwrap();
    let kept = (kept.mode() & 0o777, kept.uid(), kept.gid());
    assert_eq!(kept, (0o604, 101, 65534));
    let beside = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "something was left beside it");
    for command in world.front_ends.commands(crate::world::INFRASTRUCTURE) {
        assert!(
            !command.contains("aaaa") && !command.contains("bbbb"),
            "{command}"
        );
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let ec3 = Ec3::of(&frontend);
    let old = ec3.auth().await.unwrap();
    let file = local(&world, AUTH_FILE);
    let by_hand = std::fs::read_to_string(&file).unwrap() + "# by hand\n";
    std::fs::write(&file, &by_hand).unwrap();
    let refused = ec3.write(&old, &old.with(&token('a')).unwrap()).await;
    assert!(
        matches!(refused, Err(Ec3Error::ChangedMeanwhile)),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), by_hand);
    std::fs::remove_file(&file).unwrap();
    let missing = ec3.write(&old, &old).await.unwrap_err();
    assert!(missing.to_string().contains("no file"), "{missing}");
    assert!(!file.exists());
}

#[tokio::test]
async fn the_part_of_a_writer_that_died_is_removed() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let ec3 = Ec3::of(&frontend);
    let part = local(&world, "/usr/local/ec3/auth.dat.part.1");
    std::fs::write(&part, "half a file").unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let file = std::fs::File::options().write(true).open(&part).unwrap();
    file.set_modified(long_ago).unwrap();
    let old = ec3.auth().await.unwrap();
    ec3.write(&old, &old.with(&token('a')).unwrap())
        .await
        .unwrap();
    assert!(!part.exists());
}

#[tokio::test]
async fn the_refresh_token_has_an_age_and_the_log_is_counted_from_where_one_was() {
    let world = World::start().await;
    let frontend = world.connect().await;
    let ec3 = Ec3::of(&frontend);
    let now = pangeo_bot::domain::clock::Clock::system().now();
    ec3.forget_refresh_token().await.unwrap();
    assert_eq!(ec3.refreshed_at(now).await.unwrap(), None);
    std::fs::write(local(&world, REFRESH_FILE), "refresh").unwrap();
    let at = ec3.refreshed_at(now).await.unwrap().unwrap();
    assert!((now - at).num_seconds() < 60, "{at}");

    let log = local(&world, CLUES_LOG);
    let line = "[PLUGIN-IM];ERROR;2026-11-23 20:14:05,123;OIDC auth Token expired\n";
    let begin = ec3.expired_lines(0).await.unwrap();
    assert_eq!(begin.lines, 0);
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{text}{line}{line}\u{fffd}\0\n")).unwrap();
    let more = ec3.expired_lines(begin.size).await.unwrap();
    assert_eq!(more.lines, 2);
    assert_eq!(ec3.expired_lines(more.size).await.unwrap().lines, 0);
    // After a rotation the log is shorter than where one was.
    std::fs::write(&log, line).unwrap();
    assert_eq!(ec3.expired_lines(more.size).await.unwrap().lines, 1);
    std::fs::remove_file(&log).unwrap();
    assert_eq!(ec3.expired_lines(more.size).await.unwrap().size, 0);
}
