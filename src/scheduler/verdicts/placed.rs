//! Why running tasks are where they are: how their agents compare with the best others, each task
//! taken away in thought.
//!
//! What one content needs is asked of every agent once, whichever of its tasks is looked at: taking one of
//! them away changes nothing on other agents but what rules and wishes count.

use std::cmp::Reverse;

use crate::domain::{AgentId, AgentInfo, AppId, Resources, SpecVersion, Strategy, TaskId, Timestamp};
use crate::scheduler::ground::{Ground, Plot};
use crate::scheduler::judge::{Face, Judge, Part};
use crate::scheduler::matcher::Need;
use crate::scheduler::rules::{Counting, Objections, Rules, placed as is_placed};
use crate::scheduler::{feasibility, rank};
use crate::state::{ClusterState, InstanceRow};

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

/// The least is the best, as the cycle takes them: points, siblings, rank or lot. Of equal ones the
/// smaller id.
type Order = (Reverse<i64>, u32, Reverse<u32>);

/// Of each of these running instances of an app.
pub(super) fn placed(
    state: &ClusterState,
    app: &AppId,
    told: &[&InstanceRow],
    ground: &Ground<'_>,
    cluster: Strategy,
) -> Vec<Placed> {
    if told.is_empty() {
        return Vec::new();
    }
    let siblings = siblings(state, app, ground);
    let mut fields: Vec<(SpecVersion, Field<'_>)> = Vec::new();
    let tell = |row: &&InstanceRow| {
        let known = fields.iter().position(|(version, _)| *version == row.version);
        let at = match known {
            Some(at) => at,
            None => {
                fields.push((row.version, Field::of(state, row, ground, &siblings, cluster)?));
                fields.len() - 1
            }
        };
        fields.get_mut(at)?.1.tell(row)
    };
    told.iter().filter_map(tell).collect()
}

/// Instances of the app on each agent, in the order of the plots.
fn siblings(state: &ClusterState, app: &AppId, ground: &Ground<'_>) -> Vec<u32> {
    let tasks = state.instances_of(app).filter_map(|row| row.task.as_ref());
    let mut agents: Vec<&AgentId> = tasks.filter(|task| task.is_live()).map(|task| &task.agent).collect();
    agents.sort_unstable();
    let mut agents = agents.into_iter().peekable();
    let count = |plot: &Plot<'_>| {
        let id = &plot.agent.info.id;
        while agents.next_if(|agent| *agent < id).is_some() {}
        let mut own = 0;
        while agents.next_if(|agent| *agent == id).is_some() {
            own += 1;
        }
        own
    };
    ground.plots.iter().map(count).collect()
}

/// All agents before the tasks of one content.
struct Field<'a> {
    state: &'a ClusterState,
    ground: &'a Ground<'a>,
    siblings: &'a [u32],
    content: &'a crate::domain::AppVersion,
    judge: Option<Judge>,
    counting: Counting,
    /// Who suits, but for rules that look at instances.
    candidates: Vec<Candidate>,
    /// What these rules look at, for one candidate after the other.
    faces: Vec<u32>,
}

struct Candidate {
    /// Position of its plot.
    plot: usize,
    siblings: u32,
    rank: u32,
    /// Where the app has wishes: what they look at, and the points that stay.
    liked: Option<(Face, i64)>,
}

impl<'a> Field<'a> {
    /// Of the content of one instance.
    fn of(
        state: &'a ClusterState,
        row: &InstanceRow,
        ground: &'a Ground<'a>,
        siblings: &'a [u32],
        cluster: Strategy,
    ) -> Option<Self> {
        let content = state.content_of(row)?;
        let need = Need::of(state, content);
        let mut field = Self {
            state,
            ground,
            siblings,
            content,
            judge: Judge::in_state(state, content, cluster, &[], None),
            counting: Counting::of(&need.rules),
            candidates: Vec::new(),
            faces: Vec::new(),
        };
        let mut objections = Objections::of_values(&need.rules);
        for (at, plot) in ground.plots.iter().enumerate() {
            if feasibility::check_by(&need, plot, |info| objections.allow(info)).is_ok() {
                field.add(at, plot);
            }
        }
        Some(field)
    }

