//! Recording instances: wanted, no longer wanted, given up, hidden, shown again.

use super::Recorder;
use crate::domain::{AppId, Goal, InstanceId, SpecVersion};
use crate::state::{ClusterState, Event, InstanceRow, Refusal};

pub(super) fn create(
    state: &mut ClusterState,
    app: &AppId,
    version: SpecVersion,
    ids: &[InstanceId],
    record: &mut Recorder,
) {
    let found = state.apps.get(app).map(|row| (row.version, row.id.clone()));
    // The id as its row has it already: that of the entry would be kept a second time.
    let Some((_, app)) = found.clone().filter(|(found, _)| *found == version) else {
        let found = found.map(|(found, _)| found);
        return record.refuse(Refusal::VersionMoved { app: app.clone(), expected: Some(version), found });
    };
    for id in ids {
        if state.instances.contains(id) {
            continue; // The same proposal again.
        }
        let row = InstanceRow {
            id: id.clone(),
            app: app.clone(),
            version,
            goal: Goal::Running,
            created_at: state.now,
            waiting_since: state.now,
            task: None,
            expunged: false,
            shall_move: None,
        };
        state.instances.insert(id.clone(), row);
    }
    record.event(Event::InstancesCreated(app));
}

pub(super) fn set_goal(
    state: &mut ClusterState,
    ids: &[InstanceId],
    goal: Goal,
    reason: &str,
    record: &mut Recorder,
) {
    for id in ids {
        let Some(row) = state.instances.get_mut(id) else { continue };
        if row.goal == goal || row.goal == Goal::Decommissioned {
            continue;
        }
        row.goal = goal;
        record.event(Event::GoalChanged(id.clone()));
        if !row.is_live() {
            forget(state, id, record);
            continue;
        }
        if let Some(task) = row.task.as_mut() {
            task.stop.get_or_insert_with(|| reason.to_owned());
            // Nobody can stop it there now: it leaves people's sight, and is stopped on return.
            row.expunged |= task.unreachable_since.is_some();
        }
    }
}

/// Removes an instance that is not wanted and has no live attempt.
pub(super) fn forget(state: &mut ClusterState, id: &InstanceId, record: &mut Recorder) {
    if let Some(row) = state.instances.remove(id) {
        if let Some(task) = &row.task {
            state.by_agent.remove(&task.agent, id);
        }
        record.event(Event::InstanceForgotten(id.clone()));
    }
}

pub(super) fn mark_inactive(state: &mut ClusterState, ids: &[InstanceId], record: &mut Recorder) {
    for id in ids {
        let task = state.instances.get_mut(id).and_then(|row| row.task.as_mut());
        let Some(task) = task.filter(|task| task.unreachable_since.is_some() && !task.inactive) else {
            continue;
        };
        task.inactive = true;
        record.event(Event::InstanceGivenUp(id.clone()));
    }
}

pub(super) fn expunge(state: &mut ClusterState, ids: &[InstanceId], record: &mut Recorder) {
    for id in ids {
        let Some(row) = state.instances.get_mut(id) else { continue };
        let Some(task) = row.task.as_mut().filter(|task| task.unreachable_since.is_some()) else { continue };
        task.inactive = true;
        row.expunged = true;
        record.event(Event::InstanceGivenUp(id.clone()));
    }
}

pub(super) fn readmit(state: &mut ClusterState, ids: &[InstanceId], record: &mut Recorder) {
    for id in ids {
        let Some(row) = state.instances.get_mut(id) else { continue };
        let is_back =
            row.task.as_ref().is_some_and(|task| task.is_live() && task.unreachable_since.is_none());
        if !row.expunged || !is_back || row.goal != Goal::Running {
            continue;
        }
        row.expunged = false;
        record.event(Event::GoalChanged(id.clone()));
    }
}

pub(super) fn move_away(state: &mut ClusterState, asked: &[(InstanceId, String)], record: &mut Recorder) {
    for (id, reason) in asked {
        let may_move = |row: &InstanceRow| {
            let is_within_reach = row.task.as_ref().is_some_and(|task| task.unreachable_since.is_none());
            let is_wanted = row.goal == Goal::Running && !row.expunged && row.shall_move.is_none();
            row.is_live() && is_within_reach && is_wanted
        };
        if !state.instances.get(id).is_some_and(|row| may_move(row)) {
            continue;
        }
        let Some(row) = state.instances.get_mut(id) else { continue };
        row.shall_move = Some(reason.clone());
        record.event(Event::GoalChanged(id.clone()));
    }
}

pub(super) fn keep(state: &mut ClusterState, ids: &[InstanceId], record: &mut Recorder) {
    for id in ids {
        if state.instances.get(id).is_none_or(|row| row.shall_move.is_none()) {
            continue;
        }
        let Some(row) = state.instances.get_mut(id) else { continue };
        row.shall_move = None;
        record.event(Event::GoalChanged(id.clone()));
    }
}
