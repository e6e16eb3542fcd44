//! Why running tasks are where they are: how their agents compare with the best others, each task
//! taken away in thought.
//!
//! What one content needs is asked of every agent once, whichever of its tasks is looked at: taking one of
//! them away changes nothing on other agents but what rules and wishes count.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ptr;

use super::crowd::{Crowd, Merit, Order};
use super::{Lack, Verdicts};
use crate::domain::{AgentId, AgentInfo, AppId, AppVersion, SpecVersion, Strategy, TaskId, Timestamp};
use crate::scheduler::judge::{Face, Judge, Part};
use crate::scheduler::matcher::Need;
use crate::scheduler::rules::{Counting, Rules, placed as is_placed};
use crate::scheduler::{Suspects, load, rank, share};
use crate::state::{AgentRow, ClusterState, InstanceRow, Presence};

/// Agents beside the chosen one that are named for a running task.
const RUNNERS_UP_MAX: usize = 3;

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
    /// What decides between equals: drawn by the agent's id, the largest is taken.
    pub fn lot(&self) -> u16 {
        rank::lot_of(self.rank)
    }

    /// The sum of all points, in thousandths; 0 where there are no wishes.
    pub fn points(&self) -> i64 {
        self.wishes.iter().flatten().map(|part| part.points).sum()
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

/// Where one app runs.
pub(super) struct Places<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) app: &'a AppId,
    pub(super) suspects: &'a Suspects,
    /// What apps get that wish for none.
    pub(super) cluster: Strategy,
}

impl<'a> Places<'a> {
    /// Tells of each of these running instances, where one content was put to every agent already.
    pub(super) fn tell(
        &self,
        told: &[&InstanceRow],
        (version, need, verdicts): (SpecVersion, &Need, &Verdicts),
    ) -> Vec<Placed> {
        if told.is_empty() {
            return Vec::new();
        }
        let agents: Vec<&AgentRow> = self.state.agents.values().map(|row| &**row).collect();
        let everybody = Everybody { siblings: self.siblings(&agents), agents };
        let mut fields: BTreeMap<SpecVersion, Field<'_>> = BTreeMap::new();
        let field = |row: &InstanceRow| {
            let content = self.state.content_of(row)?;
            if row.version == version {
                return Some(Field::of(self, content, &everybody, (need, verdicts)));
            }
            let need = Need::of(self.state, content);
            let verdicts = Verdicts::of(self.state, &need, self.suspects);
            Some(Field::of(self, content, &everybody, (&need, &verdicts)))
        };
        let tell = |row: &&InstanceRow| match fields.entry(row.version) {
            Entry::Occupied(known) => known.into_mut().tell(row),
            Entry::Vacant(vacant) => vacant.insert(field(row)?).tell(row),
        };
        told.iter().filter_map(tell).collect()
    }

    /// Instances of the app on each of all agents.
    fn siblings(&self, agents: &[&AgentRow]) -> Vec<u32> {
        let tasks = self.state.instances_of(self.app).filter_map(|row| row.task.as_ref());
        let rows = tasks.filter(|task| task.is_live()).filter_map(|task| self.state.agents.get(&task.agent));
        // Rows are told apart by where they lie: to compare ids costs a look at each agent.
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        for row in rows {
            *counts.entry(ptr::from_ref::<AgentRow>(row).addr()).or_default() += 1;
        }
        let count = |row: &&AgentRow| counts.get(&ptr::from_ref::<AgentRow>(*row).addr()).copied();
        agents.iter().map(|row| count(row).unwrap_or(0)).collect()
    }
}

/// All agents in the order of their ids.
struct Everybody<'a> {
    agents: Vec<&'a AgentRow>,
    /// How many instances of the app each has.
    siblings: Vec<u32>,
}

/// All agents before the tasks of one content.
struct Field<'a> {
    state: &'a ClusterState,
    content: &'a AppVersion,
    everybody: &'a Everybody<'a>,
    judge: Option<Judge>,
    counting: Counting,
    /// Who suits, but for rules that look at instances.
    crowds: Vec<Crowd>,
}

impl<'a> Field<'a> {
    /// Of one content that was put to everybody: who suits is against whom nothing stands but rules that
    /// look at instances.
    fn of(
        places: &Places<'a>,
        content: &'a AppVersion,
        everybody: &'a Everybody<'a>,
        (need, verdicts): (&Need, &Verdicts),
    ) -> Self {
        let mut field = Self {
            state: places.state,
            content,
            everybody,
            judge: Judge::in_state(places.state, content, places.cluster, &[], None),
            counting: Counting::of(&need.rules),
            crowds: Vec::new(),
        };
        let counts = |lack: &Lack| matches!(lack, Lack::Constraint(at, _) if need.rules.counts(*at));
        let mut known: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        for ((at, lacks), load) in verdicts.lacks().enumerate().zip(&verdicts.loads) {
            if lacks.iter().all(counts) {
                field.admit(at, *load, &mut known);
            }
        }
        field
    }

