//! Why an app is not where it could be: every agent's verdict, and what would change it.
//!
//! Way in: [`explain`]. Asks the cycle's own questions ([`super::feasibility`], [`super::rules::Rules`]) of every agent,
//! but all of them instead of the first that says no, so that "one change would do" can be told
//! from "three would". Costs one pass over the agents and is never on the scheduling path.

mod changes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub use self::changes::Change;
use self::changes::changes;
use super::ground::{Ground, Plot};
use super::judge::{Judge, Part};
use super::launch_queue::waiting;
use super::matcher::Need;
use super::{SchedulingView, Suspects, Suspicion, feasibility, ports, rank};
use crate::domain::{
    AgentId, AppId, AppVersion, PortDemand, Resources, Scalar, Strategy, TaskId, TaskState, Timestamp,
};
use crate::state::{AgentRow, ClusterState, InstanceRow, Presence, TaskFailure};

/// Running tasks whose place is explained; the rest of an app's tasks stand for the same reasons.
pub const PLACED_MAX: usize = 10;

/// Agents beside the chosen one that are named for a running task.
const RUNNERS_UP_MAX: usize = 3;

/// Everything about one app's places, at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// State index that was looked at.
    pub index: u64,
    /// Whose.
    pub app: AppId,
    /// How many copies are wanted.
    pub wanted: u32,
    /// How many wait for a place.
    pub waiting: usize,
    /// Since when the first of them waits.
    pub since: Option<Timestamp>,
    /// No launch before this moment, after failures.
    pub backing_off_until: Option<Timestamp>,
    /// Its latest failure, however long ago.
    pub last_failure: Option<TaskFailure>,
    /// Tasks that were placed on agents which cannot start them for now; at most [`PLACED_MAX`].
    pub held: Vec<Held>,
    /// What one more instance takes.
    pub needs: Resources,
    /// Host ports that one more instance takes, fixed and chosen ones.
    pub ports: usize,
    /// One verdict for each agent, in id order.
    pub verdicts: Vec<Verdict>,
    /// Agents that do not suit, by everything that stands in their way; the most frequent first.
    pub obstacles: Vec<Obstacle>,
    /// Single changes after which at least one agent would suit, those that help most first.
    pub changes: Vec<Change>,
    /// Why running tasks are where they are; at most [`PLACED_MAX`].
    pub placed: Vec<Placed>,
    /// Running tasks beyond these.
    pub placed_left_out: usize,
}

impl Explanation {
    /// Agents that one more instance could go to now.
    pub fn suitable(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.lacks.is_empty()).count()
    }
}

/// A task that its agent cannot start for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub task: TaskId,
    /// Where.
    pub agent: AgentId,
    /// Its machine.
    pub hostname: String,
    /// Why, for people.
    pub why: String,
}

/// What one agent says to one more instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub agent: AgentId,
    /// Its machine.
    pub hostname: String,
    /// Everything that stands in the way; empty when it suits.
    pub lacks: Vec<Lack>,
}

/// One thing that stands in the way, with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The agent cannot be reached.
    Unreachable,
    /// The agent counts as there and gets nothing now.
    Contact(Suspicion),
    /// Enough is spare, but too much of it for roles that the app does not accept; in words.
    Role(String),
    /// The agent says that it can start nothing now; in words.
    Hindered(String),
    /// An image is wanted and the agent runs no containers, or none now; in words.
    Containers(String),
    /// An instance of the app moves away from the agent.
    Left,
    /// A constraint, by its position, and what it objects to.
    Constraint(usize, String),
    /// Too little of something.
    Amount(Amount, Scalar, Scalar),
    /// Too few host ports, or those that are wanted are taken.
    Ports {
        /// How many are needed.
        needed: usize,
        /// How many are spare.
        spare: u32,
        /// Wanted ones that are not spare.
        taken: Vec<u16>,
    },
}

/// A resource that has an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Processors.
    Cpus,
    /// Memory in MiB.
    Mem,
    /// Disk in MiB.
    Disk,
    /// Graphics processors.
    Gpus,
}

impl Amount {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpus, Self::Mem, Self::Disk, Self::Gpus];

    /// Its name in an app's definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
        }
    }

    /// How much of it there is.
    pub fn of(self, resources: &Resources) -> Scalar {
        match self {
            Self::Cpus => resources.cpus,
            Self::Mem => resources.mem,
            Self::Disk => resources.disk,
            Self::Gpus => resources.gpus,
        }
    }
}

