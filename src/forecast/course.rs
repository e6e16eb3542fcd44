//! A private copy of the state, and the deciders that move it on.

use std::collections::BTreeSet;
use std::time::Duration;

use super::obedient_news;
use crate::domain::{AgentId, AppId, InstanceId, Strategy, Timestamp};
use crate::planner;
use crate::scheduler::{Book, CycleReport, Suspects, Suspicion};
use crate::state::{Applied, ClusterState, Command, LogEntry, apply};

/// Rounds that one course plays at most: enough to place a million instances, and to upgrade
/// hundreds one after another. More means that something never comes to rest.
pub const ROUNDS_MAX: usize = 1_000;

/// Time that passes between two entries, so that later ones are later.
const STEP: Duration = Duration::from_millis(1);

/// How a course ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing would change any more.
    Reached,
    /// [`ROUNDS_MAX`] rounds were played and it still moved.
    RoundsSpent,
    /// Whoever asked wanted no more of it.
    Stopped,
}

/// A copy of a state that lives on by itself.
#[derive(Clone, Debug)]
pub struct Course {
    state: ClusterState,
    now: Timestamp,
    suspects: Suspects,
    strategy: Strategy,
    book: Book,
    minted: u64,
}

impl Course {
    /// Begins at `state`, where `suspects` get nothing new. Costs next to nothing.
    pub fn start(state: &ClusterState, suspects: Suspects, now: Timestamp) -> Self {
        Self {
            state: state.clone(),
            now: now.max(state.now),
            suspects,
            strategy: Strategy::default(),
            book: Book::default(),
            minted: 0,
        }
    }

    /// As a cluster with this strategy would.
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        (self.strategy, self.book) = (strategy, Book::new(strategy));
        self
    }

    /// What is so far.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// What apps get that wish for no strategy.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// What time it is by now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Agents that get nothing new.
    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// These agents get nothing new either: they are being emptied.
    pub fn drain(&mut self, agents: impl IntoIterator<Item = AgentId>) {
        self.suspects.extend(agents.into_iter().map(|agent| (agent, Suspicion::Drained)));
    }

    /// Records commands, as one entry of the log would.
    pub fn record(&mut self, commands: Vec<Command>) -> Applied {
        self.now = self.now.plus(STEP);
        let index = self.state.index.saturating_add(1);
        apply(&mut self.state, index, &LogEntry { at: self.now, commands })
    }

    /// Plays until nothing changes. `may_go_on` is asked before each round.
    pub fn play(&mut self, may_go_on: &mut dyn FnMut() -> bool) -> Rest {
        for _ in 0..ROUNDS_MAX {
            if !may_go_on() {
                return Rest::Stopped;
            }
            let (wishes, absence) = self.plan();
            let report = self.place();
            let news = self.obey();
            if wishes + report.placements.len() + news > 0 {
                continue;
            }
            // Pauses after failures end, and who is away for long is given up.
            let later = [absence, report.next_look].into_iter().flatten().filter(|at| *at > self.now);
            match later.min() {
                Some(at) => self.now = at,
                None => return Rest::Reached,
            }
        }
        Rest::RoundsSpent
    }

    /// What the planner wants of every deployment and of apps outside them.
    fn plan(&mut self) -> (usize, Option<Timestamp>) {
        let (state, minted) = (&self.state, &mut self.minted);
        let mut mint = |app: &AppId| fresh_id(state, app, minted);
        let rows = state.deployments.values();
        let mut intents: Vec<_> = rows.flat_map(|row| planner::advance(state, row, &mut mint)).collect();
        let wanted = planner::reconcile(state, self.now, &mut mint);
        intents.extend(wanted.intents);
        let wishes = intents.len();
        if wishes > 0 {
            self.record(intents.into_iter().map(Command::from).collect());
        }
        (wishes, wanted.next_look)
    }

    /// One scheduling cycle, recorded.
    pub(super) fn place(&mut self) -> CycleReport {
        let excluded: BTreeSet<AgentId> = self.suspects.keys().cloned().collect();
        let report = self.book.cycle(&self.state, &excluded, self.now);
        if !report.placements.is_empty() {
            let placements = report.placements.clone();
            let seen_at = self.state.index;
            self.record(vec![Command::LaunchTasks { placements, seen_at }]);
        }
        report
    }

    /// Agents within reach obey.
    fn obey(&mut self) -> usize {
        let news = obedient_news(&self.state, self.now, |_| true);
        let count = news.len();
        if count > 0 {
            self.record(news);
        }
        count
    }
}

/// Copies of one state, each recorded as a later one than that before, so that one book may follow
/// from copy to copy.
pub(super) struct Copies {
    index: u64,
}

impl Copies {
    pub(super) fn of(state: &ClusterState) -> Self {
        Self { index: state.index }
    }

    /// Records commands in a copy.
    pub(super) fn record(&mut self, copy: &mut ClusterState, commands: Vec<Command>) {
        self.index = self.index.saturating_add(1);
        let at = copy.now;
        apply(copy, self.index, &LogEntry { at, commands });
    }
}

/// Upper half of the ids that are made up here. Real ones are UUIDs of a version between 1 and 8;
/// these have the reserved version 15, so that they are never taken for a real one.
const MADE_UP: u128 = u128::MAX << 64;

/// An id that nobody has, and that no real instance ever had; `minted` counts on.
pub(super) fn fresh_id(state: &ClusterState, app: &AppId, minted: &mut u64) -> InstanceId {
    loop {
        *minted = minted.saturating_add(1);
        let id = InstanceId::mint(app, uuid::Uuid::from_u128(MADE_UP | u128::from(*minted)));
        // The state may be one that was foretold.
        if !state.instances.contains(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests;
