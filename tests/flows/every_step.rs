//! What holds for every step of every command file that has steps, without being asked: run twice
//! it has its effect once, and wherever an operation ends for good, undoing it leaves what was there
//! before and says what else stays.
//!
//! Triggers in the test's own database make the two cases out of results that the bot records, as
//! if its process had died before: the effect is made, its result is lost.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Days;
use pangeo_bot::commands::Catalogue;
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::operations::start;
use sandbox::discord::Message;
use sandbox::faults::On;
use sandbox::world::{BOT_USER, ByHand, DOMAIN};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

/// How many operations run at once.
const AT_ONCE: usize = 4;

/// Drops the first result of each step, in both directions, so that the step runs again at once.
const EACH_TWICE: &str = "
    create table test_twice (operation uuid, step text, state text, unique (operation, step, state));
    create function test_twice() returns trigger language plpgsql as $$
    begin
        insert into test_twice values (new.operation_id, new.name, new.state) on conflict do nothing;
        if found then
            return old;
        end if;
        return new;
    end $$;
    create trigger test_twice before update on steps for each row
        when (old.state = 'running' and new.state in ('done', 'undone', 'left'))
        execute function test_twice();";

const NO_MORE_TWICE: &str = "
    drop trigger test_twice on steps; drop function test_twice; drop table test_twice;";

const NO_MORE_FAILS: &str = "
    drop trigger test_fails on steps; drop function test_fails; drop table test_fails;";

/// Turns the result of a chosen step of a target into the end of its operation's time.
const FAILS_AT: &str = "
    create table test_fails (target text primary key, step text not null);
    create function test_fails() returns trigger language plpgsql as $$
    begin
        delete from test_fails using operations
            where operations.id = new.operation_id and test_fails.target = operations.target
              and test_fails.step = new.name;
        if found then
            update operations set deadline = now() - interval '1 minute' where id = new.operation_id;
            new := old;
            new.state := 'failed';
            new.error := 'made to fail by the test';
        end if;
        return new;
    end $$;
    create trigger test_fails before update on steps for each row
        when (old.state = 'running' and new.state = 'done') execute function test_fails();";

/// A command with steps of its own.
struct Steps {
    command: String,
    steps: Vec<String>,
    /// How many must approve.
    needed: usize,
}

impl Steps {
    /// One command for each list of steps, in an order in which each can work on the clusters that
    /// those before it left.
    fn of_all() -> Vec<Self> {
        let catalogue = Catalogue::built_in(&start::known_steps()).unwrap();
        let commands = catalogue.commands().filter_map(|command| {
            let steps = command.operation.as_ref()?.steps.clone();
            let needed = command.approvals.as_ref().map_or(0, |a| a.needed);
            (!steps.is_empty()).then(|| Self {
                command: command.name(),
                steps,
                needed: usize::try_from(needed).unwrap(),
            })
        });
        let mut seen = BTreeSet::new();
        let mut all: Vec<Self> = commands
            .filter(|command| seen.insert(command.steps.clone()))
            .collect();
        all.sort_by_key(|command| match command.command.as_str() {
            "deploy" => 0,
            // What was changed by hand is in the way of other changes.
            "values adopt" => 2,
            "destroy" => 3,
            // By then the names are free again.
            "adopt" => 4,
            _other => 1,
        });
        all
    }

    /// Whether it works on a cluster that the inventory has.
    fn needs_cluster(&self) -> bool {
        !start::brings_cluster(&self.command)
    }

    /// Whether an undo brings back what was there: what is deleted does not come back.
    fn can_be_undone(&self) -> bool {
        self.command != "destroy"
    }

    fn approve(&self, scene: &Scene, plan: &Message) {
        for name in ["ben", "eva"].iter().take(self.needed) {
            scene.person(name).reacts(plan, "✅");
        }
    }

    /// Asks for it and has it approved.
    async fn begins(&self, scene: &Scene, name: &str) {
        let plan = asks(scene, &self.command, name).await;
        self.approve(scene, &plan);
    }
}

