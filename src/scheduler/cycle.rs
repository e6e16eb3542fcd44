//! One scheduling cycle: queue, offers, matches, placements. [`run_cycle`] ties the room together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::ground::{Ground, Plot};
use super::launch_queue::{Queued, waiting};
use super::matcher::{Match, Need, match_plot};
use super::rank::Rank;
use super::{Reason, SchedulingView, feasibility};
use crate::domain::{AppId, InstanceId, TaskId, Timestamp};
use crate::state::{ClusterState, InstanceRow, Placement};

/// Placements of one cycle at most: one log entry of about 300 KiB. The rest follows in
/// the next cycle at once.
pub const PLACEMENTS_MAX: usize = 1_024;

/// What a cycle decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// To be recorded; each takes room that no other one takes.
    pub placements: Vec<Placement>,
    /// Apps with instances that go on waiting.
    pub waiting: BTreeMap<AppId, Waiting>,
    /// When to look again though nothing happens: now, if there was more to place than
    /// [`PLACEMENTS_MAX`], or when the first pause ends.
    pub next_look: Option<Timestamp>,
}

/// Instances of one app that go on waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: usize,
    /// Its pause after failures ends then.
    pub backing_off_until: Option<Timestamp>,
    /// Agents that did not suit, by the first reason. Empty while backing off.
    pub rejections: BTreeMap<Reason, u32>,
}

/// Decides which waiting instances go where. Those that wait longest come first; an app
/// that fits nowhere delays no other. Pure: the same view and moment give the same report.
pub fn run_cycle(view: &SchedulingView<'_>, now: Timestamp) -> CycleReport {
    let queue = waiting(view.state, now);
    let mut report = CycleReport::default();
    if queue.is_empty() {
        return report;
    }
    let mut ground = Ground::of(view);
    for queued in &queue {
        if let Some(until) = queued.backing_off_until {
            report.look_at(until);
            report.wait(queued, queued.instances.len()).backing_off_until = Some(until);
            continue;
        }
        place(view.state, &mut ground, queued, now, &mut report);
    }
    report
}

impl CycleReport {
    fn look_at(&mut self, at: Timestamp) {
        self.next_look = Some(self.next_look.map_or(at, |other| other.min(at)));
    }

    fn wait(&mut self, queued: &Queued<'_>, count: usize) -> &mut Waiting {
        let waiting = self.waiting.entry(queued.app.clone()).or_default();
        waiting.count += count;
        waiting
    }
}

/// Places as many instances of one content as fit.
fn place(
    state: &ClusterState,
    ground: &mut Ground<'_>,
    queued: &Queued<'_>,
    now: Timestamp,
    report: &mut CycleReport,
) {
    let mut need = Need::of(state, queued.content);
    let mut ranked = rank_all(state, ground, queued, &need);
    let mut instances = queued.instances.iter();
    while let Some(instance) = instances.as_slice().first() {
        if report.placements.len() >= PLACEMENTS_MAX {
            report.look_at(now);
            report.wait(queued, instances.len());
            return;
        }
        let Some(placement) = place_one(ground, &mut ranked, &mut need, instance) else { break };
        report.placements.push(placement);
        instances.next();
    }
    let left = instances.len();
    if left > 0 {
        let reasons = ground.plots.iter().filter_map(|plot| feasibility::check(&need, plot).err());
        let waiting = report.wait(queued, left);
        reasons.for_each(|reason| *waiting.rejections.entry(reason).or_default() += 1);
    }
}

type Ranked = BinaryHeap<Reverse<Rank>>;

/// Every agent that suits the demand now, or may once other instances are placed.
fn rank_all(state: &ClusterState, ground: &Ground<'_>, queued: &Queued<'_>, need: &Need) -> Ranked {
    let mut siblings: BTreeMap<usize, u32> = BTreeMap::new();
    let live =
        state.instances_of(queued.app).filter_map(|row| row.task.as_ref().filter(|task| task.is_live()));
    for position in live.filter_map(|task| ground.position(&task.agent)) {
        *siblings.entry(position).or_default() += 1;
    }
    let may_open = need.rules.may_open();
    let suits = |plot: &Plot<'_>| match feasibility::check(need, plot) {
        Ok(()) => true,
        Err(reason) => may_open && reason == Reason::UnfulfilledConstraint,
    };
    let suitable = ground.plots.iter().enumerate().filter(|(_, plot)| suits(plot));
    let rank = |(position, plot)| {
        Reverse(Rank::of(need, plot, position, siblings.get(&position).copied().unwrap_or(0)))
    };
    suitable.map(rank).collect()
}

/// Takes the best agent, and puts it back with its new rank while it still suits. Agents that
/// a rule forbids now and may allow later keep their places.
fn place_one(
    ground: &mut Ground<'_>,
    ranked: &mut Ranked,
    need: &mut Need,
    instance: &InstanceRow,
) -> Option<Placement> {
    let mut forbidden = Vec::new();
    let placement = take_best(ground, ranked, need, instance, &mut forbidden);
    ranked.extend(forbidden);
    placement
}

fn take_best(
    ground: &mut Ground<'_>,
    ranked: &mut Ranked,
    need: &mut Need,
    instance: &InstanceRow,
    forbidden: &mut Vec<Reverse<Rank>>,
) -> Option<Placement> {
    let may_open = need.rules.may_open();
    while let Some(Reverse(rank)) = ranked.pop() {
        let Some(plot) = ground.plots.get_mut(rank.position) else { continue };
        let (attempt, task) = next_task(instance);
        let Match { ports, resources } = match match_plot(need, plot, &task) {
            Ok(matched) => matched,
            Err(Reason::UnfulfilledConstraint) if may_open => {
                forbidden.push(Reverse(rank));
                continue;
            }
            Err(_) => continue,
        };
        plot.spare = plot.spare.minus(&resources);
        need.rules.note(&plot.agent.info);
        if may_open || feasibility::check(need, plot).is_ok() {
            ranked.push(Reverse(Rank::of(need, plot, rank.position, rank.siblings.saturating_add(1))));
        }
        let agent = plot.agent.info.id.clone();
        return Some(Placement {
            instance: InstanceId::clone(&instance.id),
            attempt,
            agent,
            ports,
            resources,
        });
    }
    None
}

fn next_task(instance: &InstanceRow) -> (u32, TaskId) {
    let attempt = instance.task.as_ref().map_or(0, |task| task.attempt).saturating_add(1);
    (attempt, TaskId::of(&instance.id, attempt))
}

#[cfg(test)]
mod tests;