    fn add(&mut self, at: usize, plot: &'a Plot<'a>) {
        let info: &'a AgentInfo = &plot.agent.info;
        let siblings = self.siblings.get(at).copied().unwrap_or(0);
        let (load, rank) = fullness(info, &plot.spare);
        let liked = self.judge.as_mut().map(|judge| {
            let face = judge.face_of(info);
            let local = judge.local(&face, load, siblings);
            (face, local)
        });
        self.faces.extend(self.counting.face_of(info));
        self.candidates.push(Candidate { plot: at, siblings, rank, liked });
    }

    /// One task taken away.
    fn tell(&mut self, row: &InstanceRow) -> Option<Placed> {
        let task = row.task.as_ref()?;
        let at = self.ground.position(&task.agent)?;
        let plot = self.ground.plots.get(at)?;
        let info: &'a AgentInfo = &plot.agent.info;
        let own_face = self.judge.as_mut().map(|judge| judge.face_of(info));
        let counts = is_placed(row, self.content).is_some();
        if self.counting.asks_seniority() {
            self.counting.recount(&Rules::of(self.state, self.content, Some(&row.id)));
        } else if counts {
            self.counting.think(info, true);
        }
        self.note(own_face.as_ref(), -1);
        let siblings = self.siblings.get(at).copied().unwrap_or(0).saturating_sub(1);
        let here = self.score(info, &plot.spare.plus(&task.resources), siblings);
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
        let mut best: Vec<(Order, usize)> = Vec::with_capacity(RUNNERS_UP_MAX + 1);
        for (number, candidate) in self.candidates.iter().enumerate() {
            let order = candidate.order(self.judge.as_ref());
            let is_beaten =
                best.len() == RUNNERS_UP_MAX && best.last().is_some_and(|(last, _)| order >= *last);
            if is_beaten || candidate.plot == but {
                continue;
            }
            let width = self.counting.width();
            let face = self.faces.get(number * width..(number + 1) * width).unwrap_or_default();
            if self.counting.allow(face) {
                let place = best.partition_point(|(other, _)| *other <= order);
                best.insert(place, (order, candidate.plot));
                best.truncate(RUNNERS_UP_MAX);
            }
        }
        let plots = best.into_iter().filter_map(|(_, at)| Some((self.ground.plots.get(at)?, at)));
        let scores = plots.map(|(plot, at)| {
            self.score(&plot.agent.info, &plot.spare, self.siblings.get(at).copied().unwrap_or(0))
        });
        scores.collect()
    }

    fn score(&mut self, info: &AgentInfo, spare: &Resources, siblings: u32) -> Score {
        let (load, rank) = fullness(info, spare);
        let wishes = self.judge.as_mut().map(|judge| judge.parts(info, load, siblings));
        Score { agent: info.id.clone(), hostname: info.hostname.clone(), siblings, load, rank, wishes }
    }
}

impl Candidate {
    fn order(&self, judge: Option<&Judge>) -> Order {
        match (judge, &self.liked) {
            (Some(judge), Some((face, local))) => {
                (Reverse(local + judge.shared(face)), 0, Reverse(rank::lot_of(self.rank).into()))
            }
            _ => (Reverse(0), self.siblings, Reverse(self.rank)),
        }
    }
}

/// How full an agent is with so much to spare, and how good.
fn fullness(info: &AgentInfo, spare: &Resources) -> (u64, u32) {
    let (totals, spare) = ((info.totals.cpus, info.totals.mem), (spare.cpus, spare.mem));
    (rank::load(totals, spare), rank::score(totals, spare, rank::lot(&info.id)))
}

#[cfg(test)]
mod tests;