/// Asks for a command on a cluster of this name; its plan. A new command file needs a line here.
async fn asks(scene: &Scene, command: &str, name: &str) -> Message {
    let ana = scene.person("ana");
    let answer = match command {
        "deploy" => {
            let host = format!("{name}.vm.fedcloud.eu");
            scene.keeps_dns_secret(&host).await;
            let typed = format!("/pangeo deploy name:{name} host:{host} auth:native");
            ana.runs(&typed).await.answer().await
        }
        "adopt" => {
            let host = makes_by_hand(scene, name).await;
            let typed = format!("/pangeo adopt name:{name} host:{host}");
            ana.runs(&typed).await.answer().await
        }
        "token renew" | "owners add" => {
            let typed = format!("/pangeo {command} name:{name}");
            let modal = ana.runs(&typed).await.modal().await;
            let hour = chrono::Duration::minutes(60);
            let whose = if command == "owners add" {
                "eva"
            } else {
                BOT_USER
            };
            let token = scene.world.checkin.mint_token(whose, hour).unwrap();
            ana.fills(&modal, &[("token", &token)]).await.answer().await
        }
        nodes if nodes.starts_with("nodes ") => {
            let node = node_for(scene, nodes, name).await;
            let typed = format!("/pangeo {nodes} name:{name} node:{node}");
            ana.runs(&typed).await.answer().await
        }
        "destroy" => {
            let typed = format!("/pangeo destroy name:{name}");
            let modal = ana.runs(&typed).await.modal().await;
            ana.fills(&modal, &[("name", name)]).await.answer().await
        }
        other => {
            is_ready_for(scene, other, name).await;
            let line = in_one_line(other, name);
            let line = line.unwrap_or_else(|| {
                panic!("say how `{other}` is asked for, so that its steps are tried")
            });
            ana.runs(&line).await.answer().await
        }
    };
    let answer = answer.text();
    let id = answer
        .split("plan `")
        .nth(1)
        .and_then(|id| id.split('`').next());
    let id = id.unwrap_or_else(|| panic!("{command}: no plan in {answer}"));
    scene.plan(&format!("plan {id}")).await
}

/// What is asked for by one line, without a form.
fn in_one_line(command: &str, name: &str) -> Option<String> {
    let day = Clock::system().now().date_naive() + Days::new(30);
    let options = match command {
        "values adopt" => String::new(),
        "values chart" => "version:2023.1.0 repository:https://charts.example.org".to_owned(),
        "checkin set-host" => format!("host:{}", other_host(name)),
        "dns update" => "address:147.251.9.9".to_owned(),
        "event plan" => format!("start:\"{day} 09:00\" end:\"{day} 17:00\" people:9"),
        "flavor set" => "cpus:2 memory:3GB".to_owned(),
        "owners remove" => "account:zoe".to_owned(),
        "scale" => "max:6 now:2".to_owned(),
        "schedule add" => "when:\"0 8 * * 1\" command:\"scale max:7\" reason:Course".to_owned(),
        runbook if runbook.starts_with("run ") => String::new(),
        _ => return None,
    };
    Some(format!("/pangeo {command} name:{name} {options}"))
}

/// The name to which a cluster moves.
fn other_host(name: &str) -> String {
    format!("{name}-new.vm.fedcloud.eu")
}

/// Makes what a command is about that is asked for by one line.
async fn is_ready_for(scene: &Scene, command: &str, name: &str) {
    match command {
        "checkin set-host" => scene.keeps_dns_secret(&other_host(name)).await,
        "owners remove" => {
            let view = scene.world.im.infrastructure(&format!("pangeo-{name}"));
            scene.world.im.let_act(&view.unwrap().id, "zoe");
        }
        "values adopt" => changes_by_hand(scene, name),
        _nothing_to_prepare => {}
    }
}

/// A node of a cluster that is so that the command has something to do.
async fn node_for(scene: &Scene, command: &str, name: &str) -> &'static str {
    let view = scene.world.im.infrastructure(&format!("pangeo-{name}"));
    let id = view.unwrap().id;
    let front_ends = &scene.world.front_ends;
    let (node, wanted) = match command {
        "nodes on" => ("wn3", Some("off")),
        "nodes off" | "nodes replace" => ("wn2", Some("idle")),
        "nodes reset" => ("wn4", None),
        _enabled_or_not => ("wn5", None),
    };
    match command {
        "nodes reset" => front_ends.give_up(&id, node),
        "nodes enable" => front_ends.set_enabled(&id, node, false),
        "nodes disable" => front_ends.set_enabled(&id, node, true),
        _powered => front_ends.power(&id, node, wanted == Some("idle")),
    }
    let is_so = || {
        let nodes = front_ends.nodes(&id);
        let its = nodes.into_iter().find(|one| one.name == node);
        wanted.is_none_or(|wanted| its.is_some_and(|its| its.state == wanted))
    };
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let began = std::time::Instant::now();
    while !is_so() {
        look.tick().await;
        assert!(began.elapsed() < crate::scene::PATIENCE, "{node} of {name}");
    }
    node
}

/// Somebody makes a cluster without the bot, unless it is there; the DNS name of its hub.
async fn makes_by_hand(scene: &Scene, name: &str) -> String {
    let (infrastructure, host) = (format!("by-hand-{name}"), format!("{name}.{DOMAIN}"));
    if scene.world.im.infrastructure(&infrastructure).is_none() {
        let wanted = ByHand {
            name: &infrastructure,
            host: &host,
            user: BOT_USER,
        };
        scene.world.make_by_hand(wanted).await.unwrap();
    }
    host
}

