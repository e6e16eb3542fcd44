//! One scheduling cycle: what it decides, and [`run_cycle`] for whoever decides once.

use std::collections::BTreeMap;

use super::ground::Ground;
use super::matcher::Need;
use super::{Book, Reason, SchedulingView, feasibility};
use crate::domain::{AppId, SpecVersion, Timestamp};
use crate::state::Placement;

/// Placements of one cycle at most: one log entry of about 300 KiB. The rest follows in
/// the next cycle at once. More would not be faster: what a cycle costs beyond its placements is
/// small beside the recording of so many, and other entries wait while a large one is written.
pub const PLACEMENTS_MAX: usize = 1_024;

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
