//! Brings the book from one state to the next, by what was written between them.

use std::collections::BTreeSet;

use super::demand::{Demand, Reopening};
use super::groups::MOVING;
use super::tally::Seniority;
use super::turn::assumed_seniority;
use super::{Assumption, Book, Followed};
use crate::domain::{AppId, SpecVersion};
use crate::scheduler::rules;
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// Where an instance is, as far as placing others is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// The agent that holds room for it.
    agent: Option<u32>,
    /// Whether it leaves that agent once another one serves.
    moves: bool,
    /// Whether it counts for its app's rules.
    counts: bool,
}

impl Standing {
    /// How much it counts against more of the app beside it.
    fn weight(self) -> u32 {
        if self.moves { MOVING } else { 1 }
    }
}

impl Book {
    /// Brings the book up to date. Costs what was written since the state that it followed; a
    /// state of another cluster, or an earlier one, is read from the beginning.
    pub fn follow(&mut self, state: &ClusterState) {
        let is_later = self.followed.cluster == state.cluster && self.followed.index <= state.index;
        if !is_later || self.fleet.is_bloated() {
            *self = Self::new(self.strategy);
        }
        let old = std::mem::replace(&mut self.followed, Followed::of(state));
        let refaced = self.follow_agents(&old, state);
        self.follow_contents(&old, state);
        self.follow_instances(&old, state, &refaced);
        for group in self.groups.take_marked() {
            self.settle(group, state);
        }
        self.fleet.shape();
    }

    /// Gives the agents that have other facts than before.
    fn follow_agents(&mut self, old: &Followed, state: &ClusterState) -> BTreeSet<u32> {
        let mut refaced = BTreeSet::new();
        let changes = state.agents.changes_since(&old.agents);
        // All numbers before anything else is done with them, so that memory is waited for together.
        let numbers: Vec<u32> = changes.iter().map(|change| self.fleet.number(change.key)).collect();
        for (change, agent) in changes.into_iter().zip(numbers) {
            let has_other_facts = self.fleet.record(agent, change.after);
            // In a book that was just begun there is nothing to forget.
            if has_other_facts && !old.agents.is_empty() {
                refaced.insert(agent);
                for row in state.live_on(change.key) {
                    self.groups.find(&row.app).into_iter().for_each(|app| self.forget_tallies(app));
                }
            }
        }
        self.fleet.take_back();
        refaced
    }

    /// Instances have the facts of their agents: when these change, an app's are counted again.
    fn forget_tallies(&mut self, app: u32) {
        for place in self.groups.groups_of(app) {
            let Some((group, _)) = self.groups.group(place) else { continue };
            let Some(demand) = &mut group.demand else { continue };
            demand.forget_tallies();
            if !demand.is_tallied {
                group.progress = None;
                self.groups.mark(place);
            }
        }
    }

    fn follow_contents(&mut self, old: &Followed, state: &ClusterState) {
        for change in state.versions.changes_since(&old.versions) {
            let (id, version) = change.key;
            let known = self.groups.find(id).and_then(|app| self.groups.group_of(app, *version));
            let Some(place) = known else { continue };
            if let Some((group, _)) = self.groups.group(place) {
                (group.demand, group.progress, group.crowds) = (None, None, None);
            }
            self.groups.mark(place);
        }
        for change in state.apps.changes_since(&old.apps) {
            let Some(number) = self.groups.find(change.key) else { continue };
            if let Some(app) = self.groups.app(number) {
                app.record(change.after.map(|row| &**row));
            }
            for group in self.groups.groups_of(number) {
                self.groups.mark(group);
            }
        }
    }

