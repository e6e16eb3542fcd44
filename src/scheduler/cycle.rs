//! One scheduling cycle: what it decides, and [`run_cycle`] for whoever decides once.

use std::collections::BTreeMap;

use super::ground::Ground;
use super::matcher::Need;
use super::{Book, Reason, SchedulingView, feasibility};
use crate::domain::{AppId, InstanceId, SpecVersion, Timestamp};
use crate::state::Placement;

/// Placements of one cycle at most, unless its caller says otherwise.
pub const PLACEMENTS_MAX: usize = 1_024;

/// Placements of one cycle for each agent, where they are told to agents. An agent hears in one message
/// what one cycle gave it, and words cost more than placements: cycles that give each agent of a large
/// cluster one task at most make eight times as many messages.
const PLACEMENTS_PER_AGENT: usize = 8;

/// Placements of one cycle in the largest clusters: they are recorded within seconds.
const PLACEMENTS_EVER: usize = 65_536;

/// Placements of one cycle that are worth deciding together, with so many agents.
pub fn placements_together(agents: usize) -> usize {
    agents.saturating_mul(PLACEMENTS_PER_AGENT).clamp(PLACEMENTS_MAX, PLACEMENTS_EVER)
}

/// Gives each agent instances that lie side by side, where any instance of a content would do in the
/// place of any other: they are recorded together, told together and told of together.
pub(super) fn bring_together(placements: &mut [Placement]) {
    let instances: Vec<(InstanceId, u32)> =
        placements.iter().map(|placement| (placement.instance.clone(), placement.attempt)).collect();
    placements.sort_by(|a, b| a.agent.cmp(&b.agent));
    for (placement, (instance, attempt)) in placements.iter_mut().zip(instances) {
        (placement.instance, placement.attempt) = (instance, attempt);
    }
}

/// What a cycle decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// To be recorded; each takes room that no other one takes.
    pub placements: Vec<Placement>,
    /// Apps with instances that go on waiting, of those that the cycle came to before it was full.
    pub waiting: BTreeMap<AppId, Waiting>,
    /// Contents of which no further instance fits now, in the order of the queue.
    pub blocked: Vec<(AppId, SpecVersion)>,
    /// All instances that go on waiting, also of apps that the cycle did not come to.
    pub left: usize,
    /// When to look again though nothing happens: now, if there was more to place than one
    /// cycle may, or when the first pause ends.
    pub next_look: Option<Timestamp>,
}

/// Instances of one app that go on waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: usize,
    /// Its pause after failures ends then.
    pub backing_off_until: Option<Timestamp>,
    /// Agents that did not suit, by the first reason. Empty while backing off, and in the reports
    /// of a [`Book`], which does not ask every agent.
    pub rejections: BTreeMap<Reason, u32>,
}

/// Decides which waiting instances go where, as [`Book::cycle`] in a new book, and counts why
/// agents do not suit those that fit nowhere. Pure: the same view and moment give the same
/// report. Costs as much as there are agents and instances.
pub fn run_cycle(view: &SchedulingView<'_>, now: Timestamp) -> CycleReport {
    let mut report = Book::new(view.strategy).cycle(view.state, &view.excluded, now);
    count_rejections(view, &mut report);
    report
}

/// Asks every agent why it does not suit the contents that fit nowhere, after what was placed.
fn count_rejections(view: &SchedulingView<'_>, report: &mut CycleReport) {
    let mut ground = Ground::of(view);
    if !report.blocked.is_empty() {
        report.placements.iter().for_each(|placement| ground.take(placement));
    }
    for key in &report.blocked {
        let Some(content) = view.state.versions.get(key) else { continue };
        let mut need = Need::of(view.state, content);
        need.rules.note_placements(view.state, content, &report.placements);
        let waiting = report.waiting.entry(key.0.clone()).or_default();
        for reason in ground.plots.iter().filter_map(|plot| feasibility::check(&need, plot).err()) {
            *waiting.rejections.entry(reason).or_default() += 1;
        }
    }
}

impl CycleReport {
    /// Asks for a look at a moment, if none was asked for before it.
    pub(super) fn look_at(&mut self, at: Timestamp) {
        self.next_look = Some(self.next_look.map_or(at, |other| other.min(at)));
    }

    /// Notes that so many instances of an app go on waiting.
    pub(super) fn wait(&mut self, app: &AppId, count: usize) -> &mut Waiting {
        let waiting = self.waiting.entry(app.clone()).or_default();
        waiting.count += count;
        waiting
    }
}

#[cfg(test)]
mod tests;
