//! The instances of one app, sorted by what they mean for its capacity.

use crate::domain::{AppId, Goal, TaskState};
use crate::state::{ClusterState, InstanceRow};

/// One app's instances.
#[derive(Default)]
pub(super) struct Roster<'a> {
    /// Wanted, and neither hidden nor given up: they count as the app's copies.
    pub(super) counted: Vec<&'a InstanceRow>,
    /// Wanted and not hidden, but unreachable for so long that they count no longer.
    pub(super) given_up: Vec<&'a InstanceRow>,
    /// Told to go, and still holding their place on an agent that can be reached.
    pub(super) leaving: Vec<&'a InstanceRow>,
    /// Told to go on an agent that cannot be reached, and not hidden yet.
    pub(super) leaving_away: Vec<&'a InstanceRow>,
    /// Hidden while their agent was away, and alive on an agent that is back.
    pub(super) returned: Vec<&'a InstanceRow>,
}

impl<'a> Roster<'a> {
    /// Of one app, from the whole state.
    pub(super) fn of(state: &'a ClusterState, app: &'a AppId) -> Self {
        Self::sort(state.instances_of(app))
    }

    /// Of rows that belong to one app.
    pub(super) fn sort(rows: impl Iterator<Item = &'a InstanceRow>) -> Self {
        let mut roster = Self::default();
        for row in rows {
            let is_wanted = row.goal == Goal::Running;
            if row.expunged {
                if is_wanted && may_go_on(row) {
                    roster.returned.push(row);
                }
            } else if row.is_counted() {
                roster.counted.push(row);
            } else if is_wanted {
                roster.given_up.push(row);
            } else if is_away(row) {
                roster.leaving_away.push(row);
            } else if row.is_live() {
                roster.leaving.push(row);
            }
        }
        roster
    }
}

/// Whether its agent cannot be reached.
pub(super) fn is_away(row: &InstanceRow) -> bool {
    row.task.as_ref().is_some_and(|task| task.is_live() && task.unreachable_since.is_some())
}

/// Whether its attempt is alive within reach and nobody asked it to stop.
pub(super) fn may_go_on(row: &InstanceRow) -> bool {
    row.task.as_ref().is_some_and(|task| {
        task.status.state <= TaskState::Running && task.unreachable_since.is_none() && task.stop.is_none()
    })
}

/// How many health checks its content has.
pub(super) fn checks_of(state: &ClusterState, row: &InstanceRow) -> usize {
    state.checks_of(row)
}

/// Whether it runs, can be reached and passes the checks of its own content.
pub(super) fn serves(state: &ClusterState, row: &InstanceRow) -> bool {
    row.goal == Goal::Running && row.is_serving(checks_of(state, row))
}