    fn follow_instances(&mut self, old: &Followed, state: &ClusterState, refaced: &BTreeSet<u32>) {
        let mut assumed = std::mem::take(&mut self.assumed);
        for change in state.instances.changes_since(&old.instances) {
            let (before, after) = (change.before.map(|row| &**row), change.after.map(|row| &**row));
            let mut assumed_on = None;
            if let Some(known) = assumed.find(change.key) {
                known.is_settled = true;
                if self.is_confirmed(known, before, after, refaced) {
                    continue;
                }
                assumed_on = Some(known.agent);
            }
            match (before, after) {
                // One that left and another that got its id: they count for different contents.
                (Some(left), Some(came)) if left.version != came.version => {
                    self.follow_instance(before, None, assumed_on, state, refaced);
                    self.follow_instance(None, after, None, state, refaced);
                }
                _ => self.follow_instance(before, after, assumed_on, state, refaced),
            }
        }
        // Placed and not recorded: they wait as before.
        for lost in assumed.all.iter().filter(|one| !one.is_settled) {
            let row = old.instances.get(&lost.instance).map(|row| &**row);
            self.follow_instance(row, row, Some(lost.agent), state, refaced);
        }
        assumed.clear();
        self.assumed = assumed;
    }

    /// Whether a placement was recorded as it was assumed, so that nothing is left to do.
    fn is_confirmed(
        &self,
        assumed: &Assumption,
        before: Option<&InstanceRow>,
        after: Option<&InstanceRow>,
        refaced: &BTreeSet<u32>,
    ) -> bool {
        let Some(task) = after.and_then(rules::counted).filter(|task| task.is_live()) else { return false };
        task.attempt == assumed.attempt
            && self.fleet.agent(assumed.agent).is_some_and(|agent| agent.id == task.agent)
            && before.zip(after).is_some_and(|(before, after)| before.version == after.version)
            && !refaced.contains(&assumed.agent)
            && !self.groups.asks_seniority(assumed.app)
    }

    fn follow_instance(
        &mut self,
        before: Option<&InstanceRow>,
        after: Option<&InstanceRow>,
        assumed: Option<u32>,
        state: &ClusterState,
        refaced: &BTreeSet<u32>,
    ) {
        let Some(row) = after.or(before) else { return };
        let wait = |row: Option<&InstanceRow>| {
            let row = row.filter(|row| row.is_waiting())?;
            Some((row.waiting_since, row.task.as_ref().map(|task| task.attempt)))
        };
        let waited = wait(before);
        let waits = wait(after);
        let same_agent = match (before.and_then(live), after.and_then(live)) {
            (Some(before), Some(after)) => before.agent == after.agent,
            (None, None) => true,
            _ => false,
        };
        let counts = |row: Option<&InstanceRow>| row.is_some_and(|row| rules::counted(row).is_some());
        let moves = |row: Option<&InstanceRow>| row.is_some_and(InstanceRow::is_moving);
        let stands_alike = same_agent && counts(before) == counts(after) && moves(before) == moves(after);
        if waited == waits && assumed.is_none() && stands_alike {
            return; // As most words of agents: starting, running, healthy.
        }
        let app = self.groups.number(&row.app, || state.apps.get(&row.app).map(|row| &**row));
        // Whoever was placed has left the line.
        if waited != waits || assumed.is_some() {
            if let Some(before) = before.filter(|_| waited.is_some() && assumed.is_none()) {
                self.groups.dequeue(app, before);
            }
            if let Some(after) = after.filter(|_| waits.is_some()) {
                self.groups.enqueue(app, after);
            }
        }
        let was = match assumed {
            Some(agent) => Standing { agent: Some(agent), moves: false, counts: true },
            None => self.standing(before),
        };
        let is = match (assumed, after.and_then(live)) {
            (Some(agent), Some(task))
                if self.fleet.agent(agent).is_some_and(|known| known.id == task.agent) =>
            {
                Standing {
                    agent: assumed,
                    moves: moves(after),
                    counts: after.and_then(rules::counted).is_some(),
                }
            }
            _ => self.standing(after),
        };
        if was.agent.is_some_and(|agent| refaced.contains(&agent)) {
            self.forget_tallies(app);
        }
        self.restand(app, row.version, (was, is), &|is_after: bool| {
            let row = if is_after { after } else { before };
            if !is_after && assumed.is_some() {
                let attempt = row?.task.as_ref().map_or(0, |task| task.attempt).saturating_add(1);
                return Some(assumed_seniority(&row?.id, attempt));
            }
            row.and_then(rules::counted).map(|task| (task.staged_at, task.id.clone()))
        });
    }

