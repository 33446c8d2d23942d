//! `/pangeo logs …`: the ends of a cluster's logs, whatever their size, without secrets.

use sandbox::discord::Message;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

/// A cluster `geo` that runs; answers its infrastructure.
async fn deployed(scene: &Scene) -> String {
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    let deploy = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
    scene.person("ana").runs(deploy).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    scene.world.im.infrastructure("pangeo-geo").unwrap().id
}

async fn vic(scene: &Scene, typed: &str) -> Message {
    scene.person("vic").runs(typed).await.answer().await
}

fn file(scene: &Scene, message: &Message) -> String {
    let bytes = scene.world.discord.file(message.attachments[0].id).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_log_of_a_cluster_can_be_read_by_who_may_look(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = deployed(&scene).await;
    let hub = "hub-6d988656cf-0";
    scene.world.front_ends.pod_says(
        &id,
        hub,
        "[E 2026-11-24 13:00:00.000 JupyterHub user:1] no spawn\nAuthorization: token abcdef0123456789\n",
    );
    for (typed, words) in [
        (
            "hub name:geo",
            vec![
                "no spawn",
                "pod `hub-6d988656cf-0` Running",
                "\u{1b}[31m[E ",
            ],
        ),
        ("proxy name:geo", vec!["ConfigProxy", "503 GET"]),
        ("gateway name:geo", vec!["DaskGateway"]),
        (
            "helm name:geo",
            vec!["install-daskhub", "revision 1 deployed"],
        ),
        ("im name:geo", vec!["contextualisation of"]),
        (
            "clues name:geo",
            vec!["LOGGING MARK", "/var/log/clues2/clues2.log"],
        ),
        (
            "pod name:geo pod:hub-6d988656cf-0",
            vec!["Running JupyterHub version"],
        ),
        (
            "pod name:geo pod:jupyter-zoe",
            vec!["no such pod", "hint: there are", "hub-6d9"],
        ),
        ("hub name:nowhere", vec!["there is no cluster"]),
        ("hub name:geo grep:(", vec!["not a regular expression"]),
        ("hub name:geo since:soon", vec!["not a time span"]),
    ] {
        let answer = vic(&scene, &format!("/pangeo logs {typed}")).await;
        assert!(answer.is_ephemeral());
        for word in words {
            assert!(
                answer.says(word),
                "{typed}: no {word:?} in {}",
                answer.text()
            );
        }
        assert!(
            !answer.says("abcdef0123456789"),
            "{typed}: {}",
            answer.text()
        );
    }
    let answer = vic(&scene, "/pangeo logs hub name:geo").await;
    assert!(
        file(&scene, &answer).contains("Authorization: [redacted]"),
        "{}",
        file(&scene, &answer)
    );
    // No line that holds the secret can be found by it.
    let answer = vic(&scene, "/pangeo logs hub name:geo grep:abcdef").await;
    assert!(answer.says("no lines that match"), "{}", answer.text());
    let answer = vic(
        &scene,
        "/pangeo logs hub name:geo since:5m grep:spawn|health",
    )
    .await;
    assert_eq!(
        file(&scene, &answer).lines().count(),
        1,
        "{}",
        file(&scene, &answer)
    );
    shows_a_page_when_it_is_opened(&scene, &answer, &id, hub).await;
    of_an_operation(&scene).await;
    scene.nothing_unexpected();
}

/// The link to the page of an answer, for its lines.
fn page_of(answer: &Message) -> String {
    let text = answer.text();
    let mut lines = text.lines();
    let link = lines.find_map(|line| line.find("http").map(|at| line[at..].to_owned()));
    link.unwrap().replacen("?", "/lines?", 1)
}

/// Nothing is followed before somebody opens the page; then the lines come.
async fn shows_a_page_when_it_is_opened(scene: &Scene, answer: &Message, id: &str, hub: &str) {
    let open = "select count(*) from log_views where not waits";
    let followed: i64 = sqlx::query_scalar(open)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(followed, 0);
    let new = "[E 2026-11-24] spawn: token = abcdef0123456789\n";
    scene.world.front_ends.pod_says(id, hub, new);
    let link = page_of(answer);
    let began = std::time::Instant::now();
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(200));
    loop {
        looks.tick().await;
        let shown = reqwest::get(&link).await.unwrap().text().await.unwrap();
        assert!(!shown.contains("abcdef0123456789"), "{shown}");
        if shown.contains("spawn: token = [redacted]") {
            break;
        }
        assert!(began.elapsed() < crate::scene::PATIENCE, "{shown}");
    }
}

