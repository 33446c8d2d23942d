//! What holds for every command file, without being asked.

use pangeo_bot::commands::Catalogue;
use pangeo_bot::domain::person::Role;
use pangeo_bot::operations::start;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

/// A person for each role, and one without any.
const PEOPLE: [(&str, Option<Role>); 4] = [
    ("vic", Some(Role::Viewer)),
    ("ana", Some(Role::Operator)),
    ("ben", Some(Role::Approver)),
    ("zed", None),
];

fn example(option: &str) -> &'static str {
    match option {
        "host" => "geo.vm.fedcloud.eu",
        "account" => "zoe",
        "operation" => "0123abcd",
        "path" => "jupyterhub.singleuser.startTimeout",
        "node" => "wn2",
        "pod" => "jupyter-ana",
        "revision" => "1",
        "version" => "2024.1.1",
        "start" => "2098-12-31",
        "end" => "2099-01-01",
        "people" => "20",
        "event" => "0123abcd",
        "reason" => "Course",
        "when" => "\"0 8 * * 1-5\"",
        "command" => "\"scale now:2\"",
        "schedule" | "alert" => "0123abcd",
        _ => "geo",
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn each_command_is_refused_to_every_role_that_its_file_does_not_name(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let catalogue = Catalogue::built_in(&start::known_steps()).unwrap();
    let mut refusals = 0;
    for command in catalogue.commands() {
        let required = command.options.iter().filter(|option| option.required);
        let options: Vec<String> = required
            .map(|option| format!("{}:{}", option.name, example(&option.name)))
            .collect();
        let typed = format!("/pangeo {} {}", command.name(), options.join(" "));
        for (name, role) in PEOPLE {
            if role.is_some_and(|role| command.may_run.contains(&role)) {
                continue;
            }
            let answer = scene.person(name).runs(typed.trim()).await.answer().await;
            assert!(
                answer.is_ephemeral(),
                "{name} runs {typed}: answered in public"
            );
            let allowed = command
                .may_run
                .iter()
                .any(|role| answer.says(role.as_str()));
            assert!(allowed, "{name} runs {typed}: {}", answer.text());
            refusals += 1;
        }
    }
    assert!(refusals > 20, "only {refusals} were tried");
    let rows: i64 = sqlx::query_scalar(
        "select (select count(*) from plans) + (select count(*) from secrets)
              + (select count(*) from operations)",
    )
    .fetch_one(&scene.pool)
    .await
    .unwrap();
    assert_eq!(rows, 0);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn each_completion_is_empty_for_those_who_may_not(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    let typed = "/pangeo dns check host:ge";
    assert!(!scene.person("ana").completes(typed).await.is_empty());
    assert!(scene.person("zed").completes(typed).await.is_empty());
    let images = scene
        .person("ana")
        .completes("/pangeo deploy name:geo site-image:ub")
        .await;
    assert!(!images.is_empty(), "no image of the site completes");
    let cpus = scene
        .person("ana")
        .completes("/pangeo deploy name:geo worker-cpus:1")
        .await;
    assert!(cpus.iter().any(|(name, _)| name == "16"), "{cpus:?}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn no_word_of_our_own_is_taken_for_a_secret(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let catalogue = Catalogue::built_in(&start::known_steps()).unwrap();
    for command in catalogue.commands() {
        if command.modal.is_some() {
            continue;
        }
        let required = command.options.iter().filter(|option| option.required);
        let options: Vec<String> = required
            .map(|option| format!("{}:{}", option.name, example(&option.name)))
            .collect();
        let typed = format!("/pangeo {} {}", command.name(), options.join(" "));
        let typed = typed.trim();
        let name = if command.may_run.contains(&Role::Operator) {
            "ana"
        } else {
            "ben"
        };
        let answer = scene.person(name).runs(typed).await.answer().await;
        assert!(!answer.says("[redacted]"), "{typed}: {}", answer.text());
    }
}
