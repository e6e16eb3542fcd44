//! What the state wants of one agent, and the difference to what it was sent. Pure.

use std::collections::BTreeMap;

use super::launch::launch_of;
use crate::domain::{AgentId, Goal, TaskId, TaskState, TaskStatus, Timestamp};
use crate::protocol::{Assignment, TaskReport};
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// What was last sent about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Stop,
}

/// Tasks on an agent and what is wanted of each; `None` leaves a task as it is.
fn wanted(row: &InstanceRow, task: &TaskRow) -> Option<Wanted> {
    if row.goal == Goal::Decommissioned || task.stop.is_some() {
        return Some(Wanted::Stop);
    }
    // A hidden instance is neither started nor stopped until `leader::instances` decides.
    (!row.expunged).then_some(Wanted::Run)
}

/// Assignments that differ from `sent`, which is brought up to date.
pub(super) fn difference(
    agent: &AgentId,
    state: &ClusterState,
    sent: &mut BTreeMap<TaskId, Wanted>,
) -> Vec<Assignment> {
    let mut news = Vec::new();
    let mut now: BTreeMap<TaskId, Wanted> = BTreeMap::new();
    for row in state.live_on(agent) {
        let Some(task) = &row.task else { continue };
        let Some(wanted) = wanted(row, task) else { continue };
        if sent.get(&task.id) == Some(&wanted) {
            now.insert(task.id.clone(), wanted);
            continue;
        }
        let assignment = match wanted {
            Wanted::Run => launch_of(state, row, task).map(|launch| Assignment::Run(Box::new(launch))),
            Wanted::Stop => Some(stop(task)),
        };
        if let Some(assignment) = assignment {
            news.push(assignment);
            now.insert(task.id.clone(), wanted);
        }
    }
    *sent = now;
    news
}

fn stop(task: &TaskRow) -> Assignment {
    let reason = task.stop.clone().unwrap_or_else(|| "no longer wanted".to_owned());
    Assignment::Stop { task: task.id.clone(), reason }
}

/// Tasks that the state believes on the agent and that the agent, just registered, does
/// not know: what is true of each. One that was never reported and is still wanted is
/// simply sent again.
pub(super) fn forgotten(
    agent: &AgentId,
    state: &ClusterState,
    known: &[TaskReport],
    now: Timestamp,
) -> Vec<(TaskId, TaskStatus)> {
    let is_known = |task: &TaskRow| known.iter().any(|report| report.task == task.id);
    let rows = state.live_on(agent).filter_map(|row| Some((row, row.task.as_ref()?)));
    let missing = rows.filter(|(_, task)| !is_known(task));
    missing
        .filter_map(|(row, task)| {
            let was_reported = task.status.state > TaskState::Staging;
            let (state, message) = match (was_reported, wanted(row, task)) {
                (true, _) => (TaskState::Lost, "the agent no longer knows the task"),
                (false, Some(Wanted::Run)) => return None,
                (false, _) => (TaskState::Killed, "stopped before it reached its agent"),
            };
            Some((task.id.clone(), TaskStatus::new(state, now, message)))
        })
        .collect()
}

/// Tasks that the agent says are alive although the state knows their end, or a later
/// attempt: named to be stopped. Tasks that the state knows nothing of stay as they are.
pub(super) fn outlived(state: &ClusterState, known: &[TaskReport]) -> Vec<Assignment> {
    let alive = known.iter().filter(|report| !report.status.state.is_terminal());
    alive
        .filter(|report| {
            let row = report.task.parts().and_then(|(instance, _)| state.instances.get(&instance));
            let task = row.and_then(|row| row.task.as_ref());
            task.is_some_and(|task| task.id != report.task || task.status.state.is_terminal())
        })
        .map(|report| {
            let reason = "its end is recorded and another attempt took its place".to_owned();
            Assignment::Stop { task: report.task.clone(), reason }
        })
        .collect()
}