    /// An agent that is so full joins those that suit.
    fn admit(&mut self, at: usize, load: u64, known: &mut BTreeMap<Vec<u32>, usize>) {
        let siblings = self.everybody.siblings.get(at).copied().unwrap_or(0);
        let Some(judge) = &mut self.judge else {
            let merit = Merit { points: Reverse(0), siblings, free: Reverse(rank::free(load)) };
            if self.crowds.is_empty() {
                self.crowds.push(Crowd::default());
            }
            return self.crowds.iter_mut().for_each(|crowd| crowd.join(merit, at));
        };
        let Some(agent) = self.everybody.agents.get(at) else { return };
        let face = judge.face_of(&agent.info);
        let points = Reverse(judge.local(&face, load, siblings));
        let merit = Merit { points, siblings: 0, free: Reverse(0) };
        let counted = judge.values_shared(&face);
        let place = known.get(counted).copied().unwrap_or(self.crowds.len());
        if place == self.crowds.len() {
            known.insert(counted.to_vec(), place);
            self.crowds.push(Crowd::of(Some(face)));
        }
        self.crowds.get_mut(place).into_iter().for_each(|crowd| crowd.join(merit, at));
    }

    /// One task taken away.
    fn tell(&mut self, row: &InstanceRow) -> Option<Placed> {
        let task = row.task.as_ref()?;
        let at = self.everybody.agents.binary_search_by(|agent| agent.info.id.cmp(&task.agent)).ok()?;
        let agent =
            self.everybody.agents.get(at).copied().filter(|agent| agent.presence == Presence::Registered)?;
        let info: &'a AgentInfo = &agent.info;
        let own_face = self.judge.as_mut().map(|judge| judge.face_of(info));
        let counts = is_placed(row, self.content).is_some();
        if self.counting.asks_seniority() {
            self.counting.recount(&Rules::of(self.state, self.content, Some(&row.id)));
        } else if counts {
            self.counting.think(info, true);
        }
        self.note(own_face.as_ref(), -1);
        let siblings = self.everybody.siblings.get(at).copied().unwrap_or(0).saturating_sub(1);
        let here = self.score(info, share(&info.totals, &agent.used.minus(&task.resources)), siblings);
        let runners_up = self.runners_up(at);
        self.note(own_face.as_ref(), 1);
        if counts && !self.counting.asks_seniority() {
            self.counting.think(info, false);
        }
        Some(Placed { task: task.id.clone(), at: task.staged_at, here, runners_up })
    }

    fn note(&mut self, face: Option<&Face>, more: i64) {
        if let (Some(judge), Some(face)) = (&mut self.judge, face) {
            judge.note_face(face, more);
        }
    }

    /// The best agents but one.
    fn runners_up(&mut self, but: usize) -> Vec<Score> {
        let mut best: Vec<Order> = Vec::with_capacity(RUNNERS_UP_MAX + 1);
        let agents = &self.everybody.agents;
        let lot_of = |at: usize| agents.get(at).map_or(0, |agent| rank::lot(&agent.info.id));
        for crowd in &mut self.crowds {
            let judged = self.judge.as_ref().zip(crowd.face.as_ref());
            let shared = judged.map_or(0, |(judge, face)| judge.shared(face));
            for place in 0.. {
                let Some(contender) = crowd.get(place, lot_of) else { break };
                let order = contender.order(shared);
                if best.len() == RUNNERS_UP_MAX && best.last().is_some_and(|last| order > *last) {
                    break;
                }
                let Some(agent) = agents.get(contender.at).filter(|_| contender.at != but) else { continue };
                let values = contender.values.get_or_insert_with(|| self.counting.values_of(&agent.info));
                if self.counting.allow(values) {
                    best.insert(best.partition_point(|other| *other < order), order);
                    best.truncate(RUNNERS_UP_MAX);
                }
            }
        }
        let scores = best.into_iter().filter_map(|(.., at)| {
            let agent = agents.get(at)?;
            let siblings = self.everybody.siblings.get(at).copied().unwrap_or(0);
            Some(self.score(&agent.info, load(agent), siblings))
        });
        scores.collect()
    }

    fn score(&mut self, info: &AgentInfo, load: u64, siblings: u32) -> Score {
        let rank = rank::of(load, rank::lot(&info.id));
        let wishes = self.judge.as_mut().map(|judge| judge.parts(info, load, siblings));
        Score { agent: info.id.clone(), hostname: info.hostname.clone(), siblings, load, rank, wishes }
    }
}

#[cfg(test)]
mod tests;
