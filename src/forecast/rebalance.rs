//! Which running instances had better be elsewhere, and where they would go.
//!
//! Candidates are tried one after the other on a copy, each placed by the real scheduler. What is
//! left over is then played as a whole, and stays in the plan only when the cluster is better
//! for it: fewer instances that stand against a rule, or as many and the fullest agents less
//! full. For the sake of load only those move that would not come to where they are again. Each plan that is carried out so takes the cluster a step down a finite stair, and
//! nothing moves to and fro.

use std::collections::{BTreeMap, BTreeSet};

use super::course::{Copies, fresh_id};
use super::unrest::Unrest;
use super::{Course, Outcome, Rest, Spot};
use crate::domain::{AgentId, AppId, Goal, InstanceId, Strategy, TaskState, TaskStatus, Timestamp};
use crate::planner::replaces_before_it_stops;
use crate::scheduler::{Book, Suspects, explain, load, misplaced, share};
use crate::state::{ClusterState, Command, InstanceRow, Placement, Presence};

/// An instance moves for the sake of load only when the agent that it leaves is so much fuller
/// than the one that it comes to will be, in millionths: less is not worth a restart.
pub const LOAD_GAP: u64 = 200_000;

/// Instances that are tried for one plan at most.
const TRIES_MAX: usize = 2_000;

/// Contents that are tried on one agent, the largest first.
const TRIES_PER_AGENT_MAX: usize = 8;

/// How much may move at a time; what moves already counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Instances in all.
    pub moves_max: usize,
    /// Instances of one app.
    pub moves_per_app_max: usize,
}

/// What had better be elsewhere, as of one state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// State index that was looked at.
    pub index: u64,
    /// Instances to move, with the places they would have.
    pub moves: Vec<PlannedMove>,
    /// Instances that had better be elsewhere and stay, and why.
    pub kept: Vec<Kept>,
    /// Instances that move already.
    pub under_way: Vec<UnderWay>,
    /// Whoever asked wanted no more of it before all was looked at.
    pub is_cut_short: bool,
}

/// One instance to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Which, and where it is.
    pub from: Spot,
    /// Agent on which another would take its place.
    pub to: AgentId,
    /// Name of that machine.
    pub hostname: String,
    /// For people.
    pub reason: String,
}

/// One instance that had better be elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which, and where it is.
    pub spot: Spot,
    /// Why it had better go.
    pub reason: String,
    /// Why it stays.
    pub because: String,
}

/// One instance that moves already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Which, and where it is.
    pub spot: Spot,
    /// Why it moves.
    pub reason: String,
    /// What its app waits for, when instances of it wait.
    pub waits_for: Option<String>,
}

/// Plans moves within a budget; suspects get nothing new. `may_go_on` is asked before
/// each try; when it says no, the plan is what was found so far.
pub fn rebalance(
    state: &ClusterState,
    suspects: &Suspects,
    now: Timestamp,
    budget: Budget,
    strategy: Strategy,
    may_go_on: &mut dyn FnMut() -> bool,
) -> Rebalance {
    let under_way = under_way(state, suspects, now, strategy);
    let mut planner = Planner {
        state,
        suspects,
        now,
        may_go_on,
        work: state.clone(),
        copies: Copies::of(state),
        book: Book::new(strategy),
        anchors: anchors(state),
        strategy,
        minted: 0,
        tries: 0,
        left: budget.moves_max.saturating_sub(under_way.len()),
        left_of: BTreeMap::new(),
        per_app_max: budget.moves_per_app_max,
        chosen: Vec::new(),
        kept: Vec::new(),
        is_cut_short: false,
    };
    for moving in &under_way {
        *planner.left_of(&moving.spot.app) = planner.left_of(&moving.spot.app).saturating_sub(1);
    }
    planner.mend_rules();
    planner.even_out();
    let moves = planner.verified();
    let is_cut_short = planner.is_cut_short;
    Rebalance { index: state.index, moves, kept: planner.kept, under_way, is_cut_short }
}

