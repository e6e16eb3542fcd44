//! Why an app is not where it could be: every agent's verdict, and what would change it.
//!
//! Way in: [`explain`]. Asks the cycle's own questions ([`super::feasibility`], [`super::rules::Rules`]) of every agent,
//! but all of them instead of the first that says no, so that "one change would do" can be told
//! from "three would". Costs one pass over the agents and is never on the scheduling path.

mod advice;
mod changes;
mod copies;
mod held;
mod lack;
mod obstacles;
mod placed;
mod shortage;

use std::sync::Arc;

use self::advice::{Advice, advice};
pub use self::changes::Change;
pub use self::copies::Copies;
use self::copies::{Keepers, is_within_reach};
pub use self::held::Held;
use self::held::held;
pub use self::lack::{Amount, Lack};
pub use self::obstacles::Obstacle;
use self::obstacles::obstacles;
use self::placed::placed;
pub use self::placed::{Placed, Score};
use self::shortage::shortage;
use super::ground::{Ground, Plot};
use super::launch_queue::waiting_of;
use super::matcher::Need;
use super::rules::Objections;
use super::{Suspects, feasibility};
use crate::domain::{AgentInfo, AppId, Resources, Strategy, Timestamp};
use crate::state::{AgentRow, ClusterState, InstanceRow, Presence, TaskFailure};

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
    /// For people: that its own copies keep the room that others of it wait for.
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
        self.verdicts.iter().filter(Verdict::suits).count()
    }
}

/// What each agent says to one more instance, in id order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Who, and where its part of `lacks` ends.
    agents: Vec<(Arc<AgentInfo>, usize)>,
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
        self.agents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// The one at a position.
    pub fn get(&self, at: usize) -> Option<Verdict<'_>> {
        let before = at.checked_sub(1).and_then(|before| self.agents.get(before));
        let start = before.map_or(0, |(_, end)| *end);
        let (agent, end) = self.agents.get(at)?;
        Some(Verdict { agent, lacks: self.lacks.get(start..*end).unwrap_or_default() })
    }

    /// What stands in the way of each.
    fn lacks(&self) -> impl Iterator<Item = &[Lack]> + Clone {
        self.iter().map(|verdict| verdict.lacks)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Verdict<'_>> + Clone {
        let mut start = 0;
        self.agents.iter().map(move |(agent, end)| {
            let lacks = self.lacks.get(start..*end).unwrap_or_default();
            start = *end;
            Verdict { agent, lacks }
        })
    }
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
    let queued = waiting_of(state, app, now);
    let content = queued.first().map_or(current, |queued| queued.content);
    let live: Vec<&InstanceRow> =
        state.instances_of(app).filter(|row| row.is_live() && !row.expunged).collect();
    let running: Vec<&InstanceRow> = live.iter().copied().filter(|row| is_within_reach(row)).collect();
    let told = running.get(..PLACED_MAX).unwrap_or(&running);
    let mut contents = told.iter().filter_map(|row| state.content_of(row)).chain([content]);
    let asks_no_ports = contents.all(|content| content.spec.port_demands().is_empty());
    let spare_of = if asks_no_ports { AgentRow::spare_amounts } else { AgentRow::spare };
    let need = Need::of(state, content);
    let needs = need.resources(&[]);
    let (verdicts, ground) = verdicts(state, &need, suspects, spare_of);
    // Who waits for nothing needs no change.
    let is_waiting = !queued.is_empty();
    let mut advice = if is_waiting { advice(&need, content, &verdicts) } else { Advice::default() };
    let keepers = is_waiting.then(|| Keepers::of(state, content, &live)).flatten();
    let note = keepers.and_then(|keepers| advice.beside(&keepers, &verdicts));
    let placed = placed(state, app, told, &ground, cluster);
    Some(Explanation {
        index: state.index,
        app: app.clone(),
        wanted: current.spec.instances,
        waiting: queued.iter().map(|queued| queued.instances.len()).sum(),
        copies: Copies::of(content, &live),
        note,
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

/// What every agent says to one more instance, and what it has to spare: each is read once.
fn verdicts<'a>(
    state: &'a ClusterState,
    need: &Need,
    suspects: &Suspects,
    spare_of: fn(&AgentRow) -> Resources,
) -> (Verdicts, Ground<'a>) {
    let mut verdicts = Verdicts::default();
    verdicts.agents.reserve(state.agents.len());
    verdicts.lacks.reserve(state.agents.len());
    let mut objections = Objections::of(&need.rules);
    let mut ground = Ground { plots: Vec::with_capacity(state.agents.len()) };
    for agent in state.agents.values() {
        let info = &agent.info;
        let lacks = &mut verdicts.lacks;
        let is_there = agent.presence == Presence::Registered;
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
        let plot = Plot::whatever(agent, suspects.contains_key(&info.id), spare_of);
        shortage(need, &plot, lacks);
        ground.plots.extend(is_there.then_some(plot));
        verdicts.agents.push((Arc::clone(info), verdicts.lacks.len()));
    }
    (verdicts, ground)
}

#[cfg(test)]
mod tests;