impl Lack {
    /// Whether both have the same name.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constraint(a, _), Self::Constraint(b, _)) => a == b,
            (Self::Amount(a, ..), Self::Amount(b, ..)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// A short name, the same for every agent: what obstacles are grouped by.
    pub fn name(&self) -> String {
        match self {
            Self::Unreachable => "unreachable".to_owned(),
            Self::Contact(Suspicion::Drained) => "drained".to_owned(),
            Self::Contact(_) => "contact".to_owned(),
            Self::Role(_) => "role".to_owned(),
            Self::Hindered(_) => "hindered".to_owned(),
            Self::Containers(_) => "containers".to_owned(),
            Self::Left => "moving".to_owned(),
            Self::Constraint(at, _) => format!("constraints({at})"),
            Self::Amount(amount, ..) => amount.as_str().to_owned(),
            Self::Ports { .. } => "ports".to_owned(),
        }
    }

    /// For people, with numbers.
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreachable => "the agent cannot be reached".to_owned(),
            Self::Contact(suspicion) => suspicion.sentence(),
            Self::Role(words) | Self::Hindered(words) | Self::Containers(words) => words.clone(),
            Self::Left => "an instance of the app moves away from the agent".to_owned(),
            Self::Constraint(_, objection) => objection.clone(),
            Self::Amount(amount, needed, spare) => {
                let name = amount.as_str();
                format!("needs {needed} {name}, {spare} are spare: {} short", needed.minus(*spare))
            }
            Self::Ports { needed, spare, taken } if taken.is_empty() => {
                format!("needs {}, {} spare", ports::counted(*needed), ports::are(*spare))
            }
            Self::Ports { taken, .. } => {
                let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
                format!("needs host ports that are not spare: {}", taken.join(", "))
            }
        }
    }

    /// How far away it is, in thousandths of what is needed; what has no amount is farthest.
    fn distance(&self) -> u64 {
        match self {
            Self::Amount(_, needed, spare) => {
                let short = u128::from(needed.minus(*spare).thousandths()) * 1_000;
                let share = short.checked_div(u128::from(needed.thousandths())).unwrap_or(0);
                u64::try_from(share).unwrap_or(u64::MAX)
            }
            _ => 1_000,
        }
    }
}

/// Agents that the same things stand in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Names of what stands in the way, all of it.
    pub lacks: Vec<String>,
    /// How many agents.
    pub agents: usize,
    /// Position among the verdicts of the one that is nearest to suiting.
    pub nearest: usize,
}

/// How one agent compares for one instance: for apps with wishes the most points first, for others
/// the fewest siblings and then the greatest rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Which.
    pub agent: AgentId,
    /// Its machine.
    pub hostname: String,
    /// Other instances of the app there.
    pub siblings: u32,
    /// The fuller of cpus and memory without the instance, in millionths.
    pub load: u64,
    /// What the cycle compares among equal siblings: the free share, then a lot drawn by the id.
    pub rank: u32,
    /// What soft wishes or bin-packing say, where the app has any: then the sum of their points
    /// decides, and of equal ones the lot.
    pub wishes: Option<Vec<Part>>,
}

impl Score {
    /// The sum of all points, in thousandths; 0 where there are no wishes.
    pub fn points(&self) -> i64 {
        self.wishes.iter().flatten().map(|part| part.points).sum()
    }

    /// The best comes first, as the cycle takes them.
    fn order(&self) -> (Reverse<i64>, u32, Reverse<u32>, &AgentId) {
        match self.wishes {
            Some(_) => (Reverse(self.points()), 0, Reverse(rank::lot_of(self.rank).into()), &self.agent),
            None => (Reverse(0), self.siblings, Reverse(self.rank), &self.agent),
        }
    }
}

/// A running task, where it is, and what else would suit it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which.
    pub task: TaskId,
    /// When it was placed.
    pub at: Timestamp,
    /// Where it is.
    pub here: Score,
    /// The best other agents, best first.
    pub runners_up: Vec<Score>,
}

