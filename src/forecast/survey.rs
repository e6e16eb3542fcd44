//! Which agents could each be lost alone with everything still placed.
//!
//! Each loss is recorded on a copy of the state and one book follows from copy to copy, so that a
//! loss costs what the agent holds and not what the cluster holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::course::{Copies, fresh_id};
use crate::domain::{AgentId, AppId, InstanceId, Strategy, Timestamp, UnreachableStrategy};
use crate::scheduler::Book;
use crate::state::{ClusterState, Command, InstanceRow, Presence};

/// What one look at all agents found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// State index that was looked at.
    pub index: u64,
    /// Agents within reach.
    pub agents: usize,
    /// Agents that could not be lost, in id order.
    pub indispensable: Vec<Indispensable>,
}

/// An agent that cannot be lost with everything still placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indispensable {
    /// Which.
    pub agent: AgentId,
    /// Name of its machine.
    pub hostname: String,
    /// Instances of each app that would find no other place.
    pub waits: BTreeMap<AppId, usize>,
}

/// A look that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// What it found.
    pub survey: Survey,
    /// When it was done.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
}

impl Survey {
    /// How many agents could each be lost alone.
    pub fn dispensable(&self) -> usize {
        self.agents.saturating_sub(self.indispensable.len())
    }
}

/// Looks at every agent within reach; those of `excluded` take over nothing. Nothing when
/// `may_go_on`, which is asked for each agent, says no.
///
/// Only instances that would be replaced count, and pauses after failures do not: a loss is
/// survived when there is room. Apps that wait for their agents for ever are not replaced.
pub fn survey(
    state: &ClusterState,
    excluded: &BTreeSet<AgentId>,
    strategy: Strategy,
    may_go_on: &mut dyn FnMut() -> bool,
) -> Option<Survey> {
    let mut book = Book::new(strategy);
    book.follow(state);
    let mut found = Survey { index: state.index, ..Survey::default() };
    let mut copies = Copies::of(state);
    for row in state.agents.values().filter(|row| row.presence == Presence::Registered) {
        if !may_go_on() {
            return None;
        }
        found.agents += 1;
        let waits = lose(state, &mut copies, &mut book, &row.info.id, excluded);
        if !waits.is_empty() {
            let (agent, hostname) = (row.info.id.clone(), row.info.hostname.clone());
            found.indispensable.push(Indispensable { agent, hostname, waits });
        }
    }
    Some(found)
}

/// Loses one agent and places what ran there elsewhere. Gives what finds no place.
fn lose(
    state: &ClusterState,
    copies: &mut Copies,
    book: &mut Book,
    agent: &AgentId,
    excluded: &BTreeSet<AgentId>,
) -> BTreeMap<AppId, usize> {
    let mut copy = state.clone();
    let (commands, mut homeless) = loss(&copy, agent);
    if homeless.is_empty() {
        return BTreeMap::new();
    }
    copies.record(&mut copy, commands);
    // Later than the end of every pause.
    let then = Timestamp::from_millis(i64::MAX);
    loop {
        let report = book.cycle(&copy, excluded, then);
        report.placements.iter().for_each(|placement| drop(homeless.remove(&placement.instance)));
        let is_full = report.next_look.is_some();
        if homeless.is_empty() || report.placements.is_empty() || !is_full {
            break;
        }
        let launch = Command::LaunchTasks { placements: report.placements, seen_at: copy.index };
        copies.record(&mut copy, vec![launch]);
    }
    let mut waits = BTreeMap::new();
    for app in homeless.into_values() {
        *waits.entry(app).or_default() += 1;
    }
    waits
}

/// What is recorded when an agent is lost for good, and the instances that take the places of
/// those that it had.
fn loss(state: &ClusterState, agent: &AgentId) -> (Vec<Command>, BTreeMap<InstanceId, AppId>) {
    let mut homeless = BTreeMap::new();
    let Some(row) = state.agents.get(agent) else { return (Vec::new(), homeless) };
    let run = row.info.incarnation.run;
    let mut commands = vec![Command::MarkAgentUnreachable { agent: agent.clone(), run, since: state.now }];
    let mut given_up = Vec::new();
    let mut replacements: BTreeMap<&AppId, Vec<InstanceId>> = BTreeMap::new();
    let mut minted = 0;
    for row in state.live_on(agent).filter(|row| is_replaced(state, row)) {
        given_up.push(row.id.clone());
        // One that moves already has its replacement.
        if !row.is_moving() {
            let id = fresh_id(state, &row.app, &mut minted);
            homeless.insert(id.clone(), row.app.clone());
            replacements.entry(&row.app).or_default().push(id);
        }
    }
    commands.push(Command::Expunge { instances: given_up });
    for (app, ids) in replacements {
        let version = state.apps.get(app).map(|row| row.version).unwrap_or_default();
        commands.push(Command::CreateInstances { app: app.clone(), version, ids });
    }
    (commands, homeless)
}

/// Whether another takes an instance's place when its agent is lost.
fn is_replaced(state: &ClusterState, row: &InstanceRow) -> bool {
    let strategy = state.content_of(row).map(|content| content.spec.unreachable).unwrap_or_default();
    row.is_counted() && state.apps.contains(&row.app) && strategy != UnreachableStrategy::Disabled
}

#[cfg(test)]
mod tests;
