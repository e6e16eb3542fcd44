//! What the current step of a deployment wants next. Source: spec 5.5, 5.7.
//!
//! Way in: [`advance`]. Looks at the instances as they are, never at what was asked
//! before: a new leader goes on where the old one stopped.

use super::capacity::{Bounds, Counts, next_wave};
use super::kill_selection::victims;
use super::roster::{Roster, checks_of, is_away, may_go_on, serves};
use super::{CREATED_MAX, CREATED_PER_LOOK_MAX, Intent};
use crate::domain::{Action, ActionKind, AppId, AppVersion, InstanceId};
use crate::state::{ClusterState, DeploymentRow, InstanceRow};

/// Says what a deployment wants now: instances to create, instances to let go, steps that
/// are done. Steps that need nothing are passed in the same breath.
///
/// `mint` makes the id of one more instance of an app.
pub fn advance(
    state: &ClusterState,
    deployment: &DeploymentRow,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Vec<Intent> {
    let mut intents = Vec::new();
    let mut at = deployment.steps_done;
    while let Some(step) = usize::try_from(at).ok().and_then(|at| deployment.plan.steps.get(at)) {
        let mut wanted = Wanted { state, deployment, mint, intents: &mut intents };
        // Every action is asked, also after one that is not done: they go side by side.
        let open = step.actions.iter().filter(|action| !wanted.by(action)).count();
        if open > 0 {
            break;
        }
        intents.push(Intent::FinishStep { deployment: deployment.id.clone(), step: at });
        at = at.saturating_add(1);
    }
    intents
}

/// Collects what the actions of one step want.
struct Wanted<'a> {
    state: &'a ClusterState,
    deployment: &'a DeploymentRow,
    mint: &'a mut dyn FnMut(&AppId) -> InstanceId,
    intents: &'a mut Vec<Intent>,
}

