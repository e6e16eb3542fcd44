//! What the state wants of one agent, and the difference to what it was sent. Pure.

use std::collections::BTreeMap;

use super::launch::launch_of;
use crate::domain::{AgentId, Goal, InstanceId, TaskId, TaskState, TaskStatus, Timestamp};
use crate::protocol::{Assignment, TaskReport};
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// What was last sent about each instance on an agent: of which attempt, and what.
pub(super) type Sent = BTreeMap<InstanceId, (u32, Wanted)>;

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

/// Which agent is to do something about an instance, about which attempt, and what; nothing when
/// no attempt is alive. Between two states only a difference in this is news for an agent.
pub(super) fn duty(row: &InstanceRow) -> Option<(&AgentId, u32, Option<Wanted>)> {
    let task = row.task.as_ref().filter(|task| task.is_live())?;
    Some((&task.agent, task.attempt, wanted(row, task)))
}

/// Assignments that differ from `sent`, which is brought up to date. Looks at everything.
pub(super) fn difference(agent: &AgentId, state: &ClusterState, sent: &mut Sent) -> Vec<Assignment> {
    let mut before = std::mem::take(sent);
    let mut news = Vec::new();
    for row in state.live_on(agent) {
        let known = before.remove(&row.id);
        news.extend(settle(state, row, known, sent));
    }
    news
}

/// The same for those instances alone.
pub(super) fn difference_of(
    agent: &AgentId,
    instances: &[InstanceId],
    state: &ClusterState,
    sent: &mut Sent,
) -> Vec<Assignment> {
    let mut news = Vec::new();
    for id in instances {
        let known = sent.remove(id);
        let row = state.instances.get(id);
        let own =
            row.filter(|row| row.task.as_ref().is_some_and(|task| task.is_live() && task.agent == *agent));
        news.extend(own.and_then(|row| settle(state, row, known, sent)));
    }
    news
}

/// What is to be said of an instance on the agent of which `known` was sent; notes it in `sent`.
fn settle(
    state: &ClusterState,
    row: &InstanceRow,
    known: Option<(u32, Wanted)>,
    sent: &mut Sent,
) -> Option<Assignment> {
    let task = row.task.as_ref()?;
    let wanted = wanted(row, task)?;
    let now = (task.attempt, wanted);
    if known == Some(now) {
        sent.insert(row.id.clone(), now);
        return None;
    }
    let assignment = match wanted {
        Wanted::Run => launch_of(state, row, task).map(|launch| Assignment::Run(Box::new(launch))),
        Wanted::Stop => Some(stop(task)),
    }?;
    sent.insert(row.id.clone(), now);
    Some(assignment)
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
