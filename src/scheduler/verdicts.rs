//! Why an app is not where it could be: every agent's verdict, and what would change it.
//!
//! Way in: [`explain`]. Asks the cycle's own questions ([`super::feasibility`], [`super::rules::Rules`]) of every agent,
//! but all of them instead of the first that says no, so that "one change would do" can be told
//! from "three would". Costs one pass over the agents and is never on the scheduling path.

mod changes;
mod crowd;
mod held;
mod lack;
mod obstacles;
mod placed;

pub use self::changes::Change;
use self::changes::changes;
pub use self::held::Held;
use self::held::held;
pub use self::lack::{Amount, Lack};
pub use self::obstacles::Obstacle;
use self::obstacles::obstacles;
use self::placed::Places;
pub use self::placed::{Placed, Score};
use super::ground::Plot;
use super::launch_queue::waiting_of;
use super::matcher::Need;
use super::rules::Objections;
use super::{Suspects, feasibility, ports};
use crate::domain::{AgentId, AgentInfo, AppId, Resources, Strategy, Timestamp};
use crate::state::{AgentRow, ClusterState, InstanceRow, Presence, Table, TaskFailure};

/// Running tasks whose place is explained; the rest of an app's tasks stand for the same reasons.
pub const PLACED_MAX: usize = 10;

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
    /// One for each agent.
    pub verdicts: Verdicts,
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
        self.verdicts.lacks().filter(|lacks| lacks.is_empty()).count()
    }
}

/// What each agent says to one more instance, in id order.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Who was asked. A snapshot: to hold on to each of them costs more than all that is asked.
    agents: Table<AgentId, AgentRow>,
    /// Where the part of each of `lacks` ends.
    ends: Vec<usize>,
    /// Of all agents, one after the other: a list for each costs more than all that is in it.
    lacks: Vec<Lack>,
}

/// What one agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Which.
    pub agent: &'a AgentInfo,
    /// Everything that stands in the way; empty when it suits.
    pub lacks: &'a [Lack],
}

impl Verdict<'_> {
    /// Whether nothing stands in the way.
    pub fn suits(&self) -> bool {
        self.lacks.is_empty()
    }
}

impl Verdicts {
    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The one at a position.
    pub fn get(&self, at: usize) -> Option<Verdict<'_>> {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.copied().unwrap_or(0);
        let lacks = self.lacks.get(start..*self.ends.get(at)?).unwrap_or_default();
        Some(Verdict { agent: &self.agents.nth(at)?.info, lacks })
    }

    /// What stands in the way of each.
    fn lacks(&self) -> impl Iterator<Item = &[Lack]> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let lacks = self.lacks.get(start..*end).unwrap_or_default();
            start = *end;
            lacks
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Verdict<'_>> {
        let agents = self.agents.values();
        agents.zip(self.lacks()).map(|(row, lacks)| Verdict { agent: &row.info, lacks })
    }
}

/// Equal when the same agents say the same, whatever else is recorded of them.
impl PartialEq for Verdicts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Verdicts {}

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
    let queued = waiting_of(state, app, now);
    let content = queued.first().map_or(current, |queued| queued.content);
    let version = queued.first().map_or(state.apps.get(app)?.version, |queued| queued.version);
    let need = Need::of(state, content);
    let needs = need.resources(&[]);
    let verdicts = Verdicts::of(state, &need, suspects);
    let is_waiting = !queued.is_empty();
    let running: Vec<&InstanceRow> =
        state.instances_of(app).filter(|row| row.is_live() && !row.expunged).collect();
    let told = running.get(..PLACED_MAX).unwrap_or(&running);
    let places = Places { state, app, suspects, cluster };
    let placed = places.tell(told, (version, &need, &verdicts));
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
        placed_left_out: running.len().saturating_sub(placed.len()),
        placed,
        needs,
        verdicts,
    })
}

impl Verdicts {
    /// Of every agent, each of which is read once.
    fn of(state: &ClusterState, need: &Need, suspects: &Suspects) -> Self {
        let count = state.agents.len();
        let (mut ends, mut lacks) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut objections = Objections::of(&need.rules);
        for agent in state.agents.values() {
            against(agent, need, suspects, &mut objections, &mut lacks);
            ends.push(lacks.len());
        }
        Self { agents: state.agents.clone(), ends, lacks }
    }
}

/// Everything that stands against an agent.
fn against(
    agent: &AgentRow,
    need: &Need,
    suspects: &Suspects,
    objections: &mut Objections<'_>,
    lacks: &mut Vec<Lack>,
) {
    let info = &agent.info;
    let is_there = agent.presence == Presence::Registered;
    if !is_there {
        lacks.push(Lack::Unreachable);
    } else if let Some(suspicion) = suspects.get(&info.id) {
        lacks.push(Lack::Contact(*suspicion));
    }
    if let Some(hindrance) = &agent.hindrances.tasks {
        lacks.push(Lack::Hindered(feasibility::cannot_start(hindrance)));
    }
    if need.image && !agent.takes_containers() {
        lacks.push(Lack::Containers(feasibility::without_containers(&agent.hindrances)));
    }
    if need.left.contains(&info.id) {
        lacks.push(Lack::Left);
    }
    lacks.extend(objections.against(info).map(|(at, objection)| Lack::Constraint(at, objection)));
    if is_there {
        lack_resources(agent, need, lacks);
    }
}

/// What of a demand an agent has too little of, or keeps for others.
fn lack_resources(agent: &AgentRow, need: &Need, lacks: &mut Vec<Lack>) {
    // Lists of ports cost most of all that is spare.
    let spare_of = if need.ports.is_empty() { AgentRow::spare_amounts } else { AgentRow::spare };
    let Some(plot) = Plot::of(agent, false, spare_of) else { return };
    if feasibility::is_kept_for_others(need, &plot) {
        return lacks.push(Lack::Role(feasibility::kept_for_others(need, &plot)));
    }
    let open = plot.open_to(&need.accepted);
    for amount in Amount::ALL {
        let (needed, spare) = (amount.of_need(need), amount.of(&open));
        if needed > spare {
            lacks.push(Lack::Amount(amount, needed, spare));
        }
    }
    if !ports::fit(&need.ports, &open.ports) {
        let fixed = ports::fixed(&need.ports);
        let taken = fixed.into_iter().filter(|port| !open.ports.contains(*port)).collect();
        lacks.push(Lack::Ports { needed: need.ports.len(), spare: open.ports.count(), taken });
    }
}

#[cfg(test)]
mod tests;
