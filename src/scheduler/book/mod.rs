//! The book: all that a cycle needs to know of a state, kept up to date from one state to the
//! next, so that a cycle costs what it places and not what there is.
//!
//! [`Book::follow`] takes over what was written since the last state, [`Book::cycle`] decides.
//! What a cycle placed stays in the book as an assumption: the next state either confirms it,
//! which costs a comparison, or it is taken back. Giving everything back at the end of a cycle
//! would do the same work twice more, and would make agents look as if they had grown, which
//! every app that fits nowhere would have to look at.
//!
//! A book that followed decides as one that was made from the same state: ties break on agents'
//! ids, and numbers that depend on history decide nothing.

mod column;
mod demand;
mod fleet;
mod follow;
mod groups;
mod growth;
#[cfg(test)]
mod naive;
mod names;
mod search;
mod soft;
mod tally;
mod tree;
mod turn;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use self::fleet::Fleet;
use self::groups::Groups;
use self::turn::{Progress, Turn, assumed_seniority};
use super::cycle::{CycleReport, PLACEMENTS_MAX};
use super::judge::Judge;
use crate::domain::{AgentId, AppId, AppVersion, ClusterId, InstanceId, SpecVersion, Strategy, Timestamp};
use crate::state::{AgentRow, AppRow, ClusterState, InstanceRow, Placement, Table};

/// Nodes and agents that walks may remember, all together: about 50 MiB. Beyond that all walks are
/// forgotten, and the next turns begin new ones.
const WALKS_MAX: usize = 1 << 20;

/// What the scheduler remembers from cycle to cycle. Worth nothing by itself: a new one says
/// the same after it looked at everything once.
#[derive(Clone, Debug, Default)]
pub struct Book {
    fleet: Fleet,
    groups: Groups,
    /// Where the last cycle placed instances.
    assumed: BTreeMap<InstanceId, u32>,
    /// The state that the book is about, but for what is assumed.
    followed: Followed,
    /// Nodes and agents that walks remember, or more.
    walked: usize,
    /// What apps get that wish for none.
    strategy: Strategy,
}

/// The tables of a state that the book reads. The others are not kept, so that they can go.
#[derive(Clone, Debug, Default)]
struct Followed {
    cluster: Option<ClusterId>,
    index: u64,
    agents: Table<AgentId, AgentRow>,
    apps: Table<AppId, AppRow>,
    versions: Table<(AppId, SpecVersion), AppVersion>,
    instances: Table<InstanceId, InstanceRow>,
}

impl Followed {
    fn of(state: &ClusterState) -> Self {
        Self {
            cluster: state.cluster.clone(),
            index: state.index,
            agents: state.agents.clone(),
            apps: state.apps.clone(),
            versions: state.versions.clone(),
            instances: state.instances.clone(),
        }
    }
}

impl Book {
    /// An empty one, for a cluster with this strategy.
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, ..Self::default() }
    }

    /// Decides which waiting instances go where, in `state`, without the agents of `excluded`.
    /// Those that wait longest come first; an app that fits nowhere delays no other. The same
    /// state and moment give the same report, whatever was followed before.
    ///
    /// Why agents do not suit is not counted here, because that asks every agent:
    /// [`run_cycle`](super::run_cycle) and [`funnel`](super::funnel) do.
    pub fn cycle(
        &mut self,
        state: &ClusterState,
        excluded: &BTreeSet<AgentId>,
        now: Timestamp,
    ) -> CycleReport {
        self.follow(state);
        self.fleet.exclude(excluded);
        let mut report = CycleReport::default();
        for group in self.groups.in_order() {
            if report.placements.len() >= PLACEMENTS_MAX {
                report.look_at(now);
                break;
            }
            self.turn(group, now, &mut report);
        }
        if self.walked > WALKS_MAX {
            self.groups.forget_progress();
            self.walked = 0;
        }
        report.left = self.groups.waiting().saturating_sub(report.placements.len());
        report
    }

    /// Whether anything waits in the state that is followed.
    pub fn has_waiting(&self) -> bool {
        self.groups.waiting() > 0
    }

    /// Places as many instances of one content as fit.
    fn turn(&mut self, place: u32, now: Timestamp, report: &mut CycleReport) {
        let Some((group, app)) = self.groups.group(place) else { return };
        let waiting = group.waiting.len();
        if let Some(until) = app.delay_until.filter(|until| *until > now) {
            report.look_at(until);
            report.wait(&app.id, waiting).backing_off_until = Some(until);
            return;
        }
        let judge = self.judge(place);
        let Some((group, app)) = self.groups.group(place) else { return };
        let Some(demand) = group.demand.as_mut() else { return };
        let before = report.placements.len();
        let wanted = waiting.min(PLACEMENTS_MAX.saturating_sub(before));
        let progress = group.progress.take();
        let remembered_before = progress.as_ref().map_or(0, Progress::len);
        let mut turn = Turn::start(&mut self.fleet, demand, &mut app.siblings, progress, judge);
        for ((_, instance), attempt) in group.waiting.iter().take(wanted) {
            let Some((agent, placement)) = turn.place(instance, *attempt) else { break };
            self.assumed.insert(instance.clone(), agent);
            report.placements.push(placement);
        }
        let progress = turn.end();
        let remembered = progress.len();
        group.progress = Some(progress);
        self.walked = self.walked.saturating_sub(remembered_before).saturating_add(remembered);
        let placed = report.placements.len() - before;
        if placed < waiting {
            report.wait(&app.id, waiting - placed);
        }
        if placed < wanted {
            report.blocked.push((app.id.clone(), group.version));
        } else if placed < waiting {
            report.look_at(now);
        }
        if app.groups.len() > 1 {
            let own = report.placements.get(before..).unwrap_or_default();
            self.tell_others(place, own);
        }
    }

    /// The soft wishes of a content, with everything noted that is placed; nothing where it has none.
    fn judge(&mut self, place: u32) -> Option<Judge> {
        let (group, app) = self.groups.group(place)?;
        let mut judge = group.demand.as_ref()?.judge.clone()?;
        for (agent, count) in &app.siblings {
            let row = self.fleet.agent(*agent).and_then(|agent| agent.row.as_ref());
            row.into_iter().for_each(|row| judge.note_own(&row.info, *count));
        }
        let others: BTreeSet<AppId> = judge.others().cloned().collect();
        for other in others {
            let Some(number) = self.groups.find(&other) else { continue };
            let Some(app) = self.groups.app(number) else { continue };
            for agent in app.siblings.keys() {
                let row = self.fleet.agent(*agent).and_then(|agent| agent.row.as_ref());
                row.into_iter().for_each(|row| judge.note_other(&other, &row.info));
            }
        }
        Some(judge)
    }

    /// The other contents of an app count what one of them placed.
    fn tell_others(&mut self, place: u32, placements: &[Placement]) {
        let Some((group, _)) = self.groups.group(place) else { return };
        let (app, version) = (group.app, group.version);
        for placement in placements {
            let Some(agent) = self.assumed.get(&placement.instance).copied() else { continue };
            let seniority = || Some(assumed_seniority(&placement.instance, placement.attempt));
            self.recount(app, version, agent, true, Some(place), &seniority);
        }
    }
}

#[cfg(test)]
mod tests;