    fn standing(&mut self, row: Option<&InstanceRow>) -> Standing {
        let Some(row) = row else { return Standing::default() };
        let agent = live(row).map(|task| self.fleet.number(&task.agent));
        Standing { agent, moves: row.is_moving(), counts: rules::counted(row).is_some() }
    }

    /// Moves an instance of an app from one standing to another.
    fn restand(
        &mut self,
        app: u32,
        version: SpecVersion,
        (was, is): (Standing, Standing),
        seniority: &dyn Fn(bool) -> Option<Seniority>,
    ) {
        if (was.agent, was.moves) != (is.agent, is.moves) {
            if let Some(app) = self.groups.app(app) {
                was.agent.into_iter().for_each(|agent| app.step(agent, was.weight(), false));
                is.agent.into_iter().for_each(|agent| app.step(agent, is.weight(), true));
            }
            // Fewer instances of the app are there: it is better for the app than it was.
            was.agent.into_iter().for_each(|agent| self.fleet.note_growth(agent));
            is.agent.into_iter().for_each(|agent| self.fleet.note_change(agent));
        }
        if was == is && !self.groups.asks_seniority(app) {
            return;
        }
        if let Some(agent) = was.agent.filter(|_| was.counts) {
            self.recount(app, version, agent, false, None, &|| seniority(false));
        }
        if let Some(agent) = is.agent.filter(|_| is.counts) {
            self.recount(app, version, agent, true, None, &|| seniority(true));
        }
    }

    /// Counts an instance of an app on an agent, or no longer, for every content of the app but
    /// `except`, whose turn has counted it already.
    pub(super) fn recount(
        &mut self,
        app: u32,
        version: SpecVersion,
        agent: u32,
        more: bool,
        except: Option<u32>,
        seniority: &dyn Fn() -> Option<Seniority>,
    ) {
        for place in self.groups.groups_of(app) {
            let Some((group, _)) = self.groups.group(place).filter(|_| Some(place) != except) else {
                continue;
            };
            let Some(demand) = &mut group.demand else { continue };
            if !demand.is_tallied || version < demand.counts_from {
                continue;
            }
            let seniority = if demand.asks_seniority() { seniority() } else { None };
            if demand.count(&mut self.fleet, agent, more, seniority.as_ref()) == Reopening::Anybody {
                group.progress = None;
            }
        }
    }

    /// Gives a group what it needs to be placed, and its place in the queue.
    fn settle(&mut self, place: u32, state: &ClusterState) {
        let Some((group, app)) = self.groups.group(place) else { return };
        group.waiting.settle();
        if group.demand.is_none() && group.waiting.is_empty() {
            return self.groups.drop_idle(place);
        }
        if group.demand.is_none() {
            let key: (AppId, SpecVersion) = (app.id.clone(), group.version);
            let strategy = self.strategy;
            group.demand =
                state.versions.get(&key).map(|content| Demand::of(&mut self.fleet, content, strategy));
        }
        if !self.groups.settle(place) {
            return;
        }
        let Some((group, app)) = self.groups.group(place) else { return };
        let Some(demand) = group.demand.as_mut().filter(|demand| !demand.is_tallied) else { return };
        demand.is_tallied = true;
        group.progress = None;
        let counts_from = demand.counts_from;
        for row in state.instances_of(&app.id).filter(|row| row.version >= counts_from) {
            let Some(task) = rules::counted(row) else { continue };
            let agent = self.fleet.number(&task.agent);
            let seniority = (task.staged_at, task.id.clone());
            demand.count(&mut self.fleet, agent, true, Some(&seniority));
        }
    }
}

/// The attempt for which an agent holds room.
fn live(row: &InstanceRow) -> Option<&TaskRow> {
    row.task.as_ref().filter(|task| task.is_live())
}
