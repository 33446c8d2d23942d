//! The plan of `event plan`: a course. From its people to worker nodes, and what runs by itself so
//! that they are there: up before, locked meanwhile, down after.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::event::{Ask, EventWish, Pods, nodes_for, typed_time};
use crate::domain::person::Person;
use crate::domain::plan::PlanContent;
use crate::domain::schedule::{LONGEST, ScheduleWish, in_zone, typed};
use crate::domain::values::need;
use found::Found;
use runs::{Run, Runs};

mod found;
mod runs;

/// The longest event.
const LONGEST_EVENT: TimeDelta = TimeDelta::days(31);

/// How many nodes `scale` takes at most.
const MOST_NODES: u64 = 500;

/// The command that makes a cluster larger and smaller.
const SCALE: &str = "scale";

/// What was asked for.
struct Wish {
    people: u32,
    /// Of each person, beside the notebook.
    workers: u32,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// In which zone people think of it.
    zone: Tz,
    reason: String,
}

/// What each person gets.
struct Each {
    notebook: Ask,
    worker: Ask,
    /// Whether the values say what a worker gets.
    worker_is_known: bool,
}

impl Planner {
    pub(super) async fn draft_event(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let now = self.store.clock().now();
        let wish = match wish_of(options, now) {
            Ok(wish) => wish,
            Err(problems) => return Ok(Err(problems)),
        };
        let found = match self.found_for_event(&cluster).await? {
            Ok(found) => found,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let each = each(options, &found);
        let nodes = match needed(&wish, &each, &found) {
            Ok(nodes) => nodes,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let runs = Runs::of(&found, nodes, &wish, self.settings.events);
        let (event, now_would) = match self
            .recorded(&name, (&wish, nodes), &runs, requester)
            .await?
        {
            Ok(recorded) => recorded,
            Err(problems) => return Ok(Err(problems)),
        };
        let mut content = content(&name, (&wish, &each, &found), &runs, nodes);
        content.estimate.extend(self.words_of_runs(&found));
        let mut warnings = warnings((&wish, &each, &found), &runs, now);
        warnings.extend(self.in_the_way_of(&cluster, &wish, &runs).await?);
        match now_would {
            Ok(draft) => {
                content.estimate.extend(draft.estimate);
                warnings.extend(draft.warnings);
            }
            Err(problems) => {
                let would = |problem| format!("if the cluster were scaled up now: {problem}");
                warnings.extend(problems.into_iter().map(would));
            }
        }
        content.warnings = warnings;
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&event).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content,
            files: Vec::new(),
        }))
    }

    /// What the plan keeps, and what its first run would do now.
    async fn recorded(
        &self,
        name: &str,
        (wish, nodes): (&Wish, u32),
        runs: &Runs,
        requester: &Person,
    ) -> Result<Result<(EventWish, NowWould), Vec<String>>, PlanError> {
        let scale = self.catalogue.get(SCALE);
        let scale = scale.ok_or_else(|| PlanError::NoPlan {
            command: SCALE.to_owned(),
        })?;
        let mut kept = Vec::new();
        let mut now_would = Ok(PlanContent::default());
        for run in runs.all() {
            let given = run.options(name);
            let inner = match self.schedulable(scale, &given) {
                Ok(inner) => inner,
                Err(problems) => return Ok(Err(problems)),
            };
            if kept.is_empty() {
                // `draft` comes here again for no command that may be scheduled.
                let draft = Box::pin(self.draft(inner.command, &inner.options, requester)).await?;
                now_would = draft.map(|draft| draft.content);
            }
            kept.push(ScheduleWish {
                command: inner.command.name(),
                options: given,
                digest: inner.digest,
                when: typed_time(run.at, wish.zone),
                reason: wish.reason.clone(),
                until: run.at,
            });
        }
        let event = EventWish {
            people: wish.people,
            nodes,
            starts_at: wish.starts_at,
            ends_at: wish.ends_at,
            reason: wish.reason.clone(),
            runs: kept,
        };
        Ok(Ok((event, now_would)))
    }

    /// Other events and locks of the cluster in this time.
    async fn in_the_way_of(
        &self,
        cluster: &Cluster,
        wish: &Wish,
        runs: &Runs,
    ) -> Result<Vec<String>, PlanError> {
        let (from, until) = (runs.up.at, runs.last().max(wish.ends_at));
        let now = self.store.clock().now();
        let mut warnings = Vec::new();
        for event in self.store.events(Some(cluster.name.as_str())).await? {
            if event.starts_at < until && from < event.ends_at {
                warnings.push(format!(
                    "it overlaps with another event, whose lock refuses what this one runs: {}",
                    event.in_words(now)
                ));
            }
        }
        for lock in self.store.locks(cluster.id).await? {
            if runs.all().any(|run| lock.holds_at(run.at)) {
                let words = lock.in_words(now);
                warnings.push(format!("a run is refused while it is {words}"));
            }
        }
        let last_day = cluster.ends_on;
        if let Some(last_day) = last_day.filter(|day| *day < wish.ends_at.date_naive()) {
            warnings.push(format!(
                "the cluster is needed until {last_day} only, by its end date"
            ));
        }
        Ok(warnings)
    }

    /// What people see of the runs.
    fn words_of_runs(&self, found: &Found) -> Vec<String> {
        let minutes = self.settings.schedules.announce_before.as_secs() / 60;
        let mut lines = vec![format!(
            "this channel is told {minutes} min before each run, with a button that skips it; each is planned anew, with the approvals given here"
        )];
        if need::pulls_ahead(&found.values) {
            lines.push(
                "each node pulls the notebooks' image as soon as it is on (`continuous-image-puller`)"
                    .to_owned(),
            );
        }
        lines
    }
}

