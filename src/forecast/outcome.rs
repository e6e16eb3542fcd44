//! How the end of a course differs from its beginning: who is placed, moves, stops and waits.

use std::collections::{BTreeMap, BTreeSet};

use super::{Course, Rest};
use crate::domain::{AgentId, AppId, Goal, InstanceId, Resources, Scalar, TaskId};
use crate::scheduler::{Explanation, Suspects, explain};
use crate::state::{ClusterState, InstanceRow, Presence};

/// What would become of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// State index that it began at.
    pub index: u64,
    /// Whether it came to rest.
    pub rest: Rest,
    /// Apps that would have other instances, or some that wait; in order.
    pub apps: Vec<AppOutcome>,
    /// Where instances would be placed, by app and id.
    pub placements: Vec<Spot>,
    /// Instances that others, on other agents, would take the place of.
    pub moves: Vec<Move>,
    /// Instances that would stop, or be out of reach, with none in their place.
    pub stops: Vec<Spot>,
    /// Instances that shall move and could not.
    pub stays: Vec<Spot>,
    /// Apps with instances that would wait, and why.
    pub waits: Vec<Wait>,
    /// What is free now.
    pub free_before: Free,
    /// What would be free.
    pub free_after: Free,
}

/// One app, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppOutcome {
    /// Which.
    pub app: AppId,
    /// Instances that are wanted in the end; 0 when it is gone.
    pub wanted: u32,
    /// Instances on agents within reach now.
    pub running_before: usize,
    /// The same in the end.
    pub running_after: usize,
    /// Instances that would be placed.
    pub placed: usize,
    /// Of those, how many take the place of one on another agent.
    pub moved: usize,
    /// And of one on the same agent.
    pub replaced: usize,
    /// Instances that would stop with none in their place.
    pub stopped: usize,
    /// Instances that wait now.
    pub waiting_before: usize,
    /// Instances that would wait.
    pub waiting_after: usize,
}

/// An instance on an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Whose.
    pub app: AppId,
    /// Which.
    pub instance: InstanceId,
    /// Where.
    pub agent: AgentId,
    /// Name of that machine.
    pub hostname: String,
    /// Host ports there.
    pub ports: Vec<u16>,
}

/// One instance for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The one that goes.
    pub from: Spot,
    /// The one that comes.
    pub to: Spot,
}

/// An app with instances that would wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Instances that wait already.
    pub before: usize,
    /// Why, and what would let them run.
    pub why: Explanation,
}

/// What all agents that take new tasks have to spare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Free {
    /// How many agents.
    pub agents: usize,
    /// Their sum; ports are counted apart, because each agent has its own.
    pub sum: Resources,
    /// Host ports.
    pub ports: u64,
    /// The most that one agent has, of each by itself.
    pub most: Resources,
}

impl Outcome {
    /// Compares the end of `course` with `before`, where it began with these suspects.
    pub fn of(before: &ClusterState, suspects: &Suspects, course: &Course, rest: Rest) -> Self {
        let after = course.state();
        let mut told = Self {
            index: before.index,
            rest,
            apps: Vec::new(),
            placements: Vec::new(),
            moves: Vec::new(),
            stops: Vec::new(),
            stays: Vec::new(),
            waits: Vec::new(),
            free_before: Free::of(before, suspects),
            free_after: Free::of(after, course.suspects()),
        };
        let (was, is) = (Standing::of_all(before), Standing::of_all(after));
        let nothing = Standing::default();
        let apps: BTreeSet<&AppId> = was.keys().chain(is.keys()).copied().collect();
        for app in apps {
            let (was, is) = (was.get(app).unwrap_or(&nothing), is.get(app).unwrap_or(&nothing));
            if was == is && is.waiting == 0 {
                continue;
            }
            told.compare(app, was, is, course);
        }
        told
    }

    /// Whether nothing would wait, and nothing be left where it shall not be.
    pub fn is_well(&self) -> bool {
        self.waits.is_empty() && self.stays.is_empty() && self.rest == Rest::Reached
    }