/// Explains the places of one app as of `state`, where suspects get nothing and apps without a
/// strategy get `cluster`; nothing for an app that does not exist.
pub fn explain(
    state: &ClusterState,
    app: &AppId,
    suspects: &Suspects,
    now: Timestamp,
    cluster: Strategy,
) -> Option<Explanation> {
    let current = state.current(app)?;
    let queued: Vec<_> = waiting(state, now).into_iter().filter(|queued| queued.app == app).collect();
    let content = queued.first().map_or(current, |queued| queued.content);
    let need = Need::of(state, content);
    let ground = Ground::of(&SchedulingView::without(state, suspects));
    let suspicion = |agent: &AgentRow| suspects.get(&agent.info.id).copied();
    // Both in id order.
    let mut plots = ground.plots.iter().peekable();
    let mut plot_of = |agent: &AgentRow| plots.next_if(|plot| plot.agent.info.id == agent.info.id);
    let agents = state.agents.values();
    let verdicts: Vec<Verdict> =
        agents.map(|agent| verdict(&need, content, agent, suspicion(agent), plot_of(agent))).collect();
    let needs = need.resources(&[]);
    let is_waiting = !queued.is_empty();
    let (placed, placed_left_out) = placed(state, app, &ground, cluster);
    Some(Explanation {
        index: state.index,
        app: app.clone(),
        wanted: current.spec.instances,
        waiting: queued.iter().map(|queued| queued.instances.len()).sum(),
        since: queued.iter().map(super::Queued::since).min(),
        backing_off_until: queued.iter().filter_map(|queued| queued.backing_off_until).max(),
        last_failure: state.apps.get(app).and_then(|row| row.last_failure.clone()),
        held: held(state, app),
        ports: need.ports.len(),
        obstacles: obstacles(&verdicts),
        // Who waits for nothing needs no change.
        changes: if is_waiting { changes(&need, content, &needs, &verdicts) } else { Vec::new() },
        placed,
        placed_left_out,
        needs,
        verdicts,
    })
}

/// Tasks that are not started because of what their agents say of themselves.
fn held(state: &ClusterState, app: &AppId) -> Vec<Held> {
    let is_starting = |state| matches!(state, TaskState::Staging | TaskState::Starting);
    let of = |row: &InstanceRow| {
        let task = row.task.as_ref().filter(|task| is_starting(task.status.state))?;
        let agent = state.agents.get(&task.agent)?;
        let hindrances = &agent.hindrances;
        let is_container = || state.content_of(row).is_some_and(|content| content.spec.image().is_some());
        let why =
            hindrances.tasks.clone().or_else(|| hindrances.containers.clone().filter(|_| is_container()))?;
        let hostname = agent.info.hostname.clone();
        Some(Held { task: task.id.clone(), agent: task.agent.clone(), hostname, why })
    };
    state.instances_of(app).filter_map(of).take(PLACED_MAX).collect()
}

/// Everything that stands in the way of one more instance on one agent.
fn verdict(
    need: &Need,
    content: &AppVersion,
    agent: &AgentRow,
    suspicion: Option<Suspicion>,
    plot: Option<&Plot<'_>>,
) -> Verdict {
    let mut lacks = Vec::new();
    if agent.presence != Presence::Registered {
        lacks.push(Lack::Unreachable);
    } else if let Some(suspicion) = suspicion {
        lacks.push(Lack::Contact(suspicion));
    }
    if let Some(hindrance) = &agent.hindrances.tasks {
        lacks.push(Lack::Hindered(feasibility::cannot_start(hindrance)));
    }
    if need.image && !agent.takes_containers() {
        lacks.push(Lack::Containers(feasibility::without_containers(&agent.hindrances)));
    }
    if need.left.contains(&agent.info.id) {
        lacks.push(Lack::Left);
    }
    let objections = (0..content.spec.constraints.len())
        .filter_map(|at| Some(Lack::Constraint(at, need.rules.objection_of(at, &agent.info)?)));
    lacks.extend(objections);
    match plot {
        Some(plot) if feasibility::is_kept_for_others(need, plot) => {
            lacks.push(Lack::Role(feasibility::kept_for_others(need, plot)));
        }
        Some(plot) => lacks.extend(lacking_resources(need, plot)),
        None => {}
    }
    Verdict { agent: agent.info.id.clone(), hostname: agent.info.hostname.clone(), lacks }
}

fn lacking_resources(need: &Need, plot: &Plot<'_>) -> Vec<Lack> {
    let needs = need.resources(&[]);
    let open = plot.open_to(&need.accepted);
    let short = |amount: &Amount| amount.of(&needs) > amount.of(&open);
    let mut lacks: Vec<Lack> = Amount::ALL
        .into_iter()
        .filter(short)
        .map(|amount| Lack::Amount(amount, amount.of(&needs), amount.of(&open)))
        .collect();
    if !ports::fit(&need.ports, &open.ports) {
        let fixed = need.ports.iter().filter_map(|demand| match demand {
            PortDemand::Exactly(port) => Some(*port),
            PortDemand::Any => None,
        });
        let taken: BTreeSet<u16> = fixed.filter(|port| !open.ports.contains(*port)).collect();
        let spare = open.ports.count();
        lacks.push(Lack::Ports { needed: need.ports.len(), spare, taken: taken.into_iter().collect() });
    }
    lacks
}

