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
mod counts;
mod crowds;
mod demand;
mod fleet;
mod follow;
mod groups;
mod growth;
mod heap;
mod line;
#[cfg(test)]
mod naive;
mod ports_offered;
mod search;
mod soft;
mod tally;
mod tree;
mod turn;
mod walk;

use std::collections::BTreeSet;

use self::crowds::{Crowds, Whereabouts};
use self::fleet::Fleet;
use self::groups::Groups;
use self::line::Waiter;
use self::turn::{Turn, assumed_seniority};
use super::cycle::{CycleReport, PLACEMENTS_MAX, bring_together};
use super::index::{Index, print_of};
use crate::domain::{AgentId, AppId, AppVersion, ClusterId, InstanceId, SpecVersion, Strategy, Timestamp};
use crate::state::{AgentRow, AppRow, ClusterState, InstanceRow, Placement, Table};

/// Nodes and agents that walks may remember, all together: about 12 MiB. Beyond that all walks are
/// forgotten, and the next turns begin new ones.
const WALKS_MAX: usize = 1 << 20;

/// What the scheduler remembers from cycle to cycle. Worth nothing by itself: a new one says
/// the same after it looked at everything once.
#[derive(Clone, Debug, Default)]
pub struct Book {
    fleet: Fleet,
    groups: Groups,
    /// What the last cycle placed.
    assumed: Assumed,
    /// The state that the book is about, but for what is assumed.
    followed: Followed,
    /// Nodes and agents that walks remember, or more.
    walked: usize,
    /// What apps get that wish for none.
    strategy: Strategy,
}

/// What a cycle placed, until the next state says whether it is so.
#[derive(Clone, Debug, Default)]
struct Assumed {
    /// In the order of the cycle's placements.
    all: Vec<Assumption>,
    index: Index,
}

/// An instance that was placed in the last cycle.
#[derive(Clone, Debug)]
struct Assumption {
    instance: InstanceId,
    attempt: u32,
    agent: u32,
    /// Number of its app.
    app: u32,
    /// The state said what became of it.
    is_settled: bool,
}

impl Assumed {
    fn note(&mut self, assumption: Assumption) {
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.index.insert(print_of(assumption.instance.as_str()), number);
        self.all.push(assumption);
    }

    /// The one about an instance.
    fn find(&mut self, instance: &InstanceId) -> Option<&mut Assumption> {
        if self.all.is_empty() {
            return None;
        }
        let is_it = |number: u32| self.all.get(number as usize).is_some_and(|one| one.instance == *instance);
        let number = self.index.find(print_of(instance.as_str()), is_it)?;
        self.all.get_mut(number as usize)
    }

    /// As [`bring_together`], from the `first` placement on.
    fn bring_together(&mut self, fleet: &Fleet, first: usize, placements: &mut [Placement]) {
        let (own, placements) = (self.all.get_mut(first..), placements.get_mut(first..));
        let Some((own, placements)) = own.zip(placements).filter(|(own, _)| own.len() > 1) else { return };
        bring_together(placements);
        let mut agents: Vec<u32> = own.iter().map(|one| one.agent).collect();
        agents.sort_by_key(|agent| fleet.agent(*agent).map(|agent| &agent.id));
        own.iter_mut().zip(agents).for_each(|(one, agent)| one.agent = agent);
    }