/// A plan in the making.
struct Planner<'a> {
    state: &'a ClusterState,
    suspects: &'a Suspects,
    now: Timestamp,
    may_go_on: &'a mut dyn FnMut() -> bool,
    /// The state with all that was chosen moved.
    work: ClusterState,
    copies: Copies,
    book: Book,
    /// Apps that others want to be near.
    anchors: BTreeSet<AppId>,
    /// What apps get that wish for none.
    strategy: Strategy,
    minted: u64,
    tries: usize,
    left: usize,
    left_of: BTreeMap<AppId, usize>,
    per_app_max: usize,
    chosen: Vec<PlannedMove>,
    kept: Vec<Kept>,
    is_cut_short: bool,
}

impl Planner<'_> {
    fn left_of(&mut self, app: &AppId) -> &mut usize {
        self.left_of.entry(app.clone()).or_insert(self.per_app_max)
    }

    fn may_try(&mut self) -> bool {
        self.tries += 1;
        if self.left == 0 || self.tries > TRIES_MAX {
            return false;
        }
        self.is_cut_short |= !(self.may_go_on)();
        !self.is_cut_short
    }

    /// Instances that stand against a rule of their app.
    fn mend_rules(&mut self) {
        let apps: Vec<AppId> = self.state.apps.iter().map(|(app, _)| app.clone()).collect();
        for app in apps {
            for (id, objection) in misplaced(self.state, &app) {
                let Some(row) = self.state.instances.get(&id) else { continue };
                let Some(spot) = Spot::of(row) else { continue };
                if let Some(because) = self.stays_because(row) {
                    self.kept.push(Kept { spot, reason: objection, because });
                    continue;
                }
                if *self.left_of(&app) == 0 || !self.may_try() {
                    continue;
                }
                match self.tried(row) {
                    Some((work, placement)) => self.choose(row, work, &placement, objection),
                    None => {
                        let because = self.lack_of_room(row);
                        self.kept.push(Kept { spot, reason: objection, because });
                    }
                }
            }
        }
    }

    /// Instances of agents that are far fuller than others.
    fn even_out(&mut self) {
        let mut exhausted: BTreeSet<AgentId> = BTreeSet::new();
        loop {
            let present = self.work.agents.values().filter(|agent| agent.presence == Presence::Registered);
            let open = present.filter(|agent| !self.suspects.contains_key(&agent.info.id));
            let loads: Vec<(u64, AgentId)> = open.map(|agent| (load(agent), agent.info.id.clone())).collect();
            let least = loads.iter().map(|(load, _)| *load).min().unwrap_or(0);
            let fullest = loads.into_iter().filter(|(_, agent)| !exhausted.contains(agent)).max();
            let Some((here, agent)) = fullest else { return };
            if here.saturating_sub(least) < LOAD_GAP || self.left == 0 || self.tries >= TRIES_MAX {
                return;
            }
            if !self.relieve(&agent, here) {
                exhausted.insert(agent);
            }
        }
    }

    /// Moves one instance off an agent, if that is worth it.
    fn relieve(&mut self, agent: &AgentId, here: u64) -> bool {
        for id in self.candidates_on(agent) {
            let Some(row) = self.state.instances.get(&id) else { continue };
            // Who packs wants agents to be unequal.
            let is_packed = self
                .state
                .content_of(row)
                .is_some_and(|content| content.spec.strategy(self.strategy) == Strategy::Binpack);
            let is_held = is_packed || self.anchors.contains(&row.app);
            if is_held || *self.left_of(&row.app) == 0 || self.stays_because(row).is_some() {
                continue;
            }
            if !self.may_try() {
                return false;
            }
            let Some((work, placement)) = self.placed_anew(row) else { continue };
            let there = work.agents.get(&placement.agent).map_or(u64::MAX, |agent| load(agent));
            if here.saturating_sub(there) < LOAD_GAP {
                continue;
            }
            let percent = |load: u64| load / 10_000;
            let reason =
                format!("its agent is {} % full, the other would be {} %", percent(here), percent(there));
            self.choose(row, work, &placement, reason);
            return true;
        }
        false
    }

    /// One instance of each content on an agent, the largest first.
    fn candidates_on(&self, agent: &AgentId) -> Vec<InstanceId> {
        let Some(totals) = self.work.agents.get(agent).map(|agent| &agent.info.totals) else {
            return Vec::new();
        };
        let mut contents = BTreeMap::new();
        for row in self.work.live_on(agent).filter(|row| self.state.instances.contains(&row.id)) {
            let Some(task) = &row.task else { continue };
            let size = share(totals, &task.resources);
            contents.entry((&row.app, row.version)).or_insert((size, &row.id));
        }
        let mut sizes: Vec<(u64, &InstanceId)> = contents.into_values().collect();
        sizes.sort_by(|a, b| b.cmp(a));
        sizes.into_iter().take(TRIES_PER_AGENT_MAX).map(|(_, id)| id.clone()).collect()
    }

    /// Why an instance is not moved whatever there is to gain.
    fn stays_because(&self, row: &InstanceRow) -> Option<String> {
        let is_steady = row.task.as_ref().is_some_and(|task| {
            task.status.state == TaskState::Running && task.unreachable_since.is_none() && task.stop.is_none()
        });
        if !is_steady || row.goal != Goal::Running || row.expunged || row.is_moving() {
            return Some("it does not run undisturbed".to_owned());
        }
        if self.state.deployments_of(&row.app).next().is_some() {
            return Some("its app is under deployment".to_owned());
        }
        let spec = &self.state.current(&row.app)?.spec;
        (!replaces_before_it_stops(spec)).then(|| {
            "its upgradeStrategy allows no copy more than its number, so that it would have to stop first"
                .to_owned()
        })
    }

    /// The working state with one instance about to move, and the one that shall take its place.
    fn leaving(&mut self, row: &InstanceRow) -> Option<(ClusterState, InstanceId)> {
        let leaves = vec![Command::MoveInstances { instances: vec![(row.id.clone(), String::new())] }];
        self.with_another(&row.app, leaves)
    }

    /// The working state after `commands`, with one more instance of an app that waits.
    fn with_another(
        &mut self,
        app: &AppId,
        mut commands: Vec<Command>,
    ) -> Option<(ClusterState, InstanceId)> {
        let mut copy = self.work.clone();
        let id = fresh_id(&copy, app, &mut self.minted);
        let version = copy.apps.get(app)?.version;
        commands.push(Command::CreateInstances { app: app.clone(), version, ids: vec![id.clone()] });
        self.copies.record(&mut copy, commands);
        Some((copy, id))
    }

    /// The working state with one instance moved, and its new place; nothing when there is none.
    fn tried(&mut self, row: &InstanceRow) -> Option<(ClusterState, Placement)> {
        let (copy, id) = self.leaving(row)?;
        let (mut copy, placement) = self.launched(copy, &id)?;
        let ends = ending(row, copy.now)?;
        self.copies.record(&mut copy, ends);
        Some((copy, placement))
    }

    /// The same for an instance that would go elsewhere if it were placed anew now. So nothing moves for the
    /// sake of load that its app's other instances, wishes and neighbours keep where it is.
    fn placed_anew(&mut self, row: &InstanceRow) -> Option<(ClusterState, Placement)> {
        let (copy, id) = self.with_another(&row.app, ending(row, self.work.now)?)?;
        let here = &row.task.as_ref()?.agent;
        self.launched(copy, &id).filter(|(_, placement)| placement.agent != *here)
    }

    /// A copy with one waiting instance launched where the next cycle puts it.
    fn launched(&mut self, mut copy: ClusterState, id: &InstanceId) -> Option<(ClusterState, Placement)> {
        let excluded: BTreeSet<AgentId> = self.suspects.keys().cloned().collect();
        // Later than the end of every pause.
        let report = self.book.cycle(&copy, &excluded, Timestamp::from_millis(i64::MAX));
        let placement = report.placements.into_iter().find(|placement| placement.instance == *id)?;
        let placements = vec![placement.clone()];
        let seen_at = copy.index;
        self.copies.record(&mut copy, vec![Command::LaunchTasks { placements, seen_at }]);
        Some((copy, placement))
    }

    fn choose(&mut self, row: &InstanceRow, work: ClusterState, placement: &Placement, reason: String) {
        let Some(from) = Spot::of(row) else { return };
        let hostname = hostname_of(&work, &placement.agent);
        self.work = work;
        self.left = self.left.saturating_sub(1);
        *self.left_of(&row.app) = self.left_of(&row.app).saturating_sub(1);
        self.chosen.push(PlannedMove { from, to: placement.agent.clone(), hostname, reason });
    }

    /// Why there is no other place for an instance.
    fn lack_of_room(&mut self, row: &InstanceRow) -> String {
        let leaving = self.leaving(row).map(|(copy, _)| copy);
        no_room(leaving.as_ref().unwrap_or(&self.work), &row.app, self.suspects, self.now, self.strategy)
    }

    /// What would become of the state.
    fn course(&self) -> Course {
        Course::start(self.state, self.suspects.clone(), self.now).with_strategy(self.strategy)
    }

    /// The chosen moves, as they turn out when all of them are made at once; fewer of them, or
    /// none, when the cluster would not be better for it.
    fn verified(&mut self) -> Vec<PlannedMove> {
        let mut chosen = std::mem::take(&mut self.chosen);
        if chosen.is_empty() {
            return chosen;
        }
        let mut untouched = self.course();
        if untouched.play(self.may_go_on) != Rest::Reached {
            self.is_cut_short = true;
            return Vec::new();
        }
        let before = Unrest::of(untouched.state(), self.suspects);
        while !chosen.is_empty() {
            let mut course = self.course();
            let instances = chosen.iter().map(|it| (it.from.instance.clone(), it.reason.clone())).collect();
            course.record(vec![Command::MoveInstances { instances }]);
            let rest = course.play(self.may_go_on);
            if rest != Rest::Reached {
                self.is_cut_short = true;
                return Vec::new();
            }
            let outcome = Outcome::of(self.state, self.suspects, &course, rest);
            let stuck: BTreeSet<&InstanceId> = outcome.stays.iter().map(|spot| &spot.instance).collect();
            if Unrest::of(course.state(), self.suspects) < before && stuck.is_empty() {
                let to = |id: &InstanceId| {
                    outcome.moves.iter().find(|it| it.from.instance == *id).map(|it| &it.to)
                };
                for it in &mut chosen {
                    if let Some(spot) = to(&it.from.instance) {
                        (it.to, it.hostname) = (spot.agent.clone(), spot.hostname.clone());
                    }
                }
                return chosen;
            }
            chosen.truncate(chosen.len() / 2);
        }
        chosen
    }
}

