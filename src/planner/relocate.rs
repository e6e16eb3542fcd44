//! Instances that shall move: one elsewhere takes over, then they go.
//!
//! An instance that is to move is treated as one of old content in an upgrade, within the same
//! bounds. Where nothing fits, its replacement waits and it goes on running.

use super::Intent;
use super::advance::{count, create, is_considered_healthy, replaced};
use super::capacity::{Bounds, Counts, next_move};
use super::kill_selection::victims;
use super::roster::{Roster, is_away, serves};
use crate::domain::{AppId, AppVersion, InstanceId, RunSpec};
use crate::state::{ClusterState, InstanceRow};

/// Whether an app lets the replacement of an instance that moves run beside it. If not, a move
/// stops it first.
pub fn replaces_before_it_stops(spec: &RunSpec) -> bool {
    Bounds::of(spec.instances, &spec.upgrade).lets_one_more_run()
}

/// What an app with such instances wants now; nothing when it has none.
pub(super) fn relocate(
    state: &ClusterState,
    app: &AppId,
    content: &AppVersion,
    roster: &Roster<'_>,
    mint: &mut dyn FnMut(&AppId) -> InstanceId,
) -> Option<Vec<Intent>> {
    let target = content.spec.instances;
    let (moving, staying): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
        roster.counted.iter().partition(|row| row.is_moving() && !is_away(row));
    if moving.is_empty() || target == 0 {
        return None;
    }
    let as_number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let counts = Counts {
        old: count(&moving),
        old_healthy: as_number(moving.iter().filter(|row| is_considered_healthy(state, row)).count()),
        leaving: count(&roster.leaving),
        new: count(&staying),
        new_ready: as_number(staying.iter().filter(|row| serves(state, row)).count()),
    };
    let wave = next_move(counts, Bounds::of(target, &content.spec.upgrade));
    let gone = replaced(state, content, &moving, wave.stop);
    let surplus = staying.len().saturating_sub(usize::try_from(target).unwrap_or(usize::MAX));
    let trimmed = victims(state, &staying, surplus, &[], &content.spec);
    let go = |ids: Vec<InstanceId>, reason| (!ids.is_empty()).then_some(Intent::Decommission { ids, reason });
    let gone = go(gone, "moved to another agent");
    let trimmed = go(trimmed, "more copies than wanted");
    Some(gone.into_iter().chain(trimmed).chain(create(state, app, wave.start, mint)).collect())
}

#[cfg(test)]
mod tests;
