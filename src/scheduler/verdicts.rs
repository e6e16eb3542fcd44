//! Why an app is not where it could be: every agent's verdict, and what would change it.
//!
//! Way in: [`explain`]. Asks the cycle's own questions ([`super::feasibility`], [`super::rules::Rules`]) of every agent,
//! but all of them instead of the first that says no, so that "one change would do" can be told
//! from "three would". Costs one pass over the agents and is never on the scheduling path.

mod advice;
mod changes;
mod copies;
mod crowd;
mod deferred;
mod held;
mod lack;
mod obstacles;
mod placed;
mod shortage;
mod useless;

use self::advice::{Advice, advice};
pub use self::changes::Change;
pub use self::copies::Copies;
use self::copies::{Keepers, is_within_reach};
use self::deferred::deferred;
pub use self::held::Held;
use self::held::held;
pub use self::lack::{Amount, Lack, PortHolder, TakenPort};
pub use self::obstacles::Obstacle;
use self::obstacles::obstacles;
use self::placed::Places;
pub use self::placed::{Placed, Score};
use self::shortage::shortage;
use super::ground::Plot;
use super::launch_queue::waiting_of;
use super::matcher::Need;
use super::rules::Objections;
use super::{Suspects, feasibility, rank};
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
    /// How many run meanwhile.
    pub copies: Copies,
    /// For people, in lines: that its own copies keep the room that others of it wait for, that a
    /// deployment has something else to do first, that copies serve nobody.
    pub note: Option<String>,
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
    /// The smallest changes after which at least one agent would suit, those that help most first.
    pub changes: Vec<Change>,
    /// Where no agent could be added that suits: which constraints exclude each other. For people.
    pub contradiction: Option<String>,
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
    /// How full each is, in millionths: what those that suit are told apart by.
    loads: Vec<u64>,
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
    let live: Vec<&InstanceRow> =
        state.instances_of(app).filter(|row| row.is_live() && !row.expunged).collect();
    let running: Vec<&InstanceRow> = live.iter().copied().filter(|row| is_within_reach(row)).collect();
    let told = running.get(..PLACED_MAX).unwrap_or(&running);
    let places = Places { state, app, suspects, cluster };
    let placed = places.tell(told, (version, &need, &verdicts));
    // Who waits for nothing needs no change.
    let is_waiting = !queued.is_empty();
    let mut advice = if is_waiting { advice(&need, content, &verdicts) } else { Advice::default() };
    let keepers = is_waiting.then(|| Keepers::of(state, content, &live)).flatten();
    let note = keepers.and_then(|keepers| advice.beside(&keepers, &verdicts));
    let unhealthy = useless::unhealthy(state, &live);
    let notes = [
        note,
        deferred(state, app),
        useless::told_of_unhealthy(state, &unhealthy),
        useless::told_of_absent(state, &live),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    Some(Explanation {
        index: state.index,
        app: app.clone(),
        wanted: current.spec.instances,
        waiting: queued.iter().map(|queued| queued.instances.len()).sum(),
        copies: Copies::of(content, &live, unhealthy.len()),
        note: (!notes.is_empty()).then(|| notes.join("\n")),
        since: queued.iter().map(super::Queued::since).min(),
        backing_off_until: queued.iter().filter_map(|queued| queued.backing_off_until).max(),
        last_failure: state.apps.get(app).and_then(|row| row.last_failure.clone()),
        held: held(state, app),
        ports: need.ports.len(),
        obstacles: obstacles(&verdicts, &content.spec.constraints),
        changes: advice.changes,
        contradiction: advice.contradiction,
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
        let mut loads = Vec::with_capacity(count);
        let mut objections = Objections::of(&need.rules);
        for agent in state.agents.values() {
            loads.push(against(agent, need, suspects, &mut objections, &mut lacks));
            ends.push(lacks.len());
        }
        Self { agents: state.agents.clone(), ends, lacks, loads }
    }
}

/// Adds everything that stands against an agent; gives how full it is.
fn against(
    agent: &AgentRow,
    need: &Need,
    suspects: &Suspects,
    objections: &mut Objections<'_>,
    lacks: &mut Vec<Lack>,
) -> u64 {
    let info = &agent.info;
    if let Presence::Unreachable { since } = agent.presence {
        lacks.push(Lack::Unreachable(since));
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
    // Of an agent that is away, too: what would it have to offer when it is back?
    let spare_of = if need.ports.is_empty() { AgentRow::spare_amounts } else { AgentRow::spare };
    let plot = Plot::whatever(agent, false, spare_of);
    shortage(need, &plot, lacks);
    rank::load((info.totals.cpus, info.totals.mem), (plot.spare.cpus, plot.spare.mem))
}

#[cfg(test)]
mod tests;
