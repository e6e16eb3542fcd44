//! Tasks that have a place and cannot be started there.

use super::PLACED_MAX;
use crate::domain::{AgentId, AppId, TaskId, TaskState};
use crate::state::{ClusterState, InstanceRow};

/// A task that its agent cannot start for now, or of which it can tell nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub task: TaskId,
    /// Where.
    pub agent: AgentId,
    /// Its machine.
    pub hostname: String,
    /// Something of it may run there already.
    pub may_run: bool,
    /// Why, for people.
    pub why: String,
}

/// Tasks that are not started, or not known to be, because of what their agents say of themselves.
pub(super) fn held(state: &ClusterState, app: &AppId) -> Vec<Held> {
    let is_starting = |state| matches!(state, TaskState::Staging | TaskState::Starting);
    let of = |row: &InstanceRow| {
        let task = row.task.as_ref().filter(|task| is_starting(task.status.state))?;
        let agent = state.agents.get(&task.agent)?;
        let hindrances = &agent.hindrances;
        let is_container = || state.content_of(row).is_some_and(|content| content.spec.image().is_some());
        let why =
            hindrances.tasks.clone().or_else(|| hindrances.containers.clone().filter(|_| is_container()))?;
        let hostname = agent.info.hostname.clone();
        let may_run = hindrances.may_run.contains(&task.id);
        Some(Held { task: task.id.clone(), agent: task.agent.clone(), hostname, may_run, why })
    };
    state.instances_of(app).filter_map(of).take(PLACED_MAX).collect()
}
