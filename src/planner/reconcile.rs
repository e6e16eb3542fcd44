//! What apps want outside deployments: lost copies replaced, surplus ones trimmed,
//! absent ones given up or welcomed back, orphans gone. Source: spec 5.12, 5.13.

use std::collections::{BTreeMap, BTreeSet};

use super::Intent;
use super::absence::Absence;
use super::advance::create;
use super::kill_selection::victims;
use super::relocate::relocate;
use super::roster::Roster;
use crate::domain::{AppId, InstanceId, Timestamp};
use crate::state::{ClusterState, InstanceRow};

/// What is wanted now, and when to look again though nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Wishes, in the order in which they should be recorded.
    pub intents: Vec<Intent>,
    /// Earliest moment at which an absent instance is to be given up or hidden.
    pub next_look: Option<Timestamp>,
}

/// Looks at every app. The number of copies of apps under deployment is the deployment's
/// business; absence is judged for all. One that is given up now is replaced at the next look.
pub fn reconcile(
    state: &ClusterState,
    now: Timestamp,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Reconciliation {
    let locked: BTreeSet<&AppId> = locked_apps(state);
    let mut rows: BTreeMap<&AppId, Vec<&InstanceRow>> =
        state.apps.iter().map(|(app, _)| (app, Vec::new())).collect();
    // An app's instances lie side by side: one look-up serves many rows.
    let all: Vec<&InstanceRow> = state.instances.values().map(|row| &**row).collect();
    for run in all.chunk_by(|a, b| a.app == b.app) {
        if let Some(first) = run.first() {
            rows.entry(&first.app).or_default().extend(run);
        }
    }
    let mut absence = Absence::default();
    let mut intents = Vec::new();
    for (app, rows) in rows {
        let roster = Roster::sort(rows.into_iter());
        let target = state.current(app).map_or(0, |content| content.spec.instances);
        absence.note(state, &roster, target, now);
        if !locked.contains(app) {
            intents.extend(balance(state, app, &roster, mint));
        }
    }
    let next_look = absence.next_look;
    let mut all = absence.into_intents();
    all.extend(intents);
    Reconciliation { intents: all, next_look }
}

fn locked_apps(state: &ClusterState) -> BTreeSet<&AppId> {
    let steps = state.deployments.values().flat_map(|row| &row.plan.steps);
    steps.flat_map(|step| &step.actions).map(|action| &action.app).collect()
}

/// Brings the number of one app's copies to what it wants.
fn balance(
    state: &ClusterState,
    app: &AppId,
    roster: &Roster<'_>,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Vec<Intent> {
    let content = state.current(app);
    let moves = content.and_then(|content| relocate(state, app, content, roster, mint));
    moves.unwrap_or_else(|| match_number(state, app, roster, mint))
}

/// The same where nothing is to move.
fn match_number(
    state: &ClusterState,
    app: &AppId,
    roster: &Roster<'_>,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Vec<Intent> {
    let decommission = |ids: Vec<InstanceId>, reason: &'static str| {
        (!ids.is_empty()).then_some(Intent::Decommission { ids, reason }).into_iter().collect()
    };
    let Some(content) = state.current(app) else {
        let rows = roster.counted.iter().chain(&roster.given_up);
        return decommission(rows.map(|row| row.id.clone()).collect(), "its app is gone");
    };
    let target = content.spec.instances;
    let counted = u32::try_from(roster.counted.len()).unwrap_or(u32::MAX);
    if counted < target {
        return create(state, app, target - counted, mint);
    }
    let surplus = usize::try_from(counted - target).unwrap_or(usize::MAX);
    let ids = victims(state, &roster.counted, surplus, &[], &content.spec);
    decommission(ids, "more copies than wanted")
}

#[cfg(test)]
mod tests;
