//! The plan of `scale`: how far a cluster may grow, how many nodes are kept free, how many are on.

use futures::{StreamExt as _, TryStreamExt as _};

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::clues::change::{Counts, Moves, ScaleChange};
use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeName, NodeState};
use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::plan::PlanContent;
use crate::domain::tosca::Stored;
use crate::operations::StepError;
use crate::operations::clues::{counts_of, of_clues, of_kubernetes};
use crate::operations::nodes::{OnNode, node_of, on_node};
use crate::services::clues::{CLUES_CFG, CluesError, VNODES, idle_time_of, vnodes_of};
use crate::services::im::{Quota, Quotas};

/// How many nodes are asked for at once.
const AT_ONCE: usize = 8;

/// What was asked for; `None` leaves it as it is.
#[derive(Clone, Copy)]
struct Wish {
    max: Option<u32>,
    min_free: Option<u32>,
    now: Option<usize>,
    at_least: Option<usize>,
    force: bool,
}

impl Wish {
    /// Whether nothing is asked for.
    fn is_empty(&self) -> bool {
        self.max.is_none()
            && self.min_free.is_none()
            && self.now.is_none()
            && self.at_least.is_none()
    }

    /// How many nodes shall be on, where so many are.
    fn on_beside(&self, on: usize) -> Option<usize> {
        let least = self.at_least.map(|least| least.max(on));
        self.now.or(least)
    }

    fn of(options: &Options) -> Self {
        let number = |name| options.integer(name).and_then(|n| u32::try_from(n).ok());
        Self {
            max: number("max"),
            min_free: number("min-free"),
            now: number("now").and_then(|n| usize::try_from(n).ok()),
            at_least: number("at-least").and_then(|n| usize::try_from(n).ok()),
            force: options.is_set("force"),
        }
    }
}

/// A node that is on or comes on, and what runs there.
struct Running {
    name: NodeName,
    on: OnNode,
}

/// What the plan is made from.
struct Found {
    template: Counts,
    files: Counts,
    known: Counts,
    /// After how long CLUES gives a node back, in seconds.
    idle_s: Option<u64>,
    rows: Vec<NodeRow>,
    running: Vec<Running>,
    /// The names of nodes, as many as there may be afterwards.
    names: Vec<NodeName>,
}