/// What the first run would do if it ran now, or why it would not.
type NowWould = Result<PlanContent, Vec<String>>;

fn wish_of(options: &Options, now: DateTime<Utc>) -> Result<Wish, Vec<String>> {
    let number = |name| options.integer(name).and_then(|n| u32::try_from(n).ok());
    let starts = options.zoned_time("start");
    let (Some(starts), Some(ends_at)) = (starts, options.time("end")) else {
        return Err(vec!["`start` and `end` are needed".to_owned()]);
    };
    let wish = Wish {
        people: number("people").unwrap_or(1),
        workers: number("workers").unwrap_or(0),
        starts_at: starts.to_utc(),
        ends_at,
        zone: starts.timezone(),
        reason: options.text("reason").unwrap_or_default(),
    };
    let problems = time_problems(&wish, now);
    if problems.is_empty() {
        Ok(wish)
    } else {
        Err(problems)
    }
}

fn time_problems(wish: &Wish, now: DateTime<Utc>) -> Vec<String> {
    let (starts_at, ends_at) = (wish.starts_at, wish.ends_at);
    let shown = |at| in_zone(at, wish.zone);
    let mut problems = Vec::new();
    if ends_at <= starts_at {
        problems.push(format!(
            "`end`: {} is not after the start, {}",
            shown(ends_at),
            shown(starts_at)
        ));
    } else if ends_at <= now {
        problems.push(format!("`end`: it is over since {}", shown(ends_at)));
    } else if ends_at - starts_at > LONGEST_EVENT {
        let days = LONGEST_EVENT.num_days();
        problems.push(format!(
            "`end`: an event lasts {days} days at most; for longer ones use `/pangeo scale` and `/pangeo lock`"
        ));
    }
    if ends_at > now + LONGEST {
        problems.push("`end`: an event ends within a year".to_owned());
    }
    problems
}

/// What each person asks for: what was given, else what the values say.
fn each(options: &Options, found: &Found) -> Each {
    let kept = need::notebook(&found.values);
    let cores = options.integer("notebook-cpus");
    let cores = cores.and_then(|cores| u64::try_from(cores).ok());
    let memory = options.size("notebook-memory");
    let worker = need::worker(&found.values);
    Each {
        notebook: Ask {
            cpu_milli: cores.map_or(kept.cpu_milli, |cores| cores * 1000),
            memory: memory.map_or(kept.memory, crate::domain::size::Size::bytes),
        },
        worker: worker.unwrap_or(need::DASK_DEFAULT),
        worker_is_known: worker.is_some(),
    }
}

