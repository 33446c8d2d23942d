//! Many clusters: one look at all of them, and new tokens for 50 front ends, beside Ansible.
//!
//! Ansible does on the same front ends what a person would write into a playbook
//! (`benches/renew.yml`): both places of `auth.dat`, then `refresh.dat` away; 16 hosts at a time,
//! pipelined, over the same SSH servers. Neither figure holds the wait for cron's new
//! `refresh.dat`, which is the same for both.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::TimeDelta;
use sandbox::discord::Message;
use sandbox::world::{BOT_USER, World};
use sqlx::PgPool;
use tokio::process::Command;

use crate::setting::{Setting, database_url};
use crate::table::{Row, ms};

/// How many clusters are deployed.
pub(crate) const FLEET: usize = 50;
/// How many more there are whose address never answers.
const SILENT: i32 = 50;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Deploys the clusters and measures.
pub(crate) async fn rows(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let world = &setting.world;
    let pool = PgPool::connect(&database_url()?).await?;
    deploy(world, &pool, 0..FLEET).await?;
    let mut rows = renewal(setting, &pool).await?;
    rows.push(look(world, &pool).await?);
    Ok(rows)
}

fn name(number: usize) -> String {
    format!("fleet-{number}")
}

/// Deploys the clusters with these numbers.
pub(crate) async fn deploy(
    world: &World,
    pool: &PgPool,
    numbers: Range<usize>,
) -> anyhow::Result<()> {
    let all = i64::try_from(numbers.end)?;
    for number in numbers {
        asks_for(world, &name(number)).await?;
    }
    let running = "select count(*) from clusters where phase = 'running' and name like 'fleet-%'";
    until("the fleet runs", async || {
        let count: i64 = sqlx::query_scalar(running).fetch_one(pool).await?;
        Ok(count == all)
    })
    .await
}

/// Ana asks for a cluster on a cloud with room for it, and ben approves it.
pub(crate) async fn asks_for(world: &World, name: &str) -> anyhow::Result<()> {
    for resource in [
        "cores",
        "ram",
        "instances",
        "floating_ips",
        "security_groups",
    ] {
        world.im.set_quota(resource, 0.0, 1_000_000.0);
    }
    let ana = world.discord.person("ana");
    let host = format!("{name}.vm.fedcloud.eu");
    world.prepare_host(&host);
    let typed = format!("/pangeo dns set-secret host:{host}");
    let form = ana.runs(&typed).await.modal().await;
    let secret = [("secret", sandbox::world::DNS_SECRET)];
    ana.fills(&form, &secret).await.answer().await;
    let typed = format!("/pangeo deploy name:{name} host:{host} auth:native");
    ana.runs(&typed).await.answer().await;
    let title = format!("Create cluster `{name}`");
    let plan = |m: &Message| m.says(&title) && m.reactions.len() == 2;
    let plan = world.discord.wait_for_message(plan, PATIENCE).await?;
    world.discord.person("ben").reacts(&plan, "✅");
    Ok(())
}

/// Waits until something holds.
pub(crate) async fn until(
    what: &str,
    holds: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while !holds().await? {
        looks.tick().await;
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
    }
    Ok(())
}

fn token(world: &World) -> anyhow::Result<String> {
    world.checkin.mint_token(BOT_USER, TimeDelta::hours(1))
}

/// The infrastructures of the fleet.
pub(crate) fn infrastructures(world: &World, count: usize) -> anyhow::Result<Vec<String>> {
    (0..count)
        .map(|number| {
            let name = format!("pangeo-{}", name(number));
            Ok(world.im.infrastructure(&name).context("find a cluster")?.id)
        })
        .collect()
}