/// Groups what does not suit by the whole set of reasons.
fn obstacles(verdicts: &[Verdict]) -> Vec<Obstacle> {
    struct Set<'a> {
        lacks: &'a [Lack],
        distance: u64,
        obstacle: Obstacle,
    }
    // Names are made once for each set, of which there are few.
    let mut sets: Vec<Set<'_>> = Vec::new();
    for (at, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| !verdict.lacks.is_empty()) {
        let lacks = verdict.lacks.as_slice();
        let distance = lacks.iter().map(Lack::distance).max().unwrap_or(0);
        let is_alike = |set: &&mut Set<'_>| {
            set.lacks.len() == lacks.len() && set.lacks.iter().zip(lacks).all(|(a, b)| a.is_like(b))
        };
        if let Some(set) = sets.iter_mut().find(is_alike) {
            set.obstacle.agents += 1;
            if distance < set.distance {
                (set.distance, set.obstacle.nearest) = (distance, at);
            }
        } else {
            let names = lacks.iter().map(Lack::name).collect();
            sets.push(Set { lacks, distance, obstacle: Obstacle { lacks: names, agents: 1, nearest: at } });
        }
    }
    let mut obstacles: Vec<Obstacle> = sets.into_iter().map(|set| set.obstacle).collect();
    obstacles.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.lacks.cmp(&b.lacks)));
    obstacles
}

/// Why running tasks are where they are: how their agents compare with the best others, each
/// task taken away in thought. Says of how many more nothing is told.
fn placed(state: &ClusterState, app: &AppId, ground: &Ground<'_>, cluster: Strategy) -> (Vec<Placed>, usize) {
    let mut siblings: BTreeMap<&AgentId, u32> = BTreeMap::new();
    let tasks = state.instances_of(app).filter_map(|row| row.task.as_ref());
    for task in tasks.filter(|task| task.is_live()) {
        *siblings.entry(&task.agent).or_default() += 1;
    }
    let running: Vec<&InstanceRow> =
        state.instances_of(app).filter(|row| row.is_live() && !row.expunged).collect();
    let tell = |row: &&InstanceRow| placed_one(state, row, ground, &siblings, cluster);
    let told: Vec<Placed> = running.iter().take(PLACED_MAX).filter_map(tell).collect();
    let left_out = running.len().saturating_sub(told.len());
    (told, left_out)
}

fn placed_one(
    state: &ClusterState,
    row: &InstanceRow,
    ground: &Ground<'_>,
    siblings: &BTreeMap<&AgentId, u32>,
    cluster: Strategy,
) -> Option<Placed> {
    let task = row.task.as_ref()?;
    let content = state.content_of(row)?;
    let need = Need::without(state, content, &row.id);
    let mut judge = Judge::in_state(state, content, cluster, &[], Some(row));
    let mut score = |plot: &Plot<'_>, siblings: u32| {
        let info = &plot.agent.info;
        let (totals, spare) = (&info.totals, &plot.spare);
        let (totals, spare) = ((totals.cpus, totals.mem), (spare.cpus, spare.mem));
        let load = rank::load(totals, spare);
        let rank = rank::score(totals, spare, rank::lot(&info.id));
        let wishes = judge.as_mut().map(|judge| judge.parts(info, load, siblings));
        Score { agent: info.id.clone(), hostname: info.hostname.clone(), siblings, load, rank, wishes }
    };
    let others = |agent: &AgentId| siblings.get(agent).copied().unwrap_or(0);
    let at = ground.position(&task.agent)?;
    let mut own = ground.plots.get(at)?.clone();
    own.spare = own.spare.plus(&task.resources);
    let here = score(&own, others(&task.agent).saturating_sub(1));
    let suits = |plot: &Plot<'_>| feasibility::check(&need, plot).is_ok();
    let mut runners_up: Vec<Score> = ground
        .plots
        .iter()
        .enumerate()
        .filter(|(other, plot)| *other != at && suits(plot))
        .map(|(_, plot)| score(plot, others(&plot.agent.info.id)))
        .collect();
    runners_up.sort_by(|a, b| a.order().cmp(&b.order()));
    runners_up.truncate(RUNNERS_UP_MAX);
    Some(Placed { task: task.id.clone(), at: task.staged_at, here, runners_up })
}

#[cfg(test)]
mod tests;