impl Wanted<'_> {
    /// Adds what one action wants; says whether it is done.
    fn by(&mut self, action: &Action) -> bool {
        match (action.kind, self.state.current(&action.app)) {
            (ActionKind::Start, _) => true,
            (ActionKind::Stop, _) => self.stop(&action.app),
            // A deployment that took its place is about to be recorded: nothing is left to do.
            (_, None) => true,
            (ActionKind::Scale, Some(content)) => self.scale(action, content),
            (ActionKind::Restart, Some(content)) => self.restart(&action.app, content),
        }
    }

    fn decommission(&mut self, ids: Vec<InstanceId>, reason: &'static str) {
        if !ids.is_empty() {
            self.intents.push(Intent::Decommission { ids, reason });
        }
    }

    fn create(&mut self, app: &AppId, count: u32) {
        self.intents.extend(create(self.state, app, count, self.mint));
    }

    fn stop(&mut self, app: &AppId) -> bool {
        let roster = Roster::of(self.state, app);
        let rows = [&roster.counted, &roster.given_up, &roster.returned];
        let ids: Vec<InstanceId> = rows.into_iter().flatten().map(|row| row.id.clone()).collect();
        let is_done = ids.is_empty() && roster.leaving.is_empty();
        self.decommission(ids, "the app was removed");
        is_done
    }

    /// Victims go first; when they are gone, missing instances are created; done when
    /// those that this deployment created serve.
    fn scale(&mut self, action: &Action, content: &AppVersion) -> bool {
        let (state, app) = (self.state, &action.app);
        let roster = Roster::of(state, app);
        let leftover = self.leftovers(app, &roster);
        if !leftover.is_empty() {
            self.decommission(leftover, "left over from a removed app");
            return false;
        }
        let target = content.spec.instances;
        let counted = count(&roster.counted);
        let surplus = usize::try_from(counted.saturating_sub(target)).unwrap_or(usize::MAX);
        let chosen = victims(state, &roster.counted, surplus, &action.sentenced, &content.spec);
        if !chosen.is_empty() {
            self.decommission(chosen, "scaled down");
            return false;
        }
        if !roster.leaving.is_empty() {
            return false;
        }
        if counted < target {
            self.create(app, target - counted);
            return false;
        }
        let mut new = roster.counted.iter().filter(|row| row.version >= self.deployment.version);
        new.all(|row| serves(state, row))
    }

    /// Instances of an earlier app of the same name, whose removal was cut short.
    fn leftovers(&self, app: &AppId, roster: &Roster<'_>) -> Vec<InstanceId> {
        let is_new =
            self.deployment.changes.iter().any(|change| change.app == *app && change.before.is_none());
        let rows =
            roster.counted.iter().chain(&roster.given_up).filter(|row| is_new && self.state.is_outdated(row));
        rows.map(|row| row.id.clone()).collect()
    }

    fn restart(&mut self, app: &AppId, content: &AppVersion) -> bool {
        let target = content.spec.instances;
        if target == 0 {
            return true;
        }
        let state = self.state;
        let roster = Roster::of(state, app);
        let (outdated, new): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
            roster.counted.iter().partition(|row| state.is_outdated(row));
        // One that waits or is out of reach is not launched again in its old content: it is gone.
        let (mut gone, old): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
            outdated.into_iter().partition(|row| !row.is_live() || is_away(row));
        gone.extend(roster.given_up.iter().filter(|row| state.is_outdated(row)));
        let new_ready = new.iter().filter(|row| serves(state, row)).count();
        let counts = Counts {
            old: count(&old),
            old_healthy: old
                .iter()
                .filter(|row| is_considered_healthy(state, row))
                .count()
                .try_into()
                .unwrap_or(0),
            leaving: count(&roster.leaving),
            new: count(&new),
            new_ready: new_ready.try_into().unwrap_or(0),
        };
        let wave = next_wave(counts, Bounds::of(target, &content.spec.upgrade));
        let stopped = replaced(state, content, &old, wave.stop);
        let surplus = new.len().saturating_sub(usize::try_from(target).unwrap_or(usize::MAX));
        let trimmed = victims(state, &new, surplus, &[], &content.spec);
        let is_done = old.is_empty()
            && gone.is_empty()
            && trimmed.is_empty()
            && roster.leaving.is_empty()
            && counts.new_ready == target;
        self.decommission(gone.into_iter().map(|row| row.id.clone()).collect(), "replaced by newer content");
        self.decommission(stopped, "replaced by newer content");
        self.decommission(trimmed, "scaled down");
        self.create(app, wave.start);
        is_done
    }
}

/// `stop` of some instances that are to go: those that serve nobody first.
pub(super) fn replaced(
    state: &ClusterState,
    content: &AppVersion,
    old: &[&InstanceRow],
    stop: u32,
) -> Vec<InstanceId> {
    let stop = usize::try_from(stop).unwrap_or(usize::MAX);
    let (serving, idle): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
        old.iter().partition(|row| serves(state, row));
    let mut chosen = victims(state, &idle, stop.min(idle.len()), &[], &content.spec);
    let rest = stop.saturating_sub(chosen.len());
    chosen.extend(victims(state, &serving, rest, &[], &content.spec));
    chosen
}

/// Without health checks an old instance counts as healthy even while it is staging.
pub(super) fn is_considered_healthy(state: &ClusterState, row: &InstanceRow) -> bool {
    serves(state, row) || (checks_of(state, row) == 0 && may_go_on(row))
}

pub(super) fn count(rows: &[&InstanceRow]) -> u32 {
    rows.len().try_into().unwrap_or(u32::MAX)
}

/// Wants `count` more instances of an app's current content, in parts of [`CREATED_MAX`].
pub(super) fn create(
    state: &ClusterState,
    app: &AppId,
    count: u32,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Vec<Intent> {
    let Some(version) = state.apps.get(app).map(|row| row.version) else { return Vec::new() };
    let ids: Vec<InstanceId> = (0..count.min(CREATED_PER_LOOK_MAX)).map(|_| mint(app)).collect();
    let part_max = usize::try_from(CREATED_MAX).unwrap_or(usize::MAX);
    let parts = ids.chunks(part_max);
    parts.map(|part| Intent::Create { app: app.clone(), version, ids: part.to_vec() }).collect()
}

#[cfg(test)]
mod tests;