impl Planner {
    pub(super) async fn draft_scale(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let mut wish = Wish::of(options);
        if wish.is_empty() {
            // That is what the button below an alert asks for.
            wish.max = match self.max_for_demand(&cluster).await {
                Ok(Some(max)) => Some(max),
                Ok(None) => {
                    let problem = "say what to change: `max`, `min-free`, `now` or `at-least`; no pod waits for a node";
                    return Ok(Err(vec![problem.to_owned()]));
                }
                Err(error) => {
                    let problem = format!("{}; {}", error.for_people(), error.hint());
                    return Ok(Err(vec![problem]));
                }
            };
        }
        let found = match self.nodes_found(&cluster, wish).await {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("{}; {}", error.for_people(), error.hint());
                return Ok(Err(vec![problem]));
            }
        };
        let after = Counts {
            max: wish.max.unwrap_or(found.files.max),
            min_free: wish.min_free.unwrap_or(found.files.min_free),
        };
        let change = match changes(&found, after, wish) {
            Ok(change) => change,
            Err(problems) => return Ok(Err(problems)),
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let running = count(found.running.len());
        let growth = u64::from(after.max).saturating_sub(running);
        let now = count(change.moves.on.len());
        let room = self.room_for(&cluster, now, growth).await;
        if !room.problems.is_empty() {
            return Ok(Err(room.problems));
        }
        let mut warnings = warnings(&found, &change, wish);
        warnings.extend(room.warnings);
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&change).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content: PlanContent {
                summary: format!("Scale `{name}`: {after}"),
                difference: difference(&found, &change),
                estimate: room.lines,
                warnings,
            },
            files: Vec::new(),
        }))
    }

    async fn nodes_found(&self, cluster: &Cluster, wish: Wish) -> Result<Found, StepError> {
        let services = &self.services;
        let template = self.stored_counts(cluster).await?;
        let clues = services.clues(cluster, &self.vault).await?;
        let vnodes = clues.read(VNODES).await.map_err(of_clues)?;
        let config = clues.read(CLUES_CFG).await.map_err(of_clues)?;
        let files = counts_of(&vnodes, &config).map_err(of_clues)?;
        let max = usize::try_from(wish.max.unwrap_or(files.max)).unwrap_or(usize::MAX);
        let after = vnodes_of(&vnodes).map_err(of_clues)?.with_count(max);
        let after = after.map_err(|error| of_clues(CluesError::Vnodes(error)))?;
        let rows = clues.status().await.map_err(of_clues)?;
        let kubernetes = services.kubernetes(cluster, &self.vault).await?;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let on = rows
            .iter()
            .filter(|row| row.state.is_on() || row.state == NodeState::PowOn)
            .filter_map(|row| NodeName::parse(&row.name).ok());
        let on: Vec<NodeName> = on.collect();
        let (api, nodes) = (&kubernetes, &nodes);
        let running = futures::stream::iter(on)
            .map(|name| async move {
                let on = match node_of(nodes, &name) {
                    Some(node) => on_node(api, &node.name).await?,
                    None => OnNode::default(),
                };
                Ok::<_, StepError>(Running { name, on })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let deployed: Option<DeployOptions> = serde_json::from_value(cluster.options.clone()).ok();
        Ok(Found {
            template,
            files,
            known: deployed.map_or(files, |options| Counts {
                max: options.workers_max,
                min_free: options.workers_min_free,
            }),
            idle_s: idle_time_of(&config),
            rows,
            running,
            names: after.names(),
        })
    }

    async fn stored_counts(&self, cluster: &Cluster) -> Result<Counts, StepError> {
        let cannot =
            |why: String| StepError::needs_human(why, "see the infrastructure in IM's dashboard");
        let Some(id) = &cluster.infrastructure else {
            return Err(cannot("it has no infrastructure".to_owned()));
        };
        let template = self.services.im.tosca(id).await;
        let template = template.map_err(|error| cannot(format!("IM can't be asked: {error}")))?;
        let template = template.ok_or_else(|| cannot("IM has no TOSCA of it".to_owned()))?;
        let stored = Stored::read(&template);
        let counts = stored.and_then(|stored| stored.counts());
        counts.map_err(|error| cannot(error.to_string()))
    }

    /// What `growth` more nodes would take, `now` of them at once, beside what the site has left.
    pub(super) async fn room_for(&self, cluster: &Cluster, now: u64, growth: u64) -> Room {
        let mut room = Room::default();
        let options: Option<DeployOptions> = serde_json::from_value(cluster.options.clone()).ok();
        let (Some(options), true) = (options, growth > 0) else {
            return room;
        };
        let settings = &self.services.settings;
        let Some(credential) = settings.credential_for(&options) else {
            return room;
        };
        match self.services.im.quotas(&credential).await {
            Ok(quotas) => room.compare(&quotas, &options, now, growth),
            Err(error) => room
                .lines
                .push(format!("the site's quota is not known: {error}")),
        }
        room
    }
}

/// Whether the site has room for more nodes.
#[derive(Default)]
pub(super) struct Room {
    pub(super) lines: Vec<String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Room {
    fn compare(&mut self, quotas: &Quotas, options: &DeployOptions, now: u64, growth: u64) {
        let worker = &options.worker;
        let rows: [(&str, &str, Option<Quota>, u64); 3] = [
            ("cores", "", quotas.cores, worker.cpus.into()),
            ("memory", " GB", quotas.ram, worker.memory.gigabytes()),
            ("VMs", "", quotas.instances, 1),
        ];
        #[expect(clippy::cast_precision_loss, reason = "quotas are small numbers")]
        let needs = |each: u64, nodes: u64| each.saturating_mul(nodes) as f64;
        for (what, unit, quota, each) in rows {
            let Some(left) = quota.and_then(Quota::left) else {
                continue;
            };
            let (at_once, at_most) = (needs(each, now), needs(each, growth));
            self.lines.push(format!(
                "{what}: {at_most:.0}{unit} more at its largest, {left:.0}{unit} left"
            ));
            if at_once > left {
                self.problems.push(format!(
                    "the site has {left:.0}{unit} of {what} left, but {now} more nodes need {at_once:.0}{unit}; choose fewer nodes, or ask the site for more"
                ));
            } else if at_most > left {
                self.warnings.push(format!(
                    "the site has {left:.0}{unit} of {what} left: the cluster can't grow to its maximum"
                ));
            }
        }
    }
}

/// The change, or why it can't be.
fn changes(found: &Found, after: Counts, wish: Wish) -> Result<ScaleChange, Vec<String>> {
    let mut problems = Vec::new();
    if after.min_free > after.max {
        problems.push(format!(
            "`min-free`: {} nodes can't be kept free of at most {}",
            after.min_free, after.max
        ));
    }
    if wish.now.is_some() && wish.at_least.is_some() {
        problems.push("`at-least`: it goes without `now`".to_owned());
    }
    for (option, wanted) in [("now", wish.now), ("at-least", wish.at_least)] {
        if wanted.is_some_and(|wanted| wanted > found.names.len()) {
            problems.push(format!("`{option}`: at most {} nodes may be on", after.max));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let moves = moves(found, wish)?;
    if !wish.force {
        problems.extend(in_the_way(found, &moves.off).map(|(name, whose)| {
            format!(
                "{name} would be powered off, but runs what is in the way: {whose}; ask them to stop it, or take it from them with `force`"
            )
        }));
    }
    let change = ScaleChange {
        template: found.template,
        files: found.files,
        known: found.known,
        after,
        moves,
    };
    let is_same = [found.template, found.files, found.known] == [after; 3];
    if is_same && change.moves.on.is_empty() && change.moves.off.is_empty() {
        problems.push(format!("nothing would change: {after}"));
    }
    if problems.is_empty() {
        return Ok(change);
    }
    Err(problems)
}

/// Which nodes go on and off: those that may not be any more, and as many as are wanted; first
/// those that nobody uses, the last ones first.
fn moves(found: &Found, wish: Wish) -> Result<Moves, Vec<String>> {
    let may_be = |name: &NodeName| found.names.iter().any(|one| one.is_same(name.as_str()));
    let (stays, goes): (Vec<&Running>, Vec<&Running>) =
        found.running.iter().partition(|node| may_be(&node.name));
    let mut moves = Moves {
        on: Vec::new(),
        off: goes.iter().map(|node| node.name.clone()).collect(),
        forced: wish.force,
    };
    let Some(now) = wish.on_beside(stays.len()) else {
        return Ok(moves);
    };
    let place = |node: &Running| {
        let place = found
            .names
            .iter()
            .position(|one| one.is_same(node.name.as_str()));
        place.unwrap_or(usize::MAX)
    };
    let mut by_use = stays.clone();
    by_use.sort_by_key(|node| {
        let used = (!node.on.users.is_empty(), !node.on.others.is_empty());
        (used, std::cmp::Reverse(place(node)))
    });
    let too_many = stays.len().saturating_sub(now);
    let off = by_use.iter().take(too_many);
    moves.off.extend(off.map(|node| node.name.clone()));
    let wanted = now.saturating_sub(stays.len());
    let row_of = |name: &NodeName| found.rows.iter().find(|row| row.is_of(name.as_str()));
    let can = found
        .names
        .iter()
        .filter(|name| row_of(name).is_none_or(|row| row.enabled && row.state == NodeState::Off));
    moves.on = can.take(wanted).cloned().collect();
    if moves.on.len() == wanted {
        return Ok(moves);
    }
    let not = found.names.iter().filter_map(|name| {
        let row = row_of(name)?;
        let why = if row.enabled {
            row.state.as_str()
        } else {
            "disabled"
        };
        let cannot = !row.enabled || matches!(row.state, NodeState::OffErr | NodeState::PowOff);
        cannot.then(|| format!("{name} is {why}"))
    });
    let not: Vec<String> = not.collect();
    Err(vec![format!(
        "only {} more nodes can be powered on, not {wanted}: {}",
        moves.on.len(),
        not.join(", ")
    )])
}

/// The nodes that are in use, and by whom.
fn in_the_way<'a>(
    found: &'a Found,
    off: &'a [NodeName],
) -> impl Iterator<Item = (&'a NodeName, String)> {
    let of = |node: &&Running| off.contains(&node.name);
    let running = found.running.iter().filter(of);
    running.filter_map(|node| Some((&node.name, node.on.whose()?)))
}

fn difference(found: &Found, change: &ScaleChange) -> Vec<String> {
    let mut lines = Vec::new();
    let after = change.after;
    if found.files != after {
        lines.push(format!("- {}", found.files));
        lines.push(format!("+ {after}"));
    }
    if found.template != found.files && found.template != after {
        lines.push(format!("- in IM's template: {}", found.template));
    }
    if !change.moves.off.is_empty() {
        let nodes = NodeName::list(&change.moves.off);
        lines.push(format!("- drain {nodes} and power off"));
    }
    if !change.moves.on.is_empty() {
        lines.push(format!("+ power on {}", NodeName::list(&change.moves.on)));
    }
    lines
}

fn warnings(found: &Found, change: &ScaleChange, wish: Wish) -> Vec<String> {
    let mut warnings: Vec<String> = in_the_way(found, &change.moves.off)
        .map(|(name, whose)| format!("on {name} this ends what runs there: {whose}"))
        .collect();
    if found.template != found.files {
        warnings.push(format!(
            "IM's template and CLUES' files disagree now: {}; {}",
            found.template, found.files
        ));
    }
    let moved = found
        .running
        .iter()
        .any(|node| change.moves.off.contains(&node.name) && !node.on.others.is_empty());
    let rest = found.running.len() - change.moves.off.len() + change.moves.on.len();
    if moved && rest == 0 {
        warnings.push(
            "DaskHub itself runs on worker nodes: the hub is away until CLUES powers one on again"
                .to_owned(),
        );
    } else if moved {
        warnings.push("pods of DaskHub move to other nodes: the hub is away meanwhile".to_owned());
    }
    let stays_on = usize::try_from(change.after.min_free).unwrap_or(usize::MAX);
    if let (Some(_), Some(idle)) = (wish.on_beside(0), found.idle_s)
        && change.moves.on.len() > stays_on
    {
        warnings.push(format!(
            "CLUES gives nodes back that had nothing to do for {} min, but for {} kept free (`min-free`)",
            idle.div_ceil(60),
            change.after.min_free
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::kubernetes::PodState;

    fn name(number: usize) -> NodeName {
        NodeName::parse(&format!("wn{number}")).unwrap()
    }

    fn row(number: usize, state: NodeState) -> NodeRow {
        NodeRow {
            name: name(number).to_string(),
            state,
            enabled: true,
            stable: String::new(),
            used_cpu_milli: 0,
            used_memory: 0,
            cpus: 8,
            memory: 1,
        }
    }

    fn running(number: usize, users: &[&str], hub: bool) -> Running {
        let pod = |user: &&str| PodState {
            user: Some((*user).to_owned()),
            ..PodState::default()
        };
        Running {
            name: name(number),
            on: OnNode {
                users: users.iter().map(pod).collect(),
                others: if hub {
                    vec![PodState::default()]
                } else {
                    Vec::new()
                },
            },
        }
    }

    /// Of 5 nodes 1 to 3 are on: the hub on the first, eva on the third.
    fn found(max: usize) -> Found {
        let counts = Counts {
            max: 5,
            min_free: 0,
        };
        let state = |n| {
            if n <= 3 {
                NodeState::Used
            } else {
                NodeState::Off
            }
        };
        Found {
            template: counts,
            files: counts,
            known: counts,
            idle_s: Some(300),
            rows: (1..=5).map(|n| row(n, state(n))).collect(),
            running: vec![
                running(1, &[], true),
                running(2, &[], false),
                running(3, &["eva"], false),
            ],
            names: (1..=max).map(name).collect(),
        }
    }

    fn wish(now: Option<usize>, force: bool) -> Wish {
        Wish {
            max: None,
            min_free: None,
            now,
            at_least: None,
            force,
        }
    }

    fn counts(max: u32, min_free: u32) -> Counts {
        Counts { max, min_free }
    }

    #[test]
    fn the_nodes_that_nobody_uses_go_first_and_the_first_that_are_off_come() {
        for (now, on, off) in [
            (3, vec![], vec![]),
            (2, vec![], vec![2]),
            (1, vec![], vec![2, 1]),
            (0, vec![], vec![2, 1, 3]),
            (5, vec![4, 5], vec![]),
        ] {
            let names = |numbers: Vec<usize>| numbers.into_iter().map(name).collect::<Vec<_>>();
            let moved = moves(&found(5), wish(Some(now), false)).unwrap();
            assert_eq!((moved.on, moved.off), (names(on), names(off)), "{now}");
        }
        // Of more than enough none goes.
        for (at_least, on) in [(2, vec![]), (5, vec![4, 5])] {
            let at_least = Wish {
                at_least: Some(at_least),
                ..wish(None, false)
            };
            let moved = moves(&found(5), at_least).unwrap();
            let on: Vec<NodeName> = on.into_iter().map(name).collect();
            assert_eq!((moved.on, moved.off), (on, Vec::new()));
        }
        // Those beyond the maximum go, whoever uses them.
        let moved = moves(&found(2), wish(None, false)).unwrap();
        assert_eq!(moved.off, [name(3)]);
        // New nodes can be powered on, disabled ones can't.
        let mut more = found(7);
        more.rows[3].enabled = false;
        assert_eq!(moves(&more, wish(Some(6), false)).unwrap().on.len(), 3);
        let refused = moves(&more, wish(Some(7), false)).unwrap_err();
        assert!(refused[0].contains("wn4 is disabled"), "{refused:?}");
    }

    #[test]
    fn users_are_in_the_way_unless_forced() {
        let refused = changes(&found(2), counts(2, 0), wish(None, false)).unwrap_err();
        assert!(refused[0].contains("wn3") && refused[0].contains("eva"));
        let forced = changes(&found(2), counts(2, 0), wish(None, true)).unwrap();
        assert_eq!(forced.moves.off, [name(3)]);
        let warned = warnings(&found(2), &forced, wish(None, true));
        assert!(warned[0].contains("eva"), "{warned:?}");
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for (max, after, now) in [
            (5, counts(5, 6), None),
            (5, counts(5, 0), Some(6)),
            (5, counts(5, 0), Some(3)),
            (5, counts(5, 0), None),
        ] {
            let refused = changes(&found(max), after, wish(now, false));
            assert!(refused.is_err(), "{after:?} {now:?}");
        }
        // Numbers that disagree can be set to what one of them says.
        let mut differs = found(5);
        differs.template = counts(4, 0);
        assert!(changes(&differs, counts(5, 0), wish(None, false)).is_ok());
    }
}