    fn compare(&mut self, app: &AppId, was: &Standing<'_>, is: &Standing<'_>, course: &Course) {
        let spot = |(_, row): (&&TaskId, &&InstanceRow)| Spot::of(row);
        let gone = was.running.iter().filter(|(task, _)| !is.running.contains_key(*task)).filter_map(spot);
        let came = is.running.iter().filter(|(task, _)| !was.running.contains_key(*task)).filter_map(spot);
        let came: Vec<Spot> = came.collect();
        let mut entry = AppOutcome {
            app: app.clone(),
            wanted: course.state().current(app).map_or(0, |content| content.spec.instances),
            running_before: was.running.len(),
            running_after: is.running.len(),
            placed: came.len(),
            moved: 0,
            replaced: 0,
            stopped: 0,
            waiting_before: was.waiting,
            waiting_after: is.waiting,
        };
        let mut comers = came.iter();
        for from in gone {
            match comers.next() {
                Some(to) if to.agent == from.agent => entry.replaced += 1,
                Some(to) => {
                    entry.moved += 1;
                    self.moves.push(Move { from, to: to.clone() });
                }
                None => {
                    entry.stopped += 1;
                    self.stops.push(from);
                }
            }
        }
        self.stays.extend(is.running.values().filter(|row| row.is_moving()).filter_map(|row| Spot::of(row)));
        if is.waiting > 0 {
            let why = explain(course.state(), app, course.suspects(), course.now(), course.strategy());
            self.waits.extend(why.map(|why| Wait { before: was.waiting, why }));
        }
        self.placements.extend(came);
        self.apps.push(entry);
    }
}

/// One app's instances at one moment.
#[derive(Default)]
struct Standing<'a> {
    /// Attempts within reach that were not told to go.
    running: BTreeMap<&'a TaskId, &'a InstanceRow>,
    waiting: usize,
}

impl PartialEq for Standing<'_> {
    /// What is moving differs though it runs as before.
    fn eq(&self, other: &Self) -> bool {
        let moving = |it: &Self| it.running.values().filter(|row| row.is_moving()).count();
        self.waiting == other.waiting
            && self.running.keys().eq(other.running.keys())
            && moving(self) == moving(other)
    }
}

impl<'a> Standing<'a> {
    fn of_all(state: &'a ClusterState) -> BTreeMap<&'a AppId, Self> {
        let mut all: BTreeMap<&AppId, Self> = BTreeMap::new();
        for row in state.instances.values() {
            let own = all.entry(&row.app).or_default();
            // Those of a removed app wait for nothing.
            own.waiting += usize::from(row.is_waiting() && state.apps.contains(&row.app));
            let task = row.task.as_ref().filter(|task| task.is_live() && task.unreachable_since.is_none());
            if let Some(task) = task.filter(|_| row.goal == Goal::Running && !row.expunged) {
                own.running.insert(&task.id, row);
            }
        }
        all
    }
}

impl Spot {
    pub(super) fn of(row: &InstanceRow) -> Option<Self> {
        let task = row.task.as_ref()?;
        Some(Self {
            app: row.app.clone(),
            instance: row.id.clone(),
            agent: task.agent.clone(),
            hostname: task.hostname.clone(),
            ports: task.ports.clone(),
        })
    }
}

impl Free {
    fn of(state: &ClusterState, suspects: &Suspects) -> Self {
        let mut free = Self::default();
        let present = state.agents.values().filter(|agent| agent.presence == Presence::Registered);
        for agent in present.filter(|agent| !suspects.contains_key(&agent.info.id)) {
            let spare = agent.spare();
            let ports = spare.ports.count();
            let spare = Resources { ports: crate::domain::PortRanges::default(), ..spare };
            free.agents += 1;
            free.ports = free.ports.saturating_add(u64::from(ports));
            let greater = |a: Scalar, b: Scalar| a.max(b);
            let most = &mut free.most;
            most.cpus = greater(most.cpus, spare.cpus);
            most.mem = greater(most.mem, spare.mem);
            most.disk = greater(most.disk, spare.disk);
            most.gpus = greater(most.gpus, spare.gpus);
            free.sum = free.sum.plus(&spare);
        }
        free
    }
}
