//! Days of a cluster of the sandbox against the bot itself: users come and go, nodes come and go, and
//! the unmodified bot looks at it over SSH and HTTP.
//!
//! Pretend time goes many times as fast, and the limits of the watch are the default ones divided by that
//! ([`keys`]), up to the next second: they are whole ones. With the defaults themselves, look by look,
//! it is `simulation.rs` that lives. The same file serves `tests/flows` and `make bench`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sandbox::frontend::ServerSize;
use sandbox::world::{StallCause, World};
use sqlx::PgPool;

/// The keys of the configuration: the defaults of `[watch]` in pretend time that goes so many times as fast,
/// up to the next second, and the looks as often as the keys allow. A bot that is slow for some seconds
/// is not blind.
pub(crate) fn keys(pace: u32) -> Vec<(&'static str, String)> {
    let of_default = |seconds: u32| seconds.div_ceil(pace).to_string();
    vec![
        ("WATCH_OFF", String::new()),
        ("WATCH_LOOK_S", "1".to_owned()),
        ("WATCH_FULL_LOOK_S", "1".to_owned()),
        ("WATCH_STALL_AFTER_S", of_default(300)),
        ("WATCH_LATENT_AFTER_S", of_default(600)),
        ("WATCH_BOOT_S", of_default(1500)),
        ("WATCH_BLIND_AFTER_S", "20".to_owned()),
        ("WATCH_RESOLVE_AFTER_S", of_default(60)),
        ("WATCH_ESCALATE_AFTER_S", "3600".to_owned()),
        ("WATCH_SAMPLE_S", "1".to_owned()),
        ("WATCH_DIGEST_AT", String::new()),
    ]
}

/// How long a fault may take until it is told, and an alert until it is over: far more than the
/// limits, since a fault that is told late is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an alert may be without a fault that explains it: a look and the time until it is over.
const AFTERMATH: Duration = Duration::from_secs(4);

/// A cluster that is watched.
pub(crate) struct Watched<'a> {
    pub(crate) world: &'a World,
    pub(crate) pool: &'a PgPool,
    /// Its name.
    pub(crate) name: String,
    /// Its infrastructure.
    pub(crate) id: String,
    /// How many times as fast pretend time goes.
    pub(crate) pace: u32,
}

/// An alert that people were told of.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) cause: String,
    pub(crate) is_over: bool,
}

/// How well faults were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) faults: usize,
    pub(crate) alerts: usize,
    /// What was not told by its cause.
    pub(crate) missed: Vec<&'static str>,
    /// What was told and was not there.
    pub(crate) invented: Vec<String>,
    /// The longest time from the fault to its alert, in seconds.
    pub(crate) latest_s: f64,
}

/// How an alert calls a fault.
pub(crate) const FAULTS: [(StallCause, &str); 12] = [
    (StallCause::TokenExpired, "token expired"),
    (StallCause::RefreshFailing, "token not refreshed"),
    (StallCause::CluesDead, "CLUES dead"),
    (StallCause::WrongNodeSize, "wrong node size in CLUES"),
    (StallCause::MaximumReached, "maximum reached"),
    (StallCause::CloudRefuses, "quota or cloud error"),
    (StallCause::NotConfigured, "VM never configured"),
    (StallCause::NodeNotReady, "node not ready"),
    (StallCause::PodNeverFits, "pod can never fit"),
    (StallCause::PowerOnGivenUp, "power-on given up"),
    (StallCause::NodesDisabled, "nodes disabled"),
    (StallCause::NotScaling, "not a scaling matter"),
];

