//! What agents say that do as they are told, at once: they stand in for real ones.

use crate::domain::{AgentId, Goal, HealthResult, TaskState, TaskStatus, Timestamp};
use crate::state::{ClusterState, Command, InstanceRow};

/// News of every agent that is within reach: what is to run runs and is well, what is to
/// stop has ended. Who failed its checks before goes on failing them. One command per task.
pub fn obedient_news(
    state: &ClusterState,
    now: Timestamp,
    is_within_reach: impl Fn(&AgentId) -> bool,
) -> Vec<Command> {
    let rows = state.instances.values();
    rows.filter_map(|row| news_of(state, row, now, &is_within_reach)).collect()
}

fn news_of(
    state: &ClusterState,
    row: &InstanceRow,
    now: Timestamp,
    is_within_reach: impl Fn(&AgentId) -> bool,
) -> Option<Command> {
    let task = row.task.as_ref().filter(|task| task.is_live() && task.unreachable_since.is_none())?;
    let is_to_stop = row.goal == Goal::Decommissioned || task.stop.is_some();
    let checks = state.checks_of(row);
    // Its first results are yet to come.
    let is_unchecked = task.is_healthy() != Some(false) && task.status.health.len() < checks;
    let next = match task.status.state {
        _ if !is_within_reach(&task.agent) => return None,
        _ if is_to_stop => TaskState::Killed,
        TaskState::Staging | TaskState::Starting if !row.expunged => TaskState::Running,
        TaskState::Running if !row.expunged && is_unchecked => TaskState::Running,
        _ => return None,
    };
    let mut status = TaskStatus::new(next, now, "");
    status.health = vec![HealthResult { alive: true, ..HealthResult::default() }; checks.max(1)];
    Some(Command::RecordStatuses { agent: task.agent.clone(), statuses: vec![(task.id.clone(), status)] })
}
