//! An app's own copies while others of it wait. Those of older content, which an upgrade replaces, keep
//! their room until enough others serve: what waits may wait for them.
//!
//! Source: spec 5.7; the planner decides who stops, and this says what follows for places.

use std::collections::BTreeMap;

use super::{Change, Lack, TakenPort, Verdicts};
use crate::domain::{AgentId, AppVersion, Goal, Millionths, Resources, TaskState};
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// Machines that the note names.
const HOSTS_TOLD_MAX: usize = 5;

/// Hundredths of a share: finer ones nobody writes.
const HUNDREDTH: u64 = 10_000;

/// What it costs to let older copies stop first, and how it is asked for. Whole sentences.
const PRICE: &str = " Copies that stop first serve no more until newer ones do, and whoever else waits may take their \
                     room: ask 'platformd what-if' before. It takes a PUT with force=true and both fields of the \
                     upgradeStrategy.";

/// How many live copies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// That run on agents within reach, whatever their content.
    pub running: usize,
    /// That have a place there and do not run yet.
    pub starting: usize,
    /// Of both, of older content than what is wanted now.
    pub older: usize,
    /// That run and are wanted, and do not pass all of their checks.
    pub unhealthy: usize,
    /// On agents that cannot be reached.
    pub unreachable: usize,
}

/// Copies within reach that are wanted, before one content.
pub(super) struct Keepers<'a> {
    state: &'a ClusterState,
    content: &'a AppVersion,
    running: Vec<&'a InstanceRow>,
    older: Vec<&'a TaskRow>,
    /// How many of them serve.
    serving: usize,
    /// How many have to.
    floor: usize,
}

impl Copies {
    /// Of rows that are live, of which only those with `is_within_reach` are.
    pub(super) fn of(content: &AppVersion, live: &[&InstanceRow], unhealthy: usize) -> Self {
        let here = live.iter().filter(|row| is_within_reach(row));
        let older = here.clone().filter(|row| is_older(row, content)).count();
        let starting = here.clone().filter(|row| is_starting(row)).count();
        let here = here.count();
        let unreachable = live.len().saturating_sub(here);
        Self { running: here.saturating_sub(starting), starting, older, unhealthy, unreachable }
    }
}

/// Whether the agent of its task can be reached, as far as is recorded.
pub(super) fn is_within_reach(row: &InstanceRow) -> bool {
    row.task.as_ref().is_some_and(|task| task.unreachable_since.is_none())
}

fn is_starting(row: &InstanceRow) -> bool {
    row.task.as_ref().is_some_and(|task| task.status.state < TaskState::Running)
}

fn is_older(row: &InstanceRow, content: &AppVersion) -> bool {
    row.version < content.last_config_change
}