/// Apps that others want to be near: for the sake of load these do not leave them behind.
fn anchors(state: &ClusterState) -> BTreeSet<AppId> {
    let specs = state.apps.iter().filter_map(|(app, _)| Some(&state.current(app)?.spec));
    let wishes = specs.filter_map(|spec| spec.placement.as_ref());
    let near = wishes.flat_map(|wishes| &wishes.affinity).filter(|wish| wish.weight > 0);
    near.map(|wish| wish.app.clone()).collect()
}

/// What ends an instance.
fn ending(row: &InstanceRow, now: Timestamp) -> Option<Vec<Command>> {
    let task = row.task.as_ref()?;
    let ended = TaskStatus::new(TaskState::Killed, now, "");
    let (instances, goal) = (vec![row.id.clone()], Goal::Decommissioned);
    Some(vec![
        Command::SetGoal { instances, goal, reason: String::new() },
        Command::RecordStatuses { agent: task.agent.clone(), statuses: vec![(task.id.clone(), ended)] },
    ])
}

/// Instances that shall move, and what keeps them.
fn under_way(state: &ClusterState, suspects: &Suspects, now: Timestamp, strategy: Strategy) -> Vec<UnderWay> {
    let mut waits: BTreeMap<AppId, Option<String>> = BTreeMap::new();
    let moving = state.instances.values().filter(|row| row.is_moving() && row.goal == Goal::Running);
    moving
        .filter_map(|row| {
            let waits_for = waits.entry(row.app.clone()).or_insert_with(|| {
                let is_waiting = state.instances_of(&row.app).any(InstanceRow::is_waiting);
                is_waiting.then(|| no_room(state, &row.app, suspects, now, strategy))
            });
            let reason = row.shall_move.clone().unwrap_or_default();
            Some(UnderWay { spot: Spot::of(row)?, reason, waits_for: waits_for.clone() })
        })
        .collect()
}

fn no_room(
    state: &ClusterState,
    app: &AppId,
    suspects: &Suspects,
    now: Timestamp,
    strategy: Strategy,
) -> String {
    let why = explain(state, app, suspects, now, strategy);
    let change = why.and_then(|why| Some(why.changes.first()?.sentence()));
    let no = "no other agent suits".to_owned();
    change.map_or(no.clone(), |change| format!("{no}. {change}"))
}

fn hostname_of(state: &ClusterState, agent: &AgentId) -> String {
    state.agents.get(agent).map(|agent| agent.info.hostname.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