async fn renewal(setting: &Setting, pool: &PgPool) -> anyhow::Result<Vec<Row>> {
    let world = &setting.world;
    let ids = infrastructures(world, FLEET)?;
    let new = token(world)?;
    let ana = world.discord.person("ana");
    let typed = "/pangeo token renew every:true";
    let form = ana.runs(typed).await.modal().await;
    ana.fills(&form, &[("token", &new)]).await.answer().await;
    let plan = |m: &Message| m.says("Renew the access tokens on") && m.reactions.len() == 2;
    let plan = world.discord.wait_for_message(plan, PATIENCE).await?;
    let began = Instant::now();
    world.discord.person("ben").reacts(&plan, "✅");
    let done =
        "select count(*) from operations where command = 'token renew' and state = 'succeeded'";
    until("the renewal succeeds", async || {
        let count: i64 = sqlx::query_scalar(done).fetch_one(pool).await?;
        Ok(count == 1)
    })
    .await?;
    let all = began.elapsed();
    let wrote = "select extract(epoch from result_at - intent_at)::float8 from steps s
                 join operations o on o.id = s.operation_id
                 where o.command = 'token renew' and s.name = 'write-token'";
    let ours: f64 = sqlx::query_scalar(wrote).fetch_one(pool).await?;
    let ours = Duration::from_secs_f64(ours);
    let what = format!("writing a new token to {FLEET} front ends");
    let beside = match std::env::var_os("BENCH_ANSIBLE") {
        Some(ansible) => {
            let theirs = by_ansible(setting, Path::new(&ansible), &ids).await?;
            let times = theirs.as_secs_f64() / ours.as_secs_f64();
            format!("{} (Ansible {}, × {times:.0})", ms(ours), ms(theirs))
        }
        None => format!("{} (Ansible is not installed: not compared)", ms(ours)),
    };
    Ok(vec![
        Row::new(what, beside, "≥ 10 × faster than Ansible"),
        Row::new(
            "the same from ✅ to the end, with cron's new refresh.dat and 1 s of quiet log",
            ms(all),
            "",
        ),
    ])
}

/// The same by Ansible; the time of the playbook.
async fn by_ansible(setting: &Setting, ansible: &Path, ids: &[String]) -> anyhow::Result<Duration> {
    let world = &setting.world;
    let dir = setting.dir();
    let key = dir.join("ansible-key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .await?;
    anyhow::ensure!(made.success(), "no key was made");
    let public = std::fs::read_to_string(key.with_extension("pub"))?;
    let mut inventory = String::new();
    for (number, id) in ids.iter().enumerate() {
        let keys = world
            .front_ends
            .root(id)?
            .join("home/cloudadm/.ssh/authorized_keys");
        let known = std::fs::read_to_string(&keys)?;
        std::fs::write(&keys, format!("{known}{public}"))?;
        let address = world.front_ends.address(id).context("find an address")?;
        inventory.push_str(&format!("{} ansible_host={address}\n", name(number)));
    }
    let new = token(world)?;
    let (hosts, variables) = (dir.join("hosts"), dir.join("variables.json"));
    std::fs::write(&hosts, inventory)?;
    std::fs::write(&variables, serde_json::json!({ "token": new }).to_string())?;
    let began = Instant::now();
    let output = Command::new(ansible)
        .args(["--forks", "16", "--user", "cloudadm", "--private-key"])
        .arg(&key)
        .arg("--inventory")
        .arg(&hosts)
        .arg("--extra-vars")
        .arg(format!("@{}", variables.display()))
        .args([
            "--extra-vars",
            "ansible_port=2222 ansible_python_interpreter=/usr/bin/python3",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/renew.yml"))
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_HOST_KEY_CHECKING", "False")
        .env("ANSIBLE_HOME", dir.join("ansible"))
        .stdin(Stdio::null())
        .output()
        .await?;
    let took = began.elapsed();
    let told = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "Ansible failed: {told}");
    // Cron may have refreshed the token since, so what stands there now says nothing.
    let changed = told.matches("changed=3").count();
    anyhow::ensure!(changed == ids.len(), "Ansible did not change all: {told}");
    Ok(took)
}

/// One look at all clusters, half of which never answer.
async fn look(world: &World, pool: &PgPool) -> anyhow::Result<Row> {
    sqlx::query(
        "insert into clusters (id, name, host, phase, owner_id, options, infrastructure_id, address, revision, created_at, changed_at)
         select gen_random_uuid(), 'silent-' || n, 'silent-' || n || '.vm.fedcloud.eu', phase, owner_id,
                options, infrastructure_id || '-' || n, '192.0.2.1', revision, created_at, changed_at
         from clusters, generate_series(1, $1) n where name = 'fleet-0'",
    )
    .bind(SILENT)
    .execute(pool)
    .await?;
    let vic = world.discord.person("vic");
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = vic.runs("/pangeo status").await.answer().await;
        times.push(began.elapsed());
        anyhow::ensure!(answer.says("clusters"), "{}", answer.text());
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let clusters: i64 = sqlx::query_scalar("select count(*) from clusters")
        .fetch_one(pool)
        .await?;
    Ok(Row::new(
        format!("status of {clusters} clusters, {SILENT} of them silent, median of 5"),
        ms(median),
        "< 2 s",
    ))
}
