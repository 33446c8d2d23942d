//! Runbooks: programs on the front end, as a file says, from the bot's own folder and a site's.

use std::fs;
use std::path::PathBuf;

use sandbox::discord::Message;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";

/// A site's own runbook.
const OWN: &str = r#"
description = "Look for a word, and fail"
effect = "operation"
[who]
may_run = ["operator"]
[approvals]
needed = 1
from = ["approver"]
expire_after = "1h"
[[options]]
name = "name"
kind = "cluster-name"
description = "The cluster"
required = true
[[options]]
name = "word"
kind = "word"
description = "A word"
required = true
[operation]
exclusive = "name"
time_limit = "10m"
[[steps]]
name = "print"
run = ["printf", "<%s> ", "{word}", "$(id);", "token = abcdef0123456789abcdef0123456789"]
time_limit = "1m"
repeat = "safe"
[[steps]]
name = "count"
run = ["sudo", "tee", "--append", "/var/log/count"]
time_limit = "1m"
repeat = "ask"
[[steps]]
name = "fail"
run = ["ls", "/no-such-folder"]
time_limit = "1m"
repeat = "ask"
"#;

/// Removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("runbooks-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        drop(removed);
    }
}

async fn asks(scene: &Scene, typed: &str) -> Message {
    scene.person("ana").runs(typed).await.answer().await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_runbook_is_planned_approved_and_run_once_with_its_log(pool: PgPool) {
    let folder = Folder::new();
    fs::write(folder.0.join("run.print.toml"), OWN).unwrap();
    let dir = folder.0.to_str().unwrap();
    let mut scene = Scene::start_set(pool, &[("COMMANDS_DIR", dir)]).await;
    scene.keeps_dns_secret(HOST).await;
    asks(
        &scene,
        &format!("/pangeo deploy name:geo host:{HOST} auth:native"),
    )
    .await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("geo is ready").await;
    let id = scene.world.im.infrastructure("pangeo-geo").unwrap().id;
    let runs = |scene: &Scene, words: &str| {
        let commands = scene.world.front_ends.commands(&id);
        let exactly = |line: &&String| line.as_str() == words;
        commands.iter().filter(exactly).count()
    };

    // The deploy itself has restarted CLUES, which has read the size of nodes since.
    let before = runs(&scene, "service cluesd restart");
    // CLUES is dead: the diagnosis offers the runbook, which brings it back.
    scene.world.front_ends.kill_clues(&id);
    let diagnosis = asks(&scene, "/pangeo diagnose name:geo").await;
    let label = "/pangeo run restart-clues";
    let offers = diagnosis.buttons().iter().any(|b| b.label == label);
    assert!(offers, "{}", diagnosis.text());
    let ana = scene.person("ana");
    ana.presses_on(&diagnosis, label).await.answer().await;
    let plan = scene.plan("Run `restart-clues` on the front end").await;
    for part in [
        HOST,
        "as cloudadm",
        r#"restart-cluesd: ["sudo","service","cluesd","restart"]"#,
        "can't be undone",
    ] {
        assert!(plan.says(part), "{part}: {}", plan.text());
    }
    scene.person("ben").reacts(&plan, "✅");
    let done = scene.sees("`run restart-clues` of `geo` is done").await;
    assert!(done.says("show-cluesd ended well"), "{}", done.text());
    assert_eq!(runs(&scene, "service cluesd restart"), before + 1);

    // It only looks: nobody is asked.
    asks(
        &scene,
        "/pangeo run disk-usage name:geo folder:/var at-least:10M",
    )
    .await;
    scene.sees("`run disk-usage` of `geo` is done").await;
    scene.sees("needs no approval").await;

    // A site's own: what was approved runs, whatever became of the file; no word is an option.
    let refused = asks(&scene, "/pangeo run print name:geo word:--help").await;
    assert!(refused.says("is not allowed"), "{}", refused.text());
    asks(&scene, "/pangeo run print name:geo word:hello").await;
    let plan = scene.plan("Run `print` on the front end").await;
    fs::remove_file(folder.0.join("run.print.toml")).unwrap();
    scene.bot.kill().await.unwrap();
    scene.bot.start().await.unwrap();
    scene.person("ben").reacts(&plan, "✅");
    let next = "the whole output is in the log";
    let cause = "the program ended with status 2";
    let stopped = scene.stops(cause, next).await;
    assert!(stopped.says("/no-such-folder"), "{}", stopped.text());
    let lines: Vec<String> =
        sqlx::query_scalar("select text from operation_log where step = 'print'")
            .fetch_all(&scene.pool)
            .await
            .unwrap();
    let printed = lines.last().unwrap();
    assert!(printed.starts_with("<hello> <$(id);> <"), "{lines:?}");
    assert!(!lines.join("").contains("abcdef0123456789"), "{lines:?}");
    assert_eq!(runs(&scene, "tee --append /var/log/count"), 1);
    scene
        .person("ana")
        .presses_on(&stopped, "Leave")
        .await
        .answer()
        .await;
    scene.nothing_unexpected();
}