    fn clear(&mut self) {
        self.all.clear();
        self.index.clear();
    }
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
        self.cycle_up_to(PLACEMENTS_MAX, state, excluded, now)
    }

    /// The same with `most` placements at most.
    pub fn cycle_up_to(
        &mut self,
        most: usize,
        state: &ClusterState,
        excluded: &BTreeSet<AgentId>,
        now: Timestamp,
    ) -> CycleReport {
        self.follow(state);
        self.fleet.exclude(excluded);
        let mut report = CycleReport::default();
        report.placements.reserve(self.groups.waiting().min(most));
        for group in self.groups.in_order() {
            if report.placements.len() >= most {
                report.look_at(now);
                break;
            }
            self.turn(group, now, most, &mut report);
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

    /// How many wait in the state that is followed.
    pub fn waiting(&self) -> usize {
        self.groups.waiting()
    }

    /// Places as many instances of one content as fit, until the cycle has made `most` placements.
    fn turn(&mut self, place: u32, now: Timestamp, most: usize, report: &mut CycleReport) {
        let Some((group, app)) = self.groups.group(place) else { return };
        let waiting = group.waiting.len();
        if let Some(until) = app.delay_until.filter(|until| *until > now) {
            report.look_at(until);
            report.wait(&app.id, waiting).backing_off_until = Some(until);
            return;
        }
        let crowds = self.crowds(place);
        let Some((group, app)) = self.groups.group(place) else { return };
        let Some(demand) = group.demand.as_mut() else { return };
        let before = report.placements.len();
        let wanted = waiting.min(most.saturating_sub(before));
        let progress = group.progress.take();
        let remembered_before = group.remembered;
        let mut turn = Turn::start(&mut self.fleet, demand, &mut app.siblings, progress, crowds);
        for _ in 0..wanted {
            let served = group.waiting.serve(|waiter| turn.place(&waiter.ticket.1, waiter.attempt));
            let Some((Waiter { ticket: (_, instance), attempt }, (agent, placement))) = served else { break };
            self.assumed.note(Assumption { instance, attempt, agent, app: group.app, is_settled: false });
            report.placements.push(placement);
        }
        let (progress, crowds) = turn.end();
        if demand.is_alike_for_all() {
            self.assumed.bring_together(&self.fleet, before, &mut report.placements);
        }
        group.crowds = crowds.or(group.crowds.take());
        let remembered = progress.len() + group.crowds.as_ref().map_or(0, Crowds::len);
        group.remembered = remembered;
        group.progress = Some(progress);
        self.walked = self.walked.saturating_sub(remembered_before).saturating_add(remembered);
        let placed = report.placements.len() - before;
        let (app_number, version) = (group.app, group.version);
        if placed < waiting {
            report.wait(&app.id, waiting - placed);
        }
        if placed < wanted {
            report.blocked.push((app.id.clone(), version));
        } else if placed < waiting {
            report.look_at(now);
        }
        let has_others = app.groups.len() > 1;
        if placed > 0 {
            self.groups.mark(place);
        }
        if has_others {
            self.tell_others(place, (app_number, version), before);
        }
    }

    /// Who may be chosen for a content with soft wishes, which know where instances are now; nothing where
    /// it has none, or nobody can suit it.
    fn crowds(&mut self, place: u32) -> Option<Crowds> {
        let (group, _) = self.groups.group(place)?;
        let judge = group.demand.as_ref()?.judge.as_ref()?;
        if group.progress.as_ref().is_some_and(|progress| progress.rests(&self.fleet)) {
            return None;
        }
        let mut crowds = group.crowds.take().unwrap_or_else(|| Crowds::of(judge.clone()));
        let app = group.app;
        let others = crowds.judge.others().map(|other| self.groups.siblings(self.groups.find(other)?));
        let whereabouts = Whereabouts { others: others.collect(), own: self.groups.siblings(app)? };
        crowds.follow(&self.fleet, &whereabouts);
        Some(crowds)
    }

    /// The other contents of an app count what one of them placed, from the `first` assumption on.
    fn tell_others(&mut self, place: u32, (app, version): (u32, SpecVersion), first: usize) {
        let all = std::mem::take(&mut self.assumed.all);
        for placed in all.iter().skip(first) {
            let seniority = || Some(assumed_seniority(&placed.instance, placed.attempt));
            self.recount(app, version, placed.agent, true, Some(place), &seniority);
        }
        self.assumed.all = all;
    }
}

#[cfg(test)]
mod tests;