/// How many nodes all people need.
fn needed(wish: &Wish, each: &Each, found: &Found) -> Result<u32, String> {
    let people = u64::from(wish.people);
    // Each Dask cluster has a scheduler, too.
    let schedulers = if wish.workers > 0 { people } else { 0 };
    let pods = [
        Pods {
            what: "a notebook",
            each: each.notebook,
            count: people,
        },
        Pods {
            what: "a Dask worker",
            each: each.worker,
            count: people * u64::from(wish.workers),
        },
        Pods {
            what: "a Dask scheduler",
            each: need::DASK_DEFAULT,
            count: schedulers,
        },
    ];
    let nodes = nodes_for(found.node, &pods).map_err(|error| {
        format!("{error}: give less for each, or deploy a cluster with larger worker nodes")
    })?;
    match u32::try_from(nodes) {
        Ok(nodes) if u64::from(nodes) <= MOST_NODES => Ok(nodes),
        Ok(_) | Err(_) => Err(format!(
            "`people`: they need {nodes} worker nodes; a cluster has {MOST_NODES} at most"
        )),
    }
}

fn content(
    name: &str,
    (wish, each, found): (&Wish, &Each, &Found),
    runs: &Runs,
    nodes: u32,
) -> PlanContent {
    let shown = |at| in_zone(at, wish.zone);
    let run = |run: &Run| format!("+ {}: {}", shown(run.at), typed(SCALE, &run.options(name)));
    let workers = match wish.workers {
        0 => String::new(),
        workers => format!(
            " and {workers} Dask workers of {} with a scheduler",
            each.worker
        ),
    };
    let s = if nodes == 1 { "" } else { "s" };
    let used = match found.used {
        0 => String::new(),
        used => format!(", beside {used} in use now"),
    };
    let mut difference = vec![
        format!(
            "  {} people, each with a notebook of {}{workers}",
            wish.people, each.notebook
        ),
        format!(
            "  a worker node has {}: {nodes} node{s} for all{used}; at most {} may be on",
            found.node.for_people(),
            found.files.max
        ),
        format!(
            "+ {} to {}: locked, but for token renewals",
            shown(wish.starts_at),
            shown(wish.ends_at)
        ),
    ];
    difference.extend(runs.all().map(run));
    difference.push("  CLUES gives back what is idle and not kept free".to_owned());
    PlanContent {
        summary: format!(
            "Event on `{name}` from <t:{}:F> to <t:{}:F>: {}",
            wish.starts_at.timestamp(),
            wish.ends_at.timestamp(),
            wish.reason
        ),
        difference,
        estimate: Vec::new(),
        warnings: Vec::new(),
    }
}

fn warnings(
    (wish, each, found): (&Wish, &Each, &Found),
    runs: &Runs,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if wish.starts_at <= now {
        warnings.push("it has begun already: all of it comes as soon as it is approved".to_owned());
    } else if runs.up.at <= now {
        warnings.push(
            "the nodes should be powered on already: that comes as soon as it is approved"
                .to_owned(),
        );
    } else {
        let at = runs.up.at.timestamp();
        warnings.push(format!(
            "approve it before <t:{at}:f>, when the nodes are powered on"
        ));
    }
    if let Some(max) = runs.raised_to() {
        warnings.push(format!(
            "the cluster may have {} nodes only: that is raised to {max} until it is over",
            found.files.max
        ));
    }
    if !found.is_real {
        warnings.push(format!(
            "no worker node is on that could tell its size: {} is what its kind of VM should have",
            found.node
        ));
    }
    if let Some(size) = found.believed.filter(|size| !each.notebook.fits(*size)) {
        warnings.push(format!(
            "CLUES believes that a node has {size}, on which no such notebook fits: it adds none by itself; `/pangeo flavor set` takes the real size"
        ));
    }
    if !need::pulls_ahead(&found.values) {
        warnings.push(
            "the values switch the `continuous-image-puller` off: the first notebook on each node waits for its image"
                .to_owned(),
        );
    }
    if wish.workers > 0 && !each.worker_is_known {
        warnings.push(
            "the values do not say in a way that the bot reads what a Dask worker gets: Dask Gateway's default is counted with"
                .to_owned(),
        );
    }
    warnings
}