impl Watched<'_> {
    /// The alerts so far, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn told(&self) -> anyhow::Result<Vec<Told>> {
        let sql = "select coalesce(finding->>'cause', 'unknown'), a.state
                   from alerts a join clusters c on c.id = a.cluster_id
                   where c.name = $1 and fired_at is not null order by fired_at";
        let query = sqlx::query_as(sql).bind(&self.name);
        let rows: Vec<(String, String)> = query.fetch_all(self.pool).await?;
        let told = rows.into_iter().map(|(cause, state)| Told {
            cause,
            is_over: state == "resolved",
        });
        Ok(told.collect())
    }

    /// Lets users come and go for so long in pretend time, from eight o'clock of a day of the week
    /// on (0 is Monday); what was told meanwhile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn lives(&self, pretend: Duration, day: u32) -> anyhow::Result<Vec<Told>> {
        let before = self.told().await?.len();
        self.begins(day)?;
        pass(pretend / self.pace).await;
        let mut told = self.told().await?;
        Ok(told.split_off(before.min(told.len())))
    }

    fn begins(&self, day: u32) -> anyhow::Result<()> {
        self.world.set_pace(self.pace);
        let wrong = StallCause::WrongNodeSize;
        self.world.cause(&self.id, wrong, false)?;
        let front_ends = &self.world.front_ends;
        front_ends.set_load_on(&self.id, u64::from(day) + 1, day);
        Ok(())
    }

    /// Lets random faults come one after the other while users come and go; each goes when it was
    /// told, or was not for long.
    ///
    /// # Errors
    /// When the database or the sandbox fails.
    pub(crate) async fn suffers(&self, faults: usize, seed: u64) -> anyhow::Result<Found> {
        self.begins(0)?;
        let mut found = Found::default();
        let mut number = seed;
        for _fault in 0..faults {
            number = number.wrapping_mul(6_364_136_223_846_793_005);
            number = number.wrapping_add(1_442_695_040_888_963_407);
            let which = usize::try_from((number >> 33) % 12)?;
            let (cause, name) = FAULTS.get(which).copied().context("a fault")?;
            self.suffer(cause, name, &mut found).await?;
        }
        Ok(found)
    }

    async fn suffer(
        &self,
        cause: StallCause,
        name: &'static str,
        found: &mut Found,
    ) -> anyhow::Result<()> {
        self.calms_down().await?;
        let before = self.told().await?.len();
        let began = Instant::now();
        self.world.cause(&self.id, cause, true)?;
        let guests = self.guests();
        let is_told = self.until(|told| told.iter().skip(before).any(|one| one.cause == name));
        if is_told.await? {
            found.latest_s = found.latest_s.max(began.elapsed().as_secs_f64());
        } else {
            found.missed.push(name);
        }
        let told = self.told().await?;
        // What a fault brings with it explains itself by it: CLUES gives up what IM refuses.
        let follows = ["power-on given up", "node not ready"];
        let alerts = told.iter().skip(before);
        let invented = alerts
            .clone()
            .filter(|one| one.cause != name && !follows.contains(&one.cause.as_str()));
        found
            .invented
            .extend(invented.map(|one| format!("{} in {name}", one.cause)));
        found.faults += 1;

        self.world.cause(&self.id, cause, false)?;
        let given_up = StallCause::PowerOnGivenUp;
        let mut is_over = false;
        let ends = Instant::now();
        while !is_over && ends.elapsed() < PATIENCE {
            self.world.cause(&self.id, given_up, false)?;
            pass(Duration::from_millis(500)).await;
            is_over = self.told().await?.iter().all(|one| one.is_over);
        }
        anyhow::ensure!(is_over, "the alert of {name} does not end: {told:?}");
        for guest in guests {
            self.world.front_ends.stop_server(&self.id, &guest);
        }
        pass(AFTERMATH).await;
        found.alerts += self.told().await?.len() - before;
        Ok(())
    }

    /// Waits until the cluster can grow: some nodes are off, and nobody waits.
    async fn calms_down(&self) -> anyhow::Result<()> {
        let front_ends = &self.world.front_ends;
        let began = Instant::now();
        loop {
            let nodes = front_ends.nodes(&self.id);
            let off = nodes.iter().filter(|node| node.state == "off").count();
            let servers = front_ends.servers(&self.id);
            if off >= 2 && servers.iter().all(|(_, node)| node.is_some()) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "{nodes:?} {servers:?}");
            pass(Duration::from_millis(100)).await;
        }
    }

    /// One user more than there are nodes on, each of whom needs a node.
    fn guests(&self) -> Vec<String> {
        let nodes = self.world.front_ends.nodes(&self.id);
        let is_on = |state: &str| ["idle", "used", "powon"].contains(&state);
        let on = nodes.iter().filter(|node| is_on(&node.state)).count();
        let users: Vec<String> = (0..=on).map(|number| format!("guest-{number}")).collect();
        for user in &users {
            let size = ServerSize {
                cpu_milli: 6000,
                memory: 20_000_000_000,
            };
            self.world.front_ends.start_server(&self.id, user, size);
        }
        users
    }

    async fn until(&self, is: impl Fn(&[Told]) -> bool) -> anyhow::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if is(&self.told().await?) {
                return Ok(true);
            }
            pass(Duration::from_millis(100)).await;
        }
        Ok(false)
    }
}

/// Lets time pass.
async fn pass(time: Duration) {
    let mut ticks = tokio::time::interval(time.max(Duration::from_millis(1)));
    ticks.tick().await;
    ticks.tick().await;
}