impl<'a> Keepers<'a> {
    /// Nothing where copies may stop, or none runs.
    pub(super) fn of(
        state: &'a ClusterState,
        content: &'a AppVersion,
        live: &[&'a InstanceRow],
    ) -> Option<Self> {
        let wanted = live.iter().copied().filter(|row| is_within_reach(row) && row.goal == Goal::Running);
        let running: Vec<&InstanceRow> = wanted.collect();
        let serves = |row: &&&InstanceRow| row.is_serving(state.checks_of(row));
        let serving = running.iter().filter(serves).count();
        let floor = content.spec.upgrade.minimum_health_capacity.of_ceil(content.spec.instances);
        let floor = usize::try_from(floor).unwrap_or(usize::MAX);
        let older = running.iter().filter(|row| is_older(row, content));
        let older = older.filter_map(|row| row.task.as_ref()).collect();
        (serving > 0 && serving <= floor).then_some(Self { state, content, running, older, serving, floor })
    }

    /// The change that lets older copies stop, where that makes room.
    pub(super) fn stop_first(&self, verdicts: &Verdicts) -> Option<Change> {
        if self.older.is_empty() {
            return None;
        }
        let mut by_agent: BTreeMap<&AgentId, Vec<&TaskRow>> = BTreeMap::new();
        for task in &self.older {
            by_agent.entry(&task.agent).or_default().push(task);
        }
        // Copies that may stop in vain, and agents where it helps when enough of them do.
        let (mut vain, mut agents) = (0, 0);
        for verdict in verdicts.iter() {
            let Some(tasks) = by_agent.get(&verdict.agent.id) else { continue };
            let agent = self.state.agents.get(&verdict.agent.id);
            let beyond = agent.map(|agent| agent.used.minus(&agent.info.totals)).unwrap_or_default();
            let most = most_in_vain(verdict.lacks, tasks, &beyond);
            vain += most;
            agents += usize::from(most < tasks.len());
        }
        // Whichever stop first, one more than may stop in vain is enough.
        let stops = vain.saturating_add(1).min(self.older.len());
        let (from, to) = (self.content.spec.upgrade.minimum_health_capacity, self.low_enough(stops));
        (agents > 0).then_some(Change::StopFirst { from, to, agents })
    }

    /// The largest share that lets so many stop.
    fn low_enough(&self, stops: usize) -> Millionths {
        let left = u64::try_from(self.serving.saturating_sub(stops)).unwrap_or(0);
        let share = (left * 1_000_000).checked_div(u64::from(self.content.spec.instances)).unwrap_or(0);
        Millionths(share / HUNDREDTH * HUNDREDTH)
    }

    /// For people: why what runs keeps its room; nothing where that has no part in it.
    pub(super) fn note(&self, changes: &[Change]) -> Option<String> {
        let share = self.content.spec.upgrade.minimum_health_capacity.to_f64();
        let (floor, serving) = (self.floor, self.serving);
        let wants =
            format!("minimumHealthCapacity {share} wants {floor} serving, and {serving} {}", serve(serving));
        if !self.older.is_empty() {
            let (count, copies) = copies(self.older.len());
            let keep = if count == 1 { "keeps its" } else { "keep their" };
            let hosts = self.hosts();
            let price = if changes.iter().any(|change| matches!(change, Change::StopFirst { .. })) {
                PRICE
            } else {
                ""
            };
            return Some(format!("{count} older {copies} on {hosts} {keep} room: {wants}.{price}"));
        }
        if !changes.iter().any(Change::is_about_room) {
            return None;
        }
        let (count, copies) = copies(self.running.len());
        let (keep, them) = if count == 1 {
            ("has its place keeps what it has", "it")
        } else {
            ("have their places keep what they have", "them")
        };
        let most = self.low_enough(1).to_f64();
        Some(format!(
            "After a change of the definition the {count} {copies} that {keep} now: {wants}. New ones start only \
             beside {them}, unless the same change lowers it to {most}."
        ))
    }

    fn hosts(&self) -> String {
        let mut hosts: Vec<&str> = self.older.iter().map(|task| task.hostname.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let told = hosts.get(..HOSTS_TOLD_MAX).unwrap_or(&hosts).join(", ");
        match hosts.len().saturating_sub(HOSTS_TOLD_MAX) {
            0 => told,
            more => format!("{told} and {more} more"),
        }
    }
}

fn copies(count: usize) -> (usize, &'static str) {
    (count, if count == 1 { "copy" } else { "copies" })
}

fn serve(count: usize) -> &'static str {
    if count == 1 { "serves" } else { "serve" }
}

/// How many of an agent's tasks may end, the least helpful first, and it still does not suit: all of
/// them where it would not without any. `beyond` is what tasks hold beyond its totals, on an agent that
/// came back smaller. What is kept for roles is not thought of.
fn most_in_vain(lacks: &[Lack], tasks: &[&TaskRow], beyond: &Resources) -> usize {
    let in_vain = |lack: &Lack| match lack {
        Lack::Amount(amount, needed, spare) => {
            let held = tasks.iter().map(|task| amount.of(&task.resources).thousandths());
            let short = needed.minus(*spare).plus(amount.of(beyond));
            fewer_than(short.thousandths(), held)
        }
        Lack::Ports { needed, spare, taken } => {
            let held = tasks.iter().map(|task| u64::from(task.resources.ports.count()));
            let short = u64::try_from(*needed).unwrap_or(u64::MAX).saturating_sub(u64::from(*spare));
            // Whoever holds a port that is wanted may be the last to end; nobody here may hold it.
            let holds =
                |taken: &TakenPort| tasks.iter().any(|task| task.resources.ports.contains(taken.port));
            let waits = match taken.iter().all(holds) {
                true if taken.is_empty() => 0,
                true => tasks.len().saturating_sub(1),
                false => tasks.len(),
            };
            fewer_than(short, held).max(waits)
        }
        _ => tasks.len(),
    };
    lacks.iter().map(in_vain).max().unwrap_or(0)
}

/// How many of these amounts, the smallest first, are together less than `wanted`.
fn fewer_than(wanted: u64, amounts: impl Iterator<Item = u64>) -> usize {
    let mut amounts: Vec<u64> = amounts.collect();
    amounts.sort_unstable();
    let sums = amounts.iter().scan(0_u64, |sum, amount| {
        *sum = sum.saturating_add(*amount);
        Some(*sum)
    });
    sums.take_while(|sum| *sum < wanted).count()
}