/// What the deploy wrote, whole, in part, and what helm wrote of it live.
async fn of_an_operation(scene: &Scene) {
    let operation: uuid::Uuid = sqlx::query_scalar("select id from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let typed = format!("/pangeo logs operation operation:{operation}");
    let whole = vic(scene, &typed).await;
    let all = file(scene, &whole);
    assert!(whole.says("```ansi"), "{}", whole.text());
    assert!(all.contains("[install-daskhub]"), "{all}");
    let part = vic(scene, &format!("{typed} lines:2 grep:install-daskhub")).await;
    let expected: Vec<&str> = all
        .lines()
        .filter(|line| line.contains("install-daskhub"))
        .collect();
    let expected = &expected[expected.len() - 2..];
    assert_eq!(file(scene, &part).lines().collect::<Vec<_>>(), expected);
    let none = vic(scene, &format!("{typed} since:1s grep:no-such-thing")).await;
    assert!(none.says("no lines that match"), "{}", none.text());
    vic(scene, "/pangeo logs helm name:geo follow:true").await;
    scene.sees("install-daskhub]").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_log_of_2_gb_is_read_from_its_end(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = deployed(&scene).await;
    let now = pangeo_bot::domain::clock::Clock::system().now();
    let line = |minutes: i64, text: &str| {
        let at = (now - chrono::TimeDelta::minutes(minutes)).format("%Y-%m-%d %H:%M:%S,%3f");
        format!("[PLUGIN-IM];ERROR;{at};{text}\n")
    };
    let lines: String = (0..200)
        .map(|n| line(200 - n, &format!("number {n}, token = s3cr3t-{n}-value")))
        .collect();
    let fronts = &scene.world.front_ends;
    fronts.grow_clues_log(&id, 2_000_000_000, &lines).unwrap();
    let answer = vic(&scene, "/pangeo logs clues name:geo lines:3").await;
    let text = file(&scene, &answer);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.contains("number 199") && !text.contains("number 196"),
        "{text}"
    );
    assert!(
        text.contains("token = [redacted]") && !text.contains("s3cr3t"),
        "{text}"
    );
    assert!(answer.says("1907 MiB"), "{}", answer.text());

    let answer = vic(&scene, "/pangeo logs clues name:geo since:31m lines:5000").await;
    let count = file(&scene, &answer).lines().count();
    assert!(
        (30..=31).contains(&count),
        "{count} lines of the last 31 minutes"
    );
    let answer = vic(&scene, "/pangeo logs clues name:geo grep:number.7, lines:1").await;
    assert_eq!(
        file(&scene, &answer).lines().count(),
        1,
        "{}",
        file(&scene, &answer)
    );
    let answer = vic(&scene, "/pangeo logs clues name:geo grep:nothing-like-it").await;
    assert!(answer.says("searched its last 64 MiB"), "{}", answer.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_diagnosis_names_each_cause_with_its_line_and_what_helps(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = deployed(&scene).await;
    let healthy = vic(&scene, "/pangeo diagnose name:geo").await;
    for words in [
        "no pod waits for a node",
        "✅ CLUES dead",
        "✅ node not ready: all 2 nodes are ready",
        "✅ VM never configured",
        "✅ quota or cloud error",
    ] {
        assert!(healthy.says(words), "no {words:?} in {}", healthy.text());
    }

    let now = pangeo_bot::domain::clock::Clock::system()
        .now()
        .format("%Y-%m-%d %H:%M:%S,%3f");
    let refused = format!(
        "[PLUGIN-IM];ERROR;{now};Error adding resources Bad Request. Quota exceeded for cores, token = abcdef0123456789.\n"
    );
    scene
        .world
        .front_ends
        .write_clues_log(&id, &refused)
        .unwrap();
    let answer = vic(&scene, "/pangeo diagnose name:geo").await;
    assert!(
        answer.says("❌ **quota or cloud error**"),
        "{}",
        answer.text()
    );
    assert!(
        answer.says("Quota exceeded for cores, token = [redacted]"),
        "{}",
        answer.text()
    );
    assert!(answer.says("remedy: ask the site"), "{}", answer.text());

    // A log that nobody wrote to for more than an hour.
    let log = scene
        .world
        .front_ends
        .root(&id)
        .unwrap()
        .join("var/log/clues2/clues2.log");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    let file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    file.set_modified(old).unwrap();
    let answer = vic(&scene, "/pangeo diagnose name:geo").await;
    assert!(answer.says("❌ **CLUES dead**"), "{}", answer.text());
    assert!(
        answer.says("/pangeo run restart-clues name:geo"),
        "{}",
        answer.text()
    );

    scene
        .world
        .front_ends
        .set_ssh(&id, sandbox::frontend::SshDoor::Refusing)
        .unwrap();
    scene.world.front_ends.cut_ssh(&id).unwrap();
    let answer = vic(&scene, "/pangeo diagnose name:geo").await;
    assert!(answer.says("❔ CLUES dead"), "{}", answer.text());
    assert!(answer.says("✅ VM never configured"), "{}", answer.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn all_clusters_are_shown_at_one_look(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let answer = vic(&scene, "/pangeo status").await;
    assert!(answer.says("nothing is deployed"), "{}", answer.text());
    deployed(&scene).await;
    scene.has_silent_clusters(99).await;
    let answer = vic(&scene, "/pangeo status").await;
    assert!(answer.says("100 clusters"), "{}", answer.text());
    let text = file(&scene, &answer);
    assert_eq!(text.lines().count(), 100, "{text}");
    assert!(text.contains("`geo` running · hub"), "{text}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_log_is_followed_in_a_thread_and_on_its_page_by_whichever_bot_lives(pool: PgPool) {
    let mut scene = Scene::start(pool).await;
    let id = deployed(&scene).await;
    let hub = "hub-6d988656cf-0";
    let answer = vic(&scene, "/pangeo logs hub name:geo follow:true").await;
    assert!(answer.says("followed for 10 minutes"), "{}", answer.text());
    let fronts = std::sync::Arc::clone(&scene.world.front_ends);
    scene.sees("watching for pods").await;
    fronts.pod_says(&id, hub, "[E 2026-11-24] new: token = abcdef0123456789");
    let seen = scene.sees("[E 2026-11-24] new: token = [redacted]").await;
    let head = scene.sees("Asked by").await;
    assert_ne!(
        seen.channel_id, head.channel_id,
        "the lines stand in a thread"
    );

    let link = page_of(&answer);
    let shown: serde_json::Value = reqwest::get(&link).await.unwrap().json().await.unwrap();
    let lines = shown["lines"].as_array().unwrap();
    let last = lines.last().unwrap()["text"].as_str().unwrap();
    assert_eq!(last, "[E 2026-11-24] new: token = [redacted]");
    assert_eq!(shown["ended"], false);
    let changed = link.replacen("signature=", "signature=A", 1);
    assert_eq!(reqwest::get(&changed).await.unwrap().status(), 403);

    scene.bot.kill().await.unwrap();
    scene.bot.start().await.unwrap();
    fronts.pod_says(&id, hub, "[I 2026-11-24] after the restart");
    scene.sees("after the restart").await;
    sqlx::query("update log_views set follow_until = now()")
        .execute(&scene.pool)
        .await
        .unwrap();
    scene.sees("was followed until").await;
    scene.nothing_unexpected();
}