/// Somebody on the front end changes what helm has.
fn changes_by_hand(scene: &Scene, name: &str) {
    let view = scene.world.im.infrastructure(&format!("pangeo-{name}"));
    let id = view.unwrap().id;
    let front_ends = &scene.world.front_ends;
    let values = front_ends.releases(&id).pop().unwrap().values;
    let values = values.replace("startTimeout: 600", "startTimeout: 601");
    front_ends.upgrade_by_hand(&id, &values);
}

/// Deploys what commands work on.
async fn prepares(scene: &Scene, names: &[String]) {
    for name in names {
        let plan = asks(scene, "deploy", name).await;
        scene.person("ben").reacts(&plan, "✅");
    }
    for name in names {
        scene.sees(&format!("deploy {name} · succeeded")).await;
    }
}

async fn set_up(scene: &Scene, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&scene.pool).await.unwrap();
}

/// How much was changed outside and recorded, by kind.
async fn effects(scene: &Scene) -> BTreeMap<String, i64> {
    let mut effects = BTreeMap::new();
    let world = &scene.world;
    for request in world.im.faults().requests() {
        // A delete is repeated until IM has begun with it; what counts is what was deleted.
        if request.method == "POST" || request.method == "PUT" {
            let path = request.path.split('?').next().unwrap_or_default();
            let parts = path.split('/').filter(|part| !part.contains('-'));
            let path: Vec<&str> = parts.collect();
            let kind = format!("{} {}", request.method, path.join("/"));
            *effects.entry(kind).or_insert(0) += 1;
        }
    }
    let add = |effects: &mut BTreeMap<String, i64>, kind: &str, count: usize| {
        effects.insert(kind.to_owned(), i64::try_from(count).unwrap());
    };
    let dns = world.dns.faults();
    for call in ["/nic/update", "/nic/delete"] {
        add(&mut effects, call, dns.count(&On::get(call)));
    }
    let deleted = usize::try_from(world.im.delete_calls()).unwrap();
    add(&mut effects, "deleted infrastructures", deleted);
    let front_ends = world.front_ends.infrastructures();
    let runs: u32 = front_ends
        .iter()
        .map(|id| world.front_ends.helm_runs(id))
        .sum();
    add(&mut effects, "runs of helm", usize::try_from(runs).unwrap());
    add(&mut effects, "front ends", front_ends.len());
    for table in ["secrets", "revisions", "clusters"] {
        let sql = format!("select count(*) from {table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&scene.pool)
            .await
            .unwrap();
        effects.insert(format!("rows of {table}"), rows);
    }
    effects
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn each_step_run_twice_has_its_effect_once(pool: PgPool) {
    let scene = Scene::start(pool).await;
    // The first command makes the clusters, the others work on them, the last deletes them.
    let names = ["once".to_owned(), "twice".to_owned()];
    for command in Steps::of_all() {
        // A title begins its line: `adopt` is not `values adopt`.
        let title = |name: &str| format!("| {} {name} · succeeded", command.command);
        let before = effects(&scene).await;
        command.begins(&scene, &names[0]).await;
        scene.sees(&title(&names[0])).await;
        let once = effects(&scene).await;

        set_up(&scene, EACH_TWICE).await;
        command.begins(&scene, &names[1]).await;
        scene.sees(&title(&names[1])).await;
        let twice = effects(&scene).await;
        let dropped = i64::try_from(command.steps.len()).unwrap();
        let rows = "select count(*) from test_twice";
        scene.counts(rows, dropped).await;
        set_up(&scene, NO_MORE_TWICE).await;

        for (kind, count) in &twice {
            let was = |effects: &BTreeMap<String, i64>| *effects.get(kind).unwrap_or(&0);
            let by_one = was(&once) - was(&before);
            assert_eq!(count - was(&once), by_one, "{}: {kind}", command.command);
        }
    }
    scene.nothing_unexpected();
}

/// Which test ends and undoes a command; each has a world of its own.
fn part(command: &Steps) -> Part {
    match command.command.as_str() {
        "adopt" | "deploy" | "destroy" => Part::Clusters,
        "flavor set" | "scale" => Part::Nodes,
        nodes if nodes.starts_with("nodes ") => Part::Nodes,
        _hubs_and_tokens => Part::Hubs,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Clusters,
    Nodes,
    Hubs,
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn making_and_deleting_is_undone_from_any_step_and_says_what_stays(pool: PgPool) {
    ends_at_any_step_and_is_undone(pool, Part::Clusters).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_change_of_nodes_is_undone_from_any_step_and_says_what_stays(pool: PgPool) {
    ends_at_any_step_and_is_undone(pool, Part::Nodes).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_change_of_a_hub_is_undone_from_any_step_and_says_what_stays(pool: PgPool) {
    ends_at_any_step_and_is_undone(pool, Part::Hubs).await;
}

async fn ends_at_any_step_and_is_undone(pool: PgPool, of: Part) {
    let scene = Scene::start(pool).await;
    for resource in ["cores", "ram", "instances", "floating_ips"] {
        scene.world.im.set_quota(resource, 0.0, 100_000.0);
    }
    let all = Steps::of_all().into_iter();
    let all = all.filter(|command| part(command) == of);
    let names_of =
        |first: &str| -> Vec<String> { (0..AT_ONCE).map(|n| format!("{first}{n}")).collect() };
    // After each undo they are again as they were.
    let there_before = names_of("there");
    prepares(&scene, &there_before).await;
    let mut undone = 0;
    for command in all {
        let names = if command.needs_cluster() {
            there_before.clone()
        } else {
            names_of("new")
        };
        if command.command == "adopt" {
            for name in &names {
                makes_by_hand(&scene, name).await;
            }
        }
        let there = (scene.left_over().await, clusters(&scene).await);
        let values_there = values(&scene);
        set_up(&scene, FAILS_AT).await;
        set_up(&scene, EACH_TWICE).await;
        let names = names.iter().cycle();
        let cases: Vec<(&String, &String)> = names.zip(&command.steps).collect();
        // Some at once, as many as a busy machine can serve.
        for cases in cases.chunks(AT_ONCE) {
            end_and_are_undone(&scene, &command, cases).await;
            undone += i64::try_from(cases.len()).unwrap();
            let rows = "select count(*) from operations where state = 'undone'";
            scene.counts(rows, undone).await;
        }
        if command.can_be_undone() {
            let now = (scene.left_over().await, clusters(&scene).await);
            assert_eq!(now, there, "{}", command.command);
            // What was changed by hand before is not undone with taking it over.
            if command.command != "values adopt" {
                assert_eq!(values(&scene), values_there, "{}", command.command);
            }
        }
        set_up(&scene, NO_MORE_TWICE).await;
        set_up(&scene, NO_MORE_FAILS).await;
    }
    assert!(undone > 0, "the test is not about nothing");
    // The deploys had made what they make.
    assert_eq!(scene.world.im.delete_calls() > 0, of == Part::Clusters);
    let left = "select distinct name, error from steps where state = 'left'";
    let left: Vec<(String, Option<String>)> =
        sqlx::query_as(left).fetch_all(&scene.pool).await.unwrap();
    for (step, what) in left {
        assert!(
            what.is_some_and(|what| !what.is_empty()),
            "{step}: no words"
        );
        scene.sees(&format!("{step}`** stays: ")).await;
    }
    scene.nothing_unexpected();
}

/// What each hub that is there is given.
fn values(scene: &Scene) -> BTreeMap<String, Option<(String, String)>> {
    let front_ends = &scene.world.front_ends;
    let hubs = front_ends.infrastructures().into_iter();
    hubs.map(|id| {
        let release = front_ends.releases(&id).pop();
        (
            id,
            release.map(|release| (release.chart_version, release.values)),
        )
    })
    .collect()
}

/// The clusters that are there, with their phases and where their charts come from.
async fn clusters(scene: &Scene) -> Vec<String> {
    let sql = "select concat_ws(' ', name, phase, chart_source) from clusters
               left join revisions on cluster_id = id and number = revision
               where phase <> 'removed' order by name";
    sqlx::query_scalar(sql)
        .fetch_all(&scene.pool)
        .await
        .unwrap()
}

/// Runs the command on each name, where it ends at the step beside it, and asks to undo it.
async fn end_and_are_undone(scene: &Scene, command: &Steps, cases: &[(&String, &String)]) {
    let mut plans = Vec::new();
    for (name, step) in cases {
        sqlx::query("insert into test_fails values ($1, $2)")
            .bind(name)
            .bind(step)
            .execute(&scene.pool)
            .await
            .unwrap();
        plans.push(asks(scene, &command.command, name).await);
    }
    for plan in &plans {
        command.approve(scene, plan);
    }
    let mut stops = Vec::new();
    for ((name, step), plan) in cases.iter().zip(&plans) {
        let title = format!("{} {name} · stopped", command.command);
        let next = "see what holds that step up";
        let stopped = scene.stops_after(Some(plan), &title, next).await;
        assert!(stopped.says(step), "{}", stopped.text());
        stops.push((stopped, format!("`{}` of `{name}`", command.command)));
    }
    for (stopped, what) in &stops {
        scene.undoes(stopped, what).await;
    }
}
